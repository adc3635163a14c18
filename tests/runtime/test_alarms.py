"""Many time limits, one timer: each scope is cancelled at its own deadline, not before and not without need."""

import math
from collections.abc import Callable

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from toolwire.runtime.alarms import SLOT, Alarms
from toolwire.runtime.deadline import NEVER, loop_clock
from toolwire.runtime.testing import ManualClock


def timeless(main: Callable[[], object]) -> None:
    """Run `main` on trio, with a clock that jumps to whatever is waited for."""
    trio.run(main, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]  # an async function


@settings(max_examples=30)
@given(st.lists(st.floats(0, 20 * SLOT), min_size=1, max_size=20))
def test_each_scope_ends_exactly_at_its_deadline(limits: list[float]) -> None:
    ended: list[float] = []

    async def main() -> None:
        clock = loop_clock()
        began = clock()
        alarms = Alarms(clock)

        async def one(limit: float) -> None:
            with anyio.CancelScope() as scope:
                alarms.set(scope, began + limit)
                await trio.sleep_forever()
            assert scope.cancelled_caught
            assert clock() - began == pytest.approx(limit, abs=1e-6)
            ended.append(limit)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarms.run)
            async with anyio.create_task_group() as ones:
                for limit in limits:
                    ones.start_soon(one, limit)
            tasks.cancel_scope.cancel()
        assert len(alarms) == 0

    timeless(main)
    assert ended == sorted(ended)
    assert len(ended) == len(limits)


@pytest.mark.parametrize("limit", [0.1, SLOT, 3 * SLOT, 100.0])
def test_one_that_is_unset_never_fires(limit: float) -> None:
    async def main() -> None:
        clock = loop_clock()
        alarms = Alarms(clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarms.run)
            with anyio.CancelScope() as scope:
                deadline = clock() + limit
                alarms.set(scope, deadline)
                await trio.sleep(limit / 2)
                alarms.unset(scope, deadline)
                await trio.sleep(limit * 2 + 1)
            assert not scope.cancel_called
            tasks.cancel_scope.cancel()

    timeless(main)


def test_one_that_comes_later_but_ends_sooner_wakes_the_timer() -> None:
    async def main() -> None:
        clock = loop_clock()
        began = clock()
        alarms = Alarms(clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarms.run)
            with anyio.CancelScope() as late:
                alarms.set(late, began + 1000)
                await trio.sleep(1)
                with anyio.CancelScope() as soon:
                    alarms.set(soon, began + 5)
                    await trio.sleep_forever()
                assert clock() - began == pytest.approx(5)
            tasks.cancel_scope.cancel()

    timeless(main)


def test_a_limit_that_is_no_number_is_no_time_and_harms_no_other() -> None:
    async def main() -> None:
        clock = loop_clock()
        alarms = Alarms(clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarms.run)
            with anyio.CancelScope() as scope:
                alarms.set(scope, math.nan)
                await trio.sleep_forever()
            assert len(alarms) == 0
            tasks.cancel_scope.cancel()

    timeless(main)


def test_no_limit_is_no_alarm() -> None:
    alarms = Alarms.__new__(Alarms)

    async def main() -> None:
        alarms.__init__(ManualClock())  # type: ignore[misc]  # its event wants a loop
        with anyio.CancelScope() as scope:
            alarms.set(scope, NEVER)
            alarms.unset(scope, NEVER)
            await checkpoint()
        assert scope.deadline == math.inf
        assert len(alarms) == 0

    trio.run(main)


def test_limits_hold_when_nobody_watches_any_more() -> None:
    async def main() -> None:
        clock = loop_clock()
        began = clock()
        alarms = Alarms(clock)
        with anyio.CancelScope() as earlier:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(alarms.run)
                alarms.set(earlier, began + 50)
                await trio.sleep(1)
                tasks.cancel_scope.cancel()
            assert len(alarms) == 0
            await trio.sleep_forever()
        assert clock() - began == pytest.approx(50)
        with anyio.CancelScope() as later:
            alarms.set(later, began + 100)
            await trio.sleep_forever()
        assert clock() - began == pytest.approx(100)

    timeless(main)
