"""A second attempt where the first takes unusually long: when, where, how often, and what becomes of the other."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import Context, Runtime, tool
from toolwire.actors.catalogue import Catalogue
from toolwire.actors.dispatch import Dispatcher
from toolwire.actors.means import Means
from toolwire.actors.records import Records
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.messages import CallEnded, CallTool
from toolwire.protocol.observed import ENOUGH
from toolwire.protocol.tools import ToolCall, ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import FakeActor

pytestmark = pytest.mark.anyio


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


class Slow:
    """Takes a second, or as long as it is told for each run to come."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.keys: list[str] = []
        self.attempts: list[int] = []
        self.cancelled = 0

    async def look(self, context: Context) -> int:
        self.keys.append(context.idempotency_key)
        self.attempts.append(context.attempt)
        run = len(self.keys)
        try:
            await anyio.sleep(self.times.pop(0) if self.times else 1.0)
        except BaseException:
            self.cancelled += 1
            raise
        return run


def test_the_first_answer_wins_and_the_other_is_cancelled() -> None:
    async def main() -> None:
        slow = Slow()
        async with Runtime() as runtime:
            await runtime.serve(tool(slow.look, read_only=True, hedge=True))
            for _ in range(ENOUGH):
                assert not (await runtime.call("look")).hedged
            slow.times = [20.0, 0.5]
            began = trio.current_time()
            result = await runtime.call("look")
            assert trio.current_time() - began == pytest.approx(1.5)  # the 95th percentile, and the second attempt
            assert (result.value, result.hedged, result.attempts, slow.cancelled) == (22, True, 2, 1)
            assert slow.attempts[-2:] == [1, 2]
            assert slow.keys[-1] == slow.keys[-2]
            slow.times = [2.0, 5.0]
            result = await runtime.call("look")
            assert (result.value, result.hedged, slow.cancelled) == (23, True, 2)

    timeless(main)


def test_a_tool_that_is_slow_for_all_has_no_double_load() -> None:
    async def main() -> None:
        slow = Slow()
        async with Runtime() as runtime:
            await runtime.serve(tool(slow.look, read_only=True, hedge=True))
            for _ in range(ENOUGH):
                await runtime.call("look")
            hedged = 0
            for n in range(100):
                slow.times = [2.0 + n, 9999.0]
                hedged += (await runtime.call("look", timeout=999.0)).hedged
            assert 0 < hedged <= 12

    timeless(main)


def test_the_other_attempt_goes_elsewhere_and_its_failure_does_not_win() -> None:
    async def main() -> None:
        asked: list[tuple[str, int]] = []
        spec = ToolSpec("t", read_only=True, hedge=True)

        def answering(name: str) -> Callable[[CallTool, object], Awaitable[CallEnded]]:
            async def answer(message: CallTool, _: object) -> CallEnded:
                asked.append((name, message.attempt))
                if len(asked) == ENOUGH + 2:
                    raise ToolwireError(failed("failed", "broken"))
                await anyio.sleep(5.0 if len(asked) > ENOUGH else 1.0)
                return CallEnded("1", None, name)

            return answer

        async with ActorSystem(MemoryBus()) as system:
            catalogue = Catalogue(lambda name, instance: system.address("tool", name, instance))
            for name in ("one", "two"):
                await system.spawn(FakeActor(CallTool, answering(name)), system.address("tool", "t", name))
                catalogue.add(spec, name)
            dispatcher = Dispatcher(Means(catalogue, "here", Records(catalogue)))
            for _ in range(ENOUGH):
                await dispatcher.run(ToolCall("a", "t"), 9.0, system.context(), None)
            result = await dispatcher.run(ToolCall("a", "t"), 9.0, system.context(), None)
            assert (result.ok, result.hedged, result.attempts) == (True, True, 2)
            (first, second) = asked[-2:]
            assert {first[0], second[0]} == {"one", "two"}
            assert result.worker == first[0]

    timeless(main)


def test_observed_needs_refuse_but_try_again_now_and_then() -> None:
    async def main() -> None:
        slow = Slow()
        async with Runtime() as runtime:
            await runtime.serve(tool(slow.look, read_only=True, needs="p95"))
            for _ in range(ENOUGH):
                assert (await runtime.call("look", timeout=5.0)).ok
            refused = [await runtime.call("look", timeout=0.9) for _ in range(20)]
            assert [each.attempts for each in refused] == ([0] * 9 + [1]) * 2
            slow.times = [0.1] * 200
            while not (result := await runtime.call("look", timeout=0.9)).ok:
                assert result.failure is not None
                assert result.failure.code == "timed_out"
            for _ in range(140):  # a shorter time is learned as soon as the long ones are no longer the latest
                await runtime.call("look", timeout=5.0)
            assert (await runtime.call("look", timeout=0.9)).ok

    timeless(main)
