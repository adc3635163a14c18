"""One message at one actor: what it hears, and that every request has exactly one answer."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from msgspec import Raw

from toolwire.protocol.envelope import DEPTH, EMPTY_TRAIL, VERSION, Envelope, Trail, encode
from toolwire.protocol.events import Reply, TextDelta
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.messages import CheckCall, Message, Say, SelectTools, ToolsSelected, TurnEnded
from toolwire.runtime.actor import Actor, Cell
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.bus.contract import Abandoned, BusError, Lost, TooLarge, Unreachable
from toolwire.runtime.context import BUS_FAILURES, Context, Door, bus_failure, outside
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import Answering, FakeActor

pytestmark = pytest.mark.anyio

ENDED = TurnEnded(Reply("done"))


@asynccontextmanager
async def house(*answerings: Answering, limit: int | None = None) -> AsyncIterator[tuple[ActorSystem, list[FakeActor]]]:
    """A system with one fake actor for each of `answerings`, heard at "a", "b" and so on."""
    async with ActorSystem(MemoryBus()) as system:
        actors = [FakeActor(Say | SelectTools, each, limit=limit) for each in answerings]
        for actor, address in zip(actors, "abcdef", strict=False):
            await system.spawn(actor, address)
        yield system, actors


async def code_of(context: Context, address: str | Door, message: Any = Say("hi")) -> str:  # noqa: B008 - an immutable value
    with pytest.raises(ToolwireError) as caught:
        await context.ask(address, message)
    return caught.value.failure.code


async def test_it_answers_what_it_hears() -> None:
    async with house(lambda message, _: ToolsSelected((message.query,), "d")) as (system, (actor,)):
        assert await system.context().ask("a", SelectTools("q")) == ToolsSelected(("q",), "d")
        assert actor.received == [SelectTools("q")]


async def test_it_refuses_what_it_does_not_hear() -> None:
    async with house(ENDED) as (system, (actor,)):
        assert await code_of(system.context(), "a", CheckCall("t", "{}")) == "incompatible"
        assert actor.received == []


@pytest.mark.parametrize("payload", [b"", b"hello", b"\x80" * 10**6, b"\x97\x01"], ids=len)
async def test_it_refuses_bytes(payload: bytes) -> None:
    async with house(ENDED) as (system, (actor,)):
        answer = await system.bus.request("a", payload)
        assert b"invalid_message" in answer
        assert actor.received == []
        assert await system.context().ask("a", Say("hi")) == ENDED


async def test_it_refuses_another_version() -> None:
    async with house(ENDED) as (system, (actor,)):
        answer = await system.bus.request("a", encode(Envelope(2, 7, None, 1, (), EMPTY_TRAIL, Say("hi"))))
        assert b"incompatible" in answer
        assert actor.received == []


async def test_a_trail_that_lies_is_a_failure_of_whoever_reads_it() -> None:
    async def looks(_: Say, context: Context) -> Message:
        return TurnEnded(Reply(context.whose().turn))

    async with house(looks) as (system, _):
        answer = await system.bus.request("a", encode(Envelope(VERSION, 7, None, 1, (), Raw(b"\xc0"), Say("hi"))))
        assert b"invalid_message" in answer


async def test_nobody_there_is_unreachable() -> None:
    async with house() as (system, _):
        assert await code_of(system.context(), "nobody") == "unreachable"


UNDECLARED: list[BaseException] = [
    ValueError("v"),
    asyncio.CancelledError(),
    GeneratorExit(),
    ExceptionGroup("g", [ValueError()]),
    BaseExceptionGroup("b", [asyncio.CancelledError(), ValueError()]),
    StopAsyncIteration(),
    RecursionError(),
    MemoryError(),
]


@pytest.mark.parametrize("error", UNDECLARED, ids=lambda error: type(error).__name__)
async def test_what_it_did_not_declare_is_answered_internal(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(error) as (system, (actor,)):
        with caplog.at_level(logging.CRITICAL, "toolwire"):
            assert await code_of(system.context(), "a") == "internal"
        actor.answering = ENDED
        assert await system.context().ask("a", Say("hi")) == ENDED


async def test_what_it_declared_is_the_answer() -> None:
    failure = failed("too_large", "much", size=5)
    async with house(ToolwireError(failure)) as (system, _):
        with pytest.raises(ToolwireError) as caught:
            await system.context().ask("a", Say("hi"))
        assert caught.value.failure == failure


@pytest.mark.parametrize(
    "answer",
    [TurnEnded(Reply("half: \ud800")), "no message", None, TurnEnded(cast("Reply", 5))],
    ids=["surrogate", "str", "none", "int"],
)
async def test_an_answer_that_is_none_is_a_failure(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with house(lambda *_: answer) as (system, _):
        with caplog.at_level(logging.CRITICAL, "toolwire"):
            assert await code_of(system.context(), "a") in {"internal", "invalid_message", "incompatible"}


async def test_what_can_not_be_said_is_not_sent() -> None:
    async with house(ENDED) as (system, (actor,)):
        assert await code_of(system.context(), "a", Say("half: \ud800")) == "invalid_message"
        assert actor.received == []


async def test_a_details_that_can_not_travel_are_left_out() -> None:
    async with house(ToolwireError(failed("failed", "no", what=object()))) as (system, _):
        with pytest.raises(ToolwireError) as caught:
            await system.context().ask("a", Say("hi"))
        assert caught.value.failure.code == "failed"
        assert "what" not in caught.value.failure.details


async def test_a_cancellation_of_ours_goes_through() -> None:
    async def forever(*_: object) -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async with house(forever, limit=1) as (system, (actor,)):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(system.context().ask, "a", Say("hi"))
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        actor.answering = ENDED
        assert await system.context().ask("a", Say("hi")) == ENDED  # its place was given back


async def test_one_at_a_time_in_the_order_of_coming() -> None:
    inside = 0
    order: list[str] = []

    async def careful(message: Say, _: Context) -> Message:
        nonlocal inside
        inside += 1
        assert inside == 1
        order.append(message.text)
        await anyio.lowlevel.checkpoint()
        inside -= 1
        return ENDED

    async with house(careful, limit=1) as (system, _), anyio.create_task_group() as tasks:
        for n in range(10):
            tasks.start_soon(system.context().ask, "a", Say(str(n)))
            await anyio.lowlevel.checkpoint()
    assert sorted(order) == [str(n) for n in range(10)]


class Hearing(FakeActor):
    urgent = (SelectTools,)


async def test_urgent_messages_do_not_wait_behind_the_one_in_hand() -> None:
    gate = anyio.Event()

    async def answer(message: Any, _: Context) -> Message:
        if isinstance(message, SelectTools):
            return ToolsSelected((message.query,), "d")
        await gate.wait()
        return ENDED

    async with ActorSystem(MemoryBus()) as system:
        await system.spawn(Hearing(Say | SelectTools, answer, limit=1), "a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(system.context().ask, "a", Say("first"))
            await anyio.wait_all_tasks_blocked()
            assert await system.context().ask("a", SelectTools("now")) == ToolsSelected(("now",), "d")
            gate.set()


async def test_urgent_or_not_a_door_that_is_held_keeps_waiting_and_one_that_is_closed_refuses() -> None:
    async with ActorSystem(MemoryBus()) as system:
        cell = Cell(system, Hearing(SelectTools, ToolsSelected((), "d"), limit=1), "a")
        cell.hold()
        answers: list[ToolsSelected] = []

        async def ask() -> None:
            answers.append(await system.context().ask(cell, SelectTools("q")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert answers == []
            cell.open()
        assert len(answers) == 1
        cell.close("it is gone")
        assert await code_of(system.context(), cell, SelectTools("q")) == "unreachable"


async def test_it_would_wait_for_itself() -> None:
    async def round_about(_: Say, context: Context) -> Message:
        return await context.ask("b", Say("on"))

    async def back(_: Say, context: Context) -> Message:
        return await context.ask("a", Say("back"))

    async with house(round_about, back, limit=1) as (system, _):
        with anyio.fail_after(5), pytest.raises(ToolwireError, match="it would wait for itself") as caught:
            await system.context().ask("a", Say("hi"))
        assert caught.value.failure.code == "conflict"


async def test_two_who_wait_for_each_other_by_chance_are_no_such_case() -> None:
    """Two callers of one actor are no circle: the second only waits."""

    async def slow(_: Say, context: Context) -> Message:
        await anyio.lowlevel.checkpoint()
        return ENDED

    async def passes_on(_: Say, context: Context) -> Message:
        return await context.ask("a", Say("on"))

    async with house(slow, passes_on, passes_on, limit=1) as (system, _), anyio.create_task_group() as tasks:
        for address in "bcbc":
            tasks.start_soon(system.context().ask, address, Say("hi"))


async def test_an_actor_with_room_may_be_asked_by_itself() -> None:
    async def counts_down(message: Say, context: Context) -> Message:
        if message.text == "0":
            return ENDED
        return await context.ask("a", Say(str(int(message.text) - 1)))

    async with house(counts_down) as (system, (actor,)):
        assert await system.context().ask("a", Say("10")) == ENDED
        assert len(actor.received) == 11


async def test_requests_nest_only_so_deep() -> None:
    async def deeper(_: Say, context: Context) -> Message:
        return await context.ask("a", Say("deeper"))

    async with house(deeper) as (system, (actor,)):
        assert await code_of(system.context(), "a") == "limit_reached"
        assert len(actor.received) == DEPTH


async def test_the_budget_shrinks_on_the_way() -> None:
    seen: list[float] = []

    async def first(_: Say, context: Context) -> Message:
        seen.append(context.remaining() or 0.0)
        return await context.within(5.0).ask("b", Say("on"))

    async def second(_: Say, context: Context) -> Message:
        seen.append(context.remaining() or 0.0)
        seen.append(context.within(1000.0).remaining() or 0.0)
        return ENDED

    async with house(first, second) as (system, _):
        await system.context(100.0).ask("a", Say("hi"))
    outer, inner, grown = seen
    assert 90 < outer <= 100
    assert 4 < inner <= 5
    assert grown <= inner


async def test_without_a_limit_there_is_none() -> None:
    seen: list[float | None] = []

    async def first(_: Say, context: Context) -> Message:
        seen.append(context.remaining())
        return ENDED

    async with house(first) as (system, _):
        await system.context().ask("a", Say("hi"))
    assert seen == [None]


async def test_no_time_left_is_refused_not_started() -> None:
    async with house(ENDED) as (system, (actor,)):
        assert await code_of(system.context(-1.0), "a") == "timed_out"
        assert actor.received == []


async def test_events_come_before_the_answer_and_never_after() -> None:
    kept: list[Context] = []

    async def speaks(_: Say, context: Context) -> Message:
        context.report(TextDelta("one"))
        context.report(TextDelta("two"))
        kept.append(context)
        return ENDED

    async with house(speaks) as (system, _):
        heard: list[Any] = []
        await system.context().ask("a", Say("hi"), hear=heard.append)
        kept[0].report(TextDelta("late"))
        assert heard == [TextDelta("one"), TextDelta("two")]
        await system.context().ask("a", Say("hi"))  # nobody listens: that is no error


async def test_whose_it_is_goes_along() -> None:
    trail = Trail("c", "c.1", '{"user":1}', "00-1-2-01")
    seen: list[Trail] = []

    async def passes_on(_: Say, context: Context) -> Message:
        return await context.ask("b", Say("on"))

    async def looks(_: Say, context: Context) -> Message:
        seen.append(context.whose())
        return ENDED

    async with house(passes_on, looks) as (system, _):
        await outside(system, Raw(encode(trail))).ask("a", Say("hi"))
    assert seen == [trail]


async def test_a_cell_may_be_asked_directly() -> None:
    async with ActorSystem(MemoryBus()) as system:
        cell: Cell = system.private(FakeActor(Say, ENDED), "mine")
        assert await system.context().ask(cell, Say("hi")) == ENDED


def test_what_the_bus_can_not_do_has_a_code_each() -> None:
    def kinds(of: type[BusError]) -> set[type[BusError]]:
        return {kind for each in of.__subclasses__() for kind in {each, *kinds(each)}}

    assert set(BUS_FAILURES) == {kind for kind in kinds(BusError) if kind.__module__.endswith("bus.contract")}
    for kind in BUS_FAILURES:
        failure = bus_failure(kind("so"))
        assert failure.effect == ("maybe" if kind in {Lost, Abandoned} else "none")
        assert failure.message == "so"


def test_an_answer_that_was_too_large_means_that_something_ran() -> None:
    assert bus_failure(TooLarge("much"), sent=True).effect == "maybe"
    assert bus_failure(Unreachable("gone"), sent=True).effect == "none"


async def test_the_base_answers_nothing_by_itself() -> None:
    with pytest.raises(NotImplementedError):
        await Actor().receive(Say("hi"), outside(None, EMPTY_TRAIL))
