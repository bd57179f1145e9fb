"""Suite *transport*: what a request costs without S3 around it, against `wrk`, by event loop, protocol and TLS."""

from __future__ import annotations

from benchmarks.nginx import CannedS3
from benchmarks.sample import Case, run_client
from benchmarks.wrk import prebuilt, wrk

__all__ = ["cases"]

_SECONDS = 2


def cases(server: CannedS3, objects: int) -> list[Case]:
    """All of the suite."""
    found = []
    for in_flight in (64, 256, 1000):
        found.append(_wrk(server, in_flight, tls=False))
        found.append(_client("transport", server, objects, in_flight, "uvloop", tls=False))
    found.append(_client("transport", server, objects, 64, "asyncio", tls=False))
    for loop in ("uvloop", "asyncio"):
        for protocol in ("BufferedProtocol", "Protocol"):
            found.append(_client("bare", server, objects, 64, loop, tls=False, protocol=protocol))
            found.append(_client("bare", server, objects // 2, 64, loop, tls=True, protocol=protocol))
    found.append(_wrk(server, 64, tls=True))
    found += [_client("transport", server, objects // 2, 64, loop, tls=True) for loop in ("uvloop", "asyncio")]
    return found


def _setting(in_flight: int, *, tls: bool) -> str:
    return f"{'TLS' if tls else 'HTTP'}, {in_flight} in flight"


def _client(
    name: str, server: CannedS3, objects: int, in_flight: int, loop: str, *, tls: bool, protocol: str = ""
) -> Case:
    url = server.https if tls else server.http
    told = {
        "host": "127.0.0.1",
        "port": int(url.rpartition(":")[2]),
        "certificate": str(server.certificate) if tls else "",
        "wire": prebuilt(url).decode("latin-1"),
        "objects": objects,
        "in_flight": in_flight,
        "loop": loop,
        "protocol": protocol,
    }
    title = f"{name} {protocol} on {loop}".replace("  ", " ")
    return Case("transport", title, _setting(in_flight, tls=tls), lambda: run_client(name, told))


def _wrk(server: CannedS3, in_flight: int, *, tls: bool) -> Case:
    url = server.https if tls else server.http
    return Case("transport", "wrk", _setting(in_flight, tls=tls), lambda: wrk(url, in_flight, _SECONDS))
