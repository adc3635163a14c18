"""The conversation: a shell around `protocol.turn`. It keeps the history and runs one turn at a time."""

from collections.abc import Awaitable
from contextlib import suppress
from itertools import count
from typing import Any, ClassVar

import anyio
from anyio.lowlevel import checkpoint
from msgspec import Raw
from msgspec.structs import replace

from ..protocol.cues import CHANGED, WAITED, Phase, Wait
from ..protocol.envelope import Trail, encode
from ..protocol.events import CallFinished, ConfirmationWanted, Event, Pending
from ..protocol.failures import ToolwireError, failed
from ..protocol.history import HistoryMessage, SystemMessage
from ..protocol.messages import (
    Answer,
    AnswerCall,
    Answered,
    BatchEnded,
    CloseBatch,
    Complete,
    Decision,
    Remember,
    Resume,
    RunBatch,
    Say,
    SelectTools,
    SendAll,
    TurnEnded,
)
from ..protocol.offer import DEFAULT_LIMITS, Eager, Limits, Offer
from ..protocol.referring import instructed
from ..protocol.streamed import StreamedTurn
from ..protocol.tools import ToolSpec
from ..protocol.turn import Command, Heard, Turn
from ..runtime.actor import Actor
from ..runtime.context import Context, Door
from ..runtime.deadline import NEVER
from ..runtime.tracing import Tracing
from .catalogue import Catalogue
from .eager import EagerCalls
from .executor import fitted

OFTEN = 63
"""A mask of rounds: so often a turn that never suspends asks whether the loop should have a turn."""

Watch = tuple[anyio.CancelScope, float, float]
"""What ends a turn: the scope of it, the instant that its caller set, and its own, if it never waited for a person."""

CHUNK = 256 * 1024
"""Bytes of history in one message, where the model has to be told of all of it."""


class House:
    """Whom conversations ask, and what they share with the others of their process."""

    __slots__ = ("catalogue", "executor", "selector", "tracing")

    def __init__(self, selector: str | Door, executor: str | Door, catalogue: Catalogue, tracing: Tracing) -> None:
        self.selector = selector
        self.executor = executor
        self.catalogue = catalogue
        self.tracing = tracing

    def asks(self, model: str | Door) -> dict[type, str | Door]:
        """Where each command of a turn goes, for conversations with the model at that address."""
        executor = self.executor
        return {
            SelectTools: self.selector,
            Complete: model,
            RunBatch: executor,
            CloseBatch: executor,
        }


