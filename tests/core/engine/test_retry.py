"""The laws of trying again, and what error answers say."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.engine.conversation import Answer
from airflow_s3batch.core.engine.retry import Backoff, is_refused, is_throttle, is_transient, read_error
from tests.servers import error_body

CHANCE = st.floats(0.0, 1.0, exclude_max=True)
ATTEMPT = st.integers(0, 10_000)


@given(attempt=ATTEMPT, chance=CHANCE, first=st.floats(0.001, 10.0), most=st.floats(0.001, 1_000.0))
def test_delay_is_a_share_of_a_bound_that_never_passes_the_most(
    attempt: int, chance: float, first: float, most: float
) -> None:
    delay = Backoff(retries=8, first=first, most=most).delay(attempt, lambda: chance)

    assert 0.0 <= delay <= most
    assert delay <= first * 2.0 ** min(attempt, 100)


@given(attempt=st.integers(0, 200), chance=CHANCE)
def test_bound_doubles_until_it_is_the_most(attempt: int, chance: float) -> None:
    backoff = Backoff(retries=8)

    now, later = (backoff.delay(attempt + step, lambda: chance) for step in (0, 1))

    assert later == pytest.approx(min(2 * now, backoff.most * chance))


def test_jitter_is_full() -> None:
    backoff = Backoff(retries=8, first=1.0, most=8.0)

    assert [backoff.delay(attempt, lambda: 0.0) for attempt in range(5)] == [0.0] * 5
    assert [backoff.delay(attempt, lambda: 0.5) for attempt in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("status", "code", "transient", "throttle", "refused"),
    [
        (500, "InternalError", True, False, False),
        (502, "BadGateway", True, False, False),
        (503, "SlowDown", True, True, False),
        (503, "ServiceUnavailable", True, True, False),
        (504, "GatewayTimeout", True, False, False),
        (429, "TooManyRequests", True, True, False),
        (200, "InternalError", True, False, False),
        (200, "SlowDown", True, True, False),
        (400, "RequestTimeout", True, False, False),
        (400, "ThrottlingException", True, True, False),
        (409, "OperationAborted", True, False, False),
        (409, "ConditionalRequestConflict", True, False, False),
        (400, "ExpiredToken", False, False, True),
        (403, "ExpiredTokenException", False, False, True),
        (403, "InvalidAccessKeyId", False, False, True),
        (403, "RequestTimeTooSkewed", False, False, True),
        (403, "AccessDenied", False, False, False),
        (403, "SignatureDoesNotMatch", False, False, False),
        (404, "NoSuchKey", False, False, False),
        (412, "PreconditionFailed", False, False, False),
        (400, "MalformedXML", False, False, False),
        (409, "RestoreAlreadyInProgress", False, False, False),
        (405, "MethodNotAllowed", False, False, False),
        (501, "NotImplemented", False, False, False),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_else(
    status: int, code: str, transient: bool, throttle: bool, refused: bool
) -> None:
    assert (is_transient(status, code), is_throttle(status, code), is_refused(code)) == (transient, throttle, refused)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            404,
            error_body("NoSuchKey", "The specified key does not exist."),
            ("NoSuchKey", "The specified key does not exist."),
        ),
        (
            403,
            b"<Error><Code>No</Code><Message>a &lt;b&gt; &amp;amp; &quot;c&quot; &apos;d&#39; &#34;</Message></Error>",
            ("No", 'a <b> &amp; "c" \'d\' "'),
        ),
        (400, b"<Error><Code>\n  Bad\n</Code><Message>\n two\nlines </Message></Error>", ("Bad", "two\nlines")),
        (400, b"<Error><Code>C</Code><Message></Message></Error>", ("C", "")),
        (400, b"<Error><Code>C</Code><Message/></Error>", ("C", "")),
        (400, b"<Error><Code>C</Code></Error>", ("C", "")),
        (400, "<Error><Code>C</Code><Message>clé 日本</Message></Error>".encode(), ("C", "clé 日本")),
        (400, b"<Error><Code>C</Code><Message>cl\xe9</Message></Error>", ("C", "cl\ufffd")),
        (
            400,
            b"<Error><Code><![CDATA[C]]></Code><Message><![CDATA[a <b> & c]]></Message></Error>",
            ("C", "a <b> & c"),
        ),
        (400, b"<Error><Code> <![CDATA[C]]>\n</Code></Error>", ("C", "")),
        (
            400,
            b"<Error><Code>C</Code><Message>nbsp &#160; hex &#xE9; kept &unknown;</Message></Error>",
            ("C", "nbsp \xa0 hex é kept &unknown;"),
        ),
    ],
)
def test_s3s_code_and_message_are_read_out_of_any_spelling(status: int, body: bytes, told: tuple[str, str]) -> None:
    assert read_error(status, body) == told


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "PermanentRedirect"),
        (304, "NotModified"),
        (400, "BadRequest"),
        (403, "AccessDenied"),
        (404, "NotFound"),
        (405, "MethodNotAllowed"),
        (409, "Conflict"),
        (412, "PreconditionFailed"),
        (418, "418"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Error><Code>" + b" " * 100_000,
        b"<html><body><h1>Nope</h1></body></html>",
        b"\x00\xff\x1f\x8b",
        b"<Error>",
        b"<Error><Code>cut o",
    ],
    ids=["empty", "endless", "HTML", "binary", "bare", "cut off"],
)
def test_without_s3s_error_document_the_status_tells(status: int, code: str, body: bytes) -> None:
    assert read_error(status, body) == (code, f"HTTP status {status} without an S3 error body")


@given(status=st.integers(300, 599), body=st.binary(max_size=200))
def test_no_body_breaks_reading_an_error(status: int, body: bytes) -> None:
    code, message = read_error(status, body)

    assert code
    assert message


@given(
    code=st.from_regex(r"[A-Za-z]{1,40}", fullmatch=True),
    message=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80),
)
def test_escaped_text_comes_back_as_it_was(code: str, message: str) -> None:
    escaped = message.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    assert read_error(400, error_body(code, escaped)) == (code, message.strip())


@pytest.mark.parametrize("part", [b"<Code><![CDATA[", b"<Code>" + b" " * 50, b"<Message><![CDATA[ ]]>"])
def test_long_answer_without_an_error_is_left_quickly(part: bytes) -> None:
    began = time.process_time()

    read_error(400, part * 20_000)

    assert time.process_time() - began < 1.0


class TestAnswer:
    HEAD = (
        b'HTTP/1.1 200 OK\r\nX-Amz-Bucket-Region:  eu-west-1 \r\nETag: "a:b"\r\nEmpty:\r\nTwice: 1\r\nTwice: 2\r\n'
        b"\r\nbody: not a header\r\n"
    )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("x-amz-bucket-region", "eu-west-1"),
            ("etag", '"a:b"'),
            ("empty", ""),
            ("twice", "1"),
            ("missing", ""),
            ("body", ""),
        ],
    )
    def test_header_is_found_by_its_lower_case_name(self, name: str, value: str) -> None:
        assert Answer(200, self.HEAD).header(name) == value

    def test_headers_keep_their_order_and_repeats(self) -> None:
        assert [name for name, _ in Answer(200, self.HEAD).headers] == [
            "x-amz-bucket-region",
            "etag",
            "empty",
            "twice",
            "twice",
        ]

    def test_answer_without_a_head_has_no_headers(self) -> None:
        assert Answer(200).headers == []
