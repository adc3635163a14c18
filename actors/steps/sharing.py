"""Identical calls of one moment run once."""

from typing import Any

import anyio
from msgspec.structs import replace

from ...protocol.tools import ToolResult
from ...runtime.context import Context
from ..catalogue import Entry
from .contract import Following, Passage
from .identity import Identity, identity

OWN = {"timed_out", "cancelled", "confirmation_required"}
"""Failures of whoever ran it: its time was up, its caller has left, its own call is to be confirmed."""


class Flight:
    """A call that runs, and those that wait for its result. Without a `result` at its end, whoever ran it has left."""

    __slots__ = ("ended", "result")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.result: ToolResult[Any] | None = None


class Sharing:
    """Lets the first of identical calls run, in its own task and time, and gives the others its result.

    Each waits in its own time. Where the one that runs is cancelled, or its time is over, the next takes its place.
    """

    def __init__(self) -> None:
        self.flights: dict[Identity, Flight] = {}

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool lets its runs be shared."""
        return entry.spec.share and entry.spec.read_only

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """Run, or wait for the one that runs."""
        key = identity(passage)
        if key is None:
            return await following(context)
        while (flight := self.flights.get(key)) is not None:
            await flight.ended.wait()
            if flight.result is not None:
                return replace(flight.result, id=passage.call.id, shared=True, attempts=0)
        flight = self.flights[key] = Flight()
        try:
            result = await following(context)
            if result.failure is None or result.failure.code not in OWN:
                flight.result = result
            return result
        finally:
            del self.flights[key]
            flight.ended.set()
