"""The benchmarks run, say what they measured, and judge by the ratio of one repeat's sides. No figure is tested."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

FIELDS = {
    *("name", "value", "unit", "min", "max", "floors", "ratios"),
    *("ratio", "budget", "holds", "repeats", "python", "loop"),
}


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks.measure: a program beside the package, found when it is run from the root."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.measure")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_each_benchmark_is_one_json_line(loop: str) -> None:
    done = run(
        "W1",
        "W3",
        "W4.200",
        "flow.plan",
        "delta",
        "history",
        "hop.memory",
        "--quick",
        "--repeats",
        "5",
        "--json",
        "--backend",
        loop,
    )
    assert (done.returncode, done.stderr) == (0, "")
    figures = {figure["name"]: figure for figure in map(json.loads, done.stdout.splitlines())}
    workloads = ["W1", "W1.suspends", "W3", "W3.suspends", "W4.200", "W4.200.suspends"]
    assert list(figures) == [*workloads, "flow.plan", "delta", "delta.p99", "history", "hop.memory"]
    for figure in figures.values():
        assert set(figure) == FIELDS
        assert figure["loop"] == loop
        assert 0 < figure["min"] <= figure["value"] <= figure["max"]
    assert set(figures["W1"]["ratios"]) == {"bare", "actors"}
    assert figures["W4.200"]["ratio"] == figures["W4.200"]["ratios"]["W4.20"]
    assert figures["hop.memory"]["holds"] is None


@pytest.mark.slow
def test_the_adapters_are_measured_without_a_network() -> None:
    done = run("sdk.delta.openai", "sdk.history.anthropic", "--quick", "--repeats", "5", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [figure["name"] for figure in figures] == ["sdk.delta.openai", "sdk.history.anthropic"]


@pytest.mark.slow
def test_remote_calls_are_measured_against_bare_nats() -> None:
    done = run("remote", "--quick", "--repeats", "5", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(figure["name"], *figure["floors"]) for figure in figures] == [
        ("remote.latency", "nats-py"),
        ("remote.rate", "nats-py"),
    ]


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    done = run("W9")
    assert done.returncode == 2
    assert "no benchmark is called W9; there are W1, W1.suspends" in done.stderr


def test_the_first_repeat_does_not_count_and_ratios_are_taken_within_a_repeat(measure: ModuleType) -> None:
    ours, floor = iter([1000.0, 2.0, 40.0, 6.0]), iter([1.0, 1.0, 10.0, 2.0])
    bench = measure.Bench("x", "µs/x", {"floor": lambda: next(floor), "toolwire": lambda: next(ours)})
    figure = measure.measured(bench, 3, "asyncio")
    assert (figure.value, figure.min, figure.max, figure.floors) == (6.0, 2.0, 40.0, {"floor": 2.0})
    assert figure.ratios == {"floor": 3.0}  # of 2, 4 and 3


@pytest.mark.parametrize(
    ("gate", "rate", "ratio", "holds"),
    [
        (("2", "floor", "≤"), False, 2.0, True),
        (("1.9", "floor", "≤"), False, 2.0, False),
        (("0.5", "floor", "≥"), True, 0.5, True),
        (("0.6", "floor", "≥"), True, 0.5, False),
        (("20", "", "≤"), False, 20.0, True),
        (("19", "", "≤"), False, 20.0, False),
    ],
)
def test_a_budget_is_on_the_ratio_or_on_the_value(
    measure: ModuleType, *, gate: tuple[str, str, str], rate: bool, ratio: float, holds: bool
) -> None:
    limit, against, sense = gate
    sides = {"floor": lambda: 10.0, "toolwire": lambda: 20.0}
    bench = measure.Bench("x", "x", sides, measure.Gate(float(limit), against, sense), rate=rate)
    figure = measure.measured(bench, 1, "asyncio")
    assert (figure.ratio, figure.holds) == (ratio, holds)
