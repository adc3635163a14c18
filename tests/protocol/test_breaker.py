"""A breaker as a table, and what holds of it whatever happens in whatever order."""

from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from toolwire import Misuse
from toolwire.protocol.breaker import PROBING, TABLE, Breaker, Circuit, Entry, Event, State, resting
from toolwire.protocol.failures import CODES


def let_in(circuit: Circuit, now: float) -> Entry:
    entry = circuit.enter(now)
    assert isinstance(entry, Entry)
    return entry


def ended(circuit: Circuit, code: str | None, now: float = 0.0) -> None:
    circuit.leave(let_in(circuit, now), code, now)


def state(circuit: Circuit) -> str:
    return circuit.state


def opened(breaker: Breaker) -> Circuit:
    circuit = Circuit(breaker)
    for _ in range(breaker.failures):
        ended(circuit, "failed")
    assert state(circuit) == "open"
    return circuit


def test_the_table_leads_nowhere_else_and_leaves_nothing_out() -> None:
    states, events = set(get_args(State)), set(get_args(Event))
    assert {state for state, _ in TABLE} == states == {state for state, _ in TABLE.values()}
    assert {event for _, event in TABLE} == events
    assert [key for key, (state, _) in TABLE.items() if state == "closed" != key[0]] == [("half_open", "proved")]


def test_it_opens_after_so_many_in_a_row() -> None:
    circuit = Circuit(Breaker(failures=3))
    for code in ("failed", "timed_out", "", "failed", "invalid_result"):
        ended(circuit, code)
    assert (state(circuit), repr(circuit)) == ("closed", "<Circuit closed [failures: 2 | probes: 0]>")
    ended(circuit, "failed")
    assert state(circuit) == "open"


def test_failures_that_are_long_ago_do_not_count() -> None:
    circuit = Circuit(Breaker(failures=2, within=5.0))
    for now in (0.0, 5.5, 11.0):
        ended(circuit, "failed", now)
    assert state(circuit) == "closed"
    ended(circuit, "failed", 16.0)
    assert state(circuit) == "open"


@pytest.mark.parametrize("code", [code for code in CODES if code not in Breaker().codes])
def test_what_is_no_failure_of_the_tool_counts_as_well_done(code: str) -> None:
    circuit = Circuit(Breaker(failures=2))
    for end in ("failed", code, "failed"):
        ended(circuit, end)
    assert state(circuit) == "closed"


def test_one_that_left_says_nothing() -> None:
    circuit = Circuit(Breaker(failures=2))
    for end in ("failed", None, "failed"):
        ended(circuit, end)
    assert state(circuit) == "open"


def test_it_rests_then_tries_one_then_is_well() -> None:
    circuit = opened(Breaker(rest=10.0))
    assert [circuit.enter(now) for now in (0.0, 4.0, 9.5)] == [10.0, 6.0, 0.5]
    probe = let_in(circuit, 10.0)
    assert (state(circuit), circuit.enter(10.0)) == ("half_open", PROBING)
    circuit.leave(probe, "", 11.0)
    assert (state(circuit), circuit.wait(11.0)) == ("closed", 0.0)


def test_a_probe_that_fails_lets_it_rest_again() -> None:
    circuit = opened(Breaker(rest=10.0))
    circuit.leave(let_in(circuit, 10.0), "timed_out", 12.0)
    assert (state(circuit), circuit.enter(13.0)) == ("open", 9.0)


def test_a_probe_whose_caller_left_makes_room() -> None:
    circuit = opened(Breaker())
    circuit.leave(let_in(circuit, 10.0), None, 10.0)
    assert state(circuit) == "half_open"
    circuit.leave(let_in(circuit, 10.0), "", 10.0)
    assert state(circuit) == "closed"


