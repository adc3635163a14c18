"""A conversation through its turns: one at a time, a history that is always valid, and a model that forgets."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import (
    AssistantMessage,
    Limits,
    Runtime,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolwireError,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.model import Memory, ModelActor
from toolwire.actors.models.contract import ModelReply, ModelRequest
from toolwire.actors.retelling import CHUNK
from toolwire.protocol.events import CallFinished, TurnFinished
from toolwire.protocol.messages import Remember

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def double(x: int) -> int:
    return 2 * x


@tool
async def forever() -> None:
    await anyio.sleep_forever()


@tool
async def ready() -> str:
    return "ready"


def unanswered(history: Sequence[Any]) -> list[str]:
    """The ids of calls at the end of `history` without a result. Fails for what no provider would take."""
    waiting: list[str] = []
    for message in history:
        if isinstance(message, ToolMessage):
            waiting.remove(message.id)
        else:
            assert not waiting, f"{message} comes before the results of {waiting}"
            if isinstance(message, AssistantMessage):
                waiting = [call.id for call in message.calls]
    return waiting


async def test_a_turn_with_calls() -> None:
    model = scripted([[("double", {"x": 4}), ("double", {"x": 5})], ("double", {"x": 6}), "8, 10, 12"])
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=model, system="be brief")
        reply = await chat.say("double 4, 5 and 6")
        assert (reply.text, reply.ended, reply.rounds) == ("8, 10, 12", "answered", 3)
        assert [result.value for result in reply.calls] == [8, 10, 12]
        assert [type(message) for message in chat.history()] == [
            SystemMessage,
            UserMessage,
            AssistantMessage,
            ToolMessage,
            ToolMessage,
            AssistantMessage,
            ToolMessage,
            AssistantMessage,
        ]
        assert unanswered(chat.history()) == []
        assert list(model.requests[-1].messages) == list(chat.history())[:-1]
        assert [spec.name for spec in model.requests[0].tools] == ["double"]


async def test_what_was_said_before_is_known_in_the_next_turn() -> None:
    model = scripted(["one", "two"])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model)
        await chat.say("a")
        await chat.say("b")
    assert list(model.requests[1].messages) == [UserMessage("a"), AssistantMessage("one"), UserMessage("b")]


async def test_who_speaks_meanwhile_waits() -> None:
    gate = anyio.Event()

    async def slow(request: ModelRequest) -> str:
        await gate.wait()
        return "first"

    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([slow, "second"]))
        said: list[str] = []

        async def say(text: str) -> None:
            said.append((await chat.say(text)).text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "a")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(say, "b")
            await anyio.wait_all_tasks_blocked()
            assert len(chat.history()) == 1
            gate.set()
        assert said == ["first", "second"]
        assert [message.text for message in chat.history() if isinstance(message, UserMessage)] == ["a", "b"]


async def test_cancelled_in_the_middle_each_call_has_its_result_and_the_next_turn_works() -> None:
    model = scripted([[("ready",), ("forever",)], "fine"])
    async with Runtime() as runtime:
        await runtime.serve(ready, forever)
        chat = await runtime.converse(model=model)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat.say, "go")
            await anyio.wait_all_tasks_blocked()
            assert list(chat.history()) == [UserMessage("go")]  # calls stand there with their results only
            tasks.cancel_scope.cancel()
        assert unanswered(chat.history()) == []
        results = [message for message in chat.history() if isinstance(message, ToolMessage)]
        assert [(message.id, message.failed) for message in results] == [("call_1", True), ("call_2", True)]
        assert (await chat.say("and now")).text == "fine"
        assert list(model.requests[1].messages) == list(chat.history())[:-1]


def test_the_time_of_a_turn_ends_it() -> None:
    async def main() -> None:
        model = scripted([[("forever",), ("ready",)], "fine"])
        async with Runtime(call_seconds=1_000) as runtime:
            await runtime.serve(forever, ready)
            chat = await runtime.converse(model=model, limits={"seconds": 60.0})
            began = trio.current_time()
            reply = await chat.say("go")
            assert trio.current_time() - began == pytest.approx(60.0)
            assert (reply.ended, reply.failure and reply.failure.code) == ("time", "timed_out")
            assert [result.failure.code for result in reply.calls if result.failure] == ["cancelled", "cancelled"]
            assert unanswered(chat.history()) == []
            assert (await chat.say("again")).ended == "answered"

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_call_that_was_told_to_have_ended_has_no_other_end() -> None:
    async def main() -> None:
        async with Runtime() as runtime:
            model = scripted([[("double", {"x": 1}), ("forever", {})]])
            chat = await runtime.converse(model=model, tools=[double, forever], limits={"seconds": 5})
            async with chat.stream("go") as events:
                told = [event async for event in events]
            finished = [event.result for event in told if isinstance(event, CallFinished)]
            assert [result.content for result in finished] == ["2", None]
            assert isinstance(told[-1], TurnFinished)
            assert told[-1].reply.ended == "time"
            assert list(told[-1].reply.calls) == finished
            assert [message.content for message in chat.history()[2:3] if isinstance(message, ToolMessage)] == ["2"]

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_turn_without_a_limit_of_time() -> None:
    async def main() -> None:
        async def slow(request: ModelRequest) -> str:
            assert request.seconds is None
            await trio.sleep(10_000)
            return "done"

        async with Runtime() as runtime:
            chat = await runtime.converse(model=scripted([slow]), limits={"seconds": float("inf")})
            assert (await chat.say("go")).text == "done"

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("limits", "ended", "calls"),
    [({"rounds": 2}, "rounds", 2), ({"calls": 1}, "calls", 2), ({"calls_per_response": 0, "rounds": 2}, "rounds", 2)],
    ids=["rounds", "calls", "calls per response"],
)
async def test_a_limit_ends_the_turn(limits: Limits, ended: str, calls: int) -> None:
    model = scripted([("double", {"x": n}) for n in range(5)])
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=model, limits=limits)
        reply = await chat.say("go")
        assert (reply.ended, len(reply.calls)) == (ended, calls)
        assert unanswered(chat.history()) == []


async def test_a_model_that_fails_ends_the_turn_and_not_the_conversation() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([RuntimeError("no"), "back"]))
        reply = await chat.say("a")
        assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "model_failed")
        assert (await chat.say("b")).text == "back"


async def test_ten_thousand_calls_in_a_response() -> None:
    calls: list[Any] = [("double", {"x": n}) for n in range(10_000)]
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([calls, "done"]))
        reply = await chat.say("go")
        assert reply.ended == "answered"
        assert sum(result.ok for result in reply.calls) == 128
        assert {result.failure.code for result in reply.calls if result.failure} == {"limit_reached"}
        assert unanswered(chat.history()) == []


async def test_calls_with_the_same_id_or_none() -> None:
    calls: list[Any] = [ToolCall("x", "double", {"x": 1}), ToolCall("x", "double", {"x": 2}), ToolCall("", "double")]
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([calls, "done"]))
        reply = await chat.say("go")
        assert [result.failure and result.failure.code for result in reply.calls] == [
            None,
            "invalid_call",
            "invalid_call",
        ]
        assert reply.text == "done"


@pytest.mark.parametrize("references", [False, True])
async def test_references_only_where_they_are_switched_on(*, references: bool) -> None:
    calls: list[Any] = [("double", {"x": 4}), ("double", {"x": {"$result": 1}})]
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([calls, "done"]), references=references)
        first, second = (await chat.say("go")).calls
        assert first.value == 8
        assert second.ok is references


class Forgetful:
    """A model actor's memory that is emptied before each time it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.times = times
        self.remembered: list[int] = []
        extended = Memory.extended

        def forgets(memory: Memory, conversation: str, known: int, newer: tuple[Any, ...]) -> Any:
            if known and self.times:
                self.times -= 1
                memory._histories.clear()
            return extended(memory, conversation, known, newer)

        receive = ModelActor.receive

        async def counted(actor: ModelActor, message: Any, context: Any) -> Any:
            if isinstance(message, Remember):
                self.remembered.append(len(message.newer))
            return await receive(actor, message, context)

        monkeypatch.setattr(Memory, "extended", forgets)
        monkeypatch.setattr(ModelActor, "receive", counted)


