"""What a job would do, cost and take, told before it does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import Self

from airflow_s3batch.core.errors import S3Error
from airflow_s3batch.core.estimate import Estimate, Requests, Sample, estimate
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest, ListObjects
from airflow_s3batch.core.operations import (
    BatchOperation,
    CopyObject,
    DeleteObjects,
    DeleteObjectTagging,
    InvokeLambda,
    MoveObject,
    Operation,
    PutObjectTagging,
    RestoreObject,
    StepsOperation,
)
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.prices import Prices
from tests.core.scripted import OWNER, ScriptedEngine, spec

AMAZON = Prices.of_region("us-east-1")


class Bare:
    """An operation without parameters."""

    def arguments(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_arguments(cls, _: dict[str, Any]) -> Self:
        return cls()


class Erase(Bare, BatchOperation):
    """Delete, ten objects a call."""

    aws_name: ClassVar[str] = "TestErase"
    entries_per_request: ClassVar[int] = 10

    def requests(self, bucket: str, key: str, _: str | None) -> list[tuple[str, dict[str, Any]]]:
        return [("DeleteObjects", {"Bucket": bucket, "Delete": {"Objects": [{"Key": key}]}})]


class ReadAndWrite(Bare, StepsOperation):
    """Two reads and a write an object."""

    aws_name: ClassVar[str] = "TestReadAndWrite"

    def requests(self, bucket: str, key: str, _: str | None) -> list[tuple[str, dict[str, Any]]]:
        place = {"Bucket": bucket, "Key": key}
        return [("GetObjectTagging", place), ("GetObjectTagging", place), ("PutObjectTagging", place)]


class Secret(Bare, StepsOperation):
    """Calls that nobody knows before."""

    aws_name: ClassVar[str] = "TestSecret"

    def requests(self, _bucket: str, _key: str, _: str | None) -> list[tuple[str, dict[str, Any]]]:
        return []


def estimated(
    manifest: str,
    operation: Operation | None = None,
    *,
    prices: Prices | None = AMAZON,
    limits: Limits | None = None,
    rows_per_partition: int = 1000,
) -> Estimate:
    async def scenario() -> Estimate:
        s3 = ScriptedEngine()
        s3.put("lake", "manifest.csv", manifest)
        asked = spec().model_copy(update={"operation": operation or PutObjectTagging({"a": "b"})})
        asked = asked.model_copy(update={"limits": limits or Limits()})
        job: Job = await prepare(asked, s3, owner=OWNER, rows_per_partition=rows_per_partition)
        told = await estimate(job, s3, prices=prices)
        assert s3.requests == []
        return told

    return asyncio.run(scenario())


def rows(count: int) -> str:
    return "".join(f"data,key-{row}\n" for row in range(1, count + 1))


@pytest.mark.parametrize("rows_per_partition", [1000, 40, 7])
def test_samples_are_the_first_the_middle_and_the_last_objects(rows_per_partition: int) -> None:
    told = estimated(rows(100), rows_per_partition=rows_per_partition)

    assert [sample.row for sample in told.samples] == [1, 2, 3, 49, 50, 51, 98, 99, 100]
    assert told.samples[3] == Sample(49, "s3://data/key-49", None)


def test_samples_of_a_large_partition_are_found_in_it() -> None:
    told = estimated(rows(9_000), rows_per_partition=9_000)

    assert [sample.row for sample in told.samples][-1] == 9_000


@given(count=st.integers(1, 15), rows_per_partition=st.integers(1, 13))
def test_small_job_shows_each_of_its_objects_once(count: int, rows_per_partition: int) -> None:
    told = estimated(rows(count), rows_per_partition=rows_per_partition)

    shown = [sample.row for sample in told.samples]
    assert shown == sorted(set(shown))
    assert {1, count} <= set(shown)
    assert len(shown) == (count if count <= 12 else 9)


@pytest.mark.parametrize(("count", "told"), [(10, "under a second, at"), (7_000, "about 2.0 s, at")])
def test_time_is_told_as_a_person_would(count: int, told: str) -> None:
    assert told in estimated(rows(count), rows_per_partition=10_000).table()


@pytest.mark.parametrize(
    ("operation", "made"),
    [
        (PutObjectTagging({"a": "b"}), [("PutObjectTagging", 2000, 0.01)]),
        (DeleteObjectTagging(), [("DeleteObjectTagging", 2000, 0.0)]),
        (CopyObject("data"), [("CopyObject", 2000, 0.01)]),
        (CopyObject("data", storage_class="DEEP_ARCHIVE"), [("CopyObject", 2000, 0.1)]),
        (RestoreObject(days=1, tier="BULK"), [("RestoreObject", 2000, 0.05)]),
        (ReadAndWrite(), [("GetObjectTagging", 4000, 0.0016), ("PutObjectTagging", 2000, 0.01)]),
        (Erase(), [("DeleteObjects", 200, 0.0)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_requests_are_counted_and_priced_by_what_the_operation_calls(
    operation: Operation, made: list[tuple[str, int, float]]
) -> None:
    *calls, folder = estimated(rows(2000), operation).requests

    assert [(call.action, call.times) for call in calls] == [call[:2] for call in made]
    assert [call.dollars for call in calls] == pytest.approx([call[2] for call in made])
    assert (folder.action, folder.times) == ("PutObject, for the job's folder", 2 * (2 + 3))


def test_batches_do_not_reach_over_partitions() -> None:
    assert estimated(rows(20), Erase(), rows_per_partition=5).requests[0].times == 4


def test_price_is_the_sum_and_says_whose_prices_they_are() -> None:
    told = estimated(rows(1000))

    assert told.dollars == pytest.approx(0.005 + 5 * 0.005 / 1000)
    assert told.prices == "Amazon's list prices of 2026-09-18 in us-east-1"
    assert "$0.01; Amazon's list prices" in told.table()


def test_store_without_prices_has_no_price() -> None:
    told = estimated(rows(3), prices=None)

    assert told.dollars is None
    assert "unknown; no prices are known for this store" in told.table()


def test_price_is_unknown_where_one_of_the_requests_has_none() -> None:
    assert estimated(rows(3), ReadAndWrite(), prices=Prices.given({"PUT": 1.0})).dollars is None


@pytest.mark.parametrize(
    ("operation", "limits", "seconds", "assumption"),
    [
        (PutObjectTagging({"a": "b"}), Limits(), 2000 / 3500, "3,500 writes a second, what S3 takes on one prefix"),
        (ReadAndWrite(), Limits(), 4000 / 5500 + 2000 / 3500, "at 5,500 reads and 3,500 writes a second"),
        (RestoreObject(days=1), Limits(), 2.0, "at 1,000 restores a second"),
        (Erase(), Limits(requests_per_second=1), 200.0, "at the job's limit of 1 request a second"),
        (ReadAndWrite(), Limits(requests_per_second=100), 60.0, "at the job's limit of 100 requests a second"),
    ],
    ids=["write", "read and write", "restore", "one a second", "limit"],
)
def test_time_is_that_of_the_requests_at_a_rate_it_names(
    operation: Operation, limits: Limits, seconds: float, assumption: str
) -> None:
    told = estimated(rows(2000), operation, limits=limits)

    assert told.seconds == pytest.approx(seconds)
    assert assumption in told.assumption


@pytest.mark.parametrize("operation", [InvokeLambda("enrich"), Secret()])
def test_calls_that_are_not_s3s_have_no_price_and_no_time(operation: Operation) -> None:
    told = estimated(rows(10), operation)

    assert (told.dollars, told.seconds, told.requests[0].times) == (None, None, 10)
    assert "unknown, because not all of the calls are S3's" in told.table()
    assert told.to_json()["seconds"] is None


def test_calls_that_are_not_s3s_are_counted_at_the_jobs_limit() -> None:
    assert estimated(rows(10), Secret(), limits=Limits(requests_per_second=5)).seconds == 2.0


def test_buckets_are_all_that_prepare_found() -> None:
    assert estimated("one,a\n" + rows(20) + "two,b\n" + rows(20)).buckets == ("one", "data", "two")


class Versioning(ScriptedEngine):
    """Answers GetBucketVersioning of each bucket with what it is given, an error's code or a status."""

    def __init__(self, told: Mapping[str, str]) -> None:
        super().__init__()
        self._told = told

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        if action != "GetBucketVersioning":
            return await super().call(action, **parameters)
        bucket = parameters["Bucket"]
        told = self._told[bucket]
        if told in {"Enabled", "Suspended"}:
            return {"Status": told}
        if not told:
            return {}
        raise S3Error(action, f"s3://{bucket}/", status=403, code=told, message="Access Denied")


