import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from toolwire.protocol.failures import Failure, failed
from toolwire.protocol.graph import Waits
from toolwire.protocol.plan import Plan
from toolwire.protocol.results import LARGEST
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec

PLAIN = ToolSpec("plain")
SPECS = {
    spec.name: spec
    for spec in (
        PLAIN,
        ToolSpec("car", object="car"),
        ToolSpec("bus", object="bus", reads=("map",)),
        ToolSpec("read", reads=("file",)),
        ToolSpec("write", writes=("file",)),
        ToolSpec("both", reads=("map",), writes=("file", "map")),
        ToolSpec("alone", exclusive=True),
    )
}


def call(name: str, arguments: object = None, *, id: str = "", after: tuple[str, ...] = ()) -> ToolCall:  # noqa: A002
    return ToolCall(id, name, json.dumps(arguments or {}), after)


def batch(*calls: ToolCall) -> list[ToolCall]:
    """Calls with the ids `c1`, `c2`, … where they have none."""
    return [ToolCall(c.id or f"c{n}", c.name, c.arguments, c.after) for n, c in enumerate(calls, 1)]


def planned(*calls: ToolCall, specs: Mapping[str, ToolSpec] = SPECS, **options: Any) -> Plan:
    options.setdefault("references", True)
    return Plan(batch(*calls), specs.get, **options)


def taken(plan: Plan) -> list[int]:
    found = []
    while (n := plan.take()) is not None:
        found.append(n)
    return found


def ok(plan: Plan, n: int, value: object = None) -> None:
    plan.end(n, ToolResult(plan.calls[n].id, plan.calls[n].name, content=json.dumps(value)))


def fail(plan: Plan, n: int, failure: Failure | None = None) -> None:
    failure = failure or failed("timed_out", "too slow")
    plan.end(n, ToolResult(plan.calls[n].id, plan.calls[n].name, failure=failure))


def failure_of(plan: Plan, n: int) -> Failure:
    found = plan.arguments(n)
    assert isinstance(found, Failure), found
    return found


def text_of(plan: Plan, n: int) -> str:
    found = plan.arguments(n)
    assert isinstance(found, str), found
    return found


def codes(plan: Plan) -> dict[int, str]:
    return {n: failure.code for n, failure in plan.refused.items()}


def ref(result: int | str, path: str | None = None) -> dict[str, object]:
    return {"$result": result} if path is None else {"$result": result, "path": path}


# What runs when


def test_an_empty_batch_is_done() -> None:
    plan = planned()
    assert plan.done
    assert plan.take() is None
    assert not plan.has_ready


def test_independent_calls_are_ready_at_once_in_their_order() -> None:
    plan = planned(call("plain"), call("nobody knows it"), call("plain"))
    assert (plan.ready, plan.waiting, plan.has_ready, plan.done) == (3, 0, True, False)
    assert taken(plan) == [0, 1, 2]
    assert not plan.has_ready
    for n in (1, 0, 2):
        ok(plan, n)
    assert plan.done


def test_a_call_starts_when_what_it_needs_has_ended_not_a_layer_later() -> None:
    plan = planned(
        call("plain"), call("plain"), call("plain", {"a": ref(2)}), call("plain", {"a": ref(3), "b": ref(1)})
    )
    assert taken(plan) == [0, 1]
    assert plan.waiting == 2
    ok(plan, 1)
    assert taken(plan) == [2]
    ok(plan, 2)
    assert taken(plan) == []
    ok(plan, 0)
    assert taken(plan) == [3]


def test_among_the_ready_the_first_of_the_response_comes_first() -> None:
    plan = planned(call("plain"), call("plain", {"a": ref(1)}), call("plain"), call("plain", {"a": ref(1)}))
    assert plan.take() == 0
    ok(plan, 0)
    assert taken(plan) == [1, 2, 3]


def test_a_call_that_only_had_to_wait_goes_on_after_a_failure() -> None:
    plan = planned(call("car"), call("car"), call("write"), call("read"), call("alone"))
    assert taken(plan) == [0, 2]
    fail(plan, 0)
    fail(plan, 2)
    assert taken(plan) == [1, 3]
    fail(plan, 1)
    fail(plan, 3)
    assert taken(plan) == [4]
    assert text_of(plan, 4) == "{}"


