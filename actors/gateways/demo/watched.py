"""A model with a stopwatch: when it was asked, when its reply was whole, and which calls were in it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import anyio
from msgspec import Struct

from ....protocol.events import CallSpoken
from ...models.contract import ModelEvent, ModelReply, ModelRequest, StreamingModel


class Spoken(Struct, frozen=True):
    """One reply of the model: from when to when, the ids of the calls that it asked for, and when each was said.

    `said` lacks calls whose end was only seen in that of the reply.
    """

    began: float
    ended: float
    calls: tuple[str, ...]
    said: dict[str, float] = {}


class Watched:
    """`model`, each of whose replies takes `pause` seconds more. `replies` fills as it speaks."""

    def __init__(self, model: StreamingModel, clock: Callable[[], float], pause: float = 0.0) -> None:
        self.replies: list[Spoken] = []
        self._model = model
        self._clock = clock
        self._pause = pause

    def __repr__(self) -> str:
        return f"<Watched {self._model!r} [replies: {len(self.replies)}]>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """As the model does."""
        began = self._clock()
        await anyio.sleep(self._pause)
        reply = await self._model.complete(request)
        self.note(reply, began, {})
        return reply

    def stream(self, request: ModelRequest) -> "Listening":
        """As the model does."""
        return Listening(self, self._model.stream(request), self._clock(), self._pause)

    def note(self, reply: ModelReply, began: float, said: dict[str, float]) -> None:
        """A reply is whole."""
        self.replies.append(Spoken(began, self._clock(), tuple(call.id for call in reply.calls), said))

    def now(self) -> float:
        """What its clock shows."""
        return self._clock()


class Listening:
    """One reply while it is spoken."""

    def __init__(
        self,
        watched: Watched,
        stream: AbstractAsyncContextManager[AsyncIterator[ModelEvent]],
        began: float,
        pause: float,
    ) -> None:
        self._watched = watched
        self._stream = stream
        self._began = began
        self._pause = pause
        self._said: dict[str, float] = {}
        self._events: AsyncIterator[ModelEvent]

    async def __aenter__(self) -> Self:
        await anyio.sleep(self._pause)
        self._events = await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        event = await anext(self._events)
        if isinstance(event, ModelReply):
            self._watched.note(event, self._began, self._said)
        elif isinstance(event, CallSpoken):
            self._said[event.call.id] = self._watched.now()
        return event
