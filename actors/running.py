"""A turn while it runs: whom it asks, how much time it has, what it waits for, and who wants it to end."""

from typing import Any

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from ..protocol.cues import CHANGED, WAITED, Phase, Wait
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import Complete, SelectTools, SendAll, ToolsSelected, TurnEnded
from ..protocol.turn import Command, Heard, Turn
from ..runtime.context import Context
from ..runtime.deadline import NEVER
from .asks import Asks
from .catalogue import Catalogue
from .eager import EagerCalls
from .numbered import Numbered
from .recollection import Recollection
from .retelling import outdated, retold, specs_of

OFTEN = 63
"""A mask of rounds: so often a turn that never suspends asks whether the loop should have a turn."""


class Running:
    """A turn between those whom it asks, within `seconds` in all, without those in which it waits for a person.

    The time begins when this is made; `scope` is what the turn runs in, until `end`. While a person is waited for, only
    whoever asked for the turn may have a limit. `interrupted` tells whose cancellation it was, once the scope was
    cancelled. `seen` is the version of the catalogue that its tools were selected from.
    """

    __slots__ = (
        *("_answered", "_asks", "_catalogue", "_context", "_memory", "_outer", "_over", "_own"),
        *("interrupted", "scope", "seen", "turn"),
    )

    def __init__(
        self,
        turn: Turn,
        context: Context,
        seconds: float | None,
        asks: Asks,
        catalogue: Catalogue,
        memory: Recollection | None = None,
    ) -> None:
        self.turn = turn
        self._asks = asks
        self._catalogue = catalogue
        self._memory = memory
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

    async def run(self, command: Command, eager: EagerCalls | None = None) -> TurnEnded:
        """Say what the turn's table commands, and tell it what was answered, until it is over."""
        turn, context, asks, memory = self.turn, self._context, self._asks, self._memory
        hear = Numbered(context, turn, eager).hear if turn.events else None
        ask: Any = context.ask if eager is None else eager.ask
        if memory is not None:
            ask = memory.asking(ask, turn, context, asks[Complete])
        if type(command) is SelectTools:
            command = self._select(command)
        while type(command) is not TurnEnded:  # three times as quick as isinstance where it is none
            if type(command) is Wait:
                await self.wait(command)
                command = turn.step(WAITED)
                continue
            heard: Heard
            try:
                heard = await ask(asks[type(command)], command, hear=hear)
            except ToolwireError as error:
                heard = self._instead(error.failure, command)
            if type(heard) is ToolsSelected:
                self._keep(heard)
            command = turn.step(heard)
            if self.interrupted or turn.rounds & OFTEN == OFTEN:
                await self._heed(command)
            if type(command) is Complete and (
                memory is not None or type(heard) is SendAll or self._catalogue.version != self.seen
            ):
                command = await self._as_sent(command, heard)
        if turn.phase == Phase.PAUSED:
            turn.seconds = self.left
        return command

    def _select(self, command: SelectTools) -> Command:
        """`command`, unless it is known what would be answered. A memory has its say once that was asked."""
        self.seen = self._catalogue.version
        if self._memory is not None:
            return command
        selected = self._asks.selected(command.patterns, self.seen)
        return command if selected is None else self.turn.step(selected)

    def _keep(self, heard: ToolsSelected) -> None:
        if heard.always and self.seen is not None:
            self._asks.keep(self.turn.offer.patterns, self.seen, heard)

    def _instead(self, failure: Failure, command: Command) -> Heard:
        """What the turn hears where nobody has answered."""
        heard = self.said(failure)
        if heard.code == "too_large" and type(command) is Complete and len(command.newer) > 1:
            return SendAll(history=False, tools=False)  # one by one they may fit
        return heard

    async def _heed(self, command: Command) -> None:
        """Go no further, where who was asked last did not heed the interruption; else let others have a turn."""
        if self.interrupted:
            if not isinstance(command, TurnEnded):  # what has ended has
                await checkpoint_if_cancelled()
        elif self._context.system.breathless():
            await checkpoint()

    async def _as_sent(self, command: Complete, heard: Heard) -> Command:
        """`command` as a memory has it told, and with what the model lacks; unless the tools have changed."""
        turn, catalogue, context = self.turn, self._catalogue, self._context
        if catalogue.version != self.seen and outdated(heard):
            self.seen = catalogue.version
            return turn.step(CHANGED)
        if self._memory is not None:
            command = await self._memory.tell(command, turn, context, self._asks[Complete])
        if not isinstance(heard, SendAll):
            return command
        specs = specs_of(turn.names, catalogue, references=turn.offer.references) if heard.tools else None
        try:
            return await retold(command, specs, self._asks[Complete], context)
        except ToolwireError as error:
            return turn.step(error.failure)

    def end(self) -> None:
        """The turn is over, or paused."""
        self._context.system.alarms.unset(self.scope, self._context.deadline)
        if self._over is not None:
            self._over.set()

    def interrupt(self) -> None:
        """End the turn, unless its time has run out already. Whatever runs is cancelled, and waited for."""
        if not self.scope.cancel_called:
            self.interrupted = True
            self.scope.cancel()

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
