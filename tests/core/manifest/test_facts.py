"""What a manifest says of its objects besides bucket, key and version, for operations that ask: `FactualEntry`."""

from __future__ import annotations

import asyncio
import gzip
import io
import pickle
from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from airflow_s3batch.core.errors import InvalidInput, ManifestInvalid
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import (
    CsvManifest,
    FilteredManifest,
    InventoryManifest,
    ListObjects,
    Manifest,
    ParquetManifest,
)
from airflow_s3batch.core.operations import MoveObject, StepsOperation
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import Entry, FactualEntry, Outcome
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from tests.core.manifest.inventories import AWKWARD, MANIFEST, WRITERS, Row, csv_of, put_delivery, put_inventory
from tests.core.scripted import OWNER, ScriptedEngine, spec, succeeds

WANTED = ("size", "e_tag", "checksum_sha256")
COLUMNS = ("bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "e_tag")
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
PLACE = S3Location("lake", "reports/job-1/generated-manifest/")
CSV_URI, PARQUET_URI = "s3://lake/list.csv", "s3://lake/list.parquet"


def rows(keys: Sequence[str] = AWKWARD) -> list[Row]:
    """One row a key, every third a delete marker, which has neither size nor ETag."""
    return [
        {
            "bucket": "data",
            "key": key,
            "version_id": f"v{number}",
            "is_latest": True,
            "is_delete_marker": number % 3 == 2,
            "size": None if number % 3 == 2 else number,
            "e_tag": None if number % 3 == 2 else f"{number:032x}",
        }
        for number, key in enumerate(keys)
    ]


async def read(manifest: Manifest, s3: MemoryS3, columns: Sequence[str], rows_per_partition: int = 4) -> list[Entry]:
    pinned = await manifest.pin(s3)
    survey = await pinned.survey(s3)
    parts = split(survey.marks, rows_per_partition, 10_000)
    entries: list[Entry] = []
    for part in parts:
        async for some in pinned.read(s3, part, columns):
            entries += some
    return entries


def facts(manifest: Manifest, s3: MemoryS3, *columns: str) -> list[dict[str, str]]:
    """What is told of each entry; plain entries tell nothing."""
    entries = asyncio.run(read(manifest, s3, columns or WANTED))
    return [dict(entry.facts) if isinstance(entry, FactualEntry) else {} for entry in entries]


def found(manifest: Manifest, s3: MemoryS3, *columns: str) -> tuple[str, ...]:
    async def finding() -> tuple[str, ...]:
        return await (await manifest.pin(s3)).find_columns(s3, columns or WANTED)

    return asyncio.run(finding())


def with_csv(text: str | bytes) -> MemoryS3:
    s3 = MemoryS3("lake")
    s3.put("lake", "list.csv", text)
    return s3


def parquet_of(table: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(table), file)
    return file.getvalue()


def with_parquet(*tables: dict[str, Any]) -> MemoryS3:
    s3 = MemoryS3("lake")
    for number, table in enumerate(tables):
        s3.put("lake", "list.parquet" if len(tables) == 1 else f"list/{number}.parquet", parquet_of(table))
    return s3


# ---- what is told


@pytest.mark.parametrize("markers", [False, True])
@pytest.mark.parametrize("file_format", WRITERS)
def test_an_inventory_tells_size_and_etag_of_each_row_that_is_kept(file_format: str, markers: bool) -> None:
    s3 = MemoryS3("lake")
    put_inventory(s3, file_format, [rows(), rows()], COLUMNS)
    manifest = InventoryManifest(MANIFEST, include_delete_markers=markers)

    told = asyncio.run(read(manifest, s3, WANTED))

    kept = [row for row in rows() if markers or not row["is_delete_marker"]] * 2
    assert [(entry.key, entry.version) for entry in told] == [(row["key"], row["version_id"]) for row in kept]
    assert [entry.facts for entry in told if isinstance(entry, FactualEntry)] == [
        {} if row["is_delete_marker"] else {"size": str(row["size"]), "e_tag": row["e_tag"]} for row in kept
    ]


@pytest.mark.parametrize("file_format", WRITERS)
def test_entries_are_the_same_whether_or_not_they_tell_more(file_format: str) -> None:
    s3 = MemoryS3("lake")
    put_inventory(s3, file_format, [rows()], COLUMNS)
    asked, plain = (asyncio.run(read(InventoryManifest(MANIFEST), s3, columns)) for columns in (WANTED, ()))

    assert asked == plain
    assert {type(entry) for entry in plain} == {Entry}
    assert {type(entry) for entry in asked} == {FactualEntry}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "header",
    [
        "size,e_tag,bucket,key,checksum_sha256",
        "Size,ETag,Bucket,Key,ChecksumSHA256",
        "SIZE,etag,BUCKET,KEY,checksumSha256",
    ],
)
def test_a_csv_file_tells_what_its_header_names(header: str, packed: bool) -> None:
    text = f'{header}\n1,"""abc""",data,a%20b,\n,,data,c,x=\n3,def,data,d,y=\n'.encode()

    assert facts(CsvManifest(CSV_URI, header=True), with_csv(gzip.compress(text) if packed else text)) == [
        {"size": "1", "e_tag": '"abc"'},
        {"checksum_sha256": "x="},
        {"size": "3", "e_tag": "def", "checksum_sha256": "y="},
    ]


