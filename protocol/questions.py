"""Calls that wait for a person: which results say so, what was answered, and what becomes of the calls.

A tool's door answers `confirmation_required` with a token, which stands for exactly that call, once. Such a result is
a question; calls that wait for its call end the same way, without a token, until the question is answered.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from .events import Pending
from .failures import ToolwireError, failed
from .messages import Decision
from .tools import ToolCall, ToolResult

REQUIRED: Final = "confirmation_required"


def question(result: ToolResult[Any]) -> Pending | None:
    """What `result` asks of a person; None for one that asks nothing, or can't: nothing may have run before."""
    failure = result.failure
    if failure is None or failure.code != REQUIRED or failure.effect != "none":
        return None
    details = failure.details
    token, seconds = details.get("token"), details.get("seconds")
    if not token or not isinstance(token, str):
        return None
    arguments, reason = details.get("arguments"), details.get("reason")
    return Pending(
        result.id,
        result.name,
        arguments if isinstance(arguments, str) else "{}",
        reason if isinstance(reason, str) else "",
        token,
        float(seconds) if isinstance(seconds, int | float) else 0.0,
    )


def hanging(call: ToolCall, held: ToolCall) -> ToolResult[Any]:
    """The result, for now, of a call that waits for `held`, which waits for a person."""
    said = f"it waits for the call {held.id!r} to {held.name}, which a person has to confirm first"
    return ToolResult(call.id, call.name, None, failed(REQUIRED, said, waits_for=held.id), 0)


def hangs(result: ToolResult[Any]) -> bool:
    """Whether `result` is that of a call which waits for one that waits for a person."""
    failure = result.failure
    return failure is not None and failure.code == REQUIRED and "waits_for" in failure.details


def denied(call: ToolCall, reason: str) -> ToolResult[Any]:
    """The result of a call that a person said no to."""
    said = f"a person said no to this call: {reason}" if reason else "a person said no to this call: do not repeat it"
    return ToolResult(call.id, call.name, None, failed("confirmation_denied", said), 0)


def left(result: ToolResult[Any]) -> ToolResult[Any]:
    """How a call ends that still waits when the user goes on: as denied, or as hanging on one that was."""
    if question(result) is not None:
        said = "nobody confirmed it; the user went on"
        return replace(result, failure=failed("confirmation_denied", said))
    if hangs(result) and result.failure is not None:
        said = "the call that it waited for was not confirmed; the user went on"
        details = result.failure.details
        return replace(result, failure=failed("dependency_failed", said, waits_for=details["waits_for"]))
    return result


class Questions:
    """What the calls of one turn want of a person, and what was answered: each question once, each answer once.

    A question is open until it is answered; the answer waits until it is taken, by whoever carries it out. A token
    whose answer was taken asks nothing any more. `results` are those of the response in hand, as far as they stand.
    """

    __slots__ = ("_answers", "_asked", "_spent", "results")

    def __init__(self) -> None:
        self.results: tuple[ToolResult[Any], ...] = ()
        self._asked: dict[str, Pending] = {}
        self._answers: dict[str, Decision] = {}
        self._spent: set[str] = set()

    @property
    def open(self) -> tuple[Pending, ...]:
        """What nobody has answered yet, in the order asked."""
        return tuple(pending for token, pending in self._asked.items() if token not in self._answers)

    def ask(self, pending: Pending) -> bool:
        """Take down a question. False if it asks nothing any more."""
        if pending.token in self._spent:
            return False
        self._asked.setdefault(pending.token, pending)
        return True

    def look(self, results: Sequence[ToolResult[Any]]) -> bool:
        """Take down what `results`, of the response in hand, ask. Whether they ask anything."""
        self.results = tuple(results)
        asked = {pending.token: pending for pending in map(question, results) if pending is not None}
        self._asked = {token: pending for token, pending in asked.items() if token not in self._spent}
        return bool(self._asked)

    def answer(self, decision: Decision) -> None:
        """Take down what a person said. Raises ToolwireError for what was not asked, or is answered already."""
        token = decision.token
        if token in self._spent or token in self._answers:
            raise ToolwireError(failed("invalid_confirmation", "this question is answered already"))
        if token not in self._asked:
            said = (
                "no call of this conversation waits for an answer to this: the token is of another, or its turn is over"
            )
            raise ToolwireError(failed("invalid_confirmation", said))
        self._answers[token] = decision

    def take(self, token: str) -> Decision | None:
        """The answer to the question of that token, for whoever carries it out; None if there is none, or no more."""
        decision = self._answers.pop(token, None)
        if decision is not None:
            self._asked.pop(token, None)
            self._spent.add(token)
        return decision

    def decided(self) -> dict[int, Decision]:
        """The answers there are, taken, by the positions of their calls in the response."""
        decisions: dict[int, Decision] = {}
        for n, result in enumerate(self.results):
            pending = question(result)
            decision = None if pending is None else self.take(pending.token)
            if decision is not None:
                decisions[n] = decision
        return decisions

    def standing(self, decisions: Mapping[int, Decision]) -> tuple[ToolResult[Any] | None, ...]:
        """The results that stand once `decisions` are carried out; None for calls that are to go on."""
        return tuple([None if n in decisions or hangs(result) else result for n, result in enumerate(self.results)])
