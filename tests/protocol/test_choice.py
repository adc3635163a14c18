"""Tool choices: what holds after the first response, and which can't be meant."""

import pytest

from toolwire import Misuse, ToolCall, ToolwireError
from toolwire.actors.chat import chosen
from toolwire.protocol.choice import after_first, is_name, not_on_offer
from toolwire.protocol.events import Usage
from toolwire.protocol.history import UserMessage
from toolwire.protocol.messages import BatchEnded, Complete, Completed, SelectTools, SendAll, ToolsSelected
from toolwire.protocol.offer import Offer
from toolwire.protocol.tools import ToolResult
from toolwire.protocol.turn import Turn


def offer() -> Offer:
    return Offer("c", [])


def test_none_holds_for_the_turn_and_the_rest_for_one_response() -> None:
    assert [after_first(choice) for choice in ("auto", "none", "required", "search")] == [
        "auto",
        "none",
        "auto",
        "auto",
    ]
    assert [is_name(choice) for choice in ("auto", "none", "required", "search")] == [False, False, False, True]


@pytest.mark.parametrize(
    ("choice", "names", "said"),
    [
        ("auto", (), None),
        ("none", (), None),
        ("required", ("a",), None),
        ("a", ("a",), None),
        ("required", (), 'tool_choice="required": no tool is on offer'),
        ("serch", ("search", "add"), "there is no tool 'serch' on offer; do you mean 'search'?"),
        ("xyz", ("search", "add"), "there is no tool 'xyz' on offer; there are: add, search"),
        ("xyz", (), "there are: none"),
    ],
)
def test_what_is_not_on_offer(choice: str, names: tuple[str, ...], said: str | None) -> None:
    failure = not_on_offer(choice, names)
    assert (failure is None) == (said is None)
    if failure is not None and said is not None:
        assert failure.code == "unknown_tool"
        assert said in failure.message


def begun(choice: str) -> tuple[Turn, Complete]:
    turn = Turn(offer())
    assert isinstance(turn.start("hello", (), choice), SelectTools)
    complete = turn.step(ToolsSelected(("t", "u"), "d"))
    assert isinstance(complete, Complete)
    return turn, complete


@pytest.mark.parametrize(("choice", "then"), [("auto", "auto"), ("none", "none"), ("required", "auto"), ("u", "auto")])
def test_the_choice_of_each_response(choice: str, then: str) -> None:
    turn, complete = begun(choice)
    assert complete.tool_choice == choice
    again = turn.step(SendAll(history=True, tools=True))
    assert isinstance(again, Complete)
    assert again.tool_choice == choice
    turn.step(Completed(calls=(ToolCall("1", "t"),), usage=Usage(1, 1)))
    complete_2 = turn.step(BatchEnded((ToolResult("1", "t", "1"),)))
    assert isinstance(complete_2, Complete)
    assert complete_2.tool_choice == then


def test_a_response_that_is_not_over_has_not_called_yet() -> None:
    turn, _ = begun("u")
    again = turn.step(Completed("…", finish="paused"))
    assert isinstance(again, Complete)
    assert again.tool_choice == "u"


def test_a_named_tool_is_asked_for_whatever_the_query() -> None:
    turn = Turn(offer())
    selecting = turn.start("hello", (), "u")
    assert isinstance(selecting, SelectTools)
    assert selecting.used == ("u",)


def test_what_is_refused_was_not_said() -> None:
    made: Offer = offer()
    made.history.append(UserMessage("before"))
    turn = Turn(made)
    turn.start("hello", (), "x")
    with pytest.raises(ToolwireError, match="there is no tool 'x'"):
        turn.step(ToolsSelected(("t",), "d"))
    assert made.history == [UserMessage("before")]


def test_what_is_no_choice() -> None:
    for wrong in (None, 3, "", ["t"]):
        with pytest.raises(Misuse, match='tool_choice is "auto", "none", "required", a tool or its name'):
            chosen(wrong)  # type: ignore[arg-type]  # as a user might
