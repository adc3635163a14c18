"""How far one turn may go: what can be limited, and what holds where nobody says otherwise."""

from typing import TypedDict

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
