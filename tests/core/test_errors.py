"""Errors name the thing and the place, on one line of a log, whatever the thing is called."""

from __future__ import annotations

import pytest

from airflow_s3batch.core.errors import (
    InvalidInput,
    JobFailed,
    ManifestChanged,
    ManifestError,
    PartitionsMissing,
    ReportError,
    S3BatchError,
    S3Error,
    Unreachable,
    printable,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("日本/キー", "日本/キー"),
        ("a\nb\r\t\x00", "a\\nb\\r\\t\\x00"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        (404, "404"),
    ],
)
def test_printable_text_is_safe_for_one_line_of_a_log(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_printable_text_is_cut_at_its_limit() -> None:
    assert printable("x" * 1_000_000, 10) == "xxxxxxxxx…"
    assert printable("x" * 10, 10) == "xxxxxxxxxx"
    assert len(printable("\n" * 100, 10)) == 10


def test_one_except_catches_everything_the_package_raises_on_purpose() -> None:
    for error in (InvalidInput, ManifestChanged, PartitionsMissing, JobFailed, Unreachable):
        assert issubclass(error, S3BatchError)


def test_invalid_input_is_a_value_error_too() -> None:
    assert issubclass(InvalidInput, ValueError)


def test_a_manifest_error_names_file_and_row() -> None:
    error = ManifestError("s3://lake/m.csv", "the key is empty", row=17)

    assert str(error) == "s3://lake/m.csv, row 17: the key is empty"
    assert (error.manifest, error.row, error.code) == ("s3://lake/m.csv", 17, "InvalidManifestContent")


def test_a_manifest_error_about_the_file_names_no_row() -> None:
    assert str(ManifestChanged("s3://lake/m.csv", "changed")) == "s3://lake/m.csv: changed"


def test_missing_partitions_are_named_and_counted() -> None:
    error = PartitionsMissing("id", {number: f"rows {number}" for number in range(30)}, 64)

    assert isinstance(error, ReportError)
    assert error.partitions == tuple(range(30))
    assert "30 of 64 partitions have not finished (partition 0, rows 0; partition 1, rows 1; " in str(error)
    assert "partition 19, rows 19; …)" in str(error)


def test_a_failed_job_tells_every_reason() -> None:
    error = JobFailed("id", [("InvalidManifestContent", "row 3\nis odd"), ("AccessDenied", "no")])

    assert str(error) == "job id failed: InvalidManifestContent: row 3\\nis odd; AccessDenied: no"
    assert str(JobFailed("id", [])) == "job id failed: no reason recorded"


def test_an_s3_error_names_call_object_status_and_code() -> None:
    error = S3Error("GetObject", "s3://lake/a\nb", status=403, code="AccessDenied", message="Access Denied")

    assert str(error) == "GetObject s3://lake/a\\nb: 403 AccessDenied: Access Denied"


def test_an_unreachable_s3_has_no_status() -> None:
    error = Unreachable("GetObject", "s3://lake/a", status=0, code="ConnectFault", message="refused")

    assert str(error) == "GetObject s3://lake/a: ConnectFault: refused"