class Conversation(Actor):
    """One conversation. Its history is valid at every instant: each call in it has its result."""

    hears = Say | Answer | Resume
    limit: ClassVar[int | None] = 1
    urgent: ClassVar[tuple[type, ...]] = (Answer,)

    __slots__ = ("_answered", "_asks", "_caller", "_house", "_last", "_name", "_offer", "_room", "_turn", "_turns")

    def __init__(
        self,
        identity: str,
        asks: dict[type, str | Door],
        house: House,
        *,
        system: str = "",
        name: str = "",
        caller: str = "",
        patterns: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        settings: dict[str, Any] | None = None,
        references: bool = False,
        eager: Eager = "read_only",
        room: int | None = None,
    ) -> None:
        system = instructed(system) if references else system
        history: list[HistoryMessage] = [SystemMessage(system)] if system else []
        self._offer = Offer(
            identity,
            history,
            patterns=patterns,
            limits=limits,
            settings=settings,
            references=references,
            eager=eager,
            read_only=house.catalogue.only_reads,
        )
        self._asks = asks
        self._house = house
        self._name = name
        self._caller = caller
        self._room = room  # bytes of results that a reply may hold: None where it never travels
        self._turns = count(1)
        self._turn: Turn | None = None  # that runs, or is paused
        self._last: TurnEnded | None = None  # how the turn that was resumed last has ended
        self._answered: anyio.Event | None = None

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What the turn that runs, or is paused, wants of a person."""
        return () if self._turn is None else self._turn.pending

    @property
    def history(self) -> list[HistoryMessage]:
        """What was said so far."""
        return self._offer.history

    async def receive(self, message: Say | Answer | Resume, context: Context) -> TurnEnded | Answered:
        """Run one turn to its end, or to where it waits for a person. However it ends, the history stays valid."""
        turn = self._turn
        if isinstance(message, Say):
            if turn is not None:
                turn.leave()
            name = f"{self._offer.conversation}.{next(self._turns)}"
            streamed = message.events and self._offer.eager != "off"
            turn = self._turn = (StreamedTurn if streamed else Turn)(self._offer, events=message.events, name=name)
            self._last = None
            said: Say | None = message
        elif isinstance(message, Answer):
            return await self._answer(message.decision, context)
        elif turn is None:
            if self._last is None:
                raise ToolwireError(failed("invalid_confirmation", "no turn of this conversation is paused"))
            return self._last
        else:
            turn.events = message.events
            said = None
        if context.depth > 1 and context.whose().tainted:  # asked by a tool, on behalf of another turn
            turn.tainted = True
        try:
            ended = await (self._traced if self._house.tracing.listens() else self._told)(turn, said, context)
        finally:
            if turn.phase != Phase.PAUSED:
                self._turn = None
        if self._room is not None:
            ended = self._carried(ended, self._room)
        if said is None:
            self._last = ended
        return ended

    def _told(self, turn: Turn, said: Say | None, context: Context) -> Awaitable[TurnEnded]:
        """Start a turn with what the user says, or go on with one that was paused; whose it is goes along."""
        of = (self._offer.conversation, turn.name, self._caller)  # a Trail, field by field
        context.trail = Raw(encode((*of, "", "", self._name) if self._name else of))
        return self._timed(turn, said, context)

    async def _traced(self, turn: Turn, said: Say | None, context: Context) -> TurnEnded:
        """The same, in a span of its own."""
        asked = context.whose()
        of = (self._offer.conversation, turn.name, self._caller)
        trail = Trail(*of, asked.traceparent, asked.tracestate, self._name)
        with self._house.tracing.turn(self._name, context, trail) as span:
            ended = await self._timed(turn, said, context)
            span.replied(ended.reply)
            return ended

    async def _answer(self, decision: Decision, context: Context) -> Answered:
        """Take down what a person said, and tell whoever waits for it. Raises ToolwireError if nobody does."""
        turn = self._turn
        if turn is None:
            said = "no call of this conversation waits for a person: the turn that asked is over"
            raise ToolwireError(failed("invalid_confirmation", said))
        turn.answer(decision)
        if turn.phase in {Phase.CALLING, Phase.SPEAKING}:
            with suppress(ToolwireError):  # then the turn has it, and uses it once the batch has ended
                if (await context.ask(self._asks[RunBatch], AnswerCall(turn.batch, decision))).known:
                    turn.take(decision)
                    return Answered(running=True)
            if turn.phase == Phase.ENDED:
                raise ToolwireError(failed("invalid_confirmation", "the turn ended before the answer could be used"))
        elif self._answered is not None:
            self._answered.set()
        return Answered(running=turn.phase != Phase.PAUSED)

    def _carried(self, ended: TurnEnded, room: int) -> TurnEnded:
        """`ended` as its message can carry it. The history keeps every result."""
        reply = ended.reply
        calls = fitted(reply.calls, room, "the result stands in the history, but is too long for the reply")
        return ended if calls is reply.calls else TurnEnded(replace(reply, calls=calls))

    async def _timed(self, turn: Turn, said: Say | None, context: Context) -> TurnEnded:
        """The turn within its time: `seconds` in all, without those in which it waited for a person."""
        system, outer = context.system, context.deadline
        seconds = self._offer.seconds if said is not None else turn.seconds
        turn.waited = 0.0
        own = NEVER if seconds is None else system.clock() + seconds
        context.deadline = min(outer, own)
        with system.scope() as scope:
            system.alarms.set(scope, context.deadline)
            try:
                if said is not None and system.breathless():
                    await checkpoint()
                if isinstance(turn, StreamedTurn) and turn.events:
                    async with EagerCalls(turn, context, self._asks[RunBatch]) as eager:
                        return await self._turned(turn, said, context, (scope, outer, own), eager)
                return await self._turned(turn, said, context, (scope, outer, own))
            except BaseException:
                turn.close()
                raise
            finally:
                system.alarms.unset(scope, context.deadline)
        if scope.cancelled_caught:
            failure = failed("timed_out", f"the turn took longer than {self._offer.seconds} s", "maybe", by="turn")
            return turn.end("time", failure=failure)
        raise AssertionError("a turn ends, is cancelled, or raises")

    async def _turned(
        self, turn: Turn, said: Say | None, context: Context, watch: Watch, eager: EagerCalls | None = None
    ) -> TurnEnded:
        """Say what the turn's table commands, and tell it what was answered, until it is over."""
        hear = Numbered(context, turn, eager).hear if turn.events else None
        ask = context.ask if eager is None else eager.ask
        catalogue = self._house.catalogue
        seen = catalogue.version if said is not None else None
        command: Command = (
            turn.step(WAITED) if said is None else turn.start(said.text, said.blobs, said.tool_choice, said.output)
        )
        while not isinstance(command, TurnEnded):
            heard: Heard
            if type(command) is Wait:
                command = await self._waited(command, turn, context, watch)
                continue
            try:
                heard = await ask(self._asks[type(command)], command, hear=hear)  # type: ignore[arg-type]  # a union of requests is no request of a union
            except ToolwireError as error:
                heard = error.failure
                if heard.code == "too_large" and type(command) is Complete and len(command.newer) > 1:
                    heard = SendAll(history=False, tools=False)  # one by one they may fit
            command = turn.step(heard)
            if turn.rounds & OFTEN == OFTEN and context.system.breathless():
                await checkpoint()
            if catalogue.version != seen and type(command) is Complete and outdated(heard):
                seen = catalogue.version
                command = turn.step(CHANGED)
            elif type(heard) is SendAll and type(command) is Complete:
                try:
                    command = await self._all_of(command, turn.names if heard.tools else None, context)
                except ToolwireError as error:
                    command = turn.step(error.failure)
        if turn.phase == Phase.PAUSED:
            turn.seconds = watch[2] + turn.waited - context.system.clock()
        return command

    async def _waited(self, command: Wait, turn: Turn, context: Context, watch: Watch) -> Command:
        """Wait for a person. Of the time that this takes only whoever asked for the turn may have a limit."""
        clock, alarms = context.system.clock, context.system.alarms
        scope, outer, own = watch
        began = clock()
        alarms.unset(scope, context.deadline)
        context.deadline = outer
        alarms.set(scope, outer)
        if turn.pending == command.pending:  # else somebody has answered already
            answered = self._answered = anyio.Event()
            with anyio.move_on_after(command.seconds):
                await answered.wait()
            self._answered = None
        turn.waited += clock() - began
        alarms.unset(scope, outer)
        context.deadline = min(outer, own + turn.waited)
        alarms.set(scope, context.deadline)
        return turn.step(WAITED)

    async def _all_of(self, command: Complete, names: tuple[str, ...] | None, context: Context) -> Complete:
        """`command` with what the model lacks; a long history goes ahead in parts."""
        specs: tuple[ToolSpec, ...] | None = None
        if names is not None:
            catalogue = self._house.catalogue
            found = map(catalogue.referring if self._offer.references else catalogue.spec, names)
            specs = tuple(spec for spec in found if spec is not None)
        *ahead, newer = parts(command.newer)
        known = command.known
        for part in ahead:
            await context.ask(self._asks[Complete], Remember(command.conversation, known, part))
            known += len(part)  # whoever forgot it meanwhile asks for all again
        return replace(command, known=known, newer=newer, specs=specs)


