"""MergeObjectTags: set and remove some of every object's tags, and keep the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, printable
from airflow_s3batch.core.operations.base import StepsOperation, with_version
from airflow_s3batch.core.operations.tagging import MOST_TAGS, check_tags, tag_set, tags_of
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Text, known_arguments

__all__ = ["MergeObjectTags"]


class MergeObjectTags(StepsOperation):
    """Change some of every object's tags: ``MergeObjectTags({"tier": "cold"}, remove=["reviewed"])``.

    Two requests an object, one where nothing has to change. An object that would have more than 10 tags fails, and
    keeps those it has. What was read and what is written is the same version, also in a row that names none.

    Args:
        set: tags to add, or to change where an object has the key.
        remove: keys of tags to remove, where an object has them.

    No operation of AWS's: S3PutObjectTagging replaces all tags.
    """

    aws_name: ClassVar[str] = "S3MergeObjectTags"

    set: dict[Text, Text] = Field(default_factory=dict)
    remove: tuple[Text, ...] = ()

    def __init__(self, set: Mapping[str, str] | None = None, *, remove: Sequence[str] = ()) -> None:  # noqa: A002 - what is said is "set these, remove those"
        if isinstance(remove, str):
            raise InvalidInput(f"MergeObjectTags: remove takes a list of keys: [{printable(repr(remove))}]")
        super().__init__(set=set or {}, remove=remove)

    @field_validator("set")
    @classmethod
    def _check_set(cls, tags: dict[str, str]) -> dict[str, str]:
        return check_tags(tags)

    @field_validator("remove")
    @classmethod
    def _check_remove(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:  # one by one: there may be more than an object has tags
            check_tags({key: ""})
        return keys

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.set and not self.remove:
            raise InvalidInput("give tags to set, or keys to remove")
        if both := sorted(self.set.keys() & {*self.remove}):
            raise InvalidInput(f"{', '.join(map(printable, both))}: set or remove a tag, not both")
        return self

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """One GetObjectTagging and one PutObjectTagging."""
        place = with_version({"Bucket": bucket, "Key": key}, version)
        return [
            ("GetObjectTagging", place),
            ("PutObjectTagging", {**place, "Tagging": {"TagSet": tag_set(self.set)}}),
        ]

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Read the object's tags, and write them if they are to change."""
        place = with_version({"Bucket": entry.bucket, "Key": entry.key}, entry.version)
        answer = await s3.call("GetObjectTagging", **place)
        has = {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}
        wanted = {key: value for key, value in has.items() if key not in self.remove} | self.set
        if wanted == has:
            return "Unchanged"
        if len(wanted) > MOST_TAGS:
            # S3's own answer to it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
            told = f"Object tags cannot be greater than {MOST_TAGS}: it has {len(has)}, and would have {len(wanted)}"
            raise ObjectFailed("BadRequest", told, http_status=400)
        # The version that was read: an object written since then has tags of its own.
        place = with_version(place, answer.get("VersionId", entry.version))
        await s3.call("PutObjectTagging", **place, Tagging={"TagSet": tag_set(wanted)})
        return ""

    def arguments(self) -> dict[str, Any]:
        """Tags as in AWS's S3SetObjectTaggingOperation, and keys."""
        return {"TagSet": tag_set(self.set), "RemoveKeys": list(self.remove)}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from `arguments`' JSON."""
        known_arguments(cls.__name__, arguments, {"TagSet", "RemoveKeys"})
        remove = arguments.get("RemoveKeys", [])
        if not isinstance(remove, (list, tuple)) or not all(isinstance(key, str) for key in remove):
            raise InvalidInput(f"{cls.__name__}: RemoveKeys is a list of keys, not {printable(repr(remove))}")
        return cls(tags_of(cls.__name__, arguments.get("TagSet", [])), remove=remove)
