"""What the answer of a turn has to be: how a model is told it, what its text says, and what is wrong with that.

A provider's own mode wants an object at the top of a schema. Whatever else is asked for is told as the one property
`value` of an object; an answer may leave that object out. A text asked for by its type alone is the answer's text.
"""

import json
import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from .agreement import REF, Schema, whole
from .annotations import readable, spelled
from .arguments import LISTED, Checker, value_of
from .components import DATA, components
from .explanation import Problem
from .failures import Failure, Misuse, failed
from .history import ANSWER_AGAIN
from .repair import unfenced
from .standins import converted
from .tools import encode_json
from .wording import shortened
from .written import UNSCHEMED

KEPT = 256
"""Types whose outputs are kept: one is made in 0.1 ms and more."""
RETRIES = 2
"""How often a model is asked again for an answer that fits, unless an agent says otherwise."""
DEEPEST = 100
"""Levels of arrays and objects in an answer. Beyond, who takes it apart may come to the end of Python's stack."""
VALUE = "value"

_BRACKET = re.compile(r"[\[{]")
_sent = msgspec.msgpack.Encoder().encode
_scan = json.JSONDecoder().raw_decode
_NO_JSON = (ValueError, RecursionError)


class Output:
    """What an answer has to be: of the type `kind` (Any, if only its schema is known).

    `schema` is that of the value, `told` what a model has to fit, None where any text will do. Raises Misuse for what
    is no schema.
    """

    __slots__ = ("_checker", "_wrapped", "kind", "schema", "told")

    def __init__(self, schema: Schema, kind: Any = Any) -> None:
        self.schema = schema
        self.kind = kind
        self._wrapped = False
        self.told: Schema | None = None
        self._checker = Checker(schema)  # which refuses what is no schema, before it is taken apart
        if schema != {"type": "string"}:
            top = _behind(schema)
            self._wrapped = top.get("type") != "object" or not {"anyOf", "oneOf", "allOf"}.isdisjoint(top)
            self.told = _inside(schema) if self._wrapped else _lean(top)
            self._checker = Checker(self.told)

    def __repr__(self) -> str:
        return f"<Output {spelled(self.kind) if self.kind is not Any else shortened(self.schema)}>"

    def heard(self, text: str) -> Any:
        """The value that an answer says, as plain JSON; a Failure, `invalid_output`, with all that is wrong with it."""
        if self.told is None:
            return text
        value = one_value(text)
        if value is UNSET:
            value = text.strip()  # one of some texts may be said without quotes
            top = _behind(self.schema)
            if value not in top.get("enum", [top.get("const")]):
                return invalid((Problem("", "one JSON value, alone or as the only one in a text", _got(text)),))
        elif len(text) > 2 * DEEPEST and deeper(value, DEEPEST):
            return invalid((Problem("", f"at most {DEEPEST} levels of arrays and objects", "more"),))
        try:
            return self._fitted(value)
        except (ValueError, OverflowError) as error:  # what can't be checked, or sent on
            return invalid((Problem("", "a value that can be checked and sent on", str(error)[:200]),))

    def typed(self, value: Any) -> Any:
        """`value`, plain JSON that fits, as one of the type asked for. Raises msgspec.ValidationError."""
        if self.kind is Any:
            return value
        return converted(whole(value, self.schema, self.schema.get("$defs", {})), self.kind)

    def correction(self, failure: Failure) -> str:
        """What a model is told whose answer did not fit."""
        said = f"{failure.message}{ANSWER_AGAIN}"
        if failure.details["errors"][0]["pointer"] or self.told is None:
            return f"{said}."
        return f"{said} this JSON Schema: {encode_json(self.told).decode()}"

    def _fitted(self, value: Any) -> Any:
        """`value` as it fits, perhaps mended, without what it was wrapped in; or what is wrong with it."""
        bare = self._wrapped and not (isinstance(value, dict) and value.keys() == {VALUE})
        read: list[Any] = [{VALUE: value}] if bare else [value]
        if self._wrapped and not bare:
            read.append({VALUE: value})  # which has that key by itself
        for each in read:
            if not self._checker.check(each):
                return self._judged(each)
        meant = self._checker.meant(read[0])
        if not self._checker.check(meant):
            return self._judged(meant)
        return invalid(self._checker.check(read[0]))

    def _judged(self, value: Any) -> Any:
        """What fits the schema may still be nothing that the type takes: a date that there never was."""
        inner = value[VALUE] if self._wrapped else value
        _sent(inner)
        try:
            self.typed(inner)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            place = f"/{VALUE}" if self._wrapped else ""
            return invalid((Problem(place, f"a value that its type takes ({error})", _got(inner)),))
        return inner


class Wanted(Struct, eq=False):
    """The output that one turn wants, and how often its model may still be asked again."""

    output: Output
    left: int = RETRIES


class Outputs:
    """The outputs of a conversation: what holds where nothing else is asked for, and what its schemas stand for.

    A schema alone does not say of what type its values are in this process; whoever has the type says so by `add`.
    """

    __slots__ = ("_known", "default", "retries")

    def __init__(self, default: Output | None = None, retries: int = RETRIES) -> None:
        self.default = default
        self.retries = retries
        self._known: dict[bytes, Output] = {}

    def add(self, output: Output) -> None:
        """From now on the schema of `output` stands for its type."""
        if len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[encode_json(output.schema)] = output

    def wanted(self, schema: Schema | None) -> Wanted | None:
        """What a turn wants that was asked for an answer of this schema; of none in particular, if it is None.

        Raises Misuse for what is no schema.
        """
        output = self.default
        if schema is not None:
            output = self._known.get(encode_json(schema))
            if output is None:
                self.add(output := output_of(schema))
        return None if output is None else Wanted(output, self.retries)


