"""Plans that calls are added to one by one, and plans that are held, gone on with, or told what to refuse."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import Failure, failed
from toolwire.protocol.graph import Waits
from toolwire.protocol.plan import Plan
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec

SPECS = {
    spec.name: spec
    for spec in (
        ToolSpec("plain"),
        ToolSpec("look", read_only=True),
        ToolSpec("car", object="car"),
        ToolSpec("read", reads=("file",), read_only=True),
        ToolSpec("write", writes=("file",)),
        ToolSpec("alone", exclusive=True),
    )
}
REPEATED = failed("limit_reached", "the same call, once more")


def call(n: int, name: str = "plain", *needs: int | str, after: tuple[str, ...] = ()) -> ToolCall:
    return ToolCall(f"c{n}", name, json.dumps({"in": [{"$result": other} for other in needs]}), after)


def result(plan: Plan, n: int, *, ok: bool = True) -> ToolResult[object]:
    sent = plan.arguments(n)
    failure = sent if isinstance(sent, Failure) else None if ok else failed("timed_out", "too slow")
    return ToolResult(plan.calls[n].id, plan.calls[n].name, None if failure else json.dumps([n]), failure)


def end(plan: Plan, n: int, *, ok: bool = True) -> None:
    plan.end(n, result(plan, n, ok=ok))


def taken(plan: Plan) -> list[int]:
    found = []
    while (n := plan.take()) is not None:
        found.append(n)
    return found


@st.composite
def responses(draw: st.DrawFn) -> list[ToolCall]:
    calls = []
    for n in range(draw(st.integers(0, 8))):
        needs = draw(st.lists(st.integers(-1, 9) | st.integers(1, n or 1) | st.just("c0"), max_size=2))
        name = draw(st.sampled_from([*SPECS, "nobody knows it"]))
        identity = draw(st.sampled_from([f"c{n}"] * 8 + ["c0", ""]))
        text = json.dumps({"in": [{"$result": other} for other in needs]})
        kinds: list[str | dict[str, object]] = [text, text, {"n": n}, {"n": float("nan")}, "no JSON"]
        arguments = draw(st.sampled_from(kinds))
        calls.append(ToolCall(identity, name, arguments, ("c0",) if draw(st.integers(0, 9)) == 0 else ()))
    return calls


def seen(plan: Plan) -> tuple[object, ...]:
    return plan.graph(), plan.refused, plan.ready, plan.waiting, plan.running, plan.done


@given(responses(), st.integers(5, 9), st.sets(st.integers(0, 7), max_size=2), st.data())
def test_calls_added_one_by_one_make_the_plan_that_they_make_together(
    calls: list[ToolCall], limit: int, repeated: set[int], data: st.DataObject
) -> None:
    refuse = {n: REPEATED for n in repeated if n < len(calls)}
    references = data.draw(st.booleans(), "references")
    whole = Plan(calls, SPECS.get, references=references, limit=limit, refuse=refuse)
    grown = Plan.opened(SPECS.get, references=references, limit=limit, eager="all")
    for n, each in enumerate(calls):
        assert grown.add(each, refuse.get(n)) == n
    if data.draw(st.booleans(), "close early"):
        grown.close()
    running: list[int] = []
    while not whole.done:
        if whole.has_ready:
            running.append(n := whole.take() or 0)
            assert grown.take() == n
            assert grown.arguments(n) == whole.arguments(n)
        else:
            n = running.pop(data.draw(st.integers(0, len(running) - 1), "ends"))
            ok = data.draw(st.booleans(), "succeeds")
            end(whole, n, ok=ok)
            end(grown, n, ok=ok)
    assert grown.take() is None
    assert grown.done is not grown.open
    grown.close()
    assert seen(grown) == seen(whole)


@given(responses(), st.sampled_from(["read_only", "all"]), st.data())
def test_calls_may_run_while_others_are_still_added(calls: list[ToolCall], eager: str, data: st.DataObject) -> None:
    references = data.draw(st.booleans(), "references")
    whole = Plan(calls, SPECS.get, references=references)
    grown = Plan.opened(SPECS.get, references=references, eager="all" if eager == "all" else "read_only")
    todo = list(calls)
    running: list[int] = []
    outcome: dict[int, bool] = {}
    while not grown.done:
        choices = ["add"] * bool(todo) + ["take"] * grown.has_ready + ["end"] * bool(running)
        match data.draw(st.sampled_from(choices or ["close"]), "next"):
            case "add":
                grown.add(todo.pop(0))
            case "take":
                n = grown.take()
                assert n is not None
                assert {*whole.graph()[n].order} <= outcome.keys()
                spec = SPECS.get(calls[n].name)
                early = eager == "all" or spec is None or spec.read_only or n in grown.refused
                assert early or not grown.open, "it was to be kept back"
                sent = grown.arguments(n)
                assert isinstance(sent, Failure) or all(outcome[m] for m in whole.graph()[n].needs)
                running.append(n)
            case "end":
                n = running.pop(0)
                outcome[n] = data.draw(st.booleans(), "succeeds") and isinstance(grown.arguments(n), str)
                end(grown, n, ok=outcome[n])
            case "close":
                assert grown.open, "nothing can go on"
                grown.close()
    assert outcome.keys() == set(range(len(calls)))
    assert grown.graph() == whole.graph()
    assert grown.refused == whole.refused


@pytest.mark.parametrize("ends", ["before", "after"])
def test_what_has_to_stay_behind_the_first_call_waits_for_its_end_alone(ends: str) -> None:
    plan = Plan.opened(SPECS.get, eager="all")
    plan.add(call(0))
    assert taken(plan) == [0]
    if ends == "before":
        end(plan, 0, ok=False)
    plan.add(call(1, "alone"))
    if ends == "after":
        assert taken(plan) == []
        end(plan, 0)
    assert taken(plan) == [1]
    assert plan.waits(1) == Waits((), (0,))


def test_a_tool_is_for_a_plan_what_it_was_when_its_first_call_came() -> None:
    specs = dict(SPECS)
    plan = Plan.opened(specs.get, eager="all")
    plan.add(call(0))
    specs["plain"] = ToolSpec("plain", exclusive=True)
    plan.add(call(1))
    assert taken(plan) == [0, 1]


def test_what_is_not_eligible_is_kept_back_with_whatever_keeps_behind_it() -> None:
    plan = Plan.opened(SPECS.get, references=True)
    for each in (
        call(0, "look"),
        call(1, "write"),
        call(2, "read"),
        call(3, "look", 2),
        call(4, "look"),
        call(5, "no"),
    ):
        plan.add(each)
    assert taken(plan) == [0, 4]  # who serves a tool that is not known here may do anything
    assert repr(plan) == "<Plan [calls: 6, more to come | 0 ready | 2 running | 4 waiting | 0 refused]>"
    for n in (0, 4):
        end(plan, n)
    assert not plan.has_ready
    assert not plan.stalled
    plan.close()
    assert taken(plan) == [1, 5]
    end(plan, 1, ok=False)
    end(plan, 5)
    assert taken(plan) == [2, 3]
    assert plan.arguments(3) == Failure(
        "dependency_failed",
        'it needs the result of call 2 ("write", id "c1"), which failed: timed_out',
        details={"position": 2, "id": "c1", "tool": "write", "code": "timed_out", "root": 2},
    )
    end(plan, 2)
    end(plan, 3)
    assert plan.done


def test_a_result_is_there_for_a_call_that_comes_after_its_end() -> None:
    plan = Plan.opened(SPECS.get, references=True, eager="all")
    plan.add(call(0))
    plan.add(call(1))
    assert taken(plan) == [0, 1]
    end(plan, 0)
    end(plan, 1, ok=False)
    plan.add(call(2, "plain", 1))
    plan.add(call(3, "plain", 1, 2))
    plan.add(call(4, "plain", 6))
    assert plan.refused.keys() == {4}
    assert taken(plan) == [2, 3, 4]
    assert plan.arguments(2) == '{"in":[[0]]}'
    assert isinstance(plan.arguments(3), Failure)


def test_a_closed_plan_takes_no_more_calls() -> None:
    plan = Plan.opened(SPECS.get)
    assert not plan.done
    plan.close()
    plan.close()
    assert plan.done
    with pytest.raises(ValueError, match="closed"):
        plan.add(call(0))
    with pytest.raises(ValueError, match="closed"):
        Plan([call(0)], SPECS.get).add(call(1))


def test_an_open_plan_knows_no_ids() -> None:
    plan = Plan.opened(SPECS.get, references=True, eager="all")
    plan.add(call(0))
    plan.add(call(1, "plain", "c0"))
    plan.add(call(2, after=("c0",)))
    assert {n: failure.code for n, failure in plan.refused.items()} == {1: "invalid_reference", 2: "invalid_reference"}


def test_calls_are_refused_by_whoever_runs_the_plan_and_so_are_those_that_need_them() -> None:
    plan = Plan([call(0), call(1), call(2, "plain", 2)], SPECS.get, references=True, refuse={1: REPEATED})
    assert taken(plan) == [0, 1, 2]
    assert plan.arguments(1) == REPEATED
    assert plan.refused.keys() == {1, 2}
    assert plan.refused[2].details["code"] == "limit_reached"
    over = Plan([call(0)], SPECS.get, limit=0, refuse={0: REPEATED})
    assert over.refused[0] != REPEATED


def resumed(calls: Sequence[ToolCall], ended: dict[int, bool]) -> Plan:
    before = Plan(calls, SPECS.get, references=True)
    done = [result(before, n, ok=ended[n]) if n in ended else None for n in range(len(calls))]
    return Plan(calls, SPECS.get, references=True, ended=done)


def test_results_of_an_earlier_run_are_there_and_their_calls_are_not_run_again() -> None:
    plan = resumed([call(0), call(1, "plain", 1), call(2, "car"), call(3, "car"), call(4)], {0: True, 2: False})
    assert repr(plan) == "<Plan [calls: 5 | 3 ready | 0 running | 0 waiting | 0 refused]>"
    assert taken(plan) == [1, 3, 4]
    assert plan.arguments(1) == '{"in":[[0]]}'
    assert plan.arguments(3) == '{"in": []}'
    with pytest.raises(ValueError, match="has ended"):
        end(plan, 0)


def test_a_failure_of_an_earlier_run_dooms_whatever_needs_it() -> None:
    plan = resumed([call(0), call(1, "plain", 1), call(2, "plain", 2)], {0: False})
    assert taken(plan) == [1]
    end(plan, 1)
    assert taken(plan) == [2]
    assert [plan.arguments(n).details["root"] for n in (1, 2)] == [1, 1]  # type: ignore[union-attr]  # both are failures


@given(responses(), st.data())
def test_a_plan_goes_on_where_another_was_left(calls: list[ToolCall], data: st.DataObject) -> None:
    first = Plan(calls, SPECS.get, references=True)
    results: dict[int, ToolResult[object]] = {}
    stop = data.draw(st.integers(0, len(calls)), "stop")
    running: list[int] = []
    while len(results) < stop:
        running += taken(first)
        n = running.pop(data.draw(st.integers(0, len(running) - 1), "ends"))
        results[n] = result(first, n, ok=data.draw(st.booleans(), "succeeds"))
        first.end(n, results[n])
    second = Plan(calls, SPECS.get, references=True, ended=[results.get(n) for n in range(len(calls))])
    running = [*running, *taken(first)]
    assert sorted(running) == taken(second)
    assert [second.arguments(n) for n in running] == [first.arguments(n) for n in running]
    assert (second.waiting, second.done) == (first.waiting, first.done)


def test_a_held_call_is_neither_ready_nor_ended_until_it_is_released() -> None:
    plan = Plan([call(0), call(1, "car"), call(2, "car"), call(3, "plain", 3)], SPECS.get, references=True)
    assert taken(plan) == [0, 1]
    plan.hold(1)
    assert (plan.held, plan.running, plan.ready, plan.stalled) == ((1,), 1, 0, False)
    assert plan.hanging() == {2: 1, 3: 1}
    end(plan, 0)
    assert plan.stalled
    assert not plan.done
    assert repr(plan) == "<Plan [calls: 4 | 0 ready | 0 running | 2 waiting | 1 held | 0 refused]>"
    plan.release(1)
    assert not plan.stalled
    assert (plan.held, plan.hanging()) == ((), {})
    assert taken(plan) == [1]
    end(plan, 1)
    assert taken(plan) == [2]


def test_a_held_call_can_end_without_running() -> None:
    plan = Plan([call(0), call(1)], SPECS.get)
    assert taken(plan) == [0, 1]
    plan.hold(0)
    assert plan.hanging() == {}
    end(plan, 0, ok=False)
    end(plan, 1)
    assert plan.done
    assert not plan.stalled


def test_only_what_runs_can_be_held_and_only_what_is_held_released() -> None:
    plan = Plan([call(0)], SPECS.get)
    with pytest.raises(ValueError, match="was not taken"):
        plan.hold(0)
    plan.take()
    with pytest.raises(ValueError, match="is running"):
        plan.release(0)
    plan.hold(0)
    with pytest.raises(ValueError, match="is held"):
        plan.hold(0)
    end(plan, 0)
    with pytest.raises(ValueError, match="has ended"):
        end(plan, 0)


def test_a_call_is_told_the_first_held_one_that_it_waits_for() -> None:
    calls = [call(0), call(1), call(2, "plain", 1, 2), call(3, "plain", 2), call(4, "plain", 3)]
    plan = Plan(calls, SPECS.get, references=True)
    assert taken(plan) == [0, 1]
    plan.hold(1)
    plan.hold(0)
    assert plan.hanging() == {2: 0, 3: 1, 4: 0}
    end(plan, 0, ok=False)
    assert taken(plan) == [2], "a call that is doomed waits for no other result"
    assert plan.hanging() == {3: 1}


def test_an_open_plan_does_not_stall() -> None:
    plan = Plan.opened(SPECS.get, eager="all")
    plan.add(call(0))
    plan.hold(plan.take() or 0)
    assert not plan.stalled
    plan.close()
    assert plan.stalled
    assert plan.graph() == (Waits(),)
