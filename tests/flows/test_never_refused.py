"""The official SDKs against strict providers on loopback: whatever ends a turn early, its next request is taken.

As `test_never_broken`, but over real sockets, so with fewer points: each event that a reader may leave after, each
suspension of `say`, and each event at which somebody else interrupts.
"""

import os
from typing import Any

import anyio
import pytest

from strict.asking import MODELS
from strict.judge import FORMATS, objection_to
from strict.provider import Answer, Provider
from strict.said import call, said, text, thought
from strict.words import Json
from toolwire import AssistantMessage, Chat, ModelRequest, Runtime, ToolError, TurnFinished, tool
from toolwire.protocol.spoken import format_named
from toolwire.runtime.testing import at_suspension
from voices import AGAIN, GO, ROUNDS, line

pytestmark = [pytest.mark.anyio, pytest.mark.chaos, pytest.mark.usefixtures("few_authorities")]

ALL = int(os.environ.get("TOOLWIRE_EXAMPLES", "200")) > 200
"""Whether points are tried that differ little from others: `make chaos` tries them."""

LEAST = 10


@tool(read_only=True)
async def look(at: str) -> str:
    await anyio.lowlevel.checkpoint()
    return at


@tool
async def slow(steps: int) -> int:
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    return steps


@tool
async def fails() -> None:
    raise ToolError("no")


@tool
async def write(value: Any) -> int:
    return len(str(value))


@tool
async def asks() -> str:
    return "it"


class Scripted(Provider):
    """Says what is due by what it is asked. It thinks first, in the open and hidden."""

    def _to(self, head: str, body: Json) -> Answer:
        theirs = body["input"] if self.wire.name == "openai_responses" else body["messages"]
        if self.wire.name == "anthropic":
            theirs = {"messages": theirs}
        due = line(ModelRequest(format_named(self.wire.name).messages_from(theirs, {})))
        words = [text(due.text)] if due.text else []
        calls = [call(name, dict(arguments)) for name, arguments in due.calls]
        self.answers = [said(thought("Hm."), *words, *calls)]
        return super()._to(head, body)


class Room:
    """A conversation by way of an SDK, anew for each point."""

    def __init__(self, runtime: Runtime, provider: Scripted, model: Any, eager: str) -> None:
        self.runtime = runtime
        self.provider = provider
        self.model = model
        self.eager: Any = eager
        self.chat: Chat | None = None

    async def open(self) -> Chat:
        """Another conversation, of whose past nobody knows."""
        self.provider.exchanges.clear()
        self.chat = await self.runtime.converse(model=self.model, references=True, eager=self.eager)
        return self.chat

    async def say(self) -> None:
        """The turn, as a whole."""
        await (await self.open()).say(GO)

    async def stream(self, until: int, *, interrupts: bool = False) -> bool:
        """The turn, left or interrupted after so many events. Whether there were as many."""
        chat, told = await self.open(), 0
        async with chat.stream(GO) as events:
            async for event in events:
                told += 1
                if told == until and not isinstance(event, TurnFinished):
                    if not interrupts:
                        return True
                    assert await chat.interrupt()
        return told >= until

    async def in_order(self) -> None:
        """The provider would take what is left, and takes the next word."""
        assert self.chat is not None
        with anyio.fail_after(10.0):
            refused = objection_to(self.provider.wire.name, self.chat.history(), self.provider.exchanges)
            assert not refused
            reply = await self.chat.say("Are you there?")
            assert (reply.text, reply.failure, self.provider.refused) == (AGAIN, None, [])


@pytest.fixture(params=FORMATS)
def wire(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


def model_of(wire: str, url: str) -> Any:
    """The adapter, before that provider. Anthropic's is asked to think: then it wants its thoughts back."""
    settings = {"reasoning_effort": "low"} if wire == "anthropic" else {}
    return MODELS[wire]("m", base_url=url, api_key="k", retries=0, settings=settings)


@pytest.mark.parametrize("eager", ["read_only", "all"] if ALL else ["all"])
@pytest.mark.parametrize("interrupts", [False, True], ids=["left", "interrupted"])
async def test_after_each_event(memory: Any, wire: str, interrupts: bool, eager: str) -> None:  # noqa: FBT001 - a case
    provider = Scripted(wire)
    async with memory.open(look, slow, fails, write, asks) as runtime, provider.serving() as url:
        model = model_of(wire, url)
        room = Room(runtime, provider, model, eager)
        until = 1
        while await room.stream(until, interrupts=interrupts):
            await room.in_order()
            until += 1 if ALL else 2
        assert until > LEAST
        await model.aclose()


async def test_at_each_suspension(memory: Any, wire: str) -> None:
    provider = Scripted(wire)
    async with memory.open(look, slow, fails, write, asks) as runtime, provider.serving() as url:
        model = model_of(wire, url)
        room = Room(runtime, provider, model, "read_only")
        point = 1
        while await at_suspension(room.say, point):
            await room.in_order()
            point += 1
        assert point > LEAST
        await room.in_order()
        assert room.chat is not None
        spoken = [message.text for message in room.chat.history() if isinstance(message, AssistantMessage)]
        assert spoken == [*[each.text for each in ROUNDS], AGAIN]  # the last time it came through
        await model.aclose()
