"""Models that give an id twice, or none: each call has one of its own in the history, and every provider takes it."""

from typing import Any

import pytest

from strict.judge import FORMATS, objection_to
from toolwire import (
    AssistantMessage,
    Chat,
    ModelReply,
    ModelRequest,
    Runtime,
    ToolCall,
    ToolMessage,
    scripted,
    tool,
)
from toolwire.protocol.history import HistoryMessage
from toolwire.testing import assert_valid

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


@tool(confirm=True)
async def pay(n: int) -> int:
    """Pay an amount."""
    return n


def call(id_: str, n: int = 1, name: str = "double") -> ToolCall:
    return ToolCall(id_, name, {"n": n})


def accepted(chat: Chat) -> bool:
    assert_valid(chat.history())
    assert [objection_to(name, chat.history()) for name in FORMATS] == [""] * len(FORMATS)
    return True


def ids(chat: Chat) -> list[str]:
    """The ids of the calls, each of which has to be that of its result, too."""
    history = chat.history()
    called = [call.id for message in history if isinstance(message, AssistantMessage) for call in message.calls]
    assert [message.id for message in history if isinstance(message, ToolMessage)] == called
    return called


def contents(chat: Chat) -> list[str]:
    return [message.content for message in chat.history() if isinstance(message, ToolMessage)]


async def turned(chat: Chat, said: str, way: str) -> None:
    if way == "said":
        await chat.say(said)
        return
    async with chat.stream(said) as events:
        async for _ in events:
            pass


@pytest.mark.parametrize("way", ["said", "followed"])
@pytest.mark.parametrize("given", [("a", "a"), ("", ""), ("a", "a_2", "a"), ("a", "", "a", "a")])
async def test_ids_that_a_response_gives_twice(given: tuple[str, ...], way: str) -> None:
    calls = tuple(call(id_, n) for n, id_ in enumerate(given))
    async with Runtime() as runtime:
        model = scripted([ModelReply(calls=calls, finish="calls"), "done"])
        chat = await runtime.converse(model=model, tools=[double])
        await turned(chat, "go", way)
        assert accepted(chat)
        assert len(set(ids(chat))) == len(given)
        assert contents(chat)[0] == "0" if given[0] else "no id" in contents(chat)[0]
        assert list(model.requests[1].messages) == list(chat.history())[:-1]


@pytest.mark.parametrize("way", ["said", "followed"])
async def test_ids_that_come_again_in_later_responses_and_turns(way: str) -> None:
    script: list[Any] = [call("call_0", 1), call("call_0", 2), "3", call("call_0", 4), "5"]
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(script), tools=[double])
        for said in ("one", "two"):
            await turned(chat, said, way)
        assert accepted(chat)
        assert (ids(chat), contents(chat)) == (["call_0", "call_0_2", "call_0_3"], ["2", "4", "8"])


async def test_what_was_said_before_counts_and_what_was_taken_back_does_not() -> None:
    async with Runtime() as runtime:
        script: list[Any] = [call("a"), "1", call("a"), "2", call("a"), "3"]
        first = await runtime.converse(model=scripted(script[:2]), tools=[double])
        await first.say("go")
        chat = await runtime.converse(model=scripted(script[2:]), tools=[double], history=first.history())
        await chat.say("again")
        assert accepted(chat)
        assert ids(chat) == ["a", "a_2"]
        await chat.clear()
        await chat.say("anew")
        assert ids(chat) == ["a"]


async def test_a_response_that_waits_for_a_person_has_them_from_the_beginning() -> None:
    reply = ModelReply(calls=(call("a", 1, "pay"), call("b", 2)), finish="calls")
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([call("a", 5), reply, "done"]), tools=[double, pay])
        paused = await chat.say("go")
        assert (paused.ended, ids(chat)) == ("paused", ["a", "a_2", "b"])
        assert accepted(chat)
        assert await chat.answer(paused.pending[0], "approve") is not None
        assert (ids(chat), contents(chat)) == (["a", "a_2", "b"], ["10", "1", "4"])
        assert accepted(chat)


async def test_it_is_so_whoever_looks_while_the_turn_runs() -> None:
    seen: list[tuple[HistoryMessage, ...]] = []

    class Repeating:
        async def complete(self, request: ModelRequest) -> ModelReply:
            seen.append(tuple(request.messages))
            if len(seen) < 4:
                return ModelReply(calls=(call("x", 1), call("x", 2)), finish="calls")
            return ModelReply(text="done")

    async with Runtime() as runtime:
        chat = await runtime.converse(model=Repeating(), tools=[double])
        assert (await chat.say("go")).text == "done"
        assert [objection_to(name, messages) for messages in seen for name in FORMATS] == [""] * 12
        assert len(set(ids(chat))) == 6
