"""Whether a failed call is tried again, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import CODES, Failure, failed
from toolwire.protocol.retry import bound, pause
from toolwire.protocol.tools import Retry, ToolSpec

BUSY = failed("overloaded", "full")
READ = ToolSpec("t", read_only=True, retry=Retry())
WRITE = ToolSpec("t", retry=Retry())

seconds = st.floats(0, 1e6)
retries = st.builds(
    Retry,
    times=st.integers(1, 50),
    first=seconds,
    factor=st.floats(1, 1e3),
    cap=seconds,
    codes=st.lists(st.sampled_from(sorted(CODES)), max_size=2).map(tuple),
)
failures = st.builds(
    Failure,
    code=st.sampled_from(sorted(CODES)),
    message=st.just("so it is"),
    effect=st.sampled_from(["none", "maybe", "done"]),
    retryable=st.booleans(),
    retry_after=st.none() | seconds,
    details=st.sampled_from([{}, {"by": "attempt"}, {"by": "call"}]),
)
specs = st.builds(ToolSpec, name=st.just("t"), read_only=st.booleans(), idempotent=st.booleans(), retry=retries)


@given(failures, specs, st.integers(1, 60), st.none() | seconds, st.floats(0, 1))
def test_what_is_begun_may_be_and_fits(
    failure: Failure, spec: ToolSpec, attempt: int, left: float | None, draw: float
) -> None:
    wait = pause(failure, spec, attempt, left, draw)
    if wait is None:
        return
    assert spec.retry is not None
    assert attempt <= spec.retry.times
    assert spec.repeatable or failure.effect == "none"
    assert wait >= (failure.retry_after or 0.0)
    assert wait <= max(spec.retry.cap, failure.retry_after or 0.0)
    assert left is None or wait < left


@given(retries, st.integers(1, 10_000))
def test_waits_only_grow_up_to_their_cap(retry: Retry, attempt: int) -> None:
    assert bound(retry, attempt) <= bound(retry, attempt + 1) <= retry.cap


def test_the_waits_are_drawn_below_a_bound_that_doubles() -> None:
    assert [bound(Retry(), attempt) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert [pause(BUSY, ToolSpec("t", retry=Retry(9)), n, None, 0.5) for n in range(1, 4)] == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("failure", "spec", "again"),
    [
        (BUSY, WRITE, True),
        (BUSY, ToolSpec("t"), False),
        (failed("failed", "no"), WRITE, False),
        (Failure("failed", "later", "maybe", retryable=True), WRITE, False),
        (Failure("failed", "later", "maybe", retryable=True), READ, True),
        (Failure("failed", "later", "none", retryable=True), WRITE, True),
        (failed("timed_out", "late", "maybe", by="attempt"), READ, True),
        (failed("timed_out", "late", "maybe", by="deadline"), READ, True),
        (failed("timed_out", "late", "maybe", by="attempt"), WRITE, False),
        (failed("timed_out", "late", "none", by="needs"), READ, False),
        (failed("worker_lost", "gone", "maybe"), READ, True),
        (failed("worker_lost", "gone", "maybe"), WRITE, False),
        (failed("invalid_arguments", "no"), READ, False),
        (failed("failed", "no"), ToolSpec("t", read_only=True, retry=Retry(codes=("failed",))), True),
        (BUSY, ToolSpec("t", read_only=True, retry=Retry(codes=("failed",))), False),
    ],
)
def test_what_is_tried_again(failure: Failure, spec: ToolSpec, *, again: bool) -> None:
    assert (pause(failure, spec, 1, None, 0.0) is not None) is again


def test_who_asks_for_more_time_than_there_is_ends_it() -> None:
    busy = Failure("rate_limited", "wait", retryable=True, retry_after=5.0)
    assert pause(busy, WRITE, 1, 6.0, 0.0) == 5.0
    assert pause(busy, WRITE, 1, 5.0, 0.0) is None
    assert pause(busy, WRITE, 1, None, 1.0) == 5.0


@given(
    st.builds(Retry, first=st.floats(), factor=st.floats(), cap=st.floats()), st.none() | st.floats(), st.floats(0, 1)
)
def test_a_spec_that_came_over_the_wire_may_hold_anything(retry: Retry, after: float | None, draw: float) -> None:
    busy = Failure("overloaded", "full", retryable=True, retry_after=after)
    wait = pause(busy, ToolSpec("t", retry=retry), 1, None, draw)
    assert wait is None or 0 <= wait < float("inf")
