"""Calls that a model writes as text, told apart from the text around them while it is still being written.

The parts that all notations share; `notations` names them. No character is lost: what turns out to be no call is text,
and so is all that comes before, between and after calls, but for the blanks that set calls apart.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from json import JSONDecodeError, JSONDecoder
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from .tools import ToolCall

Piece = str | ToolCall
"""What was heard: text, or a call, as soon as all of it is there."""

BLANK = " \t\r\n"


class TextCalls:
    """Hears text in pieces, cut anywhere, and gives text and calls. `ids` makes up an id for each call.

    A notation is a state machine: its state is a method that takes what has come and gives back what it leaves for the
    next state. It holds back only what may be the beginning of a call. How the text is cut does not change what is
    heard, and all of it is looked at once.
    """

    def __init__(self, ids: Callable[[], str], offered: frozenset[str] = frozenset()) -> None:
        self._ids = ids
        self._offered = offered
        self._state: Callable[[str], str] = self._text
        self._heard: list[Piece] = []
        self._gap: str | None = None

    def hear(self, delta: str) -> list[Piece]:
        """What is certain now, in order."""
        self._go_on(delta)
        heard, self._heard = self._heard, []
        return heard

    def end(self) -> list[Piece]:
        """The rest, as no more will come. A call among it may be torn: then its arguments are no JSON."""
        while rest := self._ended():
            self._go_on(rest)
        heard, self._heard = self._heard, []
        return heard

    def _go_on(self, rest: str) -> None:
        while rest:
            rest = self._state(rest)

    def _text(self, rest: str) -> str:
        raise NotImplementedError

    def _ended(self) -> str:
        """Tell what is held back; gives back what has to be heard anew."""
        raise NotImplementedError

    def _say(self, text: str) -> None:
        """`text` is text. Blanks after a call wait: if another call follows, or nothing, they are dropped."""
        if not text:
            return
        if self._gap is not None:
            if not text.strip(BLANK):
                self._gap += text
                return
            text, self._gap = self._gap + text, None
        if self._heard and isinstance(last := self._heard[-1], str):
            self._heard[-1] = last + text
        else:
            self._heard.append(text)

    def _call(self, name: str, arguments: str) -> None:
        self._gap = ""
        self._heard.append(ToolCall(self._ids(), name, arguments))


class Scan:
    """Finds the end of a JSON object or array that comes in pieces.

    `stop` is what can't stand in one outside of quotes; more than a character of it has to come in one piece. Without
    `quotes` they are passed over, where they can't be trusted.
    """

    __slots__ = ("_depth", "_escaped", "_pieces", "_quoted", "_tokens")

    def __init__(self, stop: str = "", *, quotes: bool = True) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._tokens = re.compile((f"{re.escape(stop)}|" if stop else "") + (r'["\\{}\[\]]' if quotes else r"[{}\[\]]"))
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._pieces)

    @property
    def closed(self) -> bool:
        """Whether each brace is closed."""
        return self._depth <= 0

    def feed(self, piece: str) -> int:
        """How much of `piece` belongs to it, if it ends there; -1 if it goes on."""
        at = 1 if self._escaped else 0
        self._escaped = False
        while (found := self._tokens.search(piece, at)) is not None:
            mark, at = found[0], found.end()
            if mark == "\\":
                self._escaped = self._quoted and at == len(piece)
                at += self._quoted
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted and self._ends(mark):
                at -= 0 if mark in "}]" else len(mark)
                self._pieces.append(piece[:at])
                return at
        self._pieces.append(piece)
        return -1

    def _ends(self, mark: str) -> bool:
        if mark in "{[":
            self._depth += 1
        elif mark in "}]":
            self._depth -= 1
        else:
            return True
        return self._depth <= 0


class Written(NamedTuple):
    """A call as it was written: the tool, and the arguments as JSON text, which may be malformed."""

    name: str
    arguments: str


class _Call(Struct, forbid_unknown_fields=True, gc=False):
    name: str
    arguments: Raw = Raw()
    parameters: Raw = Raw()  # Llama's word
    type: str | None = None
    id: str | int | None = None


_decode = msgspec.json.Decoder(_Call).decode
_decode_several = msgspec.json.Decoder(list[_Call]).decode
_decode_text = msgspec.json.Decoder(str).decode

_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,200})"')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*(?=\S)')
_value_at = JSONDecoder().raw_decode


def calls_in(text: str) -> list[Written] | None:
    """The calls that a JSON object, or an array of them, is; None if it is anything else."""
    try:
        return [as_written(call) for call in (_decode_several(text) if text[:1] == "[" else [_decode(text)])] or None
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return None


def as_written(call: _Call) -> Written:
    """`call` with its arguments as text: an object, or, as OpenAI has it, text that holds one."""
    text = (bytes(call.arguments) or bytes(call.parameters)).decode()
    if text[:1] == '"':
        text = _decode_text(text)
    return Written(call.name, "{}" if text in {"", "null"} else text)


def broken_call(text: str, *, closed: bool) -> Written | None:
    """The call that a malformed object was meant to be, with its arguments as they stand there; None without a name.

    Nothing is mended here: whoever takes the call says what is wrong with it, or mends it where that is allowed.
    `closed`: its last brace is the object's own.
    """
    name, at = _NAME.search(text), _ARGUMENTS.search(text)
    if name is None or at is None:
        return None
    arguments = text[at.end() :]
    with suppress(JSONDecodeError, RecursionError):
        _, end = _value_at(arguments)
        if not arguments[end:].strip(BLANK + "}"):  # a brace is missing, or one too many
            return Written(name[1], arguments[:end])
    return Written(name[1], arguments.rstrip(BLANK).removesuffix("}") if closed else arguments)


def beginning(text: str, mark: str) -> int:
    """How many of the last characters of `text` may be the beginning of `mark`."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
