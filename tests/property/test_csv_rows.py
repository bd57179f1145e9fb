"""Laws of reading CSV manifests: what is written is read, and the fast way and the exact way never disagree."""

from __future__ import annotations

import csv
import io
from urllib.parse import quote, unquote_to_bytes

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_s3batch.core.errors import ManifestError
from airflow_s3batch.core.manifest.csv_exact import ExactRows
from airflow_s3batch.core.manifest.csv_rows import CsvRows
from airflow_s3batch.core.manifest.layout import CsvLayout
from airflow_s3batch.core.rows import Entry

FIELDS = st.sampled_from(
    [
        ("Bucket", "Key"),
        ("Key", "Bucket"),
        ("Bucket", "Key", "VersionId"),
        ("Ignore", "VersionId", "Bucket", "Ignore", "Key"),
    ]
)
BUCKETS = st.sampled_from(["lake", "lake-2", "Old_Lake.eu"])
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
VERSIONS = st.sampled_from(["null", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", "v.1_2"])

# Bytes that lead to every verdict about a row, and to several at once.
FRAGMENTS = st.sampled_from(
    [
        *(
            b"lake,key",
            b"lake,key\n",
            b"lake,k%20y\n",
            b"lake,%e6%97%a5\n",
            b"lake,%0a\n",
            b"lake,key,v1\n",
            b"lake,key,\n",
        ),
        *(b"lake,%zz\n", b"lake,%e6\n", b"lake,\n", b"lake\n", b"la/ke,key\n", b"Bucket,Key\n", b"\n", b"\r\n", b"\r"),
        *(b'"lake","key"\n', b'"lake","key\n', b'key","x"\n', b'"lake,key"\n', b'"la""ke","a,b"\n', b'lake,"a,b"\n'),
        *(b'lake,a"b\n', b'"', b",", b"%", b"2", b"+", b"\0", b"\xff", "ü".encode(), b"\xef\xbb\xbf"),
        *(b"lake," + key + b"\n" for key in (b"k" * 1024, b"k" * 1025, "ü".encode() * 512, "ü".encode() * 513)),
        *(b"lake,key\r\n" * 20, b'"lake","key"\r\n' * 20, b"lake,key\n" * 40, b"lake,key,v1\n" * 20),
    ]
)
FILES = st.lists(FRAGMENTS, min_size=1, max_size=12).map(b"".join)


@st.composite
def manifests(draw: st.DrawFn) -> tuple[tuple[str, ...], list[Entry], bytes]:
    """Fields, entries, and a file that lists them, written in one of the ways people write them."""
    fields = draw(FIELDS)
    versioned = "VersionId" in fields and draw(st.booleans())
    safe = draw(st.sampled_from(["/", "", "/=+&", "/ \"'"]))
    keys = draw(st.lists(KEYS, min_size=1, max_size=60))
    rows = [
        Entry(row, draw(BUCKETS), key, draw(VERSIONS) if versioned else None, quote(key, safe=safe))
        for row, key in enumerate(keys, 1)
    ]
    told = io.StringIO()
    writer = csv.writer(
        told,
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    for row in rows:
        cells = {"Bucket": row.bucket, "Key": row.manifest_key, "VersionId": row.version or "", "Ignore": "x"}
        writer.writerow([cells[field] for field in fields])
    text = told.getvalue()
    return fields, rows, (text if draw(st.booleans()) else text.rstrip("\r\n")).encode()


@given(manifests(), st.integers(1, 10))
@example((("Bucket", "Key"), [Entry(1, "lake", "k", None, "k")], b"lake,k"), 1)
def test_what_was_written_is_read(manifest: tuple[tuple[str, ...], list[Entry], bytes], first: int) -> None:
    fields, entries, file = manifest
    moved = [entry._replace(row=entry.row + first - 1) for entry in entries]

    assert CsvRows("s3://lake/m.csv", CsvLayout(fields)).entries(file, first) == moved
    assert CsvRows("s3://lake/m.csv", CsvLayout(fields)).check(file, first) == (len(entries), len(entries), None)


def exactly(fields: tuple[str, ...], file: bytes) -> list[Entry] | str:
    """The entries, or what is wrong, of a file read a row at a time, by the exact rules alone."""
    reader, entries = ExactRows("s3://lake/m.csv", CsvLayout(fields)), []
    lines = file.split(b"\n")
    try:
        for row, line in enumerate(lines if lines[-1] else lines[:-1], 1):
            try:
                text = (line + b"\n").decode()[:-1]
            except UnicodeDecodeError as error:
                raise reader.not_text(line, row, error.reason) from None
            if row == 1:
                reader.begin(text, row)
            found = reader.read(text, row)
            entries.append(Entry(row, found.bucket, found.key, found.version, found.spelled))
    except ManifestError as error:
        return str(error)
    return entries


def at_once(fields: tuple[str, ...], file: bytes) -> list[Entry] | str:
    try:
        entries = CsvRows("s3://lake/m.csv", CsvLayout(fields)).entries(file, 1)
        assert CsvRows("s3://lake/m.csv", CsvLayout(fields)).check(file, 1).rows == len(entries)
    except ManifestError as error:
        return str(error)
    return entries


@settings(max_examples=400)
@given(FIELDS, FILES)
@example(("Bucket", "Key"), b'"lake","x\nq","y"\n')
@example(("Bucket", "Key"), b'"lake,key"\n')
@example(("Bucket", "Key"), b'"lake","a"\n\n"lake","b"\n')
def test_a_block_gets_the_verdict_that_its_rows_get_one_by_one(fields: tuple[str, ...], file: bytes) -> None:
    assert at_once(fields, file) == exactly(fields, file)


@given(FIELDS, FILES)
def test_checking_and_reading_agree(fields: tuple[str, ...], file: bytes) -> None:
    def verdict(read: object) -> str:
        try:
            read(file, 1)  # type: ignore[operator]
        except ManifestError as error:
            return str(error)
        return ""

    reader = CsvRows("s3://lake/m.csv", CsvLayout(fields))
    assert verdict(CsvRows("s3://lake/m.csv", CsvLayout(fields)).check) == verdict(reader.entries)


@given(manifests())
def test_an_entrys_key_is_what_its_spelling_decodes_to(manifest: tuple[tuple[str, ...], list[Entry], bytes]) -> None:
    fields, _, file = manifest

    for entry in CsvRows("s3://lake/m.csv", CsvLayout(fields)).entries(file, 1):
        assert entry.key.encode() == unquote_to_bytes(entry.manifest_key)
