"""Brings records to a sink, off the way of the calls: a bounded queue and one thread."""

from collections import deque
from functools import partial
from logging import getLogger

import anyio

from ...protocol.record import CallRecord
from ...runtime.threads import Threads
from .contract import Sink

log = getLogger("toolwire.audit")

MOST = 10_000
"""Records that wait to be written."""
ROOM = 64 * 1024 * 1024
"""Characters of content that wait to be written."""
TOGETHER = 1_000
"""Records that are written at once."""
CLOSING = 5.0
"""Seconds for what is left at the end."""


class Writer:
    """Writes what it is given to `sink`, in order. `lost` counts the records that are not there.

    A record for which there is no room is dropped, with a line in the log; one that can't be written too. With
    `strict` nothing is dropped for want of room: whoever begins a call waits for a place first, see `place`.
    """

    def __init__(self, sink: Sink, *, strict: bool = False, most: int = MOST, room: int = ROOM) -> None:
        self.sink = sink
        self.strict = strict
        self.most = most
        self.room = room
        self.lost = 0
        self._waiting: deque[CallRecord] = deque()
        self._size = 0
        self._promised = 0
        self._news = anyio.Event()
        self._room = anyio.Event()
        self._threads = Threads(1)
        self._dropping = False

    def __repr__(self) -> str:
        return f"<Writer {self.sink!r} [waiting: {len(self._waiting)} | lost: {self.lost}]>"

    async def open(self) -> None:
        """Open the sink. Raises OSError if nothing can be kept there."""
        await self._threads.run(self.sink.open, repr(self.sink))

    def add(self, record: CallRecord) -> None:
        """Have `record` written. Never waits."""
        if self._full() and not self.strict:
            self.lost += 1
            if not self._dropping:  # one line each time that it is full
                self._dropping = True
                log.error("%r is too slow: records of calls are dropped, %d so far", self.sink, self.lost)
            return
        self._waiting.append(record)
        self._size += content(record)
        if not self._news.is_set():
            self._news.set()

    async def place(self) -> None:
        """Wait until there is room for one more record, and keep it until `added`."""
        while self._full():
            await self._room.wait()
        self._promised += 1

    def added(self) -> None:
        """The record for which a place was kept comes now, or never."""
        self._promised -= 1
        self._tell()

    def _full(self) -> bool:
        return len(self._waiting) + self._promised >= self.most or self._size >= self.room

    async def run(self) -> None:
        """Write what comes. Never returns."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            with anyio.CancelScope(shield=True):  # what is begun is brought to its end
                await self._write()

    async def close(self) -> None:
        """Write what is left, and close the sink. What that raises goes to the log: others are to be closed too."""
        with anyio.move_on_after(CLOSING, shield=True) as scope:
            while self._waiting:
                await self._write()
            try:
                await self._threads.run(self.sink.close, repr(self.sink))
            except Exception as error:  # noqa: BLE001 - as in `_write`
                log.error("%r can't be closed, and the last records may not be there: %s", self.sink, error)
        if scope.cancelled_caught:
            said = "%r does not end: records of calls may be lost, %d that were not begun to be written"
            log.error(said, self.sink, len(self._waiting))
        self._threads.close()

    async def _write(self) -> None:
        waiting = self._waiting
        while waiting:
            records = [waiting.popleft() for _ in range(min(TOGETHER, len(waiting)))]
            self._size -= sum(map(content, records))
            self._dropping = False
            try:
                await self._threads.run(partial(self.sink.write, records), repr(self.sink))
            except Exception as error:  # noqa: BLE001 - somebody's own sink may raise anything; calls go on
                self.lost += len(records)
                log.error("%r: %d records of calls can't be written: %s", self.sink, len(records), error)
            self._tell()

    def _tell(self) -> None:
        room, self._room = self._room, anyio.Event()
        room.set()


def content(record: CallRecord) -> int:
    """Characters of a record that nothing else bounds."""
    return len(record.arguments) + len(record.result) + len(record.message) + len(record.caller)
