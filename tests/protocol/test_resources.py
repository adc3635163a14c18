import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.plan import Plan
from toolwire.protocol.resources import UNKNOWN, Touch, fields, ruled, touched
from toolwire.protocol.tools import ToolCall, ToolSpec

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "disk": {"default": "c"}, "maybe": {"default": None}, "any": True},
}
EDIT = ToolSpec("edit", parameters=SCHEMA, writes=("file:{path}",))
READ = ToolSpec("read", parameters=SCHEMA, reads=("file:{path}",))
FIND = ToolSpec("find", parameters=SCHEMA, reads=("file",))
RULED = ToolSpec("ruled", parameters=SCHEMA, computed=True)
SPECS = {spec.name: spec for spec in (EDIT, READ, FIND, RULED, ToolSpec("plain"))}


def writes(template: str, arguments: Mapping[str, Any] | None) -> Touch:
    spec = ToolSpec("edit", parameters=SCHEMA, writes=(template,))
    return touched(spec, ToolCall("a", "edit"), arguments, None)


@pytest.mark.parametrize(
    ("template", "arguments", "name"),
    [
        ("file:{path}", {"path": "a b"}, "file:a b"),
        ("file:{path}", {"path": ""}, "file:"),
        ("file:{path}", {"path": "x:y"}, "file:x:y"),
        ("file:{disk}/{path}", {"path": "a"}, "file:c/a"),
        ("row:{path}", {"path": 3}, "row:3"),
        ("row:{path}", {"path": 3.0}, "row:3"),
        ("row:{path}", {"path": True}, "row:true"),
        ("row:{path}", {"path": {"b": 1, "a": [2]}}, 'row:{"a":[2],"b":1}'),
        ("file:{path}", {"path": "{disk}"}, "file:{disk}"),
        ("file:{path}", {"path": None}, "file:*"),
        ("file:{path}", {}, "file:*"),
        ("file:{maybe}", {}, "file:*"),
        ("file:{any}", {}, "file:*"),
        ("file:{path}", {"path": UNKNOWN}, "file:*"),
        ("file:{path}", {"path": ["a", UNKNOWN]}, "file:*"),
        ("file:{path}", None, "file:*"),
        ("file", None, "file"),
    ],
)
def test_a_template_is_filled_from_the_arguments(template: str, arguments: Mapping[str, Any] | None, name: str) -> None:
    assert writes(template, arguments) == Touch(writes=(name,))


@pytest.mark.parametrize("template", ["{path}", "{path}:x", "a{path}"])
def test_a_template_without_a_kind_touches_anything(template: str) -> None:
    assert writes(template, {"path": "a"}).anything
    with pytest.raises(ValueError, match="no kind"):
        fields(template)


@pytest.mark.parametrize("template", ["a:{", "a:}", "a:{}", "a:{{b}}"])
def test_braces_that_enclose_no_name_are_no_template(template: str) -> None:
    with pytest.raises(ValueError, match="braces"):
        fields(template)


def test_the_fields_of_a_template() -> None:
    assert fields("file:{disk}/{path}") == ["disk", "path"]
    assert fields("file") == []


def rule(function: Any, **arguments: object) -> Any:
    return ruled(function, None, arguments, SCHEMA)


def test_a_function_sees_arguments_as_attributes_with_the_defaults_of_the_schema() -> None:
    assert rule(lambda a: {f"file:{a.disk}/{a.path}"}, path="x") == ({"file:c/x"}, set())
    assert ruled(None, lambda a: [f"file:{a.path}", "log"], {"path": "x"}, SCHEMA) == (set(), {"file:x", "log"})
    assert rule(lambda a: f"file:{a.path}", path="x") == ({"file:x"}, set())
    assert rule(lambda _: ()) == (set(), set())


@pytest.mark.parametrize(
    "function",
    [
        lambda a: {f"file:{a.path}"},
        lambda a: {"file:" + a.path},
        lambda a: {f"file:{a.path.lower():>8}"},
        lambda a: {f"file:{a.path['to'] / 'x'}"},
        lambda a: {f"file:{a.disk}/{a.path + '.txt'}"},
    ],
)
def test_a_name_with_a_gap_stands_for_its_kind(function: Any) -> None:
    assert rule(function, path=UNKNOWN) == ({"file:*"}, set())


