"""The selector: which tools a conversation is offered."""

from collections import OrderedDict
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import ClassVar

import anyio
from msgspec.structs import replace

from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import LoadTool, SelectTools, ToolsSelected
from ..protocol.tools import ToolSpec
from ..runtime.actor import Actor
from ..runtime.border import log, shown
from ..runtime.context import Context
from .catalogue import Catalogue
from .selectors.contract import Among, SelectionStrategy

LIMIT = 128
"""The most tools that a request of the largest provider takes."""

SCOPES = 256

LOADING = 5.0
"""Seconds that a selection waits for lazy tools. What is not there by then is offered as it was announced."""


class Scope:
    """The tools whose names match some patterns, as of one version of the catalogue."""

    __slots__ = ("everything", "names", "version")

    def __init__(self, version: int, names: tuple[str, ...], digest: str) -> None:
        self.version = version
        self.names = frozenset(names)
        self.everything = ToolsSelected(names, digest, always=True)


class Guarded:
    """A strategy, as the catalogue tells it of tools: what it raises then is kept, and raised when it is to select."""

    def __init__(self, strategy: SelectionStrategy) -> None:
        self.strategy = strategy
        self._fault: Exception | None = None

    def add(self, spec: ToolSpec) -> None:
        """Tell of a tool."""
        try:
            self.strategy.add(spec)
        except Exception as error:  # noqa: BLE001 - somebody's own code may raise anything, and the tool is there
            self._fault = error

    def remove(self, name: str) -> None:
        """Tell that a tool is gone."""
        try:
            self.strategy.remove(name)
        except Exception as error:  # noqa: BLE001 - as above
            self._fault = error

    def select(self, query: str, limit: int, among: Among | None) -> list[str]:
        """What it selects. Raises ToolwireError for what it raises, or has raised, and for what is no list of names."""
        if self._fault is not None:
            raise ToolwireError(raised(self.strategy, self._fault, "was told of a tool")) from self._fault
        try:
            names = list(self.strategy.select(query, limit=limit, among=among))
        except Exception as error:
            raise ToolwireError(raised(self.strategy, error, "was to select")) from error
        if not all(isinstance(name, str) for name in names):
            said = f"the selector {type(self.strategy).__name__} gave {names!r:.200}, and not names of tools"
            raise ToolwireError(failed("failed", said, by="selector"))
        return names


def raised(strategy: SelectionStrategy, error: Exception, when: str) -> Failure:
    """That a strategy raised."""
    said = f"the selector {type(strategy).__name__} raised when it {when}: {shown(error)}"
    return failed("failed", said, by="selector")


class Selector(Actor):
    """Offers every tool in reach where they are few, and those that fit what was said where they are many.

    `most` is how many are few, unless the strategy says so itself.
    """

    hears = SelectTools
    limit: ClassVar[int | None] = None

    def __init__(self, catalogue: Catalogue, strategy: SelectionStrategy, instance: str, most: int = LIMIT) -> None:
        self.catalogue = catalogue
        self.instance = instance
        self.strategy = strategy
        self.most: int = getattr(strategy, "most", most)
        self.index = Guarded(strategy)
        self._few = -1 if getattr(strategy, "always", False) else self.most
        self._scopes: OrderedDict[tuple[str, ...], Scope] = OrderedDict()
        catalogue.tell(self.index)

    async def receive(self, message: SelectTools, context: Context) -> ToolsSelected:
        """The names to offer, best first, and the digest of their specs. Lazy tools among them are loaded first."""
        selected = self._selected(message)
        unloaded = self.catalogue.unloaded
        if unloaded and (missing := [name for name in selected.names if name in unloaded]):
            with anyio.move_on_after(LOADING):
                async with anyio.create_task_group() as loading:
                    for name in missing:
                        loading.start_soon(self._load, name, context)
            return replace(self._selected(message), always=False)  # what could not be loaded is tried again
        return selected

    async def _load(self, name: str, context: Context) -> None:
        """Have a lazy tool loaded by whoever serves it. If that fails it is offered as it was announced."""
        entry = self.catalogue.entries.get(name)
        if entry is None or not entry.targets:
            return
        address, instance = entry.in_turn()[0]
        try:
            loaded = await context.ask(address, LoadTool(name), to=instance)
        except ToolwireError as error:
            if name in self.catalogue.unloaded:  # else another was quicker
                log.warning("the lazy tool %s is offered as it was announced: %s", name, error)
            return
        for spec in loaded.specs:
            self.catalogue.add(spec, instance)
        if all(spec.name != name for spec in loaded.specs):
            self.catalogue.remove(name, instance)

    def _selected(self, message: SelectTools) -> ToolsSelected:
        scope = self._scopes.get(message.patterns)
        if scope is None or scope.version != self.catalogue.version:
            scope = self._scoped(message.patterns)
        if len(scope.names) <= self._few:
            return scope.everything
        among = None if len(scope.names) == len(self.catalogue) else scope.names.__contains__
        found: dict[str, None] = {}
        for name in message.used:
            if name in scope.names:
                found[name] = None
        for name in self.index.select(message.query, self.most, among):
            if name in scope.names:
                found[name] = None
        names = tuple(found)[: self.most]
        return ToolsSelected(names, self._digest(names))

    def _scoped(self, patterns: tuple[str, ...]) -> Scope:
        if patterns:
            names = tuple(name for name in self.catalogue if matches(name, patterns))
        else:
            entries = self.catalogue.entries
            names = tuple(name for name, entry in entries.items() if self.instance in entry.instances)
        scope = self._scopes[patterns] = Scope(self.catalogue.version, names, self._digest(names) if names else "")
        if len(self._scopes) > SCOPES:
            self._scopes.popitem(last=False)
        return scope

    def _digest(self, names: tuple[str, ...]) -> str:
        if not names:
            return ""
        entries = self.catalogue.entries
        return blake2b(b"".join([entries[name].digest for name in names]), digest_size=16).hexdigest()


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether `name` is one of the patterns, or fits one of the globs among them."""
    return any(pattern in ("*", name) or fnmatchcase(name, pattern) for pattern in patterns)
