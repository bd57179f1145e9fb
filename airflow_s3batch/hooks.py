"""`S3BatchHook`: what an Airflow connection says about S3, as the engine takes it; and jobs, in a person's hands."""

from __future__ import annotations

import contextvars
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow.exceptions import AirflowNotFoundException
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk.log import mask_secret
from botocore import UNSIGNED
from botocore.config import Config

from airflow_s3batch.asked import as_report
from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.control.listing import list_jobs
from airflow_s3batch.core.control.turn import change_priority
from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.job import JobStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    import boto3.session
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from botocore.credentials import Credentials as BotoCredentials

    from airflow_s3batch.core.folder.status import JobState
    from airflow_s3batch.core.job import CompletionReport
    from airflow_s3batch.core.limits import Limits

__all__ = ["S3BatchHook"]

T = TypeVar("T")

_HTTP = re.compile(r"https?://[^/]", re.IGNORECASE)


class S3BatchHook(AwsBaseHook):
    """S3 as an ``aws`` connection gives it, and the jobs in it.

    Everything that the amazon provider's hooks read in a connection counts here too. A job is named by its id and by
    the location it was given as its report, ``s3://bucket/prefix`` (or the CompletionReport, or AWS's JobReport); it
    may run anywhere. What can't be done with it now is a `JobConflict` that says why (`NoSuchJob` if there is none).

    Args:
        aws_conn_id: the connection; None for boto3's own way to credentials, region and endpoint. One that doesn't
            exist is an error, unlike with the amazon provider's hooks: who names a connection wants no other identity.
        region_name: instead of the connection's.
        verify: whether to verify TLS certificates, or a file of CA certificates; instead of the connection's.
    """

    def __init__(
        self,
        aws_conn_id: str | None = AwsBaseHook.default_conn_name,
        *,
        region_name: str | None = None,
        verify: bool | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(aws_conn_id, **{**options, "region_name": region_name, "verify": verify, "client_type": "s3"})

    @cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """The connection.

        Raises:
            AirflowNotFoundException: there is none of that name.
        """
        if self.aws_conn_id:
            try:
                self.get_connection(self.aws_conn_id)
            except AirflowNotFoundException:
                raise AirflowNotFoundException(
                    f"connection {printable(self.aws_conn_id)!r} doesn't exist; create it (type aws), name another by "
                    "aws_conn_id, or pass aws_conn_id=None to use the credentials that boto3 finds on the worker"
                ) from None
        return super().conn_config

    def access(self) -> S3Access:
        """What the engine needs. Credentials that expire are renewed for as long as it is used.

        Raises:
            AirflowNotFoundException: the connection doesn't exist.
            InvalidInput: there are no credentials, and the connection doesn't say to go without; or its endpoint is no
                URL.
        """
        session = self.get_session(region_name=self.region_name)
        given = self._given_endpoint("s3")
        # boto3's client merges the connection, the environment and the shared configuration files; it sends nothing.
        meta = session.client("s3", endpoint_url=given, config=self.config, verify=self.verify).meta
        settings, s3, region = meta.config, meta.config.s3 or {}, _region(meta.region_name)
        anonymous = settings.signature_version is UNSIGNED
        return S3Access(
            credentials=_no_credentials if anonymous else _Signers(self._found_credentials(session)),
            region=region,
            endpoint_url=self._endpoint(session, "s3", region),
            lambda_endpoint_url=self._endpoint(session, "lambda", region),
            addressing_style=s3.get("addressing_style") or "auto",
            verify=self._verification(session),
            client_cert=_certificate(settings.client_cert),
            proxies=settings.proxies,
            use_accelerate=bool(s3.get("use_accelerate_endpoint")),
            use_dualstack=bool(s3.get("use_dualstack_endpoint") or settings.use_dualstack_endpoint),
            use_fips=bool(settings.use_fips_endpoint),
        )

    def describe_job(self, job_id: str, report: CompletionReport | str | dict[str, Any]) -> dict[str, Any]:
        """A job as AWS's DescribeJob tells it (its JobDescriptor), with ObjectsPerSecond and SecondsLeft.

        Times are ISO 8601 in UTC. While the job runs, its numbers are a few seconds old.
        """
        return self._with_job(job_id, report, lambda job: job.describe())

    def list_jobs(
        self,
        report: CompletionReport | str | dict[str, Any],
        *,
        statuses: Iterable[JobStatus | str] = (),
        limit: int = 1_000,
    ) -> list[dict[str, Any]]:
        """The jobs whose reports go to this location, as `describe_job` tells them, the newest first.

        As with AWS's ListJobs, those that haven't ended, and those that have in the last 90 days.

        Args:
            report: the location.
            statuses: only jobs in one of these (``"Active"``); empty for all.
            limit: most jobs.
        """
        if isinstance(statuses, str):
            shown = printable(str.__repr__(statuses))  # a JobStatus is a text, too
            raise InvalidInput(f"statuses={shown} is one text; write [{shown}]")
        wanted, place = [_status(status) for status in statuses], as_report(report).place
        return self._in_s3(lambda s3: list_jobs(s3, place, statuses=wanted, limit=limit))

    def pause_job(
        self, job_id: str, report: CompletionReport | str | dict[str, Any], *, reason: str = ""
    ) -> dict[str, Any]:
        """Have a job save what it has done, give its workers' slots back, and wait.

        It is Pausing for the seconds that takes, and then Paused. Needs Airflow's triggerer, in which its tasks wait.

        Returns:
            AWS's answer to UpdateJobStatus: JobId, Status, StatusUpdateReason.
        """
        return _status_update(self._with_job(job_id, report, lambda job: job.pause(reason)))

    def resume_job(
        self, job_id: str, report: CompletionReport | str | dict[str, Any], *, reason: str = ""
    ) -> dict[str, Any]:
        """Let a job that is Paused go on where it was; the answer is that of `pause_job`."""
        return _status_update(self._with_job(job_id, report, lambda job: job.resume(reason)))

    def cancel_job(
        self, job_id: str, report: CompletionReport | str | dict[str, Any], *, reason: str = ""
    ) -> dict[str, Any]:
        """Have a job begin nothing more; its tasks fail, without a retry and with the reason.

        It is Cancelling until its report task has written what ran, and then Cancelled: at once if no partition runs.
        To run it nevertheless, clear its prepare task, too. The answer is that of `pause_job`.
        """
        return _status_update(self._with_job(job_id, report, lambda job: job.cancel(reason)))

    def change_limits(
        self,
        job_id: str,
        report: CompletionReport | str | dict[str, Any],
        *,
        in_flight: int | None = None,
        requests_per_second: float | None = None,
    ) -> Limits:
        """Change how hard a job may drive S3, within seconds and while it runs; return all its limits.

        Args:
            job_id: the job.
            report: the location of its report.
            in_flight: as `Limits` has it; None to leave it as it is.
            requests_per_second: likewise; ``float("inf")`` for no limit.
        """
        return self._with_job(
            job_id,
            report,
            lambda job: job.change_limits(in_flight=in_flight, requests_per_second=requests_per_second),
        )

    def change_priority(
        self, job_id: str, report: CompletionReport | str | dict[str, Any], *, priority: int
    ) -> dict[str, Any]:
        """Change a job's priority, 0 to 2147483647: its place among the jobs at the same report location.

        Partitions that have begun go on. The others of a job that has a lower priority than another now wait in
        Airflow's triggerer while that one runs, a quarter of an hour each at most. Best effort, as AWS's.

        Returns:
            AWS's answer to UpdateJobPriority: JobId, Priority.
        """
        place = as_report(report).place
        self._in_s3(lambda s3: change_priority(s3, place, job_id, priority))
        return {"JobId": job_id, "Priority": priority}

    def _with_job(
        self, job_id: str, report: CompletionReport | str | dict[str, Any], do: Callable[[Controls], Awaitable[T]]
    ) -> T:
        place = as_report(report).place
        return self._in_s3(lambda s3: do(Controls(s3, place, job_id)))

    def _in_s3(self, do: Callable[[S3], Awaitable[T]]) -> T:
        access = self.access()

        async def main() -> T:
            async with S3(access) as s3:
                return await do(s3)

        # In a thread of its own: whoever calls may be inside an event loop.
        with ThreadPoolExecutor(1, "s3batch") as thread:
            return thread.submit(contextvars.copy_context().run, lambda: run(main())).result()

    def _found_credentials(self, session: boto3.session.Session) -> BotoCredentials:
        found: BotoCredentials | None = session.get_credentials()
        if found is None:
            raise InvalidInput(
                f"{self._connection}: it has no credentials, and boto3 finds none on the worker; give the connection a "
                "login and password (access key and secret) or a role; to go without, give it the extra "
                '{"config_kwargs": {"signature_version": "unsigned"}}'
            )
        return found

    @property
    def _connection(self) -> str:
        """As errors call it."""
        return f"connection {printable(self.aws_conn_id)!r}" if self.aws_conn_id else "aws_conn_id=None"

    def _given_endpoint(self, service: Literal["s3", "lambda"]) -> str | None:
        """The connection's own endpoint.

        Raises:
            InvalidInput: it is no URL.
        """
        given: str | None = self.conn_config.get_service_endpoint_url(service)
        if given and not _HTTP.match(given):
            shown = printable(given.rpartition("@")[2])  # a password may stand before
            raise InvalidInput(
                f"{self._connection}: endpoint_url {shown!r} is no URL; write http://host or https://host"
            )
        return given

    def _endpoint(self, session: boto3.session.Session, service: Literal["s3", "lambda"], region: str) -> str | None:
        """Look up what the connection, the environment or a file configures; None where it is Amazon's own."""
        if given := self._given_endpoint(service):
            return given
        amazons = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg] # the stubs lag behind
        configs = (self.config, self.config.merge(amazons))
        found, own = (session.client(service, region, config=config).meta.endpoint_url for config in configs)
        return None if found == own else str(found)

    def _verification(self, session: boto3.session.Session) -> bool | str:
        """Take boto3's order: asked for, the connection's, AWS_CA_BUNDLE or a file's, REQUESTS_CA_BUNDLE."""
        if self.verify is not None:
            return self.verify
        bundle: str | None = session._session.get_config_variable("ca_bundle")  # noqa: SLF001 - no public way
        return bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True


class _Signers:
    """The session's credentials, renewed by botocore when they are about to expire."""

    def __init__(self, source: BotoCredentials) -> None:
        self._source = source
        for secret in self()[1:]:
            if secret:
                mask_secret(secret)

    def __call__(self) -> Credentials:
        frozen = self._source.get_frozen_credentials()
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token)


def _status(status: JobStatus | str) -> JobStatus:
    try:
        return JobStatus(status.capitalize())
    except ValueError:
        known = ", ".join(one.value for one in JobStatus)
        raise InvalidInput(f"{printable(repr(status))} is no job's status; those are {known}") from None


def _status_update(state: JobState) -> dict[str, Any]:
    return {"JobId": state.job_id, "Status": state.status.value, "StatusUpdateReason": state.reason}


def _no_credentials() -> None:
    """Requests go unsigned."""


def _region(name: str | None) -> str:
    # "aws-global" is what botocore calls no region at all; S3 signs that as us-east-1.
    return "us-east-1" if name in {None, "", "aws-global"} else str(name)


def _certificate(given: str | Sequence[str] | None) -> str | tuple[str, str] | None:
    if given is None or isinstance(given, str):
        return given
    certificate, key = given
    return certificate, key
