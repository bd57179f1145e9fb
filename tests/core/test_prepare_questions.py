"""A manifest that is a question: prepare answers it once, and the job is about what was found."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput, ManifestError, S3BatchError
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import CompletionReport, Job, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import FailedObjects, InventoryManifest, ListObjects, Manifest, Objects
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.scripted import OWNER, ScriptedEngine, fails, spec, succeeds
from tests.core.test_run import run

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def engine(*keys: str) -> ScriptedEngine:
    s3 = ScriptedEngine()
    for key in keys or ("a", "b", "c"):
        s3.put("data", key, b"")
    return s3


def asked(manifest: Manifest, **fields: Any) -> JobSpec:
    return spec(**fields).model_copy(update={"manifest": manifest})


def told(s3: ScriptedEngine, job: Job, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(s3.get("lake", f"reports/job-{job.job_id}/{name}"))
    return document


def test_the_job_is_about_what_was_found_and_remembers_the_question() -> None:
    async def scenario() -> None:
        s3 = engine()
        job = await prepare(asked(ListObjects("data", exclude="b")), s3, owner=OWNER, now=lambda: NOON)

        assert isinstance(job.spec.manifest, InventoryManifest)
        assert job.spec.manifest.uri.startswith(f"s3://lake/reports/job-{job.job_id}/generated-manifest/")
        assert (job.total, job.buckets) == (2, ("data",))
        document = told(s3, job, "job.json")
        assert document["ManifestGenerator"] == ListObjects("data", exclude="b").to_aws()
        assert document["Manifest"] == job.spec.manifest.to_aws()
        assert await JobFolder.of(s3, job).read_job() == job

    asyncio.run(scenario())


def test_what_was_found_is_what_is_run() -> None:
    async def scenario() -> None:
        s3 = engine()
        job = await prepare(asked(ListObjects("data")), s3, owner=OWNER)
        s3.put("data", "later", b"")
        await run(job, s3)
        await complete(job, s3)
        results = [s3.get("lake", key).decode() for key in s3.keys("lake", "reports/") if key.endswith(".csv")]
        rows = "".join(results).splitlines()
        assert sorted(rows) == [f"data,{key},,succeeded,200,,Successful" for key in "abc"]

    asyncio.run(scenario())


def test_a_second_prepare_finds_the_list_of_the_first() -> None:
    async def scenario() -> None:
        s3 = engine()
        first = await prepare(asked(ListObjects("data")), s3, owner=OWNER)
        s3.put("data", "later", b"")
        s3.calls.clear()
        again = await prepare(asked(ListObjects("data"), limits=Limits(in_flight=3)), s3, owner=OWNER)
        assert (again.job_id, again.total, again.spec.manifest) == (first.job_id, 3, first.spec.manifest)
        assert (again.spec.limits.in_flight, again.question) == (3, ListObjects("data"))
        assert "ListObjectsV2" not in s3.actions

    asyncio.run(scenario())


def test_another_question_is_another_job() -> None:
    async def scenario() -> None:
        s3 = engine()
        jobs = [
            await prepare(asked(manifest), s3, owner=OWNER)
            for manifest in (ListObjects("data"), ListObjects("data", suffixes="a"), Objects(["s3://data/a"]))
        ]
        assert len({job.job_id for job in jobs}) == 3

    asyncio.run(scenario())


def test_whenever_prepare_dies_the_next_one_lists_again_and_gets_the_job_ready() -> None:
    async def scenario(calls: int, *, arrives: bool) -> None:
        s3 = engine()
        s3.broken_after, s3.arrives = calls, arrives
        with contextlib.suppress(S3BatchError):
            await prepare(asked(ListObjects("data")), s3, owner=OWNER)
        s3.broken_after = None
        job = await prepare(asked(ListObjects("data")), s3, owner=OWNER)
        assert (job.total, told(s3, job, "status.json")["Status"]) == (3, "Ready")

    for calls in range(1, 20):
        asyncio.run(scenario(calls, arrives=True))
        asyncio.run(scenario(calls, arrives=False))


def test_finding_nothing_fails_the_job() -> None:
    async def scenario() -> None:
        s3 = engine()
        with pytest.raises(ManifestError, match="prefixes='none/': there are no objects"):
            await prepare(asked(ListObjects("data", prefixes="none/")), s3, owner=OWNER)
        (name,) = [key for key in s3.keys("lake", "reports/") if key.endswith("/status.json")]
        status = json.loads(s3.get("lake", name))
        assert status["Status"] == "Failed"
        assert "s3://data/" in status["FailureReasons"][0]["FailureReason"]

    asyncio.run(scenario())


def test_the_failures_of_one_job_are_the_next_jobs_objects() -> None:
    async def scenario() -> None:
        s3 = engine("a", "b +%", "c")
        s3.script = odd_ones_fail
        first = await prepare(asked(ListObjects("data")), s3, owner=OWNER)
        summary = await run(first, s3)
        assert summary is not None
        report = (await complete(first, s3)).report_uri

        s3.script = succeeds
        second = await prepare(asked(FailedObjects(report, codes="SlowDown")), s3, owner=OWNER)
        entries = [entry async for some in second.spec.manifest.read(s3, second.partitions[0]) for entry in some]
        assert [entry.key for entry in entries] == ["b +%"]

    asyncio.run(scenario())


def odd_ones_fail(entry: Entry) -> Outcome:
    return fails(entry, "SlowDown") if entry.key == "b +%" else succeeds(entry)


def test_a_manifest_generator_is_taken_as_create_job_has_it() -> None:
    document = {
        "ManifestGenerator": {
            "S3JobManifestGenerator": {"SourceBucket": "arn:aws:s3:::data", "EnableManifestOutput": False}
        },
        "Operation": {"S3DeleteObjectTagging": {}},
        "Report": CompletionReport("s3://lake/reports").to_aws(),
    }

    job_spec = JobSpec.from_aws(document)

    assert job_spec.manifest == ListObjects("data")
    assert JobSpec.from_aws(job_spec.to_aws()) == job_spec


def test_a_job_without_any_manifest_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a job needs Manifest"):
        JobSpec.from_aws({"Operation": {"S3DeleteObjectTagging": {}}, "Report": {"Bucket": "arn:aws:s3:::lake"}})
