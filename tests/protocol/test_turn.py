"""A turn as a table: it always ends, and its history is valid at every instant, whoever answers what."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.blob import Blob
from toolwire.protocol.cues import CHANGED, Phase, ToolsChanged
from toolwire.protocol.events import Usage
from toolwire.protocol.failures import CODES, Failure, failed
from toolwire.protocol.history import AssistantMessage, History, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.limits import Limits
from toolwire.protocol.messages import (
    BatchEnded,
    Complete,
    Completed,
    RunBatch,
    SelectTools,
    SendAll,
    ToolsSelected,
    TurnEnded,
)
from toolwire.protocol.offer import Offer
from toolwire.protocol.said import LARGEST
from toolwire.protocol.tools import ToolCall, ToolResult
from toolwire.protocol.turn import REPEATS, STEPS, Command, Turn

PHASES = ["selecting", "completing", "calling", "waiting", "paused", "ended"]
ENDS = {"answered", "rounds", "calls", "tokens", "time", "interrupted", "refused", "filtered", "failed", "cost"}

FINISHES = ["stop", "calls", "length", "filtered", "refused", "paused", "something new"]

ANSWERS: dict[type, tuple[type, ...]] = {
    SelectTools: (ToolsSelected, Failure),
    Complete: (Completed, SendAll, Failure),
    RunBatch: (BatchEnded, Failure),
}
"""What may be answered to what a turn says."""


def unanswered(history: Sequence[HistoryMessage]) -> list[str]:
    """The ids of calls at the end of `history` that have no result yet. Fails for what no provider would take."""
    waiting: list[str] = []
    for message in history:
        if isinstance(message, ToolMessage):
            assert message.id in waiting, f"a result without its call: {message}"
            waiting.remove(message.id)
        else:
            assert not waiting, f"{message} comes before the results of {waiting}"
            if isinstance(message, AssistantMessage):
                waiting = [call.id for call in message.calls]
    return waiting


def result_of(call: ToolCall, *, ok: bool = True) -> ToolResult[Any]:
    return ToolResult(call.id, call.name, "1") if ok else ToolResult(call.id, call.name, failure=failed("failed", "no"))


class Driver:
    """Answers whatever a turn says, as chance has it."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.ids = 0

    def answer(self, command: Command) -> Any:
        kind = self.data.draw(st.sampled_from(ANSWERS[type(command)]))
        draw = self.data.draw
        if kind is ToolsSelected:
            return ToolsSelected(("a", "b"), "digest")
        if kind is SendAll:
            return SendAll(history=draw(st.booleans()), tools=draw(st.booleans()))
        if kind is Completed:
            finish = draw(st.sampled_from(FINISHES))
            usage = Usage(draw(st.integers(0, 60)), draw(st.integers(0, 60)))
            text, calls = draw(st.text(max_size=3) | st.just("7")), self._calls(draw(st.integers(0, 4)))
            return Completed(text, calls, usage, finish, priced=draw(st.booleans()))
        if kind is BatchEnded:
            assert isinstance(command, RunBatch)
            return BatchEnded(tuple(result_of(call, ok=draw(st.booleans())) for call in command.calls))
        return Failure(draw(st.sampled_from(sorted(CODES))), "as it happens")

    def _calls(self, count: int) -> tuple[ToolCall, ...]:
        calls = []
        for _ in range(count):
            self.ids += self.data.draw(st.sampled_from([0, 1, 1, 1]))  # now and then an id comes twice
            calls.append(ToolCall(f"c{self.ids}", "t"))
        return tuple(calls)


LIMITS = st.fixed_dictionaries(
    {"rounds": st.integers(1, 6)},
    optional={
        "calls": st.integers(0, 8),
        "calls_per_response": st.integers(0, 4),
        "input_tokens": st.integers(0, 200),
        "output_tokens": st.integers(0, 200),
        "cost": st.floats(0, 10),
    },
)


