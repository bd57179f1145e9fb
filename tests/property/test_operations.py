"""Laws of operations: what can be written can be told in AWS's words, and is read back from them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import botocore.session
import botocore.validate
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.operations import (
    CopyObject,
    DeleteObjectTagging,
    Grant,
    Operation,
    PutObjectAcl,
    PutObjectTagging,
    RequestOperation,
    RestoreObject,
    operation_from_aws,
)

JOB_OPERATION = botocore.session.Session().get_service_model("s3control").shape_for("JobOperation")

TAG_TEXT = st.text(st.sampled_from("abcXYZ0189 _.:/=+-@äß日本ж"), max_size=40)
TAGS = st.dictionaries(TAG_TEXT.filter(lambda key: key and not key.lower().startswith("aws:")), TAG_TEXT, max_size=10)
HEADERS = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="{"), min_size=1, max_size=40
)
NAMES = st.text(st.sampled_from("abc-_0"), min_size=1, max_size=10)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001
WORDS = {
    "permission": ["FULL_CONTROL", "READ", "READ_ACP", "WRITE_ACP"],
    "acl": ["private", "public-read", "bucket-owner-full-control"],
    "class": ["STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA"],
}

GRANTS = st.builds(
    lambda permission, kind, who: Grant(permission, **{kind: who}),
    st.sampled_from(WORDS["permission"]),
    st.sampled_from(["id", "email", "uri"]),
    st.text(st.sampled_from("abc@.:/"), min_size=1, max_size=20),
)
ACLS = st.builds(PutObjectAcl, st.sampled_from(WORDS["acl"])) | st.builds(
    lambda grants, owner: PutObjectAcl(grants=grants, owner=owner), st.lists(GRANTS, min_size=1, max_size=5), NAMES
)


@st.composite
def copies(draw: st.DrawFn) -> CopyObject:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "target_prefix": st.text(min_size=1, max_size=20).filter(lambda text: "{" not in text),
        "storage_class": st.sampled_from(WORDS["class"]),
        "metadata": st.dictionaries(NAMES, HEADERS, max_size=5),
        "cache_control": HEADERS,
        "content_disposition": HEADERS,
        "content_encoding": HEADERS,
        "content_language": HEADERS,
        "content_type": HEADERS,
        "expires": MOMENTS,
        "tags": TAGS,
        "legal_hold": st.sampled_from(["ON", "OFF"]),
        "checksum_algorithm": st.sampled_from(["CRC32", "SHA256", "CRC64NVME"]),
        "modified_since": MOMENTS,
        "unmodified_since": MOMENTS,
        "redirect_location": HEADERS.map(lambda text: f"/{text}"),
        "requester_pays": st.booleans(),
    }
    together: list[dict[str, st.SearchStrategy[Any]]] = [
        {"encryption": st.just("AES256")},
        {"encryption": st.just("KMS"), "kms_key_id": HEADERS, "bucket_key_enabled": st.booleans()},
        {"lock_mode": st.sampled_from(["GOVERNANCE", "COMPLIANCE"]), "lock_retain_until": MOMENTS},
        {"canned_acl": st.sampled_from(WORDS["acl"])},
        {"grants": st.lists(GRANTS, max_size=5)},
        {},
    ]
    target = draw(st.sampled_from(["target", "arn:aws:s3:::target", "arn:aws-cn:s3:::target"]))
    chosen = draw(st.sets(st.sampled_from(sorted(optional))))
    strategies = {name: optional[name] for name in chosen} | draw(st.sampled_from(together))
    arguments: dict[str, Any] = {name: draw(strategy) for name, strategy in sorted(strategies.items())}
    return CopyObject(target, **arguments)


OPERATIONS = (
    st.builds(PutObjectTagging, TAGS)
    | st.builds(DeleteObjectTagging)
    | ACLS
    | st.builds(RestoreObject, st.none() | st.integers(1, 10_000), tier=st.sampled_from(["BULK", "STANDARD"]))
    | copies()
)


@given(OPERATIONS)
def test_an_operation_is_read_back_from_its_json(operation: Operation) -> None:
    assert operation_from_aws(json.loads(json.dumps(operation.to_aws()))) == operation


@given(OPERATIONS)
def test_an_operations_json_is_a_job_operation_of_awss_model(operation: Operation) -> None:
    assert botocore.validate.ParamValidator().validate(operation.to_aws(), JOB_OPERATION).generate_report() == ""


@given(OPERATIONS, st.text(min_size=1, max_size=20), st.none() | NAMES)
def test_a_request_looks_into_neither_key_nor_version(
    operation: RequestOperation, key: str, version: str | None
) -> None:
    _, compiled = operation.request("source", "\ue000", "\ue001" if version is not None else None)
    filled = json.dumps(compiled, ensure_ascii=False, sort_keys=True)
    filled = filled.replace("\ue000", json.dumps(key, ensure_ascii=False)[1:-1]).replace("\ue001", str(version))

    assert json.dumps(operation.request("source", key, version)[1], ensure_ascii=False, sort_keys=True) == filled
