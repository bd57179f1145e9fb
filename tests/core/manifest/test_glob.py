"""Globs: what they match, and that no key takes long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.manifest.glob import Glob

PLAINLY = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "[!a]": "[^a]", "[a/]": "[a/]"}
"""What a glob's parts say in the words of ``re``."""


@given(
    parts=st.lists(st.sampled_from([*PLAINLY, "*", "**", "a", "b", "/", "-", "\n"]), max_size=9),
    keys=st.lists(st.text("ab/-\n", max_size=14), min_size=1, max_size=20),
)
def test_glob_matches_what_the_plain_translation_matches(parts: list[str], keys: list[str]) -> None:
    text = "".join(parts)
    # "*" beside "*" is another wildcard.
    read = re.findall(r"\*\*/|\*\*|\*|\?|\[!a\]|\[a/\]|.", text, re.DOTALL)
    plainly = re.compile("".join(PLAINLY.get(part, re.escape(part)) for part in read), re.DOTALL)

    for key in keys:
        for tried in (0, 10, 1_000):
            assert Glob(text, tried=tried).matches(key) == bool(plainly.fullmatch(key)), (text, key)


@pytest.mark.parametrize(
    ("glob", "key", "matches"),
    [
        ("**a*b*c", "a/ab.c", True),  # the first a is in another folder
        ("*[!x][!x]/*b*", "a///b", True),  # a class may match a slash
        ("raw/*-*-*.csv", "raw/2026-11-24.csv", True),
        ("raw/*-*-*.csv", "raw/2026-11/24-1.csv", False),
        ("**/tmp/**/*.*", "tmp/a.b", True),
        ("**/tmp/**/*.*", "a/tmp/b/c/d.e", True),
        ("**/tmp/**/*.*", "a/tmpb/c/d.e", False),
        ("***a*b", "c/ab", True),
        ("*/*/*/?", "é/ü/ß/\n", True),
        ("*/*/*/?", "é/ü/ß/\n\n", False),
        ("[*a*b*", "[xaxb", True),  # no class without its end
    ],
)
def test_glob_with_several_stars(glob: str, key: str, matches: bool) -> None:
    assert Glob(glob).matches(key) is matches
    assert Glob(glob, tried=0).matches(key) is matches


@pytest.mark.parametrize(
    ("glob", "key"),
    [
        ("raw/*-*-*-*.csv", f"raw/{'-' * 1000}"),
        ("logs/**/*_*_*_*.json", f"logs/{'_' * 1000}"),
        ("**/**/**/**/a", "/" * 1024),
        ("*a*a*a*a*a*a*a*ab", "a" * 1024),
    ],
)
def test_no_key_takes_long(glob: str, key: str) -> None:
    began = time.process_time()

    assert not Glob(glob).matches(key)
    assert time.process_time() - began < 1  # where all ways are tried one by one, hours


@pytest.mark.parametrize("glob", ["[b-a]", "x[z-y]*"])
def test_class_that_is_upside_down_is_no_glob(glob: str) -> None:
    with pytest.raises(InvalidInput, match="is no glob: bad character range"):
        Glob(glob)
