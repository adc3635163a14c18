"""Bounded admission: at most `limit` messages at once, at most `capacity` waiting, in the order of their coming."""

import anyio

from ..protocol.failures import Failure, ToolwireError, failed

CAPACITY = 1_024


class Mailbox:
    """The door of one actor. Who is let in must `leave`; a place that becomes free is handed to the first in line.

    `hold` keeps everybody waiting (a restart), `open` lets them in again, `close` sends them away. `dismiss` sends away
    only who has to wait. `coming` is how many were told to come, or to go, and have not done so yet: they will at once.
    """

    __slots__ = ("capacity", "closed", "coming", "held", "limit", "name", "running", "waiting")

    def __init__(self, name: str, limit: int = 1, capacity: int = CAPACITY) -> None:
        self.name = name
        self.limit = limit
        self.capacity = capacity
        self.running = 0
        self.waiting: list[anyio.Event] = []  # a deque that is empty takes 600 bytes, at each conversation's door
        self.coming = 0
        self.held = False
        self.closed = ""

    def enter_nowait(self) -> bool:
        """Go in if there is room; False if one has to wait."""
        if self.running < self.limit and not self.waiting and not self.held:
            self.running += 1
            return True
        return False

    async def enter(self) -> None:
        """Wait for a place. Raises ToolwireError: `overloaded` when too many wait, `unreachable` once closed."""
        if self.enter_nowait():
            return
        failure = self.turned_away()
        if failure is not None:
            raise ToolwireError(failure)
        turn = anyio.Event()
        self.waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if not turn.is_set():
                self.waiting.remove(turn)
            elif not self.closed:  # the place was handed over in the very moment of the cancellation
                self.leave()
            raise
        finally:
            self.coming -= turn.is_set()
        if self.closed:
            raise ToolwireError(failed("unreachable", self.closed))

    def turned_away(self) -> Failure | None:
        """Why nobody may wait here any more; None if there is room to."""
        if self.closed:
            return failed("unreachable", self.closed)
        if len(self.waiting) >= self.capacity:
            said = f"{self.name} is full: {self.running} run and {len(self.waiting)} wait"
            return failed("overloaded", said, by=self.name)
        return None

    def leave(self) -> None:
        """Give the place back: to the first in line, if somebody waits."""
        self.running -= 1
        if self.waiting:
            self._admit()

    def hold(self) -> None:
        """Let nobody in until `open`."""
        self.held = True

    def open(self) -> None:
        """Let those in who wait, as far as there is room. What is closed stays closed."""
        self.held = bool(self.closed)
        self._admit()

    def dismiss(self, why: str) -> None:
        """Send everybody away who waits or would have to. Whoever finds room at once still comes in."""
        self.closed = why
        while self.waiting:
            self._call()

    def close(self, why: str) -> None:
        """Send everybody away who waits or comes: nobody is left waiting."""
        self.held = True
        self.dismiss(why)

    def _admit(self) -> None:
        while self.waiting and self.running < self.limit and not self.held:
            self.running += 1
            self._call()

    def _call(self) -> None:
        """Wake whoever is first in line."""
        self.coming += 1
        self.waiting.pop(0).set()
