"""``ListObjects(eligible_for_replication=True)``: what a bucket's replication configuration is about."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import botocore.session
import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import ManifestError, S3Error
from airflow_s3batch.core.manifest import ListObjects, manifest_from_aws
from airflow_s3batch.core.manifest.replication import ReplicationRule, ReplicationRules
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import limits, to
from tests.core.manifest.test_list_objects import NOON, PLACE, found, keys
from tests.servers import ScriptedServer, answer

EXCLUSIONS = "ReplicationRuleNotOperator" in botocore.session.get_session().get_service_model("s3").shape_names
"""Whether this botocore tells what a rule leaves out."""
MIRROR, ARCHIVE = "arn:aws:s3:::mirror", "arn:aws:s3:::archive"
ENABLED, DISABLED = {"Status": "Enabled"}, {"Status": "Disabled"}
ELIGIBLE = ListObjects("data", eligible_for_replication=True)


def rule(chosen: dict[str, Any] | None, *, to: str = MIRROR, **more: Any) -> dict[str, Any]:
    """A rule as GetBucketReplication tells it; of the first version without a filter."""
    told = {"Status": "Enabled", "Destination": {"Bucket": to}, **more}
    return told if chosen is None else {"Priority": 1, "DeleteMarkerReplication": DISABLED, "Filter": chosen, **told}


def tag(text: str) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {"Key": key, "Value": value}


class Replicating(MemoryS3):
    """A bucket ``data`` with these rules; what objects' tags, HEADs and classes are, is said by their keys."""

    def __init__(self, *rules: dict[str, Any], versions: bool = False) -> None:
        super().__init__("lake", "data", versioned=("data",) if versions else ())
        self.rules = list(rules)
        self.tags: dict[str, list[str]] = {}
        self.heads: dict[str, dict[str, Any]] = {}
        self.classes: dict[str, str] = {}
        self.asked: list[str] = []

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        key = parameters.get("Key", "")
        if action == "GetBucketReplication":
            self.asked.append(action)
            return {"ReplicationConfiguration": {"Role": "arn:aws:iam::1:role/r", "Rules": self.rules}}
        if action == "GetObjectTagging":
            self.asked.append(f"tags of {key}")
            return {"TagSet": [tag(one) for one in self.tags.get(key, ())]}
        if action == "HeadObject" and parameters["Bucket"] == "data":
            self.asked.append(f"head of {key}")
            return self.heads.get(key, {"ServerSideEncryption": "AES256"})
        answer = await super().call(action, **parameters)
        for item in (*answer.get("Contents", ()), *answer.get("Versions", ())):
            item["StorageClass"] = self.classes.get(item["Key"], "STANDARD")
        return answer


def with_objects(s3: Replicating, *names: str) -> Replicating:
    for name in names:
        s3.put("data", name, b"x")
    return s3


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([rule({})], ["a/1", "a/2", "a/tmp/3", "b/1"]),
        ([rule({"Prefix": ""})], ["a/1", "a/2", "a/tmp/3", "b/1"]),
        ([rule({"Prefix": "a/"})], ["a/1", "a/2", "a/tmp/3"]),
        ([rule(None, Prefix="b/")], ["b/1"]),
        ([rule({"Prefix": "a/tmp/"}), rule({"Prefix": "b/"}, to=ARCHIVE)], ["a/tmp/3", "b/1"]),
        ([rule({"Prefix": "a/"}, Status="Disabled"), rule({"Prefix": "b/"})], ["b/1"]),
        ([rule({"Tag": tag("tier=hot")})], ["a/1", "b/1"]),
        ([rule({"And": {"Prefix": "a/", "Tags": [tag("tier=hot")]}})], ["a/1"]),
        ([rule({"And": {"Tags": [tag("tier=hot"), tag("team=x")]}})], ["b/1"]),
        ([rule({"Tag": tag("tier=cold")}), rule({"Prefix": "b/"})], ["a/2", "b/1"]),
        ([rule({"Not": {"Prefix": "a/tmp/"}})], ["a/1", "a/2", "b/1"]),
        ([rule({"Not": {"Tag": tag("tier=hot")}})], ["a/2", "a/tmp/3"]),
        ([rule({"Not": {"Or": {"Prefixes": ["a/t", "b/"], "Tags": [tag("tier=cold")]}}})], ["a/1"]),
        ([rule({"And": {"Prefix": "a/", "Not": {"Prefix": "a/tmp/"}}})], ["a/1", "a/2"]),
    ],
)
def test_rules_choose_by_prefixes_tags_and_exclusions(rules: list[dict[str, Any]], wanted: list[str]) -> None:
    s3 = with_objects(Replicating(*rules), "a/1", "a/2", "a/tmp/3", "b/1")
    s3.tags = {"a/1": ["tier=hot"], "a/2": ["tier=cold", "team=x"], "b/1": ["tier=hot", "team=x"]}

    assert keys(found(s3, ELIGIBLE)) == wanted


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([rule({})], ["none", "sse-c", "sse-s3"]),
        ([rule({}, SourceSelectionCriteria={"SseKmsEncryptedObjects": DISABLED})], ["none", "sse-c", "sse-s3"]),
        (
            [rule({}, SourceSelectionCriteria={"SseKmsEncryptedObjects": ENABLED})],
            ["dsse", "none", "sse-c", "sse-kms", "sse-s3"],
        ),
        (
            [rule({"Prefix": "sse-"}, SourceSelectionCriteria={"SseKmsEncryptedObjects": ENABLED}), rule({})],
            ["none", "sse-c", "sse-kms", "sse-s3"],
        ),
    ],
)
def test_objects_under_kms_keys_need_a_rule_that_is_about_them(rules: list[dict[str, Any]], wanted: list[str]) -> None:
    s3 = with_objects(Replicating(*rules), "none", "sse-s3", "sse-kms", "dsse", "sse-c")
    s3.heads = {
        "none": {},
        "sse-kms": {"ServerSideEncryption": "aws:kms"},
        "dsse": {"ServerSideEncryption": "aws:kms:dsse"},
        "sse-c": {"SSECustomerAlgorithm": "AES256"},
    }

    assert keys(found(s3, ELIGIBLE)) == wanted


