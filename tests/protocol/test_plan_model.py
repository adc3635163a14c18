"""Any batch runs as a model says that looks at everything anew at each step."""

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import Failure, failed
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


def ok(plan: Plan, n: int, value: object = None) -> None:
    plan.end(n, ToolResult(plan.calls[n].id, plan.calls[n].name, content=json.dumps(value)))


def fail(plan: Plan, n: int, failure: Failure | None = None) -> None:
    failure = failure or failed("timed_out", "too slow")
    plan.end(n, ToolResult(plan.calls[n].id, plan.calls[n].name, failure=failure))


def codes(plan: Plan) -> dict[int, str]:
    return {n: failure.code for n, failure in plan.refused.items()}


def ref(result: int | str, path: str | None = None) -> dict[str, object]:
    return {"$result": result} if path is None else {"$result": result, "path": path}


class Model:
    """What a plan means, said without regard to cost: everything is looked at anew at each question."""

    def __init__(self, calls: Sequence[ToolCall], limit: int) -> None:
        self.calls = calls
        self.limit = limit
        self.needs: dict[int, set[int]] = {}
        self.after: dict[int, set[int]] = {}
        self.refused: dict[int, str] = {}
        self.ended: dict[int, bool] = {}
        self.taken: set[int] = set()
        for n in range(len(calls)):
            self.read(n)
        live = [n for n in range(len(calls)) if n not in self.refused]
        for n in [n for n in live if n in self.reach(n)]:
            self.refused[n] = "invalid_reference"
        while hanging := [n for n in self.live() if self.needs[n] & self.refused.keys()]:
            self.refused.update(dict.fromkeys(hanging, "dependency_failed"))
        self.line: list[int] = []
        while len(self.line) < len(self.live()):
            self.line.append(min(n for n in self.live() if n not in self.line and self.edges(n) <= {*self.line}))

    def read(self, n: int) -> None:
        call = self.calls[n]
        same = [m for m, other in enumerate(self.calls) if other.id == call.id]
        if n >= self.limit:
            self.refused[n] = "limit_reached"
        elif not call.id or same[0] != n:
            self.refused[n] = "invalid_call"
        self.needs[n] = {self.meant(n, found["$result"]) for found in json.loads(call.text())["in"]}
        self.after[n] = {self.meant(n, name) for name in call.after}
        if -1 in self.needs[n] | self.after[n]:
            self.refused.setdefault(n, "invalid_reference")

    def meant(self, n: int, result: int | str) -> int:
        if isinstance(result, int):
            return result - 1 if 1 <= result <= n else -1
        found = [m for m, other in enumerate(self.calls) if other.id == result]
        return found[0] if len(found) == 1 and result else -1

    def live(self) -> list[int]:
        return [n for n in range(len(self.calls)) if n not in self.refused]

    def edges(self, n: int) -> set[int]:
        return (self.needs[n] | self.after[n]) - self.refused.keys()

    def reach(self, n: int) -> set[int]:
        found: set[int] = set()
        while more := {m for k in found | {n} for m in self.edges(k)} - found:
            found |= more
        return found

    def before(self, n: int) -> set[int]:
        """All that must have ended, however, before `n` starts."""
        earlier = self.line[: self.line.index(n)]
        return (self.after[n] - self.refused.keys()) | {m for m in earlier if self.touch(m, n)}

    def touch(self, m: int, n: int) -> bool:
        one, other = (SPECS.get(self.calls[k].name, PLAIN) for k in (m, n))
        return bool(
            one.exclusive
            or other.exclusive
            or (one.object and one.object == other.object)
            or {*one.writes} & {*other.writes, *other.reads}
            or {*one.reads} & {*other.writes}
        )

    def doomed(self, n: int) -> bool:
        return any(not self.ended.get(m, True) for m in self.needs[n])

    def ready(self) -> list[int]:
        found = [n for n in self.refused if n not in self.taken]
        for n in self.line:
            lined_up = n not in self.taken and self.before(n) <= self.ended.keys()
            if lined_up and (self.doomed(n) or self.needs[n] <= self.ended.keys()):
                found.append(n)
        return sorted(found)


IDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", ""])
CALLS = st.builds(
    lambda name, taken_in, after: (name, taken_in, tuple(after)),
    st.sampled_from([*SPECS, "nobody knows it"]),
    st.lists(st.integers(-1, 8) | st.integers(1, 3) | st.sampled_from("abcdefgh"), max_size=2),
    st.lists(st.sampled_from("abcdefgh"), max_size=2, unique=True) | st.just([]),
)


@st.composite
def batches(draw: st.DrawFn) -> list[ToolCall]:
    drawn = draw(st.lists(CALLS, max_size=8))
    ids = list("abcdefgh") if draw(st.booleans()) else draw(st.lists(IDS, min_size=8, max_size=8))
    return [
        ToolCall(ids[n], name, json.dumps({"in": [ref(result) for result in taken_in]}), after)
        for n, (name, taken_in, after) in enumerate(drawn)
    ]


@given(batches(), st.integers(5, 9), st.data())
def test_any_batch_runs_as_the_model_says(calls: list[ToolCall], limit: int, data: st.DataObject) -> None:
    plan = Plan(calls, SPECS.get, references=True, ids=True, limit=limit)
    model = Model(calls, limit)
    assert codes(plan) == model.refused
    running: list[int] = []
    while not plan.done:
        ready = model.ready()
        assert (plan.ready, plan.has_ready) == (len(ready), bool(ready))
        assert plan.waiting == len(calls) - len(ready) - len(model.taken)
        assert ready or running, "nothing can go on"
        if ready and (not running or data.draw(st.booleans(), "take")):
            n = ready[0]
            assert plan.take() == n
            model.taken.add(n)
            started(plan, model, n, running)
            running.append(n)
        else:
            n = running.pop(data.draw(st.integers(0, len(running) - 1), "ends"))
            sent = plan.arguments(n)
            model.ended[n] = isinstance(sent, str) and data.draw(st.booleans() | st.just(value=True), "succeeds")
            if model.ended[n]:
                ok(plan, n, [n])
            else:
                fail(plan, n, sent if isinstance(sent, Failure) else None)
    assert plan.take() is None
    assert model.ended.keys() == set(range(len(calls)))


def started(plan: Plan, model: Model, n: int, running: list[int]) -> None:
    """What must hold when a call is taken."""
    sent = plan.arguments(n)
    if isinstance(sent, Failure):
        assert sent.code == (model.refused.get(n) or ("dependency_failed" if model.doomed(n) else None))
        return
    assert n not in model.refused
    assert all(model.ended.get(m) for m in model.needs[n])
    assert not any(model.touch(m, n) for m in running if isinstance(plan.arguments(m), str))
    results = [found["$result"] for found in json.loads(model.calls[n].text())["in"]]
    assert json.loads(sent) == {"in": [[model.meant(n, result)] for result in results]}


@given(batches())
def test_every_edge_of_the_graph_is_between_calls_that_run(calls: list[ToolCall]) -> None:
    plan = Plan(calls, SPECS.get, references=True, ids=True)
    model = Model(calls, len(calls))
    for n, waits in enumerate(plan.graph()):
        assert not {*waits.needs, *waits.order} & plan.refused.keys()
        if n in plan.refused:
            assert waits == Waits()
        else:
            assert {*waits.needs} == model.needs[n]
            assert {*waits.order} <= model.before(n)
