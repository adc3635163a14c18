"""What an actor is here: private state, one door, one supervisor.

Messages reach an actor as bytes, are admitted in the order sent, and at most `limit` of them are handled at once.
Whose task carries the handler is not part of the model: a free actor runs in its caller's task, so that deadline
and cancellation nest by themselves, and a busy one makes its caller wait at the door.
"""

import math
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from anyio.lowlevel import checkpoint

from ..protocol.envelope import (
    DEPTH,
    NO_BYTES,
    NO_MESSAGE,
    VERSION,
    Answer,
    Envelope,
    decode_head,
    encode,
    envelopes,
    refusal,
)
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import Failed, Message
from .border import ends_program, fault, is_ours, plain
from .bus.contract import Progress
from .context import Context, Surroundings
from .deadline import NEVER
from .mailbox import CAPACITY, Mailbox

NARROW = DEPTH // 2
"""Places at a door that requests which wait for each other may take up alone: then the next would wait for ever."""


class Actor:
    """The base of every actor: it declares what it hears, and answers it.

    `hears` is a union of requests; each names its own answer, so what an actor says is known from what it hears.
    `limit` messages are handled at once (None: any number, nobody waits), `capacity` may wait. What `receive`
    raises as ToolwireError is an answer; anything else is a crash. `urgent` messages do not wait at the door of an
    actor that is busy: they are handled at once, beside those in hand.
    """

    hears: ClassVar[Any]
    limit: ClassVar[int | None] = 1
    capacity: ClassVar[int] = CAPACITY
    urgent: ClassVar[tuple[type, ...]] = ()

    __slots__ = ("__weakref__",)

    def receive(self, message: Any, context: Context) -> Coroutine[Any, Any, Message]:
        """Answer one message."""
        raise NotImplementedError

    def unsaid(self, error: Exception) -> Failure | None:
        """Why an answer of the actor's can't be sent, where that is somebody else's fault. None: it is a fault here."""
        return None

    def turned_away(self, message: Any, context: Context) -> Failure | None:
        """Why a message that would have to wait at the door need not: it would be refused. Asked only then."""
        return None

    async def run(self) -> None:
        """Do something beside answering, for as long as the actor lives. Actors that have none leave this be."""


class Gone(Actor):
    """Stands where an actor was that had no door to close."""

    def __init__(self, why: str) -> None:
        self.why = why

    async def receive(self, message: Any, context: Context) -> Message:
        """Refuse."""
        raise ToolwireError(failed("unreachable", self.why))


