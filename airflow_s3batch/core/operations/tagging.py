"""PutObjectTagging and DeleteObjectTagging, and what S3 allows in tags."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import field_validator
from typing_extensions import Self

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.operations.base import RequestOperation, with_version
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Text, known_arguments

__all__ = ["MOST_TAGS", "DeleteObjectTagging", "PutObjectTagging", "check_tags", "tag_set", "tags_of"]

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
MOST_TAGS = 10
_KEY_LENGTH, _VALUE_LENGTH = 128, 256
# AWS's pattern [\p{L}\p{Z}\p{N}_.:/=+\-@]: letters, spaces and numbers of every script, and these.
_ALLOWED = re.compile(r"[\w\s.:/=+\-@]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags, if S3 takes them.

    Raises:
        InvalidInput: too many, too long, or with characters that S3 refuses.
    """
    if len(tags) > MOST_TAGS:
        raise InvalidInput(f"{len(tags)} tags; S3 allows {MOST_TAGS} an object")
    for key, value in tags.items():
        if is_template(key) or is_template(value):
            continue
        if not 1 <= len(key) <= _KEY_LENGTH:
            raise InvalidInput(f"tag key {printable(repr(key))} has {len(key)} characters; S3 takes 1 to {_KEY_LENGTH}")
        if len(value) > _VALUE_LENGTH:
            wrong = f"the value of tag {printable(repr(key))} has {len(value)} characters; S3 takes {_VALUE_LENGTH}"
            raise InvalidInput(wrong)
        if key.lower().startswith("aws:"):
            raise InvalidInput(f"tag key {printable(repr(key))}: the prefix aws: is reserved")
        for text in (key, value):
            if not _ALLOWED.fullmatch(text) or _CONTROL.search(text):
                allowed = "letters, digits, spaces and _.:/=+-@"
                raise InvalidInput(
                    f"tag {printable(repr(key))}: {printable(repr(text))} has characters besides {allowed}"
                )
    return tags


def tag_set(tags: dict[str, str]) -> list[dict[str, str]]:
    """AWS's S3TagSet."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(name: str, given: Any) -> dict[str, str]:
    """The tags of an S3TagSet.

    Raises:
        InvalidInput: it isn't one, or a key occurs twice.
    """
    if not isinstance(given, (list, tuple)) or not all(_is_tag(tag) for tag in given):
        raise InvalidInput(f'{name}: write tags as [{{"Key": …, "Value": …}}]; got {printable(repr(given))}')
    tags = {tag["Key"]: tag["Value"] for tag in given}
    if len(tags) != len(given):
        raise InvalidInput(f"{name}: a tag key occurs twice")
    return tags


def _is_tag(given: object) -> bool:
    return isinstance(given, dict) and isinstance(given.get("Key"), str) and "Value" in given


class PutObjectTagging(RequestOperation):
    """Replace every object's tags by these: ``PutObjectTagging({"tier": "cold"})``.

    Tags that an object has and that aren't named here are gone afterwards, as with AWS's S3PutObjectTagging.

    Args:
        tags: at most 10; keys of 1 to 128 characters, values of up to 256: letters, digits, spaces and ``_.:/=+-@``.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-put-object-tagging.html
    """

    aws_name: ClassVar[str] = "S3PutObjectTagging"

    tags: dict[Text, Text]

    def __init__(self, tags: dict[str, str]) -> None:
        super().__init__(tags=tags)

    @field_validator("tags")
    @classmethod
    def _check_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        return check_tags(tags)

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One PutObjectTagging."""
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, "Tagging": {"TagSet": tag_set(self.tags)}}
        return "PutObjectTagging", with_version(parameters, version)

    def arguments(self) -> dict[str, Any]:
        """AWS's S3SetObjectTaggingOperation."""
        return {"TagSet": tag_set(self.tags)}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3SetObjectTaggingOperation."""
        known_arguments(cls.__name__, arguments, {"TagSet"})
        if "TagSet" not in arguments:
            raise InvalidInput(f"{cls.__name__}: TagSet is missing; an empty one ([]) takes all tags off objects")
        return cls(tags_of(cls.__name__, arguments["TagSet"]))


class DeleteObjectTagging(RequestOperation):
    """Remove every object's tags: ``DeleteObjectTagging()``.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-delete-object-tagging.html
    """

    aws_name: ClassVar[str] = "S3DeleteObjectTagging"

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One DeleteObjectTagging."""
        parameters = {"Bucket": bucket, "Key": key}
        return "DeleteObjectTagging", with_version(parameters, version)
