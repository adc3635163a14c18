"""The bus inside one process: a request is a look into a dict and an await of the handler.

The handler runs in the task of its requester, so that deadline, cancellation and context variables nest by
themselves. Nothing is counted against a bound here, for nothing is queued: who serves bounds itself.
"""

import secrets
import threading
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

import anyio

from .contract import (
    GRACE,
    BusError,
    Closed,
    Handler,
    Listener,
    Progress,
    Stop,
    TooLarge,
    Unreachable,
    checked_subject,
)
from .isolation import Gate, described, ends_all, ignored, log, lost

LARGEST = 8 * 1024 * 1024  # what NATS recommends as the most that a broker should be set to


class Running:
    """How many handlers of one end run, and who waits for the last of them."""

    __slots__ = ("count", "none")

    def __init__(self) -> None:
        self.count = 0
        self.none: anyio.Event | None = None


class Service:
    """One subject as one end serves it."""

    __slots__ = ("handler", "running")

    def __init__(self, handler: Handler, running: Running) -> None:
        self.handler = handler
        self.running = running


class Exchange:
    """What the ends of one name share: who serves which subject, and who listens to it."""

    def __init__(self) -> None:
        self.services: dict[str, list[Service]] = {}
        self.listeners: dict[str, list[Listener]] = {}

    def add(self, subject: str, service: Service) -> None:
        """Let `service` have requests, in turn with others of the subject."""
        self.services.setdefault(subject, []).append(service)

    def remove(self, subject: str, service: Service) -> None:
        """Take `service` out, if it is still in."""
        offered = self.services.get(subject, [])
        if service in offered:
            offered.remove(service)
        if not offered:
            self.services.pop(subject, None)

    def hear(self, subject: str, listener: Listener) -> None:
        """Let `listener` have publications."""
        self.listeners[subject] = [*self.listeners.get(subject, ()), listener]

    def ignore(self, subject: str, listener: Listener) -> None:
        """Take `listener` out. Lists are replaced, not changed: a publication may be walking one."""
        left = [other for other in self.listeners.get(subject, ()) if other is not listener]
        if left:
            self.listeners[subject] = left
        else:
            self.listeners.pop(subject, None)


# By name and thread: a handler must never run on another thread's event loop.
_exchanges: WeakValueDictionary[tuple[str, int], Exchange] = WeakValueDictionary()


def exchange(name: str) -> Exchange:
    """What ends called `name` share in this thread; for "" a new one, which nobody else finds."""
    if not name:
        return Exchange()
    return _exchanges.setdefault((name, threading.get_ident()), Exchange())


class MemoryBus:
    """An end of a bus in this process. Ends with the same `name` see each other; one without is alone."""

    def __init__(self, name: str = "", *, largest: int = LARGEST, grace: float = GRACE) -> None:
        self.name = name
        self.url = f"memory://{name}"
        self.instance = secrets.token_hex(8)
        self.largest = largest
        self.grace = grace
        self._exchange: Exchange | None = None
        self._offered: dict[str, list[Service]] = {}  # the exchange's own dict while open, so that closed costs nothing
        self._mine: dict[str, Service] = {}
        self._hearing: list[tuple[str, Listener]] = []
        self._running = Running()

    def __repr__(self) -> str:
        state = "closed" if self._exchange is None else f"serves: {len(self._mine)} | running: {self._running.count}"
        return f"<MemoryBus {self.url} [{state}]>"

    async def __aenter__(self) -> Self:
        if self._exchange is not None:
            raise ValueError(f"{self!r} is open already")
        self._exchange = exchange(self.name)
        self._offered = self._exchange.services
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shared, self._exchange, self._offered = self._opened(), None, {}
        for subject, service in self._mine.items():
            shared.remove(subject, service)
        for subject, listener in self._hearing:
            shared.ignore(subject, listener)
        self._mine.clear()
        self._hearing.clear()
        if self._running.count:
            self._running.none = anyio.Event()
            with anyio.move_on_after(self.grace):
                await self._running.none.wait()

    def _opened(self) -> Exchange:
        if self._exchange is None:
            raise Closed(f"{self.url} is closed")
        return self._exchange

    async def request(self, subject: str, payload: bytes, *, to: str = "", progress: Progress | None = None) -> bytes:
        """See `Bus.request`. The handler runs right here; whoever it is, it can't die alone, so `to` is not needed."""
        services = self._offered.get(subject)
        if services is None:
            raise self._nobody(subject)
        if len(payload) > self.largest:
            raise self._too_large("payload", subject, payload)
        service = services[0]
        if len(services) > 1:
            services.append(services.pop(0))
        running = service.running
        gate = None if progress is None else Gate(progress)
        running.count += 1
        try:
            answer = await service.handler(payload, gate or ignored)
            if len(answer) <= self.largest:
                return answer
        except BaseException as error:
            if ends_all(error):
                raise
            raise lost(subject, error) from None
        finally:
            running.count -= 1
            if gate is not None:
                gate.close()
            if running.none is not None and not running.count:
                running.none.set()
        raise self._too_large("answer", subject, answer)

    def _nobody(self, subject: str) -> BusError:
        if self._exchange is None:
            return Closed(f"{self.url} is closed")
        return Unreachable(f"nobody serves {subject} on {self.url}")

    def _too_large(self, what: str, subject: str, content: bytes) -> TooLarge:
        return TooLarge(f"the {what} of {subject} has {len(content)} bytes; {self.url} carries {self.largest}")

    async def publish(self, subject: str, payload: bytes) -> None:
        """See `Bus.publish`. Listeners have heard it when this returns."""
        listeners = self._opened().listeners.get(subject, ())
        if len(payload) > self.largest:
            raise self._too_large("payload", subject, payload)
        for listener in listeners:
            try:
                listener(payload)
            except Exception as error:  # noqa: BLE001 - a listener's fault is not the publisher's
                log.error("a listener of %s raised %s", subject, described(error))

    async def serve(self, subject: str, handler: Handler, *, shared: bool = False) -> Stop:
        """See `Bus.serve`."""
        exchange = self._opened()
        checked_subject(subject)
        if subject in self._mine:
            raise ValueError(f"this end serves {subject} already")
        service = self._mine[subject] = Service(handler, self._running)
        exchange.add(subject, service)

        async def stop() -> None:
            exchange.remove(subject, service)
            if self._mine.get(subject) is service:
                del self._mine[subject]

        return stop

    async def listen(self, subject: str, listener: Listener) -> Stop:
        """See `Bus.listen`."""
        exchange = self._opened()
        checked_subject(subject)

        def hear(payload: bytes) -> None:  # its own object, so that one listener may listen twice
            listener(payload)

        exchange.hear(subject, hear)
        entry = (subject, hear)
        self._hearing.append(entry)

        async def stop() -> None:
            exchange.ignore(subject, hear)
            if entry in self._hearing:
                self._hearing.remove(entry)

        return stop

    def serves(self, subject: str) -> bool:
        """Whether this very end serves `subject`."""
        return subject in self._mine
