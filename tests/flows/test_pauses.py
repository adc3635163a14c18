"""Turns that wait for a person, cancelled at each point, and against the clock."""

from typing import Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from toolwire import (
    Agent,
    Chat,
    ConfirmationWanted,
    Limits,
    Reply,
    Runtime,
    ToolMessage,
    ToolwireError,
    TurnFinished,
    UserMessage,
    scripted,
    spoken,
    tool,
)
from toolwire.runtime.testing import Way, interruptions

ROUND: list[Any] = [("pay", {"n": 1}), ("look",), ("note", {"of": {"$result": 1}}), ("pay", {"n": 2})]


class Ledger:
    """What was paid in the turn in hand."""

    def __init__(self) -> None:
        self.paid: list[int] = []

    def tools(self) -> list[Any]:
        @tool(confirm=True)
        async def pay(n: int) -> int:
            await checkpoint()
            self.paid.append(n)
            await checkpoint()
            return n

        @tool
        async def look() -> str:
            await checkpoint()
            return "seen"

        @tool
        async def note(of: int) -> int:
            return of

        return [pay, look, note]


def answer(request: Any) -> Any:
    return "done" if isinstance(request.messages[-1], ToolMessage) else ROUND


async def paused_and_answered(chat: Chat) -> None:
    """Both ways: one call is approved while somebody follows, or after the turn was put aside; the other is denied."""
    reply: Reply | None = await chat.say("go")
    assert reply is not None
    for pending, word in zip(reply.pending, ("approve", "deny"), strict=True):
        reply = await chat.answer(pending, word)  # type: ignore[arg-type]  # one of the two
    assert reply is not None
    assert reply.text == "done"


async def followed_and_answered(chat: Chat) -> None:
    words = {'{"n":1}': "approve", '{"n":2}': "deny"}
    async with chat.stream("go") as events:
        async for event in events:
            if isinstance(event, ConfirmationWanted):
                await chat.answer(event.pending, words[event.pending.arguments])  # type: ignore[arg-type]  # as above
            elif isinstance(event, TurnFinished):
                assert event.reply.text == "done"


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["suspension", "turn"])
@pytest.mark.parametrize("work", [paused_and_answered, followed_and_answered], ids=["paused", "followed"])
async def test_cancelled_at_every_point(memory: Any, valid: Any, way: Way, work: Any) -> None:
    ledger = Ledger()
    agent = Agent("clerk", scripted([answer] * 10_000), references=True)
    async with memory.open(*ledger.tools()) as runtime:
        chats: list[Chat] = []

        async def turn() -> None:
            ledger.paid.clear()
            chats.append(await runtime.converse(agent))
            await work(chats[-1])

        async def ended() -> None:
            chat = chats[-1]
            assert valid(chat)
            assert ledger.paid in ([], [1])
            pending = chat.pending
            assert (await chat.say("and now")).ended == "paused"
            assert valid(chat)
            for each in pending:
                with pytest.raises(ToolwireError, match="invalid_confirmation"):
                    await chat.answer(each, "approve")
            answers = [message for message in chat.history() if isinstance(message, ToolMessage)]
            turns = [message for message in chat.history() if isinstance(message, UserMessage)]
            assert len(answers) <= len(ROUND) * len(turns)
            assert ledger.paid in ([], [1])

        assert await interruptions(turn, ended, way) >= (1 if way == "suspension" else 5)


def test_waiting_for_a_person_is_no_time_of_the_turn() -> None:
    async def main() -> None:
        @tool(confirm=True, timeout=1_000)
        async def pay(n: int) -> int:
            await trio.sleep(6)
            return n

        async def slow(_: Any) -> Any:
            await trio.sleep(3)
            return ("pay", {"n": 1})

        async with Runtime() as runtime:
            await runtime.serve(pay)
            limits: Limits = {"seconds": 10, "confirm_within": 1_000}
            chat = await runtime.converse(model=scripted([slow, "done", slow, "never"]), limits=limits)
            began = trio.current_time()
            async with chat.stream("go") as events:
                async for event in events:
                    if isinstance(event, ConfirmationWanted):
                        await trio.sleep(900)
                        await chat.answer(event.pending, "approve")
                    elif isinstance(event, TurnFinished):
                        assert (event.reply.ended, event.reply.text) == ("answered", "done")
            assert trio.current_time() - began == pytest.approx(909)

            reply = await chat.say("again")  # what a paused turn has left is what it had
            await trio.sleep(900)
            began = trio.current_time()
            limits_left = await chat.answer(reply.pending[0], "approve", {"n": 2})
            assert limits_left is not None
            assert limits_left.ended == "answered"
            assert trio.current_time() - began == pytest.approx(6)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_the_rest_of_its_time_is_what_a_resumed_turn_has() -> None:
    async def main() -> None:
        @tool(confirm=True, timeout=1_000)
        async def pay() -> None:
            await trio.sleep_forever()

        async def slow(_: Any) -> Any:
            await trio.sleep(3)
            return ("pay",)

        async with Runtime() as runtime:
            await runtime.serve(pay)
            limits: Limits = {"seconds": 10, "confirm_within": 50}
            chat = await runtime.converse(model=scripted([slow]), limits=limits)
            async with chat.stream("go") as events:
                told = [event async for event in events]
            assert isinstance(told[-1], TurnFinished)
            assert told[-1].reply.ended == "paused"
            assert trio.current_time() == pytest.approx(53, abs=1)
            await trio.sleep(500)
            began = trio.current_time()
            reply = await chat.answer(told[-1].reply.pending[0], "approve")
            assert reply is not None
            assert reply.ended == "time"
            assert trio.current_time() - began == pytest.approx(7)
            (result,) = reply.calls
            assert result.failure is not None
            assert (result.failure.code, result.failure.effect) == ("cancelled", "maybe")

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_whoever_asked_for_the_turn_has_a_limit_all_the_same() -> None:
    async def main() -> None:
        @tool(confirm=True)
        async def pay() -> None:
            raise AssertionError("nobody said yes")

        async with Runtime() as runtime:
            await runtime.serve(pay)
            chat = await runtime.converse(model=scripted([("pay",), "more"]))
            with trio.move_on_after(5) as scope:
                async with chat.stream("go") as events:
                    async for _ in events:
                        pass
            assert scope.cancelled_caught
            (told,) = [message for message in chat.history() if isinstance(message, ToolMessage)]
            assert '"code":"cancelled"' in told.content
            assert '"effect":"maybe"' not in told.content
            assert chat.pending == ()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.anyio