async def test_a_model_that_forgot_is_told_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Forgetful(monkeypatch, 2)
    model = scripted(["one", "two", "three"])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, system="s")
        for text in "abc":
            assert (await chat.say(text)).ended == "answered"
        assert list(model.requests[-1].messages) == list(chat.history())[:-1]


async def test_a_long_history_is_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = Forgetful(monkeypatch, 0)
    model = scripted(["one", "two", "three", "four"])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model)
        for _ in range(3):
            await chat.say("x" * (CHUNK - 100))
        forgetful.times = 1
        assert (await chat.say("and now")).text == "four"
        assert forgetful.remembered
        assert list(model.requests[-1].messages) == list(chat.history())[:-1]


async def test_forgotten_between_two_parts_it_never_sees_half_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = Forgetful(monkeypatch, 0)
    model = scripted(["one", "two", "three", "four"])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model)
        for _ in range(3):
            await chat.say("x" * (CHUNK - 100))
        forgetful.times = 3
        assert (await chat.say("and now")).ended == "answered"
        assert list(model.requests[-1].messages) == list(chat.history())[:-1]


async def test_one_that_forgets_always_fails_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = Forgetful(monkeypatch, 0)
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["one", "two", "three"]))
        for _ in range(2):
            await chat.say("x" * CHUNK)
        forgetful.times = 10**9
        reply = await chat.say("now")
        assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "model_failed")


@pytest.mark.parametrize(("local", "codes"), [(True, set()), ((), {"too_large"})], ids=["direct", "by-bus"])
async def test_results_that_are_large_together_do_not_end_the_conversation(local: Any, codes: set[str]) -> None:
    @tool
    async def much() -> str:
        return "x" * 250_000

    async with Runtime(local=local) as runtime:
        await runtime.serve(much)
        chat = await runtime.converse(
            model=scripted([[("much",)] * 60, "done", "still here"]), limits={"same_call": 60}
        )
        reply = await chat.say("go")
        assert reply.text == "done"
        assert {result.failure.code for result in reply.calls if result.failure} == codes
        assert (await chat.say("you?")).text == "still here"


async def test_what_can_not_be_said_is_refused() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["fine"]))
        with pytest.raises(ToolwireError, match="invalid_message"):
            await chat.say("half a pair: \ud83d")
        assert (await chat.say("whole")).text == "fine"


async def test_a_reply_of_wrong_parts_fails_the_turn() -> None:
    class Odd:
        async def complete(self, request: ModelRequest) -> ModelReply:
            return ModelReply(None)  # type: ignore[arg-type]  # the point

    async with Runtime() as runtime:
        chat = await runtime.converse(model=Odd())
        assert (await chat.say("hi")).ended == "failed"