def output_of(kind: Any) -> Output:
    """What an answer of the type `kind` has to be; `kind` may be a JSON Schema. Raises Misuse for what has none."""
    if isinstance(kind, dict):
        try:
            return _schemed(encode_json(kind))
        except TypeError as error:
            raise Misuse(failed("invalid_call", f"the schema of an answer is not JSON: {error}")) from error
    try:
        hash(kind)
    except TypeError:  # what stands in an Annotated may be anything
        if isinstance(kind, list | set):
            said = f"an answer is of a type, such as list[int], or fits a JSON Schema: {kind!r:.100} is neither"
            raise Misuse(failed("invalid_call", said)) from None
        return _made(kind)
    return _typed(kind)


def one_value(text: str) -> Any:
    """The one JSON value that `text` is, or holds, in a fence or among words; UNSET for none, and for several.

    Among words only objects and arrays are seen. One that is cut off is none, nor is what stands in it.
    """
    inside = unfenced(text)
    value = value_of(text if inside is None else inside)
    if value is not UNSET:
        return value
    found, at = UNSET, 0
    while (bracket := _BRACKET.search(text, at)) is not None:
        if found is not UNSET:
            return UNSET
        try:
            _, at = _scan(text, bracket.start())
        except _NO_JSON:
            return UNSET
        found = value_of(text[bracket.start() : at])
        if found is UNSET:
            return UNSET
    return found


def deeper(value: Any, levels: int) -> bool:
    """Whether there are more levels than that in `value`."""
    level = [value]
    for _ in range(levels):
        inner = [each for each in level if isinstance(each, list | dict)]
        level = [part for each in inner for part in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return any(isinstance(each, list | dict) for each in level)


def invalid(problems: tuple[Problem, ...]) -> Failure:
    """The failure of an answer with these problems, of which it lists the first."""
    errors = [{"pointer": each.pointer, "expected": each.expected, "got": each.got} for each in problems[:LISTED]]
    lines = [f"{each['pointer'] or 'at the top'}: expected {each['expected']}, got {each['got']}" for each in errors]
    said = "the answer is not what was asked for: " + ("\n- " if len(lines) > 1 else "") + "\n- ".join(lines)
    if len(problems) > LISTED:
        said += f"\n- and at least {len(problems) - LISTED} more"
    return failed("invalid_output", said, errors=errors)


@lru_cache(KEPT)
def _schemed(schema: bytes) -> Output:
    return Output(msgspec.json.decode(schema))


@lru_cache(KEPT)
def _typed(kind: Hashable) -> Output:
    return _made(kind)


def _made(kind: Any) -> Output:
    try:
        readable_kind = readable(kind)
        (schema,), definitions = components([readable_kind])
    except UNSCHEMED as error:
        reason = str(error).strip().rsplit("\n", 1)[-1] or type(error).__name__
        said = f"an answer can't be of the type {spelled(kind)}, which has no JSON Schema: {reason}"
        raise Misuse(failed("invalid_call", said)) from error
    return Output(schema | ({"$defs": definitions} if definitions else {}), readable_kind)


def _behind(schema: Schema) -> Schema:
    """`schema`, if it only refers to a definition of its own, with that at its top."""
    for _ in range(len(schema.get("$defs", ()))):
        reference = str(schema.get("$ref"))
        found = schema["$defs"].get(reference[len(REF) :]) if reference.startswith(REF) else None
        if not isinstance(found, dict) or "$defs" in found:
            break
        schema = {**found, **{word: said for word, said in schema.items() if word != "$ref"}}
    return schema


def _lean(schema: Schema) -> Schema:
    """`schema` without definitions that nothing in it refers to."""
    rest = {word: said for word, said in schema.items() if word != "$defs"}
    return schema if REF.encode() in encode_json(rest) else rest


def _inside(schema: Schema) -> Schema:
    """The schema of an object whose one property is of `schema`. References stay right."""
    inner = {word: said for word, said in schema.items() if word not in {"$defs", "$schema", "$id"}}
    top: Schema = {
        "type": "object",
        "properties": {VALUE: _moved(inner)},
        "required": [VALUE],
        "additionalProperties": False,
    }
    return top | ({"$defs": _moved(schema["$defs"])} if "$defs" in schema else {})


def _moved(node: Any) -> Any:
    """A part of a schema whose references to the whole lead to where that is now. Definitions stay at the top."""
    if isinstance(node, list):
        return [_moved(each) for each in node]
    if not isinstance(node, dict):
        return node
    moved = {key: value if key in DATA else _moved(value) for key, value in node.items()}
    reference = node.get("$ref")
    if isinstance(reference, str) and re.match(r"#(/|$)", reference) and not reference.startswith(REF):
        moved["$ref"] = f"#/properties/{VALUE}{reference[1:]}"
    return moved


def _got(value: Any) -> str:
    return shortened(value) if value != "" else "nothing"
