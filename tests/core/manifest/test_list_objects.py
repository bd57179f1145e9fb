"""`ListObjects`: what it finds, by which filter; and how it is said in AWS's words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput, ManifestError, ManifestInvalid, S3Error
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import InventoryManifest, ListObjects, manifest_from_aws
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import MemoryS3

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
PLACE = S3Location("lake", "reports/job-1/generated-manifest/")
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd"


class Clock:
    """An hour later at every look."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        self.time += timedelta(hours=1)
        return self.time


class Told(MemoryS3):
    """Answers a HEAD, and the question for tags, as the test says by key."""

    def __init__(self) -> None:
        super().__init__("lake", "data")
        self.heads: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.refused: dict[str, S3Error] = {}

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        key = parameters.get("Key", "")
        if action == "HeadObject" and key in self.heads:
            return self.heads[key]
        if action == "HeadObject" and key in self.refused:
            raise S3Error(action, key, status=400, code="BadRequest", message="")
        if action == "GetObject" and key in self.refused:
            raise self.refused[key]
        if action == "GetObjectTagging":
            self.get("data", key)
            return {"TagSet": [{"Key": name, "Value": value} for name, value in self.tags.get(key, {}).items()]}
        return await super().call(action, **parameters)


def found(s3: MemoryS3, manifest: ListObjects) -> list[Entry]:
    """What prepare would find and run would read."""

    async def finding() -> list[Entry]:
        resolved = await manifest.resolve(s3, PLACE, NOON)
        survey = await resolved.survey(s3)
        (whole,) = split(survey.marks, survey.rows, 1)
        entries = [entry async for some in resolved.read(s3, whole) for entry in some]
        assert len(entries) == survey.rows
        return sorted(entries, key=lambda entry: (entry.bucket, entry.key, entry.version or ""))

    return asyncio.run(finding())


def keys(entries: Sequence[Entry]) -> list[str]:
    return [entry.key for entry in entries]


def lake(*names: str, size: int = 0) -> Told:
    s3 = Told()
    for name in names:
        s3.put("data", name, b"x" * size)
    return s3


def test_a_job_is_not_about_its_own_folder() -> None:
    s3 = lake("a")
    own = PLACE.key.removesuffix("generated-manifest/")
    for name in ("z", f"{own}status.json", f"{own.rstrip('/')}0/manifest.json"):
        s3.put(PLACE.bucket, name, b"")

    assert keys(found(s3, ListObjects(["data", PLACE.bucket]))) == ["a", f"{own.rstrip('/')}0/manifest.json", "z"]


RAW = (
    "logs/app.txt",
    "raw/2026/a.csv",
    "raw/2026/a.csv.tmp",
    "raw/2026/b.parquet",
    "raw/deep/er/c.csv",
    "raw/x[1].csv",
)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, RAW),
        ({"prefixes": "raw/2026/"}, RAW[1:4]),
        ({"prefixes": ["logs/", "raw/d", "raw/de"]}, (RAW[0], RAW[4])),
        ({"suffixes": [".csv", ".parquet"]}, (RAW[1], *RAW[3:])),
        ({"substrings": ["/er/", "app"]}, (RAW[0], RAW[4])),
        ({"globs": "raw/*/*.csv"}, (RAW[1],)),
        ({"globs": "raw/**/*.csv"}, (RAW[1], *RAW[4:])),
        ({"globs": "**.csv"}, (RAW[1], *RAW[4:])),
        ({"globs": "raw/2026/?.*"}, RAW[1:4]),
        ({"globs": "raw/2026/[!b]*"}, RAW[1:3]),
        ({"globs": "raw/x[[]1].csv"}, (RAW[5],)),
        ({"globs": ["logs/*", "raw/x*"]}, (RAW[0], RAW[5])),
        ({"regexes": r"/\w\.csv$"}, (RAW[1], RAW[4])),
        ({"regexes": ["^logs", r"\[\d\]"]}, (RAW[0], RAW[5])),
        ({"exclude": ["logs/**", "**.tmp"]}, (RAW[1], *RAW[3:])),
        ({"prefixes": "raw/", "suffixes": ".csv", "exclude": "raw/deep/**"}, (RAW[1], RAW[5])),
        ({"prefixes": "raw/", "globs": "**/a.*"}, RAW[1:3]),
    ],
)
def test_keys_are_chosen(filters: dict[str, Any], wanted: tuple[str, ...]) -> None:
    assert keys(found(lake(*RAW), ListObjects("data", **filters))) == list(wanted)


