from __future__ import annotations

import pytest

from airflow_s3batch.core.errors import ReportError
from airflow_s3batch.core.results import read_results, result_rows
from airflow_s3batch.core.rows import Entry, Outcome

ENTRY = Entry(1, "linz", "a b/ü.tif", "886tw", "a%20b/%C3%BC.tif")


def test_a_row_is_laid_out_as_live_aws_reports_are() -> None:
    done = Outcome(ENTRY, succeeded=True, http_status=200, code="", message="Successful")
    assert result_rows([done]) == b"linz,a%20b/%C3%BC.tif,886tw,succeeded,200,,Successful\r\n"


@pytest.mark.parametrize(
    ("line", "status", "code", "message"),
    [
        ("b,k,,succeeded,200,,Successful", 200, "", "Successful"),
        (
            "b,k,v,failed,500,SrcObjectNotEligible,Object is not eligible",
            500,
            "SrcObjectNotEligible",
            "Object is not eligible",
        ),
        (
            'b,k,,failed,200,PermanentFailure,"Lambda: {""errorMessage"":""timed out""}"',
            200,
            "PermanentFailure",
            'Lambda: {"errorMessage":"timed out"}',
        ),
        ("b,k,,failed,NoSuchKey,404,The declared order of columns", 404, "NoSuchKey", "The declared order of columns"),
        ("b,k,,succeeded,,200,The declared order of columns", 200, "", "The declared order of columns"),
        ("b,k,,failed,418,418,A code that is a number", 418, "418", "A code that is a number"),
        ("b,k,,failed,,Unknown,No status at all", 0, "Unknown", "No status at all"),
    ],
)
def test_rows_are_read_in_either_order_of_columns(line: str, status: int, code: str, message: str) -> None:
    (outcome,) = read_results(f"{line}\r\n".encode(), "results.csv")
    assert outcome[2:] == (status, code, message)


def test_a_key_is_decoded_and_kept_as_the_manifest_spells_it() -> None:
    (outcome,) = read_results(
        result_rows([Outcome(ENTRY, succeeded=True, http_status=200, code="", message="Successful")]),
        "results.csv",
        first_row=1,
    )
    assert outcome.entry == ENTRY


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"b,k,,succeeded,200,\r\n", "results.csv, line 1: not a row of a completion report"),
        (b"b,k,,Succeeded,200,,ok\r\n", "results.csv, line 1: not a row of a completion report"),
        (b'b,k,,failed,200,,"open', "results.csv: not a result file: unexpected end of data"),
        (b"\xff,k,,failed,200,,", "results.csv: not a result file: 'utf-8' codec"),
    ],
)
def test_what_is_no_result_file_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(ReportError, match=problem):
        list(read_results(body, "results.csv"))


def test_a_message_that_is_not_unicode_is_escaped() -> None:
    assert result_rows([Outcome(ENTRY, succeeded=False, http_status=0, code="", message="\ud800")]).endswith(
        b",\\ud800\r\n"
    )
