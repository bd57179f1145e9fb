"""A redirect to a bucket's region is followed once, and remembered for everything after it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_s3batch.core.engine import S3, S3Access
from airflow_s3batch.core.engine.compiled import Origin
from airflow_s3batch.core.engine.conversation import Answer, Conversation
from airflow_s3batch.core.errors import S3Error
from airflow_s3batch.core.operations import CopyObject
from airflow_s3batch.core.rows import Outcome
from tests.core.engine.conftest import Run
from tests.core.engine.flights import KEYS, TAG, Naps, entries, fly, in_lists, limits, to
from tests.servers import Request, ScriptedServer, Step, answer, error, error_body

HOME = "eu-west-3"
OK = answer(200)
# How stores say that a bucket is elsewhere.
ELSEWHERE = {
    "301 by header": answer(301, error_body("PermanentRedirect"), {"x-amz-bucket-region": HOME}),
    "301 without a body": answer(301, headers={"x-amz-bucket-region": HOME}),
    "307 by header": answer(307, error_body("TemporaryRedirect"), {"x-amz-bucket-region": HOME}),
    "400 by header": answer(400, error_body("AuthorizationHeaderMalformed"), {"x-amz-bucket-region": HOME}),
    "400 by body": answer(400, error_body("AuthorizationHeaderMalformed", more=f"<Region>{HOME}</Region>")),
    "400 of a HEAD": answer(400, headers={"x-amz-bucket-region": HOME}),
    "400 of a region to opt in to": answer(
        400, error_body("IllegalLocationConstraintException"), {"x-amz-bucket-region": HOME}
    ),
}
UNTOLD = {
    "301": error(301, "PermanentRedirect"),
    "400 of a region to opt in to": error(400, "IllegalLocationConstraintException"),
}


def region_of(request: Request) -> str:
    found = re.search(r"Credential=[^/]+/\d{8}/([^/]+)/s3/", request.header("authorization"))
    assert found
    return found[1]


def living_in(region: str, elsewhere: bytes, sent: bytes = OK) -> ScriptedServer:
    """A server whose buckets live in the region; requests signed for another get `elsewhere`."""
    return ScriptedServer(lambda request: [sent if region_of(request) == region else elsewhere])


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_redirect_is_followed_once_and_remembered(run: Run, elsewhere: str) -> None:
    in_flight = 16
    with living_in(HOME, ELSEWHERE[elsewhere]) as server:
        outcomes = run(
            fly(
                to(server.url),
                entries(f"k{number}" for number in range(3_000)),
                chosen=limits(in_flight=in_flight, retries=0),
            )
        )

    assert len(outcomes) == len({outcome.entry.row for outcome in outcomes}) == 3_000
    assert all(outcome.succeeded for outcome in outcomes)
    asked = Counter(region_of(request) for request in server.requests)
    assert asked[HOME] == 3_000
    # Those that were on their way when the first answer came, and nobody after them.
    assert 1 <= asked["us-east-1"] <= in_flight


def test_calls_of_the_same_bucket_go_to_its_region_right_away(run: Run) -> None:
    async def use(url: str) -> None:
        async with S3(to(url), limits(retries=0)) as s3:
            await s3.call("HeadObject", Bucket="lake", Key="a")
            await s3.call("HeadObject", Bucket="lake", Key="b")
            async for _ in s3.run(in_lists(entries(["c"]), 1), TAG):
                pass
            await s3.call("HeadObject", Bucket="other", Key="d")

    with living_in(HOME, ELSEWHERE["400 of a HEAD"]) as server:
        run(use(server.url))

    assert [region_of(request) for request in server.requests] == ["us-east-1", HOME, HOME, HOME, "us-east-1", HOME]


def test_copies_follow_their_target_bucket(run: Run) -> None:
    copied = answer(200, b"<CopyObjectResult/>")
    with living_in(HOME, ELSEWHERE["301 by header"], copied) as server:
        outcomes = run(fly(to(server.url), entries(["a", "b", "c"]), CopyObject("archive"), chosen=limits(in_flight=1)))

    assert all(outcome.succeeded for outcome in outcomes)
    assert [region_of(request) for request in server.requests] == ["us-east-1", HOME, HOME, HOME]


def test_redirects_in_a_circle_end_in_an_outcome(run: Run) -> None:
    def script(request: Request) -> Sequence[Step]:
        other = {"us-east-1": "eu-west-1", "eu-west-1": "us-east-1"}[region_of(request)]
        return [answer(301, error_body("PermanentRedirect"), {"x-amz-bucket-region": other})]

    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(["a", "b"]), chosen=limits(in_flight=1)))

    assert [(outcome.succeeded, outcome.http_status, outcome.code) for outcome in outcomes] == [
        (False, 301, "PermanentRedirect")
    ] * 2
    assert len(server.requests) <= 4


@pytest.mark.parametrize("untold", UNTOLD)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_region_that_a_redirect_leaves_out_is_asked_for_once_a_bucket(run: Run, untold: str, status: int) -> None:
    # Whatever S3 answers to HeadBucket, it tells the region.
    def script(request: Request) -> Sequence[Step]:
        if request.method == "HEAD":
            return [answer(status, headers={"x-amz-bucket-region": HOME})]
        return [OK if region_of(request) == HOME else UNTOLD[untold]]

    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(f"k{number}" for number in range(200)), chosen=limits(retries=0)))

    assert all(outcome.succeeded for outcome in outcomes)
    assert [request.path for request in server.requests if request.method == "HEAD"] == ["/lake"]


def test_calls_ask_for_the_region_too(run: Run) -> None:
    def script(request: Request) -> Sequence[Step]:
        if request.method == "HEAD":
            return [answer(403, headers={"x-amz-bucket-region": HOME})]
        return [OK if region_of(request) == HOME else UNTOLD["301"]]

    async def calls(url: str) -> None:
        async with S3(to(url), limits(retries=0)) as s3:
            await asyncio.gather(*(s3.call("GetObject", Bucket="lake", Key=f"k{number}") for number in range(20)))

    with ScriptedServer(script) as server:
        run(calls(server.url))

    assert [request.path for request in server.requests if request.method == "HEAD"] == ["/lake"]


@pytest.mark.parametrize("untold", UNTOLD)
def test_redirect_whose_region_nobody_tells_is_an_outcome(run: Run, untold: str) -> None:
    with ScriptedServer(lambda request: [answer(404) if request.method == "HEAD" else UNTOLD[untold]]) as server:
        outcomes = run(fly(to(server.url), entries(["a", "b", "c"])))

    assert {outcome.code for outcome in outcomes} < {"PermanentRedirect", "IllegalLocationConstraintException"}
    assert not any(outcome.succeeded for outcome in outcomes)
    assert [request.method for request in server.requests].count("HEAD") == 1
    assert len(server.requests) == 4


def test_refusal_that_happens_to_name_a_region_is_no_redirect(run: Run) -> None:
    # S3 names the bucket's region in many an answer; a 403 is a 403.
    refused = answer(403, error_body("AccessDenied"), {"x-amz-bucket-region": HOME})
    with ScriptedServer(lambda _: [refused]) as server:
        (outcome,) = run(fly(to(server.url), entries(["a"])))

    assert (outcome.http_status, outcome.code) == (403, "AccessDenied")
    assert {region_of(request) for request in server.requests} == {"us-east-1"}


@pytest.mark.parametrize("named", ["eu west", "../evil", "a.b/c@evil.example", "x" * 300, "", "é"])
def test_region_that_is_none_is_not_followed(run: Run, named: str) -> None:
    # It becomes part of a host's name and of a signature: whoever answers mustn't choose where requests go.
    redirect = b"HTTP/1.1 301 Moved\r\ncontent-length: 0\r\nx-amz-bucket-region: " + named.encode() + b"\r\n\r\n"
    with ScriptedServer(lambda _: [redirect]) as server:
        (outcome,) = run(fly(to(server.url), entries(["a"])))

    assert (outcome.succeeded, outcome.http_status) == (False, 301)
    assert [region_of(request) for request in server.requests] == ["us-east-1"] * 2  # the second asks for the region


def test_failed_call_names_the_redirect(run: Run) -> None:
    async def call(url: str) -> None:
        async with S3(to(url), limits(), sleep=Naps()) as s3:
            await asyncio.wait_for(s3.call("ListObjectsV2", Bucket="lake", Prefix="p/"), 5.0)

    told = "ListObjectsV2 s3://lake/p/: 301 PermanentRedirect: Use another endpoint"
    redirect = error(301, "PermanentRedirect", "Use another endpoint.")
    with ScriptedServer(lambda _: [redirect]) as server, pytest.raises(S3Error, match=told):
        run(call(server.url))


class Faraway:
    """A transport whose first answer is a redirect. Remembers where each request went, and for which host it was."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def converse(self, origin: Origin, conversation: Conversation[Any], *, bodyless: bool = False) -> Any:  # noqa: ARG002
        try:
            said = next(conversation)
            while True:
                await asyncio.sleep(0.001)
                if not isinstance(said, bytes):  # it waits for its turn
                    said = next(conversation)
                    continue
                self.sent.append((origin.host, said.partition(b"\r\nhost: ")[2].partition(b"\r\n")[0].decode()))
                moved = b"HTTP/1.1 301\r\nx-amz-bucket-region: eu-west-3\r\n\r\n"
                said = conversation.send(Answer(301, moved) if len(self.sent) == 1 else Answer(200))
        except StopIteration as end:
            return end.value

    async def aclose(self) -> None:
        """Nothing to close."""


def test_lanes_under_way_send_nothing_to_the_old_region_that_was_made_for_the_new_one(run: Run) -> None:
    async def follow() -> list[Outcome]:
        access, some = S3Access(credentials=lambda: KEYS), entries(f"key-{n}" for n in range(200))
        async with S3(access, limits(in_flight=4), transport=faraway, sleep=Naps()) as s3:
            return [outcome async for done in s3.run(in_lists(some, 50), TAG) for outcome in done]

    faraway = Faraway()
    assert all(outcome.succeeded for outcome in run(follow()))
    assert len({origin for origin, _ in faraway.sent}) == 2
    assert all(origin == host for origin, host in faraway.sent)
