"""A streamed turn as a table: whatever comes while the model speaks, the history is valid and nothing stays open."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.cues import Phase
from toolwire.protocol.events import CallSpoken, Usage
from toolwire.protocol.failures import failed
from toolwire.protocol.history import AssistantMessage, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.limits import DEFAULT_LIMITS, Limits
from toolwire.protocol.messages import (
    AddCall,
    BatchEnded,
    CloseBatch,
    Complete,
    Completed,
    OpenBatch,
    RunBatch,
    SendAll,
    ToolsSelected,
    TurnEnded,
)
from toolwire.protocol.offer import Eager, Offer
from toolwire.protocol.streamed import SPOKEN, StreamedTurn
from toolwire.protocol.tools import ToolCall, ToolResult

READS = ToolCall("r", "reads")
WRITES = ToolCall("w", "writes")
LATE = ToolCall("l", "reads")
GONE = failed("model_failed", "the connection broke")


def speaking(eager: Eager = "read_only", limits: Limits = DEFAULT_LIMITS, events: bool = True) -> StreamedTurn:  # noqa: FBT001, FBT002 - short
    """A turn whose model is asked."""
    offer = Offer("c", [], eager=eager, limits=limits, read_only={"reads"}.__contains__)
    turn = StreamedTurn(offer, events=events, name="c.1")
    turn.start("go")
    command = turn.step(ToolsSelected(("reads", "writes"), "digest"))
    assert isinstance(command, Complete)
    assert command.calls == events
    return turn


def tell(turn: StreamedTurn, *calls: ToolCall) -> list[OpenBatch | AddCall]:
    return [said for position, call in enumerate(calls) for said in turn.speak(CallSpoken(call, position))]


def results(*calls: ToolCall) -> BatchEnded:
    return BatchEnded(tuple(ToolResult(call.id, call.name, "1") for call in calls))


def unanswered(history: Sequence[HistoryMessage]) -> list[str]:
    waiting: list[str] = []
    for message in history:
        if isinstance(message, ToolMessage):
            assert message.id == waiting.pop(0)
            continue
        assert not waiting
        if isinstance(message, AssistantMessage):
            waiting = [call.id for call in message.calls]
    return waiting


def test_the_first_call_opens_a_batch_and_the_end_closes_it() -> None:
    turn = speaking()
    opened, added = tell(turn, READS, WRITES)
    assert opened == OpenBatch("c.1.1", READS, "read_only", limit=128, events=True)
    assert added == AddCall("c.1.1", 1, WRITES)
    assert turn.phase == Phase.SPEAKING
    assert turn.batch == "c.1.1"
    assert turn.step(Completed("so", (READS, WRITES, LATE))) == CloseBatch("c.1.1", 3)
    assert turn.batch == "c.1.1"
    assert turn.speaking is not None
    assert turn.speaking.rest == [AddCall("c.1.1", 2, LATE)]
    assert isinstance(turn.step(results(READS, WRITES, LATE)), Complete)
    assert unanswered(turn.offer.history) == []
    assert turn.speaking is None
    assert tell(turn, READS)[0] == OpenBatch("c.1.2", READS, "read_only", limit=128, events=True)


def test_calls_out_of_order_wait_for_the_end() -> None:
    turn = speaking()
    assert turn.speak(CallSpoken(LATE, 1)) == ()
    assert turn.phase == Phase.COMPLETING
    tell(turn, READS)
    assert turn.speak(CallSpoken(LATE, 0)) == ()
    assert turn.speak(CallSpoken(LATE, 2)) == ()
    turn.step(Completed("", (READS, LATE)))
    assert turn.speaking is not None
    assert turn.speaking.rest == [AddCall("c.1.1", 1, LATE)]
    assert turn.speak(CallSpoken(LATE, 1)) == ()  # the model has ended


@pytest.mark.parametrize("limits", [{"rounds": 1}, {"calls": 0}, {"calls_per_response": 0}])
def test_nothing_is_opened_that_would_not_be_made(limits: Limits) -> None:
    turn = speaking(limits=limits)
    assert tell(turn, READS, READS) == []
    assert turn.phase == Phase.COMPLETING


def test_limits_count_as_calls_come() -> None:
    turn = speaking(limits={"calls": 3, "calls_per_response": 2})
    opened = tell(turn, READS)[0]
    assert isinstance(opened, OpenBatch)
    assert opened.limit == 2
    turn.step(Completed("", (READS,)))
    turn.step(results(READS))
    opened = tell(turn, READS)[0]
    assert isinstance(opened, OpenBatch)
    assert opened.limit == 2


def test_a_call_made_too_often_is_marked_and_counted_once() -> None:
    turn = speaking(limits={"same_call": 1})
    first, again = tell(turn, READS, LATE)
    assert isinstance(first, OpenBatch)
    assert isinstance(again, AddCall)
    assert (first.repeated, again.repeated) == (False, True)
    turn.withdraw()
    command = turn.step(Completed("", (READS, LATE, LATE)))
    assert isinstance(command, RunBatch)
    assert command.repeated == (1, 2)


@pytest.mark.parametrize("calls", [(), (READS,), (LATE, READS), (WRITES, READS, LATE)], ids=len)
def test_what_was_withdrawn_was_not_made(calls: tuple[ToolCall, ...]) -> None:
    turn = speaking(limits={"same_call": 1})
    tell(turn, READS, LATE)
    turn.withdraw()
    command = turn.step(Completed("", calls))
    if calls:
        assert isinstance(command, RunBatch)
        assert command.repeated == tuple(range(3))[len(calls) - 1 :][: len(calls) > 1]
    else:
        assert isinstance(command, TurnEnded)


def test_no_batch_is_opened_before_a_call_may_start() -> None:
    turn = speaking()
    again = ToolCall("v", "writes")
    assert tell(turn, WRITES, again) == []
    assert turn.phase == Phase.COMPLETING
    opened, *added = turn.speak(CallSpoken(READS, 2))
    assert opened == OpenBatch("c.1.1", WRITES, "read_only", limit=128, events=True)
    assert added == [AddCall("c.1.1", 1, again), AddCall("c.1.1", 2, READS)]
    assert turn.step(Completed("", (WRITES, again, READS))) == CloseBatch("c.1.1", 3)


def test_where_no_call_may_start_the_end_decides_alone() -> None:
    turn = speaking(limits={"same_call": 1})
    assert tell(turn, WRITES, WRITES) == []
    command = turn.step(Completed("", (WRITES, READS)))
    assert isinstance(command, RunBatch)
    assert (command.calls, command.repeated) == ((WRITES, READS), ())


def test_what_was_withdrawn_goes_the_usual_way() -> None:
    turn = speaking()
    tell(turn, READS)
    turn.withdraw()
    command = turn.step(Completed("", (LATE,)))
    assert isinstance(command, RunBatch)
    assert command.calls == (LATE,)


@pytest.mark.parametrize("failure", [GONE, failed("model_refused", "no"), failed("timed_out", "late")])
def test_a_response_that_breaks_off_leaves_nothing(failure: Any) -> None:
    turn = speaking()
    tell(turn, READS, WRITES)
    turn.tell(ToolResult("r", "reads", "1"))
    ended = turn.step(failure)
    assert isinstance(ended, TurnEnded)
    assert ended.reply.failure == failure
    assert ended.reply.calls == ()
    assert turn.offer.history == [UserMessage("go")]


def test_a_response_that_breaks_off_after_a_write_stands() -> None:
    turn = speaking("all")
    tell(turn, READS, WRITES)
    assert turn.speaking is not None
    turn.told.append("so far")
    closed = turn.step(GONE)
    assert isinstance(closed, CloseBatch)
    assert (closed.count, closed.refuse and closed.refuse.code) == (2, "cancelled")
    ended = turn.step(results(READS, WRITES))
    assert isinstance(ended, TurnEnded)
    assert (ended.reply.ended, ended.reply.failure) == ("failed", GONE)
    assert turn.offer.history[1] == AssistantMessage("so far", (READS, WRITES))
    assert unanswered(turn.offer.history) == []


def test_reading_alone_does_not_make_a_broken_response_stand() -> None:
    turn = speaking("all")
    tell(turn, READS, LATE)
    assert isinstance(turn.step(GONE), TurnEnded)
    assert turn.offer.history == [UserMessage("go")]


@pytest.mark.parametrize("calls", [(), (READS,), (READS, LATE), (WRITES, READS)], ids=len)
def test_a_changed_call_ends_the_turn_and_what_ran_stays(calls: tuple[ToolCall, ...]) -> None:
    turn = speaking()
    tell(turn, READS, WRITES)
    assert isinstance(turn.step(Completed("so", calls)), CloseBatch)
    ended = turn.step(results(READS, WRITES))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.failure is not None
    assert (ended.reply.ended, ended.reply.failure.code) == ("failed", "model_failed")
    assert turn.offer.history[1] == AssistantMessage("so", (READS, WRITES))
    assert unanswered(turn.offer.history) == []


def test_tokens_that_run_out_let_what_runs_go_on() -> None:
    turn = speaking(limits={"rounds": 9, "output_tokens": 5})
    tell(turn, READS)
    closed = turn.step(Completed("so", (READS, LATE), Usage(1, 6)))
    assert isinstance(closed, CloseBatch)
    assert (closed.count, closed.refuse and closed.refuse.code) == (1, "limit_reached")
    ended = turn.step(results(READS))
    assert isinstance(ended, TurnEnded)
    assert (ended.reply.ended, ended.reply.text) == ("tokens", "so")
    assert [result.failure and result.failure.code for result in ended.reply.calls] == [None, "limit_reached"]
    assert unanswered(turn.offer.history) == []


def test_a_response_whose_end_did_not_arrive_has_failed() -> None:
    turn = speaking()
    tell(turn, READS)
    ended = turn.step(SendAll(history=False, tools=False))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.failure is not None
    assert ended.reply.failure.code == "model_failed"


def test_too_few_results_are_a_fault() -> None:
    turn = speaking("all")
    tell(turn, WRITES)
    turn.step(GONE)
    ended = turn.step(BatchEnded(()))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.failure is not None
    assert ended.reply.failure.code == "internal"
    assert unanswered(turn.offer.history) == []


def test_nobody_is_asked_to_tell_calls_where_no_tools_or_listeners_are() -> None:
    turn = StreamedTurn(Offer("c", []), name="c.1")
    turn.start("go")
    command = turn.step(ToolsSelected((), ""))
    assert isinstance(command, Complete)
    assert not command.calls
    speaking(events=False)


@given(data=st.data(), eager=st.sampled_from(["read_only", "all"]))
def test_wherever_it_is_interrupted_the_history_is_valid(data: st.DataObject, eager: Eager) -> None:
    turn = speaking(eager)
    said = [ToolCall(f"c{n}", data.draw(st.sampled_from(["reads", "writes"]))) for n in range(4)]
    told = data.draw(st.integers(0, 4))
    tell(turn, *said[:told])
    for call in said[:told]:
        if data.draw(st.booleans()):
            turn.tell(ToolResult(call.id, call.name, '"told"'))
    point = data.draw(st.sampled_from(["speaking", "calling", "broken"]))
    if point == "calling":
        turn.step(Completed("", tuple(said)))
    elif point == "broken":
        turn.step(GONE)
    wrote = eager == "all" and any(call.name == "writes" for call in said[:told])
    assert unanswered(turn.offer.history) == []  # before it is closed, too
    turn.close()
    history = turn.offer.history
    assert unanswered(history) == []
    assert (len(history) > 1) == (point == "calling" or wrote)
    told_of = {result.id for result in turn.results if result.content == '"told"'}
    assert all(not message.failed for message in history if isinstance(message, ToolMessage) and message.id in told_of)
    assert turn.phase == Phase.ENDED


def test_each_phase_in_which_the_model_speaks_has_its_way_out() -> None:
    assert {kind for phase, kind in SPOKEN if phase == Phase.SPEAKING} >= {Completed, SendAll, type(GONE)}