def test_a_filter_by_prefix_lists_nothing_else() -> None:
    s3 = lake(*RAW)

    found(s3, ListObjects("data", globs=["raw/2026/*.csv", "logs/*"]))

    listings = [call.parameters["Prefix"] for call in s3.calls if call.action == "ListObjectsV2"]
    assert listings == ["logs/", "raw/2026/"]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"larger_than": 1}, ["k2", "k3"]),
        ({"larger_than": -1, "smaller_than": 2}, ["k0", "k1"]),
        ({"larger_than": 0, "smaller_than": 2}, ["k1"]),
        ({"created_after": NOON + timedelta(hours=2)}, ["k2", "k3"]),
        ({"created_before": "2026-11-24T15:00:00Z"}, ["k0", "k1"]),
        ({"created_after": "2026-11-24T13:00:00Z", "created_before": "2026-11-24T15:00:00Z"}, ["k1"]),
    ],
)
def test_sizes_and_times_are_exclusive(filters: dict[str, Any], wanted: list[str]) -> None:
    s3 = MemoryS3("lake", "data", now=Clock())
    for size in range(4):
        s3.put("data", f"k{size}", b"x" * size)

    assert keys(found(s3, ListObjects("data", **filters))) == wanted


def test_storage_classes_are_those_of_the_listing() -> None:
    class Classes(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            answer = await super().call(action, **parameters)
            for item in answer.get("Contents", ()):
                item["StorageClass"] = item["Key"]
            return answer

    s3 = Classes("lake", "data")
    for name in ("STANDARD", "GLACIER", "GLACIER_IR"):
        s3.put("data", name, b"")

    assert keys(found(s3, ListObjects("data", storage_classes=["GLACIER", "STANDARD"]))) == ["GLACIER", "STANDARD"]


def test_tags_have_to_be_there_all_of_them() -> None:
    s3 = lake("a", "b", "c", "d")
    s3.tags = {"a": {"tier": "cold", "team": "x"}, "b": {"tier": "cold"}, "c": {"tier": "hot", "team": "x"}}

    assert keys(found(s3, ListObjects("data", tags={"tier": "cold", "team": "x"}))) == ["a"]
    assert keys(found(s3, ListObjects("data", tags={"tier": "cold"}))) == ["a", "b"]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"replication_statuses": "COMPLETED"}, ["done"]),
        ({"replication_statuses": ["FAILED", "NONE"]}, ["dsse", "failed", "kms", "kms-bucket", "plain", "s3"]),
        ({"encryption": "NOTSSE"}, ["done", "failed", "plain"]),
        ({"encryption": "SSES3"}, ["s3"]),
        ({"encryption": "SSEKMS"}, ["kms", "kms-bucket"]),
        ({"encryption": "SSEKMS", "kms_key": KMS}, ["kms"]),
        ({"encryption": "SSEKMS", "bucket_key": True}, ["kms-bucket"]),
        ({"encryption": "SSEKMS", "bucket_key": False}, ["kms"]),
        ({"encryption": "DSSEKMS"}, ["dsse"]),
        ({"encryption": ["DSSEKMS", "SSEKMS"], "kms_key": "arn:other"}, ["kms-bucket"]),
        ({"encryption": ["sses3", "NOTSSE"]}, ["done", "failed", "plain", "s3"]),
        ({"encryption": ["SSES3", "SSEKMS"], "kms_key": KMS}, ["kms", "s3"]),
        ({"encryption": ["DSSEKMS", "SSEKMS"], "kms_key": KMS, "bucket_key": True}, ["dsse"]),
        ({"encryption": {"SSEKMS": {"KmsKeyArn": KMS}}}, ["kms"]),
        ({"encryption": [{"SSEKMS": {"BucketKeyEnabled": True}}, "SSES3"]}, ["kms-bucket", "s3"]),
        ({"encryption": ["SSES3", "DSSEKMS"], "replication_statuses": "NONE"}, ["dsse", "s3"]),
    ],
)
def test_what_only_a_head_tells(filters: dict[str, Any], wanted: list[str]) -> None:
    s3 = lake("done", "failed", "plain", "s3", "kms", "kms-bucket", "dsse")
    s3.heads = {
        "done": {"ReplicationStatus": "COMPLETE"},
        "failed": {"ReplicationStatus": "FAILED"},
        "s3": {"ServerSideEncryption": "AES256"},
        "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KMS},
        "kms-bucket": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:other", "BucketKeyEnabled": True},
        "dsse": {"ServerSideEncryption": "aws:kms:dsse", "SSEKMSKeyId": KMS},
    }

    assert keys(found(s3, ListObjects("data", **filters))) == wanted


