"""A response whose calls are on their way, and how it goes into the history: with one result for each call, at once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from .failures import Failure
from .history import AssistantMessage, ToolMessage, tool_message
from .ids import apart, ids_of
from .offer import Offer
from .questions import hangs, question
from .tools import ToolCall, ToolResult


class Response:
    """What the model said last, if it made calls that have not all ended.

    The history is valid at every instant, for whoever looks at it: nothing of the response stands in it before each
    call has a result. There each call has an id of its own, whatever the model called it. If it is put aside it stands
    there with what its calls wait for, and then until they have ended. `parts` is where the first part of one stands
    that comes in parts, as long as the last has not come.
    """

    __slots__ = ("_at", "_ids", "_told", "message", "parts")

    def __init__(self) -> None:
        self.message: AssistantMessage | None = None
        self._told: dict[str, ToolResult[Any]] | None = None
        self._at: int | None = None
        self._ids: tuple[str, ...] | None = None  # that its calls have in the history, where they can't have their own
        self.parts: int | None = None

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that are open."""
        return () if self.message is None else self.message.calls

    def tell(self, result: ToolResult[Any]) -> None:
        """Somebody was told that a call has ended so: no other end of it may be told later."""
        if result.failure is None or result.failure.code != "invalid_call":  # whose id may be that of another call
            if self._told is None:
                self._told = {}
            self._told[result.id] = result

    def put_aside(self, offer: Offer, results: Sequence[ToolResult[Any]]) -> None:
        """Let it stand in the history with what its calls wait for."""
        if self.message is None:
            return
        if self._at is None:
            self._at = len(offer.history) + 1
            self._write(offer, self.message, results)
        else:
            self._replace(offer, self._at, results)

    def end(self, offer: Offer, results: Sequence[ToolResult[Any]]) -> None:
        """Every call has its result."""
        if self._at is not None:
            self._replace(offer, self._at, results)
            self._at = None
        elif self.message is not None:
            self._write(offer, self.message, results)
        self.drop()

    def drop(self) -> None:
        """Nothing of it stays."""
        self.message = self._told = self._ids = None

    def go_on(self, offer: Offer) -> None:
        """A part of it went into the history, and its provider has more to say."""
        if self.parts is None:
            self.parts = len(offer.history) - 1

    def leave(self, offer: Offer) -> None:
        """Its last part won't come: the others stand as the texts that they are.

        What its provider was about to do, and has said nothing of yet, it would refuse to be told again.
        """
        if self.parts is not None:
            at, self.parts = self.parts, None
            texts = [replace(part, opaque=()) for part in offer.history[at:]]
            offer.history = [*offer.history[:at], *texts]  # a copy: somebody may have looked at it as it was
            offer.known = min(offer.known, at)

    def broken_off(
        self, failing: Callable[[ToolCall], Failure], standing: Sequence[ToolResult[Any]] = ()
    ) -> list[ToolResult[Any]]:
        """The results of all calls where those that have not ended, as told or `standing`, end as `failing` says."""
        told = self._told or {}
        results: list[ToolResult[Any]] = []
        for n, call in enumerate(self.calls):
            result = told.pop(call.id, None)
            if result is None and n < len(standing) and question(standing[n]) is None and not hangs(standing[n]):
                result = standing[n]
            results.append(result or ToolResult(call.id, call.name, failure=failing(call)))
        return results

    def _write(self, offer: Offer, message: AssistantMessage, results: Sequence[ToolResult[Any]]) -> None:
        """Add it to the history, with its results."""
        if offer.ids is None:
            offer.ids = ids_of(offer.history)
        told = apart(message, offer.ids)
        if told is not message:
            self._ids = tuple(call.id for call in told.calls)
        offer.history += [told, *self._messages(results)]

    def _replace(self, offer: Offer, at: int, results: Sequence[ToolResult[Any]]) -> None:
        """Let `results` stand for what stood there: in a copy, for somebody may have looked at it so."""
        offer.history = [*offer.history[:at], *self._messages(results)]

    def _messages(self, results: Sequence[ToolResult[Any]]) -> Iterable[ToolMessage]:
        """`results` as they stand in the history."""
        if self._ids is None:
            return map(tool_message, results)
        return [replace(tool_message(result), id=id_) for result, id_ in zip(results, self._ids, strict=True)]
