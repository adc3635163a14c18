"""Bytes as they were sent by each release: every one must still be understood, and mean the same.

`<release>.jsonl` holds one line for each message: what it was, its bytes, and its value as JSON. Lines are added,
never changed. A kind without a line fails below with the line to add.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from toolwire.protocol import messages
from toolwire.protocol.blob import Blob
from toolwire.protocol.envelope import (
    VERSION,
    Answer,
    Envelope,
    Trail,
    answer_of,
    answers,
    broadcasts,
    decode_event,
    decode_trail,
    encode,
    envelopes,
    told,
)
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
    Usage,
)
from toolwire.protocol.failures import Failure, ToolwireError
from toolwire.protocol.history import AssistantMessage, Opaque, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.messages import Message, Request
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec

FOLDER = Path(__file__).parent
LINES = [
    pytest.param(json.loads(line), id=f"{path.stem}-{json.loads(line)['as']}-{json.loads(line)['kind']}")
    for path in sorted(FOLDER.glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
]

TRAIL = Trail("c-1", "c-1.2", '{"user":"u1"}', "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01", "vendor=1")
FAILURE = Failure(
    "overloaded", "é is full", "maybe", retryable=True, retry_after=1.5, details={"by": "t", "n": [1, None]}
)
CALLS = (ToolCall("1", "search", '{"q":"é"}'), ToolCall("2", "book", {"$result": 1, "path": "/0"}, ("1",)))
RESULTS: tuple[ToolResult[Any], ...] = (
    ToolResult("1", "search", "[1,2]", None, 2, 0.25, "w-1"),
    ToolResult("2", "book", None, FAILURE, 0),
)
SPEC = ToolSpec(
    "search",
    "Search.",
    {"type": "object", "properties": {"q": {"type": "string"}}},
    {"type": "array"},
    read_only=True,
    timeout=2.5,
    object="o.1",
    exclusive=True,
    writes=("w",),
    reads=("r",),
    version="1.2",
    lazy="called",
)
OPAQUE = (
    Opaque("anthropic", '{"type":"thinking","signature":"é"}'),
    Opaque("anthropic", "", "1"),
    Opaque("gemini", "{}", "", 2),
)
HISTORY = (
    SystemMessage("be kind"),
    UserMessage("hello", (Blob("image/png", url="https://example.com/a.png"),)),
    AssistantMessage("hm", CALLS, OPAQUE),
    ToolMessage("1", "search", "[1,2]"),
    ToolMessage("2", "book", '{"error":{}}', failed=True),
)
DECISION = messages.Decision("t.1", approved=True, arguments="{}", reason="so be it")
PENDING = Pending("1", "search", "{}", "it always asks", "t.1", 60.0)
REPLY = Reply("done", "rounds", RESULTS, Usage(10, 20, 5, 6, 0.5), 3, FAILURE, (PENDING,), {"days": 3})
BLOB = Blob("image/png", b"\x89PNG", "a.png")
SCHEMA = {"type": "object"}

SAID: list[Message] = [
    messages.Failed(FAILURE),
    messages.TurnEnded(REPLY),
    messages.Say("hello", events=True, blobs=(BLOB,), tool_choice="search", output=SCHEMA),
    messages.Interrupted(running=True),
    messages.Interrupt(),
    messages.Greeted(),
    messages.Greet(),
    messages.Rewound(3),
    messages.Rewind(3),
    messages.ToolsSelected(("search", "book"), "d1"),
    messages.SelectTools("hello", ("s*",), ("book",)),
    messages.Completed("hm", CALLS, Usage(1, 2), "calls", OPAQUE, "m-1"),
    messages.SendAll(history=True, tools=False),
    messages.Complete(
        "c-1",
        2,
        HISTORY,
        "d1",
        (SPEC,),
        {"temperature": 0.5},
        events=True,
        calls=True,
        tool_choice="search",
        output=SCHEMA,
    ),
    messages.Remembered(4),
    messages.Remember("c-1", 2, HISTORY),
    messages.BatchEnded(RESULTS),
    messages.RunBatch(CALLS, references=True, ids=True, limit=8, events=True, timeout=1.5),
    messages.CallChecked('{"q":"e"}'),
    messages.CheckCall("search", '{"q":"é"}'),
    messages.CallEnded("[1,2]", FAILURE, "w-1"),
    messages.CallTool("1", "search", '{"q":"é"}', attempt=2, events=True, number=2**62),
    messages.ArtifactRead("abc", 3, 9, is_text=True, tainted=True),
    messages.ReadArtifact("w-1.x", 3, 4000),
    messages.ToolLoaded((SPEC,)),
    messages.LoadTool("search"),
    messages.Announce("w-1", (SPEC,), gone=True),
    messages.Who("w-1"),
    messages.Claim("w-1", 3),
    messages.Answered(running=True),
    messages.Answer(DECISION),
    messages.Resume(events=True),
    messages.OpenBatch("c-1.2.1", CALLS[0], "all", references=True, limit=8, events=True, timeout=1.5, tainted=True),
    messages.CallAdded(started=True),
    messages.AddCall("c-1.2.1", 1, CALLS[1], repeated=True),
    messages.BatchClosed(),
    messages.CloseBatch("c-1.2.1", 2),
    messages.CallAnswered(known=True),
    messages.AnswerCall("c-1.2.1", DECISION),
]
"""One message of each kind, with nothing left at its default when it was recorded."""

EVENTS: list[Event] = [
    TextDelta("hi", 1),
    ReasoningDelta("hm", 2),
    CallStarted("1", "search", "{}", ("0",), ("2",), 3),
    CallProgress("1", 1.0, 2.0, "half", 4),
    CallFinished(RESULTS[0], 5),
    TurnFinished(REPLY, 6),
    CallSpoken(CALLS[0], 0, 7),
    ConfirmationWanted(PENDING, 8),
]

BY_NAME = {type(each).__name__: type(each) for each in SAID}
TOLD_TO_ALL = {"Announce", "Claim", "Who"}
ASKED_BY = {
    "TurnEnded": messages.Say,
    "ToolsSelected": messages.SelectTools,
    "Completed": messages.Complete,
    "SendAll": messages.Complete,
    "Remembered": messages.Remember,
    "BatchEnded": messages.RunBatch,
    "CallChecked": messages.CheckCall,
    "CallEnded": messages.CallTool,
    "ArtifactRead": messages.ReadArtifact,
    "ToolLoaded": messages.LoadTool,
    "Answered": messages.Answer,
    "Interrupted": messages.Interrupt,
    "Greeted": messages.Greet,
    "Rewound": messages.Rewind,
    "CallAdded": messages.AddCall,
    "BatchClosed": messages.CloseBatch,
    "CallAnswered": messages.AnswerCall,
    "Failed": messages.Say,
}
"""By its answer, a request that it answers."""


def understood(entry: dict[str, Any]) -> Any:
    """The value of recorded bytes, by the decoders that the runtime uses."""
    payload = bytes.fromhex(entry["hex"])
    match entry["as"]:
        case "request":
            heard = envelopes(BY_NAME[entry["kind"]]).decode(payload)
            return [
                heard.version,
                heard.id,
                heard.budget,
                heard.depth,
                heard.path,
                decode_trail(heard.trail),
                heard.body,
            ]
        case "broadcast":
            return broadcasts(messages.Announce | messages.Claim | messages.Who).decode(payload).body
        case "event":
            return decode_event(payload)
    try:
        return answer_of(answers(ASKED_BY[entry["kind"]]), payload)
    except ToolwireError as error:
        return messages.Failed(error.failure)


def still(recorded: Any, now: Any) -> bool:
    """Whether `now` says what was recorded; fields that came later may stand beside it, or behind it."""
    if isinstance(recorded, dict):
        return isinstance(now, dict) and all(key in now and still(value, now[key]) for key, value in recorded.items())
    if isinstance(recorded, list):
        return isinstance(now, list) and len(now) >= len(recorded) and all(map(still, recorded, now))
    return type(recorded) is type(now) and recorded == now


def line(message: Message | Event) -> str:
    """`message` as a line of this release's file."""
    kind = type(message).__name__
    if isinstance(message, Request):
        how, payload = "request", encode(Envelope(VERSION, 7, 1500.0, 2, ("a", "b"), Raw(encode(TRAIL)), message))
    elif isinstance(message, Message):
        how = "broadcast" if kind in TOLD_TO_ALL else "answer"
        payload = told(message) if kind in TOLD_TO_ALL else encode(Answer(VERSION, 7, message))
    else:
        how, payload = "event", encode(message)
    entry = {"as": how, "kind": kind, "hex": payload.hex()}
    entry["value"] = plain(understood(entry))
    return json.dumps(entry, ensure_ascii=False)


def plain(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


@pytest.mark.parametrize("entry", LINES)
def test_what_was_recorded_still_means_the_same(entry: dict[str, Any]) -> None:
    assert still(entry["value"], plain(understood(entry)))


def test_every_kind_is_recorded() -> None:
    recorded = {entry.values[0]["kind"] for entry in LINES}  # type: ignore[index]  # our own lines
    missing = [line(message) for message in [*SAID, *EVENTS] if type(message).__name__ not in recorded]
    assert not missing, "add to the file of this release:\n" + "\n".join(missing)


def test_every_kind_has_an_example() -> None:
    kinds = {
        name
        for name, kind in vars(messages).items()
        if isinstance(kind, type) and issubclass(kind, Message) and kind.__struct_config__.tag
    }
    assert kinds == set(BY_NAME)
    assert {type(event) for event in EVENTS} == set(Event.__args__)


def test_what_changed_is_seen() -> None:
    assert still({"a": [1, {"b": None}]}, {"a": [1, {"b": None, "later": 1}, "later"], "later": 2})
    for other in ({"a": [1, {}]}, {"a": [1]}, {"a": [1.0, {"b": None}]}, {"a": 1}, {}):
        assert not still({"a": [1, {"b": None}]}, other)
