"""An operation of an author's: a class in a module of its own is all that a job needs."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from airflow_s3batch import ObjectFailed, RequestOperation, StepsOperation
from airflow_s3batch.core import engine
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.job import JobSpec
from airflow_s3batch.core.operations import operation_from_aws
from airflow_s3batch.core.operations.base import with_version
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.flights import entries, fly, to
from tests.core.scripted import spec
from tests.servers import ScriptedServer, answer


class Hold(RequestOperation):
    """One request an object."""

    aws_name: ClassVar[str] = "TestHold"

    status: str
    reasons: dict[str, str]

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        about = with_version({"Bucket": bucket, "Key": key}, version)
        return "PutObjectLegalHold", {**about, "LegalHold": {"Status": self.status}}


class Weigh(StepsOperation):
    """A look at an object."""

    aws_name: ClassVar[str] = "TestWeigh"

    most: int = 5

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        size = (await s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key))["ContentLength"]
        if size > self.most:
            raise ObjectFailed("TooHeavy", f"{size} bytes")
        return f"{size} bytes"


@pytest.mark.parametrize("operation", [Hold(status="ON", reasons={"a": "b"}), Weigh(), Weigh(most=7)])
def test_fields_are_what_the_job_knows_it_by(operation: Any) -> None:
    asked = JobSpec.from_aws({**spec().to_aws(), "Operation": operation.to_aws()})

    assert asked.operation == operation == operation_from_aws(operation.to_aws())
    assert asked.to_aws()["Operation"] == {operation.aws_name: operation.model_dump()}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"TestWeigh": {"least": 1}}, "Weigh: unknown least; known are most"),
        ({"TestWeigh": {"most": "many"}}, "Weigh: most: .*valid integer"),
        ({"TestHold": {}}, "Hold: status: Field required; reasons: Field required"),
        ({"TestNowhere": {}}, "'TestNowhere' is not an operation; known are"),
    ],
)
def test_wrong_parameter_is_an_error_that_names_it(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        operation_from_aws(asked)


def test_name_of_ours_cannot_be_taken() -> None:
    with pytest.raises(InvalidInput, match="S3PutObjectTagging is PutObjectTagging's name; give it another aws_name"):

        class Mine(StepsOperation):
            aws_name: ClassVar[str] = "S3PutObjectTagging"


def test_request_is_sent_about_every_object() -> None:
    with ScriptedServer(lambda _: [answer(200)]) as server:
        outcomes: list[Outcome] = engine.run(fly(to(server.url), entries(["a b", "c"]), Hold(status="ON", reasons={})))

    assert all(outcome.succeeded for outcome in outcomes)
    assert sorted(request.target for request in server.requests) == ["/lake/a%20b?legal-hold", "/lake/c?legal-hold"]


class Returned(StepsOperation):
    """Returns what its class says, or fails with it."""

    aws_name: ClassVar[str] = "TestReturned"
    returned: ClassVar[Any] = ""
    fails: bool = False

    async def perform(self, entry: Entry, s3: S3Calls) -> str:  # noqa: ARG002
        if self.fails:
            raise ObjectFailed("Odd", self.returned)
        return self.returned  # type: ignore[no-any-return] # as an author may


def returned(value: Any, *, fails: bool = False) -> Outcome:
    Returned.returned = value
    with ScriptedServer(lambda _: [answer(200)]) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["a"]), Returned(fails=fails)))
    return outcome


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "Successful"),
        (None, "Successful"),
        ("x" * 1_000, "x" * 1_000),
        ("x" * 1_001, "x" * 999 + "…"),
        ("x" * 6_000_000, "x" * 999 + "…"),
        ("nul \0", r"nul \x00"),
    ],
)
def test_message_of_an_object_is_kept_up_to_a_thousand_characters(value: str | None, message: str) -> None:
    assert returned(value)[1:] == (True, 200, "", message)


@pytest.mark.parametrize(
    ("value", "message"), [("x" * 5_000, "x" * 999 + "…"), (ValueError("no"), "no"), ("\0", r"\x00")]
)
def test_message_of_a_failure_is_a_text_of_up_to_a_thousand_characters(value: Any, message: str) -> None:
    assert returned(value, fails=True)[1:] == (False, 0, "Odd", message)


@pytest.mark.parametrize("value", [0, 7, b"bytes", {"a": 1}])
def test_what_is_no_text_fails_the_object_and_says_so(value: Any) -> None:
    told = (False, 0, "TypeError", f"the operation returned {type(value).__name__}, not a text")
    assert returned(value)[1:] == told


class Nameless(StepsOperation):
    """Has been forgotten a name."""

    most: int = 5


def test_class_without_a_name_is_told_to_have_one_when_it_is_used() -> None:
    with pytest.raises(
        InvalidInput, match=r"^Nameless: the class has no name; give it one, as aws_name: ClassVar\[str"
    ):
        Nameless()


def test_parameters_are_given_by_keyword() -> None:
    with pytest.raises(InvalidInput, match=r"^Weigh takes its parameters by keyword: most="):
        Weigh(*[3])


def test_steps_decide_about_every_object() -> None:
    def script(request: Any) -> list[bytes]:
        return [answer(200, headers={"content-length": "9" if request.path == "/lake/heavy" else "3"})]

    with ScriptedServer(script) as server:
        outcomes: list[Outcome] = engine.run(fly(to(server.url), entries(["light", "heavy"]), Weigh()))

    assert {outcome.entry.key: outcome[1:] for outcome in outcomes} == {
        "light": (True, 200, "", "3 bytes"),
        "heavy": (False, 0, "TooHeavy", "9 bytes"),
    }