def test_failure_travels_along_needs_and_names_whom_it_needed() -> None:
    plan = planned(call("plain"), call("car", {"a": ref(1)}), call("plain", {"a": ref(2)}), call("car"), call("plain"))
    assert taken(plan) == [0, 4]
    fail(plan, 0)
    assert taken(plan) == [1]
    first = failure_of(plan, 1)
    assert first.code == "dependency_failed"
    assert first.effect == "none"
    assert not first.retryable
    assert first.message == 'it needs the result of call 1 ("plain", id "c1"), which failed: timed_out'
    assert first.details == {"position": 1, "id": "c1", "tool": "plain", "code": "timed_out", "root": 1}
    fail(plan, 1, first)
    assert taken(plan) == [2, 3]
    second = failure_of(plan, 2)
    assert second.details == {"position": 2, "id": "c2", "tool": "car", "code": "dependency_failed", "root": 1}
    assert text_of(plan, 3) == "{}"


def test_a_doomed_call_does_not_wait_for_its_other_needs_but_keeps_its_place_in_line() -> None:
    plan = planned(call("plain"), call("plain"), call("car"), call("car", {"a": ref(1), "b": ref(2)}), call("car"))
    assert taken(plan) == [0, 1, 2]
    fail(plan, 0)
    assert taken(plan) == []
    ok(plan, 2)
    assert taken(plan) == [3]
    fail(plan, 3, failure_of(plan, 3))
    assert taken(plan) == [4]
    ok(plan, 1)
    ok(plan, 4)
    assert plan.done


def test_a_result_that_is_neither_is_a_failure() -> None:
    plan = planned(call("plain"), call("plain", {"a": ref(1)}))
    assert plan.take() == 0
    plan.end(0, ToolResult("c1", "plain"))
    assert plan.take() == 1
    assert failure_of(plan, 1).details["code"] == "internal"


def test_a_call_ends_only_once_and_only_after_it_was_taken() -> None:
    for plan in (planned(call("plain"), call("plain")), planned(call("car"), call("car"))):
        with pytest.raises(ValueError, match="call 0 is not running: it was not taken"):
            ok(plan, 0)
        assert plan.take() == 0
        ok(plan, 0)
        with pytest.raises(ValueError, match="call 0 is not running: it has ended"):
            ok(plan, 0)
        with pytest.raises(IndexError):
            plan.end(2, ToolResult("c3", "plain", content="1"))


def test_the_graph_says_who_waits_for_whom() -> None:
    plan = planned(
        call("car"),
        call("plain", {"a": ref(1), "b": [ref(1, "/x")]}),
        call("car", {"a": ref(2)}),
        call("plain", {"a": ref(9)}),
        call("plain", id="last", after=("c1", "c4")),
        ids=True,
    )
    assert plan.graph() == (Waits(), Waits((0,)), Waits((1,), (0,)), Waits(), Waits((), (0,)))
    assert plan.waits(2) == Waits((1,), (0,))
    assert planned(call("plain"), call("plain")).graph() == (Waits(), Waits())


def test_repr_counts() -> None:
    plan = planned(call("plain"), call("plain", {"a": ref(1)}), call("plain"), call("plain", {"a": ref(4)}))
    plan.take()
    assert repr(plan) == "<Plan [calls: 4 | 2 ready | 1 running | 1 waiting | 1 refused]>"


# What is sent


def test_text_without_references_is_sent_as_it_came() -> None:
    text = ' {"b" : 1.00, "a":"$result","c":"\\u0024"} '
    for references in (True, False):
        plan = Plan([ToolCall("a", "plain", text), call("car", id="b")], SPECS.get, references=references)
        assert text_of(plan, 0) == text


def test_without_references_nothing_is_looked_for() -> None:
    text = '{"a":{"$result":1},"b":{"$literal":1}}'
    plan = Plan([call("car", id="a"), ToolCall("b", "car", text)], SPECS.get)
    assert plan.graph() == (Waits(), Waits((), (0,)))
    taken(plan)
    ok(plan, 0)
    taken(plan)
    assert text_of(plan, 1) == text


