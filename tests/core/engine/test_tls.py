"""Certificates are verified, by the system's authorities or by a file's, and a refusal is told at once."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, Unreachable
from tests.core.engine.conftest import Run
from tests.core.engine.flights import Naps, entries, fly, limits, to
from tests.servers import Move, ScriptedServer, answer

NOW = dt.datetime.now(tz=dt.timezone.utc)
DAY = dt.timedelta(days=1)
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
CAN_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority(NamedTuple):
    """A certificate authority of the test's own."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def issue(self, folder: Path, name: x509.GeneralName, *, until: dt.datetime = NOW + DAY) -> ssl.SSLContext:
        """A server's context with a certificate for the name."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = certificate_for(key, self.certificate.subject, self.key, until).add_extension(
            x509.SubjectAlternativeName([name]), critical=False
        )
        file = folder / f"server-{key.private_numbers().private_value % 10**9}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def certificate_for(
    key: ec.EllipticCurvePrivateKey, issuer: x509.Name, signed_by: ec.EllipticCurvePrivateKey, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 3 * DAY)
        .not_valid_after(until)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
    )


@pytest.fixture(scope="module")
def authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' authority")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 3 * DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(CAN_SIGN, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


@pytest.fixture(scope="module")
def bundle(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of certificates that `verify` names."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    return str(file)


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
