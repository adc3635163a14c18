"""Which calls wait for which: cycles, and an order without them.

Calls are named by their index in the batch, edges lead from a call to those that it waits for. Nothing recurses.
Everything is O(calls + edges), but for the logarithm of a heap in `sequence`.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple

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
