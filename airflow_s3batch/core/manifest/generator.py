"""AWS's ``S3JobManifestGenerator``, in our fields and back. Where AWS has no words for a field, there are some of ours.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3JobManifestGenerator.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import S3Location, is_template
from airflow_s3batch.core.values import known_arguments

__all__ = ["fields_of", "generator_of"]

_NAME = "S3JobManifestGenerator"
_CONSTRAINTS = {
    "MatchAnyPrefix": "prefixes",
    "MatchAnySuffix": "suffixes",
    "MatchAnySubstring": "substrings",
    "MatchAnyGlob": "globs",
    "MatchAnyRegex": "regexes",
    "MatchNoGlob": "exclude",
}
"""KeyNameConstraint: AWS's three, and ours."""
_FILTERS = {
    "CreatedAfter": "created_after",
    "CreatedBefore": "created_before",
    "ObjectSizeGreaterThanBytes": "larger_than",
    "ObjectSizeLessThanBytes": "smaller_than",
    "MatchAnyStorageClass": "storage_classes",
    "ObjectReplicationStatuses": "replication_statuses",
}
_OPTIONS = {
    "AllVersions": "versions",
    "IncludeDeleteMarkers": "delete_markers",
    "ExpectedBucketOwner": "bucket_owner",
    "ManifestOutputLocation": "output",
}
_OF_OTHER_SHAPES = {"KeyNameConstraint", "MatchAnyObjectEncryption", "MatchAllTags", "EligibleForReplication"}


def generator_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """AWS's JSON for the fields of `ListObjects`; what is as it is by default is left out."""
    arns = [bucket if is_template(bucket) else S3Location(bucket, "").arn for bucket in fields["bucket"]]
    source: dict[str, Any] = {"SourceBucket": arns[0]} if len(arns) == 1 else {"SourceBuckets": arns}
    chosen = _told(_FILTERS, fields)
    if constraint := _told(_CONSTRAINTS, fields):
        chosen["KeyNameConstraint"] = constraint
    if fields["encryption"] is not None:
        about = {"KmsKeyArn": fields["kms_key"], "BucketKeyEnabled": fields["bucket_key"]}
        known = {name: value for name, value in about.items() if value is not None}
        chosen["MatchAnyObjectEncryption"] = [{fields["encryption"]: known}]
    if fields["tags"]:
        chosen["MatchAllTags"] = [{"Key": key, "Value": value} for key, value in fields["tags"].items()]
    options = {"EnableManifestOutput": True, **_told(_OPTIONS, fields)}
    return {**source, **options, **({"Filter": chosen} if chosen else {})}


def _told(names: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: fields[field] for name, field in names.items()}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None and value is not False and value != ()
    }


def fields_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The fields of `ListObjects` that AWS's JSON tells.

    Raises:
        InvalidInput: a member is unknown or of another shape, or can't be done here.
    """
    try:
        return _fields(arguments)
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInput(f"{_NAME}: it isn't what CreateJob takes ({printable(repr(error))})") from None


def _fields(arguments: dict[str, Any]) -> dict[str, Any]:
    known_arguments(_NAME, arguments, {"SourceBucket", "SourceBuckets", "EnableManifestOutput", "Filter", *_OPTIONS})
    chosen = _members("Filter", arguments, {*_FILTERS, *_OF_OTHER_SHAPES})
    if "EligibleForReplication" in chosen:
        raise InvalidInput(
            f"{_NAME}: EligibleForReplication is known to Amazon's managed service only; "
            "filter by the prefixes and tags of the bucket's replication rules instead"
        )
    constraint = _members("KeyNameConstraint", chosen, set(_CONSTRAINTS))
    fields = {
        **{field: constraint[name] for name, field in _CONSTRAINTS.items() if name in constraint},
        **{field: chosen[name] for name, field in _FILTERS.items() if name in chosen},
        **{field: arguments[name] for name, field in _OPTIONS.items() if name in arguments},
        **_encryption(chosen.get("MatchAnyObjectEncryption") or ()),
    }
    if tags := chosen.get("MatchAllTags"):
        fields["tags"] = {tag["Key"]: tag["Value"] for tag in tags}
    sources = arguments.get("SourceBuckets", [arguments.get("SourceBucket", "")])
    return {"bucket": [_bucket(source) for source in sources], **fields}


def _members(name: str, inside: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return known_arguments(f"{_NAME}: {name}", inside.get(name) or {}, known)


def _bucket(source: str) -> str:
    return S3Location.from_arn(source).bucket if source.startswith("arn:") else source


def _encryption(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Our words for AWS's MatchAnyObjectEncryption, which is one ObjectEncryptionFilter."""
    if not filters:
        return {}
    if len(filters) != 1 or len(filters[0]) != 1:
        raise InvalidInput(f"MatchAnyObjectEncryption holds one filter with one member; got {printable(filters)}")
    ((kind, about),) = filters[0].items()
    known_arguments(f"MatchAnyObjectEncryption.{printable(kind)}", about or {}, {"KmsKeyArn", "BucketKeyEnabled"})
    found = {"encryption": kind, "kms_key": about.get("KmsKeyArn"), "bucket_key": about.get("BucketKeyEnabled")}
    return {name: value for name, value in found.items() if value is not None}
