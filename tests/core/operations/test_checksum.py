"""ComputeObjectChecksum: the bytes it reads, the JSON it reports, and what it makes of objects it can't read."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import re
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, S3Error
from airflow_s3batch.core.operations import ComputeObjectChecksum, operation_from_aws
from airflow_s3batch.core.operations.digests import ALGORITHMS, new_digest
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import entries, fly, limits, to
from tests.core.engine.test_stores import SERVERS, Store
from tests.servers import Request, ScriptedServer, answer, error

PIECE = 2 * 2**20
PART = 5 * 2**20
BIG = random.Random(7).randbytes(PART + PART + 12_345)
# Of the nine ASCII digits, as catalogues of checksums give them: reveng's for the CRCs, xxHash's own sanity checks'.
KNOWN = {
    "CRC32": "CBF43926",
    "CRC32C": "E3069283",
    "CRC64NVME": "AE8B14860A799888",
    "MD5": "25F9E794323B453885F5181F1B624D0B",
    "SHA1": "F7C3BC1D808E04732ADF679965CCC34CA7AE3441",
    "SHA256": "15E2B0D3C33891EBB0F1EF609EC419420C20E320CE94C65FBC8C3312448EB225",
    "SHA512": "D9E6762DD1C8EAF6D61B3C6192FC408D4D6D5F1176D0C29169BC24E71C3F274A"
    "D27FCD5811B313D681F7E55EC02D73D499C95455B6B5BB503ACF574FBA8FFE85",
    "XXHASH64": "8CB841DB40E6AE83",
}


def perform(operation: ComputeObjectChecksum, s3: MemoryS3, key: str = "key", version: str | None = None) -> Any:
    return json.loads(asyncio.run(operation.perform(Entry(1, "lake", key, version, key), s3)))


@pytest.fixture
def s3() -> MemoryS3:
    s3 = MemoryS3("lake")
    s3.put("lake", "key", b"123456789")
    return s3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_of_aws_is_computed(s3: MemoryS3, algorithm: str) -> None:
    told = perform(ComputeObjectChecksum(algorithm), s3)

    assert told["checksumAlgorithm"] == algorithm
    assert base64.b64decode(told["checksum_base64"]).hex().upper() == told["checksum_hex"]
    assert told["checksum_hex"] == KNOWN.get(algorithm, told["checksum_hex"])


@pytest.mark.parametrize(
    ("algorithm", "of_nothing"),
    [  # XXH3's and XXH128's for no input with seed 0
        ("XXHASH3", "2D06800538D394C2"),
        ("XXHASH128", "99AA06D3014798D86001C324468D497F"),
    ],
)
def test_xxhashes_are_those_of_the_xxhash_project(algorithm: str, of_nothing: str) -> None:
    assert new_digest(algorithm).digest().hex().upper() == of_nothing


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(pieces=st.lists(st.binary(max_size=300), max_size=5))
def test_checksum_does_not_depend_on_how_the_bytes_come(algorithm: str, pieces: list[bytes]) -> None:
    in_pieces, at_once = new_digest(algorithm), new_digest(algorithm)
    for piece in pieces:
        in_pieces.update(piece)
    at_once.update(b"".join(pieces))

    assert in_pieces.digest() == at_once.digest()


def test_message_is_what_aws_writes(s3: MemoryS3) -> None:
    message = asyncio.run(ComputeObjectChecksum("CRC32").perform(Entry(1, "lake", "key", None, "key"), s3))

    assert message == (
        '{"checksum_base64":"y/Q5Jg\\u003d\\u003d","etag":"25f9e794323b453885f5181f1b624d0b",'
        '"checksumAlgorithm":"CRC32","checksumType":"FULL_OBJECT","checksum_hex":"CBF43926"}'
    )


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 6 * PIECE + 77])
def test_object_of_any_size_is_read_once_and_in_pieces(size: int) -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "key", BIG[:size] if size <= len(BIG) else (body := BIG + BIG[: size - len(BIG)]))
    body = s3.get("lake", "key")

    told = perform(ComputeObjectChecksum("SHA256"), s3)

    assert told["checksum_hex"] == hashlib.sha256(body).hexdigest().upper()
    ranges = [call.parameters["Range"] for call in s3.calls if call.action == "GetObject"]
    assert len(ranges) == len(set(ranges)) == max(1, -(-size // PIECE))


def test_version_of_the_manifest_is_read() -> None:
    s3 = MemoryS3(versioned={"lake"})
    s3.put("lake", "key", b"old")
    s3.put("lake", "key", b"new")

    assert (
        perform(ComputeObjectChecksum("MD5"), s3, version="v1")["checksum_hex"]
        == hashlib.md5(b"old").hexdigest().upper()
    )


def test_object_that_changes_while_it_is_read_fails() -> None:
    def change(call: Any) -> None:
        if len(lake.calls) == 2:
            lake.put("lake", "key", bytes(3 * PIECE))

    lake = MemoryS3("lake", before=change)
    lake.put("lake", "key", BIG[: 3 * PIECE])

    with pytest.raises(S3Error, match="412 PreconditionFailed"):
        perform(ComputeObjectChecksum(), lake)


def test_object_that_is_not_there_fails(s3: MemoryS3) -> None:
    with pytest.raises(S3Error, match="404 NoSuchKey"):
        perform(ComputeObjectChecksum(), s3, "another")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"algorithm": "CRC16"}, "'CRC16' is none of CRC32, CRC32C"),
        ({"type": "PARTIAL"}, "'PARTIAL' is none of FULL_OBJECT, COMPOSITE"),
        ({"algorithm": "CRC64NVME", "type": "COMPOSITE"}, "CRC64NVME is only computed over the full object"),
    ],
)
def test_wrong_parameter_is_an_error(given: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        ComputeObjectChecksum(**given)


def test_unknown_algorithm_has_no_digest() -> None:
    with pytest.raises(InvalidInput, match="CRC16 is none of"):
        new_digest("CRC16")


def test_aws_words_give_the_same_operation() -> None:
    operation = ComputeObjectChecksum("SHA1", type="COMPOSITE")

    assert operation.to_aws() == {"S3ComputeObjectChecksum": {"ChecksumAlgorithm": "SHA1", "ChecksumType": "COMPOSITE"}}
    assert operation_from_aws(operation.to_aws()) == operation


@pytest.mark.parametrize("algorithm", ["CRC32C", "CRC64NVME", "XXHASH3"])
def test_what_needs_awscrt_says_so_before_the_job_begins(
    s3: MemoryS3, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "awscrt", None)

    with pytest.raises(InvalidInput, match=rf"{algorithm} needs awscrt; .* 'airflow-provider-s3batch\[checksums\]'"):
        asyncio.run(ComputeObjectChecksum(algorithm).look("lake", s3))


def test_what_python_brings_along_needs_nothing(s3: MemoryS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awscrt", None)

    asyncio.run(ComputeObjectChecksum().look("lake", s3))


@pytest.mark.parametrize("checksum_type", ["FULL_OBJECT", "COMPOSITE"])
def test_its_calls_are_as_botocores_model_has_them(checksum_type: str) -> None:
    async def check() -> None:
        async with S3(to("http://127.0.0.1:9")) as s3:
            s3.check(ComputeObjectChecksum(type=checksum_type), "lake")

    engine.run(check())


def test_range_that_is_refused_for_an_object_with_bytes_fails_it() -> None:
    def script(request: Request) -> list[bytes]:
        about = {"etag": '"e"', "content-length": "3"}
        return [answer(200, headers=about) if request.method == "HEAD" else error(416, "InvalidRange")]

    with ScriptedServer(script) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["odd"]), ComputeObjectChecksum()))

    assert (outcome.http_status, outcome.code) == (416, "InvalidRange")


# Against servers


def crc32_of_parts() -> str:
    of_parts = b"".join(
        zlib.crc32(part).to_bytes(4, "big") for part in (BIG[:PART], BIG[PART : 2 * PART], BIG[2 * PART :])
    )
    return base64.b64encode(zlib.crc32(of_parts).to_bytes(4, "big")).decode() + "-3"


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """``big`` was uploaded in parts of 5 MiB, ``single`` in one."""

    async def upload(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            await s3.call("CreateBucket", Bucket="lake")
            await s3.call("PutObject", Bucket="lake", Key="single", Body=BIG)
            about = {"Bucket": "lake", "Key": "big"}
            about["UploadId"] = (await s3.call("CreateMultipartUpload", **about))["UploadId"]
            parts = []
            for number, start in enumerate(range(0, len(BIG), PART), 1):
                body = BIG[start : start + PART]
                etag = (await s3.call("UploadPart", **about, PartNumber=number, Body=body))["ETag"]
                parts.append({"PartNumber": number, "ETag": etag})
            await s3.call("CompleteMultipartUpload", **about, MultipartUpload={"Parts": parts})

    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as store:
        engine.run(upload(store))
        yield store


def test_full_checksum_over_http(store: Store) -> None:
    outcomes: list[Outcome] = engine.run(fly(to(store.url), entries(["big", "single"]), ComputeObjectChecksum()))

    assert [json.loads(outcome.message)["checksum_hex"] for outcome in outcomes] == [
        hashlib.sha256(BIG).hexdigest().upper()
    ] * 2


def test_composite_checksum_of_an_object_in_one_part(store: Store) -> None:
    operation = ComputeObjectChecksum("CRC32", type="COMPOSITE")
    outcomes: list[Outcome] = engine.run(fly(to(store.url), entries(["big", "single"]), operation))

    by_key = {outcome.entry.key: outcome for outcome in outcomes}
    one = base64.b64encode(zlib.crc32(zlib.crc32(BIG).to_bytes(4, "big")).to_bytes(4, "big")).decode()
    assert json.loads(by_key["single"].message)["checksum_base64"] == f"{one}-1"
    gaps = {
        "moto": (412, "PreconditionFailed"),  # compares If-Match with the part's ETag instead of the object's
        "ministack": (0, "UnknownParts"),  # HEAD passes over partNumber
    }
    assert (by_key["big"].http_status, by_key["big"].code) == gaps[store.name]


UNEVEN = [b"1", BIG[: PIECE + 3], BIG[PART : PART + 2 * PIECE], b"2345678"]


def in_uneven_parts(request: Request) -> list[bytes]:
    """Answers about an object that was uploaded in `UNEVEN`."""
    etag = {"etag": f'"{"0" * 32}-{len(UNEVEN)}"'}
    if request.method == "HEAD":
        part = UNEVEN[int(request.query.removeprefix("partNumber=")) - 1]
        return [answer(206, headers={**etag, "content-length": str(len(part))})]
    start, end = map(int, re.findall("[0-9]+", request.header("range")))
    whole = b"".join(UNEVEN)
    piece = whole[start : end + 1]
    told = f"bytes {start}-{start + len(piece) - 1}/{len(whole)}"
    return [answer(206, piece, {**etag, "content-range": told})]


def digest_of(algorithm: str, *pieces: bytes) -> bytes:
    digest = new_digest(algorithm)
    digest.update(b"".join(pieces))
    return digest.digest()


@pytest.mark.parametrize(
    ("algorithm", "type_"),
    [(algorithm, "FULL_OBJECT") for algorithm in ALGORITHMS]
    + [(algorithm, "COMPOSITE") for algorithm in ALGORITHMS if algorithm != "CRC64NVME"],
)
def test_parts_and_pieces_of_any_size_give_the_checksum_of_any_algorithm(algorithm: str, type_: str) -> None:
    with ScriptedServer(in_uneven_parts) as server:
        operation = ComputeObjectChecksum(algorithm, type=type_)
        (outcome,) = engine.run(fly(to(server.url), entries(["uneven"]), operation))

    whole, parts = digest_of(algorithm, *UNEVEN), [digest_of(algorithm, part) for part in UNEVEN]
    digest, behind = (whole, "") if type_ == "FULL_OBJECT" else (digest_of(algorithm, *parts), "-4")
    told = json.loads(outcome.message)
    assert told["checksum_base64"] == base64.b64encode(digest).decode() + behind
    assert told["checksum_hex"] == digest.hex().upper()
    assert (told["checksumAlgorithm"], told["checksumType"]) == (algorithm, type_)


def test_composite_checksum_is_that_of_the_parts_as_uploaded() -> None:
    etag = '"723cc280841bd008f1b0b41e86b7c113-3"'

    def script(request: Request) -> list[bytes]:
        assert request.header("if-match") in {"", etag}
        if request.method == "HEAD":
            part = BIG[(int(request.query.removeprefix("partNumber=")) - 1) * PART :][:PART]
            about = {"etag": etag, "content-length": str(len(part)), "x-amz-mp-parts-count": "3"}
            return [answer(206, headers=about)]
        start, end = map(int, re.findall("[0-9]+", request.header("range")))
        piece = BIG[start : end + 1]
        range_told = f"bytes {start}-{start + len(piece) - 1}/{len(BIG)}"
        return [answer(206, piece, {"etag": etag, "content-range": range_told})]

    with ScriptedServer(script) as server:
        operation = ComputeObjectChecksum("CRC32", type="COMPOSITE")
        (outcome,) = engine.run(fly(to(server.url), entries(["big"]), operation))

    assert json.loads(outcome.message)["checksum_base64"] == crc32_of_parts()


def test_object_under_a_customers_key_fails_with_what_s3_says() -> None:
    def script(_: Request) -> list[bytes]:
        return [error(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption.")]

    with ScriptedServer(script) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["sealed"]), ComputeObjectChecksum(type="COMPOSITE")))

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 400, "InvalidRequest")


def scripted(parts: str, *, short: bool = False) -> Any:
    """Answers about an object of 3 MiB of zeros, whose ETag tells of `parts` and whose HEAD knows none."""

    def script(request: Request) -> list[bytes]:
        etag = {"etag": f'"d41d8cd98f00b204e9800998ecf8427e{parts}"'}
        if request.method == "HEAD":
            return [answer(200, headers={**etag, "content-length": str(3 * 2**20)})]
        (start, end) = map(int, re.findall("[0-9]+", request.header("range")))
        end = min(end, 3 * 2**20 - 1)
        body = bytes(1 if short and start else end - start + 1)
        return [answer(206, body, {**etag, "content-range": f"bytes {start}-{end}/{3 * 2**20}"})]

    return script


@pytest.mark.parametrize(
    ("operation", "script", "code"),
    [
        (ComputeObjectChecksum(type="COMPOSITE"), scripted("-2"), "UnknownParts"),
        (ComputeObjectChecksum(), scripted("", short=True), "IncompleteBody"),
    ],
)
def test_answers_that_contradict_each_other_fail_the_object(
    operation: ComputeObjectChecksum, script: Any, code: str
) -> None:
    with ScriptedServer(script) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["odd"]), operation))

    assert (outcome.succeeded, outcome.code) == (False, code)
