"""Claims the name of a conversation that several processes may want in the same instant: one of them gets it."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Self

import anyio

from ..protocol.envelope import NO_MESSAGE, broadcasts
from ..protocol.failures import ToolwireError, failed
from ..protocol.messages import Claim, Greet
from ..runtime.border import log
from ..runtime.bus.contract import BusError, Stop
from ..runtime.context import Context, cut_off
from ..runtime.system import ActorSystem

GREETING = 1.0
"""Seconds for somebody to say that a conversation is open. Where nobody hears at all, that is known at once."""

_numbers = count(1)
_decode = broadcasts(Claim).decode


class Claiming:
    """The claim of one process to a name, in this order: it listens, asks who is there, serves the name, and claims it.

    Then it has the name if no other process has claimed it since it listens, before its own claim came back. Of two
    that have it so, one would have claimed later; not having heard the earlier claim, it began to listen after that,
    and so asked when the other one served the name already: it was answered, and did not claim. And whoever claims
    first has it. This goes by the order in which one server passes on what it is told. A server reads each connection
    in a thread of its own, and may be halted between two of those whom it passes a claim on to: of 20,000 pairs of
    claims in the same microsecond two came in another order to either end, and then both have the name. Servers of a
    cluster hear of each other's listeners a moment later; and who is cut off while another claims, is not asked.
    """

    def __init__(self, system: ActorSystem, name: str, outside: Callable[[], Context]) -> None:
        self._system = system
        self._name = name
        self._outside = outside
        self._subject = system.address("directory", f"conversation.{name}")
        self._mine = Claim(system.bus.instance, next(_numbers))
        self._others = False
        self._heard: bool | None = None
        self._came = anyio.Event()
        self._stop: Stop | None = None

    async def __aenter__(self) -> Self:
        self._stop = await self._system.bus.listen(self._subject, self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._system.open:  # else the bus ends it
            self._system.tasks.start_soon(self._leave)  # four ways to the broker and back, for which nobody has to wait

    async def taken(self) -> bool:
        """Whether another process serves the name. Nobody waits for this but who asks: whoever has it may be stuck.

        Raises ToolwireError if nobody says so in time.
        """
        with anyio.move_on_after(GREETING):
            try:
                await self._outside().ask(self._system.address("conversation", self._name), Greet())
            except ToolwireError as error:
                if cut_off(error.failure):
                    raise
                return error.failure.code != "unreachable"
            return True
        raise self._unsaid()

    async def holds(self) -> bool:
        """Claim the name, which is served here by now: whether it is this process's. Raises ToolwireError."""
        with anyio.move_on_after(GREETING):
            await self._system.publish(self._subject, self._mine)
            await self._came.wait()
        if self._heard is None:
            raise self._unsaid()
        return self._heard

    async def _leave(self) -> None:
        if self._stop is not None:
            with suppress(BusError):
                await self._stop()

    def _unsaid(self) -> ToolwireError:
        said = f"whether the conversation {self._name[:100]!r} is open elsewhere was not said within {GREETING:g} s"
        return ToolwireError(failed("unreachable", said))

    def _hear(self, payload: bytes) -> None:
        try:
            claim = _decode(payload).body
        except NO_MESSAGE as error:
            log.warning("a claim that is no message: %s", error)
            return
        if claim.instance != self._mine.instance:
            self._others = True
        elif claim == self._mine and self._heard is None:
            self._heard = not self._others
            self._came.set()
