"""Calls that use each other's results: asked for at once, each starts as soon as what it needs is there."""

import anyio

from toolwire import Runtime, ToolCall, tool


@tool(read_only=True)
async def search_flights(to: str) -> list[dict[str, str]]:
    """Flights to a city, the cheapest first."""
    await anyio.sleep(0.05)
    return [{"id": f"{to[:3].upper()}-1"}, {"id": f"{to[:3].upper()}-2"}]


@tool
async def hold_seat(flight: str) -> str:
    """Hold a seat."""
    await anyio.sleep(0.02)
    return f"a seat on {flight}"


async def main() -> None:
    calls = [
        ToolCall("flights", "search_flights", {"to": "Lisbon"}),
        ToolCall("seat", "hold_seat", {"flight": {"$result": "flights", "path": "/0/id"}}),
        ToolCall("other", "hold_seat", {"flight": {"$result": "flights", "path": "/7/id"}}),
    ]
    async with Runtime() as runtime:
        await runtime.serve(search_flights, hold_seat)
        for result in await runtime.call_many(calls):
            print(f"{result.id}: {result.value if result.ok else result.failure}")


anyio.run(main)
