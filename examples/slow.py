"""A tool that takes its time: kill its worker, and see what becomes of the call.

- `toolwire broker`
- `toolwire worker examples.slow:TOOLS --nats nats://127.0.0.1:4222`, twice
- `toolwire call slow '{"seconds": 30}' --nats nats://127.0.0.1:4222`
"""

import anyio

from toolwire import Runtime, tool


@tool(timeout=3600)
async def slow(seconds: float) -> str:
    """Take `seconds`, as work does that must not be done twice: a call whose worker is lost ends as worker_lost."""
    await anyio.sleep(seconds)
    return f"done after {seconds:g} s"


@tool(timeout=3600, read_only=True)
async def slow_look(seconds: float) -> str:
    """Take `seconds`, and change nothing: a call whose worker is lost is answered by another worker."""
    await anyio.sleep(seconds)
    return f"looked for {seconds:g} s"


TOOLS = [slow, slow_look]


async def main() -> None:
    async with Runtime() as runtime:
        await runtime.serve(*TOOLS)
        print((await runtime.call(slow, {"seconds": 0.01})).value)


if __name__ == "__main__":
    anyio.run(main)
