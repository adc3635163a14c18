"""What a provider would refuse in a history."""

import pytest

from toolwire import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from toolwire.protocol.history import HistoryMessage
from toolwire.protocol.validity import invalid

SYSTEM, USER, SAID = SystemMessage("be kind"), UserMessage("hi"), AssistantMessage("hello")
ASKED = AssistantMessage(calls=(ToolCall("a", "t"), ToolCall("b", "t")))


def called(*ids: str) -> AssistantMessage:
    return AssistantMessage(calls=tuple(ToolCall(id_, "t") for id_ in ids))


A, B = ToolMessage("a", "t", "1"), ToolMessage("b", "t", "2")


@pytest.mark.parametrize(
    "messages",
    [[], [SYSTEM], [USER], [SYSTEM, USER], [USER, SAID, USER], [USER, ASKED, A, B], [SYSTEM, USER, ASKED, A, B, SAID]],
    ids=len,
)
def test_what_is_valid(messages: list[HistoryMessage]) -> None:
    assert invalid(messages) == ""


@pytest.mark.parametrize(
    ("messages", "wrong"),
    [
        ([USER, SYSTEM], "message 1 is the system's, which only comes first"),
        ([SYSTEM, SAID], "message 1 is the first that is said, and not the user's"),
        ([USER, ASKED], "at the end the calls ['a', 'b'] have no result"),
        ([USER, ASKED, A], "at the end the calls ['b'] have no result"),
        ([USER, ASKED, A, USER], "before message 3 the calls ['b'] have no result"),
        ([USER, ASKED, B, A], "message 2 is the result of 'b', out of its order"),
        ([USER, ASKED, A, A], "message 3 is a result that no call waits for: 'a'"),
        ([USER, A], "message 1 is a result that no call waits for: 'a'"),
        ([USER, called("a", "a")], "message 1 has calls without an id of their own: ['a']"),
        ([USER, called("", "a")], "message 1 has calls without an id of their own: ['']"),
        ([USER, ASKED, A, B, called("b")], "message 4 has calls without an id of their own: ['b']"),
    ],
)
def test_what_is_not_is_named_by_its_place(messages: list[HistoryMessage], wrong: str) -> None:
    assert invalid(messages) == wrong
