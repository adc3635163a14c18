"""How a figure comes about: sides that take turns in one process, medians, and ratios taken within a repeat.

The machine may drift by a factor of two between minutes, so only ratios gate: the median over the repeats of
(Toolwire / what it is held against), both timed in the same repeat. The first repeat is thrown away. The cyclic
garbage collector stays as Python sets it.
"""

import platform
import statistics
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, NamedTuple, TypeVarTuple

import anyio
from msgspec import Struct

from .work import Loop

Side = Callable[[], float]
"""Runs its share of one repeat on an event loop of its own; gives microseconds per unit, or what `unit` says."""

TOOLWIRE = "toolwire"

Arguments = TypeVarTuple("Arguments")


def side(loop: Loop, function: Callable[[*Arguments], Awaitable[float]], *arguments: *Arguments) -> Side:
    """`function(*arguments)` on an event loop of its own."""
    return lambda: anyio.run(function, *arguments, backend=loop)


class Gate(NamedTuple):
    """A budget: the ratio to the side `against` (the value itself if that is "") must be within `limit`."""

    limit: float
    against: str = ""
    sense: Literal["≤", "≥"] = "≤"

    def holds(self, value: float) -> bool:
        """Whether `value` is within the budget."""
        return value <= self.limit if self.sense == "≤" else value >= self.limit

    def __str__(self) -> str:
        of = f" x {self.against}" if self.against else ""
        return f"{self.sense} {self.limit:g}{of}"


class Bench(NamedTuple):
    """One line of the table: how each side is timed, and the budget, if it has one.

    With `rate`, sides still give microseconds; the figures are units a second, and ratios are of rates.
    """

    name: str
    unit: str
    sides: Mapping[str, Side]
    gate: Gate | None = None
    rate: bool = False


class Figure(Struct, frozen=True):
    """What was measured. `floors` are the medians of the other sides; `ratio` is what the budget is about."""

    name: str
    value: float
    unit: str
    min: float
    max: float
    floors: dict[str, float]
    ratios: dict[str, float]
    ratio: float | None
    budget: str | None
    holds: bool | None
    repeats: int
    python: str
    loop: Loop


def measured(bench: Bench, repeats: int, loop: Loop) -> Figure:
    """Time the sides of `bench` one after the other, `repeats` + 1 times."""
    times: dict[str, list[float]] = {name: [] for name in bench.sides}
    for repeat in range(repeats + 1):
        for name, side in bench.sides.items():
            taken = side()
            if repeat:
                times[name].append(1e6 / taken if bench.rate else taken)
    return figure(bench, times, repeats, loop)


def figure(bench: Bench, times: dict[str, list[float]], repeats: int, loop: Loop) -> Figure:
    """The medians of what was timed, and whether the budget holds."""
    ours = times[TOOLWIRE]
    others = {name: values for name, values in times.items() if name != TOOLWIRE}
    ratios = {
        name: statistics.median(own / floor for own, floor in zip(ours, values, strict=True))
        for name, values in others.items()
    }
    value = statistics.median(ours)
    gate = bench.gate
    gated = None if gate is None else ratios[gate.against] if gate.against else value
    return Figure(
        name=bench.name,
        value=value,
        unit=bench.unit,
        min=min(ours),
        max=max(ours),
        floors={name: statistics.median(values) for name, values in others.items()},
        ratios=ratios,
        ratio=gated,
        budget=None if gate is None else str(gate),
        holds=None if gate is None or gated is None else gate.holds(gated),
        repeats=repeats,
        python=platform.python_version(),
        loop=loop,
    )
