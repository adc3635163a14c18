"""Schemas as a provider's strict mode demands them, so that it lets a model say nothing else; or why that can't be.

What a mode has no keyword for is either a wish, which moves into the description and is told in `Strict.loosened`
(our own check of the arguments holds it all the same), or a part of the shape, and then there is no strict form.
Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations and the SDK's own
`lib/_parse/_transform.py`, https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support.
"""

import json
from typing import Any, Final, NamedTuple

from .reading import Json


class Rules(NamedTuple):
    """What one strict mode takes. `keywords` are those that may stand beside each type."""

    keywords: dict[str, frozenset[str]]
    formats: frozenset[str]
    all_required: bool = False
    closed: bool = True
    recursive: bool = False
    all_of: bool = False
    typed_enums: bool = True
    most_properties: int = 5_000
    most_values: int = 1_000
    most_optional: int = 5_000
    most_unions: int = 5_000
    deepest: int = 64


class Strict(NamedTuple):
    """A schema in its strict form; or None, and the `reason`. `loosened` are the keywords that it could not keep."""

    schema: Json | None
    reason: str = ""
    loosened: tuple[str, ...] = ()


_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})

OPENAI: Final = Rules(
    {
        "string": frozenset({"pattern"}),
        "integer": _BOUNDS,
        "number": _BOUNDS,
        "array": frozenset({"minItems", "maxItems"}),
    },
    _FORMATS,
    all_required=True,
    recursive=True,
    deepest=10,
)
ANTHROPIC: Final = Rules({}, _FORMATS | {"uri"}, all_of=True, typed_enums=False, most_optional=24, most_unions=16)
GEMINI: Final = Rules(
    {
        "integer": frozenset({"minimum", "maximum"}),
        "number": frozenset({"minimum", "maximum"}),
        "array": frozenset({"minItems", "maxItems"}),
    },
    frozenset({"date-time", "time", "date"}),
    closed=False,
)

_SHAPING = (
    *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "patternProperties"),
    *("propertyNames", "unevaluatedProperties", "unevaluatedItems", "prefixItems", "$dynamicRef", "$anchor"),
)
_WISHES = (
    *("minLength", "maxLength", "pattern", "format", *sorted(_BOUNDS), "minItems", "maxItems", "uniqueItems"),
    *("contains", "minContains", "maxContains", "minProperties", "maxProperties", "contentEncoding"),
    *("contentMediaType", "contentSchema"),
)
_TOLD = ("default", "examples")
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def strict(schema: Json, rules: Rules) -> Strict:
    """`schema`, the parameters of a tool, in the form that `rules` demand."""
    writer = _Writer(schema, rules)
    try:
        written = writer.root()
    except _RefusedError as refused:
        return Strict(None, str(refused))
    except RecursionError:
        return Strict(None, "it is nested too deeply")
    return Strict(written, "", tuple(writer.loosened))


class _RefusedError(Exception):
    """Why there is no strict form."""


