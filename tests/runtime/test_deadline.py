"""Budgets that only shrink, on the clock that cancel scopes go by."""

import math
import time

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from toolwire.runtime.deadline import NEVER, left, loop_clock, sooner, until
from toolwire.runtime.testing import ManualClock

SECONDS = st.floats(0, 1e9)


@given(SECONDS, SECONDS, SECONDS)
def test_a_budget_only_shrinks(now: float, deadline: float, seconds: float) -> None:
    clock = ManualClock(now)
    assert sooner(deadline, seconds, clock) <= deadline
    assert sooner(deadline, None, clock) == deadline
    assert sooner(NEVER, None, clock) == NEVER


@given(SECONDS, SECONDS)
def test_what_is_left_is_never_below_nothing(now: float, deadline: float) -> None:
    budget = left(deadline, ManualClock(now))
    assert budget is not None
    assert budget >= 0
    assert math.isclose(until(budget, ManualClock(now)), max(now, deadline), rel_tol=1e-9, abs_tol=1e-6)


def test_no_deadline_is_no_budget() -> None:
    assert left(NEVER, ManualClock()) is None
    assert until(None, ManualClock()) == NEVER


def test_a_budget_is_in_milliseconds() -> None:
    clock = ManualClock(100.0)
    deadline = until(1500.0, clock)
    assert deadline == 101.5
    clock.advance(1.0)
    assert left(deadline, clock) == 500.0
    clock.advance(1.0)
    assert left(deadline, clock) == 0.0


@pytest.mark.anyio
async def test_the_clock_is_that_of_the_loop() -> None:
    before, told, after = anyio.current_time(), loop_clock()(), anyio.current_time()
    assert before <= told <= after


def test_on_trio_a_mock_clock_is_obeyed() -> None:
    async def main() -> None:
        clock = loop_clock()
        began = clock()
        await trio.sleep(1000)
        assert clock() - began == pytest.approx(1000)

    started = time.monotonic()
    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert time.monotonic() - started < 10
