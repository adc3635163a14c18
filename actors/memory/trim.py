"""Leaves out what was said first."""

import logging

from msgspec import Struct

from ...protocol.failures import Misuse, failed
from ...protocol.options import is_count
from ...protocol.telling import Telling
from .contract import Past

log = logging.getLogger("toolwire.memory")


class Trim(Struct, frozen=True):
    """Tells the model at most about `tokens` tokens, tools included: beyond that only the newest messages.

    These have the share `keep` of what the tools and the system leave.
    """

    tokens: int = 100_000
    keep: float = 0.5

    def __post_init__(self) -> None:
        """Raises Misuse for what can't be meant."""
        check_bounds(self.tokens, self.keep)

    async def shorten(self, past: Past) -> Telling | None:
        """See `MemoryStrategy`."""
        start = cut(past, self.tokens, self.keep)
        return None if start is None else Telling(start, past.telling.summary)


def cut(past: Past, tokens: int, keep: float) -> int | None:
    """Where to begin once there are more than `tokens`, or they were refused; None to leave it as it is."""
    if past.tokens <= tokens and not past.refused:
        return None
    most, fixed = min(tokens, past.tokens), past.fixed
    if fixed >= tokens:
        said = "tools and system alone have about %d tokens, and a memory of %d leaves only the newest message"
        log.warning(said, fixed, tokens)
    start = past.point(fixed + max(0.0, most - fixed) * keep)
    return start if start > past.telling.start else None


def check_bounds(tokens: object, keep: object) -> None:
    """Raises Misuse for what is no number of tokens, or no share."""
    if not is_count(tokens):
        raise Misuse(failed("invalid_call", f"tokens must be a whole number, 1 or more, not {tokens!r:.100}"))
    if not isinstance(keep, int | float) or isinstance(keep, bool) or not 0 < keep < 1:
        raise Misuse(failed("invalid_call", f"keep must be a share, between 0 and 1, not {keep!r:.100}"))