def test_an_object_under_a_customers_key_is_known_by_what_get_says() -> None:
    told = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided."
    s3 = lake("plain", "secret")
    s3.refused = {"secret": S3Error("GetObject", "secret", status=400, code="InvalidRequest", message=told)}

    assert keys(found(s3, ListObjects("data", encryption="SSEC"))) == ["secret"]
    assert keys(found(s3, ListObjects("data", encryption="NOTSSE"))) == ["plain"]


def test_an_object_that_cannot_be_asked_ends_the_search() -> None:
    s3 = lake("odd")
    s3.refused = {"odd": S3Error("GetObject", "odd", status=403, code="AccessDenied", message="no")}

    with pytest.raises(S3Error, match="AccessDenied"):
        found(s3, ListObjects("data", encryption="NOTSSE"))


def test_an_object_deleted_while_it_is_asked_is_left_out() -> None:
    class Deleting(Told):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action == "HeadObject" and parameters["Key"] == "b":
                await super().call("DeleteObject", Bucket="data", Key="b")
            return await super().call(action, **parameters)

    s3 = Deleting()
    for name in "abc":
        s3.put("data", name, b"")

    assert keys(found(s3, ListObjects("data", encryption="NOTSSE"))) == ["a", "c"]


def versioned() -> MemoryS3:
    s3 = MemoryS3("lake", versioned=["data"], now=Clock())
    for name, size in (("a", 1), ("b", 2), ("a", 3)):
        s3.put("data", name, b"x" * size)
    asyncio.run(s3.call("DeleteObject", Bucket="data", Key="b"))
    s3.calls.clear()
    return s3


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, [("a", None)]),
        ({"versions": True}, [("a", "v1"), ("a", "v3"), ("b", "v2")]),
        ({"versions": True, "delete_markers": True}, [("a", "v1"), ("a", "v3"), ("b", "v2"), ("b", "v4")]),
        ({"versions": True, "delete_markers": True, "prefixes": "b"}, [("b", "v2"), ("b", "v4")]),
        ({"versions": True, "delete_markers": True, "larger_than": -1}, [("a", "v1"), ("a", "v3"), ("b", "v2")]),
        ({"versions": True, "delete_markers": True, "smaller_than": 2}, [("a", "v1")]),
        ({"versions": True, "created_after": "2026-11-24T14:00:00Z"}, [("a", "v3")]),
    ],
)
def test_versions_are_listed_if_wanted(filters: dict[str, Any], wanted: list[tuple[str, str | None]]) -> None:
    entries = found(versioned(), ListObjects("data", **filters))

    assert [(entry.key, entry.version) for entry in entries] == wanted


def test_the_null_version_is_called_null() -> None:
    s3 = lake("a")

    assert [entry.version for entry in found(s3, ListObjects("data", versions=True))] == ["null"]


def test_many_objects_of_several_buckets_are_found_once_each() -> None:
    s3 = MemoryS3("lake", "one", "two", page_size=50)
    names = [f"{folder}/{number:04} +é\n.csv" for folder in ("a", "b/c", "d") for number in range(400)]
    for bucket in ("one", "two"):
        for name in names:
            s3.put(bucket, name, b"")

    entries = found(s3, ListObjects(["one", "two"]))

    assert [(entry.bucket, entry.key) for entry in entries] == [
        (b, name) for b in ("one", "two") for name in sorted(names)
    ]


