"""A runtime for one test: what is left at its end is named. And what tests ask of a conversation."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from toolwire import (
    Agent,
    AssistantMessage,
    Misuse,
    Runtime,
    ToolCall,
    ToolMessage,
    UserMessage,
    scripted,
    testing,
    tool,
)
from toolwire.protocol.history import HistoryMessage

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    return a + b


async def left(made: AbstractAsyncContextManager[Runtime], runtime: Runtime) -> str:
    """What is said at the end."""
    with pytest.raises(AssertionError) as caught:
        await made.__aexit__(None, None, None)
    assert not runtime.system.open
    return str(caught.value)


async def test_nothing_is_said_where_nothing_is_left() -> None:
    async with testing.runtime(add, call_seconds=5.0) as runtime:
        assert (await runtime.call(add, {"a": 1, "b": 2})).value == 3
        chat = await runtime.converse(model=scripted([("add", {"a": 1, "b": 2}), "3"]))
        assert (await chat.say("1 + 2?")).text == "3"
        async with chat.stream("and?"):
            pass


async def test_a_task_that_a_tool_left_is_named() -> None:
    stop = anyio.Event()

    async def background() -> None:
        await stop.wait()

    async with anyio.create_task_group() as elsewhere:

        @tool
        async def leak() -> None:
            elsewhere.start_soon(background)

        made = testing.runtime(leak)
        runtime = await made.__aenter__()
        await runtime.call(leak)
        said = await left(made, runtime)
        assert "a task that was begun in the test still runs" in said
        assert "background" in said
        stop.set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_so_is_one_of_asyncio() -> None:
    made: list[asyncio.Task[Any]] = []

    async def background() -> None:
        await asyncio.sleep(1_000)

    @tool
    async def leak() -> None:
        made.append(asyncio.create_task(background()))

    opened = testing.runtime(leak)
    runtime = await opened.__aenter__()
    await runtime.call(leak)
    assert "background" in await left(opened, runtime)
    made[0].cancel()


async def test_a_function_that_still_runs_in_a_thread_is_named() -> None:
    go, begun = threading.Event(), threading.Event()

    @tool(timeout=0.05)
    def stuck() -> None:
        begun.set()
        go.wait()

    made = testing.runtime(stuck)
    runtime = await made.__aenter__()
    await runtime.call(stuck)
    assert "'stuck' still runs in a thread, since " in await left(made, runtime)
    go.set()


async def test_a_history_that_no_provider_takes_is_named() -> None:
    made = testing.runtime(add)
    runtime = await made.__aenter__()
    chat = await runtime.converse(model=scripted(["hi"]), id="named")
    await chat.say("hi")
    chat._conversation.history.append(AssistantMessage(calls=(ToolCall("a", "add"),)))
    assert await left(made, runtime) == (
        "a conversation of 3 messages is not valid: at the end the calls ['a'] have no result"
    )


async def test_agents_that_are_asked_as_tools_are_looked_at_too() -> None:
    inner = Agent("inner", scripted(["42"]))
    made = testing.runtime(inner)
    runtime = await made.__aenter__()
    chat = await runtime.converse(model=scripted([("inner", {"message": "?"}), "42"]))
    await chat.say("?")
    kept = runtime._conversations.kept
    assert kept is not None
    kept[-1].history.pop(0)
    assert "message 0 is the first that is said, and not the user's" in await left(made, runtime)


async def test_what_the_test_raises_goes_on_with_a_note() -> None:
    async def test() -> None:
        async with testing.runtime() as runtime:
            chat = await runtime.converse(model=scripted(["hi"]))
            chat._conversation.history.append(AssistantMessage("hi"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await test()
    assert caught.value.__notes__ == [
        "a conversation of 1 messages is not valid: message 0 is the first that is said, and not the user's"
    ]


async def test_what_can_not_be_served_is_said() -> None:
    with pytest.raises(Misuse, match="plain data"):
        await testing.runtime("no tool").__aenter__()


async def test_a_turn_that_is_paused_or_cut_off_leaves_nothing_either() -> None:
    @tool(confirm=True)
    async def pay(amount: int) -> None:
        pass

    async with testing.runtime(pay) as runtime:
        chat = await runtime.converse(model=scripted([("pay", {"amount": 1})]))
        assert (await chat.say("pay")).ended == "paused"
        testing.assert_valid(chat)


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with testing.runtime(add) as runtime:
        yield runtime


async def test_it_makes_a_fixture(runtime: Runtime) -> None:
    chat = await runtime.converse(model=scripted([[("add", {"a": 1, "b": 2}), ("add", '{"a":')], "3"]))
    await chat.say("1 + 2?")
    assert testing.calls_of(chat) == [("add", {"a": 1, "b": 2}), ("add", '{"a":')]
    testing.assert_valid(chat)


@pytest.mark.parametrize("told", ["x", 5, ["x"], None, {"a": 1}])
def test_what_is_no_history_is_refused(told: Any) -> None:
    for look in (testing.assert_valid, testing.calls_of):
        with pytest.raises(Misuse, match="what is looked at is a Chat, its history or a list of its messages, not"):
            look(told)
    if not isinstance(told, list | dict) and told != "x":
        with pytest.raises(Misuse, match="a script is a list of steps"):
            scripted(told)


def test_the_calls_of_a_history_as_they_are_written_in_a_script() -> None:
    asked = AssistantMessage(calls=(ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", "{}")))
    told: list[HistoryMessage] = [UserMessage("?"), asked, ToolMessage("a", "f", "1"), ToolMessage("b", "g", "2")]
    assert testing.calls_of(told) == [("f", {"x": 1}), ("g", {})]
    testing.assert_valid(told)
    with pytest.raises(AssertionError, match=r"at the end the calls \['b'\] have no result"):
        testing.assert_valid(told[:-1])
