"""The fakes that are shipped."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.protocol.events import Reply
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.messages import Announce, Say, SendAll, TurnEnded, Who
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.context import Context
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import Answering, FakeActor, ManualClock, Recorder, Way, interruptions

pytestmark = pytest.mark.anyio


def test_a_clock_that_is_moved_by_hand() -> None:
    clock = ManualClock(5.0)
    clock.advance(0.5)
    assert clock() == clock() == 5.5


async def test_a_fake_actor_answers_as_it_is_told_and_keeps_what_it_was_asked() -> None:
    async def later(message: Say, context: Context) -> TurnEnded:
        assert context.depth == 1
        return TurnEnded(Reply(message.text.upper()))

    async with ActorSystem(MemoryBus()) as system:
        ways: dict[str, Answering] = {
            "value": TurnEnded(Reply("HI")),
            "function": lambda message, _: TurnEnded(Reply(message.text.upper())),
            "coroutine": later,
        }
        for address, answering in ways.items():
            actor = FakeActor(Say, answering)
            await system.spawn(actor, address)
            answer = await system.context().ask(address, Say("hi"))
            assert answer.reply.text == "HI"
            assert actor.received == [Say("hi")]


async def test_a_fake_actor_may_raise() -> None:
    async with ActorSystem(MemoryBus()) as system:
        await system.spawn(FakeActor(Say, ToolwireError(failed("overloaded", "no"))), "a")
        with pytest.raises(ToolwireError, match="overloaded: no"):
            await system.context().ask("a", Say("hi"))


async def test_a_recorder_hears_in_order_and_keeps_what_it_can_not_read() -> None:
    async with ActorSystem(MemoryBus()) as system, Recorder(system, "news", Announce | Who) as recorder:
        await system.publish("news", Who("1"))
        await system.publish("news", Announce("2", ()))
        assert await recorder.heard(2) == [Who("1"), Announce("2", ())]
        await system.publish("news", SendAll(history=True, tools=True))
        (_, _, error) = await recorder.heard(3)
        assert isinstance(error, Exception)


@pytest.mark.parametrize("way", ["suspension", "turn", "task"])
async def test_work_is_cancelled_at_each_point_once(anyio_backend: str, way: Way) -> None:
    if way == "task" and anyio_backend != "asyncio":
        pytest.skip("asyncio's own cancellation")
    steps: list[int] = []
    reached: list[int] = []

    async def work() -> None:
        steps.clear()
        for n in range(5):
            steps.append(n)
            await checkpoint()

    async def ended() -> None:
        reached.append(len(steps))

    points = await interruptions(work, ended, way)
    assert len(reached) == points + 1
    assert reached[-1] == 5
    if way == "suspension":
        assert reached == [1, 2, 3, 4, 5, 5]
    else:  # which of two tasks comes first in a turn is the loop's affair
        assert {3, 4, 5} & set(reached[:-1])


@pytest.mark.parametrize("way", ["suspension", "turn"])
async def test_something_is_done_at_each_point_of_work_that_goes_on(anyio_backend: str, way: Way) -> None:
    done: list[int] = []
    at: list[int] = []
    steps = 0

    async def work() -> None:
        nonlocal steps
        steps = 0
        for _ in range(3):
            steps += 1
            await checkpoint()
        done.append(steps)

    async def act() -> None:
        at.append(steps)

    async def ended() -> None:
        pass

    count = await interruptions(work, ended, way, act=act)
    assert count == len(at) >= 2
    assert set(at) <= {0, 1, 2, 3}
    assert anyio_backend == "trio" or len(set(at)) > 1  # trio lets tasks run in any order
    assert done == [3] * (count + 1)


async def test_what_is_left_of_work_is_told() -> None:
    async with anyio.create_task_group() as elsewhere:

        async def work() -> None:
            elsewhere.start_soon(anyio.sleep_forever)
            await checkpoint()

        async def ended() -> None:
            pass

        with pytest.raises(AssertionError, match="cancelled at point 1, it leaves"):
            await interruptions(work, ended)
        elsewhere.cancel_scope.cancel()


async def test_what_is_not_as_it_should_be_is_told_with_the_point() -> None:
    held: list[bool] = []

    async def work() -> None:
        await checkpoint()
        held.append(True)
        await checkpoint()
        held.clear()

    async def ended() -> None:
        assert not held

    with pytest.raises(AssertionError) as caught:
        await interruptions(work, ended, "suspension")
    assert caught.value.__notes__ == ["after it was cancelled at point 2"]


async def test_work_that_has_no_end_is_told() -> None:
    with pytest.raises(AssertionError, match="does not come through after 7 points"):
        await interruptions(anyio.sleep_forever, checkpoint, most=7)
