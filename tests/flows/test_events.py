"""The events of one turn with everything in it: the same on every bus, numbered without gaps, and each is its JSON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    CallFinished,
    CallProgress,
    CallStarted,
    ConfirmationWanted,
    Context,
    Event,
    ModelReply,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolError,
    TurnFinished,
    tool,
)
from toolwire.actors.following import BACKLOG
from toolwire.actors.models.contract import ModelEvent

pytestmark = pytest.mark.anyio

decode = msgspec.json.Decoder(Event).decode


class Speaker:
    """A model that says, round by round, exactly these events; its reply is made of them."""

    def __init__(self, *rounds: list[ModelEvent | ToolCall]) -> None:
        self.rounds = list(rounds)

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise AssertionError("it is followed")

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        yield self._spoken(self.rounds.pop(0))

    async def _spoken(self, said: list[ModelEvent | ToolCall]) -> AsyncIterator[ModelEvent]:
        for event in said:
            if not isinstance(event, ToolCall):
                yield event
        text = "".join(event.text for event in said if isinstance(event, TextDelta))
        calls = tuple(event for event in said if isinstance(event, ToolCall))
        yield ModelReply(text, calls, finish="calls" if calls else "stop")


@tool(read_only=True)
async def look(where: str, context: Context) -> str:
    await context.progress(1, 2, "half")
    await context.progress(2, 2)
    return f"seen {where}"


@tool
async def fail() -> None:
    raise ToolError("it is broken", details={"part": 3})


@tool(confirm=True)
async def pay(amount: int) -> str:
    return f"{amount} paid"


ROUNDS: list[list[ModelEvent | ToolCall]] = [
    [
        ReasoningDelta("Let me "),
        ReasoningDelta("think."),
        TextDelta("I look."),
        ToolCall("a", "look", {"where": "up"}),
    ],
    [TextDelta("And then"), ToolCall("b", "fail"), ToolCall("c", "nobody"), ToolCall("d", "look", {"wher": 1})],
    [ReasoningDelta("Hm."), ToolCall("e", "pay", {"amount": 7})],
    [TextDelta("All "), TextDelta("done.")],
]


def shown(event: Event) -> Any:
    """What of an event is the same in each run."""
    match event:
        case TextDelta() | ReasoningDelta():
            return type(event).__name__, event.text
        case CallStarted():
            return "started", event.id, event.name, event.arguments
        case CallProgress():
            return "progress", event.id, event.done, event.total, event.note
        case CallFinished(result=result):
            return "finished", result.id, result.content, result.failure and result.failure.code
        case ConfirmationWanted(pending=pending):
            return "wanted", pending.id, pending.arguments
        case TurnFinished(reply=reply):
            return "over", reply.ended, reply.text, [result.ok for result in reply.calls]
    raise AssertionError(event)


EXPECTED = [
    ("ReasoningDelta", "Let me "),
    ("ReasoningDelta", "think."),
    ("TextDelta", "I look."),
    ("started", "a", "look", '{"where":"up"}'),
    ("progress", "a", 1.0, 2.0, "half"),
    ("progress", "a", 2.0, 2.0, ""),
    ("finished", "a", '"seen up"', None),
    ("TextDelta", "And then"),
    {
        ("started", "b", "fail", "{}"),
        ("finished", "b", None, "failed"),
        ("started", "c", "nobody", "{}"),
        ("finished", "c", None, "unknown_tool"),
        ("started", "d", "look", '{"wher":1}'),
        ("finished", "d", None, "invalid_arguments"),
    },
    ("ReasoningDelta", "Hm."),
    ("started", "e", "pay", '{"amount":7}'),
    ("wanted", "e", '{"amount":7}'),
    ("finished", "e", '"7 paid"', None),
    ("TextDelta", "All "),
    ("TextDelta", "done."),
    ("over", "answered", "All done.", [True, False, False, False, True]),
]
"""In this order; what stands in a set belongs to calls that run side by side, in any."""


def grouped(told: list[Any]) -> list[Any]:
    """`told`, with the events of calls that run side by side as a set."""
    beside = {"b", "c", "d"}
    places = [n for n, each in enumerate(told) if each[0] in {"started", "finished"} and each[1] in beside]
    first, last = places[0], places[-1]
    return [*told[:first], set(told[first : last + 1]), *told[last + 1 :]]


async def test_a_turn_with_everything_in_it_is_told_the_same_on_every_bus(bus: Any) -> None:
    events: list[Event] = []
    async with bus.open(look, fail, pay) as runtime:
        chat = await runtime.converse(model=Speaker(*ROUNDS), system="be brief")
        async with chat.stream("Go") as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, ConfirmationWanted):
                    await chat.answer(event.pending, "approve")
    assert grouped([shown(event) for event in events]) == EXPECTED
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    for event in events:
        text = msgspec.json.encode(event)
        assert decode(text) == event
        assert msgspec.json.decode(text)["number"] == event.number


MANY = 50_000


async def test_a_reader_who_sleeps_holds_nobody_up_and_misses_no_word_and_no_call(memory: Any) -> None:
    """50,000 deltas before a call and as many after it, while the reader sleeps: what waits is bounded."""
    words: list[ModelEvent | ToolCall] = [TextDelta("ab"), ReasoningDelta("c")] * (MANY // 2)
    model = Speaker([*words, ToolCall("a", "look", {"where": "up"})], words)
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=model)
        async with chat.stream("Go") as stream:
            first = await anext(stream)
            await anyio.wait_all_tasks_blocked()
            assert len(chat.history()) == 4, "the turn has ended, though nobody read"
            assert len(stream._waiting) < BACKLOG + 20
            events = [first, *[event async for event in stream]]
    kinds = [type(event) for event in events if not isinstance(event, TextDelta | ReasoningDelta | CallProgress)]
    assert kinds == [CallStarted, CallFinished, TurnFinished]
    assert all(before.number < after.number for before, after in pairwise(events))
    called = next(n for n, event in enumerate(events) if isinstance(event, CallStarted))
    for part in (events[:called], events[called:]):
        assert "".join(event.text for event in part if isinstance(event, TextDelta)) == "ab" * (MANY // 2)
        assert "".join(event.text for event in part if isinstance(event, ReasoningDelta)) == "c" * (MANY // 2)


async def test_a_reader_who_never_reads_keeps_what_waits_bounded_too(memory: Any) -> None:
    async with memory.open() as runtime:
        chat = await runtime.converse(model=Speaker([TextDelta("x")] * 5_000))
        async with chat.stream("Go") as stream:
            await anyio.wait_all_tasks_blocked()
            assert len(stream._waiting) < BACKLOG + 5
        assert len(chat.history()) == 2


async def test_what_waits_is_there_after_the_turn_and_nothing_after_the_last(bus: Any) -> None:
    async with bus.open() as runtime:
        chat = await runtime.converse(model=Speaker([TextDelta("a"), TextDelta("b")]))
        async with chat.stream("Go") as stream:
            while not stream._over:
                await checkpoint()
            first = await anext(stream)
        assert [shown(event) for event in [first, *[event async for event in stream]]] == [
            ("TextDelta", "a"),
            ("TextDelta", "b"),
            ("over", "answered", "ab", []),
        ]
        assert [event async for event in stream] == []