class _Writer:
    """One schema while it is written anew. Definitions are written when they are first referred to."""

    def __init__(self, root: Json, rules: Rules) -> None:
        self._root = root
        self._rules = rules
        self._definitions: dict[str, Any] = {}
        self._open: list[str] = []
        self._counts = {"properties": 0, "values of enums": 0, "optional properties": 0, "unions": 0}
        self.loosened: list[str] = []

    def root(self) -> Json:
        if self._root.get("type", "object") != "object" or ("properties" not in self._root and "$ref" in self._root):
            raise _RefusedError("at the top: it has to be an object of named properties")
        if any(word in self._root for word in ("anyOf", "oneOf", "allOf", "enum", "const")):
            raise _RefusedError("at the top: an object with alternatives can't be strict")
        written = self._object({"properties": {}, **self._root}, "", 1)
        written = self._described(self._root, written, "")
        return {**written, "$defs": self._definitions} if self._definitions else written

    def _write(self, node: Any, where: str, depth: int) -> Json:
        if not isinstance(node, dict):
            raise _RefusedError(f"at {where}: {json.dumps(node)} is no description of a value")
        for word in _SHAPING:
            if word in node:
                raise _RefusedError(f"at {where}: it has no {word}")
        if "$ref" in node:
            return self._referred(node, where, depth)
        if "enum" in node or "const" in node:
            return self._listed(node, where)
        for word in ("anyOf", "oneOf", "allOf"):
            if word in node:
                return self._combined(node, word, where, depth)
        types = node.get("type") or ("object" if "properties" in node else "array" if "items" in node else None)
        if isinstance(types, list) and len(types) == 1:
            types = types[0]
        if isinstance(types, list):
            return self._several(node, types, where, depth)
        return self._described(node, self._typed(node, types, where, depth), where)

    def _typed(self, node: Json, kind: Any, where: str, depth: int) -> Json:
        if depth > self._rules.deepest:
            raise _RefusedError(f"at {where}: it is nested more than {self._rules.deepest} levels deep")
        if kind == "object":
            return self._object(node, where, depth)
        if kind == "array":
            if not node.get("items"):
                raise _RefusedError(f"at {where}: an array has to say what its items are")
            kept: Json = {"type": "array", "items": self._write(node["items"], f"{where}/items", depth + 1)}
        elif kind in _TYPES.values():
            kept = {"type": kind}
        else:
            raise _RefusedError(f"at {where}: it has to say a type")
        words = self._rules.keywords.get(kind, frozenset())
        kept |= {word: node[word] for word in node if word in words}
        if kind == "array" and node.get("minItems") in {0, 1}:
            kept["minItems"] = node["minItems"]
        if kind == "string" and node.get("format") in self._rules.formats:
            kept["format"] = node["format"]
        return kept

    def _object(self, node: Json, where: str, depth: int) -> Json:
        properties = node.get("properties")
        for word in _SHAPING:
            if word in node:
                raise _RefusedError(f"at {where or 'the top'}: it has no {word}")
        more = node.get("additionalProperties", not isinstance(properties, dict) and not self._rules.closed)
        if self._rules.closed and (more is not False or not isinstance(properties, dict)):
            raise _RefusedError(f"at {where or 'the top'}: an object with keys that are not named can't be strict")
        properties = properties if isinstance(properties, dict) else {}
        required = [name for name in node.get("required", ()) if isinstance(name, str)]
        if missing := [name for name in required if name not in properties]:
            raise _RefusedError(f"at {where or 'the top'}: {missing[0]!r} is required, but has no schema")
        self._count("properties", len(properties), self._rules.most_properties)
        written = {}
        for name, entry in properties.items():
            written[name] = self._write(entry, f"{where}/properties/{name}", depth + 1)
            if name not in required:
                self._count("optional properties", 1, self._rules.most_optional)
                written[name] = _nullable(written[name]) if self._rules.all_required else written[name]
        kept: Json = {"type": "object", "properties": written}
        kept["required"] = list(written) if self._rules.all_required else list(dict.fromkeys(required))
        if self._rules.closed:
            kept["additionalProperties"] = False
        elif more is not True and more is not False:
            kept["additionalProperties"] = self._write(more, f"{where}/additionalProperties", depth + 1)
        elif "additionalProperties" in node:
            kept["additionalProperties"] = more
        return kept

    def _several(self, node: Json, types: list[Any], where: str, depth: int) -> Json:
        """A list of types as alternatives: not every mode takes the list."""
        self._count("unions", 1, self._rules.most_unions)
        bare = {word: value for word, value in node.items() if word not in {"description", "title", *_TOLD}}
        written = [self._described(bare, self._typed(node, kind, where, depth), where) for kind in types]
        about = {word: value for word, value in node.items() if word in {"description", "title", *_TOLD}}
        return self._described(about, {"anyOf": written}, where)

    def _listed(self, node: Json, where: str) -> Json:
        values = [node["const"]] if "const" in node else node["enum"]
        if not isinstance(values, list) or not values or not all(type(value) in _TYPES for value in values):
            raise _RefusedError(f"at {where}: an enum has to list texts, numbers, booleans or null")
        self._count("values of enums", len(values), self._rules.most_values)
        kept: Json = {"const": values[0]} if "const" in node else {"enum": values}
        if self._rules.typed_enums:
            types = list(dict.fromkeys(_TYPES[type(value)] for value in values))
            kept = {"type": node.get("type", types[0] if len(types) == 1 else types), **kept}
        return self._described(node, kept, where)

    def _combined(self, node: Json, word: str, where: str, depth: int) -> Json:
        if word == "allOf" and not self._rules.all_of:
            raise _RefusedError(f"at {where}: it has no allOf")
        if beside := [
            each for each in ("type", "properties", "items", "anyOf", "allOf") if each in node and each != word
        ]:
            raise _RefusedError(f"at {where}: {beside[0]} can't stand beside {word}")
        if word == "oneOf":
            self._loosen("oneOf", where)
        self._count("unions", word != "allOf", self._rules.most_unions)
        parts = [self._write(part, f"{where}/{word}/{n}", depth) for n, part in enumerate(node[word])]
        return self._described(node, {"allOf" if word == "allOf" else "anyOf": parts}, where)

    def _referred(self, node: Json, where: str, depth: int) -> Json:
        reference = node["$ref"]
        place, _, name = str(reference).rpartition("/")
        found = self._root.get(place.removeprefix("#/"), {}) if place in {"#/$defs", "#/definitions"} else {}
        if name not in found or "~" in name or "%" in name:
            raise _RefusedError(f"at {where}: it refers to {reference}, and only $defs can be referred to")
        if name in self._open and not self._rules.recursive:
            raise _RefusedError(f"at {where}: {reference} leads back to itself")
        if name not in self._definitions:
            self._definitions[name] = {}
            self._open.append(name)
            self._definitions[name] = self._write(found[name], f"/$defs/{name}", depth)
            self._open.pop()
        target = {"$ref": f"#/$defs/{name}"}
        described = self._described(node, {}, where)
        return {**described, "anyOf": [target]} if described else target

    def _described(self, node: Json, kept: Json, where: str) -> Json:
        """`kept` with what people are told of `node`, and what the mode has no keyword for, as a description."""
        aside = [word for word in _WISHES if word in node and word not in kept]
        for word in aside:
            self._loosen(word, where)
        said = ", ".join(
            f"{word}: {json.dumps(node[word], ensure_ascii=False)}" for word in (*aside, *_TOLD) if word in node
        )
        words = [str(node["description"])] if node.get("description") else []
        words += [f"{{{said}}}"] if said else []
        title = {"title": node["title"]} if isinstance(node.get("title"), str) else {}
        return {**kept, **title, **({"description": "\n\n".join(words)} if words else {})}

    def _loosen(self, word: str, where: str) -> None:
        self.loosened.append(f"{where}/{word}")

    def _count(self, what: str, more: int, most: int) -> None:
        self._counts[what] += more
        if self._counts[what] > most:
            raise _RefusedError(f"it has more than {most} {what}")


def _nullable(written: Json) -> Json:
    """A property that may be left out, in a mode that demands them all: null then stands for nothing."""
    if isinstance(written.get("type"), str) and "enum" not in written and "const" not in written:
        return written if written["type"] == "null" else {**written, "type": [written["type"], "null"]}
    about: Json = {word: written[word] for word in ("title", "description") if word in written}
    rest = {word: value for word, value in written.items() if word not in about}
    parts = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    return {**about, "anyOf": parts if {"type": "null"} in parts else [*parts, {"type": "null"}]}