def lost(operation: Operation, told: Mapping[str, str], version: str = "") -> Estimate:
    """The estimate of a job over 20 objects of each of the buckets."""

    async def scenario() -> Estimate:
        s3 = Versioning(told)
        rows = [f"{bucket},{number}{version}" for bucket in told for number in range(20)]
        s3.put("lake", "manifest.csv", "\n".join(rows))
        fields = ("Bucket", "Key", "VersionId") if version else ("Bucket", "Key")
        asked = spec(manifest=CsvManifest("s3://lake/manifest.csv", fields=fields))
        job = await prepare(asked.model_copy(update={"operation": operation}), s3, owner=OWNER)
        return await estimate(job, s3, prices=None)

    return asyncio.run(scenario())


TAKES = "it takes s3:GetBucketVersioning"
KEPT = "get delete markers, and UndeleteObject brings them back"


@pytest.mark.parametrize(
    ("operation", "buckets", "version", "told"),
    [
        (DeleteObjects(), {"data": ""}, "", "data keeps no versions: the objects are gone for good"),
        (DeleteObjects(), {"data": "Enabled"}, "", f"data keeps versions: the objects {KEPT}"),
        (
            DeleteObjects(),
            {"data": "Suspended"},
            "",
            "versioning of data is suspended: null versions of the objects are gone for good, older ones stay",
        ),
        (
            DeleteObjects(),
            {"data": "AccessDenied"},
            "",
            f"S3 doesn't say whether data keeps versions (AccessDenied; {TAKES}): the objects may be gone for good",
        ),
        (
            DeleteObjects(),
            {"kept": "Enabled", "hidden": "NotImplemented", "one": "", "two": ""},
            "",
            (
                "one, two keep no versions: the objects are gone for good; "
                f"S3 doesn't say whether hidden keeps versions (NotImplemented; {TAKES}): the objects may be gone for "
                f"good; kept keeps versions: the objects {KEPT}"
            ),
        ),
        (DeleteObjects(), {"data": ""}, ",v1", "rows name versions: those versions are gone for good"),
        (
            DeleteObjects(markers_only=True),
            {"data": "Enabled"},
            ",v1",
            "rows name versions, and fail: with markers_only none of them is deleted",
        ),
        (MoveObject("lake"), {"data": ""}, "", "data keeps no versions: the originals are gone for good"),
        (
            MoveObject("lake"),
            {"data": ""},
            ",v1",
            "rows name versions: once they are copied, those versions are gone for good",
        ),
    ],
)
def test_what_is_gone_for_good_is_told_before_it_is_deleted(
    operation: Operation, buckets: dict[str, str], version: str, told: str
) -> None:
    shown = lost(operation, buckets, version)

    assert shown.to_json()["versioning"] == told
    assert f"versioning  {told}" in shown.table().split("\n")
    assert f"| versioning | ` {told} ` |" in shown.markdown().split("\n")


