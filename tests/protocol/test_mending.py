"""Any list of messages becomes one that every provider takes; what is one already stays the same object."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import Misuse
from toolwire.protocol.history import (
    AssistantMessage,
    History,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
    told_failure,
)
from toolwire.protocol.mending import MISSING, mended
from toolwire.protocol.tools import ToolCall

IDS = st.sampled_from(["", "a", "b", "a_2", "c:1"])
NAMES = st.sampled_from(["add", "files.read"])
CALLS = st.builds(ToolCall, IDS, NAMES, st.sampled_from(["{}", '{"a":1}', "torn {"]))
OPAQUE = st.builds(Opaque, st.sampled_from(["openai", "anthropic"]), st.just('{"signature":"s"}'), IDS)
MESSAGES: st.SearchStrategy[list[HistoryMessage]] = st.lists(
    st.one_of(
        st.builds(SystemMessage, st.text(max_size=3)),
        st.builds(UserMessage, st.text(max_size=3)),
        st.builds(
            AssistantMessage,
            st.sampled_from(["", " ", "text"]),
            st.lists(CALLS, max_size=3).map(tuple),
            st.lists(OPAQUE, max_size=2).map(tuple),
        ),
        st.builds(ToolMessage, IDS, NAMES, st.sampled_from(["1", '"text"', "no JSON"]), st.booleans()),
    ),
    max_size=12,
)


def wrong(messages: Sequence[HistoryMessage]) -> str:
    """What the strictest provider would refuse `messages` for."""
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    if list(messages[len(messages) - len(rest) :]) != rest:
        return "system messages stand among the others"
    return wrong_order(rest) or wrong_ids(rest)


def wrong_ids(messages: Sequence[HistoryMessage]) -> str:
    answers = [message for message in messages if isinstance(message, AssistantMessage)]
    ids = [call.id for message in answers for call in message.calls]
    return "an id that is missing or used" if "" in ids or len(set(ids)) < len(ids) else ""


def wrong_order(messages: Sequence[HistoryMessage]) -> str:
    asked: list[ToolCall] = []
    before: HistoryMessage | None = None
    for message in messages:
        if isinstance(message, ToolMessage):
            if not asked or (message.id, message.name) != (asked[0].id, asked[0].name):
                return "a result without its call, or out of order"
            asked.pop(0)
            msgspec.json.decode(message.content)
        elif asked:
            return "a call without its result"
        if isinstance(message, AssistantMessage):
            if not isinstance(before, UserMessage | ToolMessage):
                return "an answer to nobody"
            if not message.text.strip() and not message.calls:
                return "an empty answer"
            asked = list(message.calls)
        before = message
    return "a call without its result" if asked else ""


@given(MESSAGES)
def test_any_list_becomes_valid_and_then_stays_the_same_object(messages: list[HistoryMessage]) -> None:
    before = list(messages)
    valid = mended(messages)
    assert messages == before
    assert wrong(valid) == ""
    assert mended(valid) is valid
    if wrong(messages) == "":
        assert valid is messages


@given(MESSAGES)
def test_no_word_of_a_person_and_no_call_is_lost(messages: list[HistoryMessage]) -> None:
    valid = mended(messages)
    users = [each for each in valid if isinstance(each, UserMessage) and each is not MISSING]
    assert users == [each for each in messages if isinstance(each, UserMessage)]
    assert [each for each in valid if isinstance(each, SystemMessage)] == [
        each for each in messages if isinstance(each, SystemMessage)
    ]

    def calls(among: Sequence[HistoryMessage]) -> list[str]:
        answers = [each for each in among if isinstance(each, AssistantMessage)]
        return [call.name + call.text() for each in answers for call in each.calls]

    assert calls(valid) == calls(messages)


ASKED = AssistantMessage("", (ToolCall("1", "add", "{}"), ToolCall("2", "sub", "{}")))
ONE = ToolMessage("1", "add", "3")
TWO = ToolMessage("2", "sub", "4")
HELLO = UserMessage("hello")


@pytest.mark.parametrize(
    ("damaged", "whole"),
    [
        pytest.param([HELLO, ASKED, TWO, ONE], [HELLO, ASKED, ONE, TWO], id="in the order asked"),
        pytest.param([HELLO, ASKED, ONE, HELLO, TWO], [HELLO, ASKED, ONE, TWO, HELLO], id="right behind"),
        pytest.param([ONE, TWO, HELLO], [HELLO], id="results whose call was cut off"),
        pytest.param([HELLO, ASKED, ONE, TWO, ONE], [HELLO, ASKED, ONE, TWO], id="a result twice"),
        pytest.param([HELLO, SystemMessage("s")], [SystemMessage("s"), HELLO], id="the system first"),
        pytest.param([AssistantMessage("hi")], [MISSING, AssistantMessage("hi")], id="an answer first"),
        pytest.param([HELLO, AssistantMessage(" ")], [HELLO], id="an empty answer"),
        pytest.param([HELLO, HELLO], [HELLO, HELLO], id="the user twice, as after a turn that failed"),
    ],
)
def test_what_is_mended(damaged: list[HistoryMessage], whole: list[HistoryMessage]) -> None:
    assert list(mended(damaged)) == whole


def test_a_call_without_a_result_gets_a_failure_of_the_given_code() -> None:
    *rest, last = mended([HELLO, ASKED, ONE], "worker_lost")
    assert rest == [HELLO, ASKED, ONE]
    assert isinstance(last, ToolMessage)
    failure = told_failure(last.content)
    assert failure is not None
    assert (last.id, last.failed, failure.code, failure.effect) == ("2", True, "worker_lost", "maybe")


def test_of_two_calls_with_one_id_each_keeps_its_result_and_the_block_that_holds_the_old_id_goes() -> None:
    first, second = ToolCall("x", "add", "1"), ToolCall("x", "add", "2")
    blocks = (Opaque("p", '{"thinking":1}'), Opaque("p", '{"id":"x"}', "x"))
    messages: list[HistoryMessage] = [HELLO]
    for call in (first, second):
        messages += [AssistantMessage("", (call,), blocks), ToolMessage("x", "add", call.text())]
    valid = mended(messages)
    assert list(valid[:3]) == messages[:3]
    assert list(valid[3:]) == [
        AssistantMessage("", (ToolCall("x_2", "add", "2"),), (blocks[0], Opaque("p", call="x_2"))),
        ToolMessage("x_2", "add", "2"),
    ]


def test_what_is_no_message_is_refused_with_what_to_write() -> None:
    with pytest.raises(Misuse, match=r"History\.from_openai"):
        mended([{"role": "user", "content": "hi"}])  # type: ignore[list-item]


def test_a_valid_history_is_the_same_object() -> None:
    history = History([SystemMessage("s"), HELLO, ASKED, ONE, TWO, AssistantMessage("7")])
    assert mended(history) is history
