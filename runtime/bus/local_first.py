"""A bus of two: what this very process serves is asked in memory, all else over a broker."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from .contract import Bus, Handler, Listener, Progress, Stop
from .memory import MemoryBus


class LocalFirst:
    """The `remote` bus with a short way: 0.3 µs instead of 200 for a subject that this end serves itself.

    `local` says of a subject whether the short way is open to it; by default it is open to all. Every service is on
    both ways, so others reach it too. The bounds of the two ways are counted apart. Closing waits for handlers on the
    short way first, then for the others.
    """

    def __init__(self, memory: MemoryBus, remote: Bus, local: Callable[[str], bool] = lambda _subject: True) -> None:
        self.memory = memory
        self.remote = remote
        self.instance = remote.instance
        self.url = remote.url
        self.largest = 0
        self._local = local
        self._short: set[str] = set()
        self._stops: dict[str, tuple[Stop, Stop]] = {}

    def __repr__(self) -> str:
        return f"<LocalFirst {self.remote!r} [short ways: {len(self._short)}]>"

    async def __aenter__(self) -> Self:
        await self.remote.__aenter__()
        self.largest = self.memory.largest = self.remote.largest  # where a handler runs must not change what it gets
        self.url = self.remote.url
        await self.memory.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            async with anyio.create_task_group() as stopping:
                for subject in list(self._stops):
                    stopping.start_soon(self._stop, subject)
            await self.memory.__aexit__(kind, error, trace)
        finally:
            ended = await self.remote.__aexit__(kind, error, trace)
        return ended

    async def request(self, subject: str, payload: bytes, *, to: str = "", progress: Progress | None = None) -> bytes:
        """See `Bus.request`."""
        if subject in self._short:
            return await self.memory.request(subject, payload, to=to, progress=progress)
        return await self.remote.request(subject, payload, to=to, progress=progress)

    async def publish(self, subject: str, payload: bytes) -> None:
        """See `Bus.publish`."""
        await self.remote.publish(subject, payload)

    async def serve(self, subject: str, handler: Handler, *, shared: bool = False) -> Stop:
        """See `Bus.serve`."""
        stop_remote = await self.remote.serve(subject, handler, shared=shared)
        stop_memory = await self.memory.serve(subject, handler, shared=shared)
        stops = self._stops[subject] = (stop_memory, stop_remote)
        if self._local(subject):
            self._short.add(subject)

        async def stop() -> None:
            if self._stops.get(subject) is stops:
                await self._stop(subject)

        return stop

    async def _stop(self, subject: str) -> None:
        self._short.discard(subject)
        for stop in self._stops.pop(subject, ()):
            await stop()

    async def listen(self, subject: str, listener: Listener) -> Stop:
        """See `Bus.listen`."""
        return await self.remote.listen(subject, listener)

    def serves(self, subject: str) -> bool:
        """Whether this very end serves `subject`."""
        return self.remote.serves(subject)
