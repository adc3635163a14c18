import json

from toolwire.protocol.failures import failed
from toolwire.protocol.outline import LEGEND, Behind, Graph, Planned, outline
from toolwire.protocol.plan import Plan
from toolwire.protocol.tools import ToolCall, ToolSpec

SPECS = {
    spec.name: spec
    for spec in (
        ToolSpec("find"),
        ToolSpec("car", object="car"),
        ToolSpec("write", writes=("file:{path}",)),
        ToolSpec("list", reads=("file",)),
        ToolSpec("alone", exclusive=True),
        ToolSpec("compute", computed=True),
    )
}


def call(identity: str, name: str, arguments: object = None, *after: str) -> ToolCall:
    return ToolCall(identity, name, json.dumps(arguments or {}), after)


def graph(*calls: ToolCall) -> Graph:
    return outline(Plan(calls, SPECS.get, references=True, ids=True))


def test_a_graph_says_of_each_call_whom_it_waits_for_and_why() -> None:
    found = graph(
        call("a", "find"),
        call("b", "write", {"path": "x", "text": {"$result": "a"}}),
        call("c", "list"),
        call("d", "car"),
        call("e", "car", {}, "a"),
        call("f", "find", {"in": {"$result": "nobody"}}),
        call("g", "compute"),
        call("h", "alone"),
    )
    assert found.calls[1] == Planned(2, "b", "write", needs=(1,), level=2)
    assert found.calls[2] == Planned(3, "c", "list", order=(Behind(2, "resource file:x"),), level=3)
    assert found.calls[4].order == (Behind(1, "after"), Behind(4, "same object"))
    assert found.calls[5].refused is not None
    assert found.calls[5].level == 0
    assert found.refused == (found.calls[5],)
    assert found.calls[6].order == (Behind(2, "resources not known yet"), Behind(3, "resources not known yet"))
    assert {behind.why for behind in found.calls[7].order} == {"exclusive"}
    assert [[each.id for each in level] for level in found.levels] == [["a", "d"], ["b", "e"], ["c"], ["g"], ["h"]]


def test_a_level_follows_the_longest_chain_also_where_ids_lead_forward() -> None:
    found = graph(
        call("a", "find", {"x": {"$result": "b"}}), call("b", "find", {"x": {"$result": "c"}}), call("c", "find")
    )
    assert [each.level for each in found.calls] == [3, 2, 1]


def test_a_graph_is_drawn_in_80_columns() -> None:
    found = graph(
        call("one", "find"),
        call("two", "write", {"path": "a/rather/long/path/to/a.txt", "text": {"$result": "one"}}),
        call("x" * 50, "list"),
        call("four", "find", {"of": {"$result": 9}}),
    )
    assert str(found).splitlines() == [
        "level 1",
        "  1  find (one)",
        "level 2",
        "  2  write (two)   ◀━ 1",
        "level 3",
        f"  3  list ({'x' * 31}…)",
        "      ◁─ 2 resource file:a/rather/long/path/to/a.txt",
        "refused",
        "  4  find (four)",
        '      invalid_reference: at "/of": $result 9 is no earlier call: this is call 4,',
        "      and it may name one of the 3 calls before it",
        LEGEND,
    ]
    assert str(graph()) == "no calls"
    assert str(graph(call("a", "find"))) == "level 1\n  1  find (a)"


def test_no_line_is_longer_than_80_columns_whatever_stands_in_it() -> None:
    wide = [call(f"{n}{'i' * 90}", "n" * 90, {}, *[f"{m}{'i' * 90}" for m in range(n)]) for n in range(30)]
    lines = str(graph(*wide)).splitlines()
    assert max(map(len, lines)) <= 80
    hostile = outline(Plan([call("\x1b[2J", "a\nb")], SPECS.get, refuse={0: failed("internal", "x" * 500)}))
    assert "\x1b" not in str(hostile)
    assert max(map(len, str(hostile).splitlines())) <= 80


def test_a_chain_of_ten_thousand_needs_no_stack() -> None:
    found = graph(*[call(f"c{n}", "find", {}, f"c{n + 1}") for n in range(9_999)], call("c9999", "find"))
    assert found.calls[0].level == 10_000
