"""Why a value does not fit a schema: every problem with its place, what was expected there, and what came.

jsonschema finds them, because it finds one after the other and each step can be counted. jsonschema-rs, which judges,
collects all errors of all branches first: a megabyte of wrong items took it 4 s and 700 MiB, sixteen nested `anyOf`
10 s. Patterns and unique items are left to jsonschema-rs here too, since Python's `re` and jsonschema's comparison of
all pairs have no bound.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final

import msgspec
from jsonschema_rs import Draft202012Validator, FancyRegexOptions
from msgspec import Struct

Schema = dict[str, Any]
Wrong = Callable[[str], Any]

STEPS = 5_000
"""Keywords that are applied to explain one value: about 25 ms."""
WORK = 64 * 1024 * 1024
"""Bytes that may be written out on the way: jsonschema writes a value into each message about it."""
MOST = 50
"""Problems that are looked for."""
SHOWN = 80
"""Characters of a value, or of a name, that are shown."""
FARTHEST = 500
"""Characters of a JSON Pointer. A model may invent keys of any length, and nest them."""
NAMED = 20
"""Names that are listed where none is close."""

OPTIONS: Final[dict[str, Any]] = {
    "offline": True,
    "validate_formats": False,
    # A pattern that needs look-around can run long: 10,000 steps back are 0.2 ms, and then it does not match.
    "pattern_options": FancyRegexOptions(backtrack_limit=10_000),
}
"""How every validator of jsonschema-rs is made."""

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

ITERATES = {"additionalProperties", "contains", "items", "patternProperties", "propertyNames", "unevaluatedItems"}
"""Keywords that go over all items or keys of a value, also where none of them is wrong."""

_left: ContextVar[list[int]] = ContextVar("steps that are left")


class Problem(Struct, frozen=True, gc=False):
    """One thing that is wrong: where (a JSON Pointer that resolves in the value), what would be right, what came.

    `keyword` is the one of JSON Schema that says so.
    """

    pointer: str
    expected: str
    got: str
    keyword: str = ""


class _TooLongError(Exception):
    """The steps are used up."""


def explain(schema: Schema, instance: Any) -> tuple[Problem, ...]:
    """What is wrong with `instance`, which does not fit `schema`. At least one problem, at most MOST, none twice."""
    size, text = len(shortened(instance, None)), shortened(schema, None)
    if '"unevaluatedProperties"' in text and '"patternProperties"' in text:
        return tuple(_roughly(schema, instance))  # together they run Python's `re` deep inside jsonschema
    token = _left.set([max(WORK // (size + 1), 50) if size > WORK // STEPS else STEPS])
    found: dict[Problem, None] = {}
    to_the_end = False
    try:
        for error in _explainer()(schema).iter_errors(instance):
            for problem in islice(_problems(error), MOST):
                found[problem] = None
            if len(found) >= MOST:
                break
        to_the_end = True
    except (_TooLongError, RecursionError):
        pass
    finally:
        _left.reset(token)
    if to_the_end and not found:
        return tuple(_judged(schema, instance))
    return tuple(found)[:MOST] or tuple(_roughly(schema, instance))


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


@functools.cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches `pattern`, as jsonschema-rs sees it."""
    return Draft202012Validator({"pattern": pattern}, **OPTIONS).is_valid


def _judged(schema: Schema, instance: Any) -> Iterator[Problem]:
    """What jsonschema-rs says itself, where jsonschema finds nothing wrong: both are right by their own arithmetic."""
    validator = Draft202012Validator(schema, **OPTIONS, mask="this value")
    for error in islice(validator.iter_errors(instance), MOST):
        said = f"what the schema asks ({error.message[: 2 * SHOWN]})"
        place = pointer(error.instance_path)
        yield Problem(place, said, shortened(error.instance), error.kind.name)


