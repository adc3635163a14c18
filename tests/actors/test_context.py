"""What a tool may know of its call, and do on its behalf."""

import logging
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import CallProgress, Context, Runtime, ToolCall, scripted, tool

pytestmark = pytest.mark.anyio


@tool(timeout=20.0)
async def about(context: Context) -> dict[str, Any]:
    return {
        "id": context.call_id,
        "tool": context.tool,
        "attempt": context.attempt,
        "conversation": context.conversation,
        "caller": context.caller,
        "left": context.remaining(),
        "key": context.idempotency_key,
    }


@tool
async def passes_on(name: str, arguments: dict[str, Any], context: Context) -> Any:
    result = await context.call(name, arguments)
    return result.content if result.ok else str(result.failure)


@tool
async def forever() -> None:
    await anyio.sleep_forever()


async def test_what_it_knows() -> None:
    async with Runtime() as runtime:
        await runtime.serve(about)
        chat = await runtime.converse(model=scripted([("about",), "done"]), id="c", caller={"user": 1})
        told = (await chat.say("hi")).calls[0].value
        assert told.pop("key").startswith("c.1/")
        assert 0 < told.pop("left") <= 20
        assert told == {"id": "call_1", "tool": "about", "attempt": 1, "conversation": "c", "caller": {"user": 1}}


async def test_a_tool_may_have_a_context_that_is_optional() -> None:
    @tool
    async def maybe(context: Context | None = None) -> bool:
        return context is not None

    async with Runtime() as runtime:
        await runtime.serve(maybe)
        assert (await runtime.call(maybe)).value is True


async def test_a_key_is_that_of_the_call_even_if_a_model_uses_an_id_again() -> None:
    call = ToolCall("call_0", "about")
    async with Runtime() as runtime:
        await runtime.serve(about)
        chat = await runtime.converse(model=scripted([call, call, "done"]))
        first, second = (await chat.say("hi")).calls
        assert first.value["key"] != second.value["key"]


async def test_it_calls_another_tool() -> None:
    async with Runtime() as runtime:
        await runtime.serve(about, passes_on)
        result = await runtime.call(passes_on, {"name": "about", "arguments": {}})
        assert '"id":"call_1.1"' in result.value
        result = await runtime.call(passes_on, {"name": "nowhere", "arguments": {}})
        assert result.value.startswith("unknown_tool")
        result = await runtime.call(passes_on, {"name": "about", "arguments": {"x": 1}})
        assert result.value.startswith("invalid_arguments")


async def test_arguments_that_are_no_json_are_its_result_too() -> None:
    @tool
    async def careless(context: Context) -> str:
        return str((await context.call("about", {"x": object()})).failure)

    async with Runtime() as runtime:
        await runtime.serve(careless, about)
        assert (await runtime.call(careless)).value.startswith("invalid_arguments")


def test_what_it_calls_has_no_more_time_than_itself() -> None:
    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(passes_on, forever)
            began = trio.current_time()
            result = await runtime.call(passes_on, {"name": "forever", "arguments": {}}, timeout=5.0)
            assert trio.current_time() - began == pytest.approx(5.0)
            assert result.failure is not None or "timed_out" in result.value

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_tool_that_calls_itself_for_ever_is_stopped() -> None:
    @tool
    async def again(context: Context) -> str:
        result = await context.call("again")
        return result.failure.code if result.failure else str(result.value)

    async with Runtime() as runtime:
        await runtime.serve(again)
        with anyio.fail_after(10):
            result = await runtime.call(again)
        assert result.value == "limit_reached"


async def test_a_method_that_calls_its_own_object_would_wait_for_itself() -> None:
    class Box:
        async def outer(self, context: Context) -> str:
            return str((await context.call("inner")).failure)

        async def inner(self) -> None: ...

    async with Runtime() as runtime:
        await runtime.serve(Box())
        with anyio.fail_after(5):
            assert (await runtime.call("outer")).value.startswith("conflict")


async def test_progress_is_told_to_who_follows_and_to_nobody_else() -> None:
    @tool
    async def works(context: Context) -> str:
        await context.progress(1)
        await context.progress(2, 3, "nearly")
        return "done"

    async with Runtime() as runtime:
        await runtime.serve(works)
        assert (await runtime.call(works)).ok
        chat = await runtime.converse(model=scripted([("works",), "done"]))
        async with chat.stream("go") as events:
            told = [event async for event in events if isinstance(event, CallProgress)]
        assert [(event.done, event.total, event.note) for event in told] == [(1, 0, ""), (2, 3, "nearly")]


async def test_a_log_carries_the_call(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    async def talks(context: Context) -> None:
        context.log.warning("careful")

    async with Runtime() as runtime:
        await runtime.serve(talks)
        with caplog.at_level(logging.WARNING, "toolwire.tools"):
            await runtime.call(talks)
    (record,) = caplog.records
    assert (record.message, record.__dict__["tool"]) == ("careful", "talks")
    assert record.__dict__["call_id"].startswith("call_")
