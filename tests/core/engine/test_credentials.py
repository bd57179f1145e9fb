"""Credentials that expire are renewed in the middle of a run; nobody's secret is sent without need or shown."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from airflow_s3batch.core.engine import S3, Credentials
from airflow_s3batch.core.errors import CredentialsRefused, S3Error
from airflow_s3batch.core.operations import DeleteObjects, MergeObjectTags, Operation, VerifyObject
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


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (403, "InvalidAccessKeyId"),
        (403, "RequestTimeTooSkewed"),
    ],
)
@pytest.mark.parametrize("operation", [TAG, MergeObjectTags({"a": "b"}), DeleteObjects()], ids=lambda one: one.aws_name)
def test_credentials_refused_for_good_end_the_run_after_what_was_done(
    run: Run, operation: Operation, status: int, code: str
) -> None:
    # It says nothing about the objects that are left: they must not become failures of theirs.
    done: list[Outcome] = []

    def script(request: Request) -> Sequence[Step]:
        if len(server.requests) > 50:
            return [error(status, code, "No longer.")]
        if request.method == "GET":
            return [answer(200, b"<Tagging><TagSet/></Tagging>")]
        return [answer(200, b"<DeleteResult/>") if request.method == "POST" else OK]

    async def fly_until_refused(url: str) -> None:
        async with S3(to(url, lambda: Credentials("ASIA", "s", "t")), limits(), sleep=Naps()) as s3:
            async for some in s3.run(in_lists(entries(f"k{number}" for number in range(100_000)), 1_000), operation):
                done.extend(some)

    with (
        ScriptedServer(script) as server,
        pytest.raises(CredentialsRefused, match=rf"{code}: No longer\..*run it again") as caught,
    ):
        run(fly_until_refused(server.url))

    assert caught.value.code == code
    assert done
    assert all(outcome.succeeded for outcome in done)
    assert len(server.requests) < 200, "credentials that are refused are sent again and again"


def told_of(request: Request, code: str) -> bytes:
    """The refusal that S3 sends: without its words, if it is asked by HEAD."""
    return answer(400) if request.method == "HEAD" else error(400, code, "No longer.")


def test_credentials_refused_by_heads_end_the_run_too(run: Run) -> None:
    # An answer to HEAD has no room for a reason, so that it looks like an object that can't be read.
    with ScriptedServer(lambda request: [told_of(request, "ExpiredToken")]) as server:
        access = to(server.url, lambda: Credentials("ASIA", "s", "t"))
        with pytest.raises(CredentialsRefused, match=r"HeadObject s3://lake/k.*400 ExpiredToken: No longer"):
            run(fly(access, entries(f"k{number}" for number in range(100)), VerifyObject("archive")))


def test_credentials_refused_by_a_head_are_renewed(run: Run) -> None:
    provider = Provider()
    provider.valid = 2

    def script(request: Request) -> Sequence[Step]:
        number = int(request.header("x-amz-security-token").removeprefix("token-"))
        return [OK if number >= provider.valid else told_of(request, "ExpiredToken")]

    async def calls(url: str) -> None:
        async with S3(to(url, provider), limits(retries=0)) as s3:
            await asyncio.gather(*(s3.call("HeadObject", Bucket="lake", Key=f"k{number}") for number in range(50)))

    with ScriptedServer(script) as server:
        run(calls(server.url))

        assert provider.asked == 2
        assert [request.query for request in server.requests if request.method == "GET"] == ["location"]


@pytest.mark.parametrize("status", [400, 403])
def test_objects_that_cannot_be_read_cost_no_enquiry_each(run: Run, status: int) -> None:
    def script(request: Request) -> Sequence[Step]:
        return [answer(status) if request.method == "HEAD" else OK]

    with ScriptedServer(script) as server:
        access = to(server.url)
        outcomes = run(fly(access, entries(f"k{number}" for number in range(200)), VerifyObject("archive")))

        assert {outcome.code for outcome in outcomes} == {{400: "BadRequest", 403: "AccessDenied"}[status]}
        heads = sum(request.method == "HEAD" for request in server.requests)
        assert heads >= 200
        assert len(server.requests) - heads < 60, "S3 is asked about the credentials for every object"


def test_call_by_refused_credentials_says_so_after_one_look_for_others(run: Run) -> None:
    provider = Provider()

    async def call(url: str) -> None:
        async with S3(to(url, provider), limits(), sleep=Naps()) as s3:
            await s3.call("GetObject", Bucket="lake", Key="k")

    with ScriptedServer(lambda _: [EXPIRED]) as server:
        with pytest.raises(CredentialsRefused, match=r"GetObject s3://lake/k: 400 ExpiredToken"):
            run(call(server.url))

        assert len(server.requests) == 2
    assert provider.asked == 2


def test_signature_that_does_not_match_is_an_objects_own_failure(run: Run) -> None:
    # Stores that encode keys in ways of their own say it about single objects.
    def script(request: Request) -> Sequence[Step]:
        return [error(403, "SignatureDoesNotMatch") if request.path == "/lake/odd" else OK]

    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(["a", "odd", "z"])))

    assert {outcome.entry.key: outcome.code for outcome in outcomes} == {
        "a": "",
        "odd": "SignatureDoesNotMatch",
        "z": "",
    }


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
