"""The steps in their order."""

from collections.abc import Sequence
from typing import Any

from ...protocol.tools import ToolResult
from ...runtime.context import Context
from .contract import Passage, Step
from .needs import Needs
from .retries import Retries


class Steps:
    """What stands between a call that may go and its tool, outermost first: only what that tool asks for."""

    def __init__(self, steps: Sequence[Step] | None = None) -> None:
        self.steps: tuple[Step, ...] = (Retries(), Needs()) if steps is None else tuple(steps)

    async def run(self, passage: Passage) -> ToolResult[Any]:
        """Bring the call to its end."""
        return await self._from(0, passage, passage.context)

    async def _from(self, n: int, passage: Passage, context: Context) -> ToolResult[Any]:
        for m in range(n, len(self.steps)):
            if self.steps[m].concerns(passage.entry):

                async def following(within: Context, after: int = m + 1) -> ToolResult[Any]:
                    return await self._from(after, passage, within)

                return await self.steps[m](passage, context, following)
        return await passage.attempt(context)
