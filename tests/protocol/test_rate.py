"""Rates as text, and the meter against the plain meaning of a rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import Misuse
from toolwire.protocol.rate import Allowance, Meter, Rate, admitted, rate, too_many


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("10/s", 10, 1.0), ("30/m", 30, 60.0), ("100/h", 100, 3600.0), ("5/10s", 5, 10.0), ("1/2d", 1, 172_800.0)],
)
def test_a_rate_is_read_and_written(text: str, count: int, seconds: float) -> None:
    assert rate(text) == Rate(count, seconds)
    assert str(rate(text)) == text


@pytest.mark.parametrize(
    "text", ["", "10", "0/s", "-1/s", "1/0s", "1.5/s", "10/w", "10 /s", "10/s ", "\u0661\u0660/s", "1e3/s"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Misuse, match="'30/m'"):
        rate(text)


@given(st.integers(1, 10_000), st.integers(1, 100_000), st.floats(0, 1e6))
def test_as_many_as_it_says_pass_at_once_and_one_more_each_time(count: int, seconds: int, now: float) -> None:
    count = min(count, 200)
    meter = Meter(Rate(count, float(seconds)))
    assert [meter.wait("a", now) for _ in range(count)] == [0.0] * count
    wait = meter.wait("a", now)
    assert wait == pytest.approx(seconds / count, rel=1e-3)
    assert meter.wait("a", now + wait) == 0.0
    assert meter.wait("a", now + wait) > 0.0


@given(
    st.integers(1, 20),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=120),
)
def test_no_window_lets_through_more_than_twice_the_count(count: int, seconds: float, gaps: list[float]) -> None:
    limit = Rate(count, seconds)
    now, even, passed = 0.0, 0.0, []
    for gap in gaps:
        now += gap
        even, wait = admitted(limit, even, now)
        if wait == 0.0:
            passed.append(now)
    for start in passed:
        assert sum(start <= instant < start + seconds for instant in passed) <= 2 * count


@given(st.lists(st.floats(0, 5, allow_nan=False), max_size=60))
def test_waiting_as_long_as_told_is_enough(gaps: list[float]) -> None:
    limit, now, even = Rate(3, 2.0), 0.0, 0.0
    for gap in gaps:
        now += gap
        even, wait = admitted(limit, even, now)
        if wait > 0:
            now += wait
            even, again = admitted(limit, even, now)
            assert again == 0.0


def test_keys_do_not_see_each_other() -> None:
    meter = Meter(rate("1/m"))
    assert meter.wait(("a", "x"), 0.0) == 0.0
    assert meter.wait(("b", "x"), 0.0) == 0.0
    assert meter.wait(("a", "x"), 0.0) == pytest.approx(60.0)


def test_what_did_not_happen_is_given_back() -> None:
    meter = Meter(rate("1/m"))
    assert meter.wait("a", 0.0) == 0.0
    meter.undo("a")
    assert meter.wait("a", 0.0) == 0.0
    meter.undo("nobody")
    assert len(meter) == 1


def test_it_keeps_only_who_came_lately() -> None:
    meter = Meter(rate("1/s"), keys=3)
    for n in range(100):
        assert meter.wait(n, float(n)) == 0.0
        assert len(meter) <= 3


def test_where_it_is_full_a_new_key_waits_for_the_first_that_is_even() -> None:
    meter = Meter(rate("1/s"), keys=2)
    assert meter.wait("a", 0.0) == 0.0
    assert meter.wait("b", 0.5) == 0.0
    assert meter.wait("c", 0.6) == pytest.approx(0.4)
    assert meter.wait("d", 0.7) == pytest.approx(0.3)
    assert len(meter) == 2
    assert meter.wait("c", 1.0) == 0.0


def test_the_failure_says_whose_rate_it_is_and_when_to_come_again() -> None:
    failure = too_many(rate("30/m"), "the tool 'mail'", 1.25, "tool")
    assert failure.message == "the tool 'mail' may be called 30/m at most: wait 1.2 s before the next call"
    assert (failure.code, failure.effect, failure.retryable, failure.retry_after) == (
        "rate_limited",
        "none",
        True,
        1.25,
    )
    assert failure.details == {"by": "tool", "rate": "30/m"}


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 400), st.floats(-1, 1)), max_size=30),
    st.integers(1, 100),
    st.floats(0.5, 100),
)
def test_an_allowance_gives_no_more_than_its_rate_and_lets_everybody_pass_in_time(
    asked: list[tuple[float, float, float]], count: int, seconds: float
) -> None:
    allowance, now, taken, largest = Allowance(Rate(count, seconds)), 0.0, 0.0, 0.0
    for pause, amount, share in asked:
        now += pause
        now += allowance.wait(amount, now)
        assert allowance.wait(amount, now) <= seconds * 1e-6
        allowance.take(amount, now)
        allowance.settle(amount * share)
        taken, largest = taken + amount * (1 + share), max(largest, 2 * amount)
        assert taken <= count * (1 + now / seconds) + largest + 1e-3
    wait = allowance.wait(count, now)
    allowance.shift(1000.0)
    assert allowance.wait(count, now + 1000.0) == pytest.approx(wait)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 400)), max_size=30), st.integers(1, 100), st.floats(0.5, 100))
def test_what_fits_is_what_need_not_wait(asked: list[tuple[float, float]], count: int, seconds: float) -> None:
    one, other, now = Allowance(Rate(count, seconds)), Allowance(Rate(count, seconds)), 0.0
    for pause, amount in asked:
        now += pause
        free = not other.wait(amount, now)
        assert one.fits(amount, now) == free
        if free:
            other.take(amount, now)
        assert one.wait(count, now) == other.wait(count, now)
