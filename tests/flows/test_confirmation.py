"""Calls that wait for a person: beside the others, between rounds, and when the turn has been put aside meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    Agent,
    CallFinished,
    CallStarted,
    Chat,
    ConfirmationWanted,
    Event,
    Limits,
    Misuse,
    Pending,
    Reply,
    ToolCall,
    ToolMessage,
    ToolwireError,
    TurnFinished,
    scripted,
    tool,
)
from toolwire.actors.models.scripted import Scripted

pytestmark = pytest.mark.anyio


class Bank:
    """Keeps what was done, so that a test can see how often."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.went = anyio.Event()

    def tools(self) -> tuple[Any, ...]:
        @tool(confirm=lambda a: f"{a.amount} leave the account" if a.amount > 10 else "")
        async def transfer(amount: int, to: str = "eve") -> str:
            await checkpoint()
            self.sent.append((amount, to))
            return f"{amount} to {to}"

        @tool(read_only=True)
        async def balance() -> int:
            await checkpoint()
            return 100

        @tool
        async def receipt(of: str) -> str:
            return f"receipt: {of}"

        @tool
        async def proceed() -> str:
            await self.went.wait()
            return "went on"

        return transfer, balance, receipt, proceed


@asynccontextmanager
async def bank(bus: Any, *said: Any, confirm_within: float = 20.0) -> AsyncIterator[tuple[Bank, Chat, Scripted]]:
    made, model = Bank(), scripted(said)
    limits: Limits = {"confirm_within": confirm_within}
    async with bus.open(*made.tools()) as runtime:
        agent = Agent("clerk", model, references=True, limits=limits)
        yield made, await runtime.converse(agent, id="c" if bus.remote else None), model


def codes(reply: Reply) -> list[str]:
    return ["ok" if result.failure is None else result.failure.code for result in reply.calls]


async def invalid(chat: Chat, pending: Pending | str, answer: Any = "approve") -> str:
    with pytest.raises(ToolwireError) as caught:
        await chat.answer(pending, answer)
    assert caught.value.failure.code == "invalid_confirmation"
    return caught.value.failure.message


async def test_a_paused_turn_goes_on_when_it_is_approved(bus: Any, valid: Any) -> None:
    said = [("transfer", {"amount": 50}), ("balance",), ("receipt", {"of": {"$result": 1}})]
    async with bank(bus, said, "done", "and on") as (made, chat, model):
        reply = await chat.say("pay")
        assert (reply.ended, codes(reply)) == ("paused", ["confirmation_required", "ok", "confirmation_required"])
        (pending,) = reply.pending
        assert (pending.name, pending.arguments) == ("transfer", '{"amount":50}')
        assert pending.reason == "50 leave the account"
        assert pending == chat.pending[0]
        assert valid(chat)
        assert made.sent == []
        assert all(pending.token not in str(message) for message in chat.history())

        again = await chat.answer(pending, "approve")
        assert again is not None
        assert (again.ended, again.text, codes(again)) == ("answered", "done", ["ok"] * 3)
        assert [result.name for result in again.calls] == ["transfer", "balance", "receipt"]
        assert again.calls[2].value == "receipt: 50 to eve"
        assert made.sent == [(50, "eve")]
        assert chat.pending == ()
        assert valid(chat, model)
        assert (await chat.say("more")).text == "and on"
        assert valid(chat, model)
        told = [message for message in model.requests[1].messages if isinstance(message, ToolMessage)]
        assert [message.failed for message in told] == [False] * 3


async def test_denied_with_a_reason_the_model_is_told(bus: Any, valid: Any) -> None:
    async with bank(bus, [("transfer", {"amount": 50}), ("receipt", {"of": {"$result": 1}})], "a pity") as (
        made,
        chat,
        model,
    ):
        reply = await chat.say("pay")
        again = await chat.answer(reply.pending[0].token, "deny", reason="too much")
        assert again is not None
        assert (again.text, codes(again)) == ("a pity", ["confirmation_denied", "dependency_failed"])
        assert again.calls[0].failure is not None
        assert "too much" in again.calls[0].failure.message
        assert made.sent == []
        assert valid(chat, model)


async def test_approved_with_other_arguments(bus: Any, valid: Any) -> None:
    async with bank(bus, ("transfer", {"amount": 50}), "done") as (made, chat, model):
        reply = await chat.say("pay")
        again = await chat.answer(reply.pending[0], "approve", {"amount": 20, "to": "bob"})
        assert again is not None
        assert (codes(again), made.sent) == (["ok"], [(20, "bob")])
        assert valid(chat, model)


