import json
from typing import Any

import pytest

from toolwire.protocol.arguments import Checker
from toolwire.protocol.formats import strict
from toolwire.protocol.referring import INSTRUCTION, REFERENCE, instructed, referring
from toolwire.protocol.spoken import FORMATS
from toolwire.protocol.tools import ToolSpec

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "count": {"$ref": "#/$defs/count"}},
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {"count": {"type": "integer"}},
}
SPEC = ToolSpec("read", "Read a file.", PARAMETERS)


def test_each_parameter_is_what_it_was_or_a_reference() -> None:
    offered = referring(SPEC)
    checker = Checker(offered.parameters)
    for path in ("a", {"$result": 1, "path": ""}):
        for count in (3, {"$result": 2, "path": "/n"}):
            assert checker.judge(json.dumps({"path": path, "count": count})) is None
    for wrong in ({"$result": 1}, {"$result": "a", "path": ""}, {"$result": 1, "path": "", "x": 1}, 3):
        assert checker.judge(json.dumps({"path": wrong})) is not None
    assert offered.parameters["required"] == ["path"]
    assert SPEC.parameters["properties"]["path"] == {"type": "string"}


def test_a_definition_of_the_tool_keeps_its_name() -> None:
    spec = ToolSpec("read", parameters={**PARAMETERS, "$defs": {**PARAMETERS["$defs"], "reference": {"type": "null"}}})
    offered = referring(spec).parameters
    assert offered["$defs"]["reference"] == {"type": "null"}
    assert offered["$defs"]["reference_"] == REFERENCE
    assert offered["properties"]["path"]["anyOf"][1] == {"$ref": "#/$defs/reference_"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}}},
        {"$id": "https://example.org/x", "properties": {"a": {"type": "string"}}},
    ],
)
def test_what_has_no_parameters_or_points_into_them_is_offered_as_it_is(parameters: dict[str, Any]) -> None:
    spec = ToolSpec("odd", parameters=parameters)
    assert referring(spec) is spec


@pytest.mark.parametrize("rules", [strict.OPENAI, strict.ANTHROPIC, strict.GEMINI])
def test_what_fits_a_strict_mode_still_fits_it(rules: strict.Rules) -> None:
    assert strict.strict(referring(SPEC).parameters, rules).schema is not None


@pytest.mark.parametrize("name", FORMATS)
def test_it_can_be_told_in_every_format(name: str) -> None:
    assert "$result" in json.dumps(getattr(referring(SPEC), f"to_{name}")())


def test_the_instruction_is_added_once() -> None:
    assert instructed("") == INSTRUCTION
    assert instructed("Be kind.") == f"Be kind.\n\n{INSTRUCTION}"
    assert instructed(instructed("Be kind.")) == instructed("Be kind.")
    assert len(INSTRUCTION) < 400
