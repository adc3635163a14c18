"""The first piece of text of an answer: from where the model's stream yields it to where the application sees it."""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint

from toolwire import ModelReply, ModelRequest, Runtime, TextDelta

from .measure import TOOLWIRE, Bench, Gate, side
from .work import ANSWER, PROMPT, Loop, Work

WORK = Work("delta", 2000)
NAMES = ["delta", "delta.p99"]
BUDGET = 100.0
"""Microseconds, of the median."""

SHARES = {"delta": 0.5, "delta.p99": 0.99}
"""Which of the times, in their order, each figure is."""


async def quiet() -> None:
    """Say nothing until whoever has something to do waits: for an event, most often."""
    for _ in range(4):
        await checkpoint()


class Speaker:
    """A model that says one word, and notes when; before it and after it, it waits as if for its provider."""

    def __init__(self) -> None:
        self.said = 0.0

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer in one piece."""
        return ModelReply(ANSWER)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[TextDelta | ModelReply]]:
        """The word, and the reply."""
        yield self._events()

    async def _events(self) -> AsyncIterator[TextDelta | ModelReply]:
        await quiet()
        self.said = time.perf_counter()
        yield TextDelta(ANSWER)
        await quiet()
        yield ModelReply(ANSWER)


async def streamed(turns: int, share: float) -> float:
    """Microseconds to the first event of a streamed turn: the time at that share of all."""
    speaker = Speaker()
    async with Runtime("memory://") as runtime:

        async def turn() -> float:
            chat = await runtime.converse(model=speaker)
            async with chat.stream(PROMPT) as events:
                heard = 0.0
                async for _ in events:
                    heard = heard or time.perf_counter() - speaker.said
            return heard

        return await at(share, turn, turns)


async def queued(turns: int, share: float) -> float:
    """The same for what nobody can do without: one task wakes another."""
    said = 0.0

    async def speak(news: anyio.Event) -> None:
        nonlocal said
        await quiet()
        said = time.perf_counter()
        news.set()
        await quiet()

    async def turn() -> float:
        news, heard = anyio.Event(), []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speak, news)
            await news.wait()
            heard.append(time.perf_counter() - said)
        return heard[0]

    return await at(share, turn, turns)


async def at(share: float, turn: Callable[[], Awaitable[float]], turns: int) -> float:
    """Of so many turns, after a tenth more that do not count: the time at `share`, in microseconds."""
    for _ in range(turns // 10):
        await turn()
    times = [await turn() for _ in range(turns)]
    return statistics.quantiles(times, n=100, method="inclusive")[round(share * 100) - 1] * 1e6


def benches(loop: Loop, share: float) -> list[Bench]:
    """The median, which has a budget, and the slowest hundredth, which tells how even it is."""
    turns = WORK.reduced(share).turns
    return [
        Bench(
            name,
            "µs",
            {"event": side(loop, queued, turns, which), TOOLWIRE: side(loop, streamed, turns, which)},
            Gate(BUDGET) if name == "delta" else None,
        )
        for name, which in SHARES.items()
    ]