def test_a_parquet_file_tells_numbers_and_texts_of_any_type() -> None:
    for size in (pa.array([5, None]), pa.array([5.0, None]), pa.array([Decimal(5), None]), pa.array(["5", ""])):
        for etag in (pa.array(["x", None]), pa.array([b"x", None]), pa.array(["x", None]).dictionary_encode()):
            s3 = with_parquet({"bucket": ["data"] * 2, "key": ["a", "b"], "Size": size, "ETag": etag})
            (one, other) = facts(ParquetManifest(PARQUET_URI), s3)

            assert (float(one.pop("size")), one, other) == (5, {"e_tag": "x"}, {})


def test_text_that_is_not_utf8_is_told_with_marks() -> None:
    s3 = with_parquet({"bucket": ["data"], "key": ["a"], "e_tag": pa.array([b"\xff"])})

    assert facts(ParquetManifest(PARQUET_URI), s3) == [{"e_tag": "\ufffd"}]


def test_a_file_without_the_columns_tells_nothing() -> None:
    s3 = with_parquet({"bucket": ["data"], "key": ["a"], "size": [1]}, {"bucket": ["data"], "key": ["b"]})

    assert facts(ParquetManifest("s3://lake/list/*.parquet"), s3) == [{"size": "1"}, {}]


def test_a_listing_tells_what_it_was_told() -> None:
    async def scenario() -> list[Entry]:
        s3 = MemoryS3("lake", "data")
        s3.put("data", "a b", b"12345")
        resolved = await ListObjects("data").resolve(s3, PLACE, NOON)
        return await read(resolved, s3, WANTED)

    (entry,) = asyncio.run(scenario())
    assert isinstance(entry, FactualEntry)
    assert entry.facts == {"size": "5", "e_tag": "827ccb0eea8a706c4c34a16891f84e7b"}


def test_rows_that_a_filter_kept_tell_what_they_told_before() -> None:
    s3 = with_csv("bucket,key,size,checksum_sha256\ndata,a,1,x=\ndata,b,2,y=\n")

    async def scenario() -> list[Entry]:
        question = await FilteredManifest(CsvManifest(CSV_URI, header=True), where="key = 'b'").pin(s3)
        return await read(await question.resolve(s3, PLACE, NOON), s3, WANTED)

    (entry,) = asyncio.run(scenario())
    assert isinstance(entry, FactualEntry)
    assert entry.facts == {"size": "2", "checksum_sha256": "y="}


class Asking(StepsOperation):
    """An operation of a user's own that wants to see a column."""

    aws_name: ClassVar[str] = "TestsAsking"

    @property
    def manifest_columns(self) -> tuple[str, ...]:
        return ("owner",)

    def check_columns(self, found: Collection[str]) -> None:
        assert list(found) == ["owner"]


def test_an_operation_of_ones_own_is_given_the_columns_it_asks_for() -> None:
    told: dict[str, Any] = {}

    def noting(entry: Entry) -> Outcome:
        told[entry.key] = entry.facts if isinstance(entry, FactualEntry) else None
        return succeeds(entry)

    async def scenario() -> None:
        s3 = ScriptedEngine(noting)
        s3.put("lake", "list.csv", "bucket,key,Owner\ndata,a,ann\ndata,b,\n")
        asked = {"manifest": CsvManifest(CSV_URI, header=True), "operation": Asking()}
        job = await prepare(spec().model_copy(update=asked), s3, owner=OWNER)
        await run_partition(job, 0, s3)

    asyncio.run(scenario())
    assert told == {"a": {"owner": "ann"}, "b": {}}


@given(
    table=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=9),
            st.integers(0, 2**45) | st.none(),
            st.text('ab"-, \u2028', max_size=5) | st.none(),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_each_row_of_a_csv_inventory_tells_what_stands_in_it(
    table: list[tuple[str, int | None, str | None, bool]],
) -> None:
    written = [
        {"bucket": "data", "key": key, "is_delete_marker": marker, "size": size, "e_tag": etag}
        for key, size, etag, marker in [*table, ("last", 1, "x", False)]
    ]
    s3 = MemoryS3("lake")
    body = csv_of(written, ("bucket", "key", "is_delete_marker", "size", "e_tag"))
    put_delivery(s3, [body], fileSchema="Bucket, Key, IsDeleteMarker, Size, ETag")

    entries = asyncio.run(read(InventoryManifest(MANIFEST), s3, WANTED, 7))

    told = [(entry.key, entry.facts) for entry in entries if isinstance(entry, FactualEntry)]
    assert told == [
        (row["key"], {name: str(row[name]) for name in ("size", "e_tag") if row[name] not in {None, ""}})
        for row in written
        if not row["is_delete_marker"]
    ]


