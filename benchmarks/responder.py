"""The far end of a remote call, in a process of its own: `python -m benchmarks.responder bare|toolwire URL LOOP`.

Says `ready` on standard output when it serves; SIGTERM ends it.
"""

import asyncio
import sys

import anyio
import nats
from nats.aio.msg import Msg

from toolwire import Runtime, tool

from .remote import SUBJECT, settled
from .turns import add


async def bare(url: str) -> None:
    """Answer by nats-py alone: the same bytes back."""
    client = await nats.connect(url)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await client.subscribe(SUBJECT, cb=answer)
    await settled(client)
    print("ready")
    await asyncio.Event().wait()


async def toolwire(url: str) -> None:
    """A worker with one `read_only` tool."""
    async with Runtime(url) as runtime:
        await runtime.serve(tool(name="add", read_only=True)(add))
        print("ready")
        await runtime.run()


if __name__ == "__main__":
    _, kind, where, backend = sys.argv
    anyio.run({"bare": bare, "toolwire": toolwire}[kind], where, backend=backend)
