"""What an answer has to be: whatever takes a type as a tool does, and whatever way a model writes it."""

import dataclasses
import datetime as dt
import enum
import json
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from toolwire.protocol.failures import CODES, Failure, Misuse
from toolwire.protocol.output import KEPT, Output, Outputs, one_value, output_of

Json = dict[str, Any]


class Trip(msgspec.Struct):
    city: str
    days: int = 1


class Node(msgspec.Struct):
    value: int
    after: "Node | None" = None


@dataclasses.dataclass
class Point:
    x: float
    tags: list[str] = dataclasses.field(default_factory=list)


class Person(TypedDict):
    name: str
    age: int | None


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Even(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("it has to be even")
        return number


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
whole = st.integers(-(2**53), 2**53)
trips = st.builds(Trip, texts, whole)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Trip, trips),
    (Node, st.builds(Node, whole, st.none() | st.builds(Node, whole))),
    (Point, st.builds(Point, st.floats(-1e9, 1e9), st.lists(texts, max_size=2))),
    (Person, st.fixed_dictionaries({"name": texts, "age": st.none() | whole})),
    (Even, whole.map(lambda n: Even(number=n * 2))),
    (list[Trip], st.lists(trips, max_size=2)),
    (dict[str, int], st.dictionaries(texts, whole, max_size=2)),
    (Trip | None, st.none() | trips),
    (Trip | list[int], trips | st.lists(whole, max_size=2)),
    (Literal["yes", "no", 3], st.sampled_from(["yes", "no", 3])),
    (Colour, st.sampled_from(Colour)),
    (Annotated[int, msgspec.Meta(ge=0)], st.integers(0, 9)),
    (int, whole),
    (bool, st.booleans()),
    (tuple[int, str], st.tuples(whole, texts)),
    (dt.date, st.dates()),
    (Any, st.recursive(st.none() | whole | texts, lambda inner: st.lists(inner, max_size=2), max_leaves=3)),
]
prose = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]{}`"), max_size=12)
containers = st.recursive(
    st.none() | st.booleans() | whole | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: isinstance(value, list | dict))


def plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    return msgspec.to_builtins(value, enc_hook=plain)


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=[str(kind) for kind, _ in VALUES])
@settings(max_examples=25)
@given(data=st.data())
def test_an_answer_is_heard_however_it_is_written(
    kind: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    output = output_of(kind)
    value = data.draw(values)
    bare = json.dumps(plain(value), ensure_ascii=data.draw(st.booleans()))
    assert output.told is not None
    forms = [bare, f"```json\n{bare}\n```", f"\n {bare} "]
    if output.told.get("properties", {}).keys() == {"value"}:
        forms.append(f'{{"value": {bare}}}')
    text = data.draw(st.sampled_from(forms))
    heard = output.heard(text)
    assert output.typed(heard) == value
    assert output.told["type"] == "object"


@pytest.mark.parametrize("kind", [kind for kind, _ in VALUES], ids=str)
@settings(max_examples=25)
@given(text=st.text(max_size=30) | containers.map(json.dumps))
def test_any_other_text_is_a_failure_that_says_why(kind: Any, text: str) -> None:
    output = output_of(kind)
    heard = output.heard(text)
    if isinstance(heard, Failure):
        assert heard.code == "invalid_output"
        assert heard.details["errors"]
        assert all(each.keys() == {"pointer", "expected", "got"} for each in heard.details["errors"])
        assert heard.message in output.correction(heard)
        msgspec.json.encode(heard)
    else:
        output.typed(heard)


@given(value=containers, before=prose, after=prose, fence=st.booleans())
def test_one_value_is_found_among_words(value: Any, before: str, after: str, fence: bool) -> None:  # noqa: FBT001
    written = json.dumps(value)
    text = f"{before}\n```json\n{written}\n```\n{after}" if fence else f"{before} {written} {after}"
    assert one_value(text) == value
    assert one_value(f"{text}{text}") is UNSET
    cut = text[: text.rindex("]" if isinstance(value, list) else "}")]
    assert one_value(cut) is UNSET


@pytest.mark.parametrize(
    "text", ["", " ", "words", "[1] and [2]", "{x}", '{"a": NaN}', "[" * 100_000, '"a" "b"', "1 2"]
)
def test_what_is_none_or_several_is_not_guessed(text: str) -> None:
    assert one_value(text) is UNSET


def test_a_text_asked_for_by_its_type_is_the_text() -> None:
    output = output_of(str)
    assert output.told is None
    assert output.heard('{"a": 1}') == '{"a": 1}'


def test_one_of_some_texts_may_be_said_without_quotes() -> None:
    assert output_of(Literal["yes", "no"]).heard(" yes\n") == "yes"
    assert output_of(Literal["yes"]).heard("yes") == "yes"
    assert output_of(Literal["yes", "no"]).heard('"YES"') == "yes"
    assert isinstance(output_of(Literal["yes", "no"]).heard("yes and no"), Failure)


def test_what_is_nearly_right_is_mended_as_arguments_are() -> None:
    assert output_of(Trip).heard('{"city": "Rome", "days": "2"}') == {"city": "Rome", "days": 2}
    assert output_of(Trip).heard('{"city": "Rome", "days": null}') == {"city": "Rome"}
    assert output_of(list[int]).heard("1") == [1]
    heard = output_of(Node).heard('{"value": 1.0}')
    assert output_of(Node).typed(heard) == Node(1)


def test_every_error_is_told_with_its_place() -> None:
    output = output_of(list[Trip])
    failure = output.heard('[{"city": 1}, {"days": []}]')
    assert isinstance(failure, Failure)
    places = {each["pointer"] for each in failure.details["errors"]}
    assert places == {"/value/0/city", "/value/1", "/value/1/days"}
    assert "JSON Schema" not in output.correction(failure)
    words = output.heard("I do not know")
    assert isinstance(words, Failure)
    assert '"required":["value"]' in output.correction(words)


def test_of_many_errors_the_first_are_told() -> None:
    failure = output_of(list[int]).heard(json.dumps([[]] * 99))
    assert isinstance(failure, Failure)
    assert "and at least" in failure.message
    assert len(failure.details["errors"]) == 10


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [(Even, '{"number": 3}', "it has to be even"), (dt.date, '"2026-02-31"', "date")],
)
def test_what_only_the_type_knows_is_told_too(kind: Any, text: str, said: str) -> None:
    failure = output_of(kind).heard(text)
    assert isinstance(failure, Failure)
    assert said in failure.message


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#"}]}},
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/anyOf/0"}}]},
        {
            "$defs": {"n": {"type": "integer"}},
            "type": "array",
            "items": {"$ref": "#/$defs/n"},
            "default": {"$ref": "#"},
        },
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a/contains"}, "contains": {}}},
        },
    ],
)
def test_references_stay_right_in_what_a_schema_is_wrapped_in(schema: Json) -> None:
    output = output_of(schema)
    assert output.schema == schema
    assert output.told is not None
    assert list(output.told["properties"]) == ["value"]
    assert output.heard("[1]") == [1]
    assert output.heard('{"value": [1]}') == [1]


def test_an_object_is_told_without_a_reference_at_its_top() -> None:
    trip = output_of(Trip).told
    assert trip is not None
    assert "$defs" not in trip
    assert list(trip["properties"]) == ["city", "days"]
    node = output_of(Node).told
    assert node is not None
    assert list(node["$defs"]) == ["Node"]
    own = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
    assert output_of(own).told == own
    assert output_of(own).heard('{"value": 1}') == {"value": 1}


class Opaque:
    """A class that nobody can read."""


@pytest.mark.parametrize("kind", [Opaque, Opaque(), "Trip", 7, len, list[Opaque]])
def test_a_type_without_a_schema_is_refused_by_its_name(kind: Any) -> None:
    with pytest.raises(Misuse, match="which has no JSON Schema") as raised:
        output_of(kind)
    assert raised.value.failure.code == "invalid_call"
    with pytest.raises(Misuse, match="Opaque"):
        output_of(Opaque)


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"$ref": "#/$defs/gone"}, {"$ref": "#"}, {"type": 7}])
def test_a_schema_that_is_none_is_refused(schema: Json) -> None:
    with pytest.raises(Misuse, match="no usable JSON Schema"):
        output_of(schema)
    with pytest.raises(Misuse, match="is not JSON"):
        output_of({"const": object()})


@pytest.mark.parametrize("kind", [Any, list, list[list[Any]], dict[str, Any], {"type": "array"}], ids=str)
@pytest.mark.parametrize("levels", [99, 100, 101, 200, 900, 5_000])
def test_what_is_nested_too_deeply_is_a_failure(kind: Any, levels: int) -> None:
    text = '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1) if kind == dict[str, Any] else "[" * levels + "]" * levels
    heard = output_of(kind).heard(text)
    assert isinstance(heard, Failure) == (levels > 100)


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "[1e999]", f"1{'0' * 5_000}"])
def test_numbers_that_can_not_be_sent_on_are_a_failure(text: str) -> None:
    for kind in (Any, int, list[Any]):
        assert isinstance(output_of(kind).heard(text), Failure)
    assert output_of(int).heard("18446744073709551615") == 2**64 - 1


def test_a_type_is_looked_at_once() -> None:
    assert output_of(Trip) is output_of(Trip)
    assert output_of({"type": "integer"}) is output_of({"type": "integer"})
    assert output_of(Annotated[int, msgspec.Meta(ge=0, extra={"a": []})]).heard("1") == 1
    assert repr(output_of(Trip)).endswith("test_output.Trip>")
    assert repr(Output({"type": "object"})) == '<Output {"type":"object"}>'


def test_a_conversation_knows_the_types_of_its_schemas() -> None:
    outputs = Outputs(output_of(Trip), 5)
    default, asked, even = outputs.wanted(None), outputs.wanted({"type": "integer"}), output_of(Even)
    assert default is not None
    assert (default.output, default.left) == (output_of(Trip), 5)
    assert asked is not None
    assert asked.output.schema == {"type": "integer"}
    outputs.add(even)
    known = outputs.wanted(msgspec.json.decode(msgspec.json.encode(even.schema)))
    assert known is not None
    assert known.output is even
    for number in range(KEPT):
        outputs.wanted({"const": number})
    forgotten = outputs.wanted(even.schema)
    assert forgotten is not None
    assert forgotten.output is not even
    assert Outputs().wanted(None) is None
    assert CODES["invalid_output"].retryable is False
