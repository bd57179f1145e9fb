"""UndeleteObject: removes what hides an object, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed
from airflow_s3batch.core.operations import DeleteObjects, UndeleteObject, operation_from_aws
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.flights import Naps, entries, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store


class Bucket:
    """Versions, newest first by key: a marker's id begins with ``m``, a version's with ``v``."""

    def __init__(self, **versions: list[str]) -> None:
        self.versions = {key.replace("_", "/"): ids for key, ids in versions.items()}
        self.removed: list[tuple[str, str]] = []
        self.obeys = True
        self.markers: set[str] = {version for ids in versions.values() for version in ids if version[0] == "m"}

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        if action == "DeleteObject":
            key, version = parameters["Key"], parameters["VersionId"]
            self.removed.append((key, version))
            if self.obeys:
                self.versions[key].remove(version)
            return {}
        assert action == "ListObjectVersions"
        found: list[dict[str, Any]] = [
            {"Key": key, "VersionId": version, "IsLatest": version == ids[0]}
            for key, ids in sorted(self.versions.items())
            for version in ids
            if key.startswith(parameters["Prefix"])
        ][: parameters["MaxKeys"]]
        kinds = {
            "Versions": [item for item in found if item["VersionId"] not in self.markers],
            "DeleteMarkers": [item for item in found if item["VersionId"] in self.markers],
        }
        return {kind: items for kind, items in kinds.items() if items}


def undelete(s3: Bucket, version: str | None = None) -> str:
    return asyncio.run(UndeleteObject().perform(Entry(1, "lake", "a", version, "a"), s3))


@pytest.mark.parametrize(
    ("versions", "removed"),
    [
        (["m1", "v1"], ["m1"]),
        (["m1", "v2", "m0", "v1"], ["m1"]),
        (["m3", "m2", "m1", "v1"], ["m3", "m2", "m1"]),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_the_markers_over_the_newest_version_are_removed(versions: list[str], removed: list[str], named: bool) -> None:
    s3 = Bucket(a=list(versions), a_b=["v9"])

    assert undelete(s3, versions[0] if named else None) == ""
    assert s3.removed == [("a", version) for version in removed]


@pytest.mark.parametrize("versions", [["v1"], ["v2", "m1", "v1"]])
@pytest.mark.parametrize("version", [None, "m1", "v1"])
def test_an_object_that_is_not_deleted_is_left_as_it_is(versions: list[str], version: str | None) -> None:
    s3 = Bucket(a=versions)

    assert undelete(s3, version) == "Was not deleted"
    assert s3.removed == []


def test_a_marker_that_a_new_object_may_replace_is_removed_only_if_it_is_named() -> None:
    s3 = Bucket(a=["null", "v1"])
    s3.markers.add("null")

    with pytest.raises(ObjectFailed, match="which a new object may replace at any moment; give the row the version"):
        undelete(s3)
    assert s3.removed == []
    assert undelete(s3, "null") == ""
    assert s3.removed == [("a", "null")]


@pytest.mark.parametrize("others", [{}, {"a_b": ["v9"]}, {"a_b": ["m9", "v9"]}])
@pytest.mark.parametrize("versions", [[], ["m1"]])
def test_an_object_of_which_nothing_is_left_fails(versions: list[str], others: dict[str, list[str]]) -> None:
    s3 = Bucket(a=versions, **others)

    with pytest.raises(ObjectFailed, match="NoSuchKey: No version of the object is left") as failed:
        undelete(s3)

    assert failed.value.http_status == 404
    assert s3.removed == []


@pytest.mark.parametrize("version", ["v1", "m0", "null"])
def test_a_version_that_does_not_hide_the_object_is_never_removed(version: str) -> None:
    s3 = Bucket(a=["m1", "m0", "v1"])

    with pytest.raises(ObjectFailed, match="InvalidRequest: The version is not the delete marker that hides"):
        undelete(s3, version)

    assert s3.removed == []


def test_a_marker_that_does_not_go_away_is_removed_once() -> None:
    s3 = Bucket(a=["m2", "m1", "v1"])
    s3.obeys = False

    with pytest.raises(ObjectFailed, match="OperationAborted: Delete marker m2 is still there"):
        undelete(s3)

    assert s3.removed == [("a", "m2")]


def test_it_is_read_back_from_what_it_tells() -> None:
    assert UndeleteObject().to_aws() == {"S3UndeleteObject": {}}
    assert operation_from_aws({"S3UndeleteObject": {}}) == UndeleteObject()
    with pytest.raises(InvalidInput, match="UndeleteObject: unknown Days"):
        operation_from_aws({"S3UndeleteObject": {"Days": 1}})


def test_prepare_lets_botocore_check_its_requests() -> None:
    async def check() -> None:
        async with S3(to("http://127.0.0.1:1"), limits()) as s3:
            s3.check(UndeleteObject(), "lake")
            with pytest.raises(InvalidInput, match="ListObjectVersions"):
                s3.check(UndeleteObject(), "not a bucket")

    engine.run(check())


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as store:
        yield store


def test_what_was_deleted_is_back_on_a_server_of_others_whatever_its_key(store: Store) -> None:
    async def deleted_and_back() -> tuple[list[Outcome], list[Outcome], dict[str, bytes]]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            await s3.call("CreateBucket", Bucket="versioned")
            await s3.call("PutBucketVersioning", Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
            for key in store.keys:
                await s3.call("PutObject", Bucket="versioned", Key=key, Body=key.encode())
            some = entries(store.keys, bucket="versioned")
            deleting = s3.run(in_lists(some, 1_000), DeleteObjects(markers_only=True))
            deleted = [outcome async for done in deleting for outcome in done]
            undeleting = s3.run(in_lists(some, 1_000), UndeleteObject())
            back = [outcome async for done in undeleting for outcome in done]
            bodies = {key: (await s3.call("GetObject", Bucket="versioned", Key=key))["Body"] for key in store.keys}
            return deleted, back, bodies

    deleted, back, bodies = engine.run(deleted_and_back())

    assert {outcome.message for outcome in deleted} == {"Successful"}
    assert {outcome.message for outcome in back} == {"Successful"}
    assert len(deleted) == len(back) == len(store.keys)
    assert bodies == {key: key.encode() for key in store.keys}
