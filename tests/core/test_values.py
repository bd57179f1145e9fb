"""What an author writes is checked when it is written; templates once they are rendered."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.job import CompletionReport
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest, FilteredManifest, ListObjects
from airflow_s3batch.core.operations import (
    CopyObject,
    DeleteObjectTagging,
    InvokeLambda,
    MergeObjectTags,
    PutObjectAcl,
    PutObjectTagging,
)
from airflow_s3batch.core.values import (
    Flag,
    Moment,
    Text,
    Value,
    WholeNumber,
    as_datetime,
    known_arguments,
    one_of,
    require_rendered,
)

OF_AN_OPERATION = "give one for each text in it, or .* whole operation in AWS's JSON and write operation=that$"
OF_A_MANIFEST = "give one for each text in it, or .* whole manifest in AWS's JSON and write manifest=that$"


class Sample(Value):
    text: Text = ""
    moment: Moment | None = None
    flag: Flag = False
    number: WholeNumber = 1
    word: Annotated[Text, one_of("yes", "no")] = "yes"
    sent_at: Text = ""

    def __init__(self, **fields: Any) -> None:  # takes what a type checker would refuse
        super().__init__(**fields)

    def to_aws(self) -> dict[str, Any]:
        return {"Text": self.text}


class Plain(Value):
    size: Text = ""

    if TYPE_CHECKING:

        def __init__(self, *unnamed: Any, **fields: Any) -> None: ...


class PulledLater:
    """Behaves as an Airflow XComArg does."""

    def iter_references(self) -> Iterator[Any]:
        yield self, "return_value"

    def resolve(self, context: Any) -> Any:
        raise NotImplementedError

    def __str__(self) -> str:
        return "{{ task_instance.xcom_pull(task_ids='before') }}"


def test_a_value_is_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Sample().text = "other"


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("flagg", r"did you mean flag\?"),
        ("sent", r"did you mean sent_at\?"),
        ("nope", "it has text, moment, flag, number, word, sent_at"),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(name: str, way_out: str) -> None:
    with pytest.raises(InvalidInput, match=f"^Sample: no parameter '{name}'; {way_out}$"):
        Sample(**{name: 1})


def test_a_field_without_its_name_is_told_by_which_to_give_it() -> None:
    with pytest.raises(InvalidInput, match=r"^Plain takes its parameters by keyword: size=$"):
        Plain("large")


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (
            ListObjects,
            {"bucket": "lake", "prefix": "x"},
            r"ListObjects: no parameter 'prefix'; did you mean prefixes\?",
        ),
        (ListObjects, {"prefix": "x"}, r"ListObjects: no parameter 'prefix'; did you mean prefixes\?"),
        (
            CsvManifest,
            {"uri": "s3://lake/m", "field": "x"},
            r"CsvManifest: no parameter 'field'; did you mean fields\?",
        ),
        (PutObjectTagging, {"a": "b"}, "PutObjectTagging: no parameter 'a'; it has tags"),
        (DeleteObjectTagging, {"a": "b"}, "DeleteObjectTagging: no parameter 'a'; it has none"),
        (CopyObject, {"target_bucket": "lake", "clas": "x"}, "CopyObject: no parameter 'clas'"),
        (
            CompletionReport,
            {"locaton": "s3://lake"},
            r"CompletionReport: no parameter 'locaton'; did you mean location\?",
        ),
        (Limits, {"inflight": 1}, r"Limits: no parameter 'inflight'; did you mean in_flight\?"),
    ],
)
def test_parameter_that_there_is_not_is_named_whatever_the_constructor(
    kind: Any, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{told}"):
        kind(**given)


def test_value_is_copied_and_pickled() -> None:
    value = ListObjects("lake", prefixes="raw/")

    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_every_fault_is_told_on_one_line() -> None:
    with pytest.raises(InvalidInput) as caught:
        Sample(text=1, word="may\nbe")

    assert str(caught.value) == (
        "Sample: text: Input should be a valid string (got 1); word: 'may\\nbe' is none of yes, no"
    )


@pytest.mark.parametrize("field", ["text", "moment", "flag", "number", "word"])
def test_a_template_passes_until_it_is_rendered(field: str) -> None:
    assert getattr(Sample(**{field: "{{ params.x }}"}), field) == "{{ params.x }}"


@pytest.mark.parametrize("field", ["text", "moment", "flag", "number", "word"])
def test_an_xcom_arg_becomes_the_template_that_pulls_it(field: str) -> None:
    assert getattr(Sample(**{field: PulledLater()}), field) == str(PulledLater())


@pytest.mark.parametrize(
    ("kind", "parameter", "way_out"),
    [
        (PutObjectTagging, "tags", OF_AN_OPERATION),
        (MergeObjectTags, "set", OF_AN_OPERATION),
        (MergeObjectTags, "remove", OF_AN_OPERATION),
        (partial(PutObjectAcl, owner="me"), "grants", OF_AN_OPERATION),
        (partial(InvokeLambda, "check"), "user_arguments", OF_AN_OPERATION),
        (partial(CopyObject, "lake"), "metadata", OF_AN_OPERATION),
        (partial(ListObjects, "lake"), "tags", OF_A_MANIFEST),
        (partial(ListObjects, "lake"), "output", OF_A_MANIFEST),
        (partial(FilteredManifest, where="true"), "manifest", OF_A_MANIFEST),
        (Limits, "in_flight", "write it down in the DAG file"),
    ],
)
def test_what_no_xcom_arg_can_be_given_for_says_what_can(kind: Any, parameter: str, way_out: str) -> None:
    told = f": {parameter}: only a text can be another task's output (got <.*PulledLater .*>); {way_out}"

    with pytest.raises(InvalidInput, match=told.replace("(", r"\(").replace(")", r"\)")):
        kind(**{parameter: PulledLater()})


def test_a_text_in_it_may_be_another_tasks_output() -> None:
    assert PutObjectTagging({"tier": PulledLater()}).references  # type: ignore[dict-item] # an XComArg for a text


@pytest.mark.parametrize(
    "given",
    [
        datetime(2026, 11, 24, 17, 0, tzinfo=timezone.utc),
        datetime(2026, 11, 24, 18, 0, tzinfo=timezone(timedelta(hours=1))),
        "2026-11-24T17:00:00Z",
        "2026-11-24T17:00:00+00:00",
        "2026-11-24 18:00:00+01:00",
        "2026-11-24T17Z",
        "2026-11-24T17:00Z",
        "2026-11-24T18:00:00+0100",
        "2026-11-24T12:30:00-04:30",
        "2026-11-24T18:00:00+01",
        "2026-11-24T17:00:00.000000000Z",
        "20261124T170000Z",
        "20261124T1700Z",
        "20261124T180000+0100",
    ],
)
def test_a_moment_is_kept_in_utc(given: object) -> None:
    assert Sample(moment=given).moment == "2026-11-24T17:00:00Z"


@pytest.mark.parametrize(
    ("given", "microseconds"),
    [
        ("2026-12-31T00:00:00.5Z", 500_000),
        ("2026-12-31T00:00:00,25+00:00", 250_000),
        ("2026-12-31T00:00:00.025Z", 25_000),
        ("2026-12-31T00:00:00.395320681Z", 395_320),  # as AWS writes a ReportCreationDate
        ("20261231T000000.1234567Z", 123_456),
    ],
)
def test_a_moment_is_exact_to_the_microsecond(given: str, microseconds: int) -> None:
    assert as_datetime(given) == datetime(2026, 12, 31, microsecond=microseconds, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "given",
    [
        "2026-1231T00:00:00Z",
        "202612-31T00:00:00Z",
        "2026-12-31T00:0000Z",
        "2026-12-31T0000:00Z",
        "2026-02-30T00:00:00Z",
        "2026-12-31T25:00:00Z",
        "2026-12-31T00:00:00+25:00",
        "2026-12-31T00:00:00+01:",
        "2026-12-31T00:00:00Z\n",
        "\uff12\uff10\uff12\uff16-12-31T00:00:00Z",
        "",
    ],
)
def test_what_only_looks_like_a_moment_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        as_datetime(given)


@pytest.mark.parametrize("given", [datetime(2026, 11, 24), "2026-11-24", "2026-11-24T17:00:00"])  # noqa: DTZ001
def test_a_moment_without_a_time_zone_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match=r"has no time zone; add one \(Z for UTC\)"):
        Sample(moment=given)


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'tomorrow' is not a date and time; write 2026-12-31T00:00:00Z"):
        Sample(moment="tomorrow")


@pytest.mark.parametrize(("given", "flag"), [(True, True), (False, False), ("True", True), ("false", False)])
def test_a_flag_may_come_as_rendered_text(given: object, flag: object) -> None:
    assert Sample(flag=given).flag is flag


@pytest.mark.parametrize("given", ["yes", "", 1, None])
def test_what_is_no_flag_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match=r"flag: .* is neither True nor False"):
        Sample(flag=given)


@pytest.mark.parametrize(("given", "number"), [(7, 7), ("7", 7), (" 7 ", 7), (0, 0)])
def test_a_whole_number_may_come_as_rendered_text(given: object, number: int) -> None:
    assert Sample(number=given).number == number


@pytest.mark.parametrize("given", ["7.0", "seven", "", "-1", "\u0667", 7.0, True, None])
def test_what_is_no_whole_number_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match=r"number: .* is not a whole number"):
        Sample(number=given)


@pytest.mark.parametrize("given", ["yes", "Yes", "YES"])
def test_a_word_is_kept_as_the_list_has_it(given: str) -> None:
    assert Sample(word=given).word == "yes"


def test_a_value_without_json_of_its_own_is_no_value() -> None:
    with pytest.raises(NotImplementedError):
        Value().to_aws()


def test_airflow_shows_a_value_as_its_json() -> None:
    assert Sample(text="a").serialize() == {"Text": "a"}


def test_an_unrendered_template_is_named_by_its_place() -> None:
    with pytest.raises(
        InvalidInput, match=r"^Operation\.Tags\[1\]\.Value holds a template that was never rendered: '{{ ds }}'"
    ):
        require_rendered({"Operation": {"Tags": [{"Value": "a"}, {"Value": "{{ ds }}"}]}})


def test_a_name_with_a_template_left_in_it_is_refused_too() -> None:
    with pytest.raises(
        InvalidInput, match=r"^a name in Operation\.UserArguments holds a template that was never rendered: '{{ ds }}'"
    ):
        require_rendered({"Operation": {"UserArguments": {"{{ ds }}": "a"}}})


def test_a_rendered_document_passes() -> None:
    require_rendered({"a": [1, None, True, "text"], "b": {}})


def test_unknown_arguments_are_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"^CopyObject: unknown B, C; known are A$"):
        known_arguments("CopyObject", {"A": 1, "C": 2, "B": 3}, {"A"})


def test_arguments_that_are_no_object_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^CopyObject: \['A'\] is no JSON object of parameters"):
        known_arguments("CopyObject", ["A"], {"A"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("2026-12-31", (0, 0)),
        ("2026-12-31T00:00:00.5Z", (0, 500_000)),
        ("2026-12-31T00:00:01,123456789+00:00", (1, 123_456)),
        ("20261231T000002Z", (2, 0)),
        ("20261231T000002.25+0000", (2, 250_000)),
        ("2026-12-31T01:00:03+0100", (3, 0)),
        ("2026-12-31 00:00:04", (4, 0)),
    ],
)
def test_moments_are_read_alike_by_every_python(written: str, told: tuple[int, int]) -> None:
    """Up to 3.10 Python reads by itself what it writes, and no other form of ISO 8601."""
    moment = as_datetime(written)

    utc = moment.astimezone(timezone.utc) if moment.tzinfo else moment
    assert (utc.date(), utc.hour, utc.second, utc.microsecond) == (date(2026, 12, 31), 0, *told)
