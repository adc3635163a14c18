"""`python -m benchmarks`: how fast Toolwire is beside the floors, and whether the budgets hold.

Without names everything runs; `W2` means every name that begins with `W2.`. Exit: 0 measured; 1 with --check, if a
budget is missed or could not be measured; 2 asked wrongly.
"""

import argparse
import sys
from collections.abc import Callable

import msgspec

from . import (
    arguments,
    bench_dataflow,
    deltas,
    eager,
    hops,
    hosted,
    idle,
    long_history,
    remote,
    signatures,
    startup,
    streams,
    table,
    turns,
)
from .broker import Broker, NoBroker
from .measure import Bench, Figure, measured
from .work import Loop

QUICK = 0.1
"""The share of the operations that --quick leaves in each repeat."""

LEAST = 5
"""Fewer repeats than these give no median worth the name."""

SIGNATURES = ["schema", "decode.typed", "decode.schema"]
ARGUMENTS = ["arguments.typed", "arguments.schema", "arguments.wrong"]
OTHERS = [*SIGNATURES, *ARGUMENTS, "hop.memory", "hop.nats", "remote.latency", "remote.rate", *idle.NAMES, "import"]
WORKLOADS = [work.name + suffix for work in turns.WORKLOADS for suffix in ("", turns.SUSPENDS)]
TURNS = [*WORKLOADS, *streams.NAMES, *bench_dataflow.NAMES, *eager.NAMES]
NAMES = [*TURNS, *deltas.NAMES, *long_history.NAMES, *hosted.NAMES, *OTHERS]


def wanted(names: list[str]) -> set[str]:
    """The benchmarks that `names` mean. Raises ValueError for one that means none."""
    chosen: set[str] = set()
    for name in names:
        matching = {known for known in NAMES if known == name or known.startswith(f"{name}.")}
        if not matching:
            raise ValueError(f"no benchmark is called {name}; there are {', '.join(NAMES)}")
        chosen |= matching
    return chosen or set(NAMES)


def groups(chosen: set[str], broker: Broker, loop: Loop, share: float) -> list[Callable[[], list[Bench]]]:
    """The benchmarks in the order of the table. A group is made when its turn comes: some start processes."""
    made: list[tuple[set[str], Callable[[], list[Bench]]]] = [
        (set(WORKLOADS), lambda: turns.benches(loop, share)),
        (set(streams.NAMES), lambda: streams.benches(loop, share)),
        (set(bench_dataflow.NAMES), lambda: bench_dataflow.benches(loop, share)),
        (set(eager.NAMES), lambda: eager.benches(loop, share)),
        (set(deltas.NAMES), lambda: deltas.benches(loop, share)),
        (set(long_history.NAMES), lambda: long_history.benches(loop, share)),
        (set(hosted.NAMES), lambda: hosted.benches(loop, share)),
        (set(SIGNATURES), lambda: signatures.benches(share)),
        (set(ARGUMENTS), lambda: arguments.benches(share)),
        ({"hop.memory"}, lambda: [hops.memory_bench(loop, share)]),
        ({"hop.nats"}, lambda: [hops.nats_bench(broker, loop, share)]),
        ({"remote.latency", "remote.rate"}, lambda: remote.benches(broker, loop, share)),
        (set(idle.NAMES), lambda: idle.benches(loop, share)),
        ({"import"}, lambda: [startup.bench()]),
    ]
    return [make for names, make in made if names & chosen]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--repeats", type=int, default=7, help="repeats that count, after one that does not")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="Toolwire's event loop")
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations: a look, not a result")
    parser.add_argument("--check", action="store_true", help="exit 1 if a budget is missed")
    chosen = parser.parse_args()
    try:
        chosen.names = wanted(chosen.names)
    except ValueError as error:
        parser.error(str(error))
    if chosen.repeats < LEAST:
        parser.error(f"--repeats must be at least {LEAST}")
    return chosen


def main() -> int:
    """Measure, show, judge."""
    asked = options()
    loop: Loop = asked.backend
    figures: list[Figure] = []
    complete = True
    with Broker() as broker:
        for make in groups(asked.names, broker, loop, QUICK if asked.quick else 1.0):
            try:
                benches = make()
            except NoBroker as error:
                print(f"left out: {error}", file=sys.stderr)
                complete = False
                continue
            for bench in benches:
                if bench.name in asked.names:
                    figures.append(measured(bench, asked.repeats, loop))
                    if asked.json:
                        print(msgspec.json.encode(figures[-1]).decode(), flush=True)
                    else:
                        print(f"{bench.name} …", file=sys.stderr, flush=True)
    if not asked.json:
        print(table.table(map(table.row, figures)))
    missed = [figure.name for figure in figures if figure.holds is False]
    return 1 if asked.check and (missed or not complete) else 0


if __name__ == "__main__":
    sys.exit(main())
