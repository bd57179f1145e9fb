"""`CsvRows`: rows of a CSV file, checked and decoded by the block.

A block of plain rows costs a few passes in C over its text: 0.15 to 0.4 µs a row to check (`PlainRows`), 0.6 to make
entries, where the exact rules, row by row, take 4 (``benchmarks/prepare.py``). A block that isn't plain is halved until
the rows that aren't stand nearly alone, and those get the exact rules (`ExactRows`). Plain rows are some about which
these have nothing to say.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress, repeat
from typing import NamedTuple, cast

from airflow_s3batch.core.location import is_bucket
from airflow_s3batch.core.manifest.csv_exact import ExactRows
from airflow_s3batch.core.manifest.csv_plain import PlainRows
from airflow_s3batch.core.manifest.findings import Findings, is_doubtful
from airflow_s3batch.core.manifest.layout import KEY_MOST, NULL_VERSION, CsvLayout
from airflow_s3batch.core.manifest.percent import decodes, unquoted
from airflow_s3batch.core.rows import Entry, FactualEntry

__all__ = ["Checked", "CsvRows"]

_Decoded = Callable[[Sequence[str]], Sequence[str]]
"""Gives keys by their spellings."""

_FEW = 16
"""Rows that are no longer halved."""


class Checked(NamedTuple):
    """What a block of rows holds."""

    lines: int
    """How many rows there are."""
    rows: int
    """How many of them are kept."""
    kept: Sequence[bool] | None
    """Which of them are kept; None if all are."""


class _Columns(NamedTuple):
    """Some rows, as columns of equal length; the rows that are left out are in `kept` alone."""

    buckets: Sequence[str]
    keys: Sequence[str]
    """The keys, decoded; as they are spelled where they are only checked."""
    versions: Sequence[str | None]
    spelled: Sequence[str]
    """The keys as the manifest spells them."""
    distinct: Iterable[str]
    """The buckets, each once."""
    facts: Sequence[Sequence[str]]
    """The columns that entries are to tell of besides."""
    kept: Sequence[bool] | None = None


class _Odd(Exception):
    """Some of these rows aren't plain: they take a closer look."""


