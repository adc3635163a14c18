"""What a conversation brings to each of its turns: its history, what is on offer, and how far a turn may go."""

import math
from collections.abc import Callable
from typing import Any, Literal

from .events import Usage
from .history import HistoryMessage
from .ids import Ids
from .limits import CONFIRM_WITHIN, DEFAULT_LIMITS, Limits
from .output import Outputs, Wanted

Eager = Literal["read_only", "all", "off"]
"""Which calls may start while the model still speaks: those of `read_only` tools, all, or none."""


def nobody(_name: str) -> bool:
    """No tool is known to change nothing."""
    return False


class Offer:
    """What a conversation brings to each of its turns, and what stays from one to the next.

    `read_only` says of a tool, by name, that it is known to change nothing. With `last_answer` the last response that
    the limits allow has to be an answer. `outputs` are made when answers are first asked to be of a type.
    """

    __slots__ = (
        "calls",
        "calls_per_response",
        "confirm_within",
        "conversation",
        "eager",
        "history",
        "ids",
        "known",
        "last_answer",
        "limits",
        "metered",
        "outputs",
        "patterns",
        "read_only",
        "references",
        "rounds",
        "same_call",
        "seconds",
        "settings",
        "used",
    )

    def __init__(
        self,
        conversation: str,
        history: list[HistoryMessage],
        *,
        patterns: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        settings: dict[str, Any] | None = None,
        references: bool = False,
        eager: Eager = "read_only",
        read_only: Callable[[str], bool] = nobody,
        last_answer: bool = False,
        outputs: Outputs | None = None,
    ) -> None:
        self.conversation = conversation
        self.history = history
        self.patterns = patterns
        self.limits = limits
        self.settings = settings or {}
        self.references = references
        self.eager: Eager = eager
        self.read_only = read_only
        self.outputs = outputs
        self.last_answer = last_answer
        self.known = 0
        self.ids: Ids | None = None  # of the calls in the history, once the first is added
        self.used: dict[str, None] = {}
        self.rounds = limits.get("rounds", math.inf)
        self.calls = limits.get("calls", math.inf)
        self.calls_per_response = limits.get("calls_per_response", math.inf)
        self.seconds = limits.get("seconds")
        self.same_call = limits.get("same_call", math.inf)
        self.confirm_within = limits.get("confirm_within", CONFIRM_WITHIN)
        self.metered = "cost" in limits or "input_tokens" in limits or "output_tokens" in limits  # what a model counts

    def wanted(self, schema: dict[str, Any] | None) -> Wanted | None:
        """The output that a turn wants, see `Outputs.wanted`."""
        if self.outputs is None:
            self.outputs = Outputs()
        return self.outputs.wanted(schema)

    def spent(self, rounds: int, called: int, usage: Usage) -> str | None:
        """Which limit a turn has reached that asked the model so often, and made and used so much: how it ends."""
        if rounds >= self.rounds:
            return "rounds"
        if called >= self.calls:
            return "calls"
        if self.metered:
            limits = self.limits
            if usage.input_tokens > limits.get("input_tokens", math.inf):
                return "tokens"
            if usage.output_tokens > limits.get("output_tokens", math.inf):
                return "tokens"
            if usage.cost > limits.get("cost", math.inf):
                return "cost"
        return None

    def room(self, called: int) -> int | None:
        """How many calls the next response of a turn may have that made `called` before; None for any number."""
        limit = min(self.calls - called, self.calls_per_response)
        return None if limit == math.inf else int(limit)
