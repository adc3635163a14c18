"""An agent as a tool of another: its own conversation, the caller's time, and no endless nesting."""

from secrets import token_hex
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire import (
    Agent,
    Context,
    Limits,
    ModelReply,
    Price,
    Runtime,
    ToolCall,
    Usage,
    run_plan,
    scripted,
    spoken,
    tool,
)

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


@pytest.mark.parametrize("output", [None, dict[str, int]])
@pytest.mark.parametrize("limits", [Limits(rounds=2), Limits(calls=1)])
async def test_the_last_answer_that_its_limits_allow_is_its_answer(output: Any, limits: Limits) -> None:
    model = scripted([("whose",), '{"found":1}'])
    helper = Agent("helper", model, tools=[whose], limits=limits, last_answer=True, output=output)
    async with Runtime() as runtime:
        await runtime.serve(helper)
        result = await runtime.call("helper", {"message": "?"})
        assert result.value == ('{"found":1}' if output is None else {"found": 1})


@pytest.mark.parametrize("last", [[("whose",)], "no number"], ids=["calls all the same", "does not fit"])
async def test_without_a_last_answer_it_has_none(last: Any) -> None:
    model = scripted([("whose",), last])
    helper = Agent("helper", model, tools=[whose], limits={"rounds": 2}, last_answer=True, output=dict[str, int])
    async with Runtime() as runtime:
        await runtime.serve(helper)
        assert not (await runtime.call("helper", {"message": "?"})).ok


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


@pytest.mark.parametrize(
    ("limits", "most"), [({}, 300.0), ({"seconds": 100.0}, 100.0), (lambda _caller: {"seconds": 500.0}, 500.0)]
)
def test_it_has_the_time_of_its_own_limits_and_not_that_of_any_call(limits: Any, most: float) -> None:
    async def main() -> None:
        slow = Agent("slow", scripted([spoken("at last", then=90.0), spoken("too late", then=900.0)]), limits=limits)
        model = scripted([("slow", {"message": "?"}), ("slow", {"message": "!"}), "done"])
        async with Runtime() as runtime:
            chat = await runtime.converse(model=model, tools=[slow], limits={"seconds": 900.0})
            at_last, late = (await chat.say("ask")).calls
            assert at_last.value == "at last"
            assert at_last.seconds == pytest.approx(90.0)
            assert late.failure
            assert late.failure.code == "timed_out"
            assert late.seconds == pytest.approx(most)

    trio.run(main, clock=MockClock(autojump_threshold=0))


USED = Usage(100, 10)


def asking(agent: str, number: int) -> ModelReply:
    """A reply that asks an agent."""
    return ModelReply("", (ToolCall(f"c{number}", agent, {"message": "?"}),), USED, "calls", (), "m")


async def test_what_it_used_counts_for_whoever_asked() -> None:
    inner = Agent("inner", scripted([ModelReply("deep", usage=Usage(5, 5), model="m")]), tools=[])
    helper = Agent("helper", scripted([asking("inner", 1), ModelReply("four", usage=USED, model="m")]), tools=[inner])
    boss = Agent("boss", scripted([asking("helper", 1), ModelReply("4", usage=USED, model="m")]), tools=[helper])
    async with Runtime(prices={"m": Price(1_000_000, 0)}) as runtime:
        reply = await (await runtime.converse(boss)).say("2+2")
        assert reply.calls[0].usage == Usage(205, 25, cost=205.0)
        assert reply.usage == Usage(405, 45, cost=405.0)


async def test_what_it_used_counts_for_the_limits_of_whoever_asked() -> None:
    limited: list[tuple[Limits, str]] = [({"input_tokens": 1_000}, "tokens"), ({"cost": 0.001}, "cost")]
    async with Runtime(prices={"m": Price(1, 1)}) as runtime:
        helper = Agent("helper", scripted([ModelReply("x", usage=Usage(1_000), model="m")] * 2), tools=[])
        for limits, ended in limited:
            model = scripted([asking("helper", n) for n in range(3)])
            chat = await runtime.converse(model=model, tools=[helper], limits=limits)
            reply = await chat.say("go")
            assert (reply.ended, reply.rounds, [result.ok for result in reply.calls]) == (ended, 2, [True, False])


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("then", [ModelReply("4", usage=USED, model="m"), None])
async def test_a_limit_of_cost_is_not_kept_by_what_nobody_knows_the_price_of(
    then: ModelReply | None, *, elsewhere: bool
) -> None:
    """An agent whose model has no price, or which is served where there are no prices, is not for nothing."""
    url = f"memory://{token_hex(4)}"
    helper = Agent("helper", scripted([ModelReply("x", usage=USED, model="m" if elsewhere else "free")]), tools=[])
    async with Runtime(url, prices={"m": Price(1, 1)}) as runtime, Runtime(url) as other:
        await (other if elsewhere else runtime).serve(helper)
        await runtime.discover()
        model = scripted([asking("helper", 1), then or asking("helper", 2)])
        reply = await (await runtime.converse(model=model, tools=["*"], limits={"cost": 1.0})).say("go")
        assert reply.ended == "failed"
        assert reply.failure is not None
        assert (reply.failure.code, reply.failure.details) == ("limit_reached", {"by": "cost"})
        assert "an agent that was called has asked a model without a price" in reply.failure.message
        assert reply.usage.unpriced == 1
        assert [result.ok for result in reply.calls] == ([True] if then else [True, False])


async def test_what_it_used_is_told_though_it_did_not_answer() -> None:
    helper = Agent("helper", scripted([asking("nowhere", 1)] * 9), tools=[], limits={"rounds": 2})
    async with Runtime() as runtime:
        await runtime.serve(helper)
        result = await runtime.call("helper", {"message": "?"})
        assert not result.ok
        assert result.usage == Usage(200, 20, unpriced=2)


async def test_a_tool_that_asks_a_model_by_itself_says_what_it_used() -> None:
    @tool
    async def search(context: Context) -> str:
        context.used(Usage(1, 1))
        context.used(Usage(2, 2))
        return "found"

    @tool
    async def through(context: Context) -> str:
        return str((await context.call("search")).value)

    async with Runtime() as runtime:
        await runtime.serve(search, through)
        assert (await runtime.call(search)).usage == Usage(3, 3)
        assert (await runtime.call(through)).usage == Usage(3, 3)
        steps = [{"id": "a", "tool": "search"}, {"id": "b", "tool": "search"}]
        await runtime.serve(run_plan)
        assert (await runtime.call("run_plan", {"steps": steps})).usage == Usage(6, 6)


@pytest.mark.parametrize("way", ["interrupt", "cancel"])
async def test_who_interrupts_or_cancels_the_turn_that_asked_reaches_it(way: str) -> None:
    ended: list[str] = []
    began = anyio.Event()

    @tool
    async def work() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    helper = Agent("helper", scripted([("work",)]), tools=[work])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([("helper", {"message": "?"}), "fine"]), tools=[helper])
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(chat.say, "go")
                await began.wait()
                if way == "interrupt":
                    assert await chat.interrupt()
                else:
                    scope.cancel()
        assert ended == ["work"]
        assert (await chat.say("again")).text == "fine"
