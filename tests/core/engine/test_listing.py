"""A page read without botocore's parser is what botocore would have read."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

import botocore.parsers
import botocore.session
import pytest
from botocore.awsrequest import HeadersDict
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.engine import S3Access
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.engine.listing import take_entries

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}</{0}>'
COMPILER = Compiler(S3Access(), "test")
NAMES = {"ListObjectsV2": "ListBucketResult", "ListObjectVersions": "ListVersionsResult"}
OWNER = "<Owner><ID>75aa57f0</ID><DisplayName>me &amp; you</DisplayName></Owner>"
OBJECT = (
    "<Key>{key}</Key><LastModified>2026-11-24T12:00:00.000Z</LastModified><ETag>&quot;9b2cf5&quot;</ETag>"
    "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>"
    "<ChecksumType>FULL_OBJECT</ChecksumType><Size>434234</Size>" + OWNER + "<StorageClass>STANDARD</StorageClass>"
)
VERSION = "<VersionId>3/L4kqtJlcpXroDTDmpUMLUo</VersionId><IsLatest>{latest}</IsLatest>"
PAGES: dict[str, tuple[str, str]] = {
    "objects": (
        "ListObjectsV2",
        (
            "<Name>lake</Name><Prefix>a%2F</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>%2F</Delimiter>"
            "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
            "<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>"
            f"<Contents>{OBJECT.format(key='a%2Fb+c%0A')}</Contents>\n<Contents>{OBJECT.format(key='a%2Fd')}</Contents>"
            "<CommonPrefixes><Prefix>a%2Fe%2F</Prefix></CommonPrefixes>"
        ),
    ),
    "plain objects": (
        "ListObjectsV2",
        (
            "<Name>lake</Name><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
            f"<Contents>{OBJECT.format(key='a%2Fb+c%0A').replace(OWNER, '')}</Contents>"
            "<Contents><Key>z</Key><LastModified>2026-11-24T12:00:00.000Z</LastModified><ETag>x</ETag>"
            "<Size>0</Size><StorageClass>GLACIER</StorageClass></Contents>"
        ),
    ),
    "entries first": (
        "ListObjectsV2",
        f"<Contents>{OBJECT.format(key='a')}</Contents><Name>lake</Name><IsTruncated>false</IsTruncated>",
    ),
    "nothing": ("ListObjectsV2", "<Name>lake</Name><Prefix/><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"),
    "versions": (
        "ListObjectVersions",
        (
            "<Name>lake</Name><KeyMarker>a%20b</KeyMarker><VersionIdMarker/><NextKeyMarker>a%2Fz</NextKeyMarker>"
            "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
            f"<Version>{OBJECT.format(key='a%2Fb')}{VERSION.format(latest='false')}</Version>"
            f"<DeleteMarker><Key>a%2Fb</Key>{VERSION.format(latest='true')}"
            f"<LastModified>2026-11-24T12:00:01Z</LastModified>{OWNER}</DeleteMarker>"
            f"<Version>{OBJECT.format(key='a%2Fc')}{VERSION.format(latest='true')}</Version>"
        ),
    ),
    # What is read by botocore as a whole:
    "a field that is new": (
        "ListObjectsV2",
        "<Contents><Key>a</Key><RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>",
    ),
    "an odd date": (
        "ListObjectsV2",
        "<Contents><Key>a</Key><LastModified>Tue, 24 Nov 2026 12:00:00 GMT</LastModified></Contents>",
    ),
    "CDATA": ("ListObjectsV2", "<Contents><Key><![CDATA[</Contents>]]></Key></Contents>"),
    "something among the entries": (
        "ListObjectsV2",
        "<Contents><Key>a</Key></Contents><Name>lake</Name><Contents><Key>b</Key></Contents>",
    ),
}


def by_botocore(action: str, body: bytes) -> dict[str, Any]:
    model = botocore.session.Session().get_service_model("s3").operation_model(action)
    answer = {"status_code": 200, "headers": HeadersDict({}), "body": body}
    assert model.output_shape is not None
    parsed: dict[str, Any] = botocore.parsers.create_parser("rest-xml").parse(answer, model.output_shape)
    return parsed


def page(name: str) -> tuple[str, bytes]:
    action, inside = PAGES[name]
    return action, HEAD.format(NAMES[action], inside).encode()


@pytest.mark.parametrize("name", ["objects", "plain objects", "entries first", "nothing", "versions"])
def test_page_is_what_botocore_reads(name: str) -> None:
    action, body = page(name)

    taken = take_entries(action, body)

    assert taken is not None
    assert by_botocore(action, taken.rest) | taken.members == by_botocore(action, body)


@pytest.mark.parametrize("name", ["a field that is new", "an odd date", "CDATA", "something among the entries"])
def test_page_with_something_else_in_it_is_left_to_botocore(name: str) -> None:
    assert take_entries(*page(name)) is None


def test_other_answers_are_left_to_botocore() -> None:
    assert take_entries("ListParts", b"<ListPartsResult/>") is None


def test_keys_of_versions_and_markers_are_decoded() -> None:
    action, body = page("versions")

    parsed = COMPILER.parse(action, 200, [], body)

    assert [version["Key"] for version in parsed["Versions"]] == ["a/b", "a/c"]
    assert [marker["Key"] for marker in parsed["DeleteMarkers"]] == ["a/b"]
    assert (parsed["KeyMarker"], parsed["NextKeyMarker"]) == ("a b", "a/z")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=5))
def test_keys_come_as_they_are(keys: list[str]) -> None:
    entries = "".join(f"<Contents><Key>{escape(quote(key))}</Key><Size>1</Size></Contents>" for key in keys)
    body = HEAD.format("ListBucketResult", f"<EncodingType>url</EncodingType>{entries}").encode()

    parsed = COMPILER.parse("ListObjectsV2", 200, [], body)

    assert [found["Key"] for found in parsed.get("Contents", [])] == keys
