"""Threads for functions that block: bounded in number also where they are stuck, and never in the way of the exit.

anyio's own worker threads on asyncio give their place back when whoever waits is cancelled, so that functions which
hang make ever more of them; and they are no daemons, so that the process waits for each. Trio's are as one wants
them, and are used.

No thread can be stopped. One that nobody waits for any more is *abandoned*: it goes on, keeps its place, and is
reported, when it is abandoned and when it ends after all.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from logging import getLogger
from queue import SimpleQueue
from typing import Any, TypeVar

from anyio import CapacityLimiter

# What makes `anyio.from_thread`, and `anyio.run`, work in a thread; there is no public door.
from anyio._core._eventloop import claim_worker_thread, set_current_async_library
from anyio.lowlevel import current_token
from anyio.to_thread import run_sync
from msgspec import Struct

log = getLogger("toolwire.threads")

T = TypeVar("T")

Outcome = tuple[Any, BaseException | None]


class Abandoned(Struct, frozen=True, gc=False):
    """A function that still runs in its thread though nobody waits for it: what it serves, and since when it runs."""

    name: str
    since: datetime


class Job:
    """One function in a thread."""

    __slots__ = ("abandoned", "began", "name", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = 0.0
        self.running = False
        self.abandoned = False


class Worker(threading.Thread):
    """One thread: it does one job after the other, until it is given None."""

    def __init__(self, backend: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="toolwire tool", daemon=True)
        self.jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._backend = backend
        self._loop = loop

    def run(self) -> None:
        """Do what is given."""
        with claim_worker_thread(self._backend, self._loop):
            while (job := self.jobs.get()) is not None:
                job()
                del job  # or it would keep what it held until the next one


class Threads:
    """At most `limit` functions at once, those included that nobody waits for any more; others wait, in order."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.limiter = CapacityLimiter(limit)
        self._idle: list[Worker] = []
        self._closed = False
        self._left: dict[Job, Abandoned] = {}
        self._lock = threading.Lock()  # both ends of a job look at it: who waits, on the loop, and who works

    def __repr__(self) -> str:
        left = f" | abandoned: {len(self._left)}" if self._left else ""
        return f"<Threads [running: {self.limiter.borrowed_tokens} of {self.limiter.total_tokens:g}{left}]>"

    @property
    def abandoned(self) -> tuple[Abandoned, ...]:
        """What still runs though nobody waits for it, the longest first."""
        with self._lock:
            return tuple(sorted(self._left.values(), key=lambda each: each.since))

    async def run(self, work: Callable[[], T], name: str = "a function") -> T:
        """What `work` gives, in a thread and in a copy of the context variables; `name` is what it is reported by.

        Cancelled, it leaves the thread alone: the function goes on, and keeps its place until it ends.
        """
        job = Job(name)
        try:
            return await self._run(partial(self._done, job, work))
        except BaseException:
            self._leave(job)
            raise

    async def _run(self, work: Callable[[], T]) -> T:
        token = current_token()
        if not isinstance(token.native_token, asyncio.AbstractEventLoop):
            return await run_sync(work, abandon_on_cancel=True, limiter=self.limiter)
        loop, place = token.native_token, object()
        await self.limiter.acquire_on_behalf_of(place)
        worker = self._idle.pop() if self._idle else self._started(token.backend_class, loop)
        result: asyncio.Future[T] = loop.create_future()
        context = copy_context()
        context.run(set_current_async_library, None)  # none runs in the thread: a function may run one of its own

        def ended(outcome: Outcome) -> None:
            self.limiter.release_on_behalf_of(place)
            self._rest(worker)
            value, error = outcome
            if result.done():
                return  # nobody waits any more
            if error is None:
                result.set_result(value)
            else:
                result.set_exception(error)

        def job() -> None:
            outcome = done(context.run, work)
            try:
                loop.call_soon_threadsafe(ended, outcome)
            except RuntimeError:
                worker.jobs.put(None)  # the loop has been closed meanwhile: nobody is left to tell

        worker.jobs.put(job)
        return await result

    def _rest(self, worker: Worker) -> None:
        """A worker has nothing to do: it waits for more, or ends, if nothing more will come."""
        if self._closed:
            worker.jobs.put(None)
        else:
            self._idle.append(worker)

    def _started(self, backend: Any, loop: asyncio.AbstractEventLoop) -> Worker:
        worker = Worker(backend, loop)
        worker.start()
        return worker

    def _done(self, job: Job, work: Callable[[], T]) -> T:
        """Do the work of a job, in its thread."""
        with self._lock:
            job.began = time.time()
            job.running = True
            if job.abandoned:  # in the moment between its start and this
                self._report(job)
        try:
            return work()
        finally:
            with self._lock:
                job.running = False
                if self._left.pop(job, None) is not None:
                    took = time.time() - job.began
                    log.info("%s, which nobody waits for, has ended in its thread after %.1f s", job.name, took)

    def _leave(self, job: Job) -> None:
        """Nobody waits for it any more; it may have ended, or never begun."""
        with self._lock:
            job.abandoned = True
            if job.running:
                self._report(job)

    def _report(self, job: Job) -> None:
        self._left[job] = Abandoned(job.name, datetime.fromtimestamp(job.began, UTC))
        log.warning("%s goes on in its thread, though its call has ended: %d do so", job.name, len(self._left))

    def close(self) -> None:
        """Let the threads end that have nothing to do, and others once they have ended what they do."""
        self._closed = True
        while self._idle:
            self._idle.pop().jobs.put(None)
        if left := self.abandoned:
            names = ", ".join(dict.fromkeys(each.name for each in left))
            log.warning("closed while %d threads go on that nobody waits for: %s", len(left), names)


def done(run: Callable[..., Any], work: Callable[[], Any]) -> Outcome:
    """What `work` gave, or what it raised."""
    try:
        return run(work), None
    except StopIteration as error:  # a future takes none
        wrapped = RuntimeError("the function raised StopIteration")
        wrapped.__cause__ = error
        return None, wrapped
    except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
        return None, error
