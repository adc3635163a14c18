"""Which calls of a turn are the same call again, too often: a model that goes round in circles is told so.

Nothing is counted as long as there are fewer calls than one may be made. Then they are counted by name, and only when a
name was called more often than one call may be are arguments compared: usual turns pay for a tuple.
"""

from collections.abc import Sequence

import msgspec

from .failures import Failure, failed
from .references import mentions
from .tools import ToolCall

_canonical = msgspec.json.Encoder(order="sorted").encode


class Repeats:
    """Counts the calls of one turn. The same call, with the same arguments, may be made `most` times.

    With `references`, arguments that hold `$result` are never the same: it is others' results that they name.
    """

    __slots__ = ("_by_name", "_counts", "_made", "_most", "_references")

    def __init__(self, most: float, *, references: bool) -> None:
        self._most = most
        self._references = references
        self._made: tuple[ToolCall, ...] = ()  # as long as nothing is counted
        self._by_name: dict[str, list[ToolCall]] | None = None
        self._counts: dict[str, dict[bytes, int]]

    def among(self, calls: tuple[ToolCall, ...]) -> tuple[int, ...]:
        """Count `calls`; the positions of those that are made too often."""
        if self._by_name is None and len(self._made) + len(calls) <= self._most:  # so few that none can be
            self._made += calls
            return ()
        return tuple([n for n, call in enumerate(calls) if self.count(call)])

    def count(self, call: ToolCall) -> bool:
        """Count `call`; whether it is made too often."""
        by_name = self._counted()
        calls = by_name.get(call.name)
        if calls is None:
            calls = by_name[call.name] = []
        calls.append(call)
        return len(calls) > self._most and self._compared(calls)

    def forget(self, calls: Sequence[ToolCall]) -> None:
        """Take back that `calls`, those counted last, were made."""
        by_name = self._counted()
        for call in calls:
            by_name[call.name].pop()
            self._counts.pop(call.name, None)

    def _counted(self) -> dict[str, list[ToolCall]]:
        """The calls by their names, from now on."""
        if self._by_name is None:
            self._by_name, self._counts = {}, {}
            for call in self._made:
                self._by_name.setdefault(call.name, []).append(call)
        return self._by_name

    def _compared(self, calls: list[ToolCall]) -> bool:
        """Whether the last of `calls`, all of one name, is made too often."""
        call = calls[-1]
        counts = self._counts.get(call.name)
        if counts is None:
            counts = self._counts[call.name] = {}
            for earlier in calls[:-1]:
                self._add(counts, earlier)
        return self._add(counts, call) > self._most

    def _add(self, counts: dict[bytes, int], call: ToolCall) -> int:
        try:
            text = call.text()
        except (TypeError, ValueError):
            return 0  # what JSON can't carry is refused all the same
        if self._references and mentions(text):
            return 0
        key = canonical(text)
        counts[key] = count = counts.get(key, 0) + 1
        return count


def canonical(text: str) -> bytes:
    """JSON text with its keys in order and without blanks, so that equal values are equal; else what it is."""
    try:
        return _canonical(msgspec.json.decode(text))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return text.encode("utf-8", "surrogatepass")


def too_often(call: ToolCall) -> Failure:
    """Why `call` is not made once more."""
    said = f"{call.name} was called with these arguments too often in this turn: use what it gave, or ask otherwise"
    return failed("limit_reached", said, by="same_call")
