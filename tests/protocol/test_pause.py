"""A turn whose calls wait for a person: however answers, ends and cancellations come, each call has one result."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.cues import WAITED, Phase, Wait
from toolwire.protocol.events import Pending
from toolwire.protocol.failures import ToolwireError, failed
from toolwire.protocol.history import AssistantMessage, HistoryMessage, ToolMessage
from toolwire.protocol.limits import Limits
from toolwire.protocol.messages import BatchEnded, Complete, Completed, Decision, RunBatch, ToolsSelected, TurnEnded
from toolwire.protocol.offer import Offer
from toolwire.protocol.questions import Questions, denied, hanging, hangs, question
from toolwire.protocol.repeats import Repeats
from toolwire.protocol.tools import ToolCall, ToolResult
from toolwire.protocol.turn import Command, Turn


def held(call: ToolCall, token: str) -> ToolResult[Any]:
    failure = failed("confirmation_required", "ask", token=token, seconds=60.0, reason="why", arguments='{"a":1}')
    return ToolResult(call.id, call.name, None, failure, 0)


def calls(count: int) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(f"c{n}", "t", f'{{"n":{n}}}') for n in range(count))


def valid(history: Sequence[HistoryMessage]) -> bool:
    """Whether each call has one result, right behind it and in order."""
    waiting: list[str] = []
    for message in history:
        if isinstance(message, ToolMessage):
            if not waiting or waiting.pop(0) != message.id:
                return False
        elif waiting:
            return False
        elif isinstance(message, AssistantMessage):
            waiting = [call.id for call in message.calls]
    return not waiting


class Hands:
    """Runs batches as an executor would: a call in `ask` needs a token that nobody has used; it runs once, or fails."""

    def __init__(self, ask: frozenset[int], after: dict[int, int]) -> None:
        self.ask = ask
        self.after = after
        self.ran: list[str] = []
        self.tokens = 0

    def run(self, batch: RunBatch) -> BatchEnded:
        results: list[ToolResult[Any]] = []
        waits: dict[int, int] = {}
        for n, call in enumerate(batch.calls):
            ended = batch.ended[n] if batch.ended else None
            decision = batch.decisions.get(n)
            before = self.after.get(n)
            if ended is not None:
                assert decision is None
                result = ended
            elif before is not None and (before in waits or question(results[before]) is not None):
                waits[n] = waits.get(before, before)
                result = hanging(call, batch.calls[waits[n]])
            elif decision is not None and not decision.approved:
                result = denied(call, decision.reason)
            elif n in self.ask and decision is None:
                self.tokens += 1
                result = held(call, f"token {self.tokens}")
            else:
                self.ran.append(call.id)
                result = ToolResult(call.id, call.name, "1")
            results.append(result)
        return BatchEnded(tuple(results))


def asked(limits: Limits | None = None, *, events: bool, count: int) -> tuple[Turn, Command]:
    turn = Turn(Offer("c", [], limits=limits or {}), events=events, name="c.1")
    turn.start("go")
    turn.step(ToolsSelected((), ""))
    return turn, turn.step(Completed("I do it", calls(count)))


@given(st.data())
def test_each_call_has_one_result_and_runs_at_most_once(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    ask = data.draw(st.frozensets(st.integers(0, count - 1)))
    after = {n: data.draw(st.integers(0, n - 1)) for n in range(1, count) if data.draw(st.booleans())}
    hands = Hands(ask, after)
    turn, command = asked(events=data.draw(st.booleans()), count=count)
    approved: set[str] = set()
    while not isinstance(command, Complete):
        if data.draw(st.integers(0, 9)) == 0:
            break
        if isinstance(command, RunBatch):
            command = turn.step(hands.run(command))
            continue
        assert isinstance(command, Wait | TurnEnded)
        if isinstance(command, TurnEnded):
            assert command.reply.ended == "paused"
            assert command.reply.pending == turn.pending
            assert [result.id for result in command.reply.calls] == [call.id for call in calls(count)]
            assert valid(turn.offer.history)
        for pending in turn.pending:
            if data.draw(st.booleans()):
                yes = data.draw(st.booleans())
                turn.answer(Decision(pending.token, yes))
                approved |= {pending.id} if yes else set()
                with pytest.raises(ToolwireError, match="answered already"):
                    turn.answer(Decision(pending.token, approved=True))
        if turn.phase == Phase.PAUSED and data.draw(st.integers(0, 5)) == 0:
            turn.leave()
            break
        command = turn.step(WAITED)
    if not isinstance(command, Complete) and turn.phase != Phase.PAUSED:
        turn.close()
    assert valid(turn.offer.history)
    assert len(set(hands.ran)) == len(hands.ran)
    assert {int(ran[1:]) for ran in hands.ran} & ask <= {int(each[1:]) for each in approved}
    if turn.phase != Phase.PAUSED:
        assert [result.id for result in turn.results] == [call.id for call in calls(count)]
        assert turn.pending == () or isinstance(command, Complete)
    assert all("token" not in str(message) for message in turn.offer.history)


def test_waited_for_nothing_it_pauses_and_goes_on_where_it_was() -> None:
    turn, command = asked({"confirm_within": 5.0}, events=True, count=2)
    hands = Hands(frozenset({0}), {})
    assert isinstance(command, RunBatch)
    assert command.name
    command = turn.step(hands.run(command))
    assert command == Wait(turn.pending, 5.0)
    command = turn.step(WAITED)
    assert isinstance(command, TurnEnded)
    assert (command.reply.ended, command.reply.text, command.reply.rounds) == ("paused", "I do it", 1)
    assert turn.step(WAITED) == command  # nobody has answered yet
    seen = turn.offer.history
    kept = list(seen)
    turn.answer(Decision("token 1", approved=True, arguments="{}"))
    command = turn.step(WAITED)
    assert isinstance(command, RunBatch)
    assert [result and result.content for result in command.ended] == [None, "1"]
    assert command.decisions == {0: Decision("token 1", approved=True, arguments="{}")}
    assert seen == kept  # whoever looked at it while it was paused still sees that
    command = turn.step(hands.run(command))
    assert isinstance(command, Complete)
    assert [type(message) for message in command.newer[-2:]] == [ToolMessage, ToolMessage]


@pytest.mark.parametrize("limits", [{"confirm_within": 0.0}, {}])
def test_nobody_is_waited_for_who_can_not_hear(limits: Limits) -> None:
    turn, command = asked(limits, events=bool(limits), count=1)
    assert isinstance(command, RunBatch)
    assert isinstance(turn.step(Hands(frozenset({0}), {}).run(command)), TurnEnded)
    assert turn.phase == Phase.PAUSED


def test_an_answer_that_came_early_is_used_when_the_batch_has_ended() -> None:
    turn, command = asked(events=True, count=1)
    assert isinstance(command, RunBatch)
    turn.ask(Pending("c0", "t", "{}", token="token 1"))
    turn.answer(Decision("token 1", approved=True))
    command = turn.step(Hands(frozenset({0}), {}).run(command))
    assert isinstance(command, RunBatch)
    assert list(command.decisions) == [0]


def test_what_was_confirmed_and_still_asks_the_same_has_ended() -> None:
    turn, command = asked(events=False, count=1)
    hands = Hands(frozenset({0}), {})
    assert isinstance(command, RunBatch)
    ended = hands.run(command)
    turn.step(ended)
    turn.answer(Decision("token 1", approved=True))
    assert isinstance(turn.step(WAITED), RunBatch)
    assert isinstance(turn.step(ended), Complete)
    assert valid(turn.offer.history)
    assert "token" not in str(turn.offer.history[-1])


def test_left_by_the_user_it_is_denied() -> None:
    turn, command = asked(events=False, count=3)
    assert isinstance(command, RunBatch)
    turn.step(Hands(frozenset({0}), {1: 0}).run(command))
    turn.leave()
    codes = [result.failure and result.failure.code for result in turn.results]
    assert codes == ["confirmation_denied", "dependency_failed", None]
    with pytest.raises(ToolwireError, match="invalid_confirmation"):
        turn.answer(Decision("token 1", approved=True))


def test_a_call_that_nobody_confirmed_has_done_nothing_wherever_its_turn_ends() -> None:
    turn, _ = asked(events=True, count=2)
    turn.ask(Pending("c0", "t", "{}", token="token 1"))
    turn.close()
    assert [result.failure and result.failure.effect for result in turn.results] == ["none", "maybe"]


def test_taint_stays_for_the_turn() -> None:
    turn, command = asked(events=False, count=1)
    assert isinstance(command, RunBatch)
    assert not command.tainted
    turn.step(BatchEnded((ToolResult("c0", "t", "1"),), tainted=True))
    command = turn.step(Completed("", (ToolCall("d", "t"),)))
    assert isinstance(command, RunBatch)
    assert command.tainted
    turn.step(BatchEnded((ToolResult("d", "t", "1"),)))
    command = turn.step(Completed("", (ToolCall("e", "t"),)))
    assert isinstance(command, RunBatch)
    assert command.tainted


@pytest.mark.parametrize(
    "result",
    [
        ToolResult("a", "t", "1"),
        ToolResult("a", "t", None, failed("confirmation_required", "no token")),
        ToolResult("a", "t", None, failed("confirmation_required", "no text", token=5)),
        ToolResult("a", "t", None, failed("confirmation_required", "it ran", "maybe", token="x")),
        ToolResult("a", "t", None, failed("failed", "another code", token="x")),
        hanging(ToolCall("a", "t"), ToolCall("b", "t")),
    ],
    ids=["ok", "no token", "no text", "it ran", "another code", "hanging"],
)
def test_what_asks_nothing(result: ToolResult[Any]) -> None:
    assert question(result) is None
    assert not Questions().look([result])


def test_what_asks() -> None:
    result = held(ToolCall("a", "t"), "x")
    assert question(result) == Pending("a", "t", '{"a":1}', "why", "x", 60.0)
    assert not hangs(result)
    bare: ToolResult[Any] = ToolResult(
        "a", "t", None, failed("confirmation_required", "ask", token="x", arguments=3, seconds="long")
    )
    assert question(bare) == Pending("a", "t", "{}", "", "x", 0.0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.booleans()), max_size=20), st.integers(0, 4))
def test_the_same_call_again(made: list[tuple[str, int, bool]], most: int) -> None:
    """However it is written: keys in another order and blanks change nothing."""
    repeats = Repeats(most, references=False)
    seen: dict[tuple[str, int], int] = {}
    for name, n, turned in made:
        text = f'{{ "y": 1, "x": {n} }}' if turned else f'{{"x":{n},"y":1}}'
        seen[name, n] = seen.get((name, n), 0) + 1
        assert repeats.count(ToolCall("i", name, text)) == (seen[name, n] > most)


def test_calls_that_name_results_are_not_counted() -> None:
    call = ToolCall("i", "t", '{"x": {"$result": 1}}')
    assert Repeats(1, references=True).among([call] * 3) == ()
    assert Repeats(1, references=False).among([call] * 3) == (1, 2)
    assert Repeats(1, references=False).among([ToolCall("i", "t", "{")] * 2) == (1,)
    assert Repeats(1, references=False).among([ToolCall("i", "t", {"x": float("nan")})] * 2) == ()


@given(st.integers(0, 5), st.lists(st.integers(1, 3), max_size=5))
def test_a_turn_counts_them_over_its_rounds(most: int, sizes: list[int]) -> None:
    turn = Turn(Offer("c", [], limits={"same_call": most}))
    turn.start("go")
    turn.step(ToolsSelected((), ""))
    made = 0
    for size in sizes:
        command = turn.step(Completed("", tuple(ToolCall(f"{made + n}", "t") for n in range(size))))
        assert isinstance(command, RunBatch)
        assert command.repeated == tuple(n for n in range(size) if made + n >= most)
        turn.step(BatchEnded(tuple(ToolResult(call.id, "t", "1") for call in command.calls)))
        made += size
