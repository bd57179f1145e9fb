"""Report rows are what csv.writer writes, and read back as what they were."""

from __future__ import annotations

import csv
import io
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.results import read_results, result_rows
from airflow_s3batch.core.rows import Entry, Outcome

# No NUL: csv.reader refuses it up to Python 3.10.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
awkward = st.one_of(text, st.text('a,"\r\n \t', max_size=4))


@st.composite
def outcomes(draw: st.DrawFn, succeeded: bool) -> list[Outcome]:
    keys = draw(st.lists(text.filter(bool), max_size=5))
    return [
        Outcome(
            Entry(row, draw(awkward), key, draw(awkward) or None, quote(key)),
            succeeded,
            draw(st.sampled_from([0, 200, 404])),
            draw(st.sampled_from(["", "NoSuchKey", 'Odd, "code"'])),
            draw(awkward),
        )
        for row, key in enumerate(keys, start=1)
    ]


@given(st.one_of(outcomes(succeeded=True), outcomes(succeeded=False)))
def test_rows_are_those_of_csv_writer(some: list[Outcome]) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    for (_, bucket, _, version, key), succeeded, status, code, message in some:
        writer.writerow([bucket, key, version, "succeeded" if succeeded else "failed", status, code, message])
    assert result_rows(some).decode() == written.getvalue()


@given(st.one_of(outcomes(succeeded=True), outcomes(succeeded=False)))
def test_rows_read_back_are_the_outcomes(some: list[Outcome]) -> None:
    assert list(read_results(result_rows(some), "results.csv")) == some
