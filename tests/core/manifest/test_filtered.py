"""`FilteredManifest`: rows chosen by SQL; and nothing else that SQL could do."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_s3batch.core.errors import InvalidInput, ManifestError, ManifestInvalid
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import (
    CsvManifest,
    FilteredManifest,
    InventoryManifest,
    ListObjects,
    Manifest,
    ParquetManifest,
    manifest_from_aws,
)
from airflow_s3batch.core.manifest.row_filter import RowFilter, locked_down
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import MemoryS3

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
PLACE = S3Location("lake", "reports/job-1/generated-manifest/")
KEYS = ("raw/a b.csv", "raw/c+d\n.csv", "tmp/é.csv")


class Ages:
    """A day older at every look."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        self.time -= timedelta(days=1)
        return self.time


def lake() -> MemoryS3:
    """``data`` holds the keys, of 0, 1 and 2 bytes and 1, 2 and 3 days old."""
    s3 = MemoryS3("lake", "data", now=Ages())
    for size, key in enumerate(KEYS):
        s3.put("data", key, b"x" * size)
    return s3


def found(s3: MemoryS3, manifest: Manifest, now: datetime = NOON) -> list[Entry]:
    async def finding() -> list[Entry]:
        pinned = await manifest.pin(s3)
        resolved = await pinned.resolve(s3, PLACE, now)
        survey = await resolved.survey(s3)
        (whole,) = split(survey.marks, survey.rows, 1)
        return [entry async for some in resolved.read(s3, whole) for entry in some]

    return asyncio.run(finding())


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("size > 0", KEYS[1:]),
        ("size >= 1 AND key LIKE 'tmp/%'", KEYS[2:]),
        ("regexp_matches(key, '^raw/[a-c] ')", KEYS[:1]),
        ("last_modified_date < now() - INTERVAL 2 DAYS", KEYS[2:]),
        ("last_modified_date < current_timestamp - INTERVAL 36 HOURS", KEYS[1:]),
        ("last_modified_date::DATE = current_date - 1", KEYS[:1]),
        ("last_modified_date BETWEEN '2026-11-22' AND '2026-11-23'", KEYS[1:2]),
        ("bucket = 'data' -- all", KEYS),
        ("e_tag = 'd41d8cd98f00b204e9800998ecf8427e'", KEYS[:1]),
        ("key IN ('tmp/é.csv', 'no')", KEYS[2:]),
        ("CASE WHEN size = 0 THEN true ELSE NULL END", KEYS[:1]),
        ("size::BOOLEAN", KEYS[1:]),
        ("COLUMNS('size|key') IS NOT NULL", KEYS),
    ],
)
def test_rows_are_chosen(where: str, wanted: tuple[str, ...]) -> None:
    entries = found(lake(), FilteredManifest(ListObjects("data"), where=where))

    assert sorted(entry.key for entry in entries) == sorted(wanted)


def test_now_is_the_time_of_prepare() -> None:
    manifest = FilteredManifest(ListObjects("data"), where="now() = '2001-02-03 04:05:06.000007+00' AND size = 0")

    assert len(found(lake(), manifest, datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=timezone.utc))) == 1


@pytest.mark.parametrize(
    ("where", "moment"),
    [
        *(
            (clock, "2001-02-03 04:05:06.000007+00")
            for clock in ("now()", "current_timestamp", "get_current_timestamp()")
        ),
        ("transaction_timestamp()", "2001-02-03 04:05:06.000007+00"),
        *((clock, "2001-02-03 04:05:06.000007") for clock in ("localtimestamp", "current_localtimestamp()")),
        *((clock, "2001-02-03") for clock in ("today()", "current_date")),
        *((clock, "04:05:06.000007") for clock in ("current_time", "localtime", "get_current_time()")),
        ("age(TIMESTAMP '2001-02-01')", "2 days"),
        ("age(TIMESTAMPTZ '2001-02-01 00:00:00+00')", "2 days"),
        ("age(TIMESTAMP '2001-02-09', TIMESTAMP '2001-02-01')", "8 days"),
    ],
)
def test_every_clock_stands_at_the_time_of_prepare(where: str, moment: str) -> None:
    batch = pa.RecordBatch.from_pydict({"key": ["a"]})
    then = datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=timezone.utc)

    assert RowFilter(f"{where} = '{moment}'", then).kept(batch).num_rows == 1


