"""Arguments through a whole runtime: what is mended is told, every switch switches, and no secret is seen."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from toolwire import (
    Agent,
    CallStarted,
    Misuse,
    Runtime,
    Secret,
    ToolCall,
    ToolError,
    ToolResult,
    ToolSpec,
    scripted,
    tool,
)

pytestmark = pytest.mark.anyio

CANARY = "correct-horse-battery"


@tool
async def add(a: int, b: int = 1) -> int:
    return a + b


@tool(lenient=False)
async def strict(a: int) -> int:
    return a


@tool(lenient=True)
async def mild(a: int) -> int:
    return a


async def asked(name: str, arguments: str, *things: Any, **options: Any) -> ToolResult[Any]:
    async with Runtime(**options) as runtime:
        await runtime.serve(*things)
        (result,) = await runtime.call_many([ToolCall("1", name, arguments)])
        return result


async def test_what_was_mended_stands_in_the_result() -> None:
    result = await asked("add", '{"a": "2", "b": null}', add)
    assert result.value == 3
    assert [(m.pointer, m.before, m.after) for m in result.mended] == [("/a", '"2"', "2"), ("/b", "null", "")]
    assert msgspec.json.decode(msgspec.json.encode(result), type=ToolResult[Any]).mended == result.mended
    assert (await asked("add", '{"a": 2}', add)).mended == ()


async def test_by_itself_too() -> None:
    async with Runtime() as runtime:
        await runtime.serve(add)
        result = await runtime.call(add, {"a": "2"})
        assert (result.value, len(result.mended)) == (3, 1)


async def test_over_the_bus_it_is_mended_once() -> None:
    result = await asked("add", '{"a": "2"}', add, local=False)
    assert (result.value, len(result.mended)) == (3, 1)


@pytest.mark.parametrize(
    ("lenient", "made", "ok"),
    [(True, add, True), (False, add, False), (True, strict, False), (False, strict, False), (False, mild, True)],
)
async def test_leniency_is_switched_for_all_or_for_one(*, lenient: bool, made: Any, ok: bool) -> None:
    assert (await asked(made.name, '{"a": "2"}', made, lenient=lenient)).ok is ok


async def test_repair_is_off_unless_it_is_on() -> None:
    assert not (await asked("add", "{'a': 2}", add)).ok
    result = await asked("add", "{'a': 2}", add, repair="on")
    assert (result.value, [m.what for m in result.mended]) == (3, ["repaired JSON"])


def below(path: str) -> str:
    if not path.startswith("/data/"):
        raise ValueError("it has to lie below /data/")
    return path


def refuse(_value: Any) -> Any:
    raise ToolError("not today")


@tool(sanitize={"path": below, "text": None})
async def write(path: str, text: str = "") -> str:
    return path + text


async def test_sanitizers_of_a_tool_and_of_a_runtime() -> None:
    async with Runtime() as runtime:
        runtime.sanitize(str, str.strip)
        runtime.sanitize("a", lambda a: a * 10)
        await runtime.serve(write, add)
        result = await runtime.call(write, {"path": " /data/x ", "text": "\x1b e\u0301"})
        assert (result.value, [m.pointer for m in result.mended]) == ("/data/x\x1b e\u0301", ["/path"])
        assert (await runtime.call(add, {"a": 2})).value == 21
        refused = (await runtime.call(write, {"path": "/etc/passwd"})).failure
        assert refused is not None
        assert (refused.code, refused.effect) == ("invalid_arguments", "none")
        assert "/path: it has to lie below /data/, got" in refused.message


@pytest.mark.parametrize("sanitizer", [refuse, lambda value: value // 0])
async def test_a_sanitizer_that_raises_ends_the_call_and_nothing_ran(sanitizer: Callable[[Any], Any]) -> None:
    async with Runtime() as runtime:
        runtime.sanitize(int, sanitizer)
        await runtime.serve(add)
        failure = (await runtime.call(add, {"a": 2})).failure
        assert failure is not None
        assert failure.code == "failed"


def test_a_sanitizer_for_nothing_is_refused_at_once() -> None:
    with pytest.raises(Misuse, match="no parameter 'pth'"):
        tool(sanitize={"pth": below})(write.function)


@tool
async def login(user: str, password: Secret[str]) -> dict[str, Any]:
    if user == "nobody":
        raise ValueError(f"no user for {password.reveal()}")
    return {"user": user, "password": password}


@pytest.mark.parametrize(
    "arguments",
    [{"user": "u", "password": CANARY}, {"user": "nobody", "password": CANARY}, {"user": 5, "password": [CANARY]}],
)
async def test_no_event_and_no_result_shows_a_secret(arguments: dict[str, Any]) -> None:
    calls = [ToolCall("1", "login", arguments), ToolCall("2", "login", arguments)]
    async with Runtime() as runtime:
        await runtime.serve(login)
        for step in (calls, calls[:1]):
            chat = await runtime.converse(Agent("a", model=scripted([step, "done"]), tools=[login]))
            async with chat.stream("go") as events:
                heard = [event async for event in events]
            assert any(isinstance(event, CallStarted) for event in heard)
            assert CANARY not in repr(heard)
            assert CANARY in repr(list(chat.history())), "the model's own words stay as they were"


async def test_a_tool_of_others_with_a_bad_schema_is_listed_with_its_fault() -> None:
    async with Runtime() as runtime:
        runtime.tools.add(ToolSpec("odd", parameters={"type": "dict"}), "elsewhere")
        runtime.tools.add(ToolSpec("good"), "elsewhere")
        assert set(runtime.tools) == {"odd", "good"}
        (fault,) = runtime.tools.faults().values()
        for _ in range(2):
            failure = (await runtime.call("odd", {})).failure
            assert failure == fault
        assert fault.message.startswith("the tool 'odd' can't be called: ")
        assert "'dict' is no type" in fault.message
