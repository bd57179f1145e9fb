"""Copies in parts: their bytes against two stores, and every request against a server that records and breaks."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core import engine
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import ReportError, S3Error
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.operations import CopyObject
from airflow_s3batch.core.operations.base import RUNNING_NOTES
from airflow_s3batch.core.operations.multipart import MultipartCopy, part_size
from airflow_s3batch.core.rows import Outcome
from airflow_s3batch.testing import Call, MemoryS3
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store
from tests.core.test_operations_wire import NEWEST
from tests.servers import Move, Request, ScriptedServer, Step, answer, error

MIB = 2**20
GIB = 2**30
BODY = random.Random(11).randbytes(12 * MIB + 7)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
LEAST_PART, MOST_PART, MOST_PARTS = 5 * MIB, 5 * GIB, 10_000


# Part sizes


@given(st.integers(1, 48 * 1024 * GIB), st.none() | st.integers(1, 6 * GIB))
def test_parts_are_what_s3_takes(size: int, source_part: int | None) -> None:
    part = part_size(size, source_part)

    assert LEAST_PART <= part <= MOST_PART
    assert -(-size // part) <= MOST_PARTS


@pytest.mark.parametrize("source_part", [5 * MIB, 8 * MIB, 5 * GIB])
def test_parts_are_the_sources_where_they_can_be(source_part: int) -> None:
    assert part_size(6 * GIB, source_part) == source_part


@pytest.mark.parametrize("source_part", [1, 5 * MIB - 1, 5 * GIB + 1])
def test_parts_that_s3_refuses_are_not_kept(source_part: int) -> None:
    assert part_size(6 * GIB, source_part) == part_size(6 * GIB)


# Against stores


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    async def fill(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            for bucket in ("lake", "archive"):
                await s3.call("CreateBucket", Bucket=bucket)
            await s3.call(
                "PutObject",
                Bucket="lake",
                Key="big & blue",
                Body=BODY,
                ContentType="text/plain",
                CacheControl="no-cache",
                Metadata={"origin": "lake"},
                Tagging="tier=cold&note=a%20b",
            )

    with SERVERS[request.param](tmp_path_factory.mktemp("multipart")) as store:
        engine.run(fill(store))
        yield store


def copy_on(store: Store, parameters: dict[str, Any], *then: tuple[str, dict[str, Any]]) -> tuple[str, list[Any]]:
    async def copying() -> tuple[str, list[Any]]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            copy = MultipartCopy(1, parameters, s3, usual_part=5 * MIB)
            assert await copy.look() == len(BODY)
            message = await copy.run()
            return message, [await s3.call(action, **asked) for action, asked in then]

    told: tuple[str, list[Any]] = engine.run(copying())
    return told


def folder(s3: S3Calls) -> JobFolder:
    return JobFolder(s3, S3Location("lake", "reports"), "0b55")


def kept(store: Store, tags: dict[str, str]) -> dict[str, str]:
    """The tags of a multipart upload that a store keeps: ministack none, whatever CreateMultipartUpload says."""
    return {} if store.name == "ministack" else tags


def test_copy_in_parts_is_the_source_with_all_that_belongs_to_it(store: Store) -> None:
    target = {"Bucket": "archive", "Key": "old/big & blue"}
    parameters = {**target, "CopySource": {"Bucket": "lake", "Key": "big & blue"}, "StorageClass": "STANDARD_IA"}

    message, (there, tagging) = copy_on(store, parameters, ("GetObject", target), ("GetObjectTagging", target))

    assert message == "Copied in 3 parts"
    assert hashlib.sha256(there["Body"]).digest() == hashlib.sha256(BODY).digest()
    assert (there["ContentType"], there["CacheControl"]) == ("text/plain", "no-cache")
    assert (there["Metadata"], there["StorageClass"]) == ({"origin": "lake"}, "STANDARD_IA")
    assert {tag["Key"]: tag["Value"] for tag in tagging["TagSet"]} == kept(store, {"tier": "cold", "note": "a b"})


def test_copy_in_parts_has_the_metadata_and_tags_it_was_given_instead(store: Store) -> None:
    target = {"Bucket": "archive", "Key": "new"}
    operation = CopyObject("archive", target_key="new", metadata={"a": "b"}, content_type="text/csv", tags={"k": "v"})
    parameters = operation.copy_request("lake", "big & blue", None, "new")

    _, (there, tagging) = copy_on(store, parameters, ("HeadObject", target), ("GetObjectTagging", target))

    assert (there["ContentType"], there["Metadata"]) == ("text/csv", {"a": "b"})
    assert "CacheControl" not in there
    assert {tag["Key"]: tag["Value"] for tag in tagging["TagSet"]} == kept(store, {"k": "v"})


def test_only_what_this_job_left_behind_is_gone_after_the_rerun(store: Store) -> None:
    target = {"Bucket": "archive", "Key": "left behind"}

    async def rerun() -> tuple[str, list[str], list[str]]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            anothers, ours = [await s3.call("CreateMultipartUpload", **target) for _ in range(2)]
            notes = folder(s3)
            await notes.write_note(7, {**target, "UploadId": ours["UploadId"]})
            RUNNING_NOTES.set(notes)
            left = []
            for _ in range(2):  # the second time, the note is of an upload that has ended
                copy = MultipartCopy(7, {**target, "CopySource": {"Bucket": "lake", "Key": "big & blue"}}, s3)
                await copy.look()
                await copy.run()
                told = await s3.call("ListMultipartUploads", Bucket="archive", Prefix="left behind")
                left.append([upload["UploadId"] for upload in told["Uploads"]])
            return anothers["UploadId"], left[0], left[1]

    anothers, first, second = engine.run(rerun())
    assert first == second == [anothers]


# Against a recording server that holds one object of 6 GiB

SIZE = 6 * GIB
PART = 1 * GIB
TOO_LARGE = error(
    400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source"
)
Answers = dict[str, Callable[[Request], Sequence[Step]]]


def kind(request: Request) -> str:
    """The S3 action that a request is."""
    query = request.query
    if request.method == "HEAD":
        return "HeadPart" if "partNumber" in query else "Head"
    if request.method == "GET":
        return "GetTagging"
    if request.method == "DELETE":
        return "Abort"
    if request.method == "POST":
        return "Create" if "uploads" in query else "Complete"
    return "CopyPart" if "partNumber" in query else "Copy"


def number(request: Request) -> int:
    found = re.search(r"partNumber=(\d+)", request.query)
    assert found is not None
    return int(found[1])


def xml(body: str, headers: dict[str, str] | None = None) -> list[Step]:
    return [answer(200, f'<?xml version="1.0"?>{body}'.encode(), headers)]


def head_of(size: int = SIZE, /, **headers: str) -> list[Step]:
    told = {"content-length": str(size), "etag": '"0123abcd-6"', **headers}
    return [answer(200, b"", {name.replace("_", "-"): value for name, value in told.items()})]


def md5(part: int) -> str:
    return hashlib.md5(str(part).encode()).hexdigest()


ORDINARY: Answers = {
    "Copy": lambda _: [TOO_LARGE],
    "Head": lambda _: head_of(content_type="text/plain", x_amz_meta_origin="lake"),
    "HeadPart": lambda _: head_of(PART, x_amz_mp_parts_count="6"),
    "GetTagging": lambda _: xml("<Tagging><TagSet><Tag><Key>k</Key><Value>v w</Value></Tag></TagSet></Tagging>"),
    "Create": lambda _: xml("<InitiateMultipartUploadResult><UploadId>up</UploadId></InitiateMultipartUploadResult>"),
    "CopyPart": lambda asked: xml(f'<CopyPartResult><ETag>"{md5(number(asked))}"</ETag></CopyPartResult>'),
    "Complete": lambda _: xml('<CompleteMultipartUploadResult><ETag>"x-6"</ETag></CompleteMultipartUploadResult>'),
    "Abort": lambda _: [answer(204)],
}


def recording(**answers: Callable[[Request], Sequence[Step]]) -> ScriptedServer:
    told = {**ORDINARY, **answers}
    return ScriptedServer(lambda request: told[kind(request)](request))


def copied(
    server: ScriptedServer, operation: CopyObject | None = None, *, version: str | None = None, retries: int = 0
) -> Outcome:
    (outcome,) = engine.run(
        fly(
            to(server.url),
            entries(["a b"], version=version),
            operation or CopyObject("archive"),
            chosen=limits(retries=retries),
        )
    )
    return outcome


def asked(server: ScriptedServer, action: str) -> list[Request]:
    return [request for request in server.requests if kind(request) == action]


def test_object_over_5_gb_is_copied_in_parts_of_the_sources_size_pinned_to_it() -> None:
    with recording() as server:
        outcome = copied(server, version="v1")

    assert (outcome.succeeded, outcome.http_status, outcome.message) == (True, 200, "Copied in 6 parts")
    parts = sorted(asked(server, "CopyPart"), key=number)
    assert [number(part) for part in parts] == [1, 2, 3, 4, 5, 6]
    assert [part.header("x-amz-copy-source-range") for part in parts] == [
        f"bytes={start}-{start + PART - 1}" for start in range(0, SIZE, PART)
    ]
    assert {part.header("x-amz-copy-source") for part in parts} == {"lake/a%20b?versionId=v1"}
    assert {part.header("x-amz-copy-source-if-match") for part in parts} == {'"0123abcd-6"'}
    assert {request.query for request in asked(server, "Head")} == {"versionId=v1"}
    (complete,) = asked(server, "Complete")
    assert re.findall(rb"<ETag>(.*?)</ETag>", complete.body) == [f'"{md5(n)}"'.encode() for n in range(1, 7)]
    assert complete.header("x-amz-mp-object-size") == str(SIZE)
    assert not asked(server, "Abort")


def test_upload_is_created_with_what_the_source_has_and_the_operation_says() -> None:
    operation = CopyObject(
        "archive",
        target_prefix="old/",
        storage_class="GLACIER_IR",
        encryption="KMS",
        kms_key_id="key",
        legal_hold="ON",
        canned_acl="bucket-owner-full-control",
        requester_pays=True,
    )
    with recording() as server:
        assert copied(server, operation).succeeded

    (create,) = asked(server, "Create")
    assert create.path == "/archive/old/a%20b"
    told = {name: value for name, value in create.headers if name.startswith("x-amz-") or name == "content-type"}
    assert {name: value for name, value in told.items() if "sha256" not in name and "date" not in name} == {
        "content-type": "text/plain",
        "x-amz-meta-origin": "lake",
        "x-amz-tagging": "k=v%20w",
        "x-amz-storage-class": "GLACIER_IR",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "key",
        "x-amz-object-lock-legal-hold": "ON",
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-request-payer": "requester",
    }
    assert all(request.header("x-amz-request-payer") == "requester" for request in server.requests)


def test_what_the_operation_replaces_is_not_asked_for() -> None:
    with recording() as server:
        assert copied(server, CopyObject("archive", metadata={}, tags={})).succeeded

    assert not asked(server, "GetTagging")
    (create,) = asked(server, "Create")
    assert not [name for name, _ in create.headers if name in {"x-amz-meta-origin", "x-amz-tagging"}]


@pytest.mark.parametrize(
    ("source", "created", "expected"),
    [
        (
            {"x_amz_checksum_crc64nvme": "AAAAAAAAAAA=", "x_amz_checksum_type": "FULL_OBJECT"},
            ("CRC64NVME", "FULL_OBJECT"),
            ("AAAAAAAAAAA=", "FULL_OBJECT"),
        ),
        ({"x_amz_checksum_crc32": "AAAAAA==-6", "x_amz_checksum_type": "COMPOSITE"}, ("CRC32", ""), ("", "")),
        ({"x_amz_checksum_sha256": "AAAA-6", "x_amz_checksum_type": "COMPOSITE"}, ("SHA256", ""), ("", "")),
        ({}, ("", ""), ("", "")),
    ],
    ids=["of the whole", "composite", "only ever composite", "none"],
)
def test_copy_has_the_sources_kind_of_checksum(
    source: dict[str, str], created: tuple[str, str], expected: tuple[str, str]
) -> None:
    algorithm = created[0]
    with recording(
        Head=lambda _: head_of(**source),
        CopyPart=lambda asked: xml(
            f'<CopyPartResult><ETag>"{md5(number(asked))}"</ETag>'
            f"<Checksum{algorithm}>c{number(asked)}</Checksum{algorithm}></CopyPartResult>"
            if algorithm
            else f'<CopyPartResult><ETag>"{md5(number(asked))}"</ETag></CopyPartResult>'
        ),
    ) as server:
        assert copied(server).succeeded

    (create,), (complete,) = asked(server, "Create"), asked(server, "Complete")
    assert (create.header("x-amz-checksum-algorithm"), create.header("x-amz-checksum-type")) == created
    told = complete.header(f"x-amz-checksum-{algorithm.lower()}"), complete.header("x-amz-checksum-type")
    assert told == expected
    found = re.findall(rf"<Checksum{algorithm or 'X'}>(.*?)<".encode(), complete.body)
    assert found == ([f"c{n}".encode() for n in range(1, 7)] if algorithm else [])


def test_checksum_that_was_asked_for_is_not_expected_to_be_the_sources() -> None:
    with recording(
        Head=lambda _: head_of(x_amz_checksum_crc64nvme="AAAAAAAAAAA=", x_amz_checksum_type="FULL_OBJECT")
    ) as server:
        assert copied(server, CopyObject("archive", checksum_algorithm="CRC32C")).succeeded

    (create,), (complete,) = asked(server, "Create"), asked(server, "Complete")
    assert create.header("x-amz-checksum-algorithm") == "CRC32C"
    assert not [name for name, _ in complete.headers if name.startswith("x-amz-checksum-crc")]


@pytest.mark.parametrize(
    "head_part",
    [lambda _: head_of(), lambda _: head_of(700 * MIB), lambda _: [error(501, "NotImplemented")]],
    ids=["store that ignores part numbers", "parts of different sizes", "store that refuses part numbers"],
)
def test_source_without_parts_to_go_by_is_copied_in_parts_of_256_mib(head_part: Any) -> None:
    with recording(HeadPart=head_part) as server:
        assert copied(server).message == "Copied in 24 parts"


def test_other_stores_word_for_too_large_is_understood_at_any_size() -> None:
    with recording(Copy=lambda _: [error(400, "EntityTooLarge")], Head=lambda _: head_of(GIB, etag='"0123"')) as server:
        assert copied(server).message == "Copied in 4 parts"


def test_refusal_that_is_not_about_the_size_stands() -> None:
    refusal = error(400, "InvalidRequest", "This copy request is illegal because it is trying to copy to itself")
    with recording(Copy=lambda _: [refusal], Head=lambda _: head_of(5 * GIB)) as server:
        outcome = copied(server)

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 400, "InvalidRequest")
    assert "to itself" in outcome.message
    assert [kind(request) for request in server.requests] == ["Copy", "Head"]


def test_refusal_with_another_code_costs_nothing_more() -> None:
    with recording(Copy=lambda _: [error(403, "AccessDenied")]) as server:
        assert copied(server).code == "AccessDenied"

    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [304, 412])
def test_condition_of_the_copy_is_kept(status: int) -> None:
    with recording(Head=lambda _: [answer(status)]) as server:
        outcome = copied(server, CopyObject("archive", modified_since="2026-01-01T00:00:00Z"))

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 412, "PreconditionFailed")
    (head,) = asked(server, "Head")
    assert head.header("if-modified-since") == "Thu, 01 Jan 2026 00:00:00 GMT"


BROKEN: list[tuple[Answers, str]] = [
    ({"CopyPart": lambda _: [error(412, "PreconditionFailed")]}, "PreconditionFailed"),
    ({"CopyPart": lambda _: [error(404, "NoSuchKey")]}, "NoSuchKey"),
    ({"CopyPart": lambda one: [error(503, "SlowDown")] if number(one) == 3 else ORDINARY["CopyPart"](one)}, "SlowDown"),
    ({"CopyPart": lambda _: xml("<Error><Code>InternalError</Code></Error>")}, "InternalError"),
    ({"Complete": lambda _: xml("<Error><Code>InternalError</Code></Error>")}, "InternalError"),
    ({"Complete": lambda _: [error(400, "BadDigest")]}, "BadDigest"),
    ({"Complete": lambda _: [error(404, "NoSuchUpload")]}, "NoSuchUpload"),
    (
        {
            "CopyPart": lambda _: xml("<CopyPartResult><ETag>&quot;no MD5&quot;</ETag></CopyPartResult>"),
            "Complete": lambda _: [error(404, "NoSuchUpload")],
        },
        "NoSuchUpload",
    ),
    (
        {
            "Head": lambda one: head_of() if one.path.startswith("/lake/") else [answer(404)],
            "Complete": lambda _: [error(404, "NoSuchUpload")],
            "Abort": lambda _: [error(404, "NoSuchUpload")],
        },
        "NoSuchUpload",
    ),
]


@pytest.mark.parametrize(("answers", "code"), BROKEN)
def test_copy_that_fails_is_aborted_and_told(answers: Answers, code: str) -> None:
    with recording(**answers) as server:
        outcome = copied(server)

    assert (outcome.succeeded, outcome.code) == (False, code)
    (abort,) = [request for request in server.requests if kind(request) == "Abort"]  # a part let go may come later
    assert "uploadId=up" in abort.query


def test_copy_is_told_as_it_is_when_it_cannot_even_be_aborted() -> None:
    with recording(
        CopyPart=lambda _: [error(404, "NoSuchKey")], Abort=lambda _: [error(403, "AccessDenied")]
    ) as server:
        assert copied(server).code == "NoSuchKey"


@pytest.mark.skipif(not NEWEST, reason="this botocore doesn't know CopyObject's If-None-Match yet")
def test_what_is_at_the_target_is_left_there_on_demand() -> None:
    with recording(Complete=lambda _: [error(412, "PreconditionFailed")]) as server:
        outcome = copied(server, CopyObject("archive", overwrite=False))

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 412, "PreconditionFailed")
    assert [asked(server, action)[0].header("if-none-match") for action in ("Copy", "Create", "Complete")] == [
        "*",
        "",
        "*",
    ]


def test_source_that_may_not_be_looked_at_fails_as_s3_tells_it() -> None:
    with recording(Head=lambda _: [answer(403)]) as server:
        assert copied(server).code == "AccessDenied"


def test_part_that_fails_for_a_moment_is_tried_again() -> None:
    def once(request: Request) -> Sequence[Step]:
        again = sum(kind(one) == "CopyPart" and number(one) == number(request) for one in server.requests) > 1
        return ORDINARY["CopyPart"](request) if again else xml("<Error><Code>InternalError</Code></Error>")

    with recording(CopyPart=once) as server:
        assert copied(server, retries=2).succeeded

    assert len(asked(server, "CopyPart")) == 12


def test_completion_whose_answer_was_lost_is_a_success_if_the_copy_is_there() -> None:
    whole = hashlib.md5(b"".join(bytes.fromhex(md5(n)) for n in range(1, 7))).hexdigest()

    def complete(_: Request) -> Sequence[Step]:
        first = len(asked(server, "Complete")) == 1
        return [Move.RESET] if first else [error(404, "NoSuchUpload")]

    def head(request: Request) -> Sequence[Step]:
        return head_of(etag=f'"{whole}-6"') if request.path.startswith("/archive/") else head_of()

    with recording(Complete=complete, Head=head) as server:
        assert copied(server, retries=3).succeeded

    assert not asked(server, "Abort")


async def noted(notes: JobFolder, url: str) -> Outcome:
    """Copy one object as the job with these notes does."""
    RUNNING_NOTES.set(notes)
    (outcome,) = await fly(to(url), entries(["a b"]), CopyObject("archive"), chosen=limits(retries=0))
    return outcome


def test_upload_of_a_killed_worker_is_aborted_before_the_next_begins() -> None:
    notes = folder(MemoryS3("lake"))
    away = [error(500, "InternalError")]
    with recording(Complete=lambda _: away, Abort=lambda _: away) as killed:
        assert engine.run(noted(notes, killed.url)).code == "InternalError"
    with recording() as server:
        assert engine.run(noted(notes, server.url)).succeeded

    (abort,) = asked(server, "Abort")
    assert re.findall("uploadId=([^&]*)", abort.query) == ["up"]
    kinds = [kind(request) for request in server.requests]
    assert kinds.index("Abort") < kinds.index("Create")


def test_without_a_note_nothing_is_aborted() -> None:
    with recording() as server:
        assert engine.run(noted(folder(MemoryS3("lake")), server.url)).succeeded

    assert asked(server, "Abort") == []


def test_upload_that_cannot_be_noted_is_aborted_and_ends_the_run() -> None:
    async def run(url: str) -> None:
        with pytest.raises(ReportError, match="could not be written"):
            await noted(folder(MemoryS3("lake", before=refuse_writes)), url)

    def refuse_writes(call: Call) -> None:
        if call.action == "PutObject":
            raise S3Error(call.action, "s3://lake/", status=403, code="AccessDenied", message="Access Denied")

    with recording() as server:
        engine.run(run(server.url))

    assert len(asked(server, "Abort")) == 1
    assert asked(server, "CopyPart") == []


@pytest.mark.parametrize("abort", [lambda _: [answer(204)], lambda _: [Move.STALL]], ids=["answered", "never answered"])
def test_copy_that_is_stopped_midway_is_aborted_in_a_hurry(abort: Any) -> None:
    async def stopped(url: str) -> float:
        clock = asyncio.get_running_loop().time
        stop = asyncio.Event()
        async with S3(to(url), limits(retries=0)) as s3:
            outcomes = s3.run(in_lists(entries(["a b"]), 1), CopyObject("archive"), stop=stop)
            asyncio.get_running_loop().call_later(0.5, stop.set)
            began = clock()
            assert [some async for some in outcomes] == []
            return clock() - began

    with recording(CopyPart=lambda _: [Move.STALL], Abort=abort) as server:
        took = engine.run(stopped(server.url))

    assert len(asked(server, "Abort")) == 1
    assert took < 7.0
