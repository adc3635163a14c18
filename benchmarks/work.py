"""What is measured: the workloads, the arithmetic tool that all of them call, and the driver that times turns.

A turn is: a user's message, as many responses with calls as the work has rounds, then an answer with the last
result. The model is a script; what it would take is excluded by taking nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import trio

Loop = Literal["asyncio", "trio"]
Unit = Literal["turn", "call", "round"]
Turn = Callable[[], Awaitable[str]]

ARGUMENTS = '{"a":1,"b":2}'
ANSWER = "3"
PROMPT = "What is one and two?"


class Work(NamedTuple):
    """One workload. `turns` are run in each repeat, `at_once` at a time; a figure is per `unit`."""

    name: str
    turns: int
    unit: Unit = "turn"
    calls: int = 1
    rounds: int = 1
    tools: int = 1
    at_once: int = 1
    suspends: bool = False

    @property
    def units(self) -> int:
        """Units in one turn."""
        return {"turn": 1, "call": self.calls, "round": self.rounds}[self.unit]

    @property
    def called(self) -> str:
        """The tool that is called: the one that was registered last."""
        return f"add_{self.tools - 1}"

    def reduced(self, share: float) -> "Work":
        """The same with only `share` of its turns, but at least one batch of them."""
        return self._replace(turns=max(int(self.turns * share), self.at_once))


async def timed(turn: Turn, work: Work, loop: Loop) -> float:
    """Microseconds per unit, warm. Raises RuntimeError if a turn does not end with the right answer."""
    run = ALL_AT_ONCE[loop]
    for _ in range(max(work.turns // work.at_once // 10, 1)):
        await run(turn, min(work.at_once, 100))
    batches = work.turns // work.at_once
    started = time.perf_counter()
    if work.at_once == 1:
        for _ in range(batches):
            if await turn() != ANSWER:
                raise _wrong(work)
    else:
        for _ in range(batches):
            await run(turn, work.at_once)
    return (time.perf_counter() - started) * 1e6 / (batches * work.at_once * work.units)


def _wrong(work: Work) -> RuntimeError:
    return RuntimeError(f"{work.name}: a turn ended with another answer than {ANSWER}")


async def gathered(turn: Turn, count: int) -> None:
    """`count` turns at once on asyncio, each in a task that costs as little as one can."""
    if set(await asyncio.gather(*(turn() for _ in range(count)))) != {ANSWER}:
        raise RuntimeError(f"a turn ended with another answer than {ANSWER}")


async def nursed(turn: Turn, count: int) -> None:
    """`count` turns at once on trio."""

    async def one() -> None:
        if await turn() != ANSWER:
            raise RuntimeError(f"a turn ended with another answer than {ANSWER}")

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)


ALL_AT_ONCE: dict[Loop, Callable[[Turn, int], Awaitable[None]]] = {"asyncio": gathered, "trio": nursed}
