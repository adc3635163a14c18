"""How long calls took lately, against sorting all of them each time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.observed import ENOUGH, KEPT, Observed


@given(st.lists(st.floats(0, 1e6), max_size=3 * KEPT))
def test_it_is_the_95th_percentile_of_the_latest(durations: list[float]) -> None:
    observed = Observed()
    for n, seconds in enumerate(durations, 1):
        observed.add(seconds)
        latest = sorted(durations[max(0, n - KEPT) : n])
        assert len(observed) == len(latest)
        expected = latest[math.ceil(0.95 * len(latest)) - 1] if len(latest) >= ENOUGH else None
        assert observed.p95 == expected


def test_of_twenty_it_is_the_second_longest() -> None:
    observed = Observed()
    for n in range(20):
        assert observed.p95 is None
        observed.add(n)
    assert observed.p95 == 18