def test_columns_are_kept_for_another_filter() -> None:
    once = FilteredManifest(ListObjects("data", larger_than=0), where="size < 2")
    twice = FilteredManifest(once, where="last_modified_date < now() AND e_tag IS NOT NULL AND size = 1")

    assert [entry.key for entry in found(lake(), twice)] == [KEYS[1]]


def test_versions_stay_with_their_rows() -> None:
    s3 = MemoryS3("lake", versioned=["data"])
    for body in (b"1", b"22"):
        s3.put("data", "a", body)

    (entry,) = found(s3, FilteredManifest(ListObjects("data", versions=True), where="NOT is_latest"))

    assert (entry.key, entry.version) == ("a", "v1")


def test_a_csv_with_columns_of_its_own_is_filtered_by_them() -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "own.csv", 'bucket,key,team\ndata,a,x\ndata,b,"y ""z"""\n')
    manifest = CsvManifest("s3://lake/own.csv", header=True)

    entries = found(s3, FilteredManifest(FilteredManifest(manifest, where="team LIKE 'y%'"), where="Team = 'y \"z\"'"))

    assert [entry.key for entry in entries] == ["b"]


def test_keys_of_a_csv_that_may_be_meant_otherwise_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "own.csv", "bucket, key\ndata,a\ndata, d/1\ndata,b+c\n")

    with caplog.at_level("WARNING"), pytest.raises(ManifestInvalid, match="none of 3 rows"):
        found(s3, FilteredManifest(CsvManifest("s3://lake/own.csv", header=True), where="key LIKE 'd/%'"))

    space, plus = caplog.messages
    assert space.startswith("s3://lake/own.csv, row 2: the key begins with a space, which stands for itself here")
    assert plus.startswith("s3://lake/own.csv, row 3: the key holds a '+', which stands for itself here")


@pytest.mark.parametrize(
    ("rows", "versions"),
    [("data,a,v1\ndata,b,v2\n", ["v1", "v2"]), ("data,a,\ndata,b,\n", [None, None])],
)
def test_rows_of_a_csv_have_versions_or_none(rows: str, versions: list[str | None]) -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "own.csv", f"bucket,key,version_id\n{rows}")

    entries = found(s3, FilteredManifest(CsvManifest("s3://lake/own.csv", header=True), where="key IS NOT NULL"))

    assert [entry.version for entry in entries] == versions


def parquet(**columns: list[Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, row_group_size=1)
    return bytes(sink.getvalue())


def files(*bodies: bytes) -> MemoryS3:
    s3 = MemoryS3("lake")
    for number, body in enumerate(bodies):
        s3.put("lake", f"own/{number}.parquet", body)
    return s3


def test_rows_that_are_left_out_first_do_not_hide_the_versions_of_the_others() -> None:
    """As many delete markers come first as the first batch holds."""
    s3 = MemoryS3("lake", versioned=["data"])

    async def listed() -> Manifest:
        for number in range(3_000):
            s3.put("data", f"gone/{number:04}", b"")
            await s3.call("DeleteObject", Bucket="data", Key=f"gone/{number:04}")
        s3.put("data", "there", b"1")
        return await ListObjects("data", versions=True, delete_markers=True).resolve(s3, PLACE, NOON)

    inventory = asyncio.run(listed())
    assert isinstance(inventory, InventoryManifest)

    entries = found(s3, FilteredManifest(InventoryManifest(inventory.uri, latest_only=True), where="size > 0"))

    assert [(entry.key, entry.version is None) for entry in entries] == [("there", False)]


@pytest.mark.parametrize("where", ["true", "key = 'b'"])
@pytest.mark.parametrize("first", [0, 1])
def test_files_with_and_without_versions_are_refused(first: int, where: str) -> None:
    some = [parquet(bucket=["data"], key=["a"]), parquet(bucket=["data"], key=["b"], version_id=["v1"])]
    s3 = files(some[first], some[1 - first])

    with pytest.raises(ManifestInvalid, match="its files have different columns: bucket, key"):
        found(s3, FilteredManifest(ParquetManifest("s3://lake/own/*.parquet"), where=where))


def test_a_version_that_comes_after_rows_without_is_refused() -> None:
    none = pa.array([None], pa.string())
    s3 = files(
        parquet(bucket=["data"], key=["a"], version_id=none), parquet(bucket=["data"], key=["b"], version_id=["v1"])
    )

    with pytest.raises(
        ManifestInvalid, match="some rows have a version ID and others have none; give all one, or none"
    ):
        found(s3, FilteredManifest(ParquetManifest("s3://lake/own/*.parquet"), where="true"))


@pytest.mark.parametrize("versions", [["v1", None], [None, "v1"]])
@pytest.mark.parametrize("kind", [CsvManifest, ParquetManifest])
def test_rows_with_and_without_a_version_are_not_mixed(kind: type[Manifest], versions: list[str | None]) -> None:
    s3 = MemoryS3("lake")
    first, second = (version or "" for version in versions)
    s3.put("lake", "own.csv", f"bucket,key,version_id\ndata,a,{first}\ndata,b,{second}\n")
    s3.put("lake", "own.parquet", parquet(bucket=["data", "data"], key=["a", "b"], version_id=versions))
    manifest: Manifest = CsvManifest("s3://lake/own.csv", header=True)
    if kind is ParquetManifest:
        manifest = ParquetManifest("s3://lake/own.parquet")

    with pytest.raises(ManifestInvalid, match="give all rows one, or none"):
        found(s3, FilteredManifest(manifest, where="true"))


def test_columns_of_lists_are_written_as_text() -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "own.parquet", parquet(bucket=["data", "data"], key=["a", "b"], tags=[["x"], None]))

    once = FilteredManifest(ParquetManifest("s3://lake/own.parquet"), where="len(tags) = 1")

    assert [entry.key for entry in found(s3, FilteredManifest(once, where="tags LIKE '%x%'"))] == ["a"]


