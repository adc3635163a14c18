"""Shipped fakes: a clock that a test moves, an actor that answers as it is told, an ear at a subject.

The bus for tests is `MemoryBus`, the model for tests is `toolwire.scripted`: both are products, and so are these.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, ClassVar, Self

import anyio

from ..protocol.envelope import broadcasts
from ..protocol.messages import Message
from .actor import Actor
from .context import Context
from .system import ActorSystem

Answering = Message | BaseException | Callable[[Any, Context], Message | Awaitable[Message]]
"""A message to answer with, an exception to raise, or a function of the request and its context that does either."""


class ManualClock:
    """A clock that stands still until it is told to go on. In seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds


class FakeActor(Actor):
    """Answers what it hears with `answering`; `received` keeps what it was asked, in order.

    `hears` is a request, or a union of requests; `limit` as in `Actor`.
    """

    def __init__(self, hears: Any, answering: Answering, *, limit: int | None = None, capacity: int = 1_024) -> None:
        self.hears: ClassVar[Any] = hears  # type: ignore[misc]  # each fake hears its own
        self.limit: ClassVar[int | None] = limit  # type: ignore[misc]  # as above
        self.capacity: ClassVar[int] = capacity  # type: ignore[misc]  # as above
        self.answering = answering
        self.received: list[Any] = []

    async def receive(self, message: Any, context: Context) -> Message:
        """Keep the message, and answer it."""
        self.received.append(message)
        answering = self.answering
        answer = answering(message, context) if callable(answering) else answering
        if isawaitable(answer):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Recorder:
    """Hears what is published at `address`, inside `async with`; `messages` keeps it, in order.

    `union` is what may be said there. What is none of it is kept as the exception that its decoding raised.
    """

    def __init__(self, system: ActorSystem, address: str, union: Any) -> None:
        self.messages: list[Any] = []
        self._system = system
        self._address = address
        self._decode = broadcasts(union).decode
        self._news = anyio.Event()

    async def __aenter__(self) -> Self:
        self._stop = await self._system.bus.listen(self._address, self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def heard(self, count: int) -> list[Any]:
        """The first `count` messages, as soon as there are so many."""
        while len(self.messages) < count:
            await self._news.wait()
        return self.messages[:count]

    def _hear(self, payload: bytes) -> None:
        try:
            self.messages.append(self._decode(payload).body)
        except Exception as error:  # noqa: BLE001 - it is what the test wants to see
            self.messages.append(error)
        news, self._news = self._news, anyio.Event()
        news.set()
