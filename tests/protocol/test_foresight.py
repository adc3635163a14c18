import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.arguments import Checker
from toolwire.protocol.foresight import Foresight
from toolwire.protocol.references import Reference, find, substitute

REF = {"$result": 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "count": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "where": {
            "anyOf": [{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["y"]}, {"const": 1}]
        },
        "deep": {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["a"],
        },
        "one": {"enum": ["a", {"a": 1}]},
    },
    "required": ["path"],
    "additionalProperties": False,
}


def foreseen(arguments: dict[str, Any], schema: dict[str, Any] = SCHEMA, *, lenient: bool = False) -> str:
    failure = Foresight(Checker(schema)).foresee(arguments, find(arguments, ids=True), lenient=lenient)
    return "" if failure is None else failure.message


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": REF},
        {"path": "a", "count": REF},
        {"path": "a", "tags": ["b", REF, "b"]},
        {"path": "a", "tags": [REF, REF]},
        {"path": "a", "where": {"x": REF}},
        {"path": "a", "where": {"x": "no", "y": REF}},
        {"path": "a", "one": {"a": REF}},
        {"path": REF, "deep": {"a": REF, "b": 1}},
    ],
)
def test_what_stands_at_a_reference_or_is_weighed_with_it_does_not_count(arguments: dict[str, Any]) -> None:
    assert foreseen(arguments) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"path": REF, "count": "three"}, '/count: expected an integer, got "three"'),
        ({"count": REF}, 'the required key "path"'),
        ({"path": REF, "other": 1}, "/other: expected no key"),
        ({"path": "a", "other": REF}, "/other: expected no key"),
        ({"path": 1, "tags": ["b", REF]}, "/path: expected"),
        ({"path": "a", "tags": [REF, 2]}, "/tags/1: expected"),
        ({"path": "a", "deep": {"b": REF}}, 'the required key "a"'),
        ({"path": REF, "where": 2}, "/where"),
        ({"path": REF, "one": "b"}, "/one"),
        ({"path": REF, "count": "x", "tags": {}}, "\n- /tags"),
    ],
)
def test_what_is_wrong_beside_a_reference_is_said_at_once(arguments: dict[str, Any], said: str) -> None:
    assert said in foreseen(arguments)


def test_what_would_be_mended_is_not_wrong() -> None:
    assert foreseen({"path": REF, "count": "3"})
    assert foreseen({"path": REF, "count": "3"}, lenient=True) == ""
    assert foreseen({"path": "a", "count": "3", "tags": REF}, lenient=True) == ""
    assert "/count" in foreseen({"path": REF, "count": "x"}, lenient=True)


def test_what_counts_only_for_some_values_does_not_count() -> None:
    schema = {
        "type": "object",
        "if": {"properties": {"a": {"const": 1}}},
        "then": {"required": ["b"]},
        "else": {"required": ["c"]},
        "allOf": [{"properties": {"d": {"type": "string"}}}],
    }
    assert foreseen({"a": REF}, schema) == ""
    assert "/d" in foreseen({"a": REF, "d": 1}, schema)


def test_secrets_beside_a_reference_are_not_shown() -> None:
    schema = {"properties": {"key": {"type": "string", "maxLength": 2, "writeOnly": True}, "path": {"type": "string"}}}
    said = foreseen({"key": "hush-hush", "path": REF}, schema)
    assert "/key" in said
    assert "hush-hush" not in said


VALUES = st.sampled_from(["a", "3", 3, None, True, ["a"], ["a", "a"], {"x": 1}, {"y": 1}, {"a": "b"}, {"a": 1}, [], {}])
PLACES = st.sampled_from([*SCHEMA["properties"], "other"])
NESTED = VALUES | st.just(REF) | st.lists(VALUES | st.just(REF), max_size=2) | st.dictionaries(
    st.sampled_from("abxy"), VALUES | st.just(REF), max_size=2
)  # fmt: skip


@given(st.dictionaries(PLACES, NESTED, max_size=4), VALUES, st.booleans())
def test_no_call_is_refused_that_could_be_right(arguments: dict[str, Any], value: Any, lenient: bool) -> None:  # noqa: FBT001 - drawn
    def filled(_: Reference) -> object:
        return value

    checker = Checker(SCHEMA)
    text = json.dumps(substitute(arguments, filled, ids=True))
    if checker.understand(text, lenient=lenient) is None:
        assert foreseen(arguments, lenient=lenient) == ""
