"""The signature is botocore's, bit for bit, whatever the key."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote

import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_s3batch.core.engine.access import Credentials, S3Access
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.engine.compiled import BLANKS, KEY, VERSION, Compiled, encode_key, encode_keys
from airflow_s3batch.core.engine.signing import Signer
from airflow_s3batch.core.operations.base import TARGET
from tests.core.engine.awkward import AWKWARD

PERMANENT = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = Credentials("ASIAEXAMPLE", "secret/+=", "FwoGZXIvYXdzE//token+with=signs")
STORE = S3Access(endpoint_url="http://127.0.0.1:9000", addressing_style="path")
AMAZON = S3Access(region="eu-central-1")
ANY_KEY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)

ACTIONS: dict[str, dict[str, Any]] = {
    "PutObjectTagging": {"Tagging": {"TagSet": [{"Key": "tier", "Value": "cold & <dry>"}]}},
    "DeleteObjectTagging": {},
    "HeadObject": {"IfMatch": '"an etag"', "RequestPayer": "requester"},
    "RestoreObject": {"RestoreRequest": {"Days": 3, "GlacierJobParameters": {"Tier": "Bulk"}}},
}


class Sent(NamedTuple):
    """A request as its bytes say it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class AuthOfThen(botocore.auth.S3SigV4Auth):
    """botocore's signature, at the instant of another request."""

    def add_auth(self, request: botocore.awsrequest.AWSRequest) -> None:
        self._modify_request_before_signing(request)  # type: ignore[attr-defined]
        canonical = self.canonical_request(request)
        signature = self.signature(self.string_to_sign(request, canonical), request)
        self._inject_signature_to_request(request, signature)  # type: ignore[attr-defined]


def read(wire: bytes) -> Sent:
    head, _, body = wire.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines), "a header was sent twice"
    return Sent(method, target, headers, body)


