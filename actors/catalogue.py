"""What tools there are, as this process knows: their specs, their checkers, and where each is served."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from hashlib import blake2b
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from ..protocol.arguments import Checker
from ..protocol.envelope import encode
from ..protocol.failures import Failure, Misuse, failed
from ..protocol.foresight import Foresight
from ..protocol.observed import Observed
from ..protocol.redaction import has_secrets
from ..protocol.referring import referring
from ..protocol.resources import Arguments
from ..protocol.secret import HIDDEN
from ..protocol.tools import ToolCall, ToolSpec
from ..runtime.context import Door
from .touching import Touching

editions = count(1)

LOST = 1_024
"""Tools that are remembered though nobody serves them."""

SHOWN = 100
"""How many characters of a name that nobody knows are repeated."""


class Index(Protocol):
    """Whoever wants to be told of tools as they come and go: a selector's strategy."""

    def add(self, spec: ToolSpec) -> None:
        """`spec` is new, or replaces the one of its name."""
        ...

    def remove(self, name: str) -> None:
        """The tool is gone."""
        ...


class Entry:
    """One tool: its spec, who serves it, and the checker of its arguments, made when it is first needed."""

    __slots__ = (
        "_checker",
        "_digest",
        "_foresight",
        "_observed",
        "_secret",
        "direct",
        "edition",
        "fault",
        "hedges",
        "instances",
        "referring",
        "refused",
        "spec",
        "targets",
        "touching",
        "turn",
    )

    def __init__(self, spec: ToolSpec) -> None:
        self.spec = spec
        self.instances: list[str] = []
        self.targets: list[tuple[str | Door, str]] = []
        self.referring: ToolSpec | None = None
        """Its spec with references in place of parameters, once that was offered."""
        self.touching: Touching | None = None
        """What its functions say that its calls touch, while this end serves it and it has some."""
        self.turn = 0
        self.direct = False
        """Whether a call can go as it is: this end alone serves the tool, and nothing else is asked for."""
        self.edition = next(editions)
        """Which of all that were ever served: one that takes the place of another, however alike, has its own."""
        self.hedges = 0.0
        """Second attempts that may be begun because a first one is slow."""
        self.refused = 0
        """Calls that were refused in a row because they would take too long."""
        self.fault: Failure | None = None
        """Why no call of it can be checked, once that was tried: its schema is none. It is listed all the same."""
        self._checker: Checker | None = None
        self._digest = b""
        self._foresight: Foresight | None = None
        self._secret: bool | None = None
        self._observed: Observed | None = None

    @property
    def observed(self) -> Observed:
        """How long its calls took, as far as anybody watches."""
        if self._observed is None:
            self._observed = Observed()
        return self._observed

    @property
    def digest(self) -> bytes:
        """A short name for exactly this spec."""
        if not self._digest:
            self._digest = blake2b(encode(self.spec), digest_size=16).digest()
        return self._digest

    @property
    def checker(self) -> Checker:
        """What judges arguments for this tool. Raises Misuse if its schema is none."""
        if self.fault is not None:
            raise Misuse(self.fault)
        if self._checker is None:
            try:
                self._checker = Checker(self.spec.parameters)
            except Misuse as misuse:
                said = f"the tool {self.spec.name[:SHOWN]!r} can't be called: {misuse.failure.message}"
                self.fault = replace(misuse.failure, message=said)
                raise Misuse(self.fault) from misuse
        return self._checker

    @property
    def foresight(self) -> Foresight:
        """What judges arguments before the results are there which they name. Raises Misuse as `checker` does."""
        if self._foresight is None:
            self._foresight = Foresight(self.checker)
        return self._foresight

    def check(self) -> Failure | None:
        """`fault`, tried now."""
        with suppress(Misuse):
            self.checker  # noqa: B018 - it is made, or raises
        return self.fault

    def shown(self, arguments: str) -> str:
        """`arguments` as events may tell them: without what the schema marks as secret."""
        if self._secret is None:
            self._secret = has_secrets(self.spec.parameters)
        if not self._secret:
            return arguments
        return f'"{HIDDEN}"' if self.check() is not None else self.checker.shown(arguments)

    def is_loaded_beside(self, instance: str) -> bool:
        """Whether the tool is there, at somebody else than `instance`."""
        return not self.spec.lazy and any(other != instance for other in self.instances)

    def in_turn(self) -> list[tuple[str | Door, str]]:
        """Address and instance of everybody who serves it, each time beginning with another."""
        self.turn += 1
        n = self.turn % len(self.targets) if self.targets else 0
        return self.targets[n:] + self.targets[:n]


