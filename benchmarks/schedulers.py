"""How others run the calls of one response, by hand: the floors of the data flow. All of them are asyncio.

None of them checks arguments, encodes anything, bounds, times out or cancels. Each gives the makespan in seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from .graphs import Graph

Scheduler = Callable[[Graph], Awaitable[float]]

POLL = 0.01
"""Seconds between two looks of LLMCompiler's scheduler."""


async def work(seconds: float, inputs: list[int]) -> int:
    """What a call does: it takes its time."""
    await asyncio.sleep(seconds)
    return len(inputs)


async def gather(graph: Graph) -> float:
    """All at once, whatever they need: what most runtimes do, and right only where nobody needs anybody."""
    started = time.perf_counter()
    await asyncio.gather(*(work(seconds, []) for seconds in graph.seconds))
    return time.perf_counter() - started


async def waves(graph: Graph) -> float:
    """A barrier after each level: a runtime without dependencies, whose model asks for the next level each round."""
    started = time.perf_counter()
    results: dict[int, int] = {}
    for level in graph.levels():
        given = (work(graph.seconds[n], [results[other] for other in graph.needs[n]]) for n in level)
        results.update(zip(level, await asyncio.gather(*given), strict=True))
    return time.perf_counter() - started


async def polling(graph: Graph) -> float:
    """LLMCompiler's scheme: every 10 ms start, each in a task, the calls of which all that they need has ended.

    After `TaskFetchingUnit.schedule` (S. Kim et al., "An LLM Compiler for Parallel Function Calling", ICML 2024;
    github.com/SqueezeAILab/LLMCompiler, src/llm_compiler/task_fetching_unit.py, SCHEDULING_INTERVAL).
    """
    started = time.perf_counter()
    results: dict[int, int] = {}
    remaining = set(range(len(graph.seconds)))
    tasks: list[asyncio.Task[None]] = []

    async def run(n: int) -> None:
        results[n] = await work(graph.seconds[n], [results[other] for other in graph.needs[n]])

    while len(results) < len(graph.seconds):
        executable = [n for n in remaining if all(other in results for other in graph.needs[n])]
        tasks += [asyncio.create_task(run(n)) for n in executable]
        remaining.difference_update(executable)
        await asyncio.sleep(POLL)
    return time.perf_counter() - started
