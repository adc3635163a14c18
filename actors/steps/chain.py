"""The steps in their order."""

import random
from collections.abc import Callable
from typing import Any

from ...protocol.tools import ToolResult
from ...runtime.context import Context
from .cache import MOST, ROOM, Cache
from .contract import Passage, Step
from .hedging import Hedging
from .needs import Needs
from .retries import Retries
from .sharing import Sharing


class Steps:
    """What stands between a call that may go and its tool, outermost first: only what that tool asks for.

    `draw` gives random numbers from 0 to 1; `most` results of `room` bytes are kept.
    """

    def __init__(self, draw: Callable[[], float] = random.random, most: int = MOST, room: int = ROOM) -> None:
        self.cache = Cache(most, room)
        self.retries = Retries(draw)
        self.sharing = Sharing()
        self.steps: tuple[Step, ...] = (self.cache, self.sharing, self.retries, Needs(), Hedging())

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
