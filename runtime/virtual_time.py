"""Event loops whose clock jumps: where everybody waits, the time is at once the one that they wait for.

So a test of what happens after 30 seconds takes none, on asyncio as trio's MockClock lets it on trio. Whatever goes by
the loop's clock goes by it: `anyio.sleep`, time limits, rates, retries, breakers. What lives outside the loop does not:
threads, processes, sockets and `time.time()` take the time that they take.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..protocol.failures import Misuse, failed

IDLE = 0.01
"""Seconds of the real time in which nothing happens before the clock jumps: enough for a short function in a thread."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio whose time stands still while something runs, and jumps once all wait for `idle` seconds."""

    def __init__(self, idle: float = IDLE) -> None:
        self._now = 0.0
        super().__init__(Jumping(selectors.DefaultSelector(), idle, self._jump))

    def time(self) -> float:
        """The time, in seconds since the loop was made."""
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


class Jumping(selectors.BaseSelector):
    """`selector`, but that instead of waiting for long it calls `jump` with the time that it would have waited."""

    def __init__(self, selector: selectors.BaseSelector, idle: float, jump: Callable[[float], None]) -> None:
        self._selector = selector
        self._idle = idle
        self._jump = jump

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See BaseSelector."""
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See BaseSelector."""
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See BaseSelector."""
        return self._selector.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, within `idle` seconds. Without a timeout nobody waits for a time: then it waits for a thread
        or a socket, as long as that takes.
        """
        if timeout is None or timeout <= 0:
            return self._selector.select(timeout)
        ready = self._selector.select(self._idle)
        if not ready:
            self._jump(timeout)
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See BaseSelector."""
        return self._selector.get_map()

    def close(self) -> None:
        """See BaseSelector."""
        self._selector.close()


def virtual_time(backend: str, *, idle: float = IDLE) -> tuple[str, dict[str, Any]]:
    """The event loop `backend` ("asyncio" or "trio") with a clock that jumps once all wait, for `idle` real seconds.

    It is what the fixture `anyio_backend` of anyio's pytest plugin gives; or `anyio.run(main, backend=name,
    backend_options=options)`. With `idle` 0 the clock does not wait for threads, processes and sockets at all; where
    they take long, say so much. Raises Misuse for another loop.
    """
    if backend == "asyncio":
        return backend, {"loop_factory": partial(VirtualTimeLoop, idle)}
    if backend != "trio":
        said = f'there is virtual time for "asyncio" and for "trio", not for {backend!r:.100}'
        raise Misuse(failed("invalid_call", said))
    from trio.testing import MockClock  # noqa: PLC0415 - 84 ms, for those who run on it

    return backend, {"clock": MockClock(autojump_threshold=idle)}
