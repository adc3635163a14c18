"""How a model learns that an argument may be the result of another call: what its tools say, and one instruction."""

from typing import Any, Final

from msgspec.structs import replace

from .tools import ToolSpec, encode_json

INSTRUCTION: Final = (
    "Calls of one response may build on each other. In place of any argument, write "
    '{"$result": n, "path": p} to pass on the result of the n-th call of the same response (n counts from 1, only '
    'earlier calls); p is a JSON Pointer into it: "/items/0/id" for a part, "" for all of it. '
    "So make calls that need each other together, instead of one after the other."
)
"""What is added to the system prompt."""

REFERENCE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"$result": {"type": "integer"}, "path": {"type": "string"}},
    "required": ["$result", "path"],
    "additionalProperties": False,
}
"""A reference, as tools that are offered to a model describe it. In strict modes both keys have to be there."""

_INWARD: Final = (b'"#/properties/', b'"$dynamicRef"', b'"$id"')
"""In a schema with one of these a property can't be moved."""


def referring(spec: ToolSpec) -> ToolSpec:
    """`spec` as it is offered: each of its parameters is what it was, or a reference.

    One whose schema points into its own parameters is offered as it is: references are taken from it all the same.
    """
    properties = spec.parameters.get("properties")
    if not properties or not isinstance(properties, dict):
        return spec
    written = encode_json(spec.parameters)
    if any(word in written for word in _INWARD):
        return spec
    definitions = spec.parameters.get("$defs", {})
    name = "reference"
    while name in definitions:
        name += "_"
    either = {"$ref": f"#/$defs/{name}"}
    parameters = {
        **spec.parameters,
        "properties": {key: {"anyOf": [schema, either]} for key, schema in properties.items()},
        "$defs": {**definitions, name: REFERENCE},
    }
    return replace(spec, parameters=parameters)


def instructed(system: str) -> str:
    """A system prompt with the instruction, once."""
    if INSTRUCTION in system:
        return system
    return f"{system}\n\n{INSTRUCTION}" if system else INSTRUCTION