def authorized_by_botocore(sent: Sent, tls: bool, credentials: Credentials, region: str) -> str:
    ours = {"authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}
    later = {"content-length"}  # botocore adds it once a request is signed
    request = botocore.awsrequest.AWSRequest(
        method=sent.method,
        url=f"{'https' if tls else 'http'}://{sent.headers['host']}{sent.target}",
        headers={name: value for name, value in sent.headers.items() if name not in ours | later},
        data=sent.body,
    )
    request.context["client_config"] = botocore.config.Config(s3={"payload_signing_enabled": True})
    request.context["timestamp"] = sent.headers["x-amz-date"]
    AuthOfThen(botocore.credentials.Credentials(*credentials), "s3", region).add_auth(request)
    for name in ours - {"authorization"}:
        assert sent.headers.get(name) == request.headers.get(name), name
    authorization: str = request.headers["Authorization"]
    return authorization


def compiled(access: S3Access, action: str, **parameters: Any) -> Compiled:
    return Compiler(access, "tests").compile(action, {"Bucket": "lake", "Key": KEY, **parameters})


VERSIONED_TAGGING = compiled(STORE, "PutObjectTagging", VersionId=VERSION, **ACTIONS["PutObjectTagging"])


@pytest.fixture(scope="module", params=[STORE, AMAZON], ids=["path style", "virtual-host style"])
def access(request: pytest.FixtureRequest) -> S3Access:
    chosen: S3Access = request.param
    return chosen


@pytest.mark.parametrize("credentials", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize("version", [None, "null", "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY/MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo"])
@pytest.mark.parametrize("action", ACTIONS)
def test_authorization_is_botocores_for_every_awkward_key(
    access: S3Access, action: str, version: str | None, credentials: Credentials
) -> None:
    versioned = {} if version is None else {"VersionId": VERSION}
    request = compiled(access, action, **ACTIONS[action], **versioned)
    signer = Signer(request, credentials)

    for key in AWKWARD:
        sent = read(signer.wire(key, version or ""))

        assert sent.headers["authorization"] == authorized_by_botocore(
            sent, request.origin.tls, credentials, access.region
        ), key


@pytest.mark.parametrize("version", [None, "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"])
def test_authorization_is_botocores_for_every_awkward_copy_source(access: S3Access, version: str | None) -> None:
    source = {"Bucket": "lake", "Key": KEY} if version is None else {"Bucket": "lake", "Key": KEY, "VersionId": VERSION}
    request = compiled(access, "CopyObject", CopySource=source, StorageClass="STANDARD_IA", Key=TARGET)
    signer = Signer(request, TEMPORARY)

    for key, target in zip(AWKWARD, reversed(AWKWARD), strict=True):
        sent = read(signer.wire(key, version or "", target))

        assert unquote(sent.headers["x-amz-copy-source"].partition("?")[0]) == f"lake/{key}"
        assert unquote(sent.target).endswith(f"/{target}")
        assert sent.headers["authorization"] == authorized_by_botocore(
            sent, request.origin.tls, TEMPORARY, access.region
        ), key


@pytest.mark.parametrize(
    ("action", "name", "value"),
    [
        *(("DeleteObject", "IfMatch", etag) for etag in ('"0123abcd-6"', "*", 'W/"a"', '"=%2F&<>"')),
        ("GetObject", "Range", "bytes=0-1"),
        ("PutObject", "ContentType", "application/json;charset=utf-8"),
        ("UploadPartCopy", "CopySourceRange", "bytes=5-10"),
        ("UploadPartCopy", "UploadId", "VXBs.b2Fk_~-+/="),
        *(("ListObjectsV2", name, "a b+c/é=&~?%2F\n") for name in ("ContinuationToken", "Prefix", "StartAfter")),
        *(("ListObjectVersions", name, "a b+c/é=&~?%2F\n") for name in ("KeyMarker", "Prefix", "VersionIdMarker")),
    ],
)
def test_value_behind_a_placeholder_is_sent_as_botocore_sends_it(
    access: S3Access, action: str, name: str, value: str
) -> None:
    """Signed as botocore signs it, too."""
    about: dict[str, Any] = {} if action.startswith("List") else {"Key": "a b"}
    if action == "UploadPartCopy":
        about |= {"PartNumber": 1, "UploadId": "id", "CopySource": {"Bucket": "lake", "Key": "k"}}
    plain, blank = (
        Compiler(access, "tests").compile(action, {"Bucket": "lake", **about, name: told})
        for told in (value, BLANKS[name].placeholder)
    )

    sent = read(Signer(blank, PERMANENT).wire(values={BLANKS[name].placeholder: value}))

    wanted = read(Signer(plain, PERMANENT).wire())
    assert sent.target == wanted.target
    assert dict(sent.headers, authorization="", **{"x-amz-date": ""}) == dict(
        wanted.headers, authorization="", **{"x-amz-date": ""}
    )
    assert sent.headers["authorization"] == authorized_by_botocore(sent, access is AMAZON, PERMANENT, access.region)


@settings(max_examples=200, deadline=None)
@given(key=ANY_KEY, version=st.text("abcXYZ019+/=._~- %&?", min_size=1, max_size=40))
def test_authorization_is_botocores_for_any_key_and_version(key: str, version: str) -> None:
    sent = read(Signer(VERSIONED_TAGGING, PERMANENT).wire(key, version))

    assert sent.headers["authorization"] == authorized_by_botocore(sent, False, PERMANENT, STORE.region)


@settings(max_examples=200, deadline=None)
@given(key=ANY_KEY)
def test_the_path_is_the_key_encoded_once_and_nothing_else(key: str) -> None:
    target = read(Signer(VERSIONED_TAGGING, None).wire(key, "null")).target.removesuffix("?tagging&versionId=null")

    assert target.isascii()
    assert target.isprintable()
    assert not set(target) & set(' ?#"<>\\^`{|}')
    assert unquote(target) == f"/lake/{key}"


@settings(max_examples=300, deadline=None)
@given(keys=st.lists(ANY_KEY | st.text("ab0=/-\n", max_size=8), max_size=6))
def test_many_keys_are_encoded_as_each_of_them_is(keys: list[str]) -> None:
    assert encode_keys(keys) == [encode_key(key) for key in keys]


def test_awkward_keys_are_all_there() -> None:
    assert len(set(AWKWARD)) == 42


@pytest.mark.parametrize(
    ("access", "host", "path"),
    [
        (STORE, "127.0.0.1:9000", "/lake/a%2Bb/%C3%A9"),
        (S3Access(endpoint_url="https://store.example/"), "store.example", "/lake/a%2Bb/%C3%A9"),
        (S3Access(endpoint_url="https://store.example:9443"), "store.example:9443", "/lake/a%2Bb/%C3%A9"),
        (
            S3Access(endpoint_url="https://store.example", addressing_style="virtual"),
            "lake.store.example",
            "/a%2Bb/%C3%A9",
        ),
        (S3Access(endpoint_url="http://[::1]:9000"), "[::1]:9000", "/lake/a%2Bb/%C3%A9"),
        (S3Access(endpoint_url="http://store.example/s3/v1"), "store.example", "/s3/v1/lake/a%2Bb/%C3%A9"),
        (S3Access(), "lake.s3.us-east-1.amazonaws.com", "/a%2Bb/%C3%A9"),
        (AMAZON, "lake.s3.eu-central-1.amazonaws.com", "/a%2Bb/%C3%A9"),
        (S3Access(addressing_style="path"), "s3.us-east-1.amazonaws.com", "/lake/a%2Bb/%C3%A9"),
        (S3Access(use_dualstack=True), "lake.s3.dualstack.us-east-1.amazonaws.com", "/a%2Bb/%C3%A9"),
        (S3Access(use_fips=True), "lake.s3-fips.us-east-1.amazonaws.com", "/a%2Bb/%C3%A9"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bucket_stands_where_the_addressing_style_says(access: S3Access, host: str, path: str) -> None:
    request = compiled(access, "HeadObject")

    sent = read(Signer(request, PERMANENT).wire("a+b/é"))

    assert (sent.headers["host"], sent.target) == (host, path)
    assert sent.headers["authorization"] == authorized_by_botocore(sent, request.origin.tls, PERMANENT, access.region)


def test_query_is_signed_in_canonical_order_whatever_its_order_on_the_wire() -> None:
    request = Compiler(STORE, "tests").compile(
        "ListObjectsV2",
        {
            "Bucket": "lake",
            "Prefix": "a b+c/é=&",
            "Delimiter": "/",
            "MaxKeys": 7,
            "StartAfter": "~",
            "FetchOwner": True,
        },
    )

    sent = read(Signer(request, PERMANENT).wire())

    assert sent.headers["authorization"] == authorized_by_botocore(sent, False, PERMANENT, STORE.region)


@pytest.mark.parametrize("action", ACTIONS)
def test_anonymous_requests_carry_no_trace_of_a_signature(action: str) -> None:
    sent = read(Signer(compiled(STORE, action, **ACTIONS[action]), None).wire("a b"))

    assert sent.target.startswith("/lake/a%20b")
    assert not {"authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} & set(sent.headers)


@pytest.mark.parametrize("credentials", [PERMANENT, None], ids=["signed", "anonymous"])
def test_body_and_its_length_follow_the_head(credentials: Credentials | None) -> None:
    request = compiled(STORE, "PutObjectTagging", **ACTIONS["PutObjectTagging"])

    sent = read(Signer(request, credentials).wire("k"))

    assert sent.body == request.body
    assert b"cold &amp; &lt;dry&gt;" in sent.body
    assert sent.headers["content-length"] == str(len(sent.body))


def test_put_without_a_body_says_so() -> None:
    sent = read(Signer(compiled(STORE, "PutObject", Body=b""), PERMANENT).wire("k"))

    assert sent.headers["content-length"] == "0"


def test_secrets_show_in_no_repr() -> None:
    assert "secret" not in repr(TEMPORARY)
    assert "token" not in repr(S3Access(credentials=lambda: TEMPORARY))
    assert "token" not in f"{TEMPORARY}"
