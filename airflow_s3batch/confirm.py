"""`S3BatchConfirmOperator`: a job waits, Suspended, until a person lets it run, in Airflow's own approval page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import HITLOperator

from airflow_s3batch.asked import as_reference
from airflow_s3batch.core.errors import InvalidInput, JobConflict, printable
from airflow_s3batch.core.prices import check_prices
from airflow_s3batch.core.wording import counted, duration
from airflow_s3batch.failures import AirflowFailException, PlainFailures
from airflow_s3batch.task import S3BatchTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import BaseNotifier, Context, XComArg

    from airflow_s3batch.core.engine import S3Access
    from airflow_s3batch.core.estimate import Estimate
    from airflow_s3batch.core.job import Job

__all__ = ["Confirm", "S3BatchConfirmOperator"]

_APPROVE, _REJECT = "Approve", "Reject"
_DESCRIPTION_SHOWN = 80
"""Characters, where one of many questions is to be found."""
_CHOICE = "Approve, and the job runs. Reject, and it is cancelled: nothing is touched."
# The time for an answer has a name of its own since Airflow 3.2's standard provider; before, this one was taken for it.
_TIMEOUT = "response_timeout" if "response_timeout" in signature(HITLOperator).parameters else "execution_timeout"


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """How a job waits for a person: ``s3_batch_job(confirm=Confirm(timeout=timedelta(hours=8)))``."""

    timeout: timedelta | None = timedelta(days=30)
    """How long it waits; then the job fails. AWS waits 30 days; None for ever."""
    assignees: Sequence[str] = ()
    """The ids of the users who may answer, as Airflow's auth manager knows them; if empty, all who may edit the run."""
    notifiers: Sequence[BaseNotifier] = ()
    """Told when the job begins to wait."""

    def __post_init__(self) -> None:
        """See that it can be.

        Raises:
            InvalidInput: it can't.
        """
        if not _is_wait(self.timeout):
            way_out = "write timedelta(hours=8), or None to wait for ever"
            raise InvalidInput(f"Confirm: timeout={printable(repr(self.timeout))}; {way_out}")
        if isinstance(self.assignees, str):
            shown = printable(repr(self.assignees))
            raise InvalidInput(f"Confirm: assignees={shown} is one text; write [{shown}]")


class S3BatchConfirmOperator(S3BatchTask, HITLOperator):
    """Have a prepared job wait, Suspended, until a person confirms it, who sees what it would do, cost and take.

    Stands between `S3BatchPrepareOperator` (with ``confirmation_required=True``) and the partitions:
    ``prepare >> confirm >> run``. The question is among Airflow's *Required Actions*. While it waits, the task takes no
    worker's slot.

    Approved, the job is Ready, and this task succeeds. Refused, the job is Cancelled; unanswered in time, it is Failed;
    then nothing was touched, this task fails, without a retry, and so do the tasks after it: none of them may take the
    job for done. A job that was confirmed before isn't asked about a second time, until it has ended.

    Returns job_id and confirmed_by. The XCom ``job`` is what prepare gave: a report that takes it from here
    runs only if the job was confirmed.

    Args:
        job: ``prepare.output["job"]`` (templated).
        confirm: how long to wait, and for whom.
        prices: as `S3BatchPrepareOperator` takes them.
        aws_conn_id: as for `S3BatchPrepareOperator`, with region_name and verify.
    """

    template_fields: Sequence[str] = ("job", *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json"}
    operator_extra_links = ()  # it ends before there is a report

    def __init__(
        self,
        *,
        job: dict[str, Any] | XComArg,
        confirm: Confirm | None = None,
        prices: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        how = Confirm() if confirm is None else confirm
        if not isinstance(how, Confirm):
            wrong = f"confirm={printable(repr(how))} is no Confirm, but of type {type(how).__name__}"
            raise InvalidInput(f"{wrong}; leave it out, or write Confirm(timeout=…)")
        waits: dict[str, Any] = {_TIMEOUT: how.timeout}
        super().__init__(
            subject="Shall the job run?",
            options=[_APPROVE, _REJECT],
            assigned_users=[{"id": user, "name": user} for user in how.assignees] or None,
            notifiers=list(how.notifiers),
            **waits,
            **kwargs,
        )
        self.timeout = how.timeout
        self.job = job
        self.prices = check_prices(prices)

    def execute(self, context: Context) -> Any:
        """Ask, unless the job was confirmed before."""
        from airflow_s3batch.core.control.confirm import ask

        with PlainFailures():
            access = self.open_access()
            job = self.find_job(access, as_reference("job", self.job))
            if not self.in_s3(access, job.spec.limits, lambda s3, _: ask(job, s3)):
                self.log.info("Job %s was confirmed before", job.job_id)
                return self._confirmed(context, job, by=None)
            told = self.estimate_job(access, job, self.prices)
        self.subject, self.body = _question(told), f"{told.markdown()}\n\n{_CHOICE}"
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the answer, or after the time for it.

        Raises:
            AirflowFailException: the job may not run.
        """
        given = None if event.get("error_type") == "timeout" else super().execute_complete(context, event)
        with PlainFailures():
            access = self.open_access()
            job = self.find_job(access, as_reference("job", self.job))
            if given is None:
                raise AirflowFailException(self._expired(access, job))
            by = printable((given.get("responded_by_user") or {}).get("name") or "somebody")
            self._answered(access, job, approved=given["chosen_options"] == [_APPROVE], by=by)
            self.log.info("Job %s was confirmed by %s", job.job_id, by)
            return self._confirmed(context, job, by=by)

    def _expired(self, access: S3Access, job: Job) -> str:
        """Have the job Failed, since nobody has answered in time; return what to say of it."""
        from airflow_s3batch.core.control.confirm import expire

        waited = "the time there was" if self.timeout is None else _in_words(self.timeout)
        stands = self.in_s3(access, job.spec.limits, lambda s3, _: expire(job, s3, waited=waited))
        return (
            f"job {job.job_id} is {stands.value}: nobody has confirmed it in {waited}. Nothing is touched "
            "by this run; clear this task to ask again"
        )

    def _answered(self, access: S3Access, job: Job, *, approved: bool, by: str) -> None:
        """Take a person's answer.

        Raises:
            AirflowFailException: the job may not run.
        """
        from airflow_s3batch.core.control.confirm import answer

        try:
            self.in_s3(access, job.spec.limits, lambda s3, _: answer(job, s3, approved=approved, by=by))
        except JobConflict as error:
            raise AirflowFailException(str(error)) from None
        if not approved:
            raise AirflowFailException(
                f"job {job.job_id} is Cancelled: {by} has refused it. Nothing is touched; clear this task to ask again"
            )

    def _confirmed(self, context: Context, job: Job, *, by: str | None) -> dict[str, Any]:
        context["ti"].xcom_push("job", self.job)
        return {"job_id": job.job_id, "confirmed_by": by}


def _question(told: Estimate) -> str:
    described = f"{printable(told.description, _DESCRIPTION_SHOWN)}: " if told.description else ""
    return f"{described}{told.operation} on {counted(told.objects, 'object')}?"


def _is_wait(timeout: object) -> bool:
    return timeout is None or (isinstance(timeout, timedelta) and timeout > timedelta(0))


def _in_words(time: timedelta) -> str:
    days = time.days
    return f"{days} days" if days > 1 else duration(time.total_seconds())
