"""Failed calls are tried again: how often, for how long, and under which key."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from toolwire import Context, Retry, Runtime, ToolCall, ToolError, ToolResult, tool
from toolwire.protocol.events import CallProgress, Event
from toolwire.protocol.failures import Failure, Misuse, ToolwireError, failed

pytestmark = pytest.mark.anyio

AT_ONCE = Retry(first=0.0)


class Fickle:
    """Fails as often as it is told, and keeps what it saw."""

    def __init__(self, times: int, failure: Failure | None = None) -> None:
        self.times = times
        self.failure = failure or Failure("failed", "not yet", "none", retryable=True)
        self.keys: list[str] = []
        self.attempts: list[int] = []

    async def work(self, context: Context) -> int:
        self.keys.append(context.idempotency_key)
        self.attempts.append(context.attempt)
        if len(self.keys) <= self.times:
            raise ToolwireError(self.failure)
        return 42


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_it_is_tried_again_until_it_succeeds_under_one_key() -> None:
    fickle = Fickle(2)
    async with Runtime() as runtime:
        await runtime.serve(tool(fickle.work, retries=AT_ONCE))
        result = await runtime.call("work")
        again = await runtime.call("work")
    assert (result.value, result.attempts) == (42, 3)
    assert fickle.attempts == [1, 2, 3, 1]
    assert len(set(fickle.keys[:3])) == 1
    assert fickle.keys[3] != fickle.keys[0]
    assert again.attempts == 1


async def test_and_only_so_often() -> None:
    fickle = Fickle(99)
    async with Runtime() as runtime:
        await runtime.serve(tool(fickle.work, retries=Retry(2, first=0.0)))
        result = await runtime.call("work")
        batch = await runtime.call_many([ToolCall("a", "work"), ToolCall("b", "work")])
    assert (result.ok, result.attempts) == (False, 3)
    assert [each.attempts for each in batch] == [3, 3]
    assert len(fickle.keys) == 9


async def test_what_may_have_happened_is_not_tried_again() -> None:
    fickle = Fickle(99, Failure("failed", "not yet", "maybe", retryable=True))
    async with Runtime() as runtime:
        await runtime.serve(tool(fickle.work, retries=AT_ONCE))
        assert (await runtime.call("work")).attempts == 1


async def test_unless_a_second_run_does_no_harm() -> None:
    fickle = Fickle(1, Failure("failed", "not yet", "maybe", retryable=True))
    async with Runtime() as runtime:
        await runtime.serve(tool(fickle.work, retries=AT_ONCE, idempotent=True))
        assert (await runtime.call("work")).value == 42


async def test_who_follows_a_call_is_told() -> None:
    told: list[Event] = []
    fickle = Fickle(1)
    async with Runtime() as runtime:
        await runtime.serve(tool(fickle.work, retries=AT_ONCE))
        dispatcher = runtime._dispatcher
        context = runtime.system.context()
        await dispatcher.run(ToolCall("a", "work"), 5.0, context, told.append)
    (progress,) = told
    assert isinstance(progress, CallProgress)
    assert progress.id == "a"
    assert progress.note == "attempt 1 ended as failed: not yet; the next in 0 s"


def test_it_waits_longer_each_time_and_not_past_its_time() -> None:
    seen: list[float] = []

    async def busy() -> None:
        """Fail."""
        seen.append(trio.current_time())
        raise ToolError("busy", retry=True)

    async def main() -> None:
        async with Runtime() as runtime:
            runtime._means.steps.retries.draw = lambda: 1.0
            await runtime.serve(tool(busy, retries=Retry(5, first=1.0), read_only=True))
            began = trio.current_time()
            result = await runtime.call("busy", timeout=10.0)
            assert trio.current_time() - began == pytest.approx(7.0)  # 8 s more would not fit
            assert (result.failure and result.failure.code, result.attempts) == ("failed", 4)
            assert result.seconds == pytest.approx(7.0)

    timeless(main)
    assert [round(at - seen[0], 3) for at in seen] == [0, 1, 3, 7]


def test_each_attempt_has_its_own_time_inside_the_call_s() -> None:
    async def stuck(context: Context) -> int:
        """Hang, but for the third time."""
        if context.attempt < 3:
            await trio.sleep_forever()
        return context.attempt

    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(tool(stuck, retries=Retry(5, first=0.0, attempt=2.0), read_only=True))
            began = trio.current_time()
            result = await runtime.call("stuck")
            assert (result.value, result.attempts) == (3, 3)
            assert trio.current_time() - began == pytest.approx(4.0)
            late = await runtime.call("stuck", timeout=3.0)
            assert (late.failure and late.failure.code, late.attempts) == ("timed_out", 2)
            assert late.failure is not None
            assert late.failure.details["by"] == "call"

    timeless(main)


def test_in_a_batch_too_attempts_are_counted_when_the_time_runs_out() -> None:
    async def stuck() -> int:
        """Hang."""
        await trio.sleep_forever()
        return 0

    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(tool(stuck, retries=Retry(5, first=0.0, attempt=2.0), read_only=True))
            calls = [ToolCall("a", "stuck"), ToolCall("b", "stuck")]
            results: tuple[ToolResult[Any], ...] = await runtime.call_many(calls, timeout=5.0)
            assert [(each.failure and each.failure.code, each.attempts) for each in results] == [("timed_out", 3)] * 2

    timeless(main)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retries": -1}, "retries must be"),
        ({"retries": Retry(0)}, "retries must be"),
        ({"retries": True}, "retries must be"),
        ({"retries": "3"}, "retries must be"),
        ({"retries": 3.5}, "retries must be"),
        ({"retries": Retry(first="1")}, "the waits between retries"),  # type: ignore[arg-type]
        ({"retries": Retry(attempt=True)}, "the time of an attempt"),
        ({"needs": True}, "needs must be"),
        ({"cache": True, "read_only": True}, "cache must be"),
        ({"share": "no", "read_only": True}, "share must be True or False"),
        ({"retries": Retry(first=-1.0)}, "the waits between retries"),
        ({"retries": Retry(factor=0.5)}, "the waits between retries"),
        ({"retries": Retry(codes=("oops",))}, "there is no failure code 'oops'"),
        ({"retries": Retry(attempt=0.0)}, "the time of an attempt"),
        ({"needs": 0}, "needs must be"),
        ({"needs": "p99"}, "needs must be"),
        ({"cache": -1.0, "read_only": True}, "cache must be"),
        ({"cache": 1.0}, "cache= is for tools that are read_only"),
        ({"share": True}, "share= is for tools that are read_only"),
        ({"hedge": True, "idempotent": True}, "hedge= is for tools that are read_only"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_at_decoration(options: dict[str, Any], said: str) -> None:
    def work() -> None:
        """Nothing."""

    with pytest.raises(Misuse) as caught:
        tool(work, **options)
    assert caught.value.failure.message.startswith(f"work: {said}")


def test_nothing_asked_is_nothing_said() -> None:
    def work() -> None:
        """Nothing."""

    assert tool(work).spec.direct
    assert tool(work, retries=0).spec.retry is None
    assert tool(work, retries=3).spec.retry == Retry(3)
    assert failed("failed", "x").retryable is False


def test_a_rate_that_asks_to_wait_is_waited_for() -> None:
    async def look() -> float:
        """When."""
        return trio.current_time()

    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(tool(look, read_only=True, rate="1/s", retries=Retry(first=0.0)))
            first, second = await runtime.call_many([ToolCall("a", "look"), ToolCall("b", "look")])
            assert second.value - first.value == pytest.approx(1.0)
            assert (first.attempts, second.attempts) == (1, 2)
            soon = await runtime.call("look", timeout=0.5)
            assert (soon.failure and soon.failure.code, soon.attempts) == ("rate_limited", 1)
            assert soon.seconds == 0.0  # at once: the wait would not fit

    timeless(main)
