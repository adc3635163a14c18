"""Whatever the calls of a batch need, touch and do: the promises hold, and no call waits without a reason.

Random graphs, durations and failures through a whole runtime. On trio time is a mock: what is expected of each call is
worked out here, by itself, from what the calls say, and each has to start and end in exactly that instant. On
asyncio durations are turns of the loop; there everything but the instants has to hold.

`make test` tries 200 examples on each loop, `make chaos` as many as TOOLWIRE_EXAMPLES says: 10,000.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from toolwire import Runtime, ToolCall, ToolError, ToolResult, tool
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.chaos

EXAMPLES = int(os.environ.get("TOOLWIRE_EXAMPLES", "200"))

TICK = 0.25
"""Seconds: times are multiples of a power of two, so that their sums are exact."""

LIMIT = 3.125
"""Seconds that each call may take. No call ends in that very moment."""

PATIENCE = 1000.0
"""Seconds after which something hangs: mock ones, or no example is that long."""

TOUCHES: dict[str, tuple[set[str], set[str]]] = {
    "free": (set(), set()),
    "read_a": ({"a"}, set()),
    "write_a": (set(), {"a"}),
    "read_b": ({"b"}, set()),
    "copy_a_b": ({"a"}, {"b"}),
    "put": (set(), {"the shelf"}),
    "take": (set(), {"the shelf"}),
    "alone": (set(), set()),
}
"""What each tool reads and writes. The methods of an object do as if they wrote it."""


class Step(NamedTuple):
    """One call: which tool, whose results it takes in, behind whom it keeps, for how many ticks, and how it ends."""

    name: str
    needs: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    ticks: int = 1
    ends: str = "ok"

    @property
    def code(self) -> str:
        """Of the failure that the tool itself brings about."""
        if self.ends == "hangs" or self.ticks * TICK > LIMIT:
            return "timed_out"
        return "" if self.ends == "ok" else "failed"


def meet(one: Step, other: Step) -> bool:
    """Whether two calls may not run at the same time."""
    (reads, writes), (others_reads, others_writes) = TOUCHES[one.name], TOUCHES[other.name]
    return "alone" in {one.name, other.name} or bool(writes & (others_reads | others_writes) or reads & others_writes)


class Course:
    """What happens in one example, as the tools see it. `wrong`: what must not happen."""

    def __init__(self, steps: Sequence[Step], *, timed: bool) -> None:
        self.steps = steps
        self.timed = timed
        self.running: list[int] = []
        self.started: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.fine: set[int] = set()
        self.wrong: list[str] = []

    async def take(self, n: int, inputs: list[int]) -> int:
        """Call `n`, from inside its tool."""
        step, now = self.steps[n], anyio.current_time
        self.wrong += [f"{n} beside {other}" for other in self.running if meet(step, self.steps[other])]
        self.wrong += [f"{n} before {other}" for other in step.needs if other not in self.fine]
        self.wrong += [f"{n} before {other}" for other in step.after if other in self.running]
        self.wrong += [f"{n} again"] * (n in self.started)
        self.wrong += [f"{n} took in {inputs}"] * (inputs != list(step.needs))
        self.running.append(n)
        self.started[n] = now()
        try:
            await self.last(step)
        finally:
            self.running.remove(n)
            self.ended[n] = now()
        self.fine.add(n)
        return n

    async def last(self, step: Step) -> None:
        """Take the time of a step, and end as it does."""
        if not self.timed:
            for _ in range(step.ticks):
                await checkpoint()
        elif step.ends == "hangs":
            await anyio.sleep_forever()
        elif step.ticks:
            await anyio.sleep(step.ticks * TICK)
        match step.ends:
            case "refuses":
                raise ToolError("as it was told to")
            case "breaks":
                raise ExceptionGroup("more than one", [ValueError("one"), KeyError("two")])


course: Course


async def take(n: int, inputs: list[int]) -> int:
    return await course.take(n, inputs)


class Shelf:
    @tool(timeout=LIMIT)
    async def put(self, n: int, inputs: list[int]) -> int:
        return await course.take(n, inputs)

    @tool(timeout=LIMIT)
    async def take(self, n: int, inputs: list[int]) -> int:
        return await course.take(n, inputs)


TOOLS = [
    tool(name=name, timeout=LIMIT, reads=reads, writes=writes, exclusive=name == "alone")(take)
    for name, (reads, writes) in TOUCHES.items()
    if name not in {"put", "take"}
]


class Expected(NamedTuple):
    """How a call has to end: at which instant, and with which failure."""

    end: float
    code: str


def expected(steps: Sequence[Step]) -> list[Expected]:
    """How each call has to end. It begins as soon as all that it has to wait for have ended, and not before.

    Where a needed call fails, its dependent need not wait for its other needs, but keeps its place in line.
    """
    found: list[Expected] = []
    for n, step in enumerate(steps):
        behind = {*step.after, *(other for other in range(n) if meet(step, steps[other]))}
        ready = max((found[other].end for other in behind), default=0.0)
        failed = [found[other].end for other in step.needs if found[other].code]
        if failed:
            found.append(Expected(max(ready, min(failed)), "dependency_failed"))
            continue
        start = max([ready, *(found[other].end for other in step.needs)])
        found.append(Expected(start + (LIMIT if step.code == "timed_out" else step.ticks * TICK), step.code))
    return found


def calls(steps: Sequence[Step]) -> list[ToolCall]:
    """The steps as a model would say them: a reference by position or by id, for each result that is taken in."""
    return [
        ToolCall(
            f"id-{n}",
            step.name,
            {"n": n, "inputs": [{"$result": other + 1 if other % 2 else f"id-{other}"} for other in step.needs]},
            tuple(f"id-{other}" for other in step.after),
        )
        for n, step in enumerate(steps)
    ]


@st.composite
def batches(draw: st.DrawFn, most: int) -> list[Step]:
    """Up to `most` steps. What a step waits for is drawn as how far back it stands."""
    back = st.lists(st.integers(1, 9), max_size=3, unique=True)
    names = st.sampled_from(["free", "free", "free", *TOUCHES])
    ends = st.sampled_from(["ok", "ok", "ok", "ok", "refuses", "breaks", "hangs"])
    drawn = draw(st.lists(st.tuples(names, back, back, st.integers(0, 14), ends), max_size=most))
    return [
        Step(name, tuple(n - far for far in needs if far <= n), tuple(n - far for far in after if far <= n), ticks, end)
        for n, (name, needs, after, ticks, end) in enumerate(drawn)
    ]


async def opened(steps: Sequence[Step], instant: float | None, *, timed: bool) -> None:
    """Run the steps in a runtime of their own; with `instant`, cancel them there. Nothing hangs."""
    with anyio.fail_after(PATIENCE):
        await tried(steps, instant, timed=timed)


async def tried(steps: Sequence[Step], instant: float | None, *, timed: bool) -> None:
    global course  # noqa: PLW0603 - tools that are made for each example would take most of the time
    course = Course(steps, timed=timed)
    async with Runtime() as runtime:
        await runtime.serve(*TOOLS, Shelf())
        before = running()
        with anyio.CancelScope() as scope:
            if instant is None:
                await whole(runtime, steps, timed=timed)
            else:
                await cut(runtime.system, runtime.call_many(calls(steps)), instant, scope, timed=timed)
        assert course.wrong == []
        assert course.running == []
        for _ in range(10):
            await checkpoint()
        assert running() <= before
        course = Course([Step("alone", ticks=0), Step("put", ticks=0)], timed=timed)
        again = await runtime.call_many(calls(course.steps))
        assert [result.value for result in again] == [0, 1]


def running() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


async def whole(runtime: Runtime, steps: Sequence[Step], *, timed: bool) -> None:
    """Every call ends once, as it has to, in call order, and on trio in the very instant in which it has to."""
    began = anyio.current_time()
    results = await runtime.call_many(calls(steps))
    taken = anyio.current_time() - began
    if not timed:
        assert [judged(result) for result in results] == [(f"id-{n}", code) for n, code in enumerate(codes(steps))]
        return
    wanted = expected(steps)
    assert [judged(result) for result in results] == [(f"id-{n}", end.code) for n, end in enumerate(wanted)]
    ran = {n: end.end for n, end in enumerate(wanted) if end.code != "dependency_failed"}
    assert {n: end - began for n, end in course.ended.items()} == ran
    assert taken == max((end.end for end in wanted), default=0.0)


def codes(steps: Sequence[Step]) -> list[str]:
    """How each call ends where nothing takes time: a step that would hang comes to its end."""
    quick = [step._replace(ticks=0, ends=step.ends.replace("hangs", "ok")) for step in steps]
    return [end.code for end in expected(quick)]


def judged(result: ToolResult[Any]) -> tuple[str, str]:
    """The id of a result, and its failure's code."""
    return result.id, result.failure.code if result.failure else ""


