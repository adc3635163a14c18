"""The memory of an idle conversation: `python -m benchmarks.idle KIND COUNT LOOP` prints KiB for each.

KIND is toolwire, named (conversations that others find by their id) or bare.

It is the growth of the process's resident memory by COUNT conversations that each had one turn with one call and
are kept, after a garbage collection; in a process of its own, for memory that was given back once hides growth.
"""

import gc
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from toolwire import Chat, Runtime

from . import floors
from .measure import TOOLWIRE, Bench, Gate
from .turns import Script, registered
from .work import PROMPT, Loop, Work

CONVERSATIONS = 10_000
WARM = 500
BUDGET = 8.0
KINDS = {"memory": "toolwire", "memory.named": "named"}
NAMES = list(KINDS)
WORK = Work("memory", CONVERSATIONS)


def resident() -> float:
    """KiB that the process holds in memory now; where there is no /proc, the most that it ever held."""
    gc.collect()
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform == "darwin" else float(most)


async def toolwire(count: int, loop: Loop, *, named: bool = False) -> float:
    """KiB of one conversation of Toolwire's."""
    async with Runtime("memory://") as runtime:
        await runtime.serve(*registered(1, loop, suspends=False))
        model = Script(WORK)
        kept: list[Chat] = []

        async def more(number: int) -> None:
            for _ in range(number):
                chat = await runtime.converse(model=model, id=f"user-{len(kept)}" if named else None)
                await chat.say(PROMPT)
                kept.append(chat)

        await more(WARM)
        before = resident()
        await more(count)
        return (resident() - before) / count


def bare(count: int) -> float:
    """KiB of one history of plain dicts: what nobody can do without."""
    kept: list[Any] = []

    def more(number: int) -> None:
        for _ in range(number):
            history: list[floors.Message] = [{"role": "user", "content": PROMPT}]
            history.append(floors.complete(WORK, history))
            history.append({"role": "tool", "id": history[1]["calls"][0]["id"], "content": str(3)})
            history.append(floors.complete(WORK, history))
            kept.append(history)

    more(WARM)
    before = resident()
    more(count)
    return (resident() - before) / count


def elsewhere(kind: str, count: int, loop: Loop) -> float:
    """The same, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.idle", kind, str(count), loop]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - ourselves


def benches(loop: Loop, share: float) -> list[Bench]:
    """A line for each kind of conversation."""
    count = int(CONVERSATIONS * share)
    history = partial(elsewhere, "bare", count, loop)
    return [
        Bench(
            name,
            "KiB/conversation",
            {"history": history, TOOLWIRE: partial(elsewhere, kind, count, loop)},
            Gate(BUDGET),
        )
        for name, kind in KINDS.items()
    ]


if __name__ == "__main__":
    _, what, number, backend = sys.argv
    on: Loop = "trio" if backend == "trio" else "asyncio"
    ours = partial(toolwire, int(number), on, named=what == "named")
    print(bare(int(number)) if what == "bare" else anyio.run(ours, backend=on))
