"""A batch on its way: order, time limits, cancellation, and how many tasks it takes."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from toolwire.actors.batch import Batch
from toolwire.protocol.failures import failed
from toolwire.protocol.plan import Plan
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.anyio

Work = Callable[[int], Awaitable[None]]
ALONE = ToolSpec("alone", exclusive=True)


def calls_of(count: int, name: str = "t") -> list[ToolCall]:
    return [ToolCall(str(n), name, "{}") for n in range(count)]


class Story:
    """A batch whose calls do what `work` says by their position, and what was seen of it."""

    def __init__(self, calls: Sequence[ToolCall], work: Work, *, limit: float = 30.0, references: bool = False) -> None:
        self.calls = calls
        self.work = work
        self.limit = limit
        self.started: list[int] = []
        self.ended: list[str] = []
        self.tasks: set[int] = set()
        self.references = references

    async def run_one(self, position: int, arguments: str, deadline: float) -> ToolResult[Any]:
        self.started.append(position)
        self.tasks.add(anyio.get_current_task().id)
        await self.work(position)
        return ToolResult(self.calls[position].id, "t", str(position))

    async def run(self, system: ActorSystem) -> list[ToolResult[Any]]:
        spec = {"alone": ALONE}.get
        plan = Plan(self.calls, spec, references=self.references, ids=self.references)
        batch = Batch(
            plan, self.calls, self.run_one, lambda _: self.limit, system, lambda result: self.ended.append(result.id)
        )
        await batch.run()
        assert plan.done
        return batch.results


async def told(story: Story) -> list[ToolResult[Any]]:
    async with ActorSystem(MemoryBus()) as system:
        return await story.run(system)


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def at_once(_: int) -> None:
    return


async def once(_: int) -> None:
    await checkpoint()


@pytest.mark.parametrize("work", [at_once, once], ids=["at once", "suspends"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 65, 300])
async def test_one_result_for_each_call_in_call_order(work: Work, count: int) -> None:
    story = Story(calls_of(count), work)
    results = await told(story)
    assert [result.content for result in results] == [str(n) for n in range(count)]
    assert sorted(story.ended, key=int) == [str(n) for n in range(count)]


@pytest.mark.parametrize("pattern", ["all", "none", "odd", "even", "first", "last"])
async def test_calls_start_in_response_order_on_every_loop(pattern: str) -> None:
    patterns: dict[str, Callable[[int], bool]] = {
        "all": lambda _: True,
        "none": lambda _: False,
        "odd": lambda n: n % 2 == 1,
        "even": lambda n: n % 2 == 0,
        "first": lambda n: n == 0,
        "last": lambda n: n == 49,
    }
    suspends = patterns[pattern]
    gate = anyio.Event()

    async def work(position: int) -> None:
        if position == 49:
            gate.set()
        if suspends(position):
            await gate.wait() if position < 49 else await checkpoint()

    story = Story(calls_of(50), work)
    await told(story)
    assert story.started == list(range(50))


async def test_a_task_for_each_call_that_suspends_and_none_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActorSystem, "breathless", lambda _: False)  # a turn for the loop would start the follower
    gate = anyio.Event()

    async def work(position: int) -> None:
        if position == 99:
            gate.set()
        elif position % 10 == 0:
            await gate.wait()

    suspending = Story(calls_of(100), work)
    await told(suspending)
    assert len(suspending.tasks) == 11
    quick = Story(calls_of(100), at_once)
    await told(quick)
    assert len(quick.tasks) == 1


async def test_all_run_at_once() -> None:
    running = 0
    gate = anyio.Event()

    async def work(_: int) -> None:
        nonlocal running
        running += 1
        if running == 100:
            gate.set()
        await gate.wait()

    story = Story(calls_of(100), work)
    with anyio.fail_after(10):
        assert all(result.ok for result in await told(story))


@pytest.mark.parametrize("stuck", [{0}, {1}, {0, 1}, {2}, {0, 2}, {0, 1, 2, 3}], ids=str)
def test_a_call_ends_exactly_at_its_limit_and_leaves_the_others_alone(stuck: set[int]) -> None:
    """Whichever calls never end, the others do at once. The last one counts too, though nobody follows it."""

    async def work(position: int) -> None:
        if position in stuck:
            await trio.sleep_forever()

    async def main() -> None:
        story = Story(calls_of(4), work, limit=7.5)
        began = trio.current_time()
        results = await told(story)
        assert trio.current_time() - began == pytest.approx(7.5)
        for n, result in enumerate(results):
            if n not in stuck:
                assert result.ok
                continue
            assert result.failure is not None
            assert (result.failure.code, result.failure.effect) == ("timed_out", "maybe")
            assert result.failure.details == {"by": "call", "seconds": 7.5}
            assert result.seconds == pytest.approx(7.5)

    timeless(main)


def test_the_time_of_a_call_runs_from_its_own_start() -> None:
    async def work(position: int) -> None:
        await trio.sleep([4.0, 4.0, 6.0][position])

    async def main() -> None:
        calls = [ToolCall(str(n), "alone", "{}") for n in range(3)]
        results = await told(Story(calls, work, limit=5.0))
        assert [result.ok for result in results] == [True, True, False]

    timeless(main)


def test_after_a_call_that_timed_out_the_lane_goes_on() -> None:
    """Calls that wait for one that is stuck start once it has timed out, with all of their own time."""

    async def work(position: int) -> None:
        await trio.sleep(math.inf if position == 0 else 4.0)

    async def main() -> None:
        calls = [ToolCall(str(n), "alone", "{}") for n in range(3)]
        began = trio.current_time()
        results = await told(Story(calls, work, limit=5.0))
        assert [result.ok for result in results] == [False, True, True]
        assert trio.current_time() - began == pytest.approx(13.0)

    timeless(main)


def test_a_call_that_ends_in_the_moment_of_its_limit_does_not_take_the_next_one_along() -> None:
    async def work(position: int) -> None:
        if position == 0:
            with trio.CancelScope(shield=True):
                await trio.sleep(9.0)  # longer than its limit, and deaf to it
        else:
            await trio.sleep(1.0)

    async def main() -> None:
        calls = [ToolCall(str(n), "alone", "{}") for n in range(2)]
        results = await told(Story(calls, work, limit=5.0))
        assert results[1].ok

    timeless(main)


def test_no_limit_at_all() -> None:
    async def work(_: int) -> None:
        await trio.sleep(10.0**6)

    async def main() -> None:
        assert all(result.ok for result in await told(Story(calls_of(3), work, limit=float("inf"))))

    timeless(main)


async def test_limits_on_a_real_clock() -> None:
    async def work(position: int) -> None:
        if position % 2:
            await anyio.sleep_forever()

    story = Story(calls_of(6), work, limit=0.05)
    with anyio.fail_after(10):
        results = await told(story)
    assert [result.ok for result in results] == [True, False] * 3


async def test_what_cancels_the_batch_cancels_every_call_once() -> None:
    ended: list[int] = []

    async def work(position: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(position)

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told, Story(calls_of(20), work))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert sorted(ended) == list(range(20))


async def test_nobody_watches_the_time_of_calls_that_were_cancelled() -> None:
    async def work(_: int) -> None:
        await anyio.sleep_forever()

    async with ActorSystem(MemoryBus()) as system:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Story(calls_of(20), work).run, system)
            await anyio.wait_all_tasks_blocked()
            assert len(system.alarms) == 20
            tasks.cancel_scope.cancel()
        assert len(system.alarms) == 0


async def test_scopes_inside_a_call_and_around_the_batch_nest() -> None:
    async def work(position: int) -> None:
        with anyio.move_on_after(0) as inner:
            await anyio.sleep_forever()
        assert inner.cancelled_caught
        if position == 3:
            await anyio.sleep_forever()

    with anyio.move_on_after(0.1) as outer:
        await told(Story(calls_of(5), work))
    assert outer.cancelled_caught


async def test_the_native_cancellation_of_asyncio(anyio_backend: str) -> None:
    if anyio_backend == "trio":
        pytest.skip("asyncio's own")

    async def forever(_: int) -> None:
        await anyio.sleep_forever()

    task = asyncio.create_task(told(Story(calls_of(5), forever)))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_that_needs_another_starts_once_that_has_ended() -> None:
    calls = [
        ToolCall("a", "t", "{}"),
        ToolCall("b", "t", '{"x": {"$result": "a"}}'),
        ToolCall("c", "t", "{}"),
        ToolCall("d", "t", '{"x": {"$result": "b"}, "y": {"$result": "c"}}'),
    ]
    for work in (at_once, once):
        story = Story(calls, work, references=True)
        assert all(result.ok for result in await told(story))
        place = story.started.index
        assert place(0) < place(1) < place(3) > place(2)


async def test_a_failed_need_fails_its_dependents_and_nobody_else() -> None:
    calls = [ToolCall("a", "t", "{}"), ToolCall("b", "t", '{"x": {"$result": "a"}}'), ToolCall("c", "t", "{}")]

    class Fails(Story):
        async def run_one(self, position: int, arguments: str, deadline: float) -> ToolResult[Any]:
            result = await super().run_one(position, arguments, deadline)
            return ToolResult(result.id, "t", None, failed("failed", "no")) if position == 0 else result

    story = Fails(calls, once, references=True)
    results = await told(story)
    assert [result.failure.code if result.failure else "" for result in results] == ["failed", "dependency_failed", ""]
    assert 1 not in story.started
    assert sorted(story.ended) == ["a", "b", "c"]


async def test_a_chain_of_a_thousand_is_no_recursion() -> None:
    calls = [ToolCall("0", "t", "{}")]
    calls += [ToolCall(str(n), "t", "{}", (str(n - 1),)) for n in range(1, 1000)]
    for work in (at_once, once):
        story = Story(calls, work, references=True)
        assert all(result.ok for result in await told(story))
        assert story.started == list(range(1000))


async def test_ten_thousand_calls() -> None:
    story = Story(calls_of(10_000), at_once)
    results = await told(story)
    assert story.started == list(range(10_000))
    assert all(result.ok for result in results)
    assert len(story.tasks) < 100


async def test_calls_that_never_suspend_do_not_starve_the_loop() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async def busy(_: int) -> None:
        sum(range(2_000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await told(Story(calls_of(1_000), busy))
        tasks.cancel_scope.cancel()
    assert turns > 5
