"""The arguments of a call against a JSON Schema (2020-12): whether they fit, what they were meant to be, and if that
does not fit either, all that is wrong with them.

jsonschema-rs gives the quick yes or no (0.4 µs); only after a no does jsonschema explain (`explanation.py` says why).
Neither ever fetches a `$ref`: whatever is not in the schema itself, or a metaschema, is refused when a `Checker` is
made.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from jsonschema_rs import Draft202012Validator, ReferencingError, ValidationError
from msgspec.structs import replace

from .explanation import OPTIONS, Explainer, Problem
from .failures import Failure, Misuse, failed
from .leniency import Leniency, note
from .redaction import Redaction, has_secrets, hushed
from .repair import repaired, unfenced
from .secret import HIDDEN
from .soundness import unsound
from .tools import Mended, encode_json
from .wording import pointer

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


class Understood(NamedTuple):
    """Arguments that fit, as JSON text, and what was changed until they did."""

    text: str
    mended: tuple[Mended, ...]


class Checker:
    """Judges arguments by one schema. Made once for each schema (about 20 µs); it has no state but the schema.

    What the schema marks as secret is shown in no failure, and in no note of what was mended.

    Raises Misuse (`invalid_call`) for what is no schema, saying where and why: an unknown type, a pattern that is no
    regular expression, a `$ref` to nowhere or to the network, a schema that refers to itself without going deeper.
    """

    __slots__ = ("_explainer", "_fits", "_leniency", "redaction", "schema")

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
        self.redaction = Redaction(schema) if has_secrets(schema) else None
        self._leniency = Leniency(schema)
        self._explainer = Explainer(schema)

    def judge(self, text: str | bytes) -> Failure | None:
        """Why `text` can't be the arguments; None if it can."""
        understood = self.understand(text, lenient=False)
        return understood if isinstance(understood, Failure) else None

    def understand(
        self, text: str | bytes, *, lenient: bool = True, repair: bool = False
    ) -> Understood | Failure | None:
        """What `text` means as arguments: None if it fits as it stands, else a text that fits, or why none does.

        `lenient` and `repair` let a text that does not fit be mended, as `leniency` and `repair` tell.
        """
        arguments = parse(text)
        try:
            if not isinstance(arguments, Failure):
                return None if self._fits(arguments) else self._mended(arguments, (), len(text), lenient=lenient)
            if arguments.code == "too_large" or (read := self._reread(text, lenient=lenient, repair=repair)) is None:
                return arguments if self.redaction is None else silenced(arguments)
            return self._mended(*read, len(text), lenient=lenient)
        except ValueError as error:
            return failed("invalid_arguments", f"the arguments can't be checked: {error}")

    def check(self, instance: Any) -> tuple[Problem, ...]:
        """All that is wrong with `instance` (plain JSON values), as far as `explanation.STEPS` go; empty if it fits."""
        if self._fits(instance):
            return ()
        return self._explained(instance)

    def _explained(self, instance: Any) -> tuple[Problem, ...]:
        shown = instance if self.redaction is None else self.redaction.shown(instance)
        return self._explainer.explain(instance, shown)

    def meant(self, arguments: Any) -> Any:
        """`arguments`, decoded, mended as far as there is one way to read them. They need not fit then."""
        return self._leniency.mend(arguments, len(encode_json(arguments))).value

    def shown(self, text: str) -> str:
        """`text` as others may see it: without its secrets."""
        if self.redaction is None:
            return text
        arguments = parse(text)
        return encode_json(HIDDEN if isinstance(arguments, Failure) else self.redaction.shown(arguments)).decode()

    def _mended(
        self, arguments: dict[str, Any], mended: tuple[Mended, ...], size: int, *, lenient: bool
    ) -> Understood | Failure:
        """The arguments as they fit, after what is `mended` already."""
        if lenient:
            meant, more = self._leniency.mend(arguments, size)
            if isinstance(meant, dict):  # not, where a schema of arguments asks for an array
                arguments, mended = meant, mended + more
        if not mended or not self._fits(arguments):
            return unfit(self._explained(arguments))
        if self.redaction is not None:
            shown = self.redaction.shown(arguments)
            mended = tuple(hushed(each, arguments, shown) for each in mended)
        return Understood(encode_json(arguments).decode(), mended)

    def _reread(
        self, text: str | bytes, *, lenient: bool, repair: bool
    ) -> tuple[dict[str, Any], tuple[Mended, ...]] | None:
        """The object that a text which is none was meant to be, and what was done for that."""
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        for what, value in self._readings(text) if lenient else ():
            if isinstance(value, dict):
                return value, (note((), what, text, value),)
        value = repaired(text) if repair else None
        return None if value is None else (value, (note((), "repaired JSON", text, value),))

    def _readings(self, text: str) -> Iterator[tuple[str, Any]]:
        """What a text that is no object may stand for, without a guess."""
        if (inside := unfenced(text)) is not None:
            yield "a code fence around the JSON", value_of(inside)
        inner = value_of(text)
        if isinstance(inner, str):
            yield "JSON text in place of an object", value_of(inner)
        if inner is None and not self.schema.get("properties"):
            yield "null in place of no arguments", {}


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


def silenced(failure: Failure) -> Failure:
    """`failure` of a text that is no JSON, without the part of the text that it shows."""
    return replace(failure, message=failure.message.partition(", near ")[0])


def value_of(text: str) -> Any:
    """What JSON text stands for; UNSET for a text that is no JSON."""
    try:
        return decode_json(text)
    except NO_JSON:
        return msgspec.UNSET


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