async def test_answered_while_the_others_still_run(bus: Any, valid: Any) -> None:
    async with bank(bus, [("transfer", {"amount": 50}), ("proceed",)], "done") as (made, chat, model):
        told: list[Event] = []
        async with chat.stream("pay") as events:
            async for event in events:
                told.append(event)
                if isinstance(event, ConfirmationWanted):
                    assert chat.pending == (event.pending,)
                    assert await chat.answer(event.pending, "approve") is None
                    assert "already" in await invalid(chat, event.pending)
                if isinstance(event, CallFinished) and event.result.name == "transfer":
                    assert made.sent == [(50, "eve")]
                    made.went.set()
        last = told[-1]
        assert isinstance(last, TurnFinished)
        assert (last.reply.ended, codes(last.reply)) == ("answered", ["ok", "ok"])
        assert [event.number for event in told] == list(range(1, len(told) + 1))
        for kind in (CallStarted, CallFinished):
            assert len([event for event in told if isinstance(event, kind)]) == 2
        assert valid(chat, model)


@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_the_turn_waits_for_a_person_when_all_else_has_ended(bus: Any, valid: Any, answer: Any) -> None:
    async with bank(bus, ("transfer", {"amount": 50}), "done") as (made, chat, model):
        told: list[Event] = []
        async with chat.stream("pay") as events:
            async for event in events:
                told.append(event)
                if isinstance(event, ConfirmationWanted):
                    for _ in range(20):
                        await checkpoint()
                    assert await chat.answer(event.pending, answer) is None
        last = told[-1]
        assert isinstance(last, TurnFinished)
        assert last.reply.text == "done"
        assert codes(last.reply) == ["ok" if answer == "approve" else "confirmation_denied"]
        assert len(made.sent) == (answer == "approve")
        kinds = [type(event) for event in told if isinstance(event, CallStarted | CallFinished)]
        assert kinds == [CallStarted, CallFinished]
        assert valid(chat, model)
        assert "over" in await invalid(chat, "anything")


async def test_nobody_answers_in_time(bus: Any, valid: Any) -> None:
    async with bank(bus, ("transfer", {"amount": 50}), "done", confirm_within=0.02) as (made, chat, _):
        async with chat.stream("pay") as events:
            *_, last = [event async for event in events]
        assert isinstance(last, TurnFinished)
        assert last.reply.ended == "paused"
        assert valid(chat)
        again = await chat.answer(last.reply.pending[0], "approve")
        assert again is not None
        assert (again.text, len(made.sent)) == ("done", 1)


async def test_several_are_answered_one_by_one(bus: Any, valid: Any) -> None:
    said = [
        ("transfer", {"amount": 50, "to": "a"}),
        ("transfer", {"amount": 60, "to": "b"}),
        ("receipt", {"of": {"$result": 1}}),
    ]
    async with bank(bus, said, "done") as (made, chat, model):
        reply = await chat.say("pay")
        first, second = reply.pending
        again = await chat.answer(first, "approve")
        assert again is not None
        assert (again.ended, again.pending) == ("paused", (second,))
        assert codes(again) == ["ok", "confirmation_required", "ok"]
        assert valid(chat)
        assert "already" in await invalid(chat, first)
        once_more = await chat.answer(second, "deny")
        assert once_more is not None
        assert (once_more.text, codes(once_more)) == ("done", ["ok", "confirmation_denied", "ok"])
        assert made.sent == [(50, "a")]
        assert valid(chat, model)


async def test_who_goes_on_talking_has_denied(bus: Any, valid: Any) -> None:
    said = [("transfer", {"amount": 50}), ("receipt", {"of": {"$result": 1}}), ("balance",)]
    async with bank(bus, said, "as you like") as (made, chat, model):
        reply = await chat.say("pay")
        before = chat.history()
        kept = list(before)
        assert (await chat.say("something else")).text == "as you like"
        assert list(before) == kept
        assert valid(chat, model)
        told = {m.name: m.content for m in model.requests[-1].messages if isinstance(m, ToolMessage)}
        assert "the user went on" in told["transfer"]
        assert "dependency_failed" in told["receipt"]
        assert told["balance"] == "100"
        assert "over" in await invalid(chat, reply.pending[0])
        assert made.sent == []


@pytest.mark.parametrize("answers", [2, 5])
async def test_approved_twice_it_runs_once(bus: Any, valid: Any, answers: int) -> None:
    """Row F4 of the catalogue of faults: whoever resumes twice has one result, and one effect."""
    async with bank(bus, ("transfer", {"amount": 50}), "done") as (made, chat, model):
        pending = (await chat.say("pay")).pending[0]
        got: list[Any] = []

        async def approve() -> None:
            try:
                got.append(await chat.answer(pending, "approve"))
            except ToolwireError as error:
                got.append(error.failure.code)

        async with anyio.create_task_group() as tasks:
            for _ in range(answers):
                tasks.start_soon(approve)
        replies = [each for each in got if isinstance(each, Reply)]
        assert [reply.text for reply in replies] == ["done"]
        assert got.count("invalid_confirmation") == answers - 1
        assert made.sent == [(50, "eve")]
        assert len([message for message in chat.history() if isinstance(message, ToolMessage)]) == 1
        assert valid(chat, model)
        assert "over" in await invalid(chat, pending)


