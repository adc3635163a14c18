"""What surrounds one message, and the way from one actor to another."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec import Raw, Struct

from ..protocol.envelope import (
    NO_BYTES,
    NO_MESSAGE,
    VERSION,
    Trail,
    answer_of,
    answers,
    decode_event,
    decode_trail,
    encode,
)
from ..protocol.events import Event
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import Request
from ..protocol.subjects import Kind
from .afresh import STRETCH, afresh
from .alarms import Alarms
from .bus.contract import Abandoned, Bus, BusError, Closed, Lost, Progress, Refused, TooLarge, Unreachable
from .bus.isolation import Gate
from .deadline import NEVER, Clock, sooner

A = TypeVar("A")
C = TypeVar("C", bound="Context")

ids = count(1)

DEEP = STRETCH - 1
"""The bits of a depth that are all set where the next request goes on with another stack."""

BUS_FAILURES: dict[type[BusError], str] = {
    Unreachable: "unreachable",
    Refused: "overloaded",
    TooLarge: "too_large",
    Lost: "worker_lost",
    Closed: "unreachable",
    Abandoned: "cancelled",
}


def bus_failure(error: BusError, *, sent: bool = False) -> Failure:
    """What the bus could not do, as a failure; `sent` says that the request itself was not what was too large."""
    code = BUS_FAILURES[type(error)]
    ran = code in {"worker_lost", "cancelled"} or (sent and code == "too_large")
    details = {"by": "bus"} if isinstance(error, Closed) else {}
    return failed(code, str(error), "maybe" if ran else "none", **details)


class Reached:
    """The one place where what a bus raises becomes what a program is told: `with reached: …`.

    A class, because a generator takes five times as long, and each conversation begins with it.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BusError):
            raise ToolwireError(bus_failure(error)) from error


reached = Reached()


def cut_off(failure: Failure) -> bool:
    """Whether it was this end of the bus that was not reached: that says nothing of who was asked."""
    return failure.details.get("by") == "bus"


class Surroundings(Protocol):
    """What an actor needs of the system that it lives in."""

    bus: Bus
    clock: Clock
    trail: Raw
    alarms: Alarms
    tasks: TaskGroup
    open: bool
    """Whether tasks may be started: they are cancelled when the system ends."""
    scope: type[anyio.CancelScope]
    """The event loop's own class of cancel scopes: made directly, one costs a microsecond less."""

    def largest(self, kind: Kind) -> int:
        """The most bytes that an answer of an actor of that kind may have."""
        ...

    def breathless(self) -> bool:
        """Whether it is time to give the loop a turn: `if system.breathless(): await checkpoint()`."""
        ...

    def end(self, error: BaseException) -> None:
        """End the whole system, and raise `error` where it was entered."""
        ...

    def address(self, kind: Kind, name: str, instance: str = "") -> str:
        """Where actors of that kind and name are heard; with `instance`, only the one at that end of the bus."""
        ...


class Door(Protocol):
    """Whoever takes bytes and answers with bytes: an actor that is asked directly, for nobody else has to find it."""

    async def deliver(self, payload: bytes, progress: Progress) -> bytes:
        """Answer one request."""
        ...


class Context(Struct, eq=False, gc=True):
    """How much time is left, whose turn it is, and the way to other actors.

    `deadline` is an instant on the system's clock, `depth` the number of requests above this one, `path` the
    one-at-a-time actors that wait for it, `listener` whoever hears events before the answer. `began` is the instant at
    which its handling began, after `queued` seconds at the door. A Struct, because one is made for each message.
    """

    system: Surroundings
    deadline: float
    depth: int
    path: tuple[str, ...]
    trail: Raw
    listener: Progress | None = None
    began: float = 0.0
    queued: float = 0.0

    def remaining(self) -> float | None:
        """Seconds that are left, not below 0; None where there is no limit."""
        deadline = self.deadline
        return None if deadline == NEVER else max(0.0, deadline - self.system.clock())

    def within(self, seconds: float | None) -> "Context":
        """The same, with at most `seconds` left."""
        deadline = sooner(self.deadline, seconds, self.system.clock)
        return Context(self.system, deadline, self.depth, self.path, self.trail, self.listener, self.began, self.queued)

    def whose(self) -> Trail:
        """The conversation, turn, caller and trace that this message belongs to. Raises ToolwireError if it lies."""
        try:
            return decode_trail(self.trail)
        except NO_MESSAGE as error:
            raise ToolwireError(failed("invalid_message", f"the trail is malformed: {error}")) from error

    def report(self, event: Event) -> None:
        """Tell the caller something before the answer."""
        if self.listener is not None:
            self.listener(encode(event))

    async def ask(
        self,
        address: str | Door,
        message: Request[A],
        *,
        to: str = "",
        hear: Callable[[Event], None] | None = None,
    ) -> A:
        """Ask whoever serves `address` and wait for the answer; `hear` is told of events before it.

        Raises ToolwireError with the failure that was answered, or why there was no answer.
        """
        system, deadline = self.system, self.deadline
        budget = None
        if deadline != NEVER:
            budget = (deadline - system.clock()) * 1000
            if budget <= 0:
                raise ToolwireError(failed("timed_out", "no time is left", by="deadline"))
        try:
            # An Envelope, field by field: the tuple makes the same bytes without the object.
            payload = encode((VERSION, next(ids), budget, self.depth + 1, self.path, self.trail, message))
        except NO_BYTES as error:
            raise ToolwireError(failed("invalid_message", f"this can't be sent: {error}")) from error
        progress = None if hear is None else Gate(decoding(hear))
        try:
            if self.depth & DEEP == DEEP:
                answer = await afresh(partial(brought, system.bus, address, payload, to, progress))
            elif type(address) is str:
                answer = await system.bus.request(address, payload, to=to, progress=progress)
            else:
                answer = await address.deliver(payload, progress or unheard)  # type: ignore[union-attr]  # no str
        except BusError as error:
            raise ToolwireError(bus_failure(error, sent=len(payload) <= system.bus.largest)) from error
        finally:
            if progress is not None:
                progress.close()  # what is said after the answer is heard by nobody
        said: A = answer_of(answers(type(message)), answer)
        return said


def brought(bus: Bus, address: str | Door, payload: bytes, to: str, progress: Progress | None) -> Awaitable[bytes]:
    """The answer to a request, by the bus or by a door."""
    if isinstance(address, str):
        return bus.request(address, payload, to=to, progress=progress)
    return address.deliver(payload, progress or unheard)


def decoding(hear: Callable[[Event], None]) -> Progress:
    """`hear` as whoever hears bytes."""
    return lambda told: hear(decode_event(told))


def unheard(_told: bytes) -> None:
    """Hears events that nobody asked for."""


def outside(system: Any, trail: Raw | None = None) -> Context:
    """The context of somebody who is no actor: no limit, nobody's turn unless `trail` says whose."""
    return Context(system, NEVER, 0, (), system.trail if trail is None else trail)
