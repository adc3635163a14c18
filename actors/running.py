"""A turn while it runs: how much time it has, what it waits for, and who wants it to end."""

from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ..protocol.cues import Wait
from ..protocol.events import CallFinished, Event
from ..protocol.failures import Failure, failed
from ..protocol.tools import ToolResult
from ..protocol.turn import Turn
from ..runtime.context import Context
from ..runtime.deadline import NEVER


class Running:
    """The time of a turn: `seconds` in all, without those in which it waits for a person.

    The time begins when this is made; `scope` is what the turn runs in, until `end`. While a person is waited for, only
    whoever asked for the turn may have a limit. `interrupted` tells whose cancellation it was, once the scope was
    cancelled. `seen` is the version of the catalogue that its tools were selected from.
    """

    __slots__ = (
        *("_answered", "_context", "_outer", "_over", "_own", "_untold"),
        *("hear", "interrupted", "scope", "seen", "turn"),
    )

    def __init__(self, turn: Turn, context: Context, seconds: float | None) -> None:
        self.turn = turn
        self.hear: Callable[[Event], None] | None = None  # of whoever follows the turn
        self._context = context
        self._answered: anyio.Event | None = None
        self._over: anyio.Event | None = None  # where somebody waits for that
        self.interrupted = False
        self.seen: int | None = None
        system = context.system
        self._outer = context.deadline
        self._own = NEVER if seconds is None else system.clock() + seconds  # if it never waited for a person
        context.deadline = min(self._outer, self._own)
        turn.waited = 0.0
        self.scope = system.scope()
        system.alarms.set(self.scope, context.deadline)

    def end(self) -> None:
        """The turn is over, or paused."""
        self._context.system.alarms.unset(self.scope, self._context.deadline)
        if self._over is not None:
            self._over.set()

    def close(self) -> None:
        """The turn is broken off: its open calls get results."""
        turn = self.turn
        told, before = turn.response.told, len(turn.results)
        turn.close()
        self._untold: list[ToolResult[Any]] = [result for result in turn.results[before:] if result.id not in told]

    def tell(self) -> None:
        """Tell whoever follows the turn how the calls have ended that were open when it was broken off."""
        if self.hear is not None:
            for result in self._untold:
                self.hear(CallFinished(result))

    def interrupt(self) -> None:
        """End the turn, unless its time has run out already. Whatever runs is cancelled, and waited for."""
        if not self.scope.cancel_called:
            self.interrupted = True
            self.scope.cancel()

    async def heed(self) -> None:
        """Go no further, where who was asked last did not heed the interruption."""
        await checkpoint_if_cancelled()

    def late(self) -> Failure:
        """Why the turn ends now that its time is over: its own, or that of whoever asked for it."""
        if self._outer < self._own + self.turn.waited:
            return failed("timed_out", "the time of whoever asked for the turn is over", "maybe", by="deadline")
        return failed("timed_out", f"the turn took longer than {self.turn.offer.seconds} s", "maybe", by="turn")

    def said(self, failure: Failure) -> Failure:
        """Why who was asked last did not answer. Where no time is left it says the same whoever noticed it first."""
        late = failure.code == "timed_out" and self._context.system.clock() >= self._context.deadline
        return self.late() if late else failure

    async def over(self) -> None:
        """Wait for the end of the turn."""
        if self._over is None:
            self._over = anyio.Event()
        await self._over.wait()

    @property
    def left(self) -> float:
        """The seconds that a paused turn has left."""
        return self._own + self.turn.waited - self._context.system.clock()

    async def wait(self, command: Wait) -> None:
        """Wait for a person."""
        clock, turn = self._context.system.clock, self.turn
        began = clock()
        self._until(self._outer)
        if turn.pending == command.pending:  # else somebody has answered already
            answered = self._answered = anyio.Event()
            with anyio.move_on_after(command.seconds):
                await answered.wait()
            self._answered = None
        turn.waited += clock() - began
        self._until(min(self._outer, self._own + turn.waited))

    def answered(self) -> None:
        """Somebody has answered what the turn waits for."""
        if self._answered is not None:
            self._answered.set()

    def _until(self, deadline: float) -> None:
        alarms = self._context.system.alarms
        alarms.unset(self.scope, self._context.deadline)
        self._context.deadline = deadline
        alarms.set(self.scope, deadline)
