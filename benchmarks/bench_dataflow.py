"""Calls that wait for each other: what each costs, and how near whole graphs come to their critical path.

`flow.batch` and `flow.chain` are microseconds a call, of `Runtime.call_many`, all in. The graphs are run by
Toolwire, by waves with a barrier, and by LLMCompiler's scheme, with the same tool times; the figure is the time of
the whole divided by that of the critical path, which nobody can beat.
"""

import time
from typing import Any

import anyio

from toolwire import Runtime, ToolCall, tool
from toolwire.protocol.plan import Plan
from toolwire.protocol.tools import ToolSpec

from . import graphs, schedulers
from .graphs import Graph
from .measure import TOOLWIRE, Bench, Gate, Side, side
from .schedulers import Scheduler
from .turns import SLOWER, SUSPENDS, registered
from .work import ARGUMENTS, Loop

WIDE = 1000
BATCHES = 20

LATER = 0.02
"""What a graph may take beyond its critical path, as a share of it, …"""

LEVEL = 0.001
"""… and seconds beside that for each of its levels: a loop sleeps by whole milliseconds."""

GRAPHS = [
    graphs.anyhow(200, 0.01, 0.06, seed=4),
    graphs.line(10, 0.025),
    graphs.diamonds(5, 0.015, 0.045),
    graphs.fan(50, 0.02, 0.2),
    graphs.chains(8, 8, 0.01, 0.08),
    graphs.apart(50, 0.02, 0.2),
]

NAMES = [
    *("flow.batch", "flow.batch" + SUSPENDS, "flow.chain", "flow.plan"),
    *(f"flow.{graph.name}" for graph in GRAPHS),
]


def benches(loop: Loop, share: float) -> list[Bench]:
    """The lines of the table."""
    times, slower = max(int(BATCHES * share), 1), SLOWER[loop]
    wide = [ToolCall(f"{n}", "add_0", ARGUMENTS) for n in range(WIDE)]
    chain = [ToolCall(f"{n}", "add_0", {"a": 1, "b": {"$result": n} if n else 0}) for n in range(WIDE)]

    def calls(asked: list[ToolCall], *, suspends: bool = False) -> dict[str, Side]:
        return {TOOLWIRE: side(loop, together, asked, times, suspends, loop)}

    return [
        Bench("flow.batch", "µs/call", calls(wide), Gate(20.0 * slower)),
        Bench("flow.batch" + SUSPENDS, "µs/call", calls(wide, suspends=True), Gate(30.0 * slower)),
        Bench("flow.chain", "µs/call", calls(chain), Gate(40.0 * slower)),
        Bench("flow.plan", "ms", {TOOLWIRE: planned(10 * WIDE)}, Gate(50.0)),
        *(spanned(graph, loop) for graph in GRAPHS),
    ]


async def together(calls: list[ToolCall], times: int, suspends: bool, loop: Loop) -> float:  # noqa: FBT001 - see `side`
    """Microseconds a call, of all of them in one batch."""
    async with Runtime() as runtime:
        await runtime.serve(*registered(1, loop, suspends=suspends))
        await right(runtime, calls)
        started = time.perf_counter()
        for _ in range(times):
            await runtime.call_many(calls)
        taken = time.perf_counter() - started
    return taken * 1e6 / (times * len(calls))


async def right(runtime: Runtime, calls: list[ToolCall]) -> None:
    """Run them once, warm. Raises CallFailed if one of them fails."""
    for result in await runtime.call_many(calls):
        _ = result.value


def planned(count: int) -> Side:
    """Milliseconds to make the plan of `count` calls, of which each but the first two needs two others."""
    spec = ToolSpec("add", parameters={"type": "object"})
    needing = (f'{{"a":{{"$result":{n // 2}}},"b":{{"$result":{n}}}}}' for n in range(2, count))
    calls = [ToolCall(f"{n}", "add", text) for n, text in enumerate(("{}", "{}", *needing))]

    def make() -> float:
        started = time.perf_counter()
        plan = Plan(calls, lambda _: spec, references=True, ids=True)
        taken = time.perf_counter() - started
        if plan.ready != 2:  # noqa: PLR2004 - all but the first two wait
            raise RuntimeError(f"{plan!r} is not the plan that was asked for")
        return taken * 1e3

    return make


@tool(concurrency=WIDE)
async def work(seconds: float, inputs: list[int]) -> int:
    """Take some time."""
    await anyio.sleep(seconds)
    return len(inputs)


def asked(graph: Graph) -> list[ToolCall]:
    """The calls of `graph`."""
    return [
        ToolCall(f"{n}", "work", {"seconds": seconds, "inputs": [{"$result": other + 1} for other in needs]})
        for n, (seconds, needs) in enumerate(zip(graph.seconds, graph.needs, strict=True))
    ]


async def ours(graph: Graph) -> float:
    """Seconds that Toolwire takes."""
    async with Runtime() as runtime:
        await runtime.serve(work)
        await right(runtime, [ToolCall("0", "work", {"seconds": 0, "inputs": []})])
        calls = asked(graph)
        started = time.perf_counter()
        results = await runtime.call_many(calls)
        taken = time.perf_counter() - started
        if [result.value for result in results] != list(map(len, graph.needs)):
            raise RuntimeError(f"{graph.name}: a call ended with a wrong result")
    return taken


async def share_of(scheduler: Scheduler, graph: Graph) -> float:
    """The makespan, in critical paths."""
    return await scheduler(graph) / graph.critical


def spanned(graph: Graph, loop: Loop) -> Bench:
    """One graph, run by each. `gather` knows no needs: it takes part where there are none."""
    sides: dict[str, Any] = {"waves": schedulers.waves, "polling": schedulers.polling}
    if not any(graph.needs):
        sides = {"gather": schedulers.gather, **sides}
    others = {name: side("asyncio", share_of, scheduler, graph) for name, scheduler in sides.items()}
    most = 1 + LATER + LEVEL * graph.depth / graph.critical
    return Bench(
        f"flow.{graph.name}",
        f"x {graph.critical * 1e3:.0f} ms",
        {**others, TOOLWIRE: side(loop, share_of, ours, graph)},
        Gate(round(most, 3)),
    )
