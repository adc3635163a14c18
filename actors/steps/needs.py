"""A call that can't fit into what is left of its time is not begun."""

from typing import Any

from ...protocol.failures import failed
from ...protocol.tools import ToolResult
from ...runtime.context import Context
from ..catalogue import Entry
from .contract import Following, Passage


class Needs:
    """Refuses what needs more time than is left, before each attempt."""

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool says what it needs."""
        return entry.spec.needs is not None

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """Go on, if there is time."""
        needs, left = needed(passage.entry), context.remaining()
        if needs is None or left is None or needs <= left:
            return await following(context)
        said = f"the call was not begun: it needs about {needs:.3g} s, and {left:.3g} s are left"
        return passage.failed(failed("timed_out", said, by="needs", needs=needs, left=left))


def needed(entry: Entry) -> float | None:
    """The seconds that a call of the tool needs, None where that is not known."""
    needs = entry.spec.needs
    return needs if isinstance(needs, int | float) else None
