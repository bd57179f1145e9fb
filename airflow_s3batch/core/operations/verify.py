"""VerifyObject: see that every object is what its row of the manifest says, or like its copy; and what tells that."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar

from pydantic import model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3Error, printable
from airflow_s3batch.core.operations.base import StepsOperation, with_version
from airflow_s3batch.core.operations.digests import ALGORITHMS
from airflow_s3batch.core.operations.target_key import Targeted
from airflow_s3batch.core.rows import Entry, FactualEntry
from airflow_s3batch.core.values import Text, known_arguments, one_of

__all__ = ["COLUMNS", "VerifyObject", "compare", "head", "listed"]

_NOT_THERE = 404
_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_CHECKSUMS = {f"checksum_{algorithm.lower()}": f"Checksum{algorithm}" for algorithm in ALGORITHMS}
"""Columns of a manifest, and what HeadObject calls the same."""
_CONTENT = ("e_tag", *_CHECKSUMS)
COLUMNS = ("size", *_CONTENT)
"""What a manifest can tell of an object's content."""
_SIZE_MOST = 1 << 63


async def head(s3: S3Calls, role: str, bucket: str, key: str, version: str | None, **more: str) -> dict[str, Any]:
    """HeadObject's answer, checksums included.

    Raises:
        ObjectFailed: the object isn't there (NoSuchKey, NoSuchVersion); the message says whether it is the source or
            the target.
        S3Error: S3 doesn't tell.
    """
    about = with_version({"Bucket": bucket, "Key": key}, version)
    try:
        return await s3.call("HeadObject", **about, ChecksumMode="ENABLED", **more)
    except S3Error as error:
        if error.status != _NOT_THERE:
            raise
        # S3's code, which an answer to HEAD has no room for.
        code, where = ("NoSuchKey", "") if version is None else ("NoSuchVersion", f" in version {printable(version)}")
        raise ObjectFailed(code, f"the {role} s3://{bucket}/{printable(key)} isn't there{where}", 404) from None


def compare(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], roles: tuple[str, str] = ("source", "target")
) -> str | None:
    """What shows that two objects, by their HeadObject answers, have the same content; None if nothing can.

    Both objects' checksums of the whole decide, or their ETags where these are MD5s. Composite checksums and the ETags
    of uploads in parts depend on the parts, so that only their being equal says something. `ours` may lack the size and
    the ETag. `roles` are what messages call the two.

    Raises:
        ObjectFailed: they differ: SizeMismatch, ChecksumMismatch or ETagMismatch.
    """
    _compare_sizes(ours, theirs, roles)
    for algorithm, one, other in _common_checksums(ours, theirs):
        if one == other:
            return algorithm
        if "-" not in one + other:  # as composite ones have it, before the number of parts
            raise _mismatch("Checksum", algorithm, roles, one, other)
    if "ETag" not in ours:
        return None
    one, other = ours["ETag"].strip('"'), theirs["ETag"].strip('"')
    if one == other:
        return "ETag"
    if _is_md5(ours) and _is_md5(theirs):
        raise _mismatch("ETag", "ETag", roles, one, other)
    return None


def _compare_sizes(ours: Mapping[str, Any], theirs: Mapping[str, Any], roles: tuple[str, str]) -> None:
    one, other = ours.get("ContentLength"), theirs["ContentLength"]
    if one is not None and one != other:
        raise _mismatch("Size", "size", roles, f"{one:,} bytes", f"{other:,}")


def _mismatch(code: str, what: str, roles: tuple[str, str], one: str, other: str) -> ObjectFailed:
    told = f"the {roles[0]}'s {what} is {printable(one)}, the {roles[1]}'s {printable(other)}"
    return ObjectFailed(f"{code}Mismatch", told)


