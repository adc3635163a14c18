"""Schemas in the dialects that models' tools come in, made JSON Schema 2020-12.

They come from Python (`dict`, `float`, `any`, `tuple`), Java (`HashMap`, `long`), OpenAPI 3.0 and Gemini (`OBJECT`,
`nullable`) and from older drafts (`required: true`, a list of `items`). A schema that is in order is left as it is.
"""

from typing import Any, NamedTuple

Schema = dict[str, Any]

TYPES = {
    "dict": "object",
    "map": "object",
    "hashmap": "object",
    "struct": "object",
    "record": "object",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "int": "integer",
    "long": "integer",
    "short": "integer",
    "int32": "integer",
    "int64": "integer",
    "bool": "boolean",
    "str": "string",
    "text": "string",
    "char": "string",
    "none": "null",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "arraylist": "array",
    "vector": "array",
    **{name: name for name in ("object", "array", "string", "number", "integer", "boolean", "null")},
}
"""By the name of a type in small letters, what it is in JSON Schema."""

ANYTHING = frozenset({"any", "", "unknown", "type_unspecified"})
"""Names that say no type."""

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONE = ("items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames")


class Normalised(NamedTuple):
    """A schema without dialect, and what was changed in it: a JSON Pointer and a sentence for each."""

    schema: Schema
    changes: tuple[str, ...]


def normalised(schema: Schema) -> Normalised:
    """`schema` as JSON Schema 2020-12, as far as its dialect is known. `arguments.Checker` refuses the rest."""
    changes: list[str] = []
    written = _Writer(changes).write(schema, "")
    return Normalised(written if changes else schema, tuple(changes))


class _Writer:
    def __init__(self, changes: list[str]) -> None:
        self._changes = changes

    def write(self, node: Any, where: str) -> Any:
        if not isinstance(node, dict):
            return node
        written = self._typed(node, where)
        for word in _MAPS:
            if isinstance(written.get(word), dict):
                entries = written[word].items()
                written[word] = {name: self.write(each, f"{where}/{word}/{name}") for name, each in entries}
        for word in _LISTS:
            if isinstance(written.get(word), list):
                written[word] = [self.write(each, f"{where}/{word}/{n}") for n, each in enumerate(written[word])]
        for word in _ONE:
            if isinstance(written.get(word), dict):
                written[word] = self.write(written[word], f"{where}/{word}")
        return self._bounded(self._required(written, node, where), where)

    def _typed(self, node: Schema, where: str) -> Schema:
        written = dict(node)
        kind = node.get("type")
        told: list[Any] = kind if isinstance(kind, list) else [kind]
        names = [name for name in told if isinstance(name, str)]
        if names and len(names) == len(told):
            found = [name if name in TYPES.values() else TYPES.get(name.lower(), name) for name in names]
            if any(name.lower() in ANYTHING for name in names):
                del written["type"]
                self._say(where, f"the type {kind!r} is no type, which allows any")
            elif found != names:
                written["type"] = list(dict.fromkeys(found)) if isinstance(kind, list) else found[0]
                self._say(where, f"the type {kind!r} is {written['type']!r}")
        if isinstance(written.get("nullable"), bool) and "$ref" not in written:
            self._say(where, "nullable is a type of its own")
            if written.pop("nullable") and isinstance(written.get("type"), str) and written["type"] != "null":
                written["type"] = [written["type"], "null"]
                if "enum" in written and None not in written["enum"]:
                    written["enum"] = [*written["enum"], None]
        if isinstance(written.get("items"), list):
            self._say(where, "a list of items is prefixItems")
            written["prefixItems"] = written.pop("items")
            if "additionalItems" in written:
                written["items"] = written.pop("additionalItems")
        return written

    def _required(self, written: Schema, node: Schema, where: str) -> Schema:
        """What is required stands in a list at the object. `optional` says nothing that this list does not."""
        # A property may be called so too: there it is a schema, and the place is `properties`, not a schema.
        if "optional" in written:
            del written["optional"]
            self._say(where, "optional is left out: what is not required is optional")
        if isinstance(written.get("required"), bool):
            del written["required"]
            self._say(where, "required is said by the object")
        properties = node.get("properties")
        if isinstance(properties, dict):
            entries = {name: each for name, each in properties.items() if isinstance(each, dict)}
            listed: list[Any] = written["required"] if isinstance(written.get("required"), list) else []
            if more := [name for name, each in entries.items() if each.get("required") is True and name not in listed]:
                written["required"] = [*listed, *more]
        if "required" in written and written["required"] is None:
            del written["required"]
            self._say(where, "required is null, which lists nothing")
        return written

    def _bounded(self, written: Schema, where: str) -> Schema:
        """Draft 4 says by a boolean whether a bound itself is allowed."""
        for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(written.get(word), bool):
                self._say(where, f"{word} is a number")
                if written.pop(word) and bound in written:
                    written[word] = written.pop(bound)
        return written

    def _say(self, where: str, what: str) -> None:
        self._changes.append(f"{where or '/'}: {what}")