def outdated(heard: Heard) -> bool:
    """Whether what is on offer should be selected anew after this, if the catalogue has changed.

    Before each further round, and where the specs themselves are asked for, which then have to be those selected.
    """
    return type(heard) is BatchEnded or (type(heard) is SendAll and heard.tools and not heard.history)


class Numbered:
    """Passes the events of a turn on to its caller, numbered from 1."""

    __slots__ = ("_context", "_eager", "_number", "_turn")

    def __init__(self, context: Context, turn: Turn, eager: EagerCalls | None) -> None:
        self._context = context
        self._turn = turn
        self._eager = eager
        self._number = 0

    def hear(self, event: Event) -> None:
        """Pass `event` on."""
        if self._eager is not None and self._eager.heard(event):
            return
        self._number += 1
        if type(event) is CallFinished:
            self._turn.tell(event.result)
        elif type(event) is ConfirmationWanted:
            self._turn.ask(event.pending)
        self._context.report(replace(event, number=self._number))


def parts(messages: tuple[HistoryMessage, ...], largest: int = CHUNK) -> list[tuple[HistoryMessage, ...]]:
    """`messages` in runs of at most `largest` encoded bytes each; a longer message is a run of its own."""
    runs: list[tuple[HistoryMessage, ...]] = []
    run: list[HistoryMessage] = []
    size = 0
    for message in messages:
        length = len(encode(message))
        if run and size + length > largest:
            runs.append(tuple(run))
            run, size = [], 0
        run.append(message)
        size += length
    return [*runs, tuple(run)]
