"""What a botocore may be too old for: it is refused before anything runs, by an error that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import botocore
import botocore.session
import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import CompletionReport, JobSpec, JobStatus
from airflow_s3batch.core.manifest import Objects
from airflow_s3batch.core.operations import (
    CopyObject,
    MoveObject,
    Operation,
    PutObjectRetention,
    UpdateObjectEncryption,
)
from airflow_s3batch.core.prepare import prepare
from tests.core.engine.flights import Naps, limits, to
from tests.core.engine.test_stores import Store, moto
from tests.core.scripted import OWNER

MODEL = botocore.session.Session().get_service_model("s3")
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"
NEWER = [
    (MoveObject("archive"), "CopyObject", "IfNoneMatch"),
    (CopyObject("archive", overwrite=False), "CopyObject", "IfNoneMatch"),
    (CopyObject("archive", annotations="COPY"), "CopyObject", "AnnotationDirective"),
    (CopyObject("archive", event_hold="ON"), "CopyObject", "ObjectLockEventHold"),
    (CopyObject("archive", event_hold_days=3), "CopyObject", "ObjectLockEventHoldDurationDays"),
    (PutObjectRetention(event_hold="ON"), "PutObjectRetention", "EventHold"),
    (UpdateObjectEncryption(KEY), "UpdateObjectEncryption", "ObjectEncryption"),
]


def members(shape: Any) -> set[str]:
    """The names of all that a structure holds, at any depth."""
    inner = getattr(shape, "members", {})
    return {*inner, *(name for member in inner.values() for name in members(member))}


def is_known(action: str, member: str) -> bool:
    return action in MODEL.operation_names and member in members(MODEL.operation_model(action).input_shape)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    async def fill(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            await s3.call("CreateBucket", Bucket="archive")
            await s3.call("CreateBucket", Bucket="newer", ObjectLockEnabledForBucket=True)

    with moto(tmp_path_factory.mktemp("newer")) as store:
        engine.run(fill(store))
        yield store


@pytest.mark.parametrize(("operation", "action", "member"), NEWER)
def test_job_is_prepared_only_with_a_botocore_that_knows_all_of_it(
    store: Store, operation: Operation, action: str, member: str
) -> None:
    spec = JobSpec(
        manifest=Objects(["s3://newer/a"]),
        operation=operation,
        report=CompletionReport("s3://newer/reports"),
    )

    async def preparing() -> tuple[JobStatus, str]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            wrong = ""
            owner = (*OWNER, str(operation.to_aws()))
            try:
                await prepare(spec, s3, owner=owner)
            except InvalidInput as error:
                wrong = str(error)
            state = await JobFolder(s3, spec.report.place, spec.job_id(*owner)).read_state()
            assert state is not None
            return state.status, wrong

    status, wrong = engine.run(preparing())

    if is_known(action, member) and action == "UpdateObjectEncryption":  # which moto doesn't know
        assert status is JobStatus.FAILED
        assert "the store of bucket newer doesn't know UpdateObjectEncryption" in wrong
    elif is_known(action, member):
        assert (status, wrong) == (JobStatus.READY, "")
    else:
        assert status is JobStatus.FAILED
        unknown = member if action in MODEL.operation_names else f"action '{action}'"
        assert re.search(f"botocore {botocore.__version__} knows no {re.escape(unknown)}", wrong)
        assert "if AWS has it, install a newer boto3 on the workers" in wrong
