"""A provider that pauses in the midst of its own tool, and whatever ends the turn before it has gone on."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from strict.judge import body_of, objection, objection_to
from toolwire import (
    AssistantMessage,
    Chat,
    Limits,
    ModelReply,
    Reply,
    TextDelta,
    ToolMessage,
    TurnFinished,
    UserMessage,
    scripted,
    spoken,
    tool,
)
from toolwire.protocol.formats.anthropic import messages_from_anthropic
from toolwire.protocol.formats.anthropic_speech import answer_from_anthropic

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def look() -> int:
    return 1


SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
CALL = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
TEXT = {"type": "text", "text": "I search. "}


def replied(stop: str, *blocks: Any) -> ModelReply:
    said = answer_from_anthropic({"content": list(blocks), "stop_reason": stop})
    return ModelReply(said.text, said.calls, said.usage, said.finish, said.opaque)


PAUSED = replied("pause_turn", TEXT, SEARCH)
DONE = replied("end_turn", FOUND, {"type": "text", "text": "Found."})


async def said(chat: Chat) -> Reply | None:
    return await chat.say("go")


async def left(chat: Chat) -> Reply | None:
    with anyio.move_on_after(0.02):
        await chat.say("go")
    return None


async def interrupted(chat: Chat) -> Reply | None:
    async with chat.stream("go") as events:
        async for event in events:
            if isinstance(event, TextDelta) and "have" in event.text:
                await chat.interrupt()
            if isinstance(event, TurnFinished):
                return event.reply
    return None


async def hangs(_request: Any) -> Any:
    await anyio.sleep_forever()


ENDS: dict[str, tuple[list[Any], Limits, Callable[[Chat], Awaitable[Reply | None]], str]] = {
    "rounds": ([PAUSED], {"rounds": 1}, said, "rounds"),
    "rounds later": ([PAUSED, PAUSED], {"rounds": 2}, said, "rounds"),
    "failed": ([PAUSED, spoken("", raises=OSError("gone"))], {}, said, "failed"),
    "refused": ([PAUSED, ModelReply("No.", finish="refused")], {}, said, "refused"),
    "time": ([PAUSED, hangs], {"seconds": 0.02}, said, "time"),
    "left": ([PAUSED, hangs], {}, left, ""),
    "interrupted": ([PAUSED, spoken("I have something", then=1000.0)], {}, interrupted, "interrupted"),
}


@pytest.mark.parametrize("how", ENDS)
async def test_what_it_was_about_to_do_does_not_stay(memory: Any, valid: Any, how: str) -> None:
    lines, limits, saying, ended = ENDS[how]
    model = scripted([*lines, "Fine."])
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model, limits=limits)
        seen = chat.history()
        reply = await saying(chat)
        assert reply is None or (reply.ended, reply.text[:10]) == (ended, "I search. ")
        history = list(chat.history())
        assert isinstance(history[1], AssistantMessage)
        assert history[1].text == "I search. "
        assert objection_to("anthropic", history) == ""
        assert (await chat.say("again")).text == "Fine."
        assert valid(chat, model)
        assert len(seen) == 0


async def test_what_it_has_gone_on_with_stays_as_it_was(memory: Any, valid: Any) -> None:
    calls = replied("tool_use", FOUND, CALL)
    model = scripted([PAUSED, DONE, PAUSED, calls, "Fine.", "Fine."])
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model)
        assert (await chat.say("go")).text == "I search. Found."
        assert (await chat.say("go")).text == "Fine."
        assert sum(isinstance(message, ToolMessage) for message in chat.history()) == 1
        told = body_of("anthropic", chat.history())
        assert objection("anthropic", told) == ""
        kinds = [block["type"] for message in told["messages"] for block in message["content"]]
        assert kinds.count("server_tool_use") == kinds.count("web_search_tool_result") == 2
        read = messages_from_anthropic({"messages": told["messages"]})
        assert objection_to("anthropic", read) == ""
        assert valid(chat, model)


@pytest.mark.parametrize("stop", ["max_tokens", "refusal"])
def test_a_search_within_which_an_answer_was_cut_off_is_not_kept(stop: str) -> None:
    reply = replied(stop, TEXT, SEARCH)
    answer = AssistantMessage(reply.text, reply.calls, reply.opaque)
    assert objection_to("anthropic", [UserMessage("go"), answer]) == ""
    assert reply.text == "I search. "
