"""A response while it is spoken: which of its calls were handed over before its end, and what its end may change."""

from collections.abc import Callable, Sequence

from .events import CallSpoken
from .failures import Failure, failed
from .history import Opaque
from .messages import AddCall
from .tools import ToolCall


class Speaking:
    """The calls of one response that were handed over while the model spoke, in their order.

    `opaque` are the blocks up to the last call, if one of them is for the provider alone.
    `held` are those that came before the first that may start. `repeated` are the positions of those handed over that
    were made too often. Once the response has ended, `rest` are the others of it, and `last` is how the turn ends after
    it, if it does.
    """

    __slots__ = ("calls", "held", "last", "name", "opaque", "repeated", "rest")

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[ToolCall] = []
        self.held: list[ToolCall] = []
        self.repeated: list[int] = []
        self.opaque: tuple[Opaque, ...] = ()
        self.rest: list[AddCall] = []
        self.last: tuple[str, str, Failure | None] | None = None

    def continues(self, spoken: CallSpoken) -> bool:
        """Whether `spoken` is the next call. Who tells calls out of order is heard when the response ends."""
        return spoken.position == len(self.calls) + len(self.held)

    def take(self, call: ToolCall, *, repeated: bool) -> int:
        """Take the next call; its position."""
        position = len(self.calls)
        self.calls.append(call)
        if repeated:
            self.repeated.append(position)
        return position

    def positions(self, repeated: Sequence[int]) -> tuple[int, ...]:
        """The positions of all calls made too often, if among those after the ones taken they are `repeated`."""
        first = len(self.calls)
        return (*self.repeated, *[first + n for n in repeated])

    def leave(self, calls: tuple[ToolCall, ...], repeated: Sequence[int]) -> None:
        """The response has ended with `calls`: those not taken yet are the rest. `repeated` are positions of all."""
        rest = enumerate(calls[len(self.calls) :], len(self.calls))
        self.rest = [AddCall(self.name, position, call, position in repeated) for position, call in rest]

    def writes(self, read_only: Callable[[str], bool]) -> bool:
        """Whether one of the calls may have changed something: then nobody may act as if it had not been made."""
        return not all(read_only(call.name) for call in self.calls)

    def changed(self, calls: tuple[ToolCall, ...]) -> Failure | None:
        """What is wrong with a response that ends with `calls`; None if all that was taken is still the same."""
        for n, call in enumerate(self.calls):
            if n >= len(calls) or calls[n] != call:
                what = "left out" if n >= len(calls) else "changed"
                said = f"the model {what} call {n + 1} ({call.name[:100]!r}) after it had said all of it"
                return failed("model_failed", f"{said}; the call stands as it was said first", "maybe", id=call.id)
        return None
