"""`Objects`: a list in the DAG."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import Objects, manifest_from_aws
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import MemoryS3

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
PLACE = S3Location("lake", "reports/job-1/generated-manifest/")


def entries(manifest: Objects) -> list[Entry]:
    async def reading() -> list[Entry]:
        s3 = MemoryS3("lake")
        resolved = await manifest.resolve(s3, PLACE, NOON)
        survey = await resolved.survey(s3)
        (whole,) = split(survey.marks, survey.rows, 1)
        return [entry async for some in resolved.read(s3, whole) for entry in some]

    return asyncio.run(reading())


def test_objects_are_named_by_uri_or_by_bucket_and_key() -> None:
    found = entries(Objects(["s3://lake/a b.csv", ("data", "c%2Fd"), ["data", "+", None]]))

    assert [(entry.bucket, entry.key, entry.version) for entry in found] == [
        ("lake", "a b.csv", None),
        ("data", "c%2Fd", None),
        ("data", "+", None),
    ]


def test_objects_may_have_versions() -> None:
    found = entries(Objects([("data", "a", "3HL4kqtJlcpXrof3"), ("data", "a", "null")]))

    assert [entry.version for entry in found] == ["3HL4kqtJlcpXrof3", "null"]


def test_a_task_can_return_the_list() -> None:
    manifest = manifest_from_aws({"S3Objects": {"Objects": ["s3://lake/a", ["data", "b"]]}})

    assert manifest == Objects(["s3://lake/a", ("data", "b")])


@pytest.mark.parametrize("spell", [str, json.dumps], ids=["as Jinja does", "as JSON"])
@given(keys=st.lists(st.text(min_size=1, max_size=20).filter(lambda key: "{" not in key), min_size=1, max_size=5))
def test_a_template_becomes_the_list_that_it_renders_to(spell: Callable[[Any], str], keys: list[str]) -> None:
    listed = [["lake", key] for key in keys]

    assert manifest_from_aws({"S3Objects": {"Objects": spell(listed)}}) == Objects(listed)


def test_a_template_that_was_never_rendered_is_no_list() -> None:
    with pytest.raises(InvalidInput, match=r"'\{\{ a \}\}' was never rendered to a list"):
        entries(Objects("{{ a }}"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50), min_size=1, max_size=5))
def test_every_key_is_taken_as_it_is(keys: list[str]) -> None:
    assert [
        entry.key for entry in entries(Objects([("data", key) for key in keys if "{" not in key] or ["s3://data/x"]))
    ] == ([key for key in keys if "{" not in key] or ["x"])


@pytest.mark.parametrize(
    "manifest",
    [
        Objects(["s3://lake/a"]),
        Objects([("lake", "a", "v"), ("lake", "b", "{{ params.version }}")]),
        Objects(["{{ ti.xcom_pull('find') }}", ("{{ params.bucket }}", "k")]),
        Objects("{{ ti.xcom_pull('find') }}"),
    ],
)
def test_it_comes_back_from_its_json(manifest: Objects) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


@pytest.mark.parametrize(
    ("objects", "told"),
    [
        ([], "there is no object in the list"),
        ("s3://lake/a", r"'s3://lake/a' is no list; give a list of objects: \['s3://bucket/key', .* output of a task"),
        ("{'a': 1}", "is no list; give a list"),
        ("None", "'None' is no list; give a list"),
        ("[" * 5000, "is no list; give a list"),
        ("['s3://lake/a', 'lake/b']", "object 2: 'lake/b' is not an S3 URI"),
        ("[]", "there is no object in the list"),
        (5, "give a list of objects"),
        ({"Uri": "s3://lake/a"}, "give a list of objects"),
        (["s3://lake/a"] * 10_001, "10,001 objects are too many"),
        (["s3://lake/a", "lake/b"], "object 2: 'lake/b' is not an S3 URI"),
        (["s3://lake"], r"object 1: \('s3://lake',\) has an empty part"),
        ([("lake", "")], "object 1: .* has an empty part"),
        ([("lake", "a", "")], r"object 1: .* has an empty part \(the null version is 'null'\)"),
        ([("a b", "k")], "object 1: 'a b' is not a bucket name"),
        ([("lake", "a", "v", "x")], r"object 1: .* is neither s3://bucket/key nor \(bucket, key, version\)"),
        ([("lake", "é" * 513)], "object 1: the key .* is longer than S3's 1024 bytes"),
        (["s3://lake/a", ("lake", "b", "v1")], "some objects have a version and some have none"),
        ([{"Bucket": "lake", "Name": "x"}], "unknown Name"),
    ],
)
def test_what_can_never_work_is_refused(objects: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Objects(objects)
