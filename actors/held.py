"""Calls that were made from here, in no conversation, and wait for a person's word."""

from typing import Any, NamedTuple

from msgspec import Raw

from ..protocol.confirmation import refused
from ..protocol.failures import Failure
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.context import Context
from ..runtime.deadline import Clock

MOST = 10_000
"""Calls that are held. Beyond that the one that has waited longest is forgotten: it can be made again."""

WAITS = "confirmation_required"


class Waiting(NamedTuple):
    """A call as it was asked for, on whose behalf, and until when a person may say something about it."""

    call: ToolCall
    trail: Raw
    until: float


class Held:
    """Keeps each call by its token, until somebody decides about it, or its time is up."""

    __slots__ = ("_clock", "_most", "_waiting")

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, call: ToolCall, result: ToolResult[Any], context: Context) -> None:
        """Keep `call` if a person has to be asked about it, and if no conversation asks."""
        failure = result.failure
        if failure is None or failure.code != WAITS or context.whose().conversation:
            return
        token, seconds = failure.details.get("token"), failure.details.get("seconds")
        if isinstance(token, str) and isinstance(seconds, int | float):
            while len(self._waiting) >= self._most:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[token] = Waiting(call, context.trail, self._clock() + seconds)

    def take(self, token: str) -> Waiting | Failure:
        """The call that waits for `token`, which is no longer held: of two who decide only one gets it."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return refused("no call that was made here waits for it")
        return waiting if self._clock() < waiting.until else refused("it has expired")

    def give_back(self, token: str, waiting: Waiting) -> None:
        """The call did not begin, and waits on."""
        self._waiting[token] = waiting
