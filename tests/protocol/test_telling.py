"""What a model is told of a long history is valid wherever it begins; tokens are known from what was reported."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strict.judge import FORMATS, objection_to
from toolwire.protocol.blob import Blob
from toolwire.protocol.history import (
    ANSWER_AGAIN,
    AssistantMessage,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
    by_user,
)
from toolwire.protocol.telling import ALL, Telling, Told
from toolwire.protocol.tools import ToolCall
from toolwire.protocol.validity import invalid
from toolwire.protocol.weights import BLOB, Weights, guessed

THOUGHT = Opaque("anthropic", '{"type":"thinking","thinking":"so","signature":"c2ln"}')


@st.composite
def histories(draw: st.DrawFn) -> list[HistoryMessage]:
    """What turns leave behind: each begins with what the user says, and has rounds of calls and perhaps an answer."""
    history: list[HistoryMessage] = [SystemMessage("be brief")] * draw(st.integers(0, 2))
    number = 0
    for calls_of_rounds in draw(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=5)):
        history.append(UserMessage(draw(st.sampled_from(["hi", "x" * 400]))))
        for calls in calls_of_rounds:
            made = tuple(ToolCall(f"c{number + n}", "t", "{}") for n in range(calls))
            number += calls
            history.append(AssistantMessage("", made, (THOUGHT,)))
            history += [ToolMessage(call.id, "t", '"' + "y" * draw(st.integers(0, 300)) + '"') for call in made]
        if draw(st.booleans()):
            history.append(AssistantMessage("so"))
        if draw(st.booleans()):
            history += [AssistantMessage("wrong"), UserMessage(f"It is wrong.{ANSWER_AGAIN}."), AssistantMessage("7")]
    return history


def all_of(told: Told, history: list[HistoryMessage]) -> list[HistoryMessage]:
    return list(told.newer(history, 0)[1])


@settings(max_examples=25)  # the providers' own types are slow judges
@given(histories(), st.integers(-1, 60), st.sampled_from(["", "notes"]))
def test_wherever_it_begins_nothing_is_split_and_the_newest_is_told(
    history: list[HistoryMessage], start: int, summary: str
) -> None:
    told = Told()
    told.weights.grow(history)
    told.tell(history, Telling(start, summary))
    shown = all_of(told, history)
    assert invalid(shown) == ""
    assert [objection_to(name, shown) for name in FORMATS] == ["", "", ""]
    assert shown[-1] is history[-1]
    first = next(each for each in shown if not isinstance(each, SystemMessage))
    assert isinstance(first, UserMessage)
    asked = [each for each in history if by_user(each)][-1]
    assert any(each is asked for each in shown)
    systems = [each for each in history if isinstance(each, SystemMessage)]
    assert shown[: len(systems)] == systems
    if told.telling is ALL:
        assert shown == history
    else:
        assert (summary != "") == any("notes" in each.text for each in shown if isinstance(each, UserMessage))


@given(histories(), st.floats(0, 2_000))
def test_what_is_told_from_a_point_on_has_at_most_so_many_tokens_if_that_can_be(
    history: list[HistoryMessage], tokens: float
) -> None:
    told = Told()
    told.weights.grow(history)
    start = told.point(history, tokens)
    assert not isinstance(history[start], ToolMessage)
    systems = sum(guessed(each) for each in history if isinstance(each, SystemMessage))
    rest = history[start:]
    newest = max(n for n, each in enumerate(history) if not isinstance(each, ToolMessage))
    assert start == newest or systems + sum(map(guessed, rest)) <= tokens + 1e-6


@given(histories(), st.integers(0, 40), st.integers(1, 60))
def test_what_is_newer_comes_after_what_is_known(history: list[HistoryMessage], start: int, known: int) -> None:
    known = min(known, len(history))
    while known < len(history) and isinstance(history[known], ToolMessage):
        known += 1
    told = Told()
    told.weights.grow(history[:known])
    told.tell(history[:known], Telling(start, "notes"))
    before, newer = told.newer(history, known)
    whole = all_of(told, history)
    assert (whole[before:], len(whole) - before) == (list(newer), len(newer))


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3_000)), min_size=1, max_size=20))
def test_after_a_report_the_tokens_are_what_was_reported(rounds: list[tuple[int, int]]) -> None:
    weights, history, reported = Weights(), list[HistoryMessage](), 0
    for size, more in rounds:
        history.append(UserMessage("x" * size))
        weights.grow(history)
        reported += more
        weights.report(reported, 0, 0.0)
        assert weights.beside + weights.after(0) == pytest.approx(reported)
    assert weights.beside >= 0


def test_text_of_other_scripts_is_weighed_by_the_first_report() -> None:
    weights, history = Weights(), list[HistoryMessage]([UserMessage("字" * 4_000)])
    weights.grow(history)
    assert weights.after(0) == 1_004
    weights.report(4_100, 0, 0.0)
    assert weights.after(0) == pytest.approx(4_016)  # a token for each character; what is more is told beside it
    assert weights.beside == pytest.approx(84)


def test_after_a_cut_the_tools_are_known_apart_from_the_messages() -> None:
    told, history = Told(), list[HistoryMessage]()
    for n in range(20):
        history += [UserMessage("x" * 400), AssistantMessage("y" * 400)]
        told.weights.grow(history)
        told.report(5_000 + 208 * (n + 1))
    assert told.tokens == pytest.approx(9_160)
    told.tell(history, Telling(30))
    assert told.tokens == pytest.approx(6_040, rel=0.15)
    told.report(5_000 + 5 * 208)
    assert told.tokens == pytest.approx(6_040)
    assert told.weights.beside == pytest.approx(5_000)


def test_what_was_cut_off_is_told_no_more_not_even_in_a_summary() -> None:
    told = Told()
    history: list[HistoryMessage] = [each for n in range(10) for each in (UserMessage(f"{n}"), AssistantMessage("a"))]
    told.weights.grow(history)
    told.tell(history, Telling(10, "of 0 to 4"))
    told.cut(history[:12])
    assert told.telling == Telling(10, "of 0 to 4")
    told.cut(history[:10])
    assert told.telling is ALL
    assert all_of(told, history[:10]) == history[:10]
    told.weights.grow(history[:4])  # shorter again than what was weighed
    assert told.tokens == pytest.approx(4 * 4.25)


def test_what_is_shown_weighs_too() -> None:
    assert guessed(UserMessage("", (Blob("image/png", b"x"),) * 2)) == 4 + 2 * BLOB
