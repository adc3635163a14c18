"""Leniency: what is mended and what is left alone; nothing is mended that was right, or into what does not fit."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.arguments import Checker, Understood
from toolwire.protocol.failures import Failure
from toolwire.protocol.leniency import Leniency, readings
from toolwire.protocol.tools import Mended

PLACE = {
    "type": "object",
    "properties": {"lat": {"type": "number"}},
    "required": ["lat"],
    "additionalProperties": False,
}
TEXT = {"type": "string"}
NULL = {"type": "null"}

MENDED: list[tuple[str, Any, Any, Any, str]] = [
    ("a number in quotes", {"type": "integer"}, "5", 5, "a number in quotes"),
    ("a negative one", {"type": "integer"}, "-5", -5, "a number in quotes"),
    ("with white space", {"type": "integer"}, " 5\n", 5, "a number in quotes"),
    ("a whole one, as a float", {"type": "integer"}, "5.0", 5.0, "a number in quotes"),
    ("a float", {"type": "number"}, "1.5e3", 1500.0, "a number in quotes"),
    ("the largest", {"type": "integer"}, "18446744073709551615", 2**64 - 1, "a number in quotes"),
    ("true", {"type": "boolean"}, "true", True, "true in quotes"),
    ("true, as Python writes it", {"type": "boolean"}, "True", True, "true in quotes"),
    ("false", {"type": "boolean"}, "false", False, "false in quotes"),
    ("null", {"type": ["integer", "null"]}, "null", None, "null in quotes"),
    ("one of two types", {"type": ["integer", "boolean"]}, "5", 5, "a number in quotes"),
    ("one value for a list", {"type": "array", "items": TEXT}, "a", ["a"], "one value in place of a list"),
    ("one object", {"type": "array", "items": PLACE}, {"lat": 1}, [{"lat": 1}], "one value in place of a list"),
    ("one value for any list", {"type": "array"}, 5, [5], "one value in place of a list"),
    ("an array as text", {"type": "array"}, "[1, 2]", [1, 2], "JSON text in place of an array"),
    ("an object as text", PLACE, '{"lat": 1}', {"lat": 1}, "JSON text in place of an object"),
    ("another case", {"enum": ["Red", "Green"]}, "RED", "Red", "a value in another case"),
    ("another case of the only one", {"const": "Red"}, "red", "Red", "a value in another case"),
    ("another case of a script", {"enum": ["STRASSE", "WEG"]}, "straße", "STRASSE", "a value in another case"),
    ("a number of an enum", {"enum": [1, 2]}, "2", 2, "a number in quotes"),
    ("true of an enum", {"enum": [True, 5]}, "true", True, "true in quotes"),
    ("a union", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "5", 5, "a number in quotes"),
    ("a union of the same", {"anyOf": [{"type": "integer"}, {"type": "number"}]}, "5", 5, "a number in quotes"),
    ("an object of a union", {"oneOf": [PLACE, NULL]}, '{"lat":1}', {"lat": 1}, "JSON text in place of an object"),
    ("a part of all", {"allOf": [{"type": "integer"}, {"minimum": 3}]}, "5", 5, "a number in quotes"),
    ("by a reference", {"$ref": "#/$defs/a%20b"}, "5", 5, "a number in quotes"),
]  # fmt: skip

LEFT: list[tuple[str, Any, Any]] = [
    ("a fraction for an integer", {"type": "integer"}, "5.5"),
    ("a number with its unit", {"type": "integer"}, "5 km"),
    ("a number with a comma", {"type": "number"}, "1,000"),
    ("a leading zero: it may be a code", {"type": "integer"}, "007"),
    ("hexadecimal", {"type": "integer"}, "0x10"),
    ("digits of another script", {"type": "integer"}, "\u0665"),
    ("a number that JSON can't carry", {"type": "integer"}, str(2**64)),
    ("a number out of all range", {"type": "number"}, "1e999"),
    ("an endless number", {"type": "integer"}, "9" * 5000),
    ("not a number", {"type": "number"}, "NaN"),
    ("yes for true", {"type": "boolean"}, "yes"),
    ("one for true", {"type": "boolean"}, 1),
    ("a number for a text", {"type": "string"}, 5),
    ("a text for null", {"type": "null"}, "None"),
    ("several values in one text", {"type": "array", "items": {"type": "string"}}, "a, b"),
    ("lines", {"type": "array", "items": {"type": "string"}}, "a\nb"),
    ("null for a list", {"type": "array"}, None),
    ("one value of another type for a list", {"type": "array", "items": {"type": "integer"}}, "x"),
    ("one value for a list of two", {"type": "array", "minItems": 2}, 5),
    ("an array as text, for an object", {"type": "object"}, "[1]"),
    ("an object as Python writes it", PLACE, "{'lat': 1}"),
    ("an enum cut short", {"enum": ["Red", "Green"]}, "R"),
    ("an enum that has both", {"enum": ["red", "RED"]}, "Red"),
    ("a union with two readings", {"anyOf": [
        {"type": "array", "items": {"type": "integer"}}, {"type": "array", "items": {"type": "string"}},
    ]}, "5"),
    ("a text that is right in a union", {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "boolean"}]}, 5),
    ("the keys of patterns", {
        "patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": {"type": "integer"},
    }, {"b": "5"}),
]  # fmt: skip


def inside(schema: Any) -> Any:
    return {"$defs": {"a b": {"type": "integer"}}, "type": "object", "properties": {"x": schema}, "required": ["x"]}


@pytest.mark.parametrize(
    ("value", "schema", "meant", "what"), [(m[2], m[1], m[3], m[4]) for m in MENDED], ids=[m[0] for m in MENDED]
)
def test_what_has_one_reading_is_mended_and_told(value: Any, schema: Any, meant: Any, what: str) -> None:
    checker, text = Checker(inside(schema)), json.dumps({"x": value})
    understood = checker.understand(text)
    assert isinstance(understood, Understood)
    assert json.loads(understood.text) == {"x": meant}
    assert type(json.loads(understood.text)["x"]) is type(meant)
    assert checker.judge(understood.text) is None
    assert [(m.pointer, m.what) for m in understood.mended] == [("/x", what)]
    assert json.loads(understood.mended[0].before) == value
    assert json.loads(understood.mended[0].after) == meant
    assert isinstance(checker.understand(text, lenient=False), Failure)


@pytest.mark.parametrize(("schema", "value"), [left[1:] for left in LEFT], ids=[left[0] for left in LEFT])
def test_what_has_none_or_two_is_left(schema: Any, value: Any) -> None:
    failure = Checker(inside(schema)).understand(json.dumps({"x": value}))
    assert isinstance(failure, Failure)
    assert failure.code == "invalid_arguments"


def test_null_for_what_may_be_left_out_is_left_out() -> None:
    schema = {
        "properties": {
            "x": {"type": "integer"},
            "y": {"type": ["integer", "null"]},
            "z": {"type": "integer"},
            "a~/b %": {"type": "string"},
        },
        "required": ["z"],
        "additionalProperties": False,
    }
    understood = Checker(schema).understand('{"x": null, "y": null, "z": 1, "a~/b %": null}')
    assert isinstance(understood, Understood)
    assert json.loads(understood.text) == {"y": None, "z": 1}
    assert understood.mended == (
        Mended("/x", "null for what may be left out", "null"),
        Mended("/a~0~1b %", "null for what may be left out", "null"),
    )
    assert str(understood.mended[0]) == "/x: null for what may be left out, null -> left out"
    assert isinstance(Checker(schema).understand('{"z": null}'), Failure)


def test_everything_deep_inside_is_mended_at_once() -> None:
    schema = {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"n": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
            }
        },
        "properties": {
            "tree": {"$ref": "#/$defs/tree"},
            "more": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"enum": ["A"]}],
                "items": {"type": "number"},
            },
        },
    }
    kids = '"[{\\"n\\": \\"3\\"}]"'
    tree = f'{{"n": "1", "kids": {{"n": "2", "kids": {kids}}}}}'
    text = f'{{"tree": {tree}, "more": {{"a": "true"}}, "pair": ["1", "a", "2"]}}'
    understood = Checker(schema).understand(text)
    assert isinstance(understood, Understood)
    assert json.loads(understood.text) == {
        "tree": {"n": 1, "kids": [{"n": 2, "kids": [{"n": 3}]}]}, "more": {"a": True}, "pair": [1, "A", 2],
    }  # fmt: skip
    assert [m.pointer for m in understood.mended] == [
        "/tree/n", "/tree/kids", "/tree/kids/0/n", "/tree/kids/0/kids", "/tree/kids/0/kids/0/n", "/more/a", "/pair/0",
        "/pair/1", "/pair/2",
    ]  # fmt: skip


def test_what_stays_wrong_is_told_without_what_could_be_mended() -> None:
    schema = {"properties": {"n": {"type": "integer"}, "place": PLACE, "m": {"type": "integer"}}}
    failure = Checker(schema).understand('{"n": "1", "place": "{\\"lat\\": \\"north\\"}", "m": "one"}')
    assert isinstance(failure, Failure)
    assert [error["pointer"] for error in failure.details["errors"]] == ["/place/lat", "/m"]


def test_too_much_is_not_mended() -> None:
    choice = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
    deep: Any = "x"
    for _ in range(20):
        deep = {"a": deep}
    nested = {
        "$defs": {"n": {"anyOf": [{**choice, "required": ["a"]}, {**choice, "required": ["b"]}]}},
        "properties": {"a": {"$ref": "#/$defs/n"}},
    }
    many = {"properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}}
    wide = {"properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    for schema, value in ((nested, deep), (many, {"a": ["5"] * 100_000}), (wide, {"a": ["5"] * 100_000})):
        checker, text = Checker(schema), json.dumps(value)
        began = time.perf_counter()
        assert isinstance(checker.understand(text), Failure)
        assert time.perf_counter() - began < 2.0, "0.2 s where it was written"


@pytest.mark.parametrize("text", ["{", "[1,", "{]", '{"a": 1}x', "[" * 5000, '"a"', "", "x"])
def test_a_text_that_is_nothing_else_has_no_readings(text: str) -> None:
    assert list(readings(text)) == []


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from([0.5, 1.0, "", "a", "A", "1", "true", "null", "[1]", '{"a":"1"}', "a,b"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": kinds | st.lists(kinds, min_size=1, max_size=2, unique=True),
        "enum": st.lists(scalars, min_size=1, max_size=3),
        "minItems": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
    },
)
schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries({}, optional={
        "type": kinds, "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        "required": st.lists(st.sampled_from("ab"), max_size=1), "additionalProperties": st.booleans() | inner,
        "items": inner, "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=3), "allOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
    }),
    max_leaves=6,
)  # fmt: skip


@given(schemas, st.dictionaries(st.sampled_from("ab"), values, max_size=2))
def test_what_is_understood_fits_and_what_fits_is_never_touched(schema: Any, value: dict[str, Any]) -> None:
    checker, text = Checker(schema), json.dumps(value)
    understood = checker.understand(text)
    if understood is None:
        assert checker.judge(text) is None
    elif isinstance(understood, Understood):
        assert checker.judge(text) is not None
        assert checker.judge(understood.text) is None
        assert understood.mended
        assert checker.understand(understood.text) is None
    else:
        assert checker.judge(text) is not None
        assert understood.details["errors"]


@given(schemas, values)
def test_mending_twice_is_mending_once(schema: Any, value: Any) -> None:
    once = Leniency(schema).mend(value, 100)
    if Checker(schema).check(once.value) == ():
        assert Leniency(schema).mend(once.value, 100).value == once.value
