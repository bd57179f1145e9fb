"""DeleteObjects: what is asked for at once, what each row is told, and what a slow or odd store makes of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, S3Error, Unreachable
from airflow_s3batch.core.operations import DeleteObjects, operation_from_aws
from airflow_s3batch.core.operations.delete import BatchSize
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store
from tests.core.operations.test_delete_xml import read
from tests.servers import Move, Request, ScriptedServer, Step, answer, closed_port, error

NOTHING = b'<?xml version="1.0"?>\n<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'


def told_of(*errors: tuple[str, str]) -> bytes:
    """An answer by which these keys failed with these codes."""
    told = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code><Message>No.</Message></Error>" for key, code in errors)
    return answer(200, f"<DeleteResult>{told}</DeleteResult>".encode())


def delete(
    script: Callable[[Request], Sequence[Step]],
    some: list[Entry],
    operation: DeleteObjects | None = None,
    **chosen: Any,
) -> tuple[list[Outcome], list[Request]]:
    """Delete these; the outcomes, and the requests that it took."""
    with ScriptedServer(script) as server:
        outcomes = engine.run(fly(to(server.url), some, operation or DeleteObjects(), chosen=limits(**chosen)))
        return outcomes, server.requests


def asked(request: Request) -> list[str]:
    """The keys that a request is about."""
    if request.method == "DELETE":
        return [unquote(request.path.split("/", 2)[2])]
    return [key for key, _ in read(request.body)]


def of_keys(count: int) -> list[Entry]:
    return entries(f"key-{number:04}" for number in range(count))


def test_a_thousand_objects_go_by_one_request() -> None:
    outcomes, requests = delete(lambda _: [answer(200, NOTHING)], of_keys(2_300))

    assert sorted(len(asked(request)) for request in requests) == [300, 1_000, 1_000]
    assert Counter(key for request in requests for key in asked(request)) == Counter(
        entry.key for entry in of_keys(2_300)
    )
    assert sorted(outcome.entry.row for outcome in outcomes) == list(range(1, 2_301))
    assert {outcome[1:] for outcome in outcomes} == {(True, 200, "", "Successful")}


def test_a_request_carries_the_checksum_that_every_store_takes_and_only_that() -> None:
    _, (request,) = delete(lambda _: [answer(200, NOTHING)], of_keys(2))

    assert (request.method, request.target) == ("POST", "/lake?delete")
    assert request.header("content-md5") == base64.b64encode(hashlib.md5(request.body).digest()).decode()
    assert request.header("x-amz-content-sha256") == hashlib.sha256(request.body).hexdigest()
    assert [name for name, _ in request.headers if "checksum" in name or name == "content-length"] == ["content-length"]
    assert request.header("x-amz-bypass-governance-retention") == ""


def test_governance_is_bypassed_by_a_header_in_every_request() -> None:
    _, requests = delete(
        lambda request: [answer(204) if request.method == "DELETE" else answer(200, NOTHING)],
        entries(["plain", " blank "]),
        DeleteObjects(bypass_governance=True),
    )

    assert sorted(request.method for request in requests) == ["DELETE", "POST"]
    assert {request.header("x-amz-bypass-governance-retention") for request in requests} == {"true"}


def test_objects_of_several_buckets_with_and_without_versions_go_apart() -> None:
    some = [
        Entry(row, bucket, f"key-{row}", version, "")
        for row, (bucket, version) in enumerate([("one", None), ("two", None), ("one", "v1"), ("one", None)], start=1)
    ]

    outcomes, requests = delete(lambda _: [answer(200, NOTHING)], some)

    assert {request.path: [] for request in requests} == {"/one": [], "/two": []}
    assert sorted((request.path, read(request.body)) for request in requests) == [
        ("/one", [("key-1", None), ("key-4", None)]),
        ("/one", [("key-3", "v1")]),
        ("/two", [("key-2", None)]),
    ]
    assert {outcome.entry for outcome in outcomes} == set(some)


def test_objects_that_s3_refuses_are_told_apart_from_those_that_are_gone() -> None:
    outcomes, requests = delete(lambda _: [told_of(("key-0001", "AccessDenied"))], of_keys(3))

    assert len(requests) == 1
    assert {outcome.entry.key: outcome[1:] for outcome in outcomes} == {
        "key-0000": (True, 200, "", "Successful"),
        "key-0001": (False, 200, "AccessDenied", "No."),
        "key-0002": (True, 200, "", "Successful"),
    }


def test_rows_that_name_the_same_object_are_asked_for_once_and_each_told() -> None:
    some = entries(["twice", "twice", "refused", "once", "refused"])

    outcomes, (request,) = delete(lambda _: [told_of(("refused", "AccessDenied"))], some)

    assert asked(request) == ["twice", "refused", "once"]
    assert sorted((outcome.entry.row, outcome.code) for outcome in outcomes) == [
        (1, ""),
        (2, ""),
        (3, "AccessDenied"),
        (4, ""),
        (5, "AccessDenied"),
    ]


def test_an_error_about_a_version_is_that_versions_only() -> None:
    some = [Entry(row, "lake", "a", version, "a") for row, version in ((1, "v1"), (2, "v2"))]
    refusal = b"<Error><Key>a</Key><VersionId>v2</VersionId><Code>AccessDenied</Code><Message>Held.</Message></Error>"

    outcomes, _ = delete(lambda _: [answer(200, b"<DeleteResult>" + refusal + b"</DeleteResult>")], some)

    assert sorted((outcome.entry.version, outcome.code) for outcome in outcomes) == [("v1", ""), ("v2", "AccessDenied")]


def test_the_null_version_is_asked_for_by_its_name_and_told_apart_from_the_object() -> None:
    some = [Entry(row, "lake", "a", version, "a") for row, version in ((1, "null"), (2, None))]
    refusal = b"<Error><Key>a</Key><VersionId>null</VersionId><Code>AccessDenied</Code><Message>Mfa</Message></Error>"

    outcomes, requests = delete(
        lambda request: [
            answer(200, b"<DeleteResult>" + refusal + b"</DeleteResult>" if b"<VersionId>" in request.body else NOTHING)
        ],
        some,
    )

    assert sorted(b"<VersionId>null</VersionId>" in request.body for request in requests) == [False, True]
    assert sorted((outcome.entry.row, outcome.code) for outcome in outcomes) == [(1, "AccessDenied"), (2, "")]


def test_an_error_with_a_version_where_none_was_asked_for_is_the_keys() -> None:
    refusal = b"<Error><Key>a</Key><VersionId>null</VersionId><Code>AccessDenied</Code></Error>"

    ((outcome,), _) = delete(lambda _: [answer(200, b"<DeleteResult>" + refusal + b"</DeleteResult>")], entries(["a"]))

    assert (outcome.succeeded, outcome.code) == (False, "AccessDenied")


def test_keys_that_xml_readers_confuse_go_by_requests_of_their_own() -> None:
    keys = ["plain", "bell\x07", " leading", "line\r\nend", "naïve & <odd>", "zero\u200bwidth"]

    outcomes, requests = delete(
        lambda request: [answer(204) if request.method == "DELETE" else answer(200, NOTHING)], entries(keys)
    )

    assert [asked(request) for request in requests if request.method == "POST"] == [["plain", "naïve & <odd>"]]
    assert {asked(request)[0] for request in requests if request.method == "DELETE"} == {
        "bell\x07",
        " leading",
        "line\r\nend",
        "zero\u200bwidth",
    }
    assert {outcome.message for outcome in outcomes} == {"Successful"}


def test_a_key_of_its_own_request_can_fail_alone() -> None:
    outcomes, _ = delete(
        lambda request: [error(403, "AccessDenied") if request.method == "DELETE" else answer(200, NOTHING)],
        entries(["plain", "bell\x07"]),
    )

    assert {outcome.entry.key: (outcome.http_status, outcome.code) for outcome in outcomes} == {
        "plain": (200, ""),
        "bell\x07": (403, "AccessDenied"),
    }


def test_a_version_goes_with_a_key_of_its_own_request() -> None:
    _, (request,) = delete(lambda _: [answer(204)], entries(["bell\x07"], version="v 1"))

    assert request.target == "/lake/bell%07?versionId=v%201"


def test_a_store_that_is_too_slow_for_a_thousand_is_asked_for_fewer() -> None:
    def script(request: Request) -> Sequence[Step]:
        return [Move.STALL] if len(asked(request)) > 300 else [answer(200, NOTHING)]

    outcomes, requests = delete(script, of_keys(2_000), read_timeout=0.3, in_flight=1)

    sizes = [len(asked(request)) for request in requests]
    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert len(outcomes) == 2_000
    assert sizes[:3] == [1_000, 500, 250]
    assert max(sizes[3:]) <= 500


@pytest.mark.parametrize(
    "too_much",
    [error(400, "MalformedXML"), error(413, "EntityTooLarge"), error(503, "SlowDown"), answer(200, b"<html/>")],
)
def test_a_store_that_takes_fewer_at_once_gets_fewer(too_much: bytes) -> None:
    def script(request: Request) -> Sequence[Step]:
        return [too_much] if len(asked(request)) > 100 else [answer(200, NOTHING)]

    outcomes, requests = delete(script, of_keys(1_000), retries=1, in_flight=1)

    done = [len(asked(request)) for request in requests if len(asked(request)) <= 100]
    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert sum(done) == 1_000
    assert max(done) > 50


def test_one_object_that_no_batch_can_hold_does_not_fail_the_others() -> None:
    def script(request: Request) -> Sequence[Step]:
        if request.method == "DELETE":
            return [answer(204)]
        return [error(400, "MalformedXML") if "key-0077" in asked(request) else answer(200, NOTHING)]

    outcomes, requests = delete(script, of_keys(100))

    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert ["key-0077"] in [asked(request) for request in requests if request.method == "DELETE"]


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "ServiceUnavailable"])
def test_an_object_refused_for_now_is_asked_for_again_alone(code: str) -> None:
    outcomes, requests = delete(
        lambda request: [answer(204) if request.method == "DELETE" else told_of(("key-0002", code))], of_keys(5)
    )

    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert [asked(request) for request in requests] == [[f"key-{n:04}" for n in range(5)], ["key-0002"]]


def test_an_object_refused_for_now_and_for_good_is_told_what_it_was_told_last() -> None:
    ((outcome,), requests) = delete(
        lambda request: [error(503, "SlowDown") if request.method == "DELETE" else told_of(("key-0000", "SlowDown"))],
        of_keys(1),
        retries=2,
    )

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 503, "SlowDown")
    assert [request.method for request in requests] == ["POST", "DELETE", "DELETE", "DELETE"]


def test_an_answer_about_objects_that_were_not_asked_for_is_not_believed() -> None:
    def script(request: Request) -> Sequence[Step]:
        return [answer(204) if request.method == "DELETE" else told_of(("another", "AccessDenied"))]

    outcomes, requests = delete(script, of_keys(2))

    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert sorted(asked(request)[0] for request in requests if request.method == "DELETE") == ["key-0000", "key-0001"]


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket")])
def test_a_request_refused_as_a_whole_is_every_objects_outcome_and_made_once(status: int, code: str) -> None:
    outcomes, requests = delete(lambda _: [error(status, code)], of_keys(1_000))

    assert len(requests) == 1
    assert {outcome[1:4] for outcome in outcomes} == {(False, status, code)}
    assert len(outcomes) == 1_000


def test_a_store_that_is_away_ends_the_run() -> None:
    away = to(f"http://127.0.0.1:{closed_port()}")

    with pytest.raises(Unreachable, match="DeleteObjects s3://lake/"):
        engine.run(fly(away, of_keys(10), DeleteObjects(), chosen=limits(retries=1)))


def test_a_bucket_of_another_region_is_followed_with_its_body() -> None:
    moved: list[bytes] = []

    def script(request: Request) -> Sequence[Step]:
        if "/eu-central-1/" in request.header("authorization"):
            moved.append(request.body)
            return [answer(200, NOTHING)]
        return [error(400, "AuthorizationHeaderMalformed", headers={"x-amz-bucket-region": "eu-central-1"})]

    outcomes, requests = delete(script, of_keys(3), in_flight=1)

    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert moved == [requests[0].body]


def test_markers_only_fails_rows_that_name_a_version_without_a_request() -> None:
    some = [Entry(1, "lake", "a", "v1", "a"), Entry(2, "lake", "b", None, "b")]

    outcomes, requests = delete(lambda _: [answer(200, NOTHING)], some, DeleteObjects(markers_only=True))

    assert [asked(request) for request in requests] == [["b"]]
    assert sorted((outcome.entry.key, outcome.http_status, outcome.code) for outcome in outcomes) == [
        ("a", 400, "InvalidRequest"),
        ("b", 200, ""),
    ]


class Bucket:
    """Answers GetBucketVersioning, and nothing else."""

    def __init__(self, told: dict[str, Any] | S3Error) -> None:
        self._told = told

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        assert (action, parameters) == ("GetBucketVersioning", {"Bucket": "lake"})
        if isinstance(self._told, S3Error):
            raise self._told
        return self._told


def look(told: dict[str, Any] | S3Error, *, markers_only: bool = True) -> None:
    asyncio.run(DeleteObjects(markers_only=markers_only).look("lake", Bucket(told)))


@pytest.mark.parametrize(("told", "shown"), [({}, "not enabled"), ({"Status": "Suspended"}, "Suspended")])
def test_markers_only_refuses_a_bucket_that_keeps_no_versions(told: dict[str, Any], shown: str) -> None:
    with pytest.raises(InvalidInput, match=rf"markers_only=True\): versioning of bucket lake is {shown}"):
        look(told)

    look(told, markers_only=False)
    look({"Status": "Enabled"})


def test_markers_only_fails_where_the_bucket_does_not_tell() -> None:
    told = "No, you may not. " * 20
    with pytest.raises(S3Error, match=r"403 AccessDenied: No, .*…; it takes s3:GetBucketVersioning$"):
        look(S3Error("GetBucketVersioning", "s3://lake/", status=403, code="AccessDenied", message=told))
    with pytest.raises(S3Error, match=r"503 SlowDown: No\.$"):
        look(S3Error("GetBucketVersioning", "s3://lake/", status=503, code="SlowDown", message="No."))


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (DeleteObjects(), {}),
        (DeleteObjects(bypass_governance=True), {"BypassGovernanceRetention": True}),
        (DeleteObjects(markers_only=True), {"MarkersOnly": True}),
        (DeleteObjects(markers_only="{{ params.markers }}"), {"MarkersOnly": "{{ params.markers }}"}),
    ],
)
def test_it_is_read_back_from_what_it_tells(operation: DeleteObjects, arguments: dict[str, Any]) -> None:
    assert operation.to_aws() == {"S3DeleteObjects": arguments}
    assert operation_from_aws(json.loads(json.dumps(operation.to_aws()))) == operation


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [({"Force": True}, "unknown Force"), ({"MarkersOnly": "perhaps"}, "markers_only: 'perhaps' is neither True nor")],
)
def test_what_is_no_such_operation_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"DeleteObjects: .*{wrong}"):
        operation_from_aws({"S3DeleteObjects": arguments})


def test_what_was_learned_from_a_store_does_not_make_it_another_operation() -> None:
    slow, other = DeleteObjects(), DeleteObjects()

    delete(
        lambda request: [error(413, "TooLarge") if len(asked(request)) > 1 else answer(200, NOTHING)], of_keys(2), slow
    )

    assert slow == other
    assert hash(slow) == hash(other)


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 1_000))
def test_a_request_is_never_larger_than_s3_takes_nor_empty(course: list[bool], takes: int) -> None:
    size = BatchSize()
    for worked in course:
        (size.worked if worked else size.too_many)(size.objects)
        assert 1 <= size.objects <= 1_000


@pytest.mark.parametrize("takes", [1, 7, 100, 999, 1_000])
def test_a_request_comes_to_at_least_half_of_what_a_store_takes_and_is_seldom_too_large(takes: int) -> None:
    size, course = BatchSize(), []
    for _ in range(1_000):
        fits = size.objects <= takes
        course.append(size.objects if fits else 0)
        (size.worked if fits else size.too_many)(size.objects)

    assert course[20:].count(0) < 20
    assert all(objects >= takes / 2 for objects in course[20:] if objects)


def test_a_store_that_recovers_is_asked_for_a_thousand_again() -> None:
    size = BatchSize()
    while size.objects > 1:
        size.too_many(size.objects)
    for _ in range(50):
        size.worked(size.objects)

    assert size.objects == 1_000


def test_requests_in_flight_that_fail_together_halve_once() -> None:
    size = BatchSize()
    for _ in range(16):
        size.too_many(1_000)

    assert size.objects == 500


def test_prepare_lets_botocore_check_its_requests() -> None:
    async def check() -> None:
        async with S3(to("http://127.0.0.1:1"), limits()) as s3:
            s3.check(DeleteObjects(bypass_governance=True), "lake")
            with pytest.raises(InvalidInput, match="DeleteObjects"):
                s3.check(DeleteObjects(bypass_governance=True), "not a bucket")

    engine.run(check())


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as store:
        yield store


async def done(s3: S3, operation: DeleteObjects, some: list[Entry]) -> list[Outcome]:
    return [outcome async for each in s3.run(in_lists(some, 1_000), operation) for outcome in each]


def test_a_server_of_others_deletes_exactly_what_it_was_asked_for(store: Store) -> None:
    doomed = random.Random(3).sample(store.keys, len(store.keys) // 2)

    async def deleted() -> tuple[list[Outcome], set[str]]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            await s3.call("CreateBucket", Bucket="plain")
            for key in store.keys:
                await s3.call("PutObject", Bucket="plain", Key=key, Body=b"")
            outcomes = await done(s3, DeleteObjects(), entries([*doomed, "not there"], bucket="plain"))
            left = await s3.call("ListObjectsV2", Bucket="plain")
            return outcomes, {item["Key"] for item in left["Contents"]}

    outcomes, left = engine.run(deleted())

    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert left == set(store.keys) - set(doomed)


def test_a_server_of_others_deletes_versions_for_good_and_objects_by_markers(store: Store) -> None:
    async def deleted() -> tuple[list[Outcome], dict[str, Any]]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            await s3.call("CreateBucket", Bucket="doomed")
            await s3.call("PutBucketVersioning", Bucket="doomed", VersioningConfiguration={"Status": "Enabled"})
            put = [await s3.call("PutObject", Bucket="doomed", Key=key, Body=b"") for key in ("a&b", "a&b", "c")]
            some = [
                *entries(["a&b"], bucket="doomed", version=put[0]["VersionId"]),
                *entries(["c"], bucket="doomed"),
            ]
            await DeleteObjects(markers_only=True).look("doomed", s3)
            outcomes = await done(s3, DeleteObjects(), some)
            return outcomes, await s3.call("ListObjectVersions", Bucket="doomed")

    outcomes, left = engine.run(deleted())

    assert {outcome.message for outcome in outcomes} == {"Successful"}
    assert [(item["Key"], item["IsLatest"]) for item in left["Versions"]] == [("a&b", True), ("c", False)]
    assert [(item["Key"], item["IsLatest"]) for item in left["DeleteMarkers"]] == [("c", True)]


def test_a_server_of_others_refuses_locked_versions_one_by_one(store: Store) -> None:
    async def deleted() -> tuple[list[Outcome], list[Outcome]]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            await s3.call("CreateBucket", Bucket="locked", ObjectLockEnabledForBucket=True)
            held = await s3.call("PutObject", Bucket="locked", Key="held", Body=b"")
            retention = {"Mode": "GOVERNANCE", "RetainUntilDate": "2036-12-31T00:00:00Z"}
            await s3.call("PutObjectRetention", Bucket="locked", Key="held", Retention=retention)
            free = await s3.call("PutObject", Bucket="locked", Key="free", Body=b"")
            some = [
                *entries(["held"], bucket="locked", version=held["VersionId"]),
                *entries(["free"], bucket="locked", version=free["VersionId"]),
            ]
            return await done(s3, DeleteObjects(), some), await done(
                s3, DeleteObjects(bypass_governance=True), some[:1]
            )

    outcomes, (bypassed,) = engine.run(deleted())

    assert sorted((outcome.entry.key, outcome.code) for outcome in outcomes) == [("free", ""), ("held", "AccessDenied")]
    assert bypassed.succeeded