async def test_an_answer_by_a_tool_of_the_same_turn(memory: Any, valid: Any) -> None:
    """It does not wait for the turn that waits for it."""
    ledger = Ledger()
    chats: list[Chat] = []

    @tool
    async def approve() -> str:
        while not chats[0].pending:
            await checkpoint()
        return repr(await chats[0].answer(chats[0].pending[0], "approve"))

    model = scripted([[("pay", {"n": 1}), ("approve",)], "done"])
    async with memory.open(*ledger.tools(), approve) as runtime:
        chats.append(await runtime.converse(model=model))
        with anyio.fail_after(5):
            async with chats[0].stream("go") as events:
                told = [event async for event in events]
        assert isinstance(told[-1], TurnFinished)
        assert [result.value for result in told[-1].reply.calls] == [1, "None"]
        assert valid(chats[0], model)


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [False, True], ids=["later", "at once"])
async def test_answered_while_a_turn_that_was_followed_goes_on(bus: Any, valid: Any, *, at_once: bool) -> None:
    """The batch that goes on is found, although it was opened while the model spoke; and before it comes so far."""
    begun, second = anyio.Event(), anyio.Event()

    @tool(read_only=True, confirm=True)
    async def peek(n: int) -> int:
        if n == 1:
            begun.set()
            if at_once:
                assert await chat.answer(two, "approve") is None
            await second.wait()
        second.set()
        return n

    model = scripted([spoken([("peek", {"n": 1}), ("peek", {"n": 2})]), "done"])
    async with bus.open(peek) as runtime:
        chat = await runtime.converse(model=model, limits={"confirm_within": 0})
        async with chat.stream("go") as events:
            told = [event async for event in events]
        assert isinstance(told[-1], TurnFinished)
        one, two = told[-1].reply.pending
        replies: list[Reply | None] = []

        async def approve() -> None:
            replies.append(await chat.answer(one, "approve"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(approve)
            await begun.wait()
            assert valid(chat)
            if not at_once:
                assert await chat.answer(two, "approve") is None
        (reply,) = replies
        assert reply is not None
        assert [result.content for result in reply.calls] == ["1", "2"]
        assert reply.text == "done"
        assert valid(chat, model)


@pytest.mark.anyio
async def test_cancelled_while_it_goes_on_a_turn_has_ended(bus: Any, valid: Any) -> None:
    """What ran stays as it was; what was approved and cut off may have been done; nobody can answer any more."""
    begun = anyio.Event()
    ran: list[int] = []

    @tool(confirm=True)
    async def pay(n: int) -> int:
        ran.append(n)
        begun.set()
        await anyio.sleep_forever()
        return n

    @tool
    async def look() -> str:
        return "seen"

    async with bus.open(pay, look) as runtime:
        chat = await runtime.converse(model=scripted([[("pay", {"n": 1}), ("look",), ("pay", {"n": 2})], "fine"]))
        one, two = (await chat.say("go")).pending
        async with bus.left_at(begun):
            await chat.answer(one, "approve")
        assert valid(chat)
        assert (await chat.say("and now")).text == "fine"
        contents = [message.content for message in chat.history() if isinstance(message, ToolMessage)]
        assert contents[1] == '"seen"'
        assert all('"code":"cancelled"' in contents[n] for n in (0, 2))
        assert ['"effect":"maybe"' in contents[n] for n in (0, 2)] == [True, False]
        for each in (one, two):
            with pytest.raises(ToolwireError, match="invalid_confirmation"):
                await chat.answer(each, "approve")
        assert ran == [1]
        assert valid(chat)
