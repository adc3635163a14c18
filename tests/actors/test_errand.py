"""A batch whose calls wait for a person, as the executor runs it: held, released, ended, and run again."""

from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from toolwire import Runtime, ToolCall, ToolResult, tool
from toolwire.protocol.events import CallFinished, CallStarted, ConfirmationWanted, Event
from toolwire.protocol.failures import failed
from toolwire.protocol.messages import AnswerCall, BatchEnded, Decision, RunBatch

pytestmark = pytest.mark.anyio

where: ContextVar[str] = ContextVar("where", default="outside")
gate: list[anyio.Event] = []


@tool(confirm=True)
async def risky(n: int) -> str:
    return f"{n} from {where.get()}"


@tool
async def gated() -> str:
    await gate[0].wait()
    return "through"


CALLS = (
    ToolCall("a", "risky", '{"n": 1}'),
    ToolCall("b", "gated"),
    ToolCall("c", "risky", '{"n": {"$result": 1}}'),
)


async def answered(runtime: Runtime, token: str, *, approved: bool = True) -> bool:
    asked = AnswerCall("batch", Decision(token, approved))
    return (await runtime.system.context().ask(runtime._means.executor, asked)).known


async def test_held_released_and_at_its_end() -> None:
    gate[:] = [anyio.Event()]
    heard: list[Event] = []
    ended: list[BatchEnded] = []
    token = ""
    async with Runtime() as runtime:
        await runtime.serve(risky, gated)

        async def run() -> None:
            where.set("inside")
            batch = RunBatch(CALLS, references=True, events=True, name="batch")
            ended.append(await runtime.system.context().ask(runtime._means.executor, batch, hear=heard.append))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            (wanted,) = [event.pending for event in heard if isinstance(event, ConfirmationWanted)]
            token = wanted.token
            assert not await answered(runtime, "another")
            assert await answered(runtime, token)
            assert not await answered(runtime, token)
            await anyio.wait_all_tasks_blocked()
            gate[0].set()
        first, second, third = ended[0].results
        assert first.value == "1 from inside"  # not from whoever answered
        assert second.value == "through"
        assert third.failure is not None  # its number is no number: refused without asking
        assert third.failure.code == "invalid_arguments"
        assert not await answered(runtime, token)
    assert [event.id for event in heard if isinstance(event, CallStarted)].count("a") == 1
    assert [event.result.id for event in heard if isinstance(event, CallFinished)] == ["a", "c", "b"]


async def test_run_again_with_what_stands_and_what_was_decided() -> None:
    gate[:] = [anyio.Event()]
    gate[0].set()
    calls = (*CALLS[:2], ToolCall("d", "risky", '{"n": 4}'))
    async with Runtime() as runtime:
        await runtime.serve(risky, gated)
        context = runtime.system.context()
        ended = await context.ask(runtime._means.executor, RunBatch(calls, name="batch"))
        first, second, third = ended.results
        assert first.failure is not None
        assert third.failure is not None
        decisions = {0: Decision(first.failure.details["token"], approved=True)}
        heard: list[Event] = []
        batch = RunBatch(calls, events=True, name="batch", ended=(None, second, third), decisions=decisions)
        again = await context.ask(runtime._means.executor, batch, hear=heard.append)
        assert again.results[0].content == '"1 from outside"'
        assert again.results[1:] == (second, third)  # as they were, with the token that a person has seen
        assert [type(event) for event in heard] == [CallFinished]


async def test_a_token_is_asked_for_once() -> None:
    asked: list[ToolResult[Any]] = []

    async def always(call: ToolCall, _context: Any, _next: Any) -> ToolResult[Any]:
        failure = failed("confirmation_required", "again and again", token="same")
        asked.append(ToolResult(call.id, call.name, None, failure, 0))
        return asked[-1]

    async with Runtime() as runtime:
        await runtime.serve(risky)
        runtime.use(always)
        decisions = {0: Decision("same", approved=True)}
        batch = RunBatch(CALLS[:1], events=True, name="batch", ended=(None,), decisions=decisions)
        heard: list[Event] = []
        ended = await runtime.system.context().ask(runtime._means.executor, batch, hear=heard.append)
        assert len(asked) == 1
        assert [result.failure and result.failure.code for result in ended.results] == ["confirmation_required"]
        assert [type(event) for event in heard] == [CallFinished]
