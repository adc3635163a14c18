"""A turn of two rounds in a conversation of 10,000 messages, beside one of 10: it must cost the same in both."""

import statistics
import time
from itertools import count
from typing import Any

from toolwire import Chat, ModelReply, ModelRequest, Runtime, ToolCall, ToolMessage

from .measure import TOOLWIRE, Bench, Gate, side
from .turns import registered
from .work import ARGUMENTS, PROMPT, Loop, Work

WORK = Work("history", 2000)
NAMES = [WORK.name]
SHORT, LONG = 10, 10_000
ROUNDS = 2
MOST = 1.1
"""How much more the long one may take."""

TURNS = 5
"""After so many turns a conversation that should stay short is a new one. Each adds four messages."""


class Caller:
    """A model that calls the tool once in each turn. It looks at the last message only."""

    def __init__(self) -> None:
        self._numbers = count(1)

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The call, or the result of it as text."""
        last: Any = request.messages[-1]
        if isinstance(last, ToolMessage):
            return ModelReply(last.content)
        return ModelReply(calls=(ToolCall(f"{next(self._numbers)}", "add_0", ARGUMENTS),), finish="calls")


async def grown(chat: Chat, length: int) -> Chat:
    """`chat` with about so many messages."""
    while len(chat.history()) < length - 2:
        await chat.say(PROMPT)
    return chat


async def rounds(length: int, turns: int, loop: Loop) -> float:
    """Microseconds for a round, the median of so many turns: one by one, so that growing does not count."""
    async with Runtime("memory://") as runtime:
        await runtime.serve(*registered(1, loop, suspends=False))
        model, times = Caller(), []
        chat: Chat | None = None
        for number in range(turns):
            if chat is None or (length == SHORT and number % TURNS == 0):
                chat = await grown(await runtime.converse(model=model), length)
            started = time.perf_counter()
            await chat.say(PROMPT)
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6 / ROUNDS


def benches(loop: Loop, share: float) -> list[Bench]:
    """One line: the long one, held against the short one."""
    turns = WORK.reduced(share).turns
    sides = {
        f"at {SHORT}": side(loop, rounds, SHORT, turns, loop),
        TOOLWIRE: side(loop, rounds, LONG, turns, loop),
    }
    return [Bench(WORK.name, "µs/round", sides, Gate(MOST, f"at {SHORT}"))]
