"""Calls that start while the model still speaks: what a streamed turn costs, and what it wins."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio

from toolwire import Agent, Runtime, scripted, tool
from toolwire.actors.models.contract import ModelEvent, ModelRequest
from toolwire.actors.models.scripted import spoken
from toolwire.protocol.events import CallSpoken

from .measure import TOOLWIRE, Bench, Gate, side
from .turns import Script
from .work import PROMPT, Loop, Work

EVERY = 0.3
"""Seconds between two calls that a model says."""
CALLS = 5
TURNS = 1000
SLOWER = {"asyncio": 1.0, "trio": 1.6}

NAMES = ["flow.turn", "flow.eager.slow-first", "flow.eager.chain"]

Eager = Literal["off", "read_only"]


class Streaming(Script):
    """The same script, call by call."""

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        """Say each call as soon as it is complete, then the reply."""
        reply = await self.complete(request)

        async def events() -> AsyncIterator[ModelEvent]:
            for position, call in enumerate(reply.calls):
                yield CallSpoken(call, position)
            yield reply

        yield events()


@tool(read_only=True)
async def add_0(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@tool(read_only=True)
async def work(seconds: float, given: Any = None) -> float:  # noqa: ARG001 - that it needs one before is all
    """Take some time."""
    await anyio.sleep(seconds)
    return seconds


async def streamed(count: int, eager: Eager) -> float:
    """Microseconds a streamed turn, with one call and an answer, all of its events read."""
    agent = Agent("agent", Streaming(Work("W1", count)), eager=eager)
    async with Runtime() as runtime:
        await runtime.serve(add_0)

        async def turn() -> None:
            chat = await runtime.converse(agent)
            async with chat.stream(PROMPT) as events:
                async for _ in events:
                    pass
            await chat.close()

        for _ in range(max(count // 10, 1)):
            await turn()
        started = time.perf_counter()
        for _ in range(count):
            await turn()
        return (time.perf_counter() - started) * 1e6 / count


def asked(every: float, *, chain: bool) -> list[tuple[str, dict[str, Any]]]:
    """What the model says: calls of which each needs the one before, or of which the first take longest."""
    if chain:
        return [("work", {"seconds": every, "given": {"$result": n} if n else None}) for n in range(CALLS)]
    return [("work", {"seconds": every * (CALLS - n)}) for n in range(CALLS)]


async def makespan(every: float, eager: Eager, chain: bool) -> float:  # noqa: FBT001 - see `side`
    """The time of a turn, in that of the ideal: all is over when the last call's own time is over."""
    said = asked(every, chain=chain)
    agent = Agent("agent", scripted([spoken(said, every=every), "done"]), references=True, eager=eager)
    async with Runtime() as runtime:
        await runtime.serve(work)
        await runtime.call("work", {"seconds": 0})
        chat = await runtime.converse(agent)
        started = time.perf_counter()
        async with chat.stream(PROMPT) as events:
            async for _ in events:
                pass
        taken = time.perf_counter() - started
    return taken / (every * (CALLS + 1))


def benches(loop: Loop, share: float) -> list[Bench]:
    """The lines of the table. `off` is Toolwire too: it waits until the model has said everything."""
    count, every = max(int(TURNS * share), 1), EVERY * share
    unit = f"x {every * (CALLS + 1) * 1e3:.0f} ms"
    off: Eager = "off"
    on: Eager = "read_only"
    return [
        Bench(
            "flow.turn",
            "µs/turn",
            {"off": side(loop, streamed, count, off), TOOLWIRE: side(loop, streamed, count, on)},
            Gate(250.0 * SLOWER[loop]),
        ),
        *(
            Bench(
                f"flow.eager.{name}",
                unit,
                {"off": side(loop, makespan, every, off, chain), TOOLWIRE: side(loop, makespan, every, on, chain)},
                Gate(round(1.02 + 0.005 / every, 3)),
            )
            for name, chain in (("slow-first", False), ("chain", True))
        ),
    ]
