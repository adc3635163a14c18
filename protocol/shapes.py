"""What a JSON Schema (2020-12) lets stand at a place of a value, as far as that is certain.

The answer is a set of kinds, as bits; it errs only towards more. It reads `type`, `const`, `enum`, `properties`,
`additionalProperties`, `prefixItems`, `items`, `maxItems`, `allOf`, `anyOf`, `oneOf` and `$ref` within the document;
every other keyword could only take kinds away, and is passed over.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import unquote

SCALAR: Final = 1
ARRAY: Final = 2
OBJECT: Final = 4
ANYTHING: Final = SCALAR | ARRAY | OBJECT

DEEPEST: Final = 64
"""How many steps through schemas are followed. Beyond it anything may stand: the true value will be looked at."""

_KINDS = dict.fromkeys(("null", "boolean", "integer", "number", "string"), SCALAR) | {"array": ARRAY, "object": OBJECT}
_BECOMES = {SCALAR: ANYTHING, ARRAY: ARRAY, OBJECT: OBJECT | ARRAY}


def at(schema: object, steps: Sequence[str]) -> int:
    """The kinds of value that may stand at `steps` (a parsed JSON Pointer) of a value that fits `schema`.

    0: no value that fits has such a place.
    """
    return _Walk(schema, steps).kinds(schema, 0, DEEPEST)


def meets(given: int, asked: int) -> bool:
    """Whether a value of a `given` kind may be, or may be mended to be, of a kind `asked` for.

    A scalar may be read as any other kind (a number in quotes, JSON in a string) and one value stand for a list of
    it; but no list becomes an object, and neither of them a scalar.
    """
    return any(given & kind and becomes & asked for kind, becomes in _BECOMES.items())


def kind_of(value: object) -> int:
    """The kind of a JSON value."""
    return OBJECT if isinstance(value, dict) else ARRAY if isinstance(value, list) else SCALAR


def index(step: str) -> int | None:
    """The place in a list that a step of a pointer names (RFC 6901, section 4). None if it names none."""
    if not (step.isascii() and step.isdigit()) or (step[0] == "0" and step != "0"):
        return None
    # A list has no more entries than fit a machine word, and `int` refuses thousands of digits.
    return int(step[:19])


class _Walk:
    """One question to one document. Remembers answers: schemas may be recursive, and branch at every step."""

    def __init__(self, root: object, steps: Sequence[str]) -> None:
        self.root = root
        self.steps = steps
        self.known: dict[tuple[int, int], int] = {}

    def kinds(self, schema: object, n: int, depth: int) -> int:
        if schema is False:
            return 0
        # An `$id` gives `$ref` another document to mean.
        if not isinstance(schema, dict) or not depth or ("$id" in schema and schema is not self.root):
            return ANYTHING
        key = (id(schema), n)
        if key not in self.known:
            # A schema that comes back to itself without a step says nothing more by it.
            self.known[key] = ANYTHING
            self.known[key] = self._asked(schema, n, depth - 1)
        return self.known[key]

    def _asked(self, schema: dict[str, Any], n: int, depth: int) -> int:
        found = self._own(schema, n, depth)
        for part in _listed(schema, "allOf"):
            found &= self.kinds(part, n, depth)
        for word in ("anyOf", "oneOf"):
            if parts := _listed(schema, word):
                found &= self._either(parts, n, depth)
        if (reference := schema.get("$ref")) is not None:
            found &= self.kinds(self._referred(reference), n, depth)
        return found

    def _either(self, parts: Iterable[object], n: int, depth: int) -> int:
        found = 0
        for part in parts:
            found |= self.kinds(part, n, depth)
        return found

    def _own(self, schema: dict[str, Any], n: int, depth: int) -> int:
        here = _typed(schema)
        if n == len(self.steps):
            return here
        step = self.steps[n]
        found = self._property(schema, step, n + 1, depth) if here & OBJECT else 0
        place = index(step)
        if here & ARRAY and place is not None:
            found |= self._entry(schema, place, n + 1, depth)
        return found

    def _property(self, schema: dict[str, Any], step: str, n: int, depth: int) -> int:
        properties = schema.get("properties")
        if isinstance(properties, dict) and step in properties:
            return self.kinds(properties[step], n, depth)
        if schema.get("patternProperties"):
            return ANYTHING
        return self.kinds(schema.get("additionalProperties", True), n, depth)

    def _entry(self, schema: dict[str, Any], place: int, n: int, depth: int) -> int:
        most = schema.get("maxItems")
        if isinstance(most, int) and place >= most:
            return 0
        first = _listed(schema, "prefixItems")
        return self.kinds(first[place] if place < len(first) else schema.get("items", True), n, depth)

    def _referred(self, reference: object) -> object:
        if reference == "#":
            return self.root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return True
        found: object = self.root
        for step in unquote(reference[2:]).split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            place = index(key)
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and place is not None and place < len(found):
                found = found[place]
            else:
                return True
            # The `$id` of a document on the way makes its inner references mean that document.
            if isinstance(found, dict) and "$id" in found:
                return True
        return found


def _typed(schema: dict[str, Any]) -> int:
    words = schema.get("type")
    found = ANYTHING
    if isinstance(words, str):
        found = _KINDS.get(words, ANYTHING)
    elif isinstance(words, list):
        found = 0
        for word in words:
            found |= _KINDS.get(word, ANYTHING) if isinstance(word, str) else ANYTHING
    if "const" in schema:
        found &= kind_of(schema["const"])
    if values := _listed(schema, "enum"):
        mask = 0
        for value in values:
            mask |= kind_of(value)
        found &= mask
    return found


def _listed(schema: dict[str, Any], word: str) -> list[Any]:
    value = schema.get(word)
    return value if isinstance(value, list) else []
