"""Prepare checks everything, writes the job down once, and touches no object."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.errors import InvalidInput, JobCancelled, JobConflict, ManifestError, ReportError
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import CompletionReport, Job
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from tests.core.scripted import OWNER, ScriptedEngine, fails, spec, succeeds
from tests.core.test_run import run

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def engine(manifest: str = "data,a\ndata,b\ndata,c\n", **options: Any) -> ScriptedEngine:
    s3 = ScriptedEngine(**options)
    s3.put("lake", "manifest.csv", manifest)
    return s3


def status(s3: ScriptedEngine) -> dict[str, Any]:
    (name,) = [key for key in s3.keys("lake", "reports/") if key.endswith("/status.json")]
    told: dict[str, Any] = json.loads(s3.get("lake", name))
    return told


def test_a_prepared_job_is_ready_and_can_be_read_back() -> None:
    async def scenario() -> None:
        s3 = engine()
        job = await prepare(spec(), s3, owner=OWNER, rows_per_partition=2, now=lambda: NOON)
        assert await JobFolder.of(s3, job).read_job() == job
        assert (job.total, [part.rows for part in job.partitions], job.created) == (
            3,
            [1, 2],
            "2026-11-24T12:00:00.000Z",
        )
        assert status(s3)["Status"] == "Ready"
        assert status(s3)["ProgressSummary"]["TotalNumberOfTasks"] == 3
        assert s3.requests == []

    asyncio.run(scenario())


def test_the_operation_is_checked_for_every_bucket() -> None:
    async def scenario() -> None:
        s3 = engine("one,a\ntwo,b\none,c\n")
        await prepare(spec(), s3, owner=OWNER)
        assert s3.checked == ["one", "two"]

    asyncio.run(scenario())


def test_a_second_prepare_finds_the_first_ones_job() -> None:
    async def scenario() -> None:
        s3 = engine()
        first = await prepare(spec(), s3, owner=OWNER)
        s3.calls.clear()
        assert await prepare(spec(), s3, owner=OWNER, rows_per_partition=1) == first
        assert "PutObject" not in s3.actions

    asyncio.run(scenario())


def test_new_limits_reach_the_job_that_was_prepared_before() -> None:
    async def scenario() -> None:
        s3 = engine()
        await prepare(spec(), s3, owner=OWNER)
        gentle = spec().model_copy(update={"limits": Limits(in_flight=3)})
        job = await prepare(gentle, s3, owner=OWNER)
        assert job.spec.limits.in_flight == 3
        assert await JobFolder.of(s3, job).read_job() == job

    asyncio.run(scenario())


def test_retry_that_finds_its_job_cancelled_leaves_its_limits_alone() -> None:
    async def scenario() -> None:
        s3 = engine()
        job = await prepare(spec(), s3, owner=OWNER)
        await Controls(s3, job.spec.report.place, job.job_id).cancel("enough")
        gentle = spec().model_copy(update={"limits": Limits(in_flight=3)})
        with pytest.raises(JobCancelled, match="enough"):
            await prepare(gentle, s3, owner=OWNER, reopens=False)
        assert await JobFolder.of(s3, job).read_job() == job

    asyncio.run(scenario())


def test_prepare_leaves_the_status_of_a_job_that_ran_alone() -> None:
    async def scenario() -> None:
        s3 = engine()
        await run(await prepare(spec(), s3, owner=OWNER), s3)
        await prepare(spec(), s3, owner=OWNER)
        assert status(s3)["Status"] == "Active"

    asyncio.run(scenario())


def test_whenever_prepare_dies_the_next_one_gets_the_job_ready() -> None:
    async def scenario(calls: int, *, arrives: bool) -> None:
        s3 = engine()
        s3.broken_after, s3.arrives = calls, arrives
        with contextlib.suppress(ReportError, ManifestError):
            await prepare(spec(), s3, owner=OWNER)
        s3.broken_after = None
        job = await prepare(spec(), s3, owner=OWNER)
        assert (job.total, status(s3)["Status"]) == (3, "Ready")

    for calls in range(1, 12):
        asyncio.run(scenario(calls, arrives=True))
        asyncio.run(scenario(calls, arrives=False))


@pytest.mark.parametrize(
    ("manifest", "code"), [("data,a\ndata\n", "InvalidManifestContent"), ("data,a\ndata,\n", "InvalidManifestContent")]
)
def test_a_bad_manifest_fails_the_job_with_the_reason(manifest: str, code: str) -> None:
    async def scenario() -> None:
        s3 = engine(manifest)
        with pytest.raises(ManifestError, match="row 2"):
            await prepare(spec(), s3, owner=OWNER)
        told = status(s3)
        (reason,) = told["FailureReasons"]
        assert (told["Status"], reason["FailureCode"]) == ("Failed", code)
        assert "row 2" in reason["FailureReason"]
        assert "TerminationDate" in told
        assert not [key for key in s3.keys("lake") if key.endswith("job.json")]

    asyncio.run(scenario())


def test_a_manifest_mended_after_a_failure_is_another_job() -> None:
    async def scenario() -> None:
        s3 = engine("data\n")
        with pytest.raises(ManifestError):
            await prepare(spec(), s3, owner=OWNER)
        s3.put("lake", "manifest.csv", "data,a\n")
        job = await prepare(spec(), s3, owner=OWNER)
        assert job.total == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("bucket", ["missing-bucket", "forbidden"])
def test_a_report_bucket_that_cannot_be_used_is_told_in_aws_words_before_the_manifest_is_read(bucket: str) -> None:
    async def scenario() -> None:
        s3 = engine(forbidden=["forbidden"])
        asked = spec().model_copy(update={"report": CompletionReport(f"s3://{bucket}/reports")})
        with pytest.raises(
            ReportError,
            match=r"The job report could not be written to your report bucket\. Please check your permissions\.",
        ) as caught:
            await prepare(asked, s3, owner=OWNER)
        assert ("missing-bucket doesn't exist; create it" if bucket == "missing-bucket" else "AccessDenied") in str(
            caught.value
        )
        assert [call.parameters["Key"] for call in s3.calls if call.parameters["Bucket"] == "lake"] == ["manifest.csv"]

    asyncio.run(scenario())


def test_a_report_bucket_that_can_be_read_but_not_written_is_told_in_aws_words() -> None:
    class ReadOnly(ScriptedEngine):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            return await super().call(
                action, **{**parameters, "Bucket": "locked"} if action == "PutObject" else parameters
            )

    async def scenario() -> None:
        s3 = ReadOnly(forbidden=["locked"])
        s3.put("lake", "manifest.csv", "data,a\n")
        with pytest.raises(ReportError, match=r"Please check your permissions\. \(PutObject .*AccessDenied"):
            await prepare(spec(), s3, owner=OWNER)

    asyncio.run(scenario())


def test_an_operation_that_cannot_be_compiled_fails_the_job() -> None:
    class Strict(ScriptedEngine):
        def check(self, _: Any, bucket: str) -> None:
            raise InvalidInput(f"{bucket}: no such parameter")

    async def scenario() -> None:
        s3 = Strict()
        s3.put("lake", "manifest.csv", "data,a\n")
        with pytest.raises(InvalidInput):
            await prepare(spec(), s3, owner=OWNER)
        assert status(s3)["FailureReasons"] == [
            {"FailureCode": "InvalidInput", "FailureReason": "data: no such parameter"}
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize("sizes", [{"rows_per_partition": 0}, {"max_partitions": 0}])
def test_partitions_of_no_size_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        asyncio.run(prepare(spec(), engine(), owner=OWNER, **sizes))


def test_a_folder_with_something_else_in_it_is_a_conflict() -> None:
    async def scenario(body: bytes) -> None:
        s3 = engine()
        job: Job = await prepare(spec(), s3, owner=OWNER)
        s3.put("lake", f"reports/job-{job.job_id}/job.json", body)
        with pytest.raises(JobConflict, match=r"job.json is not what this package writes there"):
            await prepare(spec(), s3, owner=OWNER)

    for body in (b"not JSON", b"[]", b"{}", b'{"JobId": 1}'):
        asyncio.run(scenario(body))


def test_warnings_of_the_survey_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(prepare(spec(), engine("data,a+b\n"), owner=OWNER))
    assert "row 1: the key holds a '+'" in caplog.text


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ("data,a\n", "1 object in data, in 1 partition"),
        ("data,a\ndata,b\ndata,c\n", "3 objects in data, in 2 partitions"),
    ],
)
def test_log_tells_what_was_found(manifest: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "airflow_s3batch"):
        asyncio.run(prepare(spec(), engine(manifest), owner=OWNER, rows_per_partition=2))

    assert caplog.messages[-1].endswith(f": S3PutObjectTagging on {told}")


def test_a_job_that_is_complete_already_says_what_is_not_done_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        s3 = engine(script=lambda entry: fails(entry) if entry.key == "b" else succeeds(entry))
        job = await prepare(spec(), s3, owner=OWNER)
        await run(job, s3)
        await complete(job, s3)
        caplog.clear()
        await prepare(spec(), s3, owner=OWNER)

    asyncio.run(scenario())

    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "is Complete already: 2 of its 3 objects have succeeded, and aren't done again" in told
    assert "another group_id, report location or run id" in told


def test_a_job_is_not_prepared_while_it_is_being_run() -> None:
    async def scenario() -> None:
        s3 = engine()
        job = await prepare(spec(), s3, owner=OWNER)
        await run(job, s3)
        await s3.call("DeleteObject", Bucket="lake", Key=f"reports/job-{job.job_id}/job.json")
        with pytest.raises(JobConflict, match="is Active and can't become Preparing"):
            await prepare(spec(), s3, owner=OWNER)

    asyncio.run(scenario())
