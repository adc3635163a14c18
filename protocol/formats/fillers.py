"""The null that a strict mode makes a model say for what it leaves out, taken away again.

OpenAI's strict mode demands every property; one that the tool does not require may then be null there
(`strict.py`). The tool itself may not take null, so such a null goes before the arguments are checked.
"""

from typing import Any

from .reading import Json


def without_fillers(arguments: Any, schema: Json) -> Any:
    """`arguments` without each null that stands for a property which `schema` neither requires nor lets be null."""
    return _Walk(schema).over(arguments, schema)


class _Walk:
    def __init__(self, root: Json) -> None:
        self._root = root

    def over(self, value: Any, schema: Any) -> Any:
        schema = self._meant(value, schema)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            return [self.over(entry, schema["items"]) for entry in value]
        properties = schema.get("properties")
        if not isinstance(value, dict) or not isinstance(properties, dict):
            return value
        required = schema.get("required", ())
        return {
            name: self.over(entry, properties.get(name, {}))
            for name, entry in value.items()
            if entry is not None or name in required or name not in properties or self._takes_null(properties[name])
        }

    def _meant(self, value: Any, schema: Any) -> Json:
        """The schema that speaks of `value`: behind references, and of alternatives the one whose keys these are."""
        told = self._target(schema)
        for word in ("anyOf", "oneOf"):
            for part in told.get(word, ()):
                found = self._meant(value, part)
                if self._could_be(value, found):
                    return found
        return told

    def _could_be(self, value: Any, schema: Json) -> bool:
        properties = schema.get("properties")
        if isinstance(value, list):
            return "items" in schema
        if not isinstance(value, dict) or not isinstance(properties, dict) or value.keys() != properties.keys():
            return False
        for name, entry in value.items():
            told = self._target(properties[name])
            if "const" in told and told["const"] != entry and name in schema.get("required", ()):
                return False
            if "enum" in told and entry not in told["enum"] and name in schema.get("required", ()):
                return False
        return True

    def _takes_null(self, schema: Any, depth: int = 16) -> bool:
        schema = self._target(schema)
        if not depth:
            return True
        if "enum" in schema or "const" in schema:
            return None in schema.get("enum", ()) or ("const" in schema and schema["const"] is None)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return any(self._takes_null(part, depth - 1) for part in schema[word])
        kind = schema.get("type")
        return kind is None or kind == "null" or (isinstance(kind, list) and "null" in kind)

    def _target(self, schema: Any, depth: int = 16) -> Json:
        if not isinstance(schema, dict):
            return {}
        place, _, name = str(schema.get("$ref", "")).rpartition("/")
        if depth and place in {"#/$defs", "#/definitions"}:
            return self._target(self._root.get(place[2:], {}).get(name), depth - 1)
        found: Json = schema
        return found