def test_what_is_archived_is_not_eligible() -> None:
    s3 = with_objects(Replicating(rule({})), "standard", "glacier", "glacier-ir", "deep", "tiered", "tiered-away")
    s3.classes = {
        "glacier": "GLACIER",
        "glacier-ir": "GLACIER_IR",
        "deep": "DEEP_ARCHIVE",
        "tiered": "INTELLIGENT_TIERING",
        "tiered-away": "INTELLIGENT_TIERING",
    }
    s3.heads = {"tiered-away": {"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}}

    assert keys(found(s3, ELIGIBLE)) == ["glacier-ir", "standard", "tiered"]


def test_replicas_and_what_was_replicated_before_are_eligible_and_told_apart_by_their_status() -> None:
    s3 = with_objects(Replicating(rule({"Prefix": "a"})), "a-replica", "a-done", "a-failed", "a-new", "b-new")
    s3.heads = {
        "a-replica": {"ReplicationStatus": "REPLICA"},
        "a-done": {"ReplicationStatus": "COMPLETED"},
        "a-failed": {"ReplicationStatus": "FAILED"},
    }
    again = ListObjects("data", eligible_for_replication=True, replication_statuses=["NONE", "FAILED"])

    assert keys(found(s3, ELIGIBLE)) == ["a-done", "a-failed", "a-new", "a-replica"]
    assert keys(found(s3, again)) == ["a-failed", "a-new"]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([rule({})], False),
        ([rule({}, DeleteMarkerReplication=ENABLED)], True),
        ([rule(None, Prefix="")], True),
        ([rule({"Prefix": "b"}, DeleteMarkerReplication=ENABLED), rule({})], False),
        ([rule({}, Priority=2), rule({}, Priority=1, DeleteMarkerReplication=ENABLED)], False),
        ([rule({}, Priority=1), rule({}, Priority=2, DeleteMarkerReplication=ENABLED)], True),
        ([rule({}, Priority=2), rule({}, Priority=1, to=ARCHIVE, DeleteMarkerReplication=ENABLED)], True),
        ([rule({"Tag": tag("a=b")}, Priority=2), rule({}, Priority=1, DeleteMarkerReplication=ENABLED)], True),
    ],
)
def test_delete_markers_are_eligible_where_the_rule_that_counts_replicates_them(
    rules: list[dict[str, Any]], wanted: bool
) -> None:
    s3 = with_objects(Replicating(*rules, rule({"Prefix": "z"}), versions=True), "a", "z")
    asyncio.run(s3.call("DeleteObject", Bucket="data", Key="a"))
    history = ListObjects("data", eligible_for_replication=True, versions=True, delete_markers=True, globs="[az]*")

    versions = [entry for entry in found(s3, history) if entry.key == "a"]

    assert len(versions) == 1 + wanted


def test_a_delete_marker_has_nothing_that_other_filters_ask_for() -> None:
    s3 = with_objects(Replicating(rule({}, DeleteMarkerReplication=ENABLED), versions=True), "a")
    asyncio.run(s3.call("DeleteObject", Bucket="data", Key="a"))
    fields: dict[str, Any] = {"eligible_for_replication": True, "versions": True, "delete_markers": True}

    assert len(found(s3, ListObjects("data", **fields))) == 2
    assert len(found(s3, ListObjects("data", **fields, replication_statuses="NONE"))) == 1


def test_each_object_is_asked_only_for_what_the_rules_that_fit_it_need() -> None:
    kms: dict[str, Any] = {"SourceSelectionCriteria": {"SseKmsEncryptedObjects": ENABLED}}
    s3 = Replicating(
        rule({"And": {"Prefix": "tagged/", "Tags": [tag("a=b")]}}, **kms),
        rule({"Prefix": "free/"}, **kms),
        rule({"Prefix": "free/1"}),
    )
    with_objects(s3, "free/1", "tagged/1", "other/1", "free/2")
    s3.classes = {"free/2": "INTELLIGENT_TIERING"}
    s3.tags = {"tagged/1": ["a=b"]}

    assert keys(found(s3, ELIGIBLE)) == ["free/1", "free/2", "tagged/1"]
    assert sorted(s3.asked) == ["GetBucketReplication", "head of free/2", "tags of tagged/1"]


