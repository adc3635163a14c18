"""What a conversation brings to each of its turns: its history, what is on offer, and how far a turn may go."""

import math
from collections.abc import Callable
from typing import Any, Literal, TypedDict

from .history import HistoryMessage
from .options import AMOUNT, LIMIT, SECONDS_OR_0


class Limits(TypedDict, total=False):
    """What one turn may use. `rounds` counts replies of the model, `seconds` is the time of the turn.

    `cost` is in the currency of the runtime's prices. `same_call` is how often the same call may be made with the same
    arguments. `confirm_within` is how many seconds a turn whose events are followed waits for a person, which is no
    time of its own.
    """

    rounds: int
    calls: int
    calls_per_response: int
    input_tokens: int
    output_tokens: int
    cost: float
    seconds: float
    same_call: int
    confirm_within: float


LIMITS = {
    **dict.fromkeys(("rounds", "calls", "calls_per_response", "input_tokens", "output_tokens", "same_call"), LIMIT),
    **dict.fromkeys(("seconds", "confirm_within"), SECONDS_OR_0),
    "cost": AMOUNT,
}
"""Of what kind each limit is."""

CONFIRM_WITHIN = 60.0

DEFAULT_LIMITS: Limits = {
    "rounds": 10,
    "calls": 500,
    "calls_per_response": 128,
    "seconds": 300.0,
    "same_call": 3,
    "confirm_within": CONFIRM_WITHIN,
}


Eager = Literal["read_only", "all", "off"]
"""Which calls may start while the model still speaks: those of `read_only` tools, all, or none."""


def nobody(_name: str) -> bool:
    """No tool is known to change nothing."""
    return False


class Offer:
    """What a conversation brings to each of its turns, and what stays from one to the next.

    `read_only` says of a tool, by name, that it is known to change nothing.
    """

    __slots__ = (
        "calls",
        "calls_per_response",
        "confirm_within",
        "conversation",
        "eager",
        "history",
        "known",
        "limits",
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
    ) -> None:
        self.conversation = conversation
        self.history = history
        self.patterns = patterns
        self.limits = limits
        self.settings = settings or {}
        self.references = references
        self.eager: Eager = eager
        self.read_only = read_only
        self.known = 0
        self.used: dict[str, None] = {}
        self.rounds = limits.get("rounds", math.inf)
        self.calls = limits.get("calls", math.inf)
        self.calls_per_response = limits.get("calls_per_response", math.inf)
        self.seconds = limits.get("seconds")
        self.same_call = limits.get("same_call", math.inf)
        self.confirm_within = limits.get("confirm_within", CONFIRM_WITHIN)
