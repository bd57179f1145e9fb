"""`ListObjects` with a filter that is there and empty: it is refused, and never taken for the whole bucket."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.manifest import ListObjects, manifest_from_aws

ONE_OF = ("prefixes", "suffixes", "substrings", "globs", "regexes")


def generator(**members: Any) -> dict[str, Any]:
    return {"S3JobManifestGenerator": {"SourceBucket": "arn:aws:s3:::lake", **members}}


def rendered(document: Any) -> Any:
    """As Airflow renders templates in it, when the run's parameter is empty."""
    if isinstance(document, dict):
        return {name: rendered(value) for name, value in document.items()}
    if isinstance(document, list):
        return [rendered(value) for value in document]
    return document.replace("{{ params.text }}", "") if isinstance(document, str) else document


@pytest.mark.parametrize("field", [*ONE_OF, "exclude"])
@pytest.mark.parametrize("given", ["", ["raw/", ""]])
def test_empty_text_is_no_filter(field: str, given: Any) -> None:
    with pytest.raises(InvalidInput, match="an empty text is in everything"):
        ListObjects("lake", **{field: given})


@pytest.mark.parametrize("field", [*ONE_OF, "exclude"])
def test_template_that_rendered_to_nothing_is_refused(field: str) -> None:
    given: dict[str, Any] = {field: "{{ params.text }}"}
    written = ListObjects("lake", **given).to_aws()

    with pytest.raises(InvalidInput, match="an empty text is in everything"):
        manifest_from_aws(rendered(written))


@pytest.mark.parametrize("field", [*ONE_OF, "storage_classes", "replication_statuses", "encryption"])
@pytest.mark.parametrize("none", [[], set()])
def test_one_of_none_fits_nothing(field: str, none: Any) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: an empty list fits no object"):
        ListObjects("lake", **{field: none})


def test_none_to_exclude_excludes_nothing() -> None:
    assert ListObjects("lake", exclude=[]) == ListObjects("lake")


@pytest.mark.parametrize("field", [*ONE_OF, "storage_classes", "encryption"])
def test_what_is_not_given_asks_for_nothing(field: str) -> None:
    nothing: list[dict[str, Any]] = [{field: ()}, {field: None}, {}]
    first, *others = [ListObjects("lake", **given) for given in nothing]

    assert others == [first, first]


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"Filter": []}, "no JSON object"),
        ({"Filter": ""}, "no JSON object"),
        ({"Filter": None}, "no JSON object"),
        ({"Filter": {"KeyNameConstraint": []}}, "no JSON object"),
        ({"Filter": {"KeyNameConstraint": None}}, "KeyNameConstraint is null"),
        ({"Filter": {"KeyNameConstraint": {"MatchAnyPrefix": []}}}, "prefixes: an empty list"),
        ({"Filter": {"KeyNameConstraint": {"MatchAnyPrefix": None}}}, "MatchAnyPrefix is null"),
        ({"Filter": {"KeyNameConstraint": {"MatchAnyPrefix": [""]}}}, "prefixes: an empty text"),
        ({"Filter": {"CreatedBefore": None}}, "CreatedBefore is null"),
        ({"Filter": {"MatchAnyStorageClass": []}}, "storage_classes: an empty list"),
        ({"Filter": {"MatchAnyObjectEncryption": []}}, "encryption: an empty list"),
        ({"Filter": {"MatchAllTags": 5}}, "isn't what CreateJob takes"),
    ],
)
def test_empty_member_of_the_filter_is_refused(members: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        manifest_from_aws(generator(**members))


@pytest.mark.parametrize("owner", ["", "my-account", "12345678901"])
def test_owner_is_an_account_or_not_given(owner: str) -> None:
    output = {"Bucket": "arn:aws:s3:::lists", "ExpectedManifestBucketOwner": owner}

    with pytest.raises(InvalidInput, match=r"bucket_owner: .*write its 12 digits"):
        ListObjects("lake", bucket_owner=owner)
    with pytest.raises(InvalidInput, match=r"output: .*write its 12 digits"):
        ListObjects("lake", output=output)


def test_filter_that_is_empty_asks_for_nothing() -> None:
    assert manifest_from_aws(generator(Filter={"KeyNameConstraint": {}})) == ListObjects("lake")
