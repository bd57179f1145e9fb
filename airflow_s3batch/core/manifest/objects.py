"""`Objects`: a small job's objects, written down in the DAG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, field_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import S3Location, check_bucket
from airflow_s3batch.core.manifest.base import Manifest
from airflow_s3batch.core.manifest.generated import GeneratedManifest
from airflow_s3batch.core.manifest.layout import KEY_MOST
from airflow_s3batch.core.manifest.written import ManifestWriter, encoded
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Text, is_reference, known_arguments, read_list

__all__ = ["Objects"]

_MOST = 10_000
_WAY_OUT = (
    "give a list of objects: ['s3://bucket/key', ('bucket', 'key', 'version')], "
    "or the output of a task that returns such a list"
)
_PARTS = (2, 3)
"""Bucket and key, and maybe a version."""

_Object = tuple[Text, ...]


def _listed(given: object) -> object:
    given = str(given) if is_reference(given) else given
    if isinstance(given, str):
        return given if is_template(given) else tuple(_parts(one) for one in _rendered(given))
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, Iterable):
        raise InvalidInput(_WAY_OUT)
    return tuple(_parts(one) for one in given)


def _rendered(text: str) -> list[object]:
    found = read_list(text)
    if found is None:
        raise InvalidInput(f"{printable(repr(text), 80)} is no list; {_WAY_OUT}")
    return found


def _parts(given: object) -> object:
    """A URI as one text, everything else as bucket, key and version."""
    if isinstance(given, Mapping):
        known_arguments("Objects", dict(given), {"Bucket", "Key", "VersionId", "Uri"})
        return tuple(given[name] for name in ("Uri", "Bucket", "Key", "VersionId") if given.get(name) is not None)
    if isinstance(given, (list, tuple)):
        return tuple(part for part in given if part is not None)
    return (given,)


class Objects(GeneratedManifest):
    """Objects by name: ``Objects(["s3://lake/a.parquet", ("lake", "b.parquet", "3HL4kqtJlcpXrof3")])``.

    Keys are taken as they are, without any decoding. For more than some hundreds write a file, or list the bucket.

    Args:
        objects: ``s3://bucket/key``, or bucket and key, or bucket, key and version; at most 10,000. All have a version,
            or none. Or a template, or an XComArg, that becomes such a list: what a task returned.
    """

    aws_name: ClassVar[str] = "S3Objects"

    objects: Annotated[tuple[_Object, ...] | str, BeforeValidator(_listed)]

    def __init__(self, objects: Sequence[str | Sequence[str | None]] | str) -> None:
        super().__init__(objects=objects)

    @field_validator("objects")
    @classmethod
    def _check_objects(cls, objects: tuple[_Object, ...] | str) -> tuple[_Object, ...] | str:
        if isinstance(objects, str):
            return objects
        if not objects:
            raise InvalidInput("there is no object in the list; a job needs at least one")
        if len(objects) > _MOST:
            raise InvalidInput(
                f"{len(objects):,} objects are too many for a DAG ({_MOST:,}); write a file for CsvManifest"
            )
        for number, one in enumerate(objects, 1):
            _check(one, number)
        versions = {len(one) == max(_PARTS) for one in objects}
        if len(versions) > 1:
            raise InvalidInput("some objects have a version and some have none; give all of them one, or none")
        return objects

    async def resolve(self, s3: S3Calls, place: S3Location, now: datetime) -> Manifest:
        """See `Manifest.resolve`."""
        if isinstance(self.objects, str):
            raise InvalidInput(f"{printable(repr(self.objects), 80)} was never rendered to a list of objects")
        rows = [tuple(S3Location.parse(one[0])[:2]) if len(one) == 1 else one for one in self.objects]
        keys = encoded([row[1] for row in rows])
        fields = ("Bucket", "Key", "VersionId")[: len(rows[0])]
        async with ManifestWriter(s3, place, fields, now, asked="Objects") as writer:
            await writer.add([(bucket, key, *version) for key, (bucket, _, *version) in zip(keys, rows, strict=True)])
            return await writer.finish()

    def arguments(self) -> dict[str, Any]:
        """``{"Objects": [{"Uri": "s3://…"}, {"Bucket", "Key", "VersionId"}]}``, or the template of the list."""
        return {"Objects": self.objects if isinstance(self.objects, str) else [_as_json(one) for one in self.objects]}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from `arguments`' JSON."""
        known_arguments(cls.aws_name, arguments, {"Objects"})
        return cls(arguments.get("Objects", ()))


def _check(one: _Object, number: int) -> None:
    if any(is_template(part) for part in one):
        return
    try:
        key = _key(one)
    except InvalidInput as error:
        raise InvalidInput(f"object {number}: {error}") from None
    if not key or one[-1] == "":
        raise InvalidInput(f"object {number}: {printable(repr(one))} has an empty part (the null version is 'null')")
    if len(key.encode("utf-8", "surrogatepass")) > KEY_MOST:
        raise InvalidInput(f"object {number}: the key {printable(repr(key))} is longer than S3's {KEY_MOST} bytes")


def _key(one: _Object) -> str:
    if len(one) == 1:
        return S3Location.parse(one[0]).key
    if len(one) not in _PARTS:
        raise InvalidInput(f"{printable(repr(one))} is neither s3://bucket/key nor (bucket, key, version)")
    check_bucket(one[0])
    return one[1]


def _as_json(one: _Object) -> dict[str, str]:
    return {"Uri": one[0]} if len(one) == 1 else dict(zip(("Bucket", "Key", "VersionId"), one, strict=False))
