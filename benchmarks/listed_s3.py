"""A canned S3 that has very many keys, and answers ListObjectsV2 after so long.

As a program: ``python -m benchmarks.listed_s3 PORT LATENCY LAYOUT KEYS``. It knows Prefix, StartAfter,
ContinuationToken, Delimiter=/ and MaxKeys.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from benchmarks.machine import SERVER_CORE, on_core
from benchmarks.nginx import free_port

__all__ = ["LAYOUTS", "listed_s3"]

_PAGE = 1_000
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-11-24T12:00:00.000Z</LastModified>"
    "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
    "<ChecksumType>FULL_OBJECT</ChecksumType><Size>134217728</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def _days(count: int) -> Iterable[str]:
    for number in range(count):
        day, part = divmod(number, 500)
        run, day = divmod(day, 336)
        yield f"events/month={day // 28 + 1:02}/day={day % 28 + 1:02}/run={run:04}/part-{part:05}.parquet"


LAYOUTS: dict[str, Callable[[int], Iterable[str]]] = {
    "folders by day": _days,
    "numbered, flat": lambda count: (f"export/part-{number:09}.parquet" for number in range(count)),
    "hashes, flat": lambda count: (f"{random.Random(number).getrandbits(128):032x}" for number in range(count)),
}
"""Keys of a bucket, by what they look like."""


@contextlib.contextmanager
def listed_s3(layout: str, keys: int, *, latency: float) -> Iterator[str]:
    """Run the server, on a free port of 127.0.0.1 and the server's core, while the `with` block runs; gives its URL."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.listed_s3", str(port), str(latency), layout, str(keys)]
    server = subprocess.Popen(on_core(SERVER_CORE, command), stdout=subprocess.PIPE)
    try:
        if server.stdout is None or server.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the listed S3 server didn't start (exit code {server.poll()})")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.communicate()


class _Listing:
    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = sorted(keys)
        self._entries = [_OBJECT.format(quote(key)) for key in self._keys]

    def answer(self, target: str) -> bytes:
        asked = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        prefix, most = asked.get("prefix", ""), int(asked.get("max-keys", _PAGE))
        after = asked.get("continuation-token") or asked.get("start-after", "")
        begin = max(bisect_right(self._keys, after), bisect_left(self._keys, prefix))
        end = bisect_left(self._keys, f"{prefix}\U0010ffff") if prefix else len(self._keys)
        if "delimiter" in asked:
            return self._groups(prefix, begin, end)
        last = min(begin + most, end)
        more = f"<NextContinuationToken>{self._keys[last - 1]}</NextContinuationToken>" if last < end else ""
        inside = f"<IsTruncated>{str(last < end).lower()}</IsTruncated><EncodingType>url</EncodingType>{more}"
        return f"{_HEAD}{inside}{''.join(self._entries[begin:last])}</ListBucketResult>".encode()

    def _groups(self, prefix: str, at: int, end: int) -> bytes:
        found: list[str] = []
        while at < end and len(found) < _PAGE:
            cut = self._keys[at].find("/", len(prefix)) + 1
            if cut:
                group = self._keys[at][:cut]
                found.append(f"<CommonPrefixes><Prefix>{quote(group)}</Prefix></CommonPrefixes>")
                at = bisect_left(self._keys, f"{group}\U0010ffff", at)
            else:
                found.append(self._entries[at])
                at += 1
        inside = f"<IsTruncated>{str(at < end).lower()}</IsTruncated><EncodingType>url</EncodingType>"
        return f"{_HEAD}{inside}{''.join(found)}</ListBucketResult>".encode()


class _Connection(asyncio.Protocol):
    def __init__(self, listing: _Listing, latency: float) -> None:
        self._listing = listing
        self._latency = latency
        self._read = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._read.endswith(b"\r\n\r\n"):
            return
        target = self._read.split(b" ", 2)[1].decode()
        self._read = b""
        asyncio.get_running_loop().call_later(self._latency, self._answer, target)

    def _answer(self, target: str) -> None:
        body = self._listing.answer(target)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
        if not self._transport.is_closing():
            self._transport.write(head + body)


def main() -> None:
    """Serve until terminated."""
    import uvloop

    port, latency, layout, keys = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    listing = _Listing(LAYOUTS[layout](keys))
    loop = uvloop.new_event_loop()
    loop.run_until_complete(loop.create_server(lambda: _Connection(listing, latency), "127.0.0.1", port, backlog=1024))
    print("ready", flush=True)
    loop.run_forever()


if __name__ == "__main__":
    main()
