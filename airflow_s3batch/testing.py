r"""`MemoryS3`: a small S3 in memory, for tests of what is built on this package.

It stands wherever the package takes an `S3Calls`: prepare, the manifests, the job's folder and the report run on it
without a server, an endpoint or credentials::

    s3 = MemoryS3("lake")
    s3.put("lake", "manifest.csv", b"lake,a.parquet\nlake,b.parquet\n")
    manifest = await CsvManifest("s3://lake/manifest.csv").pin(s3)
    assert s3.actions == ["GetObject"]

It is as strict as S3 about conditions, ranges and versions, and refuses parameters it would have to ignore.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Any, ClassVar, NamedTuple, TypeAlias

from airflow_s3batch.core.errors import InvalidInput, S3Error

__all__ = ["Call", "MemoryS3"]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_STATUS = {
    "AccessDenied": 403,
    "InvalidRange": 416,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchVersion": 404,
    "PreconditionFailed": 412,
}
_MESSAGES = {
    "AccessDenied": "Access Denied",
    "InvalidRange": "The requested range is not satisfiable",
    "MethodNotAllowed": "The specified method is not allowed against this resource.",
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchKey": "The specified key does not exist.",
    "NoSuchVersion": "The specified version does not exist.",
    "PreconditionFailed": "At least one of the pre-conditions you specified did not hold",
}
# An answer to HEAD has no body, so that only the status is left of S3's code.
_BARE = {403: "AccessDenied", 404: "NotFound", 405: "MethodNotAllowed", 412: "PreconditionFailed"}


class Call(NamedTuple):
    """A call that was made."""

    action: str
    parameters: dict[str, Any]


class _Stored(NamedTuple):
    version: str
    body: bytes | None
    """None for a delete marker."""
    etag: str
    modified: datetime


_Bucket: TypeAlias = dict[str, list[_Stored]]
_Action: TypeAlias = "Callable[[MemoryS3, _Bucket, dict[str, Any]], dict[str, Any]]"


class _Refusal(Exception):
    """S3's code for why a call is refused."""