@pytest.mark.parametrize(
    "function",
    [
        lambda a: {a.path},
        lambda a: {f"{a.path}:x"},
        lambda a: {f"{a.path}"},
        lambda a: {"file:x"} if a.path else set(),
        lambda a: {"file:x"} if a.path == "x" else {"db"},
        lambda a: {f"file:{len(a.path)}"},
        lambda a: {f"file:{part}" for part in a.path},
        lambda a: {"file:" + str(a.path)},
        lambda a: {a.nothing},
        lambda _: 3,
        lambda _: {3},
        lambda _: {"a": 1}["b"],
    ],
)
def test_a_function_that_can_not_tell_says_nothing(function: Any) -> None:
    assert rule(function, path=UNKNOWN) is None


def edit(n: int, path: object, name: str = "edit") -> ToolCall:
    return ToolCall(f"c{n}", name, json.dumps({"path": path}))


def test_calls_of_different_files_run_together_and_those_of_one_in_their_order() -> None:
    plan = Plan([edit(0, "a"), edit(1, "b"), edit(2, "a", "read"), edit(3, "c", "read"), edit(4, "b")], SPECS.get)
    assert [waits.order for waits in plan.graph()] == [(), (), (0,), (), (1,)]


def test_what_hangs_on_a_result_waits_for_the_whole_kind_and_later_ones_wait_for_it() -> None:
    calls = [ToolCall("c0", "plain"), edit(1, "a"), edit(2, {"$result": 1}), edit(3, "b"), edit(4, "z", "find")]
    plan = Plan(calls, SPECS.get, references=True)
    assert [tuple(waits) for waits in plan.graph()] == [((), ()), ((), ()), ((0,), (1,)), ((), (2,)), ((), (3,))]
    as_data = Plan(calls, SPECS.get)
    assert [waits.order for waits in as_data.graph()] == [(), (), (), (), (1, 2, 3)]


def test_a_literal_is_no_reference() -> None:
    plan = Plan([edit(0, "a"), edit(1, {"$literal": "b"}), edit(2, "b")], SPECS.get, references=True)
    assert [waits.order for waits in plan.graph()] == [(), (), (1,)]


def test_a_rule_elsewhere_may_mean_anything_and_one_here_is_asked() -> None:
    calls = [edit(0, "a"), edit(1, "b", "ruled"), edit(2, "c", "ruled"), edit(3, "a"), ToolCall("p", "plain")]
    assert [waits.order for waits in Plan(calls, SPECS.get).graph()] == [(), (0,), (1,), (2,), ()]

    def resources(_call: ToolCall, arguments: Mapping[str, Any]) -> tuple[set[str], set[str]] | None:
        return ruled(lambda a: {f"file:{a.path}"}, None, arguments, SCHEMA)

    assert [waits.order for waits in Plan(calls, SPECS.get, resources=resources).graph()] == [(), (), (), (0,), ()]
    unread = [edit(0, "a"), ToolCall("x", "ruled", "{"), ToolCall("y", "edit", "[1]"), edit(3, "b")]
    assert [w.order for w in Plan(unread, SPECS.get, resources=resources).graph()] == [(), (0,), (1,), (1, 2)]


@given(st.lists(st.tuples(st.sampled_from(["edit", "read", "find"]), st.sampled_from("abc")), max_size=10))
def test_no_two_calls_in_conflict_ever_run_together(calls: list[tuple[str, str]]) -> None:
    plan = Plan([edit(n, path, name) for n, (name, path) in enumerate(calls)], SPECS.get)
    behind: list[set[int]] = []
    for n, (name, path) in enumerate(calls):
        direct = {*plan.graph()[n].order}
        behind.append(direct.union(*(behind[other] for other in direct)))
        for other, (other_name, other_path) in enumerate(calls[:n]):
            one_writes = "edit" in (name, other_name)
            same = path == other_path or "find" in (name, other_name)
            if one_writes and same:
                assert other in behind[n]
            else:
                assert other not in direct