def test_many_versions_are_found_once_each() -> None:
    s3 = MemoryS3("lake", versioned=["data"], page_size=7)
    names = [f"{folder}/{number:02}" for folder in ("a", "b/c", "d") for number in range(30)]
    for name in names * 3:
        s3.put("data", name, b"")

    entries = found(s3, ListObjects("data", versions=True))

    assert len({(entry.key, entry.version) for entry in entries}) == len(entries) == 270
    assert keys(entries) == sorted(names * 3)


def test_what_was_found_is_an_inventory_with_all_that_the_listing_tells() -> None:
    s3 = MemoryS3("lake", versioned=["data"], now=lambda: NOON)
    s3.put("data", "a b", b"xyz")

    async def columns() -> dict[str, list[Any]]:
        resolved = await ListObjects("data", versions=True).resolve(s3, PLACE, NOON)
        assert isinstance(resolved, InventoryManifest)
        rows: list[dict[str, Any]] = [row async for batch in resolved.batches(s3) for row in batch.to_pylist()]
        return {name: [row[name] for row in rows] for name in rows[0]}

    assert asyncio.run(columns()) == {
        "bucket": ["data"],
        "key": ["a b"],
        "version_id": ["v1"],
        "is_latest": [True],
        "is_delete_marker": [False],
        "size": [3],
        "last_modified_date": [NOON],
        "e_tag": ["d16fb36f0911f878998c136191af705e"],
        "storage_class": [""],
    }


def test_finding_nothing_is_an_error_that_says_where() -> None:
    with pytest.raises(ManifestError, match=r"^s3://data/, prefixes='nothing/': there are no objects; a job needs"):
        found(lake("a"), ListObjects("data", prefixes="nothing/"))


def test_finding_nothing_is_an_error_that_says_of_how_many_and_by_which_filters() -> None:
    question = ListObjects("data", suffixes=["z", "y"], larger_than=5, versions=False)

    with pytest.raises(
        ManifestError, match=r"^s3://data/, suffixes=\('z', 'y'\), larger_than=5: none of 3 objects is wanted; a job"
    ):
        found(lake("a", "b", "c"), question)


def test_log_tells_how_many_the_filters_let_pass(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "airflow_s3batch"):
        found(lake("a1", "a2", "b1"), ListObjects("data", globs="a*"))

    assert caplog.messages == ["s3://data/, globs='a*': 2 of 2 objects wanted"]


def test_a_bucket_that_is_not_there_is_an_error() -> None:
    with pytest.raises(
        ManifestError, match=r"^s3://missing/: the bucket doesn't exist; create it, or name another$"
    ) as caught:
        found(lake("a"), ListObjects("missing"))

    assert caught.value.code == "NoSuchBucket"
    assert not isinstance(caught.value, ManifestInvalid)


@pytest.mark.parametrize(("versions", "needed"), [(False, "s3:ListBucket"), (True, "s3:ListBucketVersions")])
def test_a_bucket_that_may_not_be_listed_is_told_with_what_it_takes(versions: bool, needed: str) -> None:
    s3 = MemoryS3("lake", "data", forbidden=["data"])

    with pytest.raises(
        ManifestError, match=rf"^s3://data/: the bucket can't be listed: AccessDenied: .*; it takes {needed}$"
    ) as caught:
        found(s3, ListObjects("data", versions=versions))

    assert caught.value.code == "AccessDenied"


def test_a_list_that_cannot_be_written_is_an_error() -> None:
    s3 = MemoryS3("data", forbidden=["lake"])
    s3.put("data", "a", b"")

    with pytest.raises(ManifestError, match="the list of what was found can't be written"):
        found(s3, ListObjects("data"))


