"""The audit of the fault suite finds what it is there to find."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import audit
from tests.faults.recording_s3 import Put

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = "reports/job-1/"
LAKE = audit.Lake("lake", rows=10, missing_every=5)


class Story:
    """What the server would say of a job of one partition: killed after rows 1 to 8, of which 1 to 6 were committed."""

    def __init__(self) -> None:
        self.tagged = [1, 2, 3, 4, 5, 6, 7, 8, 5, 7, 8, 9, 10]
        self.rows = [self.row(row) for row in range(1, 11)]
        self.status = {"NumberOfTasksSucceeded": 8, "NumberOfTasksFailed": 2, "TotalNumberOfTasks": 10}
        self.committed = ("1-4,6", "7-9")
        self.late: list[tuple[str, Any]] = []
        self.listed = ["a"]
        self.md5 = ""

    def row(self, row: int) -> str:
        outcome = "failed,404,NoSuchKey,gone" if LAKE.is_missing(row) else "succeeded,200,,Successful"
        return f"{LAKE.bucket},{LAKE.key(row)},,{outcome}\r\n"

    def evidence(self) -> audit.Evidence:
        results = "".join(self.rows).encode()
        digest = self.md5 or hashlib.md5(results).hexdigest()
        files = [{"Key": f"{FOLDER}results/{name}.csv", "MD5Checksum": digest} for name in self.listed]
        manifest = json.dumps({"Results": files})
        written = [
            (0, "job.json", {"Partitions": [{"number": 0, "first_row": 1, "rows": 10}]}),
            (0, "partitions/0/attempt.json", {"Attempt": 1, "Summary": None}),
            (8, "partitions/0/checkpoint-000001.json", self.checkpoint(1, self.committed[0], "5")),
            (8, "partitions/0/attempt.json", {"Attempt": 2, "Summary": None}),
            (13, "results/a.csv", results),
            (13, "partitions/0/checkpoint-000002.json", self.checkpoint(2, self.committed[1], "5,10")),
            (13, "partitions/0/attempt.json", {"Attempt": 2, "Summary": {}}),
            (13, "manifest.json.md5", hashlib.md5(manifest.encode()).hexdigest()),
            (13, "manifest.json", manifest),
            (13, "status.json", {"ProgressSummary": self.status}),
            *((13, *late) for late in self.late),
        ]
        puts = [Put(at, "jobs", FOLDER + name, _body(content)) for at, name, content in written]
        return audit.Evidence(LAKE, FOLDER, puts, self.tagged, {put.key: put.body for put in puts}.__getitem__)

    def checkpoint(self, number: int, succeeded: str, failed: str) -> dict[str, Any]:
        both = {
            name: {"Count": len(list(audit.rows_of(rows))), "Rows": rows}
            for name, rows in (("Succeeded", succeeded), ("Failed", failed))
        }
        return {"Checkpoint": number, "Attempt": number, **both}


def _body(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def test_job_as_it_should_be_has_no_findings() -> None:
    evidence = Story().evidence()

    assert audit.findings(evidence) == []
    assert [(one.number, one.served, one.committed, one.finished) for one in evidence.attempts()] == [
        (1, 8, 6, False),
        (2, 5, 5, True),
    ]
    assert evidence.repeats == 2


def lose_an_object(story: Story) -> None:
    story.tagged.remove(9)


def do_a_stranger(story: Story) -> None:
    story.tagged.append(11)


def do_a_committed_one_again(story: Story) -> None:
    story.tagged[9] = 3


def leave_a_row_out(story: Story) -> None:
    del story.rows[2]


def write_a_row_twice(story: Story) -> None:
    story.rows.append(story.rows[2])


def report_the_wrong_outcome(story: Story) -> None:
    story.rows[4] = story.rows[4].replace("failed,404,NoSuchKey", "succeeded,200,")


def count_wrongly(story: Story) -> None:
    story.status["NumberOfTasksFailed"] = 1


def write_another_file(story: Story) -> None:
    story.md5 = "0" * 32


def write_results_late(story: Story) -> None:
    story.late = [("results/b.csv", "")]


def name_a_file_too_early(story: Story) -> None:
    story.rows, story.listed, story.late = [], ["a", "b"], [("results/b.csv", "")]


def run_again_after_the_report(story: Story) -> None:
    story.late = [("partitions/0/attempt.json", {"Attempt": 3, "Summary": None})]


def report_before_the_end(story: Story) -> None:
    run_again_after_the_report(story)
    story.late.append(("manifest.json", {"Results": []}))


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lose_an_object, "1 objects were never done: rows [9]"),
        (do_a_stranger, "1 objects were done that are in no manifest: rows [11]"),
        (do_a_committed_one_again, "partition 0, checkpoint 1: rows [3] (1) done again"),
        (leave_a_row_out, "the report lacks 1 rows"),
        (write_a_row_twice, "the report has 1 rows too many or wrong"),
        (report_the_wrong_outcome, "the report lacks 1 rows"),
        (count_wrongly, "the job counts"),
        (write_another_file, "isn't the file that manifest.json names"),
        (write_results_late, "results/b.csv was written after manifest.json"),
        (name_a_file_too_early, "manifest.json was written before"),
        (run_again_after_the_report, "partitions/0/attempt.json was written after manifest.json"),
        (report_before_the_end, "manifest.json was written while partitions [0] were not done"),
    ],
)
def test_what_is_wrong_is_found(wrong: Callable[[Story], None], found: str) -> None:
    story = Story()
    wrong(story)

    assert any(found in finding for finding in audit.findings(story.evidence()))