def test_several_probes_have_to_succeed_all() -> None:
    circuit = opened(Breaker(probes=2))
    first, second = let_in(circuit, 10.0), let_in(circuit, 10.0)
    assert circuit.enter(10.0) == PROBING
    circuit.leave(first, "", 10.0)
    assert state(circuit) == "half_open"
    circuit.leave(second, "", 10.0)
    assert state(circuit) == "closed"


def test_who_came_in_before_says_nothing_of_now() -> None:
    circuit = Circuit(Breaker(failures=1))
    slow = let_in(circuit, 0.0)
    ended(circuit, "failed", 0.0)
    circuit.leave(slow, "", 1.0)
    assert state(circuit) == "open"


def test_a_probe_of_before_still_takes_its_place() -> None:
    circuit = opened(Breaker(probes=2, rest=10.0))
    slow, quick = let_in(circuit, 10.0), let_in(circuit, 10.0)
    circuit.leave(quick, "failed", 10.0)
    let_in(circuit, 20.0)
    assert circuit.enter(20.0) == PROBING
    circuit.leave(slow, "failed", 20.0)
    assert state(circuit) == "half_open"
    let_in(circuit, 20.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"probes": 0},
        {"within": 0.0},
        {"rest": 0.0},
        {"rest": float("inf")},
        {"rest": float("nan")},
        {"codes": ("brocken",)},
    ],
    ids=str,
)
def test_a_breaker_that_can_not_be(wrong: dict[str, float]) -> None:
    with pytest.raises(Misuse):
        Breaker(**wrong)  # type: ignore[arg-type]  # one of them is a tuple


def test_the_failure_says_when() -> None:
    failure = resting("'search'", 2.0)
    assert (failure.code, failure.effect, failure.retry_after, failure.retryable) == ("circuit_open", "none", 2.0, True)


class AnyOrder(RuleBasedStateMachine):
    """Calls come, end and leave in any order, at any time."""

    @initialize(failures=st.integers(1, 4), probes=st.integers(1, 3), within=st.sampled_from([1.0, 5.0]))
    def begin(self, failures: int, probes: int, within: float) -> None:
        self.breaker = Breaker(failures, within, 3.0, probes)
        self.circuit = Circuit(self.breaker)
        self.now = 0.0
        self.inside: list[Entry] = []
        self.in_a_row: list[float] = []
        self.proved = 0

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def come(self) -> None:
        before, wait = state(self.circuit), self.circuit.wait(self.now)
        entry = self.circuit.enter(self.now)
        if isinstance(entry, Entry):
            assert wait == 0.0
            assert entry.probe == (before != "closed")
            if self.circuit.state != before:
                self.proved = 0
            self.inside.append(entry)
        else:
            assert entry == wait > 0.0
            assert self.circuit.state == before

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), code=st.sampled_from(["", "failed", "timed_out", "overloaded", None]))
    def end(self, data: st.DataObject, code: str | None) -> None:
        entry = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        before = state(self.circuit)
        self.circuit.leave(entry, code, self.now)
        after = state(self.circuit)
        if before == "half_open" and after == "half_open" and entry.probe and code in {"", "overloaded"}:
            self.proved += 1
        if after == "closed" and before != "closed":
            assert (before, entry.probe) == ("half_open", True)
            assert code in {"", "overloaded"}
            assert self.proved >= self.breaker.probes - 1
        if after == "open" and before != "open":
            assert code in self.breaker.codes
            assert self.circuit.wait(self.now) == self.breaker.rest

    @invariant()
    def few_probes(self) -> None:
        assert sum(entry.probe for entry in self.inside) <= self.breaker.probes

    def teardown(self) -> None:
        """Whatever came before, a tool that is well again is used again."""
        if not hasattr(self, "inside"):
            return
        for entry in self.inside:
            self.circuit.leave(entry, None, self.now)
        self.now += self.breaker.rest
        for _ in range(self.breaker.probes):
            ended(self.circuit, "", self.now)
        assert self.circuit.state == "closed"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(stateful_step_count=30, deadline=None)
