"""Toolwire's side of the workloads: whole turns on `memory://`, the model a script, the tool as in the floors."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import trio

from toolwire import Runtime, ToolCall, tool
from toolwire.actors.models.contract import ModelReply, ModelRequest

from . import floors
from .measure import TOOLWIRE, Bench, Gate, Side, side
from .work import ARGUMENTS, PROMPT, Loop, Work, timed

WORKLOADS = [
    Work("W1", 4000),
    Work("W2.10", 800, "call", calls=10),
    Work("W2.100", 100, "call", calls=100),
    Work("W2.1000", 10, "call", calls=1000),
    Work("W3", 3000, at_once=1000),
    Work("W4.20", 200, "round", rounds=20),
    Work("W4.200", 20, "round", rounds=200),
    Work("W5.10", 4000, tools=10),
    Work("W5.1000", 4000, tools=1000),
]

SHAPES = {"W4.200": "W4.20", "W5.1000": "W5.10"}
"""Workloads that must not grow: each is also held against its smaller brother, timed in the same repeat."""

SLOWER = {"asyncio": 1.0, "trio": 2.0}
"""How much more trio may take than asyncio. The floors are asyncio's in both cases."""


async def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


async def add_after_asyncio(a: int, b: int) -> int:
    """The sum of two numbers."""
    await asyncio.sleep(0)
    return a + b


async def add_after_trio(a: int, b: int) -> int:
    """The sum of two numbers."""
    await trio.lowlevel.checkpoint()
    return a + b


FUNCTIONS: dict[tuple[Loop, bool], Callable[..., Any]] = {
    ("asyncio", False): add,
    ("trio", False): add,
    ("asyncio", True): add_after_asyncio,
    ("trio", True): add_after_trio,
}


@cache
def registered(count: int, loop: Loop, *, suspends: bool) -> tuple[Any, ...]:
    """The tools `add_0` and so on. Made once: to read a signature is no part of a turn."""
    return tuple(tool(name=f"add_{n}")(FUNCTIONS[loop, suspends]) for n in range(count))


class Script:
    """The model: calls until the work's rounds are done, then the last result as text. As `floors.complete`."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer from the length of the history alone."""
        work, said = self.work, len(request.messages)
        if said > work.rounds * (work.calls + 1):
            last: Any = request.messages[-1]
            return ModelReply(text=last.content)
        calls = tuple(ToolCall(f"{said}.{n}", work.called, ARGUMENTS) for n in range(work.calls))
        return ModelReply(calls=calls, finish="calls")


async def turns(work: Work, loop: Loop) -> float:
    """Microseconds per unit of turns, each in a fresh conversation."""
    model = Script(work)
    made = work.rounds * work.calls
    limits: Any = {"rounds": work.rounds + 1, "calls": made, "calls_per_response": work.calls, "same_call": made}
    async with Runtime("memory://") as runtime:
        await runtime.serve(*registered(work.tools, loop, suspends=work.suspends))

        async def turn() -> str:
            chat = await runtime.converse(model=model, limits=limits)
            reply = await chat.say(PROMPT)
            await chat.close()  # the floors drop their history too; `memory` measures conversations that stay
            return reply.text

        return await timed(turn, work, loop)


def ours(work: Work, loop: Loop) -> Side:
    """Toolwire's side of `work`."""
    return side(loop, turns, work, loop)


def gate(work: Work, loop: Loop) -> Gate | None:
    """The budget of `work`: see the issue's and DESIGN's "must reach". None for those that only inform."""
    slower = SLOWER[loop]
    match work.name.removesuffix(SUSPENDS):
        case "W1":
            return Gate(2.0 * slower, "actors")
        case "W2.100":
            return Gate(1.6 * slower, "actors")
        case "W3":
            return Gate(round(1 / 3 / slower, 3), "actors", "≥")
        case "W4.200" | "W5.1000" as name:
            return Gate(1.1, SHAPES[name] + work.name.removeprefix(name))
        case _:
            return None


SUSPENDS = ".suspends"


def bench(work: Work, loop: Loop, share: float) -> Bench:
    """The sides of one workload."""
    reduced = work.reduced(share)
    sides: dict[str, Side] = {
        "bare": side("asyncio", floors.bare, reduced),
        "actors": side("asyncio", floors.actors, reduced),
        TOOLWIRE: ours(reduced, loop),
    }
    plain = work.name.removesuffix(SUSPENDS)
    if plain in SHAPES:
        brother = next(other for other in WORKLOADS if other.name == SHAPES[plain])
        name = brother.name + work.name.removeprefix(plain)
        sides[name] = ours(brother._replace(name=name, suspends=work.suspends).reduced(share), loop)
    rate = work.at_once > 1
    unit = f"{work.unit}s/s" if rate else f"µs/{work.unit}"
    return Bench(work.name, unit, sides, gate(work, loop), rate=rate)


def benches(loop: Loop, share: float) -> list[Bench]:
    """All workloads, each also with a tool that suspends once."""
    suspending = [work._replace(name=work.name + SUSPENDS, suspends=True) for work in WORKLOADS]
    return [bench(work, loop, share) for pair in zip(WORKLOADS, suspending, strict=True) for work in pair]
