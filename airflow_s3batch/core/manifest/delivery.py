"""`Delivery`: what S3 Inventory says in the ``manifest.json`` of one of its deliveries.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestError, ManifestInvalid, S3Error, printable
from airflow_s3batch.core.location import S3Location, check_bucket
from airflow_s3batch.core.manifest.checksum import check_md5
from airflow_s3batch.core.pages import list_pages

__all__ = ["Delivery", "ListedFile", "check_delivery", "newest_delivery"]

_FORMATS = ("CSV", "ORC", "Parquet")
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_DATED = re.compile(r"(?P<folder>\d{4}-\d\d-\d\dT\d\d-\d\dZ/)manifest\.(?P<what>json|checksum)")
_MISSING = 404


class ListedFile(NamedTuple):
    """A data file, as manifest.json lists it."""

    location: S3Location
    size: int
    """Bytes."""
    md5: str
    """Hexadecimal, in lower case."""


class Delivery(NamedTuple):
    """One inventory, written at one time."""

    file_format: Literal["CSV", "ORC", "Parquet"]
    fields: tuple[str, ...]
    """The columns of CSV files, in order; files of the other formats tell themselves."""
    files: tuple[ListedFile, ...]
    """Those that aren't empty."""

    @classmethod
    def parse(cls, location: S3Location, document: bytes) -> Delivery:
        """Read a manifest.json.

        Raises:
            ManifestError: it isn't one, or lists no file.
        """
        try:
            return cls._read(location, json.loads(document))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            wrong = f"it is no manifest.json of S3 Inventory ({printable(f'{type(error).__name__}: {error}')})"
            raise ManifestInvalid(location.uri, wrong) from None

    @classmethod
    def _read(cls, location: S3Location, told: dict[str, Any]) -> Delivery:
        file_format = told["fileFormat"]
        if file_format not in _FORMATS:
            wrong = f"its fileFormat is {printable(repr(file_format))}; known are {', '.join(_FORMATS)}"
            raise ManifestInvalid(location.uri, wrong)
        fields = tuple(name.strip() for name in told["fileSchema"].split(",")) if file_format == "CSV" else ()
        for name in ("Bucket", "Key") if file_format == "CSV" else ():
            if fields.count(name) != 1:
                raise ManifestInvalid(location.uri, f"Required fields are missing in the schema: {name}")
        bucket = _bucket(told["destinationBucket"])
        files = tuple(file for file in (_listed(bucket, file) for file in told["files"]) if file.size)
        if not files:
            raise ManifestInvalid(location.uri, "the inventory lists no file, and so no object")
        return cls(file_format, fields, files)


def _bucket(told: str) -> str:
    return S3Location.from_arn(told).bucket if told.startswith("arn:") else check_bucket(told)


def _listed(bucket: str, file: dict[str, Any]) -> ListedFile:
    md5 = file["MD5checksum"]
    if not _MD5.fullmatch(md5):
        raise InvalidInput(f"the MD5checksum {printable(repr(md5))} is none")
    return ListedFile(S3Location(bucket, file["key"]), int(file["size"]), md5.lower())


async def check_delivery(s3: S3Calls, location: S3Location, md5: str) -> None:
    """See that the MD5 of a manifest.json is the one in the ``manifest.checksum`` beside it.

    Raises:
        ManifestError: it isn't, or there is no manifest.checksum, which S3 Inventory writes last.
    """
    beside = S3Location(location.bucket, f"{location.key.removesuffix('manifest.json')}manifest.checksum")
    try:
        got = await s3.call("GetObject", Bucket=beside.bucket, Key=beside.key)
    except S3Error as error:
        told = f"{printable(error.code)}: {printable(error.message)}"
        if error.status == _MISSING:
            wrong = f"the inventory isn't complete: it has no manifest.checksum ({told}); say verify_checksums=False"
            raise ManifestError(beside.uri, f"{wrong} if it never gets one", code=error.code) from error
        raise ManifestError(beside.uri, f"the inventory's checksum can't be read: {told}", code=error.code) from error
    check_md5(location.uri, md5, got["Body"].decode("utf-8", "replace").strip())


async def newest_delivery(s3: S3Calls, configuration: S3Location) -> S3Location:
    """The manifest.json of an inventory's newest complete delivery.

    Args:
        s3: lists the folder.
        configuration: the inventory's folder ``destination-prefix/source-bucket/config-ID/``, slash included.

    Raises:
        ManifestError: there is none, or the folder can't be listed.
    """
    found: dict[str, set[str]] = {}
    # Deliveries are in folders named by their time, data files in others: those aren't listed.
    try:
        async for page in list_pages(s3, Bucket=configuration.bucket, Prefix=f"{configuration.key}2"):
            _note(found, [one["Key"].removeprefix(configuration.key) for one in page.get("Contents", ())])
    except S3Error as error:
        wrong = f"the inventory's deliveries can't be listed: {printable(error.code)}: {printable(error.message)}"
        raise ManifestError(configuration.uri, wrong, code=error.code) from error
    complete = [folder for folder, parts in found.items() if parts == {"json", "checksum"}]
    if not complete:
        wrong = "no complete delivery of an inventory is in this folder; write s3://…/source-bucket/config-ID/"
        raise ManifestError(configuration.uri, wrong)
    return S3Location(configuration.bucket, f"{configuration.key}{max(complete)}manifest.json")


def _note(found: dict[str, set[str]], keys: Sequence[str]) -> None:
    for key in keys:
        if parts := _DATED.fullmatch(key):
            found.setdefault(parts["folder"], set()).add(parts["what"])
