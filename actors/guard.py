"""What a tool asks of the process that serves it: how often it runs, when it rests, how large its results may be."""

from typing import Literal, TypedDict

from msgspec import Struct

from ..protocol.breaker import Breaker
from ..protocol.failures import Misuse, failed
from ..protocol.rate import Rate, rate

Surplus = Literal["refuse", "truncate", "spill"]
"""What becomes of a result that is too large: a failure, its head, or a place where the whole of it is kept."""


class Guards(TypedDict, total=False):
    """What `tool(...)` takes of it."""

    rate: str | None
    breaker: Breaker | bool
    result: Surplus
    result_bytes: int | None


class Guard(Struct, frozen=True):
    """A tool's own limits, where it has any. `result_bytes` is None where the runtime's limit holds."""

    rate: Rate | None = None
    breaker: Breaker | None = None
    result: Surplus = "refuse"
    result_bytes: int | None = None

    @property
    def gated(self) -> bool:
        """Whether a call may be refused before it starts."""
        return self.rate is not None or self.breaker is not None

    @property
    def sized(self) -> bool:
        """Whether results are looked at in another way than usual."""
        return self.result != "refuse" or self.result_bytes is not None


def guard(name: str, options: Guards) -> Guard | None:
    """What was asked for the tool `name`, None for nothing. Raises Misuse for what can't be."""
    result, result_bytes = options.get("result", "refuse"), options.get("result_bytes")
    if result not in {"refuse", "truncate", "spill"}:
        said = f"{name}: a result that is too large is to 'refuse', 'truncate' or 'spill', not {result!r:.100}"
        raise Misuse(failed("invalid_call", said))
    if result_bytes is not None and result_bytes < 1:
        raise Misuse(failed("invalid_call", f"{name}: result_bytes must be 1 or more, not {result_bytes!r}"))
    often, breaker = options.get("rate"), options.get("breaker", False)
    resting = (Breaker() if breaker else None) if isinstance(breaker, bool) else breaker
    made = Guard(None if often is None else rate(often), resting, result, result_bytes)
    return made if made.gated or made.sized else None
