"""The graphs that the schedulers are compared on, and that each of them honours what calls need."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks.graphs: a program beside the package, found when it is run from the root."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.graphs")


def test_the_critical_path_is_the_longest_way(graphs: ModuleType) -> None:
    graph = graphs.Graph("", (1.0, 5.0, 1.0, 1.0), ((), (), (0,), (1, 2)))
    assert (graph.critical, graph.depth, graph.levels()) == (6.0, 3, [[0, 1], [2], [3]])


def test_what_the_shapes_are(graphs: ModuleType) -> None:
    assert graphs.line(3, 2.0)[1:] == ((2.0, 2.0, 2.0), ((), (0,), (1,)))
    assert graphs.diamonds(1, 1.0, 3.0).needs == ((), (), (1,), (0,), (0,), (3, 4), (2,), (2,), (6, 7))
    assert graphs.diamonds(4, 1.0, 3.0).critical == 2.0 + 4 * (3.0 + 1.0)
    assert graphs.fan(2, 1.0, 4.0)[1:] == ((1.0, 1.0, 4.0, 1.0), ((), (0,), (0,), (1, 2)))
    chains = graphs.chains(2, 2, 1.0, 3.0)
    assert chains[1:] == ((3.0, 1.0, 1.0, 3.0), ((), (), (0,), (1,)))
    assert (chains.critical, sum(max(chains.seconds[n] for n in level) for level in chains.levels())) == (4.0, 6.0)
    assert graphs.anyhow(50, 1.0, 2.0, seed=1) == graphs.anyhow(50, 1.0, 2.0, seed=1)
    assert all(other < n for n, needs in enumerate(graphs.anyhow(50, 1.0, 2.0, seed=1).needs) for other in needs)


@pytest.mark.parametrize("name", ["waves", "polling"])
def test_the_others_honour_needs_too(graphs: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Else they would be compared by less work."""
    schedulers: Any = importlib.import_module("benchmarks.schedulers")
    running: set[int] = set()
    ended: list[int] = []
    graph = graphs.Graph("", (0.0, 1.0, 2.0, 3.0), ((), (0,), (0,), (1, 2)))

    async def work(seconds: float, inputs: list[int]) -> int:
        n = round(seconds)
        assert inputs == list(graph.needs[n])
        assert set(inputs) <= set(ended)
        running.add(n)
        await anyio.lowlevel.checkpoint()
        ended.append(n)
        return n

    monkeypatch.setattr(schedulers, "work", work)
    anyio.run(getattr(schedulers, name), graph)
    assert running == set(ended) == {0, 1, 2, 3}