@given(st.data(), LIMITS)
def test_a_turn_always_ends_with_a_valid_history(data: st.DataObject, limits: Limits) -> None:
    history: list[HistoryMessage] = [SystemMessage("s")]
    offer = Offer("c", history, limits=limits, last_answer=data.draw(st.booleans()))
    rounds = limits.get("rounds", 0)
    driver = Driver(data)
    for n in range(3):
        turn = Turn(offer)
        command = turn.start(f"say {n}", output=data.draw(st.sampled_from([None, {"type": "integer"}])))
        previous: type[Command] = SelectTools
        steps = 0
        while not isinstance(command, TurnEnded):
            assert unanswered(offer.history) == []  # also while calls are on their way
            assert bool(turn.open) == (turn.phase == Phase.CALLING)
            if isinstance(command, Complete):
                assert command.newer == tuple(offer.history[command.known :])
                turn.told += data.draw(st.lists(st.sampled_from(["", " ", "a"]), max_size=2))
            changed = isinstance(command, Complete) and previous is not SelectTools and data.draw(st.booleans())
            previous = type(command)
            command = turn.step(CHANGED if changed else driver.answer(command))
            steps += 1
            assert steps <= 2 + rounds * (REPEATS + 3) * 3
        reply = command.reply
        assert turn.phase == Phase.ENDED
        assert unanswered(offer.history) == []
        assert reply.ended in ENDS
        assert reply.rounds <= rounds
        assert turn.rounds == reply.rounds
        assert reply.output is None or (turn.wanted is not None and reply.ended in {"answered", "rounds", "calls"})
        assert reply.output is not None or turn.wanted is None or reply.ended != "answered"
        if turn.wanted is None:
            assert (reply.failure is not None) == (
                reply.ended in {"failed", "time", "interrupted"}
            ) or reply.ended == "refused"
        elif reply.ended in {"answered", "filtered"}:
            assert reply.failure is None


@given(st.data(), st.integers(0, 12))
def test_closed_at_any_instant_each_call_has_its_result(data: st.DataObject, steps: int) -> None:
    turn = Turn(Offer("c", []))
    driver = Driver(data)
    command = turn.start("go")
    asked: list[str] = []
    for _ in range(steps):
        if isinstance(command, TurnEnded):
            break
        heard = driver.answer(command)
        asked += [call.id for call in heard.calls] if isinstance(heard, Completed) else []
        command = turn.step(heard)
        assert unanswered(turn.offer.history) == []
    turn.close()
    history = list(turn.offer.history)
    assert unanswered(history) == []
    told = [call.id for message in history if isinstance(message, AssistantMessage) for call in message.calls]
    assert len(set(told)) == len(told) == len(asked)
    assert all(a == b or b in told[:n] for n, (a, b) in enumerate(zip(told, asked, strict=True)))  # the first keeps it
    assert [message.id for message in history if isinstance(message, ToolMessage)] == told
    assert [result.id for result in turn.results] == asked
    turn.close()
    assert turn.offer.history == history


def opened(limits: Limits, calls: int = 1) -> tuple[Turn, Command]:
    """A turn whose model has just asked for so many calls."""
    turn = Turn(Offer("c", [], limits=limits))
    turn.start("go")
    turn.step(ToolsSelected((), ""))
    return turn, turn.step(Completed("", tuple(ToolCall(str(n), "t") for n in range(calls)), Usage(5, 7)))


def test_what_was_told_of_a_call_is_how_it_ended() -> None:
    turn, command = opened({}, calls=3)
    assert isinstance(command, RunBatch)
    first, second, third = command.calls
    turn.tell(ToolResult(first.id, first.name, "1"))
    turn.tell(ToolResult(second.id, second.name, failure=failed("invalid_call", "an id of another")))
    turn.close()
    assert [(result.id, result.content) for result in turn.results] == [
        (first.id, "1"),
        (second.id, None),
        (third.id, None),
    ]
    assert [result.failure and result.failure.code for result in turn.results] == [None, "cancelled", "cancelled"]
    assert unanswered(turn.offer.history) == []


def test_the_last_round_may_not_call() -> None:
    _, command = opened({"rounds": 1})
    assert isinstance(command, TurnEnded)
    assert command.reply.ended == "rounds"
    (result,) = command.reply.calls
    assert result.failure is not None
    assert (result.failure.code, result.failure.effect) == ("limit_reached", "none")


