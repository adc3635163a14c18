"""Shipped fakes: a clock that a test moves, an actor that answers as it is told, an ear at a subject.

And `interruptions`, which cancels a piece of work, or does something beside it, at each point at which it can be. The
bus for tests is `MemoryBus`, the model for tests is `toolwire.scripted`: both are products, and so are these.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from inspect import isawaitable
from types import coroutine
from typing import Any, ClassVar, Literal, Self

import anyio
from anyio.lowlevel import checkpoint

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


Way = Literal["suspension", "turn", "task"]
"""At which points work is cancelled: as its own task suspends; at each turn of the loop, so at the suspensions of all
that it has begun too; or so, but in a task of its own, by the native cancellation of asyncio (there alone)."""

SETTLED = 50
"""Turns of the loop in which all that was cancelled has to end."""


async def interruptions(
    work: Callable[[], Coroutine[Any, Any, Any]],
    ended: Callable[[], Awaitable[None]],
    way: Way = "turn",
    most: int = 2_000,
    act: Callable[[], Coroutine[Any, Any, Any]] | None = None,
) -> int:
    """Do the work again and again, cancelled at its first point, its second, …, until it comes through. How many.

    With `act` that is done at the point, beside the work, which goes on to its own end. After each time no task may be
    left that was not there before, and `ended` looks whether all else is as it should be. Raises AssertionError
    where it is not, and if the work does not come through after `most` times.
    """
    for point in range(1, most):
        before = running()
        reached = await (WAYS[way](work, point) if act is None else acted(work, point, way, act))
        for _ in range(SETTLED):
            if running() <= before:
                break
            await checkpoint()
        left = [task for task in anyio.get_running_tasks() if task.id not in before]
        if left:
            raise AssertionError(f"{'cancelled' if act is None else 'disturbed'} at point {point}, it leaves {left}")
        try:
            await ended()
        except BaseException as error:
            error.add_note(f"after it was {'cancelled' if act is None else 'disturbed'} at point {point}")
            raise
        if not reached:
            return point - 1
    raise AssertionError(f"it does not come through after {most} points")


def running() -> set[int]:
    """The tasks that there are."""
    return {task.id for task in anyio.get_running_tasks()}


async def at_suspension(work: Callable[[], Coroutine[Any, Any, Any]], point: int) -> bool:
    """Cancel the work as its own task suspends for the `point`-th time. Whether it did."""
    with anyio.CancelScope() as scope:
        await counted(work(), point, scope.cancel)
    return scope.cancel_called


@coroutine
def counted(work: Coroutine[Any, Any, Any], at: int, stop: Callable[[], None]) -> Generator[Any, Any, None]:
    """Await `work`, and call `stop` as it suspends for the `at`-th time."""
    times = 0
    try:
        yielded = work.send(None)
        while True:
            times += 1
            if times == at:
                stop()
            try:
                received = yield yielded
            except BaseException as error:  # noqa: BLE001 - whatever the loop throws in belongs to the work
                yielded = work.throw(error)
            else:
                yielded = work.send(received)
    except StopIteration:
        return


async def at_turn(work: Callable[[], Coroutine[Any, Any, Any]], point: int) -> bool:
    """Cancel the work at that turn of the loop. Whether it took so many."""
    scope = anyio.CancelScope()
    async with anyio.create_task_group() as beside:
        with scope:
            beside.start_soon(after, point - 1, scope.cancel)
            await work()
        beside.cancel_scope.cancel()
    return scope.cancel_called


async def acted(
    work: Callable[[], Coroutine[Any, Any, Any]], point: int, way: Way, act: Callable[[], Coroutine[Any, Any, Any]]
) -> bool:
    """Do `act` at that point of the work, which goes on. Whether there was one; both have ended then."""
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True
        acting.start_soon(act)

    async with anyio.create_task_group() as acting, anyio.create_task_group() as beside:
        if way == "suspension":
            await counted(work(), point, begin)
        else:
            beside.start_soon(after, point - 1, begin)
            await work()
        beside.cancel_scope.cancel()
    return begun


async def after(turns: int, act: Callable[[], object]) -> None:
    """Do something after some turns of the loop."""
    for _ in range(turns):
        await checkpoint()
    act()


async def in_task(work: Callable[[], Coroutine[Any, Any, Any]], point: int) -> bool:
    """The same, by asyncio's own cancellation."""
    task = asyncio.create_task(work())
    for _ in range(point):
        await asyncio.sleep(0)
    reached = task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return reached


WAYS: dict[Way, Callable[[Callable[[], Coroutine[Any, Any, Any]], int], Awaitable[bool]]] = {
    "suspension": at_suspension,
    "turn": at_turn,
    "task": in_task,
}
