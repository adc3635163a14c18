"""What tools ask to be done about their calls, across processes: retries, sharing, hedges."""

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Context, Retry, Runtime, ToolCall, ToolError, ToolResult, tool
from toolwire.actors.steps.contract import Passage
from toolwire.actors.steps.sharing import Sharing
from toolwire.protocol.observed import ENOUGH

pytestmark = pytest.mark.anyio


async def served(host: Runtime, name: str, workers: int) -> None:
    """Wait until so many are known to serve it."""
    while name not in host.tools or len(host.tools.entries[name].instances) < workers:
        await checkpoint()


async def test_an_attempt_elsewhere_has_the_same_key(shared_bus: Any) -> None:
    keys: list[str] = []
    attempts: list[int] = []
    workers: set[str] = set()

    def worker(name: str) -> Any:
        async def book(context: Context) -> int:
            """Fail twice."""
            workers.add(name)
            keys.append(context.idempotency_key)
            attempts.append(context.attempt)
            if len(keys) < 3:
                raise ToolError("not yet", retry=True)
            return len(keys)

        return tool(book, idempotent=True, retries=Retry(first=0.0))

    async with shared_bus.open(worker("one")), shared_bus.open(worker("two")), shared_bus.open() as host:
        await served(host, "book", 2)
        result = await host.call("book")
    assert (result.value, result.attempts) == (3, 3)
    assert attempts == [1, 2, 3]
    assert len(set(keys)) == 1
    assert workers == {"one", "two"}


async def test_identical_calls_of_a_response_run_once(shared_bus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    come, going = anyio.Event(), anyio.Event()
    runs: list[str] = []
    coming = 0
    share = Sharing.__call__

    async def counted(sharing: Sharing, passage: Passage, context: Any, following: Any) -> ToolResult[Any]:
        nonlocal coming
        coming += 1
        if coming == 5:
            come.set()
        return await share(sharing, passage, context, following)

    monkeypatch.setattr(Sharing, "__call__", counted)

    async def look(city: str) -> str:
        """Wait until all have come."""
        runs.append(city)
        await going.wait()
        return city

    results: list[ToolResult[Any]] = []
    async with shared_bus.open(tool(look, read_only=True, share=True)), shared_bus.open() as host:
        await served(host, "look", 1)

        async def batch() -> None:
            results.extend(await host.call_many([ToolCall(str(n), "look", {"city": "a"}) for n in range(5)]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch)
            await come.wait()  # each is checked over the bus before it comes so far
            going.set()
        again = await host.call("look", {"city": "a"})
    assert [result.id for result in results] == list("01234")
    assert all(result.value == "a" for result in results)
    assert len(runs) == 2
    assert not again.shared
    assert sorted(result.shared for result in results) == [False, True, True, True, True]


async def test_a_slow_worker_is_overtaken_by_another_and_told_to_stop(shared_bus: Any) -> None:
    stopped = anyio.Event()
    seen: list[tuple[str, str]] = []

    def worker(name: str) -> Any:
        async def look(context: Context) -> str:
            """Hang in the first attempt, once enough was seen."""
            seen.append((name, context.idempotency_key))
            if len(seen) > ENOUGH and context.attempt == 1:
                try:
                    await anyio.sleep_forever()
                finally:
                    stopped.set()
            return name

        return tool(look, read_only=True, hedge=True)

    async with shared_bus.open(worker("one")), shared_bus.open(worker("two")), shared_bus.open() as host:
        await served(host, "look", 2)
        for _ in range(ENOUGH):
            assert (await host.call("look")).ok
        result = await host.call("look")
        await stopped.wait()
    (first, key), (second, other) = seen[-2:]
    assert (result.value, result.hedged, result.attempts) == (second, True, 2)
    assert {first, second} == {"one", "two"}
    assert key == other


async def test_who_shares_a_result_is_told_of_changes_in_its_own_arguments_alone(shared_bus: Any) -> None:
    begun, going = anyio.Event(), anyio.Event()

    async def look(n: int) -> int:
        """Wait until both have come."""
        begun.set()
        await going.wait()
        return n

    results: list[ToolResult[Any]] = []
    async with shared_bus.open(tool(look, read_only=True, share=True, cache=60.0)), shared_bus.open() as host:
        await served(host, "look", 1)

        async def batch() -> None:
            calls = [ToolCall("a", "look", {"n": "5"}), ToolCall("b", "look", {"n": 5})]
            results.extend(await host.call_many(calls))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch)
            await begun.wait()
            await anyio.wait_all_tasks_blocked()
            going.set()
        results += [await host.call("look", {"n": 5}), await host.call("look", {"n": "5"})]
    assert sorted(result.shared for result in results[:2]) == [False, True]  # the first to be checked runs
    assert [result.cached for result in results] == [False, False, True, True]
    assert [result.repaired for result in results] == [True, False, False, True]
