"""Rows of the completion report, Report_CSV_20180820.

``Bucket, Key, VersionId, TaskStatus, HTTPStatusCode, ErrorCode, ResultMessage``: CSV without a header, CRLF, quoted
where RFC 4180 needs it, the key as the manifest spells it (`Entry.manifest_key`). That is the order of AWS's live
reports, and not that of the ReportSchema they declare, which has ErrorCode before HTTPStatusCode; both are read.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, unquote_plus

from airflow_s3batch.core.errors import ReportError
from airflow_s3batch.core.rows import Entry, Outcome

__all__ = ["REPORT_FORMAT", "SCHEMA", "read_results", "result_rows"]

REPORT_FORMAT = "Report_CSV_20180820"
"""AWS's name of it."""
SCHEMA = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
"""ReportSchema, as AWS's report manifests declare it."""

_COLUMNS = 7
_STRUCTURE = b"," * (_COLUMNS - 1) + b"\r\n"
"""What there is of a plain row without its fields."""
_NO_STRUCTURE = bytes(set(range(256)) - set(b'"' + _STRUCTURE))
_STATUS = ("failed", "succeeded")


def result_rows(outcomes: Sequence[Outcome]) -> bytes:
    """The outcomes as rows of the report, UTF-8. All of them have succeeded, or none has: AWS separates the two."""
    if not outcomes:
        return b""
    status = _STATUS[outcomes[0].succeeded]
    # An eighth of what csv.writer takes. Fields by their places, since to unpack a NamedTuple takes an iterator.
    text = "".join(
        [
            f"{(entry := told[0])[1]},{entry[4]},{entry[3] or ''},{status},{told[2]},{told[3]},{told[4]}\r\n"
            for told in outcomes
        ]
    )
    body = _encoded(text)
    # No field holds what needs quotes, if there is nothing of it but what the rows themselves need.
    is_plain = body.translate(None, _NO_STRUCTURE) == _STRUCTURE * len(outcomes)
    return body if is_plain else _encoded(_quoted(outcomes, status))


def _encoded(text: str) -> bytes:
    # A lone surrogate can't come from S3 or a manifest, but from a message that somebody's code wrote.
    return text.encode("utf-8", "backslashreplace")


def _quoted(outcomes: Sequence[Outcome], status: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(
        (bucket, key, version or "", status, http_status, code, message)
        for (_, bucket, _, version, key), _, http_status, code, message in outcomes
    )
    return text.getvalue()


def read_results(body: bytes, place: str, first_row: int = 1, *, plus_is_space: bool = False) -> Iterator[Outcome]:
    """Read a result file back. Entries are numbered from `first_row`; `place` names the file in errors.

    A ``+`` in a key stands for itself, or for a space.

    Raises:
        ReportError: it isn't one; names the line.
    """
    decode = unquote_plus if plus_is_space else unquote
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8"), newline=""), strict=True)
        for row, fields in enumerate(lines, start=first_row):
            if len(fields) != _COLUMNS or fields[3] not in _STATUS:
                raise ReportError(f"{place}, line {lines.line_num}: not a row of a completion report")
            bucket, key, version, status, fifth, sixth, message = fields
            http_status, code = (sixth, fifth) if _is_number(sixth) and not _is_number(fifth) else (fifth, sixth)
            entry = Entry(row, bucket, decode(key), version or None, key)
            yield Outcome(
                entry, status == "succeeded", int(http_status) if _is_number(http_status) else 0, code, message
            )
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{place}: not a result file: {error}") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
