"""Tasks beside the one that starts them: waited for, cancelled, and never left behind."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.runtime.beside import Beside
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.anyio


@pytest.fixture
async def system() -> AsyncIterator[ActorSystem]:
    with anyio.fail_after(5):
        async with ActorSystem(MemoryBus()) as made:
            yield made


class Work:
    """Tasks that end when they are told to, and take a moment more to be cancelled."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.ended: list[str] = []

    async def do(self, name: str) -> None:
        try:
            await self.done.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await checkpoint()
            self.ended.append(f"{name} cancelled")
            raise
        self.ended.append(name)

    async def fail(self) -> None:
        await self.done.wait()
        raise ZeroDivisionError


async def test_they_are_waited_for(system: ActorSystem) -> None:
    tasks, work = Beside(system, "tests"), Work()
    tasks.start(work.do, "a")
    tasks.start(work.do, "b")
    await anyio.wait_all_tasks_blocked()
    assert work.ended == []
    work.done.set()
    await tasks.wait()
    assert sorted(work.ended) == ["a", "b"]


async def test_where_there_is_none_nothing_is_waited_for(system: ActorSystem) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Beside(system, "tests").wait()
        await Beside(system, "tests").leave()
    assert not scope.cancelled_caught


async def test_leaving_cancels_them_and_waits(system: ActorSystem) -> None:
    tasks, work = Beside(system, "tests"), Work()
    tasks.start(work.do, "a")
    tasks.start(work.do, "b")
    await anyio.wait_all_tasks_blocked()
    await tasks.leave()
    assert sorted(work.ended) == ["a cancelled", "b cancelled"]
    await tasks.leave()  # there is nothing left


async def test_one_that_has_not_begun_is_cancelled_where_it_first_waits(system: ActorSystem) -> None:
    tasks, work = Beside(system, "tests"), Work()
    tasks.start(work.do, "a")
    await tasks.leave()
    assert work.ended == ["a cancelled"]


async def test_what_one_raises_cancels_the_others_and_is_raised_as_it_is(system: ActorSystem) -> None:
    tasks, work, others = Beside(system, "tests"), Work(), Work()
    tasks.start(work.fail)
    tasks.start(others.do, "b")
    await anyio.wait_all_tasks_blocked()
    work.done.set()
    with pytest.raises(ZeroDivisionError):
        await tasks.wait()
    assert others.ended == ["b cancelled"]
    await tasks.wait()  # it was told


async def test_who_leaves_is_told_too(system: ActorSystem) -> None:
    tasks, work = Beside(system, "tests"), Work()
    tasks.start(work.fail)
    work.done.set()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(ZeroDivisionError):
        await tasks.leave()


async def test_who_is_cancelled_while_waiting_may_leave_and_they_are_waited_for(system: ActorSystem) -> None:
    tasks, work = Beside(system, "tests"), Work()
    tasks.start(work.do, "a")
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await tasks.wait()
        finally:
            assert work.ended == []
            await tasks.leave()
            assert work.ended == ["a cancelled"]
    assert scope.cancelled_caught


async def test_it_goes_on_after_an_end(system: ActorSystem) -> None:
    tasks, work = Beside(system, "tests"), Work()
    work.done.set()
    for name in ("a", "b"):
        tasks.start(work.do, name)
        await tasks.wait()
    assert work.ended == ["a", "b"]


async def test_they_end_with_the_system() -> None:
    work = Work()
    with anyio.fail_after(5):
        async with ActorSystem(MemoryBus()) as system:
            tasks = Beside(system, "tests")
            tasks.start(work.do, "a")
            await anyio.wait_all_tasks_blocked()
        assert work.ended == ["a cancelled"]
        await tasks.wait()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_while_leaving_is_raised_when_all_have_ended(system: ActorSystem) -> None:
    tasks, ended, held = Beside(system, "tests"), [], anyio.Event()

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await held.wait()
            ended.append("slow")

    async def leave() -> None:
        try:
            await tasks.leave()
        finally:
            ended.append("left")

    tasks.start(slow)
    await anyio.wait_all_tasks_blocked()
    leaving = asyncio.get_running_loop().create_task(leave())
    for _ in range(3):
        await anyio.wait_all_tasks_blocked()
        leaving.cancel()
    await anyio.wait_all_tasks_blocked()
    assert ended == []
    held.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert ended == ["slow", "left"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_that_is_cancelled_by_its_loop_takes_nothing_of_the_system_along(system: ActorSystem) -> None:
    tasks, others, work = Beside(system, "tests"), Beside(system, "others"), Work()

    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await checkpoint()

    others.start(work.do, "other")
    tasks.start(cancel_itself)
    await tasks.wait()
    await anyio.wait_all_tasks_blocked()
    assert work.ended == []
    work.done.set()
    await others.wait()
    assert work.ended == ["other"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_that_its_loop_cancels_before_it_has_begun_is_not_waited_for() -> None:
    left: list[str] = []

    async def lead() -> None:
        async with ActorSystem(MemoryBus()) as system:
            tasks, work = Beside(system, "tests"), Work()
            tasks.start(work.do, "a")
            (task,) = (each for each in asyncio.all_tasks() if each.get_name() == "tests")
            task.cancel()
            await tasks.leave()
            left.append("left")

    leading = asyncio.get_running_loop().create_task(lead())
    await asyncio.wait([leading], timeout=2)
    assert left == ["left"]
