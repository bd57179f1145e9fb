"""A function as an operation: what it gets, what becomes of what it returns and raises, and where it runs."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3Error, Stopped
from airflow_s3batch.core.operations import PythonFunction, operation_from_aws
from airflow_s3batch.core.operations.python_function import AsyncS3Object, S3Object
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import entries, fly, limits, to
from tests.servers import ScriptedServer, answer

NAMED = PythonFunction("dags.shrink")
SIDE = contextvars.ContextVar("SIDE", default="nothing")


def perform(call: Callable[[Any], Any], *, s3: MemoryS3 | None = None, version: str | None = None) -> str:
    entry = Entry(1, "lake", "a b", version, "a%20b")

    async def main() -> str:
        with NAMED.bound(call, threads=2) as operation:
            return await operation.perform(entry, s3 or MemoryS3("lake"))

    return asyncio.run(main())


def test_function_gets_the_object_that_the_manifest_names() -> None:
    def tell(obj: S3Object) -> str:
        return f"{obj.bucket}|{obj.key}|{obj.version}|{obj.uri}|{obj!r}"

    assert perform(tell, version="v1") == "lake|a b|v1|s3://lake/a b|S3Object(s3://lake/a b)"


def test_coroutine_function_gets_it_as_well() -> None:
    async def tell(obj: AsyncS3Object) -> str:
        await asyncio.sleep(0)
        return f"{obj.uri} {obj.version}"

    assert perform(tell) == "s3://lake/a b None"


def test_object_is_read_by_either() -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "a b", b"bytes")

    async def read(obj: AsyncS3Object) -> str:
        return (await obj.read()).decode()

    assert perform(lambda obj: obj.read().decode(), s3=s3) == "bytes"
    assert perform(read, s3=s3) == "bytes"


def test_version_of_the_manifest_is_read() -> None:
    s3 = MemoryS3(versioned={"lake"})
    s3.put("lake", "a b", b"old")
    s3.put("lake", "a b", b"new")

    assert perform(lambda obj: obj.read().decode(), s3=s3, version="v1") == "old"


def test_calls_are_about_the_object_unless_they_say_otherwise() -> None:
    s3 = MemoryS3("lake", "other")
    s3.put("lake", "a b", b"bytes")

    def copy(obj: S3Object) -> None:
        obj.call(
            "PutObject", Bucket="other", Key=f"copy of {obj.key}", Body=obj.call("GetObject", Range="bytes=0-2")["Body"]
        )

    assert perform(copy, s3=s3) == ""
    assert s3.get("other", "copy of a b") == b"byt"


def test_version_is_that_of_this_object_and_can_be_left_out() -> None:
    s3 = MemoryS3(versioned={"lake"})
    s3.put("lake", "a b", b"old")
    s3.put("lake", "c", b"other")

    def call(obj: S3Object) -> str:
        obj.call("PutObject", VersionId=None, Body=b"new")
        return f"{obj.read().decode()} {obj.call('GetObject', Key='c')['Body'].decode()}"

    assert perform(call, s3=s3, version="v1") == "old other"
    assert s3.get("lake", "a b") == b"new"


@pytest.mark.parametrize("closed", ["before", "meanwhile"])
def test_call_of_a_function_that_outlives_the_run_ends(closed: str) -> None:
    loop = asyncio.new_event_loop()  # that nobody runs
    if closed == "before":
        loop.close()
    else:
        threading.Timer(0.1, loop.close).start()
    obj = S3Object(Entry(1, "lake", "key", None, "key"), MemoryS3("lake"), loop)

    with pytest.raises(Stopped, match="GetObject s3://lake/key: the run has ended"):
        obj.read()


class Odd(Exception):
    """Something of the author's."""


