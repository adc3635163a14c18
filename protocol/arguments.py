"""The arguments of a call against a JSON Schema (2020-12): whether they fit, and if not, all that is wrong with them.

jsonschema-rs gives the quick yes or no (0.4 µs); only after a no does jsonschema explain (`explanation.py` says why).
Neither ever fetches a `$ref`: whatever is not in the schema itself, or a metaschema, is refused when a `Checker` is
made.
"""

import re
from typing import Any

import msgspec
from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError

from .explanation import OPTIONS, Problem, explain, pointer
from .failures import Failure, Misuse, failed
from .soundness import unsound

LARGEST = 1024 * 1024
"""Bytes of JSON text that the arguments of one call may have."""
LISTED = 10
"""Problems that a failure spells out. Of more it says only that there are more."""
NEAR = 20
"""Characters shown on both sides of where a text stops being JSON."""

NO_JSON = (msgspec.MsgspecError, RecursionError, OverflowError, ValueError)
"""What msgspec raises for a text that is no JSON. UnicodeDecodeError and UnicodeEncodeError are ValueErrors."""

TYPES = '"array", "boolean", "integer", "null", "number", "object", "string"'

decode_json = msgspec.json.Decoder().decode


class Checker:
    """Judges arguments by one schema. Made once for each schema (about 20 µs); it has no state but the schema.

    Raises Misuse (`invalid_call`) for what is no schema, saying where and why: an unknown type, a pattern that is no
    regular expression, a `$ref` to nowhere or to the network, a schema that refers to itself without going deeper.
    """

    __slots__ = ("_fits", "schema")

    def __init__(self, schema: dict[str, Any]) -> None:
        try:
            self._fits = Draft202012Validator(schema, **OPTIONS).is_valid
        except ValidationError as error:
            raise no_schema(_wrong_in(error)) from error
        except (ReferencingError, RecursionError, TypeError, ValueError) as error:
            raise no_schema(str(error)[:200]) from error
        if reason := unsound(schema):
            raise no_schema(reason)
        self.schema = schema

    def judge(self, text: str | bytes) -> Failure | None:
        """Why `text` can't be the arguments; None if it can."""
        arguments = parse(text)
        if isinstance(arguments, Failure):
            return arguments
        try:
            if self._fits(arguments):
                return None
        except ValueError as error:
            return failed("invalid_arguments", f"the arguments can't be checked: {error}")
        return unfit(self.check(arguments))

    def check(self, instance: Any) -> tuple[Problem, ...]:
        """All that is wrong with `instance` (plain JSON values), as far as `explanation.STEPS` go; empty if it fits."""
        return () if self._fits(instance) else explain(self.schema, instance)


def parse(text: str | bytes) -> dict[str, Any] | Failure:
    """The arguments that `text` holds: a JSON object. Else a failure that says what stands there instead."""
    if len(text) * 4 > LARGEST and (size := _size(text)) > LARGEST:
        said = f"the arguments have {size} bytes; at most {LARGEST} are taken"
        return failed("too_large", said, size=size, limit=LARGEST)
    try:
        value = decode_json(text)
    except NO_JSON as error:
        return failed("invalid_arguments", _no_json(text, error))
    if type(value) is not dict:
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
        return failed("invalid_arguments", f'the arguments have to be a JSON object such as {{"key": 1}}, not {kind}')
    return value


def unfit(problems: tuple[Problem, ...]) -> Failure:
    """The failure that tells `problems`, in words that a model can act on."""
    listed = problems[:LISTED]
    lines = [f"{p.pointer or 'at the top'}: expected {p.expected}, got {p.got}" for p in listed]
    said = "the arguments do not fit the schema: " + ("\n- " if len(lines) > 1 else "") + "\n- ".join(lines)
    if len(problems) > LISTED:
        said += f"\n- and at least {len(problems) - LISTED} more"
    errors = [{"pointer": p.pointer, "expected": p.expected, "got": p.got} for p in listed]
    return failed("invalid_arguments", said, errors=errors)


def no_schema(reason: str) -> Misuse:
    """The exception for a schema that is none."""
    return Misuse(failed("invalid_call", f"this is no usable JSON Schema (2020-12): {reason}"))


def _size(text: str | bytes) -> int:
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _wrong_in(error: ValidationError) -> str:
    where = f"at {pointer(error.instance_path)}: " if error.instance_path else ""
    if error.instance_path[-1:] == ["type"]:
        return f"{where}{str(error.instance)[:80]!r} is no type; the types are {TYPES}"
    return where + error.message[:200]


def _no_json(text: str | bytes, error: Exception) -> str:
    """What is wrong with a text that is no JSON, and where."""
    if not text.strip():
        return "the arguments are empty; without any, write {}"
    if isinstance(error, RecursionError):
        return "the arguments are nested too deeply"
    if isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        return f"the arguments are no UTF-8 text: {error.reason}"
    said = f"the arguments are no JSON: {error}"
    if found := re.search(r"\(byte (\d+)\)$", said):
        at = int(found[1])
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        near = raw[max(0, at - NEAR) : at + NEAR].decode("utf-8", "ignore")
        said += f", near {near!r}"
    return said.replace("Input data was truncated", "the text ends too early, or holds half a surrogate pair")
