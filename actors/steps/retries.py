"""What has failed is tried again, as its tool says, while the call's time lasts."""

import random
from collections.abc import Callable
from typing import Any

import anyio

from ...protocol.failures import Failure, failed
from ...protocol.retry import ATTEMPT, pause
from ...protocol.tools import ToolResult
from ...runtime.context import Context
from ..catalogue import Entry
from .contract import Following, Passage
from .needs import needed


class Retries:
    """Tries again. `draw` gives random numbers from 0 to 1."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self.draw = draw

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool asks for it."""
        return entry.spec.retry is not None

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """One attempt after another, until one succeeds or the next may not begin."""
        tries = 0
        while True:
            tries += 1
            result = await self._attempt(passage, context, following)
            failure = result.failure
            wait = None if failure is None else self._pause(passage, context, failure, tries)
            if failure is None or wait is None:
                return result
            passage.tell(f"attempt {tries} ended as {failure.code}: {failure.message}; the next in {wait:.3g} s")
            await anyio.sleep(wait)

    def _pause(self, passage: Passage, context: Context, failure: Failure, tries: int) -> float | None:
        left, needs = context.remaining(), needed(passage.entry)
        if left is not None and needs is not None:
            left -= needs
        return pause(failure, passage.entry.spec, tries, left, self.draw())

    async def _attempt(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """One attempt, in its own time where it has one."""
        retry, system = passage.entry.spec.retry, context.system
        limit = None if retry is None else retry.attempt
        if limit is None:
            return await following(context)
        within = context.within(limit)
        if within.deadline >= context.deadline:  # the call's own limit comes first, and somebody sees to that
            return await following(context)
        with system.scope() as scope:
            system.alarms.set(scope, within.deadline)
            try:
                return await following(within)
            finally:
                system.alarms.unset(scope, within.deadline)
        said = f"attempt {passage.attempts} took longer than {limit:g} s and was given up; it may still take effect"
        return passage.failed(failed("timed_out", said, "maybe", by=ATTEMPT, seconds=limit))
