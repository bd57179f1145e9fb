"""MergeObjectTags: which tags come out, and what is written to get there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed
from airflow_s3batch.core.operations import MergeObjectTags, operation_from_aws
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.flights import Naps, entries, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store

KEYS = st.text(st.sampled_from("abcd"), min_size=1, max_size=2)
TAGS = st.dictionaries(KEYS, st.text(st.sampled_from("xy"), max_size=1), max_size=6)


class Tagged:
    """One object in a bucket that keeps versions, or doesn't; records what is asked for."""

    def __init__(self, tags: dict[str, str], version: str | None = None) -> None:
        self.tags = tags
        self.version = version
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        self.calls.append((action, parameters))
        if action == "PutObjectTagging":
            self.tags = {tag["Key"]: tag["Value"] for tag in parameters["Tagging"]["TagSet"]}
            return {}
        assert action == "GetObjectTagging"
        told: dict[str, Any] = {"TagSet": [{"Key": key, "Value": value} for key, value in self.tags.items()]}
        return told if self.version is None else {**told, "VersionId": self.version}


def merge(operation: MergeObjectTags, s3: Tagged, *, version: str | None = None) -> str:
    return asyncio.run(operation.perform(Entry(1, "lake", "a b", version, "a%20b"), s3))


@given(has=TAGS, put=TAGS, remove=st.lists(KEYS, max_size=4))
def test_what_is_set_is_set_what_is_removed_is_gone_and_the_rest_stays(
    has: dict[str, str], put: dict[str, str], remove: list[str]
) -> None:
    put = {key: value for key, value in put.items() if key not in remove}
    if not put and not remove:
        return
    expected = {key: value for key, value in has.items() if key not in remove} | put
    s3 = Tagged(has)
    if len(expected) > 10:
        with pytest.raises(ObjectFailed):
            merge(MergeObjectTags(put, remove=remove), s3)
        expected = has
    else:
        message = merge(MergeObjectTags(put, remove=remove), s3)
        assert message == ("Unchanged" if expected == has else "")

    assert s3.tags == expected


def test_tags_that_are_as_wanted_are_not_written() -> None:
    s3 = Tagged({"tier": "cold", "owner": "me"})

    assert merge(MergeObjectTags({"tier": "cold"}, remove=["gone"]), s3) == "Unchanged"
    assert [action for action, _ in s3.calls] == ["GetObjectTagging"]


def test_an_eleventh_tag_fails_before_anything_is_written() -> None:
    s3 = Tagged({f"k{number}": "" for number in range(9)})

    with pytest.raises(ObjectFailed, match="BadRequest: Object tags cannot be greater than 10: it has 9") as failed:
        merge(MergeObjectTags({"a": "1", "b": "2"}), s3)

    assert (failed.value.code, failed.value.http_status) == ("BadRequest", 400)
    assert [action for action, _ in s3.calls] == ["GetObjectTagging"]


def test_a_tenth_tag_in_place_of_another_is_written() -> None:
    s3 = Tagged({f"k{number}": "" for number in range(10)})

    merge(MergeObjectTags({"new": "1"}, remove=["k0"]), s3)

    assert s3.tags == {**{f"k{number}": "" for number in range(1, 10)}, "new": "1"}


@pytest.mark.parametrize(
    ("asked", "read", "written"), [(None, None, None), ("v1", "v1", "v1"), (None, "v2", "v2"), ("v1", None, "v1")]
)
def test_the_version_that_was_read_is_written(asked: str | None, read: str | None, written: str | None) -> None:
    s3 = Tagged({}, read)

    merge(MergeObjectTags({"a": "1"}), s3, version=asked)

    assert [parameters.get("VersionId") for _, parameters in s3.calls] == [asked, written]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "give tags to set, or keys to remove"),
        ({"set": {"a": "1"}, "remove": ["a", "b"]}, "a: set or remove a tag, not both"),
        ({"set": {"aws:a": "1"}}, "set: .*the prefix aws: is reserved"),
        ({"set": {str(number): "" for number in range(11)}}, "11 tags; S3 allows 10"),
        ({"remove": [""]}, "remove: .*has 0 characters"),
        ({"remove": "tier"}, r"remove takes a list of keys: \['tier'\]"),
        ({"remove": [1]}, "remove"),
    ],
)
def test_what_no_object_can_be_tagged_with_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"MergeObjectTags: .*{wrong}"):
        MergeObjectTags(**arguments)


@pytest.mark.parametrize(
    ("aws", "wrong"),
    [
        ({"TagSet": [], "Delete": []}, "unknown Delete"),
        ({"TagSet": {"a": "b"}}, "write tags as"),
        ({"RemoveKeys": "tier"}, "RemoveKeys is a list of keys, not 'tier'"),
        ({"RemoveKeys": [1]}, "RemoveKeys is a list of keys"),
    ],
)
def test_what_is_no_such_operation_is_refused(aws: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        operation_from_aws({"S3MergeObjectTags": aws})


@pytest.mark.parametrize(
    "operation",
    [
        MergeObjectTags({"tier": "cold", "läng": "日本"}, remove=["a", "b"]),
        MergeObjectTags(remove=[str(number) for number in range(20)]),
        MergeObjectTags({"day": "{{ ds }}"}),
    ],
)
def test_it_is_read_back_from_what_it_tells(operation: MergeObjectTags) -> None:
    assert operation_from_aws(json.loads(json.dumps(operation.to_aws()))) == operation


def test_prepare_lets_botocore_check_its_requests() -> None:
    async def check() -> None:
        async with S3(to("http://127.0.0.1:1"), limits()) as s3:
            s3.check(MergeObjectTags({"a": "1"}, remove=["b"]), "lake")
            with pytest.raises(InvalidInput, match="GetObjectTagging"):
                s3.check(MergeObjectTags({"a": "1"}, remove=["b"]), "not a bucket")

    engine.run(check())


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as store:
        yield store


def test_a_server_of_others_has_the_tags_that_come_out(store: Store) -> None:
    async def merged() -> tuple[list[Outcome], list[dict[str, str]]]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            await s3.call("CreateBucket", Bucket="versioned")
            await s3.call("PutBucketVersioning", Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
            old = await s3.call("PutObject", Bucket="versioned", Key="a b", Body=b"1", Tagging="a=1&b=2")
            await s3.call("PutObject", Bucket="versioned", Key="a b", Body=b"2", Tagging="b=2&c=3")
            some = [
                *entries(["a b"], bucket="versioned", version=old["VersionId"]),
                *entries(["a b", "not there"], bucket="versioned"),
            ]
            running = s3.run(in_lists(some, 3), MergeObjectTags({"a": "new"}, remove=["b"]))
            outcomes = [outcome async for some_done in running for outcome in some_done]
            tags = [
                await s3.call("GetObjectTagging", Bucket="versioned", Key="a b", **version)
                for version in ({"VersionId": old["VersionId"]}, {})
            ]
            return outcomes, [{tag["Key"]: tag["Value"] for tag in each["TagSet"]} for each in tags]

    outcomes, tags = engine.run(merged())

    assert {(outcome.entry.key, outcome.succeeded, outcome.code) for outcome in outcomes} == {
        ("a b", True, ""),
        ("not there", False, "NoSuchKey"),
    }
    assert tags == [{"a": "new"}, {"a": "new", "c": "3"}]