def test_the_list_goes_where_the_job_says() -> None:
    class Recording(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action == "PutObject":
                assert parameters.pop("ServerSideEncryption") == "aws:kms"
                assert parameters.pop("SSEKMSKeyId") == KMS
            return await super().call(action, **parameters)

    s3 = Recording("lake", "data", "lists")
    s3.put("data", "a", b"")
    output = {
        "Bucket": "arn:aws:s3:::lists",
        "ManifestPrefix": "of/jobs",
        "ManifestFormat": "S3InventoryReport_CSV_20211130",
        "ManifestEncryption": {"SSEKMS": {"KeyId": KMS}},
    }

    assert keys(found(s3, ListObjects("data", output=output))) == ["a"]
    assert s3.keys("lake") == []
    assert all(name.startswith("of/jobs/job-1/generated-manifest/") for name in s3.keys("lists"))


AWS = {
    "S3JobManifestGenerator": {
        "ExpectedBucketOwner": "012345678901",
        "SourceBucket": "arn:aws:s3:::data",
        "EnableManifestOutput": True,
        "ManifestOutputLocation": {
            "Bucket": "arn:aws:s3:::lists",
            "ManifestPrefix": "prefix",
            "ManifestFormat": "S3InventoryReport_CSV_20211130",
            "ManifestEncryption": {"SSES3": {}},
        },
        "Filter": {
            "CreatedAfter": "2023-09-01T00:00:00Z",
            "CreatedBefore": "2023-10-01T00:00:00Z",
            "KeyNameConstraint": {
                "MatchAnyPrefix": ["prefix"],
                "MatchAnySuffix": ["suffix"],
                "MatchAnySubstring": ["substring"],
            },
            "ObjectSizeGreaterThanBytes": 100,
            "ObjectSizeLessThanBytes": 200,
            "MatchAnyStorageClass": ["STANDARD", "STANDARD_IA"],
            "ObjectReplicationStatuses": ["FAILED", "NONE"],
            "EligibleForReplication": True,
            "MatchAnyObjectEncryption": [{"SSEKMS": {"KmsKeyArn": KMS, "BucketKeyEnabled": False}}],
        },
    }
}


def test_all_that_create_job_takes_is_taken_and_told_again() -> None:
    manifest = manifest_from_aws(AWS)

    assert json.loads(json.dumps(manifest.to_aws())) == AWS
    assert manifest == ListObjects(
        "data",
        bucket_owner="012345678901",
        created_after=datetime(2023, 9, 1, tzinfo=timezone.utc),
        created_before="2023-10-01T00:00:00Z",
        prefixes=["prefix"],
        suffixes=["suffix"],
        substrings=["substring"],
        larger_than=100,
        smaller_than=200,
        storage_classes=["STANDARD", "STANDARD_IA"],
        replication_statuses=["FAILED", "NONE"],
        eligible_for_replication=True,
        encryption="SSEKMS",
        kms_key=KMS,
        bucket_key=False,
        output=AWS["S3JobManifestGenerator"]["ManifestOutputLocation"],  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "manifest",
    [
        ListObjects("data"),
        ListObjects(["one", "two"], globs="*.csv", regexes="^a", exclude=["b*"]),
        ListObjects("data", tags={"a": "b", "c": ""}, versions=True, delete_markers=True),
        ListObjects("data", larger_than=0, encryption="SSEC"),
        ListObjects("data", encryption=["SSES3", {"SSEKMS": {"KmsKeyArn": KMS}}, "DSSEKMS"]),
        ListObjects("data", encryption=["NOTSSE", "{{ params.kind }}"], kms_key=KMS),
        ListObjects("data", encryption="SSEKMS", kms_key="{{ var.value.key }}", bucket_key="{{ params.bucket_key }}"),
        ListObjects("data", eligible_for_replication="{{ params.eligible }}"),
        ListObjects("{{ params.bucket }}", prefixes="{{ ds }}/", larger_than="{{ params.size }}"),
    ],
)
def test_it_comes_back_from_its_json(manifest: ListObjects) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


@pytest.mark.parametrize("written", [str, json.dumps])
@pytest.mark.parametrize("name", ["prefixes", "suffixes", "substrings", "globs", "regexes", "exclude"])
def test_a_list_in_one_text_is_taken_apart(name: str, written: Callable[[Any], str]) -> None:
    """As a template writes one that a task has returned."""
    texts = ["it's/", 'a "b", c/', "é\n", "plain"]

    assert ListObjects("data", **{name: written(texts)}) == ListObjects("data", **{name: texts})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[ab]*", "[1, 2]", "['a', 2]", "('a')", "['a'", "a, b"])
def test_what_only_looks_like_a_list_is_one_text(text: str) -> None:
    assert ListObjects("data", prefixes=text).prefixes == (text,)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"bucket": []}, "name a bucket"),
        ({"bucket": "s3://data/"}, "not a bucket name"),
        ({"bucket": ["data", "data"]}, "named twice"),
        ({"suffixes": [""]}, "suffixes: an empty text"),
        ({"globs": "a[z-a]"}, r"globs: 'a\[z-a\]' is no glob: bad character range"),
        ({"exclude": ["a", "['raw/**', 'tmp/**']"]}, r"exclude: \"\['raw/.* is a whole list; give it alone"),
        ({"prefixes": ["a", '["b"]']}, "prefixes: .* is a whole list; give it alone, not among others"),
        ({"prefixes": "[]"}, "prefixes: an empty list fits no object"),
        ({"bucket": "[]"}, "bucket: name a bucket"),
        ({"regexes": "a("}, r"regexes: 'a\(' is no regular expression: .* at position 1"),
        ({"prefixes": "x" * 1025}, "has 1,025 characters; keys have at most 1,024"),
        ({"created_after": "yesterday"}, "created_after: 'yesterday' is not a date"),
        ({"larger_than": 10, "smaller_than": 11}, "no object is larger than 10 and smaller than 11 bytes"),
        ({"larger_than": "big"}, "larger_than: 'big' is not a whole number"),
        ({"storage_classes": "COLD"}, "'COLD' is none of STANDARD"),
        ({"replication_statuses": "PENDING"}, "'PENDING' is none of COMPLETED"),
        ({"encryption": "AES256"}, "'AES256' is none of SSES3"),
        ({"encryption": {"SSES3": {"KmsKeyArn": KMS}}}, "a KMS key goes with SSEKMS or DSSEKMS, not SSES3"),
        ({"encryption": {"DSSEKMS": {"BucketKeyEnabled": True}}}, "a bucket key goes with SSEKMS, not DSSEKMS"),
        ({"encryption": {"SSES3": {}, "SSEKMS": {}}}, "holds one kind"),
        ({"kms_key": KMS}, "kms_key goes with encryption"),
        ({"bucket_key": True, "encryption": "DSSEKMS", "kms_key": KMS}, "bucket_key goes with encryption='SSEKMS'"),
        ({"delete_markers": True}, "say versions=True as well"),
        ({"output": {"Bucket": "arn:aws:s3:::lists", "Prefix": "x"}}, "ManifestOutputLocation: unknown Prefix"),
        ({"output": {"Bucket": "arn:aws:s3:::lists", "ManifestEncryption": {"SSEKMS": {}}}}, "needs a KeyId"),
    ],
)
def test_what_can_never_work_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        ListObjects(**{"bucket": "data", **fields})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"SourceBucket": "arn:aws:s3:::data", "Filters": {}}, "unknown Filters"),
        ({"SourceBucket": "arn:aws:s3:::data", "Filter": {"Size": 1}}, "Filter: unknown Size"),
        ({"SourceBucket": "arn:aws:s3:::data", "Filter": {"EligibleForReplication": "maybe"}}, "neither True nor"),
        ({"SourceBucket": "arn:aws:s3:::data", "Filter": {"MatchAnyObjectEncryption": [{}]}}, "holds one kind"),
        (
            {"SourceBucket": "arn:aws:s3:::data", "Filter": {"MatchAnyObjectEncryption": [{"SSEX": {}}]}},
            "none of SSES3",
        ),
        (
            {"SourceBucket": "arn:aws:s3:::data", "Filter": {"MatchAnyObjectEncryption": [{"SSEKMS": {"Key": "x"}}]}},
            "SSEKMS: unknown Key",
        ),
        ({"SourceBucket": "arn:aws:s3:::data", "Filter": {"MatchAllTags": ["x"]}}, "isn't what CreateJob takes"),
        ({"SourceBucket": 5}, "isn't what CreateJob takes"),
        ({}, "not a bucket name"),
    ],
)
def test_a_generator_that_says_something_else_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        manifest_from_aws({"S3JobManifestGenerator": arguments})


def test_it_is_not_read_before_it_is_resolved() -> None:
    with pytest.raises(InvalidInput, match="ListObjects has to be resolved before it is read"):
        asyncio.run(ListObjects("data").survey(MemoryS3("data")))
