"""Identical calls of one moment: who runs, who is given its result, who takes over."""

from contextvars import ContextVar

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import Runtime, ToolCall, ToolError, ToolResult, tool

pytestmark = pytest.mark.anyio


whose: ContextVar[int] = ContextVar("whose", default=-1)


class Gate:
    """A tool that waits until it may go on."""

    def __init__(self) -> None:
        self.open = anyio.Event()
        self.runs = 0
        self.at_once = 0
        self.most = 0
        self.running = -1

    async def look(self, city: str = "") -> int:
        self.runs += 1
        run = self.runs
        self.running = whose.get()
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        if city == "Atlantis":
            raise ToolError("nobody knows where it lies")
        return run


async def test_one_runs_and_each_has_a_result_of_its_own() -> None:
    gate = Gate()
    async with Runtime() as runtime:
        await runtime.serve(tool(gate.look, read_only=True, share=True))
        results: list[ToolResult[object]] = []

        async def batch() -> None:
            calls = [ToolCall(str(n), "look", '{"city":"a"}') for n in range(5)]
            calls.append(ToolCall("other", "look", '{"city":"b"}'))
            results.extend(await runtime.call_many(calls))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch)
            await anyio.wait_all_tasks_blocked()
            assert gate.runs == 2
            gate.open.set()
    assert [result.id for result in results] == ["0", "1", "2", "3", "4", "other"]
    assert [result.shared for result in results] == [False, True, True, True, True, False]
    assert [result.value for result in results] == [1, 1, 1, 1, 1, 2]
    assert [result.attempts for result in results] == [1, 0, 0, 0, 0, 1]


async def test_a_failure_is_shared_too_and_the_next_runs_again() -> None:
    gate = Gate()
    gate.open.set()
    async with Runtime() as runtime:
        await runtime.serve(tool(gate.look, read_only=True, share=True))
        calls = [ToolCall(str(n), "look", '{"city":"Atlantis"}') for n in range(2)]
        for _ in range(2):
            results = await runtime.call_many(calls)
            assert [result.failure is not None and result.failure.code for result in results] == ["failed"] * 2


async def test_where_the_one_that_runs_is_cancelled_another_takes_over() -> None:
    gate = Gate()
    values: list[object] = []
    async with Runtime() as runtime:
        await runtime.serve(tool(gate.look, read_only=True, share=True))

        async def one(n: int) -> None:
            whose.set(n)
            with scopes[n]:
                values.append((await runtime.call("look")).value)

        scopes = [anyio.CancelScope() for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            for n in range(4):
                tasks.start_soon(one, n)
                await anyio.wait_all_tasks_blocked()
            for runs in (1, 2):
                assert gate.runs == runs
                scopes[gate.running].cancel()
                await anyio.wait_all_tasks_blocked()
            assert gate.runs == 3
            next(s for n, s in enumerate(scopes) if not s.cancel_called and n != gate.running).cancel()
            await anyio.wait_all_tasks_blocked()
            gate.open.set()
    assert values == [3]
    assert gate.most == 1
    assert runtime._means.steps.sharing.flights == {}


def test_each_keeps_its_own_time() -> None:
    async def main() -> None:
        gate = Gate()
        ended: dict[str, tuple[float, object]] = {}
        async with Runtime() as runtime:
            await runtime.serve(tool(gate.look, read_only=True, share=True))

            async def one(name: str, timeout: float) -> None:
                result = await runtime.call("look", timeout=timeout)
                ended[name] = (trio.current_time(), result.failure.code if result.failure else result.value)

            async with anyio.create_task_group() as tasks:
                for name, timeout in (("first", 2.0), ("short", 1.0), ("long", 9.0)):
                    tasks.start_soon(one, name, timeout)
                    await trio.testing.wait_all_tasks_blocked()
                await trio.sleep(5)
                gate.open.set()
        assert gate.runs == 2
        assert gate.most == 1
        assert [round(at - ended["short"][0]) for at, _ in ended.values()] == [0, 1, 4]
        assert [outcome for _, outcome in ended.values()] == ["timed_out", "timed_out", 2]

    trio.run(main, clock=MockClock(autojump_threshold=0))