def test_results_are_put_where_the_references_stood() -> None:
    arguments = {"z": ref(1), "list": [ref(1, "/items/0/id"), {"deep": ref(1, "/items")}], "lit": {"$literal": ref(1)}}
    plan = planned(call("plain"), call("plain", arguments))
    taken(plan)
    value = {"items": [{"id": 7}], "$result": 1}
    ok(plan, 0, value)
    assert taken(plan) == [1]
    assert json.loads(text_of(plan, 1)) == {"z": value, "list": [7, {"deep": [{"id": 7}]}], "lit": ref(1)}
    assert list(json.loads(text_of(plan, 1))) == ["z", "list", "lit"]


def test_results_are_never_searched() -> None:
    plan = planned(call("plain"), call("plain"), call("plain", {"a": ref(2), "b": ref(2, "/x")}))
    taken(plan)
    ok(plan, 0, "secret")
    ok(plan, 1, {"x": ref(1), "y": {"$literal": 1}})
    taken(plan)
    assert json.loads(text_of(plan, 2)) == {"a": {"x": ref(1), "y": {"$literal": 1}}, "b": ref(1)}


def test_whole_results_keep_their_digits() -> None:
    plan = planned(call("plain"), call("plain", {"a": ref(1)}))
    taken(plan)
    plan.end(0, ToolResult("c1", "plain", content="[1e400, 1.10, 123456789012345678901234567890]"))
    assert text_of(plan, 1) == '{"a":[1e400, 1.10, 123456789012345678901234567890]}'


def test_escaped_keys_and_ids_are_found() -> None:
    text = '{"a": {"\\u0024result": "c1", "p\\u0061th": "/x"}}'
    plan = Plan([call("plain", id="c1"), ToolCall("c2", "plain", text)], SPECS.get, references=True, ids=True)
    taken(plan)
    ok(plan, 0, {"x": 1})
    taken(plan)
    assert text_of(plan, 1) == '{"a":1}'


def test_a_path_that_the_result_does_not_have_names_the_producer() -> None:
    plan = planned(call("plain"), call("plain", {"to": ref(1, "/items/0/id")}), call("plain", {"to": ref(2)}))
    taken(plan)
    ok(plan, 0, {"items": []})
    taken(plan)
    failure = failure_of(plan, 1)
    assert failure.code == "invalid_reference"
    assert failure.details == {"position": 1, "id": "c1", "tool": "plain"}
    assert failure.message == (
        'at "/to": the result of call 1 ("plain", id "c1") has no "/items/0/id": '
        'the list at "/items" has 0 entries, counted from 0, and no "0"'
    )
    fail(plan, 1, failure)
    assert taken(plan) == [2]
    assert failure_of(plan, 2).details["code"] == "invalid_reference"


@pytest.mark.parametrize("content", ['1, "admin": true', "", "{", "[" * 5000])
@pytest.mark.parametrize("path", [None, "/a"])
def test_a_result_that_is_not_one_json_value_is_not_written_into_arguments(content: str, path: str | None) -> None:
    plan = planned(call("plain"), call("plain", {"a": ref(1, path)}))
    taken(plan)
    plan.end(0, ToolResult("c1", "plain", content=content))
    taken(plan)
    failure = failure_of(plan, 1)
    assert (failure.code, failure.details["code"]) == ("dependency_failed", "invalid_result")


