"""Credentials that expire are renewed in the middle of a run; nobody's secret is sent without need or shown."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from airflow_s3batch.core.engine import S3, Credentials
from airflow_s3batch.core.errors import S3Error
from airflow_s3batch.core.rows import Outcome
from tests.core.engine.conftest import Run
from tests.core.engine.flights import TAG, Naps, entries, fly, in_lists, limits, to
from tests.servers import Request, ScriptedServer, Step, answer, error

OK = answer(200)
EXPIRED = error(400, "ExpiredToken", "The provided token has expired.")


class Provider:
    """Gives session credentials, the next ones at every asking; the store takes those of `valid` only."""

    def __init__(self, taken_after: int = 0) -> None:
        self.asked = 0
        self.valid = 1
        self._taken_after = taken_after
        self.threads: set[str] = set()

    def __call__(self) -> Credentials:
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        return Credentials("ASIAEXAMPLE", "secret", f"token-{self.asked}")

    def script(self, expire_at: int) -> Callable[[Request], Sequence[Step]]:
        """Answers that turn to ExpiredToken at a request, for the first credentials."""
        seen = 0

        def answering(request: Request) -> Sequence[Step]:
            nonlocal seen
            seen += 1
            if seen == expire_at:
                self.valid = 2
            number = int(request.header("x-amz-security-token").removeprefix("token-"))
            return [OK if number >= self.valid else EXPIRED]

        return answering


def test_expired_credentials_are_renewed_once_in_the_middle_of_a_run(run: Run) -> None:
    provider = Provider()
    with ScriptedServer(provider.script(expire_at=1_000)) as server:
        outcomes = run(
            fly(
                to(server.url, provider),
                entries(f"k{number}" for number in range(3_000)),
                chosen=limits(in_flight=32, retries=0),
            )
        )

    assert len(outcomes) == len({outcome.entry.row for outcome in outcomes}) == 3_000
    assert all(outcome.succeeded for outcome in outcomes)
    # Once at the start, once for all that were in flight; a straggler may ask once more.
    assert provider.asked <= 3
    # Each object at most twice: as the old and as the new one.
    assert len(server.requests) <= 3_000 + 32
    assert threading.current_thread().name not in provider.threads


def test_credentials_that_stay_expired_are_an_outcome_and_not_a_loop(run: Run) -> None:
    provider = Provider()
    with ScriptedServer(lambda _: [EXPIRED]) as server:
        outcomes = run(fly(to(server.url, provider), entries(["a", "b", "c"])))

    assert [(outcome.succeeded, outcome.http_status, outcome.code) for outcome in outcomes] == [
        (False, 400, "ExpiredToken")
    ] * 3
    assert len(server.requests) <= 6


def test_session_token_is_sent_and_signed(run: Run) -> None:
    with ScriptedServer(lambda _: [OK]) as server:
        run(fly(to(server.url, lambda: Credentials("ASIA", "s", "to/ken==")), entries(["a"])))

    (request,) = server.requests
    assert request.header("x-amz-security-token") == "to/ken=="
    assert "x-amz-security-token" in request.header("authorization")


def test_anonymous_access_sends_no_signature(run: Run) -> None:
    with ScriptedServer(lambda _: [OK]) as server:
        outcomes = run(fly(to(server.url, lambda: None), entries(["a b"])))

    assert outcomes[0].succeeded
    (request,) = server.requests
    assert not {"authorization", "x-amz-date", "x-amz-security-token"} & {name for name, _ in request.headers}


def test_provider_that_fails_fails_the_start_with_its_own_error(run: Run) -> None:
    def none_found() -> Credentials:
        raise LookupError("no such connection")

    with pytest.raises(LookupError, match="no such connection"):
        run(fly(to("http://127.0.0.1:1", none_found), entries(["a"])))


def test_provider_that_fails_to_renew_ends_the_run_after_what_was_done(run: Run) -> None:
    # Nothing more can succeed: a job that fails, not objects that do.
    provider = Provider()

    def once() -> Credentials:
        if provider.asked:
            raise LookupError("the vault is sealed")
        return provider()

    done: list[Outcome] = []

    async def fly_until_sealed(url: str) -> None:
        async with S3(to(url, once), limits(), sleep=Naps()) as s3:
            async for some in s3.run(in_lists(entries(f"k{number}" for number in range(1_000)), 100), TAG):
                done.extend(some)

    with (
        ScriptedServer(provider.script(expire_at=200)) as server,
        pytest.raises(LookupError, match="the vault is sealed"),
    ):
        run(fly_until_sealed(server.url))

    assert len(done) == 199
    assert all(outcome.succeeded for outcome in done)


def test_no_secret_reaches_a_log_or_an_error(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = Credentials("ASIA", "very-secret-key", "very-secret-token")

    async def call(url: str) -> None:
        async with S3(to(url, lambda: secret), limits(retries=1), sleep=Naps()) as s3:
            await s3.call("GetObject", Bucket="lake", Key="k")

    with ScriptedServer(lambda _: [error(403, "SignatureDoesNotMatch")]) as server, pytest.raises(S3Error) as caught:
        run(call(server.url))

    assert "very-secret" not in f"{caught.value!r} {caught.value} {caplog.text}"


def test_every_request_of_one_second_is_signed_for_its_own_key(run: Run) -> None:
    with ScriptedServer(lambda _: [OK]) as server:
        run(fly(to(server.url), entries(f"k{number}" for number in range(200))))

    signatures = [request.header("authorization").rpartition("=")[2] for request in server.requests]
    assert len(set(signatures)) == 200


def test_calls_at_once_share_one_renewal(run: Run) -> None:
    provider = Provider()
    provider.valid = 2

    async def calls(url: str) -> None:
        async with S3(to(url, provider), limits(retries=0)) as s3:
            await asyncio.gather(*(s3.call("GetObject", Bucket="lake", Key=f"k{number}") for number in range(50)))

    with ScriptedServer(provider.script(expire_at=0)) as server:
        run(calls(server.url))

    assert provider.asked <= 3
