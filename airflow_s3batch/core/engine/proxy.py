"""`Proxy`: an HTTP proxy on the way to S3. HTTPS goes through a tunnel, plain HTTP is asked of the proxy itself.

https://www.rfc-editor.org/rfc/rfc9110#name-connect
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from airflow_s3batch.core.errors import InvalidInput, printable

__all__ = ["Proxy", "ProxyRefused", "open_tunnel", "proxy_at"]

_HTTP_PORT = 80
_ANSWER_MOST = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d)")
_PASSING = frozenset({b"408", b"429"})
"""What a proxy may answer otherwise next time, of its refusals."""


class Proxy(NamedTuple):
    """An HTTP proxy. Its `repr` shows no secret."""

    host: str
    port: int
    authorization: str = ""
    """The Proxy-Authorization header that it gets; empty for none."""

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


class ProxyRefused(OSError):
    """The proxy opens no tunnel, nor will it at another try: it wants to know who asks, say."""


def proxy_at(url: str, authorization: str = "") -> Proxy:
    """The proxy that a URL names: ``http://proxy:3128``.

    Raises:
        InvalidInput: it isn't reached by plain HTTP, or the URL is none.
    """
    parts = urlsplit(url)
    shown = printable(url.rpartition("@")[2])
    if parts.scheme != "http":
        raise InvalidInput(
            f"proxy {shown}: only proxies that are reached by http:// are supported; name such a one in the "
            "connection's config_kwargs or HTTPS_PROXY, or name the store's host in NO_PROXY to go without"
        )
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise InvalidInput(f"proxy {shown}: that is no proxy's address; write http://host:port")
    return Proxy(host, port or _HTTP_PORT, authorization)


async def open_tunnel(proxy: Proxy, address: str, host: str, port: int) -> socket.socket:
    """Connect to the proxy at one of its addresses, and have it connect to the host.

    Returns:
        A connected socket that does not block: what is sent is the host's to read.

    Raises:
        ProxyRefused: the proxy opens no tunnel.
        OSError: the proxy isn't reached.
    """
    loop = asyncio.get_running_loop()
    tunnel = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        tunnel.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        await loop.sock_connect(tunnel, (address, proxy.port))
        tunnel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_sendall(tunnel, _connect(proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        await _opened(loop, tunnel)
    except BaseException:
        tunnel.close()
        raise
    return tunnel


async def _opened(loop: asyncio.AbstractEventLoop, tunnel: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        read = await loop.sock_recv(tunnel, _ANSWER_MOST)
        answer += read
        if not read or len(answer) > _ANSWER_MOST:
            raise ConnectionError("the proxy opened no tunnel, and sent no HTTP answer")
    found = _STATUS.match(answer)
    status = found[1] if found else b""
    if not status.startswith(b"2"):
        told = printable(answer.partition(b"\r\n")[0].partition(b" ")[2].decode("latin-1"))
        refused = status.startswith(b"4") and status not in _PASSING
        raise (ProxyRefused if refused else ConnectionError)(f"the proxy opened no tunnel: {told}")


def _connect(proxy: Proxy, authority: str) -> bytes:
    authorization = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n".encode("ascii")
