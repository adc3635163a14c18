"""A step on a call's way, and what is on its way.

A step is called with the passage and with what follows. It may answer without that, call it once, or, if the tool
allows it, several times; what follows raises nothing but a cancellation, and nor does a step. A step that is cancelled
leaves nothing behind: what it began has ended when it has.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ...protocol.events import CallProgress, Event
from ...protocol.failures import Failure
from ...protocol.tools import ToolCall, ToolResult
from ...runtime.context import Context
from ..catalogue import Entry
from ..sending import Sender, Targets


class Passage:
    """One call on its way: checked arguments, on whose behalf, and how often it was begun.

    `context` has the time of the whole call. `entry` is the tool as it was when the call came; an attempt asks whoever
    serves it by then.
    """

    __slots__ = ("arguments", "attempts", "call", "context", "entry", "hear", "hedged", "number", "sender")

    def __init__(
        self,
        call: ToolCall,
        arguments: str,
        entry: Entry,
        context: Context,
        hear: Callable[[Event], None] | None,
        number: int,
        sender: Sender,
    ) -> None:
        self.call = call
        self.arguments = arguments
        self.entry = entry
        self.context = context
        self.hear = hear
        self.number = number
        self.sender = sender
        self.attempts = 0
        self.hedged = False

    async def attempt(self, context: Context, targets: Targets | None = None) -> ToolResult[Any]:
        """Send it, in the time that `context` has."""
        before = self.attempts
        self.attempts += 1
        entry = self.sender.catalogue.entry(self.call.name)
        result = await self.sender.send(
            self.call, self.arguments, entry, context, self.hear, self.number, before, targets
        )
        self.attempts = max(self.attempts, result.attempts)
        return result

    def failed(self, failure: Failure) -> ToolResult[Any]:
        """That it ends so, without another attempt."""
        return ToolResult(self.call.id, self.call.name, None, failure, self.attempts)

    def tell(self, note: str) -> None:
        """Say something to whoever follows the call."""
        if self.hear is not None:
            self.hear(CallProgress(self.call.id, 0.0, note=note))


Following = Callable[[Context], Awaitable[ToolResult[Any]]]
"""The rest of the way, in the time that a context has."""


class Step(Protocol):
    """Something that is done about calls of tools which ask for it."""

    def concerns(self, entry: Entry) -> bool:
        """Whether the tool asks for it."""
        ...

    async def __call__(self, passage: Passage, context: Context, following: Following) -> ToolResult[Any]:
        """Bring the call to its end, by `following` or without."""
        ...
