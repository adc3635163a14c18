"""What our formats make of a history is taken by the provider, and what no provider takes is not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strict.judge import FORMATS, body_of, objection, objection_to
from toolwire.protocol.failures import failed
from toolwire.protocol.history import (
    AssistantMessage,
    HistoryMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    tool_message,
)
from toolwire.protocol.tools import ToolCall, ToolResult

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(bool) | st.sampled_from(["get_weather", "calendar.create event", "x" * 65, "é", "-"])
arguments = st.sampled_from(["{}", '{"a":1}', "no json", "[1]", "", '{"a":"\\ud83c"}'])
values = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2)


@pytest.fixture(params=FORMATS, scope="module")
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@st.composite
def histories(draw: st.DrawFn) -> list[HistoryMessage]:
    """What a conversation may hold: any text, any names, any arguments; each call with its result behind it."""
    messages: list[HistoryMessage] = [SystemMessage(draw(texts))] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(0, 3))):
        messages.append(UserMessage(draw(texts)))
        for loop in range(draw(st.integers(0, 2))):
            wanted = draw(st.lists(st.tuples(texts, names, arguments), max_size=3))
            calls = tuple(
                ToolCall(f"{turn} {loop} {n} {id_}", name, text) for n, (id_, name, text) in enumerate(wanted)
            )
            messages.append(AssistantMessage(draw(texts), calls))
            for call in calls:
                result: ToolResult[Any] = ToolResult(call.id, call.name, json.dumps(draw(values)))
                if draw(st.booleans()):
                    result = ToolResult(call.id, call.name, failure=failed("failed", draw(texts)))
                messages.append(tool_message(result))
    return messages


@given(history=histories())
def test_what_a_history_becomes_is_taken(provider: str, history: list[HistoryMessage]) -> None:
    assert objection_to(provider, history) == ""


CALLS = AssistantMessage("", (ToolCall("a", "f"), ToolCall("b", "f")))


@pytest.mark.parametrize(
    "history",
    [
        [UserMessage("?"), CALLS, ToolMessage("a", "f", "1")],
        [UserMessage("?"), CALLS, ToolMessage("a", "f", "1"), UserMessage("!")],
        [UserMessage("?"), CALLS, ToolMessage("a", "f", "1"), ToolMessage("c", "f", "1")],
        [UserMessage("?"), CALLS, UserMessage("!"), ToolMessage("a", "f", "1"), ToolMessage("b", "f", "1")],
        [UserMessage("?"), ToolMessage("a", "f", "1")],
    ],
    ids=["half", "half, and on", "another's", "too late", "stray"],
)
def test_what_no_provider_takes_is_refused(provider: str, history: list[HistoryMessage]) -> None:
    assert objection_to(provider, history)


def test_a_body_of_another_shape_is_refused_by_the_types(provider: str) -> None:
    for body in ({"model": "m", "messages": [1], "input": [1]}, {}, {"model": "m", "messages": 3, "input": 3}):
        assert objection(provider, body)


def test_a_history_at_rest_is_judged_as_if_the_user_went_on(provider: str) -> None:
    body = body_of(provider, [UserMessage("?"), AssistantMessage("So.")])
    assert "Go on." in json.dumps(body)
    assert objection(provider, body) == ""
