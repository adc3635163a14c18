"""What stands before one tool where it is served, for the calls of every host: its rate and its circuit breaker."""

from collections.abc import Iterable
from typing import Any

from ..protocol.breaker import Breaker, Circuit, Entry, resting
from ..protocol.failures import Failure, ToolwireError
from ..protocol.rate import Meter, Rate, too_many
from ..runtime.context import Context
from .tool import Tool

SLACK = 0.01
"""Seconds before its deadline from which on a call that is cancelled counts as one that took too long.

Who asked keeps the same deadline on a clock of its own, and is the one that cancels where that is a little earlier.
"""


class Gate:
    """Lets calls of one tool in, or says why not.

    One `Gate` stays before the tool when the object behind it is built anew.
    """

    __slots__ = ("_circuit", "_meter", "_name")

    def __init__(self, name: str, limit: Rate | None, breaker: Breaker | None) -> None:
        self._name = name
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
        return Visit(circuit, entry) if isinstance(entry, Entry) else PASSED  # it does not wait, as was said above


class Visit:
    """One call inside. Exactly one of the two is called, once."""

    __slots__ = ("_circuit", "_entry")

    def __init__(self, circuit: Circuit | None, entry: Entry) -> None:
        self._circuit = circuit
        self._entry = entry

    def ended(self, failure: Failure | None, now: float) -> None:
        """The call has ended."""
        if self._circuit is not None:
            self._circuit.leave(self._entry, "" if failure is None else failure.code, now)

    def cancelled(self, context: Context, now: float) -> None:
        """The call was cancelled: its time is up, or who asked has left, which says nothing of the tool."""
        if self._circuit is not None:
            code = "timed_out" if now >= context.deadline - SLACK else None
            self._circuit.leave(self._entry, code, now)


PASSED = Visit(None, Entry(0, probe=False))


def gates(tools: Iterable[Tool[Any]]) -> dict[str, Gate]:
    """What stands before each of `tools` that asks for it, by name."""
    return {
        tool.name: Gate(tool.name, tool.guard.rate, tool.guard.breaker)
        for tool in tools
        if tool.guard is not None and tool.guard.gated
    }
