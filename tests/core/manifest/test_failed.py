"""`FailedObjects`: the failed rows of a completion report, ours or AWS's, as the next job's manifest."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput, ManifestChanged, ManifestError, ManifestInvalid
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import FailedObjects, InventoryManifest, manifest_from_aws
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.results import result_rows
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.testing import MemoryS3
from tests.core.manifest.inventories import MANIFEST, put_inventory, read_in_partitions

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
PLACE = S3Location("lake", "next/job-2/generated-manifest/")
REPORT = "s3://lake/reports/job-1/manifest.json"
SCHEMA = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
FAILED = "data,a%20b,,failed,403,AccessDenied,Access Denied\r\ndata,c%2Bd,,failed,503,SlowDown,Reduce\r\n"


def reported(*files: tuple[str, str]) -> MemoryS3:
    """A report with these result files: status and rows."""
    s3 = MemoryS3("lake")
    results = []
    for number, (status, rows) in enumerate(files):
        key = f"reports/job-1/results/{number:040}.csv"
        s3.put("lake", key, rows)
        md5 = hashlib.md5(rows.encode()).hexdigest()
        results.append({"TaskExecutionStatus": status, "Bucket": "lake", "MD5Checksum": md5, "Key": key})
    report = {"Format": "Report_CSV_20180820", "Results": results, "ReportSchema": SCHEMA}
    s3.put("lake", "reports/job-1/manifest.json", json.dumps(report))
    return s3


def found(s3: MemoryS3, manifest: FailedObjects) -> list[Entry]:
    async def finding() -> list[Entry]:
        pinned = await manifest.pin(s3)
        resolved = await pinned.resolve(s3, PLACE, NOON)
        survey = await resolved.survey(s3)
        (whole,) = split(survey.marks, survey.rows, 1)
        return [entry async for some in resolved.read(s3, whole) for entry in some]

    return asyncio.run(finding())


def test_the_failed_objects_are_found_with_their_keys_as_s3_has_them() -> None:
    s3 = reported(("succeeded", "data,fine,,succeeded,200,,Successful\r\n"), ("failed", FAILED))

    assert [(entry.bucket, entry.key, entry.version) for entry in found(s3, FailedObjects(REPORT))] == [
        ("data", "a b", None),
        ("data", "c+d", None),
    ]


def test_files_of_succeeded_objects_are_not_fetched() -> None:
    s3 = reported(("succeeded", "data,fine,,succeeded,200,,Successful\r\n"), ("failed", FAILED))

    found(s3, FailedObjects(REPORT))

    fetched = {call.parameters["Key"] for call in s3.calls if "/results/" in call.parameters["Key"]}
    assert fetched == {f"reports/job-1/results/{1:040}.csv"}


@pytest.mark.parametrize("codes", ["SlowDown", ["SlowDown", "InternalError"]])
def test_codes_choose(codes: Any) -> None:
    assert [entry.key for entry in found(reported(("failed", FAILED)), FailedObjects(REPORT, codes=codes))] == ["c+d"]


def test_a_report_of_aws_has_the_code_where_its_schema_says_and_versions() -> None:
    rows = '"data","x%2Fy","MPJO.v1","failed","SrcObjectNotEligible","500","Object is not eligible"\r\n'

    (entry,) = found(reported(("failed", rows)), FailedObjects(REPORT, codes="SrcObjectNotEligible"))

    assert (entry.key, entry.version) == ("x/y", "MPJO.v1")


def test_the_folder_names_the_report_too() -> None:
    assert len(found(reported(("failed", FAILED)), FailedObjects("s3://lake/reports/job-1/"))) == 2


def test_many_are_found() -> None:
    rows = "".join(f"data,key-{number:06},,failed,503,SlowDown,\r\n" for number in range(45_000))

    entries = found(reported(("failed", rows)), FailedObjects(REPORT))

    assert [entry.key for entry in entries] == [f"key-{number:06}" for number in range(45_000)]


def test_a_report_without_such_failures_makes_no_job() -> None:
    rows = f"{FAILED}data,x,,failed,503,SlowDown,\r\n"

    with pytest.raises(
        ManifestInvalid,
        match=r"^s3://lake/reports/job-1/manifest.json: none of the 3 failed objects failed with NoSuchKey or Gone; "
        r"their codes are SlowDown \(2\), AccessDenied \(1\)$",
    ):
        found(reported(("failed", rows)), FailedObjects(REPORT, codes=["NoSuchKey", "Gone"]))


@pytest.mark.parametrize(
    "files",
    [(), (("succeeded", "data,fine,,succeeded,200,,Successful\r\n"),), (("failed", ""),)],
    ids=["no files", "all succeeded", "an empty file"],
)
def test_a_report_without_failures_makes_no_job(files: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(
        ManifestInvalid, match=r"manifest.json: no object failed in that job; a job needs at least one$"
    ):
        found(reported(*files), FailedObjects(REPORT))


def test_objects_with_and_without_a_version_are_not_mixed() -> None:
    rows = f"data,v,v1,failed,403,AccessDenied,\r\n{FAILED}"

    with pytest.raises(ManifestInvalid, match="failed object 'a b' has no version ID where others have one"):
        found(reported(("failed", rows)), FailedObjects(REPORT))


def test_a_report_that_was_written_anew_is_not_the_pinned_one() -> None:
    async def scenario() -> None:
        s3 = reported(("failed", FAILED))
        pinned = await FailedObjects(REPORT).pin(s3)
        s3.put("lake", "reports/job-1/manifest.json", b"{}")
        with pytest.raises(ManifestChanged):
            await pinned.resolve(s3, PLACE, NOON)

    asyncio.run(scenario())


def test_a_report_that_is_written_anew_while_it_is_read_is_not_the_pinned_one() -> None:
    class Rewritten(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if "/results/" in parameters.get("Key", ""):
                self.put("lake", "reports/job-1/manifest.json", b"{}")
            return await super().call(action, **parameters)

    written, s3 = reported(("failed", FAILED)), Rewritten("lake")
    for key in written.keys("lake"):
        s3.put("lake", key, written.get("lake", key))

    with pytest.raises(ManifestChanged):
        found(s3, FailedObjects(REPORT))


@pytest.mark.parametrize("spoil", ["results", "manifest"])
def test_a_broken_report_is_told(spoil: str) -> None:
    s3 = reported(("failed", FAILED))
    name = f"results/{0:040}.csv" if spoil == "results" else "manifest.json"
    s3.put("lake", f"reports/job-1/{name}", b"{}")

    with pytest.raises(ManifestError, match="its MD5 is another" if spoil == "results" else "not a completion report"):
        found(s3, FailedObjects(REPORT))


def test_no_report_is_told() -> None:
    with pytest.raises(ManifestError, match="doesn't exist"):
        found(MemoryS3("lake"), FailedObjects(REPORT))


@pytest.mark.parametrize(
    "manifest", [FailedObjects(REPORT), FailedObjects(REPORT, codes=["A", "B"], etag="e"), FailedObjects("{{ x }}")]
)
def test_it_comes_back_from_its_json(manifest: FailedObjects) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


@pytest.mark.parametrize("report", ["lake/reports", "s3://lake", "s3://lake/job-1/results/1.csv", "s3://lake/job.json"])
def test_what_is_no_report_is_refused(report: str) -> None:
    with pytest.raises(InvalidInput, match="FailedObjects: report:"):
        FailedObjects(report)


@pytest.mark.parametrize(("plus_is_space", "key"), [(False, "a+b c"), (True, "a b c")])
def test_a_plus_is_what_the_author_says_it_is(plus_is_space: bool, key: str) -> None:
    s3 = reported(("failed", "data,a+b%20c,,failed,403,AccessDenied,Access Denied\r\n"))
    manifest = FailedObjects(REPORT, plus_is_space=plus_is_space)

    assert [entry.key for entry in found(s3, manifest)] == [key]
    assert manifest_from_aws(manifest.to_aws()) == manifest


def test_the_failures_of_a_job_about_an_inventory_are_its_objects() -> None:
    """An inventory spells a space as a plus sign, which a report couldn't tell from one."""
    s3 = MemoryS3("lake")
    put_inventory(s3, "CSV", [[{"bucket": "data", "key": "my file+1.txt"}]])
    _, (entry,) = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))
    s3 = reported(("failed", result_rows([Outcome(entry, False, 403, "AccessDenied", "no")]).decode()))

    assert [(again.bucket, again.key) for again in found(s3, FailedObjects(REPORT))] == [("data", "my file+1.txt")]
