"""Schemas that would make a validator run in circles, or for ages, on any value at all."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

HEAVIEST = 10_000
"""Subschemas that may have to be looked at for one place of a value. Doubling by `$ref` reaches it in 13 steps."""

DATA = frozenset({"const", "default", "enum", "examples"})
IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
IN_PLACE = ("not", "if", "then", "else")


def unsound(schema: object) -> str:
    """Why `schema` must not be used: it comes back to itself at one place of a value, or unfolds too far there.

    Empty if it may. References that are no JSON Pointer into the document (`#/…`) are not followed.
    """
    if not isinstance(schema, dict):
        return "a schema of arguments is an object"
    walk = _Walk(schema)
    try:
        for node in _subschemas(schema):
            if walk.weight(node) > HEAVIEST:
                return f"one value would be checked by more than {HEAVIEST} subschemas"
    except RecursionError:
        return "it is nested too deeply"
    except _CircleError as circle:
        return f"{circle} leads back to itself without going deeper into the value"
    return ""


class _CircleError(Exception):
    """The `$ref` that closes a circle."""


class _Walk:
    """How many subschemas look at one place of a value, counted with repeats, each subschema weighed once."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._weights: dict[int, int | None] = {}

    def weight(self, node: object) -> int:
        if not isinstance(node, dict):
            return 1
        known = self._weights.get(id(node), 0)
        if known is None:
            raise _CircleError
        if not known:
            self._weights[id(node)] = None
            known = 1 + sum(map(self.weight, self._in_place(node))) + self._behind(node.get("$ref"))
            self._weights[id(node)] = known
        return known

    def _behind(self, reference: object) -> int:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            return 0
        try:
            return self.weight(self._target(reference))
        except _CircleError as circle:
            raise (circle if circle.args else _CircleError(reference[:80])) from None

    def _in_place(self, node: dict[str, Any]) -> Iterator[object]:
        for keyword in IN_PLACE_LISTS:
            yield from node.get(keyword, ())
        for keyword in IN_PLACE:
            yield node.get(keyword)
        yield from node.get("dependentSchemas", {}).values()

    def _target(self, reference: str) -> object:
        node: Any = self._root
        for step in unquote(reference).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(key)] if isinstance(node, list) else node[key]
            except (KeyError, IndexError, TypeError, ValueError):
                return None
        return node


def _subschemas(node: object) -> Iterator[dict[str, Any]]:
    """Every object in the schema that may be a schema, the root first."""
    if isinstance(node, dict):
        yield node
        for keyword, value in node.items():
            if keyword not in DATA:
                yield from _subschemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from _subschemas(value)
