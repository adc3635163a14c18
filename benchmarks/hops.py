"""One request to an actor and its answer, on each bus: what a hop costs without a turn around it."""

import asyncio
import time
from typing import Any, ClassVar

import msgspec
import nats
from msgspec import Struct
from nats.aio.msg import Msg

from toolwire.protocol.messages import CallChecked, CheckCall
from toolwire.runtime.actor import Actor
from toolwire.runtime.bus import Bus, MemoryBus, open_bus
from toolwire.runtime.context import Context
from toolwire.runtime.system import ActorSystem

from .broker import Broker
from .measure import TOOLWIRE, Bench, side
from .remote import PAYLOAD, Request, Timing, one_by_one, settled
from .work import ARGUMENTS, Loop

HOPS = 20_000
SUBJECT = "benchmarks.hop"
NAMESPACE = "benchmarks"


class Echo(Actor):
    """Answers at once."""

    hears: ClassVar[Any] = CheckCall
    limit: ClassVar[int | None] = None

    async def receive(self, message: CheckCall, context: Context) -> CallChecked:
        """Every call may run."""
        return CallChecked()


async def in_a_row(request: Request, count: int) -> float:
    """Microseconds a request, one after the other. For those too short to be timed one by one."""
    for _ in range(count // 10):
        await request()
    started = time.perf_counter()
    for _ in range(count):
        await request()
    return (time.perf_counter() - started) * 1e6 / count


async def memory_hop(count: int) -> float:
    """Ask an actor on the bus in memory."""
    return await hop(MemoryBus(), in_a_row, count)


async def nats_hop(url: str, count: int) -> float:
    """Ask an actor over NATS; both ends in this process."""
    return await hop(open_bus(url, namespace=NAMESPACE, local=lambda _: False), one_by_one, count)


async def hop(bus: Bus, timing: Timing, count: int) -> float:
    """`timing` of asking an actor on `bus`."""
    async with ActorSystem(bus, namespace=NAMESPACE) as system:
        address = system.address("validator", "echo")
        await system.spawn(Echo(), address)
        context, question = system.context(), CheckCall("add", ARGUMENTS)

        async def request() -> None:
            await context.ask(address, question)

        return await timing(request, count)


class Question(Struct, frozen=True, tag=True):
    """What the bare actor is asked."""

    tool: str
    arguments: str


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Question).decode


async def queue_hop(count: int) -> float:
    """Ask a bare actor: an `asyncio.Queue`, a Future, msgpack both ways."""
    queue: asyncio.Queue[tuple[bytes, asyncio.Future[bytes]]] = asyncio.Queue()

    async def act() -> None:
        while True:
            asked, reply = await queue.get()
            reply.set_result(encode(decode(asked)))

    actor = asyncio.create_task(act())
    loop = asyncio.get_running_loop()

    async def request() -> None:
        reply: asyncio.Future[bytes] = loop.create_future()
        queue.put_nowait((encode(Question("add", ARGUMENTS)), reply))
        decode(await reply)

    try:
        return await in_a_row(request, count)
    finally:
        actor.cancel()
        await asyncio.gather(actor, return_exceptions=True)


async def bare_nats_hop(url: str, count: int) -> float:
    """nats-py's own request; both ends in this process, each with its own connection, as two processes have."""
    client, server = await nats.connect(url), await nats.connect(url)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    async def request() -> None:
        await client.request(SUBJECT, PAYLOAD)

    try:
        await server.subscribe(SUBJECT, cb=answer)
        await settled(server)
        return await one_by_one(request, count)
    finally:
        await client.close()
        await server.close()


def memory_bench(loop: Loop, share: float) -> Bench:
    """The hop in memory."""
    count = int(HOPS * share)
    sides = {
        "queue": side("asyncio", queue_hop, count),
        TOOLWIRE: side(loop, memory_hop, count),
    }
    return Bench("hop.memory", "µs/request", sides)


def nats_bench(broker: Broker, loop: Loop, share: float) -> Bench:
    """The hop over NATS. Starts the server."""
    url, count = broker.url, max(int(HOPS * share / 20), 50)
    sides = {
        "nats-py": side("asyncio", bare_nats_hop, url, count),
        TOOLWIRE: side(loop, nats_hop, url, count),
    }
    return Bench("hop.nats", "µs/request", sides)
