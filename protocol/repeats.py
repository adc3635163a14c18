"""Which calls of a turn are the same call again, too often: a model that goes round in circles is told so.

Calls are counted by name. Only when a name was called more often than one call may be are arguments compared.
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

    __slots__ = ("_by_name", "_counts", "_most", "_references")

    def __init__(self, most: float, *, references: bool) -> None:
        self._most = most
        self._references = references
        self._by_name: dict[str, list[ToolCall]] = {}
        self._counts: dict[str, dict[bytes, int]] = {}

    def among(self, calls: Sequence[ToolCall]) -> tuple[int, ...]:
        """Count `calls`; the positions of those that are made too often."""
        return tuple([n for n, call in enumerate(calls) if self.count(call)])

    def count(self, call: ToolCall) -> bool:
        """Count `call`; whether it is made too often."""
        calls = self._by_name.get(call.name)
        if calls is None:
            calls = self._by_name[call.name] = []
        calls.append(call)
        return len(calls) > self._most and self._compared(calls)

    def forget(self, calls: Sequence[ToolCall]) -> None:
        """Take back that `calls`, those counted last, were made."""
        for call in calls:
            self._by_name[call.name].pop()
            self._counts.pop(call.name, None)

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
