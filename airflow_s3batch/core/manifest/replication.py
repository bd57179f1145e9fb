"""`ReplicationRules`: which objects a bucket's replication configuration is about.

As Batch Replication takes it, an object (with versions: each version) is eligible if an enabled rule's prefix, tags and
exclusions fit it. Replicas are eligible, as are objects that were replicated before. Not eligible are

- objects under KMS keys (SSE-KMS, DSSE-KMS), for a rule without SseKmsEncryptedObjects;
- archived objects: GLACIER, DEEP_ARCHIVE, and those that INTELLIGENT_TIERING has archived;
- delete markers, unless the rule of highest priority for a destination replicates them. It can't by tags.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-batch-replication-batch.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-what-is-isnot-replicated.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ManifestError, S3Error
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.encryption import encryption_of

__all__ = ["ReplicationRule", "ReplicationRules"]

_ENABLED = "Enabled"
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_MAYBE_ARCHIVED = "INTELLIGENT_TIERING"
_UNDER_KMS = frozenset({"SSEKMS", "DSSEKMS"})

_Tags = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class ReplicationRule:
    """One enabled rule."""

    destination: str
    """The ARN of the bucket it replicates to."""
    priority: int
    """The higher one counts, of two rules with one destination."""
    prefix: str
    tags: _Tags
    """Objects have all of them."""
    not_prefixes: tuple[str, ...]
    not_tags: _Tags
    """Objects have none of them."""
    kms: bool
    """Whether it is about objects under KMS keys, too."""
    delete_markers: bool

    @classmethod
    def parse(cls, rule: Mapping[str, Any]) -> ReplicationRule:
        """Read a rule of GetBucketReplication's answer.

        Without a Filter it is of the first version of such configurations, which replicates delete markers.
        """
        chosen = rule.get("Filter") or {}
        both = chosen.get("And") or {}
        left_out = chosen.get("Not") or both.get("Not") or {}
        either = left_out.get("Or") or {}
        criteria = rule.get("SourceSelectionCriteria") or {}
        markers = rule.get("DeleteMarkerReplication") or {}
        return cls(
            destination=rule["Destination"]["Bucket"],
            priority=int(rule.get("Priority", 0)),
            prefix=rule.get("Prefix") or chosen.get("Prefix") or both.get("Prefix") or "",
            tags=_tags(chosen.get("Tag"), both.get("Tags")),
            not_prefixes=tuple(filter(None, (left_out.get("Prefix"), *(either.get("Prefixes") or ())))),
            not_tags=_tags(left_out.get("Tag"), either.get("Tags")),
            kms=(criteria.get("SseKmsEncryptedObjects") or {}).get("Status") == _ENABLED,
            delete_markers="Filter" not in rule or markers.get("Status") == _ENABLED,
        )

    def is_about_key(self, key: str) -> bool:
        """Whether it is about objects with this key, as far as keys tell."""
        return key.startswith(self.prefix) and not key.startswith(self.not_prefixes)

    def is_about_tags(self, tags: _Tags) -> bool:
        """Whether it is about objects with these tags, as far as tags tell."""
        return tags >= self.tags and not tags & self.not_tags


@dataclass(frozen=True)
class ReplicationRules:
    """Enabled rules of a bucket; those that are about an object once it is known what that is."""

    rules: tuple[ReplicationRule, ...]

    @classmethod
    async def of(cls, s3: S3Calls, bucket: str, owner: str | None = None) -> ReplicationRules:
        """All that a bucket has; `owner` is the account that has to own it, None for any.

        Raises:
            ManifestError: it has none, or they can't be read.
        """
        place = S3Location(bucket, "", owner or "")
        try:
            got = await s3.call("GetBucketReplication", **place.in_bucket)
        except S3Error as error:
            wrong = f"the bucket's replication configuration can't be read ({error})"
            if error.code == "ReplicationConfigurationNotFoundError":
                wrong = "the bucket has no replication configuration: no object is eligible for replication"
            raise ManifestError(place.uri, wrong, code=error.code) from error
        rules = got.get("ReplicationConfiguration", {}).get("Rules", ())
        enabled = tuple(ReplicationRule.parse(rule) for rule in rules if rule.get("Status") == _ENABLED)
        if not enabled:
            raise ManifestError(place.uri, "no rule of its replication configuration is enabled: no object is eligible")
        return cls(enabled)

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def heads(self) -> tuple[str, ...]:
        """How the keys begin that they are about."""
        return tuple(dict.fromkeys(rule.prefix for rule in self.rules))

    @property
    def by_tags(self) -> bool:
        """Whether an object's tags matter to one of them."""
        return any(rule.tags or rule.not_tags for rule in self.rules)

    def about(self, item: Mapping[str, Any]) -> ReplicationRules:
        """Those that may be about an item of a listing, as far as that tells."""
        if item.get("StorageClass") in _ARCHIVES:
            return ReplicationRules(())
        rules = [rule for rule in self.rules if rule.is_about_key(item["Key"])]
        return ReplicationRules(_for_markers(rules) if "DeleteMarker" in item else tuple(rules))

    def about_tags(self, tags: _Tags) -> ReplicationRules:
        """Those that may be about an object with these tags."""
        return ReplicationRules(tuple(rule for rule in self.rules if rule.is_about_tags(tags)))

    def need_head(self, item: Mapping[str, Any]) -> bool:
        """Whether only a HEAD tells if one of them is about an object that S3 lists so."""
        return item.get("StorageClass") == _MAYBE_ARCHIVED or not any(rule.kms for rule in self.rules)

    def about_head(self, head: Mapping[str, Any]) -> ReplicationRules:
        """Those that are about an object of which HEAD answers so."""
        if head.get("ArchiveStatus"):
            return ReplicationRules(())
        under_kms = encryption_of(head) in _UNDER_KMS
        return ReplicationRules(tuple(rule for rule in self.rules if rule.kms or not under_kms))


def _for_markers(rules: Iterable[ReplicationRule]) -> tuple[ReplicationRule, ...]:
    """Those that replicate delete markers: for each destination the rule of highest priority is asked."""
    first: dict[str, ReplicationRule] = {}
    for rule in sorted(rules, key=lambda rule: rule.priority, reverse=True):
        if not rule.tags:
            first.setdefault(rule.destination, rule)
    return tuple(rule for rule in first.values() if rule.delete_markers)


def _tags(one: Mapping[str, str] | None, several: Iterable[Mapping[str, str]] | None) -> _Tags:
    return frozenset((tag["Key"], tag["Value"]) for tag in (*((one,) if one else ()), *(several or ())))
