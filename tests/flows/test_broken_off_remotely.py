"""Turns whose tools live elsewhere, broken off: by somebody else, at each event, and by the death of the worker."""

import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from strict.judge import FORMATS, objection_to
from toolwire import (
    CallFinished,
    CallStarted,
    Chat,
    ModelRequest,
    Reply,
    Runtime,
    ToolMessage,
    TurnFinished,
    UserMessage,
    tool,
)
from voices import AGAIN, GO, Line, Voice

pytestmark = pytest.mark.anyio

ROUNDS = [
    Line("I shall look.", [("look", {"n": 1}), ("look", {"n": 2})]),
    Line("And wait.", [("hold", {}), ("look", {"n": 3})]),
    Line("Done."),
]
WORKER = """
import os, signal, sys
import anyio
from toolwire import Runtime, tool

@tool(read_only=True)
async def look(n: int) -> int:
    return n

@tool
async def hold() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

async def main() -> None:
    async with Runtime(sys.argv[1], namespace=sys.argv[2]) as runtime:
        await runtime.serve(look, hold)
        await runtime.run()

anyio.run(main)
"""
"""A process that dies of the second tool."""


def line(request: ModelRequest) -> Line:
    """The round that is due since the user asked for work; another word is only answered."""
    messages = list(request.messages)
    since = max(place for place, message in enumerate(messages) if isinstance(message, UserMessage))
    said = messages[since]
    if not isinstance(said, UserMessage) or said.text != GO:
        return Line(AGAIN)
    return ROUNDS[sum(isinstance(message, ToolMessage) for message in messages[since:]) // 2]


class Elsewhere:
    """Tools of another runtime, and who is inside them."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()

    def tools(self) -> list[Any]:
        """One that only looks, one that goes on for as long as it may."""
        inside = self.inside

        @tool(read_only=True)
        async def look(n: int) -> int:
            await checkpoint()
            return n

        @tool
        async def hold() -> None:
            inside["hold"] += 1
            try:
                await anyio.sleep_forever()
            finally:
                inside["hold"] -= 1

        return [look, hold]

    async def empty(self) -> None:
        """Wait until nobody is inside any more: who was cancelled says so, but others learn it later."""
        while +self.inside:
            await checkpoint()


@asynccontextmanager
async def knowing(bus: Any, names: set[str], **options: Any) -> AsyncIterator[Runtime]:
    """A runtime that has heard of these tools."""
    async with bus.open(**options) as host:
        while set(host.tools) != names:
            await checkpoint()
        yield host


@contextmanager
def worker(bus: Any) -> Iterator[None]:
    """A worker in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", WORKER, bus.url, bus.namespace]) as process:
        try:
            yield
        finally:
            process.kill()


async def followed(chat: Chat, until: int) -> tuple[Reply, list[Any], bool]:
    """A turn that somebody else ends after so many events: its reply, its events, whether there were as many."""
    told: list[Any] = []
    async with chat.stream(GO) as events, anyio.create_task_group() as others:
        async for event in events:
            told.append(event)
            if len(told) == until:
                others.start_soon(chat.interrupt)
            if isinstance(event, TurnFinished):
                return event.reply, told, len(told) > until
    raise AssertionError("a stream that is not left ends with its reply")


def taken(voice: Voice, chat: Chat, reply: Reply, told: list[Any]) -> None:
    """The providers take the history; the reply and the events agree with it."""
    history = chat.history()
    for name in FORMATS:
        assert not objection_to(name, history, voice.before(chat.id) if name == voice.provider else [])
    results = [message.id for message in history if isinstance(message, ToolMessage)]
    assert [result.id for result in reply.calls] == results
    finished = [event.result.id for event in told if isinstance(event, CallFinished)]
    started = [event.id for event in told if isinstance(event, CallStarted)]
    assert len(finished) == len(set(finished))
    assert set(started) <= set(finished)


@pytest.mark.parametrize("provider", FORMATS)
async def test_somebody_else_interrupts_after_each_event(shared_bus: Any, provider: str) -> None:
    elsewhere = Elsewhere()
    voice = Voice(provider, line, reasons=True)
    async with shared_bus.open(*elsewhere.tools()), knowing(shared_bus, {"look", "hold"}) as host:
        until = 1
        while until < 12:  # from there on the turn waits for its tool
            voice.forget()
            chat = await host.converse(model=voice, tools=["*"])
            reply, told, more = await followed(chat, until)
            assert more, reply
            assert reply.ended == "interrupted"
            taken(voice, chat, reply, told)
            assert (await chat.say("Are you there?")).text == AGAIN
            assert voice.refusals == []
            await elsewhere.empty()
            until += 2


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["anthropic"])
async def test_the_worker_dies_in_the_second_round(shared_bus: Any, provider: str) -> None:
    if shared_bus.name != "nats":
        pytest.skip("what dies is the tools' process: the way to the model makes no difference")
    voice = Voice(provider, line, reasons=True)
    with worker(shared_bus):
        async with knowing(shared_bus, {"look", "hold"}) as host:
            chat = await host.converse(model=voice, tools=["*"])
            told: list[Any] = []
            async with chat.stream(GO) as events:
                told.extend([event async for event in events])
            reply = told[-1].reply
            failures = {result.name: result.failure.code for result in reply.calls if result.failure is not None}
            assert failures["hold"] == "worker_lost"
            assert (reply.ended, reply.text) == ("answered", "Done.")
            taken(voice, chat, reply, told)
            assert (await chat.say("Are you there?")).text == AGAIN
            assert voice.refusals == []
