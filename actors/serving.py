"""What can be served: tools, functions, and objects whose methods are tools behind one door."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from types import ModuleType
from typing import Any

from ..protocol.failures import Misuse, failed
from ..protocol.tools import ToolSpec
from .tool import Tool, tool
from .tool_actor import ToolActor, Workshop

objects = count(1)


PLAIN = (str, bytes, bytearray, int, float, complex, list, tuple, set, frozenset, dict, ModuleType)
"""Types whose public methods nobody means to serve."""


class Offering:
    """Tools behind one door: how to build the actor, how many calls it takes at once, and what it offers."""

    def __init__(self, build: Callable[[], dict[str, Tool[Any]]], limit: int, *, rebuild: bool) -> None:
        self.build = build
        self.limit = limit
        self.rebuild = rebuild
        self.tools = build()

    @property
    def specs(self) -> list[ToolSpec]:
        """What is offered."""
        return [offered.spec for offered in self.tools.values()]

    def actor(self, workshop: Workshop) -> ToolActor:
        """The actor as it first is."""
        return ToolActor(self.tools, workshop, self.limit)

    def factory(self, workshop: Workshop) -> Callable[[], ToolActor] | None:
        """How to build it, at first and after each crash, where that is known."""
        if not self.rebuild:
            return None
        made = [self.tools]

        def build() -> ToolActor:
            tools = made.pop() if made else self.build()
            return ToolActor(tools, workshop, self.limit, rebuilt=True)

        return build


def offering(thing: object, prefix: str, instance: str) -> Offering:
    """`thing` as tools. Raises Misuse for what can't be one, naming what is wrong."""
    if isinstance(thing, Tool):
        offered = thing.renamed(f"{prefix}_{thing.name}") if prefix else thing
        return Offering(lambda: {offered.name: offered}, offered.concurrency, rebuild=False)
    if inspect.isroutine(thing) or hasattr(thing, "func"):
        function: Any = thing
        return offering(tool(function), prefix, instance)
    if thing is None or isinstance(thing, PLAIN):
        raise Misuse(failed("invalid_call", f"{thing!r:.100} is plain data, not something that can be called"))
    owner = f"{instance}.{next(objects)}"
    if inspect.isclass(thing):
        return Offering(lambda: methods(thing(), prefix, owner), 1, rebuild=True)
    return Offering(lambda: methods(thing, prefix, owner), 1, rebuild=False)


def methods(thing: object, prefix: str, owner: str) -> dict[str, Tool[Any]]:
    """The public methods of `thing`, or, if any is marked with `@tool`, only the marked ones."""
    named = {name: inspect.getattr_static(thing, name) for name in dir(thing) if not name.startswith("_")}
    marked = [name for name, member in named.items() if isinstance(member, Tool)]
    public = [name for name, member in named.items() if inspect.isroutine(member) or isinstance(member, staticmethod)]
    found: dict[str, Tool[Any]] = {}
    for name in marked or public:
        member = getattr(thing, name)
        made = member if isinstance(member, Tool) else tool(member)
        offered = f"{prefix}_{made.name}" if prefix else made.name
        if offered in found:
            said = f"{offered!r} is served twice: by {described(found[offered])} and by {described(made)}"
            raise Misuse(failed("conflict", said))
        found[offered] = made.renamed(offered, owner=owner)
    if not found:
        said = f"{type(thing).__name__} has no public method to serve"
        raise Misuse(failed("invalid_call", said))
    return found


def described(made: Tool[Any]) -> str:
    """Where a tool comes from, for a person who has to tell two apart."""
    function = made.function
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', made.name)}"


def tool_of(thing: object) -> Tool[Any] | None:
    """`thing` as one tool, if it is a function or a tool; None for an object of methods."""
    if isinstance(thing, Tool):
        return thing
    return tool(thing) if inspect.isroutine(thing) else None


class Served:
    """What `serve` gives back: the names that are served, and how to end it."""

    def __init__(self, tools: Sequence[str], stop: Callable[[], Awaitable[None]]) -> None:
        self.tools = tuple(tools)
        self._stop = stop

    def __repr__(self) -> str:
        return f"<Served {', '.join(self.tools)}>"

    async def stop(self) -> None:
        """Take no more calls; those that run go on."""
        await self._stop()
