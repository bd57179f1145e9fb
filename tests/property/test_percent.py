"""Laws of percent-encoding: what Python's own, slower functions say of a text, this says of it."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_s3batch.core.manifest.percent import decodes, unquoted

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PIECES = st.sampled_from(
    [
        *("a", "ü", "_", "=", "==", "\n", "\r", "\r\n", "+", " ", "%", "%%", "%3", "%g0", "%0g"),
        *("%3D", "%3d", "%0A", "%0d", "%20", "%25", "%00", "%E6%97%A5", "%e6", "%97", "%A5"),
        *("%C0%80", "%ED%A0%80", "%F4%90", "%FD", "%FE", "%FF", "%ff"),
    ]
)
SPELLINGS = st.lists(PIECES, max_size=12).map("".join)


def told_plainly(text: str) -> str | None:
    """The text without its escapes; None if one is wrong, or what comes out isn't UTF-8."""
    pieces = text.split("%")[1:]
    if any(len(piece) < 2 or not set(piece[:2]) <= set("0123456789abcdefABCDEF") for piece in pieces):
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return None


@given(TEXTS, st.sampled_from(["", "/", "/=", "+\n\r="]))
def test_what_was_quoted_is_unquoted(text: str, safe: str) -> None:
    spelled = quote(text, safe=safe)

    assert unquoted(spelled) == text
    assert decodes(spelled.encode())


@given(SPELLINGS)
@example("%\n")
@example("%=3D")
@example("a=%FF")
@example("%\r\n")
def test_escapes_are_told_as_the_standard_library_tells_them(spelled: str) -> None:
    told = told_plainly(spelled)

    assert unquoted(spelled) == told
    assert decodes(spelled.encode()) == (told is not None)


@given(SPELLINGS)
def test_a_plus_may_stand_for_a_space(spelled: str) -> None:
    assert unquoted(spelled, plus_is_space=True) == told_plainly(spelled.replace("+", " "))


@given(st.lists(SPELLINGS, min_size=1, max_size=6).map(",".join), st.binary(max_size=4))
def test_bytes_that_are_no_utf8_do_not_decode(spelled: str, more: bytes) -> None:
    text = spelled.encode() + b"," + more
    try:
        told = told_plainly(text.decode())
    except UnicodeDecodeError:
        told = None

    assert decodes(text) == (told is not None)
