"""An S3 that remembers all it served, in a process of its own, so that it outlives whatever is killed around it.

``python -m tests.faults.recording_s3`` prints its URL, and ends when its standard input does. What it holds and what it
remembers is in memory. It knows the part of S3 that a job needs: objects with ETags, conditional PUT and GET, ranges,
listing in pages, and PutObjectTagging. An object that is tagged need not exist, so that a million of them cost nothing:
its *row* is the number at the end of its key, and where its name is ``missing-<row>`` the answer is NoSuchKey.

A request counts as served once it has been read: all that S3 would do is done then, and its answer, which follows after
the latency, may find nobody. Below ``/-/`` is the record; `Record` reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import urllib.request
from array import array
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import httptools

from benchmarks.later import Later

__all__ = ["MISSING", "Put", "Record"]

MISSING = "missing-"
"""How the name of an object begins that isn't there."""
_ROW_BITS = 32
_TICK = 0.002
"""Seconds, to which latencies are rounded."""
_SPREAD = (0.5, 1.5)
"""An answer takes between these times the latency, so that outcomes come in another order than they were asked for."""
_PAGE = 1000


class Put(NamedTuple):
    """A PUT of an object that was carried out."""

    at: int
    """How many taggings had been served before it."""
    bucket: str
    key: str
    body: bytes


class Record:
    """What a server serves and has served, over HTTP.

    Args:
        url: the server's.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Store an object, unsigned."""
        self._ask(f"/{bucket}/{key}", body)

    def get(self, bucket: str, key: str) -> bytes:
        """An object's body."""
        return self._ask(f"/{bucket}/{key}")

    def set_latency(self, seconds: float) -> None:
        """Answer after so long from now on, give or take a half."""
        self._ask(f"/-/latency/{seconds}")

    def tagged(self, bucket: str) -> list[int]:
        """The rows of the taggings that were served in a bucket, one each time, at their place among all that were.

        Those of other buckets are 0.
        """
        number = json.loads(self._ask("/-/buckets")).get(bucket, -1)
        log = array("Q", self._ask("/-/tagged"))
        mask = (1 << _ROW_BITS) - 1
        return [entry & mask if entry >> _ROW_BITS == number else 0 for entry in log]

    def count(self) -> int:
        """How many taggings were served, in all buckets."""
        return int(self._ask("/-/count"))

    def puts(self, bucket: str, prefix: str = "") -> list[Put]:
        """The PUTs that were carried out below a prefix, in order."""
        told = json.loads(self._ask("/-/puts"))
        found = (Put(at, where, key, body.encode("latin-1")) for at, where, key, body in told)
        return [put for put in found if put.bucket == bucket and put.key.startswith(prefix)]

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, method="GET" if body is None else "PUT")
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found


class _Object(NamedTuple):
    body: bytes
    etag: str
    modified: datetime


