"""A turn that is followed while it runs, whose one call starts while the model still speaks: W1s, beside W1."""

from typing import Any

from toolwire import ModelRequest, Runtime, TurnFinished, scripted, spoken, tool
from toolwire.actors.models.scripted import Line, Speaking
from toolwire.protocol.offer import Eager

from . import floors
from .measure import TOOLWIRE, Bench, Gate, side
from .turns import FUNCTIONS, ours
from .work import ARGUMENTS, PROMPT, Loop, Work, timed

WORK = Work("W1s", 2000)
NAMES = [WORK.name]

LIMITS: dict[Loop, float] = {"asyncio": 8.3, "trio": 13.3}
"""250 µs and 400 µs where the floor of five actors takes 30."""


def answer(request: ModelRequest) -> Line | Speaking:
    """The call, after which the model goes on speaking for one turn of the loop; then the result as text."""
    last: Any = request.messages[-1]
    return spoken(("add_0", ARGUMENTS)) if len(request.messages) == 1 else last.content


async def streamed(work: Work, loop: Loop, eager: Eager) -> float:
    """Microseconds for a streamed turn, each in a fresh conversation."""
    model = scripted([answer] * (4 * work.turns))
    async with Runtime("memory://") as runtime:
        await runtime.serve(tool(name="add_0", read_only=True)(FUNCTIONS[loop, work.suspends]))

        async def turn() -> str:
            chat = await runtime.converse(model=model, eager=eager)
            async with chat.stream(PROMPT) as events:
                async for event in events:
                    if isinstance(event, TurnFinished):
                        return event.reply.text
            raise AssertionError("a turn ends")

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