class Cell:
    """An actor in its place: the door, the decoder and the supervisor stay when the actor is replaced."""

    __slots__ = ("actor", "crashed", "decode", "key", "mailbox", "stops", "system")

    def __init__(self, system: Surroundings, actor: Actor, key: str) -> None:
        self.system = system
        self.actor = actor
        self.key = key
        self.decode = envelopes(actor.hears).decode
        self.mailbox = Mailbox(key, actor.limit, actor.capacity) if actor.limit is not None else None
        self.crashed: Callable[[], None] | None = None
        self.stops: list[Callable[[], object]] = []

    def hold(self) -> None:
        """Keep messages waiting at the door."""
        if self.mailbox is not None:
            self.mailbox.hold()

    def open(self) -> None:
        """Let them in again."""
        if self.mailbox is not None:
            self.mailbox.open()

    def close(self, why: str) -> None:
        """Answer everybody who waits or comes that the actor is unreachable."""
        if self.mailbox is not None:
            self.mailbox.close(why)
        else:
            self.actor = Gone(why)

    def replace(self, actor: Actor) -> None:
        """Put `actor` in the place of the one that was here, unless the door is closed for good."""
        if not isinstance(self.actor, Gone):
            self.actor = actor

    @property
    def awaited(self) -> bool:
        """Whether somebody waits at the door."""
        return self.mailbox is not None and bool(self.mailbox.waiting)

    def dismiss(self, why: str = "") -> None:
        """Answer everybody who waits that the actor is unreachable. Those who are in hand may still ask it."""
        if self.mailbox is not None:
            self.mailbox.dismiss(why or f"{self.key} was stopped")

    def retire(self) -> None:
        """End what the actor does by itself. Whoever was let in, or waits, is answered all the same."""
        for stop in self.stops:
            stop()

    def stop(self, why: str = "") -> None:
        """End what the actor does by itself, and close the door."""
        self.retire()
        self.close(why or f"{self.key} was stopped")

    async def deliver_in_time(self, payload: bytes, progress: Progress) -> bytes:
        """As `deliver`, for requests that come by the bus: whoever asks may be gone, so its time is kept here too."""
        try:
            head = decode_head(payload)
        except NO_MESSAGE:
            return await self.deliver(payload, progress)  # which says what is wrong with it
        if head.budget is None or not math.isfinite(head.budget):
            return await self.deliver(payload, progress)
        system = self.system
        deadline = system.clock() + head.budget / 1000
        with system.scope() as scope:
            system.alarms.set(scope, deadline)
            try:
                return await self.deliver(payload, progress)
            finally:
                system.alarms.unset(scope, deadline)
        failure = failed("timed_out", "the time of the request ran out", "maybe", by="deadline")
        return encode(Answer(VERSION, head.id, Failed(failure)))

    async def deliver(self, payload: bytes, progress: Progress) -> bytes:
        """Handle one message: admit it, let the actor receive it, answer."""
        try:
            envelope = self.decode(payload)
        except NO_MESSAGE as error:
            number, failure = refusal(payload, error)
            return encode(Answer(VERSION, number, Failed(failure)))
        if envelope.version != VERSION or envelope.depth > DEPTH:
            return encode(Answer(VERSION, envelope.id, Failed(self._unfit(envelope, payload))))
        system, budget = self.system, envelope.budget
        now = system.clock()
        deadline = NEVER if budget is None else now + budget / 1000
        context = Context(system, deadline, envelope.depth, envelope.path, envelope.trail, progress, now)
        mailbox, entered = self.mailbox, False
        try:
            if mailbox is not None:
                entered = mailbox.enter_nowait() or await self._enter(mailbox, envelope.body, context)
                if mailbox.limit <= NARROW and entered:
                    context.path = (*context.path, self.key)
            answer = await self.actor.receive(envelope.body, context)
        except BaseException as error:
            if is_ours(error):
                raise
            answer = self._answer_to(error)
        finally:
            if mailbox is not None and entered:
                mailbox.leave()
        try:
            return encode((VERSION, envelope.id, answer))  # an Answer, field by field
        except NO_BYTES as error:
            failure = self.actor.unsaid(error) or fault(self.key, error)
            return encode(Answer(VERSION, envelope.id, Failed(failure)))

    async def _enter(self, mailbox: Mailbox, message: Any, context: Context) -> bool:
        """Wait for room. False if there is none, and `message` is urgent. One that would wait for itself is refused."""
        if isinstance(message, self.actor.urgent) and not mailbox.held:  # a door that is held is so for everybody
            while mailbox.coming:  # theirs is the place already: they are in hand
                await checkpoint()
            return False
        if context.path.count(self.key) >= mailbox.limit:
            said = f"{self.key} is asked by a call that it is itself waiting for: it would wait for itself"
            raise ToolwireError(failed("conflict", said))
        failure = mailbox.turned_away() or self.actor.turned_away(message, context)
        if failure is not None:
            raise ToolwireError(failure)
        came = context.began
        await mailbox.enter()
        context.began = self.system.clock()
        context.queued = context.began - came
        return True

    def _unfit(self, envelope: Envelope[Any], payload: bytes) -> Failure:
        if envelope.version != VERSION:
            return refusal(payload, ValueError("another version"))[1]
        return failed("limit_reached", f"requests nest deeper than {DEPTH}")

    def _answer_to(self, error: BaseException) -> Failed:
        """What an exception of the actor's comes to. What is not declared is a crash, where there is state to lose."""
        if isinstance(error, ToolwireError):
            return Failed(plain(error.failure))
        if ends_program(error):
            self.system.end(error)
            return Failed(failed("cancelled", f"{type(error).__name__} ends the runtime", "maybe"))
        failure = fault(self.key, error)
        if self.crashed is not None:
            self.crashed()
        return Failed(failure)
