"""InvokeLambda: have an AWS Lambda function do something to every object."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import quote

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, Unreachable, printable
from airflow_s3batch.core.operations.base import RUNNING_JOB, StepsOperation
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Text, WholeNumber, known_arguments, one_of

__all__ = ["InvokeLambda"]

# The s3control model's UserArguments: https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_LambdaInvokeOperation.html
_ARGUMENTS_MOST, _NAME_MOST, _VALUE_MOST = 10, 64, 1024
_SUCCEEDED, _TEMPORARY, _PERMANENT = "Succeeded", "TemporaryFailure", "PermanentFailure"
# The s3control model's FunctionArnString, but that the region may be any.
_FUNCTION = re.compile(
    r"(arn:aws[A-Za-z-]*:lambda:)?([a-z0-9-]+:)?([0-9]{12}:)?(function:)?[A-Za-z0-9_-]+(:(\$LATEST|[A-Za-z0-9_-]+))?"
)
_REDRIVES_MOST = 100
_DELAY_MOST = 60.0
_SHOWN = 1_000
_ANSWERED = 200
# The engine's codes where an invocation was sent and no answer came; and what to say, if not the engine's message.
_UNANSWERED = {
    "RequestTimeout": "no answer in time; see Limits.read_timeout",
    "ConnectionReset": "",
    "InvalidResponse": "",
}


def _check_function(function: str) -> str:
    if is_template(function) or _FUNCTION.fullmatch(function):
        return function
    raise InvalidInput(f"{printable(repr(function))} is neither a Lambda function's name nor its ARN")


def _check_arguments(arguments: dict[str, str]) -> dict[str, str]:
    if len(arguments) > _ARGUMENTS_MOST:
        raise InvalidInput(f"{len(arguments)} user arguments; AWS allows {_ARGUMENTS_MOST}")
    for name, value in arguments.items():
        if not is_template(name) and not 1 <= len(name) <= _NAME_MOST:
            raise InvalidInput(f"{printable(repr(name))} has {len(name)} characters; AWS takes 1 to {_NAME_MOST}")
        if not is_template(value) and len(value) > _VALUE_MOST:
            raise InvalidInput(
                f"{printable(repr(name))}: its value has {len(value)} characters; AWS takes {_VALUE_MOST}"
            )
    return arguments


class InvokeLambda(StepsOperation):
    """Invoke a Lambda function with every object: ``InvokeLambda("arn:aws:lambda:…:function:thumbnail")``.

    The function gets what AWS's batch jobs send, one task an invocation, and answers as it would them: its
    resultString is the row's message. What it calls a TemporaryFailure is tried again, `redrives` times.

    Args:
        function: name or ARN, of a version or an alias as well.
        schema_version: of what the function is sent: ``1.0``, or ``2.0`` with the bucket's name instead of its ARN.
        user_arguments: up to ten texts that the function is sent; need schema version 2.0, which is then the default.
        redrives: how often an object is tried again after a temporary failure; AWS doesn't say how often it does.
        redrive_delay: seconds before the first of these; every further one waits twice as long, up to a minute.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-invoke-lambda.html
    """

    aws_name: ClassVar[str] = "LambdaInvoke"
    most_at_once: ClassVar[int] = 1_000

    function: Annotated[Text, Field(max_length=1024), AfterValidator(_check_function)]
    schema_version: Annotated[Text, one_of("1.0", "2.0")]
    user_arguments: Annotated[dict[Text, Text], AfterValidator(_check_arguments)]
    redrives: WholeNumber
    redrive_delay: Annotated[float, Field(ge=0.0, le=_DELAY_MOST)]

    def __init__(
        self,
        function: str,
        *,
        schema_version: str | None = None,
        user_arguments: Mapping[str, str] | None = None,
        redrives: int | str = 3,
        redrive_delay: float = 1.0,
    ) -> None:
        super().__init__(
            function=function,
            schema_version=schema_version or ("2.0" if user_arguments else "1.0"),
            user_arguments=user_arguments or {},
            redrives=redrives,
            redrive_delay=redrive_delay,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.user_arguments and self.schema_version == "1.0":
            raise InvalidInput("user_arguments need schema_version 2.0")
        if isinstance(self.redrives, int) and not 0 <= self.redrives <= _REDRIVES_MOST:
            raise InvalidInput(f"redrives={self.redrives}; it takes 0 to {_REDRIVES_MOST}")
        return self

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002
        """One invocation."""
        return [("lambda:Invoke", {"FunctionName": self.function, "Payload": b"{}"})]

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Invoke the function until it succeeds, fails for good, or the redrives are used up."""
        delay = self.redrive_delay
        for left in range(int(self.redrives), -1, -1):
            try:
                code, message = await self._invoked(entry, s3, left)
            except Unreachable as error:
                if error.code not in _UNANSWERED:
                    raise
                # It may have run to its end: whether it may run again is for the redrives to say.
                code, message = _TEMPORARY, _UNANSWERED[error.code] or error.message
            if code == _SUCCEEDED:
                return message
            if code == _PERMANENT or not left:
                break
            await asyncio.sleep(delay)
            delay = min(2 * delay, _DELAY_MOST)
        raise ObjectFailed(code, message, _ANSWERED)

    async def _invoked(self, entry: Entry, s3: S3Calls, left: int) -> _Result:
        task_id = _as_id(f"{entry.row}")
        sent = {
            "invocationSchemaVersion": self.schema_version,
            "invocationId": _as_id(f"{entry.row}.{left}"),
            "job": self._job(),
            "tasks": [{"taskId": task_id, **self._about(entry)}],
        }
        answer = await s3.call("lambda:Invoke", FunctionName=self.function, Payload=json.dumps(sent).encode())
        payload = bytes(answer.get("Payload") or b"")
        if answer.get("FunctionError"):
            told = printable(payload.decode("utf-8", "replace"), _SHOWN)
            return _Result(_PERMANENT, f"Lambda returned function error: {told}")
        return _result(payload, task_id) or _Result(_PERMANENT, "Invalid JSON returned in Lambda payload")

    def _job(self) -> dict[str, Any]:
        job: dict[str, Any] = {"id": RUNNING_JOB.get()}
        return {**job, "userArguments": self.user_arguments} if self.user_arguments else job

    def _about(self, entry: Entry) -> dict[str, Any]:
        about = {"s3Key": quote(entry.key, safe="/"), "s3VersionId": entry.version}
        if self.schema_version != "1.0":
            return {**about, "s3Bucket": entry.bucket}
        arn, partition, *_ = [*self.function.split(":"), ""]
        return {**about, "s3BucketArn": f"arn:{partition if arn == 'arn' else 'aws'}:s3:::{entry.bucket}"}

    def arguments(self) -> dict[str, Any]:
        """AWS's LambdaInvokeOperation, and our Redrives and RedriveDelay."""
        arguments: dict[str, Any] = {"FunctionArn": self.function, "InvocationSchemaVersion": self.schema_version}
        if self.user_arguments:
            arguments["UserArguments"] = self.user_arguments
        return {**arguments, "Redrives": self.redrives, "RedriveDelay": self.redrive_delay}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's LambdaInvokeOperation, with or without our Redrives and RedriveDelay."""
        known = {"FunctionArn", "InvocationSchemaVersion", "UserArguments", "Redrives", "RedriveDelay"}
        known_arguments(cls.__name__, arguments, known)
        return cls(
            arguments.get("FunctionArn", ""),
            schema_version=arguments.get("InvocationSchemaVersion"),
            user_arguments=arguments.get("UserArguments"),
            redrives=arguments.get("Redrives", 3),
            redrive_delay=arguments.get("RedriveDelay", 1.0),
        )


class _Result(NamedTuple):
    code: str
    message: str


def _result(payload: bytes, task_id: str) -> _Result | None:
    """What the function says about the task, None if it doesn't speak as it should."""
    try:
        told = json.loads(payload)
        results = [result for result in told["results"] if result["taskId"] == task_id]
        if results:
            code, message = results[0]["resultCode"], results[0].get("resultString")
        else:
            code, message = told.get("treatMissingKeysAs", _TEMPORARY), "Lambda returned no result for the task"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if code not in (_SUCCEEDED, _TEMPORARY, _PERMANENT):  # no set: a list, say, has no hash
        return None
    return _Result(code, "" if message is None else str(message))


def _as_id(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
