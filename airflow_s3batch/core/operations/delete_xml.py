"""The bodies of DeleteObjects: which objects are to go, and which of them haven't.

Written and read by hand: botocore's serializer and parser would take most of the time that a deletion takes.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

__all__ = ["Name", "Refusal", "fits", "refusals", "written"]

Name = tuple[str, str | None]
"""An object's key, and the version that is to go (None: the current one)."""
Refusal = tuple[str, str]
"""S3's code and message for why an object hasn't gone."""

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>'
_TAIL = "</Object><Quiet>true</Quiet></Delete>"
# Neither is printable, so that no text that `fits` holds one.
_OBJECT, _VERSION = "\n", "\t"
# The answer when all have gone, as nearly every one is.
_NOTHING = re.compile(rb"\s*(<\?xml[^>]*\?>)?\s*<DeleteResult[^>]*(/>|>\s*</DeleteResult>)\s*")


def fits(texts: Sequence[str]) -> bool:
    """Whether no reader of XML could take one of these keys or versions for another, or for none.

    XML 1.0 can't hold most control characters and changes line ends; readers may strip blanks or drop empty elements.
    """
    return all(texts) and all(map(str.isprintable, texts)) and [*map(str.strip, texts)] == [*texts]


def written(names: Sequence[Name]) -> bytes:
    """The body that asks for these objects to go (all with a version, or none) and to be told of failures only."""
    if names[0][1] is None:
        text, end = _OBJECT.join([key for key, _ in names]), "</Key>"
    else:
        text, end = _OBJECT.join([f"{key}{_VERSION}{version}" for key, version in names]), "</VersionId>"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.replace(_VERSION, "</Key><VersionId>").replace(_OBJECT, f"{end}</Object><Object><Key>")
    return f"{_HEAD}{text}{end}{_TAIL}".encode()


def refusals(answer: bytes) -> dict[Name, Refusal]:
    """The objects that haven't gone, and why; a version is None where the answer names none.

    Raises:
        ValueError: this is no whole answer to DeleteObjects.
    """
    if _NOTHING.fullmatch(answer):
        return {}
    try:
        # The S3 that may delete these objects needs no tricks with XML, and expat stops entities that multiply.
        result = ET.fromstring(answer)  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(f"not a whole XML document: {error}") from None
    if _local(result) != "DeleteResult":
        raise ValueError(f"a document {_local(result)!r} in place of a DeleteResult")
    told = [{_local(field): field.text or "" for field in item} for item in result if _local(item) == "Error"]
    return {
        (one.get("Key", ""), one.get("VersionId") or None): (one.get("Code", ""), one.get("Message", ""))
        for one in told
    }


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