def _common_checksums(source: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, value in source.items():
        if name.startswith("Checksum") and name != "ChecksumType" and name in target:
            yield name.removeprefix("Checksum"), value, target[name]


def _is_md5(head: Mapping[str, Any]) -> bool:
    """Whether the ETag is the content's MD5: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html."""
    plain = head.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in head
    return plain and _MD5.fullmatch(head["ETag"].strip('"')) is not None


class VerifyObject(Targeted, StepsOperation):
    """Verify that every object is what the manifest says, ``VerifyObject()``, or has its copy: ``VerifyObject("new")``.

    The audit after a migration. It reads no content: S3 tells sizes, checksums and ETags (one HeadObject an object, two
    to compare it with its copy). What isn't as it should be fails, with a message that names both values.

    Args:
        target_bucket: name, ARN, or access point ARN of the bucket with the copies.
        target_prefix, target_key, strip_prefix, key_pattern: the copies' keys, as CopyObject made them.
        against: what is compared with the copy: ``source``, the object (the default); or ``manifest``, its columns
            ``size``, ``e_tag`` and ``checksum_sha256`` (or another algorithm), as far as there are such. Without a
            target_bucket these are compared with the object.
        by: ``content`` (the default): sizes, and checksums or ETags; where there are none that can be compared, the
            object fails (ContentNotComparable). ``size``: sizes only.
    """

    aws_name: ClassVar[str] = "S3VerifyObject"

    target_bucket: Text = ""
    against: Annotated[Text, one_of("source", "manifest")] = "source"
    by: Annotated[Text, one_of("content", "size")] = "content"

    def __init__(
        self,
        target_bucket: str | None = None,
        *,
        target_prefix: str = "",
        target_key: str = "",
        strip_prefix: str = "",
        key_pattern: str = "",
        against: str | None = None,
        by: str = "content",
    ) -> None:
        # What is given must be a bucket: a template that rendered to nothing isn't meant to ask for another comparison.
        given = {} if target_bucket is None else {"target_bucket": target_bucket}
        super().__init__(
            **given,
            target_prefix=target_prefix,
            target_key=target_key,
            strip_prefix=strip_prefix,
            key_pattern=key_pattern,
            against=("source" if given else "manifest") if against is None else against,
            by=by,
        )

    @model_validator(mode="after")
    def _check_target_given(self) -> Self:
        if not self.target_bucket and (self.target_prefix or self.target_key or self.strip_prefix):
            raise InvalidInput("target_prefix, target_key and strip_prefix need a target_bucket")
        if not self.target_bucket and self.against == "source":
            raise InvalidInput("against='source' needs a target_bucket: nothing else can be compared with the source")
        return self

    @property
    def manifest_columns(self) -> tuple[str, ...]:
        """What it compares with."""
        if self.against == "source":
            return ()
        return ("size",) if self.by == "size" else COLUMNS

    def check_columns(self, found: Collection[str]) -> None:
        """See that the columns tell what is to be compared."""
        if self.by == "content" and not set(found) & set(_CONTENT):
            raise InvalidInput(
                "the manifest has sizes, but neither ETags (e_tag) nor checksums (checksum_sha256, …); say by='size'"
            )

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """HeadObject of the object, of its copy, or of both."""
        source = with_version({"Bucket": bucket, "Key": key}, version)
        if not self.target_bucket:
            return [("HeadObject", source)]
        target = {"Bucket": self.bucket_in_requests, "Key": self.target_in_request(bucket, key)}
        return [("HeadObject", one) for one in ((target,) if self.against == "manifest" else (source, target))]

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """See that the target's bucket is there, and that this one isn't compared with itself.

        Raises:
            InvalidInput: it isn't, or it would be.
        """
        if self.against == "source" and bucket == self.bucket_in_requests and self.keeps_keys:
            raise InvalidInput(f"target_bucket: every object of {bucket} would be compared with itself")
        await super().look(bucket, s3)

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Compare what is to be compared."""
        theirs = (self.bucket_in_requests, self.target_for(entry), None) if self.target_bucket else entry[1:4]
        if self.against == "manifest":
            role = "target" if self.target_bucket else "object"
            return self._compared(listed(entry), await head(s3, role, *theirs), ("manifest", role))
        source = await head(s3, "source", entry.bucket, entry.key, entry.version)
        return self._compared(source, await head(s3, "target", *theirs), ("source", "target"))

    def _compared(self, ours: Mapping[str, Any], theirs: Mapping[str, Any], roles: tuple[str, str]) -> str:
        if self.by == "size":
            if "ContentLength" not in ours:
                raise ObjectFailed("SizeNotComparable", f"the {roles[0]} tells no size of this object")
            _compare_sizes(ours, theirs, roles)
            return "Same size"
        shown = compare(ours, theirs, roles)
        if shown is None:
            raise ObjectFailed("ContentNotComparable", _not_comparable(ours, theirs, roles))
        return f"Same size and {shown}" if "ContentLength" in ours else f"Same {shown}"

    def arguments(self) -> dict[str, Any]:
        """The operation's parameters, named as AWS names such."""
        target = self.target_arguments() if self.target_bucket else {}
        return {**target, "CompareWith": self.against, "CompareBy": self.by}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from what `arguments` gives."""
        known_arguments(cls.__name__, arguments, cls.target_names() | {"CompareWith", "CompareBy"})
        target = {**cls.target_fields(arguments), "target_bucket": arguments.get("TargetResource")}
        return cls(**target, against=arguments.get("CompareWith"), by=arguments.get("CompareBy", "content"))


def listed(entry: Entry) -> dict[str, Any]:
    """What a row of the manifest says of its object (`COLUMNS`), in the words of a HeadObject answer.

    Raises:
        ObjectFailed: its size is no number.
    """
    facts = entry.facts if isinstance(entry, FactualEntry) else {}
    told: dict[str, Any] = {_CHECKSUMS[name]: _as_s3_tells(fact) for name, fact in facts.items() if name in _CHECKSUMS}
    if "e_tag" in facts:
        told["ETag"] = facts["e_tag"]
    elif "ChecksumMD5" in told and _HEX.fullmatch(facts["checksum_md5"]):
        told["ETag"] = facts["checksum_md5"].lower()  # which is what S3 knows of most objects
    if "size" in facts:
        told["ContentLength"] = _size(facts["size"])
    return told


def _as_s3_tells(checksum: str) -> str:
    """A checksum in base64, as it is or from hexadecimal.

    None can be taken for the other: of as many bytes as checksums have, base64 ends with an equals sign.
    """
    return base64.b64encode(bytes.fromhex(checksum)).decode() if _HEX.fullmatch(checksum) else checksum


def _size(text: str) -> int:
    try:
        size = Decimal(text)  # a column of whole numbers that has gaps is often written as one of floats: 5.0
        if 0 <= size < _SIZE_MOST and size == int(size):
            return int(size)
    except InvalidOperation:
        pass
    raise ObjectFailed("InvalidManifestContent", f"the size in the manifest is {printable(repr(text))}, no number")


def _not_comparable(ours: Mapping[str, Any], theirs: Mapping[str, Any], roles: tuple[str, str]) -> str:
    size = "same size, but " if "ContentLength" in ours else ""
    if "ETag" not in ours:
        return f"{size}no checksum of the {roles[0]} is also the {roles[1]}'s, and the {roles[0]} tells no ETag"
    told = [f"{printable(one['ETag'])} ({_kind(one)})" for one in (ours, theirs)]
    return (
        f"{size}no checksum in common, and ETags that can differ for the same content: {' and '.join(told)}; "
        "compute a checksum of both (ComputeObjectChecksum), or verify by size"
    )


def _kind(head: Mapping[str, Any]) -> str:
    parts = _PARTS.fullmatch(head["ETag"].strip('"'))
    return f"{parts[1]} parts" if parts else str(head.get("ServerSideEncryption", "one part"))
