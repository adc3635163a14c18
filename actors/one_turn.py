"""One turn, for a program that has no event loop."""

import anyio

from ..protocol.events import Reply
from .agent import Agent
from .wiring import Runtime


def run(agent: Agent, text: str, *, backend: str = "asyncio") -> Reply:
    """One turn of `agent` in a runtime of its own, in memory: from a program that has no event loop."""

    async def turn() -> Reply:
        async with Runtime() as runtime:
            chat = await runtime.converse(agent)
            return await chat.say(text)

    return anyio.run(turn, backend=backend)
