"""What an author gives to an operator: checked when the DAG file is parsed, and made what the core takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.job import DESCRIPTION_MOST, CompletionReport, JobSpec
from airflow_s3batch.core.limits import FailureThreshold, Limits
from airflow_s3batch.core.manifest import Manifest
from airflow_s3batch.core.operations import Operation, RestoreObject, operation_from_aws
from airflow_s3batch.core.rendering import is_template, rendered
from airflow_s3batch.core.values import Value, is_reference, is_templated, require_rendered

if TYPE_CHECKING:
    from airflow.sdk import XComArg

__all__ = [
    "as_reference",
    "as_report",
    "as_spec",
    "check_asked",
    "check_connection",
    "check_flags",
    "check_map_length",
    "check_new_or_old",
    "check_nothing_to_wait_for",
    "check_text",
    "check_whole_or_part",
]

_SHOWN = 80
"""Characters of what was given, in errors."""
_WAYS_OUT = {
    "manifest": 'Objects(["s3://bucket/key", …]), or another manifest',
    "operation": 'PutObjectTagging({"tier": "cold"}), or another operation',
}
"""What may also be AWS's JSON, and is rendered."""


def check_asked(*, manifest: Any, operation: Any, limits: Any, threshold: Any, description: Any) -> None:
    """See, when the DAG file is parsed, that these are of the kinds that a job can be made of; None for none given.

    An operation in AWS's JSON is read if nothing in it has yet to be rendered.

    Raises:
        InvalidInput: one isn't; says what it is, and what to write. Or JSON is wrong.
    """
    _check_kind("manifest", manifest, Manifest)
    _check_kind("operation", operation, Operation)
    _check_kind("limits", limits, Limits)
    _check_kind("threshold", threshold, FailureThreshold)
    check_text("description", description)
    if isinstance(description, str) and not is_template(description) and len(description) > DESCRIPTION_MOST:
        shown = printable(repr(description), _SHOWN)
        raise InvalidInput(f"description={shown} has {len(description):,} characters; at most {DESCRIPTION_MOST}")
    if isinstance(operation, dict) and not is_templated(operation):
        operation_from_aws(operation)


def check_text(name: str, given: Any) -> None:
    """See that it is a text, which may be a template, or what a task returns.

    Raises:
        InvalidInput: it isn't; names it.
    """
    if not (isinstance(given, str) or is_reference(given)):
        shown = printable(repr(given), _SHOWN)
        raise InvalidInput(f"{name}={shown} is no text, but of type {type(given).__name__}; write {name}='…'")


def check_flags(**flags: Any) -> None:
    """See that each is True or False now: no template of it is rendered.

    Raises:
        InvalidInput: one isn't; names it.
    """
    for name, given in flags.items():
        if not isinstance(given, bool):
            shown = printable(repr(given), _SHOWN)
            raise InvalidInput(f"{name}={shown} is neither True nor False; it isn't templated")


def check_connection(*, aws_conn_id: Any, region_name: Any, verify: Any) -> None:
    """See that they can be what an Airflow connection is reached by; None for each that isn't given.

    Raises:
        InvalidInput: one can't; names it.
    """
    for name, given in (("aws_conn_id", aws_conn_id), ("region_name", region_name)):
        if given is not None:
            check_text(name, given)
    is_file = isinstance(verify, str) and verify and not is_template(verify)
    if not (verify is None or isinstance(verify, bool) or is_file):
        wrong = f"verify={printable(repr(verify), _SHOWN)} is neither True, False nor a file of CA certificates"
        raise InvalidInput(f"{wrong}; it isn't templated")


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
    if not (isinstance(report, str | dict) or is_reference(report)):
        shown = f"report={printable(repr(report), _SHOWN)}"
        wrong = f"{shown} is no CompletionReport, but of type {type(report).__name__}"
        raise InvalidInput(f"{wrong}; write 's3://bucket/prefix', or CompletionReport(…)")
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
        InvalidInput: a field is wrong, or a value that was never rendered holds a template.
    """
    told = {
        "Manifest": _as_aws(manifest),
        "Operation": _as_aws(operation),
        "Report": _as_aws(report),
        "Limits": (limits or Limits()).to_aws(),
        "FailureThreshold": None if threshold is None else threshold.to_aws(),
        "Description": description,
        "Priority": priority,
    }
    with rendered():  # names of a task's finding may hold braces, and are taken as they are
        return JobSpec.from_aws(told)


def _as_aws(given: Any) -> Any:
    """What rendering made of a value, which is its JSON; a value itself is not rendered."""
    if not isinstance(given, Value):
        return given
    told = given.to_aws()
    require_rendered(told)
    return told


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


def check_whole_or_part(partition: Any, **whole: Any) -> None:
    """See that S3BatchJobOperator gets a partition, or a whole job, which is manifest, operation and report.

    Raises:
        InvalidInput: it isn't so; says what to write.
    """
    missing = [name for name, value in whole.items() if value is None]
    if partition is None and missing:
        raise InvalidInput(f"S3BatchJobOperator needs a partition, or a whole job: {', '.join(missing)} missing")
    if partition is not None and len(missing) < len(whole):
        raise InvalidInput(
            "S3BatchJobOperator takes a partition or a whole job (manifest, operation, report), not both"
        )


def check_nothing_to_wait_for(operation: Any) -> None:
    """See that the operation of a single task doesn't ask for another task behind it.

    Raises:
        InvalidInput: it isn't so; says what to write.
    """
    if isinstance(operation, RestoreObject) and operation.wait:
        raise InvalidInput(
            "RestoreObject(wait=True) is for s3_batch_job; put an S3BatchRestoreSensor(job=<this task>.output) behind "
            "S3BatchJobOperator instead"
        )


def check_new_or_old(job_id: Any, needed: dict[str, Any], other: dict[str, Any]) -> None:
    """See that a job is new, and has what is needed, or is named by its id, and has nothing of this told anew.

    Args:
        job_id: the id; None for a new job.
        needed: what a new job needs, by its names; None for what isn't given.
        other: what else the job made before has, by its names: what is given of it is true.

    Raises:
        InvalidInput: it isn't so; says what to write.
    """
    missing = [name for name, value in needed.items() if value is None]
    if job_id is None and missing:
        raise InvalidInput(f"a job needs {', '.join(missing)}; or job_id, to run one that was prepared before")
    given = [name for name in needed if name not in missing] + [name for name, value in other.items() if value]
    if job_id is not None and given:
        raise InvalidInput(f"job_id names a job that has its {' and '.join(given)} already: leave that out")


def check_map_length(max_partitions: int) -> None:
    """See that Airflow, as it is configured here, maps a task so often.

    Raises:
        InvalidInput: it isn't so; says what to write.
    """
    from airflow.configuration import conf

    most = conf.getint("core", "max_map_length", fallback=1024)
    if max_partitions > most:
        raise InvalidInput(
            f"max_partitions={max_partitions}, but Airflow maps a task at most {most} times; "
            "lower it, or raise [core] max_map_length"
        )
