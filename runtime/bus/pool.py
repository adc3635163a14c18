"""A bounded pool of resident workers: what arrives in a callback, which must not wait, is handed over to them.

Leader and follower: a worker takes one job after the other. Before it starts one while others wait, it makes sure
that one more worker is on its way; so if the job suspends, the next one starts, and if none suspends, a burst costs
one waking. Jobs start in the order in which they were taken.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

Job = TypeVar("Job")

IDLE = 32
"""Workers that stay when there is nothing to do. The others end, and give their memory back."""
STRETCH = 64
"""Jobs that a worker does in a row before it lets the loop turn."""


class Worker(Generic[Job]):
    """A task that does jobs. Cancelling its scope cancels the job in hand, and ends it."""

    __slots__ = ("job", "scope", "wakened")

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.wakened = anyio.Event()
        self.job: Job | None = None


class Pool(Generic[Job]):
    """Runs `run(job)` for each job taken, at most `concurrency` at once; at most `backlog` more wait."""

    def __init__(self, run: Callable[[Job], Awaitable[None]], concurrency: int, backlog: int) -> None:
        if concurrency < 1 or backlog < 0:
            raise ValueError(f"concurrency must be at least 1 and backlog at least 0, not {concurrency} and {backlog}")
        self.concurrency = concurrency
        self.backlog = backlog
        self._run = run
        self._tasks: TaskGroup | None = None
        self._context = copy_context()
        self._waiting: deque[Job] = deque()
        self._idle: list[Worker[Job]] = []
        self._workers = 0
        self._busy: dict[int, Worker[Job]] = {}
        self._coming = False  # a worker is on its way and has not looked yet
        self._empty: anyio.Event | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Let workers run in `tasks`, in the context of here: else one would begin with what a job has set."""
        self._tasks, self._context = tasks, copy_context()

    def __len__(self) -> int:
        return len(self._busy) + len(self._waiting)

    def take(self, job: Job) -> bool:
        """Have `job` done. False if all is full."""
        if len(self._busy) + len(self._waiting) >= self.concurrency + self.backlog:
            return False
        self._waiting.append(job)
        if not self._coming:
            self._call()
        return True

    def cancel(self, job: Job) -> bool:
        """Stop `job` if it runs, drop it if it waits. True if it was dropped: then nothing of it ran."""
        worker = self._busy.get(id(job))
        if worker is not None:
            worker.scope.cancel()
            return False
        if job in self._waiting:
            self._waiting.remove(job)
            self._look_empty()
            return True
        return False

    def drop(self) -> list[Job]:
        """Drop all that wait, and give them back."""
        dropped, self._waiting = list(self._waiting), deque()
        self._look_empty()
        return dropped

    def cancel_all(self) -> None:
        """Stop all that runs."""
        for worker in list(self._busy.values()):
            worker.scope.cancel()

    async def finished(self) -> None:
        """Wait until nothing runs and nothing waits."""
        while len(self):
            self._empty = anyio.Event()
            await self._empty.wait()

    def _call(self) -> None:
        """Bring a worker, unless as many work as may."""
        if self._idle:
            self._coming = True
            self._idle.pop().wakened.set()
        elif self._workers < self.concurrency and self._tasks is not None:
            self._coming = True
            self._workers += 1
            self._context.run(self._begin, self._tasks)

    def _begin(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._work)

    async def _work(self) -> None:
        worker: Worker[Job] = Worker()
        try:
            with worker.scope:
                while True:
                    self._coming = False
                    await self._do_all(worker)
                    if len(self._idle) >= IDLE:
                        break
                    worker.wakened = anyio.Event()
                    self._idle.append(worker)
                    await worker.wakened.wait()
        finally:
            self._workers -= 1
            if worker in self._idle:
                self._idle.remove(worker)
            if self._waiting and not self._coming:
                self._call()

    async def _do_all(self, worker: Worker[Job]) -> None:
        """Do jobs until none waits."""
        done = 0
        while self._waiting:
            job = self._waiting.popleft()
            if self._waiting and not self._coming:
                self._call()
            self._busy[id(job)] = worker
            try:
                await self._run(job)
            finally:
                del self._busy[id(job)]
                self._look_empty()
            done += 1
            if worker.scope.cancel_called or done % STRETCH == 0:
                await checkpoint()

    def _look_empty(self) -> None:
        if self._empty is not None and not len(self):
            self._empty.set()
