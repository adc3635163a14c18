"""What becomes of what is said to a conversation while a turn runs: it waits, is refused, or ends the turn."""

from typing import Literal

from ..protocol.failures import Failure, failed
from ..runtime.context import Context
from .running import Running

WhenBusy = Literal["queue", "refuse", "interrupt"]
"""What becomes of what is said while a turn runs."""


class Queueing:
    """Those who have something to say while a turn runs, or others wait.

    Where that interrupts the turn, only the last of those who wait is heard: the others are overtaken.
    """

    __slots__ = ("_last", "_overtaken", "when_busy")

    def __init__(self, when_busy: WhenBusy) -> None:
        self.when_busy = when_busy
        self._last: Context | None = None
        self._overtaken: list[Context] = []

    def came(self, context: Context, running: Running | None) -> Failure | None:
        """Somebody would have to wait. Why that is refused, if it is; the turn that runs may be interrupted."""
        if self.when_busy == "queue":
            return None
        if self.when_busy == "refuse":
            said = "a turn of this conversation is running: say it again once that has ended, or interrupt it before"
            return failed("conflict", said)
        if self._last is not None:
            self._overtaken.append(self._last)
        self._last = context
        if running is not None:
            running.interrupt()
        return None

    def overtaken(self, context: Context) -> bool:
        """It is their turn. Whether somebody who came later has interrupted them."""
        if context in self._overtaken:
            return True
        self._overtaken.clear()  # they are let in in order: none of these waits any more
        self._last = None
        return False
