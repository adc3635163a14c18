"""What `Annotated[Db, Inject]` gets in this process: made once, kept while the runtime is open, closed at its end."""

import inspect
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ..protocol.annotations import spelled
from ..protocol.failures import Misuse, failed
from ..runtime.border import ends_program, is_ours, traced
from .tool import Tool

CLOSING = 10.0
"""Seconds that one value may take to be closed."""

log = logging.getLogger("toolwire.providers")


class Providers:
    """The values that tools of this process are given, by the type that they ask for."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}
        self._factories: dict[Any, Any] = {}
        self._kept: list[_Kept] = []
        self._making = anyio.Lock()
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what was opened, the last one first."""
        with anyio.CancelScope(shield=True):
            while self._kept:
                await self._kept.pop().close()
        self.values.clear()
        await self._tasks.__aexit__(None, None, None)

    def add(self, kind: Any, factory: Any) -> None:
        """Remember how to make a `kind`. Raises Misuse where there is one already, which tools may hold."""
        if kind in self.values:
            raise Misuse(failed("conflict", f"there is a {spelled(kind)} here already, and served tools have it"))
        if not callable(factory) and not (isinstance(kind, type) and isinstance(factory, kind)):
            said = f"a {spelled(kind)} is provided by a function that makes it, or as one, not by {factory!r:.100}"
            raise Misuse(failed("invalid_call", said))
        self._factories[kind] = factory

    async def fill(self, tools: Iterable[Tool[Any]]) -> None:
        """Make what `tools` ask for, as far as it is not there.

        Raises Misuse for what nobody provides, if the parameter has no default, and whatever a factory raises.
        """
        wanted = [(made, name, kind) for made in tools for name, kind in made.injected]
        for made, name, kind in wanted:
            if kind not in self._factories and name in made.signature.needed:
                said = (
                    f"{made.name}() asks for a {spelled(kind)} (its parameter {name!r}), which nobody provides here: "
                    f"say runtime.provide({spelled(kind).rpartition('.')[2]}, …) before it is served"
                )
                raise Misuse(failed("invalid_call", said))
        async with self._making:
            for kind in dict.fromkeys(kind for _, _, kind in wanted):
                if kind in self._factories and kind not in self.values:
                    self.values[kind] = await self._made(kind, self._factories[kind])

    async def _made(self, kind: Any, factory: Any) -> Any:
        if isinstance(kind, type) and isinstance(factory, kind):
            return factory  # who made it closes it
        value = factory()
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, AbstractAsyncContextManager | AbstractContextManager):
            return value
        kept = _Kept(spelled(kind), _entered(value))
        given = await self._tasks.start(kept.keep)
        self._kept.append(kept)
        return given


class _Kept:
    """One open context manager, in a task of its own: it may hold cancel scopes, to be left where they were entered."""

    def __init__(self, name: str, opened: AbstractAsyncContextManager[Any]) -> None:
        self.name = name
        self._opened = opened
        self._leave = anyio.Event()
        self._left = anyio.Event()
        self._scope = anyio.CancelScope()

    async def keep(self, *, task_status: TaskStatus[Any]) -> None:
        entered = False
        try:
            with self._scope:
                async with self._opened as value:
                    self._scope.shield = entered = True
                    task_status.started(value)
                    await self._leave.wait()
        except BaseException as error:
            if not entered or is_ours(error) or ends_program(error):
                raise
            log.error("closing the %s that was provided raised %s", self.name, traced(error))
        finally:
            self._left.set()

    async def close(self) -> None:
        """Leave it; cut off if that takes too long."""
        self._leave.set()
        with anyio.move_on_after(CLOSING):
            await self._left.wait()
            return
        self._scope.cancel()
        await self._left.wait()


@asynccontextmanager
async def _entered(value: Any) -> AsyncIterator[Any]:
    """A context manager of either kind."""
    if isinstance(value, AbstractAsyncContextManager):
        async with value as given:
            yield given
    else:
        with value as given:
            yield given
