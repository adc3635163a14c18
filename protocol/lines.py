"""Where calls line up because of what they touch."""

from collections.abc import Collection
from typing import Final

from .resources import Touch, split

_NOBODY: Final[tuple[int, ...]] = ()


class _Resource:
    """Who last wrote it, who has read it since then, and how many readers of its whole kind its writer waited for."""

    __slots__ = ("readers", "seen", "writer")

    def __init__(self) -> None:
        self.writer: list[int] = []
        self.readers: list[int] = []
        self.seen = 0


class _Kind:
    """All resources of one kind: who last wrote all of them, and who has touched them since then, all or some."""

    __slots__ = ("parts", "readers", "writer", "writers")

    def __init__(self) -> None:
        self.writer: list[int] = []
        self.readers: list[int] = []
        self.parts: dict[str, _Resource] = {}
        self.writers: dict[str, int] = {}

    def read(self, node: int, part: str, behind: set[int]) -> None:
        if not part:
            behind.update(self.writers.values() if self.writers else self.writer)
            self.readers.append(node)
            return
        resource = self._part(part)
        behind.update(resource.writer or self.writer)
        resource.readers.append(node)

    def write(self, node: int, part: str, behind: set[int]) -> None:
        if not part:
            self._sweep(node, behind)
            return
        resource = self._part(part)
        behind.update(resource.readers or resource.writer or self.writer)
        behind.update(self.readers[resource.seen :])
        resource.writer, resource.readers, resource.seen = [node], [], len(self.readers)
        self.writers[part] = node

    def _part(self, name: str) -> _Resource:
        found = self.parts.get(name)
        if found is None:
            found = self.parts[name] = _Resource()
        return found

    def _sweep(self, node: int, behind: set[int]) -> None:
        """The call touches all of the kind: whoever touched some of it since the last such call comes first."""
        behind.update(self.readers)
        for resource in self.parts.values():
            behind.update(resource.readers or resource.writer)
        if not (self.readers or self.parts):
            behind.update(self.writer)
        self.writer = [node]
        self.readers.clear()
        self.parts.clear()
        self.writers.clear()


class Lines:
    """Where calls line up. They join one by one, in the order that they shall keep.

    A call waits for the last one of its object; as a reader for the last writer, as a writer for the readers since
    then; an exclusive one for everybody, and everybody after it for the exclusive one; and one that may touch anything
    for everybody who touches something. Waiting for the last of a line is waiting for all of it, for a call ends only
    after all that it lined up behind: so each call costs a few edges, not one for each call before it. (Only writers
    of single resources and readers of their whole kind have an edge for each pair, for neither of them stand in line.)
    """

    def __init__(self) -> None:
        self._alone: int | None = None
        self._since: list[int] = []
        self._anything: int | None = None
        self._touching: list[int] = []
        self._objects: dict[str, int] = {}
        self._kinds: dict[str, _Kind] = {}

    def join(self, node: int, touch: Touch | None) -> Collection[int]:
        """Let `node` line up, which touches nothing (None) or that. Returns those to wait for."""
        alone = self._alone
        if touch is None:
            self._since.append(node)
            return _NOBODY if alone is None else (alone,)
        behind = set() if alone is None else {alone}
        if touch.alone:
            behind.update(self._since)
            self._alone = node
            self._clear()
            return behind
        self._since.append(node)
        if touch.object:
            if touch.object in self._objects:
                behind.add(self._objects[touch.object])
            self._objects[touch.object] = node
        if touch.anything:
            self._touch_anything(node, behind)
        elif touch.reads or touch.writes:
            self._touch(node, touch, behind)
        return behind

    def _touch(self, node: int, touch: Touch, behind: set[int]) -> None:
        self._touching.append(node)
        if self._anything is not None:
            behind.add(self._anything)
        kinds = self._kinds
        for names, write in ((touch.reads, False), (touch.writes, True)):
            for name in names:
                kind, part = split(name)
                found = kinds.get(kind)
                if found is None:
                    found = kinds[kind] = _Kind()
                if write:
                    found.write(node, part, behind)
                else:
                    found.read(node, part, behind)
        behind.discard(node)  # which touches one resource in two ways

    def _touch_anything(self, node: int, behind: set[int]) -> None:
        behind.update(self._touching)
        if not self._touching and self._anything is not None:
            behind.add(self._anything)
        self._anything = node
        self._touching.clear()
        self._kinds.clear()

    def _clear(self) -> None:
        self._since.clear()
        self._objects.clear()
        self._kinds.clear()
        self._touching.clear()
        self._anything = None
