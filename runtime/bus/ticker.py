"""A task that looks at something every so often while there is something to look at, and sleeps otherwise."""

from collections.abc import Callable

import anyio

REST = 1.0
"""Seconds without anything to look at before it sleeps: waking costs, and work comes in runs."""


class Ticker:
    """Calls `tick` every `period` seconds for as long as that says True, and then until it sleeps.

    Whoever makes work looks at `asleep` first and calls `wake` then.
    """

    __slots__ = ("_period", "_tick", "_wakened", "asleep")

    def __init__(self, period: float, tick: Callable[[], bool]) -> None:
        self._period = period
        self._tick = tick
        self._wakened = anyio.Event()
        self.asleep = True

    def wake(self) -> None:
        """There is something to look at."""
        self.asleep = False
        self._wakened.set()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self._wakened.wait()
            idle = 0.0
            while idle < REST:
                await anyio.sleep(self._period)
                idle = 0.0 if self._tick() else idle + self._period
            self._wakened = anyio.Event()
            self.asleep = True
