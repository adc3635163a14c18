"""Two runtimes on one bus: one serves a tool, the other calls it. The broker is a real nats-server of our own.

In two processes it is the same: `toolwire broker`, and `nats://127.0.0.1:4222` as the URL of both.
"""

import tempfile

import anyio

from toolwire import Runtime, tool


@tool(read_only=True)
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        url = f"nats+embedded://{directory}"
        async with Runtime(url) as worker, Runtime(url) as host:
            served = await worker.serve(weather)
            result = await host.call("weather", {"city": "Lisbon"})
            print(result.value, f"- by worker {result.worker}")
            await served.stop()
            result = await host.call("weather", {"city": "Lisbon"})
            print(result.failure)


anyio.run(main)
