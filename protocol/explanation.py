"""Why a value does not fit a schema: every problem with its place, what was expected there, and what came.

jsonschema finds them, because it finds one after the other and each step can be counted. jsonschema-rs, which judges,
collects all errors of all branches first: a megabyte of wrong items took it 4 s and 700 MiB, sixteen nested `anyOf`
10 s. Patterns and unique items are left to jsonschema-rs here too, since Python's `re` and jsonschema's comparison of
all pairs have no bound.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, FancyRegexOptions
from msgspec import UNSET, Struct

from .wording import NAMED, SHOWN, expected, no_key, pointer, shortened

Schema = dict[str, Any]
Wrong = Callable[[str], Any]

STEPS = 5_000
"""Keywords that are applied to explain one value: about 25 ms."""
WORK = 64 * 1024 * 1024
"""Bytes that may be written out on the way: jsonschema writes a value into each message about it."""
MOST = 50
"""Problems that are looked for."""
OPTIONS: Final[dict[str, Any]] = {
    "offline": True,
    "validate_formats": False,
    # A pattern that needs look-around can run long: 10,000 steps back are 0.2 ms, and then it does not match.
    "pattern_options": FancyRegexOptions(backtrack_limit=10_000),
}
"""How every validator of jsonschema-rs is made."""

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


class Explainer:
    """Explains by one schema. It is made at once; what it needs is made when something is first to be explained."""

    __slots__ = ("_rough", "_schema", "_validator")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._validator: Any = None
        self._rough = False

    def explain(self, instance: Any, shown: Any = UNSET) -> tuple[Problem, ...]:
        """What is wrong with `instance`, which does not fit. At least one problem, at most MOST, none twice.

        `shown` is a copy of `instance` to show parts of in its place: what must not be seen is hidden there.
        """
        if self._validator is None:
            text = shortened(self._schema, None)
            self._rough = '"unevaluatedProperties"' in text and '"patternProperties"' in text
            self._validator = _explainer()(self._schema)
        shown = instance if shown is UNSET else shown
        if self._rough:
            # Together they run Python's `re` deep inside jsonschema.
            return tuple(_roughly(self._schema, instance, shown))
        found, to_the_end = self._found(instance, shown)
        if to_the_end and not found:
            return tuple(_judged(self._schema, instance, shown))
        return tuple(found)[:MOST] or tuple(_roughly(self._schema, instance, shown))

    def _found(self, instance: Any, shown: Any) -> tuple[dict[Problem, None], bool]:
        """What jsonschema finds, and whether it came to its end."""
        size = len(shortened(instance, None))
        token = _left.set([max(WORK // (size + 1), 50) if size > WORK // STEPS else STEPS])
        found: dict[Problem, None] = {}
        try:
            for error in self._validator.iter_errors(instance):
                for problem in islice(_problems(error, shown), MOST):
                    found[problem] = None
                if len(found) >= MOST:
                    break
        except (_TooLongError, RecursionError):
            return found, False
        finally:
            _left.reset(token)
        return found, True


@functools.cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches `pattern`, as jsonschema-rs sees it."""
    return Draft202012Validator({"pattern": pattern}, **OPTIONS).is_valid


def part(value: Any, steps: Iterable[str | int]) -> Any:
    """What stands at a path of `value`, or the nearest above it: what is hidden has no parts."""
    for step in steps:
        if not isinstance(value, dict | list):
            break
        value = value[step]  # type: ignore[index]  # a path that was found in a value of this very shape
    return value


def _judged(schema: Schema, instance: Any, shown: Any) -> Iterator[Problem]:
    """What jsonschema-rs says itself, where jsonschema finds nothing wrong: both are right by their own arithmetic."""
    validator = Draft202012Validator(schema, **OPTIONS, mask="this value")
    for error in islice(validator.iter_errors(instance), MOST):
        said = f"what the schema asks ({error.message[: 2 * SHOWN]})"
        place = pointer(error.instance_path)
        yield Problem(place, said, shortened(part(shown, error.instance_path)), error.kind.name)


def _roughly(schema: Schema, instance: Any, shown: Any) -> Iterator[Problem]:
    """Which of the top-level values do not fit, where saying more would take too long."""
    shared: Schema = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    said = "what the schema asks; there is too much in it to say what exactly is wrong"
    anything = False
    for name, inner in schema.get("properties", {}).items():
        if isinstance(instance, dict) and name in instance:
            alone: Schema = {**shared, "properties": {name: inner}}
            if not Draft202012Validator(alone, **OPTIONS).is_valid(instance):
                anything = True
                yield Problem(pointer([name]), said, shortened(part(shown, [name])))
    if not anything:
        yield Problem("", said, shortened(shown))


