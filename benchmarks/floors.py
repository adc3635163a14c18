"""What no tool runtime can beat: the same work by hand, without a runtime. Both floors are asyncio.

`bare` is a loop with `asyncio.gather`: JSON to Struct, call, JSON. `actors` is Toolwire's own architecture with
nothing in it: Conversation, Selector, Validator, Executor and Tool as five `asyncio.Queue` actors, a msgpack-encoded
and -decoded tagged Struct at every hop, arguments decoded and checked twice, one task for each call and a Future
for each reply. Neither traces, bounds, times out, cancels, retries or supervises anything.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from .work import ARGUMENTS, PROMPT, Work, timed

Message = dict[str, Any]


class Arguments(Struct, frozen=True, gc=False):
    """What the tool takes."""

    a: int
    b: int


Function = Callable[[int, int], Awaitable[int]]


async def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


async def add_later(a: int, b: int) -> int:
    """The sum, after one suspension."""
    await asyncio.sleep(0)
    return a + b


def tools(work: Work) -> dict[str, tuple[Function, type[Arguments]]]:
    """The registry."""
    return {f"add_{n}": (add_later if work.suspends else add, Arguments) for n in range(work.tools)}


def complete(work: Work, history: list[Message]) -> Message:
    """The scripted model: calls until the work's rounds are done, then the last result as text."""
    if len(history) > work.rounds * (work.calls + 1):
        return {"role": "assistant", "content": history[-1]["content"]}
    calls = [{"id": f"{len(history)}.{n}", "name": work.called, "arguments": ARGUMENTS} for n in range(work.calls)]
    return {"role": "assistant", "calls": calls}


async def bare(work: Work) -> float:
    """Microseconds per unit of the loop with `asyncio.gather`."""
    registry = tools(work)
    decode, encode, convert = msgspec.json.decode, msgspec.json.encode, msgspec.convert

    async def call(asked: Message) -> Message:
        function, wanted = registry[asked["name"]]
        arguments = convert(decode(asked["arguments"]), wanted)
        value = await function(arguments.a, arguments.b)
        return {"role": "tool", "id": asked["id"], "content": encode(value).decode()}

    async def turn() -> str:
        history: list[Message] = [{"role": "user", "content": PROMPT}]
        while True:
            reply = complete(work, history)
            history.append(reply)
            if "calls" not in reply:
                text: str = reply["content"]
                return text
            history += await asyncio.gather(*map(call, reply["calls"]))

    return await timed(turn, work, "asyncio")


class Hop(Struct, frozen=True, tag=True):
    """What every hop carries: the number of the reply that is waited for, and the call."""

    number: int
    id: str
    name: str
    arguments: dict[str, Any]


class Ask(Hop, frozen=True, tag=True):
    """The turn to Conversation."""


class Select(Hop, frozen=True, tag=True):
    """Conversation to Selector."""


class Check(Hop, frozen=True, tag=True):
    """Selector to Validator."""


class Execute(Hop, frozen=True, tag=True):
    """Validator to Executor."""


class Run(Hop, frozen=True, tag=True):
    """Executor to Tool."""


class Result(Struct, frozen=True, tag=True):
    """Tool back to the turn."""

    number: int
    id: str
    content: str


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Ask | Select | Check | Execute | Run | Result).decode


class Pipeline:
    """The five queues and the futures of those who wait."""

    def __init__(self, work: Work) -> None:
        self.registry = tools(work)
        self.replies: dict[int, asyncio.Future[bytes]] = {}
        self.running: dict[int, asyncio.Task[None]] = {}
        self.asked = 0
        self.queues: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in range(5)]
        steps: list[Callable[[Any], Awaitable[None]]] = [self.converse, self.select, self.check, self.execute, self.run]
        self.actors = [asyncio.create_task(self.act(*each)) for each in zip(self.queues, steps, strict=True)]

    async def act(self, queue: asyncio.Queue[bytes], receive: Callable[[Any], Awaitable[None]]) -> None:
        """One actor: take a message, receive it."""
        while True:
            await receive(decode(await queue.get()))

    def ask(self, asked: Message) -> "asyncio.Future[bytes]":
        """Send a call on its way; the future gets its Result."""
        self.asked = number = self.asked + 1
        reply = self.replies[number] = asyncio.get_running_loop().create_future()
        arguments = msgspec.json.decode(asked["arguments"])
        self.queues[0].put_nowait(encode(Ask(number, asked["id"], asked["name"], arguments)))
        return reply

    async def converse(self, hop: Ask) -> None:
        """Conversation."""
        self.queues[1].put_nowait(encode(Select(hop.number, hop.id, hop.name, hop.arguments)))

    async def select(self, hop: Select) -> None:
        """Selector: the tool must be there."""
        if hop.name in self.registry:
            self.queues[2].put_nowait(encode(Check(hop.number, hop.id, hop.name, hop.arguments)))

    async def check(self, hop: Check) -> None:
        """Validator: the arguments, for the first time."""
        msgspec.convert(hop.arguments, self.registry[hop.name][1])
        self.queues[3].put_nowait(encode(Execute(hop.number, hop.id, hop.name, hop.arguments)))

    async def execute(self, hop: Execute) -> None:
        """Executor."""
        self.queues[4].put_nowait(encode(Run(hop.number, hop.id, hop.name, hop.arguments)))

    async def run(self, hop: Run) -> None:
        """Tool: a task for the call."""
        self.running[hop.number] = asyncio.create_task(self.call(hop))

    async def call(self, hop: Run) -> None:
        """The function itself, its arguments decoded for the second time; answers the future."""
        function, wanted = self.registry[hop.name]
        arguments = msgspec.convert(hop.arguments, wanted)
        value = await function(arguments.a, arguments.b)
        content = msgspec.json.encode(value).decode()
        del self.running[hop.number]
        self.replies.pop(hop.number).set_result(encode(Result(hop.number, hop.id, content)))


async def actors(work: Work) -> float:
    """Microseconds per unit of the five queue actors."""
    pipeline = Pipeline(work)

    async def turn() -> str:
        history: list[Message] = [{"role": "user", "content": PROMPT}]
        while True:
            reply = complete(work, history)
            history.append(reply)
            if "calls" not in reply:
                text: str = reply["content"]
                return text
            for answered in [pipeline.ask(asked) for asked in reply["calls"]]:
                result = decode(await answered)
                history.append({"role": "tool", "id": result.id, "content": result.content})

    try:
        return await timed(turn, work, "asyncio")
    finally:
        for actor in pipeline.actors:
            actor.cancel()
        await asyncio.gather(*pipeline.actors, return_exceptions=True)
