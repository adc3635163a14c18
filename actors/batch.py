"""The calls of one response on their way: leader and follower.

The executor's own task takes the next ready call. Before each it makes sure that one follower is scheduled; if the
call suspends, the loop runs the follower, which goes on with the rest, in order. So there is one task for each call
that suspends and none for the others, each call lives wholly in one task, and calls start in response order on
every event loop. A task for each call would cost 12 µs.

A call's time limit needs a cancel scope (5 µs) only if the call suspends. Each task has one scope; whoever finds
that a call has suspended (the follower, mostly) sets that call's alarm.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from ..protocol.failures import Failure, failed
from ..protocol.plan import Plan
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.alarms import Alarms
from ..runtime.context import Surroundings
from ..runtime.deadline import NEVER
from .dispatch import timed_out

ASKS = "confirmation_required"
"""The failure of a call that waits for a person: its tool has not run."""

Runner = Callable[[int, str, float], Awaitable[ToolResult[Any]]]
"""Runs the call at a position, with these arguments, until that deadline (for which whoever calls it sees)."""


class Lane:
    """One task of a batch: the call that it has in hand, and the scope that ends the call in time."""

    __slots__ = ("alarms", "armed", "began", "deadline", "position", "scope")

    def __init__(self, alarms: Alarms) -> None:
        self.alarms = alarms
        self.position: int | None = None
        self.began = 0.0
        self.deadline = NEVER
        self.armed = False
        self.scope: anyio.CancelScope

    def arm(self) -> None:
        """Let the deadline fire: the call has suspended, or may."""
        if self.position is not None and not self.armed:
            self.armed = True
            self.alarms.set(self.scope, self.deadline)

    def empty(self) -> None:
        """The call has ended."""
        self.position = None
        if self.armed:
            self.armed = False
            self.alarms.unset(self.scope, self.deadline)


class Batch:
    """Runs a plan to its end. `results` then holds one result for each call, in call order.

    `run` must not raise but for a cancellation. `seconds` is the time limit of a call by the name of its tool. `ended`
    is told each result, `late` may change that of a call which ran out of its time. `holds` says whether a call with
    such a failure waits for a person: it is held, others go on, and what is held when they have ended has no result.

    While its plan is open, `add` brings more calls; `calls` is then the plan's own list. It ends only after `close`.
    `tainted` says whether any result is, so far.
    """

    def __init__(
        self,
        plan: Plan,
        calls: Sequence[ToolCall],
        run: Runner,
        seconds: Callable[[str], float],
        system: Surroundings,
        ended: Callable[[ToolResult[Any]], None] | None = None,
        late: Callable[[ToolCall, ToolResult[Any]], Awaitable[ToolResult[Any]]] | None = None,
        holds: Callable[[int, ToolResult[Any]], bool] | None = None,
    ) -> None:
        self.plan = plan
        self.calls = calls
        self.results: list[ToolResult[Any]] = [PENDING] * len(calls)
        self._run = run
        self._seconds = seconds
        self._system = system
        self._clock = system.clock
        self._ended = ended
        self._lately = late
        self._holds = holds
        self.tainted = False
        self._around: Context
        self._idle: anyio.Event | None = None
        self._stopped: Failure | None = None
        self._cancelled = False
        self._tasks: TaskGroup
        self._follower_due = False
        self._leading: Lane | None = None

    async def run(self) -> None:
        """Run every call. What cancels this cancels them all."""
        plan = self.plan
        if plan.open:
            self._around = copy_context()
        async with anyio.create_task_group() as self._tasks:
            try:
                await self._work()
                if plan.open:
                    await self._wait()
            except BaseException:
                self._cancelled = True
                raise

    async def _wait(self) -> None:
        """Go on with what is added, until the batch is closed."""
        while self.plan.open:
            self._idle = anyio.Event()
            await self._idle.wait()
            self._idle = None
            await self._work()

    def add(self, call: ToolCall, refuse: Failure | None = None) -> bool:
        """Add the next call of an open batch; whether it may start at once."""
        self.results.append(PENDING)
        ready = self.plan.ready
        self.plan.add(call, refuse)
        started = self.plan.ready > ready
        if started:
            self._go_on()
        return started

    def close(self, refuse: Failure | None = None) -> None:
        """No more calls are added. With `refuse`, those that have not started end with that, held ones too."""
        self._stopped = refuse
        if refuse is not None:
            for position in self.plan.held:
                self._end(position, self._failed(position, refuse))
        self.plan.close()
        self._go_on()

    def _go_on(self) -> None:
        """See that somebody takes what is ready. Whoever brings it has context variables of its own."""
        if self._idle is not None:
            self._idle.set()
        elif not self._cancelled:
            self._around.run(self._followed)

    def release(self, position: int) -> bool:
        """Take a call that is held up again. False if nothing else goes on: then the batch is at its end."""
        if self.plan.stalled or self._cancelled:
            return False
        self.plan.release(position)
        self._around.run(self._followed)  # whoever answered has context variables of its own
        return True

    async def _follow(self) -> None:
        self._follower_due = False
        if self._leading is not None:
            self._leading.arm()  # it counted on this follower, even if nothing is left to follow with
        await self._work()

    async def _work(self) -> None:
        """Take one call after another, for as long as one is ready."""
        plan, system, run = self.plan, self._system, self._run
        lane = Lane(system.alarms)
        try:
            while plan.has_ready:
                with system.scope() as scope:
                    lane.scope = scope
                    while (position := plan.take()) is not None:
                        if self._leading is not None:
                            self._leading.arm()  # whoever led is still in its call: it has suspended
                        arguments = plan.arguments(position) if self._stopped is None else self._stopped
                        lane.position = position
                        if isinstance(arguments, Failure):
                            self._finish(lane, self._failed(position, arguments))
                            continue
                        lane.began = began = self._clock()
                        lane.deadline = began + self._seconds(self.calls[position].name)
                        self._leading = lane
                        if not self._followed():
                            lane.arm()
                        self._finish(lane, await run(position, arguments, lane.deadline))
                        if scope.cancel_called:
                            break  # its time ran out in the very moment of its end: the next call needs another scope
                        if system.breathless():
                            await checkpoint()
                if lane.position is not None:  # only its time limit leaves a call in hand
                    self._finish(lane, await self._late(self._timed_out(lane.position, lane), lane))
        except BaseException:  # whoever asked has left: nobody is to watch over the time of that call
            lane.empty()
            raise

    def _timed_out(self, position: int, lane: Lane) -> ToolResult[Any]:
        lane.armed = False  # its scope is spent
        call = self.calls[position]
        return timed_out(call, self._seconds(call.name), self._clock() - lane.began)

    async def _late(self, result: ToolResult[Any], lane: Lane) -> ToolResult[Any]:
        """Whatever is to be done about a call that ran out of its time. Others go on meanwhile."""
        if self._lately is None:
            return result
        if self._leading is lane:
            self._leading = None  # but if another leads: its follower has yet to see that it has suspended
        assert lane.position is not None  # noqa: S101 - only its time limit leaves a call in hand
        return await self._lately(self.calls[lane.position], result)

    def _followed(self) -> bool:
        """Make sure of a follower if there is anything to follow with; whether one is due."""
        if not self._follower_due and self.plan.has_ready:
            self._follower_due = True
            self._tasks.start_soon(self._follow)
        return self._follower_due

    def _finish(self, lane: Lane, result: ToolResult[Any]) -> None:
        position = lane.position
        assert position is not None  # noqa: S101 - a lane finishes what it has in hand
        lane.empty()
        if self._leading is lane:
            self._leading = None
        if result.failure is not None and self._stopped is not None and result.failure.code == ASKS:
            result = self._failed(position, self._stopped)  # it was begun, but only asked
        elif result.failure is not None and self._holds is not None and self._holds(position, result):
            self._around = copy_context()
            self.plan.hold(position)
            return
        self._end(position, result)

    def _end(self, position: int, result: ToolResult[Any]) -> None:
        self.results[position] = result
        if result.tainted:
            self.tainted = True
        if self._ended is not None:
            self._ended(result)
        self.plan.end(position, result)

    def _failed(self, position: int, failure: Failure, attempts: int = 0, seconds: float = 0.0) -> ToolResult[Any]:
        call = self.calls[position]
        return ToolResult(call.id, call.name, None, failure, attempts, seconds)


PENDING: ToolResult[Any] = ToolResult("", "", None, failed("internal", "the call has not ended"))
