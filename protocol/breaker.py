"""The circuit breaker of one tool: after so many failures in a row it rests, then a few calls try whether it is well.

A table (M. Nygard, "Release It!", 2007, chapter 5) and the few numbers around it. No clock: instants come in as
arguments, in seconds on any clock that does not go back.
"""

import math
from collections import deque
from typing import Literal, NamedTuple

from msgspec import Struct

from .failures import CODES, Failure, Misuse, failed
from .options import is_count, is_seconds

State = Literal["closed", "open", "half_open"]
Event = Literal["asked", "asked_when_rested", "asked_when_full", "succeeded", "proved", "failed", "tripped", "left"]
Action = Literal["pass", "probe", "refuse", "forget", "count", "rest", "free", "nothing"]

TABLE: dict[tuple[State, Event], tuple[State, Action]] = {
    ("closed", "asked"): ("closed", "pass"),
    ("closed", "succeeded"): ("closed", "forget"),
    ("closed", "failed"): ("closed", "count"),
    ("closed", "tripped"): ("open", "rest"),
    ("closed", "left"): ("closed", "nothing"),
    ("open", "asked"): ("open", "refuse"),
    ("open", "asked_when_full"): ("open", "refuse"),
    ("open", "asked_when_rested"): ("half_open", "probe"),
    ("half_open", "asked"): ("half_open", "probe"),
    ("half_open", "asked_when_full"): ("half_open", "refuse"),
    ("half_open", "succeeded"): ("half_open", "free"),
    ("half_open", "proved"): ("closed", "forget"),
    ("half_open", "failed"): ("open", "rest"),
    ("half_open", "left"): ("half_open", "free"),
}
"""What happens and what is done, by state and event. A call that was let in under an earlier state is no event."""

COUNTED = ("failed", "timed_out", "invalid_result")
"""The codes that count as a failure of the tool's own. What it was asked wrongly, or refused, says nothing of it."""

PROBING = 1.0
"""Seconds after which to ask again while calls try whether the tool is well: nobody knows how long they take."""


class Breaker(Struct, frozen=True, gc=False):
    """When a tool rests: after `failures` in a row, none older than `within` seconds, for `rest` seconds.

    Then at most `probes` calls at once try whether it is well; after as many successes it is, after one failure it
    rests again. `codes` are the failures that count. Raises Misuse for what can't be.
    """

    failures: int = 5
    within: float = 30.0
    rest: float = 10.0
    probes: int = 1
    codes: tuple[str, ...] = COUNTED

    def __post_init__(self) -> None:
        if not (is_count(self.failures) and is_count(self.probes)):
            raise Misuse(failed("invalid_call", "a breaker counts 1 failure and 1 probe or more"))
        if not (is_seconds(self.within) and is_seconds(self.rest) and self.rest < math.inf):
            raise Misuse(failed("invalid_call", "the seconds of a breaker are more than 0, and it can't rest for ever"))
        if unknown := [code for code in self.codes if code not in CODES]:
            raise Misuse(failed("invalid_call", f"there is no failure code {', '.join(map(repr, unknown))} to count"))


class Entry(NamedTuple):
    """One call that was let in. `period` counts the states that there were before."""

    period: int
    probe: bool


class Circuit:
    """How a tool is doing, by its breaker. Each call that `enter` lets in is told of to `leave` once, however it ends.

    At most `probes` of those that it let in as probes are ever inside, and one that left without a word (its caller
    went away) makes room for the next.
    """

    __slots__ = ("_closed", "_failed_at", "_inside", "_period", "_proved", "_rested_at", "breaker", "state")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.state: State = "closed"
        self._failed_at: deque[float] = deque(maxlen=breaker.failures)
        self._period = 0
        self._closed = Entry(0, probe=False)
        self._rested_at = 0.0
        self._inside = 0
        self._proved = 0

    def __repr__(self) -> str:
        return f"<Circuit {self.state} [failures: {len(self._failed_at)} | probes: {self._inside}]>"

    def wait(self, now: float) -> float:
        """0.0 if a call would be let in now, else the seconds after which to ask again. Changes nothing."""
        if self.state == "closed":
            return 0.0
        if self.state == "open" and now < self._rested_at:
            return self._rested_at - now
        return 0.0 if self._inside < self.breaker.probes else min(PROBING, self.breaker.rest)

    def enter(self, now: float) -> Entry | float:
        """Let a call in, or say after how many seconds it may ask again: more than 0."""
        if self.state == "closed":
            return self._closed  # what the table says, at a tenth of the price of asking it
        event: Event = "asked"
        if self._inside >= self.breaker.probes:
            event = "asked_when_full"
        elif self.state == "open" and now >= self._rested_at:
            event = "asked_when_rested"
        action = self._step(event, now)
        if action == "refuse":
            return self.wait(now)
        return Entry(self._period, action == "probe")

    def leave(self, entry: Entry, code: str | None, now: float) -> None:
        """A call has ended: with a failure of that code, well (""), or without a word (None: its caller left)."""
        if entry is self._closed and code == "" and not self._failed_at:
            return  # nothing to forget
        if entry.probe:
            self._inside -= 1
        if entry.period == self._period:
            self._step(self._event(code, now), now)

    def _event(self, code: str | None, now: float) -> Event:
        """What the end of a call means. It was let in under the state that there is now."""
        if code is None:
            return "left"
        if code in self.breaker.codes:
            return "tripped" if self.state == "closed" and self._one_too_many(now) else "failed"
        return "proved" if self.state == "half_open" and self._proved + 1 >= self.breaker.probes else "succeeded"

    def _one_too_many(self, now: float) -> bool:
        """Whether a failure now is the last that is borne."""
        before, earlier = self._failed_at, self.breaker.failures - 1
        return not earlier or (len(before) >= earlier and now - before[-earlier] <= self.breaker.within)

    def _step(self, event: Event, now: float) -> Action:
        before = self.state
        self.state, action = TABLE[before, event]
        if self.state != before:
            self._period += 1
            self._closed = Entry(self._period, probe=False)
            self._proved = 0
        match action:
            case "probe":
                self._inside += 1
            case "count":
                self._failed_at.append(now)
            case "forget":
                self._failed_at.clear()
            case "rest":
                self._failed_at.clear()
                self._rested_at = now + self.breaker.rest
            case "free" if event == "succeeded":
                self._proved += 1
            case _:
                pass
        return action


def resting(what: str, wait: float) -> Failure:
    """That `what` rests, and may be tried again after `wait` seconds."""
    said = f"{what} has failed too often lately and is left alone for a while: it did nothing, wait {wait:.2g} s"
    return Failure("circuit_open", said, retryable=True, retry_after=wait, details={"by": "tool"})
