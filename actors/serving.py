"""What can be served: tools, functions, and objects whose methods are tools behind one door."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, partialmethod
from itertools import count
from types import ModuleType
from typing import Any

from ..protocol.failures import Misuse, failed
from ..protocol.naming import PLAIN, Naming, unfit
from ..protocol.tools import ToolSpec
from ..runtime.actor import Actor
from .gate import gates
from .tool import Tool, tool
from .tool_actor import ToolActor, Workshop

objects = count(1)


DATA = (str, bytes, bytearray, int, float, complex, list, tuple, set, frozenset, dict, ModuleType)
"""Types whose public methods nobody means to serve."""


class Offering:
    """Tools behind one door: how to build the actor, how many calls it takes at once, and what it offers."""

    def __init__(self, build: Callable[[], dict[str, Tool[Any]]], limit: int, *, rebuild: bool) -> None:
        self.build = build
        self.limit = limit
        self.rebuild = rebuild
        self.tools = build()

    @property
    def specs(self) -> dict[str, ToolSpec]:
        """What is offered, by name."""
        return {name: offered.spec for name, offered in self.tools.items()}

    def described(self, name: str) -> str:
        """Where the tool of that name comes from."""
        return described(self.tools[name])

    def staff(self, workshop: Workshop) -> Actor | Callable[[], Actor]:
        """Who answers its calls: the actor, or how to build it, at first and after each crash, where that is known."""
        before = gates(self.tools.values(), workshop.seconds)
        if not self.rebuild:
            return ToolActor(self.tools, workshop, self.limit, before)
        made = [self.tools]

        def build() -> ToolActor:
            tools = made.pop() if made else self.build()
            return ToolActor(tools, workshop, self.limit, before, rebuilt=True)

        return build


def offering(thing: object, naming: Naming, instance: str) -> Offering:
    """`thing` as tools. Raises Misuse for what can't be one, naming what is wrong."""
    if isinstance(thing, Tool):
        offered = fit(thing if naming == PLAIN else thing.renamed(naming.of(thing.name)))
        return Offering(lambda: {offered.name: offered}, offered.concurrency, rebuild=False)
    if is_function(thing):
        function: Any = thing
        return offering(tool(function), naming, instance)
    if thing is None or isinstance(thing, DATA):
        raise Misuse(failed("invalid_call", f"{thing!r:.100} is plain data, not something that can be called"))
    owner = f"{instance}.{next(objects)}"
    if inspect.isclass(thing):
        return Offering(lambda: methods(thing(), naming, owner), 1, rebuild=True)
    return Offering(lambda: methods(thing, naming, owner), 1, rebuild=False)


def fit(made: Tool[Any]) -> Tool[Any]:
    """`made`, if a tool may be called so. Raises Misuse."""
    if reason := unfit(made.name):
        raise Misuse(failed("invalid_call", f"{described(made)}: {reason}"))
    return made


def methods(thing: object, naming: Naming, owner: str) -> dict[str, Tool[Any]]:
    """The public methods of `thing`, or, if any is marked with `@tool`, only the marked ones."""
    found: dict[str, Tool[Any]] = {}
    for name in public(thing):
        made = method(thing, name)
        offered = naming.of(made.name)
        if offered in found:
            said = f"{offered!r} is served twice: by {described(found[offered])} and by {described(made)}"
            raise Misuse(failed("conflict", said))
        found[offered] = fit(made.renamed(offered, owner=owner))
    if not found:
        said = f"{type(thing).__name__} has no public method to serve"
        raise Misuse(failed("invalid_call", said))
    return found


def method(thing: object, name: str) -> Tool[Any]:
    """The method of that name as a tool, which has its name."""
    member = getattr(thing, name)
    marked = getattr(member, "__func__", None)
    if isinstance(marked, Tool):  # `@classmethod` above `@tool`, where Python binds it as a plain function
        return marked.__get__(member.__self__, type(member.__self__))
    return member if isinstance(member, Tool) else tool(member, name=name)


def public(thing: object) -> list[str]:
    """The names of the methods of `thing` that are to be served; of a class, those of its instances."""
    named = {name: inspect.getattr_static(thing, name) for name in dir(thing) if not name.startswith("_")}
    marked = [name for name, member in named.items() if isinstance(getattr(member, "__func__", member), Tool)]
    kinds = (staticmethod, partialmethod)
    return marked or [n for n, member in named.items() if inspect.isroutine(member) or isinstance(member, kinds)]


def is_function(thing: object) -> bool:
    """Whether `thing` is one tool by itself: a function, a partial, or an object that is called and has no methods."""
    if inspect.isroutine(thing) or isinstance(thing, partial):
        return True
    return not inspect.isclass(thing) and callable(thing) and not public(thing)


def in_place_of(name: str, thing: Any, instance: str) -> Offering:
    """`thing` as what was announced as `name`: one tool takes the name, several stand in a namespace of that name."""
    one = isinstance(thing, Tool) or is_function(thing) or len(public(thing)) == 1
    return offering(thing, Naming(instead=name) if one else Naming(namespace=name), instance)


def described(made: Tool[Any]) -> str:
    """Where a tool comes from, for a person who has to tell two apart."""
    function = made.function
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', made.name)}"


def tool_of(thing: object) -> Tool[Any] | None:
    """`thing` as one tool, if it is a function or a tool; None for an object of methods."""
    if isinstance(thing, Tool):
        return thing
    function: Any = thing
    return tool(function) if is_function(function) else None


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
