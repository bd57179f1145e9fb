"""`tls_context`: whose certificates are trusted, and which one is shown."""

from __future__ import annotations

import contextlib
import ssl

from airflow_s3batch.core.errors import InvalidInput, printable

__all__ = ["tls_context"]


def tls_context(*, verify: bool | str, client_cert: str | tuple[str, str] | None = None) -> ssl.SSLContext:
    """A client's context, as boto3 understands `verify` and `client_cert`.

    Args:
        verify: whether to verify the server's certificate; a path names a file of CA certificates to trust instead.
        client_cert: the certificate to show: a file with its key, or a file of each; None for none.

    Raises:
        InvalidInput: a file isn't what it should be.
    """
    cafile = verify if isinstance(verify, str) else None
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:  # an ssl.SSLError is one, too
        raise InvalidInput(f"verify: {printable(cafile)} is no file of CA certificates: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    if client_cert is not None:
        _show(context, client_cert)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cafile is None:
        # Where the system has no CA certificates (slim containers), certifi's serve, as for boto3.
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _show(context: ssl.SSLContext, client_cert: str | tuple[str, str]) -> None:
    certificate, key = (client_cert, None) if isinstance(client_cert, str) else client_cert
    try:
        context.load_cert_chain(certificate, key, password="")  # or OpenSSL would ask at the terminal for one
    except OSError as error:
        told = f"{printable(certificate)} is no file of a certificate and its key"
        if key is not None:
            told = f"{printable(certificate)} and {printable(key)} are no files of a certificate and its key"
        raise InvalidInput(f"client_cert: {told}: {error}") from None
