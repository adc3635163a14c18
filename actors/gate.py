"""What stands before one tool where it is served, for the calls of every host: its rate and its circuit breaker."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from ..protocol.breaker import Breaker, Circuit, Entry, resting
from ..protocol.failures import Failure, ToolwireError
from ..protocol.observed import KEPT, Observed
from ..protocol.rate import Meter, Rate, too_many
from ..runtime.context import Context
from .tool import Tool

TOO_LATE = "timed_out"
SLACK = 0.01
"""Seconds before its deadline from which on a call that is cancelled counts as one that took too long.

Who asked keeps the same deadline on a clock of its own, and is the one that cancels where that is a little earlier.
"""

MOST_OF_IT = 0.9
"""Of a tool's own time limit: the rest of it may be spent on the way to the tool, and before its door."""


class Gate:
    """Lets calls of one tool in, or says why not. `seconds` is the limit of a call whose caller names none.

    One `Gate` stays before the tool when the object behind it is built anew.
    """

    __slots__ = ("_circuit", "_meter", "_name", "_seconds", "_took")

    def __init__(self, name: str, limit: Rate | None, breaker: Breaker | None, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._took: deque[float] = deque(maxlen=KEPT)
        self._meter = None if limit is None else Meter(limit, 1)
        self._circuit = None if breaker is None else Circuit(breaker)

    def __repr__(self) -> str:
        parts = [f"rate: {self._meter.limit}"] if self._meter is not None else []
        parts += [f"circuit: {self._circuit.state}"] if self._circuit is not None else []
        return f"<Gate {self._name} [{' | '.join(parts)}]>"

    def shut(self, now: float) -> Failure | None:
        """Why a call that came now would not be let in, as far as the breaker goes. Changes nothing."""
        wait = 0.0 if self._circuit is None else self._circuit.wait(now)
        return resting(repr(self._name), wait) if wait else None

    def enter(self, now: float) -> "Visit":
        """Let a call in. Raises ToolwireError, `circuit_open` or `rate_limited`; the former do not count as calls."""
        circuit = self._circuit
        if circuit is not None and (wait := circuit.wait(now)):
            raise ToolwireError(resting(repr(self._name), wait))
        if self._meter is not None and (wait := self._meter.wait("", now)):
            raise ToolwireError(too_many(self._meter.limit, repr(self._name), wait, "tool"))
        if circuit is None:
            return PASSED
        entry = circuit.enter(now)
        return Visit(self, entry) if isinstance(entry, Entry) else PASSED  # it does not wait, as was said above

    def leave(self, entry: Entry, code: str | None, context: Context, now: float) -> None:
        """A call has ended, as a circuit is told it."""
        circuit = self._circuit
        if circuit is None:
            return
        if code == "":
            self._took.append(now - context.began)
        elif code == TOO_LATE and is_late(context, now) and not self._is_enough(now - context.began):
            code = None
        circuit.leave(entry, code, now)

    def _is_enough(self, seconds: float) -> bool:
        """Whether a call that was stopped after so long says that the tool is slow, not its caller hasty."""
        if seconds >= MOST_OF_IT * self._seconds:
            return True
        observed = Observed()
        for took in self._took:
            observed.add(took)
        usual = observed.p95
        return usual is not None and seconds >= usual


class Visit:
    """One call inside. Exactly one of the two is called, once."""

    __slots__ = ("_entry", "_gate")

    def __init__(self, gate: Gate | None, entry: Entry) -> None:
        self._gate = gate
        self._entry = entry

    def ended(self, failure: Failure | None, context: Context, now: float) -> None:
        """The call has ended."""
        if self._gate is not None:
            self._gate.leave(self._entry, "" if failure is None else failure.code, context, now)

    def cancelled(self, context: Context, now: float) -> None:
        """The call was cancelled: its time is up, or who asked has left, which says nothing of the tool."""
        if self._gate is not None:
            self._gate.leave(self._entry, TOO_LATE if is_late(context, now) else None, context, now)


PASSED = Visit(None, Entry(0, probe=False))


def is_late(context: Context, now: float) -> bool:
    """Whether the time that the caller gave is over."""
    return now >= context.deadline - SLACK


def gates(tools: Iterable[Tool[Any]], seconds: float) -> dict[str, Gate]:
    """What stands before each of `tools` that asks for it, by name. `seconds` is the limit of those that name none."""
    return {
        tool.name: Gate(
            tool.name, tool.guard.rate, tool.guard.breaker, seconds if tool.spec.timeout is None else tool.spec.timeout
        )
        for tool in tools
        if tool.guard is not None and tool.guard.gated
    }
