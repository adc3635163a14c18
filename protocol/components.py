"""The JSON Schemas of some types, and the definitions that they share."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect as kinds
from msgspec.json import schema_components

from .agreement import REF, Agreement, Schema
from .standins import schemed, written

NAMED = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
"""Keywords whose values are schemas by a name that may be anything."""
DATA = frozenset({"const", "default", "enum", "examples"})


def components(types: Iterable[Any], *, output: bool = False) -> tuple[list[Schema], dict[str, Schema]]:
    """The schemas of `types`, which `readable` gave, and the definitions that they refer to.

    With `output` of what is given, not of what is taken, where that differs. Raises what msgspec and typing raise for
    a type that has no schema (`UNSCHEMED`).
    """
    return _Components(output=output).of(tuple(types))


class _Components:
    """One set of definitions. `_claimed` are those that msgspec does not know, by the names that they have here."""

    def __init__(self, *, output: bool) -> None:
        self._output = output
        self._claimed: dict[str, Schema] = {}

    def of(self, types: tuple[Any, ...]) -> tuple[list[Schema], dict[str, Schema]]:
        nodes, definitions = self._made(types)
        if any(self._claimed.get(name, found) != found for name, found in definitions.items()):
            self._claimed = dict(definitions)  # the other side's names are not ours to choose: claim again, around them
            nodes, definitions = self._made(types)
        return nodes, definitions | self._claimed

    def _made(self, types: tuple[Any, ...]) -> tuple[list[Schema], dict[str, Schema]]:
        nodes, definitions = schema_components(types, schema_hook=self._schemed, ref_template=REF + "{name}")
        agreement = Agreement(definitions)
        for node, kind in zip(nodes, kinds.multi_type_info(types), strict=True):
            agreement.make(node, kind)
        # Defaults within definitions come as msgspec keeps them, tuples among them: make them plain JSON.
        plain: tuple[list[Schema], dict[str, Schema]] = msgspec.json.decode(written((nodes, definitions)))
        return plain

    def _schemed(self, kind: Any) -> Schema:
        """The schema of a type that msgspec does not know."""
        found = schemed(kind, self._part, output=self._output)
        return self._claim(found, found.pop("$defs", {}))

    def _part(self, kind: Any) -> Schema:
        """The schema of a part of a stand-in."""
        (node,), definitions = self._made((kind,))
        return self._claim(node, definitions)

    def _claim(self, node: Schema, definitions: dict[str, Schema]) -> Schema:
        """Keep `definitions`, under other names where theirs are taken. Gives `node` with the names that they have."""
        names = {name: self._free(name, schema) for name, schema in definitions.items()}
        changed = {REF + old: REF + new for old, new in names.items() if old != new}
        for name, schema in definitions.items():
            self._claimed[names[name]] = _renamed(schema, changed)
        made: Schema = _renamed(node, changed)
        return made

    def _free(self, name: str, schema: Schema) -> str:
        """`name`, or one like it if it is another schema's here."""
        number, free = 1, name
        while self._claimed.get(free, schema) != schema:
            number += 1
            free = f"{name}_{number}"
        return free


def _renamed(node: Any, changed: dict[str, str]) -> Any:
    """A schema whose references are to the new names."""
    if not changed:
        return node
    if isinstance(node, list):
        return [_renamed(each, changed) for each in node]
    if not isinstance(node, dict):
        return node
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key in NAMED:
            made[key] = {name: _renamed(schema, changed) for name, schema in value.items()}
        elif key == "mapping":
            made[key] = {tag: changed.get(reference, reference) for tag, reference in value.items()}
        elif key == "$ref":
            made[key] = changed.get(value, value)
        else:
            made[key] = value if key in DATA else _renamed(value, changed)
    return made
