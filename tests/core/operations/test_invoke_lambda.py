"""InvokeLambda: what the function is sent, what becomes of what it says, and real functions on ministack."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, Unreachable
from airflow_s3batch.core.operations import InvokeLambda, operation_from_aws
from airflow_s3batch.core.operations.base import RUNNING_JOB
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.flights import entries, fly, limits, to
from tests.core.engine.test_stores import wait_for
from tests.servers import Move, Request, ScriptedServer, Step, answer, closed_port

ARN = "arn:aws-cn:lambda:cn-north-1:123456789012:function:thumbnail"
ENTRY = Entry(7, "lake", "a b/日", "v1", "a%20b/%E6%97%A5")


class Function:
    """A Lambda function in memory, behind the promise of `S3Calls`.

    Args:
        says: what it answers to each event: its result, or all of it as bytes; what it raises, the call raises.
    """

    def __init__(self, *says: Any) -> None:
        self.says = list(says)
        self.events: list[dict[str, Any]] = []

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        assert action == "lambda:Invoke"
        event = json.loads(parameters["Payload"])
        self.events.append(event)
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, tuple):
            task_id = event["tasks"][0]["taskId"]
            result = dict(zip(("resultCode", "resultString"), said, strict=False))
            said = json.dumps({"invocationSchemaVersion": "1.0", "results": [{"taskId": task_id, **result}]})
        return said if isinstance(said, dict) else {"StatusCode": 200, "Payload": said.encode()}


def perform(function: Function, operation: InvokeLambda | None = None, entry: Entry = ENTRY) -> str:
    chosen = operation or InvokeLambda("thumbnail", redrives=2, redrive_delay=0.0)
    return asyncio.run(chosen.perform(entry, function))


def test_function_is_sent_what_aws_sends_by_schema_1_0() -> None:
    function = Function(("Succeeded", "done"))
    RUNNING_JOB.set("f3cc4f60-61f6-4a2b-8a21-d07600c373ce")

    assert perform(function, InvokeLambda(ARN)) == "done"
    (event,) = function.events
    (task,) = event.pop("tasks")
    assert base64.b64decode(event.pop("invocationId"), validate=True)
    assert base64.b64decode(task.pop("taskId"), validate=True)
    assert event == {"invocationSchemaVersion": "1.0", "job": {"id": "f3cc4f60-61f6-4a2b-8a21-d07600c373ce"}}
    assert task == {"s3Key": "a%20b/%E6%97%A5", "s3VersionId": "v1", "s3BucketArn": "arn:aws-cn:s3:::lake"}


def test_function_is_sent_what_aws_sends_by_schema_2_0() -> None:
    function = Function(("Succeeded", ""))

    assert perform(function, InvokeLambda("thumbnail", user_arguments={"k1": "v1"}), ENTRY._replace(version=None)) == ""
    (event,) = function.events
    (task,) = event["tasks"]
    assert (event["invocationSchemaVersion"], event["job"]["userArguments"]) == ("2.0", {"k1": "v1"})
    assert {name: task[name] for name in task if name != "taskId"} == {
        "s3Key": "a%20b/%E6%97%A5",
        "s3VersionId": None,
        "s3Bucket": "lake",
    }


def test_bucket_of_a_function_without_an_arn_is_amazons() -> None:
    function = Function(("Succeeded", ""))
    perform(function)

    assert function.events[0]["tasks"][0]["s3BucketArn"] == "arn:aws:s3:::lake"


def test_temporary_failure_is_tried_again_as_another_invocation() -> None:
    function = Function(("TemporaryFailure", "later"), ("TemporaryFailure", "later"), ("Succeeded", "at last"))

    assert perform(function) == "at last"
    assert len({event["invocationId"] for event in function.events}) == 3
    assert len({event["tasks"][0]["taskId"] for event in function.events}) == 1


NO_RESULT = '{"invocationSchemaVersion": "1.0", "results": []}'


@pytest.mark.parametrize(
    ("says", "code", "message", "times"),
    [
        ([("PermanentFailure", "never")], "PermanentFailure", "never", 1),
        ([("TemporaryFailure", str(at)) for at in range(3)], "TemporaryFailure", "2", 3),
        ([NO_RESULT] * 3, "TemporaryFailure", "Lambda returned no result for the task", 3),
        (
            ['{"treatMissingKeysAs": "PermanentFailure", "results": []}'],
            "PermanentFailure",
            "Lambda returned no result for the task",
            1,
        ),
        (
            [{"FunctionError": "Unhandled", "Payload": b'{"errorMessage":"timed out after 3.00 seconds"}'}],
            "PermanentFailure",
            'Lambda returned function error: {"errorMessage":"timed out after 3.00 seconds"}',
            1,
        ),
        (
            [Unreachable("Invoke", "f", status=0, code="RequestTimeout", message="")] * 3,
            "TemporaryFailure",
            "no answer in time; see Limits.read_timeout",
            3,
        ),
    ],
)
def test_failure_is_the_objects(says: list[Any], code: str, message: str, times: int) -> None:
    function = Function(*says)
    with pytest.raises(ObjectFailed) as caught:
        perform(function)

    assert (caught.value.code, caught.value.message, caught.value.http_status) == (code, message, 200)
    assert len(function.events) == times


def test_missing_result_can_count_as_success() -> None:
    assert perform(Function('{"treatMissingKeysAs": "Succeeded", "results": []}')).startswith("Lambda returned no")


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "null",
        "[]",
        '"done"',
        "{",
        "{}",
        '{"results": {"a": 1}}',
        '{"results": [1]}',
        '{"results": [{"taskId": "x"}], "treatMissingKeysAs": "Perhaps"}',
        '{"results": null}',
        json.dumps({"results": [{"taskId": base64.b64encode(b"7").decode()}]}),
        json.dumps({"results": [{"taskId": base64.b64encode(b"7").decode(), "resultCode": "Perhaps"}]}),
        json.dumps({"results": [{"taskId": base64.b64encode(b"7").decode(), "resultCode": ["Succeeded"]}]}),
        '{"results": [], "treatMissingKeysAs": {}}',
        "[" * 100_000,
    ],
)
def test_answer_that_is_not_as_it_should_be_is_a_permanent_failure(payload: str) -> None:
    with pytest.raises(ObjectFailed, match="PermanentFailure: Invalid JSON returned in Lambda payload"):
        perform(Function(payload))


def test_lambda_that_is_away_ends_the_run() -> None:
    with pytest.raises(Unreachable):
        perform(Function(Unreachable("Invoke", "f", status=0, code="ConnectError", message="refused")))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"function": ""}, "'' is neither a Lambda function's name nor its ARN"),
        ({"function": "f/../g"}, "'f/../g' is neither a Lambda function's name nor its ARN"),
        ({"schema_version": "3.0"}, "'3.0' is none of 1.0, 2.0"),
        ({"user_arguments": {"a": "b"}, "schema_version": "1.0"}, "user_arguments need schema_version 2.0"),
        ({"user_arguments": {str(at): "" for at in range(11)}}, "11 user arguments; AWS allows 10"),
        ({"user_arguments": {"": "b"}}, "'' has 0 characters; AWS takes 1 to 64"),
        ({"user_arguments": {"a": "b" * 1025}}, "'a': its value has 1025 characters; AWS takes 1024"),
        ({"redrives": -1}, "redrives=-1; it takes 0 to 100"),
        ({"redrive_delay": 61.0}, "redrive_delay"),
    ],
)
def test_wrong_parameter_is_an_error(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        InvokeLambda(**{"function": "f", **given})


@pytest.mark.parametrize(
    "operation",
    [InvokeLambda("f"), InvokeLambda(ARN, user_arguments={"a": "{{ ds }}"}, redrives=0, redrive_delay=0.5)],
)
def test_aws_words_give_the_same_operation(operation: InvokeLambda) -> None:
    assert operation_from_aws(operation.to_aws()) == operation


def test_aws_own_words_will_do() -> None:
    assert operation_from_aws({"LambdaInvoke": {"FunctionArn": ARN}}) == InvokeLambda(ARN)


# Over HTTP


def flown(url: str, operation: InvokeLambda, keys: list[str], **chosen: Any) -> dict[str, Outcome]:
    outcomes: list[Outcome] = engine.run(fly(to(url), entries(keys), operation, chosen=limits(**chosen)))
    return {outcome.entry.key: outcome for outcome in outcomes}


def succeeds(request: Request) -> list[bytes]:
    result = {"taskId": json.loads(request.body)["tasks"][0]["taskId"], "resultCode": "Succeeded"}
    return [answer(200, json.dumps({"results": [result]}).encode())]


def test_function_is_named_in_the_path_and_its_region_signed() -> None:
    with ScriptedServer(succeeds) as server:
        outcomes = flown(server.url, InvokeLambda(ARN), ["k"])
        (request,) = server.requests

    assert outcomes["k"][1:] == (True, 200, "", "Successful")
    assert (
        request.path
        == "/2015-03-31/functions/arn%3Aaws-cn%3Alambda%3Acn-north-1%3A123456789012%3Afunction%3Athumbnail/invocations"
    )
    assert "/cn-north-1/lambda/aws4_request" in request.header("authorization")


def test_request_is_signed_as_botocore_signs_it() -> None:
    with ScriptedServer(succeeds) as server:
        flown(server.url, InvokeLambda(ARN), ["k"])
        (request,) = server.requests
    signed = request.header("authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    theirs = AWSRequest(
        "POST",
        server.url + request.target,
        headers={name: request.header(name) for name in signed if name not in {"host", "x-amz-date"}},
        data=request.body,
    )
    theirs.context["timestamp"] = request.header("x-amz-date")
    theirs.headers["X-Amz-Date"] = request.header("x-amz-date")
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "lambda", "cn-north-1")

    signature = auth.signature(auth.string_to_sign(theirs, auth.canonical_request(theirs)), theirs)

    assert request.header("authorization").endswith(signature)


def json_error(status: int, code: str, message: str) -> bytes:
    return answer(status, json.dumps({"Type": "User", "message": message}).encode(), {"x-amzn-errortype": code})


def test_throttled_invocation_is_tried_again() -> None:
    throttled = [True, True]

    def script(request: Request) -> list[bytes]:
        if throttled:
            throttled.pop()
            return [json_error(429, "TooManyRequestsException", "Rate Exceeded.")]
        return succeeds(request)

    with ScriptedServer(script) as server:
        assert flown(server.url, InvokeLambda("f"), ["k"])["k"].succeeded
        assert len(server.requests) == 3


def test_function_that_is_not_there_fails_the_object_with_lambdas_words() -> None:
    with ScriptedServer(lambda _: [json_error(404, "ResourceNotFoundException:", "Function not found: f")]) as server:
        outcome = flown(server.url, InvokeLambda("f"), ["k"])["k"]

    assert outcome[1:] == (False, 404, "ResourceNotFoundException", "Function not found: f")


def test_invocation_that_is_not_answered_in_time_is_left_to_the_redrives() -> None:
    with ScriptedServer(lambda _: [Move.STALL]) as server:
        operation = InvokeLambda("f", redrives=1, redrive_delay=0.0)
        outcome = flown(server.url, operation, ["k"], read_timeout=0.2)["k"]

        assert (outcome.code, outcome.message) == ("TemporaryFailure", "no answer in time; see Limits.read_timeout")
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ([Move.RESET], "reset"),
        ([Move.CLOSE], "closed before the answer"),
        ([answer(200, b"{}")[:-1], Move.CLOSE], "closed before the answer"),
        ([b"no HTTP\r\n\r\n"], "not a valid HTTP answer"),
    ],
    ids=["reset", "closed", "cut", "no HTTP"],
)
def test_invocation_whose_answer_is_lost_is_left_to_the_redrives(says: list[Step], told: str) -> None:
    with ScriptedServer(lambda _: says) as server:
        outcome = flown(server.url, InvokeLambda("f", redrives=0), ["k"])["k"]

        assert (outcome.code, told in outcome.message) == ("TemporaryFailure", True), outcome.message
        assert len(server.requests) == 1


# On a server that runs functions

HANDLER = """
import base64
import urllib.parse