@pytest.mark.parametrize("text", ["two\nlines", "a\r", "nul\0", '"q"', "tab\t", "a,b", "\x7f"])
def test_text_of_any_kind_can_be_read_back(text: str) -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "own.parquet", parquet(bucket=["data"] * 2, key=["a\nb", "c"], note=[text, None]))
    once = FilteredManifest(ParquetManifest("s3://lake/own.parquet"), where="true")

    assert [entry.key for entry in found(s3, once)] == ["a\nb", "c"]
    assert [entry.key for entry in found(s3, FilteredManifest(once, where="note <> ''"))] == ["a\nb"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("raw", pa.array([b"\xff\xfe", b"x"])),
        ("raw", pa.array([b"0" * 16, b"1" * 16], pa.binary(16))),
        ("lasting", [timedelta(1), None]),
        ("a,b", ["1", "2"]),
        ("", ["1", "2"]),
        (" note ", ["1", "2"]),
        ("a\nb", ["1", "2"]),
        ("Key", ["no", "no"]),
        ("raw", pa.array([b"\xff", b"x"]).dictionary_encode()),
    ],
)
def test_column_that_can_not_be_read_back_is_left_out(name: str, values: Any) -> None:
    s3 = MemoryS3("lake")
    columns = {"bucket": ["data"] * 2, name: values, "key": ["a", "b"], "size": [1, 2]}
    s3.put("lake", "own.parquet", parquet(**columns))
    manifest = ParquetManifest("s3://lake/own.parquet", key="key")

    twice = FilteredManifest(FilteredManifest(manifest, where="true"), where="size > 1")

    assert [entry.key for entry in found(s3, twice)] == ["b"]


def test_no_row_left_makes_no_job_and_a_list_that_stays_as_it_is_makes_none_later() -> None:
    s3 = files(parquet(bucket=["data"] * 2, key=["a", "b"]))
    once = FilteredManifest(ParquetManifest("s3://lake/own/0.parquet"), where="true")

    for manifest in (once.manifest, once):
        told = r"""(0\.parquet|manifest\.json), where="key = 'c'": none of 2 rows is wanted; a job needs at least one"""
        with pytest.raises(ManifestInvalid, match=told):
            found(s3, FilteredManifest(manifest, where="key = 'c'"))


