"""Whatever is done with calls, cancelled at each point at which it can be: nothing is left of it, nothing stays taken.

After each cancellation no task is left (`interruptions` looks), nobody is inside a tool, the doors that let one in at a
time are open, each call has at most one effect, and the history of a conversation is valid.
"""

import importlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    Agent,
    Chat,
    Context,
    Runtime,
    ToolCall,
    ToolError,
    ToolMessage,
    UserMessage,
    scripted,
    spoken,
    tool,
)
from toolwire.protocol.observed import ENOUGH
from toolwire.protocol.tools import Retry
from toolwire.runtime.testing import Way, interruptions

pytestmark = pytest.mark.anyio


class House:
    """The tools, who is inside them, and what they have done."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.slow = False

    @asynccontextmanager
    async def within(self, name: str) -> AsyncIterator[None]:
        """Somebody is in a tool, over two suspensions."""
        self.inside[name] += 1
        try:
            await checkpoint()
            yield
            await checkpoint()
        finally:
            self.inside[name] -= 1

    def tools(self) -> list[Any]:
        """All of them."""
        return [*self.plain(), *self.asking(), Shelf(self)]

    def plain(self) -> list[Any]:
        """`narrow` lets one in at a time, and so does the method `put`."""
        house = self

        @tool(concurrency=1)
        async def narrow(n: int = 0) -> int:
            assert not house.inside["narrow"]
            async with house.within("narrow"):
                return n

        @tool
        async def search(query: str, context: Context) -> list[int]:
            async with house.within("search"):
                await context.progress(1, 2, query)
                return [1, 2, 3]

        @tool
        async def nested(context: Context) -> int:
            async with house.within("nested"):
                return int((await context.call("put", {"book": "nested"})).value)

        @tool(writes={"desk"})
        async def write(value: Any) -> int:
            async with house.within("write"):
                return len(str(value))

        return [narrow, search, nested, write]

    def asking(self) -> list[Any]:
        """Those for which more is done on the way."""
        house = self

        @tool(idempotent=True, retries=Retry(3, first=0.0, codes=("failed",)))
        async def flaky(context: Context) -> int:
            async with house.within("flaky"):
                if context.attempt < 3:
                    raise ToolError("not yet")
                return context.attempt

        @tool(read_only=True, share=True)
        async def shared() -> int:
            async with house.within("shared"):
                return 1

        @tool(read_only=True, cache=3600)
        async def cached(n: int) -> int:
            async with house.within("cached"):
                return n

        @tool(read_only=True, hedge=True)
        async def hedged(context: Context) -> int:
            async with house.within("hedged"):
                if house.slow and context.attempt == 1:
                    await anyio.sleep_forever()
                return context.attempt

        @tool(confirm=True)
        async def send(to: str) -> str:
            house.done[to] += 1
            async with house.within("send"):
                return to

        return [flaky, shared, cached, hedged, send]


class Shelf:
    def __init__(self, house: House) -> None:
        self._house = house

    async def put(self, book: str) -> int:
        assert not self._house.inside["put"]
        async with self._house.within("put"):
            return 1


class Room:
    """An open runtime with the tools of a house, and a conversation in it."""

    def __init__(self, runtime: Runtime, house: House, chat: Chat, eager: Chat) -> None:
        self.runtime = runtime
        self.house = house
        self.chat = chat
        self.eager = eager
        self.clerk = chat
        self.sent = 0

    async def call(self) -> None:
        """A call whose tool calls another."""
        assert (await self.runtime.call("nested")).value == 1

    async def batch(self) -> None:
        """Calls that need each other, keep behind each other, and wait at doors."""
        calls = [
            ToolCall("a", "search", {"query": "x"}),
            ToolCall("b", "write", {"value": {"$result": "a"}}),
            ToolCall("c", "put", {"book": "c"}),
            ToolCall("d", "narrow", {"n": {"$result": "b"}}),
            ToolCall("e", "put", {"book": "e"}, ("d",)),
            ToolCall("f", "narrow"),
            ToolCall("g", "write", {"value": [{"$result": "d"}, {"$result": 1, "path": "/0"}]}),
            ToolCall("h", "nested"),
        ]
        assert all(result.ok for result in await self.runtime.call_many(calls))

    async def retried(self) -> None:
        """A call that comes through at its third attempt, alone and in a batch."""
        assert (await self.runtime.call("flaky")).value == 3
        assert all(
            result.ok
            for result in await self.runtime.call_many([ToolCall("a", "flaky"), ToolCall("b", "put", {"book": "x"})])
        )

    async def shared(self) -> None:
        """Calls that run once together, of which one leaves earlier."""
        async with anyio.create_task_group() as callers:
            callers.start_soon(self.runtime.call, "shared")
            await checkpoint()
            results = await self.runtime.call_many([ToolCall("a", "shared"), ToolCall("b", "shared")])
            assert [result.value for result in results] == [1, 1]
            callers.cancel_scope.cancel()

    async def cached(self) -> None:
        """Calls that nobody has made, at the same time as one that somebody has."""
        self.sent += 1
        calls = [ToolCall("a", "cached", {"n": self.sent}), ToolCall("b", "cached", {"n": 0})]
        assert [result.value for result in await self.runtime.call_many(calls)] == [self.sent, 0]

    async def hedged(self) -> None:
        """A call that a second attempt overtakes."""
        entry = self.runtime.tools.entries["hedged"]
        for _ in range(ENOUGH):
            entry.observed.add(0.0)
        entry.hedges = 10.0
        self.house.slow = True
        try:
            assert (await self.runtime.call("hedged")).value == 2
        finally:
            self.house.slow = False

    async def confirmed(self) -> None:
        """A call that waits for a person, who says yes."""
        self.sent += 1
        result = await self.runtime.call("send", {"to": f"{self.sent}"})
        assert result.failure is not None
        await checkpoint()
        assert (await self.runtime.confirm(result.failure.details["token"])).ok

    async def paused(self) -> None:
        """A turn that is paused for a person, and goes on when it has been said yes."""
        self.sent += 1
        said = [("send", {"to": f"{self.sent}"}), ("put", {"book": "x"})]
        agent = Agent("clerk", scripted([said, SAID]), limits={"confirm_within": 0.0})
        self.clerk = await self.runtime.converse(agent)
        reply = await self.clerk.say("Pay")
        assert reply.ended == "paused"
        gone_on = await self.clerk.answer(reply.pending[0], "approve")
        assert gone_on is not None
        assert gone_on.text == SAID

    async def turn(self) -> None:
        """A turn of two rounds."""
        assert (await self.chat.say("Go")).text == SAID

    async def streamed(self) -> None:
        """The same, listened to."""
        async with self.chat.stream("Go") as events:
            async for _ in events:
                pass

    async def spoken(self) -> None:
        """The same, with calls that start while the model still speaks."""
        async with self.eager.stream("Go") as events:
            async for _ in events:
                pass

    async def in_order(self, valid: Any) -> None:
        """What has to hold after each cancellation."""
        with anyio.fail_after(10.0):
            assert +self.house.inside == Counter()
            assert all(times == 1 for times in self.house.done.values())
            assert valid(self.chat)
            assert valid(self.eager)
            assert valid(self.clerk)
            assert (await self.runtime.call("put", {"book": "after"})).ok
            assert (await self.runtime.call("narrow", {"n": 7})).value == 7
            assert (await self.runtime.call("shared")).value == 1


ROUNDS: list[Any] = [
    [("search", {"query": "a"}), ("write", {"value": {"$result": 1}}), ("put", {"book": "x"}), ("narrow", {"n": 1})],
    [("flaky",), ("nested",), ("put", {"book": "y"})],
]
SAID = "All is done."


def answer(request: Any) -> Any:
    """The round that is due in this turn."""
    messages = list(request.messages)
    since = max(place for place, message in enumerate(messages) if isinstance(message, UserMessage))
    results = sum(isinstance(message, ToolMessage) for message in messages[since:])
    return {0: ROUNDS[0], 4: ROUNDS[1], 7: SAID}[results]


def slowly(request: Any) -> Any:
    """The same, call by call."""
    return spoken(answer(request))


WORK: dict[str, tuple[Callable[[Room], Coroutine[Any, Any, None]], int]] = {
    "call": (Room.call, 3),
    "batch": (Room.batch, 6),
    "retried": (Room.retried, 6),
    "shared": (Room.shared, 2),
    "cached": (Room.cached, 2),
    "hedged": (Room.hedged, 4),
    "confirmed": (Room.confirmed, 2),
    "paused": (Room.paused, 3),
    "turn": (Room.turn, 6),
    "streamed": (Room.streamed, 6),
    "spoken": (Room.spoken, 6),
}
"""What is done, and a number of points that it has at least: else the search for them would be none."""


@pytest.mark.parametrize("way", ["suspension", "turn", "task"])
@pytest.mark.parametrize("work", list(WORK))
async def test_cancelled_at_every_point(memory: Any, valid: Any, anyio_backend: str, work: str, way: Way) -> None:
    if way == "task" and anyio_backend != "asyncio":
        pytest.skip("asyncio's own cancellation")
    house, (done, least) = House(), WORK[work]
    agent = Agent("agent", scripted([answer] * 10_000), references=True)
    async with memory.open(*house.tools()) as runtime:
        eager = await runtime.converse(model=scripted([slowly] * 10_000), references=True, eager="all")
        room = Room(runtime, house, await runtime.converse(agent), eager)
        points = await interruptions(lambda: done(room), lambda: room.in_order(valid), way)
        assert points >= (least if way != "suspension" else 1)


async def test_a_tool_in_a_process_cancelled_at_every_suspension(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time its process is killed, and the next call has another."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # worker processes import the module by its name
    isolated = importlib.import_module("isolated_tools")
    async with memory.open(isolated.pid, isolated.soon, processes=1) as runtime:

        async def work() -> None:
            assert (await runtime.call("soon", {"seconds": 0.0})).value == "soon"

        async def ended() -> None:
            assert (await runtime.call("pid")).ok

        assert await interruptions(work, ended, "suspension") >= 1
