"""What holds at the process that serves a tool holds for all its hosts together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Breaker, Runtime, ToolResult, tool

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def two_hosts(bus: Any, *things: Any) -> AsyncIterator[tuple[Runtime, Runtime]]:
    """Two hosts that know what a third process serves."""
    async with bus.open(*things), bus.open() as one, bus.open() as other:
        for host in (one, other):
            while not host.tools:
                await checkpoint()
        yield one, other


def codes(results: list[ToolResult[Any]]) -> list[str]:
    return [result.failure.code if result.failure else "" for result in results]


async def test_a_rate_is_shared_by_all_hosts(shared_bus: Any) -> None:
    @tool(rate="3/h")
    async def search() -> None: ...

    async with two_hosts(shared_bus, search) as hosts:
        results = [await hosts[n % 2].call("search") for n in range(5)]
    assert codes(results) == [""] * 3 + ["rate_limited"] * 2
    failure = results[-1].failure
    assert failure is not None
    assert (failure.effect, failure.details) == ("none", {"by": "tool", "rate": "3/h"})
    assert failure.retry_after is not None
    assert 0 < failure.retry_after <= 1_200


async def test_concurrency_is_shared_by_all_hosts_and_the_wait_is_told(shared_bus: Any) -> None:
    inside, release = anyio.Event(), anyio.Event()
    running = most = 0

    @tool(concurrency=2)
    async def narrow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            inside.set()
        await release.wait()
        running -= 1

    results: list[ToolResult[Any]] = []

    async def call(host: Runtime) -> None:
        results.append(await host.call("narrow"))

    async with (
        shared_bus.open(narrow) as worker,
        two_hosts(shared_bus) as hosts,
        anyio.create_task_group() as calling,
    ):
        door = worker._services._at["narrow"].ref.cell.mailbox
        for n in range(6):
            calling.start_soon(call, hosts[n % 2])
        await inside.wait()
        while len(door.waiting) < 4:
            await checkpoint()
        release.set()
    assert codes(results) == [""] * 6
    assert most == 2
    assert sum(result.queued > 0 for result in results) == 4
    assert all(result.ran > 0 for result in results)
    assert all(result.queued + result.ran <= result.seconds for result in results)


async def test_what_one_host_learned_of_a_tool_is_known_to_the_other(shared_bus: Any) -> None:
    asked = 0

    @tool(breaker=Breaker(failures=3))
    async def ill() -> None:
        nonlocal asked
        asked += 1
        raise ValueError("ill")

    async with two_hosts(shared_bus, ill) as hosts:
        results = [await hosts[n % 2].call("ill") for n in range(5)]
    assert codes(results) == ["failed"] * 3 + ["circuit_open"] * 2
    assert asked == 3


async def test_calls_that_take_too_long_on_another_machine_count(shared_bus: Any) -> None:
    @tool(breaker=Breaker(failures=2), timeout=0.2)
    async def stuck() -> None:
        await anyio.sleep_forever()

    async with two_hosts(shared_bus, stuck) as (one, other):
        for host in (one, other):
            assert codes([await host.call("stuck")]) == ["timed_out"]
        with anyio.fail_after(5):
            while codes([result := await one.call("stuck")]) != ["circuit_open"]:
                await checkpoint()
        assert result.seconds < 0.2