async def cut(system: ActorSystem, work: Any, instant: float, scope: anyio.CancelScope, *, timed: bool) -> None:
    """Cancel the work after so many seconds, or turns of the loop."""

    async def cancel() -> None:
        if timed:
            await anyio.sleep(instant)
        else:
            for _ in range(round(instant / TICK)):
                await checkpoint()
        scope.cancel()

    async with anyio.create_task_group() as beside:
        beside.start_soon(cancel)
        await work
        beside.cancel_scope.cancel()


INSTANTS = st.none() | st.integers(0, 40).map(lambda ticks: ticks * TICK / 2)

CHAIN = [Step("free", (n - 1,) if n else (), ticks=2) for n in range(20)]
LINE = [Step(name, ticks=3) for name in ("write_a", "read_a", "read_a", "write_a", "alone", "put", "take", "read_b")]
DOOMED = [Step("free", ticks=13), Step("write_a", ends="breaks"), Step("put", (0, 1)), Step("read_a"), Step("take")]
TIED = [Step("alone"), *[Step("free", ticks=13)] * 4, *[Step("free", after=(1,), ends=end) for end in ("hangs", "ok")]]
"""Several run out of their time in the same instant, and what waited for one of them would hang."""


def explored(test: Any) -> Any:
    """As many examples as were asked for, those by hand first."""
    explicit = [(CHAIN, None), (LINE, None), (DOOMED, None), (TIED, None), (LINE, 1.125), (DOOMED, LIMIT)]
    for steps, instant in explicit:
        test = example(steps=steps, instant=instant)(test)
    tried = given(steps=batches(most=24), instant=INSTANTS)(test)
    return settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])(tried)


@explored
def test_in_mock_time_each_call_starts_and_ends_in_the_instant_it_has_to(
    steps: list[Step], instant: float | None
) -> None:
    async def run() -> None:
        await opened(steps, instant, timed=True)

    anyio.run(run, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


@explored
def test_on_asyncio_every_promise_holds_turn_by_turn(steps: list[Step], instant: float | None) -> None:
    async def run() -> None:
        await opened(steps, instant, timed=False)

    anyio.run(run, backend="asyncio")
