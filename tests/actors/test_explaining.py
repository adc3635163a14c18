"""What a batch would do, told without running it; and what is refused before it waits for anything."""

from typing import Any

import anyio
import pytest

from toolwire import Runtime, ToolCall, ToolResult, tool

pytestmark = pytest.mark.anyio

RAN: list[str] = []


@tool
async def find(name: str) -> dict[str, str]:
    """Find a file."""
    RAN.append(name)
    return {"path": name}


@tool(writes=lambda a: {f"file:{a.path}"})
async def write(path: str, mode: int = 0) -> str:
    """Write a file."""
    RAN.append(path)
    return path


CALLS = [
    ToolCall("a", "find", {"name": "x"}),
    ToolCall("b", "write", {"path": "y"}),
    ToolCall("c", "write", {"path": {"$result": "a", "path": "/path"}}),
    ToolCall("d", "write", {"path": {"$result": "a", "path": "/path"}, "mode": "much"}),
    ToolCall("e", "write", {"path": "z", "mode": []}),
    ToolCall("f", "nobody", {"of": {"$result": 5}}),
    ToolCall("g", "find", '{"name": {"$result": 1'),
    ToolCall("h", "find", {"name": float("nan")}),
    ToolCall("i", "find", {"name": {"$literal": 5}}),
]


async def test_explaining_says_what_would_happen_and_runs_nothing() -> None:
    RAN.clear()
    async with Runtime() as runtime:
        await runtime.serve(find, write)
        graph = runtime.explain(CALLS)
        assert not RAN
        results = await runtime.call_many(CALLS)
    assert [each.level for each in graph.calls] == [1, 1, 2, 0, 0, 0, 0, 0, 0]
    assert [behind.why for behind in graph.calls[2].order] == ["resource file:y"]
    codes = {each.id: each.refused.code for each in graph.calls if each.refused is not None}
    assert codes == {
        "d": "invalid_arguments",
        "e": "invalid_arguments",
        "f": "unknown_tool",
        "g": "invalid_arguments",
        "h": "invalid_arguments",
        "i": "invalid_arguments",
    }
    ran = {result.id: result.failure.code for result in results if result.failure is not None}
    assert ran == codes | {"f": "dependency_failed"}
    assert "nobody" in str(graph)


async def test_positions_alone_name_calls_in_the_response_of_a_model() -> None:
    calls = [ToolCall("a", "find", {"name": "x"}), ToolCall("b", "find", {"name": {"$result": "a", "path": "/path"}})]
    async with Runtime() as runtime:
        await runtime.serve(find)
        assert runtime.explain(calls).calls[1].needs == (1,)
        assert runtime.explain(calls, ids=False).calls[1].refused is not None
        assert not runtime.explain(calls, references=False).calls[1].needs


async def test_a_call_whose_constants_are_wrong_does_not_wait_for_what_it_names() -> None:
    release = anyio.Event()

    @tool
    async def slow() -> str:
        await release.wait()
        return "x"

    @tool
    async def told(text: str, count: int) -> str:
        raise AssertionError("its count is no number")

    @tool
    async def freed() -> None:
        release.set()

    async with Runtime() as runtime:
        await runtime.serve(slow, told, freed)
        calls = [
            ToolCall("a", "slow"),
            ToolCall("b", "told", {"text": {"$result": "a"}, "count": "many"}),
            ToolCall("c", "freed", after=("b",)),
        ]
        results = await runtime.call_many(calls)
    assert [result.failure.code if result.failure else "" for result in results] == ["", "invalid_arguments", ""]
    assert results[1].attempts == 0
    assert "/count" in str(results[1].failure)


async def test_what_stands_around_calls_sees_those_that_could_be_foreseen_to_be_wrong() -> None:
    async def mend(call: ToolCall, _context: Any, go_on: Any) -> ToolResult[Any]:
        result: ToolResult[Any] = await go_on(ToolCall(call.id, call.name, call.text().replace("much", "1")))
        return result

    async with Runtime() as runtime:
        await runtime.serve(find, write)
        runtime.use(mend)
        results = await runtime.call_many(
            [CALLS[0], ToolCall("d", "write", {"path": {"$result": 1, "path": "/path"}, "mode": "much"})]
        )
    assert [result.ok for result in results] == [True, True]
