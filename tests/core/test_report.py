"""The completion report is AWS's, complete, and written last."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput, JobConflict, PartitionsMissing, ReportError, S3BatchError, Stopped
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.report import complete, read_report, renew
from airflow_s3batch.core.rows import Outcome
from tests.core.scripted import ScriptedEngine, fails, prepared, succeeds
from tests.core.simulated import in_simulated_time
from tests.core.test_run import every, run

THEN = datetime(2025, 7, 20, 21, 18, 22, 395320, tzinfo=timezone.utc)


async def ran(
    s3: ScriptedEngine, rows: int = 90, partitions: int = 3, **options: Any
) -> tuple[Job, list[dict[str, Any]]]:
    job = await prepared(s3, rows, partitions=partitions)
    return job, [(await run(job, s3, number, **options)).to_json() for number in range(len(job.partitions))]


def folder_of(job: Job) -> str:
    return f"reports/job-{job.job_id}"


async def state(s3: ScriptedEngine, job: Job) -> Any:
    return await JobFolder.of(s3, job).read_state()


async def outcomes(uri: str, s3: ScriptedEngine) -> list[Outcome]:
    return [outcome async for outcome in read_report(uri, s3)]


def test_the_report_manifest_is_laid_out_as_aws_lays_it_out() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, summaries = await ran(s3, now=lambda: THEN)
        await complete(job, s3, summaries=summaries)
        body = s3.get("lake", f"{folder_of(job)}/manifest.json")
        report = json.loads(body)
        assert list(report) == ["Format", "ReportCreationDate", "Results", "ReportSchema"]
        assert report["Format"] == "Report_CSV_20180820"
        assert report["ReportCreationDate"] == "2025-07-20T21:18:22.395320000Z"
        assert report["ReportSchema"] == "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
        assert s3.get("lake", f"{folder_of(job)}/manifest.json.md5").decode() == hashlib.md5(body).hexdigest()
        for result in report["Results"]:
            assert list(result) == ["TaskExecutionStatus", "Bucket", "MD5Checksum", "Key"]
            rows = s3.get("lake", result["Key"])
            assert hashlib.md5(rows).hexdigest() == result["MD5Checksum"]
            assert {row.split(b",")[3].decode() for row in rows.splitlines()} == {result["TaskExecutionStatus"]}

    in_simulated_time(scenario())


def test_the_report_manifest_is_the_last_but_the_status_to_be_written() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job, _ = await ran(s3)
        s3.calls.clear()
        await complete(job, s3)
        written = [call.parameters["Key"].rpartition("/")[2] for call in s3.calls if call.action == "PutObject"]
        assert written == ["status.json", "manifest.json.md5", "manifest.json", "status.json"]

    in_simulated_time(scenario())


def test_the_summary_and_the_status_tell_the_same_numbers() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, summaries = await ran(s3)
        summary = await complete(job, s3, summaries=summaries)
        told = summary.to_json()
        assert json.loads(json.dumps(told)) == told
        assert {
            name: told[name] for name in ("job_id", "status", "total", "succeeded", "failed", "failures_by_code")
        } == {
            "job_id": job.job_id,
            "status": "Complete",
            "total": 90,
            "succeeded": 81,
            "failed": 9,
            "failures_by_code": {"NoSuchKey": 9},
        }
        assert len(told["examples"]) == 5
        assert told["report_uri"] == f"s3://lake/{folder_of(job)}/manifest.json"
        written = await state(s3, job)
        assert (written.status, written.succeeded, written.failed, written.total) == (JobStatus.COMPLETE, 81, 9, 90)
        assert written.report_uri == told["report_uri"]
        assert written.ended is not None

    in_simulated_time(scenario())


def test_seconds_are_those_in_which_a_partition_ran() -> None:
    ticks = iter(range(100, 10_000, 1))

    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 20, partitions=2)

        def at(start: float) -> Callable[[], datetime]:
            return lambda: datetime.fromtimestamp(start + next(ticks) / 1000, timezone.utc)

        await run(job, s3, 0, now=at(1000.0))
        await run(job, s3, 1, now=at(5000.0))
        summary = await complete(job, s3)
        assert 0 < summary.elapsed_seconds < 1
        assert summary.objects_per_second == summary.total / summary.elapsed_seconds

    in_simulated_time(scenario())


def test_a_job_whose_objects_all_failed_is_complete() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(fails)
        job, _ = await ran(s3)
        assert (await complete(job, s3)).status is JobStatus.COMPLETE

    in_simulated_time(scenario())


def test_missing_partitions_are_named_and_fail_the_job_until_they_have_run() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 90, partitions=3)
        await run(job, s3, 1)
        missing = r"2 of 3 partitions have not finished \(partition 0, rows 1 to 30; partition 2, rows 61 to 90\)"
        with pytest.raises(PartitionsMissing, match=missing):
            await complete(job, s3)
        failed = await state(s3, job)
        assert (failed.status, failed.failures[0].code) == (JobStatus.FAILED, "PartitionsMissing")
        assert not [key for key in s3.keys("lake") if key.endswith("manifest.json")]
        await run(job, s3, 0)
        await run(job, s3, 2)
        assert (await complete(job, s3)).tally.succeeded == 90
        assert (await state(s3, job)).failures == ()

    in_simulated_time(scenario())


def test_a_partition_whose_rerun_died_is_missing() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(2))
        job, _ = await ran(s3)
        await complete(job, s3)
        s3.broken_after = 9
        with pytest.raises(S3BatchError):
            await run(job, s3, 1)
        s3.broken_after = None
        with pytest.raises(PartitionsMissing, match=r"\(partition 1, rows 31 to 60\)"):
            await complete(job, s3)

    in_simulated_time(scenario())


async def rows_told(uri: str, s3: ScriptedEngine) -> tuple[int, int]:
    """How many rows of the report succeeded, and how many it has."""
    told = await outcomes(uri, s3)
    return sum(outcome.succeeded for outcome in told), len({outcome.entry.key for outcome in told})


def test_a_partition_that_is_run_again_alone_renews_the_report() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, _ = await ran(s3)
        assert await renew(job, s3) is None  # nobody has reported yet: the report task will
        uri = (await complete(job, s3)).report_uri
        assert await rows_told(uri, s3) == (81, 90)
        s3.script = succeeds
        await run(job, s3, 1)
        assert (await state(s3, job)).status is JobStatus.ACTIVE
        summary = await renew(job, s3)
        assert summary is not None
        assert summary.tally.succeeded == 84
        assert await rows_told(uri, s3) == (84, 90)
        assert (await state(s3, job)).status is JobStatus.COMPLETE

    in_simulated_time(scenario())


def test_the_last_of_several_partitions_that_are_run_again_renews_the_report() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, _ = await ran(s3)
        uri = (await complete(job, s3)).report_uri
        s3.script = lambda entry: fails(entry) if entry.row == 90 else succeeds(entry)
        renewed = []
        for number in (0, 2):
            s3.broken_after = 9 if number == 2 else None
            with contextlib.suppress(S3BatchError):
                await run(job, s3, number)
            s3.broken_after = None
            renewed.append(await renew(job, s3))
        assert renewed[0] is not None  # no other was at work
        assert renewed[1] is None  # killed: its retry will be
        await run(job, s3, 2)
        assert await renew(job, s3) is not None
        assert await rows_told(uri, s3) == (86, 90)

    in_simulated_time(scenario())


def test_a_job_of_which_a_partition_can_not_be_run_again_is_failed() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, _ = await ran(s3)
        await complete(job, s3)
        stop = asyncio.Event()
        stop.set()
        with pytest.raises(Stopped):
            await run(job, s3, 1, stop=stop)
        assert await renew(job, s3) is None  # Airflow will retry it
        with pytest.raises(PartitionsMissing, match="partition 1"):
            await renew(job, s3, gives_up=True)
        assert (await state(s3, job)).status is JobStatus.FAILED

    in_simulated_time(scenario())


def test_the_report_written_again_is_the_same_to_the_byte() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, summaries = await ran(s3)
        first = await complete(job, s3, summaries=summaries)
        names = [f"{folder_of(job)}/{name}" for name in ("manifest.json", "manifest.json.md5")]
        before = [s3.get("lake", name) for name in names]
        assert await complete(job, s3) == first
        assert [s3.get("lake", name) for name in names] == before

    in_simulated_time(scenario())


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("calls", range(1, 10))
def test_whenever_the_report_dies_the_next_one_completes_it(calls: int, arrives: bool) -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job, _ = await ran(s3)
        s3.broken_after, s3.arrives = calls, arrives
        with pytest.raises(ReportError):
            await complete(job, s3)
        s3.broken_after = None
        summary = await complete(job, s3)
        assert len(await outcomes(summary.report_uri, s3)) == 90

    in_simulated_time(scenario())


def test_a_summary_that_the_folder_contradicts_is_a_conflict() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job, summaries = await ran(s3)
        summaries[1]["succeeded"] -= 1
        with pytest.raises(JobConflict, match="summary of partition 1 says attempt 1, 29 succeeded"):
            await complete(job, s3, summaries=summaries)

    in_simulated_time(scenario())


def test_a_summary_of_an_earlier_attempt_is_stale_and_no_conflict() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(2))
        job, summaries = await ran(s3)
        s3.script = every(1000)
        await run(job, s3, 1)
        assert (await complete(job, s3, summaries=summaries)).tally.failed == 30

    in_simulated_time(scenario())


def test_a_report_is_read_by_its_folder_too_and_keeps_keys_as_the_manifest_spells_them() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job, _ = await ran(s3, 3, 1)
        await complete(job, s3)
        read = await outcomes(f"s3://lake/{folder_of(job)}/", s3)
        assert [outcome.entry.row for outcome in read] == [1, 2, 3]
        assert sorted(outcome.entry.manifest_key for outcome in read) == ["key-00001", "key-00002", "key-00003"]

    in_simulated_time(scenario())


def aws_report(s3: ScriptedEngine, rows: bytes, **changes: Any) -> str:
    s3.put("lake", "aws/results/1.csv", rows)
    result = {"TaskExecutionStatus": "failed", "Bucket": "lake", "Key": "aws/results/1.csv"}
    result["MD5Checksum"] = hashlib.md5(rows).hexdigest()
    report = {"Format": "Report_CSV_20180820", "Results": [{**result, **changes}], "ReportSchema": "…"}
    s3.put("lake", "aws/manifest.json", json.dumps(report))
    return "s3://lake/aws/manifest.json"


def test_aws_own_report_is_read() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        uri = aws_report(
            s3,
            b"source,arch%20ived.txt,MPJO,failed,500,SrcObjectNotEligible,Object is not eligible for replication\r\n",
        )
        (outcome,) = await outcomes(uri, s3)
        assert outcome.entry[1:] == ("source", "arch ived.txt", "MPJO", "arch%20ived.txt")
        assert outcome[1:] == (False, 500, "SrcObjectNotEligible", "Object is not eligible for replication")

    in_simulated_time(scenario())


def test_a_result_file_that_is_not_the_one_named_is_refused() -> None:
    s3 = ScriptedEngine()
    uri = aws_report(s3, b"b,k,,failed,500,X,y\r\n", MD5Checksum="0" * 32)
    with pytest.raises(ReportError, match=r"results/1\.csv isn't the file that the report names"):
        asyncio.run(outcomes(uri, s3))


def test_a_result_file_that_is_missing_is_named() -> None:
    s3 = ScriptedEngine()
    uri = aws_report(s3, b"", Key="aws/results/gone.csv")
    with pytest.raises(ReportError, match=r"aws/results/gone\.csv: 404 NoSuchKey"):
        asyncio.run(outcomes(uri, s3))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"Format": "Report_CSV_20180820", "Results": [{}]}', b'{"Format": "Other", "Results": []}'],
)
def test_what_is_no_report_manifest_is_refused(body: bytes) -> None:
    s3 = ScriptedEngine()
    s3.put("lake", "manifest.json", body)
    with pytest.raises(ReportError, match=r"s3://lake/manifest\.json"):
        asyncio.run(outcomes("s3://lake/manifest.json", s3))


def test_numbers_that_do_not_add_up_are_an_error() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job, _ = await ran(s3)
        one, two, three = job.partitions
        wrong = job.model_copy(update={"partitions": (one, two._replace(rows=31), three)})
        with pytest.raises(ReportError, match="partition 1: 30 outcomes for 31 rows; run the partition again"):
            await complete(wrong, s3)

    in_simulated_time(scenario())


def test_a_report_may_be_left_before_its_end() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job, _ = await ran(s3)
        summary = await complete(job, s3)
        async with contextlib.aclosing(read_report(summary.report_uri, s3)) as read:
            assert (await anext(read)).entry.row == 1

    in_simulated_time(scenario())


def test_a_place_that_is_not_in_s3_is_refused() -> None:
    with pytest.raises(InvalidInput):
        asyncio.run(outcomes("/tmp/manifest.json", ScriptedEngine()))
