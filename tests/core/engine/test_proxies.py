"""An HTTP proxy is taken where boto3 takes one, as boto3 does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import botocore.config
import pytest
from typing_extensions import Self

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import CredentialsRefused, InvalidInput, Unreachable
from tests.core.engine.authority import LOOPBACK, Authority
from tests.core.engine.conftest import Run
from tests.core.engine.flights import KEYS, Naps, entries, fly, limits, to
from tests.servers import Move, ScriptedServer, answer, closed_port

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BASIC = "Basic dXNlcjpwQHNz"  # user:p@ss


@pytest.fixture(autouse=True)
def no_proxy_but_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class TunnelProxy:
    """An HTTP proxy that opens tunnels to a server, whatever host it is asked for.

    Args:
        leads_to: the server's port on 127.0.0.1.
    """

    def __init__(self, leads_to: int) -> None:
        self.asked: list[tuple[str, str]] = []
        """What every CONNECT was about, and its Proxy-Authorization header."""
        self._leads_to = leads_to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tunnel proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, sock=self._listening)
        asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listening.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in lines if line)
        self.asked.append((first.rpartition(" ")[0], headers.get("proxy-authorization", "")))
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._leads_to)
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: the tests\r\n\r\n")
        try:
            await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))
        finally:
            for end in (ours, writer):
                end.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
        writer.close()


class Place:
    """A store and a proxy that is asked for plain HTTP, and who was asked for what."""

    def __init__(self, store: ScriptedServer, proxy: ScriptedServer) -> None:
        self.store = store
        self.proxy = proxy

    def taken(self) -> list[tuple[str, str, str, str]]:
        """What came since the last time: where to, the method and target, Host and Proxy-Authorization."""
        told = [
            (name, f"{request.method} {request.target}", request.header("host"), request.header("proxy-authorization"))
            for name, server in (("store", self.store), ("proxy", self.proxy))
            for request in server.requests
        ]
        self.store.requests.clear()
        self.proxy.requests.clear()
        return told


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with ScriptedServer(lambda _: [answer()]) as store, ScriptedServer(lambda _: [answer()]) as proxy:
        yield Place(store, proxy)


def boto3_tags(url: str, proxies: dict[str, str] | None, *, verify: str | None = None) -> None:
    config = botocore.config.Config(s3={"addressing_style": "path"}, proxies=proxies, retries={"total_max_attempts": 1})
    client = boto3.client(
        "s3",
        "us-east-1",
        endpoint_url=url,
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        config=config,
        verify=verify,
    )
    client.put_object_tagging(Bucket="lake", Key="a b=c", Tagging={"TagSet": []})


class Setting(NamedTuple):
    """What says which proxies there are."""

    environment: dict[str, str]
    given: dict[str, str] | None = None


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (Setting({}), "store"),
        (Setting({"HTTP_PROXY": "http://{proxy}"}), "proxy"),
        (Setting({"http_proxy": "http://{proxy}/"}), "proxy"),
        (Setting({"HTTP_PROXY": "{proxy}"}), "proxy"),
        (Setting({"HTTP_PROXY": "http://user:p%40ss@{proxy}"}), "proxy"),
        (Setting({"HTTPS_PROXY": "http://{proxy}"}), "store"),
        (Setting({"ALL_PROXY": "http://{proxy}"}), "store"),
        (Setting({"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "127.0.0.1"}), "store"),
        (Setting({"HTTP_PROXY": "http://{proxy}", "no_proxy": "*"}), "store"),
        (Setting({"HTTP_PROXY": "http://{proxy}", "NO_PROXY": "localhost,.example.org"}), "proxy"),
        (Setting({}, {"http": "http://{proxy}"}), "proxy"),
        (Setting({}, {"http": "//{proxy}"}), "proxy"),
        (Setting({}, {"https": "http://{proxy}"}), "store"),
        (Setting({"NO_PROXY": "127.0.0.1"}, {"http": "http://user:p%40ss@{proxy}"}), "proxy"),
        (Setting({"HTTP_PROXY": "http://{proxy}"}, {}), "store"),
        (Setting({"HTTP_PROXY": "http://127.0.0.1:9"}, {"http": "http://{proxy}"}), "proxy"),
    ],
)
def test_proxy_is_boto3s_choice(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    place: Place,
    setting: Setting,
    expected: str,
) -> None:
    address = f"127.0.0.1:{place.proxy.port}"
    for name, value in setting.environment.items():
        monkeypatch.setenv(name, value.format(proxy=address))
    proxies = None
    if setting.given is not None:
        proxies = {scheme: url.format(proxy=address) for scheme, url in setting.given.items()}

    (outcome,) = run(fly(to(place.store.url, proxies=proxies), entries(["a b=c"]), chosen=limits(retries=0)))
    ours = place.taken()
    boto3_tags(place.store.url, proxies)

    assert outcome.succeeded
    assert ours == place.taken()
    ((whom, target, _, authorization),) = ours
    assert whom == expected
    url = place.store.url if expected == "proxy" else ""
    assert target == f"PUT {url}/lake/a%20b%3Dc?tagging"
    assert authorization == (BASIC if "user:" in f"{setting}" else "")


def test_signature_does_not_depend_on_the_proxy(run: Run, place: Place) -> None:
    async def call(proxies: dict[str, str]) -> None:
        async with S3(to(place.store.url, proxies=proxies), limits()) as s3:
            await s3.call("GetObject", Bucket="lake", Key="k")

    signed = []
    for proxies in ({}, {"http": f"http://user:secret@127.0.0.1:{place.proxy.port}"}):
        run(call(proxies))
        (request,) = place.store.requests + place.proxy.requests
        signed.append(request.header("authorization").partition("SignedHeaders=")[2].partition(",")[0])
        place.taken()

    assert signed[0] == signed[1]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.founded()


@pytest.fixture
def store(authority: Authority, tmp_path: Path) -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: [answer()], tls=authority.issue(tmp_path, LOOPBACK)) as server:
        yield server


@pytest.mark.parametrize("user", ["", "user:p%40ss@"])
def test_https_goes_through_a_tunnel_as_boto3s_does(
    run: Run, store: ScriptedServer, authority: Authority, tmp_path: Path, user: str
) -> None:
    bundle = authority.write(tmp_path)
    with TunnelProxy(store.port) as proxy:
        proxies = {"https": f"http://{user}{proxy.address}"}
        outcomes = run(
            fly(
                to(store.url, verify=bundle, proxies=proxies),
                entries(f"k{number}" for number in range(500)),
                chosen=limits(in_flight=4, retries=0),
            )
        )
        asked, seen = proxy.asked[:], store.requests[:]
        proxy.asked.clear()
        boto3_tags(store.url, proxies, verify=bundle)

        assert set(asked) == set(proxy.asked)
    assert all(outcome.succeeded for outcome in outcomes)
    assert len(asked) <= 8, "tunnels are not used again"
    assert set(asked) == {(f"CONNECT 127.0.0.1:{store.port}", BASIC if user else "")}
    # Nothing of the proxy's reaches the store.
    assert len(seen) == 500
    assert not any(request.header("proxy-authorization") for request in seen)
    assert all(request.target.startswith("/lake/k") for request in seen)


def test_host_behind_a_tunnel_is_for_the_proxy_to_find_and_for_us_to_verify(run: Run, store: ScriptedServer) -> None:
    with TunnelProxy(store.port) as proxy:
        proxies = {"https": f"http://{proxy.address}"}
        access = to("https://s3.invalid", verify=False, proxies=proxies)
        (outcome,) = run(fly(access, entries(["a"])))
        with pytest.raises(Unreachable, match=rf"s3\.invalid:443 \(by proxy {proxy.address}\): TLS certificate ref"):
            run(fly(to("https://s3.invalid", proxies=proxies), entries(["a"])))

        assert outcome.succeeded
        assert proxy.asked[0][0] == "CONNECT s3.invalid:443"


@pytest.mark.parametrize(
    ("says", "told", "attempts"),
    [
        ([answer(407)], "opened no tunnel: 407 Whatever", 1),
        ([answer(403)], "opened no tunnel: 403 Whatever", 1),
        ([answer(429)], "opened no tunnel: 429 Whatever", 3),
        ([answer(502)], "opened no tunnel: 502 Whatever", 3),
        ([b"HTTP/1.1 200 OK\r\nvia: x", Move.CLOSE], "no HTTP answer", 3),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], "opened no tunnel", 3),
        ([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000], "no HTTP answer", 3),
        ([Move.RESET], "reset", 3),
    ],
    ids=["407", "403", "429", "502", "cut", "no HTTP", "endless", "reset"],
)
def test_proxy_that_opens_no_tunnel_is_unreachable_by_its_name(
    run: Run, says: list[Any], told: str, attempts: int
) -> None:
    with ScriptedServer(lambda _: says) as proxy:
        access = to("https://s3.invalid", proxies={"https": f"http://user:secret@127.0.0.1:{proxy.port}"})
        chosen = limits(in_flight=1, retries=2)
        with pytest.raises(Unreachable, match=rf"s3\.invalid:443 \(by proxy 127\.0\.0\.1:{proxy.port}\).*{told}") as it:
            run(fly(access, entries(["a"]), chosen=chosen))

        assert len(proxy.requests) == attempts
    assert "secret" not in str(it.value)


def test_proxy_that_says_nothing_is_given_the_time_to_connect(run: Run) -> None:
    with ScriptedServer(lambda _: [Move.STALL]) as proxy:
        access = to("https://s3.invalid", proxies={"https": f"http://127.0.0.1:{proxy.port}"})
        chosen = limits(retries=0, connect_timeout=0.2)
        with pytest.raises(
            Unreachable, match=rf"s3\.invalid:443 \(by proxy .*{proxy.port}\) not connected within 0.2 s"
        ):
            run(fly(access, entries(["a"]), chosen=chosen))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_is_away_is_unreachable_by_its_name(run: Run, scheme: str) -> None:
    address = f"127.0.0.1:{closed_port()}"
    access = to(f"{scheme}://s3.invalid", proxies={scheme: f"http://{address}"})

    with pytest.raises(Unreachable, match=rf"s3\.invalid:\d+ \(by proxy {address}\): "):
        run(fly(access, entries(["a"]), chosen=limits(retries=1)))


def test_proxy_that_wants_to_know_who_asks_ends_the_run(run: Run) -> None:
    with ScriptedServer(lambda _: [answer(407, b"<html>Who are you?</html>")]) as proxy:
        access = to("http://s3.invalid", proxies={"http": f"http://127.0.0.1:{proxy.port}"})
        with pytest.raises(CredentialsRefused, match="407 ProxyAuthenticationRequired"):
            run(fly(access, entries(["a", "b"]), naps=Naps()))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://user:secret@proxy:3128", r"proxy proxy:3128: only proxies that are reached by http://.*NO_PROXY"),
        ("http://user:secret@", "no proxy's address"),
        ("http://user:secret@proxy:port", r"proxy proxy:port: .*no proxy's address"),
        ("http://usér:secret@proxy:3128", "only take ASCII"),
    ],
)
def test_proxy_that_cannot_be_taken_is_refused_without_its_password(run: Run, url: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as it:
        run(fly(to("https://s3.invalid", proxies={"https": url}), entries(["a"])))

    assert "secret" not in str(it.value)


def test_password_of_a_proxy_is_not_shown(run: Run) -> None:
    access = to("https://s3.invalid", proxies={"https": "http://user:secret@proxy:3128"})

    assert "secret" not in repr(access)