def test_only_what_the_rules_are_about_is_listed() -> None:
    s3 = with_objects(Replicating(rule({"Prefix": "a/"})), "a/1", "b/1")

    with pytest.raises(ManifestError, match="none of 1 object is wanted"):
        found(s3, ListObjects("data", eligible_for_replication=True, suffixes="2"))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "ReplicationConfigurationNotFoundError",
            "^s3://data/: the bucket has no replication configuration: no object is eligible",
        ),
        ("AccessDenied", r"^s3://data/: the bucket's replication configuration can't be read \(.*AccessDenied"),
    ],
)
def test_a_bucket_that_tells_no_rules_is_an_error(code: str, told: str) -> None:
    class Refusing(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action == "GetBucketReplication":
                raise S3Error(action, "s3://data", status=404, code=code, message="no")
            return await super().call(action, **parameters)

    with pytest.raises(ManifestError, match=told) as caught:
        asyncio.run(ELIGIBLE.resolve(Refusing("lake", "data"), PLACE, NOON))
    assert caught.value.code == code


def test_rules_that_are_all_disabled_are_an_error() -> None:
    s3 = with_objects(Replicating(rule({}, Status="Disabled")), "a")

    with pytest.raises(ManifestError, match="no rule of its replication configuration is enabled"):
        found(s3, ELIGIBLE)


def test_the_account_that_has_to_own_the_bucket_is_told_with_the_question_for_its_rules() -> None:
    class Owned(Replicating):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action in {"GetBucketReplication", "ListObjectsV2"}:
                assert parameters.pop("ExpectedBucketOwner") == "012345678901"
            return await super().call(action, **parameters)

    s3 = with_objects(Owned(rule({})), "a")

    assert keys(found(s3, ListObjects("data", eligible_for_replication=True, bucket_owner="012345678901"))) == ["a"]


@pytest.mark.parametrize(("told", "wanted"), [(True, True), ("True", True), (False, False), (None, False)])
def test_it_is_told_in_awss_words(told: Any, wanted: bool) -> None:
    chosen = {} if told is None else {"EligibleForReplication": told}
    manifest = manifest_from_aws({"S3JobManifestGenerator": {"SourceBucket": "arn:aws:s3:::data", "Filter": chosen}})

    assert manifest == ListObjects("data", eligible_for_replication=wanted)
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Role>arn:aws:iam::123456789012:role/replicator</Role>
  <Rule>
    <ID>both</ID><Priority>7</Priority><Status>Enabled</Status>
    <Filter><And><Prefix>a/</Prefix>
      <Tag><Key>tier</Key><Value>hot</Value></Tag><Tag><Key>team</Key><Value></Value></Tag>
      <Not><Or><Prefix>a/tmp/</Prefix><Prefix>a/old/</Prefix></Or></Not>
    </And></Filter>
    <SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>
    <DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>
    <Destination><Bucket>arn:aws:s3:::mirror</Bucket></Destination>
  </Rule>
  <Rule>
    <ID>off</ID><Priority>8</Priority><Status>Disabled</Status><Filter/>
    <DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>
    <Destination><Bucket>arn:aws:s3:::mirror</Bucket></Destination>
  </Rule>
  <Rule>
    <ID>all</ID><Priority>9</Priority><Status>Enabled</Status><Filter/>
    <DeleteMarkerReplication><Status>Enabled</Status></DeleteMarkerReplication>
    <Destination><Bucket>arn:aws:s3:::archive</Bucket></Destination>
  </Rule>
  <Rule>
    <ID>first version</ID><Prefix>b/</Prefix><Status>Enabled</Status>
    <Destination><Bucket>arn:aws:s3:::mirror</Bucket></Destination>
  </Rule>
</ReplicationConfiguration>"""


def test_rules_are_read_from_what_s3_answers() -> None:
    async def asking(url: str) -> ReplicationRules:
        async with S3(to(url), limits()) as s3:
            return await ReplicationRules.of(s3, "data")

    with ScriptedServer(lambda _: [answer(200, XML, {"Content-Type": "application/xml"})]) as server:
        rules = engine.run(asking(server.url))

    nothing: frozenset[tuple[str, str]] = frozenset()
    assert rules.rules == (
        ReplicationRule(
            destination=MIRROR,
            priority=7,
            prefix="a/",
            tags=frozenset({("tier", "hot"), ("team", "")}),
            not_prefixes=("a/tmp/", "a/old/") if EXCLUSIONS else (),
            not_tags=nothing,
            kms=True,
            delete_markers=False,
        ),
        ReplicationRule(ARCHIVE, 9, "", nothing, (), nothing, kms=False, delete_markers=True),
        ReplicationRule(MIRROR, 0, "b/", nothing, (), nothing, kms=False, delete_markers=True),
    )
