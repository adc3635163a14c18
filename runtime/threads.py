"""Threads for functions that block: bounded in number also where they are stuck, and never in the way of the exit.

anyio's own worker threads on asyncio give their place back when whoever waits is cancelled, so that functions which
hang make ever more of them; and they are no daemons, so that the process waits for each. Trio's are as one wants
them, and are used.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio._core._eventloop import claim_worker_thread  # what makes `anyio.from_thread` work; there is no public door
from anyio.lowlevel import current_token
from anyio.to_thread import run_sync

T = TypeVar("T")

Outcome = tuple[Any, BaseException | None]


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
        self.limiter = CapacityLimiter(limit)
        self._idle: list[Worker] = []

    def __repr__(self) -> str:
        return f"<Threads [running: {self.limiter.borrowed_tokens} of {self.limiter.total_tokens:g}]>"

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, in a thread and in a copy of the context variables.

        Cancelled, it leaves the thread alone: the function goes on, and keeps its place until it ends.
        """
        token = current_token()
        if not isinstance(token.native_token, asyncio.AbstractEventLoop):
            return await run_sync(work, abandon_on_cancel=True, limiter=self.limiter)
        loop, place = token.native_token, object()
        await self.limiter.acquire_on_behalf_of(place)
        worker = self._idle.pop() if self._idle else self._started(token.backend_class, loop)
        result: asyncio.Future[T] = loop.create_future()
        context = copy_context()

        def ended(outcome: Outcome) -> None:
            self.limiter.release_on_behalf_of(place)
            self._idle.append(worker)
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
                return  # the loop has been closed meanwhile: nobody is left to tell

        worker.jobs.put(job)
        return await result

    def _started(self, backend: Any, loop: asyncio.AbstractEventLoop) -> Worker:
        worker = Worker(backend, loop)
        worker.start()
        return worker

    def close(self) -> None:
        """Let the threads end that have nothing to do. Those that are stuck end with the process."""
        while self._idle:
            self._idle.pop().jobs.put(None)


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
