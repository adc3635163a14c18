"""What a plan refuses before anything runs."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from toolwire.protocol.graph import Waits
from toolwire.protocol.plan import Plan
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


def text_of(plan: Plan, n: int) -> str:
    found = plan.arguments(n)
    assert isinstance(found, str), found
    return found


def codes(plan: Plan) -> dict[int, str]:
    return {n: failure.code for n, failure in plan.refused.items()}


def ref(result: int | str, path: str | None = None) -> dict[str, object]:
    return {"$result": result} if path is None else {"$result": result, "path": path}


def test_calls_beyond_the_limit_are_refused() -> None:
    plan = planned(call("plain"), call("plain", {"a": ref("c3")}), call("plain"), call("plain"), limit=2, ids=True)
    assert codes(plan) == {1: "dependency_failed", 2: "limit_reached", 3: "limit_reached"}
    assert "only the first 2 are made" in plan.refused[3].message
    assert not planned(call("plain"), call("plain"), limit=2).refused
    assert codes(planned(call("plain"), limit=0)) == {0: "limit_reached"}


def test_calls_without_an_id_of_their_own_are_refused_and_the_first_goes_on() -> None:
    calls = [call("plain", id="a"), call("plain"), call("plain", id="a"), call("plain", {"x": ref(3)}, id="b")]
    plan = Plan(calls, SPECS.get, references=True)
    assert codes(plan) == {1: "invalid_call", 2: "invalid_call", 3: "dependency_failed"}
    assert plan.refused[2].message == 'the id "a" is that of call 1, which goes on: give each call its own'
    assert taken(plan) == [0, 1, 2, 3]
    assert text_of(plan, 0) == "{}"


def test_a_single_call_without_an_id_is_refused() -> None:
    assert codes(Plan([call("plain")], SPECS.get)) == {0: "invalid_call"}


def test_an_id_that_stands_twice_can_not_be_meant() -> None:
    calls = [call("plain", id="a"), call("plain", id="a"), call("plain", {"x": ref("a")}, id="b")]
    plan = Plan([*calls, call("plain", {"x": ref(1)}, id="c")], SPECS.get, references=True, ids=True)
    assert codes(plan) == {1: "invalid_call", 2: "invalid_reference"}
    assert 'more than one call has the id "a"' in plan.refused[2].message


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (ref(2), 'at "/a": $result 2 is itself: this is call 2, and it may name one of the 1 calls before it'),
        (ref(3), "$result 3 is no earlier call"),
        (ref(4), "$result 4 is no earlier call"),
        (ref(0), "is no call"),
        (ref(-1), "is no call"),
        (ref(10**100), "$result (a huge number) is no earlier call"),
        (ref("c1"), "must be the position of an earlier call"),
        ({"$result": 1, "x": 1}, 'has keys beside "$result" and "path": "x"'),
        (ref(1, "a"), "is no JSON Pointer"),
    ],
)
def test_references_to_nowhere_are_refused(reference: object, message: str) -> None:
    plan = planned(call("plain"), call("plain", {"a": reference}), call("plain", {"a": ref(2)}))
    assert codes(plan) == {1: "invalid_reference", 2: "dependency_failed"}
    assert message in plan.refused[1].message


def test_the_first_call_is_told_that_nothing_is_before_it() -> None:
    assert (
        planned(call("plain", {"a": ref(1)}))
        .refused[0]
        .message.endswith("$result 1 is itself: this is call 1, and it may name an earlier call, and there is none")
    )


def test_a_position_never_means_a_later_call_even_where_ids_do() -> None:
    plan = planned(
        call("plain", {"a": ref("c2")}), call("plain"), call("plain", {"a": ref(4)}), call("plain"), ids=True
    )
    assert codes(plan) == {2: "invalid_reference"}
    assert taken(plan) == [1, 2, 3]
    ok(plan, 1, "x")
    assert taken(plan) == [0]
    assert text_of(plan, 0) == '{"a":"x"}'


def test_unknown_ids_are_refused() -> None:
    plan = planned(call("plain", {"a": ref("x")}), call("plain", after=("y",)), ids=True)
    assert codes(plan) == {0: "invalid_reference", 1: "invalid_reference"}
    assert plan.refused[0].message == 'at "/a": no call has the id "x"'
    assert plan.refused[1].message == 'no call has the id "y"'


def test_after_is_for_those_who_may_name_ids() -> None:
    assert codes(planned(call("plain"), call("plain", after=("c1",)))) == {1: "invalid_reference"}


def test_a_cycle_takes_the_calls_on_it_and_what_needs_them_and_no_other() -> None:
    plan = planned(
        call("plain", {"a": ref("c2")}),
        call("plain", after=("c3",)),
        call("plain", {"a": ref(1)}),
        call("plain", {"a": ref("c3")}),
        call("plain", {"a": ref(4)}),
        call("plain", after=("c1", "c5")),
        call("plain", {"a": ref("c7")}),
        call("plain"),
        ids=True,
    )
    expected = dict.fromkeys((0, 1, 2, 6), "invalid_reference") | dict.fromkeys((3, 4), "dependency_failed")
    assert codes(plan) == expected
    assert plan.refused[1].message == "calls 1, 2, 3 wait for each other: it could never start"
    assert plan.refused[6].message == "call 7 waits for itself: it could never start"
    assert plan.refused[4].details["root"] == 3
    assert taken(plan) == list(range(8))
    assert text_of(plan, 5) == "{}"


def test_order_never_closes_a_circle_with_needs() -> None:
    plan = planned(call("car", {"a": ref("c3")}), call("alone"), call("car"), ids=True)
    assert not plan.refused
    assert taken(plan) == [1]
    ok(plan, 1)
    assert taken(plan) == [2]
    ok(plan, 2, 1)
    assert taken(plan) == [0]


def test_order_passes_through_a_refused_call() -> None:
    plan = planned(call("write"), call("write", {"a": ref(9)}), call("write"))
    assert plan.graph() == (Waits(), Waits(), Waits((), (0,)))


def test_arguments_that_are_no_json_are_left_to_whoever_checks_them() -> None:
    text = '{"a": {"$result": 1}'
    plan = Plan([ToolCall("a", "plain", text)], SPECS.get, references=True)
    assert text_of(plan, 0) == text


def test_arguments_that_nest_too_deeply_to_be_read_are_refused() -> None:
    deep = '{"a":' * 5000 + '{"$result": 1}' + "}" * 5000
    assert codes(Plan([ToolCall("a", "plain", deep)], SPECS.get, references=True)) == {0: "invalid_arguments"}


CLOSED = {"type": "object", "properties": {"id": {"type": "integer"}, "tags": {"type": "array"}}}
TYPED = {
    "get": ToolSpec("get", returns=CLOSED | {"additionalProperties": False}),
    "open": ToolSpec("open", returns=CLOSED),
    "put": ToolSpec("put", parameters={"type": "object", "properties": {"id": {"type": "string"}}}),
}


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("get", {"id": ref(1, "/id")}, None),
        ("get", {"id": ref(1, "/ids")}, 'at "/id": the result of call 1 ("get") never has "/ids"'),
        ("get", {"id": ref(1, "/id/x")}, 'at "/id": the result of call 1 ("get") never has "/id/x"'),
        ("get", {"id": ref(1)}, 'at "/id": the result of call 1 ("get") is an object, which can\'t stand here'),
        ("get", {"id": ref(1, "/tags")}, '"/tags" of the result of call 1 ("get") is a list, which can\'t stand here'),
        ("get", {"id": ref(1, "/tags/0")}, None),
        ("get", {"other": ref(1)}, None),
        ("open", {"id": ref(1, "/ids")}, None),
        ("open", {"id": ref(1)}, "is an object, which can't stand here"),
        ("unknown", {"id": ref(1, "/ids")}, None),
    ],
)
def test_what_the_schemas_rule_out_is_refused_before_anything_runs(
    tool: str, arguments: dict[str, object], message: str | None
) -> None:
    plan = planned(call(tool), call("put", arguments), call("put", arguments), specs=TYPED)
    assert codes(plan) == ({} if message is None else {1: "invalid_reference", 2: "invalid_reference"})
    if message is not None:
        assert message in plan.refused[1].message
        assert plan.refused[1].details == {"position": 1}