def test_what_is_told_of_a_hundred_buckets_is_not_said_of_more() -> None:
    shown = lost(DeleteObjects(), {f"data-{number:03}": "Enabled" for number in range(101)})

    assert shown.versioning.endswith(f"{KEPT}; of buckets beyond these 100, nobody has asked S3")


def test_nothing_is_told_to_be_gone_where_nothing_is_deleted() -> None:
    told = lost(PutObjectTagging({"a": "b"}), {"data": ""})

    assert told.to_json()["versioning"] is None
    assert "versioning" not in f"{told.table()}{told.markdown()}"


def test_kinds_of_requests_stand_below_each_other() -> None:
    told = estimated(rows(2000), ReadAndWrite())

    assert [line for line in told.table().split("\n") if "Object" in line] == [
        "requests    4,000 GetObjectTagging, under $0.01",
        "            2,000 PutObjectTagging, $0.01",
        "            10 PutObject, for the job's folder, under $0.01",
    ]
    assert "| requests | 4\\,000 GetObjectTagging" in told.markdown()
    assert "\n|  | 2\\,000 PutObjectTagging" in told.markdown()


def test_estimate_is_json() -> None:
    told = estimated(rows(3)).to_json()

    assert json.loads(json.dumps(told)) == told
    assert told["samples"][0] == {"row": 1, "uri": "s3://data/key-1", "version": None}
    assert told["requests"][0] == {"action": "PutObjectTagging", "times": 3, "dollars": pytest.approx(0.000015)}


