"""An S3 server on loopback: moto's, kept alive between requests.

``EmbeddedS3`` runs in the process that makes it. ``python -m demo.s3 --objects 5000`` is one with a lake in it: it
prints its URL once it answers, and ends when its standard input does, so that it never outlives who started it.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from typing_extensions import Self
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from demo.lake import BUCKET, LOGS, Lake

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["EmbeddedS3"]


# A browser that follows a link to a report sends no credentials; moto takes any, and answers 403 to none.
_ANYBODY = "AWS4-HMAC-SHA256 Credential=anybody/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class _KeepAlive(MotoRequestHandler):  # type: ignore[misc] # moto is skipped
    """Answers with HTTP/1.1 and keeps connections, as S3 does; werkzeug's own handler closes after every answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    latency = 0.0

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        environ.setdefault("HTTP_AUTHORIZATION", _ANYBODY)
        time.sleep(self.latency)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.close_connection = True  # whether the application reads all of it is its affair
        else:
            environ["wsgi.input"] = io.BytesIO(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        pieces, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        body = b"".join(pieces)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def log_request(self, *_: Any) -> None:
        """Say nothing: there are thousands."""


class EmbeddedS3:
    """An S3 server in this process, as a context manager; it takes any credentials, and none.

    What it holds is moto's and goes with the process: two servers in one process show the same buckets.

    Args:
        port: 0 for a free one.
        latency: seconds that every answer takes longer than moto does.
    """

    def __init__(self, port: int = 0, *, latency: float = 0.0) -> None:
        self._server = make_server(
            "127.0.0.1",
            port,
            DomainDispatcherApplication(create_backend_app),
            threaded=True,
            request_handler=type("_Handler", (_KeepAlive,), {"latency": latency}),
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3", daemon=True)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def fill(lake: Lake) -> None:
    """Put the lake straight into the server's memory: over HTTP it would take a quarter of a minute."""
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for bucket in lake.buckets:
        store.create_bucket(bucket, "us-east-1")
    for key, storage_class in lake.objects():
        store.put_object(BUCKET, key, key.encode(), storage=storage_class)
    store.put_bucket_versioning(LOGS, "Enabled")
    for key in lake.logs():
        store.put_object(LOGS, key, key.encode())
    for name, rows in lake.manifests().items():
        store.put_object(BUCKET, f"manifests/{name}", "".join(row.text for row in rows).encode())


def main() -> None:
    """Serve a lake until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m demo.s3")
    parser.add_argument("--objects", type=int, default=Lake().size)
    parser.add_argument("--latency", type=float, default=0.0)
    asked = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    fill(Lake(asked.objects))
    with EmbeddedS3(latency=asked.latency) as s3:
        print(s3.url, flush=True)  # noqa: T201 - the starting process waits for this line
        sys.stdin.read()


if __name__ == "__main__":
    main()
