"""`ListObjects`: the objects that a bucket's listing has when the job is prepared, AWS's ``S3JobManifestGenerator``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import S3Location, check_account, check_bucket
from airflow_s3batch.core.manifest.base import Manifest
from airflow_s3batch.core.manifest.encryption import EncryptionFilter, encryption_filters
from airflow_s3batch.core.manifest.generated import GeneratedManifest
from airflow_s3batch.core.manifest.generator import fields_of, generator_of
from airflow_s3batch.core.manifest.glob import Glob
from airflow_s3batch.core.manifest.inspection import Inspection
from airflow_s3batch.core.manifest.keyspace import KeySpace
from airflow_s3batch.core.manifest.layout import KEY_MOST
from airflow_s3batch.core.manifest.listing import ObjectListing, VersionListing
from airflow_s3batch.core.manifest.output import output_of
from airflow_s3batch.core.manifest.replication import ReplicationRules
from airflow_s3batch.core.manifest.wanted import Wanted, heads, regex_pattern
from airflow_s3batch.core.manifest.written import ManifestWriter, encoded, moment
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Flag, Moment, Text, WholeNumber, as_datetime, one_of, read_list

__all__ = ["ListObjects"]

_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
)
_PLACES = frozenset({"bucket", "bucket_owner", "output"})
_BASIC = ("Bucket", "Key")
_VERSION = ("VersionId", "IsLatest", "IsDeleteMarker")
_FACTS = ("Size", "LastModifiedDate", "ETag", "StorageClass")


def _several(given: object) -> object:
    """One text, or several, also where a template has written them as one: what a task returned."""
    if given is None:
        return ()
    if isinstance(given, str) and (texts := _texts_in(given)) is not None:
        return tuple(texts)
    return tuple(given) if isinstance(given, (list, tuple, set, frozenset)) else (given,)


def _texts_in(text: str) -> list[object] | None:
    """The texts of a list that is written in one; None if it is no such list."""
    found = None if is_template(text) else read_list(text)
    return found if found is not None and all(isinstance(one, str) for one in found) else None


def _one_of_several(given: object) -> object:
    """As `_several`; but not a list of none, of which no object has one: it would leave a filter out, and find all."""
    if given is not None and given != () and _several(given) == ():
        raise InvalidInput("an empty list fits no object; leave it out if it is meant to ask for nothing")
    return _several(given)


def _as_long_as_a_key(text: str) -> str:
    if len(text) > KEY_MOST:
        raise InvalidInput(f"{printable(repr(text), 40)} has {len(text):,} characters; keys have at most {KEY_MOST:,}")
    return text


_Text = Annotated[Text, AfterValidator(_as_long_as_a_key)]
_Texts = Annotated[tuple[_Text, ...], BeforeValidator(_several)]
_OneOf = BeforeValidator(_one_of_several)
_AnyText = Annotated[tuple[_Text, ...], _OneOf]


class ListObjects(GeneratedManifest):
    """The objects of a bucket, by listing it when the job is prepared: ``ListObjects("lake", prefixes=["raw/"])``.

    What is found is written down in the job's folder, as an inventory, and that is what is run. An object has to pass
    all that is said; where several are given (``prefixes=["a/", "b/"]``, or the output of a task that returns such a
    list), one of them.

    Args:
        bucket: the bucket, or several.
        prefixes: how keys begin.
        suffixes: how they end.
        substrings: what is in them.
        globs: patterns for whole keys: ``*`` stops at slashes, ``**`` doesn't.
        regexes: regular expressions of Python, to be found anywhere in keys.
        exclude: globs that keys must not match.
        created_after: objects (with versions: versions) created after this time, exclusively.
        created_before: … before this time.
        larger_than: bytes; an object of just this size isn't.
        smaller_than: likewise.
        storage_classes: as S3 calls them (``GLACIER``).
        replication_statuses: COMPLETED, FAILED, REPLICA, NONE. Costs a HEAD for each object that is left.
        eligible_for_replication: only what an enabled rule of the bucket's replication configuration is about.
        encryption: SSES3, SSEKMS, DSSEKMS, SSEC or NOTSSE; or AWS's filter (``{"SSEKMS": {"KmsKeyArn": …}}``); or
            several of them. Costs a HEAD, too.
        kms_key: the ARN of the key of SSEKMS or DSSEKMS, where these are given by name.
        bucket_key: with SSEKMS by name, whether a bucket key is used.
        tags: tags that objects have, all of these. Costs a GetObjectTagging for each object that is left.
        versions: all versions, each as an entry of its own; otherwise current objects, as they are when they are run.
        delete_markers: with versions, delete markers as well.
        bucket_owner: the account that has to own the buckets.
        output: where the list is written instead: AWS's S3ManifestOutputLocation.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3JobManifestGenerator.html
    """

    aws_name: ClassVar[str] = "S3JobManifestGenerator"

    bucket: _Texts
    prefixes: _AnyText = ()
    suffixes: _AnyText = ()
    substrings: _AnyText = ()
    globs: _AnyText = ()
    regexes: _AnyText = ()
    exclude: _Texts = ()
    created_after: Moment | None = None
    created_before: Moment | None = None
    larger_than: WholeNumber | None = None
    smaller_than: WholeNumber | None = None
    storage_classes: Annotated[tuple[Annotated[Text, one_of(*_CLASSES)], ...], _OneOf] = ()
    replication_statuses: Annotated[
        tuple[Annotated[Text, one_of("COMPLETED", "FAILED", "REPLICA", "NONE")], ...], _OneOf
    ] = ()
    eligible_for_replication: Flag = False
    encryption: tuple[EncryptionFilter, ...] = ()
    tags: dict[str, Text] = Field(default_factory=dict)
    versions: Flag = False
    delete_markers: Flag = False
    bucket_owner: Annotated[Text, AfterValidator(check_account)] | None = None
    output: dict[str, Any] | None = None

    def __init__(
        self,
        bucket: str | Sequence[str],
        *,
        prefixes: str | Sequence[str] = (),
        suffixes: str | Sequence[str] = (),
        substrings: str | Sequence[str] = (),
        globs: str | Sequence[str] = (),
        regexes: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        larger_than: int | str | None = None,
        smaller_than: int | str | None = None,
        storage_classes: str | Sequence[str] = (),
        replication_statuses: str | Sequence[str] = (),
        eligible_for_replication: bool | str = False,
        encryption: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any] | EncryptionFilter] = (),
        kms_key: str | None = None,
        bucket_key: bool | str | None = None,
        tags: Mapping[str, str] | None = None,
        versions: bool | str = False,
        delete_markers: bool | str = False,
        bucket_owner: str | None = None,
        output: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            bucket=bucket,
            prefixes=prefixes,
            suffixes=suffixes,
            substrings=substrings,
            globs=globs,
            regexes=regexes,
            exclude=exclude,
            created_after=created_after,
            created_before=created_before,
            larger_than=larger_than,
            smaller_than=smaller_than,
            storage_classes=storage_classes,
            replication_statuses=replication_statuses,
            eligible_for_replication=eligible_for_replication,
            encryption=encryption_filters(encryption, kms_key=kms_key, bucket_key=bucket_key),
            tags=tags or {},
            versions=versions,
            delete_markers=delete_markers,
            bucket_owner=bucket_owner,
            output=output,
        )

    @field_validator("bucket")
    @classmethod
    def _check_buckets(cls, buckets: tuple[str, ...]) -> tuple[str, ...]:
        if not buckets:
            raise InvalidInput("name a bucket")
        if len(set(buckets)) < len(buckets):
            raise InvalidInput("a bucket is named twice")
        return tuple(bucket if is_template(bucket) else check_bucket(bucket) for bucket in buckets)

    @field_validator("prefixes", "suffixes", "substrings", "globs", "regexes", "exclude")
    @classmethod
    def _check_texts(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if "" in texts:
            raise InvalidInput("an empty text is in everything; leave it out")
        if lists := [text for text in texts if _texts_in(text) is not None]:
            shown = printable(repr(lists[0]), 40)
            raise InvalidInput(f"{shown} is a whole list; give it alone, not among others")
        return texts

    @field_validator("globs", "exclude")
    @classmethod
    def _check_globs(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if not is_template(glob):
                Glob(glob)
        return globs

    @field_validator("regexes")
    @classmethod
    def _check_regexes(cls, regexes: tuple[str, ...]) -> tuple[str, ...]:
        for regex in regexes:
            if not is_template(regex):
                regex_pattern(regex)
        return regexes

    @field_validator("output")
    @classmethod
    def _check_output(cls, output: dict[str, Any] | None) -> dict[str, Any] | None:
        if output is not None and not is_template(output.get("Bucket", "")):
            output_of(output, S3Location("any", "job-id/generated-manifest/"))
        return output

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.delete_markers is True and self.versions is False:
            raise InvalidInput("delete_markers are versions: say versions=True as well")
        least, most = self.larger_than, self.smaller_than
        if isinstance(least, int) and isinstance(most, int) and most - least < 2:  # noqa: PLR2004 - both are exclusive
            raise InvalidInput(f"no object is larger than {least:,} and smaller than {most:,} bytes")
        return self

    @property
    def is_fixed(self) -> bool:
        """See `Manifest.is_fixed`."""
        return False

    async def resolve(self, s3: S3Calls, place: S3Location, now: datetime) -> Manifest:
        """See `Manifest.resolve`."""
        put: Mapping[str, str] = {}
        job_folder = S3Location(place.bucket, f"{place.key.rstrip('/').rpartition('/')[0]}/")
        if self.output is not None:
            place, put = output_of(self.output, place)
        fields = (*_BASIC, *(_VERSION if self.versions else ()), *_FACTS)
        async with ManifestWriter(s3, place, fields, now, asked=self._asked, final=self.is_fixed, put=put) as writer:
            for bucket in self.bucket:
                await self._find(bucket, s3, writer, job_folder)
            return await writer.finish()

    @property
    def _asked(self) -> str:
        """The buckets, and what has to be said to find no more than is wanted, in the author's words."""
        buckets = ", ".join(S3Location(bucket, "").uri for bucket in self.bucket)
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in _PLACES}
        told = [f"{name}={_plainly(value)}" for name, value in values.items() if value]
        return ", ".join([buckets, *told])

    async def _find(self, bucket: str, s3: S3Calls, writer: ManifestWriter, job_folder: S3Location) -> None:
        listing = (VersionListing if self.versions else ObjectListing)(s3, bucket, self.bucket_owner)
        rules = None
        if self.eligible_for_replication is True:
            rules = await ReplicationRules.of(s3, bucket, self.bucket_owner)
        tests, inspection = self._wanted().tests(), self._inspection(rules)
        if not self.delete_markers:
            tests.append(lambda item: "DeleteMarker" not in item)
        if bucket == job_folder.bucket:  # a job that works on its own folder pulls the ground from under its feet
            tests.append(lambda item: not item["Key"].startswith(job_folder.key))
        rows = _version_rows if self.versions else _object_rows
        begins = heads(self.prefixes, self.globs) or (rules.heads if rules else ())
        async with aclosing(KeySpace(listing).pages(begins)) as pages:
            async for page in pages:
                writer.seen += len(page)
                found: Sequence[Mapping[str, Any]] = [item for item in page if all(test(item) for test in tests)]
                if found and inspection.needed:
                    found = await inspection.passed(found, bucket, s3)
                if found:
                    await writer.add(rows(bucket, found))

    def _wanted(self) -> Wanted:
        return Wanted(
            prefixes=self.prefixes,
            suffixes=self.suffixes,
            substrings=self.substrings,
            globs=tuple(map(Glob, self.globs)),
            regexes=tuple(map(regex_pattern, self.regexes)),
            excluded=tuple(map(Glob, self.exclude)),
            after=_time(self.created_after),
            before=_time(self.created_before),
            larger_than=_number(self.larger_than),
            smaller_than=_number(self.smaller_than),
            storage_classes=frozenset(self.storage_classes),
        )

    def _inspection(self, rules: ReplicationRules | None) -> Inspection:
        return Inspection(
            replication_statuses=frozenset(self.replication_statuses),
            encryption=self.encryption,
            tags=frozenset(self.tags.items()),
            replication=rules,
        )

    def arguments(self) -> dict[str, Any]:
        """AWS's S3JobManifestGenerator, with our words beside AWS's for what AWS lacks."""
        return generator_of({name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3JobManifestGenerator (or what `arguments` gave)."""
        return cls(**fields_of(arguments))


def _plainly(value: object) -> str:
    """A field as an author would write it: ``'raw/'``, or ``('raw/', 'tmp/')``."""
    several = tuple(map(_as_written, value)) if isinstance(value, tuple) else (value,)
    return repr(several[0] if len(several) == 1 else several)


def _as_written(one: object) -> object:
    return one.as_written if isinstance(one, EncryptionFilter) else one


def _time(given: str | None) -> datetime | None:
    return None if given is None else as_datetime(given)


def _number(given: int | str | None) -> int | None:
    return None if given is None else int(given)


def _object_rows(bucket: str, items: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    keys = encoded([item["Key"] for item in items])
    return [(bucket, key, *_facts(item)) for key, item in zip(keys, items, strict=True)]


def _version_rows(bucket: str, items: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    keys = encoded([item["Key"] for item in items])
    return [(bucket, key, *_version(item), *_facts(item)) for key, item in zip(keys, items, strict=True)]


def _version(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return item["VersionId"], _truth(item.get("IsLatest", False)), _truth("DeleteMarker" in item)


def _facts(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    etag = item.get("ETag", "").strip('"')
    return str(item.get("Size", "")), moment(item["LastModified"]), etag, item.get("StorageClass", "")


def _truth(given: object) -> str:
    return "true" if given else "false"
