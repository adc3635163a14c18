"""One turn, for a program that has no event loop."""

import anyio
from anyio.lowlevel import current_token

from ..protocol.events import Reply
from ..protocol.failures import Misuse, failed
from .agent import Agent
from .wiring import Runtime


def run(agent: Agent, text: str, *, backend: str = "asyncio") -> Reply:
    """One turn of `agent` in a runtime of its own, in memory: from a program that has no event loop.

    Raises Misuse where one runs.
    """
    if runs_here():
        said = "run() is for programs without an event loop: here, write `async with Runtime() as runtime`"
        raise Misuse(failed("invalid_call", said))

    async def turn() -> Reply:
        async with Runtime() as runtime:
            chat = await runtime.converse(agent)
            return await chat.say(text)

    return anyio.run(turn, backend=backend)


def runs_here() -> bool:
    """Whether this thread has an event loop that runs."""
    try:
        current_token()
    except RuntimeError:
        return False
    return True
