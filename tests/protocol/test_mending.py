"""Any list of messages becomes one that every provider takes; what is one already stays the same object."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strict.judge import FORMATS, objection_to
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
from toolwire.protocol.validity import invalid

IDS = st.sampled_from(["", "a", "b", "a_2", "c:1", " ", "x" * 70])
NAMES = st.sampled_from(["add", "files.read", "", "a b", "x" * 70])
CALLS = st.builds(ToolCall, IDS, NAMES, st.sampled_from(["{}", '{"a":1}', "torn {", "[1]"]))
THOUGHTS = [
    Opaque("openai", '{"reasoning_content":"so"}'),
    Opaque("anthropic", '{"type":"thinking","thinking":"so","signature":"c2ln"}'),
    *[
        Opaque("openai_responses", f'{{"type":"reasoning","id":"rs_{n}","summary":[],"encrypted_content":"x"}}')
        for n in range(3)
    ],
]
OWN = {
    "anthropic": '{"type":"tool_use","id":%s,"name":"add","input":{},"caller":{"type":"direct"}}',
    "openai_responses": '{"type":"function_call","id":"fc_%s","call_id":%s,"name":"add","arguments":"{}"}',
}
"""How a provider wrote a call itself."""


@st.composite
def answers(draw: st.DrawFn) -> AssistantMessage:
    """An answer, perhaps with a thought, and with calls as its provider wrote them."""
    calls = draw(st.lists(CALLS, max_size=3))
    opaque = draw(st.lists(st.sampled_from(THOUGHTS), max_size=1))
    provider = draw(st.sampled_from(["", *OWN]))
    for call in calls if provider else ():
        if call.id in {"a", "b", "c:1", "x" * 70} and call.name == "add":
            raw = OWN[provider].replace('"fc_%s"', f'"fc_{call.id[:3]}"').replace("%s", f'"{call.id}"')
            opaque.append(Opaque(provider, raw, call.id))
    return AssistantMessage(draw(st.sampled_from(["", " ", "text"])), tuple(calls), tuple(opaque))


MESSAGES: st.SearchStrategy[list[HistoryMessage]] = st.lists(
    st.one_of(
        st.builds(SystemMessage, st.text(max_size=3)),
        st.builds(UserMessage, st.text(max_size=3)),
        answers(),
        st.builds(ToolMessage, IDS, NAMES, st.sampled_from(["1", '"text"', "no JSON", '""']), st.booleans()),
    ),
    max_size=12,
)


def wrong(messages: Sequence[HistoryMessage]) -> str:
    """What somebody would refuse `messages` for."""
    found = (objection_to(name, messages) for name in FORMATS)
    return invalid(messages) or next(filter(None, found), "")


@given(MESSAGES)
def test_any_list_becomes_valid_and_then_stays_the_same_object(messages: list[HistoryMessage]) -> None:
    before = list(messages)
    valid = mended(messages)
    assert messages == before
    assert wrong(valid) == ""
    assert mended(valid) is valid


@given(MESSAGES)
def test_what_is_valid_by_our_own_rules_stays_the_same_object(messages: list[HistoryMessage]) -> None:
    valid = list(mended(messages))
    assert mended(valid) is valid
    assert mended(History(valid)) == valid


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