async def test_two_are_approved_at_the_same_time(bus: Any, valid: Any) -> None:
    said = [("transfer", {"amount": 50, "to": "a"}), ("transfer", {"amount": 60, "to": "b"})]
    async with bank(bus, said, "done") as (made, chat, model):
        pending = (await chat.say("pay")).pending
        replies: list[Reply | None] = []

        async def approve(each: Pending) -> None:
            replies.append(await chat.answer(each, "approve"))

        async with anyio.create_task_group() as tasks:
            for each in pending:
                tasks.start_soon(approve, each)
        ended = [reply.ended for reply in replies if reply is not None]
        assert ended[-1:] == ["answered"]
        assert set(ended) <= {"answered", "paused"}
        assert sorted(made.sent) == [(50, "a"), (60, "b")]
        assert valid(chat, model)


async def test_what_is_no_answer_is_refused(memory: Any) -> None:
    async with bank(memory, ("transfer", {"amount": 50}), "done") as (made, chat, _):
        assert "waits" in await invalid(chat, "a token")
        pending = (await chat.say("pay")).pending[0]
        assert "waits" in await invalid(chat, pending.token + "x")
        for answer, arguments in (("yes", None), ("deny", {"amount": 1}), ("approve", {"amount": float("nan")})):
            with pytest.raises(Misuse):
                await chat.answer(pending, answer, arguments)  # type: ignore[arg-type]  # that is the point
        for nothing in (None, 3, [pending]):
            with pytest.raises(Misuse, match="an answer is to one call that waits"):
                await chat.answer(nothing, "approve")  # type: ignore[arg-type]  # as above
        with pytest.raises(Misuse, match="arguments are an object, not 'x'"):
            await chat.answer(pending, "approve", "x")  # type: ignore[arg-type]  # as above
        assert chat.pending == (pending,)
        assert made.sent == []


async def test_a_batch_of_a_program_does_not_wait(memory: Any) -> None:
    made = Bank()
    async with memory.open(*made.tools()) as runtime:
        calls = [ToolCall("a", "transfer", {"amount": 50}), ToolCall("b", "receipt", {"of": {"$result": "a"}})]
        results = await runtime.call_many(calls)
        told = [*results, await runtime.call("transfer", {"amount": 50})]
        codes = [result.failure and result.failure.code for result in told]
        assert codes == ["confirmation_required", "dependency_failed", "confirmation_required"]
        assert made.sent == []


async def test_an_agent_that_is_asked_as_a_tool_has_nobody_to_ask(memory: Any, valid: Any) -> None:
    made = Bank()
    helper = Agent("helper", scripted([("transfer", {"amount": 50}), "never"]), tools=["transfer"])
    model = scripted([("helper", {"message": "pay"}), "it did not"])
    async with memory.open(*made.tools(), helper) as runtime:
        chat = await runtime.converse(model=model, tools=["helper"])
        reply = await chat.say("go")
        assert (reply.text, codes(reply)) == ("it did not", ["failed"])
        failure = reply.calls[0].failure
        assert failure is not None
        assert 'transfer({"amount":50})' in failure.message
        assert (failure.effect, reply.pending, made.sent) == ("maybe", (), [])
        assert valid(chat, model)


async def test_the_same_call_is_made_three_times(bus: Any, valid: Any) -> None:
    said = [
        [("balance",), ("receipt", {"of": "a"})],
        [("balance", "{ }")] * 2,
        [("balance",), ("receipt", {"of": "b"})],
    ]
    async with bank(bus, *said, "enough") as (_, chat, model):
        reply = await chat.say("go")
        assert codes(reply) == ["ok", "ok", "ok", "ok", "limit_reached", "ok"]
        assert "use what it gave" in str(reply.calls[4].failure)
        assert valid(chat, model)


@pytest.mark.parametrize("missed", ["it did not answer", "its tool did not"])
async def test_who_asked_is_asked_though_it_was_missed_for_a_moment(bus: Any, missed: str) -> None:
    if not bus.remote:
        pytest.skip("memory has no others")
    made = Bank()
    transfer = made.tools()[0]
    async with bus.open() as host:
        async with bus.runtime() as worker:
            await worker.serve(transfer)
            failures = [(await host.call("transfer", {"amount": 50})).failure for _ in range(2)]
            tokens = [failure.details["token"] for failure in failures if failure is not None]
            catalogue, issuer, spec = host.tools, worker.system.bus.instance, host.tools["transfer"]
            if missed == "it did not answer":
                catalogue.forget(issuer)
            else:
                catalogue.lose("transfer", issuer)
            assert "transfer" not in catalogue
            assert (await host.confirm(tokens[0])).value == "50 to eve"
        catalogue.add(spec, issuer)
        catalogue.forget(issuer)  # nobody has heard that it left for good
        failure = (await host.confirm(tokens[1])).failure
    assert failure is not None
    assert (failure.code, failure.effect) == ("invalid_confirmation", "none")
    assert "the process that asked for it is gone" in failure.message
    assert made.sent == [(50, "eve")]
