"""Restart policy: the table, the intensity window, the pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.runtime.supervisor import STARTED_AGAIN, Restart, RestartPolicy, Supervisor


@pytest.mark.parametrize(
    ("restart", "crashed", "again"),
    [
        ("permanent", True, True),
        ("permanent", False, True),
        ("transient", True, True),
        ("transient", False, False),
        ("temporary", True, False),
        ("temporary", False, False),
    ],
)
def test_who_is_started_again(restart: Restart, *, crashed: bool, again: bool) -> None:
    assert STARTED_AGAIN[restart, crashed] is again
    assert (Supervisor(RestartPolicy(restart)).after_end(0.0, crashed=crashed) is not None) is again
    assert len(STARTED_AGAIN) == 6


def test_the_first_at_once_and_then_ever_longer_up_to_the_cap() -> None:
    supervisor = Supervisor(RestartPolicy(intensity=7, period=10, pause=0.1, cap=1.0))
    pauses = [supervisor.after_end(1.0, crashed=True) for _ in range(8)]
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, None]


def test_what_is_long_ago_counts_no_more() -> None:
    supervisor = Supervisor(RestartPolicy(intensity=2, period=10))
    assert supervisor.after_end(0.0, crashed=True) == 0.0
    assert supervisor.after_end(5.0, crashed=True) == 0.05
    assert supervisor.after_end(10.0, crashed=True) is None
    assert supervisor.after_end(10.5, crashed=True) == 0.05
    assert supervisor.after_end(100.0, crashed=True) == 0.0


@given(st.lists(st.floats(0, 3), max_size=40), st.integers(0, 5), st.floats(0.1, 10))
def test_never_more_than_the_intensity_in_any_period(gaps: list[float], intensity: int, period: float) -> None:
    supervisor = Supervisor(RestartPolicy(intensity=intensity, period=period))
    now, started = 0.0, []
    for gap in gaps:
        now += gap
        pause = supervisor.after_end(now, crashed=True)
        if pause is not None:
            assert 0 <= pause <= supervisor.policy.cap
            started.append(now)
    for start in started:
        assert sum(0 <= other - start <= period for other in started) <= intensity
