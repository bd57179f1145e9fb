"""What an author gives to an operator, as the core takes it: the job's report, the whole job, and a job made before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.limits import FailureThreshold, Limits
from airflow_s3batch.core.location import is_template
from airflow_s3batch.core.manifest import Manifest
from airflow_s3batch.core.operations import Operation
from airflow_s3batch.core.values import Value, is_reference

if TYPE_CHECKING:
    from airflow.sdk import XComArg

__all__ = ["as_reference", "as_report", "as_spec", "check_asked"]

_SHOWN = 80
"""Characters of what was given, in errors."""
_WAYS_OUT = {
    "manifest": 'Objects(["s3://bucket/key", …]), or another manifest',
    "operation": 'PutObjectTagging({"tier": "cold"}), or another operation',
}
"""What may also be AWS's JSON, and is rendered."""


def check_asked(*, manifest: Any, operation: Any, limits: Any, threshold: Any) -> None:
    """See, when the DAG file is parsed, that these are of the kinds that a job can be made of; None for none given.

    Raises:
        InvalidInput: one isn't; says what it is, and what to write.
    """
    _check_kind("manifest", manifest, Manifest)
    _check_kind("operation", operation, Operation)
    _check_kind("limits", limits, Limits)
    _check_kind("threshold", threshold, FailureThreshold)


def _check_kind(name: str, given: Any, kind: type[Value]) -> None:
    if given is None or isinstance(given, kind):
        return
    # As AWS's JSON, and what is only known later: a template, or an XComArg.
    templated = isinstance(given, dict) or is_reference(given) or (isinstance(given, str) and is_template(given))
    if templated and name in _WAYS_OUT:
        return
    if isinstance(given, type):
        raise InvalidInput(f"{name}: {given.__name__} is a class; write {given.__name__}(…)")
    fields = ", ".join(f"{field}=…" for field in kind.model_fields)
    instead = _WAYS_OUT.get(name, f"{kind.__name__}({fields})")
    if name == "manifest" and isinstance(given, str):
        instead = f"CsvManifest({printable(json.dumps(given, ensure_ascii=False), _SHOWN)}), or another manifest"
    shown = printable(repr(given), _SHOWN)
    raise InvalidInput(f"{name}={shown} is no {kind.__name__}, but of type {type(given).__name__}; write {instead}")


def as_report(report: CompletionReport | str | dict[str, Any] | XComArg) -> CompletionReport:
    """Return the report that an author means: by its location, as AWS's JobReport, or by the XComArg of a location.

    Raises:
        InvalidInput: it is no place in S3.
    """
    if isinstance(report, CompletionReport):
        return report
    return CompletionReport.from_aws(report) if isinstance(report, dict) else CompletionReport(cast("str", report))


def as_spec(
    manifest: Any,
    operation: Any,
    report: Any,
    *,
    limits: Limits | None,
    threshold: FailureThreshold | None,
    description: str,
    priority: int = 0,
) -> JobSpec:
    """Return the job that an author means, by values and by what rendering made of them.

    Raises:
        InvalidInput: a field is wrong, or holds a template that was never rendered.
    """
    return JobSpec.from_aws(
        {
            "Manifest": _as_aws(manifest),
            "Operation": _as_aws(operation),
            "Report": _as_aws(report),
            "Limits": (limits or Limits()).to_aws(),
            "FailureThreshold": None if threshold is None else threshold.to_aws(),
            "Description": description,
            "Priority": priority,
        }
    )


def _as_aws(value: Any) -> Any:
    return value.to_aws() if isinstance(value, Value) else value


def as_reference(name: str, given: Any, *more: str) -> dict[str, Any]:
    """Return what prepare gave, if it is that.

    Raises:
        InvalidInput: it isn't; names the fields it should have.
    """
    fields = ("job_id", "report", *more)
    if isinstance(given, dict) and all(field in given for field in fields):
        return given
    raise InvalidInput(
        f"{name} must be what S3BatchPrepareOperator gives, with {', '.join(fields)}; got {printable(repr(given))}"
    )
