"""A thousand conversations at once, some of them named, ended at random: each in order, none disturbed by another."""

import gc
import random
from collections import Counter
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import AssistantMessage, Chat, ModelReply, ModelRequest, Runtime, ToolCall, ToolMessage, UserMessage, tool
from toolwire.actors.conversation import Conversation
from toolwire.actors.eager import EagerCalls
from toolwire.actors.following import TurnStream
from toolwire.actors.running import Running
from toolwire.protocol.streamed import StreamedTurn
from toolwire.protocol.turn import Turn

pytestmark = pytest.mark.anyio

MANY = 1_000
TURNS = 3
OURS = (Chat, Conversation, Turn, StreamedTurn, Running, TurnStream, EagerCalls)
"""What a conversation is made of while it lasts. What its model was told of it stays, in a cache that is bounded."""


WAYS = ["say", "say", "interrupt", "cancel", "leave"]


class Parrot:
    """A model that calls a tool with what was said, and says what came of it. It answers only who it was asked by."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """One call, then its result."""
        await checkpoint()
        last: Any = request.messages[-1]
        if isinstance(last, UserMessage):
            place = len(request.messages)
            calls = tuple(ToolCall(f"call_{place}_{n}", "repeat", {"text": last.text}) for n in range(2))
            return ModelReply(calls=calls, finish="calls")
        return ModelReply(last.content)


class Crowd:
    """All conversations, and who is inside the tool."""

    def __init__(self, runtime: Runtime, seed: int) -> None:
        self.runtime = runtime
        self.random = random.Random(seed)  # noqa: S311 - chance, not secrecy
        self.model = Parrot()
        self.ended: Counter[str] = Counter()

    async def talk(self, number: int) -> None:
        """One conversation of some turns, each of which may be ended early."""
        name = f"user-{number}" if number % 3 == 0 else None
        chat = await self.runtime.converse(model=self.model, id=name)
        for turn in range(TURNS):
            await self.turn(chat, f"{number}.{turn}", self.random.choice(WAYS))
        in_order(chat, number)
        await chat.close()

    async def turn(self, chat: Chat, text: str, way: str) -> None:
        """One turn, ended so."""
        after = self.random.randrange(12)
        match way:
            case "interrupt":
                async with anyio.create_task_group() as others:
                    others.start_soon(self.later, after, chat)
                    self.ended[(await chat.say(text)).ended] += 1
            case "cancel":
                async with anyio.create_task_group() as others:
                    others.start_soon(chat.say, text)
                    await turns(after)
                    others.cancel_scope.cancel()
            case "leave":
                async with chat.stream(text) as events:
                    async for _ in events:
                        break
            case _:
                reply = await chat.say(text)
                assert (reply.ended, reply.text) == ("answered", f'"{text}"')
                self.ended["said"] += 1

    async def later(self, after: int, chat: Chat) -> None:
        await turns(after)
        await chat.interrupt()


async def turns(count: int) -> None:
    for _ in range(count):
        await checkpoint()


def in_order(chat: Chat, number: int) -> None:
    """What was said stands there in its order; each call has the result that was asked for, right behind it."""
    said = -1
    waiting: list[str] = []
    for message in chat.history():
        if isinstance(message, UserMessage):
            assert not waiting
            theirs, _, turn = message.text.partition(".")
            assert int(theirs) == number
            assert int(turn) > said
            said = int(turn)
        elif isinstance(message, ToolMessage):
            assert message.id == waiting.pop(0)
            assert message.failed or message.content == f'"{number}.{said}"'
        elif isinstance(message, AssistantMessage):
            assert not waiting
            waiting = [call.id for call in message.calls]
            assert message.calls or message.text == f'"{number}.{said}"'
    assert not waiting


async def crowd(runtime: Runtime, seed: int, many: int) -> Counter[str]:
    """So many conversations at once; how their turns ended."""
    people = Crowd(runtime, seed)
    async with anyio.create_task_group() as all_:
        for number in range(many):
            all_.start_soon(people.talk, number)
    return people.ended


def alive() -> Counter[str]:
    """How many there are of each part of a conversation."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in OURS)


async def test_a_thousand_at_once_ended_at_random(memory: Any) -> None:
    @tool(concurrency=2 * MANY)
    async def repeat(text: str) -> str:
        await checkpoint()
        return text

    async with memory.open(repeat) as runtime:
        before = alive()
        with anyio.fail_after(120.0):
            ended = await crowd(runtime, 1, MANY)
        assert ended["said"] > MANY
        assert ended["interrupted"] > MANY / 20
        assert alive() == before
        assert "conversations: 0" in repr(runtime)
