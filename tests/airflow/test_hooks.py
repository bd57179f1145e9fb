"""What the engine gets from connections, the environment and configuration files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_s3batch import S3BatchHook
from airflow_s3batch.core.engine import Credentials
from airflow_s3batch.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[..., None]

MINIO = "http://127.0.0.1:9000"
KEYS = {"login": "key", "password": "secret"}


@pytest.fixture(autouse=True)
def bare_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and no configuration but what a test gives."""
    for name in (
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "PROFILE",
        "REGION",
        "DEFAULT_REGION",
        "CA_BUNDLE",
        "ENDPOINT_URL",
        "ENDPOINT_URL_S3",
        "ENDPOINT_URL_LAMBDA",
    ):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {"region": "us-east-1", "endpoint_url": None, "addressing_style": "auto", "verify": True}),
        ({"region_name": "eu-west-1"}, {"region": "eu-west-1"}),
        ({"endpoint_url": MINIO}, {"endpoint_url": MINIO}),
        ({"service_config": {"s3": {"endpoint_url": MINIO}}}, {"endpoint_url": MINIO}),
        ({"endpoint_url": "http://other", "service_config": {"s3": {"endpoint_url": MINIO}}}, {"endpoint_url": MINIO}),
        (
            {"endpoint_url": "https://s3.eu-west-1.amazonaws.com"},
            {"endpoint_url": "https://s3.eu-west-1.amazonaws.com"},
        ),
        ({"config_kwargs": {"s3": {"addressing_style": "path"}}}, {"addressing_style": "path"}),
        ({"config_kwargs": {"s3": {"addressing_style": "virtual"}}}, {"addressing_style": "virtual"}),
        ({"config_kwargs": {"use_dualstack_endpoint": True}}, {"use_dualstack": True}),
        ({"config_kwargs": {"use_fips_endpoint": True}, "region_name": "us-east-2"}, {"use_fips": True}),
        ({"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}}, {"use_accelerate": True}),
        ({"config_kwargs": {"client_cert": "/mine.pem"}}, {"client_cert": "/mine.pem"}),
        ({"config_kwargs": {"client_cert": ["/mine.pem", "/key.pem"]}}, {"client_cert": ("/mine.pem", "/key.pem")}),
        ({"config_kwargs": {"proxies": {"https": "proxy:3128"}}}, {"proxies": {"https": "proxy:3128"}}),
        ({"service_config": {"s3": {"endpoint_url": MINIO}}}, {"lambda_endpoint_url": None}),
        ({"service_config": {"lambda": {"endpoint_url": MINIO}}}, {"endpoint_url": None, "lambda_endpoint_url": MINIO}),
        ({"endpoint_url": MINIO}, {"lambda_endpoint_url": MINIO}),
        ({"region_name": "eusc-de-east-1"}, {"endpoint_url": None, "lambda_endpoint_url": None}),
        ({"region_name": "us-iso-east-1"}, {"endpoint_url": None, "lambda_endpoint_url": None}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "/etc/ca.pem"}, {"verify": "/etc/ca.pem"}),
    ],
)
def test_connection_says_where_s3_is(connect: Connect, extra: dict[str, Any], expected: dict[str, Any]) -> None:
    connect("lake", **KEYS, **extra)

    access = S3BatchHook("lake").access()

    assert {name: getattr(access, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"region_name": "ap-south-1"}, {"region": "ap-south-1"}),
        ({"verify": True}, {"verify": True}),
        ({"verify": "/mine.pem"}, {"verify": "/mine.pem"}),
    ],
)
def test_operator_may_say_it_differently(connect: Connect, options: dict[str, Any], expected: dict[str, Any]) -> None:
    connect("lake", **KEYS, region_name="eu-west-1", verify=False)

    access = S3BatchHook("lake", **options).access()

    assert {name: getattr(access, name) for name in expected} == expected


def test_credentials_are_the_connections(connect: Connect) -> None:
    connect("lake", **KEYS, aws_session_token="token")

    assert S3BatchHook("lake").access().credentials() == Credentials("key", "secret", "token")


def test_unsigned_connection_goes_without_credentials(connect: Connect) -> None:
    connect("public", config_kwargs={"signature_version": "unsigned"})

    assert S3BatchHook("public").access().credentials() is None


