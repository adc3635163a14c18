"""A model whose calls are read from the text that it writes, where its server does not do that."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from random import SystemRandom
from string import ascii_letters, digits
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ...protocol.events import CallSpoken, TextDelta
from ...protocol.failures import Misuse, failed
from ...protocol.notations import NOTATIONS
from ...protocol.text_calls import Piece, TextCalls
from ...protocol.tools import ToolCall
from .contract import Model, ModelEvent, ModelReply, ModelRequest
from .standing import Standing

ID = 9
"""Characters of an id that is made up: what Mistral's templates take, and no other. A letter or a digit each, so that
among a million of them two are the same in one of 27,000 runs."""

_chance = SystemRandom()
_SIGNS = ascii_letters + digits


def parsed(model: Model, notation: str) -> "Parsed":
    """`model`, with the calls that it writes as text read by the notation of that name. Raises Misuse."""
    if notation not in NOTATIONS:
        known = ", ".join(map(repr, sorted(NOTATIONS)))
        raise Misuse(failed("invalid_call", f"there is no tool_parser {notation!r:.100}; there are: {known}"))
    return Parsed(model, notation)


class Parsed(Standing):
    """Reads calls from the text of `model`, by a notation of `protocol.notations`.

    A call is told, and may start, as soon as its last brace is there; no text is held back but what may begin one. The
    ids are made up. Calls that the server understands by itself go on as they are. Only text is changed: the history
    goes to the model as always, with the calls as calls and their results as `tool` messages, which its server's chat
    template writes as the model has learned them. Where there are no tools, or none is to be called, nothing is read.
    """

    def __init__(self, model: Model, notation: str) -> None:
        super().__init__(model)
        self.notation = notation

    def __repr__(self) -> str:
        return f"<Parsed {self.inner!r} [tool_parser: {self.notation}]>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`."""
        reply = await self.inner.complete(request)
        if not reply.text or not reads(request):
            return reply
        reading = Reading(self.reader(request))
        reading.hear(reply.text)
        return reading.answered(reply)[1]

    def reader(self, request: ModelRequest) -> TextCalls:
        """What reads the answer to `request`."""
        return NOTATIONS[self.notation](made_up, frozenset(tool.name for tool in request.tools))

    def _stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`."""
        inner = self._hear(request)
        return Read(inner, self.reader(request)) if reads(request) else inner


def reads(request: ModelRequest) -> bool:
    """Whether there may be calls in the answer."""
    return bool(request.tools) and request.tool_choice != "none"


class Reading:
    """One answer while its text is read: what was told of it, and the reply that comes of that."""

    __slots__ = ("_calls", "_reader", "_text", "_theirs")

    def __init__(self, reader: TextCalls) -> None:
        self._reader = reader
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._theirs = 0

    def hear(self, text: str) -> list[ModelEvent]:
        """What is certain with that much more text."""
        return [self._event(piece) for piece in self._reader.hear(text)]

    def call(self, spoken: CallSpoken) -> list[ModelEvent]:
        """The same with a call that the server has understood by itself: the text before it has ended."""
        self._theirs += 1
        told = [self._event(piece) for piece in self._reader.end()]
        self._calls.append(spoken.call)
        return [*told, replace(spoken, position=len(self._calls) - 1)]

    def answered(self, reply: ModelReply) -> tuple[list[ModelEvent], ModelReply]:
        """What was held back, if it is text, and `reply` as all of it was told.

        A call that only ends with the reply is at the end of that, and not told before: it may be torn.
        """
        told: list[ModelEvent] = [self._event(piece) for piece in self._reader.end()]
        calls = (*self._calls, *reply.calls[self._theirs :])
        text = "".join(self._text) if self._text or self._calls else reply.text
        finish = "calls" if calls and reply.finish == "stop" else reply.finish
        changed = text != reply.text and any(block.text for block in reply.opaque)
        opaque = () if changed else reply.opaque
        texts = [event for event in told if isinstance(event, TextDelta)]
        return [*texts], replace(reply, text=text, calls=calls, finish=finish, opaque=opaque)

    def _event(self, piece: Piece) -> ModelEvent:
        if isinstance(piece, str):
            self._text.append(piece)
            return TextDelta(piece)
        self._calls.append(piece)
        return CallSpoken(piece, len(self._calls) - 1)


class Read:
    """The events of an answer whose text is read, inside `async with`."""

    __slots__ = ("_events", "_inner", "_reading", "_waiting")

    def __init__(self, inner: AbstractAsyncContextManager[AsyncIterator[ModelEvent]], reader: TextCalls) -> None:
        self._inner = inner
        self._reading = Reading(reader)
        self._waiting: list[ModelEvent] = []

    async def __aenter__(self) -> Self:
        self._events = aiter(await self._inner.__aenter__())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        while not self._waiting:
            event = await anext(self._events)
            if isinstance(event, TextDelta):
                told = self._reading.hear(event.text)
            elif isinstance(event, CallSpoken):
                told = self._reading.call(event)
            elif isinstance(event, ModelReply):
                told, reply = self._reading.answered(event)
                told.append(reply)
            else:
                return event
            self._waiting = told[::-1]
        return self._waiting.pop()


def made_up() -> str:
    """An id for a call that has none."""
    return "".join(_chance.choices(_SIGNS, k=ID))
