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
from ...protocol.usage import Usage
from ...protocol.wasted import added, usage_in, wasted
from .contract import ModelEvent, ModelReply, ModelRequest
from .translated import Disowned, Prefix

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

    model: str
    troubles: tuple[type[Exception], ...]

    async def open(self, request: ModelRequest, disowned: Disowned = Disowned.NOTHING) -> tuple[Any, Question]:
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

    def told(self, error: ToolwireError) -> Failure:
        """What the provider said in the place of an answer, or in the midst of one."""
        ...

    def again(self, failure: Failure, asked: Question) -> Disowned:
        """Which thoughts are to be left out where the same is asked once more, after what the provider said."""
        ...


class Events:
    """The events of one answer, inside `async with`; leaving the block ends the request."""

    def __init__(self, model: Speaker, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._waiting: deque[ModelEvent] = deque()
        self._told = False
        self._spent = Usage()

    async def __aenter__(self) -> Self:
        try:
            await self._open(Disowned.NOTHING)
        except self._model.troubles as error:
            raise ToolwireError(self._model.failure(error)) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _ended(self._response, self._pieces, REST if self._over else 0.0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        waiting = self._waiting
        while not waiting:
            if self._over:
                raise StopAsyncIteration
            try:
                if self._whole:
                    await self._hear_whole()
                else:
                    self._hear(await anext(self._pieces, None))
            except self._model.troubles as error:
                raise ToolwireError(self._failed(self._model.failure(error))) from error
            except ToolwireError as error:
                await self._ask_again(error)
        self._told = True
        return waiting.popleft()

    async def _open(self, disowned: Disowned) -> None:
        """Ask, once more without the thoughts that the provider takes no more."""
        model = self._model
        self._events = EventStream()
        self._over = False
        self._response, self._asked = await model.open(self._request, disowned)
        self._speech = model.speech(self._asked)
        self._pieces: AsyncIterator[bytes] = self._response.aiter_bytes()
        # Some relatives do not stream, whatever they are asked.
        self._whole = self._response.headers.get("content-type", "").startswith("application/json")

    async def _ask_again(self, error: ToolwireError) -> None:
        """Do so where the provider says that only now, and nothing was told yet. Raises ToolwireError."""
        model = self._model
        failure = self._failed(model.told(error))
        disowned = Disowned.NOTHING if self._told else model.again(failure, self._asked)
        if not disowned:
            raise ToolwireError(failure) from error
        self._spent = usage_in(failure)
        self._waiting.clear()
        await _ended(self._response, self._pieces, REST)
        try:
            await self._open(disowned)
        except model.troubles as again:
            raise ToolwireError(added(model.failure(again), self._spent)) from again

    def _failed(self, failure: Failure) -> Failure:
        """`failure`, which says what the answer has used so far."""
        return added(wasted(failure, self._speech.usage, self._model.model), self._spent)

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
            self._waiting.append(self._reply(speech.answer()))
            return

    def _reply(self, answer: Answer) -> ModelReply:
        reply = self._model.reply(answer)
        return reply if self._spent == Usage() else replace(reply, usage=reply.usage + self._spent)

    async def _hear_whole(self) -> None:
        """Take in an answer that came in one piece."""
        content = b"".join([piece async for piece in self._pieces])
        reply = self._reply(self._model.whole(content, self._asked))
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