def test_a_short_text_can_not_name_a_long_result_a_thousand_times() -> None:
    many = call("plain", {"a": [ref(1)] * 100_000})
    twice = call("plain", {"a": [ref(1, "/0"), ref(1, "/0")]})
    once = call("plain", {"a": ref(1)})
    escaped = call("plain", {"a": ref(1), "b": {"$literal": "x" * LARGEST}})
    plan = planned(call("plain"), many, twice, once, escaped)
    taken(plan)
    ok(plan, 0, ["x" * (LARGEST // 2 + 1)])
    assert taken(plan) == [1, 2, 3, 4]
    assert [failure_of(plan, n).code for n in (1, 2, 4)] == ["too_large"] * 3
    assert len(text_of(plan, 3)) > LARGEST // 2


def test_mappings_are_written_when_the_plan_is_made() -> None:
    shared: dict[str, Any] = {"a": {"$result": 1}, "b": [1]}
    plain: dict[str, Any] = {"a": 1}
    calls = [ToolCall("c1", "plain", plain), ToolCall("c2", "plain", shared), ToolCall("c3", "plain", {"a": object()})]
    plan = Plan(calls, SPECS.get, references=True)
    plain["a"] = shared["b"] = 2
    assert codes(plan) == {2: "invalid_arguments"}
    assert text_of(plan, 0) == '{"a":1}'
    taken(plan)
    ok(plan, 0, "x")
    assert text_of(plan, 1) == '{"a":"x","b":[1]}'


# However large


def run(plan: Plan) -> list[int]:
    """Run a plan one call after the other. Returns who did not succeed."""
    failures = []
    while (n := plan.take()) is not None:
        sent = plan.arguments(n)
        if isinstance(sent, Failure):
            failures.append(n)
            fail(plan, n, sent)
        else:
            ok(plan, n, n)
    assert plan.done
    return failures


MANY = 10_000


@pytest.mark.parametrize("shape", ["flat", "chain", "car", "alone", "write", "read and write", "hub", "ring"])
def test_ten_thousand_calls(shape: str) -> None:
    names = {"read and write": ["read"] * 99 + ["write"]}.get(shape, [shape if shape in SPECS else "plain"])
    calls = [call(names[n % len(names)]) for n in range(MANY)]
    if shape == "chain":
        calls[1:] = [call("plain", {"a": ref(n)}) for n in range(1, MANY)]
    elif shape == "hub":
        calls[1:] = [call("plain", {"a": ref(1), "b": ref(1, "")}) for _ in range(1, MANY)]
    elif shape == "ring":
        calls = [call("plain", {"a": ref(f"c{(n + 1) % MANY + 1}")}) for n in range(MANY)]
    begun = time.perf_counter()
    plan = planned(*calls, ids=True)
    edges = sum(len(waits.needs) + len(waits.order) for waits in plan.graph())
    failures = run(plan)
    assert time.perf_counter() - begun < 2.0
    assert edges <= 2 * MANY
    assert failures == (list(range(MANY)) if shape == "ring" else [])


def test_one_failure_runs_down_a_chain_of_ten_thousand() -> None:
    plan = planned(call("plain"), *(call("plain", {"a": ref(n)}) for n in range(1, MANY)))
    assert plan.take() == 0
    fail(plan, 0)
    assert run(plan) == list(range(1, MANY))


def test_a_broken_start_refuses_a_chain_of_ten_thousand() -> None:
    plan = planned(call("plain", {"a": ref(0)}), *(call("plain", {"a": ref(n)}) for n in range(1, MANY)))
    assert len(plan.refused) == MANY
    assert plan.refused[MANY - 1].details["root"] == 1


def test_a_result_may_be_supplied_in_whole_for_those_who_take_it_in() -> None:
    calls = [ToolCall("a", "t"), ToolCall("b", "t", {"x": {"$result": 1, "path": "/n"}}), ToolCall("c", "t")]
    plan = planned(*calls)
    assert [plan.needed(n) for n in range(3)] == [True, False, False]
    assert plan.take() == 0
    plan.supply(0, '{"n": 5}')
    plan.end(0, ToolResult("a", "t", '{"head": ""}'))
    assert plan.take() == 1
    assert plan.arguments(1) == '{"x":5}'


@pytest.mark.parametrize("late", [False, True], ids=["before the end", "after the end"])
def test_what_can_not_be_supplied_fails_those_who_need_it(late: bool) -> None:  # noqa: FBT001 - a parameter
    calls = [ToolCall("a", "t"), ToolCall("b", "t", {"x": {"$result": 1}}), ToolCall("c", "t", {"x": {"$result": 2}})]
    plan = planned(*calls)
    assert plan.take() == 0
    if not late:
        plan.supply(0, failed("failed", "it is gone"))
    plan.end(0, ToolResult("a", "t", '{"head": ""}'))
    if late:
        plan.supply(0, failed("failed", "it is gone"))
    assert plan.take() == 1
    failure = plan.arguments(1)
    assert isinstance(failure, Failure)
    assert failure.code == "dependency_failed"
    assert failure.message.endswith('all of the result of call 1 ("t"): it is gone')


def test_an_open_plan_may_need_anything() -> None:
    plan = Plan.opened(SPECS.get, references=True)
    plan.add(ToolCall("a", "t"))
    assert plan.needed(0)
    assert not planned(ToolCall("a", "t")).needed(0)
