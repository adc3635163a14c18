"""The conversation: a shell around `protocol.turn`. It keeps the history and runs one turn at a time."""

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, ClassVar

from anyio.lowlevel import checkpoint
from msgspec import Raw

from ..protocol.cues import WAITED, Phase
from ..protocol.envelope import Trail, encode
from ..protocol.events import Pending
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.history import HistoryMessage, SystemMessage
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.mending import going_on, system_of
from ..protocol.messages import (
    Answer,
    AnswerCall,
    Answered,
    Complete,
    Decision,
    Greet,
    Greeted,
    Interrupt,
    Interrupted,
    Resume,
    Rewind,
    Rewound,
    RunBatch,
    Say,
    TurnEnded,
)
from ..protocol.offer import Offer
from ..protocol.output import Output, Outputs
from ..protocol.referring import instructed
from ..protocol.streamed import StreamedTurn
from ..protocol.telling import length_kept
from ..protocol.turn import Turn
from ..runtime.actor import Actor
from ..runtime.context import Context, Door
from .agent import Agent
from .asks import Asks
from .carrying import carried
from .eager import EagerCalls
from .house import House
from .queueing import Queueing
from .recollection import Recollection
from .running import Running
from .validator import be_ready

INTERRUPTED = failed("cancelled", "the turn was interrupted", "maybe", by="caller")

OF_AGENT = ("_asks", "_name", "_offer", "agent", "memory")
"""What changes where a conversation goes on with another agent."""


