"""What tools there are, as this process knows: their specs, their checkers, and where each is served."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from hashlib import blake2b
from typing import Protocol

from ..protocol.arguments import Checker
from ..protocol.envelope import encode
from ..protocol.failures import Failure, failed
from ..protocol.tools import ToolSpec
from ..runtime.context import Door

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

    __slots__ = ("_checker", "_digest", "instances", "spec", "targets", "turn")

    def __init__(self, spec: ToolSpec) -> None:
        self.spec = spec
        self.instances: list[str] = []
        self.targets: list[tuple[str | Door, str]] = []
        self.turn = 0
        self._checker: Checker | None = None
        self._digest = b""

    @property
    def digest(self) -> bytes:
        """A short name for exactly this spec."""
        if not self._digest:
            self._digest = blake2b(encode(self.spec), digest_size=16).digest()
        return self._digest

    @property
    def checker(self) -> Checker:
        """What judges arguments for this tool."""
        if self._checker is None:
            self._checker = Checker(self.spec.parameters)
        return self._checker

    def in_turn(self) -> list[tuple[str | Door, str]]:
        """Address and instance of everybody who serves it, each time beginning with another."""
        self.turn += 1
        n = self.turn % len(self.targets) if self.targets else 0
        return self.targets[n:] + self.targets[:n]


class Catalogue(Mapping[str, ToolSpec]):
    """A live mapping of tool names to specs. `version` grows with every change.

    `address` tells where a tool, by name, is heard at one end of the bus, by instance.
    """

    def __init__(self, address: Callable[[str, str], str | Door]) -> None:
        self._address = address
        self.entries: dict[str, Entry] = {}
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

    def spec(self, name: str) -> ToolSpec | None:
        """The spec of a tool, None if there is no such tool."""
        entry = self.entries.get(name)
        return None if entry is None else entry.spec

    def tell(self, index: Index) -> None:
        """Tell `index` of every tool that is here, and of every change from now on."""
        self._indexes.append(index)
        for entry in self.entries.values():
            index.add(entry.spec)

    def add(self, spec: ToolSpec, instance: str) -> None:
        """`instance` serves `spec`."""
        entry = self.entries.get(spec.name)
        if entry is None or entry.spec != spec:
            known = [] if entry is None else entry.instances
            entry = self.entries[spec.name] = Entry(spec)
            self._served(entry, known)
            self.version += 1
            for index in self._indexes:
                index.add(spec)
        if instance not in entry.instances:
            self._served(entry, [*entry.instances, instance])

    def _served(self, entry: Entry, instances: list[str]) -> None:
        entry.instances = instances
        entry.targets = [(self._address(entry.spec.name, instance), instance) for instance in instances]

    def remove(self, name: str, instance: str) -> None:
        """`instance` serves it no longer; without anybody left the tool is gone."""
        entry = self.entries.get(name)
        if entry is None or instance not in entry.instances:
            return
        self._served(entry, [other for other in entry.instances if other != instance])
        if not entry.instances:
            del self.entries[name]
            self.version += 1
            for index in self._indexes:
                index.remove(name)

    def forget(self, instance: str) -> None:
        """Nothing is served by `instance` any more."""
        for name in [name for name, entry in self.entries.items() if instance in entry.instances]:
            self.remove(name, instance)

    def unknown(self, name: str) -> Failure:
        """That there is no such tool, with the closest names."""
        shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
        close = get_close_matches(name[:SHOWN], list(self.entries), n=3)
        hint = f"; did you mean {', '.join(repr(other) for other in close)}?" if close else ""
        return failed("unknown_tool", f"there is no tool {shown!r}{hint}", closest=close)
