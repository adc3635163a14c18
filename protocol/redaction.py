"""Arguments without their secrets, by their schema: what is `writeOnly`, or has the format `password`, shows as `***`.

It errs only towards hiding: a key that nobody knows, beside secret ones, may be a secret with its name misspelled; a
value of another kind than the schema asks for may hold one.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from .explanation import Schema, matcher
from .leniency import subschemas
from .secret import HIDDEN
from .tools import Mended
from .wording import shortened

DEEPEST = 100
"""Levels of a value that are looked through; what lies deeper is hidden."""
SHORTEST = 4
"""Characters of a secret that is looked for in texts. Shorter ones stand in any text by chance."""

IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
IN_PLACE = ("if", "then", "else")


def has_secrets(schema: object) -> bool:
    """Whether anything in `schema` is marked as secret."""
    return any(isinstance(node, dict) and marked(node) for node in subschemas(schema))


def marked(schema: Schema) -> bool:
    """Whether the value that `schema` is about is secret."""
    return schema.get("writeOnly") is True or schema.get("format") == "password"


class Redaction:
    """Hides the secrets of values that come for one schema."""

    __slots__ = ("_leads", "_schema")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._leads: dict[int, bool] = {}

    def shown(self, value: Any) -> Any:
        """A copy of `value` with `***` for each secret in it."""
        return self._shown(value, [self._schema], DEEPEST)

    def hides(self, name: str) -> bool:
        """Whether a top-level value is secret, or holds what is."""
        return any(map(self._leads_to_secrets, _values(list(self._in_place([self._schema])), name)))

    def hidden(self, value: Any) -> list[str]:
        """The texts among what is hidden in `value`, those that are long enough to be looked for."""
        found: list[str] = []
        _differences(value, self.shown(value), found)
        return found

    def _shown(self, value: Any, schemas: list[Any], left: int) -> Any:
        parts = list(self._in_place(schemas))
        if left == 0 or any(map(marked, parts)):
            return HIDDEN
        if isinstance(value, dict):
            return self._object(value, parts, left)
        if isinstance(value, list) and not any("properties" in part and self._leads_to_secrets(part) for part in parts):
            return [self._shown(inner, list(_items(parts, n)), left - 1) for n, inner in enumerate(value)]
        return HIDDEN if any(map(self._leads_to_secrets, parts)) else value

    def _object(self, value: dict[str, Any], parts: list[Schema], left: int) -> dict[str, Any]:
        secretive = any(map(self._leads_to_secrets, parts))
        shown: dict[str, Any] = {}
        for key, inner in value.items():
            below = list(_values(parts, key))
            known = bool(below) or not secretive
            shown[key] = self._shown(inner, below, left - 1) if known else HIDDEN
        return shown

    def _leads_to_secrets(self, schema: Any) -> bool:
        """Whether there may be a secret below, in what `schema` itself says or refers to."""
        known = self._leads.get(id(schema))
        if known is None:
            known = self._leads[id(schema)] = self._finds_secrets(schema)
        return known

    def _finds_secrets(self, schema: Schema) -> bool:
        seen: set[int] = set()
        todo: list[Any] = [schema]
        while todo:
            for node in subschemas(todo.pop()):
                if not isinstance(node, dict) or id(node) in seen:
                    continue
                seen.add(id(node))
                if marked(node):
                    return True
                if "$ref" in node:
                    todo.append(self._target(node["$ref"]))
        return False

    def _in_place(self, schemas: list[Any]) -> Iterator[Schema]:
        """All that is said of one value: the schemas, what they refer to, and their branches."""
        seen: set[int] = set()
        todo = list(schemas)
        while todo:
            node = todo.pop()
            if not isinstance(node, dict) or id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            for keyword in IN_PLACE_LISTS:
                todo += node.get(keyword, ())
            todo += [node.get(keyword) for keyword in IN_PLACE]
            todo += node.get("dependentSchemas", {}).values()
            if "$ref" in node:
                todo.append(self._target(node["$ref"]))

    def _target(self, reference: object) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        node: Any = self._schema
        for part in unquote(reference).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(key)] if isinstance(node, list) else node[key]
            except (KeyError, IndexError, TypeError, ValueError):
                return None
        return node


def scrubbed(text: str, secrets: list[str]) -> str:
    """`text` with `***` for each of `secrets`, also where it stands as JSON writes it."""
    written = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1])}
    # The longest first: one may stand inside another.
    regular = "|".join(map(re.escape, sorted(written, key=len, reverse=True)))
    return re.sub(regular, HIDDEN, text) if regular else text


def scrubbed_deep(value: Any, secrets: list[str]) -> Any:
    """`value` (plain JSON values) with every text in it `scrubbed`, keys too."""
    match value:
        case str():
            return scrubbed(value, secrets)
        case list():
            return [scrubbed_deep(inner, secrets) for inner in value]
        case dict():
            return {scrubbed(key, secrets): scrubbed_deep(inner, secrets) for key, inner in value.items()}
    return value


def hushed(mended: Mended, arguments: Any, shown: Any) -> Mended:
    """`mended` without the secrets that `shown`, a copy of `arguments`, does not show."""
    real, seen = arguments, shown
    for step in mended.pointer.split("/")[1:]:
        key: Any = int(step) if isinstance(real, list) else step.replace("~1", "/").replace("~0", "~")
        if isinstance(real, dict) and key not in real:
            return mended  # it was left out: null is no secret
        real, seen = real[key], seen[key] if isinstance(seen, dict | list) else seen
    return mended if real == seen else Mended(mended.pointer, mended.what, shortened(HIDDEN), shortened(seen))


def _values(parts: list[Schema], key: str) -> Iterator[Any]:
    for part in parts:
        named, regular = part.get("properties", {}), part.get("patternProperties", {})
        matching = [inner for pattern, inner in regular.items() if matcher(pattern)(key)]
        yield from matching
        if key in named:
            yield named[key]
        elif not matching and isinstance(part.get("additionalProperties"), dict):
            yield part["additionalProperties"]


def _items(parts: list[Schema], n: int) -> Iterator[Any]:
    for part in parts:
        first = part.get("prefixItems", ())
        yield first[n] if n < len(first) else part.get("items")
        yield part.get("contains")


def _differences(value: Any, shown: Any, found: list[str]) -> None:
    """The texts and numbers in `value` that `shown` hides."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _differences(inner, shown[key] if isinstance(shown, dict) else None, found)
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            _differences(inner, shown[n] if isinstance(shown, list) else None, found)
    elif value != shown and len(str(value)) >= SHORTEST:
        found.append(str(value))
