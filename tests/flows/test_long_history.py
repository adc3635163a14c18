"""A turn after 10,000 messages does what it does after ten: nothing walks the history, or copies it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, SupportsIndex

import pytest

from toolwire import (
    AssistantMessage,
    Chat,
    History,
    ModelReply,
    ModelRequest,
    Runtime,
    TextDelta,
    ToolCall,
    ToolMessage,
    Trim,
    Usage,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.model import Memory
from toolwire.protocol.history import HistoryMessage
from toolwire.testing import spoken

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


class Read(list[Any]):
    """A list that counts how many of its messages are read, in whatever way."""

    read = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.read += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Iterator[Any]:
        self.read += len(self)
        return super().__iter__()

    def __eq__(self, other: object) -> bool:
        self.read += len(self)
        return super().__eq__(other)

    __hash__ = None

    def copy(self) -> Any:
        self.read += len(self)
        return super().copy()

    def index(self, value: Any, start: SupportsIndex = 0, stop: SupportsIndex = sys.maxsize) -> int:
        self.read += len(self)
        return super().index(value, start, stop)


def long(rounds: int) -> list[HistoryMessage]:
    """A history of four messages for each round."""
    history: list[HistoryMessage] = []
    for n in range(rounds):
        call = ToolCall(f"c{n}", "add", '{"a":1,"b":2}')
        history += [UserMessage(f"{n}?"), AssistantMessage("", (call,)), ToolMessage(call.id, "add", "3")]
        history.append(AssistantMessage("3"))
    return history


@contextmanager
def calls() -> Iterator[list[int]]:
    """Counts every function that is called, in Python and in C."""
    count = [0]

    def hear(_frame: object, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            count[0] += 1

    sys.setprofile(hear)
    try:
        yield count
    finally:
        sys.setprofile(None)


def watched(chat: Chat) -> list[Read]:
    """The lists that hold the history of `chat`, the conversation's and its model's, from now on counted."""
    conversation = chat._conversation
    door: Any = conversation._asks[next(kind for kind in conversation._asks if kind.__name__ == "Complete")]
    memory = door.actor.memory._histories
    memory[chat.id] = Read(memory[chat.id])
    conversation._offer.history = Read(conversation._offer.history)
    return [conversation._offer.history, memory[chat.id]]


async def work(rounds: int, memory: Trim | None = None) -> tuple[int, int]:
    """The calls of one turn with a call, and the messages that are read in it, after so many rounds."""
    said: list[Any] = [("add", {"a": 1, "b": 2}), ModelReply("3", usage=Usage(100 * rounds, 1))]
    async with Runtime() as runtime:
        await runtime.serve(add)
        chat = await runtime.converse(model=scripted(said * 3), history=long(rounds), memory=memory)
        for _ in range(2):
            await chat.say("warm?")
        lists = watched(chat)
        runtime.system.breathless = lambda: False  # type: ignore[method-assign]  # the clock decides about a breath
        with calls() as count:
            assert (await chat.say("1 + 2?")).text == "3"
            chat.history()
            repr(chat)
        assert len(lists[0]) == 4 * (rounds + 3)
        return count[0], sum(each.read for each in lists)


@pytest.mark.parametrize("memory", [None, Trim(10_000_000)], ids=["plain", "with a memory"])
async def test_a_turn_after_10_000_messages_does_what_it_does_after_twelve(memory: Trim | None) -> None:
    few, many = [await work(rounds, memory) for rounds in (3, 2_500)]
    assert many[1] == few[1] < 30
    assert many[0] <= few[0] * 1.05


async def test_who_walks_the_history_is_seen() -> None:
    async def walker(request: ModelRequest) -> str:
        return str(sum(1 for each in request.messages if isinstance(each, UserMessage)))

    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([walker] * 2), history=long(50))
        await chat.say("how many?")
        lists = watched(chat)
        with calls() as count:
            assert (await chat.say("and now?")).text == "52"
        assert lists[1].read > 200
        assert count[0] > 200


async def test_after_many_turns_that_were_left_only_what_is_new_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has begun to answer has heard what was said: it is not told again with each turn that follows."""
    extended, told = Memory.extended, list[int]()

    def counted(self: Memory, conversation: str, known: int, newer: tuple[HistoryMessage, ...]) -> History | None:
        told.append(len(newer))
        return extended(self, conversation, known, newer)

    monkeypatch.setattr(Memory, "extended", counted)
    model = scripted([spoken("Well then", then=100.0)] * 9 + ["So."])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model)
        for n in range(9):
            async with chat.stream(f"{n}") as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        break
        assert (await chat.say("And?")).text == "So."
        assert list(model.requests[-1].messages) == list(chat.history())[:-1]
    assert told == [1] + [2] * 9
