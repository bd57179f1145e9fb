"""Waiting for restores: what is asked, what is remembered, and when it is over."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput, ReportError, S3BatchError, S3Error
from airflow_s3batch.core.restored import Archived, Restores, look_again
from airflow_s3batch.testing import MemoryS3

REPORT = "s3://lake/reports/job-1/manifest.json"
EXPIRY = ', expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"'


class Glacier(MemoryS3):
    """Objects that S3 is restoring, until told that it is done with them; and the report of the job that asked.

    Args:
        objects: how many objects the job succeeded with, ``0``, ``1``, …
        failed: rows that failed, by key: their codes.
    """

    def __init__(self, objects: int, failed: dict[str, str] | None = None) -> None:
        super().__init__("lake")
        self.restoring = set(map(str, range(objects)))
        self.heads: dict[str, dict[str, Any]] = {}
        """What is told about a key instead."""
        self.looked_at: list[str] = []
        self.report(list(map(str, range(objects))), failed or {})

    def report(self, succeeded: Sequence[str], failed: Mapping[str, str]) -> None:
        """Write the report of the job, anew if there is one."""
        files = {
            "succeeded": "".join(f"lake,{key},,succeeded,202,,Successful\r\n" for key in succeeded),
            "failed": "".join(f"lake,{key},,failed,409,{code},No.\r\n" for key, code in failed.items()),
        }
        results = []
        for status, text in files.items():
            self.put("lake", f"results/{status}.csv", text)
            md5 = hashlib.md5(text.encode()).hexdigest()
            place = {"Bucket": "lake", "Key": f"results/{status}.csv", "MD5Checksum": md5}
            results.append({"TaskExecutionStatus": status, **place})
        manifest = {"Format": "Report_CSV_20180820", "ReportCreationDate": str(len(self.calls)), "Results": results}
        self.put("lake", "reports/job-1/manifest.json", json.dumps(manifest))

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        if action != "HeadObject":
            return await super().call(action, **parameters)
        await asyncio.sleep(0)
        key = parameters["Key"]
        self.looked_at.append(key)
        if key in self.heads:
            if "status" in self.heads[key]:
                raise S3Error(action, key, **self.heads[key])
            return self.heads[key]
        ongoing = key in self.restoring
        return {
            "StorageClass": "GLACIER",
            "Restore": 'ongoing-request="true"' if ongoing else f'ongoing-request="false"{EXPIRY}',
        }


def look(s3: MemoryS3, so_far: Restores | None = None, **options: Any) -> Restores:
    """Look, and remember as JSON does."""
    seen = asyncio.run(look_again(REPORT, s3, so_far or Restores(), **options))
    assert seen.ended or Restores.from_json(json.loads(json.dumps(seen.to_json()))) == seen
    return seen


def test_it_is_over_when_all_can_be_read() -> None:
    s3 = Glacier(3)
    s3.restoring.clear()

    seen = look(s3, expected=3)

    assert (seen.rows, seen.restored, seen.ongoing, seen.ended) == (3, 3, (), True)


def test_what_is_ongoing_is_looked_at_again_and_nothing_else() -> None:
    s3 = Glacier(5)
    s3.restoring = {"1", "3"}
    first = look(s3)
    s3.looked_at.clear()
    s3.restoring = {"3"}
    second = look(s3, first)

    assert [one.key for one in first.ongoing] == ["1", "3"]
    assert not first.ended
    assert second.ongoing == (Archived("lake", "3", None),)
    assert (second.rows, second.restored) == (5, 4)
    assert sorted(s3.looked_at) == ["1", "3"]
    s3.restoring.clear()
    third = look(s3, second)
    assert (third.rows, third.restored, third.ongoing, third.ended) == (5, 5, (), True)


def test_not_all_of_many_are_looked_at_while_many_are_ongoing() -> None:
    s3 = Glacier(5_000)
    seen = look(s3)

    assert len(s3.looked_at) == len(seen.ongoing) == 256


def test_every_object_is_seen_restored_once() -> None:
    s3 = Glacier(1_500)
    seen, looks = look(s3), 1
    while not seen.ended:
        for _ in range(300):
            if s3.restoring:
                s3.restoring.remove(max(s3.restoring, key=int))  # those at the end of the report are done first
        seen, looks = look(s3, seen, expected=1_500), looks + 1

    assert (seen.restored, seen.rows) == (1_500, 1_500)
    assert looks == 6


def test_restores_that_were_under_way_before_are_waited_for_and_other_failures_are_not() -> None:
    s3 = Glacier(1, failed={"before": "RestoreAlreadyInProgress", "plain": "InvalidObjectState"})
    s3.restoring = {"before"}

    seen = look(s3, expected=1)

    assert [one.key for one in seen.ongoing] == ["before"]
    assert sorted(s3.looked_at) == ["0", "before"]


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"StorageClass": "INTELLIGENT_TIERING"},  # back from its archive tier
        {"StorageClass": "GLACIER_IR"},  # never needs a restore
    ],
)
def test_object_that_can_be_read_without_a_restored_copy_is_restored(head: dict[str, Any]) -> None:
    s3 = Glacier(1)
    s3.heads["0"] = head

    assert look(s3).ended


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ({"StorageClass": "DEEP_ARCHIVE"}, "archived and no restore is under way"),
        ({"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}, "archived and no restore"),
        ({"status": 404, "code": "NotFound", "message": ""}, "isn't there any more"),
        ({"status": 405, "code": "MethodNotAllowed", "message": ""}, "isn't there any more"),
    ],
)
def test_object_that_never_will_be_restored_is_an_error(head: dict[str, Any], why: str) -> None:
    s3 = Glacier(2)
    s3.heads["1"] = head

    with pytest.raises(S3BatchError, match=rf"1 object will not .* s3://lake/1: .*{why}.*; ask for them again"):
        look(s3)


def test_error_names_a_few_of_many() -> None:
    s3 = Glacier(20)
    s3.heads = {key: {"StorageClass": "GLACIER"} for key in s3.restoring}

    with pytest.raises(S3BatchError, match="20 objects will not be restored") as caught:
        look(s3)
    assert str(caught.value).count("s3://lake/") == 5


def test_refusal_of_a_look_is_raised() -> None:
    s3 = Glacier(1)
    s3.heads["0"] = {"status": 403, "code": "Forbidden", "message": ""}

    with pytest.raises(S3Error, match="403 Forbidden"):
        look(s3)


def test_all_objects_of_a_report_that_was_written_again_are_waited_for() -> None:
    """Some failed at first: done again, they stand before rows that have been looked at."""
    keys = [str(number) for number in range(700)]
    s3 = Glacier(700)
    s3.report(keys[50:], dict.fromkeys(keys[:50], "SlowDown"))
    s3.restoring -= set(keys[50:300])
    seen = look(s3, expected=650)
    assert 0 < len(seen.ongoing) < 650

    s3.report(keys, {})
    while not seen.ended:
        s3.restoring -= {one.key for one in seen.ongoing}
        seen = look(s3, seen, expected=650)

    assert not s3.restoring
    assert seen.restored == 700


def test_failure_that_became_a_restore_under_way_is_waited_for() -> None:
    s3 = Glacier(1, failed={"x": "SlowDown"})
    seen = look(s3)
    s3.report(["0"], {"x": "RestoreAlreadyInProgress"})
    s3.restoring = {"x"}

    assert [one.key for one in look(s3, seen).ongoing] == ["x"]


def test_report_that_was_written_again_with_the_same_rows_is_the_same() -> None:
    s3 = Glacier(600)
    first = look(s3)
    s3.report(list(map(str, range(600))), {})
    s3.restoring.clear()
    s3.looked_at.clear()

    assert look(s3, first).restored == 600
    assert sorted(s3.looked_at) == sorted(map(str, range(600)))  # each once


@pytest.mark.parametrize(("plus_is_space", "key"), [(False, "+a b"), (True, " a b")])
def test_plus_is_what_the_caller_says_it_is(plus_is_space: bool, key: str) -> None:
    s3 = Glacier(0, failed={"+a%20b": "RestoreAlreadyInProgress"})
    s3.restoring = {key}

    assert look(s3, plus_is_space=plus_is_space).ongoing == (Archived("lake", key, None),)


def test_report_without_rows_for_what_succeeded_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"0 of the 7 objects .* scope='AllTasks'"):
        look(Glacier(0), expected=7)


def test_report_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ReportError, match="NoSuchKey"):
        look(MemoryS3("lake"))
