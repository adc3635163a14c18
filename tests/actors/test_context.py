"""What a tool may know of its call, and do on its behalf."""

import logging
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from trio.testing import MockClock

from toolwire import Agent, CallProgress, Context, Runtime, ToolCall, scripted, tool

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


@pytest.mark.parametrize("around", [0, 3], ids=["bare", "middlewares"])
async def test_a_tool_that_calls_itself_for_ever_is_stopped(around: int) -> None:
    depth = 0

    @tool
    async def again(context: Context) -> str:
        nonlocal depth
        depth += 1
        result = await context.call("again")
        return str(result.failure) if result.failure else str(result.value)

    async def passing(call: ToolCall, context: Context, following: Any) -> Any:
        return await following(call)

    async with Runtime() as runtime:
        await runtime.serve(again)
        runtime.use(*[passing] * around)
        with anyio.fail_after(10):
            for _ in range(2):
                told = (await runtime.call_many([ToolCall("start", "again")]))[0].value
                assert told.startswith("limit_reached: 'again' was not called")
                assert "began with the call 'start'" in told
        assert depth <= 64


@pytest.mark.parametrize("traced", [False, True], ids=["", "traced"])
async def test_no_chain_comes_to_the_end_of_the_stack(*, traced: bool) -> None:
    deepest = 0

    @tool(read_only=True, retries=2, cache=10.0, share=True, hedge=True)
    async def again(n: int, context: Context) -> str:
        nonlocal deepest
        deepest = max(deepest, n)
        result = await context.call("again", {"n": n + 1})
        return str(result.failure) if result.failure else str(result.value)

    async def passing(call: ToolCall, context: Context, following: Any) -> Any:
        return await following(call)

    async with Runtime(tracer_provider=TracerProvider() if traced else None) as runtime:
        await runtime.serve(again)
        runtime.use(*[passing] * 20)
        results = await runtime.call_many([ToolCall(start, "again", {"n": n}) for start, n in (("a", 1), ("b", 100))])
        told = [result.value for result in results]
    assert [said.startswith("limit_reached") for said in told] == [True, True]
    assert "began with the call 'a'" in told[0]
    assert deepest == 131


async def test_a_thread_calls_another_tool() -> None:
    @tool
    def outer(context: Context) -> float:
        result = anyio.from_thread.run(partial(context.call, "inner", timeout=5.0))
        return float(result.value)

    @tool
    async def inner(context: Context) -> float:
        return context.remaining() or 0.0

    async with Runtime() as runtime:
        await runtime.serve(outer, inner)
        assert 0 < (await runtime.call(outer)).value <= 5


async def test_threads_that_wait_for_each_other_are_never_all_of_them() -> None:
    @tool
    def again(context: Context) -> str:
        result = anyio.from_thread.run(context.call, "again")
        return str(result.failure) if result.failure else str(result.value)

    async with Runtime(threads=2) as runtime:
        await runtime.serve(again)
        with anyio.fail_after(5):
            for _ in range(2):
                assert (await runtime.call(again)).value.startswith("conflict: 'again' needs a thread")


async def test_what_it_has_called_ends_with_it() -> None:
    ended: list[str] = []

    @tool
    async def outer(context: Context) -> None:
        await context.call("inner")

    @tool(timeout=100.0)
    async def inner() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("inner")

    async with Runtime() as runtime:
        await runtime.serve(outer, inner)
        failure = (await runtime.call(outer, timeout=0.05)).failure
        assert failure is not None
        assert (failure.code, ended) == ("timed_out", ["inner"])


async def test_an_id_with_a_dot_is_told_whole() -> None:
    @tool
    async def again(context: Context) -> str:
        result = await context.call("again")
        return str(result.failure) if result.failure else str(result.value)

    async with Runtime() as runtime:
        await runtime.serve(again)
        told = (await runtime.call_many([ToolCall("toolu.x", "again")]))[0].value
        assert "began with the call 'toolu.x'" in told


async def test_agents_that_ask_each_other_for_ever_are_stopped() -> None:
    asked: list[str] = []

    def answer(request: Any) -> Any:
        told = [message for message in request.messages if type(message).__name__ == "ToolMessage"]
        asked.extend(message.content for message in told)
        return "done" if told else ("loop", {"message": "more"})

    async with Runtime() as runtime:
        loop = Agent("loop", scripted([answer] * 40), tools=["loop"])
        await runtime.serve(loop)
        with anyio.fail_after(20):
            assert (await runtime.call("loop", {"message": "go"})).ok
    assert "'loop' was not asked: agents nest at most 5 deep" in asked[0]


@pytest.mark.parametrize("places", [1, 2, 5])
async def test_a_tool_that_calls_itself_does_not_wait_for_itself(places: int) -> None:
    began = 0

    @tool(concurrency=places)
    async def again(context: Context) -> str:
        nonlocal began
        began += 1
        result = await context.call("again")
        return str(result.failure) if result.failure else str(result.value)

    async with Runtime() as runtime:
        await runtime.serve(again)
        with anyio.fail_after(5):
            assert (await runtime.call(again)).value.startswith("conflict")
    assert began == places


def test_a_nested_call_may_have_a_shorter_time_but_no_longer_one() -> None:
    seen: list[float] = []

    @tool
    async def outer(seconds: float, context: Context) -> str:
        began = trio.current_time()
        failure = (await context.call("inner", timeout=seconds)).failure
        seen.append(trio.current_time() - began)
        return "" if failure is None else failure.code

    @tool(timeout=100.0)
    async def inner(context: Context) -> None:
        seen.append(context.remaining() or 0.0)
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(trio.current_time())

    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(outer, inner)
            assert (await runtime.call(outer, {"seconds": 2.0}, timeout=10.0)).value == "timed_out"
            assert seen.pop() == pytest.approx(2.0)
            assert seen.pop(0) == pytest.approx(2.0)
            seen.clear()
            began = trio.current_time()
            result = await runtime.call(outer, {"seconds": 50.0}, timeout=10.0)
            assert result.failure is not None or result.value == "timed_out"
            assert seen[0] <= 10.0
            assert seen[1] - began == pytest.approx(10.0)  # it ended with its caller

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_function_in_a_thread_can_ask_how_much_time_is_left_and_tell_how_far_it_is() -> None:
    @tool(timeout=20.0)
    def works(context: Context) -> float:
        context.report_progress(1, 2, "half")
        context.report_progress(2, 2)
        return context.remaining() or 0.0

    async with Runtime() as runtime:
        await runtime.serve(works)
        assert 0 < (await runtime.call(works)).value <= 20
        chat = await runtime.converse(model=scripted([("works",), "done"]))
        async with chat.stream("go") as events:
            told = [event async for event in events if isinstance(event, CallProgress)]
        assert [(event.done, event.note) for event in told] == [(1, "half"), (2, "")]


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
