"""A turn that is followed while it runs, whose one call starts while the model still speaks: W1s, beside W1."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Self

from anyio.lowlevel import checkpoint

from toolwire import ModelRequest, Runtime, TextDelta, TurnFinished, tool
from toolwire.actors.models.contract import ModelEvent
from toolwire.protocol.events import CallSpoken
from toolwire.protocol.offer import Eager

from . import floors
from .measure import TOOLWIRE, Bench, Gate, side
from .turns import FUNCTIONS, Script, ours
from .work import PROMPT, Loop, Work, timed

WORK = Work("W1s", 2000)
NAMES = [WORK.name]

LIMITS: dict[Loop, float] = {"asyncio": 8.3, "trio": 13.3}
"""250 µs and 400 µs where the floor of five actors takes 30."""


class Speaker(Script):
    """The model of W1, which speaks its calls, and then goes on speaking for one turn of the loop."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager["Speech"]:
        """Its answer, piece by piece."""
        return Speech(self, request)


class Speech:
    """One answer. As in W1 it takes next to nothing: one of `scripted` takes 30 µs a turn."""

    def __init__(self, model: Speaker, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._calls = False
        self._events: Iterator[ModelEvent]

    async def __aenter__(self) -> Self:
        reply = await self._model.complete(self._request)
        self._calls = bool(reply.calls)
        said = [CallSpoken(call, n) for n, call in enumerate(reply.calls)] if self._calls else [TextDelta(reply.text)]
        self._events = iter([*said, reply])
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        if self._calls:  # before the call, and after it
            await checkpoint()
        for event in self._events:
            return event
        raise StopAsyncIteration


async def streamed(work: Work, loop: Loop, eager: Eager) -> float:
    """Microseconds for a streamed turn, each in a fresh conversation."""
    model = Speaker(work)
    async with Runtime("memory://") as runtime:
        await runtime.serve(tool(name="add_0", read_only=True)(FUNCTIONS[loop, work.suspends]))

        async def turn() -> str:
            chat, text = await runtime.converse(model=model, eager=eager), ""
            async with chat.stream(PROMPT) as events:
                async for event in events:
                    if isinstance(event, TurnFinished):
                        text = event.reply.text
            await chat.close()  # as in W1
            return text

        return await timed(turn, work, loop)


def benches(loop: Loop, share: float) -> list[Bench]:
    """One line, held against the actors of W1; beside it W1 itself, and the same stream without eager start."""
    work = WORK.reduced(share)
    sides = {
        "actors": side("asyncio", floors.actors, work),
        "W1": ours(work, loop),
        "eager=off": side(loop, streamed, work, loop, "off"),
        TOOLWIRE: side(loop, streamed, work, loop, "read_only"),
    }
    return [Bench(WORK.name, "µs/turn", sides, Gate(LIMITS[loop], "actors"))]
