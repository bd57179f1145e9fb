"""Target keys: what templates, prefixes and patterns make of keys, and which keys S3 is asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core import engine
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed
from airflow_s3batch.core.operations import CopyObject, MoveObject, VerifyObject, operation_from_aws
from airflow_s3batch.core.operations.target_key import Targeted
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import Entry
from tests.core.engine.awkward import AWKWARD
from tests.core.engine.flights import entries, fly, limits, to
from tests.core.scripted import OWNER, ScriptedEngine, spec
from tests.servers import ScriptedServer, answer

KEY = "raw/2026/07/a.csv"
DATED = {"key_pattern": r"(?P<year>\d{4})/(?P<month>\d\d)/(.+)", "strip_prefix": "raw/"}


def target(key: str, *, version: str | None = None, **arguments: Any) -> str:
    return CopyObject("archive", **arguments).target_for(Entry(1, "lake", key, version, key))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, KEY),
        ({"target_prefix": "old/"}, f"old/{KEY}"),
        ({"target_key": "old/{key}"}, f"old/{KEY}"),
        ({"target_key": "{key}"}, KEY),
        ({"target_key": "{bucket}/{folder}copy of {name}"}, "lake/raw/2026/07/copy of a.csv"),
        ({"target_key": "{name}@{version}"}, "a.csv@v1"),
        ({"strip_prefix": "raw/"}, "2026/07/a.csv"),
        ({"strip_prefix": "raw/", "target_prefix": "curated/"}, "curated/2026/07/a.csv"),
        ({"strip_prefix": "raw/", "target_key": "{folder}{key}"}, "2026/07/2026/07/a.csv"),
        ({**DATED, "target_key": "year={year}/month={month}/{3}"}, "year=2026/month=07/a.csv"),
        ({"key_pattern": r"(?:raw|(old))/(.*)", "target_key": "{1}{2}"}, "2026/07/a.csv"),
    ],
)
def test_target_key_is_made_of_the_key(arguments: dict[str, Any], expected: str) -> None:
    assert target(KEY, version="v1", **arguments) == expected


@pytest.mark.parametrize("key", ["a", "/a", "a/", "//", "{name}", "{key}{", "a\nb", "日本/キー"])
def test_folder_and_name_are_the_whole_key(key: str) -> None:
    assert target(key, target_key="{folder}{name}") == key


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_keys_are_never_taken_for_places(key: str) -> None:
    assert target(key, target_key="<{key}|{key}>") == f"<{key}|{key}>"


@pytest.mark.parametrize(
    ("key", "arguments", "code", "message"),
    [
        ("other/a", {"strip_prefix": "raw/"}, "KeyNotMatched", "other/a doesn't begin with strip_prefix 'raw/'"),
        ("a", {"key_pattern": r"\d+", "target_key": "{key}"}, "KeyNotMatched", "a isn't matched by key_pattern"),
        ("1 and more", {"key_pattern": r"\d", "target_key": "{key}"}, "KeyNotMatched", "isn't matched"),
        ("raw/", {"strip_prefix": "raw/"}, "InvalidTargetKey", "the target key is empty"),
        ("a/", {"target_key": "{name}"}, "InvalidTargetKey", "the target key is empty"),
        ("é" * 512, {"target_key": "{folder}x{name}"}, "KeyTooLongError", "1,025 bytes; S3 takes 1,024"),
        ("evil\x1b[2Jkey", {"strip_prefix": "raw/"}, "KeyNotMatched", r"evil\x1b[2Jkey doesn't"),
    ],
)
def test_object_without_a_target_key_fails(key: str, arguments: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(ObjectFailed, match=re.escape(message)) as caught:
        target(key, **arguments)

    assert caught.value.code == code


@pytest.mark.parametrize("operation", [CopyObject, MoveObject, VerifyObject])
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"target_key": "{nope}"}, "{nope} is no place; there are bucket, folder, key, name, version"),
        ({"target_key": "a{key"}, "has a { that belongs to no place"),
        ({"target_key": "a}{key}"}, "has a } that belongs to no place"),
        ({"target_key": "{key.__class__}"}, "has a { that belongs to no place"),
        ({"target_key": "{key!r:>10}"}, "has a { that belongs to no place"),
        ({"target_key": "{}"}, "has a { that belongs to no place"),
        ({"target_key": "{1}"}, "{1} is no place"),
        ({"target_key": "{key}", "target_prefix": "a/"}, "either target_prefix or target_key"),
        ({"key_pattern": "(.*)"}, "key_pattern needs a target_key"),
        ({"key_pattern": "(", "target_key": "{key}"}, "is no regular expression: missing )"),
        ({"key_pattern": "(.*)", "target_key": "{2}"}, "{2} is no place; there are 1, bucket"),
        ({"key_pattern": "(?P<name>.*)", "target_key": "{name}"}, "group name has the name of a place"),
        ({"target_key": "a" * 1025}, "at most 1024"),
    ],
)
def test_target_key_that_can_never_work_is_refused(operation: Any, arguments: dict[str, str], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(wrong)):
        operation("archive", **arguments)


@pytest.mark.parametrize("operation", [CopyObject, MoveObject, VerifyObject])
@pytest.mark.parametrize(
    "arguments",
    [
        {"target_prefix": "a/"},
        {"strip_prefix": "raw/"},
        {**DATED, "target_key": "{year}/{3}"},
        {"target_key": "{name}"},
    ],
)
def test_target_key_is_read_back_from_json(operation: Any, arguments: dict[str, str]) -> None:
    written = operation("archive", **arguments)

    assert operation_from_aws(written.to_aws()) == written


@pytest.mark.parametrize("operation", [CopyObject, MoveObject])
@pytest.mark.parametrize("overwrite", [False, True])
def test_whether_to_overwrite_is_read_back_from_json(operation: Any, overwrite: bool) -> None:
    written = operation("archive", overwrite=overwrite)

    assert operation_from_aws(written.to_aws()) == written
    assert operation("archive") == operation("archive", overwrite=operation is CopyObject)


def test_airflows_templates_pass_until_they_are_rendered() -> None:
    written = CopyObject("archive", target_key="{{ params.folder }}/{name}")
    rendered = written.to_aws()
    rendered["S3PutObjectCopy"]["TargetKey"] = "{nope}/{name}"

    assert written.to_aws()["S3PutObjectCopy"]["TargetKey"] == "{{ params.folder }}/{name}"
    with pytest.raises(InvalidInput, match=re.escape("{nope} is no place")):
        operation_from_aws(rendered)


@pytest.mark.parametrize("name", ["TargetKeyPrefix", "TargetKey", "StripKeyPrefix", "KeyPattern"])
@pytest.mark.parametrize("operation", ["S3PutObjectCopy", "S3MoveObject", "S3VerifyObject"])
def test_what_rendered_to_nothing_never_means_the_objects_own_keys(operation: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is there and empty"):
        operation_from_aws({operation: {"TargetResource": "arn:aws:s3:::archive", name: ""}})


def test_pattern_takes_a_line_break_for_a_character() -> None:
    assert target("raw/a\nb", key_pattern="raw/(.+)", target_key="{1}") == "a\nb"


@pytest.mark.parametrize("target_key", ["archive/", "{bucket}/all"])
@pytest.mark.parametrize("kind", [CopyObject, MoveObject, VerifyObject])
def test_no_job_puts_all_its_objects_at_one_key(kind: Callable[..., Targeted], target_key: str) -> None:
    s3 = ScriptedEngine()
    s3.put("lake", "manifest.csv", "data,a\ndata,b\ndata,c\n")
    asked = spec().model_copy(update={"operation": kind("archive", target_key=target_key)})

    with pytest.raises(InvalidInput, match=re.escape(f"each of 3 objects would have the key {target_key!r}")):
        asyncio.run(prepare(asked, s3, owner=OWNER))


@pytest.mark.parametrize(
    ("target_key", "rows", "buckets"),
    [
        ("archive/", 1, ["lake"]),
        ("{bucket}", 2, ["lake", "data"]),
        ("{folder}latest", 3, ["lake"]),
        ("{version}", 3, ["lake"]),
        ("", 3, ["lake"]),
    ],
)
def test_keys_that_may_differ_are_left_to_the_author(target_key: str, rows: int, buckets: list[str]) -> None:
    CopyObject("archive", target_key=target_key).check_job(rows, buckets, datetime.now(timezone.utc))


# On the wire


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: [answer(200, b"<CopyObjectResult/>")]) as server:
        yield server


@pytest.mark.parametrize("template", ["{key}", "old/{key} & {bucket}", "{name}/{folder}", "{key}{version}"])
def test_every_awkward_key_is_asked_for_as_it_is(server: ScriptedServer, template: str) -> None:
    operation = CopyObject("archive", target_key=template)
    some = entries(AWKWARD, version="v/1")

    outcomes = engine.run(fly(to(server.url), some, operation, chosen=limits(in_flight=2)))

    assert all(outcome.succeeded for outcome in outcomes)
    sent = {request.header("x-amz-copy-source"): unquote(request.path) for request in server.requests}
    told = {unquote(source.partition("?")[0]).removeprefix("lake/"): path for source, path in sent.items()}
    assert told == {entry.key: f"/archive/{operation.target_for(entry)}" for entry in some}


@pytest.mark.parametrize("in_flight", [1, 8])
def test_objects_without_a_target_key_fail_among_others_without_a_request(
    server: ScriptedServer, in_flight: int
) -> None:
    keys = [f"{'raw' if number % 3 else 'else'}/{number:03}" for number in range(300)]
    operation = CopyObject("archive", strip_prefix="raw/")

    outcomes = engine.run(fly(to(server.url), entries(keys), operation, chosen=limits(in_flight=in_flight)))

    assert {outcome.entry.key for outcome in outcomes if outcome.succeeded} == set(
        filter(re.compile("raw").match, keys)
    )
    assert {outcome.code for outcome in outcomes if not outcome.succeeded} == {"KeyNotMatched"}
    assert len(outcomes) == 300
    assert sorted(request.path for request in server.requests) == sorted(
        f"/archive/{key.removeprefix('raw/')}" for key in keys if key.startswith("raw/")
    )


def test_request_with_a_target_of_its_own_is_tried_again_for_it() -> None:
    answers = iter([answer(503), answer(200, b"<CopyObjectResult/>")])

    with ScriptedServer(lambda _: [next(answers)]) as busy:
        (outcome,) = engine.run(fly(to(busy.url), entries(["a/b"]), CopyObject("archive", target_key="{name}")))

    assert outcome.succeeded
    assert [request.path for request in busy.requests] == ["/archive/b", "/archive/b"]
