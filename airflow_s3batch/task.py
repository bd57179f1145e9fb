"""`S3BatchTask`: what the tasks that work on a job have in common, between Airflow and the core."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseOperator, XComArg

from airflow_s3batch.asked import check_connection
from airflow_s3batch.assets import announce
from airflow_s3batch.core.errors import InvalidInput, JobFailed, NoSuchJob, Paused, S3BatchError
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.partition import MAX_PARTITIONS
from airflow_s3batch.core.values import Value
from airflow_s3batch.links import S3BatchReportLink, report_url
from airflow_s3batch.stoppable import StoppableRun
from airflow_s3batch.templates import refusing_none, render_leaves

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence

    import jinja2
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_s3batch.connected import Connection
    from airflow_s3batch.core.engine import S3, S3Access
    from airflow_s3batch.core.estimate import Estimate
    from airflow_s3batch.core.folder.tally import Tally
    from airflow_s3batch.core.job import Job
    from airflow_s3batch.core.running.progress import Progress

__all__ = ["ProgressLog", "S3BatchTask"]

T = TypeVar("T")

_PROGRESS_EVERY = 10.0
"""Seconds between two lines of progress in the log."""
_LETS_OTHERS = 900.0
"""Seconds for which a partition lets a more urgent job go first."""
_TEXTS = ("job_id", "description")
"""Fields that are texts: None would be a name or a description like any other."""
_TEXTS_OR_NONE = ("aws_conn_id", "region_name")
"""Likewise, but they may be left out, and native rendering can say so."""


class S3BatchTask(BaseOperator):
    """A task that works on a job: the connection, the rendering of values, and the way into the core and out again."""

    template_fields: Sequence[str] = ("aws_conn_id", "region_name")
    operator_extra_links: Collection[BaseOperatorLink] = (S3BatchReportLink(),)
    ui_color = "#e8f3e8"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        check_connection(aws_conn_id=aws_conn_id, region_name=region_name, verify=verify)
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.report_link = ""
        self._running: StoppableRun[Any] | None = None
        self._killed = False
        self._has_given_way = False
        self.resumed_job_id: str | None = None

    def depend_on(self, *values: Any) -> None:
        """Run after the tasks whose XComs the values hold: Airflow itself looks into lists and dictionaries only."""
        if self.has_dag():
            XComArg.apply_upstream_relationship(
                self, [reference for value in values if isinstance(value, Value) for reference in value.references]
            )

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, and a value as its JSON; the job that is built of it checks what was a template.

        In both, and in the fields that are plain text, an expression that is None is an error.
        """
        render = super().render_template
        if isinstance(content, Value):
            document: Any = content.to_aws()
        elif self._is_any(content, (*_TEXTS, *_TEXTS_OR_NONE)):
            document = content
        else:
            return render(content, context, jinja_env, seen_oids)
        strict = refusing_none(jinja_env or self.get_template_env())
        try:
            return render_leaves(document, lambda text: render(text, context, strict))
        except InvalidInput:
            if self._is_any(content, _TEXTS_OR_NONE) and render(content, context, jinja_env) is None:
                return None
            raise

    def _is_any(self, content: Any, fields: Iterable[str]) -> bool:
        """Whether it is the text of one of these fields: the very one, since Airflow doesn't name what it renders."""
        return isinstance(content, str) and any(content is getattr(self, name, None) for name in fields)

    def on_kill(self) -> None:
        """Save what is done and begin nothing more; Airflow calls this in a signal handler, and `execute` goes on."""
        self._killed = True
        if self._running is not None:
            self._running.stop()

    def open_access(self) -> S3Access:
        """S3 as the connection gives it.

        Raises:
            AirflowNotFoundException: the connection doesn't exist.
            InvalidInput: it has no credentials.
        """
        from airflow_s3batch.hooks import S3BatchHook

        return S3BatchHook(**self.connection).access()

    @property
    def connection(self) -> Connection:
        """How a trigger or a hook reaches S3 as this task does."""
        return {"aws_conn_id": self.aws_conn_id, "region_name": self.region_name, "verify": self.verify}

    def in_s3(self, access: S3Access, limits: Limits, work: Callable[[S3, asyncio.Event], Coroutine[Any, Any, T]]) -> T:
        """Do some work of the core, which a kill asks to stop; return what it does."""
        from airflow_s3batch.core.engine import S3

        async def main(stop: asyncio.Event) -> T:
            async with S3(access, limits) as s3:
                return await work(s3, stop)

        running: StoppableRun[T] = StoppableRun(main)
        self._running = running
        if self._killed:
            running.stop()
        return running.result()

    def show_report(self, access: S3Access, report_uri: str | None) -> None:
        """Let the task's button lead to the report; None if there is none."""
        if report_uri is not None:
            self.report_link = report_url(report_uri, region=access.region, endpoint_url=access.endpoint_url)

    @contextlib.contextmanager
    def failed_report_shown(self, access: S3Access) -> Iterator[None]:
        """Let the button lead to the report of what ran, if the job fails in here with one."""
        try:
            yield
        except JobFailed as failed:
            self.show_report(access, failed.report_uri)
            raise

    def prepare_job(
        self,
        context: Context,
        access: S3Access,
        spec: JobSpec,
        *,
        rows_per_partition: int,
        max_partitions: int = MAX_PARTITIONS,
        confirmation_required: bool = False,
    ) -> tuple[Job, str]:
        """Prepare the job; return it and its report's URI. A retry opens no job that was cancelled; a Clear does."""
        from airflow_s3batch.core.folder.store import JobFolder
        from airflow_s3batch.core.prepare import prepare

        owner, reopens = _owner(context), self._is_first_try(context)

        async def work(s3: S3, _: asyncio.Event) -> tuple[Job, str]:
            job = await prepare(
                spec,
                s3,
                owner=owner,
                rows_per_partition=rows_per_partition,
                max_partitions=max_partitions,
                confirmation_required=confirmation_required,
                reopens=reopens,
            )
            return job, JobFolder.of(s3, job).report_uri

        return self.in_s3(access, spec.limits, work)

    def take_up_job(
        self, context: Context, access: S3Access, job_id: str, report: CompletionReport, **changes: Any
    ) -> tuple[Job, str]:
        """Take up a job that was prepared before, as `core.prepare.take_up`; return it and its report's URI."""
        from airflow_s3batch.core.folder.store import JobFolder
        from airflow_s3batch.core.prepare import take_up

        owner, reopens = _owner(context), self._is_first_try(context)

        async def work(s3: S3, _: asyncio.Event) -> tuple[Job, str]:
            job = await take_up(job_id, report, s3, owner=owner, reopens=reopens, **changes)
            return job, JobFolder.of(s3, job).report_uri

        return self.in_s3(access, changes.get("limits") or Limits(), work)

    def estimate_job(self, access: S3Access, job: Job, prices: dict[str, float]) -> Estimate:
        """Tell what the job would do, with the estimate in the log: at Amazon's prices if that is where it runs."""
        from airflow_s3batch.core.estimate import estimate
        from airflow_s3batch.core.prices import Prices

        known = Prices.at(access.endpoint_url, access.region, prices)
        told = self.in_s3(access, job.spec.limits, lambda s3, _: estimate(job, s3, prices=known))
        for line in told.table().splitlines():
            self.log.info("%s", line)
        return told

    def find_job(self, access: S3Access, reference: dict[str, Any]) -> Job:
        """The prepared job that a partition, or prepare's XCom ``job``, refers to.

        Raises:
            NoSuchJob: there is none.
        """
        from airflow_s3batch.core.folder.store import JobFolder

        job_id, place = reference["job_id"], CompletionReport.from_aws(reference["report"]).place

        job = self.in_s3(access, Limits(), lambda s3, _: JobFolder(s3, place, job_id).read_job())
        if job is None:
            raise NoSuchJob(f"job {job_id} isn't prepared: it has no job.json in {place.uri}; run prepare again")
        return job

    def run_one(self, access: S3Access, job: Job, number: int) -> dict[str, Any]:
        """Run a partition, with its progress in the log; return its summary."""
        from airflow_s3batch.core.run import run_partition

        part, operation = job.partitions[number], job.spec.operation.aws_name
        self.log.info("Job %s, partition %d, %s of %s: %s", job.job_id, number, part, f"{job.total:,}", operation)
        progress = ProgressLog(self.log.info)
        try:
            summary = self.in_s3(
                access,
                job.spec.limits,
                lambda s3, stop: run_partition(job, number, s3, on_progress=progress, stop=stop),
            )
        except S3BatchError:
            if (latest := progress.latest) is not None:
                told = (f"{latest.done:,}", f"{latest.total:,}", f"{latest.failed:,}")
                self.log.info("Stopped after %s of %s objects, %s failed; the next run goes on from there", *told)
            raise
        self.tell([str(summary)], summary.tally)
        return summary.to_json()

    def tell(self, lines: Iterable[str], tally: Tally) -> None:
        """Log what came of it, as a warning if objects have failed: the task itself succeeds."""
        tell = self.log.warning if tally.failed else self.log.info
        for line in lines:
            tell("%s", line)

    @contextlib.contextmanager
    def deferred_while_paused(self, job: Job) -> Iterator[None]:
        """Have the task wait in the triggerer, without a slot, if the job is paused in here; it begins anew then."""
        try:
            yield
        except Paused as paused:
            from airflow_s3batch.triggers import S3BatchResumeTrigger

            self.log.info("%s; what is done is saved, and the task waits until the job is resumed", paused)
            trigger = S3BatchResumeTrigger(
                job_id=job.job_id,
                report=job.spec.report.to_aws(),
                **self.connection,
            )
            self.defer(trigger=trigger, method_name="execute_resumed")

    def give_way(self, access: S3Access, job: Job) -> None:
        """Have the task wait in the triggerer, without a slot, if a job of a higher priority is on its turn.

        Once, and for a quarter of an hour at most: then it is this job's turn, however the other stands.
        """
        from airflow_s3batch.core.control.turn import goes_before

        if self._has_given_way:
            return
        other = self.in_s3(access, Limits(), lambda s3, _: goes_before(job, s3))
        if other is None:
            return
        from airflow_s3batch.triggers import S3BatchTurnTrigger

        self.log.info("Job %s has a higher priority now, and goes first; the task waits for its turn", other)
        trigger = S3BatchTurnTrigger(
            job_id=other,
            report=job.spec.report.to_aws(),
            until=time.time() + _LETS_OTHERS,
            **self.connection,
        )
        self.defer(trigger=trigger, method_name="execute_in_turn")

    def execute_in_turn(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the trigger's event."""
        self.log.info("It is this job's turn: the other is %s", event.get("error") or event["state"].get("Status"))
        self._has_given_way = True
        return self.execute(context)

    def execute_resumed(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on with the job that was paused, after the trigger's event: find out on the worker what it means."""
        self.resumed_job_id = event["job_id"]
        self.log.info("The job isn't paused any more: %s", event.get("error") or event["state"].get("Status"))
        return self.execute(context)

    def _is_first_try(self, context: Context) -> bool:
        """Whether a person, or the schedule, began this: Airflow's retries count up to max_tries, a Clear raises it."""
        ti = context["ti"]
        return bool(ti.try_number == ti.max_tries - (self.retries or 0) + 1)

    def is_last_try(self, context: Context) -> bool:
        """Whether Airflow won't retry it."""
        ti = context["ti"]
        return bool(ti.try_number > ti.max_tries)

    def complete_job(self, context: Context, access: S3Access, job: Job) -> dict[str, Any]:
        """Complete the report, with its summary in the log and in the asset events; return the summary."""
        from airflow_s3batch.core.report import complete

        with self.failed_report_shown(access):
            summary = self.in_s3(access, job.spec.limits, lambda s3, _: complete(job, s3))
        self.show_report(access, summary.report_uri)
        self.tell(summary.table().splitlines(), summary.tally)
        told = summary.to_json()
        announce(context, self.outlets, job.spec.report.place.uri, told)
        return told


class ProgressLog:
    """Logs how far a run is, every 10 seconds.

    Args:
        log: takes a line, as ``log("%s", line)``.
        clock: monotonic seconds.
    """

    def __init__(self, log: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._last = clock()
        self.latest: Progress | None = None
        """How far it is now."""

    def __call__(self, progress: Progress) -> None:
        """Log the progress, if the last line is old enough."""
        self.latest = progress
        if self._clock() - self._last >= _PROGRESS_EVERY:
            self._last = self._clock()
            self._log("%s", str(progress))


def _owner(context: Context) -> tuple[str, ...]:
    """Who asks for the job: the same at every try, and another for every mapped instance."""
    ti = context["ti"]
    mapped = ti.map_index is not None and ti.map_index >= 0
    return (ti.dag_id, ti.run_id, ti.task_id, *([str(ti.map_index)] if mapped else []))