class Conversation(Actor):
    """One conversation. Its history is valid at every instant: each call in it has its result."""

    hears = Say | Answer | Resume | Interrupt | Rewind | Greet
    limit: ClassVar[int | None] = 1
    urgent: ClassVar[tuple[type, ...]] = (Answer, Interrupt, Greet)

    __slots__ = (
        "_asks",
        "_house",
        "_last",
        "_name",
        "_next",
        "_offer",
        "_queueing",
        "_room",
        "_running",
        "_turn",
        "agent",
        "caller",
        "memory",
        "output",
        "turns",
    )

    def __init__(
        self,
        identity: str,
        asks: Asks,
        house: House,
        *,
        agent: Agent,
        caller: str = "",
        patterns: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        room: int | None = None,
        history: Sequence[HistoryMessage] = (),
        outputs: Outputs | None = None,
        memory: Recollection | None = None,
    ) -> None:
        system = instructed(agent.system or system_of(history)) if agent.references else agent.system
        self._offer = Offer(
            identity,
            going_on(history, system) if history else [SystemMessage(system)] if system else [],
            patterns=patterns,
            limits=limits,
            settings=dict(agent.settings) if agent.settings else None,
            references=agent.references,
            eager=agent.eager,
            read_only=house.catalogue.only_reads,
            last_answer=agent.last_answer,
            outputs=outputs,
        )
        self.output = None if outputs is None else outputs.default
        self._asks = asks
        self._house = house
        self.agent = agent
        self._name = agent.name
        self.caller = caller
        self._room = room  # bytes of results that a reply may hold: None where it never travels
        self._turn: Turn | None = None  # that runs, or is paused
        self._last: TurnEnded | None = None  # how the turn that was resumed last has ended
        self._running: Running | None = None
        self._queueing = Queueing(agent.when_busy) if agent.when_busy != "queue" else None
        self._next: Conversation | None = None
        self.memory = memory
        self.turns = count(1)

    def expect(self, output: Output) -> None:
        """Answers may be asked for by the schema of `output`: then they are to be of its type as well."""
        be_ready()
        if self._offer.outputs is None:
            self._offer.outputs = Outputs()
        self._offer.outputs.add(output)
        if self._next is not None:
            self._next.expect(output)

    @property
    def wanted(self) -> Output | None:
        """What the answer of the turn that runs, or is paused, has to be."""
        return None if self._turn is None or self._turn.wanted is None else self._turn.wanted.output

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What the turn that runs, or is paused, wants of a person."""
        return () if self._turn is None else self._turn.pending

    @property
    def history(self) -> list[HistoryMessage]:
        """What was said so far."""
        return self._offer.history

    def receive(
        self, message: Say | Answer | Resume | Interrupt | Rewind | Greet, context: Context
    ) -> Coroutine[Any, Any, TurnEnded | Answered | Interrupted | Rewound | Greeted]:
        """Run one turn to its end, or to where it waits for a person. However it ends, the history stays valid."""
        if not isinstance(message, Say):
            return self._asked(message, context)
        if self._turn is not None or self._last is not None:
            self._left()
        if self._next is not None:
            self._become(self._next)
        name = f"{self._offer.conversation}.{next(self.turns)}"
        streamed = message.events and self._offer.eager != "off"
        turn = self._turn = (StreamedTurn if streamed else Turn)(self._offer, events=message.events, name=name)
        if self._queueing is not None and self._queueing.overtaken(context):
            return self._overtaken(turn, message)
        return self._run(turn, message, context)

    async def _overtaken(self, turn: Turn, said: Say) -> TurnEnded:
        """End a turn that was interrupted before it began: what the user said stands in the history."""
        self._turn = None
        turn.start(said.text, said.blobs, said.tool_choice, said.output, said.places)
        return turn.end("interrupted", failure=INTERRUPTED)

    async def _asked(
        self, message: Answer | Resume | Interrupt | Rewind | Greet, context: Context
    ) -> TurnEnded | Answered | Interrupted | Rewound | Greeted:
        if isinstance(message, Answer):
            return await self._answer(message.decision, context)
        if isinstance(message, Interrupt):
            return await self._interrupt()
        if isinstance(message, Rewind):
            return self._rewound(message.length)
        return Greeted() if isinstance(message, Greet) else await self._resumed(message, context)

    async def _resumed(self, message: Resume, context: Context) -> TurnEnded:
        """Let the turn that is paused go on; how it has ended, if another answer has let it go on to its end."""
        if self._turn is None:
            if self._last is None:
                raise ToolwireError(failed("invalid_confirmation", "no turn of this conversation is paused"))
            return self._last
        self._turn.events = message.events
        ended = self._last = await self._run(self._turn, None, context)
        return ended

    async def _run(self, turn: Turn, said: Say | None, context: Context) -> TurnEnded:
        """Run a turn that begins with what the user says, or goes on; whose it is goes along."""
        if context.depth > 1 and context.whose().tainted:  # asked by a tool, on behalf of another turn
            turn.tainted = True
        try:
            if self._house.tracing.listens():
                ended = await self._traced(turn, said, context)
            else:
                of = (self._offer.conversation, turn.name, self.caller)  # a Trail, field by field
                context.trail = Raw(encode((*of, "", "", self._name) if self._name else of))
                ended = await self._timed(turn, said, context)
        finally:
            if turn.phase != Phase.PAUSED:
                self._turn = None
            if self.memory is not None:
                self.memory.rewound(self._offer.history)  # what was too large was taken back
        return ended if self._room is None else carried(ended, self._room)

    def turned_away(self, message: Any, context: Context) -> Failure | None:
        """Whether what is said while a turn runs is refused."""
        if self._queueing is None or not isinstance(message, Say):
            return None
        return self._queueing.came(context, self._running)

    async def _interrupt(self) -> Interrupted:
        """End the turn that runs, and wait for that; leave one that is paused."""
        running, turn = self._running, self._turn
        if running is not None:
            running.interrupt()
            await running.over()
        elif turn is not None:
            self._left()
        return Interrupted(running=turn is not None)

    def follow(self, other: "Conversation") -> None:
        """From the next turn on, be as `other`, to which nobody has spoken: its agent's, with what was said here."""
        self._next = other
        self.output = other.output

    def speaks_for(self, agent: Agent) -> bool:
        """Whether the next turn is this agent's."""
        mine = self.agent if self._next is None else self._next.agent
        return mine is agent or mine == agent

    def leave(self, nameless: str) -> str | Door:
        """Give the name to whoever opens it next; a turn that runs goes on nameless. Returns the model."""
        self._offer.conversation = nameless
        return self._asks[Complete]

    def _become(self, other: "Conversation") -> None:
        before, memory = self._offer, self.memory
        if other.agent.when_busy != self.agent.when_busy:
            self._queueing = other._queueing  # noqa: SLF001 - of its own class
        for name in OF_AGENT:
            setattr(self, name, getattr(other, name))
        said = (each for each in before.history if not isinstance(each, SystemMessage))
        self._offer.history = [*self._offer.history, *said]
        self._offer.used = before.used
        self._next = None
        if memory is not None and self.memory is not None:
            self.memory.follow(memory, self.history, len(self.history) - len(before.history))

    def _left(self) -> None:
        if self._turn is not None:  # one that is paused: none runs
            self._turn.leave()
            self._turn = None
        self._last = None

    async def _timed(self, turn: Turn, said: Say | None, context: Context) -> TurnEnded:
        """The turn within its time."""
        system = context.system
        seconds = self._offer.seconds if said is not None else turn.seconds
        running = self._running = Running(turn, context, seconds, self._asks, self._house.catalogue, self.memory)
        with running.scope as scope:
            try:
                if said is None:
                    command = turn.step(WAITED)
                else:
                    command = turn.start(said.text, said.blobs, said.tool_choice, said.output, said.places)
                    if system.breathless():
                        await checkpoint()
                if isinstance(turn, StreamedTurn) and turn.events:
                    async with EagerCalls(turn, context, self._asks[RunBatch]) as eager:
                        return await running.run(command, eager)
                return await running.run(command)
            except BaseException:
                turn.close()
                raise
            finally:
                running.end()
                self._running = None
        if scope.cancelled_caught:
            if running.interrupted:
                return turn.end("interrupted", failure=INTERRUPTED)
            return turn.end("time", failure=running.late())
        raise AssertionError("a turn ends, is cancelled, or raises")

    async def _traced(self, turn: Turn, said: Say | None, context: Context) -> TurnEnded:
        """The same, in a span of its own."""
        asked = context.whose()
        of = (self._offer.conversation, turn.name, self.caller)
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
        elif self._running is not None:
            self._running.answered()
        return Answered(running=turn.phase != Phase.PAUSED)

    def _rewound(self, length: int) -> Rewound:
        """Forget what came after the first `length` messages, see `Rewind`. Raises ToolwireError where nothing can."""
        offer = self._offer
        kept = length_kept(offer.history, length)
        self._left()
        offer.history = offer.history[:kept]  # a list of its own: who looks at the other sees it as it was
        offer.ids = None
        offer.known = 0
        if self.memory is not None:
            self.memory.rewound(offer.history)
        return Rewound(kept)
