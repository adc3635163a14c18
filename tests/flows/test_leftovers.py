"""What is left of a runtime that closes in the middle of its work: nothing.

Counted are tasks, futures and child processes inside the loop, then threads, open files and the loop's own things after
its end. The process that is looked at is this one, so that all that other tests have left is there before too.
"""

import asyncio
import gc
import importlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from toolwire import Agent, Context, Runtime, ToolCall, ToolError, ToolResult, scripted, tool
from toolwire.protocol.observed import ENOUGH
from toolwire.protocol.tools import Retry
from toolwire.runtime.testing import SETTLED, running

HERE = str(Path(__file__).parent)
SOON = 5.0
"""Seconds in which threads and processes have ended. Usual are 0.01."""


@pytest.fixture(scope="module")
def isolated() -> Iterator[Any]:
    """The module that worker processes import."""
    sys.path.insert(0, HERE)
    try:
        yield importlib.import_module("isolated_tools")
    finally:
        sys.path.remove(HERE)


NAMES = ["stuck", "narrow", "narrow", "blocked", "flaky", "shared", "shared", "hedged", "nested", "put", "put"]
ARGUMENTS: dict[str, dict[str, Any]] = {**{name: {} for name in NAMES}, "put": {"book": "x"}, "stays": {}}


class Shelf:
    async def put(self, book: str) -> int:
        await anyio.sleep_forever()
        return 1


class Load:
    """Tools that are all in the middle of something, and how many have begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.release = threading.Event()

    async def full(self, least: int) -> None:
        """Wait until so many tools have begun."""
        with anyio.fail_after(SOON):
            while self.begun < least:  # noqa: ASYNC110 - some of them begin in threads
                await anyio.sleep(0.001)

    def tools(self) -> list[Any]:
        """Each holds its caller in another way."""
        load = self

        @tool
        async def stuck() -> None:
            load.begun += 1
            await anyio.sleep_forever()

        @tool(concurrency=1)
        async def narrow() -> None:
            load.begun += 1
            await anyio.sleep_forever()

        @tool
        def blocked() -> None:
            load.begun += 1
            load.release.wait(60)

        @tool(idempotent=True, retries=Retry(9, first=1000.0, cap=1000.0, codes=("failed",)))
        async def flaky() -> None:
            load.begun += 1
            raise ToolError("never")

        @tool(read_only=True, share=True)
        async def shared() -> None:
            load.begun += 1
            await anyio.sleep_forever()

        @tool(read_only=True, hedge=True)
        async def hedged() -> None:
            load.begun += 1
            await anyio.sleep_forever()

        @tool
        async def nested(context: Context) -> None:
            await context.call("stuck")

        return [stuck, narrow, blocked, flaky, shared, hedged, nested, Shelf()]


def children() -> set[str]:
    """The processes that this one has started and not yet asked for their end."""
    found: set[str] = set()
    for thread in Path("/proc/self/task").iterdir():
        found.update((thread / "children").read_text().split())
    return found


def files() -> set[str]:
    """What is open, but for the directory that is listed for it."""
    return {f"{fd.name} {fd.readlink()}" for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}


def futures() -> int:
    """How many futures wait for something, of all that there are."""
    gc.collect()
    return sum(isinstance(thing, asyncio.Future) and not thing.done() for thing in gc.get_objects())


class Callers:
    """Calls of every kind, each in a task of its own, and what came of them."""

    def __init__(self, runtime: Runtime, timeout: float | None) -> None:
        self.runtime = runtime
        self.timeout = timeout
        self.ends: list[ToolResult[Any]] = []
        self.agent = Agent("agent", scripted([[(name, ARGUMENTS[name]) for name in NAMES]] * 9))

    def start(self, tasks: TaskGroup) -> None:
        """All at once."""
        for name in (*NAMES, "stays"):
            tasks.start_soon(self.call, name)
        tasks.start_soon(self.batch)
        if self.timeout is None:
            tasks.start_soon(self.turn)

    async def call(self, name: str) -> None:
        self.ends.append(await self.runtime.call(name, ARGUMENTS[name], timeout=self.timeout))

    async def batch(self) -> None:
        calls = [ToolCall(f"{n}", name, ARGUMENTS[name]) for n, name in enumerate(NAMES)]
        self.ends.extend(await self.runtime.call_many(calls, timeout=self.timeout))

    async def turn(self) -> None:
        chat = await self.runtime.converse(self.agent)
        await chat.say("Go")


async def opened(runtime: Runtime, load: Load, isolated: Any) -> None:
    """Serve the load."""
    await runtime.serve(*load.tools(), isolated.stays)
    for _ in range(ENOUGH):
        runtime.tools.entries["hedged"].observed.add(0.0)


async def cancelled_and_closed(isolated: Any, load: Load) -> None:
    """The whole is cancelled in the middle of everything, as by whoever ends the program."""
    before = running(), futures(), children()
    with anyio.CancelScope() as scope:
        async with Runtime(threads=20, processes=1) as runtime, anyio.create_task_group() as tasks:
            await opened(runtime, load, isolated)
            Callers(runtime, None).start(tasks)
            await load.full(17)
            scope.cancel()
    assert scope.cancelled_caught
    for _ in range(SETTLED):
        await checkpoint()
    assert running() <= before[0]
    assert futures() <= before[1]
    assert children() <= before[2]


async def closed_beneath(isolated: Any, load: Load) -> None:
    """The runtime closes while others, who live longer, still wait for their calls: each ends in its own time."""
    before = running(), futures(), children()
    runtime = Runtime(threads=20, processes=1)
    callers = Callers(runtime, 0.5)
    async with anyio.create_task_group() as tasks:
        async with runtime:
            await opened(runtime, load, isolated)
            callers.start(tasks)
            await load.full(11)
        tasks.cancel_scope.deadline = anyio.current_time() + SOON
    assert len(callers.ends) == 2 * len(NAMES) + 1
    codes = {end.failure.code for end in callers.ends if end.failure is not None and end.name != "stays"}
    assert codes <= {"timed_out", "unreachable", "dependency_failed", "failed"}
    for _ in range(SETTLED):
        await checkpoint()
    assert running() <= before[0]
    assert futures() <= before[1]
    assert children() <= before[2]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", [cancelled_and_closed, closed_beneath])
def test_a_runtime_that_closes_under_load_leaves_nothing(isolated: Any, how: Any, backend: str) -> None:
    anyio.run(empty, backend=backend)  # what comes once, as an import does, is there from then on
    threads, open_files, load = set(threading.enumerate()), files(), Load()
    anyio.run(how, isolated, load, backend=backend)
    load.release.set()  # until then a thread that was left goes on: nobody can stop it
    assert ended(threads)
    assert files() <= open_files


async def empty() -> None:
    """A runtime that does next to nothing."""
    async with Runtime() as runtime:
        await runtime.serve(Shelf())


def ended(before: set[threading.Thread]) -> bool:
    """Whether the threads that are new end, but for those of trio, which wait ten seconds for other work first."""
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        new = set(threading.enumerate()) - before
        if not [thread for thread in new if not (thread.daemon and thread.name.startswith("Trio"))]:
            return True
        time.sleep(0.001)
    return False
