"""The words in which a refusal is told: places, values in short, what a keyword asks for, the closest name."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import msgspec

SHOWN = 80
"""Characters of a value, or of a name, that are shown."""
FARTHEST = 500
"""Characters of a JSON Pointer. A model may invent keys of any length, and nest them."""
NAMED = 20
"""Names that are listed where none is close."""

A_TYPE = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}

EXPECTED = {
    "const": "exactly {}",
    "contains": "an item that fits {}",
    "exclusiveMaximum": "less than {}",
    "exclusiveMinimum": "more than {}",
    "items": "no further items",
    "maxContains": "at most {} items of the kind that is asked for",
    "maximum": "at most {}",
    "maxItems": "at most {} items",
    "maxLength": "at most {} characters",
    "maxProperties": "at most {} keys",
    "minContains": "at least {} items of the kind that is asked for",
    "minimum": "at least {}",
    "minItems": "at least {} items",
    "minLength": "at least {} characters",
    "minProperties": "at least {} keys",
    "multipleOf": "a multiple of {}",
    "not": "a value that does not fit {}",
    "pattern": "a string that matches the regular expression {}",
    "unevaluatedItems": "no further items",
    "unevaluatedProperties": "no keys but those that the schema names",
    "uniqueItems": "items that all differ",
}
"""What a keyword asks for, by its value."""


def pointer(steps: Iterable[str | int]) -> str:
    """A JSON Pointer (RFC 6901), or that of the nearest place above whose pointer is at most FARTHEST long."""
    path = ""
    for step in steps:
        longer = f"{path}/{str(step).replace('~', '~0').replace('/', '~1')}"
        if len(longer) > FARTHEST:
            break
        path = longer
    return path


def shortened(value: Any, length: int | None = SHOWN) -> str:
    """`value` as JSON text of at most `length` characters."""
    if length is not None and isinstance(value, str):
        value = value[: length + 1]
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = type(value).__name__
    return text if length is None or len(text) <= length else text[: length - 1] + "…"


def expected(error: Any) -> str:
    """What an error of jsonschema's says would be right."""
    value = error.validator_value
    match error.validator:
        case "type":
            return " or ".join(A_TYPE[name] for name in ([value] if isinstance(value, str) else value))
        case "enum":
            return one_of(value, error.instance)
        case None:
            return "nothing: it is not allowed here"
        case keyword if keyword in EXPECTED:
            return EXPECTED[keyword].format(shortened(value))
        case keyword:
            return f"what {keyword} asks for: {shortened(value)}"


def one_of(values: list[Any], instance: Any) -> str:
    """The values of an enum, and the closest to what came."""
    said = " or ".join(map(shortened, values[:NAMED])) + (f" or {len(values) - NAMED} others" if values[NAMED:] else "")
    names = [value for value in values if isinstance(value, str)]
    return said + (closest(instance, names) if isinstance(instance, str) and values[2:] else "")


def no_key(key: str, names: list[str]) -> str:
    """That there is no such key, and the closest there is, or all."""
    if close := closest(key, names):
        return f"no key {shortened(key)}{close}"
    known = ", ".join(map(shortened, names[:NAMED])) + (", …" if names[NAMED:] else "")
    return f"no key {shortened(key)}; the keys are {known}" if names else f"no key {shortened(key)}, nor any other"


def closest(name: str, names: list[str]) -> str:
    """A question for the closest of `names`; empty if none is close."""
    short = {known[:SHOWN].casefold(): known for known in names[:500]}
    folded = name[:SHOWN].casefold()
    letters = set(folded)
    # difflib compares character by character: only what shares most of its letters is worth that.
    alike = [known for known in short if 2 * len(letters.intersection(known)) >= max(len(letters), len(set(known)))]
    found = get_close_matches(folded, alike, 1) if alike else ()
    return f"; did you mean {shortened(short[found[0]])}?" if found else ""