def test_what_an_entry_tells_survives_a_way_to_another_process() -> None:
    entry = FactualEntry.of(Entry(1, "data", "k", None, "k"), {"size": "1"})
    back = pickle.loads(pickle.dumps(entry))

    assert (back, type(back), back.facts) == (entry, FactualEntry, {"size": "1"})


# ---- which columns there are


@pytest.mark.parametrize("file_format", WRITERS)
def test_an_inventory_is_looked_through_for_the_columns(file_format: str) -> None:
    s3 = MemoryS3("lake")
    put_inventory(s3, file_format, [rows()], COLUMNS)

    assert found(InventoryManifest(MANIFEST), s3) == ("size", "e_tag")


def test_csv_and_parquet_files_are_looked_through_for_the_columns() -> None:
    assert found(CsvManifest(CSV_URI, header=True), with_csv("bucket,key,ETag\nd,k,x\n")) == ("e_tag",)
    assert found(ParquetManifest(PARQUET_URI), with_parquet({"bucket": ["d"], "key": ["k"], "size": [1]})) == ("size",)


@pytest.mark.parametrize(
    ("manifest", "s3", "told"),
    [
        (CsvManifest(CSV_URI), with_csv("data,k\n"), "its columns are Bucket, Key; there is none of size, e_tag"),
        (
            CsvManifest(CSV_URI, header=True, key="path"),
            with_csv("bucket,path,no\x07te\ndata,k,x\n"),
            r"its columns are Bucket, Key, no\\x07te; there is none of size",
        ),
        (
            CsvManifest(CSV_URI, header=True),
            with_csv("bucket,key,e_tag,ETag\nd,k,x,x\n"),
            "several columns are named e_tag",
        ),
        (
            ParquetManifest(PARQUET_URI),
            with_parquet({"bucket": ["data"], "key": ["k"], "other": [1]}),
            (
                "its columns are bucket, key, other; there is none of size, .*; "
                "take a manifest with such a column: an inventory, or a table or CSV file whose header names it"
            ),
        ),
    ],
)
def test_manifest_without_the_columns_is_refused_by_the_names_it_has(
    manifest: Manifest, s3: MemoryS3, told: str
) -> None:
    with pytest.raises(ManifestInvalid, match=told):
        found(manifest, s3)


def test_file_that_is_none_of_its_format_is_told_so() -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "list.parquet", b"bucket,key")

    with pytest.raises(ManifestInvalid, match=r"list\.parquet: the file can't be read as Parquet"):
        found(ParquetManifest(PARQUET_URI), s3)


def test_column_that_holds_neither_text_nor_numbers_is_refused() -> None:
    s3 = with_parquet({"bucket": ["data"], "key": ["a"], "size": [[1, 2]]})

    with pytest.raises(ManifestInvalid, match=r"the column size holds list<.*>, neither text nor numbers"):
        facts(ParquetManifest(PARQUET_URI), s3)


PLAIN = {"bucket": ["data"], "key": ["a"], "size": [1]}


@pytest.mark.parametrize(
    ("manifest", "files", "told"),
    [
        (
            CsvManifest(CSV_URI, header=True),
            {"list.csv": b"bucket,key,Size,size\ndata,a,1,1\n"},
            "list.csv: several columns are named size; the columns are ",
        ),
        (
            ParquetManifest("s3://lake/list/*.parquet"),
            {"list/0.parquet": parquet_of(PLAIN), "list/1.parquet": parquet_of({**PLAIN, "Size": [1]})},
            r"list/1\.parquet: several columns are named size",
        ),
        (
            ParquetManifest("s3://lake/list/*.parquet"),
            {"list/0.parquet": parquet_of(PLAIN), "list/1.parquet": parquet_of({**PLAIN, "size": [[1, 2]]})},
            r"list/1\.parquet: the column size holds list<.*>, neither text nor numbers",
        ),
    ],
)
def test_columns_that_no_run_could_read_are_refused_when_the_job_is_prepared(
    manifest: Manifest, files: dict[str, bytes], told: str
) -> None:
    s3 = ScriptedEngine()
    for key, body in files.items():
        s3.put("lake", key, body)
    asked = {"manifest": manifest, "operation": MoveObject("data", target_prefix="moved/")}

    with pytest.raises(ManifestInvalid, match=told):
        asyncio.run(prepare(spec().model_copy(update=asked), s3, owner=OWNER))


def test_question_has_no_columns_until_it_is_answered() -> None:
    with pytest.raises(InvalidInput, match="ListObjects has no columns beside bucket, key and version"):
        found(ListObjects("data"), MemoryS3("data"))