def _roughly(schema: Schema, instance: Any) -> Iterator[Problem]:
    """Which of the top-level values do not fit, where saying more would take too long."""
    shared: Schema = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    said = "what the schema asks; there is too much in it to say what exactly is wrong"
    anything = False
    for name, part in schema.get("properties", {}).items():
        if isinstance(instance, dict) and name in instance:
            alone: Schema = {**shared, "properties": {name: part}}
            if not Draft202012Validator(alone, **OPTIONS).is_valid(instance):
                anything = True
                yield Problem(pointer([name]), said, shortened(instance[name]))
    if not anything:
        yield Problem("", said, shortened(instance))


def _counted(name: str, check: Callable[..., Any]) -> Callable[..., Any]:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        left = _left.get()
        left[0] -= 1 + (len(instance) >> 3 if name in ITERATES and isinstance(instance, list | dict) else 0)
        if left[0] < 0:
            raise _TooLongError
        return check(validator, value, instance, schema)

    return counted


def _pattern(wrong: Wrong, _validator: Any, value: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not matcher(value)(instance):
        yield wrong("pattern")


def _unique_items(wrong: Wrong, _validator: Any, value: object, instance: Any, _schema: Any) -> Iterator[Any]:
    if value and not Draft202012Validator({"uniqueItems": True}).is_valid(instance):
        yield wrong("uniqueItems")


def _pattern_properties(_wrong: Wrong, validator: Any, value: Schema, instance: Any, _schema: Any) -> Iterator[Any]:
    for key, part in _pairs(instance):
        for regular, inner in value.items():
            if matcher(regular)(key):
                yield from validator.descend(part, inner, path=key, schema_path=regular)


def _additional(wrong: Wrong, validator: Any, value: Any, instance: Any, schema: Schema) -> Iterator[Any]:
    keys = unknown(instance, schema)
    if value is False and keys:
        yield wrong("additionalProperties")
    elif value is not False:
        for key in keys:
            yield from validator.descend(instance[key], value, path=key)


def _descend(self: Any, original: Any, instance: Any, schema: Any, path: Any = None, **further: Any) -> Iterator[Any]:
    """As jsonschema does it, which forgets the place of what a schema `false` refuses."""
    for error in original(self, instance, schema, path=path, **further):
        if schema is False and path is not None:
            error.path.appendleft(path)
        yield error


BOUNDED: dict[str, Callable[..., Any]] = {
    "pattern": _pattern,
    "uniqueItems": _unique_items,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
}
"""The keywords whose work has no bound in jsonschema, made anew. Their first parameter is its ValidationError."""


@functools.cache
def _explainer() -> Callable[[Schema], Any]:
    """What makes a validator of jsonschema that counts its steps and fetches nothing."""
    import jsonschema  # noqa: PLC0415 - 60 ms, which a program whose calls are all right never needs
    from jsonschema import validators  # noqa: PLC0415 - the same
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

    plain: Any = jsonschema.Draft202012Validator
    bounded = {name: functools.partial(check, jsonschema.ValidationError) for name, check in BOUNDED.items()}
    checks: dict[str, Any] = {**plain.VALIDATORS, **bounded}
    extend: Any = validators.extend
    made = extend(plain, {name: _counted(name, check) for name, check in checks.items()})
    made.descend = functools.partialmethod(_descend, made.descend)
    return functools.partial(made, registry=REGISTRY)  # it holds the metaschemas, and retrieves nothing


def unknown(instance: Any, schema: Schema) -> list[str]:
    """The keys of `instance` that neither `properties` nor `patternProperties` of `schema` name."""
    named, regular = schema.get("properties", {}), schema.get("patternProperties", {})
    return [k for k, _ in _pairs(instance) if k not in named and not any(matcher(r)(k) for r in regular)]


def _pairs(instance: Any) -> Iterator[tuple[str, Any]]:
    yield from instance.items() if isinstance(instance, dict) else ()


def _problems(error: Any) -> Iterator[Problem]:
    """An error of jsonschema's in our words: one problem a key, and those of the branch of a union that was meant."""
    where = pointer(error.absolute_path)
    match error.validator:
        case "required" | "dependentRequired":
            for key in _missing(error):
                yield Problem(where, f"the required key {shortened(key)}", _keys(error.instance), error.validator)
        case "additionalProperties":
            names = list(error.schema.get("properties", {}))
            for key in unknown(error.instance, error.schema):
                yield Problem(
                    pointer([*error.absolute_path, key]),
                    _no_key(key, names),
                    shortened(error.instance[key]),
                    "additionalProperties",
                )
        case "anyOf" | "oneOf":
            yield from _alternatives(error, where)
        case keyword:
            key_of = "a key that is " if "propertyNames" in list(error.relative_schema_path)[:-1] else ""
            yield Problem(where, key_of + _expected(error), shortened(error.instance), keyword or "")


def _alternatives(error: Any, where: str) -> Iterator[Problem]:
    """The problems of the one branch that was meant, if it is plain which; else all branches in one sentence."""
    branches: dict[Any, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    if not branches:
        yield Problem(
            where, "a value that fits one of the alternatives only", shortened(error.instance), error.validator
        )
        return
    meant = [errors for errors in branches.values() if not any(map(_other_kind, errors))]
    if len(meant) == 1:
        for inner in meant[0]:
            yield from _problems(inner)
        return
    said = (" and ".join(dict.fromkeys(map(_in_a_word, errors[:3]))) for errors in branches.values())
    yield Problem(where, " or ".join(dict.fromkeys(said)), shortened(error.instance), error.validator)


def _other_kind(error: Any) -> bool:
    """Whether the value is of another kind than a branch is about: another type, or an object with another tag."""
    deep = len(error.relative_path)
    return error.validator in {"type", "enum", "const"} and (deep == 0 or (deep == 1 and error.validator != "type"))


def _in_a_word(error: Any) -> str:
    if error.validator in {"required", "dependentRequired"}:
        said = "the required key " + " and ".join(map(shortened, _missing(error)))
    elif error.validator == "additionalProperties":
        said = "no key " + " or ".join(map(shortened, unknown(error.instance, error.schema)[:3]))
    elif error.validator in {"anyOf", "oneOf"}:
        said = "one of several alternatives"
    else:
        said = _expected(error)
    return f"{said} at {pointer(error.relative_path)}" if error.relative_path else said


def _expected(error: Any) -> str:
    value = error.validator_value
    match error.validator:
        case "type":
            return " or ".join(A_TYPE[name] for name in ([value] if isinstance(value, str) else value))
        case "enum":
            return _one_of(value, error.instance)
        case None:
            return "nothing: it is not allowed here"
        case keyword if keyword in EXPECTED:
            return EXPECTED[keyword].format(shortened(value))
        case keyword:
            return f"what {keyword} asks for: {shortened(value)}"


def _one_of(values: list[Any], instance: Any) -> str:
    said = " or ".join(map(shortened, values[:NAMED])) + (f" or {len(values) - NAMED} others" if values[NAMED:] else "")
    names = [value for value in values if isinstance(value, str)]
    return said + (_closest(instance, names) if isinstance(instance, str) and values[2:] else "")


def _no_key(key: str, names: list[str]) -> str:
    if close := _closest(key, names):
        return f"no key {shortened(key)}{close}"
    known = ", ".join(map(shortened, names[:NAMED])) + (", …" if names[NAMED:] else "")
    return f"no key {shortened(key)}; the keys are {known}" if names else f"no key {shortened(key)}, nor any other"


def _closest(name: str, names: list[str]) -> str:
    # difflib compares character by character: cut, and not against thousands.
    short = {known[:SHOWN].casefold(): known for known in names[:500]}
    found = get_close_matches(name[:SHOWN].casefold(), short, 1)
    return f"; did you mean {shortened(short[found[0]])}?" if found else ""


def _missing(error: Any) -> list[str]:
    value, there = error.validator_value, error.instance
    wanted = value if isinstance(value, list) else [k for key in value if key in there for k in value[key]]
    return [key for key in wanted if key not in there]


def _keys(instance: dict[str, Any]) -> str:
    return f"only {', '.join(map(shortened, list(instance)[:NAMED]))}"[:SHOWN] if instance else "{}"
