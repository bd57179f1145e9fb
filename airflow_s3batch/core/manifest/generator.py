"""AWS's ``S3JobManifestGenerator``, in our fields and back. Where AWS has no words for a field, there are some of ours.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3JobManifestGenerator.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import as_create_job_takes, known_arguments

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
    "EligibleForReplication": "eligible_for_replication",
}
_OPTIONS = {
    "AllVersions": "versions",
    "IncludeDeleteMarkers": "delete_markers",
    "ExpectedBucketOwner": "bucket_owner",
    "ManifestOutputLocation": "output",
}
_OF_OTHER_SHAPES = {"KeyNameConstraint", "MatchAnyObjectEncryption", "MatchAllTags"}


def generator_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """AWS's JSON for the fields of `ListObjects`; what is as it is by default is left out."""
    arns = [bucket if is_template(bucket) else S3Location(bucket, "").arn for bucket in fields["bucket"]]
    source: dict[str, Any] = {"SourceBucket": arns[0]} if len(arns) == 1 else {"SourceBuckets": arns}
    chosen = _members_told(_FILTERS, fields)
    if constraint := _members_told(_CONSTRAINTS, fields):
        chosen["KeyNameConstraint"] = constraint
    if fields["encryption"]:
        chosen["MatchAnyObjectEncryption"] = [one.to_aws() for one in fields["encryption"]]
    if fields["tags"]:
        chosen["MatchAllTags"] = [{"Key": key, "Value": value} for key, value in fields["tags"].items()]
    options = {"EnableManifestOutput": True, **_members_told(_OPTIONS, fields)}
    return {**source, **options, **({"Filter": chosen} if chosen else {})}


def _members_told(names: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: fields[field] for name, field in names.items()}
    return {
        name: _told(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None and value is not False and value != ()
    }


def _told(values: tuple[Any, ...]) -> Any:
    """The list; a template that is alone in it stands for itself, since it may render to a list."""
    return values[0] if len(values) == 1 and is_template(values[0]) else list(values)


def fields_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The fields of `ListObjects` that AWS's JSON tells.

    Raises:
        InvalidInput: a member is unknown or of another shape.
    """
    with as_create_job_takes(_NAME):
        return _fields(arguments)


def _fields(arguments: dict[str, Any]) -> dict[str, Any]:
    known_arguments(_NAME, arguments, {"SourceBucket", "SourceBuckets", "EnableManifestOutput", "Filter", *_OPTIONS})
    chosen = _members("Filter", arguments, {*_FILTERS, *_OF_OTHER_SHAPES})
    constraint = _members("KeyNameConstraint", chosen, set(_CONSTRAINTS))
    encryption = {"encryption": chosen["MatchAnyObjectEncryption"]} if "MatchAnyObjectEncryption" in chosen else {}
    fields = {
        **{field: constraint[name] for name, field in _CONSTRAINTS.items() if name in constraint},
        **{field: chosen[name] for name, field in _FILTERS.items() if name in chosen},
        **{field: arguments[name] for name, field in _OPTIONS.items() if name in arguments},
        **encryption,
    }
    if "MatchAllTags" in chosen:
        fields["tags"] = {tag["Key"]: tag["Value"] for tag in chosen["MatchAllTags"]}
    sources = arguments.get("SourceBuckets")
    bucket = _bucket(arguments.get("SourceBucket", "")) if sources is None else [_bucket(source) for source in sources]
    return {"bucket": bucket, **fields}


def _members(name: str, inside: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """The members of this one, none if it isn't there. What is there and null would ask for less than it seems to."""
    members = known_arguments(f"{_NAME}: {name}", inside.get(name, {}), known)
    if empty := [member for member, value in members.items() if value is None]:
        raise InvalidInput(f"{_NAME}: {name}: {empty[0]} is null; leave it out if it is meant to ask for nothing")
    return members


def _bucket(source: str) -> str:
    return S3Location.from_arn(source).bucket if source.startswith("arn:") else source
