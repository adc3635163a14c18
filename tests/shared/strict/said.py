"""What a provider answers, in words that are nobody's: each wire says it in its own.

`Said(text("Mild."))`, `Said(thought("hm"), call("get_weather", {"city": "Paris"}))`.
"""

import json
from typing import Any, Literal, NamedTuple

Finish = Literal["stop", "calls", "length", "filtered", "refused"]


class Text(NamedTuple):
    """What is said to the user."""

    words: str


class Thought(NamedTuple):
    """What the model thought. The provider seals it, so that nobody can change it; `hidden` shows nothing but that."""

    words: str
    hidden: bool = False


class Called(NamedTuple):
    """A call. Without an `id` the provider gives one. `arguments` are JSON text, as the model wrote it."""

    name: str
    arguments: str
    id: str = ""


class Searched(NamedTuple):
    """The provider searched the web itself, in the midst of the answer."""

    query: str


Part = Text | Thought | Called | Searched


class Counted(NamedTuple):
    """Tokens. `cached` is a part of `input`, `reasoning` of `output`."""

    input: int = 12
    output: int = 5
    cached: int = 4
    reasoning: int = 2


USUAL = Counted()


class Said(NamedTuple):
    """One answer. `finish` is how it ended; by itself "calls" if there are any, else "stop"."""

    parts: tuple[Part, ...]
    finish: Finish
    counted: Counted


def said(*parts: Part, finish: Finish | None = None, counted: Counted = USUAL) -> Said:
    """One answer of those parts."""
    calls = any(isinstance(part, Called) for part in parts)
    return Said(parts, finish or ("calls" if calls else "stop"), counted)


def text(words: str) -> Text:
    """Words to the user."""
    return Text(words)


def thought(words: str, *, hidden: bool = False) -> Thought:
    """Words to itself."""
    return Thought(words, hidden)


def call(name: str, arguments: Any = None, id_: str = "") -> Called:
    """A call; arguments that are no text yet are written as JSON."""
    told = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return Called(name, told, id_)


def searched(query: str) -> Searched:
    """A search of the provider's own."""
    return Searched(query)
