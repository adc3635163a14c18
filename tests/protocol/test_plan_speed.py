"""A plan of many calls costs a small multiple of reading them, and ending them costs what their edges do."""

import json
import random
import time
from collections.abc import Callable

from toolwire.protocol.draft import decode
from toolwire.protocol.plan import Plan
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec

CALLS = 10_000
EDGES = 20_000
MOST = 8
"""How many times the floor a plan may cost; measured: 2.3."""

SPECS = {
    spec.name: spec
    for spec in (
        ToolSpec("plain"),
        *(ToolSpec(f"write{n}", writes=(f"file:{n}",)) for n in range(50)),
        *(ToolSpec(f"read{n}", reads=(f"file:{n}",)) for n in range(50)),
    )
}


def calls() -> list[ToolCall]:
    """Calls with references by position and by id, `after`, and tools that touch things."""
    drawn = random.Random(1)  # noqa: S311 - the same calls each time
    made: list[ToolCall] = []
    for n in range(CALLS):
        kind, earlier = drawn.random(), [drawn.randrange(max(n, 1)) for _ in range(2)]
        arguments: dict[str, object] = {"n": n}
        after: tuple[str, ...] = ()
        name = "plain"
        if not n:
            pass
        elif kind < 0.5:
            arguments = {"a": {"$result": earlier[0] + 1, "path": "/x"}, "b": {"$result": f"c{earlier[1]}"}}
        elif kind < 0.75:
            after = (f"c{earlier[0]}", f"c{earlier[1]}")
        else:
            name, after = f"{drawn.choice(['read', 'write'])}{drawn.randrange(50)}", (f"c{earlier[0]}",)
        made.append(ToolCall(f"c{n}", name, json.dumps(arguments), after))
    return made


def quickest(work: Callable[[], object]) -> float:
    """Seconds of this process that `work` takes, at its best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def test_a_plan_of_ten_thousand_calls_is_made_and_run_at_a_small_multiple_of_the_floor() -> None:
    batch = calls()
    done: ToolResult[object] = ToolResult("", "plain", '{"x":1}')

    def floor() -> int:
        """Read each call, find whom it means, and write that down at both ends."""
        places = {call.id: n for n, call in enumerate(batch)}
        behind: dict[int, list[int]] = {}
        before: dict[int, tuple[int, ...]] = {}
        for n, call in enumerate(batch):
            tree = decode(call.text())
            found = [part["$result"] for part in tree.values() if isinstance(part, dict)]
            edges = {each - 1 if isinstance(each, int) else places[each] for each in found}
            edges.update(places[each] for each in call.after)
            before[n] = tuple(sorted(edges))
            for other in edges:
                behind.setdefault(other, []).append(n)
        return sum(map(len, before.values()))

    def plan() -> Plan:
        return Plan(batch, SPECS.get, references=True, ids=True)

    def run() -> None:
        going = plan()
        while (n := going.take()) is not None:
            going.end(n, done)
        assert going.done

    made = plan()
    assert not made.refused
    assert sum(len(waits.needs) + len(waits.order) for waits in made.graph()) >= EDGES
    base = quickest(floor)
    assert quickest(plan) < MOST * base
    assert quickest(run) < 2 * MOST * base


def test_a_plan_that_grows_costs_what_one_made_whole_does() -> None:
    batch = [ToolCall(f"c{n}", "plain", f'{{"a": {{"$result": {max(n, 1)}}}}}' if n else "{}") for n in range(2_000)]

    def whole() -> Plan:
        return Plan(batch, SPECS.get, references=True)

    def grown() -> Plan:
        plan = Plan.opened(SPECS.get, references=True, eager="all")
        for call in batch:
            plan.add(call)
        plan.close()
        return plan

    assert grown().graph() == whole().graph()
    assert quickest(grown) < 5 * quickest(whole)