class Catalogue(Mapping[str, ToolSpec]):
    """A live mapping of tool names to specs. `version` grows with every change.

    `address` tells where a tool, by name, is heard at one end of the bus, by instance; `here` is the instance of this
    very end. `lost` are tools whose worker has fallen silent: nobody is offered them, but it may be back before we hear
    of it, and a call that finds it then has the tool's own time, retries, checks and secrets. `unloaded` names the lazy
    tools that are to be loaded when they are first selected.
    """

    def __init__(self, address: Callable[[str, str], str | Door], here: str = "") -> None:
        self._address = address
        self.here = here
        self.entries: dict[str, Entry] = {}
        self.lost: dict[str, Entry] = {}
        self.unloaded: set[str] = set()
        self.version = 0
        self._indexes: list[Index] = []

    def __getitem__(self, name: str) -> ToolSpec:
        return self.entries[name].spec

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Catalogue {len(self.entries)} tools>"

    def entry(self, name: str) -> Entry | None:
        """What is known of a tool, also of one that is lost; None if there is no such tool."""
        return self.entries.get(name) or self.lost.get(name)

    def spec(self, name: str) -> ToolSpec | None:
        """The spec of a tool, None if there is no such tool."""
        entry = self.entry(name)
        return None if entry is None else entry.spec

    def referring(self, name: str) -> ToolSpec | None:
        """The spec of a tool as it is offered where calls may name each other's results."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.referring is None:
            entry.referring = referring(entry.spec)
        return entry.referring

    def resources(self, call: ToolCall, arguments: Arguments) -> tuple[Collection[str], Collection[str]] | None:
        """What the functions of a tool that is served here say that a call writes and reads; None if nobody can say."""
        entry = self.entries.get(call.name)
        touching = None if entry is None else entry.touching
        return None if entry is None or touching is None else touching.touched(arguments, entry.spec.parameters)

    def only_reads(self, name: str) -> bool:
        """Whether the tool is known, and known to change nothing."""
        entry = self.entry(name)
        return entry is not None and entry.spec.read_only

    def shown(self, name: str, arguments: str) -> str:
        """The `arguments` of a call as events may tell them. Those for a tool that is not known are told whole."""
        entry = self.entry(name)
        return arguments if entry is None else entry.shown(arguments)

    def faults(self) -> dict[str, Failure]:
        """Why calls of tools can't be checked, by the names of those whose schema is none. Takes 30 µs a tool."""
        return {name: fault for name, entry in self.entries.items() if (fault := entry.check()) is not None}

    def tell(self, index: Index) -> None:
        """Tell `index` of every tool that is here, and of every change from now on."""
        self._indexes.append(index)
        for entry in self.entries.values():
            index.add(entry.spec)

    def leave(self, index: Index) -> None:
        """Tell `index` of nothing any more."""
        self._indexes.remove(index)

    def add(self, spec: ToolSpec, instance: str, touching: Touching | None = None) -> None:
        """`instance` serves `spec`. Where others have loaded a tool already, what they say of it counts.

        `touching` are its functions, if it is served here.
        """
        self.lost.pop(spec.name, None)
        entry = self.entries.get(spec.name)
        if entry is None or (entry.spec != spec and not (spec.lazy and entry.is_loaded_beside(instance))):
            known = [] if entry is None else entry.instances
            entry = self.entries[spec.name] = Entry(spec)
            self._served(entry, known)
            self._changed(spec.name, spec)
        if instance not in entry.instances:
            self._served(entry, [*entry.instances, instance])
            if instance == self.here:
                self.version += 1  # what this end serves is a choice of its own
        elif instance == self.here:
            entry.edition = next(editions)
            self._served(entry, entry.instances)  # by another actor than before
        if touching:
            entry.touching = touching

    def _changed(self, name: str, spec: ToolSpec | None) -> None:
        """The tool is as `spec` says from now on; None: it is gone."""
        self.version += 1
        if spec is not None and spec.lazy == "selected":
            self.unloaded.add(name)
        else:
            self.unloaded.discard(name)
        for index in self._indexes:
            if spec is None:
                index.remove(name)
            else:
                index.add(spec)

    def _served(self, entry: Entry, instances: list[str]) -> None:
        entry.instances = instances
        spec = entry.spec  # of a lazy tool it is not known yet what it asks for
        entry.direct = instances == [self.here] and spec.direct and not (spec.confirm or spec.lazy)
        entry.targets = [self.target(entry.spec.name, instance) for instance in instances]

    def target(self, name: str, instance: str) -> tuple[str | Door, str]:
        """Where `instance` is asked about the tool, whether or not it is known to serve it, and itself."""
        return self._address(name, instance), instance

    def remove(self, name: str, instance: str) -> None:
        """`instance` serves it no longer; without anybody left the tool is gone."""
        self.lost.pop(name, None)
        entry = self.entries.get(name)
        if entry is None or instance not in entry.instances:
            return
        self._served(entry, [other for other in entry.instances if other != instance])
        if not entry.instances:
            del self.entries[name]
            self._changed(name, None)
        elif instance == self.here:
            entry.touching = None
            self.version += 1

    def lose(self, name: str, instance: str) -> None:
        """`instance` does not answer calls of it; without anybody left the tool is lost."""
        entry = self.entry(name)
        self.remove(name, instance)
        if entry is not None and not entry.instances:
            self.lost[name] = entry
            if len(self.lost) > LOST:
                del self.lost[next(iter(self.lost))]

    def forget(self, instance: str) -> None:
        """`instance` does not answer any more: what it alone serves is lost."""
        for name in [name for name, entry in self.entries.items() if instance in entry.instances]:
            self.lose(name, instance)

    def unknown(self, name: str) -> Failure:
        """That there is no such tool, with the closest names."""
        shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
        close = get_close_matches(name[:SHOWN], list(self.entries), n=3)
        hint = f"; did you mean {', '.join(repr(other) for other in close)}?" if close else ""
        return failed("unknown_tool", f"there is no tool {shown!r}{hint}", closest=close)
