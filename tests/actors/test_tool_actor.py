"""What a tool does, whatever it does, is one answer; and the next call works."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Runtime, ToolCall, ToolError, ToolResult, ToolwireError, tool
from toolwire.protocol.failures import failed

pytestmark = pytest.mark.anyio

MOOD: ContextVar[str] = ContextVar("MOOD", default="calm")


class Odd(BaseException):
    """Not even an Exception."""


RAISED: list[BaseException] = [
    ValueError("no city"),
    Odd("odd"),
    asyncio.CancelledError(),
    GeneratorExit(),
    StopIteration(),
    StopAsyncIteration(),
    RecursionError("deep"),
    MemoryError(),
    ExceptionGroup("both", [ValueError("a"), TypeError("b")]),
    BaseExceptionGroup("both", [asyncio.CancelledError(), Odd()]),
    ToolError("full", details={"n": object()}),
    ValueError("half a pair: \ud83d"),
    ToolwireError(failed("unreachable", "the tool's own word")),
]


@tool
async def raises(n: int) -> None:
    await checkpoint()
    raise RAISED[n]


@tool
def raises_in_thread(n: int) -> None:
    raise RAISED[n]


@tool
async def echo(text: str) -> str:
    return text


@asynccontextmanager
async def serving(*things: Any, **options: Any) -> AsyncIterator[Runtime]:
    async with Runtime(**options) as runtime:
        await runtime.serve(*things)
        yield runtime


@pytest.mark.parametrize("made", [raises, raises_in_thread], ids=["async", "thread"])
@pytest.mark.parametrize("n", range(len(RAISED)), ids=lambda n: f"{n}-{type(RAISED[n]).__name__}")
async def test_whatever_it_raises_is_its_answer(made: Any, n: int) -> None:
    async with serving(made, echo) as runtime:
        result = await runtime.call(made, {"n": n})
        assert result.failure is not None
        assert result.failure.code == ("unreachable" if isinstance(RAISED[n], ToolwireError) and n > 11 else "failed")
        assert (result.attempts, result.worker) == (1, runtime.system.bus.instance)
        again = await runtime.call(echo, {"text": "next"})
        assert again.value == "next"
        assert (await runtime.call(made, {"n": n})).failure is not None


async def test_the_type_and_message_are_told_and_no_traceback() -> None:
    async with serving(raises) as runtime:
        failure = (await runtime.call(raises, {"n": 0})).failure
    assert failure == failed("failed", "ValueError: no city", "maybe", type="ValueError")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])
async def test_what_ends_the_program_answers_the_call_and_ends_the_runtime(
    kind: type[BaseException], *, in_thread: bool
) -> None:
    answered: list[ToolResult[Any]] = []

    @tool(name="stop")
    async def stop() -> None:
        raise kind

    @tool(name="stop")
    def stop_in_thread() -> None:
        raise kind

    async def use() -> None:
        async with serving(stop_in_thread if in_thread else stop) as runtime:
            answered.append(await runtime.call("stop"))
            await anyio.sleep_forever()

    with pytest.raises(kind):
        await use()
    assert answered[0].failure is not None
    assert answered[0].failure.code == "failed"


@pytest.mark.parametrize("make", [object, lambda: {1, object()}, lambda: "\ud800", lambda: 1j], ids="abcd")
async def test_a_result_that_json_can_not_carry(make: Callable[[], Any]) -> None:
    @tool
    async def odd() -> Any:
        return make()

    async with serving(odd, echo) as runtime:
        failure = (await runtime.call(odd)).failure
        assert failure is not None
        assert (failure.code, failure.effect) == ("invalid_result", "done")
        assert (await runtime.call(echo, {"text": "x"})).ok


async def test_a_hundred_mebibytes() -> None:
    @tool
    async def huge() -> str:
        return "x" * (100 * 2**20)

    async with serving(huge, echo) as runtime:
        failure = (await runtime.call(huge)).failure
        assert failure is not None
        assert (failure.code, failure.effect, failure.details["limit"]) == ("too_large", "done", 256 * 1024)
        assert (await runtime.call(echo, {"text": "x"})).ok


async def test_arguments_are_copies() -> None:
    seen: list[dict[str, Any]] = []

    @tool
    async def spoils(items: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(items))
        items.clear()
        items["spoiled"] = True
        return items

    mine = {"items": {"a": [1, 2]}}
    async with serving(spoils) as runtime:
        call = ToolCall("1", "spoils", mine)
        results = await runtime.call_many([call, ToolCall("2", "spoils", mine)])
        assert [result.value for result in results] == [{"spoiled": True}] * 2
    assert mine == {"items": {"a": [1, 2]}}
    assert seen == [{"a": [1, 2]}] * 2


@pytest.mark.parametrize(
    "arguments",
    ["", "{", "[]", "null", '{"text": 5}', '{"text": "a", "more": 1}', "{}", '"\ud800"', "{" * 10**5],
    ids=len,
)
async def test_arguments_that_are_none_are_refused_and_nothing_runs(arguments: str) -> None:
    ran = []

    @tool
    async def careful(text: str) -> None:
        ran.append(text)

    async with serving(careful) as runtime:
        (result,) = await runtime.call_many([ToolCall("1", "careful", arguments)])
        assert result.failure is not None
        assert result.failure.code in {"invalid_arguments", "invalid_message"}
        assert result.failure.effect == "none"
    assert not ran


async def test_every_error_in_the_arguments_is_named() -> None:
    @tool
    async def picky(city: str, days: int) -> None: ...

    async with serving(picky) as runtime:
        failure = (await runtime.call(picky, {"city": 5, "days": "x"})).failure
        assert failure is not None
        assert [error["pointer"] for error in failure.details["errors"]] == ["/city", "/days"]


async def test_what_is_not_async_runs_in_a_thread() -> None:
    @tool
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    @tool
    async def here() -> bool:
        return threading.current_thread() is threading.main_thread()

    async with serving(where, here) as runtime:
        assert (await runtime.call(where)).value is False
        assert (await runtime.call(here)).value is True


async def test_only_so_many_threads_at_once() -> None:
    gate = threading.Event()
    running = 0
    most = 0
    lock = threading.Lock()

    @tool
    def blocks() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                gate.set()
        gate.wait(10)
        with lock:
            running -= 1

    async with serving(blocks, threads=3) as runtime:
        await runtime.call_many([ToolCall(str(n), "blocks", "{}") for n in range(9)])
    assert most == 3


async def test_a_thread_that_takes_too_long_is_left_alone() -> None:
    gate = threading.Event()

    @tool(timeout=0.05)
    def stuck() -> None:
        gate.wait(10)

    try:
        async with serving(stuck) as runtime:
            assert "abandoned" not in repr(runtime)
            for failure in [(await runtime.call(stuck)).failure, (await alone(runtime, "stuck")).failure]:
                assert failure is not None
                assert (failure.code, failure.effect, failure.details["thread"]) == ("timed_out", "maybe", "abandoned")
                assert failure.message.startswith("the call took longer than 0.05 s and was given up; its thread can't")
            assert [each.name for each in runtime.abandoned] == ["stuck", "stuck"]
            assert repr(runtime).endswith("| abandoned threads: 2]>")
    finally:
        gate.set()


async def alone(runtime: Runtime, name: str) -> ToolResult[Any]:
    """In a batch of two, which goes another way than a call by itself."""
    return (await runtime.call_many([ToolCall("1", name), ToolCall("2", "nowhere")]))[0]


async def test_a_plain_decorator_around_an_async_function_is_seen_through() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            return function(*arguments, **named)

        return wrapper

    @tool
    @logged
    async def wrapped(x: int) -> int:
        await checkpoint()
        return x + 1

    async with serving(wrapped) as runtime:
        assert (await runtime.call("wrapped", {"x": 1})).value == 2


async def test_context_variables_of_a_tool_stay_its_own() -> None:
    seen: list[str] = []

    @tool
    async def moody(mood: str) -> None:
        seen.append(MOOD.get())
        MOOD.set(mood)
        await checkpoint()

    @tool
    def moody_in_thread(mood: str) -> None:
        seen.append(MOOD.get())
        MOOD.set(mood)

    async with serving(moody, moody_in_thread) as runtime:
        calls = [ToolCall(str(n), ("moody", "moody_in_thread")[n % 2], {"mood": str(n)}) for n in range(6)]
        await runtime.call_many(calls)
        assert MOOD.get() == "calm"
    assert seen == ["calm"] * 6


async def test_at_most_so_many_calls_at_once() -> None:
    running = 0
    most = 0

    @tool(concurrency=2)
    async def narrow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await checkpoint()
        await checkpoint()
        running -= 1

    async with serving(narrow) as runtime:
        results = await runtime.call_many([ToolCall(str(n), "narrow", "{}") for n in range(10)])
        assert all(result.ok for result in results)
    assert most == 2


async def test_a_call_that_is_cancelled_reaches_the_tool() -> None:
    told: list[str] = []

    @tool
    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            told.append("cancelled")

    async with serving(forever) as runtime:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runtime.call, forever)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert told == ["cancelled"]


async def test_one_that_times_out_does_not_touch_its_siblings() -> None:
    @tool
    async def waits(seconds: float) -> float:
        await anyio.sleep(seconds)
        return seconds

    async with serving(waits) as runtime:
        calls = [ToolCall(str(n), "waits", {"seconds": 30 if n == 1 else 0}) for n in range(4)]
        results = await runtime.call_many(calls, timeout=0.1)
        assert [result.ok for result in results] == [True, False, True, True]
        assert results[1].failure is not None
        assert results[1].failure.code == "timed_out"
