"""How long the calls of a tool took lately, and what most of them stay below."""

from bisect import bisect_left, insort
from collections import deque

KEPT = 128
"""The durations that count: the latest ones."""
ENOUGH = 20
"""Fewer say nothing of how long most take: of 20, the 95th percentile is the second longest."""
SHARE = 95
"""Per cent of the calls that stay below what is told."""


class Observed:
    """The latest durations, in seconds. To add one costs two bisections of `KEPT` numbers, to ask costs nothing."""

    __slots__ = ("_latest", "_sorted")

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, seconds: float) -> None:
        """A call took that long."""
        if len(self._latest) == KEPT:
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    @property
    def p95(self) -> float | None:
        """The 95th percentile by nearest rank; None while too few calls were seen."""
        count = len(self._sorted)
        return None if count < ENOUGH else self._sorted[-(-count * SHARE // 100) - 1]
