"""A canned S3 on nginx: it answers an object's requests with fixed bytes, and really keeps the files of a job."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import SERVER_CORE, on_core

__all__ = ["DATA", "JOBS", "CannedS3", "canned_s3", "free_port"]

DATA = "lake"
"""The bucket whose objects all exist: every request about one is answered with 200."""
JOBS = "jobs"
"""The bucket that keeps what is put into it: manifests, result files, checkpoints."""

_LAST_MODIFIED = "Wed, 01 Jul 2026 00:00:00 GMT"
_ETAG = '\\"0123456789abcdef0123456789abcdef\\"'
_COPIED = (
    f"<CopyObjectResult><LastModified>2026-07-01T00:00:00.000Z</LastModified><ETag>{_ETAG}</ETag></CopyObjectResult>"
)
_DELETED = '<DeleteResult xmlns=\\"http://s3.amazonaws.com/doc/2006-03-01/\\"/>'
_EMPTY_LISTING = (
    f"<ListBucketResult><Name>{JOBS}</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)
_NO_SUCH_KEY = "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"

_CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
error_log {home}/error.log;
pid {home}/pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_buffer_size 64k;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  # What nginx serves has an ETag; S3 tells one of what is put, too.
  map $request_method $etag {{ PUT "{etag}"; default $sent_http_etag; }}
  server {{
    listen 127.0.0.1:{http} backlog=8192;
    listen 127.0.0.1:{https} ssl backlog=8192;
    ssl_certificate {home}/certificate.pem;
    ssl_certificate_key {home}/key.pem;
    default_type application/xml;
    location /{data} {{
      add_header x-amz-request-id 0123456789ABCDEF always;
      if ($request_method = HEAD) {{ add_header ETag "{etag}"; add_header Last-Modified "{modified}"; return 200; }}
      if ($http_x_amz_copy_source) {{ return 200 "{copied}"; }}
      if ($request_method = POST) {{ return 200 "{deleted}"; }}
      return 200;
    }}
    location = /{jobs} {{ return 200 "{listing}"; }}
    location = /{jobs}/ {{ return 200 "{listing}"; }}
    location /{jobs}/ {{
      root {home}/buckets;
      dav_methods PUT;
      create_full_put_path on;
      add_header ETag $etag;
      error_page 404 @missing;
    }}
    location @missing {{ internal; return 404 "{missing}"; }}
  }}
}}
"""


class CannedS3(NamedTuple):
    """A running server."""

    http: str
    """Its URL."""
    https: str
    certificate: Path
    """What its clients have to trust."""
    home: Path

    def put(self, key: str, body: bytes) -> None:
        """Store an object in the bucket of jobs."""
        path = self.home / "buckets" / JOBS / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def has(self, key: str) -> bool:
        """Whether the bucket of jobs has an object."""
        return (self.home / "buckets" / JOBS / key).exists()

    def stored(self, prefix: str) -> list[Path]:
        """The files in a folder of the bucket of jobs."""
        return sorted(path for path in (self.home / "buckets" / JOBS / prefix).rglob("*") if path.is_file())


@contextlib.contextmanager
def canned_s3() -> Iterator[CannedS3]:
    """Run nginx, on free ports of 127.0.0.1 and the server's core, while the `with` block runs."""
    with tempfile.TemporaryDirectory(prefix="canned-s3-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        http, https = free_port(), free_port()
        (home / "buckets").mkdir()
        _certify(home)
        (home / "nginx.conf").write_text(
            _CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "",
                home=home,
                http=http,
                https=https,
                data=DATA,
                jobs=JOBS,
                etag=_ETAG,
                modified=_LAST_MODIFIED,
                copied=_COPIED,
                deleted=_DELETED,
                listing=_EMPTY_LISTING,
                missing=_NO_SUCH_KEY,
            )
        )
        command = ["nginx", "-c", f"{home}/nginx.conf", "-p", str(home), "-e", f"{home}/error.log"]
        server = subprocess.Popen(on_core(SERVER_CORE, command), stderr=subprocess.DEVNULL)
        try:
            _await(http, server)
            yield CannedS3(f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", home / "certificate.pem", home)
        finally:
            server.terminate()
            server.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _certify(home: Path) -> None:
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-keyout", f"{home}/key.pem", "-out", f"{home}/certificate.pem"]
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", *curve, *files, *subject]
    subprocess.run(command, check=True, capture_output=True)


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"nginx doesn't answer on port {port} (exit code {server.poll()})")
