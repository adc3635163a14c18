"""A turn as it went: every call with its times, what it waited for, where it ran and how it ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from ....protocol.events import CallFinished, CallStarted, Event
from ....protocol.tools import ToolResult
from .watched import Spoken


class Row(Struct, frozen=True):
    """One call. Times are in seconds since the turn began: when the model had asked, when it started, when it ended.

    `needs` and `order` are the numbers of the calls that it waited for: for their results, or only for their end.
    `ended` is `ok`, or the code of its failure; `attempts` is how often it was tried. `confirmed`: it waited for
    a person, until it began.
    """

    number: int
    name: str
    where: str
    asked: float
    began: float
    finished: float
    needs: tuple[int, ...]
    order: tuple[int, ...]
    ended: str
    attempts: int = 1
    confirmed: bool = False


class Recording:
    """Hears the events of one turn, and remembers when each came."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = clock()
        self._started: dict[str, tuple[float, CallStarted]] = {}
        self._finished: dict[str, tuple[float, CallFinished]] = {}
        self._answered: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        """Something happened, now."""
        now = self._clock() - self._start
        if isinstance(event, CallStarted):
            self._started[event.id] = (now, event)
        elif isinstance(event, CallFinished):
            self._finished[event.result.id] = (now, event)

    def answered(self, call: str) -> None:
        """A person has said, now, that the call may run."""
        self._answered[call] = self._clock() - self._start

    def replies(self, spoken: Sequence[Spoken]) -> list[Spoken]:
        """The model's replies, in seconds since the turn began."""
        start = self._start
        return [
            Spoken(one.began - start, one.ended - start, one.calls, {call: at - start for call, at in one.said.items()})
            for one in spoken
        ]

    def rows(self, spoken: Sequence[Spoken], place: Callable[[ToolResult[Any]], str]) -> list[Row]:
        """All calls in the order asked. `place` says where one ran."""
        asked = {call: reply.said.get(call, reply.ended) for reply in self.replies(spoken) for call in reply.calls}
        numbers = {call: number for number, call in enumerate(asked, 1)}
        return [self._row(call, numbers, asked[call], place) for call in asked if call in self._finished]

    def _row(self, call: str, numbers: Mapping[str, int], asked: float, place: Callable[[ToolResult[Any]], str]) -> Row:
        finished, event = self._finished[call]
        result = event.result
        began, started = self._started.get(call, (finished, None))
        began = self._answered.get(call, began)
        return Row(
            numbers[call],
            result.name,
            place(result),
            min(asked, began),
            began,
            finished,
            () if started is None else tuple(numbers[other] for other in started.needs),
            () if started is None else tuple(numbers[other] for other in started.order),
            ending(result),
            result.attempts,
            call in self._answered,
        )


def ending(result: ToolResult[Any]) -> str:
    """How a call ended, in a word or two."""
    failure = result.failure
    if failure is None:
        return "ok"
    return f"{failure.code}, killed" if failure.details.get("process") == "killed" else failure.code
