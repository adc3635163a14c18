"""What a model nearly got right: a value that does not fit its schema, changed where there is one way to read it.

Only after a refusal, and only these: a number, `true`, `false` or `null` in quotes; JSON text in place of an object or
an array; one value in place of a list of them; an enum's value in another case; null for a key that may be left out.
Whatever has two readings stays as it is: `"a, b"` for a list, or a text that fits two branches of a union differently.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
from jsonschema_rs import ValidatorMap, validator_map_for

from .explanation import OPTIONS, Schema
from .tools import Mended, encode_json
from .wording import pointer, shortened

STEPS = 50_000
"""Places of a value that are looked at; of more than these nothing is mended."""
CHECKS = 1_000
"""How often a part of the value is held against a part of the schema."""
WORK = 64 * 1024 * 1024
"""Bytes of JSON that may be looked at in those checks."""
PARTS = 2_000
"""Subschemas of a schema whose unions are decided. Each of them is compiled, once, at about 5 µs."""

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<more>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
LEAST, LARGEST = -(2**63), 2**64
"""Between these an integer can go on as JSON."""
LONGEST = 64
"""Characters of a text that may stand for a number."""
SEVERAL = re.compile(r"[,;\n]")
"""What a text that means several things may be divided by."""
WORDS: Final = {"true": True, "false": False, "null": None}
IN_PLACE = frozenset({"$ref", "enum", "const", "allOf", "anyOf", "oneOf"})
"""The keywords that say more of a value than its type, and not of what is inside of it."""
KINDS: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}

decode_json = msgspec.json.Decoder().decode

Path = tuple[str | int, ...]
"""Where something stands in a value."""
Place = tuple[str, ...]
"""Where something stands in a schema."""
ROOT: Place = ()


class Read(NamedTuple):
    """A value as it was understood, and what was changed for it."""

    value: Any
    mended: tuple[Mended, ...] = ()


class _TooMuchError(Exception):
    """The steps are used up."""


class Leniency:
    """Mends values by one schema. It is made at once; what it needs for unions is made when the first one is met."""

    __slots__ = ("_checks", "_left", "_parts", "_schema")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._parts: ValidatorMap | None = None
        self._left = 0
        self._checks = 0

    def mend(self, value: Any, size: int) -> Read:
        """`value`, of `size` bytes as JSON, as it was probably meant. It need not fit then."""
        self._left, self._checks = STEPS, min(CHECKS, max(WORK // (size + 1), 20))
        try:
            return self._read(value, self._schema, ROOT, ()) or Read(value)
        except (_TooMuchError, RecursionError):
            return Read(value)

    def _read(self, value: Any, schema: Any, place: Place, path: Path) -> Read | None:
        """`value`, which stands at `path`, by `schema`, which stands at `place`. None if nothing is to be changed."""
        self._left -= 1
        if self._left < 0:
            raise _TooMuchError
        if not isinstance(schema, dict):
            return None
        before = value
        mended: tuple[Mended, ...] = ()
        if "type" in schema and (found := self._as_type(value, schema, place, path)) is not None:
            value, mended = found
        if not IN_PLACE.isdisjoint(schema):
            for read in self._readings(schema, place, path):
                if (found := read(value)) is not None:
                    value, mended = found.value, mended + found.mended
        kind = type(value)
        if kind is dict or kind is list:
            inner = self._object if kind is dict else self._array
            if (found := inner(value, schema, place, path)) is not None:
                value, mended = found.value, mended + found.mended
        return None if value is before else Read(value, mended)

    def _readings(self, schema: Schema, place: Place, path: Path) -> Iterator[Callable[[Any], Read | None]]:
        """What each of the keywords IN_PLACE makes of a value."""
        if "$ref" in schema:
            steps = steps_of(schema["$ref"])
            if steps is not None:
                yield lambda value: self._read(value, self._target(steps), steps, path)
        if "enum" in schema or "const" in schema:
            yield lambda value: as_one_of(value, schema.get("enum", [schema.get("const")]), path)
        for n, branch in enumerate(schema.get("allOf", ())):
            yield partial(self._read, schema=branch, place=(*place, "allOf", str(n)), path=path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                yield partial(self._as_branch, branches=schema[keyword], place=(*place, keyword), path=path)

    def _as_type(self, value: Any, schema: Schema, place: Place, path: Path) -> Read | None:
        asked = schema["type"]
        kinds = (asked,) if isinstance(asked, str) else asked
        if fits_kind(value, kinds):
            return None
        if isinstance(value, str):
            for other, what in readings(value):
                if fits_kind(other, kinds):
                    return Read(other, (note(path, what, value, other),))
        if "array" not in kinds or value is None or (isinstance(value, str) and SEVERAL.search(value)):
            return None
        wrapped = Read([value], (note(path, "one value in place of a list", value, [value]),))
        if (inner := self._array([value], schema, place, path)) is not None:
            wrapped = Read(inner.value, wrapped.mended + inner.mended)
        return wrapped if self._fits(wrapped.value, place) else None

    def _as_branch(self, value: Any, branches: list[Any], place: Place, path: Path) -> Read | None:
        """As the one branch that can be meant; None if it fits one already, or could be meant in two ways."""
        places = [(*place, str(n)) for n in range(len(branches))]
        if any(self._fits(value, each) for each in places):
            return None
        found: dict[bytes, Read] = {}
        for branch, each in zip(branches, places, strict=True):
            read = self._read(value, branch, each, path)
            if read is not None and self._fits(read.value, each):
                found[encode_json(read.value)] = read
        return next(iter(found.values())) if len(found) == 1 else None

    def _object(self, value: dict[str, Any], schema: Schema, place: Place, path: Path) -> Read | None:
        named, rest = schema.get("properties", {}), schema.get("additionalProperties")
        # Beside `patternProperties` the keyword to go by depends on the key's pattern.
        rest = rest if isinstance(rest, dict) and "patternProperties" not in schema else None
        required = schema.get("required", ())
        result, mended = dict(value), list[Mended]()
        for key, inner in value.items():
            if key in named:
                at: Place = (*place, "properties", key)
                if inner is None and key not in required and self._refuses_null(at):
                    del result[key]
                    mended.append(note((*path, key), "null for what may be left out", None))
                    continue
                read = self._read(inner, named[key], at, (*path, key))
            else:
                read = self._read(inner, rest, (*place, "additionalProperties"), (*path, key))
            if read is not None:
                result[key] = read.value
                mended += read.mended
        return Read(result, tuple(mended)) if mended else None

    def _array(self, value: list[Any], schema: Schema, place: Place, path: Path) -> Read | None:
        first, rest = schema.get("prefixItems", ()), schema.get("items")
        result, mended = list(value), list[Mended]()
        for n, inner in enumerate(value if first or isinstance(rest, dict) else ()):
            if n < len(first):
                read = self._read(inner, first[n], (*place, "prefixItems", str(n)), (*path, n))
            else:
                read = self._read(inner, rest, (*place, "items"), (*path, n))
            if read is not None:
                result[n] = read.value
                mended += read.mended
        return Read(result, tuple(mended)) if mended else None

    def _refuses_null(self, place: Place) -> bool:
        part = self._part(place)
        return part is not None and not part.is_valid(None)

    def _fits(self, value: Any, place: Place) -> bool:
        self._checks -= 1
        if self._checks < 0:
            raise _TooMuchError
        part = self._part(place)
        try:
            return part is not None and bool(part.is_valid(value))
        except ValueError:
            return False

    def _part(self, place: Place) -> Any:
        """The validator of the subschema at `place`; None where it can't be had."""
        if self._parts is None:
            if sum(1 for _ in subschemas(self._schema)) > PARTS:
                raise _TooMuchError
            self._parts = validator_map_for(self._schema, **OPTIONS)
        return self._parts.get("".join(["#", *("/" + step.replace("~", "~0").replace("/", "~1") for step in place)]))

    def _target(self, steps: Place) -> Any:
        """What stands at a place of the schema; None if nothing does."""
        node: Any = self._schema
        for step in steps:
            try:
                node = node[int(step)] if isinstance(node, list) else node[step]
            except (KeyError, IndexError, TypeError, ValueError):
                return None
        return node


