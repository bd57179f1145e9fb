"""MoveObject: what is moved, in which order, and that nothing is deleted that hasn't been verified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, Unreachable
from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.operations import (
    CopyObject,
    Grant,
    MoveObject,
    Operation,
    VerifyObject,
    operation_from_aws,
)
from airflow_s3batch.core.operations.base import RUNNING_SINCE
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import Entry, FactualEntry, Outcome
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store, keys_of
from tests.core.scripted import OWNER, ScriptedEngine, spec, succeeds
from tests.core.simulated import in_simulated_time
from tests.core.test_operations_wire import NEWEST
from tests.servers import Move, Request, ScriptedServer, Step, answer, error

conditional = pytest.mark.skipif(not NEWEST, reason="this botocore doesn't know CopyObject's If-None-Match yet")
OVERWRITES = [True, pytest.param(False, marks=conditional)]

GIB = 2**30
POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/lake-point"
MOVED_BEFORE = "Moved before: the source is gone, and the target is there"
SINCE = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
"""When the job was created that runs, where a test says so."""


def move_to(target: str, **options: Any) -> MoveObject:
    """A move that leaves what is at its target alone, or one that doesn't where botocore can't say that."""
    return MoveObject(target, **{"overwrite": not NEWEST, **options})


# Against stores


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp("move")) as store:
        yield store


def moved(store: Store, bucket: str, operation: MoveObject, bodies: dict[str, bytes], *rows: str) -> list[Outcome]:
    """Make the bucket with these objects, and one ``<bucket>-archive``; move the rows."""

    async def moving() -> list[Outcome]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            for name in (bucket, f"{bucket}-archive"):
                await s3.call("CreateBucket", Bucket=name)
            for key, body in bodies.items():
                await s3.call("PutObject", Bucket=bucket, Key=key, Body=body, Metadata={"origin": "lake"})
            some = entries(rows or bodies, bucket=bucket)
            return [outcome async for done in s3.run(in_lists(some, 100), operation) for outcome in done]

    outcomes: list[Outcome] = engine.run(moving())
    return outcomes


@contextmanager
def running_since(when: datetime) -> Iterator[None]:
    """As in a job that was created then."""
    token = RUNNING_SINCE.set(when)
    try:
        yield
    finally:
        RUNNING_SINCE.reset(token)


def got(store: Store, bucket: str, key: str) -> tuple[bytes, dict[str, str]]:
    async def getting() -> tuple[bytes, dict[str, str]]:
        async with S3(to(store.url), limits()) as s3:
            there = await s3.call("GetObject", Bucket=bucket, Key=key)
            return there["Body"], there["Metadata"]

    told: tuple[bytes, dict[str, str]] = engine.run(getting())
    return told


def test_objects_of_every_awkward_key_are_moved(store: Store) -> None:
    bodies = {key: key.encode() for key in store.keys}

    outcomes = moved(store, "awkward", move_to("awkward-archive", target_prefix="old/"), bodies)

    assert {(outcome.succeeded, outcome.message) for outcome in outcomes} == {(True, "Successful")}
    assert keys_of(store, "awkward") == []
    assert set(keys_of(store, "awkward-archive")) == {f"old/{key}" for key in store.keys}
    assert got(store, "awkward-archive", "old/a//b") == (b"a//b", {"origin": "lake"})


def test_objects_are_moved_within_their_bucket(store: Store) -> None:
    bodies = {"tmp/a": b"1", "tmp/b/c": b"2", "else": b"3"}

    outcomes = moved(store, "within", move_to("within", strip_prefix="tmp/"), bodies)

    assert sorted(outcome.code for outcome in outcomes) == ["", "", "KeyNotMatched"]
    assert sorted(keys_of(store, "within")) == ["a", "b/c", "else"]


def test_object_that_is_neither_here_nor_there_fails(store: Store) -> None:
    (outcome,) = moved(store, "nowhere", move_to("nowhere-archive"), {}, "not there")

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 404, "NoSuchKey")
    assert outcome.message == "the source s3://nowhere/not there isn't there"


@pytest.mark.parametrize(("since", "code"), [(timedelta(0), ""), (timedelta(hours=1), "NoSuchKey")])
def test_rerun_finds_what_this_job_moved_before(store: Store, since: timedelta, code: str) -> None:
    bucket = f"rerun-{since.seconds}"
    with running_since(datetime.now(timezone.utc) + since):
        first = moved(store, bucket, move_to(f"{bucket}-archive"), {"a": b"1"})

        again = engine.run(fly(to(store.url), entries(["a"], bucket=bucket), move_to(f"{bucket}-archive")))

    assert [outcome.code for outcome in (*first, *again)] == ["", code]
    assert again[0].succeeded is (code == "")
    assert (again[0].message == MOVED_BEFORE) is (code == "")


class Dying:
    """An S3 that a worker reaches so many times more before it dies, its last call arriving or not."""

    def __init__(self, s3: S3Calls, calls: int, *, arrives: bool) -> None:
        self._s3 = s3
        self._calls = calls
        self._arrives = arrives

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        self._calls -= 1
        if self._calls >= 0:
            return await self._s3.call(action, **parameters)
        if self._arrives:
            await self._s3.call(action, **parameters)
        raise Unreachable(action, "", status=0, code="Killed", message="nobody hears the answer")


@pytest.mark.parametrize("overwrite", OVERWRITES)
@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("calls", range(4))
def test_object_is_never_lost_wherever_the_worker_dies(
    store: Store, calls: int, arrives: bool, overwrite: bool
) -> None:
    bucket = f"dies-{calls}-{arrives}-{overwrite}".lower()
    operation, entry = move_to(f"{bucket}-archive", overwrite=overwrite), Entry(1, bucket, "a b", None, "a%20b")

    async def bodies(s3: S3, *buckets: str) -> list[bytes]:
        listed = [(name, await s3.call("ListObjectsV2", Bucket=name)) for name in buckets]
        keys = [(name, item["Key"]) for name, told in listed for item in told.get("Contents", ())]
        return [(await s3.call("GetObject", Bucket=name, Key=key))["Body"] for name, key in keys]

    async def dying() -> tuple[list[bytes], list[bytes], list[bytes]]:
        async with S3(to(store.url), limits(retries=0), sleep=Naps()) as s3:
            for name in (bucket, f"{bucket}-archive"):
                await s3.call("CreateBucket", Bucket=name)
            await s3.call("PutObject", Bucket=bucket, Key="a b", Body=b"1")
            with pytest.raises(Unreachable):
                await operation.perform(entry, Dying(s3, calls, arrives=arrives))
            meanwhile = await bodies(s3, bucket, f"{bucket}-archive")
            await operation.perform(entry, s3)
            return meanwhile, await bodies(s3, bucket), await bodies(s3, f"{bucket}-archive")

    with running_since(datetime.now(timezone.utc)):
        meanwhile, source, target = engine.run(dying())

    assert set(meanwhile) == {b"1"}
    assert (source, target) == ([], [b"1"])


def test_rerun_after_a_kill_between_copy_and_delete_ends_well(store: Store) -> None:
    bodies = {"a": b"1", "archived/a": b"1"}  # as a worker leaves them that is killed then

    (outcome,) = moved(store, "killed", move_to("killed", target_prefix="archived/"), bodies, "a")

    assert (outcome.succeeded, outcome.message) == (True, "Successful")
    assert keys_of(store, "killed") == ["archived/a"]


def test_only_the_version_that_the_manifest_names_is_moved(store: Store) -> None:
    async def moving() -> tuple[Outcome, list[dict[str, Any]], bytes]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            for bucket in ("versions", "versions-archive"):
                await s3.call("CreateBucket", Bucket=bucket)
            await s3.call("PutBucketVersioning", Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
            older, _ = [
                (await s3.call("PutObject", Bucket="versions", Key="k", Body=body))["VersionId"]
                for body in (b"1", b"2")
            ]
            some = entries(["k"], bucket="versions", version=older)
            (done,) = [done async for done in s3.run(in_lists(some, 1), move_to("versions-archive"))]
            left = await s3.call("ListObjectVersions", Bucket="versions")
            there = await s3.call("GetObject", Bucket="versions-archive", Key="k")
            return done[0], [*left["Versions"], *left.get("DeleteMarkers", ())], there["Body"]

    outcome, left, body = engine.run(moving())

    assert outcome.succeeded
    assert body == b"1"
    assert [version["IsLatest"] for version in left] == [True]


# Against a server that records, and breaks


Answers = dict[str, Callable[[Request], Sequence[Step]]]


def kind(request: Request) -> str:
    if request.method == "HEAD":
        return "HeadSource" if request.path.startswith("/lake/") else "HeadTarget"
    return {"PUT": "Copy", "DELETE": "Delete", "GET": "Get", "POST": "Post"}[request.method]


def head_of(etag: str = "a" * 32, /, size: int = 10, **headers: str) -> list[Step]:
    told = {"content-length": str(size), "etag": f'"{etag}"', **headers}
    return [answer(200, b"", {name.replace("_", "-"): value for name, value in told.items()})]


def copied(etag: str = "a" * 32, headers: dict[str, str] | None = None) -> list[Step]:
    return [answer(200, f'<CopyObjectResult><ETag>"{etag}"</ETag></CopyObjectResult>'.encode(), headers)]


ORDINARY: Answers = {
    "HeadSource": lambda _: head_of(),
    "Copy": lambda _: copied(),
    "HeadTarget": lambda _: head_of(),
    "Delete": lambda _: [answer(204)],
}


def recording(**answers: Callable[[Request], Sequence[Step]]) -> ScriptedServer:
    told = {**ORDINARY, **answers}
    return ScriptedServer(lambda request: told[kind(request)](request))


def move(server: ScriptedServer, operation: MoveObject | None = None, *, version: str | None = None) -> Outcome:
    some = entries(["a b"], version=version)
    (outcome,) = engine.run(fly(to(server.url), some, operation or move_to("archive"), chosen=limits(retries=0)))
    return outcome


def kinds(server: ScriptedServer) -> list[str]:
    return [kind(request) for request in server.requests]


def test_object_is_copied_verified_and_deleted_under_the_condition_that_it_is_the_same() -> None:
    with recording() as server:
        assert move(server).succeeded

    assert kinds(server) == ["HeadSource", "Copy", "HeadTarget", "Delete"]
    _, copy, _, delete = server.requests
    assert copy.header("x-amz-copy-source-if-match") == f'"{"a" * 32}"'
    assert copy.header("if-none-match") == ("*" if NEWEST else "")
    assert (delete.target, delete.header("if-match")) == ("/lake/a%20b", f'"{"a" * 32}"')


def test_version_is_deleted_as_that_version_which_cannot_change() -> None:
    with recording(Copy=lambda _: copied(headers={"x-amz-version-id": "new"})) as server:
        assert move(server, version="v1").succeeded

    source, copy, target, delete = server.requests
    assert {source.target, delete.target} == {"/lake/a%20b?versionId=v1"}
    assert copy.header("x-amz-copy-source") == "lake/a%20b?versionId=v1"
    assert target.target == "/archive/a%20b?versionId=new"
    assert not delete.header("if-match")


def test_null_version_is_deleted_while_it_is_the_one_copied() -> None:
    """A PUT to a bucket with suspended versioning replaces it."""
    with recording(Copy=lambda _: copied()) as server:
        assert move(server, version="null").succeeded

    delete = server.requests[-1]
    assert (delete.method, delete.target) == ("DELETE", "/lake/a%20b?versionId=null")
    assert delete.header("if-match")


@pytest.mark.parametrize("same", [True, False])
def test_null_version_that_is_not_current_is_looked_at_before_it_is_deleted(same: bool) -> None:
    """S3 compares the condition of a DELETE with the current version, whichever is named."""
    asked: list[Request] = []

    def head(request: Request) -> Sequence[Step]:
        asked.append(request)
        return head_of() if len(asked) == 1 or same else [answer(412)]

    def delete(request: Request) -> Sequence[Step]:
        return [error(412, "PreconditionFailed")] if request.header("if-match") else [answer(204)]

    with recording(Copy=lambda _: copied(), HeadSource=head, Delete=delete) as server:
        outcome = move(server, version="null")

    assert outcome.succeeded is same
    assert outcome.code == ("" if same else "PreconditionFailed")
    assert [one.header("if-match") != "" for one in asked] == [False, True]
    deletes = [one for one in server.requests if one.method == "DELETE"]
    assert [one.header("if-match") != "" for one in deletes] == [True, False][: 2 if same else 1]


UNVERIFIED: list[tuple[Answers, str, int]] = [
    ({"Copy": lambda _: [error(403, "InvalidObjectState")]}, "InvalidObjectState", 403),
    ({"Copy": lambda _: [answer(200, b"<Error><Code>InternalError</Code></Error>")]}, "InternalError", 200),
    ({"Copy": lambda _: [Move.RESET]}, "ConnectionReset", 0),
    ({"HeadTarget": lambda _: [answer(404)]}, "NoSuchKey", 404),
    ({"HeadTarget": lambda _: [answer(403)]}, "AccessDenied", 403),
    ({"HeadTarget": lambda _: head_of(size=9)}, "SizeMismatch", 0),
    ({"HeadTarget": lambda _: head_of("b" * 32)}, "ETagMismatch", 0),
    (
        {
            "HeadSource": lambda _: head_of(x_amz_checksum_crc64nvme="AAAAAAAAAAA="),
            "HeadTarget": lambda _: head_of(x_amz_checksum_crc64nvme="BAAAAAAAAAA="),
        },
        "ChecksumMismatch",
        0,
    ),
    # Content that can't be compared, of a target that isn't any more what the copy was.
    (
        {"Copy": lambda _: copied("c" * 32 + "-2"), "HeadTarget": lambda _: head_of("b" * 32 + "-2")},
        "ETagMismatch",
        0,
    ),
]


@pytest.mark.parametrize(("answers", "code", "status"), UNVERIFIED)
def test_nothing_is_deleted_that_has_not_been_verified(answers: Answers, code: str, status: int) -> None:
    with recording(**answers) as server:
        outcome = move(server)

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, status, code)
    assert "Delete" not in kinds(server)


REFUSED = {"Copy": lambda _: [error(412, "PreconditionFailed")]}


@conditional
@pytest.mark.parametrize(
    ("target", "told"),
    [
        (head_of(size=9), "the source's size is 10 bytes, the target's 9"),
        (head_of("b" * 32), "the source's ETag is "),
        (head_of("b" * 32 + "-2"), "nothing shows that it is the same"),
        (head_of(x_amz_meta_run="2"), "its content is the source's, but not its Metadata"),
        (head_of(content_encoding="gzip"), "its content is the source's, but not its ContentEncoding"),
    ],
)
def test_object_with_another_at_its_target_is_kept_and_so_is_the_other(target: list[Step], told: str) -> None:
    with recording(**REFUSED, HeadTarget=lambda _: target) as server:
        outcome = move(server)

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 412, "TargetExists")
    assert told in outcome.message
    assert kinds(server) == ["HeadSource", "Copy", "HeadTarget"]


@conditional
def test_object_that_was_copied_before_a_kill_is_verified_and_deleted() -> None:
    with recording(**REFUSED) as server:
        assert move(server).succeeded

    assert kinds(server) == ["HeadSource", "Copy", "HeadTarget", "HeadTarget", "Delete"]


@conditional
def test_copy_with_new_metadata_is_known_by_its_content_alone() -> None:
    with recording(**REFUSED, HeadTarget=lambda _: head_of(x_amz_meta_run="2")) as server:
        assert move(server, move_to("archive", metadata={"run": "2"})).succeeded


@pytest.mark.parametrize("overwrite", OVERWRITES)
def test_source_that_changed_before_its_copy_is_told_apart_from_a_target_that_exists(overwrite: bool) -> None:
    with recording(**REFUSED, HeadTarget=lambda _: [answer(404)]) as server:
        outcome = move(server, move_to("archive", overwrite=overwrite))

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 412, "PreconditionFailed")
    assert outcome.message == "the source changed; nothing was done"


def test_object_at_the_target_is_overwritten_on_demand() -> None:
    with recording() as server:
        assert move(server, move_to("archive", overwrite=True)).succeeded

    assert not server.requests[1].header("if-none-match")


def test_source_that_may_not_be_read_is_told_as_s3_tells_it() -> None:
    with recording(HeadSource=lambda _: [answer(403)]) as server:
        assert move(server).code == "AccessDenied"


def test_object_that_changed_after_its_copy_is_kept() -> None:
    with recording(Delete=lambda _: [error(412, "PreconditionFailed")]) as server:
        outcome = move(server)

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 412, "PreconditionFailed")
    assert outcome.message == "the source changed after it was copied; it was kept"


def test_object_that_somebody_else_deleted_after_its_copy_is_moved() -> None:
    with recording(Delete=lambda _: [error(404, "NoSuchKey")]) as server:
        assert move(server).succeeded


SHORTLY = "Wed, 01 Jul 2026 12:00:01 GMT"
BY_ANOTHER_CLOCK = "Wed, 01 Jul 2026 11:45:00 GMT"
LONG_AGO = "Wed, 01 Jul 2026 11:44:59 GMT"
GONE = "the source s3://lake/a b isn't there"
ANOTHER = f"{GONE}, and what is at the target is something else"


@pytest.mark.parametrize(
    ("target", "facts", "told"),
    [
        (head_of(last_modified=SHORTLY), {}, ("", MOVED_BEFORE)),
        (head_of(last_modified=BY_ANOTHER_CLOCK), {}, ("", MOVED_BEFORE)),
        (
            head_of(last_modified=LONG_AGO),
            {},
            ("NoSuchKey", f"{GONE}, and what is at the target was there before this job"),
        ),
        ([answer(404)], {}, ("NoSuchKey", GONE)),
        (head_of(last_modified=SHORTLY), {"size": "10", "e_tag": "a" * 32}, ("", MOVED_BEFORE)),
        (head_of("a" * 32 + "-2", last_modified=SHORTLY), {"size": "10", "e_tag": "b" * 32}, ("", MOVED_BEFORE)),
        (
            head_of(size=11, last_modified=SHORTLY),
            {"size": "10", "e_tag": "a" * 32},
            ("NoSuchKey", f"{ANOTHER}: the manifest's size is 10 bytes, the target's 11"),
        ),
        (
            head_of("c" * 32, last_modified=SHORTLY),
            {"e_tag": "a" * 32},
            ("NoSuchKey", f"{ANOTHER}: the manifest's ETag is {'a' * 32}, the target's {'c' * 32}"),
        ),
    ],
)
def test_source_that_is_gone_was_moved_before_only_if_all_that_is_known_says_so(
    target: list[Step], facts: Mapping[str, str], told: tuple[str, str]
) -> None:
    (entry,) = entries(["a b"])
    gone = recording(HeadSource=lambda _: [answer(404)], HeadTarget=lambda _: target)
    with running_since(SINCE), gone as server:
        (outcome,) = engine.run(
            fly(to(server.url), [FactualEntry.of(entry, facts)], move_to("archive"), chosen=limits(retries=0))
        )

    assert (outcome.code, outcome.message) == told
    assert kinds(server) == ["HeadSource", "HeadTarget"]


@pytest.mark.parametrize(
    ("manifest", "facts"),
    [
        (CsvManifest("s3://lake/manifest.csv"), None),
        (CsvManifest("s3://lake/manifest.csv", header=True), {"size": "10", "e_tag": "abc"}),
    ],
    ids=["without such columns", "with some"],
)
def test_job_knows_what_its_manifest_says_of_objects_if_it_says_anything(
    manifest: CsvManifest, facts: dict[str, str] | None
) -> None:
    known: list[Any] = []

    def script(entry: Entry) -> Outcome:
        known.append(entry.facts if isinstance(entry, FactualEntry) else None)
        return succeeds(entry)

    async def running() -> None:
        s3 = ScriptedEngine(script)
        s3.put("lake", "manifest.csv", "bucket,key,Size,ETag\ndata,a,10,abc\n" if manifest.header else "data,a\n")
        asked = spec().model_copy(update={"manifest": manifest, "operation": MoveObject("data", target_prefix="new/")})
        await run_partition(await prepare(asked, s3, owner=OWNER), 0, s3)

    in_simulated_time(running())

    assert known == [facts]


def test_source_that_is_gone_fails_where_no_job_tells_since_when_it_runs() -> None:
    with recording(HeadSource=lambda _: [answer(404)], HeadTarget=lambda _: head_of(last_modified=SHORTLY)) as server:
        outcome = move(server)

    assert (outcome.http_status, outcome.code) == (404, "NoSuchKey")


def test_version_that_is_gone_is_told_as_s3_calls_it() -> None:
    with recording(HeadSource=lambda _: [answer(404)], HeadTarget=lambda _: [answer(404)]) as server:
        outcome = move(server, version="v1")

    assert (outcome.http_status, outcome.code) == (404, "NoSuchVersion")


def test_object_that_may_not_be_deleted_fails() -> None:
    with recording(Delete=lambda _: [error(403, "AccessDenied")]) as server:
        assert move(server).code == "AccessDenied"


@pytest.mark.parametrize("changed", [False, True])
def test_store_without_conditional_deletes_is_looked_at_once_more(changed: bool) -> None:
    def delete(request: Request) -> Sequence[Step]:
        return [error(501, "NotImplemented") if request.header("if-match") else answer(204)]

    def head(request: Request) -> Sequence[Step]:
        return [answer(412)] if changed and request.header("if-match") else head_of()

    with recording(Delete=delete, HeadSource=head) as server:
        outcome = move(server)

    ended = ["HeadSource"] if changed else ["HeadSource", "Delete"]
    assert kinds(server) == ["HeadSource", "Copy", "HeadTarget", "Delete", *ended]
    assert (outcome.succeeded, outcome.code) == ((False, "PreconditionFailed") if changed else (True, ""))


@pytest.mark.parametrize("status", [304, 412])
def test_conditions_are_about_the_source_before_anything_is_done(status: int) -> None:
    operation = move_to("archive", modified_since="2026-01-01T00:00:00Z", unmodified_since="2026-06-01T00:00:00Z")
    with recording(HeadSource=lambda _: [answer(status)]) as server:
        outcome = move(server, operation)

    (head,) = server.requests
    assert head.header("if-modified-since") == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert head.header("if-unmodified-since") == "Mon, 01 Jun 2026 00:00:00 GMT"
    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 412, "PreconditionFailed")


def test_object_over_5_gb_is_moved_by_a_copy_in_parts() -> None:
    etag, size = "a" * 32 + "-1", 6 * GIB

    def put(request: Request) -> Sequence[Step]:
        part = f'<CopyPartResult><ETag>"{"b" * 32}"</ETag></CopyPartResult>'.encode()
        return [answer(200, part) if "partNumber" in request.query else error(400, "InvalidRequest")]

    with recording(
        HeadSource=lambda _: head_of(etag, size),
        Copy=put,
        Get=lambda request: [
            answer(200, b"<Tagging><TagSet/></Tagging>" if "tagging" in request.query else b"<List/>")
        ],
        Post=lambda _: [
            answer(200, b"<InitiateMultipartUploadResult><UploadId>up</UploadId></InitiateMultipartUploadResult>")
        ],
        HeadTarget=lambda _: head_of("c" * 32 + "-24", size),
    ) as server:
        outcome = move(server)

    assert (outcome.succeeded, outcome.message) == (True, "Copied in 24 parts")
    assert kinds(server)[-2:] == ["HeadTarget", "Delete"]
    assert {request.header("x-amz-copy-source-if-match") for request in server.requests if kind(request) == "Copy"} == {
        f'"{etag}"'
    }


def test_requester_pays_for_every_request() -> None:
    with recording() as server:
        assert move(server, move_to("archive", requester_pays=True)).succeeded

    assert [request.header("x-amz-request-payer") for request in server.requests] == ["requester"] * 4


# Onto itself


@pytest.mark.parametrize(
    ("operation", "fine"),
    [
        (MoveObject("lake"), False),
        (MoveObject("arn:aws:s3:::lake", storage_class="GLACIER"), False),
        (MoveObject("lake", target_key="{key}"), False),
        (MoveObject(POINT), False),
        (MoveObject("lake-point-abc123-s3alias"), False),
        (MoveObject(POINT, target_prefix="old/"), True),
        (MoveObject("lake", strip_prefix="raw/"), True),
        (MoveObject("archive"), True),
    ],
)
def test_job_that_moves_objects_onto_themselves_is_refused(operation: MoveObject, fine: bool) -> None:
    if fine:
        asyncio.run(operation.look("lake", MemoryS3("lake", "archive", POINT)))
    else:
        with pytest.raises(InvalidInput, match="objects of lake would be moved onto themselves"):
            asyncio.run(operation.look("lake", MemoryS3("lake", "archive", POINT)))


@pytest.mark.parametrize(
    "operation", [CopyObject("archiv"), MoveObject("arn:aws:s3:::archiv"), VerifyObject("archiv", against="manifest")]
)
def test_job_to_a_bucket_that_is_not_there_is_refused(operation: Operation) -> None:
    with pytest.raises(InvalidInput, match="target_bucket: archiv doesn't exist; create it, or name another"):
        asyncio.run(operation.look("lake", MemoryS3("lake", "archive")))


def test_job_to_a_bucket_that_may_not_be_looked_at_is_tried() -> None:
    asyncio.run(CopyObject("archive").look("lake", MemoryS3("lake", "archive", forbidden=["archive"])))


@pytest.mark.parametrize("target", ["lake", POINT])
def test_object_whose_key_stays_the_same_is_not_touched(target: str) -> None:
    with recording() as server:
        outcome = move(server, MoveObject(target, key_pattern="(a)?(.*)", target_key="{1}{2}"))

    assert (outcome.succeeded, outcome.code) == (False, "InvalidRequest")
    assert not server.requests


# Parameters


def test_operation_is_read_back_from_its_json_with_all_that_a_copy_has() -> None:
    written = MoveObject(
        "archive",
        strip_prefix="raw/",
        target_prefix="old/",
        storage_class="GLACIER_IR",
        metadata={"a": "b"},
        tags={"k": "v"},
        annotations="EXCLUDE",
        event_hold="ON",
        event_hold_days=30,
        grants=[Grant("READ", id="abc")],
        unmodified_since="2026-01-01T00:00:00Z",
        overwrite=True,
    )

    assert list(written.to_aws()) == ["S3MoveObject"]
    assert operation_from_aws(written.to_aws()) == written


def test_calls_pass_botocores_checks_before_anything_runs() -> None:
    async def checked(operation: MoveObject) -> None:
        async with S3(to("http://127.0.0.1:1"), limits(), sleep=Naps()) as s3:
            s3.check(operation, "lake")

    engine.run(checked(move_to("archive", target_key="{name}")))
