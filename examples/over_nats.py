"""Two processes on one bus, as on two machines: one serves a tool, the other calls it, also once the first is dead."""

import sys
import tempfile

import anyio

from toolwire import Runtime, tool


@tool(read_only=True)
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


async def worker(url: str) -> None:
    async with Runtime(url) as runtime:
        await runtime.serve(weather)
        print("ready", flush=True)
        await runtime.run()  # until SIGTERM


async def host(url: str) -> None:
    async with Runtime(url) as runtime, await anyio.open_process([sys.executable, __file__, url]) as process:
        if process.stdout is not None:
            await process.stdout.receive()  # that it is ready
        result = await runtime.call("weather", {"city": "Lisbon"})
        print(result.value, f"- by worker {result.worker}, and this is {runtime.system.bus.instance}")
        process.kill()
        print((await runtime.call("weather", {"city": "Lisbon"})).failure)


if sys.argv[1:]:
    anyio.run(worker, sys.argv[1])
else:  # a broker of our own; else it is `toolwire broker`, and nats://host:4222 for both
    with tempfile.TemporaryDirectory() as directory:
        anyio.run(host, f"nats+embedded://{directory}")
