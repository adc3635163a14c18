"""What stands around calls: order, changes, refusals, answers of its own, and what goes wrong in it."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from toolwire import CallFailed, Context, Failure, Misuse, Retry, Runtime, ToolCall, ToolResult, scripted, tool
from toolwire.actors.middleware import Next

pytestmark = pytest.mark.anyio


@tool
async def double(n: int) -> int:
    """Twice n."""
    return 2 * n


@tool(timeout=0.05)
async def sleeper() -> str:
    """Never ends by itself."""
    await anyio.sleep_forever()
    return "never"


async def test_the_first_stands_outermost_and_both_see_call_and_result() -> None:
    seen: list[str] = []

    def named(name: str) -> Any:
        async def middleware(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
            seen.append(f"{name} {call.name} {call.text()}")
            result = await following(call)
            seen.append(f"{name} {result.content}")
            return result

        return middleware

    async with Runtime() as runtime:
        await runtime.serve(double)
        runtime.use(named("outer"), named("inner"))
        assert (await runtime.call(double, {"n": 2})).value == 4
    assert seen == ['outer double {"n":2}', 'inner double {"n":2}', "inner 4", "outer 4"]


async def test_it_may_change_the_call_and_the_result_keeps_its_name() -> None:
    async def more(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        return await following(ToolCall("other", call.name, {"n": 21}))

    async with Runtime() as runtime:
        await runtime.serve(double)
        runtime.use(more)
        result = await runtime.call_many([ToolCall("mine", "double", {"n": 1}), ToolCall("too", "double", {"n": 1})])
        assert [(each.id, each.value) for each in result] == [("mine", 42), ("too", 42)]


async def test_it_may_answer_or_refuse_without_the_tool() -> None:
    async def guard(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        if (context.caller or {}).get("user") != "admin":
            raise CallFailed(Failure("not_allowed", "only an admin may"))
        return ToolResult(call.id, call.name, '"cached"')

    async with Runtime() as runtime:
        await runtime.serve(double)
        runtime.use(guard)
        refused = await runtime.call(double, {"n": 1})
        assert refused.failure is not None
        assert (refused.failure.code, refused.attempts) == ("not_allowed", 0)
        chat = await runtime.converse(model=scripted([("double", {"n": 1}), "done"]), caller={"user": "admin"})
        assert (await chat.say("go")).calls[0].value == "cached"


@pytest.mark.parametrize("wrong", ["raises", "returns"])
async def test_one_that_goes_wrong_fails_the_call_and_no_other(wrong: str) -> None:
    async def broken(call: ToolCall, context: Context, following: Any) -> Any:
        if call.id != "bad":
            return await following(call)
        if wrong == "raises":
            raise ValueError("a secret")
        return "no result"

    async with Runtime() as runtime:
        await runtime.serve(double)
        runtime.use(broken)
        bad, good = await runtime.call_many([ToolCall("bad", "double", {"n": 1}), ToolCall("b", "double", {"n": 1})])
        assert bad.failure is not None
        assert bad.failure.code == "internal"
        assert "secret" not in bad.failure.message
        assert good.value == 2


async def test_a_handler_by_code_decides_also_about_time() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double, sleeper)
        runtime.on_error("timed_out", lambda _, context: f"late: {context.tool}")
        runtime.on_error("invalid_arguments", lambda failure, _: replace(failure, message="just a number"))
        assert (await runtime.call(sleeper)).content == '"late: sleeper"'
        late, fine, wrong = await runtime.call_many(
            [ToolCall("a", "sleeper"), ToolCall("b", "double", {"n": 1}), ToolCall("c", "double", {"n": "x"})]
        )
        assert (late.value, fine.value) == ("late: sleeper", 2)
        assert wrong.failure is not None
        assert wrong.failure.message == "just a number"


async def test_a_handler_that_fails_is_a_fault_of_its_own() -> None:
    def broken(failure: Failure, context: Context) -> None:
        raise ValueError("a secret")

    async with Runtime() as runtime:
        await runtime.serve(double)
        runtime.on_error("invalid_arguments", broken)
        result = await runtime.call(double, {"n": "x"})
        assert result.failure is not None
        assert result.failure.code == "internal"
        assert (await runtime.call(double, {"n": 1})).value == 2


async def test_what_is_no_key_is_refused() -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="no failure code 'tiemd_out'"):
            runtime.on_error("tiemd_out", lambda *_: None)
        with pytest.raises(Misuse, match="neither"):
            runtime.on_error(7, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("handler", [lambda error: error, lambda: None, "sorry", lambda a, b, c: (a, b, c)])
async def test_a_handler_that_could_not_be_called_is_refused_where_it_is_given(handler: Any) -> None:
    with pytest.raises(Misuse, match="a handler is a function of the error and the call's context"):
        tool(on_error={ValueError: handler})(int_of)
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="a handler is a function of the error"):
            runtime.on_error("failed", handler)


async def test_handlers_of_a_tool_are_a_dict() -> None:
    with pytest.raises(Misuse, match="on_error is a dict of handlers by exception type or failure code, not <function"):
        tool(on_error=int_of)(int_of)  # type: ignore[call-overload]  # the mistake


def int_of(text: str) -> int:
    return int(text)


async def test_a_handler_by_exception_type_decides_where_the_tool_runs() -> None:
    class Busy(ConnectionError):
        pass

    @tool
    async def careful(kind: str) -> str:
        """Raise what is asked for."""
        raise {"busy": Busy("later"), "value": ValueError("bad"), "key": KeyError("k")}[kind]

    async def patient(error: Busy, context: Context) -> str:
        return f"{context.tool} will do it later: {error}"

    async with Runtime() as runtime:
        await runtime.serve(careful)
        runtime.on_error(ConnectionError, patient)
        runtime.on_error(LookupError, lambda error, _: Failure("not_allowed", f"no {error}"))
        assert (await runtime.call(careful, {"kind": "busy"})).value == "careful will do it later: later"
        refused = await runtime.call(careful, {"kind": "key"})
        assert refused.failure is not None
        assert refused.failure.code == "not_allowed"
        plain = await runtime.call(careful, {"kind": "value"})
        assert plain.failure is not None
        assert (plain.failure.code, plain.failure.retryable) == ("failed", False)


async def test_a_tool_has_handlers_of_its_own_which_come_first() -> None:
    @tool(on_error={ValueError: lambda *_: "mended", "failed": lambda *_: "by code"})
    async def own(kind: str) -> str:
        """Raise what is asked for."""
        raise ValueError(kind) if kind == "value" else OSError(kind)

    async with Runtime() as runtime:
        await runtime.serve(own)
        runtime.on_error(ValueError, lambda *_: "by all")
        assert (await runtime.call(own, {"kind": "value"})).value == "mended"
        assert (await runtime.call(own, {"kind": "os"})).value == "by code"


async def test_a_connection_that_fails_may_be_tried_again() -> None:
    @tool
    async def dial() -> None:
        """Dial."""
        raise ConnectionResetError("the line is dead")

    async with Runtime() as runtime:
        await runtime.serve(dial)
        result = await runtime.call(dial)
        assert result.failure is not None
        assert result.failure.retryable


async def test_a_call_that_is_let_on_several_times_is_one_call() -> None:
    seen: list[tuple[str, int]] = []

    @tool(idempotent=True)
    async def book(room: str, context: Context) -> str:
        seen.append((context.idempotency_key, context.attempt))
        return room

    async def often(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        seen.append((context.idempotency_key, context.attempt))
        await following(call)
        await following(replace(call, arguments={"room": "13"}))
        return await following(call)

    async with Runtime() as runtime:
        await runtime.serve(book)
        runtime.use(often)
        first = await runtime.call(book, {"room": "12"})
        second = await runtime.call(book, {"room": "12"})
    assert (first.attempts, second.attempts) == (3, 3)
    assert [attempt for _, attempt in seen] == [1, 1, 2, 3] * 2
    keys = [key for key, _ in seen]
    assert keys[0] == keys[1] == keys[3] != keys[2]  # a key is refused for other arguments than it was first seen with
    assert keys[4] == keys[5] == keys[7] != keys[6]
    assert len(set(keys)) == 4


async def test_attempts_are_counted_where_calls_that_ran_out_of_time_take_long_to_leave() -> None:
    @tool(idempotent=True, timeout=0.03, retries=Retry(1, codes=("failed",)))
    async def stuck(n: int, context: Context) -> int:
        if context.attempt <= n:
            raise OSError("not yet")
        await anyio.sleep_forever()
        return n

    async def tidy(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        try:
            return await following(call)
        finally:
            left.append(call.id)
            if len(left) == 2:
                both.set()
            with anyio.CancelScope(shield=True):
                await both.wait()

    left: list[str] = []
    both = anyio.Event()
    async with Runtime() as runtime:
        runtime._means.steps.retries.draw = lambda: 0.0
        await runtime.serve(stuck)
        runtime.use(tidy)
        results = await runtime.call_many([ToolCall("a", "stuck", {"n": 1}), ToolCall("b", "stuck", {"n": 0})])
    assert [result.failure and result.failure.code for result in results] == ["timed_out", "timed_out"]
    assert [result.attempts for result in results] == [2, 1]
