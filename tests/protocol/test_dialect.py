"""Dialects of schemas, and all that the Berkeley leaderboard's functions and calls ask of them and of the formats."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.arguments import Checker
from toolwire.protocol.dialect import TYPES, normalised
from toolwire.protocol.formats.contract import Format
from toolwire.protocol.spoken import FORMATS, format_named
from toolwire.protocol.tools import ToolCall, ToolSpec

SAMPLE = Path(__file__).parents[1] / "data" / "bfcl_functions"
ALL = Path(__file__).parents[3] / "shared" / "data" / "bfcl"
"""Everything, where a copy of it lies beside the repository."""

WHOLE = pytest.param("all", marks=pytest.mark.skipif(not ALL.exists(), reason="only a sample is here"))
everything = pytest.mark.parametrize("size", ["sample", WHOLE])


@cache
def functions(size: str) -> dict[str, Any]:
    folder = SAMPLE if size == "sample" else ALL
    read: dict[str, Any] = json.loads((folder / "functions.json").read_text(encoding="utf-8"))
    return read


@cache
def calls(size: str) -> list[Any]:
    path = SAMPLE / "calls.jsonl" if size == "sample" else ALL / "gold_calls.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@cache
def specs(size: str) -> dict[str, ToolSpec]:
    documents = functions(size).items()
    return {id_: ToolSpec(d["name"], d["description"], normalised(d["parameters"]).schema) for id_, d in documents}


@everything
def test_every_document_loads(size: str) -> None:
    assert len(functions(size)) == (106 if size == "sample" else 3_258)
    for document in functions(size).values():
        before = copy.deepcopy(document["parameters"])
        schema, changes = normalised(document["parameters"])
        assert document["parameters"] == before
        assert changes  # every one of them is in a dialect: its `type` is "dict"
        Checker(schema)
        assert normalised(schema) == (schema, ())


@pytest.mark.skipif(not ALL.exists(), reason="only a sample is here")
def test_all_are_normalised_as_the_data_says() -> None:
    expected = json.loads((ALL / "functions_normalised.json").read_text(encoding="utf-8"))
    assert {id_: spec.parameters for id_, spec in specs("all").items()} == {
        id_: document["parameters"] for id_, document in expected.items()
    }


@everything
def test_every_call_is_judged_as_the_data_says(size: str) -> None:
    checkers = {id_: Checker(spec.parameters) for id_, spec in specs(size).items()}
    assert len(calls(size)) == (252 if size == "sample" else 2_306)
    wrong = [call["id"] for call in calls(size) if bool(checkers[call["fid"]].check(call["args"])) == call["valid"]]
    assert wrong == []
    assert {call["valid"] for call in calls(size)} == {True, False}


@everything
@pytest.mark.parametrize("name", FORMATS)
def test_every_document_and_call_comes_back(size: str, name: str) -> None:
    format_: Format = format_named(name)
    offered = specs(size)
    back = format_.names.back(offered.values())
    for spec in offered.values():
        assert format_.tool_from(json.loads(json.dumps(format_.tool_to(spec))), back) == spec
    for number, each in enumerate(calls(size)):
        call = ToolCall(f"call_{number}", each["name"], json.dumps(each["args"], ensure_ascii=False))
        heard = format_.call_from(json.loads(json.dumps(format_.call_to(call))), back)
        assert (heard.id, heard.name, json.loads(heard.text())) == (call.id, call.name, each["args"])


@pytest.mark.parametrize("name", FORMATS)
def test_names_of_all_documents_are_taken_and_none_is_taken_for_another(name: str) -> None:
    format_: Format = format_named(name)
    ours = {spec.name for spec in specs("sample").values()}
    theirs = {format_.names.told(each) for each in ours}
    assert len(theirs) == len(ours)
    assert all(format_.names.name.fullmatch(each) for each in theirs)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "dict"}, {"type": "object"}),
        ({"type": "Float"}, {"type": "number"}),
        ({"type": "any", "description": "x"}, {"description": "x"}),
        ({"type": ["str", "None"]}, {"type": ["string", "null"]}),
        ({"type": ["float", "number"]}, {"type": ["number"]}),
        ({"type": ["dict", "any"]}, {}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        (
            {"items": [{"type": "int"}], "additionalItems": False},
            {"prefixItems": [{"type": "integer"}], "items": False},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        (
            {"properties": {"a": {"type": "string", "required": True}, "b": {"required": False}}},
            {"properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]},
        ),
        (
            {"required": ["b"], "properties": {"a": {"required": True}, "b": {}}},
            {"required": ["b", "a"], "properties": {"a": {}, "b": {}}},
        ),
        ({"properties": {}, "required": None}, {"properties": {}}),
        ({"anyOf": [{"type": "dict"}]}, {"anyOf": [{"type": "object"}]}),
        ({"$defs": {"d": {"type": "int"}}}, {"$defs": {"d": {"type": "integer"}}}),
    ],
)
def test_dialects(schema: Any, expected: Any) -> None:
    found = normalised(schema)
    assert found.schema == expected
    assert found.changes
    assert normalised(expected).changes == ()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"type": {"type": "string"}, "optional": {"type": "integer"}}},
        {"properties": {"nullable": {"type": "boolean"}, "required": {"type": "string"}}, "required": ["required"]},
        {"enum": ["dict", "float"], "default": {"type": "dict"}},
        {"type": "gizmo"},
        {"type": 7},
        {"items": True, "additionalProperties": False},
    ],
)
def test_what_is_no_dialect_is_left_alone(schema: Any) -> None:
    found = normalised(schema)
    assert found.schema is schema
    assert found.changes == ()


def test_changes_say_where_and_what() -> None:
    schema = {"type": "dict", "properties": {"a": {"type": "any"}}}
    assert normalised(schema).changes == (
        "/: the type 'dict' is 'object'",
        "/properties/a: the type 'any' is no type, which allows any",
    )


@given(st.recursive(
    st.fixed_dictionaries({}, optional={"type": st.sampled_from([*TYPES, "any"]), "nullable": st.booleans()}),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"items": inner, "properties": st.dictionaries(st.text(max_size=3), inner, max_size=2)}
    ),
))  # fmt: skip
def test_what_is_normalised_stays_so_and_is_a_schema(schema: Any) -> None:
    once = normalised(schema).schema
    assert normalised(once) == (once, ())
    Checker(once)