class MemoryS3:
    """Buckets in memory, behind the promise of `S3Calls`.

    Implements HeadBucket, GetBucketVersioning, HeadObject, GetObject, PutObject, DeleteObject, ListObjectsV2 and
    ListObjectVersions, with ranges, ``IfMatch``, ``IfNoneMatch="*"`` and versions. Errors are `S3Error` with S3's own
    codes.

    Args:
        buckets: the buckets that exist.
        versioned: those among them that keep versions (others answer without a VersionId).
        forbidden: buckets about which every call is refused (403 AccessDenied).
        before: called with every call before it is carried out; what it raises, the call raises.
        account: the account that owns the buckets: calls that expect another owner are refused (403 AccessDenied).
        page_size: most keys a page of a listing.
        now: the clock for LastModified.
    """

    def __init__(
        self,
        *buckets: str,
        versioned: Collection[str] = (),
        forbidden: Collection[str] = (),
        before: Callable[[Call], None] | None = None,
        account: str = "123456789012",
        page_size: int = 1000,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._buckets: dict[str, dict[str, list[_Stored]]] = {name: {} for name in (*buckets, *versioned, *forbidden)}
        self._versioned = frozenset(versioned)
        self._forbidden = frozenset(forbidden)
        self._before = before
        self._account = account
        self._page_size = page_size
        self._now = now
        self._written = 0
        self.calls: list[Call] = []
        """Every call so far, in order, refused ones as well."""

    @property
    def actions(self) -> list[str]:
        """The actions called so far, in order."""
        return [call.action for call in self.calls]

    def put(self, bucket: str, key: str, body: bytes | str) -> str:
        """Store an object behind S3's back (no call is recorded); return its ETag, in quotes as S3 writes it."""
        body = body.encode() if isinstance(body, str) else bytes(body)
        return self._add(bucket, key, body).etag

    def get(self, bucket: str, key: str) -> bytes:
        """An object's current body.

        Raises:
            KeyError: there is no such object.
        """
        stored = self._buckets[bucket][key][-1]
        if stored.body is None:
            raise KeyError(key)
        return stored.body

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys that exist in a bucket, in S3's order."""
        found = (key for key, stored in self._buckets[bucket].items() if stored and stored[-1].body is not None)
        return sorted((key for key in found if key.startswith(prefix)), key=str.encode)

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """Carry out an action with boto3's parameters; see `S3Calls.call`.

        Raises:
            S3Error: with S3's status and code.
            InvalidInput: MemoryS3 doesn't know the action, or would have to ignore a parameter.
        """
        call = Call(action, parameters)
        self.calls.append(call)
        if self._before is not None:
            self._before(call)
        do, known = self._actions.get(action, (None, frozenset()))
        if do is None:
            raise InvalidInput(f"MemoryS3 does not know {action}; it knows {', '.join(self._actions)}")
        if unknown := sorted(parameters.keys() - known - {"ExpectedBucketOwner"}):
            raise InvalidInput(f"MemoryS3 would have to ignore {', '.join(unknown)} of {action}")
        try:
            return do(self, self._bucket(parameters), parameters)
        except _Refusal as refusal:
            raise _error(call, str(refusal)) from None

    def _bucket(self, parameters: dict[str, Any]) -> _Bucket:
        name = parameters["Bucket"]
        if name in self._forbidden or parameters.get("ExpectedBucketOwner", self._account) != self._account:
            raise _Refusal("AccessDenied")
        if name not in self._buckets:
            raise _Refusal("NoSuchBucket")
        return self._buckets[name]

    def _add(self, bucket: str, key: str, body: bytes | None) -> _Stored:
        self._written += 1
        version = f"v{self._written}" if bucket in self._versioned else ""
        etag = hashlib.md5(body or b"", usedforsecurity=False).hexdigest()
        stored = _Stored(version, body, f'"{etag}"', self._now())
        history = self._buckets[bucket].setdefault(key, [])
        self._buckets[bucket][key] = [*history, stored] if version else [stored]
        return stored

    def _head_bucket(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - it exists
        return {}

    def _get_bucket_versioning(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {"Status": "Enabled"} if parameters["Bucket"] in self._versioned else {}

    def _head_object(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:
        stored = _find(bucket, parameters)
        return {**_about(stored), "ContentLength": len(stored.body or b"")}

    def _get_object(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:
        stored = _find(bucket, parameters)
        body = stored.body or b""
        answer = _about(stored)
        if wanted := _RANGE.fullmatch(parameters.get("Range", "")):
            start, end = int(wanted[1]), int(wanted[2] or len(body)) + 1
            if start >= len(body):
                raise _Refusal("InvalidRange")
            total, body = len(body), body[start:end]
            answer["ContentRange"] = f"bytes {start}-{start + len(body) - 1}/{total}"
        return {**answer, "Body": body, "ContentLength": len(body)}

    def _put_object(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:
        key, body = parameters["Key"], parameters.get("Body", b"")
        current = next((stored for stored in bucket.get(key, [])[-1:] if stored.body is not None), None)
        if "IfNoneMatch" in parameters and current is not None:
            raise _Refusal("PreconditionFailed")
        if "IfMatch" in parameters and current is None:
            raise _Refusal("NoSuchKey")
        if "IfMatch" in parameters and current is not None and not _matches(current, parameters["IfMatch"]):
            raise _Refusal("PreconditionFailed")
        stored = self._add(parameters["Bucket"], key, body.encode() if isinstance(body, str) else bytes(body))
        return {"ETag": stored.etag, **_version(stored)}

    def _delete_object(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:
        key = parameters["Key"]
        if "VersionId" in parameters:
            bucket[key] = [stored for stored in bucket.get(key, []) if stored.version != parameters["VersionId"]]
            return {"VersionId": parameters["VersionId"]}
        if parameters["Bucket"] in self._versioned:
            return {"DeleteMarker": True, **_version(self._add(parameters["Bucket"], key, None))}
        bucket.pop(key, None)
        return {}

    def _list_objects_v2(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:
        prefix, delimiter = parameters.get("Prefix", ""), parameters.get("Delimiter", "")
        token = parameters.get("ContinuationToken", "")
        after = token or parameters.get("StartAfter", "")
        keys = [key for key in self.keys(parameters["Bucket"], prefix) if key.encode() > after.encode()]
        if delimiter and token.endswith(delimiter):  # a group that the page before ended with
            keys = [key for key in keys if not key.startswith(token)]
        names = list(dict.fromkeys(_rolled(key, prefix, delimiter) for key in keys))
        page = names[: min(parameters.get("MaxKeys", self._page_size), self._page_size)]
        groups = [name for name in page if delimiter and name.endswith(delimiter) and name != prefix]
        contents = [_listed(key, bucket[key][-1]) for key in page if key not in groups]
        answer: dict[str, Any] = {"KeyCount": len(page), "IsTruncated": len(page) < len(names)}
        if contents:  # S3 leaves an empty list out
            answer["Contents"] = contents
        if groups:
            answer["CommonPrefixes"] = [{"Prefix": group} for group in groups]
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = page[-1]
        return answer

    def _list_object_versions(self, bucket: _Bucket, parameters: dict[str, Any]) -> dict[str, Any]:
        prefix, delimiter = parameters.get("Prefix", ""), parameters.get("Delimiter", "")
        marker, version = parameters.get("KeyMarker", ""), parameters.get("VersionIdMarker")
        keys = sorted((key for key in bucket if bucket[key] and key.startswith(prefix)), key=str.encode)
        if delimiter:
            names = dict.fromkeys(_rolled(key, prefix, delimiter) for key in keys if key.encode() > marker.encode())
            groups = [name for name in names if name.endswith(delimiter) and name != prefix]
            return {"IsTruncated": False, "CommonPrefixes": [{"Prefix": group} for group in groups[: self._page_size]]}
        items = [(key, stored) for key in keys if key >= marker for stored in reversed(bucket[key])]
        passed = 0
        while passed < len(items) and items[passed][0] == marker:  # all of them, or those up to the version
            passed += 1
            if (items[passed - 1][1].version or "null") == version:
                break
        items = items[passed:]
        page = items[: min(parameters.get("MaxKeys", self._page_size), self._page_size)]
        answer: dict[str, Any] = {"IsTruncated": len(page) < len(items)}
        for key, stored in page:
            about = {"VersionId": stored.version or "null", "IsLatest": stored is bucket[key][-1]}
            if stored.body is None:
                marked = {"Key": key, "LastModified": stored.modified, **about}
                answer.setdefault("DeleteMarkers", []).append(marked)
            else:
                answer.setdefault("Versions", []).append({**_listed(key, stored), **about})
        if answer["IsTruncated"]:
            answer["NextKeyMarker"], answer["NextVersionIdMarker"] = page[-1][0], page[-1][1].version or "null"
        return answer

    # What does an action, and the parameters it minds, or may pass over since nothing that MemoryS3 answers shows them.
    _actions: ClassVar[dict[str, tuple[_Action, frozenset[str]]]] = {
        "HeadBucket": (_head_bucket, frozenset({"Bucket"})),
        "GetBucketVersioning": (_get_bucket_versioning, frozenset({"Bucket"})),
        "HeadObject": (_head_object, frozenset({"Bucket", "Key", "VersionId", "IfMatch"})),
        "GetObject": (_get_object, frozenset({"Bucket", "Key", "VersionId", "IfMatch", "Range"})),
        "PutObject": (
            _put_object,
            frozenset({"Bucket", "Key", "Body", "IfMatch", "IfNoneMatch", "ContentType", "ContentMD5"}),
        ),
        "DeleteObject": (_delete_object, frozenset({"Bucket", "Key", "VersionId"})),
        "ListObjectsV2": (
            _list_objects_v2,
            frozenset({"Bucket", "Prefix", "Delimiter", "ContinuationToken", "StartAfter", "MaxKeys"}),
        ),
        "ListObjectVersions": (
            _list_object_versions,
            frozenset({"Bucket", "Prefix", "Delimiter", "KeyMarker", "VersionIdMarker", "MaxKeys"}),
        ),
    }


def _find(bucket: _Bucket, parameters: dict[str, Any]) -> _Stored:
    """The version that a read is about, if it is there and fits the condition."""
    history = bucket.get(parameters["Key"], [])
    if "VersionId" in parameters:
        stored = next((one for one in history if (one.version or "null") == parameters["VersionId"]), None)
        if stored is None:
            raise _Refusal("NoSuchVersion")
        if stored.body is None:
            raise _Refusal("MethodNotAllowed")
    elif not history or history[-1].body is None:
        raise _Refusal("NoSuchKey")
    else:
        stored = history[-1]
    if "IfMatch" in parameters and not _matches(stored, parameters["IfMatch"]):
        raise _Refusal("PreconditionFailed")
    return stored


def _matches(stored: _Stored, etag: str) -> bool:
    return etag.strip('"') in {"*", stored.etag.strip('"')}


def _version(stored: _Stored) -> dict[str, Any]:
    return {"VersionId": stored.version} if stored.version else {}


def _about(stored: _Stored) -> dict[str, Any]:
    return {"ETag": stored.etag, "LastModified": stored.modified, **_version(stored)}


def _rolled(key: str, prefix: str, delimiter: str) -> str:
    """The key, or the group it is listed as."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if end < 0 else key[: end + len(delimiter)]


def _listed(key: str, stored: _Stored) -> dict[str, Any]:
    return {"Key": key, "Size": len(stored.body or b""), "ETag": stored.etag, "LastModified": stored.modified}


def _error(call: Call, code: str) -> S3Error:
    resource = f"s3://{call.parameters['Bucket']}/{call.parameters.get('Key', '')}"
    status, message = _STATUS[code], _MESSAGES[code]
    if call.action.startswith("Head"):
        code, message = _BARE[status], f"HTTP status {status} without an S3 error body"
    return S3Error(call.action, resource, status=status, code=code, message=message)
