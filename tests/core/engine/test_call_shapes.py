"""Calls of one shape are compiled once: each still goes out with its own key, version, target key and ETag."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.errors import InvalidInput
from tests.core.engine.awkward import AWKWARD
from tests.core.engine.conftest import Run
from tests.core.engine.flights import Naps, limits, to
from tests.servers import Request, ScriptedServer, answer

ETAGS = ['"a"', '"b-2"', "*", '"with space"', 'W/"weak"', ""]


def sent(run: Run, *calls: tuple[str, dict[str, Any]]) -> list[Request]:
    async def calling(url: str) -> None:
        async with S3(to(url), limits(), sleep=Naps()) as s3:
            for action, parameters in calls:
                await s3.call(action, **parameters)

    with ScriptedServer(lambda _: [answer(200, b"<CopyObjectResult/>")]) as server:
        run(calling(server.url))
    return server.requests


def about(request: Request) -> tuple[str, ...]:
    """What is a request's own."""
    headers = ("x-amz-copy-source", "x-amz-copy-source-if-match", "if-match")
    return (request.target, *(request.header(name) for name in headers))


@pytest.mark.parametrize("action", ["CopyObject", "DeleteObject"])
def test_every_call_goes_out_as_if_it_were_the_only_one(run: Run, action: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []
    for number, (key, target) in enumerate(zip(AWKWARD, reversed(AWKWARD), strict=True)):
        version = {} if number % 3 else {"VersionId": f"v/{number}"}
        condition = ETAGS[number % len(ETAGS)]
        if action == "CopyObject":
            pinned = {"CopySourceIfMatch": condition} if condition else {}
            source = {"Bucket": "lake", "Key": key, **version}
            calls.append((action, {"Bucket": "archive", "Key": target, "CopySource": source, **pinned}))
        else:
            pinned = {"IfMatch": condition} if condition else {}
            calls.append((action, {"Bucket": "lake", "Key": key, **version, **pinned}))

    together = [about(request) for request in sent(run, *calls)]
    alone = [about(sent(run, call)[0]) for call in calls[:: len(calls) // 8]]

    assert together[:: len(calls) // 8] == alone
    assert len(set(together)) == len(AWKWARD)


@pytest.mark.parametrize("source", ["lake/k", {"Bucket": "lake", "Key": "k"}])
def test_empty_key_is_refused_and_not_taken_for_the_bucket(run: Run, source: Any) -> None:
    with pytest.raises(InvalidInput, match="CopyObject: "):
        sent(run, ("CopyObject", {"Bucket": "archive", "CopySource": source, "Key": ""}))


def test_what_is_put_goes_out_as_botocore_would_put_it(run: Run) -> None:
    puts: list[dict[str, Any]] = [
        {"Bucket": "lake", "Key": "a b", "Body": b"one"},
        {"Bucket": "lake", "Key": "c", "Body": b"two, longer"},
        {"Bucket": "lake", "Key": "d", "Body": b""},
        {"Bucket": "lake", "Key": "e", "Body": b"three", "ContentType": "text/csv", "IfNoneMatch": "*"},
        {"Bucket": "lake", "Key": "f", "Body": b"four", "ContentMD5": "x"},
        {"Bucket": "lake", "Key": "g", "Body": b"five", "ChecksumAlgorithm": "SHA256"},
        {"Bucket": "lake", "Key": "h", "Body": b"six", "ChecksumAlgorithm": "SHA256"},
        {"Bucket": "lake", "Key": "i", "Body": "seven"},
    ]

    requests = sent(run, *(("PutObject", put) for put in puts))

    for put, request in zip(puts, requests, strict=True):
        compiled = Compiler(to("http://127.0.0.1"), "test").compile("PutObject", put)
        assert request.body == compiled.body
        told = {name: request.header(name) for name, _ in compiled.headers}
        assert told | {"user-agent": "test"} == dict(compiled.headers)