def test_without_a_connection_boto3_finds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", MINIO)
    monkeypatch.setenv("AWS_CA_BUNDLE", "/bundle.pem")

    access = S3BatchHook(None).access()

    assert access.credentials() == Credentials("mine", "own")
    assert (access.region, access.endpoint_url, access.verify) == ("eu-north-1", MINIO, "/bundle.pem")


def test_shared_configuration_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "config").write_text(
        f"[default]\nregion = eu-west-3\nendpoint_url = {MINIO}\ns3 =\n  addressing_style = path\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    connect("lake", **KEYS)

    access = S3BatchHook("lake").access()

    assert (access.region, access.endpoint_url, access.addressing_style) == ("eu-west-3", MINIO, "path")


PRIVATE = "https://bucket.vpce-1a2b-5e6f.s3.eu-west-1.vpce.amazonaws.com"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("AWS_ENDPOINT_URL_S3", PRIVATE, (PRIVATE, None)),
        ("AWS_ENDPOINT_URL", PRIVATE, (PRIVATE, PRIVATE)),
        ("AWS_ENDPOINT_URL_LAMBDA", MINIO, (None, MINIO)),
        (
            "AWS_ENDPOINT_URL_S3",
            "https://s3.dualstack.eu-west-1.amazonaws.com",
            ("https://s3.dualstack.eu-west-1.amazonaws.com", None),
        ),
    ],
)
def test_endpoint_of_the_environment_counts_on_amazons_domain_too(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, variable: str, value: str, expected: tuple[str | None, ...]
) -> None:
    monkeypatch.setenv(variable, value)
    connect("lake", **KEYS, region_name="eu-west-1")

    access = S3BatchHook("lake").access()

    assert (access.endpoint_url, access.lambda_endpoint_url) == expected


def test_connection_may_ignore_the_environments_endpoints(monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", MINIO)
    connect("lake", **KEYS, config_kwargs={"ignore_configured_endpoint_urls": True})

    access = S3BatchHook("lake").access()

    assert (access.endpoint_url, access.lambda_endpoint_url) == (None, None)


def test_credentials_that_expire_are_renewed(tmp_path: Path, connect: Connect) -> None:
    script, count = tmp_path / "renew", tmp_path / "count"
    script.write_text(
        f"#!/bin/sh\necho x >> {count}\n"
        'printf \'{"Version": 1, "AccessKeyId": "key%s", "SecretAccessKey": "s", "SessionToken": "t", '
        f'"Expiration": "%s"}}\' $(wc -l < {count}) $(date -u -d \'+30 seconds\' +%Y-%m-%dT%H:%M:%SZ)\n'
    )
    script.chmod(0o755)
    (tmp_path / "config").write_text(f"[profile rotating]\ncredential_process = {script}\nregion = us-east-1\n")
    connect("lake", profile_name="rotating")

    credentials = S3BatchHook("lake").access().credentials

    # Within botocore's advisory window of 15 minutes, so every look at them renews.
    first, second = credentials(), credentials()
    assert first is not None
    assert second is not None
    assert first.access_key != second.access_key


def test_missing_credentials_are_an_error_that_says_what_to_do(connect: Connect) -> None:
    connect("lake", region_name="eu-west-1")

    with pytest.raises(InvalidInput, match=r"connection 'lake': it has no credentials.*unsigned"):
        S3BatchHook("lake").access()


@pytest.mark.parametrize("service", ["s3", "lambda"])
@pytest.mark.parametrize("given", ["127.0.0.1:9000", "key:s3cr3t@127.0.0.1:9000", "minio", "ftp://127.0.0.1:9000"])
def test_endpoint_that_is_no_url_is_told_by_the_connection(connect: Connect, given: str, service: str) -> None:
    connect("lake", **KEYS, service_config={service: {"endpoint_url": given}})

    with pytest.raises(
        InvalidInput, match=r"^connection 'lake': endpoint_url '.*' is no URL; write http://host"
    ) as told:
        S3BatchHook("lake").access()

    assert "s3cr3t" not in str(told.value)


def test_no_secret_shows_in_what_is_printed(connect: Connect) -> None:
    connect("lake", login="key", password="s3cr3t-of-the-lake")

    access = S3BatchHook("lake").access()

    assert "s3cr3t-of-the-lake" not in f"{access!r} {access.credentials()!r}"
