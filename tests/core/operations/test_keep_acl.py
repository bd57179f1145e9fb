"""keep_acl: each copy has its source's ACL, however large it is, and nothing is said of ACLs where there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations import CopyObject, Grant, MoveObject, Operation, operation_from_aws
from airflow_s3batch.core.operations.multipart import MultipartCopy
from airflow_s3batch.core.rows import Outcome
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.core.engine.test_stores import Store, moto
from tests.core.test_operations_wire import NEWEST
from tests.servers import Request, ScriptedServer, Step, answer, error

ALL, KNOWN = (f"http://acs.amazonaws.com/groups/global/{group}" for group in ("AllUsers", "AuthenticatedUsers"))
ACLS: dict[str, dict[str, str]] = {
    "private": {},
    "public": {"ACL": "public-read"},
    "shared": {"GrantFullControl": 'id="abc"', "GrantRead": f'uri="{KNOWN}"', "GrantReadACP": 'id="def"'},
}


# Against moto, which takes one grantee a header; ministack takes no ACL with what it creates


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    async def fill(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            for bucket in ("lake", "archive"):
                await s3.call("CreateBucket", Bucket=bucket)

    with moto(tmp_path_factory.mktemp("acl")) as store:
        engine.run(fill(store))
        yield store


async def granted(s3: S3, bucket: str, key: str) -> set[tuple[str, str]]:
    told = await s3.call("GetObjectAcl", Bucket=bucket, Key=key)
    return {(grant["Permission"], grant["Grantee"].get("ID") or grant["Grantee"]["URI"]) for grant in told["Grants"]}


@pytest.mark.parametrize(
    "operation",
    [
        CopyObject("archive", target_prefix="copied/", keep_acl=True),
        MoveObject("archive", target_prefix="moved/", keep_acl=True, overwrite=not NEWEST),
    ],
    ids=["copied", "moved"],
)
def test_copies_have_the_acls_of_their_sources(store: Store, operation: CopyObject | MoveObject) -> None:
    async def copying() -> tuple[list[Outcome], list[set[tuple[str, str]]], list[set[tuple[str, str]]]]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            for key, acl in ACLS.items():
                await s3.call("PutObject", Bucket="lake", Key=key, Body=b"x", **acl)
            before = [await granted(s3, "lake", key) for key in ACLS]
            some = in_lists(entries(ACLS), 10)
            outcomes = [outcome async for done in s3.run(some, operation) for outcome in done]
            return outcomes, before, [await granted(s3, "archive", f"{operation.target_prefix}{key}") for key in ACLS]

    outcomes, before, after = engine.run(copying())

    assert all(outcome.succeeded for outcome in outcomes)
    assert after == before
    assert before[2] == {("FULL_CONTROL", "abc"), ("READ", KNOWN), ("READ_ACP", "def")}


def test_copy_in_parts_has_the_acl_of_its_source(store: Store) -> None:
    operation = CopyObject("archive", target_key="in parts", keep_acl=True)

    async def copying() -> set[tuple[str, str]]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            await s3.call("PutObject", Bucket="lake", Key="large", Body=b"x" * (6 * 2**20), **ACLS["shared"])
            request = operation.copy_request("lake", "large", None, "in parts")
            request |= await operation.acl_kept("lake", "large", None, s3)
            parts = MultipartCopy(1, request, s3, usual_part=5 * 2**20)
            await parts.look()
            assert await parts.run() == "Copied in 2 parts"
            return await granted(s3, "archive", "in parts")

    assert engine.run(copying()) == {("FULL_CONTROL", "abc"), ("READ", KNOWN), ("READ_ACP", "def")}


# Against a server that records


def told(*grants: tuple[str, str], owner: str = "me") -> list[Step]:
    grantees = [
        f"<Grant><Grantee xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='x'>{who}</Grantee>"
        f"<Permission>{permission}</Permission></Grant>"
        for permission, who in grants
    ]
    acl = f"<AccessControlList>{''.join(grantees)}</AccessControlList>"
    body = f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner>{acl}</AccessControlPolicy>"
    return [answer(200, body.encode())]


SOMEBODY = ("READ", "<ID>abc</ID>")
MINE = ("FULL_CONTROL", "<ID>me</ID>")
PUBLIC = ("READ", f"<URI>{ALL}</URI>")
COPIED = [answer(200, b'<CopyObjectResult><ETag>"a"</ETag></CopyObjectResult>')]


def copied(acl: list[Step], copy: Sequence[Step] = COPIED, **options: Any) -> tuple[Outcome, list[Request]]:
    with ScriptedServer(lambda request: acl if request.query.startswith("acl") else copy) as server:
        operation = CopyObject("archive", keep_acl=True, **options)
        (outcome,) = engine.run(
            fly(to(server.url), entries(["a b"], version="v1"), operation, chosen=limits(retries=0))
        )
    return outcome, server.requests


def grants_of(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers if name.startswith("x-amz-grant-") or name == "x-amz-acl"}


def test_acl_that_is_kept_is_that_of_the_version_that_is_copied() -> None:
    outcome, (acl, copy) = copied(told(MINE, PUBLIC, SOMEBODY), requester_pays=True)

    assert outcome.succeeded
    assert (acl.method, acl.path, set(acl.query.split("&"))) == ("GET", "/lake/a%20b", {"acl", "versionId=v1"})
    assert copy.header("x-amz-copy-source") == "lake/a%20b?versionId=v1"
    assert {request.header("x-amz-request-payer") for request in (acl, copy)} == {"requester"}
    assert grants_of(copy) == {"x-amz-grant-full-control": 'id="me"', "x-amz-grant-read": f'uri="{ALL}", id="abc"'}


@pytest.mark.parametrize("acl", [told(MINE), told(MINE, ("WRITE", f"<URI>{ALL}</URI>"))])
def test_nothing_is_said_of_an_acl_that_is_private_so_that_buckets_without_acls_take_it(acl: list[Step]) -> None:
    outcome, (_, copy) = copied(acl)

    assert outcome.succeeded
    assert grants_of(copy) == {}


def test_acl_that_the_target_does_not_take_fails_the_object() -> None:
    outcome, requests = copied(told(MINE, PUBLIC), [error(400, "AccessControlListNotSupported")])

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 400, "AccessControlListNotSupported")
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("acl", "code"),
    [
        ([error(403, "AccessDenied")], "AccessDenied"),
        ([error(404, "NoSuchVersion")], "NoSuchVersion"),
        (told(("READ", '<ID>a"b</ID>')), "InvalidInput"),
        (told(("READ", "")), "InvalidInput"),
    ],
)
def test_object_whose_acl_cannot_be_told_is_not_copied(acl: list[Step], code: str) -> None:
    outcome, requests = copied(acl)

    assert (outcome.succeeded, outcome.code) == (False, code)
    assert len(requests) == 1


def test_object_that_has_no_target_key_takes_no_request() -> None:
    outcome, requests = copied(told(MINE), strip_prefix="raw/")

    assert (outcome.code, requests) == ("KeyNotMatched", [])


# Parameters


@pytest.mark.parametrize("other", [{"canned_acl": "private"}, {"grants": [Grant("READ", id="a")]}])
def test_copy_has_one_acl(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="give one of canned_acl, grants and keep_acl"):
        CopyObject("archive", keep_acl=True, **other)


@pytest.mark.parametrize("operation", [CopyObject("archive", keep_acl=True), MoveObject("archive", keep_acl=True)])
def test_it_is_read_back_from_what_it_tells(operation: Operation) -> None:
    assert operation.arguments()["KeepAcl"] is True
    assert operation_from_aws(operation.to_aws()) == operation
    assert [action for action, _ in operation.requests("lake", "k", None)].count("GetObjectAcl") == 1


def test_rendered_template_says_whether_it_is_kept() -> None:
    written = CopyObject("archive", keep_acl="{{ params.keep }}").to_aws()
    written["S3PutObjectCopy"]["KeepAcl"] = "false"

    assert operation_from_aws(written) == CopyObject("archive")
