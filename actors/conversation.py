"""The conversation: a shell around `protocol.turn`. It keeps the history and runs one turn at a time."""

from itertools import count
from typing import Any, ClassVar

from anyio.lowlevel import checkpoint
from msgspec import Raw
from msgspec.structs import replace

from ..protocol.envelope import Trail, encode
from ..protocol.events import CallFinished, Event
from ..protocol.failures import ToolwireError, failed
from ..protocol.history import HistoryMessage, SystemMessage
from ..protocol.messages import (
    BatchEnded,
    Complete,
    Remember,
    RunBatch,
    Say,
    SelectTools,
    SendAll,
    ToolsSelected,
    TurnEnded,
)
from ..protocol.tools import ToolSpec
from ..protocol.turn import CHANGED, DEFAULT_LIMITS, Command, Heard, Limits, Offer, Turn
from ..runtime.actor import Actor
from ..runtime.context import Context, Door
from ..runtime.deadline import sooner
from ..runtime.tracing import Tracing
from .catalogue import Catalogue
from .executor import fitted

OFTEN = 63
"""A mask of rounds: so often a turn that never suspends asks whether the loop should have a turn."""

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
        return {SelectTools: self.selector, Complete: model, RunBatch: self.executor}


class Conversation(Actor):
    """One conversation. Its history is valid at every instant: each call in it has its result."""

    hears = Say
    limit: ClassVar[int | None] = 1

    __slots__ = ("_asks", "_caller", "_house", "_name", "_offer", "_room", "_turns")

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
        room: int | None = None,
    ) -> None:
        history: list[HistoryMessage] = [SystemMessage(system)] if system else []
        self._offer = Offer(
            identity, history, patterns=patterns, limits=limits, settings=settings, references=references
        )
        self._asks = asks
        self._house = house
        self._name = name
        self._caller = caller
        self._room = room  # bytes of results that a reply may hold: None where it never travels
        self._turns = count(1)

    @property
    def history(self) -> list[HistoryMessage]:
        """What was said so far."""
        return self._offer.history

    async def receive(self, message: Say, context: Context) -> TurnEnded:
        """Run one turn to its end. However it ends, the history stays valid."""
        tracing = self._house.tracing
        identity = self._offer.conversation
        name = f"{identity}.{next(self._turns)}"
        turn = Turn(self._offer, events=message.events)
        if not tracing.listens():
            context.trail = Raw(encode((identity, name, self._caller)))  # a Trail, field by field
            ended = await self._timed(turn, message.text, context)
            return ended if self._room is None else self._carried(ended, self._room)
        asked = context.whose()
        trail = Trail(identity, name, self._caller, asked.traceparent, asked.tracestate)
        with tracing.turn(self._name, context, trail) as span:
            ended = await self._timed(turn, message.text, context)
            span.replied(ended.reply)
            return ended if self._room is None else self._carried(ended, self._room)

    def _carried(self, ended: TurnEnded, room: int) -> TurnEnded:
        """`ended` as its message can carry it. The history keeps every result."""
        reply = ended.reply
        calls = fitted(reply.calls, room, "the result stands in the history, but is too long for the reply")
        return ended if calls is reply.calls else TurnEnded(replace(reply, calls=calls))

    async def _timed(self, turn: Turn, text: str, context: Context) -> TurnEnded:
        """The turn within its time."""
        system, seconds = context.system, self._offer.seconds
        context.deadline = deadline = sooner(context.deadline, seconds, system.clock)
        with system.scope() as scope:
            system.alarms.set(scope, deadline)
            try:
                if system.breathless():
                    await checkpoint()
                return await self._turn(turn, text, context)
            except BaseException:
                turn.close()
                raise
            finally:
                system.alarms.unset(scope, deadline)
        if scope.cancelled_caught:
            failure = failed("timed_out", f"the turn took longer than {seconds} s", "maybe", by="turn")
            return turn.end("time", failure=failure)
        raise AssertionError("a turn ends, is cancelled, or raises")

    async def _turn(self, turn: Turn, text: str, context: Context) -> TurnEnded:
        """Say what the turn's table commands, and tell it what was answered, until it is over."""
        hear = Numbered(context, turn).hear if turn.events else None
        names: tuple[str, ...] = ()
        catalogue = self._house.catalogue
        seen = catalogue.version
        command: Command = turn.start(text)
        while not isinstance(command, TurnEnded):
            heard: Heard
            try:
                heard = await context.ask(self._asks[type(command)], command, hear=hear)  # type: ignore[arg-type]  # a union of requests is no request of a union
            except ToolwireError as error:
                heard = error.failure
                if heard.code == "too_large" and type(command) is Complete and len(command.newer) > 1:
                    heard = SendAll(history=False, tools=False)  # one by one they may fit
            if type(heard) is ToolsSelected:
                names = heard.names
            command = turn.step(heard)
            if turn.rounds & OFTEN == OFTEN and context.system.breathless():
                await checkpoint()
            if catalogue.version != seen and type(command) is Complete and outdated(heard):
                seen = catalogue.version
                command = turn.step(CHANGED)
            elif type(heard) is SendAll and type(command) is Complete:
                try:
                    command = await self._all_of(command, names if heard.tools else None, context)
                except ToolwireError as error:
                    command = turn.step(error.failure)
        return command

    async def _all_of(self, command: Complete, names: tuple[str, ...] | None, context: Context) -> Complete:
        """`command` with what the model lacks; a long history goes ahead in parts."""
        specs: tuple[ToolSpec, ...] | None = None
        if names is not None:
            found = (self._house.catalogue.spec(name) for name in names)
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

    __slots__ = ("_context", "_number", "_turn")

    def __init__(self, context: Context, turn: Turn) -> None:
        self._context = context
        self._turn = turn
        self._number = 0

    def hear(self, event: Event) -> None:
        """Pass `event` on."""
        self._number += 1
        if type(event) is CallFinished:
            self._turn.tell(event.result)
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
