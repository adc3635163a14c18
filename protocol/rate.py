"""How many in a time: a rate as text, and a meter that says at once whether one more fits.

The generic cell rate algorithm, in its form as virtual scheduling (ITU-T I.371, annex A): of each key only the instant
is kept at which it would be even again. No timer, no queue, no clock: instants come in as arguments, in seconds on any
clock that does not go back.
"""

import re
from typing import NamedTuple

from msgspec import Struct

from .failures import Failure, Misuse, failed

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

KEYS = 10_000
"""How many keys a meter keeps: about 1 MB."""

WRITTEN = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})?([smhd])")


class Rate(Struct, frozen=True, gc=False):
    """`count` in `seconds`: so many at once, and after that one each `seconds / count`."""

    count: int
    seconds: float

    def __str__(self) -> str:
        for unit in "dhms":
            times, rest = divmod(self.seconds, SECONDS[unit])
            if times and not rest:
                return f"{self.count}/{'' if times == 1 else int(times)}{unit}"
        return f"{self.count} in {self.seconds:g} s"

    @property
    def every(self) -> float:
        """Seconds from one to the next, on average."""
        return self.seconds / self.count


def rate(text: object) -> Rate:
    """What "10/s", "30/m", "100/h", "5/10s" or "1000/d" says. Raises Misuse for anything else."""
    found = WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        said = f"{text!r:.100} is no rate: write how many in which time, such as '10/s', '30/m', '5/10s' or '100/h'"
        raise Misuse(failed("invalid_call", said))
    count, times, unit = found.groups()
    return Rate(int(count), int(times or 1) * SECONDS[unit])


class Admission(NamedTuple):
    """When a key is even again, and how many seconds it has to wait first: 0 lets it pass now."""

    even: float
    wait: float


def admitted(limit: Rate, even: float, now: float) -> Admission:
    """One more at `now`, for a key that is even at `even`; whatever lies before `now` counts as even already.

    Who has to wait is not counted: `even` stays as it was.
    """
    every = limit.every
    even = max(even, now)
    wait = even + every - limit.seconds - now
    if wait > limit.seconds * 1e-6:  # less is a rounding error, and would be a refusal to wait for nothing
        return Admission(even, wait)
    return Admission(even + every, 0.0)


class Meter:
    """Counts each key against one rate. A key that is even again is forgotten, so it keeps only who came lately.

    Where there are more than `keys` of those, a new one has to wait until one of them is even.
    """

    __slots__ = ("_even", "_full_until", "_keys", "limit")

    def __init__(self, limit: Rate, keys: int = KEYS) -> None:
        self.limit = limit
        self._keys = keys
        self._even: dict[object, float] = {}
        self._full_until = 0.0

    def __len__(self) -> int:
        return len(self._even)

    def wait(self, key: object, now: float) -> float:
        """0.0, and one more is counted for `key`; or the seconds after which to ask again, and nothing is counted."""
        known = self._even.get(key)
        if known is None and len(self._even) >= self._keys:
            full = self._make_room(now)
            if full > 0:
                return full
        even, wait = admitted(self.limit, now if known is None else known, now)
        if wait == 0.0:
            self._even[key] = even
        return wait

    def undo(self, key: object) -> None:
        """What was counted last for `key` did not happen."""
        even = self._even.get(key)
        if even is not None:
            self._even[key] = even - self.limit.every

    def _make_room(self, now: float) -> float:
        """Forget who is even; if nobody is, the seconds until the first will be. Looks at all of them once for that."""
        if now < self._full_until:
            return self._full_until - now
        self._even = {key: even for key, even in self._even.items() if even > now}
        if len(self._even) < self._keys:
            return 0.0
        self._full_until = min(self._even.values())
        return self._full_until - now


def too_many(limit: Rate, what: str, wait: float, by: str) -> Failure:
    """That `what` comes too often; `wait` is in seconds, `by` says whose rate it is."""
    said = f"{what} may be called {limit} at most: wait {wait:.2g} s before the next call"
    return Failure("rate_limited", said, retryable=True, retry_after=wait, details={"by": by, "rate": str(limit)})


class Allowance:
    """The same for amounts, of one key: so much in a time, whoever takes how much at once.

    More than `limit.count` at once has to wait until all of it is there, and takes what is missing from those after it.
    """

    __slots__ = ("_even", "_every", "_least", "limit")

    def __init__(self, limit: Rate) -> None:
        self.limit = limit
        self._every = limit.every
        self._least = limit.seconds * 1e-6  # as in `admitted`
        self._even = 0.0

    def wait(self, amount: float, now: float, ahead: float = 0.0) -> float:
        """The seconds after which `amount` can be taken, if `ahead` is taken before; 0.0 for now. Takes nothing."""
        limit = self.limit
        needed = (ahead + min(amount, limit.count)) * self._every
        wait = max(self._even, now) + needed - limit.seconds - now
        return wait if wait > self._least else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take `amount`."""
        self._even = max(self._even, now) + amount * self._every

    def fits(self, amount: float, now: float) -> bool:
        """Whether `amount` can be taken now; then it is. As `wait` and `take`, in a third of their time."""
        limit, every, even = self.limit, self._every, self._even
        even = even if even > now else now  # noqa: FURB136 - max and min are called, which costs 0.1 µs each
        needed = amount if amount < limit.count else limit.count  # noqa: FURB136 - the same
        if even + needed * every - limit.seconds - now > self._least:
            return False
        self._even = even + amount * every
        return True

    def settle(self, more: float) -> None:
        """It was `more` than what was taken, or, below 0, less."""
        self._even += more * self._every

    def shift(self, seconds: float) -> None:
        """The clock is another one, which shows so many seconds more."""
        self._even += seconds
