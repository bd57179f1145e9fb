"""Where an object's copy is: `Targeted`, the operations with a target bucket and a target key made of the object's own.

A target key is text with places in braces, ``archive/{folder}{name}``. It is no ``str.format``: a place is a name and
nothing else, so that neither a DAG run's parameters nor a key can reach into Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3Error, printable
from airflow_s3batch.core.location import S3Location, check_bucket
from airflow_s3batch.core.operations.base import TARGET, Operation
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Text

__all__ = ["Targeted"]

_NOT_FOUND = 404
_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_ACCESS_POINT = re.compile(r"arn:[^:]+:s3:[^:]*:[^:]+:accesspoint[:/][^:/]+")
_PLACE = re.compile(r"\{([A-Za-z0-9_]+)\}")
_PLACES = ("bucket", "key", "folder", "name", "version")
# Our parameter, and its place in the operation's arguments. TargetKeyPrefix is AWS's, the others are ours.
_ARGUMENTS = {
    "target_prefix": "TargetKeyPrefix",
    "target_key": "TargetKey",
    "strip_prefix": "StripKeyPrefix",
    "key_pattern": "KeyPattern",
}


class Targeted(Operation):
    """An operation about an object and its copy under `target_bucket`.

    The copy's key is the object's own, less `strip_prefix`, behind `target_prefix`; or what `target_key` makes of it.
    """

    if TYPE_CHECKING:  # as in Operation

        def __init__(self, **fields: Any) -> None: ...

    target_bucket: Text
    target_prefix: Annotated[Text, Field(max_length=_KEY_BYTES)] = ""
    target_key: Annotated[Text, Field(max_length=_KEY_BYTES)] = ""
    strip_prefix: Annotated[Text, Field(max_length=_KEY_BYTES)] = ""
    key_pattern: Annotated[Text, Field(max_length=_KEY_BYTES)] = ""

    @field_validator("target_bucket")
    @classmethod
    def _check_target(cls, target: str) -> str:
        if is_template(target):
            return target
        name = target.removeprefix("arn:aws:s3:::")
        if not name.startswith("arn:"):
            return check_bucket(name)
        if not _ACCESS_POINT.fullmatch(name) and S3Location.from_arn(name).key:
            raise InvalidInput(f"{printable(repr(name))} names an object; name its bucket, and use target_prefix")
        return name

    @field_validator("key_pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            groups = () if is_template(pattern) else re.compile(pattern).groupindex
        except re.error as error:
            raise InvalidInput(f"{printable(repr(pattern))} is no regular expression: {error}") from None
        if taken := sorted(set(groups) & set(_PLACES)):
            raise InvalidInput(f"group {taken[0]} has the name of a place that there is anyway; give it another")
        return pattern

    @model_validator(mode="after")
    def _check_target_key(self) -> Self:
        if self.target_key and self.target_prefix:
            raise InvalidInput("give either target_prefix or target_key, which may begin with a prefix")
        if self.key_pattern and not self.target_key:
            raise InvalidInput("key_pattern needs a target_key that says what to make of its groups")
        if is_template(self.target_key) or is_template(self.key_pattern):
            return self
        if stray := re.search(r"[{}]", _PLACE.sub("", self.target_key)):
            wrong = f"a {stray[0]} that belongs to no place like {{key}}"
            raise InvalidInput(f"target_key: {printable(repr(self.target_key))} has {wrong}")
        pattern = re.compile(self.key_pattern)
        known = {*_PLACES, *pattern.groupindex, *map(str, range(1, pattern.groups + 1))}
        if unknown := sorted(set(_PLACE.findall(self.target_key)) - known):
            wrong = f"{{{unknown[0]}}} is no place; there are {', '.join(sorted(known))}"
            raise InvalidInput(f"target_key: {wrong} (key_pattern's groups are places, too)")
        return self

    def target_for(self, entry: Entry) -> str:
        """The key of the object's copy.

        Raises:
            ObjectFailed: there is none: the key doesn't begin with `strip_prefix` or match `key_pattern`
                (KeyNotMatched), or what comes out is empty (InvalidTargetKey) or too long (KeyTooLongError).
        """
        key = entry.key
        if not key.startswith(self.strip_prefix):
            raise _not_matched(key, f"doesn't begin with strip_prefix {self.strip_prefix!r}")
        key = key[len(self.strip_prefix) :]
        if not self.target_key:
            return _checked(self.target_prefix + key)
        values = {**_places(entry.bucket, key), "version": entry.version or ""}
        if self.key_pattern:
            found = _compiled(self.key_pattern).fullmatch(key)
            if found is None:
                raise _not_matched(key, f"isn't matched by key_pattern {self.key_pattern!r}")
            values |= {str(number): group or "" for number, group in enumerate(found.groups(), start=1)}
            values |= {name: group or "" for name, group in found.groupdict().items()}
        return _checked(_filled(self.target_key, values))

    def target_in_request(self, bucket: str, key: str) -> str:
        """The target key of a request that is compiled for many keys: `TARGET` where it isn't just an addition."""
        if self.strip_prefix or self.key_pattern or set(_PLACE.findall(self.target_key)) - {"bucket", "key"}:
            return TARGET
        return _filled(self.target_key, {"bucket": bucket, "key": key}) if self.target_key else self.target_prefix + key

    @property
    def keeps_keys(self) -> bool:
        """Whether every copy has its object's own key."""
        return not self.strip_prefix and not self.target_prefix and self.target_key in {"", "{key}"}

    def check_job(self, rows: int, buckets: Sequence[str], now: datetime) -> None:  # noqa: ARG002
        """See that not all objects have the same target key.

        Raises:
            InvalidInput: they have.
        """
        places = set(_PLACE.findall(self.target_key))
        most = 1 if not places else len(buckets) if places == {"bucket"} else rows
        if self.target_key and rows > most:
            same = f"target_key: each of {rows:,} objects would have the key {printable(repr(self.target_key))}"
            of = " of its bucket" if places else ""
            raise InvalidInput(f"{same}{of}; write what tells them apart, {{key}} or {{name}}, or use target_prefix")

    async def look(self, bucket: str, s3: S3Calls) -> None:  # noqa: ARG002
        """See that the target's bucket is there.

        Raises:
            InvalidInput: it isn't.
        """
        if not self.target_bucket:
            return
        try:
            await s3.call("HeadBucket", Bucket=self.bucket_in_requests)
        except S3Error as error:
            # Any other answer tells nothing of what may be done with its objects.
            if error.status == _NOT_FOUND:
                target = printable(self.bucket_in_requests)
                raise InvalidInput(f"target_bucket: {target} doesn't exist; create it, or name another") from None

    @property
    def bucket_in_requests(self) -> str:
        """The target as the S3 API takes it: a bucket's name, or an access point's ARN."""
        if not self.target_bucket.startswith("arn:") or _ACCESS_POINT.fullmatch(self.target_bucket):
            return self.target_bucket
        return S3Location.from_arn(self.target_bucket).bucket

    def target_arguments(self) -> dict[str, Any]:
        """What the operation's arguments say about the target."""
        target = self.target_bucket
        arn = target if target.startswith("arn:") or is_template(target) else f"arn:aws:s3:::{target}"
        given = {aws: getattr(self, ours) for ours, aws in _ARGUMENTS.items()}
        return {"TargetResource": arn, **{aws: value for aws, value in given.items() if value}}

    @staticmethod
    def target_names() -> set[str]:
        """The names in `target_arguments`."""
        return {"TargetResource", *_ARGUMENTS.values()}

    @staticmethod
    def target_fields(arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that `target_arguments` told.

        Raises:
            InvalidInput: one is there and empty, which AWS doesn't take: a template that rendered to nothing, say, by
                which objects would be copied to keys that nobody asked for, perhaps onto themselves.
        """
        if empty := [aws for aws in _ARGUMENTS.values() if aws in arguments and not arguments[aws]]:
            raise InvalidInput(f"{empty[0]} is there and empty; leave it out if nothing is meant")
        given = {ours: arguments.get(aws, "") for ours, aws in _ARGUMENTS.items()}
        return {"target_bucket": arguments.get("TargetResource", ""), **given}


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)  # keys may hold line breaks


def _places(bucket: str, key: str) -> dict[str, str]:
    folder, slash, name = key.rpartition("/")
    return {"bucket": bucket, "key": key, "folder": folder + slash, "name": name}


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values[place[1]], template)


def _checked(target: str) -> str:
    size = len(target.encode())
    if not target:
        raise ObjectFailed("InvalidTargetKey", "the target key is empty; see strip_prefix and target_key")
    if size > _KEY_BYTES:
        raise ObjectFailed("KeyTooLongError", f"the target key has {size:,} bytes; S3 takes {_KEY_BYTES:,}", 400)
    return target


def _not_matched(key: str, why: str) -> ObjectFailed:
    return ObjectFailed("KeyNotMatched", f"{printable(key)} {printable(why)}; nothing was done")