@pytest.mark.parametrize("limits", [{"input_tokens": 4}, {"output_tokens": 6}])
def test_tokens_are_counted(limits: Limits) -> None:
    _, command = opened(limits)
    assert isinstance(command, TurnEnded)
    assert command.reply.ended == "tokens"
    assert command.reply.usage == Usage(5, 7)


def test_tokens_that_just_suffice_do() -> None:
    _, command = opened({"input_tokens": 5, "output_tokens": 7})
    assert isinstance(command, RunBatch)


def test_calls_are_limited_in_a_response_and_in_a_turn() -> None:
    turn, command = opened({"calls": 5, "calls_per_response": 4}, calls=6)
    assert isinstance(command, RunBatch)
    assert (len(command.calls), command.limit) == (6, 4)
    turn.step(BatchEnded(tuple(map(result_of, command.calls))))
    ended = turn.step(Completed("", (ToolCall("x", "t"),)))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.ended == "calls"


def test_what_a_response_may_call_is_what_the_turn_has_left() -> None:
    turn, command = opened({"calls": 5, "calls_per_response": 4}, calls=3)
    assert isinstance(command, RunBatch)
    assert command.limit == 4
    turn.step(BatchEnded(tuple(map(result_of, command.calls))))
    again = turn.step(Completed("", tuple(ToolCall(str(n), "t") for n in range(10, 14))))
    assert isinstance(again, RunBatch)
    assert again.limit == 2


@pytest.mark.parametrize(
    ("finish", "ended"),
    [("stop", "answered"), ("length", "tokens"), ("filtered", "filtered"), ("refused", "refused"), ("new", "answered")],
)
def test_how_the_last_reply_finished_is_how_the_turn_ended(finish: str, ended: str) -> None:
    turn = Turn(Offer("c", []))
    turn.start("go")
    turn.step(ToolsSelected((), ""))
    command = turn.step(Completed("so", finish=finish))
    assert isinstance(command, TurnEnded)
    assert (command.reply.text, command.reply.ended) == ("so", ended)


@pytest.mark.parametrize(
    ("code", "ended"),
    [("timed_out", "time"), ("cancelled", "interrupted"), ("model_refused", "refused"), ("model_failed", "failed")],
)
def test_how_a_failure_ends_a_turn(code: str, ended: str) -> None:
    turn, _ = opened({})
    command = turn.step(failed(code, "so it is"))
    assert isinstance(command, TurnEnded)
    assert command.reply.ended == ended
    assert command.reply.failure == failed(code, "so it is")
    assert [result.failure.code for result in command.reply.calls if result.failure] == ["cancelled"]


def test_what_the_model_knows_is_not_sent_again() -> None:
    offer = Offer("c", [SystemMessage("s")])
    turn = Turn(offer)
    turn.start("go")
    first = turn.step(ToolsSelected(("t",), "d"))
    assert isinstance(first, Complete)
    assert (first.known, first.newer, first.tools, first.specs) == (
        0,
        (SystemMessage("s"), UserMessage("go")),
        "d",
        None,
    )
    call = ToolCall("1", "t")
    turn.step(Completed("", (call,)))
    second = turn.step(BatchEnded((result_of(call),)))
    assert isinstance(second, Complete)
    assert (second.known, second.newer) == (2, (AssistantMessage("", (call,)), ToolMessage("1", "t", "1")))
    assert list(offer.used) == ["t"]


def test_a_model_that_lacks_the_history_gets_all_of_it() -> None:
    turn, command = opened({})
    assert isinstance(command, RunBatch)
    turn.step(BatchEnded(tuple(map(result_of, command.calls))))
    only_tools = turn.step(SendAll(history=False, tools=True))
    assert isinstance(only_tools, Complete)
    assert only_tools.known == 1
    everything = turn.step(SendAll(history=True, tools=False))
    assert isinstance(everything, Complete)
    assert (everything.known, len(everything.newer)) == (0, 3)


def test_a_model_that_always_forgets_ends_the_turn() -> None:
    turn = Turn(Offer("c", []))
    turn.start("go")
    command = turn.step(ToolsSelected((), ""))
    for _ in range(REPEATS):
        assert isinstance(command, Complete)
        command = turn.step(SendAll(history=True, tools=True))
    command = turn.step(SendAll(history=True, tools=True))
    assert isinstance(command, TurnEnded)
    assert command.reply.failure is not None
    assert command.reply.failure.code == "model_failed"


