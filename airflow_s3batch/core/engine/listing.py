"""The entries of a listing's page, read without botocore.

botocore's parser takes tens of milliseconds for a page of 1,000 keys, which is most of what listing costs; the way here
takes a tenth of that (``benchmarks/listing.py``). It knows the entries that S3 sends, and the plainest of them by a
pattern; a page with anything else among them is left to botocore.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

__all__ = ["Entries", "take_entries"]

_MEMBERS = {
    "ListObjectsV2": {"Contents": "Contents", "CommonPrefixes": "CommonPrefixes"},
    "ListObjectVersions": {
        "Version": "Versions",
        "DeleteMarker": "DeleteMarkers",
        "CommonPrefixes": "CommonPrefixes",
    },
}
"""The element of an entry, and the member of boto3's answer that holds the list of them."""
_BEGIN = re.compile(rb"<(?:Contents|CommonPrefixes|Version|DeleteMarker)>")
_ENDS = (b"</Contents>", b"</CommonPrefixes>", b"</Version>", b"</DeleteMarker>")
_OBJECT = re.compile(
    r"<Contents><Key>([^<&]+)</Key><LastModified>([^<&]+)</LastModified><ETag>([^<]*)</ETag>"
    r"((?:<ChecksumAlgorithm>[^<&]*</ChecksumAlgorithm>)*)(?:<ChecksumType>([^<&]*)</ChecksumType>)?"
    r"<Size>(\d+)</Size><StorageClass>([^<&]*)</StorageClass></Contents>"
)
"""An object as S3 writes it unless it is asked for more."""
_ALGORITHM = re.compile(r"<ChecksumAlgorithm>([^<]*)<")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


_VALUES: dict[str, Callable[[str], Any]] = {
    "ChecksumType": str,
    "ETag": str,
    "IsLatest": lambda text: {"true": True, "false": False}[text],
    "Key": str,
    "LastModified": _moment,
    "Prefix": str,
    "Size": int,
    "StorageClass": str,
    "VersionId": str,
}


class Entries(NamedTuple):
    """A page in two parts."""

    rest: bytes
    """The page without its entries."""
    members: dict[str, list[dict[str, Any]]]
    """The entries, by the members of boto3's answer that hold them; a list that would be empty is left out."""


def take_entries(action: str, body: bytes) -> Entries | None:
    """Take the entries out of a page; None for all that is better left to botocore."""
    names = _MEMBERS.get(action)
    if names is None or b"<!" in body:  # comments and CDATA, in which an entry's end need not be one
        return None
    begin = _BEGIN.search(body)
    if begin is None:
        return Entries(body, {})
    start, end = begin.start(), max(body.rfind(mark) + len(mark) for mark in _ENDS)
    try:
        if (objects := _plain_objects(body[start:end])) is not None:
            return Entries(body[:start] + body[end:], {"Contents": objects})
        members: dict[str, list[dict[str, Any]]] = {}
        for entry in ET.fromstring(b"<all>%b</all>" % body[start:end]):  # noqa: S314 - as botocore reads it
            members.setdefault(names[entry.tag], []).append(_read(entry))
    except (ET.ParseError, KeyError, ValueError):
        return None
    return Entries(body[:start] + body[end:], members)


def _plain_objects(entries: bytes) -> list[dict[str, Any]] | None:
    """The entries, if all of them are objects and as plain as can be."""
    text = entries.decode()
    found = _OBJECT.findall(text)
    if sum(text.count(f"<{name}>") for name in ("Contents", "CommonPrefixes", "Version", "DeleteMarker")) != len(found):
        return None
    objects = []
    for key, modified, etag, algorithms, checksum_type, size, storage_class in found:
        one = {"Key": key, "LastModified": _moment(modified), "ETag": etag.replace("&quot;", '"'), "Size": int(size)}
        if algorithms:
            one["ChecksumAlgorithm"] = _ALGORITHM.findall(algorithms)
        if checksum_type:
            one["ChecksumType"] = checksum_type
        one["StorageClass"] = storage_class
        objects.append(one)
    return objects


def _read(entry: ET.Element) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for field in entry:
        name = field.tag
        if name == "Owner":
            read[name] = {inner.tag: inner.text or "" for inner in field}
        elif name == "ChecksumAlgorithm":
            read.setdefault(name, []).append(field.text or "")
        else:
            read[name] = _VALUES[name](field.text or "")
    return read