class CsvRows:
    """Reads blocks of whole rows, in order, and remembers what must be the same in all of them.

    Args:
        uri: the file, for errors.
        layout: its columns, and which rows are kept.
        findings: what `check` finds goes here.
    """

    def __init__(self, uri: str, layout: CsvLayout, findings: Findings | None = None) -> None:
        self._uri = uri
        self._layout = layout
        self._findings = findings or Findings()
        self._exact = ExactRows(uri, layout)
        self._plain = PlainRows(layout)
        exact = self._exact
        roles = {exact.bucket, exact.key, exact.version, exact.latest, exact.marker, *exact.facts.values()}
        self._wanted = tuple(sorted(at for at in roles if at is not None))
        fields = ('"([^"]*)"' if at in self._wanted else '"[^"]*"' for at in range(len(layout.fields)))
        self._quoted = re.compile(f"^{','.join(fields)}\n", re.MULTILINE)

    def check(self, block: bytes, row: int) -> Checked:
        """Check the rows of a block that begins with the file's row number `row`.

        Raises:
            ManifestError: a row is wrong; names the first that is.
        """
        block = _ended(block)
        wanted = frozenset() if self._layout.inventory else self._findings.wanted
        wanted = frozenset(sign for sign in wanted if sign.encode() in block)
        versioned = self._exact.versioned
        counted = None if versioned is None else self._plain.count(block, versioned=versioned, wanted=wanted)
        if counted is None:
            return self._check_columns(block, row, wanted)
        self._findings.add_buckets(counted.buckets)
        for sign, before in counted.doubtful.items():
            self._findings.add_doubtful(sign, self._uri, row + before)
        return Checked(counted.rows, counted.rows, None)

    def _check_columns(self, block: bytes, row: int, wanted: frozenset[str]) -> Checked:
        lines = rows = 0
        kept: list[Sequence[bool] | int] = []
        for columns in self._read(block, row, self._decoding):
            self._findings.add_buckets(columns.distinct)
            for sign in wanted & self._findings.wanted:
                at = next((at for at, key in enumerate(columns.spelled) if is_doubtful(sign, key)), None)
                if at is not None:
                    self._findings.add_doubtful(sign, self._uri, row + lines + at)
            rows += len(columns.spelled)
            lines += len(columns.spelled if columns.kept is None else columns.kept)
            kept.append(len(columns.spelled) if columns.kept is None else columns.kept)
        if lines == rows:
            return Checked(lines, rows, None)
        every = (repeat(True, part) if isinstance(part, int) else part for part in kept)  # noqa: FBT003 - what is repeated
        return Checked(lines, rows, list(chain.from_iterable(every)))

    def entries(self, block: bytes, row: int) -> list[Entry]:
        """Give the entries of a block, which `check` would let pass; the first is number `row`.

        Raises:
            ManifestError: as `check`.
        """
        entries: list[Entry] = []
        for buckets, keys, versions, spelled, _, facts, _ in self._read(_ended(block), row, self._decoded):
            first = row + len(entries)
            shown = self._for_the_report(spelled)
            made = _made(zip(range(first, first + len(keys)), buckets, keys, versions, shown, strict=True))
            entries += map(self._told, made, zip(*facts, strict=True)) if facts else made
        return entries

    def _told(self, entry: Entry, facts: Sequence[str]) -> FactualEntry:
        return FactualEntry.of(entry, {name: fact for name, fact in zip(self._exact.facts, facts, strict=True) if fact})

    def _read(self, block: bytes, row: int, decoded: _Decoded) -> Iterator[_Columns]:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            before = block.rfind(b"\n", 0, error.start) + 1
            if before:  # an earlier row may be wrong as well, and the first one is what we report
                yield from self._read(block[:before], row, decoded)
            raise self._exact.not_text(block, row + block.count(b"\n", 0, before), error.reason) from None
        if self._exact.versioned is None:
            self._exact.begin(text.partition("\n")[0], row)
        yield from self._halves(text, row, decoded)

    def _halves(self, text: str, row: int, decoded: _Decoded) -> Iterator[_Columns]:
        """The columns of plain rows at one go, of others row by row."""
        with contextlib.suppress(_Odd):
            yield self._columns(text, decoded)
            return
        if text.count("\n") <= _FEW:
            yield self._one_by_one(text, row)
            return
        cut = text.rfind("\n", 0, len(text) // 2) + 1 or text.find("\n") + 1
        yield from self._halves(text[:cut], row, decoded)
        yield from self._halves(text[cut:], row + text.count("\n", 0, cut), decoded)

    def _columns(self, text: str, decoded: _Decoded) -> _Columns:
        exact, columns = self._exact, self._split_all(text)
        spelled = columns[exact.key]
        buckets = columns[exact.bucket] if exact.bucket is not None else [self._layout.bucket or ""] * len(spelled)
        # A key within the limit as it is spelled is so once decoded; beyond ASCII a character has up to 4 bytes.
        most = KEY_MOST if text.isascii() else KEY_MOST // 4
        # Most manifests are about one bucket: counting it costs a third of hashing each row's.
        distinct = buckets[:1] if buckets.count(buckets[0]) == len(buckets) else dict.fromkeys(buckets)
        if not all(spelled) or max(map(len, spelled)) > most or not all(map(is_bucket, distinct)):
            raise _Odd
        versions: Sequence[str | None] = [None] * len(spelled)
        if exact.version is not None:
            column = columns[exact.version]
            if self._layout.inventory:
                versions = [version or NULL_VERSION for version in column] if "" in column else column
            elif column.count("") != (0 if exact.versioned else len(column)):
                raise _Odd
            else:
                versions = column if exact.versioned else versions
        latest, markers = (columns[at] if at is not None else () for at in (exact.latest, exact.marker))
        facts = [columns[at] for at in exact.facts.values()]
        return self._kept(_Columns(buckets, decoded(spelled), versions, spelled, distinct, facts), latest, markers)

    def _split_all(self, text: str) -> dict[int, Sequence[str]]:
        """The columns that are wanted, if all rows have this width and either all fields are quoted or none is."""
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if "\r" in text or "\0" in text:
            raise _Odd
        if text.startswith('"'):
            rows = self._quoted.findall(text)
            # Each match holds a row's newline, and another one if that stands in a field.
            if len(rows) != text.count("\n"):
                raise _Odd
            columns: Iterable[Sequence[str]] = zip(*rows, strict=True) if len(self._wanted) > 1 else [rows]
            return dict(zip(self._wanted, columns, strict=True))
        cells, step = _cells(text, len(self._layout.fields)), len(self._layout.fields) + 1
        return {at: cells[at::step] for at in self._wanted}

    def _one_by_one(self, text: str, row: int) -> _Columns:
        """The columns of rows read by the rules that decide what may be taken at one go."""
        # Not splitlines(), which also splits at what may stand in a key (U+2028, form feed).
        rows = [self._exact.read(line, row + at) for at, line in enumerate(text.split("\n")[:-1])]
        buckets, keys, versions, spelled, latest, markers, facts = zip(*rows, strict=True)
        told = _Columns(buckets, keys, versions, spelled, dict.fromkeys(buckets), list(zip(*facts, strict=True)))
        flags = self._exact.latest, self._exact.marker
        return self._kept(told, latest if flags[0] is not None else (), markers if flags[1] is not None else ())

    def _kept(self, columns: _Columns, latest: Sequence[str], markers: Sequence[str]) -> _Columns:
        """The columns without the rows that are to be left out."""
        kept = self._layout.kept(latest, markers, self._findings)
        if kept is None:
            return columns
        told: list[Sequence[str]] = [columns.buckets, columns.keys, columns.spelled, *columns.facts]
        buckets, keys, spelled, *facts = (list(compress(column, kept)) for column in told)
        versions = list(compress(columns.versions, kept))
        return _Columns(buckets, keys, versions, spelled, dict.fromkeys(buckets), facts, kept)

    def _decoded(self, spelled: Sequence[str]) -> Sequence[str]:
        """The keys, from their spellings."""
        joined = "\n".join(spelled)
        spaces = self._layout.inventory and "+" in joined
        if "%" not in joined and not spaces:
            return spelled
        text = unquoted(joined, plus_is_space=spaces)
        keys = () if text is None else text.split("\n")
        if len(keys) != len(spelled):  # wrong, or an encoded newline
            raise _Odd
        return keys

    def _decoding(self, spelled: Sequence[str]) -> Sequence[str]:
        """The spellings, which are known to decode from here on."""
        if not decodes("\n".join(spelled).encode()):
            raise _Odd
        return spelled

    def _for_the_report(self, spelled: Sequence[str]) -> Sequence[str]:
        """The keys as the manifest spells them, but with %20 for the ``+`` by which an inventory means a space.

        Nothing in a report says which of the two a ``+`` is.
        """
        if not self._layout.inventory or "+" not in "".join(spelled):
            return spelled
        return [key.replace("+", "%20") for key in spelled]


def _ended(block: bytes) -> bytes:
    """The block, with a newline after its last row as well."""
    return block if block.endswith(b"\n") else block + b"\n"


def _made(rows: Iterable[tuple[int, str, str, str | None, str]]) -> Iterator[Entry]:
    # A third cheaper than Entry._make, of which a manifest needs millions.
    return cast("Iterator[Entry]", map(tuple.__new__, repeat(Entry), rows))


def _cells(text: str, width: int) -> list[str]:
    """All fields of all rows, with a newline after each row's, if all rows have this width and no quotes."""
    if '"' in text:
        raise _Odd
    cells = text.replace("\n", ",\n,").split(",")
    cells.pop()
    # If all newlines are where rows of this width have theirs, all rows have this width.
    rows = text.count("\n")
    if len(cells) != rows * (width + 1) or cells[width :: width + 1].count("\n") != rows:
        raise _Odd
    return cells
