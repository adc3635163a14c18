"""Restart policy as a table, after Erlang's supervisors: who is started again, how often, how soon.

https://www.erlang.org/doc/system/sup_princ.html (restart types, intensity and period).
"""

from collections import deque
from typing import Literal, NamedTuple

Restart = Literal["permanent", "transient", "temporary"]

STARTED_AGAIN: dict[tuple[Restart, bool], bool] = {
    # (kind, whether it crashed)
    ("permanent", True): True,
    ("permanent", False): True,
    ("transient", True): True,
    ("transient", False): False,
    ("temporary", True): False,
    ("temporary", False): False,
}


class RestartPolicy(NamedTuple):
    """At most `intensity` restarts in `period` seconds: the first at once, the others after a pause.

    The pause doubles from `pause` up to `cap`, all in seconds, and is forgotten with the restarts before it.
    """

    restart: Restart = "permanent"
    intensity: int = 5
    period: float = 10.0
    pause: float = 0.05
    cap: float = 2.0


class Supervisor:
    """Decides, for one actor, what follows its end. It knows no clock: it is told the time."""

    __slots__ = ("_ends", "policy")

    def __init__(self, policy: RestartPolicy = RestartPolicy()) -> None:  # noqa: B008 - an immutable value
        self.policy = policy
        self._ends: deque[float] = deque()

    def after_end(self, now: float, *, crashed: bool) -> float | None:
        """Seconds to wait before the next start; None if there is to be none."""
        policy = self.policy
        if not STARTED_AGAIN[policy.restart, crashed]:
            return None
        while self._ends and now - self._ends[0] > policy.period:
            self._ends.popleft()
        if len(self._ends) >= policy.intensity:
            return None
        pause = min(policy.cap, policy.pause * 2.0 ** (len(self._ends) - 1)) if self._ends else 0.0
        self._ends.append(now)
        return pause
