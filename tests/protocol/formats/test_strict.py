"""Strict modes: what is written lets pass nothing that the schema refuses, is what the mode takes, or is refused."""

import copy
from typing import Any

import jsonschema
import pytest
from anthropic.lib._parse._transform import transform_schema
from hypothesis import assume, given
from hypothesis import strategies as st
from openai.lib._pydantic import _ensure_strict_json_schema

from toolwire.protocol.formats.fillers import without_fillers
from toolwire.protocol.formats.strict import ANTHROPIC, GEMINI, OPENAI, Rules, strict

ALL = {"openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI}
names = st.sampled_from(["a", "b", "c"])
scalars = st.sampled_from([
    {"type": "string"},
    {"type": "string", "description": "what"},
    {"type": "integer"},
    {"type": "boolean"},
    {"type": ["string", "null"]},
    {"enum": ["x", "y"]},
    {"enum": [1, None], "default": 1},
    {"const": 2},
    {"$ref": "#/$defs/d"},
    {"$ref": "#/$defs/d", "description": "that one"},
])  # fmt: skip


def objects_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(properties: dict[str, Any], required: list[str]) -> Any:
        return {"type": "object", "properties": properties, "required": [n for n in required if n in properties]}

    return st.builds(made, st.dictionaries(names, values, max_size=3), st.lists(names, unique=True))


schemas = st.recursive(
    scalars,
    lambda inner: (
        objects_of(inner)
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=5,
)
tools = objects_of(schemas).map(lambda schema: {**schema, "$defs": {"d": {"type": "number"}}})


def instances(schema: Any, root: Any) -> st.SearchStrategy[Any]:
    """Values that fit a schema in its strict form."""
    if "$ref" in schema:
        return instances(root["$defs"]["d"], root)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([instances(part, root) for part in schema["anyOf"]])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([instance(kind, schema, root) for kind in kinds])


def instance(kind: str, schema: Any, root: Any) -> st.SearchStrategy[Any]:
    if kind == "object":
        entries = {name: instances(part, root) for name, part in schema["properties"].items()}
        must = set(schema["required"])
        optional = {name: each for name, each in entries.items() if name not in must}
        return st.fixed_dictionaries({name: entries[name] for name in must}, optional=optional)
    if kind == "array":
        return st.lists(instances(schema["items"], root), max_size=2)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(max_size=3),
        "integer": st.integers(-3, 3),
        "number": st.floats(-3, 3),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return simple[kind]


@pytest.mark.parametrize("rules", ALL.values(), ids=ALL)
@given(schema=tools, data=st.data())
def test_what_the_strict_form_lets_pass_fits_the_schema(rules: Rules, schema: Any, data: st.DataObject) -> None:
    before = copy.deepcopy(schema)
    found = strict(schema, rules)
    assert schema == before
    assert (found.schema is None) == bool(found.reason)
    if found.schema is None or found.loosened:
        return
    value = data.draw(instances(found.schema, found.schema))
    jsonschema.validate(value, found.schema)
    # Alternatives that have the same keys and tell nothing else apart can't be told by a null.
    assume(not _ambiguous(schema))
    jsonschema.validate(without_fillers(value, schema), schema)


def _ambiguous(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "anyOf" in schema or any(map(_ambiguous, schema.values()))
    return isinstance(schema, list) and any(map(_ambiguous, schema))


@given(tools)
def test_the_sdk_of_openai_finds_nothing_to_mend(schema: Any) -> None:
    found = strict(schema, OPENAI).schema
    if found is not None:
        mended = _ensure_strict_json_schema(copy.deepcopy(found), path=(), root=copy.deepcopy(found))
        assert mended == found


@given(tools)
def test_the_sdk_of_anthropic_finds_nothing_to_mend(schema: Any) -> None:
    found = strict(schema, ANTHROPIC).schema
    if found is not None:
        assert transform_schema(copy.deepcopy(found)) == found


def tool(**properties: Any) -> Any:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object", "additionalProperties": True}, "at the top: an object with keys that are not named"),
        (tool(a={"type": "object"}), "at /properties/a: an object with keys that are not named"),
        (tool(a={"type": "object", "additionalProperties": {"type": "string"}}), "keys that are not named"),
        (tool(a={}), "at /properties/a: it has to say a type"),
        (tool(a=True), "at /properties/a: true is no description"),
        (tool(a={"type": "array"}), "at /properties/a: an array has to say what its items are"),
        (tool(a={"type": "array", "prefixItems": [{}]}), "it has no prefixItems"),
        (tool(a={"not": {"type": "string"}}), "it has no not"),
        (tool(a={"enum": [[]]}), "an enum has to list"),
        (tool(a={"enum": []}), "an enum has to list"),
        (tool(a={"$ref": "#/properties/b"}), "only $defs can be referred to"),
        (tool(a={"$ref": "https://x.y/z"}), "only $defs can be referred to"),
        (tool(a={"type": "string", "anyOf": [{"type": "string"}]}), "type can't stand beside anyOf"),
        ({"type": "object", "required": ["a"]}, "'a' is required, but has no schema"),
        ({"anyOf": [{"type": "object"}]}, "alternatives"),
        ({"type": "array"}, "at the top: it has to be an object"),
        ({"type": "object", "patternProperties": {"a": {}}}, "at the top: it has no patternProperties"),
    ],
)
def test_why_there_is_no_strict_form(schema: Any, reason: str) -> None:
    for rules in (OPENAI, ANTHROPIC):
        found = strict(schema, rules)
        assert found.schema is None
        assert reason in found.reason


def test_what_is_left_out_is_null_for_openai() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "units": {"enum": ["c", "f"], "default": "c", "description": "Which."},
            "days": {"type": "integer", "minimum": 1},
            "place": {"$ref": "#/$defs/p"},
        },
        "required": ["city"],
        "$defs": {"p": {"type": "object", "properties": {"lat": {"type": "number"}}}},
    }
    assert strict(schema, OPENAI) == (
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "units": {
                    "anyOf": [{"type": "string", "enum": ["c", "f"]}, {"type": "null"}],
                    "description": 'Which.\n\n{default: "c"}',
                },
                "days": {"type": ["integer", "null"], "minimum": 1},
                "place": {"anyOf": [{"$ref": "#/$defs/p"}, {"type": "null"}]},
            },
            "required": ["city", "units", "days", "place"],
            "additionalProperties": False,
            "$defs": {
                "p": {
                    "type": "object",
                    "properties": {"lat": {"type": ["number", "null"]}},
                    "required": ["lat"],
                    "additionalProperties": False,
                }
            },
        },
        "",
        (),
    )
    told = {"city": "Paris", "units": None, "days": None, "place": {"lat": None}}
    assert without_fillers(told, schema) == {"city": "Paris", "place": {}}


