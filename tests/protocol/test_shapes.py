from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from toolwire.protocol.references import BrokenReference, parse, resolve
from toolwire.protocol.shapes import ANYTHING, ARRAY, OBJECT, SCALAR, at, index, kind_of, meets

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
LOOP: dict[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "path", "kinds"),
    [
        ({}, "/a/b", ANYTHING),
        (True, "/a", ANYTHING),
        (False, "", 0),
        ({"type": "string"}, "", SCALAR),
        ({"type": "string"}, "/a", 0),
        ({"type": ["array", "null"]}, "", ARRAY | SCALAR),
        ({"type": "any"}, "/a", ANYTHING),
        ({"type": ["any"]}, "", ANYTHING),
        (CLOSED, "/a", SCALAR),
        (CLOSED, "/b", 0),
        (CLOSED, "/a/b", 0),
        (CLOSED, "/0", 0),
        ({"properties": {"a": CLOSED}, "additionalProperties": False}, "/b", 0),
        ({"properties": {"a": CLOSED}, "additionalProperties": False}, "/0", ANYTHING),  # it may be a list
        ({"type": "object", "properties": {"a": CLOSED}}, "/b/c", ANYTHING),
        ({"type": "object", "additionalProperties": CLOSED}, "/x/b", 0),
        ({"type": "object", "patternProperties": {"^x": True}, "additionalProperties": False}, "/b", ANYTHING),
        ({"type": "array", "items": CLOSED}, "/7/a", SCALAR),
        ({"type": "array", "items": CLOSED}, "/7/b", 0),
        ({"type": "array", "items": CLOSED}, "/-", 0),
        ({"type": "array", "items": CLOSED}, "/07", 0),
        ({"type": "array", "prefixItems": [CLOSED], "items": False}, "/0/a", SCALAR),
        ({"type": "array", "prefixItems": [CLOSED], "items": False}, "/1", 0),
        ({"type": "array", "maxItems": 2}, "/2", 0),
        ({"allOf": [True, CLOSED]}, "/b", 0),
        ({"anyOf": [CLOSED, {"type": "null"}]}, "/b", 0),
        ({"anyOf": [CLOSED, {"type": "object"}]}, "/b", ANYTHING),
        ({"oneOf": [CLOSED, {"type": "array"}]}, "/1", ANYTHING),
        ({"const": {"a": 1}}, "", OBJECT),
        ({"enum": ["a", None, [1]]}, "", SCALAR | ARRAY),
        ({"if": {"type": "object"}, "then": False, "not": True}, "/a", ANYTHING),
        (LOOP, "/next/next/next", OBJECT | SCALAR),
        (LOOP, "/next/next/other", 0),
        (LOOP, "/next" * 500, ANYTHING),
        ({"$ref": "#"}, "/a", ANYTHING),
        ({"$ref": "https://example.com/other"}, "/a", ANYTHING),
        ({"$ref": "#anchor"}, "/a", ANYTHING),
        ({"$ref": "#/$defs/none"}, "/a", ANYTHING),
        ({"$ref": "#/allOf/1", "allOf": [True, CLOSED]}, "/b", 0),
        ({"$ref": "#/$defs/a%20b~1c", "$defs": {"a b/c": CLOSED}}, "/b", 0),
        ({"properties": {"a": {"$id": "x", "type": "string"}}}, "/a", ANYTHING),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"$id": "x", "type": "string"}}}, "", ANYTHING),
    ],
)
def test_what_may_stand_at_a_place(schema: object, path: str, kinds: int) -> None:
    assert at(schema, parse(path)) == kinds


def test_schemas_that_branch_into_themselves_are_answered() -> None:
    node: dict[str, Any] = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}], "additionalProperties": {"$ref": "#"}}
    assert at(node, ["a"] * 10_000) == ANYTHING


@pytest.mark.parametrize(
    ("given", "asked", "possible"),
    [
        (SCALAR, OBJECT, True),
        (SCALAR, ARRAY, True),
        (OBJECT, SCALAR, False),
        (OBJECT, ARRAY, True),
        (ARRAY, OBJECT, False),
        (ARRAY, SCALAR, False),
        (ARRAY | SCALAR, OBJECT, True),
        (ARRAY | OBJECT, SCALAR, False),
        (ARRAY, ARRAY | SCALAR, True),
        (ANYTHING, ANYTHING, True),
    ],
)
def test_which_kinds_meet(given: int, asked: int, possible: bool) -> None:  # noqa: FBT001 - a column of the table
    assert meets(given, asked) is possible


@pytest.mark.parametrize(("step", "place"), [("0", 0), ("10", 10), ("01", None), ("-", None), ("", None), ("٣", None)])
def test_which_steps_are_places(step: str, place: int | None) -> None:
    assert index(step) == place


def test_a_place_of_thousands_of_digits_is_beyond_every_list() -> None:
    assert (index("9" * 5000) or 0) > 10**15


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.recursive(
    st.booleans()
    | st.sampled_from(["null", "integer", "string", "array", "object"]).map(lambda kind: {"type": kind})
    | VALUES.map(lambda value: {"const": value})
    | st.sampled_from([{"$ref": "#"}, {"$ref": "#/$defs/x"}, {"type": ["object", "array"]}, {"maxItems": 1}]),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["array", "object"]),
            "properties": st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=2),
            "additionalProperties": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "items": inner,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)


@given(SCHEMAS, SCHEMAS, VALUES, st.lists(st.sampled_from(["a", "b", "0", "1"]), max_size=3))
def test_it_never_rules_out_what_fits(schema: Any, inner: Any, value: Any, steps: list[str]) -> None:
    if isinstance(schema, dict):
        schema = {**schema, "$defs": {"x": inner}}
    try:
        there = resolve(value, "".join(f"/{step}" for step in steps))
        fits = Draft202012Validator(schema).is_valid(value)
    except (BrokenReference, RecursionError):  # no such place; a schema that is nothing but a reference to itself
        return
    assert not fits or at(schema, steps) & kind_of(there)
