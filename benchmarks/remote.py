"""A remote call of a `read_only` tool against a bare nats-py request, each answered by a process of its own.

Toolwire's worker runs on the same event loop as its caller; nats-py is asyncio's in both cases.
"""

import statistics
import time
from collections.abc import Awaitable, Callable

import anyio
import nats
from nats.aio.client import Client

from toolwire import Runtime

from .broker import Broker
from .measure import TOOLWIRE, Bench, Gate, side
from .work import Loop

SUBJECT = "benchmarks.bare"
PAYLOAD = b"x" * 128
ARGUMENTS = {"a": 1, "b": 2}
IN_FLIGHT = 64
REQUESTS = 1000
PATIENCE = 10.0
"""Seconds until the worker's tool must have been heard of."""

GATES = {
    "asyncio": (Gate(1.2, "nats-py"), Gate(0.6, "nats-py", "≥")),
    "trio": (Gate(2.0, "nats-py"), Gate(0.45, "nats-py", "≥")),
}

Request = Callable[[], Awaitable[object]]
Timing = Callable[[Request, int], Awaitable[float]]


async def one_by_one(request: Request, count: int) -> float:
    """The median of `count` requests, in microseconds."""
    for _ in range(count // 10):
        await request()
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        await request()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


async def in_flight(request: Request, count: int) -> float:
    """Microseconds a request while 64 are always on their way."""

    async def some(number: int) -> None:
        for _ in range(number):
            await request()

    async def all_of(number: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.start_soon(some, number)

    await all_of(1)
    each = max(count // IN_FLIGHT, 1)
    started = time.perf_counter()
    await all_of(each)
    return (time.perf_counter() - started) * 1e6 / (each * IN_FLIGHT)


async def settled(client: Client) -> None:
    """Return once the server has handled what `client` sent. One `flush` writes its PING before what is pending."""
    await client.flush()
    await client.flush()


async def bare(url: str, timing: Timing, count: int) -> float:
    """`timing` of nats-py's own request."""
    client = await nats.connect(url)

    async def request() -> None:
        await client.request(SUBJECT, PAYLOAD, timeout=PATIENCE)

    try:
        return await timing(request, count)
    finally:
        await client.close()


async def call(url: str, timing: Timing, count: int) -> float:
    """`timing` of a whole call, all in."""
    async with Runtime(url, local=False) as runtime:
        with anyio.fail_after(PATIENCE):
            while "add" not in runtime.tools:  # noqa: ASYNC110 - nothing tells of a tool's arrival
                await anyio.sleep(0.01)

        async def request() -> None:
            result = await runtime.call("add", ARGUMENTS)
            if result.value != 3:  # noqa: PLR2004 - one and two
                raise RuntimeError(f"the worker answered {result.content}")

        return await timing(request, count)


def benches(broker: Broker, loop: Loop, share: float) -> list[Bench]:
    """The median one by one, and the rate with 64 in flight. Starts the server and both responders."""
    url = broker.url
    broker.responder("bare", "asyncio")
    broker.responder("toolwire", loop)

    def both(name: str, unit: str, timing: Timing, count: int, gate: Gate, *, rate: bool) -> Bench:
        sides = {
            "nats-py": side("asyncio", bare, url, timing, count),
            TOOLWIRE: side(loop, call, url, timing, count),
        }
        return Bench(name, unit, sides, gate, rate=rate)

    latency, rate = GATES[loop]
    count = max(int(REQUESTS * share), IN_FLIGHT)
    return [
        both("remote.latency", "µs/call", one_by_one, count, latency, rate=False),
        both("remote.rate", "calls/s", in_flight, count * 5, rate, rate=True),
    ]
