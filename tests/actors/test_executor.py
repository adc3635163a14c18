"""A whole batch through the executor: results in call order, one for each, whatever the calls are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Context, Runtime, ToolCall, ToolResult, tool
from toolwire.protocol.events import CallFinished, CallStarted, Event
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.messages import AddCall, BatchClosed, BatchEnded, CallAdded, CloseBatch, OpenBatch, RunBatch

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def double(x: int) -> int:
    return 2 * x


@tool
async def late(x: int) -> int:
    await checkpoint()
    return x


@tool(timeout=0.05)
async def stuck() -> None:
    await anyio.sleep_forever()


@tool
async def keyed(context: Context) -> str:
    return context.idempotency_key


@asynccontextmanager
async def serving() -> AsyncIterator[Runtime]:
    async with Runtime() as runtime:
        await runtime.serve(double, late, stuck, keyed)
        yield runtime


def codes(results: tuple[ToolResult[Any], ...]) -> list[str]:
    return [result.failure.code if result.failure else "" for result in results]


async def run(runtime: Runtime, calls: list[ToolCall], **options: Any) -> tuple[ToolResult[Any], ...]:
    """What a conversation would hear."""
    heard: list[Event] = []
    asked = RunBatch(tuple(calls), events=True, **options)
    ended = await runtime.system.context().ask(runtime._means.executor, asked, hear=heard.append)
    assert isinstance(ended, BatchEnded)
    finished = [event.result.id for event in heard if isinstance(event, CallFinished)]
    started = [event.id for event in heard if isinstance(event, CallStarted)]
    assert sorted(finished) == sorted(call.id for call in calls)
    assert set(started) <= set(finished)
    for result in ended.results:
        assert (result.content is None) != (result.failure is None)
        if result.id in started:
            assert result.attempts == 1 or result.failure is not None
    return ended.results


async def test_results_stand_in_call_order() -> None:
    async with serving() as runtime:
        calls = [ToolCall(str(n), ("double", "late")[n % 2], {"x": n}) for n in range(20)]
        results = await run(runtime, calls)
        assert [result.id for result in results] == [str(n) for n in range(20)]
        assert [result.value for result in results] == [n if n % 2 else 2 * n for n in range(20)]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_a_batch_of_any_size_is_told_alike(count: int) -> None:
    """One call alone takes a shorter way: nobody may see that."""
    async with serving() as runtime:
        calls = [ToolCall(str(n), "late", {"x": n}) for n in range(count)]
        assert codes(await run(runtime, calls)) == [""] * count
        assert codes(await run(runtime, [ToolCall("", "late", {"x": 1}), *calls[1:]]))[0] == "invalid_call"
        assert codes(await run(runtime, calls, limit=0)) == ["limit_reached"] * count
        assert codes(await run(runtime, [ToolCall("s", "stuck"), *calls[1:]]))[0] == "timed_out"
        assert codes(await run(runtime, [ToolCall("u", "unknown"), *calls[1:]]))[0] == "unknown_tool"
        torn = [ToolCall("r", "double", '{"x": {"$result": 9}}'), *calls[1:]]
        assert codes(await run(runtime, torn, references=True))[0] == "invalid_reference"
        assert codes(await run(runtime, torn))[0] == "invalid_arguments"


async def test_nothing_to_do() -> None:
    async with serving() as runtime:
        assert await run(runtime, []) == ()


async def test_each_way_to_fail_leaves_the_others_alone() -> None:
    calls = [
        ToolCall("1", "double", {"x": 1}),
        ToolCall("2", "nowhere"),
        ToolCall("3", "double", '{"x": '),
        ToolCall("4", "double", {"x": "no"}),
        ToolCall("1", "double", {"x": 5}),
        ToolCall("6", "double", {"x": {"$result": 7}}),
        ToolCall("7", "double", {"x": {"$result": 1}}),
        ToolCall("8", "double", {"x": {"$result": 2}}),
        ToolCall("9", "stuck"),
        ToolCall("10", "late", {"x": 10}),
        ToolCall("11", "late", {"x": 11}),
    ]
    async with serving() as runtime:
        results = await run(runtime, calls, references=True, limit=10)
        assert codes(results) == [
            "",
            "unknown_tool",
            "invalid_arguments",
            "invalid_arguments",
            "invalid_call",
            "invalid_reference",
            "",
            "dependency_failed",
            "timed_out",
            "",
            "limit_reached",
        ]
        assert results[6].value == 4


async def test_the_limit_of_the_caller_goes_before_that_of_the_tool() -> None:
    async with serving() as runtime:
        with anyio.fail_after(5):
            (result,) = await run(runtime, [ToolCall("1", "stuck")], timeout=0.01)
        assert result.failure is not None
        assert result.failure.details["seconds"] == pytest.approx(0.01)


async def test_ten_thousand_calls() -> None:
    async with serving() as runtime:
        calls = [ToolCall(str(n), "double", f'{{"x":{n}}}') for n in range(10_000)]
        results = await runtime.call_many(calls)
        assert [result.content for result in results] == [str(2 * n) for n in range(10_000)]


async def test_ten_thousand_calls_of_a_model_of_which_some_may_run() -> None:
    async with serving() as runtime:
        calls = [ToolCall(str(n), "double", f'{{"x":{n}}}') for n in range(10_000)]
        results = await run(runtime, calls, limit=128)
        assert codes(results) == [""] * 128 + ["limit_reached"] * 9_872


async def test_a_key_belongs_to_one_call_only() -> None:
    async with serving() as runtime:
        keys = []
        for _ in range(2):
            results = await runtime.call_many([ToolCall("a", "keyed"), ToolCall("b", "keyed")])
            keys += [result.value for result in results]
            keys.append((await runtime.call(keyed)).value)
        assert len(set(keys)) == len(keys)


async def test_large_results_do_not_take_each_other_along() -> None:
    """Sixty results within their own limit are more than the bus carries in one answer."""

    @tool
    async def much() -> str:
        return "x" * 250_000

    async with Runtime() as runtime:
        await runtime.serve(much, double)
        calls = [ToolCall(str(n), "much") for n in range(60)] + [ToolCall("d", "double", {"x": 1})]
        results = await runtime.call_many(calls)
        assert len(results) == 61
        assert set(codes(results)) <= {"", "too_large"}
        assert results[-1].value == 2
        assert results[0].ok


class Opened:
    """An open batch, as a conversation would have it."""

    def __init__(self, runtime: Runtime, tasks: anyio.abc.TaskGroup, opening: OpenBatch) -> None:
        self.ask = runtime.system.context().ask
        self.executor = runtime._means.executor
        self.opening = opening
        self.ended: BatchEnded | None = None
        self.over = anyio.Event()
        tasks.start_soon(self._run)

    async def _run(self) -> None:
        self.ended = await self.ask(self.executor, self.opening)
        self.over.set()

    async def add(self, position: int, call: ToolCall) -> CallAdded:
        return await self.ask(self.executor, AddCall(self.opening.name, position, call))

    async def close(self, count: int, **options: Any) -> tuple[ToolResult[Any], ...]:
        assert await self.ask(self.executor, CloseBatch(self.opening.name, count, **options)) == BatchClosed()
        await self.over.wait()
        assert self.ended is not None
        return self.ended.results


@asynccontextmanager
async def opening(first: ToolCall, **options: Any) -> AsyncIterator[Opened]:
    async with serving() as runtime, anyio.create_task_group() as tasks:
        yield Opened(runtime, tasks, OpenBatch("b", first, **options))


A, B, C = (ToolCall(name, "double", {"x": 2}) for name in "abc")


async def test_a_batch_that_is_opened_added_to_and_closed() -> None:
    async with opening(A, references=True, limit=3) as batch:
        assert await batch.add(1, ToolCall("l", "late", '{"x":{"$result":1}}')) == CallAdded(started=False)
        assert await batch.add(2, B) == CallAdded(started=True)
        assert await batch.add(2, B) == CallAdded(started=False)  # sent twice
        assert await batch.add(3, C) == CallAdded(started=True)  # to its end, as over the limit
        results = await batch.close(4)
        assert codes(results) == ["", "", "", "limit_reached"]
        assert [result.content for result in results] == ["4", "4", "4", None]


async def test_an_open_batch_may_be_asked_for_before_it_is_there() -> None:
    async with serving() as runtime, anyio.create_task_group() as tasks:
        ask, added = runtime.system.context().ask, []

        async def add() -> None:
            added.append(await ask(runtime._means.executor, AddCall("b", 1, B)))

        tasks.start_soon(add)
        await anyio.wait_all_tasks_blocked()
        batch = Opened(runtime, tasks, OpenBatch("b", A))
        await anyio.wait_all_tasks_blocked()
        assert added == [CallAdded(started=True)]
        assert codes(await batch.close(2)) == ["", ""]


@pytest.mark.parametrize("repeated", [True, False])
async def test_a_first_call_that_was_made_too_often(*, repeated: bool) -> None:
    async with opening(A, repeated=repeated) as batch:
        assert codes(await batch.close(1)) == ["limit_reached" if repeated else ""]


async def test_what_has_not_started_ends_as_the_close_says() -> None:
    async with opening(ToolCall("l", "late", {"x": 1})) as batch:  # it may change something: it waits for the close
        results = await batch.close(1, refuse=failed("cancelled", "enough"))
        assert codes(results) == ["cancelled"]
        assert results[0].attempts == 0


async def test_a_batch_with_a_gap_is_refused() -> None:
    async with opening(A) as batch:
        with pytest.raises(ToolwireError, match="call 3 came, and only 1 came before it"):
            await batch.add(2, B)
        with pytest.raises(ToolwireError, match="to have 2 calls, and 1 came"):
            await batch.close(2)
        assert codes(await batch.close(1)) == [""]


async def test_a_name_stands_for_one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolwire.actors.executor.OVERTAKEN", 0.01)
    async with opening(A) as batch:
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ToolwireError, match="runs already"):
            await batch.ask(batch.executor, OpenBatch("b", B))
        await batch.close(1)
        with pytest.raises(ToolwireError, match="no batch of the name 'b' is open"):
            await batch.add(1, B)
