"""Following a turn while it runs, leaving it in the middle, and several who speak at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    Agent,
    CallFinished,
    CallProgress,
    CallStarted,
    Chat,
    Context,
    Event,
    Misuse,
    ModelRequest,
    Reply,
    TextDelta,
    ToolCall,
    ToolMessage,
    ToolwireError,
    TurnFinished,
    UserMessage,
    scripted,
    spoken,
    tool,
)

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    return a + b


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def numbered(events: Sequence[Event]) -> bool:
    return [event.number for event in events] == list(range(1, len(events) + 1))


async def test_the_events_of_a_turn_are_numbered_and_in_order(bus: Any, valid: Any) -> None:
    @tool
    async def work(context: Context) -> str:
        await context.progress(1, 2, "half")
        await context.progress(2, 2)
        return "done"

    model = scripted([["Let me see.", ("work",)], "All is done."])
    async with bus.open(work) as runtime:
        chat = await runtime.converse(model=model)
        async with chat.stream("Go") as stream:
            events = [event async for event in stream]
        assert kinds(events) == [
            *["TextDelta"] * 3,
            "CallStarted",
            *["CallProgress"] * 2,
            "CallFinished",
            *["TextDelta"] * 3,
            "TurnFinished",
        ]
        assert numbered(events)
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Let me see.All is done."
        started, first, second, finished = events[3:7]
        assert isinstance(started, CallStarted)
        assert (started.id, started.name, started.arguments) == ("call_1", "work", "{}")
        assert isinstance(first, CallProgress)
        assert (first.id, first.done, first.total, first.note) == ("call_1", 1.0, 2.0, "half")
        assert isinstance(second, CallProgress)
        assert second.note == ""
        assert isinstance(finished, CallFinished)
        assert finished.result.value == "done"
        last = events[-1]
        assert isinstance(last, TurnFinished)
        assert (last.reply.text, last.reply.calls) == ("All is done.", (finished.result,))
        assert valid(chat, model)


async def test_the_events_of_calls_that_run_side_by_side(bus: Any) -> None:
    meeting = bus.meeting(4)

    @tool(writes={"x"})
    async def first() -> int:
        return 1

    @tool(writes={"x"})
    async def second(n: int) -> int:
        return n

    @tool
    async def meet(n: int) -> None:
        await meeting.join()

    calls: Any = [("first",), ("second", {"n": {"$result": 1}}), *[("meet", {"n": n}) for n in range(4)], ("nobody",)]
    model = scripted([calls, "done"])
    async with bus.open(first, second, meet) as runtime:
        chat = await runtime.converse(model=model, references=True)
        async with chat.stream("Go") as stream:
            events = [event async for event in stream]
    assert numbered(events)
    started = {event.id: (place, event) for place, event in enumerate(events) if isinstance(event, CallStarted)}
    finished = {event.result.id: place for place, event in enumerate(events) if isinstance(event, CallFinished)}
    assert finished.keys() == {f"call_{n}" for n in range(1, 8)}
    assert all(started[name][0] < finished[name] for name in started)
    waiting = started["call_2"][1]
    assert (waiting.needs, waiting.order, waiting.arguments) == (("call_1",), ("call_1",), '{"n":1}')
    assert finished["call_1"] < started["call_2"][0]
    assert max(started[f"call_{n}"][0] for n in range(3, 7)) < min(finished[f"call_{n}"] for n in range(3, 7))


async def test_nobody_who_does_not_listen_is_told(bus: Any) -> None:
    told: list[Any] = []

    @tool
    async def work(context: Context) -> None:
        await context.progress(1)
        told.append(context.message.events)

    async with bus.open(work) as runtime:
        chat = await runtime.converse(model=scripted([("work",), "x"]))
        await chat.say("?")
        await runtime.call("work")
    assert told == [False, False]


async def test_a_turn_that_fails_tells_it_last(bus: Any) -> None:
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=scripted([("add", {"a": 1, "b": 1})]))
        async with chat.stream("?") as stream:
            events = [event async for event in stream]
        assert kinds(events) == ["CallStarted", "CallFinished", "TurnFinished"]
        last = events[-1]
        assert isinstance(last, TurnFinished)
        assert (last.reply.ended, last.reply.failure and last.reply.failure.code) == ("failed", "model_failed")


async def test_leaving_in_the_middle_cancels_the_tool_and_keeps_the_history_valid(bus: Any, valid: Any) -> None:
    cancelled: list[str] = []
    begun = bus.meeting(2)

    @tool
    async def endless(name: str) -> None:
        try:
            await begun.join()
            await anyio.sleep_forever()
        except BaseException:
            cancelled.append(name)
            raise

    calls: Any = [("endless", {"name": "left"}), ("add", {"a": 1, "b": 2}), ("endless", {"name": "right"})]
    model = scripted([calls, "I am here."])
    async with bus.open(add, endless) as runtime:
        chat = await runtime.converse(model=model)
        async with chat.stream("Go") as stream:
            async for event in stream:
                if isinstance(event, CallStarted) and event.id == "call_3":
                    await begun.full.wait()
                    break
        assert sorted(cancelled) == ["left", "right"]
        assert valid(chat)
        failed = [message.failed for message in chat.history() if isinstance(message, ToolMessage)]
        assert failed in ([True, False, True], [True, True, True])  # whether the sum was heard of in time
        assert (await chat.say("Are you there?")).text == "I am here."
        assert valid(chat, model)


async def test_leaving_before_anything_was_heard(bus: Any, valid: Any) -> None:
    model = scripted(["one", "two", "three"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        async with chat.stream("first"):
            pass
        async with chat.stream("second") as stream:
            async for _ in stream:
                break
        assert valid(chat)
        assert (await chat.say("third")).ended == "answered"
        assert valid(chat, model)


async def test_what_the_reader_raises_is_its_own(bus: Any, valid: Any) -> None:
    model = scripted([("add", {"a": 1, "b": 2}), "one", "two"])
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=model)

        async def follow() -> None:
            async with chat.stream("Go") as stream:
                async for event in stream:
                    if isinstance(event, CallStarted):
                        raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await follow()
        assert valid(chat)
        assert (await chat.say("Go on")).ended == "answered"
        assert valid(chat, model)


async def test_a_stream_is_cancelled_from_outside(bus: Any, valid: Any) -> None:
    begun = anyio.Event()

    @tool
    async def endless() -> None:
        begun.set()
        await anyio.sleep_forever()

    model = scripted([("endless",), "back"])
    async with bus.open(endless) as runtime:
        chat = await runtime.converse(model=model)
        async with bus.left_at(begun) as scope, chat.stream("Go") as stream:
            async for _ in stream:
                pass
        assert scope.cancelled_caught
        assert valid(chat)
        assert (await chat.say("And now?")).text == "back"
        assert valid(chat, model)


async def test_a_stream_has_to_be_entered(bus: Any) -> None:
    async with bus.open() as runtime:
        chat = await runtime.converse(model=scripted(["one"]))
        with pytest.raises(Misuse, match="async with"):
            async for _ in chat.stream("?"):
                pass
        async with chat.stream("?") as stream:
            assert [type(event) async for event in stream] == [TextDelta, TurnFinished]
            assert [event async for event in stream] == []


async def test_a_model_that_hangs_is_left(bus: Any, valid: Any) -> None:
    asked, left = anyio.Event(), anyio.Event()

    async def hang(request: ModelRequest) -> str:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()
        raise AssertionError

    model = scripted([hang, "better"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        async with bus.left_at(asked) as scope:
            await chat.say("first")
        assert scope.cancelled_caught
        assert left.is_set()
        assert (await chat.say("second")).text == "better"
        assert valid(chat, model)
        assert [message.text for message in chat.history() if isinstance(message, UserMessage)] == ["first", "second"]


async def test_say_is_cancelled_while_tools_run(bus: Any, valid: Any) -> None:
    begun, ended = bus.meeting(3), []

    @tool
    async def endless(n: int) -> None:
        try:
            await begun.join()
            await anyio.sleep_forever()
        finally:
            ended.append(n)

    model = scripted([[("endless", {"n": n}) for n in range(3)], "better"])
    async with bus.open(endless) as runtime:
        chat = await runtime.converse(model=model)
        async with bus.left_at(begun.full) as scope:
            await chat.say("first")
        assert scope.cancelled_caught
        assert sorted(ended) == [0, 1, 2]
        assert valid(chat)
        assert (await chat.say("second")).text == "better"
        assert valid(chat, model)


async def test_say_is_given_too_little_time(bus: Any, valid: Any) -> None:
    @tool
    async def endless() -> None:
        await anyio.sleep_forever()

    model = scripted([("endless",), "better"])
    async with bus.open(endless) as runtime:
        chat = await runtime.converse(model=model)
        with anyio.move_on_after(0.1) as scope:
            await chat.say("first")
        assert scope.cancelled_caught
        assert (await chat.say("second")).text == "better"
        assert valid(chat, model)


async def test_a_scope_that_was_cancelled_before_says_nothing_or_all(bus: Any, valid: Any) -> None:
    model = scripted(["one", "two"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await chat.say("first")
        assert valid(chat)
        assert (await chat.say("second")).ended == "answered"
        assert valid(chat, model)


@pytest.mark.parametrize("name", [None, "together"])
async def test_who_speaks_meanwhile_waits(bus: Any, valid: Any, name: str | None) -> None:
    running = 0

    @tool
    async def alone() -> int:
        nonlocal running
        running += 1
        seen = running
        for _ in range(5):
            await checkpoint()
        running -= 1
        return seen

    def answer(request: ModelRequest) -> Any:
        last = request.messages[-1]
        return ("alone",) if isinstance(last, UserMessage) else f"after {last.content}"  # type: ignore[union-attr]

    model = scripted([answer] * 12)
    async with bus.open(alone) as runtime:
        chat = await runtime.converse(Agent("queue", model), id=name)
        texts: list[str] = []

        async def speak(text: str) -> None:
            texts.append((await chat.say(text)).text)

        async with anyio.create_task_group() as speaking:
            for n in range(6):
                speaking.start_soon(speak, f"{n}")
        assert texts == ["after 1"] * 6
        assert valid(chat, model)
        assert len(chat.history()) == 24
        said = [message.text for message in chat.history() if isinstance(message, UserMessage)]
        assert sorted(said) == [f"{n}" for n in range(6)]


async def test_who_waits_and_leaves_has_said_nothing(bus: Any, valid: Any) -> None:
    begun, go = anyio.Event(), anyio.Event()

    @tool
    async def hold() -> None:
        begun.set()
        await go.wait()

    model = scripted([("hold",), "one", "two"])
    async with bus.open(hold) as runtime, anyio.create_task_group() as speaking:
        chat = await runtime.converse(model=model)
        speaking.start_soon(chat.say, "first")
        await begun.wait()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(chat.say, "never heard")
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        go.set()
        assert (await chat.say("second")).text == "two"
        assert valid(chat, model)
        said = [message.text for message in chat.history() if isinstance(message, UserMessage)]
        assert said == ["first", "second"]


async def test_a_slow_reader_loses_no_call_and_no_text(bus: Any) -> None:
    """5,000 notes of progress and 3,000 words: what is too much is merged, the rest is in order."""

    @tool
    async def noisy(context: Context) -> str:
        for n in range(5_000):
            await context.progress(n, 5_000)
        return "done"

    model = scripted([[("noisy",), ("noisy",)], "word " * 3_000])
    async with bus.open(noisy) as runtime:
        chat = await runtime.converse(model=model)
        async with chat.stream("Go") as stream:
            await anyio.wait_all_tasks_blocked()
            events = [event async for event in stream]
    assert kinds(events).count("CallStarted") == 2
    assert kinds(events).count("CallFinished") == 2
    assert isinstance(events[-1], TurnFinished)
    assert all(before.number < after.number for before, after in pairwise(events))
    if not bus.remote:
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "word " * 3_000


async def test_a_turn_that_runs_when_the_runtime_closes_ends_and_stays_valid(bus: Any, valid: Any) -> None:
    begun, closing = anyio.Event(), anyio.Event()
    chats: list[Chat] = []
    replies: list[Reply] = []

    @tool
    async def waiting() -> str:
        begun.set()
        await closing.wait()
        return "done"

    async def speak() -> None:
        replies.append(await chats[0].say("Go"))

    async with anyio.create_task_group() as speaking:
        async with bus.open(waiting) as runtime:
            chats.append(await runtime.converse(model=scripted([("waiting",), "done"])))
            speaking.start_soon(speak)
            await begun.wait()
            runtime.system.open = False  # as closing does first: from now on nothing new is taken
            closing.set()
        with pytest.raises(Misuse, match="not open"):
            await chats[0].say("Anybody there?")
    assert [reply.ended for reply in replies] in (["answered"], ["failed"])  # as far as it came
    assert valid(chats[0])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("read_only", [False, True])  # one that starts while the model speaks has another task
@pytest.mark.parametrize("detach", [False, True])
async def test_a_tool_that_cancels_its_task_ends_no_more_than_its_turn(
    memory: Any, valid: Any, *, read_only: bool, detach: bool
) -> None:
    @tool(read_only=read_only)
    async def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await checkpoint()

    text = ""
    async with memory.open(cancel) as runtime:
        other = await runtime.converse(model=scripted(["fine"]))
        chat = await runtime.converse(model=scripted([spoken(("cancel",)), "done"]))
        async with chat.stream("go", detach=detach) as events:
            with pytest.raises(ToolwireError) if not read_only else nullcontext() as raised:
                last = [event async for event in events][-1]
        if raised is None:
            assert isinstance(last, TurnFinished)
        else:
            assert raised.value.failure.details == {"by": "task"}
        assert valid(chat)
        text = (await other.say("hi")).text
    assert text == "fine"  # not asked inside: a runtime that was cancelled is left without a word


async def test_a_closed_runtime_says_so(bus: Any) -> None:
    async with bus.open(add) as runtime:
        chat = await runtime.converse(model=scripted(["one"]))
    ways: list[Callable[[], Awaitable[object]]] = [
        lambda: chat.say("?"),
        lambda: runtime.call("add", {"a": 1, "b": 2}),
        lambda: runtime.call_many([ToolCall("a", "add")]),
        lambda: runtime.serve(add),
        lambda: runtime.converse(model=scripted([])),
    ]
    for way in ways:
        with pytest.raises(Misuse, match="not open"):
            await way()
    with pytest.raises(Misuse, match="not open"):
        chat.stream("?")
