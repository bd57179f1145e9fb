"""PutObjectRetention and PutObjectLegalHold: what they take, what they send, and which buckets they refuse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import botocore.session
import botocore.validate
import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, S3Error
from airflow_s3batch.core.operations import (
    CopyObject,
    Operation,
    PutObjectLegalHold,
    PutObjectRetention,
    operation_from_aws,
)
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import Outcome
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store
from tests.core.scripted import OWNER, ScriptedEngine, spec
from tests.core.test_operations_wire import XML, body, header, sent
from tests.servers import ScriptedServer, answer, error

UNTIL = "2036-12-31T00:00:00Z"
HOLDS = "EventHold" in botocore.session.Session().get_service_model("s3").shape_for("ObjectLockRetention").members  # type: ignore[attr-defined]
from_newer_botocore = pytest.mark.skipif(not HOLDS, reason="this botocore doesn't know event holds yet")
IN_AWS = [
    (
        PutObjectRetention("GOVERNANCE", UNTIL),
        {"S3PutObjectRetention": {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL}}},
    ),
    (PutObjectRetention(), {"S3PutObjectRetention": {"Retention": {}}}),
    (
        PutObjectRetention(bypass_governance=True),
        {"S3PutObjectRetention": {"Retention": {}, "BypassGovernanceRetention": True}},
    ),
    (
        PutObjectRetention("COMPLIANCE", UNTIL, event_hold="ON", event_hold_days=30),
        {
            "S3PutObjectRetention": {
                "Retention": {
                    "Mode": "COMPLIANCE",
                    "RetainUntilDate": UNTIL,
                    "EventHold": "ON",
                    "EventHoldDuration": {"Days": 30},
                }
            }
        },
    ),
    (
        PutObjectRetention(event_hold="OFF", event_hold_years=7),
        {"S3PutObjectRetention": {"Retention": {"EventHold": "OFF", "EventHoldDuration": {"Years": 7}}}},
    ),
    (PutObjectLegalHold("ON"), {"S3PutObjectLegalHold": {"LegalHold": {"Status": "ON"}}}),
    (PutObjectLegalHold("OFF"), {"S3PutObjectLegalHold": {"LegalHold": {"Status": "OFF"}}}),
]
EITHER = [PutObjectRetention("GOVERNANCE", UNTIL), PutObjectLegalHold("ON")]


@pytest.mark.parametrize(("operation", "aws"), IN_AWS)
def test_it_is_told_in_awss_words_and_read_back(operation: Operation, aws: dict[str, Any]) -> None:
    assert operation.to_aws() == aws
    assert operation_from_aws(json.loads(json.dumps(aws))) == operation


@from_newer_botocore
@pytest.mark.parametrize("aws", [aws for _, aws in IN_AWS])
def test_what_it_tells_is_a_job_operation_of_awss_model(aws: dict[str, Any]) -> None:
    shape = botocore.session.Session().get_service_model("s3control").shape_for("JobOperation")

    assert botocore.validate.ParamValidator().validate(aws, shape).generate_report() == ""


def test_a_date_may_be_a_datetime() -> None:
    at = datetime(2036, 12, 31, tzinfo=timezone.utc)

    assert PutObjectRetention("GOVERNANCE", at) == PutObjectRetention("GOVERNANCE", UNTIL)


def test_templates_are_kept_and_checked_once_rendered() -> None:
    written = PutObjectRetention(
        "{{ params.mode }}",
        "{{ data_interval_end + macros.timedelta(days=365) }}",
        bypass_governance="{{ params.bypass }}",
    )
    rendered = json.dumps(written.to_aws())
    for template, text in {
        "{{ params.mode }}": "GOVERNANCE",
        "{{ data_interval_end + macros.timedelta(days=365) }}": "2036-12-31 00:00:00+00:00",
        "{{ params.bypass }}": "True",
    }.items():
        rendered = rendered.replace(template, text)

    assert operation_from_aws(json.loads(rendered)) == PutObjectRetention("GOVERNANCE", UNTIL, bypass_governance=True)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"mode": "GOVERNANCE"}, "give mode and retain_until, or neither"),
        ({"retain_until": UNTIL}, "give mode and retain_until, or neither"),
        ({"mode": "FOREVER", "retain_until": UNTIL}, "'FOREVER' is none of COMPLIANCE, GOVERNANCE"),
        ({"mode": "GOVERNANCE", "retain_until": "2036-12-31"}, "has no time zone"),
        ({"mode": "GOVERNANCE", "retain_until": "always"}, "'always' is not a date and time"),
        ({"event_hold": "yes"}, "'yes' is none of ON, OFF"),
        ({"event_hold_days": 36_501}, "36501 is not between 1 and 36,500"),
        ({"event_hold_years": 0}, "0 is not between 1 and 100"),
        ({"event_hold_days": 1, "event_hold_years": 1}, "give event_hold_days or event_hold_years, not both"),
        ({"bypass_governance": "perhaps"}, "'perhaps' is neither True nor False"),
    ],
)
def test_a_retention_that_s3_refuses_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"PutObjectRetention: .*{wrong}"):
        PutObjectRetention(**arguments)


@pytest.mark.parametrize(
    ("aws", "wrong"),
    [
        ({"S3PutObjectRetention": {}}, "Retention is missing"),
        ({"S3PutObjectRetention": {"Retention": {"Until": UNTIL}}}, "unknown Until"),
        ({"S3PutObjectRetention": {"Retention": {"EventHoldDuration": {"Weeks": 1}}}}, "unknown Weeks"),
        ({"S3PutObjectLegalHold": {}}, 'write {"LegalHold": {"Status": "ON"}}'),
        ({"S3PutObjectLegalHold": {"LegalHold": {"Status": "MAYBE"}}}, "'MAYBE' is none of ON, OFF"),
        ({"S3PutObjectLegalHold": {"LegalHold": "ON"}}, "is no JSON object of parameters"),
    ],
)
def test_what_is_neither_is_refused(aws: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        operation_from_aws(aws)


@pytest.mark.parametrize(
    ("operation", "written"),
    [
        (
            PutObjectRetention("GOVERNANCE", UNTIL),
            f"<Retention {XML}><Mode>GOVERNANCE</Mode><RetainUntilDate>{UNTIL}</RetainUntilDate></Retention>",
        ),
        (PutObjectRetention(), f"<Retention {XML} />"),
        pytest.param(
            PutObjectRetention(event_hold="OFF"),
            f"<Retention {XML}><EventHold>OFF</EventHold></Retention>",
            marks=from_newer_botocore,
        ),
        pytest.param(
            PutObjectRetention(event_hold_days=30),
            f"<Retention {XML}><EventHoldDuration><Days>30</Days></EventHoldDuration></Retention>",
            marks=from_newer_botocore,
        ),
        (PutObjectLegalHold("ON"), f"<LegalHold {XML}><Status>ON</Status></LegalHold>"),
    ],
)
def test_the_request_is_as_awss_model_writes_it(operation: Any, written: str) -> None:
    request = sent(operation, version="v1")
    what = "retention" if isinstance(operation, PutObjectRetention) else "legal-hold"

    assert request.method == "PUT"
    assert request.url.endswith((f"?{what}&versionId=v1", f"?versionId=v1&{what}"))
    assert body(request) == written
    assert header(request, "x-amz-bypass-governance-retention") is None


def test_governance_is_bypassed_by_a_header() -> None:
    request = sent(PutObjectRetention(bypass_governance=True))

    assert header(request, "x-amz-bypass-governance-retention") == "true"


class Bucket:
    """Answers GetObjectLockConfiguration, and nothing else."""

    def __init__(self, told: dict[str, Any] | S3Error) -> None:
        self._told = told

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        assert (action, parameters) == ("GetObjectLockConfiguration", {"Bucket": "lake"})
        if isinstance(self._told, S3Error):
            raise self._told
        return self._told


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (PutObjectRetention("GOVERNANCE", "2026-11-24T12:00:00Z"), "retain_until"),
        (
            CopyObject("lake", lock_mode="GOVERNANCE", lock_retain_until="2026-11-24T13:00:00+01:00"),
            "lock_retain_until",
        ),
    ],
)
def test_date_that_has_passed_is_refused_before_any_object_is(operation: Operation, field: str) -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)

    with pytest.raises(InvalidInput, match=f"{field}: 2026-11-24T12:00:00Z has passed"):
        asyncio.run(prepared(operation, noon))
    asyncio.run(prepared(operation, noon - timedelta(seconds=1)))


async def prepared(operation: Operation, now: datetime) -> None:
    s3 = Locked()
    s3.put("lake", "manifest.csv", "data,a\n")
    await prepare(spec().model_copy(update={"operation": operation}), s3, owner=OWNER, now=lambda: now)


class Locked(ScriptedEngine):
    """Every bucket has Object Lock."""

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        if action == "GetObjectLockConfiguration":
            return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
        return await super().call(action, **parameters)


def refused(status: int, code: str) -> S3Error:
    return S3Error("GetObjectLockConfiguration", "s3://lake/", status=status, code=code, message="No.")


@pytest.mark.parametrize("operation", EITHER)
def test_a_bucket_with_object_lock_is_taken(operation: Operation) -> None:
    asyncio.run(operation.look("lake", Bucket({"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}})))


@pytest.mark.parametrize("operation", EITHER)
@pytest.mark.parametrize("told", [{}, refused(404, "ObjectLockConfigurationNotFoundError")])
def test_a_bucket_without_object_lock_is_refused(operation: Operation, told: dict[str, Any] | S3Error) -> None:
    with pytest.raises(InvalidInput, match=r"bucket lake has no Object Lock: .*enable versioning and Object Lock"):
        asyncio.run(operation.look("lake", Bucket(told)))


def test_a_bucket_that_does_not_tell_is_an_error() -> None:
    with pytest.raises(S3Error, match="403 AccessDenied"):
        asyncio.run(PutObjectLegalHold("ON").look("lake", Bucket(refused(403, "AccessDenied"))))


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    async def fill(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            await s3.call("CreateBucket", Bucket="plain")
            await s3.call("CreateBucket", Bucket="locked", ObjectLockEnabledForBucket=True)

    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as store:
        engine.run(fill(store))
        yield store


async def locks(s3: S3, key: str) -> dict[str, Any]:
    head = await s3.call("HeadObject", Bucket="locked", Key=key)
    return {name.removeprefix("ObjectLock"): value for name, value in head.items() if name.startswith("ObjectLock")}


async def done(s3: S3, operation: Operation, key: str) -> Outcome:
    running = s3.run(in_lists(entries([key], bucket="locked"), 1), operation)
    (outcome,) = [outcome async for some in running for outcome in some]
    return outcome


def test_a_server_of_others_keeps_what_was_put(store: Store) -> None:
    async def put() -> tuple[Outcome, Outcome, dict[str, Any], Outcome, dict[str, Any]]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            await s3.call("PutObject", Bucket="locked", Key="a b", Body=b"")
            retained = await done(s3, PutObjectRetention("GOVERNANCE", UNTIL), "a b")
            held = await done(s3, PutObjectLegalHold("ON"), "a b")
            under = await locks(s3, "a b")
            released = await done(s3, PutObjectLegalHold("OFF"), "a b")
            return retained, held, under, released, await locks(s3, "a b")

    retained, held, under, released, after = engine.run(put())

    assert retained.succeeded
    assert held.succeeded
    assert released.succeeded
    assert under["LegalHoldStatus"] == "ON"
    assert after["LegalHoldStatus"] == "OFF"
    if store.name == "ministack":  # moto forgets the retention when a hold is put
        assert under["Mode"] == "GOVERNANCE"
        assert under["RetainUntilDate"] == datetime(2036, 12, 31, tzinfo=timezone.utc)


def test_a_server_of_others_removes_a_retention(store: Store) -> None:
    async def removed() -> tuple[Outcome, dict[str, Any]]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            await s3.call("PutObject", Bucket="locked", Key="retained", Body=b"")
            await done(s3, PutObjectRetention("GOVERNANCE", UNTIL), "retained")
            return await done(s3, PutObjectRetention(bypass_governance=True), "retained"), await locks(s3, "retained")

    outcome, after = engine.run(removed())

    if store.name == "ministack":  # wants a mode, where S3 takes an empty retention
        assert (outcome.http_status, outcome.code) == (400, "MalformedXML")
    else:
        assert (outcome.succeeded, after) == (True, {})


@pytest.mark.parametrize("operation", EITHER)
def test_a_server_of_others_tells_which_buckets_have_object_lock(store: Store, operation: Operation) -> None:
    async def look(bucket: str) -> None:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            await operation.look(bucket, s3)

    engine.run(look("locked"))
    with pytest.raises(InvalidInput, match="bucket plain has no Object Lock"):
        engine.run(look("plain"))


@pytest.mark.parametrize("operation", EITHER)
def test_an_object_under_a_stronger_lock_is_an_outcome(operation: Operation) -> None:
    with ScriptedServer(lambda _: [error(403, "AccessDenied", "Object is WORM protected")]) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["key"], version="v1"), operation))

    assert outcome == Outcome(entries(["key"], version="v1")[0], False, 403, "AccessDenied", "Object is WORM protected")


@pytest.mark.parametrize("operation", EITHER)
def test_every_object_is_one_request_with_a_checksum(operation: Operation) -> None:
    with ScriptedServer(lambda _: [answer(200)]) as server:
        outcomes = engine.run(fly(to(server.url), entries(["a b", "naïve"]), operation))

    assert {outcome.succeeded for outcome in outcomes} == {True}
    assert sorted(request.path for request in server.requests) == ["/lake/a%20b", "/lake/na%C3%AFve"]
    # S3 refuses a lock without one of the two.
    assert all(
        request.header("content-md5") or request.header("x-amz-sdk-checksum-algorithm") for request in server.requests
    )
