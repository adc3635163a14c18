"""`Chat.interrupt` at every instant: the turn ends for whoever asked for it, and the conversation goes on."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    Chat,
    ConfirmationWanted,
    Reply,
    ToolMessage,
    ToolwireError,
    TurnFinished,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.asks import Asks
from toolwire.actors.running import Running
from toolwire.runtime.deadline import NEVER
from toolwire.runtime.testing import ManualClock, Way, interruptions

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def look(n: int) -> int:
    await checkpoint()
    return n


@tool(confirm=True)
async def pay() -> str:
    return "paid"


ROUNDS: list[Any] = [["Let me see.", ("look", {"n": 1}), ("look", {"n": 2})], ("look", {"n": 3}), "All is done."]


async def rounds(request: Any) -> Any:
    """Two rounds of calls, and an answer, in each turn."""
    await checkpoint()
    since = max(n for n, message in enumerate(request.messages) if isinstance(message, UserMessage))
    results = sum(isinstance(message, ToolMessage) for message in request.messages[since:])
    return ROUNDS[max(0, results - 1)]


async def followed(chat: Chat, text: str) -> Reply:
    async with chat.stream(text) as events:
        async for event in events:
            if isinstance(event, TurnFinished):
                return event.reply
    raise AssertionError("a stream that is not left ends with its reply")


async def said(chat: Chat, text: str) -> Reply:
    return await chat.say(text)


Saying = Callable[[Chat, str], Awaitable[Reply]]
WAYS_TO_SAY = pytest.mark.parametrize("saying", [said, followed])


@WAYS_TO_SAY
@pytest.mark.parametrize("way", ["suspension", "turn"])
async def test_at_every_point(memory: Any, valid: Any, saying: Saying, way: Way) -> None:
    replies: list[Reply] = []
    told: list[bool] = []
    model = scripted([rounds] * 5_000)
    async with memory.open(look) as runtime:
        chats: list[Chat] = []

        async def work() -> None:
            chats.append(await runtime.converse(model=model, eager="all"))
            replies.append(await saying(chats[-1], "go"))

        async def act() -> None:
            told.append(await chats[-1].interrupt())
            assert valid(chats[-1])

        async def ended() -> None:
            chat, reply = chats[-1], replies[-1]
            if reply.ended == "interrupted":
                assert reply.failure is not None
                assert (reply.failure.code, reply.failure.details) == ("cancelled", {"by": "caller"})
                assert told[-1]
            else:
                assert (reply.ended, reply.text) == ("answered", "All is done.")
            assert isinstance(chat.history()[0], UserMessage)
            assert valid(chat)
            assert (await chat.say("again")).text == "All is done."
            assert valid(chat, model)

        await interruptions(work, ended, way, act=act)
    ends = [reply.ended for reply in replies]
    assert ends[-1] == "answered"
    assert ends.count("interrupted") >= (1 if saying is followed and way == "suspension" else 5)


@WAYS_TO_SAY
async def test_while_a_model_speaks_and_while_calls_run(bus: Any, valid: Any, saying: Saying) -> None:
    began = [anyio.Event(), anyio.Event()]

    async def silent(_request: Any) -> Any:
        began[0].set()
        await anyio.sleep_forever()

    @tool
    async def stuck() -> None:
        began[1].set()
        await anyio.sleep_forever()

    model = scripted([silent, [("look", {"n": 1}), ("stuck",)], "fine"])
    async with bus.open(look, stuck) as runtime:
        chat = await runtime.converse(model=model, id="c")
        for event in began:
            replies: list[Reply] = []

            async def say(replies: list[Reply] = replies) -> None:
                replies.append(await saying(chat, "go"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(say)
                await event.wait()
                assert await chat.interrupt()
                assert valid(chat)
            assert [reply.ended for reply in replies] == ["interrupted"]
        results = [message.content for message in chat.history() if isinstance(message, ToolMessage)]
        assert len(results) == 2
        assert "cancelled" in results[1]
        assert await chat.interrupt() is False
        assert (await saying(chat, "again")).text == "fine"
        assert valid(chat, model)


async def test_while_a_person_is_waited_for_and_once_that_was_given_up(bus: Any, valid: Any) -> None:
    model = scripted([("pay",), ("pay",), "fine"])
    async with bus.open(pay) as runtime:
        chat = await runtime.converse(model=model, id="c")
        async with chat.stream("go") as events:
            async for event in events:
                if isinstance(event, ConfirmationWanted):
                    assert await chat.interrupt()
                if isinstance(event, TurnFinished):
                    assert event.reply.ended == "interrupted"
        paused = await chat.say("go")
        assert paused.ended == "paused"
        assert await chat.interrupt()
        assert chat.pending == ()
        with pytest.raises(ToolwireError, match="invalid_confirmation"):
            await chat.answer(paused.pending[0], "approve")
        assert await chat.interrupt() is False
        assert (await chat.say("again")).text == "fine"
        assert valid(chat, model)


@WAYS_TO_SAY
async def test_a_turn_that_goes_on_after_a_person_has_answered(bus: Any, valid: Any, saying: Saying) -> None:
    began = anyio.Event()

    @tool(confirm=True)
    async def act() -> None:
        began.set()
        await anyio.sleep_forever()

    replies: list[Reply | None] = []
    async with bus.open(act, look) as runtime:
        model = scripted([[("look", {"n": 1}), ("act",)], "fine"])
        chat = await runtime.converse(model=model, id="c", limits={"confirm_within": 0})
        paused = await saying(chat, "go")
        assert paused.ended == "paused"

        async def approve() -> None:
            replies.append(await chat.answer(paused.pending[0], "approve"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(approve)
            await began.wait()
            assert await chat.interrupt()
            assert valid(chat)
        (reply,) = replies
        assert reply is not None
        assert (reply.ended, [result.ok for result in reply.calls]) == ("interrupted", [True, False])
        assert (await saying(chat, "again")).text == "fine"
        assert valid(chat, model)


async def test_twice_at_once_and_by_a_tool_of_the_turn_itself(bus: Any, valid: Any) -> None:
    began = anyio.Event()
    heard: list[bool] = []

    @tool
    async def stop() -> str:
        await chat.interrupt()
        return "never told"

    @tool
    async def stuck() -> None:
        began.set()
        await anyio.sleep_forever()

    async def interrupt() -> None:
        heard.append(await chat.interrupt())

    async def say() -> None:
        assert (await chat.say("go")).ended == "interrupted"

    async with bus.open(stop, stuck) as runtime:
        chat = await runtime.converse(model=scripted([("stuck",), ("stop",), "fine"]), id="c")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await began.wait()
            tasks.start_soon(interrupt)
            tasks.start_soon(interrupt)
        assert heard == [True, True]
        reply = await chat.say("go")
        assert (reply.ended, [result.failure and result.failure.code for result in reply.calls]) == (
            "interrupted",
            ["cancelled"],
        )
        assert (await chat.say("again")).text == "fine"
        assert valid(chat)


async def test_who_waits_to_be_heard_is_heard_next(bus: Any, valid: Any) -> None:
    began = anyio.Event()

    async def silent(_request: Any) -> Any:
        began.set()
        await anyio.sleep_forever()

    replies: dict[str, str] = {}

    async def say(text: str) -> None:
        replies[text] = (await chat.say(text)).ended

    async with bus.open() as runtime:
        chat = await runtime.converse(model=scripted([silent, "fine"]), id="c")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            await began.wait()
            tasks.start_soon(say, "b")
            await anyio.wait_all_tasks_blocked()
            assert await chat.interrupt()
        assert replies == {"a": "interrupted", "b": "answered"}
        assert valid(chat)


async def test_the_interrupter_is_not_cancelled_and_may_be(memory: Any) -> None:
    """A tool that does not heed its cancellation at once holds up the interrupter, who may leave."""
    began, go_on = anyio.Event(), anyio.Event()

    @tool
    async def stubborn() -> None:
        began.set()
        with anyio.CancelScope(shield=True):
            await go_on.wait()

    ended: list[str] = []

    async def say() -> None:
        ended.append((await chat.say("go")).ended)

    async with memory.open(stubborn) as runtime:
        chat = await runtime.converse(model=scripted([("stubborn",), "fine"]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await began.wait()
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_when_blocked, scope)
                await chat.interrupt()
            assert scope.cancelled_caught
            assert ended == []
            go_on.set()
        assert ended == ["interrupted"]
        assert (await chat.say("again")).text == "fine"


async def cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


async def test_whoever_cancels_the_caller_at_once_is_heard_too(memory: Any, valid: Any) -> None:
    began = anyio.Event()

    async def silent(_request: Any) -> Any:
        began.set()
        await anyio.sleep_forever()

    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted([silent, "fine"]))
        scope = anyio.CancelScope()

        async def say() -> None:
            with scope:
                await chat.say("go")
            assert scope.cancelled_caught

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await began.wait()
            scope.cancel()
            assert await chat.interrupt()
        assert (await chat.say("again")).text == "fine"
        assert valid(chat)


async def test_a_time_limit_that_has_struck_before_is_what_ended_the_turn() -> None:
    """By a clock of its own: what has to be met is the instant between the end of the time and the end of the turn."""
    system = SimpleNamespace(clock=ManualClock(), alarms=SimpleNamespace(set=none, unset=none), scope=anyio.CancelScope)
    context: Any = SimpleNamespace(system=system, deadline=NEVER)
    turn: Any = SimpleNamespace()
    unused: Any = None
    running = Running(turn, context, 1.0, Asks({}), unused)
    with running.scope:
        running.scope.cancel()  # as the alarm does
        running.interrupt()
    assert not running.interrupted


def none(*_: object) -> None:
    """Sets no alarm."""


async def busy(runtime: Any, when_busy: Any, began: anyio.Event, *more: Any) -> Chat:
    async def silent(_request: Any) -> Any:
        began.set()
        await anyio.sleep_forever()

    chat: Chat = await runtime.converse(model=scripted([silent, *more]), id="c", when_busy=when_busy)
    return chat


@WAYS_TO_SAY
async def test_what_is_said_meanwhile_is_refused(bus: Any, valid: Any, saying: Saying) -> None:
    began = anyio.Event()
    async with bus.open() as runtime:
        chat = await busy(runtime, "refuse", began, "fine", "fine")

        async def say() -> None:
            assert (await chat.say("a")).ended == "interrupted"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await began.wait()
            with pytest.raises(ToolwireError, match="a turn of this conversation is running") as raised:
                await saying(chat, "b")
            assert raised.value.failure.code == "conflict"
            assert await chat.interrupt()
        assert (await saying(chat, "c")).text == "fine"
        assert (await saying(chat, "d")).text == "fine"
        assert [message.text for message in chat.history() if isinstance(message, UserMessage)] == ["a", "c", "d"]
        assert valid(chat)


@WAYS_TO_SAY
async def test_of_many_that_interrupt_the_last_one_is_heard(bus: Any, valid: Any, saying: Saying) -> None:
    began = anyio.Event()
    ended: dict[str, str] = {}
    async with bus.open() as runtime:
        chat = await busy(runtime, "interrupt", began, *["fine"] * 4)

        async def say(text: str) -> None:
            ended[text] = (await saying(chat, text)).ended

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            await began.wait()
            for text in "bcd":
                tasks.start_soon(say, text)
        assert len(ended) == 4
        assert ended["a"] == "interrupted"
        answered = sum(end == "answered" for end in ended.values())
        assert answered + sum(end == "interrupted" for end in ended.values()) == 4
        assert answered == 1 or (bus.remote and answered)  # on a bus one may have ended before another came
        assert (await saying(chat, "e")).ended == "answered"
        assert {message.text for message in chat.history() if isinstance(message, UserMessage)} == set("abcde")
        assert valid(chat)


async def test_who_leaves_while_waiting_to_interrupt_leaves_no_trace(memory: Any) -> None:
    began, go_on = anyio.Event(), anyio.Event()

    @tool
    async def stubborn() -> None:
        began.set()
        with anyio.CancelScope(shield=True):
            await go_on.wait()

    ended: dict[str, str] = {}

    async def say(text: str) -> None:
        ended[text] = (await chat.say(text)).ended

    async with memory.open(stubborn) as runtime:
        chat = await runtime.converse(model=scripted([("stubborn",), "fine", "fine"]), when_busy="interrupt")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            await began.wait()
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_when_blocked, scope)
                await chat.say("b")
            assert scope.cancelled_caught
            tasks.start_soon(say, "c")
            await anyio.wait_all_tasks_blocked()
            go_on.set()
        await say("d")
    assert ended == {"a": "interrupted", "c": "answered", "d": "answered"}


@pytest.mark.parametrize("when_busy", ["refuse", "interrupt"])
async def test_a_paused_turn_is_not_busy(memory: Any, valid: Any, when_busy: Any) -> None:
    async with memory.open(pay) as runtime:
        chat = await runtime.converse(model=scripted([("pay",), "fine"]), when_busy=when_busy)
        assert (await chat.say("a")).ended == "paused"
        assert (await chat.say("b")).text == "fine"
        assert valid(chat)
