"""A batch to which calls are added while it runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.actors.batch import Batch
from toolwire.protocol.failures import failed
from toolwire.protocol.plan import Eager, Plan
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.anyio

SPECS = {"reads": ToolSpec("reads", read_only=True), "writes": ToolSpec("writes")}
STOPPED = failed("cancelled", "stopped")

whose: ContextVar[str] = ContextVar("whose", default="nobody")


class Open:
    """An open batch whose calls wait at their own gate, and what was seen of it."""

    def __init__(self, system: ActorSystem, eager: Eager, work: Callable[[int], Awaitable[None]]) -> None:
        self.plan = Plan.opened(SPECS.get, eager=eager, references=True)
        self.started: list[int] = []
        self.ended: list[str] = []
        self.seen: list[str] = []
        self.work = work
        self.batch = Batch(
            self.plan, self.plan.calls, self.run, lambda _: 30.0, system, lambda result: self.ended.append(result.id)
        )

    async def run(self, position: int, arguments: str, deadline: float) -> ToolResult[Any]:
        self.started.append(position)
        self.seen.append(whose.get())
        await self.work(position)
        return ToolResult(str(position), "t", "1")

    def add(self, name: str, arguments: str = "{}") -> bool:
        return self.batch.add(ToolCall(str(len(self.plan.calls)), name, arguments))


@asynccontextmanager
async def opened(
    eager: Eager = "read_only", work: Callable[[int], Awaitable[None]] | None = None
) -> AsyncIterator[Open]:
    """An open batch that runs. Leaving the block waits for its end."""

    async def nothing(_: int) -> None:
        return

    async with ActorSystem(MemoryBus()) as system:
        story = Open(system, eager, work or nothing)

        async def run() -> None:
            whose.set("the batch")
            await story.batch.run()

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await anyio.wait_all_tasks_blocked()
                yield story
            assert len(story.batch.results) == len(story.plan.calls)


async def test_calls_start_as_they_are_added() -> None:
    async with opened() as story:
        for n in range(3):
            assert story.add("reads")
            await anyio.wait_all_tasks_blocked()
            assert story.ended == [str(m) for m in range(n + 1)]
        story.batch.close()
    assert [result.content for result in story.batch.results] == ["1"] * 3


async def test_calls_start_beside_those_that_run() -> None:
    gate = anyio.Event()

    async def wait(_: int) -> None:
        await gate.wait()

    async with opened(work=wait) as story:
        for n in range(3):
            story.add("reads")
            await anyio.wait_all_tasks_blocked()
            assert story.started == list(range(n + 1))
        gate.set()
        story.batch.close()
    assert story.plan.done


async def test_several_at_once_start_in_their_order() -> None:
    async with opened(work=lambda _: checkpoint()) as story:
        for _ in range(20):
            story.add("reads")
        story.batch.close()
    assert story.started == list(range(20))


async def test_what_is_kept_back_starts_with_the_close() -> None:
    async with opened() as story:
        assert not story.add("writes")
        assert story.add("reads")
        assert not story.add("reads", '{"x":{"$result":1}}')
        await anyio.wait_all_tasks_blocked()
        assert story.started == [1]
        story.batch.close()
    assert story.started == [1, 0, 2]


async def test_what_has_not_started_ends_with_the_reason_of_the_close() -> None:
    gate = anyio.Event()

    async def wait(_: int) -> None:
        await gate.wait()

    async with opened("all", wait) as story:
        story.add("writes")
        story.add("reads", '{"x":{"$result":1}}')
        await anyio.wait_all_tasks_blocked()
        story.batch.close(STOPPED)
        gate.set()
    assert story.started == [0]
    assert [result.failure for result in story.batch.results] == [None, STOPPED]
    assert sorted(story.ended) == ["0", "1"]


async def test_an_empty_batch_ends_when_it_is_closed() -> None:
    async with opened() as story:
        story.batch.close()
    assert story.batch.results == []


async def test_who_adds_a_call_lends_it_no_context_variables() -> None:
    gate = anyio.Event()

    async def wait(_: int) -> None:
        await gate.wait()

    async with opened(work=wait) as story:
        whose.set("who adds")
        for _ in range(3):
            story.add("reads")
            await anyio.wait_all_tasks_blocked()
        gate.set()
        story.batch.close()
    assert story.seen == ["the batch"] * 3


@pytest.mark.parametrize("running", [0, 1])
async def test_a_batch_that_was_left_takes_calls_but_runs_none(running: int) -> None:
    async with ActorSystem(MemoryBus()) as system:
        story = Open(system, "read_only", lambda _: anyio.sleep_forever())
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await story.batch.run()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            for _ in range(running):
                story.add("reads")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
        story.add("reads")
        story.batch.close()
        await anyio.wait_all_tasks_blocked()
        assert story.started == list(range(running))
