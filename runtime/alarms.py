"""Time limits for many scopes at the price of one timer.

Almost no call runs into its limit, so a timer each (4 to 8 µs: anyio asks the loop, and CPython before 3.12 asks the
kernel for the process id to answer) is paid for nothing. Here a limit that is far off is an entry in a slot of
`SLOT` seconds; only when its slot comes near does the scope get its exact deadline.
"""

import math

import anyio

from .deadline import NEVER, Clock

SLOT = 0.25


class Alarms:
    """Watches deadlines, in seconds on `clock`. `run` has to run beside; it sleeps while nothing is due.

    Once `run` is cancelled, each scope is on its own: whoever still has a limit then keeps it, at the price of a timer.
    """

    __slots__ = ("_clock", "_news", "_next", "_over", "_slots")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[float, dict[anyio.CancelScope, float]] = {}
        self._next = NEVER
        self._news = anyio.Event()
        self._over = False

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def set(self, scope: anyio.CancelScope, deadline: float) -> None:
        """Cancel `scope` at `deadline`, unless it is unset before."""
        if deadline == NEVER:
            return
        slot = deadline // SLOT
        scopes = self._slots.get(slot)
        if scopes is not None:
            scopes[scope] = deadline
            return
        if self._over or not slot > self._clock() // SLOT + 1:  # NaN too, which is no time at all
            scope.deadline = max(-math.inf, deadline)
            return
        self._slots[slot] = {scope: deadline}
        if slot < self._next:
            self._news.set()

    def unset(self, scope: anyio.CancelScope, deadline: float) -> None:
        """Leave `scope` alone. It may have been armed, or not be there."""
        if deadline == NEVER:
            return
        scopes = self._slots.get(deadline // SLOT)
        if scopes is None or scopes.pop(scope, None) is None:
            scope.deadline = NEVER

    async def run(self) -> None:
        """Arm the scopes of each slot shortly before its time. Never returns."""
        try:
            while True:
                self._next = min(self._slots, default=NEVER)
                self._news = anyio.Event()
                with anyio.CancelScope(deadline=self._next * SLOT):
                    await self._news.wait()
                now = self._clock()
                for slot in [slot for slot in self._slots if slot * SLOT <= now]:
                    self._arm(slot)
        finally:
            self._over = True
            for slot in list(self._slots):
                self._arm(slot)

    def _arm(self, slot: float) -> None:
        for scope, deadline in self._slots.pop(slot).items():
            scope.deadline = deadline
