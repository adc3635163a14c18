"""The history as a snapshot of a list that grows, and what a model is told of a call's end."""

import copy
import json
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.blob import Blob
from toolwire.protocol.failures import Failure, failed
from toolwire.protocol.history import (
    AssistantMessage,
    History,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
    tool_message,
)
from toolwire.protocol.tools import ToolCall, ToolResult

MESSAGES: list[HistoryMessage] = [
    SystemMessage("be kind"),
    UserMessage("hello"),
    AssistantMessage("", (ToolCall("1", "t", "{}"),)),
    ToolMessage("1", "t", "42"),
    AssistantMessage("42"),
]


def test_a_snapshot_that_is_copied_or_pickled_holds_nothing_of_what_came_later() -> None:
    history = History([*MESSAGES, UserMessage("a secret of later")], len(MESSAGES))
    pickled = pickle.dumps(history)
    assert b"later" not in pickled
    for again in (pickle.loads(pickled), copy.copy(history), copy.deepcopy(history)):  # noqa: S301 - our own
        assert isinstance(again, History)
        assert again == history == MESSAGES


@given(st.lists(st.text()), st.integers(0, 10), st.integers(-12, 12), st.slices(12))
def test_a_snapshot_is_the_list_as_it_was(texts: list[str], more: int, index: int, part: slice) -> None:
    messages: list[HistoryMessage] = [UserMessage(text) for text in texts]
    was = list(messages)
    history = History(messages)
    messages += [UserMessage("later")] * more
    assert len(history) == len(was)
    assert list(history) == was
    assert history == was
    assert history[part] == was[part]
    if -len(was) <= index < len(was):
        assert history[index] == was[index]
    else:
        with pytest.raises(IndexError):
            history[index]


def test_a_history_is_equal_to_what_holds_the_same_and_has_no_hash() -> None:
    history = History(MESSAGES, 2)
    assert history == MESSAGES[:2]
    assert history == History(list(MESSAGES), 2)
    assert history != MESSAGES
    assert history != "no history"
    with pytest.raises(TypeError, match="unhashable"):
        hash(history)
    assert repr(history) == "<History 2 messages>"


def test_a_history_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MESSAGES), type=list[HistoryMessage]) == MESSAGES


def test_each_role_is_its_tag() -> None:
    assert [message["role"] for message in msgspec.json.decode(msgspec.json.encode(MESSAGES))] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_model_reads_a_result_as_it_is_and_a_failure_as_error() -> None:
    assert tool_message(ToolResult("1", "t", '{"a":1}')) == ToolMessage("1", "t", '{"a":1}')
    failure = failed("invalid_arguments", "no city", errors=[{"pointer": "/city"}])
    told = tool_message(ToolResult("1", "t", failure=failure))
    assert told.failed
    read = msgspec.json.decode(told.content)
    assert list(read) == ["error"]
    assert msgspec.convert(read["error"], Failure) == failure


def test_a_result_without_either_is_told_as_a_fault() -> None:
    told = tool_message(ToolResult("1", "t"))
    assert told.failed
    assert msgspec.json.decode(told.content)["error"]["code"] == "internal"


def test_a_history_is_exported_as_a_document_and_read_again() -> None:
    block = '{"signature": "as it\\u00a0came",  "n":1.0}'
    messages: list[HistoryMessage] = [
        SystemMessage("be kind"),
        UserMessage("look", (Blob("image/png", b"\x89PNG", "a.png"),)),
        AssistantMessage("é", (ToolCall("1", "t", '{"a" :1}'),), (Opaque("anthropic", block), Opaque("x", call="1"))),
        ToolMessage("1", "t", "42", failed=True),
    ]
    document = History([*messages, UserMessage("later")], 4).to_json()
    assert msgspec.json.decode(document)["toolwire_history"] == 1
    assert History.from_json(document) == messages
    assert History.from_json(document.encode()).to_json() == document


@pytest.mark.parametrize("document", ["", "[]", '{"messages":[]}', '{"toolwire_history":1,"messages":[{"role":"x"}]}'])
def test_what_is_no_exported_history_is_refused(document: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=r"no history that to_json\(\) wrote: .*from_openai"):
        History.from_json(document)


def test_a_history_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="of version 2"):
        History.from_json('{"toolwire_history":2,"pages":[]}')


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("tainted", [False, True])
def test_a_result_of_strangers_sends_nobody_to_its_urls(tainted: bool, failing: bool) -> None:  # noqa: FBT001 - parameters
    far = msgspec.to_builtins(Blob("image/png", url="https://evil.example"))
    content = msgspec.json.encode(far).decode()
    failure = failed("failed", "no", details={"seen": far}) if failing else None
    result = ToolResult[object]("c1", "t", None if failing else content, failure, tainted=tainted)
    message = tool_message(result)
    assert ("not fetched" in message.content) is tainted
    assert "https://evil.example" in message.content
    told = json.dumps(result.to_anthropic())
    assert ('"type": "url"' in told) is not tainted
