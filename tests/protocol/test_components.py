"""Schemas that share definitions: what stand-ins and pydantic bring along finds a place beside msgspec's own."""

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import Struct
from pydantic import BaseModel

from toolwire.protocol.annotations import readable
from toolwire.protocol.arguments import Checker
from toolwire.protocol.components import _renamed, components


class Node(BaseModel):
    value: int
    next: "Node | None" = None


def other(bases: tuple[type, ...], kind: Any) -> Any:
    """Another class called Node."""
    return type("Node", bases, {"__annotations__": {"text": kind}, "__module__": __name__, "__qualname__": "Node"})


@dataclass
class Leaf:
    x: int


def schema_of(*kinds: Any) -> dict[str, Any]:
    nodes, definitions = components(list(map(readable, kinds)))
    return {"properties": {str(n): node for n, node in enumerate(nodes)}, "$defs": definitions}


def test_a_model_stands_once_under_its_name() -> None:
    schema = schema_of(Node, list[Node], Node | Leaf)
    assert list(schema["$defs"]) == ["Node", "Leaf"]
    Checker(schema)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bases", [(BaseModel,), (Struct,)], ids=["pydantic", "msgspec"])
def test_two_of_one_name_are_kept_apart(bases: tuple[type, ...], first: bool) -> None:  # noqa: FBT001
    kinds = (Node, other(bases, str))
    schema = schema_of(*(kinds if first else kinds[::-1]))
    assert len(schema["$defs"]) == 2
    at = "0" if first else "1"
    checker = Checker(schema)
    linked = {"value": 1, "next": {"value": 2}}
    assert checker.check({at: linked, str(1 - int(at)): {"text": "a"}}) == ()
    assert checker.check({at: {"value": 1, "next": {"value": "x"}}}) != ()
    assert checker.check({str(1 - int(at)): {"text": 1}}) != ()


def test_what_is_given_may_differ_from_what_is_taken() -> None:
    (taken,), of_input = components([Node])
    (given,), of_output = components([Node], output=True)
    assert taken == given == {"$ref": "#/$defs/Node"}
    assert of_input["Node"]["required"] == ["value"]
    assert of_output["Node"]["required"] == ["value"]


def test_only_references_are_renamed() -> None:
    changed = {"#/$defs/A": "#/$defs/A_2"}
    here, there = {"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A_2"}
    schema = {
        "properties": {"default": here, "$ref": here},
        "anyOf": [here, {"$ref": "#/$defs/B"}],
        "discriminator": {"propertyName": "kind", "mapping": {"a": "#/$defs/A"}},
        "default": here,
        "enum": [here],
    }
    assert _renamed(schema, changed) == {
        "properties": {"default": there, "$ref": there},
        "anyOf": [there, {"$ref": "#/$defs/B"}],
        "discriminator": {"propertyName": "kind", "mapping": {"a": "#/$defs/A_2"}},
        "default": here,
        "enum": [here],
    }
