"""Calls that start while the model still speaks: which ones, in which order, and what stays of a broken response."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from toolwire import (
    AssistantMessage,
    CallFinished,
    CallStarted,
    Chat,
    ConfirmationWanted,
    Context,
    Event,
    ModelReply,
    ModelRequest,
    Reply,
    Runtime,
    TextDelta,
    ToolCall,
    ToolMessage,
    TurnFinished,
    UserMessage,
    scripted,
    spoken,
    tool,
)
from toolwire.actors.errand import Errand
from toolwire.protocol.events import CallSpoken
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.messages import CloseBatch
from toolwire.runtime.testing import running

pytestmark = pytest.mark.anyio


PAUSE = "pause"
"""A step of a model: it lets others run for a few turns of the loop."""


class Speaker:
    """A model whose answer to "Go" is what a test tells it: it yields events, and waits where it is told to."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        return ModelReply("done")

    def stream(self, request: ModelRequest) -> "Speaker.Events":
        self.requests.append(request)
        last = request.messages[-1]
        first = isinstance(last, UserMessage) and last.text == "Go"
        return Speaker.Events(self.steps if first else (TextDelta("done"), ModelReply("done")))

    class Events:
        def __init__(self, steps: Sequence[Any]) -> None:
            self.steps = list(steps)

        async def __aenter__(self) -> "Speaker.Events":
            return self

        async def __aexit__(self, *_: object) -> None:
            return

        def __aiter__(self) -> "Speaker.Events":
            return self

        async def __anext__(self) -> Any:
            while self.steps:
                step = self.steps.pop(0)
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, anyio.Event):
                    await step.wait()
                elif step is PAUSE:
                    for _ in range(3):
                        await checkpoint()
                else:
                    return step
            raise StopAsyncIteration


def told(*calls: ToolCall) -> list[CallSpoken]:
    return [CallSpoken(call, position) for position, call in enumerate(calls)]


async def followed(chat: Chat, text: str = "Go") -> list[Event]:
    async with chat.stream(text) as stream:
        return [event async for event in stream]


def reply_of(events: Sequence[Event]) -> Reply:
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return last.reply


def places(events: Sequence[Event]) -> dict[str, int]:
    """Where calls start and end among the events, and where the model's second text is."""
    found: dict[str, int] = {}
    for place, event in enumerate(events):
        if isinstance(event, CallStarted):
            assert f"+{event.id}" not in found
            found[f"+{event.id}"] = place
        elif isinstance(event, CallFinished):
            assert f"-{event.result.id}" not in found
            found[f"-{event.result.id}"] = place
        elif isinstance(event, TextDelta):
            found[event.text] = place
    return found


def ended_as(reply: Reply) -> list[str]:
    return [result.failure.code if result.failure else result.content or "" for result in reply.calls]


LOOK = ToolCall("a", "look", '{"n":1}')
PUT = ToolCall("b", "put", '{"n":2}')
LOOK_AGAIN = ToolCall("c", "look", '{"n":3}')


