"""The fakes that are shipped."""

import pytest

from toolwire.protocol.events import Reply
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.messages import Announce, Say, SendAll, TurnEnded, Who
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.context import Context
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import Answering, FakeActor, ManualClock, Recorder

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