class _Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class _Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class _Store:
    """What S3 holds, and the record."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.random = random.Random(0)
        self._objects: dict[str, dict[str, _Object]] = {}
        self._buckets: dict[str, int] = {}
        self._tagged = array("Q")
        self._puts: list[tuple[int, str, str, str]] = []

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        """Carry a request out.

        Raises:
            _Refused: S3 would.
        """
        parts = urlsplit(target)
        bucket, _, key = unquote(parts.path[1:]).partition("/")
        if bucket == "-":
            return self._told(key)
        if method == "PUT" and parts.query == "tagging":
            return self._tag(bucket, key)
        if method == "GET" and not key:
            return self._list(bucket, parse_qs(parts.query, keep_blank_values=True))
        do = self._actions.get(method)
        if do is None or parts.query.partition("=")[0] not in {"", "x-id"}:
            raise _Refused(501, "NotImplemented")
        answer: _Answer = do(self, bucket, key, headers, body)
        return answer

    def _tag(self, bucket: str, key: str) -> _Answer:
        name = key.rpartition("/")[2]
        number = self._buckets.setdefault(bucket, len(self._buckets))
        self._tagged.append(number << _ROW_BITS | int(name.rpartition("-")[2]))
        if name.startswith(MISSING):
            raise _Refused(404, "NoSuchKey")
        return _Answer(200)

    def _put(self, bucket: str, key: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        objects = self._objects.setdefault(bucket, {})
        there = objects.get(key)
        if headers.get("if-none-match") == "*" and there is not None:
            raise _Refused(412, "PreconditionFailed")
        if "if-match" in headers and there is None:
            raise _Refused(404, "NoSuchKey")
        if there is not None and headers.get("if-match", there.etag) != there.etag:
            raise _Refused(412, "PreconditionFailed")
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        objects[key] = _Object(body, etag, datetime.now(timezone.utc))
        kept = body if key.endswith(".json") else b""
        self._puts.append((len(self._tagged), bucket, key, kept.decode("latin-1")))
        return _Answer(200, headers={"ETag": etag})

    def _get(self, bucket: str, key: str, headers: Mapping[str, str], _: bytes) -> _Answer:
        found = self._find(bucket, key)
        if headers.get("if-match", found.etag) != found.etag:
            raise _Refused(412, "PreconditionFailed")
        told = {"ETag": found.etag, "Last-Modified": f"{found.modified:%a, %d %b %Y %H:%M:%S GMT}"}
        if "range" not in headers:
            return _Answer(200, found.body, told)
        first, last = headers["range"].removeprefix("bytes=").split("-")
        piece = found.body[int(first) : int(last or len(found.body)) + 1]
        if not piece:
            raise _Refused(416, "InvalidRange")
        told["Content-Range"] = f"bytes {first}-{int(first) + len(piece) - 1}/{len(found.body)}"
        return _Answer(206, piece, told)

    def _delete(self, bucket: str, key: str, headers: Mapping[str, str], _: bytes) -> _Answer:
        there = self._objects.get(bucket, {}).get(key)
        if "if-match" in headers and (there is None or there.etag != headers["if-match"]):
            raise _Refused(412, "PreconditionFailed")
        self._objects.get(bucket, {}).pop(key, None)
        return _Answer(204)

    def _list(self, bucket: str, query: Mapping[str, list[str]]) -> _Answer:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        most = min(_PAGE, int(query.get("max-keys", [_PAGE])[0]))
        keys = [
            key for key in self._objects.get(bucket, {}) if key.startswith(prefix) and key.encode() > after.encode()
        ]
        keys.sort(key=str.encode)
        page = keys[:most]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(page) < len(keys) else ""
        found = "".join(map(self._listed, [bucket] * len(page), page))
        cut = str(bool(more)).lower()
        return _Answer(
            200,
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(page)}'
            f"</KeyCount><IsTruncated>{cut}</IsTruncated>{more}{found}</ListBucketResult>".encode(),
            {"Content-Type": "application/xml"},
        )

    def _listed(self, bucket: str, key: str) -> str:
        found = self._objects[bucket][key]
        modified = f"{found.modified:%Y-%m-%dT%H:%M:%S}.{found.modified.microsecond // 1000:03}Z"
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified>"
            f"<ETag>{escape(found.etag)}</ETag><Size>{len(found.body)}</Size></Contents>"
        )

    def _find(self, bucket: str, key: str) -> _Object:
        found = self._objects.get(bucket, {}).get(key)
        if found is None:
            raise _Refused(404, "NoSuchKey")
        return found

    def _told(self, what: str) -> _Answer:
        if what == "tagged":
            return _Answer(200, self._tagged.tobytes())
        if what == "count":
            return _Answer(200, str(len(self._tagged)).encode())
        if what == "puts":
            return _Answer(200, json.dumps(self._puts).encode())
        if what == "buckets":
            return _Answer(200, json.dumps(self._buckets).encode())
        if what.startswith("latency/"):
            self.latency = float(what.removeprefix("latency/"))
            return _Answer(200)
        raise _Refused(404, "NoSuchKey")

    _actions: ClassVar[Mapping[str, Any]] = {"PUT": _put, "GET": _get, "DELETE": _delete}


class _Connection(asyncio.Protocol):
    """One connection; httptools calls what begins with ``on_``."""

    def __init__(self, store: _Store, later: Later) -> None:
        self._store = store
        self._later = later
        self._begin()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if "expect" in self._headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method, target = self._parser.get_method().decode(), self._target.decode("latin-1")
        try:
            answer = self._store.answer(method, target, self._headers, self._body)
        except _Refused as refused:
            body = f"<Error><Code>{refused.code}</Code><Message>As the record says.</Message></Error>".encode()
            answer = _Answer(refused.status, body, {"Content-Type": "application/xml"})
        wire = _wire(answer)
        latency = 0.0 if target.startswith("/-/") else self._store.latency
        self._later.write(self._transport, wire, latency * self._store.random.uniform(*_SPREAD))
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._body = b""
        self._headers: dict[str, str] = {}


def _wire(answer: _Answer) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    length = "" if answer.status == 204 else f"Content-Length: {len(answer.body)}\r\n"
    return f"HTTP/1.1 {answer.status} Whatever\r\n{head}{length}\r\n".encode() + answer.body


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    store, later = _Store(), Later(loop, _TICK)
    server = await loop.create_server(lambda: _Connection(store, later), "127.0.0.1", 0, backlog=8192)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - who started it waits for this
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    import uvloop

    uvloop.install()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
