"""Whatever stands in the place of a parameter in `job.json` or CreateJob's JSON: an operation, or an error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations import (
    ComputeObjectChecksum,
    CopyObject,
    DeleteObjects,
    Grant,
    InvokeLambda,
    MergeObjectTags,
    MoveObject,
    Operation,
    PutObjectAcl,
    PutObjectLegalHold,
    PutObjectRetention,
    PutObjectTagging,
    PythonFunction,
    RestoreObject,
    UpdateObjectEncryption,
    VerifyObject,
    operation_from_aws,
)
from airflow_s3batch.core.rendering import is_template

DATE = "2030-01-01T00:00:00Z"
SOUND: list[Operation] = [
    CopyObject(
        "archive",
        target_prefix="a/",
        strip_prefix="x",
        storage_class="GLACIER",
        metadata={"a": "b"},
        content_type="text/plain",
        expires=DATE,
        tags={"a": "b"},
        annotations="COPY",
        encryption="KMS",
        kms_key_id="k",
        bucket_key_enabled=True,
        lock_mode="GOVERNANCE",
        lock_retain_until=DATE,
        legal_hold="ON",
        event_hold="ON",
        event_hold_days=3,
        grants=[Grant("READ", id="a")],
        checksum_algorithm="SHA1",
        modified_since=DATE,
        redirect_location="/x",
        requester_pays=True,
        overwrite=False,
    ),
    CopyObject("archive", target_key="{1}", key_pattern="(.)", keep_acl=True),
    MoveObject("archive", canned_acl="private"),
    VerifyObject("archive"),
    PutObjectAcl("private"),
    PutObjectAcl(grants=[Grant("READ", uri="http://x")], owner="me"),
    PutObjectTagging({"a": "b"}),
    MergeObjectTags({"a": "b"}, remove=["c"]),
    DeleteObjects(bypass_governance=True, markers_only=True),
    RestoreObject(3),
    PutObjectRetention("GOVERNANCE", DATE, bypass_governance=True, event_hold="ON", event_hold_years=1),
    PutObjectLegalHold("ON"),
    UpdateObjectEncryption("arn:aws:kms:eu-west-1:123456789012:key/1234", bucket_key=True),
    InvokeLambda("f", user_arguments={"a": "b"}),
    ComputeObjectChecksum(),
    PythonFunction("dag_file.check"),
]
ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**70, 1.5, float("nan"), "", "x", "x" * 5_000, "\x00", "\ud800"),
    *([], ["a"], [None], [[]], [{"Key": 1}], [{"Key": "a", "Value": None}], [{"Key": "a"}]),
    *({}, {"a": None}, {"a": 1}, {"": ""}, {"Key": "a"}),
    *("{{ x }}", "{%", "{1", "{x}", "(", "(?P<a>.)(?P<a>.)"),
    *("2030-13-01", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"),
    *("arn:", "arn:aws:s3:::", "arn:aws:s3:::x", "arn:aws:s3:eu-west-1:1:accesspoint/x"),
]


def places(words: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON document."""
    yield place
    for key in words if isinstance(words, dict) else range(len(words)) if isinstance(words, list) else ():
        yield from places(words[key], (*place, key))


def replaced(words: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    changed = words.copy()
    changed[place[0]] = replaced(words[place[0]], place[1:], value)
    return changed


@pytest.mark.parametrize("operation", SOUND, ids=lambda operation: operation.aws_name)
def test_odd_words_are_an_operation_or_are_refused_by_an_error_that_is_ours(operation: Operation) -> None:
    words, taken, refused = operation.to_aws(), 0, 0
    for place in places(words):
        for odd in ODD:
            try:
                built = operation_from_aws(replaced(words, place, odd))
            except InvalidInput:
                refused += 1
                continue
            taken += 1
            again = operation_from_aws(json.loads(json.dumps(built.to_aws())))
            assert again == built, (place, odd)
            if not (isinstance(odd, str) and is_template(odd)):
                built.requests("lake", "k", "v")

    assert taken
    assert refused > taken
