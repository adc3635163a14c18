"""The model actor: what it remembers, what it asks for again, and what becomes of a model that misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.actors.model import Memory, ModelActor
from toolwire.actors.models.contract import ModelReply, ModelRequest
from toolwire.actors.models.scripted import Step, scripted
from toolwire.actors.retelling import parts
from toolwire.protocol.envelope import encode
from toolwire.protocol.events import CallSpoken, ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.history import History, HistoryMessage, UserMessage
from toolwire.protocol.messages import Complete, Completed, Remember, Remembered, SendAll
from toolwire.protocol.tools import ToolCall, ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.anyio


def texts(*said: str) -> tuple[HistoryMessage, ...]:
    return tuple(map(UserMessage, said))


def shown(history: History | None) -> list[str] | None:
    return None if history is None else [message.text for message in history if isinstance(message, UserMessage)]


def test_a_history_grows_by_what_is_new() -> None:
    memory = Memory()
    assert shown(memory.extended("c", 0, texts("a", "b"))) == ["a", "b"]
    assert shown(memory.extended("c", 2, texts("c"))) == ["a", "b", "c"]


def test_a_reply_that_was_never_heard_is_asked_for_again() -> None:
    memory = Memory()
    before = memory.extended("c", 0, texts("a", "lost"))
    assert shown(memory.extended("c", 1, texts("b"))) == ["a", "b"]
    assert shown(before) == ["a", "lost"]  # whoever reads it still may


def test_what_is_not_here_is_asked_for() -> None:
    memory = Memory()
    assert memory.extended("c", 2, texts("c")) is None
    memory.extended("c", 0, texts("a"))
    assert memory.extended("c", 2, texts("c")) is None


def test_what_was_used_longest_ago_goes_first() -> None:
    memory = Memory(conversations=2, offers=2)
    memory.extended("a", 0, texts("1"))
    memory.extended("b", 0, texts("1"))
    memory.extended("a", 0, texts("1"))
    memory.extended("c", 0, texts("1"))
    assert shown(memory.extended("a", 1, texts("2"))) == ["1", "2"]
    assert memory.extended("b", 1, texts("2")) is None
    specs = (ToolSpec("t"),)
    for digest in "ab":
        memory.offer(digest, specs)
    assert memory.offer("a", None) == specs
    memory.offer("c", specs)
    assert memory.offer("a", None) == specs
    assert memory.offer("b", None) is None


def test_no_tools_need_no_memory() -> None:
    assert Memory().offer("", None) == ()


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30)), st.integers(1, 60))
def test_a_long_history_goes_in_parts(said: list[str], largest: int) -> None:
    messages = texts(*said)
    runs = parts(messages, largest)
    assert tuple(message for run in runs for message in run) == messages
    for run in runs:
        assert len(run) <= 1 or sum(len(encode(message)) for message in run) <= largest
    assert all(runs[:-1])


@asynccontextmanager
async def asked(model: Any) -> AsyncIterator[Any]:
    """A function that asks `model` through its actor."""
    async with ActorSystem(MemoryBus()) as system:
        await system.spawn(ModelActor(model), "m")

        async def ask(message: Any, hear: Any = None) -> Any:
            return await system.context(60.0).ask("m", message, hear=hear)

        yield ask


async def test_what_it_lacks_it_says() -> None:
    model = scripted(["one", "two", "three"])
    async with asked(model) as ask:
        assert await ask(Complete("c", 2, texts("x"))) == SendAll(history=True, tools=False)
        assert await ask(Complete("c", 0, texts("x"), "d")) == SendAll(history=False, tools=True)
        spec = ToolSpec("t")
        assert (await ask(Complete("c", 0, texts("a"), "d", (spec,)))).text == "one"
        assert (await ask(Complete("c", 1, texts("b"), "d"))).text == "two"
        assert list(model.requests[1].messages) == [*texts("a", "b")]
        assert model.requests[1].tools == (spec,)
        assert model.requests[1].conversation == "c"
        assert 0 < (model.requests[1].seconds or 0) <= 60


async def test_parts_go_ahead() -> None:
    model = scripted(["done"])
    async with asked(model) as ask:
        assert await ask(Remember("c", 0, texts("a", "b"))) == Remembered(2)
        assert await ask(Remember("c", 2, texts("c"))) == Remembered(3)
        assert await ask(Remember("c", 9, texts("d"))) == Remembered(0)
        assert (await ask(Complete("c", 3, texts("d")))).text == "done"
        assert shown(History(list(model.requests[0].messages))) == ["a", "b", "c", "d"]


async def test_all_of_a_reply_is_told() -> None:
    reply = ModelReply("hm", (ToolCall("1", "t"),), Usage(1, 2), "calls")
    async with asked(scripted([reply])) as ask:
        assert await ask(Complete("c", 0, texts("a"))) == Completed("hm", (ToolCall("1", "t"),), Usage(1, 2), "calls")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
async def test_arguments_that_no_json_holds_are_malformed_ones(number: float, *, streamed: bool) -> None:
    """Such as an own model may give: a history would hold what no provider can be told."""
    said = (ToolCall("1", "t", {"x": None, "y": [number]}), ToolCall("2", "t", {"x": 1.5}), ToolCall("3", "t", "NaN"))
    text = f'{{"x": null, "y": [{"NaN" if number != number else "-Infinity"}]}}'  # noqa: PLR0124 - asks for a NaN
    calls = (ToolCall("1", "t", text), *said[1:])
    told: list[Any] = []
    async with asked(scripted([list(said)])) as ask:
        reply = await ask(Complete("c", 0, texts("a"), events=streamed, calls=True), told.append)
    assert reply.calls == calls
    assert [event.call for event in told] == (list(calls) if streamed else [])


class Returns:
    def __init__(self, what: Any) -> None:
        self.what = what

    async def complete(self, request: ModelRequest) -> Any:
        return self.what


@pytest.mark.parametrize("what", [None, "text", ("t", {}), {"text": "x"}], ids=repr)
async def test_what_is_no_reply_is_a_failure_of_the_model(what: Any) -> None:
    async with asked(Returns(what)) as ask:
        with pytest.raises(ToolwireError, match="model_failed: the model returned"):
            await ask(Complete("c", 0, texts("a")))


@pytest.mark.parametrize(
    "what",
    [ModelReply("half: \ud800"), ModelReply(None), ModelReply("", (1,)), ModelReply(calls=(ToolCall(5, "t"),))],  # type: ignore[arg-type]  # the point
    ids=str,
)
async def test_a_reply_of_wrong_parts_is_a_typed_failure(what: ModelReply) -> None:
    async with asked(Returns(what)) as ask:
        with pytest.raises(ToolwireError) as caught:
            await ask(Complete("c", 0, texts("a")))
        assert caught.value.failure.code in {"internal", "invalid_message", "model_failed"}


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ToolwireError(failed("context_too_long", "long")), "context_too_long"),
        (ValueError("v"), "model_failed"),
        (asyncio.CancelledError(), "model_failed"),
        (ExceptionGroup("g", [ValueError()]), "model_failed"),
    ],
    ids=["declared", "value", "cancelled", "group"],
)
async def test_what_it_raises_is_a_failure(raised: BaseException, code: str) -> None:
    steps: list[Step] = [raised, "fine"]
    async with asked(scripted(steps)) as ask:
        with pytest.raises(ToolwireError) as caught:
            await ask(Complete("c", 0, texts("a")))
        assert caught.value.failure.code == code
        assert (await ask(Complete("c", 0, texts("a")))).text == "fine"


async def test_what_ends_the_program_is_not_taken_for_a_failure_of_the_model() -> None:
    async def use() -> None:
        async with asked(scripted([KeyboardInterrupt()])) as ask:
            with pytest.raises(ToolwireError, match="cancelled: KeyboardInterrupt ends the runtime"):
                await ask(Complete("c", 0, texts("a")))
            await anyio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await use()


async def test_a_stream_is_told_while_it_speaks() -> None:
    async with asked(scripted(["one two"])) as ask:
        heard: list[Any] = []
        done = await ask(Complete("c", 0, texts("a"), events=True), heard.append)
        assert "".join(event.text for event in heard) == done.text == "one two"
        assert len(heard) == 2


@pytest.mark.parametrize("calls", [True, False])
async def test_calls_are_told_only_to_who_asked_for_them(*, calls: bool) -> None:
    async with asked(scripted([["so", ("a", {"x": 1}), ("b",)]])) as ask:
        heard: list[Any] = []
        done = await ask(Complete("c", 0, texts("a"), events=True, calls=calls), heard.append)
        told = [CallSpoken(call, position) for position, call in enumerate(done.calls)]
        assert heard == [TextDelta("so"), *(told if calls else ())]


class Streams:
    def __init__(self, *events: Any) -> None:
        self.events = events
        self.left = False

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise AssertionError("it was asked to stream")

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[Any]]:
        async def spoken() -> AsyncIterator[Any]:
            for event in self.events:
                if isinstance(event, BaseException):
                    raise event
                yield event

        events = spoken()
        try:
            yield events
        finally:
            self.left = True
            await events.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_reasoning_is_told_too() -> None:
    model = Streams(ReasoningDelta("hm"), TextDelta("yes"), ModelReply("yes"))
    async with asked(model) as ask:
        heard: list[Any] = []
        await ask(Complete("c", 0, texts("a"), events=True), heard.append)
        assert heard == [ReasoningDelta("hm"), TextDelta("yes")]
        assert model.left


@pytest.mark.parametrize(
    "events", [(), (TextDelta("x"),), (TextDelta("x"), "no reply"), (TextDelta("x"), ValueError("torn"))], ids=len
)
async def test_a_stream_without_a_reply_is_a_failure_and_is_left(events: tuple[Any, ...]) -> None:
    model = Streams(*events)
    async with asked(model) as ask:
        with pytest.raises(ToolwireError, match="model_failed"):
            await ask(Complete("c", 0, texts("a"), events=True), lambda _: None)
        assert model.left
