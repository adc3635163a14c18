"""The pool of workers: in order, bounded, one waking for a burst."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.runtime.bus.pool import IDLE, Pool

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("concurrency", [1, 3, 1000])
async def test_jobs_start_in_the_order_taken(*, suspends: bool, concurrency: int) -> None:
    started: list[int] = []

    async def run(job: int) -> None:
        started.append(job)
        if suspends:
            await checkpoint()

    pool = Pool(run, concurrency, 1000)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        assert all(pool.take(job) for job in range(500))
        await pool.finished()
        tasks.cancel_scope.cancel()
    assert started == list(range(500))


async def test_no_more_run_at_once_than_may() -> None:
    running = most = taken = 0

    async def run(_job: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await checkpoint()
        running -= 1

    pool = Pool(run, 7, 100)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        taken = sum(pool.take(job) for job in range(200))
        await pool.finished()
        tasks.cancel_scope.cancel()
    assert (taken, most) == (107, 7)


async def test_a_burst_that_does_not_suspend_takes_two_workers() -> None:
    workers = set()

    async def run(_job: int) -> None:
        workers.add(anyio.get_current_task().id)

    pool = Pool(run, 1000, 1000)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        for job in range(60):
            assert pool.take(job)
        await pool.finished()
        tasks.cancel_scope.cancel()
    assert len(workers) == 1
    assert pool._workers == 0


async def test_workers_are_used_again_and_few_stay() -> None:
    async def run(_job: int) -> None:
        await checkpoint()

    pool = Pool(run, 1000, 0)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        for _ in range(3):
            assert all(pool.take(job) for job in range(500))
            await pool.finished()
            await anyio.wait_all_tasks_blocked()
            assert len(pool._idle) == pool._workers == IDLE
        tasks.cancel_scope.cancel()


async def test_a_cancelled_job_ends_and_the_others_go_on() -> None:
    ended: list[str] = []
    release = anyio.Event()

    async def run(job: str) -> None:
        try:
            await release.wait()
        except BaseException:
            ended.append(f"{job} cancelled")
            raise
        ended.append(job)

    pool = Pool(run, 2, 2)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        for job in ("a", "b", "c", "d"):
            assert pool.take(job)
        assert not pool.take("e")
        await anyio.wait_all_tasks_blocked()
        assert not pool.cancel("a")
        assert pool.cancel("d")
        assert not pool.cancel("nobody")
        await anyio.wait_all_tasks_blocked()
        assert ended == ["a cancelled"]
        release.set()
        await pool.finished()
        tasks.cancel_scope.cancel()
    assert ended[0] == "a cancelled"
    assert sorted(ended[1:]) == ["b", "c"]


async def test_a_job_that_holds_its_cancel_off_is_the_last_of_its_worker() -> None:
    """The next job must not begin in a scope that is cancelled."""
    release = anyio.Event()
    ended: list[str] = []

    async def run(job: str) -> None:
        with anyio.CancelScope(shield=job == "a"):
            await release.wait()
        await checkpoint() if job == "b" else None
        ended.append(job)

    pool = Pool(run, 1, 1)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        pool.take("a")
        pool.take("b")
        await anyio.wait_all_tasks_blocked()
        pool.cancel("a")
        release.set()
        await pool.finished()
        tasks.cancel_scope.cancel()
    assert ended == ["a", "b"]


async def test_what_waits_can_be_dropped_and_what_runs_cancelled() -> None:
    async def run(_job: int) -> None:
        await anyio.sleep_forever()

    pool = Pool(run, 1, 5)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        for job in range(4):
            pool.take(job)
        await anyio.wait_all_tasks_blocked()
        assert pool.drop() == [1, 2, 3]
        assert len(pool) == 1
        pool.cancel_all()
        await pool.finished()
        tasks.cancel_scope.cancel()


async def test_a_long_burst_lets_others_run() -> None:
    turns = 0
    done = anyio.Event()

    async def run(job: int) -> None:
        if job == 999:
            done.set()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await checkpoint()

    pool = Pool(run, 1, 1000)
    async with anyio.create_task_group() as tasks:
        pool.start(tasks)
        tasks.start_soon(other)
        for job in range(1000):
            pool.take(job)
        await pool.finished()
        tasks.cancel_scope.cancel()
    assert turns >= 10


@pytest.mark.parametrize(("concurrency", "backlog"), [(0, 1), (1, -1)])
def test_bounds_that_are_none_are_refused(concurrency: int, backlog: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        Pool(anyio.sleep, concurrency, backlog)
