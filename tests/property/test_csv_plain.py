"""Laws of checking a block at once: its verdict, or none, is what the exact rules say of its rows one by one."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_s3batch.core.errors import ManifestError
from airflow_s3batch.core.manifest.csv_exact import ExactRows
from airflow_s3batch.core.manifest.csv_plain import PlainRows
from airflow_s3batch.core.manifest.csv_rows import CsvRows
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import CsvLayout

URI = "s3://lake/m.csv"
LAYOUTS = [
    CsvLayout(("Bucket", "Key")),
    CsvLayout(("Bucket", "Key", "VersionId")),
    CsvLayout(("Bucket", "Key", "Ignore", "VersionId")),
    CsvLayout(("Key",), "lake"),
    CsvLayout(("Key", "VersionId"), "lake"),
    CsvLayout(("Key", "Ignore"), "lake"),
    CsvLayout(("Bucket", "Key", "Size", "ETag"), inventory=True),
    CsvLayout(("Bucket", "Key", "VersionId"), inventory=True),
]
FIRST = {"Bucket": "lake", "Key": "first", "VersionId": "v"}
BUCKETS = ["lake", "lake-2", "lake-2.eu", "Old_Lake", "fifth", "sixth"]
KEYS = ["k", "data/part%3D1/f-1.parquet", "a=b", "a%20b", "%E6%97%A5", "naïve-ü", "x" * 60, "a'b", "tab\tbed"]
EDITS = [
    *(b"", b'"', b'""', b'","', b'"\n"', b",", b",,", b"\n", b"\n\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3"),
    *(
        b"+",
        b"%",
        b"%4",
        b"%41",
        b"%E6",
        b"%0A",
        b"%zz",
        b"%C3",
        b"%C3%BC" * 180,
        "ü".encode(),
        b"k" * 1020,
        b"/",
        b"lake",
    ),
]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[CsvLayout, bool, bytes]:
    """A layout, whether rows have versions, and rows written as a program writes them, or nearly so."""
    layout, versioned = draw(st.sampled_from(LAYOUTS)), draw(st.booleans())
    buckets = draw(st.lists(st.sampled_from(BUCKETS), min_size=1, max_size=6))
    quote = draw(st.sampled_from(["", '"']))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = []
    for number in range(draw(st.integers(1, 40))):
        cells = {"Bucket": buckets[number % len(buckets)], "Key": draw(st.sampled_from(KEYS))}
        cells["VersionId"] = "v1" if versioned is draw(st.sampled_from([True] * 20 + [False])) else ""
        lines.append(",".join(f"{quote}{cells.get(field, 'x')}{quote}" for field in layout.fields) + end)
    text = "".join(lines).encode()
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(EDITS)) + text[at + draw(st.sampled_from([0, 0, 1, 2])) :]
    return layout, versioned, text


def one_by_one(layout: CsvLayout, first: str, text: bytes) -> object:
    """What the exact rules say: the error, or the number of rows, the buckets and the first doubtful keys."""
    reader, row = ExactRows(URI, layout), 1
    doubtful: dict[str, int] = {}
    buckets: dict[str, None] = {}
    lines = text.split(b"\n")
    try:
        if not layout.inventory:
            reader.begin(first, 1)
        for row, line in enumerate([first.encode(), *(lines if lines[-1] else lines[:-1])], 1):
            try:
                told = (line + b"\n").decode()[:-1]
            except UnicodeDecodeError as error:
                raise reader.not_text(line, row, error.reason) from None
            found = reader.read(told, row)
            buckets[found.bucket] = None
            if "+" in found.spelled and not layout.inventory:
                doubtful.setdefault("+", row)
            if found.spelled.startswith(" ") and not layout.inventory:
                doubtful.setdefault(" ", row)
    except ManifestError as error:
        return str(error)
    return row, [bucket for bucket in buckets if layout.bucket is None], doubtful


def in_blocks(layout: CsvLayout, first: str, text: bytes) -> object:
    """What `CsvRows` says of the same rows: the first alone, so that what follows has its chance to be told at once."""
    findings = Findings()
    reader = CsvRows(URI, layout, findings)
    rows = reader.check(first.encode() + b"\n", 1).rows
    try:
        rows += reader.check(text, 2).rows if text else 0
        reader.check(f"{first}\n".encode() * 20, rows + 1)  # what was learnt from a block leads nobody astray
    except ManifestError as error:
        return str(error)
    doubtful = {
        "+" if "a '+'" in warning else " ": int(warning.split(", row ")[1].split(":")[0])
        for warning in findings.warnings
    }
    return rows, [bucket for bucket in findings.buckets if layout.bucket is None], doubtful


@settings(max_examples=400, deadline=None)
@given(blocks())
@example((LAYOUTS[0], False, b'"lake","a"\n"lake","b"x\n'))
@example((LAYOUTS[0], False, b'"lake","a"\nx"lake","b"\n'))
@example((LAYOUTS[0], False, b'"lake","a\n""lake","b"\n'))
@example((LAYOUTS[1], True, b'"lake","a"x,"v"\n'))
@example((LAYOUTS[3], False, b'"a"x\n"b"\n'))
@example((LAYOUTS[1], True, b"lake,a,v\nlake,b,\nlake,c,v\n"))
@example((LAYOUTS[1], True, b"lake,a,v\nlake,b,\n"))
@example((LAYOUTS[1], False, b'"lake","a",""\n"lake","b","v"\n'))
@example((LAYOUTS[4], False, b"a,\nb,v\n"))
@example((LAYOUTS[0], False, b"lake,a\nlake,b+c\nlake,d+\n"))
@example((LAYOUTS[0], False, b"lake,a\nlake, b\nlake, c\n"))
@example((LAYOUTS[0], False, b'"lake","a"\n"lake"," b"\n'))
@example((LAYOUTS[0], False, b'"lake", "a"\n"lake","b"\n'))
@example((LAYOUTS[3], False, b"a b\n c\n"))
@example((LAYOUTS[1], True, b"lake,a, v\nlake, b+c,v\n"))
@example((LAYOUTS[1], True, b"lake,a,v+1\nlake,b+c,v\n"))
@example((LAYOUTS[4], False, b'"a",""\n"+b",""\n'))
@example((LAYOUTS[0], False, b"lake,k\nla/ke,k\n"))
@example((LAYOUTS[3], False, b"k" * 1024 + b"\n"))
@example((LAYOUTS[3], False, b"k" * 1025 + b"\n"))
@example((LAYOUTS[1], True, b"lake,,v1\n"))
@example((LAYOUTS[0], False, b"lake,%\nlake,41\n"))
@example((LAYOUTS[0], False, b"lake,%C3\nlake,%A9\n"))
@example((LAYOUTS[6], False, b'"lake","a","",""\n"lake","","1","e"\n'))
def test_a_block_is_checked_as_its_rows_are_one_by_one(block: tuple[CsvLayout, bool, bytes]) -> None:
    layout, versioned, text = block
    cells = {**FIRST, "VersionId": "v" if versioned else ""}
    first = ",".join(cells.get(field, "x") for field in layout.fields)

    assert in_blocks(layout, first, text) == one_by_one(layout, first, text)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: ",".join(layout.fields))
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("buckets", [["lake"], ["lake", "lake-2", "lake"]])
@pytest.mark.parametrize("version", ["v", ""])
def test_what_programs_write_is_told_at_once(
    layout: CsvLayout, quote: str, end: str, buckets: list[str], version: str
) -> None:
    cells = [{"Bucket": bucket, "Key": key, "VersionId": version} for bucket in buckets for key in KEYS]
    rows = (",".join(f"{quote}{row.get(field, 'x')}{quote}" for field in layout.fields) + end for row in cells)

    counted = PlainRows(layout).count("".join(rows).encode(), versioned=bool(version), wanted="+ ")

    assert counted == (len(cells), [] if layout.bucket else list(dict.fromkeys(buckets)), {})
