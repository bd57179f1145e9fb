"""Whatever a server does, every object gets exactly one right outcome, and only what may pass is tried again."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import S3Error, Unreachable
from airflow_s3batch.core.operations import CopyObject
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.conftest import Run
from tests.core.engine.flights import TAG, Naps, entries, fly, in_lists, limits, to
from tests.servers import Move, Request, ScriptedServer, Step, answer, closed_port, error, error_body

OK = answer(200, headers={"x-amz-request-id": "1"})
COPIED = answer(200, b"<CopyObjectResult><ETag>&quot;1&quot;</ETag></CopyObjectResult>")
CHUNKED = {"transfer-encoding": "chunked"}
FAULTS: dict[str, Sequence[Step]] = {
    "reset before the answer": [Move.RESET],
    "closed before the answer": [Move.CLOSE],
    "reset in the status line": [b"HTTP/1.", Move.RESET],
    "closed in the headers": [b"HTTP/1.1 200 OK\r\ncontent-le", Move.CLOSE],
    "reset in the body": [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345", Move.RESET],
    "body shorter than its length": [answer(200, b"12345", {"content-length": "10"}), Move.CLOSE],
    "chunked body without its end": [answer(200, b"5\r\n12345\r\n", CHUNKED), Move.CLOSE],
    "chunk with a size that is none": [answer(200, b"five\r\n12345\r\n0\r\n\r\n", CHUNKED)],
    "length that is none": [answer(200, b"", {"content-length": "many"})],
    "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12"],
    "not HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "binary garbage": [bytes(range(256)) * 4],
    "a web page without a head": [b"<html><body>It works!</body></html>\r\n\r\n"],
    "only an interim answer": [b"HTTP/1.1 100 Continue\r\n\r\n", Move.CLOSE],
    "500": [error(500, "InternalError")],
    "502 of a proxy": [answer(502, b"<html>Bad Gateway</html>")],
    "503 SlowDown": [error(503, "SlowDown", "Please reduce your request rate.")],
    "503 without a body": [answer(503)],
    "504": [answer(504)],
    "429": [error(429, "TooManyRequests")],
    "400 RequestTimeout": [error(400, "RequestTimeout")],
    "500 and closed": [error(500, "InternalError", headers={"connection": "close"}), Move.CLOSE],
}
SUCCESSES: dict[str, Sequence[Step]] = {
    "200": [OK],
    "204": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "202": [answer(202)],
    "a body": [answer(200, b"x" * 100_000)],
    "chunked": [answer(200, b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\ntrailer: 1\r\n\r\n", CHUNKED)],
    "byte by byte": [bytes([byte]) for byte in answer(200, b"<ok/>")],
    "in two halves": [OK[:20], 0.01, OK[20:]],
    "100 first": [b"HTTP/1.1 100 Continue\r\n\r\n" + OK],
    "100 and 103 first, one after the other": [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        0.01,
        b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n",
        0.01,
        OK,
    ],
    "connection closed each time": [answer(200, headers={"connection": "close"}), Move.CLOSE],
    "closing announced, not done": [answer(200, headers={"connection": "close"})],
    "closed unannounced": [OK, Move.CLOSE],
    "reset unannounced": [OK, 0.005, Move.RESET],
    "HTTP/1.0": [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Move.CLOSE],
    "HTTP/1.0 without a length": [b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nbody until the end", Move.CLOSE],
    "HTTP/1.1 without a length": [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbody until the end", Move.CLOSE],
    "without a length, with one in its body": [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbody\r\ncontent-length: 99\r\n",
        Move.CLOSE,
    ],
    "HTTP/1.0 without a length and a body": [b"HTTP/1.0 200 OK\r\n\r\n", Move.CLOSE],
    "bare line feeds around it": [b"\r\n\r\n" + OK],
    "odd spelling of headers": [b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:0\r\nX-Odd:\r\n\r\n"],
}
PERMANENT: dict[str, tuple[bytes, int, str]] = {
    "403": (error(403, "AccessDenied"), 403, "AccessDenied"),
    "404": (error(404, "NoSuchKey"), 404, "NoSuchKey"),
    "404 without a body": (answer(404), 404, "NotFound"),
    "405": (error(405, "MethodNotAllowed"), 405, "MethodNotAllowed"),
    "400": (error(400, "MalformedXML"), 400, "MalformedXML"),
    "403 signature": (error(403, "SignatureDoesNotMatch"), 403, "SignatureDoesNotMatch"),
    "409": (error(409, "RestoreAlreadyInProgress"), 409, "RestoreAlreadyInProgress"),
    "501": (error(501, "NotImplemented"), 501, "NotImplemented"),
    "403 with an empty code": (answer(403, b"<Error><Code/><Code> </Code></Error>"), 403, "AccessDenied"),
    "403 with a code of nothing": (answer(403, b"<Error><Code><![CDATA[]]></Code></Error>"), 403, "AccessDenied"),
    "418 with an empty type": (answer(418, b"{}", {"x-amzn-errortype": ":http://a/"}), 418, "418"),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, "NotModified"),
    "302": (answer(302, headers={"location": "http://elsewhere.example/"}), 302, "302"),
}


def per_key(script: Callable[[str, int], Sequence[Step]]) -> Callable[[Request], Sequence[Step]]:
    """A script by key and how often the key has been asked for, from 1."""
    asked: Counter[str] = Counter()

    def answering(request: Request) -> Sequence[Step]:
        key = request.path.removeprefix("/lake/")
        asked[key] += 1
        return script(key, asked[key])

    return answering


def tries(server: ScriptedServer) -> Counter[str]:
    return Counter(request.path.removeprefix("/lake/") for request in server.requests)


def assert_one_each(outcomes: Sequence[Outcome], count: int) -> None:
    assert sorted(outcome.entry.row for outcome in outcomes) == list(range(1, count + 1))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again_until_it_succeeds(run: Run, fault: str) -> None:
    keys = [f"k{number}" for number in range(20)]
    with ScriptedServer(per_key(lambda _, asked: FAULTS[fault] if asked <= 2 else [OK])) as server:
        outcomes = run(fly(to(server.url), entries(keys)))

    assert_one_each(outcomes, len(keys))
    assert all(outcome[1:] == (True, 200, "", "Successful") for outcome in outcomes)
    # A connection that is closed just as it is used again says nothing about the object, and is tried again for free.
    assert set(tries(server).values()) == {3}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_pass_fails_once_the_retries_are_used_up(run: Run, fault: str) -> None:
    naps = Naps()
    with ScriptedServer(per_key(lambda key, _: FAULTS[fault] if key == "bad" else [OK])) as server:
        outcomes = run(
            fly(to(server.url), entries(["a", "bad", "c"]), chosen=limits(in_flight=1, retries=3), naps=naps)
        )

    assert_one_each(outcomes, 3)
    bad = next(outcome for outcome in outcomes if outcome.entry.key == "bad")
    assert not bad.succeeded
    assert bad.code
    assert bad.message
    assert sum(outcome.succeeded for outcome in outcomes) == 2
    # The kept-alive connection of its neighbour may have been closed under the first attempt.
    assert tries(server)["bad"] in {4, 5}
    assert len(naps.taken) == 3
    assert all(0 <= nap <= bound for nap, bound in zip(naps.taken, (0.1, 0.2, 0.4), strict=True))


@pytest.mark.parametrize("success", SUCCESSES)
def test_every_way_to_say_yes_is_understood(run: Run, success: str) -> None:
    keys = [f"k{number}" for number in range(50)]
    with ScriptedServer(lambda _: SUCCESSES[success]) as server:
        outcomes = run(fly(to(server.url), entries(keys), chosen=limits(retries=0)))

    assert_one_each(outcomes, len(keys))
    assert all(outcome.succeeded for outcome in outcomes), Counter(outcome[1:] for outcome in outcomes)
    assert all(outcome.message == "Successful" for outcome in outcomes)


@pytest.mark.parametrize("refusal", PERMANENT)
def test_permanent_errors_are_outcomes_at_once(run: Run, refusal: str) -> None:
    sent, status, code = PERMANENT[refusal]
    with ScriptedServer(per_key(lambda key, _: [sent if key == "bad" else OK])) as server:
        outcomes = run(fly(to(server.url), entries(["a", "bad", "c"])))

    assert_one_each(outcomes, 3)
    bad = next(outcome for outcome in outcomes if outcome.entry.key == "bad")
    assert (bad.succeeded, bad.http_status, bad.code) == (False, status, code)
    assert sum(outcome.succeeded for outcome in outcomes) == 2
    assert tries(server) == {"a": 1, "bad": 1, "c": 1}


@pytest.mark.parametrize(
    ("body", "code", "asked"),
    [
        (error_body("AccessDenied"), "AccessDenied", 1),
        (error_body("InternalError", "We encountered an internal error. Please try again."), "InternalError", 4),
        (b"  \n" + error_body("SlowDown"), "SlowDown", 4),
        (b"  \n  ", "InternalError", 4),
        (
            b'<?xml version="1.0"?><Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>NoSuchKey</Code></Error>',
            "NoSuchKey",
            1,
        ),
    ],
)
def test_error_inside_a_200_of_a_copy_is_a_failure(run: Run, body: bytes, code: str, asked: int) -> None:
    # S3 keeps a long copy's connection alive with white space after the 200, and may still fail.
    with ScriptedServer(lambda _: [answer(200, body)]) as server:
        (outcome,) = run(fly(to(server.url), entries(["k"]), CopyObject("archive"), chosen=limits(retries=3)))

    assert (outcome.succeeded, outcome.code) == (False, code)
    assert len(server.requests) == asked


def test_copy_that_fails_inside_a_200_is_tried_again(run: Run) -> None:
    bodies = itertools.chain([answer(200, error_body("InternalError"))] * 2, itertools.repeat(COPIED))
    with ScriptedServer(lambda _: [next(bodies)]) as server:
        (outcome,) = run(fly(to(server.url), entries(["k"]), CopyObject("archive")))

    assert outcome.succeeded
    assert len(server.requests) == 3


def test_bytes_that_nobody_asked_for_are_nobodys_answer(run: Run) -> None:
    # Were the second answer taken for the next request's, every failure behind it would be reported as its neighbour's.
    doubled = OK + OK
    script = per_key(lambda key, _: [error(404, "NoSuchKey") if key.startswith("bad") else doubled])
    keys = [f"{'bad' if number % 3 == 1 else 'good'}{number}" for number in range(60)]
    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(keys), chosen=limits(in_flight=2)))

    assert_one_each(outcomes, len(keys))
    wrong = [outcome for outcome in outcomes if outcome.succeeded == outcome.entry.key.startswith("bad")]
    assert not wrong


@pytest.mark.parametrize(
    "sent",
    [
        [OK + b"HTTP/1.1 200 OK\r\n"],
        [OK + b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"],
        [OK * 3],
        [OK + b"x"],
        [OK + bytes(1_000)],
        # Later another answer couldn't be told from the next one's, but nobody would take these for one.
        [OK, 0.003, b"HTTP/1.1 200 OK\r\n"],
        [OK, 0.003, b"x"],
        [OK, 0.003, bytes(1_000)],
    ],
    ids=[
        "half a head",
        "another answer",
        "three answers",
        "a byte",
        "zeros",
        "half a head later",
        "a byte later",
        "zeros later",
    ],
)
def test_surplus_bytes_behind_an_answer_change_no_outcome(run: Run, sent: list[Step]) -> None:
    script = per_key(lambda key, _: [error(403, "AccessDenied") + OK] if key.startswith("bad") else sent)
    keys = [f"{'bad' if number % 5 == 0 else 'good'}{number}" for number in range(40)]
    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(keys), chosen=limits(in_flight=2, retries=20)))

    assert_one_each(outcomes, len(keys))
    assert not [outcome for outcome in outcomes if outcome.succeeded == outcome.entry.key.startswith("bad")]


def test_a_body_longer_than_its_length_is_cut_at_it(run: Run) -> None:
    script = per_key(lambda key, _: [answer(404 if key == "bad" else 200, b"12345", {"content-length": "3"})])
    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(["a", "bad", "c", "d"]), chosen=limits(in_flight=1)))

    assert_one_each(outcomes, 4)
    assert {outcome.entry.key for outcome in outcomes if not outcome.succeeded} == {"bad"}


class StandsStill(CopyObject):
    """Where one object would be begun, the process stands still, as on a machine that is moved."""

    def target_for(self, entry: Entry) -> str:
        if entry.key == "still":
            time.sleep(1.0)
        return super().target_for(entry)


class TestTimeouts:
    @pytest.mark.parametrize(
        "steps",
        [
            [Move.STALL],
            [b"HTTP/1.1 200 OK\r\n", Move.STALL],
            [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123", Move.STALL],
            [step for byte in answer(200, b"x" * 1_000) for step in (bytes([byte]), 0.05)],
        ],
        ids=["no answer", "half a head", "half a body", "a trickle"],
    )
    def test_an_answer_that_does_not_come_times_out(self, run: Run, steps: list[Step]) -> None:
        chosen = limits(read_timeout=0.3, retries=1)
        started = time.monotonic()
        with ScriptedServer(per_key(lambda key, _: steps if key == "bad" else [OK])) as server:
            outcomes = run(fly(to(server.url), entries(["a", "bad", "c"]), chosen=chosen))
            took = time.monotonic() - started

        assert_one_each(outcomes, 3)
        bad = next(outcome for outcome in outcomes if outcome.entry.key == "bad")
        assert (bad.succeeded, bad.http_status, bad.code) == (False, 0, "RequestTimeout")
        assert "0.3 s" in bad.message
        assert tries(server)["bad"] == 2
        assert 0.6 <= took < 3.0

    def test_a_slow_answer_within_the_timeout_is_waited_for(self, run: Run) -> None:
        with ScriptedServer(lambda _: [0.4, OK]) as server:
            outcomes = run(fly(to(server.url), entries(["a"]), chosen=limits(read_timeout=1.0, retries=0)))

        assert outcomes[0].succeeded

    @pytest.mark.parametrize(("size", "count", "pause"), [(200_000, 8, 0.1), (6_000, 20, 0.05)], ids=["large", "small"])
    def test_a_body_may_take_longer_than_the_timeout_while_it_comes(
        self, run: Run, size: int, count: int, pause: float
    ) -> None:
        piece = b"x" * size
        steps: list[Step] = [answer(200, headers={"content-length": str(count * size)})]
        steps += [step for _ in range(count) for step in (piece, pause)]

        async def get(url: str) -> bytes:
            async with S3(to(url), limits(read_timeout=0.4, retries=0)) as s3:
                body: bytes = (await s3.call("GetObject", Bucket="lake", Key="k"))["Body"]
                return body

        with ScriptedServer(lambda _: steps) as server:
            assert run(get(server.url)) == piece * count

    @pytest.mark.parametrize("piece", [b"1\r\n \r\n", b"2\r\n\r\n\r\n"], ids=["a space", "a line"])
    def test_white_space_by_which_s3_says_that_it_is_still_copying_is_waited_for(self, run: Run, piece: bytes) -> None:
        document = COPIED.partition(b"\r\n\r\n")[2]
        began = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n15\r\n<?xml version="1.0"?>\r\n'
        steps: list[Step] = [began, *(step for _ in range(8) for step in (piece, 0.2))]
        with ScriptedServer(lambda _: [*steps, b"%x\r\n%b\r\n0\r\n\r\n" % (len(document), document)]) as server:
            chosen = limits(read_timeout=0.5, retries=1)
            outcomes = run(fly(to(server.url), entries(["a", "b"]), CopyObject("archive"), chosen=chosen))

        assert [outcome.succeeded for outcome in outcomes] == [True, True]
        assert len(server.requests) == 2

    def test_white_space_is_not_waited_for_for_ever(self, run: Run) -> None:
        began = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
        with ScriptedServer(lambda _: [began, *(step for _ in range(100) for step in (b" ", 0.05))]) as server:
            started = time.monotonic()
            chosen = limits(read_timeout=0.1, retries=0)
            (outcome,) = run(fly(to(server.url), entries(["a"]), CopyObject("archive"), chosen=chosen))
            took = time.monotonic() - started

        assert outcome.code == "RequestTimeout"
        assert 1.4 <= took < 4.0

    def test_one_stalled_object_holds_nobody_up(self, run: Run) -> None:
        keys = ["stalled", *(f"k{number}" for number in range(500))]
        seen: list[float] = []

        async def fly_watched(url: str) -> list[Outcome]:
            async with S3(to(url), limits(in_flight=4, read_timeout=2.0, retries=0), sleep=Naps()) as s3:
                outcomes: list[Outcome] = []
                started = time.monotonic()
                async for some in s3.run(in_lists(entries(keys), 100), TAG):
                    outcomes += some
                    seen.append(time.monotonic() - started if len(outcomes) >= 500 else 99.0)
                return outcomes

        with ScriptedServer(per_key(lambda key, _: [Move.STALL] if key == "stalled" else [OK])) as server:
            outcomes = run(fly_watched(server.url))

        assert_one_each(outcomes, len(keys))
        assert min(seen) < 1.9
        assert [outcome.code for outcome in outcomes if not outcome.succeeded] == ["RequestTimeout"]

    def test_an_answer_that_came_while_the_process_stood_still_counts(self, run: Run) -> None:
        chosen = limits(in_flight=2, read_timeout=0.3, retries=5)
        with ScriptedServer(per_key(lambda key, _: [0.1, COPIED] if key == "copy/slow" else [COPIED])) as server:
            copy = StandsStill(target_bucket="lake", target_key="copy/{name}")
            outcomes = run(fly(to(server.url), entries(["slow", "a", "still"]), copy, chosen=chosen))

        assert_one_each(outcomes, 3)
        assert all(outcome.succeeded for outcome in outcomes)
        assert tries(server) == {"copy/slow": 1, "copy/a": 1, "copy/still": 1}

    def test_a_connection_that_does_not_open_times_out(self, run: Run) -> None:
        # TLS towards a server that never answers the handshake.
        chosen = limits(connect_timeout=0.3, retries=1)
        with ScriptedServer(lambda _: [OK], greeting=lambda _: [Move.STALL]) as server:
            with pytest.raises(Unreachable, match=r"not connected within 0\.3 s"):
                run(fly(to(server.url.replace("http:", "https:")), entries(["a"]), chosen=chosen))
            assert server.greeted == 2


class TestKeepAlive:
    def test_connections_are_used_again(self, run: Run) -> None:
        with ScriptedServer(lambda _: [OK]) as server:
            outcomes = run(
                fly(to(server.url), entries(f"k{number}" for number in range(500)), chosen=limits(in_flight=7))
            )

        assert len(outcomes) == 500
        assert server.greeted <= 7

    def test_connections_closed_while_idle_burn_no_retries(self, run: Run) -> None:
        served = Counter[int]()

        def script(request: Request) -> Sequence[Step]:
            served[request.connection] += 1
            return [OK] if served[request.connection] < 5 else [OK, Move.CLOSE]

        naps = Naps()
        with ScriptedServer(script) as server:
            outcomes = run(
                fly(to(server.url), entries(f"k{number}" for number in range(500)), chosen=limits(retries=0), naps=naps)
            )

        assert_one_each(outcomes, 500)
        assert all(outcome.succeeded for outcome in outcomes)
        assert not naps.taken

    def test_a_stale_connection_is_not_used_for_a_later_call(self, run: Run) -> None:
        async def call_twice(url: str) -> None:
            async with S3(to(url), limits(retries=0)) as s3:
                await s3.call("HeadObject", Bucket="lake", Key="a")
                await asyncio.sleep(0.1)
                await s3.call("HeadObject", Bucket="lake", Key="b")

        with ScriptedServer(lambda _: [OK, 0.02, Move.CLOSE]) as server:
            run(call_twice(server.url))
            assert server.greeted == 2

    @pytest.mark.parametrize(("seconds", "asked"), [(0.0, 3), (0.6, 2)], ids=["at once", "after a while"])
    def test_what_may_have_been_done_is_not_sent_again(self, run: Run, seconds: float, asked: int) -> None:
        """A connection that is closed as it is used again never carried the request; later, it may have."""

        async def invoke_twice(url: str) -> None:
            async with S3(to(url), limits(retries=3), sleep=Naps()) as s3:
                await s3.call("lambda:Invoke", FunctionName="f", Payload=b"first")
                if seconds:
                    with pytest.raises(Unreachable, match="ConnectionReset"):
                        await s3.call("lambda:Invoke", FunctionName="f", Payload=b"second")
                else:
                    await s3.call("lambda:Invoke", FunctionName="f", Payload=b"second")

        served = Counter[int]()

        def script(request: Request) -> Sequence[Step]:
            served[request.connection] += 1
            return [OK] if served[request.connection] == 1 else [seconds, Move.CLOSE]

        with ScriptedServer(script) as server:
            run(invoke_twice(server.url))
            assert len(server.requests) == asked

    def test_head_answers_have_a_length_and_no_body(self, run: Run) -> None:
        async def heads(url: str) -> list[int]:
            async with S3(to(url), limits(retries=0)) as s3:
                return [(await s3.call("HeadObject", Bucket="lake", Key="k"))["ContentLength"] for _ in range(10)]

        with ScriptedServer(lambda _: [answer(200, headers={"content-length": "12345"})]) as server:
            assert run(heads(server.url)) == [12345] * 10
            assert server.greeted == 1


class TestAway:
    def test_endpoint_that_was_never_there_is_unreachable(self, run: Run) -> None:
        naps = Naps()
        with pytest.raises(Unreachable, match=r"PutObjectTagging s3://lake/k.*ConnectError.*127.0.0.1"):
            run(
                fly(
                    to(f"http://127.0.0.1:{closed_port()}"), entries(f"k{number}" for number in range(5_000)), naps=naps
                )
            )

        assert len(naps.taken) >= 8

    def test_name_that_does_not_resolve_is_unreachable(self, run: Run) -> None:
        with pytest.raises(Unreachable, match=r"nowhere\.invalid"):
            run(fly(to("http://nowhere.invalid"), entries(["k"]), chosen=limits(retries=1)))

    def test_call_to_an_endpoint_that_is_not_there_is_unreachable(self, run: Run) -> None:
        async def call() -> None:
            async with S3(to(f"http://127.0.0.1:{closed_port()}"), limits(retries=1), sleep=Naps()) as s3:
                await s3.call("GetObject", Bucket="lake", Key="k")

        with pytest.raises(Unreachable, match="GetObject s3://lake/k: ConnectError"):
            run(call())

    def test_endpoint_that_goes_away_ends_the_run_and_keeps_what_was_done(self, run: Run) -> None:
        total, until, in_flight = 20_000, 3_000, 16
        served = itertools.count(1)

        def script(_: Request) -> Sequence[Step]:
            if next(served) == until:
                server.go_away()
            return [OK]

        done: list[Outcome] = []

        async def fly_until_away(url: str) -> None:
            async with S3(to(url), limits(in_flight=in_flight), sleep=Naps()) as s3:
                async for some in s3.run(in_lists(entries(f"k{number}" for number in range(total)), 1_000), TAG):
                    done.extend(some)

        with ScriptedServer(script) as server, pytest.raises(Unreachable):
            run(fly_until_away(server.url))

        succeeded = [outcome.entry.row for outcome in done if outcome.succeeded]
        assert until - in_flight <= len(succeeded) == len(set(succeeded)) <= until
        assert sum(not outcome.succeeded for outcome in done) <= in_flight

    def test_endpoint_that_refuses_for_a_while_costs_retries_and_no_object(self, run: Run) -> None:
        with ScriptedServer(lambda _: [OK], greeting=lambda number: [Move.RESET] if number <= 20 else []) as server:
            outcomes = run(fly(to(server.url), entries(f"k{number}" for number in range(100))))

        assert_one_each(outcomes, 100)
        assert all(outcome.succeeded for outcome in outcomes)


class TestEnd:
    """A generator closed early leaves nothing behind: warnings about tasks and sockets are errors."""

    @pytest.mark.parametrize("steps", [[OK], [0.2, OK], [Move.STALL]], ids=["quick", "slow", "stalled"])
    def test_closing_the_outcomes_early_leaves_no_task_and_no_connection(self, run: Run, steps: list[Step]) -> None:
        async def leave(url: str) -> set[asyncio.Task[Any]]:
            before = asyncio.all_tasks()
            async with S3(to(url), limits(in_flight=20)) as s3:
                outcomes = s3.run(in_lists(entries(f"k{number}" for number in range(50_000)), 1_000), TAG)
                waiting = asyncio.ensure_future(outcomes.__anext__())
                await asyncio.wait({waiting}, timeout=0.3)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                await outcomes.aclose()
            return asyncio.all_tasks() - before

        with ScriptedServer(lambda _: steps) as server:
            left = run(leave(server.url))
            deadline = time.monotonic() + 2.0
            while server.connections and time.monotonic() < deadline:
                time.sleep(0.01)

            assert not left
            assert server.connections == 0

    def test_a_run_is_cancelled_at_once(self, run: Run) -> None:
        async def cancel(url: str) -> None:
            flying = asyncio.ensure_future(fly(to(url), entries(f"k{number}" for number in range(100))))
            await asyncio.sleep(0.2)
            flying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(flying, 2.0)

        with ScriptedServer(lambda _: [Move.STALL]) as server:
            run(cancel(server.url))

    def test_calls_after_a_run_still_work(self, run: Run) -> None:
        async def leave_and_call(url: str) -> dict[str, Any]:
            async with S3(to(url), limits(), sleep=Naps()) as s3:
                async for _ in s3.run(in_lists(entries(f"k{number}" for number in range(10_000)), 1_000), TAG):
                    break
                return await s3.call("HeadObject", Bucket="lake", Key="k")

        with ScriptedServer(lambda _: [OK]) as server:
            assert run(leave_and_call(server.url))["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_error_of_a_call_says_what_where_and_why(run: Run) -> None:
    async def call(url: str) -> None:
        async with S3(to(url), limits(), sleep=Naps()) as s3:
            await s3.call("GetObject", Bucket="lake", Key="a\nb")

    with (
        ScriptedServer(lambda _: [error(403, "AccessDenied", "Not\n for you")]) as server,
        pytest.raises(S3Error) as caught,
    ):
        run(call(server.url))

    assert str(caught.value) == r"GetObject s3://lake/a\nb: 403 AccessDenied: Not\n for you"
    assert (caught.value.status, caught.value.code, caught.value.message) == (403, "AccessDenied", "Not\n for you")
