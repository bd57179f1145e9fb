"""Calls of one shape are compiled once: each still goes out with what is its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.engine.compiled import BLANKS, Compiled, Fills
from airflow_s3batch.core.engine.shapes import Shapes
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


def test_calls_that_differ_in_ranges_and_prefixes_only_are_compiled_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    compiling = Compiler.compile

    def counted(self: Compiler, action: str, parameters: dict[str, Any], region: str | None = None) -> Compiled:
        compiled.append(action)
        return compiling(self, action, parameters, region)

    monkeypatch.setattr(Compiler, "compile", counted)
    about = {"Bucket": "lake", "Key": "k", "UploadId": "u", "CopySource": {"Bucket": "lake", "Key": "s"}}

    requests = sent(
        run,
        *(("GetObject", {"Bucket": "lake", "Key": "k", "Range": f"bytes={at}-{at}"}) for at in range(3)),
        *(("UploadPartCopy", {**about, "PartNumber": 1, "CopySourceRange": f"bytes=0-{at}"}) for at in range(3)),
        *(("HeadObject", {"Bucket": "lake", "Key": "k", "Range": odd}) for odd in ("bytes=0-1 ", "bytes=0-1", "")),
    )

    assert [request.header("range") for request in requests[:3]] == ["bytes=0-0", "bytes=1-1", "bytes=2-2"]
    ranges = [request.header("x-amz-copy-source-range") for request in requests[3:6]]
    assert ranges == ["bytes=0-0", "bytes=0-1", "bytes=0-2"]
    assert [request.header("range") for request in requests[6:]] == ["bytes=0-1", "bytes=0-1", ""]
    assert compiled == ["GetObject", "UploadPartCopy", "HeadObject", "HeadObject", "HeadObject"]


def test_each_prefix_is_listed_as_it_is(run: Run) -> None:
    listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    prefixes = [*AWKWARD, ""]

    async def calling(url: str) -> None:
        async with S3(to(url), limits(), sleep=Naps()) as s3:
            for prefix in prefixes:
                await s3.call("ListObjectsV2", Bucket="lake", Prefix=prefix, StartAfter=prefix)

    with ScriptedServer(lambda _: [answer(200, listing)]) as server:
        run(calling(server.url))

    queries = [parse_qs(urlsplit(request.target).query, keep_blank_values=True) for request in server.requests]
    assert [(query["prefix"], query["start-after"]) for query in queries] == [([one], [one]) for one in prefixes]


def test_prefix_that_is_no_text_is_refused(run: Run) -> None:
    with pytest.raises(InvalidInput, match="ListObjectsV2: "):
        sent(run, ("ListObjectsV2", {"Bucket": "lake", "Prefix": "\ud800"}))


def test_what_another_service_has_in_its_body_stays_there() -> None:
    route, fills = Shapes(Compiler(to("http://127.0.0.1"), "test"), {}).find(
        "resourcegroupstaggingapi:GetTagValues", {"Key": "tier"}
    )

    assert route.compiled.body == b'{"Key": "tier"}'
    assert fills == Fills()


@pytest.mark.parametrize("name", BLANKS)
def test_placeholder_stands_where_botocores_model_has_the_parameter(name: str) -> None:
    place = "header" if BLANKS[name].encode is str.encode else "querystring"
    model = botocore.session.get_session().get_service_model("s3")
    inputs = [model.operation_model(action).input_shape for action in model.operation_names]

    found = [shape.members[name] for shape in inputs if shape is not None and name in shape.members]

    assert {(one.type_name, one.serialization.get("location")) for one in found} == {("string", place)}
