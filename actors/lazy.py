"""Lazy tools: announced before their code is there, loaded when somebody needs them."""

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutine, iscoroutinefunction
from typing import Any, ClassVar, Literal

import anyio
from msgspec import Struct

from ..protocol.failures import Failure, Misuse, ToolwireError, failed
from ..protocol.messages import CallEnded, CallTool, LoadTool, ToolLoaded
from ..protocol.naming import unfit
from ..protocol.tools import ToolSpec
from ..runtime.actor import Actor, Cell
from ..runtime.border import ends_program, is_ours, shown
from ..runtime.context import Context
from ..runtime.isolation import isolated
from ..runtime.system import ActorSystem
from ..runtime.threads import Threads
from .tool_actor import settled

LONGEST = 300.0
"""Seconds after which a loading has failed: as long as a turn."""

ANYTHING: dict[str, Any] = {"type": "object"}
"""The parameters of a tool of which nothing else is known."""

Loader = Callable[[], Any]
"""Gives a tool, a function, an object or a class, or an awaitable of one."""

Until = Literal["selected", "called"]


class Lazy(Struct, frozen=True, eq=False):
    """A tool whose code is loaded when it is first needed. `lazy` makes one."""

    spec: ToolSpec
    loader: Loader

    @property
    def name(self) -> str:
        """What it is called."""
        return self.spec.name

    def __repr__(self) -> str:
        return f"<Lazy {self.spec.name}>"


def lazy(
    name: str,
    loader: Loader,
    *,
    description: str = "",
    parameters: dict[str, Any] | None = None,
    until: Until = "selected",
) -> Lazy:
    """Announce a tool that `loader` gives: `runtime.serve(lazy("plot", load_plot, description="Draw a chart."))`.

    `loader`, async or not (then it runs in a thread), returns a tool, a function, or an object. It runs once, when
    the tool is first called, or already when it is first selected for a model, which so sees its real schema;
    `until="called"` waits for a call, and then `parameters`, a JSON Schema, is what a model goes by. Whoever needs the
    tool meanwhile waits for the one loading. If the loader raises, whoever waits gets `load_failed`, and the next one
    who needs the tool tries again. A loading inside a call takes of the call's time, but goes on if that is over.

    What was loaded takes the name and the place of what was announced. An object of several methods becomes
    `name.method` for each. Raises Misuse for a name that nothing can have.
    """
    if reason := unfit(name):
        raise Misuse(failed("invalid_call", reason))
    if not callable(loader):
        said = f"{name}: a loader is a function that gives the tool, not {loader!r:.100}"
        raise Misuse(failed("invalid_call", said))
    return Lazy(ToolSpec(name, description, ANYTHING if parameters is None else parameters, lazy=until), loader)


class Loaded(Struct, frozen=True):
    """What a loader gave, behind its door: the actor, and its tools by their names."""

    cell: Cell
    specs: dict[str, ToolSpec]


class Attempt:
    """One loading on its way."""

    __slots__ = ("ended", "failure")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.failure: Failure | None = None


class Loading:
    """Has something loaded once, however many need it at once. `work` loads it, in a task of its own."""

    def __init__(self, name: str, work: Callable[[], Awaitable[Loaded]], system: ActorSystem) -> None:
        self.name = name
        self.loaded: Loaded | None = None
        self._work = work
        self._system = system
        self._attempt: Attempt | None = None

    async def need(self) -> Loaded:
        """What is loaded, after waiting for it. Raises ToolwireError, `load_failed`; who asks then tries again."""
        if self.loaded is None:
            attempt = self._attempt
            if attempt is None:
                attempt = self._attempt = Attempt()
                self._system.tasks.start_soon(self._run, attempt)
            await attempt.ended.wait()
            if attempt.failure is not None:
                raise ToolwireError(attempt.failure)
        if self.loaded is None:
            raise ToolwireError(failed("unreachable", f"{self.name} was not loaded before the runtime closed"))
        return self.loaded

    async def _run(self, attempt: Attempt) -> None:
        try:
            with anyio.fail_after(LONGEST):
                self.loaded = await self._work()
        except BaseException as error:
            if is_ours(error):
                raise
            if ends_program(error):
                self._system.end(error)
            attempt.failure = not_loaded(self.name, error)
        finally:
            self._attempt = None
            attempt.ended.set()


def not_loaded(name: str, error: BaseException) -> Failure:
    """That the loader of `name` raised `error`."""
    why = error.failure.message if isinstance(error, ToolwireError) else shown(error)
    return failed("load_failed", f"the tool {name!r} could not be loaded: {why}; the next call tries again")


async def given(loader: Loader, threads: Threads) -> Any:
    """What `loader` gives: on the loop if it is async, else in a thread. Raises what it raises."""
    if iscoroutinefunction(loader):
        return await isolated(loader())
    value, error = await threads.run(partial(settled, loader))
    if error is not None:
        raise error
    # A partial or a callable object may be async without saying so.
    return await isolated(value) if iscoroutine(value) else value


class LazyActor(Actor):
    """Stands where a tool will be. What it is sent before waits for the loading, and then goes on to the tool."""

    hears = CallTool | LoadTool
    limit: ClassVar[int | None] = None

    def __init__(self, name: str, loading: Loading, worker: str) -> None:
        self.name = name
        self.loading = loading
        self.worker = worker

    async def receive(self, message: CallTool | LoadTool, context: Context) -> CallEnded | ToolLoaded:
        """Load the tool if it is not there, and hand the call on."""
        if isinstance(message, LoadTool):
            return ToolLoaded(tuple((await self.loading.need()).specs.values()))
        try:
            loaded = await self.loading.need()
        except ToolwireError as error:
            return CallEnded(None, error.failure, self.worker)
        if message.tool not in loaded.specs:
            names = list(loaded.specs)
            said = f"{self.name!r} has turned out to be {', '.join(names)}: call the one that you mean"
            return CallEnded(None, failed("unknown_tool", said, closest=names), self.worker)
        return await context.ask(loaded.cell, message, hear=context.report if message.events else None)
