"""Copies of objects onto themselves: what S3 refuses is warned of before it runs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from airflow_s3batch import CopyObject
from airflow_s3batch.testing import MemoryS3


@pytest.mark.parametrize(
    ("operation", "warned"),
    [
        (CopyObject("lake"), True),
        (CopyObject("arn:aws:s3:::lake", target_key="{key}"), True),
        (CopyObject("lake", tags={"tier": "cold"}, canned_acl="private"), True),
        (CopyObject("lake", storage_class="STANDARD_IA"), False),
        (CopyObject("lake", metadata={}), False),
        (CopyObject("lake", content_type="text/csv"), False),
        (CopyObject("lake", encryption="AES256"), False),
        (CopyObject("lake", redirect_location="/b"), False),
        (CopyObject("lake", target_prefix="old/"), False),
        (CopyObject("lake", strip_prefix="raw/"), False),
        (CopyObject("archive"), False),
    ],
)
def test_copies_that_would_change_nothing_are_warned_of(
    operation: CopyObject, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "airflow_s3batch")

    asyncio.run(operation.look("lake", MemoryS3("lake", "archive")))

    told = (
        "objects of lake are copied onto themselves, and nothing about them changes, which S3 refuses (InvalidRequest)"
    )
    assert (told in caplog.text) is warned
