"""Graphs of calls, each with the time that its tool takes: the same for everybody who runs them."""

import random
from collections.abc import Sequence
from typing import NamedTuple


class Graph(NamedTuple):
    """`seconds`: how long each call takes. `needs`: the earlier calls, from 0, whose results each takes in."""

    name: str
    seconds: tuple[float, ...]
    needs: tuple[tuple[int, ...], ...]

    @property
    def critical(self) -> float:
        """Seconds along the longest way: nobody who honours `needs` is quicker."""
        return max(ends(self.seconds, self.needs))

    @property
    def depth(self) -> int:
        """Calls along the way of most calls."""
        return round(max(ends((1.0,) * len(self.needs), self.needs)))

    def levels(self) -> list[list[int]]:
        """Waves: each call in the first one after those of all that it needs."""
        found: list[list[int]] = [[] for _ in range(self.depth)]
        for n, end in enumerate(ends((1.0,) * len(self.needs), self.needs)):
            found[round(end) - 1].append(n)
        return found


def ends(seconds: Sequence[float], needs: Sequence[Sequence[int]]) -> list[float]:
    """When each call ends if it starts as soon as all that it needs have ended, and the first at 0."""
    found: list[float] = []
    for taken, others in zip(seconds, needs, strict=True):
        found.append(taken + max((found[other] for other in others), default=0.0))
    return found


def anyhow(count: int, low: float, high: float, seed: int, most: int = 3) -> Graph:
    """A random graph: each call takes between `low` and `high` seconds and needs up to `most` of those before it."""
    chance = random.Random(seed)  # noqa: S311 - the same graph each time
    seconds = tuple(chance.uniform(low, high) for _ in range(count))
    needs = tuple(tuple(sorted(chance.sample(range(n), min(n, chance.randint(0, most))))) for n in range(count))
    return Graph("random", seconds, needs)


def line(count: int, seconds: float) -> Graph:
    """Each call needs the one before it."""
    return Graph("line", (seconds,) * count, tuple((n - 1,) if n else () for n in range(count)))


def diamonds(count: int, low: float, high: float) -> Graph:
    """Two strands, each of `count` diamonds: one call, a quick and a slow one that need it, one for both, and so on.

    The second strand is one call behind, so that its slow calls fall on the quick ones of the first.
    """
    seconds = [low, low, low]
    needs: list[tuple[int, ...]] = [(), (), (1,)]
    ends_of = [0, 2]
    for n in range(2 * count):
        start, first = ends_of[n % 2], len(seconds)
        seconds += [low, high, low]
        needs += [(start,), (start,), (first, first + 1)]
        ends_of[n % 2] = first + 2
    return Graph("diamonds", tuple(seconds), tuple(needs))


def fan(width: int, low: float, high: float) -> Graph:
    """One call, then `width` that need it and take from `low` to `high` seconds, then one that needs them all."""
    step = (high - low) / max(width - 1, 1)
    seconds = (low, *(low + n * step for n in range(width)), low)
    return Graph("fan", seconds, ((), *(((0,),) * width), tuple(range(1, width + 1))))


def chains(width: int, length: int, low: float, high: float) -> Graph:
    """Chains beside each other, whose slow call comes at another place in each: what a barrier is worst at."""
    seconds = tuple(high if n // width % width == n % width else low for n in range(width * length))
    needs = tuple((n - width,) if n >= width else () for n in range(width * length))
    return Graph("chains", seconds, needs)


def apart(width: int, low: float, high: float) -> Graph:
    """Calls that need nobody."""
    step = (high - low) / max(width - 1, 1)
    return Graph("apart", tuple(low + n * step for n in range(width)), ((),) * width)
