"""The job's folder: its names, and what it does when S3 doesn't."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.control.listing import list_jobs
from airflow_s3batch.core.errors import InvalidInput, JobConflict, ReportError, S3Error
from airflow_s3batch.core.folder.checkpoint import Attempt, Checkpoint, Counts, Halt, History, ResultFile, Span
from airflow_s3batch.core.folder.rowset import RowSet
from airflow_s3batch.core.folder.sign import Sign
from airflow_s3batch.core.folder.status import FailureReason
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.folder.summary import Summary
from airflow_s3batch.core.folder.tally import Tally
from airflow_s3batch.core.job import CompletionReport, Job
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import ListObjects
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from tests.core.scripted import OWNER, ScriptedEngine, prepared, spec
from tests.core.simulated import in_simulated_time, now

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
SIGN = Sign(owner="me", attempt=1, opened=1, counts=Counts(4, 2), rate=2.5, spans=(Span(1.0, 2.0),))
FILE = ResultFile("0" * 40, succeeded=True, md5="1" * 32)


def folder(s3: MemoryS3, prefix: str = "reports") -> JobFolder:
    return JobFolder(s3, S3Location("lake", prefix), "0b55")


def checkpoint(number: int, succeeded: str = "", failed: str = "", attempt: int = 1) -> Checkpoint:
    return Checkpoint(
        number=number,
        attempt=attempt,
        succeeded=RowSet.parse(succeeded),
        failed=RowSet.parse(failed),
        files=(FILE._replace(name=f"{number:040}"), FILE._replace(succeeded=False)),
        span=Span(1.0, number + 1.5),
    )


def test_a_folder_has_the_names_of_the_design() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 3)
        place = JobFolder.of(s3, job)
        await place.replace_attempt(0, Attempt(number=1), None)
        await place.replace_sign(0, SIGN, None)
        await place.read_clock()
        await place.change_overrides(lambda before: before.with_limits({"in_flight": 7}, at=NOON))
        await place.write_checkpoint(0, checkpoint(1, "1-3"))
        file = await place.write_result(b"rows", succeeded=True, batch="0/1/1")
        await place.write_report({"Results": []})
        prefix = f"reports/job-{job.job_id}/"
        assert s3.keys("lake", "reports/") == [
            f"{prefix}{name}"
            for name in (
                "clock",
                "control.json",
                "job.json",
                "manifest.json",
                "manifest.json.md5",
                "partitions/0/attempt.json",
                "partitions/0/checkpoint-000001.json",
                f"results/{file.name}.csv",
                "running/0",
                "status.json",
            )
        ]
        assert place.report_entry(file)["Key"] == f"{prefix}results/{file.name}.csv"

    asyncio.run(scenario())


@pytest.mark.parametrize(("prefix", "uri"), [("", "s3://lake/job-0b55/"), ("a/b", "s3://lake/a/b/job-0b55/")])
def test_a_folder_stands_in_the_reports_place(prefix: str, uri: str) -> None:
    assert folder(MemoryS3("lake"), prefix).uri == uri


def test_what_was_not_written_is_none_and_not_an_error() -> None:
    async def scenario() -> None:
        place = folder(MemoryS3("lake"))
        assert await place.read_job() is None
        assert await place.read_state() is None
        assert await place.read_attempts([0, 1]) == [None, None]
        assert await place.read_checkpoints(0) == []
        assert await place.read_report() is None

    asyncio.run(scenario())


def test_checkpoints_are_read_back_in_order_page_by_page() -> None:
    async def scenario() -> None:
        place = folder(MemoryS3("lake", page_size=7))
        written = [checkpoint(number, f"{number}") for number in range(1, 101)]
        for one in reversed(written):
            await place.write_checkpoint(3, one)
        await place.write_checkpoint(33, checkpoint(1))
        assert await place.read_checkpoints(3) == written

    asyncio.run(scenario())


def test_an_attempt_is_read_back() -> None:
    summary = Summary(partition=3, attempt=2, rows=5, skipped=1, elapsed_seconds=0.5, tally=Tally(succeeded=5))
    ended = Attempt(number=2, summary=summary, files=(FILE,), spans=(Span(1.0, 2.0), Span(5.0, 6.5)))

    halted = Attempt(number=2, halt=Halt(FailureReason("Stopped", "by hand"), Counts(3, 1)), spans=(Span(1.0, 2.0),))

    async def scenario() -> None:
        place = folder(MemoryS3("lake"))
        etag = None
        for attempt in (Attempt(number=2, owner="me", opened=3), ended, halted):
            etag = await place.replace_attempt(3, attempt, etag)
            found = await place.find_attempt(3)
            assert found is not None
            assert (found.value, found.etag) == (attempt, etag)

    asyncio.run(scenario())


def test_an_attempt_replaces_only_the_one_it_was_written_against() -> None:
    async def scenario() -> None:
        place = folder(MemoryS3("lake"))
        first = await place.replace_attempt(0, Attempt(number=1, owner="a"), None)
        assert first
        assert await place.replace_attempt(0, Attempt(number=1, owner="b"), None) is None
        assert await place.replace_attempt(0, Attempt(number=2, owner="b"), first)
        assert await place.replace_attempt(0, Attempt(number=2, owner="c"), first) is None
        assert (await place.read_attempts([0, 1]))[0] == Attempt(number=2, owner="b")

    asyncio.run(scenario())


def test_a_sign_is_over_once_it_is_ended_and_another_run_s_is_left_alone() -> None:
    async def scenario() -> None:
        place = folder(MemoryS3("lake"))
        mine = await place.replace_sign(0, SIGN, None)
        assert mine is not None
        assert await place.read_sign(0) == SIGN
        theirs = await place.replace_sign(0, dataclasses.replace(SIGN, owner="other"), None)
        assert await place.replace_sign(0, SIGN, mine) is None
        await place.end_sign(0, mine)
        assert (await place.list_signs())[0].size > 0
        assert theirs is not None
        await place.end_sign(0, theirs)
        assert (await place.list_signs())[0].size == 0
        assert await place.read_sign(0) is None
        assert await place.read_sign(1) is None

    asyncio.run(scenario())


def test_the_same_checkpoint_written_again_is_no_conflict_and_another_is() -> None:
    async def scenario() -> None:
        place = folder(MemoryS3("lake"))
        await place.write_checkpoint(0, checkpoint(1, "1-3"))
        await place.write_checkpoint(0, checkpoint(1, "1-3"))
        with pytest.raises(JobConflict, match="partition 0: another run of this partition has written"):
            await place.write_checkpoint(0, checkpoint(1, "4-6"))

    asyncio.run(scenario())


def test_the_first_job_written_down_is_the_job() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 3)
        late = job.model_copy(update={"created": "2026-11-24T12:00:00.000Z"})
        assert await JobFolder.of(s3, job).create_job(late) == job

    asyncio.run(scenario())


def test_result_files_of_equal_content_are_two_if_they_are_of_two_batches() -> None:
    async def scenario() -> None:
        place = folder(MemoryS3("lake"))
        one, again, other = [await place.write_result(b"x", succeeded=True, batch=batch) for batch in ("1", "1", "2")]
        assert one == again
        assert one.name != other.name

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["read_job", "read_state", "read_report"])
def test_a_folder_that_cannot_be_read_says_what_is_needed(name: str) -> None:
    with pytest.raises(ReportError, match=r"AccessDenied.*needs s3:GetObject, s3:PutObject and.* s3:ListBucket"):
        asyncio.run(getattr(folder(MemoryS3(forbidden=["lake"])), name)())


def test_checkpoints_that_cannot_be_listed_are_an_error_and_not_none() -> None:
    with pytest.raises(ReportError, match="ListObjectsV2"):
        asyncio.run(folder(MemoryS3(forbidden=["lake"])).read_checkpoints(0))


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'{"Attempt": 1, "Summary": {}}'])
def test_what_is_something_else_is_a_conflict(body: bytes) -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "reports/job-0b55/partitions/0/attempt.json", body)
    with pytest.raises(JobConflict, match=r"attempt\.json is not what this package writes there"):
        asyncio.run(folder(s3).read_attempt(0))


@pytest.mark.parametrize("told", [{}, {**checkpoint(1).to_json(), "Succeeded": {"Rows": "3-1"}}])
def test_a_damaged_checkpoint_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Checkpoint.from_json(told)


def test_a_history_is_what_succeeded_in_any_attempt() -> None:
    history = History.of([checkpoint(1, "1-3", "4"), checkpoint(2, "5", "6"), checkpoint(3, "4,6", "", attempt=2)])
    assert str(history.succeeded) == "1-6"
    assert [int(file.name) for file in history.files] == [1, 2, 3]
    assert all(file.succeeded for file in history.files)
    assert history.spans == (Span(1.0, 3.5), Span(1.0, 4.5))
    assert (history.attempts, history.checkpoints) == (2, 3)


def test_a_checkpoint_that_tells_of_rows_once_more_is_left_out_of_the_history() -> None:
    history = History.of([checkpoint(1, "1-3"), checkpoint(2, "3-5"), checkpoint(3, "6")])
    assert str(history.succeeded) == "1-3,6"
    assert [int(file.name) for file in history.files] == [1, 3]


def test_failed_rows_are_left_in_the_file_that_tells_of_them_last() -> None:
    history = History.of(
        [checkpoint(1, "1", "2-5"), checkpoint(2, "", "6"), checkpoint(3, "2", "3", attempt=2), checkpoint(4, "6")]
    )
    assert [(str(one.rows), str(one.left)) for one in history.unsettled] == [("2-5", "4-5"), ("3", "3")]


def test_no_checkpoints_are_no_history() -> None:
    assert History.of([]) == History(succeeded=RowSet(), files=(), unsettled=(), spans=(), attempts=0, checkpoints=0)


def test_a_condition_that_fails_without_a_reason_is_an_error() -> None:
    class Odd(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if "IfNoneMatch" in parameters:
                raise S3Error(action, "s3://lake/", status=409, code="ConditionalRequestConflict", message="try again")
            return await super().call(action, **parameters)

    with pytest.raises(ReportError, match="ConditionalRequestConflict"):
        asyncio.run(folder(Odd("lake")).write_checkpoint(0, checkpoint(1)))


async def prepared_for(report: CompletionReport, s3: ScriptedEngine) -> Job:
    s3.put("lake", "manifest.csv", "".join(f"data,key-{row}\n" for row in range(20)))
    return await prepare(spec().model_copy(update={"report": report}), s3, owner=OWNER, now=now)


def test_every_call_about_the_folder_names_the_account_that_has_to_own_its_bucket() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(account="012345678901")
        report = CompletionReport("s3://lake/reports", bucket_owner="012345678901")
        job = await prepared_for(report, s3)
        await run_partition(job, 0, s3, now=now)
        summary = await complete(job, s3, now=now)
        assert summary.tally.succeeded == 20
        assert len(await list_jobs(s3, report.place, now=now)) == 1
        about = [call.parameters for call in s3.calls if "manifest.csv" not in call.parameters.get("Key", "")]
        assert {parameters.get("ExpectedBucketOwner") for parameters in about} == {"012345678901"}

    in_simulated_time(scenario())


def test_list_that_prepare_makes_is_written_to_a_bucket_of_that_account_only() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(account="012345678901")
        s3.put("data", "a", b"")
        report = CompletionReport("s3://lake/reports", bucket_owner="012345678901")
        asked = spec().model_copy(update={"report": report, "manifest": ListObjects("data")})
        await prepare(asked, s3, owner=OWNER, now=now)
        written = [call.parameters for call in s3.calls if call.action == "PutObject"]
        assert any("generated-manifest/" in parameters["Key"] for parameters in written)
        assert {parameters.get("ExpectedBucketOwner") for parameters in written} == {"012345678901"}

    in_simulated_time(scenario())


def test_folder_in_a_bucket_of_another_account_is_refused_before_anything_is_done() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(account="012345678901")
        with pytest.raises(ReportError, match="Access Denied"):
            await prepared_for(CompletionReport("s3://lake/reports", bucket_owner="999999999999"), s3)
        assert s3.requests == []
        assert s3.keys("lake", "reports") == []

    in_simulated_time(scenario())