def test_before_a_model_is_asked_again_the_tools_may_be_selected_anew() -> None:
    turn, command = opened({}, calls=1)
    assert isinstance(command, RunBatch)
    assert isinstance(turn.step(BatchEnded((result_of(command.calls[0]),))), Complete)
    anew = turn.step(CHANGED)
    assert isinstance(anew, SelectTools)
    assert anew.query == turn.text
    assert anew.used == ("t",)
    command = turn.step(ToolsSelected(("new",), "other"))
    assert isinstance(command, Complete)
    assert (command.tools, command.newer) == ("other", tuple(turn.offer.history[command.known :]))


def test_results_that_are_not_those_of_the_calls_end_the_turn() -> None:
    turn, command = opened({}, calls=2)
    assert isinstance(command, RunBatch)
    ended = turn.step(BatchEnded((result_of(command.calls[0]),)))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.failure is not None
    assert ended.reply.failure.code == "internal"
    assert unanswered(turn.offer.history) == []


HEARD: dict[type, Any] = {
    ToolsSelected: ToolsSelected((), ""),
    Completed: Completed(),
    SendAll: SendAll(history=True, tools=True),
    BatchEnded: BatchEnded(()),
    Failure: failed("failed", "no"),
    ToolsChanged: CHANGED,
}


@pytest.mark.parametrize(
    ("phase", "heard"),
    [pair for pair in product(PHASES, HEARD) if pair not in STEPS],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_an_impossible_step_is_not_in_the_table(phase: str, heard: type) -> None:
    turn = Turn(Offer("c", []))
    turn.phase = phase
    with pytest.raises(KeyError):
        turn.step(HEARD[heard])


def test_the_table_has_a_way_out_of_each_phase_but_the_last() -> None:
    assert {phase for phase, heard in STEPS if heard is Failure} == {*PHASES} - {
        Phase.ENDED,
        Phase.WAITING,
        Phase.PAUSED,
    }
    assert {phase for phase, _ in STEPS} | {Phase.ENDED} == {*PHASES}


def test_what_somebody_looked_at_stays_though_it_could_not_be_told() -> None:
    turn = Turn(Offer("c", []))
    turn.start("as long as a book")
    seen = History(turn.offer.history)
    assert isinstance(turn.step(failed("too_large", "it is")), TurnEnded)
    assert turn.offer.history == []
    assert list(seen) == [UserMessage("as long as a book")]


def test_what_is_too_large_for_the_model_is_taken_back_too() -> None:
    turn = Turn(Offer("c", [SystemMessage("s")]))
    turn.start("look", (Blob("image/png", b"x"),))
    turn.step(ToolsSelected((), ""))
    ended = turn.step(failed("too_large", "it is"))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.ended == "failed"
    assert turn.offer.history == [SystemMessage("s")]


def test_what_is_too_large_to_be_shown_is_never_said() -> None:
    turn = Turn(Offer("c", []))
    ended = turn.start("look", (Blob("image/png", b"x" * (LARGEST + 1)),))
    assert isinstance(ended, TurnEnded)
    assert ended.reply.failure is not None
    assert ended.reply.failure.code == "too_large"
    assert (turn.phase, turn.offer.history) == (Phase.ENDED, [])


def test_an_answer_that_does_not_fit_is_answered_in_the_history() -> None:
    turn = Turn(Offer("c", []))
    turn.start("go", output={"type": "integer"})
    asked = turn.step(ToolsSelected((), ""))
    assert isinstance(asked, Complete)
    assert asked.output is not None
    assert asked.output["required"] == ["value"]
    again = turn.step(Completed("seven"))
    assert isinstance(again, Complete)
    assert [type(message) for message in again.newer] == [AssistantMessage, UserMessage]
    assert again.known == 1
    ended = turn.step(Completed('{"value": 7}'))
    assert isinstance(ended, TurnEnded)
    assert (ended.reply.output, ended.reply.rounds) == (7, 2)