def test_wishes_without_a_keyword_are_told_in_words() -> None:
    found = strict(tool(a={"type": "string", "minLength": 2, "description": "A name."}), OPENAI)
    assert found.schema is not None
    assert found.schema["properties"]["a"] == {"type": "string", "description": "A name.\n\n{minLength: 2}"}
    assert found.loosened == ("/properties/a/minLength",)
    kept = strict(tool(a={"type": "integer", "minimum": 2}, b={"type": "string", "format": "uri"}), ANTHROPIC)
    assert kept.loosened == ("/properties/a/minimum",)


def test_recursion_is_for_those_that_take_it() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": []}
    schema = {**tool(a={"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    found = strict(schema, OPENAI).schema
    assert found is not None
    assert found["$defs"]["node"]["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/node"}
    assert "#/$defs/node leads back to itself" in strict(schema, ANTHROPIC).reason


def test_limits_of_size() -> None:
    deep: Any = {"type": "string"}
    for _ in range(12):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    assert "more than 10 levels deep" in strict(deep, OPENAI).reason
    assert strict(deep, ANTHROPIC).schema is not None
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(25)}}
    assert strict(wide, ANTHROPIC).reason == "it has more than 24 optional properties"
    assert strict(wide, OPENAI).schema is not None
    many = tool(a={"enum": [str(n) for n in range(1_001)]})
    assert strict(many, OPENAI).reason == "it has more than 1000 values of enums"
    endless: Any = {"type": "string"}
    for _ in range(3_000):
        endless = {"anyOf": [endless]}
    assert strict(tool(a=endless), OPENAI).reason == "it is nested too deeply"


def test_fillers_go_only_where_null_is_not_meant() -> None:
    schema = {
        "type": "object",
        "properties": {
            "must": {"type": "string"},
            "may": {"type": ["string", "null"]},
            "any": {},
            "listed": {"enum": [1, None]},
            "one": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "not": {"type": "string"},
            "rows": {"type": "array", "items": {"type": "object", "properties": {"x": {"const": 1}}}},
        },
        "required": ["must"],
    }
    told = dict.fromkeys(["must", "may", "any", "listed", "one", "not", "strange"])
    kept = {name: None for name in told if name != "not"}
    assert without_fillers({**told, "rows": [{"x": None}, {"x": 1}]}, schema) == {**kept, "rows": [{}, {"x": 1}]}


def test_fillers_within_alternatives_go_by_the_keys_and_what_is_told_apart() -> None:
    def kind(name: str, **more: Any) -> Any:
        return {"type": "object", "properties": {"kind": {"const": name}, "x": {**more}}, "required": ["kind"]}

    schema = tool(a={"anyOf": [kind("one", type="string"), kind("two", type=["string", "null"])]})
    assert without_fillers({"a": {"kind": "one", "x": None}}, schema) == {"a": {"kind": "one"}}
    assert without_fillers({"a": {"kind": "two", "x": None}}, schema) == {"a": {"kind": "two", "x": None}}
