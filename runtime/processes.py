"""A pool of warm worker processes: bounded, first come, first served; one that is killed is replaced at once.

Looked at before: `anyio.to_process` kills on cancellation, but starts the next process (a quarter of a second) only
when it is called for, tells nothing on the way, keeps an unbounded line, and sends pickles; loky gives up its whole
pool when one process dies, and can't kill one; pebble kills one, but looks ten times a second whether it should.
"""

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

import anyio
from anyio.abc import TaskGroup

from ..protocol.failures import ToolwireError, failed
from .border import log, shown
from .child import Child, Command, Died, started
from .deadline import loop_clock
from .supervisor import RestartPolicy, Supervisor

WAITING = 1_024
"""How many may wait for a process; who comes then is refused."""

PREPARING = 60.0
"""Seconds that a process may take to start, and to import a tool."""

GRACE = 1.0
"""Seconds that an idle process may take to end when the pool is closed."""

LARGEST = 1 << 20
"""The most bytes that a process may say at once, where nobody says otherwise."""

SPARE = 2
"""Processes that wait for the first calls."""

POLICY = RestartPolicy(intensity=5, period=10.0)


class End(NamedTuple):
    """How a process ended: whether it was `ready` before, whether it was `killed` here."""

    ready: bool
    killed: bool
    how: str


class Waiter:
    """Somebody who waits for a process: it gets one, or the reason why not."""

    __slots__ = ("child", "refused", "turn")

    def __init__(self) -> None:
        self.turn = anyio.Event()
        self.child: Child | None = None
        self.refused = ""


def cores() -> int:
    """How many processes can run at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unheard(_said: bytes) -> None:
    """Hears what nobody asked for."""


class Processes:
    """At most `most` processes. The first is started when it is needed; from then on one more than are busy.

    What ends by itself is replaced after a pause, as its supervisor says. If processes end too often before they are
    ready, whoever waits is refused, and the next is started when somebody asks again.
    """

    def __init__(self, command: Command, most: int) -> None:
        self.most = most
        self._command = command
        self._first: dict[bytes, None] = {}
        self._places = 0
        self._idle: list[Child] = []
        self._waiting: deque[Waiter] = deque()
        self._supervisor = Supervisor(POLICY)
        self._open = False
        self._tasks: TaskGroup

    def __repr__(self) -> str:
        return f"<Processes [idle: {len(self._idle)} of {self._places} | at most: {self.most}]>"

    async def __aenter__(self) -> Self:
        self._clock = loop_clock()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all of them: idle ones by themselves, others at once."""
        self._open = False
        self._refuse("the runtime is closed")
        for child in self._idle:
            child.dismiss()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def prepare(self, order: bytes) -> bytes:
        """What a process answers to `order`, which each new one is asked first from now on. Raises as `run` does."""
        with anyio.move_on_after(PREPARING):
            answer = await self.run(order)
            self._first[order] = None
            if len(self._idle) < SPARE:
                self._grow()
            return answer
        raise ToolwireError(failed("timed_out", f"no worker process was ready within {PREPARING:g} s"))

    def forget(self, order: bytes) -> None:
        """No new process is to be asked `order` first."""
        self._first.pop(order, None)

    async def run(self, order: bytes, hear: Callable[[bytes], None] = unheard, largest: int = LARGEST) -> bytes:
        """What a process answers to `order`, in at most `largest` bytes; `hear` is told what it says before.

        Cancelled, it kills that process.

        Raises ToolwireError: `overloaded` where too many wait, or no process can be started, `failed` where the
        process ended instead of answering, `cancelled` where the pool was closed meanwhile.
        """
        child = await self._taken()
        try:
            return await child.ask(order, hear, largest)
        except Died as died:
            if not self._open:
                raise ToolwireError(failed("cancelled", "it was killed, for the runtime has closed", "maybe")) from None
            said = f"the process that ran it {died}; what it did until then may have taken effect"
            raise ToolwireError(failed("failed", said, "maybe", process="ended", exit=died.code)) from None
        finally:
            self._free(child)

    async def _taken(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if not child.usable:
                child.kill()  # whoever keeps it sees the end of it
                continue
            if not self._idle:
                self._grow()
            return child
        if not self._open:
            raise ToolwireError(failed("overloaded", "the runtime is closed", by="processes"))
        if len(self._waiting) >= WAITING:
            said = f"{self._places} worker processes are busy, and {len(self._waiting)} calls wait for one"
            raise ToolwireError(failed("overloaded", said, by="processes"))
        self._grow()
        return await self._waited()

    async def _waited(self) -> Child:
        waiter = Waiter()
        self._waiting.append(waiter)
        try:
            await waiter.turn.wait()
        except BaseException:
            if waiter.child is not None:  # it was handed over in the very moment of the cancellation
                self._free(waiter.child)
            with suppress(ValueError):
                self._waiting.remove(waiter)
            raise
        if waiter.child is None:
            raise ToolwireError(failed("overloaded", waiter.refused, by="processes"))
        return waiter.child

    def _free(self, child: Child) -> None:
        """It has nothing to do: it goes to the first in line."""
        if not self._open or child.killed or child.gone:
            return
        if not child.usable:
            child.kill()  # whoever keeps it sees the end of it
            return
        if self._waiting:
            waiter = self._waiting.popleft()
            waiter.child = child
            waiter.turn.set()
        else:
            self._idle.append(child)

    def _refuse(self, why: str) -> None:
        """Send away everybody who waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            waiter.refused = why
            waiter.turn.set()

    def _grow(self) -> None:
        if self._open and self._places < self.most:
            self._places += 1
            self._tasks.start_soon(self._keep)

    async def _keep(self) -> None:
        """Fill one place of the pool: with one process after the other."""
        pause: float | None = 0.0
        while pause is not None:
            if pause:
                await anyio.sleep(pause)
            pause = self._pause(await self._lived())
        self._places -= 1

    async def _lived(self) -> End:
        """One process from its start to its end."""
        child, ready = None, False
        try:
            with anyio.fail_after(PREPARING):
                child = await started(self._command)
                for order in list(self._first):
                    await child.ask(order, unheard, LARGEST)
            ready = True
            self._free(child)
            code = await child.wait()
        except (Died, TimeoutError, OSError) as error:
            how = str(error) if isinstance(error, Died) else f"could not start: {shown(error)}"
            return End(ready, killed=False, how=how)
        else:
            return End(ready, child.killed, str(Died(code)))
        finally:
            if child is not None:
                grace = GRACE if child in self._idle else 0.0
                if grace:
                    self._idle.remove(child)
                await child.end(grace)

    def _pause(self, end: End) -> float | None:
        """Seconds until the next process takes the place of one that has ended; None for no next one."""
        if end.killed:
            return 0.0
        log.warning("a worker process %s", end.how)
        pause = self._supervisor.after_end(self._clock(), crashed=True)
        if pause is None and end.ready:
            return POLICY.cap
        if pause is None and self._places == 1:
            self._refuse(f"worker processes end as soon as they start; the last one {end.how}")
        return pause
