"""Certificates are verified, by the system's authorities or by a file's, and a refusal is told at once."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, Unreachable
from tests.core.engine.authority import DAY, LOOPBACK, NOW, Authority
from tests.core.engine.conftest import Run
from tests.core.engine.flights import Naps, entries, fly, limits, to
from tests.servers import Move, ScriptedServer, answer


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.founded()


@pytest.fixture(scope="module")
def bundle(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of certificates that `verify` names."""
    return authority.write(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    """An S3 over HTTPS, whose certificate is 127.0.0.1's."""
    context = authority.issue(tmp_path_factory.mktemp("server"), LOOPBACK)
    with ScriptedServer(lambda _: [answer()], tls=context) as server:
        yield server


def test_authority_from_a_file_is_trusted(run: Run, server: ScriptedServer, bundle: str) -> None:
    outcomes = run(
        fly(to(server.url, verify=bundle), entries(f"k{number}" for number in range(500)), chosen=limits(retries=0))
    )

    assert len(outcomes) == 500
    assert all(outcome.succeeded for outcome in outcomes)


def test_without_verification_any_certificate_serves(run: Run, server: ScriptedServer) -> None:
    outcomes = run(fly(to(server.url, verify=False), entries(["a"]), chosen=limits(retries=0)))

    assert outcomes[0].succeeded


def test_unknown_authority_is_refused_at_once(run: Run, server: ScriptedServer) -> None:
    requests, greeted, naps = len(server.requests), server.greeted, Naps()

    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:.*certificate refused: .*certificate; .*verify"):
        run(fly(to(server.url, verify=True), entries(["a"]), naps=naps))

    assert not naps.taken
    assert len(server.requests) == requests, "a request was sent to a server that wasn't trusted"
    assert server.greeted <= greeted + 1


def test_call_to_an_unknown_authority_is_refused_at_once(run: Run, server: ScriptedServer) -> None:
    naps = Naps()

    async def call() -> None:
        async with S3(to(server.url, verify=True), limits(), sleep=naps) as s3:
            await s3.call("GetObject", Bucket="lake", Key="k")

    with pytest.raises(Unreachable, match=r"GetObject s3://lake/k: .*certificate"):
        run(call())

    assert not naps.taken


@pytest.mark.parametrize(
    ("certified", "told"),
    [
        ((x509.DNSName("elsewhere.example"), NOW + DAY), "127.0.0.1"),
        ((LOOPBACK, NOW - DAY), "expired"),
    ],
    ids=["another's", "expired"],
)
def test_certificate_that_does_not_fit_is_refused_at_once(
    run: Run, authority: Authority, bundle: str, certified: tuple[x509.GeneralName, dt.datetime], told: str
) -> None:
    name, until = certified
    naps = Naps()
    context = authority.issue(Path(bundle).parent, name, until=until)
    with ScriptedServer(lambda _: [answer()], tls=context) as server:
        with pytest.raises(Unreachable, match=f"certificate.*{told}"):
            run(fly(to(server.url, verify=bundle), entries(["a"]), naps=naps))

        assert not server.requests
        assert not naps.taken


@pytest.mark.parametrize("content", [None, "", "no certificate\n"], ids=["missing", "empty", "something else"])
def test_file_without_certificates_is_invalid_input(
    run: Run, server: ScriptedServer, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    naps = Naps()

    with pytest.raises(InvalidInput, match=r"verify: .*authorities\.pem"):
        run(fly(to(server.url, verify=str(file)), entries(["a"]), naps=naps))

    assert not naps.taken


def test_https_to_a_server_that_speaks_http_is_unreachable(run: Run) -> None:
    plain = ScriptedServer(lambda _: [], greeting=lambda _: [answer(400), Move.CLOSE])
    with plain as server, pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        run(fly(to(server.url.replace("http:", "https:")), entries(["a"]), chosen=limits(retries=1)))


def test_http_to_a_server_that_speaks_https_is_told(run: Run, server: ScriptedServer) -> None:
    (outcome,) = run(fly(to(server.url.replace("https:", "http:")), entries(["a"]), chosen=limits(retries=1)))

    assert not outcome.succeeded
    assert outcome.code in {"ConnectionReset", "InvalidResponse"}


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "a file of each"])
def test_store_that_asks_for_a_certificate_is_shown_ours(
    run: Run, authority: Authority, bundle: str, tmp_path: Path, apart: bool
) -> None:
    certificate = authority.certify(tmp_path, x509.DNSName("worker.example"))
    shown: str | tuple[str, str] = (str(certificate), str(certificate)) if apart else str(certificate)
    context = authority.issue(tmp_path, LOOPBACK)
    context.load_verify_locations(bundle)
    context.verify_mode = ssl.CERT_REQUIRED

    with ScriptedServer(lambda _: [answer()], tls=context) as server:
        (ours,) = run(fly(to(server.url, verify=bundle, client_cert=shown), entries(["a"])))
        (without,) = run(fly(to(server.url, verify=bundle), entries(["a"]), chosen=limits(retries=0)))

    assert ours.succeeded
    assert not without.succeeded


@pytest.mark.parametrize("content", [None, "", "no certificate\n"], ids=["missing", "empty", "something else"])
def test_certificate_to_show_that_is_none_is_invalid_input(
    run: Run, server: ScriptedServer, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "mine.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(InvalidInput, match=r"client_cert: .*mine\.pem"):
        run(fly(to(server.url, client_cert=str(file)), entries(["a"])))
