"""A certificate authority for the tests of TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["DAY", "LOOPBACK", "NOW", "Authority"]

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

    @classmethod
    def founded(cls) -> Authority:
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
        return cls(key, certificate)

    def write(self, folder: Path) -> str:
        """The file of certificates that `verify` names."""
        file = folder / "ca.pem"
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return str(file)

    def issue(self, folder: Path, name: x509.GeneralName, *, until: dt.datetime = NOW + DAY) -> ssl.SSLContext:
        """A server's context with a certificate for the name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certify(folder, name, until=until))
        return context

    def certify(self, folder: Path, name: x509.GeneralName, *, until: dt.datetime = NOW + DAY) -> Path:
        """A file with a certificate for the name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = certificate_for(key, self.certificate.subject, self.key, until).add_extension(
            x509.SubjectAlternativeName([name]), critical=False
        )
        file = folder / f"{key.private_numbers().private_value % 10**9}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return file


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
