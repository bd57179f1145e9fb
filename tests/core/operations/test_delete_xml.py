"""The bodies of DeleteObjects: what is written is what boto3 would write, and what is read is what S3 told."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.operations.delete_xml import Name, fits, refusals, written
from tests.core.engine.awkward import AWKWARD

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
FITTING = st.text(min_size=1, max_size=30).filter(lambda text: fits([text]))


def read(body: bytes) -> list[Name]:
    """The names in a body, as another reader of XML finds them."""
    names: list[Name] = []
    for item in ET.fromstring(body).iter(f"{NAMESPACE}Object"):
        key = item.findtext(f"{NAMESPACE}Key")
        assert key is not None
        names.append((key, item.findtext(f"{NAMESPACE}VersionId")))
    return names


@given(st.lists(FITTING, min_size=1))
def test_every_key_that_fits_is_read_as_it_is(keys: list[str]) -> None:
    assert read(written([(key, None) for key in keys])) == [(key, None) for key in keys]


@given(st.lists(st.tuples(FITTING, FITTING), min_size=1))
def test_every_version_that_fits_is_read_as_it_is(names: list[Name]) -> None:
    assert read(written(names)) == names


def test_the_body_is_as_awss_documentation_has_it() -> None:
    assert written([("a&b", "v1"), ("<c>", "null")]) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Object><Key>a&amp;b</Key><VersionId>v1</VersionId></Object>"
        b"<Object><Key>&lt;c&gt;</Key><VersionId>null</VersionId></Object><Quiet>true</Quiet></Delete>"
    )


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys_fit_unless_a_reader_could_take_them_for_others(key: str) -> None:
    assert fits([key]) == (key not in {" leading", "trailing ", " ", "tab\there", "new\nline"})


@pytest.mark.parametrize(
    "text", ["", " ", "a\r", "a\x00b", "\x1b[31m", "a\x7f", "a\x85b", "a\u2028b", "a\ufffeb", "a\u00a0", "a\u200bb"]
)
def test_what_no_reader_can_be_trusted_with_does_not_fit(text: str) -> None:
    assert not fits(["plain", text])


@pytest.mark.parametrize(
    "answer",
    [
        b"<DeleteResult/>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>\n',
        b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>',
        b"<DeleteResult><Deleted><Key>not quiet</Key></Deleted></DeleteResult>",
        b"<s3:DeleteResult xmlns:s3='http://s3.amazonaws.com/doc/2006-03-01/'></s3:DeleteResult>",
    ],
)
def test_an_answer_without_errors_means_that_all_has_gone(answer: bytes) -> None:
    assert refusals(answer) == {}


def test_errors_are_told_by_key_and_version() -> None:
    answer = """<?xml version="1.0" encoding="UTF-8"?>
        <DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Deleted><Key>gone</Key></Deleted>
        <Error><Key>a&amp;b &lt;日本&gt;</Key><Code>AccessDenied</Code><Message>&quot;No&quot;</Message></Error>
        <Error><Key><![CDATA[<c>]]></Key><VersionId>v1</VersionId><Code>NoSuchVersion</Code><Message/></Error>
        <Error><Key>d</Key><VersionId></VersionId><Code>InternalError</Code></Error></DeleteResult>""".strip()

    assert refusals(answer.encode()) == {
        ("a&b <日本>", None): ("AccessDenied", '"No"'),
        ("<c>", "v1"): ("NoSuchVersion", ""),
        ("d", None): ("InternalError", ""),
    }


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"", "not a whole XML document"),
        (b"<html>", "not a whole XML document"),
        (b"<DeleteResult><Error><Key>a</Key>", "not a whole XML document"),
        (b"<Error><Code>InternalError</Code></Error>", "a document 'Error' in place of a DeleteResult"),
        (b"<html></html>", "a document 'html' in place of a DeleteResult"),
    ],
)
def test_what_is_no_answer_to_a_deletion_says_nothing_about_it(answer: bytes, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        refusals(answer)
