"""The kinds of operations: several calls an object, one call for many objects, and the rescue of one refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest
from pydantic import PrivateAttr

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import (
    InvalidInput,
    ManifestError,
    ObjectFailed,
    ReportError,
    S3Error,
    Stopped,
    Unreachable,
)
from airflow_s3batch.core.operations import (
    OPERATIONS,
    BatchOperation,
    Operation,
    RequestOperation,
    StepsOperation,
)
from airflow_s3batch.core.results import result_rows
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.conftest import Run
from tests.core.engine.flights import TAG, entries, fly, in_lists, limits, to
from tests.servers import Request, ScriptedServer, Step, answer, closed_port, error


def good(entry: Entry) -> Outcome:
    return Outcome(entry, succeeded=True, http_status=200, code="", message="Successful")


class Described(StepsOperation):
    """Two calls about every object."""

    aws_name: ClassVar[str] = "TestDescribed"

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        if entry.key.endswith("7"):
            raise ObjectFailed("OddKey", f"{entry.key} is odd", 418)
        await s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key)
        found = await s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key)
        return "" if entry.key.endswith("1") else f"{found['ContentLength']} bytes"


class Narrow(Described):
    """Counts how many objects are worked on at the same time."""

    aws_name: ClassVar[str] = "TestNarrow"
    most_at_once: ClassVar[int] = 3
    _now: int = PrivateAttr(default=0)
    _most: int = PrivateAttr(default=0)

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        self._now += 1
        self._most = max(self._most, self._now)
        await super().perform(entry, s3)
        self._now -= 1
        return str(self._most)


class Counted(BatchOperation):
    """Does nothing to its batches but tell their sizes; the second one fails."""

    aws_name: ClassVar[str] = "TestCounted"
    entries_per_request: ClassVar[int] = 100
    _sizes: list[int] = PrivateAttr(default_factory=list)

    async def perform_many(self, entries: Sequence[Entry], s3: S3Calls) -> list[Outcome]:  # noqa: ARG002
        self._sizes.append(len(entries))
        if len(self._sizes) == 2:
            raise S3Error("DeleteObjects", "s3://lake/", status=500, code="InternalError", message="not now")
        await asyncio.sleep(0)
        return [Outcome(entry, True, 200, "", str(len(entries))) for entry in reversed(entries)]


class Rescued(RequestOperation):
    """Finds another way for what was refused, except for keys that end in 3."""

    aws_name: ClassVar[str] = "TestRescued"

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        return "DeleteObjectTagging", {"Bucket": bucket, "Key": key}

    async def rescue(self, entry: Entry, error: S3Error, s3: S3Calls) -> str | None:  # noqa: ARG002
        return None if entry.key.endswith("3") else f"instead of {error.code}"


def heads(request: Request) -> Sequence[Step]:
    if "forbidden" in request.path:
        return [answer(403)]
    return [answer(200, b"", {"content-length": "42"} if request.method == "HEAD" else None)]


def test_an_operation_of_several_calls_has_one_outcome_an_object(run: Run) -> None:
    keys = [f"k{at}" for at in range(1_000)] + ["forbidden"]
    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries(keys), Described()))
    by_key = {outcome.entry.key: outcome[1:] for outcome in outcomes}
    assert len(outcomes) == len(by_key) == len(keys)
    assert by_key["k1"] == (True, 200, "", "Successful")
    assert by_key["k2"] == (True, 200, "", "42 bytes")
    assert by_key["k7"] == (False, 418, "OddKey", "k7 is odd")
    assert by_key["forbidden"][:2] == (False, 403)
    asked = Counter(request.path for request in server.requests)
    assert asked["/lake/k2"] == 2
    assert asked["/lake/k7"] == 0
    assert asked["/lake/forbidden"] == 1


def test_an_operation_says_how_many_objects_it_can_hold_at_once(run: Run) -> None:
    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries([f"k{at}x" for at in range(50)]), Narrow()))
    assert max(int(outcome.message) for outcome in outcomes) == 3


def test_batches_are_filled_and_one_that_fails_fails_all_its_objects(run: Run) -> None:
    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries([f"k{at}" for at in range(1_050)]), Counted(), size=64))
    assert Counter(outcome.message for outcome in outcomes) == {"100": 900, "50": 50, "not now": 100}
    assert {outcome.entry.row for outcome in outcomes} == set(range(1, 1_051))
    assert len(outcomes) == 1_050
    assert Counter(outcome[1:] for outcome in outcomes if not outcome.succeeded) == {
        (False, 500, "InternalError", "not now"): 100
    }


def test_what_was_refused_may_be_rescued(run: Run) -> None:
    with ScriptedServer(lambda _: [error(400, "InvalidRequest", "too large")]) as server:
        outcomes = run(fly(to(server.url), entries(["k2", "k3"]), Rescued()))
    assert {outcome.entry.key: outcome[1:] for outcome in outcomes} == {
        "k2": (True, 200, "", "instead of InvalidRequest"),
        "k3": (False, 400, "InvalidRequest", "too large"),
    }


def test_a_call_that_botocore_refuses_fails_its_object_alone(run: Run) -> None:
    class Wrong(StepsOperation):
        aws_name: ClassVar[str] = "TestWrong"

        async def perform(self, entry: Entry, s3: S3Calls) -> str:
            await s3.call("HeadObject", Bucket=entry.bucket, Key="" if entry.key == "bad" else entry.key)
            return ""

    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries(["good", "bad"]), Wrong()))
        assert [request.path for request in server.requests] == ["/lake/good"]
    assert {outcome.entry.key: outcome[1:4] for outcome in outcomes} == {
        "good": (True, 200, ""),
        "bad": (False, 0, "InvalidInput"),
    }


def test_an_error_of_an_operation_of_ones_own_fails_its_object_alone(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    class Careless(StepsOperation):
        aws_name: ClassVar[str] = "TestCareless"

        async def perform(self, entry: Entry, s3: S3Calls) -> str:  # noqa: ARG002
            return {"good": "fine"}[entry.key]

    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries(["good", "bad", "worse"]), Careless()))
    assert {outcome.entry.key: outcome[1:] for outcome in outcomes} == {
        "good": (True, 200, "", "fine"),
        "bad": (False, 0, "KeyError", "'bad'"),
        "worse": (False, 0, "KeyError", "'worse'"),
    }
    (told,) = [
        record for record in caplog.records if "failed for s3://lake/bad by an error of its own" in record.message
    ]
    assert told.exc_info


class Speechless(Exception):
    """Has a mistake of its own."""

    def __str__(self) -> str:
        raise KeyError("text")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("line\nbreak"), "ValueError", "line\\nbreak"),
        (ValueError("x" * 5_000), "ValueError", "x" * 999 + "…"),
        (SystemExit("bye"), "SystemExit", "bye"),
        (asyncio.CancelledError("my own"), "CancelledError", "my own"),
        (Speechless(), "Speechless", "a Speechless that can't be told as text"),
        (ManifestError("s3://lake/m", "is another's"), "ManifestError", "s3://lake/m: is another's"),
        (InvalidInput("no such thing"), "InvalidInput", "no such thing"),
        (S3Error("GetObject", "s3://lake/a", status=403, code="AccessDenied", message="no"), "AccessDenied", "no"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_whatever_code_of_ones_own_raises_is_its_objects_outcome(
    run: Run, error: BaseException, code: str, message: str, plain: bool
) -> None:
    class Raising(StepsOperation):
        aws_name: ClassVar[str] = "TestRaising"

        def perform(self, entry: Entry, s3: S3Calls) -> Any:  # noqa: ARG002
            if plain:  # as of an author who forgets the async
                raise error
            return self._fail()

        async def _fail(self) -> str:
            raise error

    with ScriptedServer(heads) as server:
        (outcome,) = run(fly(to(server.url), entries(["a"]), Raising()))
    assert (outcome.succeeded, outcome.code, outcome.message) == (False, code, message)


def test_task_that_an_operation_cancels_itself_fails_its_object_only(run: Run) -> None:
    class Cancelling(StepsOperation):
        aws_name: ClassVar[str] = "TestCancelling"

        async def perform(self, entry: Entry, s3: S3Calls) -> str:  # noqa: ARG002
            if entry.key != "good":
                waiting = asyncio.ensure_future(asyncio.sleep(60))
                waiting.cancel()
                await waiting
            return "fine"

    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries(["bad", "good", "worse"]), Cancelling()))
    assert sorted((outcome.entry.key, outcome.code) for outcome in outcomes) == [
        ("bad", "CancelledError"),
        ("good", ""),
        ("worse", "CancelledError"),
    ]


@pytest.mark.parametrize("impatient", [True, False], ids=["timed out", "let go with its siblings"])
def test_calls_that_an_operation_lets_go_of_hold_up_nobody(run: Run, impatient: bool) -> None:
    class LettingGo(StepsOperation):
        aws_name: ClassVar[str] = "TestLettingGo"

        async def perform(self, entry: Entry, s3: S3Calls) -> str:
            calling = [asyncio.ensure_future(s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key))]
            if entry.key.startswith("good"):
                await calling[0]
                return "done"
            if not impatient:
                calling.append(asyncio.ensure_future(s3.call("HeadObject", Bucket=entry.bucket, Key="forbidden")))
            done, slow = await asyncio.wait(calling, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            for call in (*done, *slow):
                call.cancel()
            ended = await asyncio.gather(*calling, return_exceptions=True)
            return ", ".join(type(end).__name__ for end in ended)

    def script(request: Request) -> Sequence[Step]:
        return heads(request) if "forbidden" in request.path or "good" in request.path else [0.3, *heads(request)]

    keys = [f"slow{at}" for at in range(6)] + [f"good{at}" for at in range(6)]
    with ScriptedServer(script) as server:
        flying = fly(to(server.url), entries(keys), LettingGo(), chosen=limits(in_flight=2))
        outcomes = run(asyncio.wait_for(flying, 20))
    told = {outcome.entry.key: outcome.message for outcome in outcomes}
    assert len(told) == len(keys)
    assert told["slow0"].startswith("CancelledError")
    assert [told[f"good{at}"] for at in range(6)] == ["done"] * 6


def test_object_whose_calls_are_never_answered_ends_nothing_but_itself(run: Run) -> None:
    with ScriptedServer(lambda request: [60.0] if "last" in request.path else heads(request)) as server:
        chosen = limits(in_flight=1, read_timeout=0.2, retries=1)
        outcomes = run(fly(to(server.url), entries(["a", "last"]), Described(), chosen=chosen))
    assert [(outcome.entry.key, outcome.code) for outcome in outcomes] == [("a", ""), ("last", "RequestTimeout")]


def test_run_that_is_stopped_tells_no_outcome_of_what_it_cancels(run: Run) -> None:
    class Endless(StepsOperation):
        aws_name: ClassVar[str] = "TestEndless"

        async def perform(self, entry: Entry, s3: S3Calls) -> str:  # noqa: ARG002
            await asyncio.sleep(600)
            return ""

    async def stopped(url: str) -> list[Outcome]:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        async with S3(to(url), limits()) as s3:
            flown = s3.run(in_lists(entries(["a", "b"]), 1), Endless(), stop=stop)
            return [outcome async for done in flown for outcome in done]

    with ScriptedServer(heads) as server:
        assert run(asyncio.wait_for(stopped(server.url), 30)) == []


@pytest.mark.parametrize("error", [Stopped("enough"), ReportError("the folder is away")])
def test_an_operation_can_end_the_run(run: Run, error: Exception) -> None:
    class Ending(StepsOperation):
        aws_name: ClassVar[str] = "TestEnding"

        async def perform(self, entry: Entry, s3: S3Calls) -> str:  # noqa: ARG002
            raise error

    with ScriptedServer(heads) as server, pytest.raises(type(error), match=str(error)):
        run(fly(to(server.url), entries(["a"]), Ending()))


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (lambda entries: [good(entry) for entry in reversed(entries)], ""),
        (lambda entries: [good(entry) for entry in entries[1:]], "OutcomesMissing"),
        (lambda entries: [good(entry) for entry in (*entries, entries[0])], "OutcomesMissing"),
        (lambda entries: [good(entry) for entry in (*entries[1:], entries[1])], "OutcomesMissing"),
        (lambda entries: [good(entry._replace(row=9)) for entry in entries], "OutcomesMissing"),
        (lambda _: None, "TypeError"),
    ],
    ids=["in any order", "one too few", "one too many", "one twice", "of another", "none"],
)
def test_a_batch_that_does_not_tell_each_outcome_once_has_failed(run: Run, told: Any, code: str) -> None:
    class Forgetful(BatchOperation):
        aws_name: ClassVar[str] = "TestForgetful"
        entries_per_request: ClassVar[int] = 3

        async def perform_many(self, entries: Sequence[Entry], s3: S3Calls) -> list[Outcome]:  # noqa: ARG002
            outcomes: list[Outcome] = told(entries)
            return outcomes

    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries(["a", "b", "c"]), Forgetful()))
    assert sorted((outcome.entry.row, outcome.code) for outcome in outcomes) == [(1, code), (2, code), (3, code)]


class Told(StepsOperation):
    """Says what it was told to say."""

    aws_name: ClassVar[str] = "TestTold"
    message: str

    async def perform(self, entry: Entry, s3: S3Calls) -> str:  # noqa: ARG002
        if entry.key == "failed":
            raise ObjectFailed("Odd", self.message)
        return self.message


class ToldOfMany(BatchOperation):
    aws_name: ClassVar[str] = "TestToldOfMany"
    entries_per_request: ClassVar[int] = 2
    message: str

    async def perform_many(self, entries: Sequence[Entry], s3: S3Calls) -> list[Outcome]:  # noqa: ARG002
        return [good(entry)._replace(code=self.message, message=self.message) for entry in entries]


@pytest.mark.parametrize("kind", [Told, ToldOfMany])
def test_whoever_reads_the_report_finds_a_row_a_line_whatever_messages_hold(
    run: Run, kind: type[Told | ToldOfMany], tmp_path: Path
) -> None:
    message = 'two\nlines\r\n, a "tab"\t, \0, \x1b[31m and ✓'
    with ScriptedServer(heads) as server:
        outcomes = run(
            fly(to(server.url), entries([*(f"k{at}" for at in range(5_000)), "failed"]), kind(message=message))
        )
    told = tmp_path / "results.csv"
    told.write_bytes(b"".join(result_rows([outcome]) for outcome in outcomes))

    (shown,) = {outcome.message for outcome in outcomes}
    assert shown == r'two\nlines\r\n, a "tab"\t, \x00, \x1b[31m and ✓'
    found = duckdb.execute(f"SELECT column6, count(*) FROM read_csv('{told}', header=false) GROUP BY 1").fetchall()
    assert found == [(shown, 5_001)]
    assert {outcome.code for outcome in outcomes} <= {shown, "", "Odd"}


def test_codes_and_messages_of_a_batch_are_cut(run: Run) -> None:
    with ScriptedServer(heads) as server:
        outcomes = run(fly(to(server.url), entries(["a", "b"]), ToldOfMany(message="x" * 200_000)))
    assert {(len(outcome.code), len(outcome.message)) for outcome in outcomes} == {(1_000, 1_000)}


def test_the_run_ends_when_nobody_answers_any_of_the_calls(run: Run) -> None:
    with pytest.raises(Unreachable):
        run(fly(to(f"http://127.0.0.1:{closed_port()}"), entries(["a", "b"]), Described(), chosen=limits(retries=1)))


def test_calls_that_differ_in_key_and_version_only_go_where_they_should(run: Run) -> None:
    async def main() -> None:
        with ScriptedServer(heads) as server:
            async with S3(to(server.url)) as s3:
                for key, more in (("a b", {}), ("é", {"VersionId": "v/1"}), ("c", {"VersionId": "v2"}), ("a b", {})):
                    await s3.call("HeadObject", Bucket="lake", Key=key, **more)
                await s3.call("HeadObject", Bucket="lake", Key="a b", RequestPayer="requester")
        targets = [request.target for request in server.requests]
        assert targets == ["/lake/a%20b", "/lake/%C3%A9?versionId=v%2F1", "/lake/c?versionId=v2", *["/lake/a%20b"] * 2]
        assert [request.header("x-amz-request-payer") for request in server.requests] == ["", "", "", "", "requester"]

    run(main())


def test_an_error_of_a_call_names_its_own_key(run: Run) -> None:
    async def main() -> None:
        with ScriptedServer(lambda _: [error(404, "NoSuchKey")]) as server:
            async with S3(to(server.url)) as s3:
                for key in ("a", "b"):
                    with pytest.raises(S3Error, match=f"GetObjectTagging s3://lake/{key}: 404 NoSuchKey"):
                        await s3.call("GetObjectTagging", Bucket="lake", Key=key)

    run(main())


def test_a_class_with_a_name_of_its_own_is_an_operation() -> None:
    assert OPERATIONS["TestDescribed"] is Described
    assert OPERATIONS["TestRescued"] is Rescued


def test_a_name_of_this_package_can_not_be_taken() -> None:
    with pytest.raises(InvalidInput, match="S3PutObjectTagging is PutObjectTagging's name; give it another aws_name"):

        class Mine(RequestOperation):
            aws_name: ClassVar[str] = "S3PutObjectTagging"


def test_an_operation_of_no_kind_is_refused(run: Run) -> None:
    class Plain(Operation):
        aws_name: ClassVar[str] = "TestPlain"

    def no_request(_: Request) -> Sequence[Step]:
        raise AssertionError("nothing is to be sent")

    of_a_kind = "Plain must be a RequestOperation, a StepsOperation or a BatchOperation"
    with ScriptedServer(no_request) as server, pytest.raises(InvalidInput, match=of_a_kind):
        run(fly(to(server.url), entries(["a"]), Plain()))


@pytest.mark.parametrize(
    ("operation", "rows"), [(TAG, 256), (Described(), 256), (Narrow(), 3), (Counted(), 1_600)], ids=repr
)
def test_an_operation_knows_how_many_rows_are_in_flight(operation: Operation, rows: int) -> None:
    assert operation.rows_in_flight(256) == rows
