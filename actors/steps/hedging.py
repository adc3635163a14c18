"""Where a call takes longer than nearly all before it, a second attempt begins, and the first answer wins.

After Jeffrey Dean and Luiz André Barroso, "The Tail at Scale" (CACM 56, 2013): a hedge after the 95th percentile makes
long tails short for a few per cent of load.
"""

from typing import Any

import anyio
from msgspec.structs import replace

from ...protocol.tools import ToolResult
from ...runtime.context import Context
from ..catalogue import Entry
from .contract import Following, Passage

SHARE = 0.1
"""Hedges for each call of the tool, at most: a tool that is slow for all its callers gets no double load."""
SAVED = 10.0
"""Hedges that may be saved up in times when none was needed."""

LEAST = 0.001
"""Seconds before a hedge: of a tool that takes no time, a second attempt costs more than it wins."""


class Race:
    """Attempts at one call. The first success wins; a failure only if no other attempt is left."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.running = 0
        self.result: ToolResult[Any] | None = None

    async def run(self, passage: Passage, context: Context, targets: Any) -> None:
        """One attempt."""
        self.running += 1
        result = await passage.attempt(context, targets)
        self.running -= 1
        if self.result is None and (result.failure is None or not self.running):
            self.result = result
            self.over.set()


class Hedging:
    """Begins a second attempt, once for a call. It sends by itself, so nothing may follow it."""

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool asks for it."""
        return entry.spec.hedge and entry.spec.read_only

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """One attempt, or two."""
        entry, clock = passage.entry, context.system.clock
        entry.hedges = min(SAVED, entry.hedges + SHARE)
        began, after = clock(), entry.observed.p95
        if after is None or passage.hedged or began + after >= context.deadline:
            result = await following(context)
        else:
            result = await self._raced(passage, context, max(after, LEAST))
        if result.failure is None:
            # Of one that was overtaken, at least the time that was seen of it.
            entry.observed.add(clock() - began)
        return replace(result, hedged=True, attempts=passage.attempts) if passage.hedged else result

    async def _raced(self, passage: Passage, context: Context, after: float) -> ToolResult[Any]:
        """The first attempt, and another if it has not ended `after` that many seconds; what loses has ended too."""
        sender, race = passage.sender, Race()
        serving = sender.catalogue.entry(passage.call.name)
        targets = list(sender.targets(passage.call.name, serving, context))
        async with anyio.create_task_group() as attempts:
            attempts.start_soon(race.run, passage, context, targets)
            with anyio.move_on_after(after):
                await race.over.wait()
            if not race.over.is_set() and passage.entry.hedges >= 1.0:
                passage.entry.hedges -= 1.0
                passage.hedged = True
                attempts.start_soon(race.run, passage, context, targets[1:] + targets[:1])
            await race.over.wait()
            attempts.cancel_scope.cancel()
        assert race.result is not None  # noqa: S101 - it is over
        return race.result
