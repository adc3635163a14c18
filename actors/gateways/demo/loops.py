"""The two loops that the turn is compared with: the same calls on the same tools and workers, as loops run them.

- One after the other: the replies of the script as they are; the calls of each run one at a time, in order.
- Plain gather: the calls of a reply start at once and all end before the model is asked again. Whoever runs calls
  that way can't start one whose input is another's result; so a model has to ask for it in a reply of its own, after
  that result is in. Each reply is split so, and each part costs one more of the model's replies.

Both wait for the model and for a person as long as the turn did, and neither does anything else: no history, no
validation of its own. Neither starts a call before the model has said the last one of its reply.
"""

import time
from collections.abc import Sequence
from typing import Any

import anyio
from msgspec import Struct

from ....protocol.references import find, resolve, substitute
from ....protocol.tools import ToolCall, ToolResult
from ...wiring import Runtime

Results = dict[int, ToolResult[Any]]
"""What has ended of a response, by position from 1."""


class Pace(Struct, frozen=True):
    """Seconds that others take: the model until it begins a reply, and for each call of it; a person to say yes."""

    reply: float = 0.0
    call: float = 0.0
    person: float = 0.0

    def said(self, calls: int) -> float:
        """How long a reply with so many calls takes."""
        return self.reply + calls * self.call


class Measured(Struct, frozen=True):
    """How long a loop took, in seconds, and how often it asked the model."""

    seconds: float
    replies: int


async def one_after_the_other(runtime: Runtime, rounds: Sequence[Sequence[ToolCall]], pace: Pace) -> Measured:
    """Run the calls of each response one at a time."""
    began = time.monotonic()
    for calls in rounds:
        await anyio.sleep(pace.said(len(calls)))
        results: Results = {}
        for position, call in enumerate(calls, 1):
            await run(runtime, position, call, results, pace)
    await anyio.sleep(pace.reply)
    return Measured(time.monotonic() - began, len(rounds) + 1)


async def plain_gather(runtime: Runtime, rounds: Sequence[Sequence[ToolCall]], pace: Pace) -> Measured:
    """Run the calls of each response at once, those that need a result in a response of their own."""
    began = time.monotonic()
    replies = 1
    for calls in rounds:
        results: Results = {}
        for wave in waves(calls):
            await anyio.sleep(pace.said(len(wave)))
            replies += 1
            async with anyio.create_task_group() as tasks:  # what asyncio.gather does, on any event loop
                for position in wave:
                    tasks.start_soon(run, runtime, position, calls[position - 1], results, pace)
    await anyio.sleep(pace.reply)
    return Measured(time.monotonic() - began, replies)


def waves(calls: Sequence[ToolCall]) -> list[list[int]]:
    """The positions of calls, those first that need nothing, then those that need only them, and so on."""
    depths: dict[int, int] = {}
    for position, call in enumerate(calls, 1):
        needed = [int(reference.result) for reference in find(call.arguments)]
        depths[position] = 1 + max((depths[other] for other in needed), default=-1)
    return [[p for p in depths if depths[p] == depth] for depth in sorted(set(depths.values()))]


async def run(runtime: Runtime, position: int, call: ToolCall, results: Results, pace: Pace) -> None:
    """One call, its references resolved from results that are in; a person who is asked says yes."""
    arguments: Any = substitute(call.arguments, lambda ref: resolve(results[int(ref.result)].value, ref.path))
    result = await runtime.call(call.name, arguments)
    failure = result.failure
    if failure is not None and failure.code == "confirmation_required":
        await anyio.sleep(pace.person)
        result = await runtime.confirm(failure.details["token"])
    results[position] = result
