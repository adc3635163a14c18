"""All steps together: whenever callers leave or time runs out, nothing is left, doubled or lost."""

from dataclasses import dataclass

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from toolwire import Context, Retry, Runtime, ToolError, ToolResult, tool

moments = st.integers(0, 60).map(lambda tenths: tenths / 10)


@dataclass
class Caller:
    """When it comes, what time it gives the call, when it leaves, and what it got."""

    comes: float
    gives: float
    leaves: float
    result: ToolResult[object] | None = None


callers = st.builds(Caller, moments, moments.filter(bool), moments.map(lambda at: at * 3))
behaviours = st.lists(st.tuples(moments, st.booleans()), min_size=1, max_size=8)


@given(them=st.lists(callers, min_size=1, max_size=6), script=behaviours, share=st.booleans(), cache=st.booleans())
@settings(max_examples=100)
def test_whatever_happens(them: list[Caller], script: list[tuple[float, bool]], *, share: bool, cache: bool) -> None:
    running = most = 0

    async def work(context: Context) -> int:
        """Take the next time of the script, and fail if it says so."""
        nonlocal running, most
        seconds, fails = script.pop(0) if script else (0.5, False)
        running += 1
        most = max(most, running)
        try:
            await anyio.sleep(seconds)
        finally:
            running -= 1
        if fails:
            raise ToolError("not yet", retry=True)
        return context.attempt

    async def main() -> None:
        async with Runtime(history=100) as runtime:
            asked = tool(
                work,
                read_only=True,
                share=share,
                cache=9.0 if cache else None,
                retries=Retry(2, first=0.5, attempt=2.0),
            )
            await runtime.serve(asked)

            async def one(caller: Caller) -> None:
                await trio.sleep(caller.comes)
                began = trio.current_time()
                with trio.move_on_after(caller.leaves):
                    caller.result = await runtime.call("work", timeout=caller.gives)
                assert trio.current_time() - began <= min(caller.gives, caller.leaves) + 1e-6

            async with trio.open_nursery() as nursery:
                for caller in them:
                    nursery.start_soon(one, caller)
            assert running == 0
            assert runtime._means.steps.sharing.flights == {}
            assert len(runtime.history) == len(them)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    if share:
        assert most <= 1
    for caller in them:
        result = caller.result
        if result is not None:
            assert result.attempts <= 3
            assert result.ok or (result.failure is not None and result.failure.code in {"failed", "timed_out"})


def test_what_asks_for_nothing_goes_straight() -> None:
    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(tool(lambda: 1, name="plain"), tool(lambda: 1, name="asks", retries=1))
            entries = runtime.tools.entries
            assert entries["plain"].direct
            assert not entries["asks"].direct

    anyio.run(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_hedge_leaves_neither_attempt(backend: str) -> None:
    running = 0
    both = anyio.Event()

    async def look(context: Context) -> int:
        """Hang, once enough was seen."""
        nonlocal running
        running += 1
        if running == 2:
            both.set()
        try:
            if context.attempt > 1 or seen >= 20:
                await anyio.sleep_forever()
        finally:
            running -= 1
        return 1

    seen = 0

    async def main() -> None:
        nonlocal seen
        async with Runtime() as runtime:
            await runtime.serve(tool(look, read_only=True, hedge=True))
            for _ in range(20):
                await runtime.call("look")
                seen += 1
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runtime.call, "look")
                with anyio.fail_after(5):
                    await both.wait()
                tasks.cancel_scope.cancel()
            assert running == 0

    anyio.run(main, backend=backend)
