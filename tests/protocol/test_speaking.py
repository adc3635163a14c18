"""What a response had told before its end, and what its end makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.events import CallSpoken
from toolwire.protocol.messages import AddCall
from toolwire.protocol.speaking import Speaking
from toolwire.protocol.tools import ToolCall

A, B, C = (ToolCall(name, f"tool_{name}") for name in "abc")


def taken(*calls: ToolCall) -> Speaking:
    speaking = Speaking("t.1")
    for call in calls:
        speaking.take(call, repeated=False)
    return speaking


def test_calls_are_taken_in_their_order_only() -> None:
    speaking = taken(A)
    assert [speaking.continues(CallSpoken(B, position)) for position in (0, 1, 2)] == [False, True, False]


@pytest.mark.parametrize(
    ("calls", "sentence"),
    [
        ((A, B), ""),
        ((A, B, C), ""),
        ((A,), "left out call 2"),
        ((), "left out call 1"),
        ((A, C), "changed call 2"),
        ((A, ToolCall("b", "tool_b", '{"x":1}')), "changed call 2"),
        ((B, A), "changed call 1"),
    ],
)
def test_what_was_told_has_to_stay(calls: tuple[ToolCall, ...], sentence: str) -> None:
    failure = taken(A, B).changed(calls)
    assert (failure is None) == (not sentence)
    assert failure is None or (failure.code == "model_failed" and sentence in failure.message)


def test_the_rest_is_what_was_not_told() -> None:
    speaking = taken(A)
    speaking.leave((A, B, C), (2,))
    assert speaking.rest == [AddCall("t.1", 1, B), AddCall("t.1", 2, C, repeated=True)]


@given(st.lists(st.booleans(), max_size=5), st.sets(st.integers(0, 4)))
def test_repeated_calls_keep_their_positions(early: list[bool], late: set[int]) -> None:
    speaking = Speaking("t.1")
    for repeated in early:
        speaking.take(A, repeated=repeated)
    told = speaking.positions(sorted(late))
    assert told == (*[n for n, repeated in enumerate(early) if repeated], *[len(early) + n for n in sorted(late)])


def test_a_call_that_may_change_something_is_seen() -> None:
    assert taken(A, B).writes({"tool_a"}.__contains__)
    assert not taken(A, B).writes({"tool_a", "tool_b"}.__contains__)