class Tools:
    """A tool that reads and one that writes; `seen` is set when the first call has run."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.seen, self.written = anyio.Event(), anyio.Event()
        self.hold: anyio.Event | None = None

        @tool(read_only=True)
        async def look(n: int) -> int:
            self.ran.append(f"look {n}")
            self.seen.set()
            if self.hold is not None:
                await self.hold.wait()
            return n

        @tool
        async def put(n: int) -> int:
            self.ran.append(f"put {n}")
            self.written.set()
            if self.hold is not None:
                await self.hold.wait()
            return n

        self.both = (look, put)


async def test_a_call_starts_and_ends_before_the_model_has(bus: Any, valid: Any) -> None:
    tools = Tools()
    model = Speaker(TextDelta("so"), *told(LOOK), tools.seen, TextDelta("more"), ModelReply("somore", (LOOK,)))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model)
        events = await followed(chat)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert not any(isinstance(event, CallSpoken) for event in events)
        place = places(events)
        assert place["so"] < place["+a"] < place["more"] < place["done"]
        assert ended_as(reply_of(events)) == ["1"]
        assert tools.ran == ["look 1"]
        assert valid(chat)


async def test_calls_that_may_change_something_wait_for_the_end(bus: Any, valid: Any) -> None:
    tools = Tools()
    model = Speaker(
        *told(PUT, LOOK), tools.seen, TextDelta("end"), ModelReply("end", (PUT, LOOK, LOOK_AGAIN), finish="calls")
    )
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model)
        events = await followed(chat)
        place = places(events)
        assert place["+a"] < place["end"] < place["+b"]
        assert ended_as(reply_of(events)) == ["2", "1", "3"]
        assert [result.id for result in reply_of(events).calls] == ["b", "a", "c"]
        assert valid(chat)


async def test_all_may_start(bus: Any, valid: Any) -> None:
    tools = Tools()
    model = Speaker(*told(PUT), tools.written, TextDelta("end"), ModelReply("end", (PUT,)))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model, eager="all")
        events = await followed(chat)
        assert places(events)["+b"] < places(events)["end"]
        assert valid(chat)


async def test_none_may_start(bus: Any) -> None:
    tools = Tools()
    model = Speaker(*told(LOOK, LOOK_AGAIN), PAUSE, TextDelta("end"), ModelReply("end", (LOOK, LOOK_AGAIN)))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model, eager="off")
        events = await followed(chat)
        place = places(events)
        assert place["end"] < min(place["+a"], place["+c"])
        assert ended_as(reply_of(events)) == ["1", "3"]


async def test_without_events_nothing_starts_early(bus: Any) -> None:
    tools = Tools()
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=scripted([spoken(("look", {"n": 1})), "done"]))
        assert (await chat.say("Go")).text == "done"
    assert tools.ran == ["look 1"]


async def test_a_call_takes_the_result_of_one_before_it(bus: Any, valid: Any) -> None:
    seen = anyio.Event()

    @tool(read_only=True)
    async def double(x: int) -> int:
        if x == 4:
            seen.set()
        return 2 * x

    first = ToolCall("a", "double", '{"x":2}')
    second = ToolCall("b", "double", '{"x":{"$result":1}}')
    model = Speaker(*told(first, second), seen, TextDelta("end"), ModelReply("end", (first, second)))
    async with bus.open(double) as runtime:
        chat = await runtime.converse(model=model, references=True)
        events = await followed(chat)
        started = [event for event in events if isinstance(event, CallStarted)]
        assert [(event.arguments, event.needs) for event in started] == [('{"x":2}', ()), ('{"x":4}', ("a",))]
        assert places(events)["-a"] < places(events)["+b"] < places(events)["end"]
        assert ended_as(reply_of(events)) == ["4", "8"]
        assert valid(chat)


async def test_calls_over_a_limit_end_as_such_and_others_go_on(bus: Any, valid: Any) -> None:
    tools = Tools()
    calls = [ToolCall(f"c{n}", "look", f'{{"n":{n}}}') for n in range(3)]
    model = Speaker(*told(*calls), tools.seen, ModelReply("", tuple(calls)))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model, limits={"calls_per_response": 2})
        events = await followed(chat)
        assert ended_as(reply_of(events)) == ["0", "1", "limit_reached"]
        assert valid(chat)


@pytest.mark.parametrize(
    "error", [ConnectionError("gone"), ToolwireError(failed("model_refused", "filtered"))], ids=["gone", "refused"]
)
async def test_a_response_that_breaks_cancels_what_was_begun(bus: Any, valid: Any, error: Exception) -> None:
    left: list[int] = []
    begun = bus.meeting(2)

    @tool(read_only=True)
    async def endless(n: int) -> None:
        try:
            await begun.join()
            await anyio.sleep_forever()
        finally:
            left.append(n)

    calls = [ToolCall(f"c{n}", "endless", f'{{"n":{n}}}') for n in range(2)]
    model = Speaker(*told(*calls), begun.full, error)
    async with bus.open(endless) as runtime:
        chat = await runtime.converse(model=model)
        events = await followed(chat)
        assert sorted(left) == [0, 1]
        finished = [event.result for event in events if isinstance(event, CallFinished)]
        assert sorted(result.id for result in finished) == ["c0", "c1"]
        assert {result.failure and result.failure.code for result in finished} == {"cancelled"}
        reply = reply_of(events)
        assert (reply.ended, reply.calls) == ("refused" if "refused" in str(error) else "failed", ())
        assert list(chat.history()) == [UserMessage("Go")]
        assert (await chat.say("Again")).text == "done"
        assert valid(chat)


async def test_a_response_that_breaks_after_a_write_stands(
    bus: Any, valid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools()
    tools.hold = closed = anyio.Event()
    close = Errand.close

    def closing(errand: Errand, message: CloseBatch) -> None:
        close(errand, message)
        closed.set()

    monkeypatch.setattr(Errand, "close", closing)

    @tool(writes={"x"})
    async def behind(n: int) -> int:
        raise AssertionError(n)

    @tool(writes={"x"})
    async def before() -> str:
        await closed.wait()  # what has begun goes on, and its end is what the third call has waited for
        return "ran"

    first, blocked = ToolCall("x", "before"), ToolCall("y", "behind", '{"n":{"$result":2}}')
    model = Speaker(TextDelta("so"), *told(first, PUT, blocked), tools.written, ConnectionError("gone"))
    async with bus.open(*tools.both, before, behind) as runtime:
        chat = await runtime.converse(model=model, eager="all", references=True)
        events = await followed(chat)
        reply = reply_of(events)
        assert (reply.ended, ended_as(reply)) == ("failed", ['"ran"', "2", "cancelled"])
        assert reply.failure is not None
        assert "gone" in reply.failure.message
        message = list(chat.history())[2]
        assert message == AssistantMessage("so", (first, PUT, blocked))
        assert valid(chat)
        assert (await chat.say("Again")).text == "done"
        assert valid(chat)


async def test_a_call_that_is_changed_afterwards_is_reported(bus: Any, valid: Any) -> None:
    tools = Tools()
    changed = ToolCall("b", "put", '{"n":2}{"n":3}')
    model = Speaker(*told(LOOK, PUT), tools.seen, ModelReply("so", (LOOK, changed)))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model)
        reply = reply_of(await followed(chat))
        assert reply.failure is not None
        assert (reply.ended, reply.failure.code) == ("failed", "model_failed")
        assert "changed call 2" in reply.failure.message
        assert ended_as(reply) == ["1", "cancelled"]
        assert tools.ran == ["look 1"]
        assert list(chat.history())[1] == AssistantMessage("so", (LOOK, PUT))
        assert valid(chat)


async def test_a_torn_call_behind_whole_ones_does_not_run(bus: Any, valid: Any) -> None:
    tools = Tools()
    torn = ToolCall("b", "put", '{"n":2')
    model = Speaker(*told(LOOK), tools.seen, ModelReply("so", (LOOK, torn), finish="length"))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model)
        assert ended_as(reply_of(await followed(chat))) == ["1", "invalid_arguments"]
        assert tools.ran == ["look 1"]
        assert valid(chat)


@pytest.mark.parametrize("eager", ["read_only", "all"])
@pytest.mark.parametrize("point", range(1, 9))
async def test_leaving_at_each_event(bus: Any, valid: Any, eager: Any, point: int) -> None:
    tools = Tools()

    @tool(read_only=True)
    async def slow(context: Context) -> None:
        await context.progress(1)
        await checkpoint()

    calls = (LOOK, PUT, ToolCall("s", "slow"), LOOK_AGAIN)
    steps = [step for event in told(*calls) for step in (TextDelta("x"), event, PAUSE)]
    async with bus.open(*tools.both, slow) as runtime:
        chat = await runtime.converse(model=Speaker(*steps, ModelReply("x" * 4, calls)), eager=eager)
        async with chat.stream("Go") as stream:
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == point:
                    break
        assert valid(chat)
        assert (await chat.say("Again")).text == "done"
        assert valid(chat)


@pytest.mark.parametrize("eager", ["read_only", "all"])
async def test_cancelled_at_each_turn_of_the_loop(memory: Any, valid: Any, eager: Any) -> None:
    """The writes that ran stand in the history, whenever the turn was left."""

    async def leave(turns: int, scope: anyio.CancelScope) -> None:
        for _ in range(turns):
            await checkpoint()
        scope.cancel()

    wrote: list[int] = []

    @tool
    async def write(n: int) -> int:
        wrote.append(n)
        await checkpoint()
        return n

    calls = tuple(ToolCall(f"w{n}", "write" if n % 2 else "look", f'{{"n":{n}}}') for n in range(4))
    steps = [step for event in told(*calls) for step in (event, PAUSE)]
    model = Speaker(*steps, ModelReply("", calls))
    async with memory.open(*Tools().both, write) as runtime:
        for point in range(1, 200):
            wrote.clear()
            chat = await runtime.converse(model=model, eager=eager)
            ended = False
            async with anyio.create_task_group() as watching:
                with anyio.CancelScope() as scope:
                    watching.start_soon(leave, point, scope)
                    await followed(chat)
                    ended = True
                watching.cancel_scope.cancel()
            assert valid(chat), point
            called = [call.name for each in chat.history() if isinstance(each, AssistantMessage) for call in each.calls]
            assert called.count("write") >= len(wrote), point
            assert (await chat.say("Again")).text == "done", point
            if ended:
                assert point > 5
                return
    raise AssertionError("the turn never comes through")


def test_the_time_of_a_turn_that_runs_out_while_the_model_speaks(valid: Any) -> None:
    async def turn() -> None:
        tools = Tools()
        tools.hold = anyio.Event()
        model = Speaker(*told(LOOK), anyio.Event(), ModelReply("", (LOOK,)))
        async with Runtime() as runtime:
            await runtime.serve(*tools.both)
            chat = await runtime.converse(model=model, limits={"seconds": 5.0})
            events = await followed(chat)
            finished = [event.result for event in events if isinstance(event, CallFinished)]
            assert [(result.id, result.failure and result.failure.code) for result in finished] == [("a", "cancelled")]
            assert reply_of(events).ended == "time"
            assert list(chat.history()) == [UserMessage("Go")]
            assert valid(chat)

    trio.run(turn, clock=MockClock(autojump_threshold=0))


def test_a_turn_ends_when_the_last_call_has_had_its_time() -> None:
    """Five calls 0.3 s apart, each of 0.3 s: the turn takes as long as speaking, and the last call."""

    @tool(read_only=True)
    async def slow(n: int) -> int:
        await anyio.sleep(0.3)
        return n

    async def turn(eager: Any) -> float:
        model = scripted([spoken([("slow", {"n": n}) for n in range(5)], every=0.3), "done"])
        async with Runtime() as runtime:
            await runtime.serve(slow)
            chat = await runtime.converse(model=model, eager=eager)
            began = anyio.current_time()
            events = await followed(chat)
            assert ended_as(reply_of(events)) == list("01234")
            return anyio.current_time() - began

    clock = MockClock(autojump_threshold=0)
    assert trio.run(turn, "read_only", clock=clock) == pytest.approx(1.8, abs=1e-9)


def test_the_end_of_a_response_is_not_waited_for_by_what_it_lasts() -> None:
    """A model that goes on speaking for a second: the calls have ended when it has."""

    @tool(read_only=True)
    async def slow() -> None:
        await anyio.sleep(0.5)

    async def turn(eager: Any) -> float:
        model = scripted([spoken([("slow",), ("slow",)], then=1.0), "done"])
        async with Runtime() as runtime:
            await runtime.serve(slow)
            chat = await runtime.converse(model=model, eager=eager)
            began = anyio.current_time()
            await followed(chat)
            return anyio.current_time() - began

    clock = MockClock(autojump_threshold=0)
    assert [round(trio.run(turn, eager, clock=clock), 9) for eager in ("read_only", "off")] == [1.0, 1.5]


async def test_the_history_a_model_is_told_next_holds_what_ran_early(bus: Any) -> None:
    tools = Tools()
    model = Speaker(*told(LOOK), tools.seen, ModelReply("so", (LOOK,)))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model)
        await followed(chat)
    assert list(model.requests[-1].messages)[1:] == [
        AssistantMessage("so", (LOOK,)),
        ToolMessage("a", "look", "1"),
    ]


@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_a_person_is_asked_and_answers_while_the_model_speaks(bus: Any, valid: Any, answer: Any) -> None:
    seen = anyio.Event()

    @tool(read_only=True, confirm=True)
    async def peek(n: int) -> int:
        return n

    call = ToolCall("a", "peek", '{"n":1}')
    model = Speaker(*told(call), seen, TextDelta("end"), ModelReply("end", (call,)))
    async with bus.open(peek) as runtime:
        chat = await runtime.converse(model=model)
        events: list[Event] = []
        async with chat.stream("Go") as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, ConfirmationWanted):
                    await chat.answer(event.pending, answer)
                elif isinstance(event, CallFinished):
                    seen.set()
        assert places(events)["-a"] < places(events)["end"]
        assert ended_as(reply_of(events)) == ["1" if answer == "approve" else "confirmation_denied"]
        assert valid(chat)


async def test_what_nobody_answered_while_the_model_spoke_pauses_the_turn(bus: Any, valid: Any) -> None:
    tools = Tools()

    @tool(read_only=True, confirm=True)
    async def peek(n: int) -> int:
        return n

    calls = (ToolCall("p", "peek", '{"n":7}'), LOOK)
    model = Speaker(*told(*calls), tools.seen, PAUSE, ModelReply("", calls))
    async with bus.open(*tools.both, peek) as runtime:
        chat = await runtime.converse(model=model, limits={"confirm_within": 0.01})
        events = await followed(chat)
        reply = reply_of(events)
        assert (reply.ended, ended_as(reply)) == ("paused", ["confirmation_required", "1"])
        assert "-p" not in places(events)
        assert valid(chat)
        again = await chat.answer(reply.pending[0], "approve")
        assert again is not None
        assert (again.ended, ended_as(again)) == ("answered", ["7", "1"])
        assert tools.ran == ["look 1"]
        assert valid(chat)


async def test_a_response_that_breaks_takes_its_questions_along(bus: Any, valid: Any) -> None:
    tools = Tools()

    @tool(read_only=True, confirm=True)
    async def peek(n: int) -> int:
        raise AssertionError(n)

    calls = (ToolCall("p", "peek", '{"n":7}'), LOOK)
    model = Speaker(*told(*calls), tools.seen, PAUSE, ConnectionError("gone"))
    async with bus.open(*tools.both, peek) as runtime:
        chat = await runtime.converse(model=model)
        reply = reply_of(await followed(chat))
        assert (reply.ended, reply.pending, chat.pending) == ("failed", (), ())
        assert list(chat.history()) == [UserMessage("Go")]
        assert (await chat.say("Again")).text == "done"
        assert valid(chat)


async def test_a_question_does_not_outlast_a_broken_response_that_stands(bus: Any, valid: Any) -> None:
    tools = Tools()

    @tool(confirm=True)
    async def ask(n: int) -> int:
        raise AssertionError(n)

    calls = (ToolCall("q", "ask", '{"n":7}'), PUT)
    model = Speaker(*told(*calls), tools.written, PAUSE, ConnectionError("gone"))
    async with bus.open(*tools.both, ask) as runtime:
        chat = await runtime.converse(model=model, eager="all")
        reply = reply_of(await followed(chat))
        assert (reply.ended, reply.pending, chat.pending) == ("failed", (), ())
        assert ended_as(reply) == ["cancelled", "2"]
        assert valid(chat)


async def test_the_same_call_too_often_counts_as_it_is_spoken(bus: Any) -> None:
    tools = Tools()
    calls = tuple(ToolCall(f"c{n}", "look", '{"n":1}') for n in range(5))
    model = Speaker(*told(*calls[:4]), tools.seen, ModelReply("", calls))
    async with bus.open(*tools.both) as runtime:
        chat = await runtime.converse(model=model)
        reply = reply_of(await followed(chat))
        assert ended_as(reply) == ["1", "1", "1", "limit_reached", "limit_reached"]
    assert len(tools.ran) == 3


async def test_a_runtime_that_is_left_takes_its_open_batches_along(memory: Any, valid: Any) -> None:
    """Wherever a turn of another task is by then, it ends, and no task stays."""
    model = Speaker(*told(LOOK, LOOK_AGAIN), PAUSE, PAUSE, ModelReply("", (LOOK, LOOK_AGAIN)))
    ended: set[str] = set()

    async def go(chat: Chat) -> None:
        try:
            ended.add(reply_of(await followed(chat)).ended)
        except ToolwireError as error:
            ended.add(error.failure.code)
        assert valid(chat)

    for turns in range(30):
        before = running()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as others, memory.runtime() as runtime:
                await runtime.serve(*Tools().both)
                others.start_soon(go, await runtime.converse(model=model))
                for _ in range(turns):
                    await checkpoint()
        assert running() <= before
    assert {"cancelled", "answered"} <= ended