def _counted(name: str, check: Callable[..., Any]) -> Callable[..., Any]:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooLongError
        return check(validator, value, instance, schema)

    def weighed(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        if isinstance(instance, list | dict):
            _left.get()[0] -= len(instance) >> 3
        return counted(validator, value, instance, schema)

    return weighed if name in ITERATES else counted


def _pattern(wrong: Wrong, _validator: Any, value: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not matcher(value)(instance):
        yield wrong("pattern")


def _unique_items(wrong: Wrong, _validator: Any, value: object, instance: Any, _schema: Any) -> Iterator[Any]:
    if value and not Draft202012Validator({"uniqueItems": True}).is_valid(instance):
        yield wrong("uniqueItems")


def _pattern_properties(_wrong: Wrong, validator: Any, value: Schema, instance: Any, _schema: Any) -> Iterator[Any]:
    for key, there in _pairs(instance):
        for regular, inner in value.items():
            if matcher(regular)(key):
                yield from validator.descend(there, inner, path=key, schema_path=regular)


def _additional(wrong: Wrong, validator: Any, value: Any, instance: Any, schema: Schema) -> Iterator[Any]:
    keys = unknown(instance, schema)
    if value is False and keys:
        yield wrong("additionalProperties")
    elif value is not False:
        for key in keys:
            yield from validator.descend(instance[key], value, path=key)


def _descends(original: Any) -> Callable[..., Iterator[Any]]:
    """As jsonschema's own does it, which forgets the place of what a schema `false` refuses."""

    def descend(self: Any, instance: Any, schema: Any, path: Any = None, **further: Any) -> Iterator[Any]:
        errors: Iterator[Any] = original(self, instance, schema, path, **further)
        return errors if schema is not False or path is None else _placed(errors, path)

    return descend


def _placed(errors: Iterable[Any], path: Any) -> Iterator[Any]:
    for error in errors:
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
    import jsonschema  # noqa: PLC0415 - 40 ms and more, which only `load` is to take
    from jsonschema import validators  # noqa: PLC0415 - the same
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

    plain: Any = jsonschema.Draft202012Validator
    bounded = {name: functools.partial(check, jsonschema.ValidationError) for name, check in BOUNDED.items()}
    checks: dict[str, Any] = {**plain.VALIDATORS, **bounded}
    extend: Any = validators.extend
    made = extend(plain, {name: _counted(name, check) for name, check in checks.items()})
    made.descend = _descends(made.descend)
    return functools.partial(made, registry=REGISTRY)  # it holds the metaschemas, and retrieves nothing


def load() -> None:
    """Load what the first explanation needs, if it is not there yet: 40 ms and more. In any thread."""
    _explainer()


def unknown(instance: Any, schema: Schema) -> list[str]:
    """The keys of `instance` that neither `properties` nor `patternProperties` of `schema` name."""
    named, regular = schema.get("properties", {}), schema.get("patternProperties", {})
    return [k for k, _ in _pairs(instance) if k not in named and not any(matcher(r)(k) for r in regular)]


def _pairs(instance: Any) -> Iterator[tuple[str, Any]]:
    yield from instance.items() if isinstance(instance, dict) else ()


def _problems(error: Any, shown: Any) -> Iterator[Problem]:
    """An error of jsonschema's in our words: one problem a key, and those of the branch of a union that was meant."""
    path = error.absolute_path
    where = pointer(path)
    match error.validator:
        case "required" | "dependentRequired":
            for key in _missing(error):
                yield Problem(where, f"the required key {shortened(key)}", _keys(error.instance), error.validator)
        case "additionalProperties":
            names = list(error.schema.get("properties", {}))
            for key in unknown(error.instance, error.schema):
                yield Problem(
                    pointer([*path, key]),
                    no_key(key, names),
                    shortened(part(shown, [*path, key])),
                    "additionalProperties",
                )
        case "anyOf" | "oneOf":
            yield from _alternatives(error, where, shown)
        case keyword if "propertyNames" in list(error.relative_schema_path)[:-1]:
            yield Problem(where, "a key that is " + expected(error), shortened(error.instance), keyword or "")
        case keyword:
            yield Problem(where, expected(error), shortened(part(shown, path)), keyword or "")


def _alternatives(error: Any, where: str, shown: Any) -> Iterator[Problem]:
    """The problems of the one branch that was meant, if it is plain which; else all branches in one sentence."""
    branches: dict[Any, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    got = shortened(part(shown, error.absolute_path))
    if not branches:
        yield Problem(where, "a value that fits one of the alternatives only", got, error.validator)
        return
    meant = [errors for errors in branches.values() if not any(map(_other_kind, errors))]
    if len(meant) == 1:
        for inner in meant[0]:
            yield from _problems(inner, shown)
        return
    said = (" and ".join(dict.fromkeys(map(_in_a_word, errors[:3]))) for errors in branches.values())
    yield Problem(where, " or ".join(dict.fromkeys(said)), got, error.validator)


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
        said = expected(error)
    return f"{said} at {pointer(error.relative_path)}" if error.relative_path else said


def _missing(error: Any) -> list[str]:
    value, there = error.validator_value, error.instance
    wanted = value if isinstance(value, list) else [k for key in value if key in there for k in value[key]]
    return [key for key in wanted if key not in there]


def _keys(instance: dict[str, Any]) -> str:
    return f"only {', '.join(map(shortened, list(instance)[:NAMED]))}"[:SHOWN] if instance else "{}"
