"""A turn as the application follows it: events in order, a slow reader, a reader who leaves."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from toolwire import (
    CallFinished,
    CallProgress,
    CallStarted,
    Context,
    ReasoningDelta,
    Runtime,
    TextDelta,
    ToolCall,
    ToolwireError,
    TurnFinished,
    TurnStream,
    scripted,
    tool,
)
from toolwire.actors import following
from toolwire.actors.following import BACKLOG, NEAR
from toolwire.protocol.events import Event
from toolwire.protocol.messages import Say
from toolwire.protocol.tools import ToolResult

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def double(x: int, context: Context) -> int:
    await context.progress(1, 2, "half")
    await checkpoint()
    return 2 * x


@tool
async def forever() -> None:
    await anyio.sleep_forever()


async def test_a_turn_as_events() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([["let me see ", ("double", {"x": 2})], "it is 4"]))
        async with chat.stream("double 2") as events:
            heard = [event async for event in events]
    assert [type(event) for event in heard] == [
        *[TextDelta] * 3,
        CallStarted,
        CallProgress,
        CallFinished,
        *[TextDelta] * 3,
        TurnFinished,
    ]
    assert [event.number for event in heard] == list(range(1, 11))
    assert heard[3] == CallStarted("call_1", "double", '{"x":2}', number=4)
    assert heard[4] == CallProgress("call_1", 1, 2, "half", number=5)
    assert isinstance(heard[5], CallFinished)
    assert heard[5].result.value == 4
    assert isinstance(heard[-1], TurnFinished)
    assert heard[-1].reply.text == "it is 4"
    assert [type(event) for event in heard[-1:]] == [TurnFinished]


async def test_after_the_last_event_there_is_nothing() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi"]))
        async with chat.stream("hi") as events:
            assert len([event async for event in events]) == 2
            with pytest.raises(StopAsyncIteration):
                await events.__anext__()


async def test_leaving_the_block_cancels_the_turn_and_waits_for_its_end() -> None:
    async with Runtime() as runtime:
        await runtime.serve(forever)
        chat = await runtime.converse(model=scripted([("forever",), "fine"]))
        async with chat.stream("go") as events:
            async for event in events:
                if isinstance(event, CallStarted):
                    break
        assert [type(message).__name__ for message in chat.history()] == [
            "UserMessage",
            "AssistantMessage",
            "ToolMessage",
        ]
        assert (await chat.say("and now")).text == "fine"


async def test_what_the_block_raises_goes_on_and_the_turn_is_cancelled() -> None:
    async with Runtime() as runtime:
        await runtime.serve(forever)
        chat = await runtime.converse(model=scripted([("forever",)]))

        async def follow() -> None:
            async with chat.stream("go") as events:
                async for event in events:
                    assert not isinstance(event, CallStarted), "mine"

        with pytest.raises(AssertionError, match="mine"):
            await follow()
        assert len(chat.history()) == 3


async def test_a_stream_that_is_never_read_runs_all_the_same() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi"]))
        async with chat.stream("hi"):
            await anyio.wait_all_tasks_blocked()
        assert len(chat.history()) == 2


async def test_two_may_read_one_stream_and_neither_is_forgotten() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([("double", {"x": 4}), "eight"]))
        seen: list[Event] = []

        async def read() -> None:
            seen.extend([event async for event in events])

        async with chat.stream("go") as events, anyio.create_task_group() as readers:
            readers.start_soon(read)
            readers.start_soon(read)
    assert sorted(event.number for event in seen) == list(range(1, 6))


async def test_why_a_turn_could_not_be_is_raised_to_the_reader() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi"]), id="c")
        await chat.close()
        async with chat.stream("hi") as events:
            with pytest.raises(ToolwireError, match="unreachable"):
                await events.__anext__()


async def test_closed_it_is_forgotten() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["one", "two"]), id="c")
        assert repr(chat) == "<Chat c [messages: 0]>"
        await chat.say("a")
        assert repr(chat) == "<Chat c [messages: 2]>"
        await chat.close()
        await chat.close()
        with pytest.raises(ToolwireError, match="unreachable"):
            await chat.say("b")
        again = await runtime.converse(model=scripted(["new"]), id="c")
        assert len(again.history()) == 0


async def test_a_history_is_a_snapshot() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["one", "two"]))
        await chat.say("a")
        before = chat.history()
        await chat.say("b")
        assert (len(before), len(chat.history())) == (2, 4)


def heard_slowly(*events: Event) -> list[Any]:
    """What a reader finds who comes only when all was said."""
    nobody: Any = None
    stream = TurnStream(nobody, "", Say(""))
    for event in events:
        stream._hear(event)
    return list(stream._waiting)


def finished(n: int) -> CallFinished:
    return CallFinished(ToolResult(str(n), "t", "1"), n)


def test_what_a_slow_reader_missed_is_merged_and_no_call_is_lost() -> None:
    many = 5_000
    events: list[Event] = []
    for n in range(many):
        events += [TextDelta("t", n), ReasoningDelta("r", n), CallProgress(str(n % 50), n)]
        if n % 10 == 0:
            events.append(finished(n))
    waiting = heard_slowly(*events)
    assert [event for event in waiting if isinstance(event, CallFinished)] == [finished(n) for n in range(0, many, 10)]
    assert "".join(event.text for event in waiting if isinstance(event, TextDelta)) == "t" * many
    assert "".join(event.text for event in waiting if isinstance(event, ReasoningDelta)) == "r" * many
    assert len(waiting) < BACKLOG + many // 10 + many // NEAR * 52


def test_deltas_alone_take_no_more_room_than_the_backlog() -> None:
    events: list[Event] = [kind("x", n) for n in range(50_000) for kind in (TextDelta, ReasoningDelta)]
    assert len(heard_slowly(*events)) <= BACKLOG + 2


def test_progress_alone_takes_no_more_either_and_the_newest_is_kept() -> None:
    events: list[Event] = [CallProgress("a", n, number=n) for n in range(50_000)]
    waiting = heard_slowly(*events)
    assert len(waiting) <= BACKLOG + 1
    assert waiting[-1] == events[-1]


def test_a_reader_who_keeps_up_gets_each_as_it_was() -> None:
    events: list[Event] = [TextDelta(str(n), n) for n in range(BACKLOG)]
    assert heard_slowly(*events) == events


PIECES = st.one_of(
    st.builds(TextDelta, st.text(max_size=3)),
    st.builds(ReasoningDelta, st.text(max_size=3)),
    st.builds(CallProgress, st.sampled_from("ab"), st.just(1.0)),
    st.builds(CallStarted, st.sampled_from("ab"), st.just("t"), st.just("{}")),
    st.builds(lambda name: CallFinished(ToolResult(name, "t", "1")), st.sampled_from("ab")),
)


def told(events: Sequence[Event]) -> list[Any]:
    """What has to reach every reader: each event of a call, and all that was said before, between and after them."""
    parts: list[Any] = []
    said: dict[type, str] = {TextDelta: "", ReasoningDelta: ""}
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta):
            said[type(event)] += event.text
        elif not isinstance(event, CallProgress):
            parts += [said, replace(event, number=0)]
            said = {TextDelta: "", ReasoningDelta: ""}
    return [*parts, said]


@given(st.lists(PIECES, max_size=60), st.integers(1, 6), st.integers(1, 6), st.integers(1, 5))
def test_whatever_is_merged_the_rest_is_told_in_its_order(
    pieces: list[Event], backlog: int, near: int, piece: int
) -> None:
    events = [replace(event, number=n) for n, event in enumerate(pieces, 1)]
    with patch.multiple(following, BACKLOG=backlog, NEAR=near, PIECE=piece):
        waiting = heard_slowly(*events)
    assert told(waiting) == told(events)
    numbers = [event.number for event in waiting]
    assert numbers == sorted(set(numbers))
    if len(events) <= backlog:
        assert waiting == events


async def test_ends_of_calls_that_were_lost_on_the_way_are_told_at_the_end() -> None:
    class Losing:
        """A context whose bus loses what is said of calls."""

        def __init__(self, context: Any) -> None:
            self.context = context

        async def ask(self, address: Any, message: Any, hear: Any) -> Any:
            calls = CallStarted | CallFinished
            return await self.context.ask(
                address, message, hear=lambda event: None if isinstance(event, calls) else hear(event)
            )

    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([[("double", {"x": 1}), ("double", {"x": 2})], "2 and 4"]))
        async with chat.stream("go") as stream:
            stream._context = Losing(stream._context)  # type: ignore[assignment]  # it loses what it should tell
            events = [event async for event in stream]
    ends = [event.result.value for event in events if isinstance(event, CallFinished)]
    assert ends == [2, 4]
    assert isinstance(events[-1], TurnFinished)
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))


async def test_an_id_that_a_model_uses_in_each_response_ends_once_for_each() -> None:
    @tool
    async def wait(x: int) -> int:
        if x == 2:
            await anyio.sleep_forever()
        return x

    async with Runtime() as runtime:
        await runtime.serve(wait)
        calls = [ToolCall("same", "wait", {"x": x}) for x in (1, 2)]
        chat = await runtime.converse(model=scripted(calls))
        started, ends = 0, []
        async with chat.stream("go") as stream, anyio.create_task_group() as others:
            async for event in stream:
                if isinstance(event, CallFinished):
                    ends.append(event.result.ok)
                elif isinstance(event, CallStarted):
                    started += 1
                    if started > 1:
                        others.start_soon(chat.interrupt)
    assert ends == [True, False]


async def test_an_entered_stream_of_a_closed_runtime_is_refused() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi"]))
        streams = [chat.stream("hi"), chat.stream("hi", detach=True)]
    for stream in streams:
        with pytest.raises(ToolwireError, match="the runtime is not open"):
            async with stream:
                pass


async def test_say_in_a_closed_runtime() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi"]))
    with pytest.raises(ToolwireError, match="the runtime is not open"):
        await chat.say("hi")
    with pytest.raises(ToolwireError, match="the runtime is not open"):
        chat.stream("hi")
