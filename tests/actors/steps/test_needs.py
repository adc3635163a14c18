"""What can't fit into what is left of its time is not begun."""

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import Context, Runtime, ToolCall, tool

pytestmark = pytest.mark.anyio


async def test_what_does_not_fit_is_refused_and_says_so() -> None:
    ran: list[int] = []

    async def slow() -> int:
        """Take two seconds, it says."""
        ran.append(1)
        return 1

    async with Runtime() as runtime:
        await runtime.serve(tool(slow, needs=2.0))
        failure = (refused := await runtime.call("slow", timeout=0.5)).failure
        assert failure is not None
        assert (failure.code, failure.effect, refused.attempts, ran) == ("timed_out", "none", 0, [])
        assert failure.message.startswith("the call was not begun: it needs about 2 s, and 0.")
        assert (await runtime.call("slow", timeout=2.5)).value == 1


async def test_the_time_is_that_of_whoever_calls() -> None:
    async def inner() -> int:
        """Take two seconds, it says."""
        return 1

    async def outer(context: Context) -> str:
        """Call it."""
        failure = (await context.call("inner")).failure
        return "" if failure is None else failure.code

    async with Runtime() as runtime:
        await runtime.serve(tool(inner, needs=2.0), tool(outer, timeout=1.0))
        assert (await runtime.call("outer")).value == "timed_out"
        assert (await runtime.call("outer", timeout=9.0)).value == ""


def test_who_waited_too_long_at_the_door_is_not_begun() -> None:
    ran: list[str] = []

    async def slow(name: str) -> None:
        """Take half of the time."""
        ran.append(name)
        await anyio.sleep(2.0)

    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(tool(slow, needs=2.5, concurrency=1))
            calls = [ToolCall(name, "slow", {"name": name}) for name in "ab"]
            first, second = await runtime.call_many(calls, timeout=4.0)
        assert first.ok
        assert second.failure is not None
        assert (second.failure.code, second.failure.effect) == ("timed_out", "none")
        assert second.failure.details == {"by": "needs", "needs": 2.5, "left": 2.0}
        assert ran == ["a"]

    trio.run(main, clock=MockClock(autojump_threshold=0))