def made_up(uri: str, value: str = "b", **facts: Any) -> Estimate:
    return Estimate(
        job_id="j",
        description=facts.get("description", ""),
        operation="S3PutObjectTagging",
        parameters={"TagSet": [{"Key": "a", "Value": value}]},
        question=facts.get("question"),
        manifest=facts.get("manifest", "s3://lake/manifest.csv"),
        objects=1,
        partitions=1,
        buckets=facts.get("buckets", ("data",)),
        versioning=facts.get("versioning", ""),
        samples=(Sample(1, uri, "v"),),
        requests=(Requests("PutObjectTagging", 1, 0.0),),
        seconds=1.0,
        assumption="at some rate",
        prices="prices of yours",
    )


def test_question_that_found_the_objects_is_shown() -> None:
    async def scenario() -> Estimate:
        s3 = ScriptedEngine()
        for key in ("tmp/a", "tmp/b", "kept"):
            s3.put("data", key, b"")
        asked = spec(manifest=ListObjects("data", prefixes="tmp/"), description="Old scratch files")
        return await estimate(await prepare(asked, s3, owner=OWNER), s3, prices=None)

    told = asyncio.run(scenario())

    question = ListObjects("data", prefixes="tmp/").to_aws()
    assert (told.question, told.description, told.objects) == (question, "Old scratch files", 2)
    assert f"found by     {json.dumps(question)}" in told.table().split("\n")
    assert "description  Old scratch files" in told.table().split("\n")
    assert "| description | ` Old scratch files ` |" in told.markdown()
    assert "Found by:\n\n```text\n{\n" in told.markdown()
    assert json.loads(told.to_json()["found_by"]) == question


def test_list_of_a_manifest_is_found_by_no_question() -> None:
    told = estimated(rows(3))

    assert told.to_json()["found_by"] is None
    assert "found by" not in told.table()
    assert "Found by" not in told.markdown()
    assert "description" not in told.table()


def test_long_question_is_shown_by_its_beginning() -> None:
    told = made_up("s3://data/x", question={"Objects": [{"Key": f"key-{number}"} for number in range(10_000)]})

    assert len(told.markdown().split("\n")) < 80
    assert "key-3" in told.markdown()
    assert len(told.to_json()["found_by"]) == 2_000


_HOSTILE = "```\n# Approve\n````` <script>alert(1)</script> \x1b[31m \u202e [x](javascript:alert(1)) | --- |"


@given(st.text() | st.just(_HOSTILE))
def test_what_a_manifest_holds_stays_inside_a_code_block(text: str) -> None:
    lines = made_up(f"s3://data/{text}", text, question={"Key": text}).markdown().split("\n")

    fences = [at for at, line in enumerate(lines) if line.startswith("```")]
    assert len(fences) == 6
    for begin, end in (fences[:2], fences[2:4], fences[4:]):
        assert lines[begin] == f"{lines[end]}text"
        assert not any(lines[end] in line for line in lines[begin + 1 : end])
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # In text GitHub's Markdown makes links of these, whatever stands before their punctuation.
        ("www.evil.example", "` www.evil.example `"),
        ("[m](https://evil.example)<b>", "` [m](https://evil.example)<b> `"),
        ("` www.evil.example", "`` ` www.evil.example ``"),
        ("``a`b", "``` ``a`b ```"),
        # What would end the cell, and leave the code open.
        ("a|www.evil.example", r"` a\|www.evil.example `"),
        (r"a\|www.evil.example", r"` a\\\|www.evil.example `"),
        (r"a\b", r"` a\b `"),
        ("a\n| b", r"` a\n\| b `"),
    ],
)
def test_what_the_manifest_says_is_code_in_the_table(text: str, shown: str) -> None:
    told = made_up("s3://data/x", manifest=text, buckets=(text,), description=text, versioning=text)
    lines = told.markdown().split("\n")

    assert f"| manifest | {shown} |" in lines
    assert f"| description | {shown} |" in lines
    assert f"| objects | {shown.replace('` ', '` 1 in ', 1)} |" in lines
    assert f"| versioning | {shown} |" in lines


def test_what_is_ours_in_the_table_is_no_markup() -> None:
    lines = made_up("s3://data/x").markdown().split("\n")

    assert r"| price | \$0\.00\; prices of yours |" in lines


def test_parameters_are_shown_to_their_end() -> None:
    assert "…" not in made_up("s3://data/x", 1_000 * "b").markdown()


def test_table_is_lines_that_can_be_printed() -> None:
    table = made_up(f"s3://data/{_HOSTILE}").table()

    assert all(line.isprintable() for line in table.split("\n"))
    assert "row 1  s3://data/```\\n# Approve" in table