def steps_of(reference: str) -> Place | None:
    """The place that a reference within the document leads to; None for all others."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in unquote(reference).split("/")[1:])


def readings(text: str) -> Iterator[tuple[Any, str]]:
    """What else `text` may stand for, if text is not what is asked for, and what is said of that."""
    bare = text.strip()
    if bare.casefold() in WORDS:
        yield WORDS[bare.casefold()], f"{bare.casefold()} in quotes"
    elif bare[:1] in {"{", "["}:
        try:
            value = decode_json(bare)
        except (msgspec.MsgspecError, RecursionError, OverflowError, ValueError):
            return
        yield value, f"JSON text in place of an {KINDS[type(value)]}"
    elif (number := as_number(bare)) is not None:
        yield number, "a number in quotes"


def as_number(text: str) -> int | float | None:
    """The number that `text` is in JSON; None if it is none, or one that would be rounded to go on."""
    found = NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return None
    if not found["more"]:
        whole = int(text)
        return whole if LEAST <= whole < LARGEST else None
    number = float(text)
    return None if number in {float("inf"), float("-inf")} else number


def as_one_of(value: Any, values: list[Any], path: Path) -> Read | None:
    """`value` as the one of `values` that it differs from only by case, or by its quotes."""
    if not isinstance(value, str) or value in values:
        return None
    folded = value.casefold()
    found = {each for each in values if isinstance(each, str) and each.casefold() == folded}
    if len(found) == 1:
        meant = found.pop()
        return Read(meant, (note(path, "a value in another case", value, meant),))
    for other, what in readings(value) if not found else ():
        if any(same(other, each) for each in values):
            return Read(other, (note(path, what, value, other),))
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; to Python True is 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def fits_kind(value: Any, kinds: Sequence[str]) -> bool:
    """Whether `value` is of one of the types of JSON Schema that `kinds` names."""
    kind = KINDS[type(value)]
    if kind == "integer":
        return "integer" in kinds or "number" in kinds
    return kind in kinds or (kind == "number" and "integer" in kinds and value.is_integer())


def note(path: Path, what: str, before: Any, *after: Any) -> Mended:
    """What was changed, in short."""
    return Mended(pointer(path), what, shortened(before), *map(shortened, after))


def subschemas(node: object) -> Iterator[object]:
    """Every object in a schema."""
    todo = [node]
    while todo:
        match todo.pop():
            case dict() as inner:
                yield inner
                todo += inner.values()
            case list() as items:
                todo += items
