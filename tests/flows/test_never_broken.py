"""A turn of three rounds, broken off at each point at which it can be: each provider takes the history that it leaves.

The model speaks as each of the three providers does, with reasoning and without. Whatever happened, the strict rules of
that provider and the types of its SDK accept the history, and a next word on it is answered.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from strict.judge import FORMATS, objection_to
from toolwire import (
    AssistantMessage,
    CallFinished,
    CallStarted,
    Chat,
    Context,
    Reply,
    Runtime,
    ToolError,
    ToolMessage,
    TurnFinished,
    tool,
)
from toolwire.protocol.events import Event
from toolwire.protocol.history import HistoryMessage
from toolwire.protocol.tools import encode_json
from toolwire.runtime.testing import Way, interruptions
from voices import AGAIN, GO, ROUNDS, Voice, line

pytestmark = pytest.mark.anyio


class House:
    """The tools, and who is inside them."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()

    def tools(self) -> list[Any]:
        """One that only looks, one that takes its time, one that fails, one that changes something, one that asks."""
        inside = self.inside

        @tool(read_only=True)
        async def look(at: str) -> str:
            inside["look"] += 1
            try:
                await checkpoint()
                return at
            finally:
                inside["look"] -= 1

        @tool
        async def slow(steps: int, context: Context) -> int:
            inside["slow"] += 1
            try:
                for step in range(steps):
                    await context.progress(step, steps)
                    await checkpoint()
                return steps
            finally:
                inside["slow"] -= 1

        @tool
        async def fails() -> None:
            await checkpoint()
            raise ToolError("no")

        @tool(writes={"desk"})
        def write(value: Any) -> int:
            return len(str(value))

        @tool
        async def asks(context: Context) -> str:
            return str((await context.call("look", {"at": "it"})).value)

        return [look, slow, fails, write, asks]


class Room:
    """A conversation, anew for each point, and what was told of its turn."""

    def __init__(self, runtime: Runtime, house: House, voice: Voice, **options: Any) -> None:
        self.runtime = runtime
        self.house = house
        self.voice = voice
        self.chat: Chat | None = None
        self.told: list[Event] = []
        self.reply: Reply | None = None
        self.texts: list[str] = []
        self._taken: set[tuple[int, bytes]] = set()
        self._options = options

    async def open(self) -> Chat:
        """Another conversation."""
        self.voice.forget()
        self.told, self.reply, self.chat = [], None, None
        self.chat = await self.runtime.converse(model=self.voice, system="Be short.", references=True, **self._options)
        return self.chat

    async def say(self) -> None:
        """The turn, as a whole."""
        self.reply = await (await self.open()).say(GO)

    async def stream(self) -> None:
        """The turn, followed to its end."""
        chat = await self.open()
        async with chat.stream(GO) as events:
            async for event in events:
                self.told.append(event)
        assert isinstance(self.told[-1], TurnFinished)
        self.reply = self.told[-1].reply

    async def interrupt(self) -> None:
        """Somebody else ends the turn."""
        if self.chat is not None:
            await self.chat.interrupt()

    async def leave(self, after: int) -> bool:
        """The turn, left after so many events. Whether there were as many."""
        chat = await self.open()
        async with chat.stream(GO) as events:
            async for event in events:
                self.told.append(event)
                if len(self.told) == after:
                    return True
        return False

    async def in_order(self) -> None:
        """What has to hold afterwards."""
        chat = self.chat
        if chat is None:
            return
        with anyio.fail_after(10.0):
            assert +self.house.inside == Counter()
            history = list(chat.history())
            self.texts = [message.text for message in history if isinstance(message, AssistantMessage)]
            self.accepted(chat.id, history)
            self.agreed(history)
            reply = await chat.say("Are you there?")
            assert (reply.text, reply.failure, self.voice.refusals) == (AGAIN, None, [])
            assert chat.history()[: len(history)] == history

    def accepted(self, conversation: str, history: Sequence[HistoryMessage]) -> None:
        """The provider that spoke takes the history, remembering what it said; so does another, which does not."""
        said = self.voice.before(conversation)
        key = len(said), encode_json(history)
        if key in self._taken:  # many points leave the same
            return
        self._taken.add(key)
        own = FORMATS.index(self.voice.provider)
        another = FORMATS[own - 1]
        for name, before in ((FORMATS[own], said), (another, [])):
            refused = objection_to(name, history, before)
            assert not refused, f"{name}: {refused}"

    def agreed(self, history: Sequence[HistoryMessage]) -> None:
        """What was told of the calls, what the reply says, and what the history says is the same."""
        results = {message.id: message.failed for message in history if isinstance(message, ToolMessage)}
        started = [event.id for event in self.told if isinstance(event, CallStarted)]
        finished = [event.result.id for event in self.told if isinstance(event, CallFinished)]
        assert len(set(started)) == len(started)
        assert len(set(finished)) == len(finished)
        for event in self.told:
            if isinstance(event, CallFinished) and event.result.id in results:
                assert results[event.result.id] == (not event.result.ok)
        if self.reply is not None:
            assert {result.id: not result.ok for result in self.reply.calls} == results
            assert len(self.reply.calls) == len(results)
            assert set(started) <= set(finished)


LEAST = 10
"""So many points there are at least: else the search for them would be none."""

WORK: dict[str, Callable[[Room], Coroutine[Any, Any, None]]] = {"say": Room.say, "stream": Room.stream}


@pytest.mark.parametrize("work", list(WORK))
@pytest.mark.parametrize(
    ("kind", "way"), [("reasoning", "suspension"), ("reasoning", "turn"), ("reasoning", "task"), ("plain", "turn")]
)
@pytest.mark.parametrize("provider", FORMATS)
async def test_cancelled_at_every_point(
    memory: Any, anyio_backend: str, provider: str, kind: str, work: str, way: Way
) -> None:
    if way == "task" and anyio_backend != "asyncio":
        pytest.skip("asyncio's own cancellation")
    house, voice = House(), Voice(provider, line, reasons=kind == "reasoning")
    async with memory.open(*house.tools()) as runtime:
        room = Room(runtime, house, voice)
        points = await interruptions(lambda: WORK[work](room), room.in_order, way)
        assert points >= LEAST
        assert room.texts == [each.text for each in ROUNDS]  # the last time it came through


@pytest.mark.parametrize(
    ("work", "kind", "eager"),
    [
        ("say", "reasoning", "read_only"),
        ("stream", "reasoning", "read_only"),
        ("stream", "reasoning", "all"),
        ("stream", "plain", "read_only"),
    ],
)
@pytest.mark.parametrize("provider", FORMATS)
async def test_interrupted_at_every_point(memory: Any, provider: str, work: str, kind: str, eager: str) -> None:
    house, voice = House(), Voice(provider, line, reasons=kind == "reasoning")
    async with memory.open(*house.tools()) as runtime:
        room = Room(runtime, house, voice, eager=eager)
        points = await interruptions(lambda: WORK[work](room), room.in_order, "turn", act=room.interrupt)
        assert points >= LEAST
        assert room.texts == [each.text for each in ROUNDS]


@pytest.mark.parametrize("eager", ["read_only", "all"])
@pytest.mark.parametrize("provider", FORMATS)
async def test_left_after_each_event(memory: Any, provider: str, eager: str) -> None:
    house, voice = House(), Voice(provider, line, reasons=True)
    async with memory.open(*house.tools()) as runtime:
        room = Room(runtime, house, voice, eager=eager)
        after = 1
        while await room.leave(after):
            await room.in_order()
            after += 1
        assert after > 20
