"""What happens in the instant between two turns, at a full door, and to who does not heed the end of a turn."""

from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Chat, Reply, ToolwireError, scripted, tool
from toolwire.actors.asks import Asks
from toolwire.actors.conversation import Conversation
from toolwire.actors.running import Running
from toolwire.protocol.failures import failed
from toolwire.runtime.deadline import NEVER
from toolwire.runtime.testing import ManualClock

pytestmark = pytest.mark.anyio


async def soon(_request: Any) -> str:
    for _ in range(3):
        await checkpoint()
    return "fine"


@pytest.mark.parametrize("after", range(12))
async def test_an_interruption_between_two_turns_ends_the_second(memory: Any, valid: Any, after: int) -> None:
    """The place of the first was handed to the second, which has not begun: it is not free to be missed."""
    ended: dict[str, str] = {}
    interrupted: list[bool] = []
    said: list[str] = []
    waiting: list[bool] = []

    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted([soon] * 9))

        async def say(text: str) -> None:
            said.append(text)
            ended[text] = (await chat.say(text)).ended

        async def interrupt() -> None:
            for _ in range(after):
                await checkpoint()
            waiting.append(len(said) > len(ended))
            interrupted.append(await chat.interrupt())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            tasks.start_soon(say, "b")
            tasks.start_soon(interrupt)
        assert interrupted == waiting  # whoever had said something and had no reply yet ran, or was about to
        assert list(ended.values()).count("interrupted") == interrupted.count(True)
        assert (await chat.say("c")).text == "fine"
        assert valid(chat)


async def test_who_finds_no_place_to_wait_interrupts_nobody(memory: Any, valid: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(Conversation, "capacity", 2)
    began, go_on = anyio.Event(), anyio.Event()
    ended: dict[str, str] = {}

    @tool
    async def stubborn() -> None:
        began.set()
        with anyio.CancelScope(shield=True):
            await go_on.wait()

    async with memory.open(stubborn) as runtime:
        chat = await runtime.converse(model=scripted([("stubborn",), "fine", "fine"]), when_busy="interrupt")

        async def say(text: str) -> None:
            ended[text] = (await chat.say(text)).ended

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            await began.wait()
            for text in "bc":
                tasks.start_soon(say, text)
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(ToolwireError, match="is full") as raised:
                await chat.say("d")
            assert raised.value.failure.code == "overloaded"
            go_on.set()
        assert ended == {"a": "interrupted", "b": "interrupted", "c": "answered"}
        assert valid(chat)


async def test_what_is_said_to_a_closed_conversation_interrupts_nobody(memory: Any) -> None:
    began, go_on = anyio.Event(), anyio.Event()

    async def slow(_request: Any) -> str:
        began.set()
        await go_on.wait()
        return "fine"

    replies: list[Reply] = []
    async with memory.open() as runtime:
        chat: Chat = await runtime.converse(model=scripted([slow]), id="c", when_busy="interrupt")

        async def say() -> None:
            replies.append(await chat.say("a"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await began.wait()
            await chat.close()
            with pytest.raises(ToolwireError):
                await chat.say("b")
            go_on.set()
    assert [reply.ended for reply in replies] == ["answered"]


@pytest.mark.parametrize("followed", [False, True])
async def test_a_tool_that_outlasts_the_time_ends_the_turn_as_one_that_outlasts_an_interruption(
    memory: Any, valid: Any, *, followed: bool
) -> None:
    """What has ended has, and nobody is asked any more: the reply says whose time it was."""
    over, go_on = anyio.Event(), anyio.Event()

    @tool
    async def stubborn() -> str:
        try:
            await anyio.sleep_forever()
        finally:
            over.set()
            with anyio.CancelScope(shield=True):
                await go_on.wait()
            return "done"  # noqa: B012 - it swallows its cancellation, as some do

    async with memory.open(stubborn) as runtime:
        model = scripted([("stubborn",), "fine"])
        chat = await runtime.converse(model=model, limits={"seconds": 0.02})
        replies: list[Reply] = []
        async with anyio.create_task_group() as tasks:

            async def say() -> None:
                if not followed:
                    replies.append(await chat.say("go"))
                    return
                async with chat.stream("go") as events:
                    replies.extend([event.reply async for event in events if hasattr(event, "reply")])

            tasks.start_soon(say)
            await over.wait()
            go_on.set()
        (reply,) = replies
        assert reply.ended == "time"
        assert reply.failure is not None
        assert (reply.failure.message, reply.failure.details) == ("the turn took longer than 0.02 s", {"by": "turn"})
        assert len(model.requests) == 1
        assert valid(chat, model)
        assert (await chat.say("again")).text == "fine"


async def test_the_failure_of_a_detached_turn_that_nobody_follows_is_logged(memory: Any, caplog: Any) -> None:
    go_on = anyio.Event()

    async def secretive(_request: Any) -> str:
        await go_on.wait()
        raise ValueError("hunter2")

    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted([secretive, "fine"]), id="user-42")
        async with chat.stream("go", detach=True):
            pass
        async with chat.stream("go", tool_choice="nowhere", detach=True) as refused:
            pass
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        assert (await chat.say("again")).text == "fine"
        with pytest.raises(ToolwireError):
            await anext(refused)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    said = "a turn of user-42 that nobody followed any more has failed: "
    assert sorted(warnings) == [f"{said}model_failed", f"{said}unknown_tool"]


async def test_whose_time_was_over_is_said_whoever_noticed_it() -> None:
    """By a clock of its own: a turn's own time, with what it waited for a person, or that of whoever asked for it."""
    clock = ManualClock()
    alarms = SimpleNamespace(set=none, unset=none)
    system = SimpleNamespace(clock=clock, alarms=alarms, scope=anyio.CancelScope)
    turn: Any = SimpleNamespace(waited=0.0, offer=SimpleNamespace(seconds=2.0))
    unused: Any = None
    refused = failed("timed_out", "no time is left", by="deadline")
    for outer, words in ((NEVER, "the turn took longer than 2.0 s"), (3.0, "the time of whoever asked")):
        context: Any = SimpleNamespace(system=system, deadline=outer)
        running = Running(turn, context, 2.0, Asks({}), unused)
        assert running.said(refused) is refused
        clock.advance(2.0)
        assert running.said(refused).message.startswith(words)
        other = failed("model_failed", "no")
        assert running.said(other) is other


def none(*_: object) -> None:
    """Sets no alarm."""