def raises(error: BaseException) -> Callable[[Any], Any]:
    def call(_: Any) -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        (raises(Odd("line\nbreak")), "Odd", "line\\nbreak"),
        (raises(ValueError()), "ValueError", ""),
        (raises(ObjectFailed("TooOld", "of 1999", 418)), "TooOld", "of 1999"),
        (raises(SystemExit("bye")), "SystemExit", "bye"),
        (lambda _: 7, "TypeError", "dags.shrink returned int, not a text or None"),
        (lambda obj: obj.call("GetObject", Kee=1), "InvalidInput", "MemoryS3 would have to ignore Kee of GetObject"),
    ],
)
def test_what_it_raises_fails_the_object(call: Callable[[Any], Any], code: str, message: str) -> None:
    with pytest.raises(ObjectFailed) as caught:
        perform(call)

    assert (caught.value.code, caught.value.message) == (code, message)


def test_what_s3_refuses_fails_the_object_with_its_code() -> None:
    with pytest.raises(S3Error, match="404 NoSuchKey"):
        perform(lambda obj: obj.read().decode())


def test_long_message_of_an_exception_is_cut() -> None:
    with pytest.raises(ObjectFailed) as caught:
        perform(raises(Odd("x" * 5_000)))

    assert len(caught.value.message) == 1_000


def test_first_error_of_a_kind_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def fail(obj: S3Object) -> None:
            raise (Odd if obj.key == "1" else ValueError)(obj.key)

        with NAMED.bound(fail, threads=1) as operation:
            for key in ("0", "1", "2"):
                with pytest.raises(ObjectFailed):
                    await operation.perform(Entry(1, "lake", key, None, key), MemoryS3())

    asyncio.run(main())

    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "dags.shrink failed for s3://lake/0",
        "dags.shrink failed for s3://lake/1",
    ]
    assert "in fail" in caplog.text


def test_function_sees_the_context_of_the_task() -> None:
    SIDE.set("the task's")

    assert perform(lambda _: SIDE.get()) == "the task's"


def test_it_runs_in_no_task_that_does_not_bring_it() -> None:
    with pytest.raises(InvalidInput, match=r"dags\.shrink runs only in the tasks"):
        asyncio.run(NAMED.perform(Entry(1, "lake", "key", None, "key"), MemoryS3()))


def test_words_of_the_job_give_the_same_operation() -> None:
    assert NAMED.to_aws() == {"S3BatchPython": {"Function": "dags.shrink"}}
    assert operation_from_aws(NAMED.to_aws()) == NAMED
    assert NAMED.requests("lake", "key", None) == []


@pytest.mark.parametrize("arguments", [{}, {"Function": ""}, {"Function": "f", "Source": "def"}])
def test_wrong_words_are_an_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        operation_from_aws({"S3BatchPython": arguments})


# In the engine


def flown(call: Callable[[Any], Any], *, threads: int, objects: int) -> list[Outcome]:
    async def main(url: str) -> list[Outcome]:
        with NAMED.bound(call, threads=threads) as operation:
            return await fly(to(url), entries(map(str, range(objects))), operation, chosen=limits(in_flight=64))

    with ScriptedServer(lambda _: [answer(200, b"x")]) as server:
        outcomes: list[Outcome] = engine.run(main(server.url))
    return outcomes


def test_plain_function_runs_in_so_many_threads_at_once() -> None:
    running, most, lock = set[int](), [0], threading.Barrier(5, timeout=10)

    def work(_: S3Object) -> None:
        running.add(threading.get_ident())
        lock.wait()
        most[0] = max(most[0], len(running))

    assert all(outcome.succeeded for outcome in flown(work, threads=5, objects=50))
    assert most[0] == 5


def test_coroutine_function_runs_as_often_at_once_as_requests_may_be_in_flight() -> None:
    running, most = [0], [0]

    async def work(obj: AsyncS3Object) -> str:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.01)
        running[0] -= 1
        return (await obj.read()).decode()

    assert {outcome.message for outcome in flown(work, threads=5, objects=300)} == {"x"}
    assert most[0] == 64


def test_outcomes_say_what_became_of_each() -> None:
    def work(obj: S3Object) -> str | None:
        if obj.key == "1":
            sys.exit("no more")
        return None if obj.key == "0" else obj.read().decode()

    told = {outcome.entry.key: outcome[1:] for outcome in flown(work, threads=2, objects=3)}

    assert told == {
        "0": (True, 200, "", "Successful"),
        "1": (False, 0, "SystemExit", "no more"),
        "2": (True, 200, "", "x"),
    }
