"""A turn of three rounds, cancelled at every point at which it can be.

The points are found by running the turn again and again and cancelling it one suspension, one turn of the loop, or
one event later each time, until it comes through. Whatever happened: the history is valid, no task is left, and the
next turn is answered.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    Agent,
    Chat,
    Context,
    ModelRequest,
    Runtime,
    ToolError,
    ToolMessage,
    TurnFinished,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.models.scripted import Scripted
from toolwire.runtime.testing import at_suspension, at_turn, running

pytestmark = pytest.mark.anyio

MOST = 400
"""Points that no turn here has: beyond it the search for them does not end."""


@tool
async def search(query: str, context: Context) -> list[int]:
    await checkpoint()
    await context.progress(1, 2, query)
    await checkpoint()
    return [1, 2, 3]


@tool(writes={"list"})
async def store(values: list[int], context: Context) -> int:
    inner = await context.call("add", {"a": len(values), "b": 0})
    await checkpoint()
    return int(inner.value)


@tool
async def add(a: int, b: int) -> int:
    return a + b


@tool
async def broken() -> None:
    await checkpoint()
    raise ToolError("out of order")


class Shelf:
    def __init__(self) -> None:
        self.books: list[str] = []

    async def put(self, book: str) -> int:
        await checkpoint()
        self.books.append(book)
        return len(self.books)


ROUNDS: list[Any] = [
    [("search", {"query": "a"}), ("store", {"values": {"$result": 1}}), ("search", {"query": "b"}), ("broken",)],
    [("put", {"book": "x"}), ("add", {"a": 1, "b": 1}), ("put", {"book": "y"}), ("store", {"values": []})],
    ("helper", {"message": "help"}),
    "All is done, in four words or more.",
]


def speaking() -> Scripted:
    """A model that says ROUNDS in each turn, from whichever point it is asked."""

    async def answer(request: ModelRequest) -> Any:
        await checkpoint()
        messages = list(request.messages)
        since = max(place for place, message in enumerate(messages) if isinstance(message, UserMessage))
        rounds = sum(
            isinstance(message, ToolMessage) and not isinstance(messages[place - 1], ToolMessage)
            for place, message in enumerate(messages)
            if place > since
        )
        return ROUNDS[rounds]

    return scripted([answer] * 10_000)


@asynccontextmanager
async def speaker(bus: Any, *more: Any) -> AsyncIterator[tuple[Runtime, Agent, Scripted]]:
    model = speaking()
    agent = Agent("speaker", model, "Be brief.", references=True)
    helper = Agent("helper", scripted([("add", {"a": 1, "b": 1}), "helped"] * 5_000), tools=["add"])
    async with bus.open(search, store, add, broken, Shelf(), helper, *more) as runtime:
        yield runtime, agent, model


Interrupted = Callable[[Chat, int], Awaitable[bool]]
"""Says something, and is cancelled at the point of that number; whether there was such a point."""


async def settled(before: set[int]) -> bool:
    """Whether the tasks that are new have ended, or end within a few turns of the loop."""
    for _ in range(50):
        if running() <= before:
            return True
        await checkpoint()
    return False


async def at_every_point(bus: Any, valid: Any, interrupted: Interrupted, *, named: bool = True) -> int:
    """Cancel a turn at its first point, its second, … How many there were. With `named` every other one has a name."""
    exact = not bus.remote  # over NATS some workers of its pool stay, for the next request
    async with speaker(bus) as (runtime, agent, model):
        for point in range(1, MOST):
            chat = await runtime.converse(agent, id=f"c{point}" if named and point % 2 else None)
            before = running()
            reached = await interrupted(chat, point)
            assert valid(chat), point
            assert not exact or await settled(before), point
            reply = await chat.say("Once more")
            assert (reply.ended, reply.text, len(reply.calls)) == ("answered", ROUNDS[-1], 9), point
            assert [result.name for result in reply.calls if not result.ok] == ["broken"]
            assert valid(chat, model), point
            await chat.close()
            if not reached:
                return point - 1
    raise AssertionError("the turn never comes through")


async def at_a_suspension(chat: Chat, point: int) -> bool:
    return await at_suspension(lambda: chat.say("Go"), point)


async def at_a_turn_of_the_loop(chat: Chat, point: int) -> bool:
    return await at_turn(lambda: chat.say("Go"), point)


async def by_leaving_at_an_event(chat: Chat, point: int) -> bool:
    events = 0
    async with chat.stream("Go") as stream:
        async for event in stream:
            events += 1
            if events == point:
                return not isinstance(event, TurnFinished)
    return False


async def by_a_cancellation_at_an_event(chat: Chat, point: int) -> bool:
    events = 0
    with anyio.CancelScope() as scope:
        async with chat.stream("Go") as stream:
            async for event in stream:
                events += 1
                if events == point and not isinstance(event, TurnFinished):
                    scope.cancel()
    return scope.cancel_called


async def by_both_at_once(chat: Chat, point: int) -> bool:
    """Cancelled from outside in the very moment in which the stream is left."""
    events = 0
    with anyio.CancelScope() as scope:
        async with chat.stream("Go") as stream:
            async for event in stream:
                events += 1
                if events == point and not isinstance(event, TurnFinished):
                    scope.cancel()
                    break
    return scope.cancel_called


async def test_at_every_suspension(bus: Any, valid: Any) -> None:
    # Whoever asks a named conversation over NATS suspends once: in the turn itself another task does.
    assert await at_every_point(bus, valid, at_a_suspension, named=not bus.remote) >= 7


async def test_at_every_turn_of_the_loop(memory: Any, valid: Any) -> None:
    assert await at_every_point(memory, valid, at_a_turn_of_the_loop) > 10


@pytest.mark.parametrize("way", [by_leaving_at_an_event, by_a_cancellation_at_an_event, by_both_at_once])
async def test_at_every_event(bus: Any, valid: Any, way: Interrupted) -> None:
    assert await at_every_point(bus, valid, way) > 20


@pytest.mark.parametrize("followed", [False, True], ids=["said", "followed"])
async def test_the_history_is_valid_while_calls_are_on_their_way(bus: Any, valid: Any, *, followed: bool) -> None:
    """Whoever has left, and was not told in time that the turn has ended, may look at it as well."""
    begun, looked = anyio.Event(), 0

    @tool(read_only=True)
    async def look() -> str:
        nonlocal looked
        assert valid(chat)
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            assert valid(chat)
            looked += 1
        return ""

    async def go() -> None:
        if followed:
            async with chat.stream("Go") as events:
                async for _ in events:
                    pass
        else:
            await chat.say("Go")

    model = scripted([[("look",), ("look",)], "fine"])
    async with bus.open(look) as runtime:
        chat = await runtime.converse(model=model, id="looked-at")
        async with bus.left_at(begun):
            await go()
        assert valid(chat)
        assert (await chat.say("Again")).text == "fine"
        assert looked == 2
        assert valid(chat, model)


@pytest.mark.parametrize("place", ["model", "tool", "thread", "object"])
async def test_from_inside(bus: Any, valid: Any, place: str) -> None:
    """Whoever is asked cancels the one who asks, before it goes on itself."""
    scopes: list[anyio.CancelScope] = []

    def cancel() -> None:
        if scopes:
            scopes.pop().cancel()

    @tool
    async def inside() -> str:
        cancel()
        await checkpoint()
        return "went on"

    @tool
    def in_a_thread() -> str:
        anyio.from_thread.run_sync(cancel)
        return "went on"

    class Thing:
        async def method(self) -> str:
            cancel()
            await checkpoint()
            return "went on"

    def answer(request: ModelRequest) -> Any:
        if place == "model":
            cancel()
        if isinstance(request.messages[-1], ToolMessage):
            return "fine"
        return [("inside",) if place == "model" else (NAMES[place],), ("inside",)]

    model = scripted([answer] * 6)
    async with bus.open(inside, in_a_thread, Thing()) as runtime:
        chat = await runtime.converse(model=model)
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await chat.say("Go")
        assert scope.cancel_called
        assert valid(chat)
        reply = await chat.say("Again")
        assert (reply.text, [result.ok for result in reply.calls]) == ("fine", [True, True])
        assert valid(chat, model)


NAMES = {"tool": "inside", "thread": "in_a_thread", "object": "method"}
