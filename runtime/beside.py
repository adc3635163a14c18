"""Tasks beside the one that starts them, and that waits for their end: a task group that is paid by the task.

A task group costs 8 µs and a turn of the loop to enter and leave, with no task in it; and it has to be entered where
it is left. These are tasks of the system's, so there is nothing to enter: whoever starts one has to call `leave`,
however it ends itself.
"""

from collections.abc import Callable, Coroutine
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, TypeVarTuple

import anyio
from anyio.lowlevel import checkpoint

from .border import is_ours
from .context import Surroundings

Arguments = TypeVarTuple("Arguments")


class Beside:
    """The tasks of one owner, by whose `name` they go in lists of tasks.

    If one raises, the others are cancelled, and whoever waits for them is told.
    """

    __slots__ = ("_error", "_name", "_over", "_running", "_started", "_system")

    def __init__(self, system: Surroundings, name: str) -> None:
        self._system = system
        self._name = name
        self._started = 0
        self._running: dict[int, anyio.TaskHandle[None]] = {}
        self._error: BaseException | None = None
        self._over: anyio.Event | None = None  # while somebody waits for it

    def start(self, function: Callable[[*Arguments], Coroutine[Any, Any, None]], *arguments: *Arguments) -> None:
        """Start a task. Only while the system is open."""
        self._started = number = self._started + 1
        work = self._run(number, function, arguments)
        self._running[number] = self._system.tasks.create_task(work, name=self._name)

    def cancel(self) -> None:
        """Cancel what runs."""
        for task in self._running.values():
            task.cancel()

    async def wait(self) -> None:
        """Wait for the end of all tasks. Raises what the first has raised that did."""
        while self._running:
            await self._ended()
        self._raise()

    async def leave(self) -> None:
        """Cancel what runs, and wait for its end, whoever is cancelled meanwhile. Raises as `wait` does."""
        self.cancel()
        cancelled: BaseException | None = None
        while self._running:
            try:
                with anyio.CancelScope(shield=True):
                    fresh = self._fresh()
                    if fresh:
                        await self._begin(fresh)
                    else:
                        await self._ended()
            except BaseException as error:  # noqa: BLE001 - a native cancellation, which no shield keeps off
                cancelled = error
        if cancelled is not None:
            raise cancelled
        self._raise()

    def _fresh(self) -> set[int]:
        """Those that have not begun."""
        return {number for number, task in self._running.items() if getcoroutinestate(task.coro) == CORO_CREATED}

    async def _begin(self, fresh: set[int]) -> None:
        """Give those that have not begun a turn of the loop each to do so, and forget those that then have not.

        One of which asyncio itself was asked to cancel it before never begins, and so can't tell that it has ended.
        """
        for _ in range(2):  # on trio one may not be enough
            await checkpoint()
        for number in fresh & self._fresh():
            self._running.pop(number).coro.close()

    async def _ended(self) -> None:
        if self._over is None:
            self._over = anyio.Event()
        await self._over.wait()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _run(self, number: int, function: Callable[..., Coroutine[Any, Any, None]], arguments: Any) -> None:
        try:
            await function(*arguments)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            # A cancellation ends with its task: by one of the loop's own (a tool may cancel the task that it runs in)
            # the system's group would cancel whatever runs in it.
            if not is_ours(error):
                self._error = self._error or error
                self.cancel()
        finally:
            del self._running[number]
            if not self._running and self._over is not None:
                self._over.set()
                self._over = None
