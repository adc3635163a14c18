"""Calls that a model writes as text arrive as calls: whole and streamed, among its own, in a turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from toolwire import Agent, Runtime, tool
from toolwire.actors.models.contract import ModelEvent, ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.parsed import ID, Parsed, made_up
from toolwire.actors.models.scripted import scripted
from toolwire.protocol.events import CallFinished, CallSpoken, CallStarted, ReasoningDelta, TextDelta, Usage
from toolwire.protocol.history import AssistantMessage, Opaque, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolSpec
from toolwire.runtime.testing import interruptions

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest([UserMessage("?")], (ToolSpec("add"), ToolSpec("sub")))
ADD = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'


class Telling:
    """Streams these events."""

    def __init__(self, *events: ModelEvent) -> None:
        self.events = events
        self.open = 0
        self.closed = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        last = self.events[-1]
        assert isinstance(last, ModelReply)
        return last

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        self.open += 1
        try:
            yield self._told()
        finally:
            self.open -= 1

    async def _told(self) -> AsyncIterator[ModelEvent]:
        for event in self.events:
            yield event

    async def aclose(self) -> None:
        self.closed += 1


async def heard(model: Parsed, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    async with model.stream(request) as events:
        return [event async for event in events]


def unnamed(call: ToolCall) -> tuple[str, Any]:
    return call.name, call.arguments


async def test_a_whole_reply() -> None:
    model = Parsed(scripted([ModelReply(f"I add.\n{ADD}\n{ADD}", usage=Usage(3, 4))]), "hermes")
    reply = await model.complete(REQUEST)
    assert (reply.text, reply.finish, reply.usage) == ("I add.\n", "calls", Usage(3, 4))
    assert [unnamed(call) for call in reply.calls] == [("add", '{"a": 1, "b": 2}')] * 2
    assert len({call.id for call in reply.calls}) == 2


async def test_a_streamed_one_tells_each_call_as_soon_as_it_is_there() -> None:
    pieces = [TextDelta("I add. <tool"), TextDelta(f"{ADD[5:-12]}"), TextDelta("</tool_call>"), TextDelta(" So.")]
    inner = Telling(ReasoningDelta("hm"), *pieces, ModelReply(f"I add. {ADD} So."))
    told = await heard(Parsed(inner, "hermes"))
    reply = told[-1]
    assert isinstance(reply, ModelReply)
    (call,) = reply.calls
    assert told[:-1] == [ReasoningDelta("hm"), TextDelta("I add. "), CallSpoken(call, 0), TextDelta(" So.")]
    assert (reply.text, reply.finish, inner.open) == ("I add.  So.", "calls", 0)


async def test_beside_calls_that_the_server_understands() -> None:
    mine, more = ToolCall("mine", "sub"), ToolCall("more", "sub")
    reply = ModelReply(f"{ADD} <to", (mine, more), finish="calls")
    model = Parsed(Telling(TextDelta(ADD), TextDelta(" <to"), CallSpoken(mine, 0), reply), "hermes")
    told = await heard(model)
    last = told[-1]
    assert isinstance(last, ModelReply)
    assert [call.name for call in last.calls] == ["add", "sub", "sub"]
    assert told[:-1] == [CallSpoken(last.calls[0], 0), TextDelta(" <to"), CallSpoken(mine, 1)]


async def test_what_only_ends_with_the_reply_is_not_told_before_it() -> None:
    torn = ADD[:-20]
    told = await heard(Parsed(Telling(TextDelta(torn), ModelReply(torn, finish="length")), "hermes"))
    (last,) = told
    assert isinstance(last, ModelReply)
    assert [unnamed(call) for call in last.calls] == [("add", '{"a": 1, ')]
    assert (last.text, last.finish) == ("", "length")


async def test_text_stays_text_to_its_last_character() -> None:
    told = await heard(Parsed(Telling(TextDelta("a <"), TextDelta("tool"), ModelReply("a <tool")), "hermes"))
    assert told == [TextDelta("a "), TextDelta("<tool"), ModelReply("a <tool")]
    refused = ModelReply("I won't.", finish="refused")
    assert await heard(Parsed(Telling(refused), "hermes")) == [refused]


async def test_without_tools_nothing_is_looked_for() -> None:
    model = Parsed(scripted([ADD] * 2), "hermes")
    request = ModelRequest([UserMessage("?")])
    assert (await model.complete(request)).text == ADD
    assert (await heard(model, request))[-1] == ModelReply(ADD)


async def test_who_is_to_call_nothing_calls_nothing() -> None:
    request = ModelRequest(REQUEST.messages, REQUEST.tools, tool_choice="none")
    model = Parsed(scripted([ADD, ADD]), "hermes")
    assert (await model.complete(request)).text == ADD
    assert not [event for event in await heard(model, request) if isinstance(event, CallSpoken)]


async def test_blocks_that_stand_for_text_go_where_it_is_another() -> None:
    blocks = (Opaque("p", "{}"), Opaque("p", "{}", text=3))
    model = Parsed(scripted([ModelReply(ADD, opaque=blocks), ModelReply("abc", opaque=blocks)]), "hermes")
    assert (await model.complete(REQUEST)).opaque == ()
    assert (await model.complete(REQUEST)).opaque == blocks


@pytest.mark.parametrize(
    ("notation", "said"),
    [
        ("hermes", ADD),
        ("mistral", '[TOOL_CALLS]add[ARGS]{"a": 1, "b": 2}'),
        ("json", '```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n```'),
    ],
)
async def test_in_a_turn(notation: str, said: str) -> None:
    @tool(read_only=True)
    def add(a: int, b: int) -> int:
        return a + b

    inner = scripted([said, "3", said, "3"])
    async with Runtime() as runtime:
        chat = await runtime.converse(Agent("a", model=Parsed(inner, notation), tools=[add]))
        assert (await chat.say("1 + 2?")).text == "3"
        async with chat.stream("Again?") as events:
            kinds = [type(event) async for event in events]
    assert kinds.index(CallStarted) < kinds.index(CallFinished)
    *_, asked, result = inner.requests[1].messages
    assert isinstance(asked, AssistantMessage)
    assert isinstance(result, ToolMessage)
    assert (asked.text, asked.calls[0].id, result.content) == ("", result.id, "3")


async def test_it_is_as_what_is_inside() -> None:
    class Plain:
        async def complete(self, request: ModelRequest) -> ModelReply:
            return ModelReply(ADD)

    model = Parsed(Plain(), "hermes")
    shown: object = model
    assert not isinstance(shown, StreamingModel)
    assert (await model.complete(REQUEST)).finish == "calls"
    inner = Telling()
    await Parsed(inner, "json").aclose()
    assert inner.closed == 1
    assert repr(Parsed(scripted([]), "json")) == "<Parsed <Scripted [steps: 0 | spoken: 0]> [tool_parser: json]>"


async def test_cancelled_anywhere_it_leaves_nothing() -> None:
    made: list[Telling] = []

    async def work() -> None:
        made.append(Telling(TextDelta(ADD), ModelReply(ADD)))
        await heard(Parsed(made[-1], "hermes"))

    async def ended() -> None:
        assert made[-1].open == 0

    assert await interruptions(work, ended) >= 0


def test_ids_are_what_mistral_takes() -> None:
    ids = {made_up() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(id_) == ID and id_.isalnum() and id_.isascii() for id_ in ids)
