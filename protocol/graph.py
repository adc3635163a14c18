"""Which calls wait for which: cycles, an order without them, and who keeps behind whom.

Calls are named by their index in the batch, edges lead from a call to those that it waits for. Nothing recurses.
Everything is O(calls + edges), but for the logarithm of a heap in `sequence`.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from .tools import ToolSpec

Edges = Mapping[int, Collection[int]]


class Waits(NamedTuple):
    """What one call waits for: results that it takes in (`needs`), and calls that only have to end first (`order`)."""

    needs: tuple[int, ...] = ()
    order: tuple[int, ...] = ()


def cycles(edges: Edges) -> list[list[int]]:
    """The groups of calls that wait for each other; a call that waits for itself is one of its own.

    These are the strongly connected components of R. Tarjan, "Depth-first search and linear graph algorithms" (1972).
    """
    found: list[list[int]] = []
    low: dict[int, int] = {}
    entered: list[int] = []

    def enter(node: int) -> tuple[int, int, Iterator[int]]:
        number = low[node] = len(low)
        entered.append(node)
        return node, number, iter(edges.get(node, ()))

    for root in edges:
        path = [] if root in low else [enter(root)]
        while path:
            node, number, rest = path[-1]
            for other in rest:
                if other not in low:
                    path.append(enter(other))
                    break
                low[node] = min(low[node], low[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == number:
                    group = _leave(entered, node, low)
                    if len(group) > 1 or node in edges.get(node, ()):
                        found.append(group)
    return found


def _leave(entered: list[int], node: int, low: dict[int, int]) -> list[int]:
    group: list[int] = []
    while not group or group[-1] != node:
        group.append(entered.pop())
        low[group[-1]] = sys.maxsize  # so that no later edge into the group joins it
    return sorted(group)


def sequence(count: int, edges: Edges) -> list[int]:
    """All calls, each after those that it waits for, else in their own order. Those on a cycle, or behind one, lack."""
    left = [0] * count
    behind: defaultdict[int, list[int]] = defaultdict(list)
    for node, others in edges.items():
        left[node] = len(others)
        for other in others:
            behind[other].append(node)
    free = [node for node in range(count) if not left[node]]
    heapify(free)
    found: list[int] = []
    while free:
        node = heappop(free)
        found.append(node)
        for other in behind.get(node, ()):
            left[other] -= 1
            if not left[other]:
                heappush(free, other)
    return found


class _Resource:
    """Who last wrote it, and who has read it since."""

    __slots__ = ("readers", "writer")

    def __init__(self) -> None:
        self.writer: list[int] = []
        self.readers: list[int] = []


class Lines:
    """Where calls line up because of what their tools touch. They join one by one, in the order that they shall keep.

    A call waits for the last one of its object; as a reader for the last writer, as a writer for the readers since
    then; an exclusive one for everybody, and everybody after it for the exclusive one. Waiting for the last of a line
    is waiting for all of it, for a call ends only after all that it lined up behind: so each call costs a few edges,
    not one for each call before it.
    """

    def __init__(self) -> None:
        self._alone: int | None = None
        self._since: list[int] = []
        self._objects: dict[str, int] = {}
        self._resources: defaultdict[str, _Resource] = defaultdict(_Resource)

    def join(self, node: int, spec: ToolSpec | None) -> set[int]:
        """Let `node` line up; `spec` is None for a tool that nobody knows. Returns those to wait for."""
        behind = set() if self._alone is None else {self._alone}
        if spec is not None and spec.exclusive:
            behind.update(self._since)
            self._alone = node
            self._since.clear()
            self._objects.clear()
            self._resources.clear()
            return behind
        self._since.append(node)
        if spec is None or not spec.ordered:
            return behind
        if spec.object:
            if spec.object in self._objects:
                behind.add(self._objects[spec.object])
            self._objects[spec.object] = node
        for name in {*spec.reads}.difference(spec.writes):
            behind.update(self._resources[name].writer)
            self._resources[name].readers.append(node)
        for name in {*spec.writes}:
            resource = self._resources[name]
            behind.update(resource.readers or resource.writer)
            resource.writer = [node]
            resource.readers = []
        return behind
