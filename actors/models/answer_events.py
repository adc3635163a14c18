"""The events of one answer of a provider, read from its connection."""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from anyio import CancelScope, move_on_after
from msgspec.structs import replace

from ...protocol.events import CallSpoken, TextDelta
from ...protocol.failures import Failure, ToolwireError
from ...protocol.formats.contract import Answer, Hearing
from ...protocol.formats.sse import EventStream
from ...protocol.history import Opaque
from .contract import ModelEvent, ModelReply, ModelRequest
from .translated import Prefix

REST = 0.1
"""Seconds for a connection to become free after the last event, before it is given up. The SDKs wait as long."""

_DONE = b"[DONE]"


class Question(NamedTuple):
    """A request in a provider's words: its body, how names of tools in the answer lead back, and its history."""

    content: bytes
    names: Mapping[str, str]
    prefix: Prefix
    headers: Mapping[str, str]


class Speaker(Protocol):
    """A provider's model, by what its events need of it. `troubles` are what its SDK raises."""

    troubles: tuple[type[Exception], ...]

    async def open(self, request: ModelRequest) -> tuple[Any, Question]:
        """The response to `request`, whose body is still to be read, and what was asked."""
        ...

    def speech(self, asked: Question) -> Hearing:
        """Who hears what comes in pieces."""
        ...

    def whole(self, content: bytes, asked: Question) -> Answer:
        """What a body says that came in one piece."""
        ...

    def reply(self, answer: Answer) -> ModelReply:
        """`answer` as a reply."""
        ...

    def made(self, opaque: tuple[Opaque, ...]) -> tuple[Opaque, ...]:
        """What the provider said, as its own."""
        ...

    def failure(self, error: Exception) -> Failure:
        """What the SDK raised as what a model raises."""
        ...


class Events:
    """The events of one answer, inside `async with`; leaving the block ends the request."""

    def __init__(self, model: Speaker, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._events = EventStream()
        self._waiting: deque[ModelEvent] = deque()
        self._over = False

    async def __aenter__(self) -> Self:
        model = self._model
        try:
            self._response, asked = await model.open(self._request)
            self._speech = model.speech(asked)
            self._pieces: AsyncIterator[bytes] = self._response.aiter_bytes()
            if self._response.headers.get("content-type", "").startswith("application/json"):
                await self._hear_whole(asked)  # some relatives do not stream, whatever they are asked
        except model.troubles as error:
            raise ToolwireError(model.failure(error)) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _ended(self._response, self._pieces, REST if self._over else 0.0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        waiting = self._waiting
        if waiting:
            return waiting.popleft()
        try:
            while not waiting:
                if self._over:
                    raise StopAsyncIteration
                self._hear(await anext(self._pieces, None))
        except self._model.troubles as error:
            raise ToolwireError(self._model.failure(error)) from error
        return waiting.popleft()

    def _hear(self, piece: bytes | None) -> None:
        """Take in a piece of the answer, or its end."""
        speech = self._speech
        for data in self._events.feed(piece) if piece is not None else [_DONE]:
            if data != _DONE:
                for news in speech.hear(data):
                    if type(news) is CallSpoken and news.opaque:
                        news = replace(news, opaque=self._model.made(news.opaque))  # noqa: PLW2901 - the same, as its own
                    self._waiting.append(news)
                if not speech.over:
                    continue
            self._over = True
            self._waiting.append(self._model.reply(speech.answer()))
            return

    async def _hear_whole(self, asked: Question) -> None:
        try:
            content = b"".join([piece async for piece in self._pieces])
            reply = self._model.reply(self._model.whole(content, asked))
        except BaseException:
            await _ended(self._response, self._pieces, 0.0)
            raise
        self._over = True
        if reply.text:
            self._waiting.append(TextDelta(reply.text))
        self._waiting.append(reply)


async def _ended(response: Any, pieces: AsyncIterator[bytes], seconds: float) -> None:
    """End an answer, waiting `seconds` for what is left of it, so that its connection can be used again.

    The async generators in `pieces`, one within the other, end from within: at their end, or cancelled where the
    innermost waits. Left to the collector they warn on trio, and keep the connection on both loops.
    """
    with move_on_after(seconds), suppress(Exception):  # what goes wrong now no longer matters
        async for _ in pieces:
            pass
    with CancelScope(shield=True):
        await response.aclose()
