"""An agent as a tool of another: its own conversation, the caller's time, and no endless nesting."""

from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import Agent, Context, Runtime, scripted, tool

pytestmark = pytest.mark.anyio


@tool
async def whose(context: Context) -> Any:
    return [context.caller, bool(context.conversation)]


@tool
async def forever() -> None:
    await anyio.sleep_forever()


async def test_it_has_one_parameter_and_answers_with_its_text() -> None:
    helper = Agent("helper", scripted(["four", "five"]), "You add numbers.\n\nSecretly.", tools=[])
    async with Runtime() as runtime:
        await runtime.serve(helper)
        spec = runtime.tools["helper"]
        assert list(spec.parameters["properties"]) == ["message"]
        assert spec.description == "Ask the agent helper. You add numbers."
        assert (await runtime.call("helper", {"message": "2+2"})).value == "four"
        assert (await runtime.call("helper", {"message": "2+3"})).value == "five"
        assert [len(request.messages) for request in helper.model.requests] == [2, 2]  # type: ignore[union-attr]  # scripted
        assert repr(runtime) == "<Runtime memory:// [tools: 1 | conversations: 0]>"


async def test_an_agent_among_the_tools_of_another() -> None:
    helper = Agent("helper", scripted([("whose",), "it was u1"]), tools=[whose])
    boss = Agent("boss", scripted([("helper", {"message": "who?"}), "u1, says helper", "again"]), tools=[helper])
    async with Runtime() as runtime:
        chat = await runtime.converse(boss, caller="u1")
        reply = await chat.say("who am I?")
        assert reply.text == "u1, says helper"
        assert reply.calls[0].value == "it was u1"
        heard = helper.model.requests[1].messages[-1]  # type: ignore[union-attr]  # scripted
        assert heard.content == '["u1",true]'
        assert (await (await runtime.converse(boss)).say("again")).text == "again"


@pytest.mark.parametrize(
    ("script", "code"),
    [([RuntimeError("no")], "model_failed"), ([], "model_failed"), ([("nowhere",)] * 20, "failed")],
    ids=["raises", "silent", "rounds"],
)
async def test_one_that_does_not_answer_is_a_failed_call(script: list[Any], code: str) -> None:
    async with Runtime() as runtime:
        await runtime.serve(Agent("helper", scripted(script), tools=[]))
        failure = (await runtime.call("helper", {"message": "?"})).failure
        assert failure is not None
        assert failure.code == code


async def test_agents_do_not_nest_for_ever() -> None:
    asked: list[int] = []

    def asks_itself(request: Any) -> Any:
        asked.append(len(asked))
        return ("loop", {"message": "deeper"})

    loop = Agent("loop", scripted([asks_itself] * 50), tools=["loop"], limits={"rounds": 2})
    async with Runtime() as runtime:
        await runtime.serve(loop)
        with anyio.fail_after(10):
            result = await runtime.call("loop", {"message": "go"})
        assert result.failure is not None
        assert len(asked) <= 10


def test_it_has_no_more_time_than_its_caller_and_leaves_nothing_behind() -> None:
    async def main() -> None:
        helper = Agent("helper", scripted([("forever",)]), tools=[forever])
        async with Runtime() as runtime:
            await runtime.serve(helper)
            began = trio.current_time()
            result = await runtime.call("helper", {"message": "?"}, timeout=5.0)
            assert trio.current_time() - began == pytest.approx(5.0)
            assert result.failure is not None
            assert result.failure.code == "timed_out"

    trio.run(main, clock=MockClock(autojump_threshold=0))
