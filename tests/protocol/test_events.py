"""Events as JSON and as msgpack: what a program reads is what was said."""

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.envelope import decode_event, encode
from toolwire.protocol.events import (
    CallFinished,
    CallProgress,
    CallSpoken,
    CallStarted,
    ConfirmationWanted,
    Event,
    Pending,
    ReasoningDelta,
    Reply,
    TextDelta,
    TurnFinished,
    TypedReply,
    Usage,
)
from toolwire.protocol.failures import failed
from toolwire.protocol.tools import ToolCall, ToolResult

EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (TextDelta("hi", 1), {"event": "text", "text": "hi", "number": 1}),
    (ReasoningDelta("hm", 2), {"event": "reasoning", "text": "hm", "number": 2}),
    (
        CallStarted("1", "t", "{}", ("0",), (), 3),
        {"event": "call_started", "id": "1", "name": "t", "arguments": "{}", "needs": ["0"], "order": [], "number": 3},
    ),
    (
        CallProgress("1", 1.0, 2.0, "half", 4),
        {"event": "call_progress", "id": "1", "done": 1.0, "total": 2.0, "note": "half", "number": 4},
    ),
    (
        CallFinished(ToolResult("1", "t", "42"), 5),
        {"event": "call_finished", "result": {"id": "1", "name": "t", "content": "42"}, "number": 5},
    ),
    (
        TurnFinished(Reply("42", usage=Usage(1, 2), rounds=2), 6),
        {
            "event": "turn_finished",
            "reply": {"text": "42", "usage": {"input_tokens": 1, "output_tokens": 2}, "rounds": 2},
            "number": 6,
        },
    ),
    (
        CallSpoken(ToolCall("1", "t"), 0, 7),
        {"event": "call_spoken", "call": {"id": "1", "name": "t"}, "position": 0, "number": 7, "opaque": []},
    ),
    (
        ConfirmationWanted(Pending("1", "t", "{}", "", "x", 60.0), 8),
        {
            "event": "confirmation_wanted",
            "pending": {"id": "1", "name": "t", "arguments": "{}", "token": "x", "seconds": 60.0},
            "number": 8,
        },
    ),
]


@pytest.mark.parametrize(("event", "json"), EVENTS, ids=lambda value: type(value).__name__)
def test_the_json_of_each_event(event: Event, json: dict[str, Any]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event)) == json
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
    assert decode_event(encode(event)) == event


def test_every_event_is_here() -> None:
    assert {type(event) for event, _ in EVENTS} == set(Event.__args__)


def test_a_reply_that_failed_tells_why() -> None:
    reply = Reply("", "time", failure=failed("timed_out", "late"))
    assert msgspec.json.decode(msgspec.json.encode(reply), type=Reply) == reply


@given(st.lists(st.builds(Usage, st.integers(0, 10**9), st.integers(0, 10**9))))
def test_usage_adds_up(parts: list[Usage]) -> None:
    total = sum(parts, Usage())
    assert total.input_tokens == sum(part.input_tokens for part in parts)
    assert total.output_tokens == sum(part.output_tokens for part in parts)


def test_a_value_that_msgspec_can_not_write_travels_with_its_json() -> None:
    ended = Reply("two", "answered", (ToolResult("1", "t", "42"),), Usage(1, 2), 2)
    reply = TypedReply.of(ended, [1, 2], {1j})
    assert (reply.output, reply.text, reply.calls, reply.rounds) == ({1j}, "two", ended.calls, 2)
    plain = Reply("two", "answered", ended.calls, ended.usage, 2, output=[1, 2])
    assert msgspec.json.encode(reply) == msgspec.json.encode(plain)
    assert msgspec.to_builtins(TurnFinished(reply)) == msgspec.to_builtins(TurnFinished(plain))
    assert repr(reply) == repr(msgspec.structs.replace(plain, output={1j}))
    for twin in (copy.copy(reply), copy.deepcopy(reply), pickle.loads(pickle.dumps(reply))):  # noqa: S301 - our own
        assert (twin, twin.output) == (reply, {1j})
        assert msgspec.json.decode(msgspec.json.encode(twin), type=Reply) == plain
    assert msgspec.structs.replace(reply, text="one").output == [1, 2]
