"""A call that can't fit into what is left of its time is not begun."""

from typing import Any

from ...protocol.failures import Failure, failed
from ...protocol.tools import ToolResult
from ...runtime.context import Context
from ..catalogue import Entry
from .contract import Following, Passage

TRIAL = 10
"""Of so many calls in a row that are to be refused for what was observed, the last is begun: it may be better now."""


class Needs:
    """Refuses what needs more time than is left, before each attempt."""

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool says what it needs."""
        return entry.spec.needs is not None

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """Go on, if there is time."""
        entry, clock = passage.entry, context.system.clock
        needs, left = needed(entry), context.remaining()
        if needs is not None and left is not None and needs > left and not self._trial(entry):
            return passage.failed(too_late(needs, left))
        began = clock()
        result = await following(context)
        if entry.spec.needs == "p95" and result.failure is None:
            entry.refused = 0
            if not (entry.spec.hedge and entry.spec.read_only):  # which watches by itself
                entry.observed.add(clock() - began)
        return result

    def _trial(self, entry: Entry) -> bool:
        """Whether this one is begun all the same."""
        if entry.spec.needs != "p95":
            return False
        entry.refused = (entry.refused + 1) % TRIAL
        return entry.refused == 0


def needed(entry: Entry) -> float | None:
    """The seconds that a call of the tool needs, None where that is not known."""
    needs = entry.spec.needs
    return entry.observed.p95 if needs == "p95" else needs


def too_late(needs: float, left: float) -> Failure:
    """That a call is not begun, for it needs more seconds than are left."""
    said = f"the call was not begun: it needs about {needs:.3g} s, and {left:.3g} s are left"
    return failed("timed_out", said, by="needs", needs=needs, left=left)
