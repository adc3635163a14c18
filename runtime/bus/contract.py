"""The contract of a bus: how bytes reach whoever serves a subject, and what is promised about it.

Guarantees, the same on every bus and event loop; `tests/runtime/bus/test_contract.py` holds each:

- **One end.** `request` ends exactly once: with the one answer, or with one of the errors below. It never hangs:
  a subject that nobody serves is `Unreachable` at once, a server that dies is `Lost` within three of its beats.
- **At most once.** A payload is handed to at most one handler, at most once. The bus repeats nothing by itself.
  `Unreachable`, `Refused` and `TooLarge` prove that no handler ran; `Lost` proves nothing.
- **Order.** Requests and publications of one bus to one subject start to be handled in the order in which they
  were made. Progress reaches the requester in order, and never after the answer; a remote bus leaves it out while
  its connection is full.
- **Bounded.** A remote end runs at most `concurrency` handlers at once and keeps at most `backlog` requests
  waiting; the next one is `Refused`. The memory bus queues nothing: a handler runs at once, in its requester's
  task, and the door of whoever serves is the bound. Nothing else is queued without a bound.
- **Cancellation.** A request that is left (its scope cancelled) cancels its handler at the next await, wherever
  that runs. On a remote bus `request` waits for the confirmation at most `CONFIRM` seconds before it goes on.
- **Isolation.** What a handler or listener raises reaches nobody else: its request ends as `Lost`, the bus lives.
- **Closing.** `async with bus` opens and closes it. Closing takes nothing new and lets running handlers end for at
  most `GRACE` seconds. A remote end then cancels them, and every request of its own that still waits is `Abandoned`;
  on a memory bus a handler belongs to its requester's task: closing goes on without it, and its answer still
  counts. No task, thread, socket or subscription outlives a bus.
"""

import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

CONFIRM = 0.25
GRACE = 10.0

SUBJECT = re.compile(r"[!-)+-=?-~]{1,512}")
"""What may be a subject: printable ASCII without space, `*` and `>`, well under NATS's 4,096 bytes of a line."""

Progress = Callable[[bytes], None]
"""Hears what is said before the answer. It must not block and must not raise."""

Handler = Callable[[bytes, Progress], Awaitable[bytes]]
"""Answers one request; may report progress before. The bytes that it returns are the answer."""

Listener = Callable[[bytes], None]
"""Hears one publication. It must not block."""

Stop = Callable[[], Awaitable[None]]
"""Ends a service or a subscription: when it returns, no new message is taken; running handlers go on."""


class BusError(Exception):
    """Why a bus could not bring an answer. The message is a sentence for an operator."""


class Unreachable(BusError):
    """Nobody serves the subject. Nothing ran."""


class Refused(BusError):
    """Whoever serves the subject is full. Nothing ran."""


class TooLarge(BusError):
    """The payload, or the answer, is over what the bus carries. If it was the payload, nothing ran."""


class Lost(BusError):
    """Whoever had the request is gone, or has forgotten it. Whether it ran is unknown."""


class Closed(BusError):
    """This end of the bus is closed, or its broker can't be reached at all. Nothing ran."""


class Abandoned(Closed):
    """This end of the bus was closed while the request was on its way. Whether it ran is unknown."""


def checked_subject(subject: str) -> str:
    """`subject`, if it may be one. Raises ValueError."""
    if SUBJECT.fullmatch(subject) is None:
        raise ValueError(f"{subject[:80]!r} is no subject: 1 to 512 printable ASCII characters without space, * and >")
    return subject


class Bus(Protocol):
    """A bus as actors see it. Subjects are made by `protocol.subjects`, never from raw text."""

    instance: str
    """The name of this end of the bus: unique, and one token of a subject."""
    url: str
    """For people: `memory://` or where the broker is."""
    largest: int
    """The most bytes that a payload or an answer may have."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    async def request(self, subject: str, payload: bytes, *, to: str = "", progress: Progress | None = None) -> bytes:
        """Ask whoever serves `subject`, and wait for the answer.

        `to` is the instance that serves it, where that is known: its death is then noticed even before it has
        taken the request. Raises BusError.
        """
        ...

    async def publish(self, subject: str, payload: bytes) -> None:
        """Tell everybody who listens to `subject`. Nobody may: that is no error. Raises TooLarge, Closed."""
        ...

    async def serve(self, subject: str, handler: Handler, *, shared: bool = False) -> Stop:
        """Answer requests to `subject`; ready when it returns.

        With `shared`, other ends may serve it too, and each request reaches one of them. Without, the caller says
        that nobody else does; no bus can hold that, but two handlers never get one request all the same.
        Raises ValueError if this end serves it already, or for what is no subject; Closed.
        """
        ...

    async def listen(self, subject: str, listener: Listener) -> Stop:
        """Hear every publication on `subject` by any end, this one included; ready when it returns."""
        ...

    def serves(self, subject: str) -> bool:
        """Whether this very end serves `subject`."""
        ...