def handler(event, context):
    (task,) = event["tasks"]
    key = urllib.parse.unquote_plus(task["s3Key"])
    if key == "raise":
        raise ValueError("no such luck")
    again = base64.b64decode(event["invocationId"]).endswith(b".0")
    where = task.get("s3Bucket") or task["s3BucketArn"]
    if key == "at first":
        key = "at last" if again else "later"
    code, text = {"later": ("TemporaryFailure", "busy"), "never": ("PermanentFailure", "no")}.get(
        key, ("Succeeded", f"{event['job'].get('userArguments')} {where}/{key}"))
    results = [] if key == "forgotten" else [{"taskId": task["taskId"], "resultCode": code, "resultString": text}]
    return {"invocationSchemaVersion": event["invocationSchemaVersion"], "treatMissingKeysAs": "PermanentFailure",
            "invocationId": event["invocationId"], "results": results}
"""


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("ministack")
    port = closed_port()
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3,lambda,iam",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),
    }
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env={**os.environ, **settings}, stdout=log, stderr=log, cwd=folder
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/_ministack/health", process)
        engine.run(create_function(url))
        yield url
    finally:
        process.terminate()
        process.wait()


async def create_function(url: str) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr("code.py", HANDLER)
    async with S3(to(url), limits()) as s3:
        await s3.call(
            "lambda:CreateFunction",
            FunctionName="batch",
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/any",
            Handler="code.handler",
            Code={"ZipFile": code.getvalue()},
        )


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"schema_version": "1.0"}, "None arn:aws:s3:::lake"),
        ({"schema_version": "2.0"}, "None lake"),
        ({"user_arguments": {"size": "128"}}, "{'size': '128'} lake"),
    ],
)
def test_real_function_decides_about_every_object(ministack: str, schema: dict[str, Any], told: str) -> None:
    keys = ["a b", "a+b", "日本", "100%", "at first", "later", "never", "raise", "forgotten"]
    operation = InvokeLambda("batch", **schema, redrives=1, redrive_delay=0.0)
    outcomes = flown(ministack, operation, keys, in_flight=2, read_timeout=30.0)

    assert {key: outcomes[key].message for key in keys[:4]} == {key: f"{told}/{key}" for key in keys[:4]}
    assert outcomes["at first"].message == f"{told}/at last"
    assert outcomes["later"][1:] == (False, 200, "TemporaryFailure", "busy")
    assert outcomes["never"][1:] == (False, 200, "PermanentFailure", "no")
    assert outcomes["forgotten"].code == "PermanentFailure"
    assert outcomes["raise"].code == "PermanentFailure"
    assert outcomes["raise"].message.startswith("Lambda returned function error: {")
    assert "no such luck" in outcomes["raise"].message


def test_function_that_is_not_there_fails_the_object(ministack: str) -> None:
    outcome = flown(ministack, InvokeLambda("absent"), ["k"])["k"]

    assert (outcome.http_status, outcome.code) == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("lambda:Sing", "knows no action 'Sing' of lambda; if AWS has it, install a newer boto3"),
        ("karaoke:Sing", "'karaoke' is no service of AWS's that botocore knows"),
    ],
)
def test_call_that_no_service_knows_is_an_error(action: str, told: str) -> None:
    async def call() -> None:
        async with S3(to("http://127.0.0.1:9"), limits()) as s3:
            await s3.call(action, FunctionName="f")

    with pytest.raises(InvalidInput, match=told):
        engine.run(call())


@pytest.mark.parametrize("function", ["f", "f:$LATEST", "123456789012:function:f", ARN, f"{ARN}:prod"])
def test_invocation_is_as_botocores_model_has_it(function: str) -> None:
    async def check() -> None:
        async with S3(to("http://127.0.0.1:9"), limits()) as s3:
            s3.check(InvokeLambda(function), "lake")

    engine.run(check())


def test_error_of_lambda_without_json_is_told_as_it_is() -> None:
    script = [answer(403, b"no", {"x-amzn-errortype": "AccessDeniedException"})]
    with ScriptedServer(lambda _: script) as server:
        outcome = flown(server.url, InvokeLambda("f"), ["k"])["k"]

    assert outcome[1:] == (False, 403, "AccessDeniedException", "no")