def test_no_row_left_of_what_is_in_a_bucket_now_may_be_one_later() -> None:
    once = FilteredManifest(ListObjects("data"), where="true")

    for manifest in (once.manifest, once):
        with pytest.raises(
            ManifestError, match=r"manifest\.json, where='size > 99': none of 3 rows is wanted"
        ) as caught:
            found(lake(), FilteredManifest(manifest, where="size > 99"))
        assert not isinstance(caught.value, ManifestInvalid)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("size >", r"^where='size >': something is missing at its end, or a '\)' is one too many$"),
        ("key = 'a' AND  -- é", "something is missing at its end"),
        ("size IN (1, 2", "something is missing at its end"),
        ("size > 1 )", "or a '\\)' is one too many"),
        ("size > 1 /* more", r'unterminated /\* comment at or near "/\* more", at character 10'),
        ("size > 1 AND OR key = 'é'", r"syntax error at or near .*OR.*, at character 14"),
        ("key = 'é' AND AND size > 1", r"syntax error at or near .*AND.*, at character 15"),
        ("size > 1 LIMIT 1", "syntax error at or near .*, at character 10"),
        ("size > 1; DROP TABLE x", "syntax error at or near .*, at character 9"),
        ("size > 1 UNION SELECT 1", "syntax error at or near .*, at character 10"),
        ("size > 1) OR (true", r"syntax error at or near .*\).*, at character 9"),
        ("key IN (SELECT 'a')", "a subquery; an expression is about the columns of one row"),
        ("EXISTS (FROM read_text('/etc/passwd'))", "a subquery"),
        ("size > ?", "a parameter"),
        ("sise > 1", r'column "sise" not found .*\(columns: bucket, key, size'),
        ("nofunction(key)", r"nofunction does not exist.*\(columns: "),
        ("count(*) > 1", "aggregates"),
        ("row_number() OVER () = 1", "window functions"),
        ("CAST(key AS INTEGER) > 1", "Could not convert string"),
        ("size > key", r"Cannot compare values of type BIGINT and type VARCHAR.*\(columns: "),
        ("size > 'large'", "Could not convert string 'large' to INT64"),
        ("last_modified_date < 'yesterday'", "invalid timestamp field format"),
        ("now()", "no condition, but a value of type TIMESTAMP WITH TIME ZONE"),
        ("size", "^where='size': no condition, but a value of type BIGINT; compare it: size > 1024$"),
        ("size + 1", "no condition, but a value of type BIGINT"),
        ("1/0", "no condition, but a value of type DOUBLE"),
        ("NULL", "no condition, but a value of type "),
        ("key", "no condition, but a value of type VARCHAR"),
        ("CASE WHEN size > 0 THEN 1 ELSE 0 END", "no condition, but a value of type INTEGER"),
        ("COLUMNS('size|key')", "no condition, but a value of type VARCHAR"),
        ("key = '", r"unterminated .*, at character 7"),
        ("key = '\ud800'", "half a character"),
        ("NOT " * 5_000 + "true", "depth limit"),
    ],
)
def test_what_is_no_expression_about_a_row_is_refused(where: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        found(lake(), FilteredManifest(ListObjects("data"), where=where))


def test_a_bad_expression_is_refused_before_anything_is_listed() -> None:
    s3 = lake()

    with pytest.raises(InvalidInput):
        found(s3, FilteredManifest(ListObjects("data"), where="size >"))

    assert s3.calls == []


@pytest.mark.parametrize(
    "statement",
    [
        "COPY manifest TO '/tmp/x.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH '/tmp/x.db'",
        "SET enable_external_access = true",
        "SELECT * FROM 'https://example.com/x.csv'",
    ],
)
def test_the_database_can_reach_nothing(statement: str) -> None:
    with pytest.raises(duckdb.Error):
        locked_down(NOON).execute(statement)


def test_rows_of_any_type_are_filtered() -> None:
    batch = pa.RecordBatch.from_pydict({"key": ["a", "b"], "tags": [["x"], []], "score": [1.5, None]})

    assert RowFilter("len(tags) = 1 AND score > 1", NOON).kept(batch).to_pydict()["key"] == ["a"]


@pytest.mark.parametrize(
    "manifest",
    [
        FilteredManifest(CsvManifest("s3://lake/{{ ds }}.csv"), where="size > {{ params.size }}"),
        FilteredManifest(FilteredManifest(ListObjects("data"), where="true"), where="false"),
    ],
)
def test_it_comes_back_from_its_json(manifest: FilteredManifest) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"Where": "true"}, "S3FilteredManifest needs a Manifest"),
        ({"Manifest": {}, "Where": "true"}, "is no manifest: write one of this package's"),
        ({"Manifest": ListObjects("data").to_aws()}, "FilteredManifest: where: write an expression"),
        ({"Manifest": ListObjects("data").to_aws(), "where": "true"}, "unknown where"),
    ],
)
def test_json_that_says_something_else_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        manifest_from_aws({"S3FilteredManifest": arguments})
