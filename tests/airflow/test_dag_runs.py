"""Whole DAG runs, in this process, against an S3 server."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk import DAG, Asset, AssetAlias, XComArg, task

from airflow_s3batch import (
    CompletionReport,
    CsvManifest,
    FailureThreshold,
    PutObjectLegalHold,
    PutObjectTagging,
    S3BatchJobOperator,
    S3BatchJobSensor,
    S3BatchPrepareOperator,
    S3BatchReportOperator,
    s3_batch_job,
)
from airflow_s3batch.core.folder.status import JobState
from airflow_s3batch.core.job import JobStatus
from tests.airflow.conftest import DAY, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[..., DagRun]

COLD = PutObjectTagging({"tier": "cold"})
DEFAULTS = {"retries": 0}


def test_whole_job_is_mapped_over_the_manifests_that_a_task_finds(lake: Lake, run_dag: Run) -> None:
    uris = [lake.manifest(f"{number}.csv", objects=number) for number in (1, 2)]
    with DAG("mapped", schedule=None, default_args=DEFAULTS) as dag:

        @task
        def find() -> list[str]:
            return uris

        @task
        def choose(name: str) -> str:
            return f"{lake.uri}/{name}"

        jobs = S3BatchJobOperator.partial(
            task_id="tag",
            operation=PutObjectTagging({"from": cast("str", choose("tag"))}),
            report=choose("reports"),
            outlets=[Asset("tagged")],
            map_index_template="{{ task.manifest['Location']['ObjectArn'] }}",
        ).expand(manifest=find().map(lambda uri: CsvManifest(uri).to_aws()))

        @task
        def add(summaries: Any) -> int:
            return sum(summary["succeeded"] for summary in summaries)

        add(jobs.output)

    run = run_dag(dag)

    assert run.state == "success"
    assert run.xcom("add") == 3
    assert len({summary["job_id"] for summary in run.xcoms["tag", "return_value"]}) == 2
    assert lake.tags("data/1") == {"from": f"{lake.uri}/tag"}
    assert run.names["tag"] == [f"arn:aws:s3:::{uri.removeprefix('s3://')}" for uri in uris]


def test_job_tags_the_objects_and_reports_those_it_could_not(lake: Lake, run_dag: Run) -> None:
    lake.manifest("manifests/2026-01-31.csv", objects=7, missing=2)
    with DAG("tags_and_reports", schedule=None, default_args=DEFAULTS) as dag:
        job = s3_batch_job(
            group_id="tag_cold",
            manifest=CsvManifest(f"{lake.uri}/manifests/{{{{ ds }}}}.csv"),
            operation=COLD,
            report=f"{lake.uri}/reports",
            rows_per_partition=3,
        )

        @task
        def use(summary: Any) -> int:
            return int(summary["failed"])

        use(job.output)

    run = run_dag(dag)

    assert run.state == "success"
    assert run.tasks["tag_cold.run"] == ["success"] * 3
    assert run.names["tag_cold.run"] == ["rows 1 to 3", "rows 4 to 6", "rows 7 to 9"]
    assert all(lake.tags(f"data/{number}") == {"tier": "cold"} for number in range(7))
    told = run.xcom("tag_cold.report")
    assert (told["status"], told["total"], told["succeeded"], told["failed"]) == ("Complete", 9, 7, 2)
    assert told["failures_by_code"] == {"NoSuchKey": 2}
    assert told["report_uri"] == f"{lake.uri}/reports/job-{told['job_id']}/manifest.json"
    assert run.xcom("use") == 2
    report = json.loads(lake.get(f"reports/job-{told['job_id']}/manifest.json"))
    rows = [row for result in report["Results"] for row in lake.get(result["Key"]).splitlines()]
    assert len(rows) == 9


def test_tasks_show_the_rendered_job_and_report_leads_to_the_report(lake: Lake, s3_url: str, run_dag: Run) -> None:
    lake.manifest("2026-01-31.csv", objects=1)
    with DAG("rendered", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="job",
            manifest=CsvManifest(f"{lake.uri}/{{{{ ds }}}}.csv"),
            operation=PutObjectTagging({"day": "{{ ds_nodash }}"}),
            report=f"{lake.uri}/{{{{ ds }}}}",
        )

    run = run_dag(dag)

    (shown,) = run.rendered["job.prepare"]
    assert shown["manifest"]["Location"] == {"ObjectArn": f"{lake.uri}/2026-01-31.csv"}
    assert shown["operation"] == {"S3PutObjectTagging": {"TagSet": [{"Key": "day", "Value": "20260131"}]}}
    assert shown["report"]["Bucket"] == f"{lake.uri}/2026-01-31"
    assert lake.tags("data/0") == {"day": "20260131"}
    report = run.xcom("job.report")["report_uri"].removeprefix("s3://")
    assert run.xcom("job.report", "_link_S3BatchReportLink") == f"{s3_url}/{report}"


def test_no_task_leads_to_a_report_before_it_is_there(lake: Lake, s3_url: str, run_dag: Run) -> None:
    lake.manifest("m.csv", objects=2, missing=1)
    with DAG("links", schedule=None, default_args=DEFAULTS) as dag:
        job = s3_batch_job(
            group_id="job", manifest=CsvManifest(f"{lake.uri}/m.csv"), operation=COLD, report=f"{lake.uri}/reports"
        )
        again = S3BatchJobOperator.partial(task_id="again").expand(partition=XComArg(dag.get_task("job.prepare")))
        job >> again

    run = run_dag(dag)

    link = "_link_S3BatchReportLink"
    report = run.xcom("job.report")["report_uri"].removeprefix("s3://")
    assert run.state == "success"
    assert (("job.prepare", link) in run.xcoms, run.xcom("job.run", link)) == (False, "")
    # A partition that is run once more brings the report up to date.
    assert [run.xcom(name, link) for name in ("job.report", "again")] == [f"{s3_url}/{report}"] * 2


def test_task_of_a_job_that_has_failed_leads_to_the_report_of_what_ran(lake: Lake, s3_url: str, run_dag: Run) -> None:
    uri = lake.manifest("m.csv", objects=1, missing=2)
    with DAG("failed_links", schedule=None, default_args=DEFAULTS) as dag:
        for name, operation in (("run", COLD), ("refused", PutObjectLegalHold("ON"))):
            S3BatchJobOperator(
                task_id=name,
                manifest=CsvManifest(uri),
                operation=operation,
                report=f"{lake.uri}/reports",
                threshold=FailureThreshold(percent=50, minimum=1),
            )

    run = run_dag(dag)

    link = "_link_S3BatchReportLink"
    (report,) = [key for key in lake.keys("reports/") if key.endswith("manifest.json")]
    assert [run.tasks[name] for name in ("run", "refused")] == [["failed"], ["failed"]]
    assert (run.xcom("run", link), run.xcom("refused", link)) == (f"{s3_url}/{lake.bucket}/{report}", "")


def test_native_rendering_gives_the_same_job(lake: Lake, run_dag: Run) -> None:
    lake.manifest("m.csv", objects=1)
    with DAG("native", schedule=None, default_args=DEFAULTS, render_template_as_native_obj=True) as dag:
        s3_batch_job(
            group_id="job",
            manifest=CsvManifest(f"{lake.uri}/m.csv"),
            operation=PutObjectTagging({"day": "{{ ds_nodash }}", "generation": "1"}),
            report=f"{lake.uri}/reports",
        )

    assert run_dag(dag).state == "success"
    assert lake.tags("data/0") == {"day": "20260131", "generation": "1"}


def test_nothing_is_touched_and_nothing_succeeds_when_prepare_fails(lake: Lake, run_dag: Run) -> None:
    lake.put("data/0")
    lake.put("m.csv", f"{lake.bucket},data/0\n{lake.bucket}\n")
    with DAG("prepare_fails", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="job", manifest=CsvManifest(f"{lake.uri}/m.csv"), operation=COLD, report=f"{lake.uri}/reports"
        )

    run = run_dag(dag)

    assert run.state == "failed"
    assert run.tasks["job.prepare"] == ["failed"]
    assert run.tasks["job.report"] == ["upstream_failed"]
    assert lake.tags("data/0") == {}


def test_job_is_skipped_with_what_comes_before_it(lake: Lake, run_dag: Run) -> None:
    with DAG("skipped", schedule=None, default_args=DEFAULTS) as dag:

        @task.short_circuit
        def nothing_to_do() -> bool:
            return False

        job = s3_batch_job(
            group_id="job", manifest=CsvManifest(f"{lake.uri}/m.csv"), operation=COLD, report=f"{lake.uri}/reports"
        )
        nothing_to_do() >> job

    run = run_dag(dag)

    assert run.state == "success"
    assert run.tasks["job.report"] == ["skipped"]


def test_job_whose_manifest_changes_under_it_fails(lake: Lake, run_dag: Run) -> None:
    lake.manifest("m.csv", objects=4)
    with DAG("partition_fails", schedule=None, default_args=DEFAULTS) as dag:
        prepare = S3BatchPrepareOperator(
            task_id="prepare",
            manifest=CsvManifest(f"{lake.uri}/m.csv"),
            operation=COLD,
            report=f"{lake.uri}/reports",
            rows_per_partition=2,
        )

        @task
        def change() -> None:
            lake.manifest("m.csv", objects=5)

        run_partitions = S3BatchJobOperator.partial(task_id="run").expand(partition=prepare.output)
        report = S3BatchReportOperator(task_id="report", job=XComArg(prepare, key="job"))
        prepare >> change() >> run_partitions >> report

    run = run_dag(dag)

    assert run.state == "failed"
    assert run.tasks["run"] == ["failed", "failed"]
    assert run.tasks["report"] == ["failed"]
    assert ("report", "return_value") not in run.xcoms
    job_id = run.xcom("prepare", "job")["job_id"]
    state = json.loads(lake.get(f"reports/job-{job_id}/status.json"))
    codes = [reason["FailureCode"] for reason in state["FailureReasons"]]
    assert (state["Status"], codes) == ("Failed", ["ManifestChanged"])


def test_one_task_runs_a_whole_small_job(lake: Lake, run_dag: Run) -> None:
    uri = lake.manifest("m.csv", objects=3, missing=1)
    with DAG("whole", schedule=None, default_args=DEFAULTS) as dag:
        S3BatchJobOperator(
            task_id="tag",
            manifest=CsvManifest(uri),
            operation=COLD,
            report=f"{lake.uri}/reports",
            rows_per_partition=2,
        )

    run = run_dag(dag)

    told = run.xcom("tag")
    assert (told["total"], told["succeeded"], told["failed"]) == (4, 3, 1)
    assert f"reports/job-{told['job_id']}/manifest.json" in lake.keys("reports/")


def test_repeated_partition_does_its_failures_again_and_leaves_the_rest(lake: Lake, run_dag: Run) -> None:
    uri = lake.manifest("m.csv", objects=2, missing=1)
    report = CompletionReport(f"{lake.uri}/reports")
    with DAG("repeated", schedule=None, default_args=DEFAULTS) as dag:
        whole = S3BatchJobOperator(task_id="tag", manifest=CsvManifest(uri), operation=COLD, report=report)
        again = S3BatchJobOperator(
            task_id="again",
            partition={"job_id": "{{ ti.xcom_pull('tag')['job_id'] }}", "report": report.to_aws(), "number": 0},
        )
        whole >> again

    run = run_dag(dag)

    summary = run.xcom("again")
    assert (summary["attempt"], summary["skipped"], summary["succeeded"], summary["failed"]) == (2, 2, 2, 1)


def test_job_takes_what_another_task_returns(lake: Lake, run_dag: Run) -> None:
    with DAG("taskflow", schedule=None, default_args=DEFAULTS) as dag:

        @task
        def write_manifest() -> str:
            return lake.manifest("m.csv", objects=2)

        @task
        def choose_tier() -> str:
            return "frozen"

        s3_batch_job(
            group_id="job",
            manifest=CsvManifest(cast("str", write_manifest())),
            operation=PutObjectTagging({"tier": cast("str", choose_tier())}),
            report=f"{lake.uri}/reports",
        )

    run = run_dag(dag)

    assert run.state == "success"
    assert lake.tags("data/1") == {"tier": "frozen"}


def test_other_dags_are_scheduled_on_the_report_and_see_its_summary(
    lake: Lake, register: Callable[..., None], run_dag: Run
) -> None:
    from airflow.models.asset import AssetDagRunQueue, AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    lake.manifest("m.csv", objects=2, missing=1)
    location = f"{lake.uri}/reports"
    with DAG("reads_the_report", schedule=[Asset(location)]) as by_location:
        pass
    with DAG("reads_my_asset", schedule=[Asset("tagged")]) as by_own_asset:
        pass
    with DAG("reads_the_alias", schedule=[AssetAlias(location)]) as by_alias:
        pass
    with DAG("announces", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="job",
            manifest=CsvManifest(f"{lake.uri}/m.csv"),
            operation=COLD,
            report=location,
            outlets=[Asset("tagged")],
        )
    register(by_location, by_own_asset, by_alias)

    run = run_dag(dag)

    with create_session() as session:
        waiting = set(session.scalars(select(AssetDagRunQueue.target_dag_id)))
        extras = list(session.scalars(select(AssetEvent.extra).where(AssetEvent.source_dag_id == "announces")))
    assert {"reads_the_report", "reads_my_asset", "reads_the_alias"} <= waiting
    told = run.xcom("job.report")
    assert len(extras) == 2
    for extra in extras:
        codes, examples = json.loads(extra["failures_by_code"]), json.loads(extra["examples"])
        assert {**extra, "failures_by_code": codes, "examples": examples} == told


def test_unknown_connection_fails_the_job_before_anything_is_touched(lake: Lake, run_dag: Run, capfd: Any) -> None:
    lake.manifest("m.csv", objects=1)
    with DAG("unknown_connection", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="job",
            manifest=CsvManifest(f"{lake.uri}/m.csv"),
            operation=COLD,
            report=f"{lake.uri}/reports",
            aws_conn_id="no_such_connection",
        )

    run = run_dag(dag)

    assert run.tasks["job.prepare"] == ["failed"]
    assert lake.tags("data/0") == {}
    told = "".join(capfd.readouterr())
    assert "connection 'no_such_connection' doesn't exist; create it" in told


def test_secret_reaches_no_log_no_xcom_no_view_and_no_folder(
    lake: Lake, run_dag: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    lake.manifest("m.csv", objects=2, missing=1)
    with DAG("secret", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="job", manifest=CsvManifest(f"{lake.uri}/m.csv"), operation=COLD, report=f"{lake.uri}/reports"
        )

    run = run_dag(dag)

    written = [lake.get(key) for key in lake.keys("reports/")]
    assert len(written) > 5
    assert SECRET not in "".join([*capfd.readouterr(), repr(run), *written])


def test_deferred_sensor_goes_on_when_the_job_has_ended(lake: Lake, run_dag: Run) -> None:
    job_id = "0b8a2d6e-0000-4000-8000-000000000002"
    state = JobState(job_id=job_id, status=JobStatus.ACTIVE, created="2026-01-31T00:00:00.000Z")
    report_uri = f"{lake.uri}/reports/job-{job_id}/manifest.json"
    ended = state.moved(JobStatus.COMPLETING, at=DAY).moved(JobStatus.COMPLETE, at=DAY).reported(report_uri)
    status = f"reports/job-{job_id}/status.json"
    lake.put(status, json.dumps(state.to_aws()))
    with DAG("defers", schedule=None, default_args=DEFAULTS) as dag:
        S3BatchJobSensor(
            task_id="wait", job_id=job_id, report=f"{lake.uri}/reports", poke_interval=0.2, deferrable=True
        )

    end = threading.Timer(3, lake.put, (status, json.dumps(ended.to_aws())))
    end.start()
    run = run_dag(dag)
    end.join()

    assert run.state == "success"
    assert run.xcom("wait") == ended.to_aws()
    assert run.xcom("wait", "_link_S3BatchReportLink").endswith(f"{job_id}/manifest.json")


@pytest.mark.parametrize("deferrable", [False, True])
def test_sensor_waits_for_a_job_that_ends_well(lake: Lake, run_dag: Run, *, deferrable: bool) -> None:
    uri = lake.manifest("m.csv", objects=2)
    with DAG(f"waits_{deferrable}", schedule=None, default_args=DEFAULTS) as dag:
        job = s3_batch_job(group_id="job", manifest=CsvManifest(uri), operation=COLD, report=f"{lake.uri}/reports")
        job >> S3BatchJobSensor(
            task_id="wait",
            job_id="{{ ti.xcom_pull('job.report')['job_id'] }}",
            report=f"{lake.uri}/reports",
            poke_interval=timedelta(seconds=0.1),
            deferrable=deferrable,
        )

    run = run_dag(dag)

    assert run.state == "success"
    assert run.xcom("wait")["Status"] == "Complete"
    assert run.xcom("wait")["ProgressSummary"]["NumberOfTasksSucceeded"] == 2
