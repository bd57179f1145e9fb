"""`S3BatchHook`: what an Airflow connection says about S3, as the engine takes it."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.exceptions import AirflowNotFoundException
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk.log import mask_secret
from botocore import UNSIGNED

from airflow_s3batch.core.engine import Credentials, S3Access
from airflow_s3batch.core.errors import InvalidInput, printable

if TYPE_CHECKING:
    import boto3.session
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from botocore.credentials import Credentials as BotoCredentials

__all__ = ["S3BatchHook"]


class S3BatchHook(AwsBaseHook):
    """S3 as an ``aws`` connection gives it: everything that the amazon provider's hooks read there counts here too.

    Args:
        aws_conn_id: the connection; None for boto3's own way to credentials, region and endpoint. One that doesn't
            exist is an error, unlike with the amazon provider's hooks: who names a connection wants no other identity.
        region_name: instead of the connection's.
        verify: whether to verify TLS certificates, or a file of CA certificates; instead of the connection's.
    """

    def __init__(
        self,
        aws_conn_id: str | None = AwsBaseHook.default_conn_name,
        *,
        region_name: str | None = None,
        verify: bool | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(aws_conn_id, **{**options, "region_name": region_name, "verify": verify, "client_type": "s3"})

    @cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """The connection.

        Raises:
            AirflowNotFoundException: there is none of that name.
        """
        if self.aws_conn_id:
            try:
                self.get_connection(self.aws_conn_id)
            except AirflowNotFoundException:
                raise AirflowNotFoundException(
                    f"connection {printable(self.aws_conn_id)!r} doesn't exist; create it (type aws), name another by "
                    "aws_conn_id, or pass aws_conn_id=None to use the credentials that boto3 finds on the worker"
                ) from None
        return super().conn_config

    def access(self) -> S3Access:
        """What the engine needs. Credentials that expire are renewed for as long as it is used.

        Raises:
            AirflowNotFoundException: the connection doesn't exist.
            InvalidInput: there are no credentials, and the connection doesn't say to go without.
        """
        session = self.get_session(region_name=self.region_name)
        given = self.conn_config.get_service_endpoint_url("s3")
        # boto3's client merges the connection, the environment and the shared configuration files; it sends nothing.
        meta = session.client("s3", endpoint_url=given, config=self.config, verify=self.verify).meta
        settings, s3 = meta.config, meta.config.s3 or {}
        anonymous = settings.signature_version is UNSIGNED
        return S3Access(
            credentials=_no_credentials if anonymous else _Signers(self._found_credentials(session)),
            region=_region(meta.region_name),
            endpoint_url=given or _elsewhere(meta.endpoint_url),
            addressing_style=s3.get("addressing_style") or "auto",
            verify=self._verification(session),
            use_dualstack=bool(s3.get("use_dualstack_endpoint") or settings.use_dualstack_endpoint),
            use_fips=bool(settings.use_fips_endpoint),
        )

    def _found_credentials(self, session: boto3.session.Session) -> BotoCredentials:
        found: BotoCredentials | None = session.get_credentials()
        if found is None:
            connection = f"connection {printable(self.aws_conn_id)!r}" if self.aws_conn_id else "aws_conn_id=None"
            raise InvalidInput(
                f"{connection}: it has no credentials, and boto3 finds none on the worker; give the connection a login "
                "and password (access key and secret) or a role; to go without, give it the extra "
                '{"config_kwargs": {"signature_version": "unsigned"}}'
            )
        return found

    def _verification(self, session: boto3.session.Session) -> bool | str:
        """Take boto3's order: asked for, the connection's, AWS_CA_BUNDLE or a file's, REQUESTS_CA_BUNDLE."""
        if self.verify is not None:
            return self.verify
        bundle: str | None = session._session.get_config_variable("ca_bundle")  # noqa: SLF001 - no public way
        return bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True


class _Signers:
    """The session's credentials, renewed by botocore when they are about to expire."""

    def __init__(self, source: BotoCredentials) -> None:
        self._source = source
        for secret in self()[1:]:
            if secret:
                mask_secret(secret)

    def __call__(self) -> Credentials:
        frozen = self._source.get_frozen_credentials()
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token)


def _no_credentials() -> None:
    """Requests go unsigned."""


def _region(name: str | None) -> str:
    # "aws-global" is what botocore calls no region at all; S3 signs that as us-east-1.
    return "us-east-1" if name in {None, "", "aws-global"} else str(name)


def _elsewhere(endpoint_url: str) -> str | None:
    """The endpoint that the environment (AWS_ENDPOINT_URL_S3) or a file configures; None if it is Amazon's own."""
    host = urlsplit(endpoint_url).hostname or ""
    return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else endpoint_url
