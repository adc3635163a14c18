"""The events of a turn over HTTP, for a browser's EventSource: `uvicorn examples.streaming:app`. Who leaves ends it."""

from typing import Any

import anyio
import msgspec

from toolwire import Runtime, TurnFinished, scripted, tool


@tool
async def report(seconds: float) -> None:
    try:
        await anyio.sleep(seconds)
    finally:
        print("nobody works on the report any more", flush=True)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["type"] == "lifespan":  # one runtime for as long as the server runs
        async with Runtime() as scope["state"]["runtime"]:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    model = scripted([["I ask.", ("report", {"seconds": float(scope["query_string"] or 0.1)})], "Done."])
    chat = await scope["state"]["runtime"].converse(model=model, tools=[report])

    async def leave() -> None:
        await receive()  # "http.disconnect": the client has gone, or has had it all
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks, chat.stream("How are we?") as events:
        tasks.start_soon(leave)
        async for event in events:
            body = b"data: %b\n\n" % msgspec.json.encode(event)
            await send({"type": "http.response.body", "body": body, "more_body": not isinstance(event, TurnFinished)})
