"""The calls that a file holds: a list of our own, or a model's response in the words of its provider."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from ....protocol.failures import Misuse, ToolwireError, failed
from ....protocol.spoken import format_named
from ....protocol.tools import ToolCall, ToolSpec

KEYS = ("id", "tool", "name", "arguments", "after")

SHAPES: tuple[tuple[str, str], ...] = (
    ("choices", "openai"),
    ("tool_calls", "openai"),
    ("output", "openai_responses"),
    ("candidates", "gemini"),
    ("content", "anthropic"),
)
"""By which key a response of a provider is known."""

ENTRIES: tuple[tuple[str, str, str], ...] = (
    ("function", "", "openai"),
    ("functionCall", "", "gemini"),
    ("type", "tool_use", "anthropic"),
    ("type", "function_call", "openai_responses"),
)
"""By which key, or its value, one call in a provider's words is known."""


class Asked(NamedTuple):
    """The calls of a file, and whether they may name each other by their ids: a model's response may not."""

    calls: list[ToolCall]
    ids: bool


def asked(file: str, text: bytes, specs: Iterable[ToolSpec] = ()) -> Asked:
    """The calls in `text`, which stands in `file`. Providers' names of `specs` are read as ours.

    Raises Misuse: what is wrong, and where.
    """
    try:
        return read(text, list(specs))
    except Misuse as misuse:
        place = "standard input" if file == "-" else file
        raise wrong(f"{place}: {misuse.failure.message}") from None


def read(text: bytes, specs: list[ToolSpec]) -> Asked:
    """The calls in `text`."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise wrong(f"it is no JSON: {error}{where(text, str(error))}") from None
    if isinstance(found, dict):
        return of_response(found, specs)
    if not isinstance(found, list):
        raise wrong("it holds neither a list of calls nor a response with calls")
    if any(map(provider_of, found)):
        return Asked([theirs(n, entry, specs) for n, entry in enumerate(found, 1)], ids=False)
    return Asked([ours(n, entry) for n, entry in enumerate(found, 1)], ids=True)


def of_response(found: dict[str, Any], specs: list[ToolSpec]) -> Asked:
    """The calls of a whole response."""
    if isinstance(steps := found.get("steps"), list):
        return Asked([ours(n, entry) for n, entry in enumerate(steps, 1)], ids=True)
    provider = next((provider for key, provider in SHAPES if key in found), None)
    if provider is None:
        keys = ", ".join(map(repr, list(found)[:8])) or "no keys"
        raise wrong(f"it is an object with {keys}: neither a list of calls nor a response of a known provider")
    spoken = format_named(provider)
    response: object = {"choices": [{"message": found}]} if "tool_calls" in found else found
    try:
        answer = spoken.answer_from(response, spoken.names.back(specs))
    except (ValueError, ToolwireError, msgspec.MsgspecError) as error:
        raise wrong(f"it can't be read as a response of {provider}: {error}") from None
    return Asked(list(answer.calls), ids=False)


def theirs(n: int, entry: object, specs: list[ToolSpec]) -> ToolCall:
    """The call number `n` in a provider's words."""
    provider = provider_of(entry)
    if not provider:
        raise wrong(f"entry {n} is no call, while others are calls in a provider's words")
    spoken = format_named(provider)
    try:
        call: ToolCall = spoken.call_from(entry, spoken.names.back(specs))
    except (ValueError, msgspec.MsgspecError) as error:
        raise wrong(f"entry {n} can't be read as a call of {provider}: {error}") from None
    return call


def ours(n: int, entry: object) -> ToolCall:
    """The call number `n` in our words. Without an id it is `call_n`."""
    if not isinstance(entry, dict):
        raise wrong(f"entry {n} is {kind(entry)}, not an object with {', '.join(KEYS)}")
    if strange := [key for key in entry if key not in KEYS]:
        raise wrong(f"entry {n} has a key {strange[0]!r:.60}; a call has {', '.join(KEYS)}")
    named = [entry[key] for key in ("tool", "name") if key in entry]
    if len(named) != 1 or not isinstance(named[0], str):
        raise wrong(f'entry {n} says {"twice" if len(named) > 1 else "not"} which tool is called: "tool" is its name')
    arguments, after, identity = entry.get("arguments", {}), entry.get("after", []), entry.get("id", f"call_{n}")
    if not isinstance(arguments, dict | str):
        raise wrong(f"the arguments of entry {n} are {kind(arguments)}, not an object, or JSON text")
    names = [after] if isinstance(after, str) else after
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise wrong(f'"after" of entry {n} is {kind(after)}, not a list of ids')
    if not isinstance(identity, str):
        raise wrong(f"the id of entry {n} is {kind(identity)}, not text")
    return ToolCall(identity, named[0], arguments, tuple(names))


def provider_of(entry: object) -> str:
    """In whose words an entry is a call; "" for nobody's."""
    if not isinstance(entry, dict):
        return ""
    return next((name for key, value, name in ENTRIES if key in entry and value in ("", entry[key])), "")


def kind(value: object) -> str:
    """What JSON calls a value."""
    words = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return words.get(type(value), "a number")


def where(text: bytes, said: str) -> str:
    """The line and the column of what a decoder complains about, where it says at which byte that is."""
    found = re.search(r"\(byte (\d+)\)$", said)
    if found is None:
        return ""
    *lines, last = text[: int(found[1])].split(b"\n")
    return f", in line {len(lines) + 1}, column {len(last) + 1}"


def wrong(said: str) -> Misuse:
    """What is raised for a file that holds no calls."""
    return Misuse(failed("invalid_call", said))
