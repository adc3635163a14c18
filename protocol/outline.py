"""A plan as it stands before anything runs, to be looked at: who waits for whom and why, and what is refused."""

from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Final

from msgspec import Struct

from .failures import Failure
from .plan import Plan
from .references import shown
from .resources import clash

WIDTH: Final = 80
"""Columns of a drawing."""
LONGEST: Final = 32
"""Characters of a name or an id in it."""

NEEDS, KEEPS_BEHIND = "◀━", "◁─"
LEGEND: Final = f"{NEEDS} takes its result in   {KEEPS_BEHIND} only starts after it"


class Behind(Struct, frozen=True, gc=False):
    """That a call starts only once the call at `position` has ended, and why."""

    position: int
    why: str


class Planned(Struct, frozen=True, omit_defaults=True, gc=False):
    """One call of a plan. Positions count from 1, as `$result` does.

    `needs` are the calls whose results it takes in; `order` those that only have to end first, and why: "same object",
    "exclusive", "after", "resource file:a", "resources not known yet". `level` is how many calls its longest chain has,
    itself among them; 0 for one that is refused.
    """

    position: int
    id: str
    tool: str
    needs: tuple[int, ...] = ()
    order: tuple[Behind, ...] = ()
    refused: Failure | None = None
    level: int = 0


class Graph(Struct, frozen=True, gc=False):
    """What would wait for what. `str(graph)` draws it in 80 columns."""

    calls: tuple[Planned, ...]

    @property
    def levels(self) -> tuple[tuple[Planned, ...], ...]:
        """The calls by their level. They are no steps: a call starts when what it waits for has ended."""
        found: dict[int, list[Planned]] = {}
        for call in self.calls:
            if call.level:
                found.setdefault(call.level, []).append(call)
        return tuple(tuple(found[level]) for level in sorted(found))

    @property
    def refused(self) -> tuple[Planned, ...]:
        """The calls that would not be made."""
        return tuple(call for call in self.calls if call.refused is not None)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.calls:
            yield "no calls"
            return
        margin = len(str(len(self.calls)))
        for n, level in enumerate(self.levels, 1):
            yield f"level {n}"
            for call in level:
                yield from drawn(call, margin)
        if self.refused:
            yield "refused"
            for call in self.refused:
                yield from drawn(call, margin)
        if any(call.needs or call.order for call in self.calls):
            yield LEGEND


def outline(plan: Plan) -> Graph:
    """The graph of a plan."""
    levels: dict[int, int] = {}
    behind = {n: {*waits.needs, *waits.order} for n, waits in enumerate(plan.graph())}
    for n in chained(behind):
        levels[n] = 0 if n in plan.refused else 1 + max((levels[other] for other in behind[n]), default=0)
    return Graph(tuple(planned(plan, n, levels[n]) for n in range(len(plan.calls))))


def chained(behind: dict[int, set[int]]) -> Iterable[int]:
    """All calls, each after those behind which it stands. There is no circle in them."""
    done: dict[int, None] = {}
    for first in behind:
        todo = [first]
        while todo:
            n = todo[-1]
            left = [other for other in behind[n] if other not in done]
            if left:
                todo += left
            else:
                done[todo.pop()] = None
    return done


def planned(plan: Plan, n: int, level: int) -> Planned:
    """One call of a plan."""
    call, waits = plan.calls[n], plan.waits(n)
    order = tuple(Behind(other + 1, why(plan, n, other)) for other in waits.order)
    needs = tuple(other + 1 for other in waits.needs)
    return Planned(n + 1, call.id, call.name, needs, order, plan.refused.get(n), level)


def why(plan: Plan, n: int, other: int) -> str:
    """Why a call keeps behind another."""
    return "after" if plan.calls[other].id in plan.calls[n].after else clash(plan.touch(other), plan.touch(n))


def drawn(call: Planned, margin: int) -> list[str]:
    """One call in lines of at most 80 columns."""
    indent = " " * (margin + 5)
    head = f"  {call.position:>{margin}}  {shown(call.tool, LONGEST)[1:-1]} ({shown(call.id, LONGEST)[1:-1]})"
    if call.refused is not None:
        said = f"{call.refused.code}: {call.refused.message}"
        return [
            head,
            *(
                line
                for part in said.splitlines()
                for line in wrap(part, WIDTH, initial_indent=indent, subsequent_indent=indent)
            ),
        ]
    arrows = [f"{NEEDS} {position}" for position in call.needs]
    arrows += [f"{KEEPS_BEHIND} {each.position} {shown(each.why, 60)[1:-1]}" for each in call.order]
    lines = [head]
    for arrow in arrows:
        if len(lines[-1]) + 3 + len(arrow) <= WIDTH:
            lines[-1] += f"   {arrow}"
        else:
            lines.append(f"{indent}{arrow}")
    return lines
