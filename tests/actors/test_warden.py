"""A policy at work: in front of every call that is made from here, whichever way it goes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio.testing
from anyio.lowlevel import checkpoint

from toolwire import Agent, Context, Policy, Rule, Runtime, ToolCall, ToolResult, scripted, tool
from toolwire.actors.middleware import Next
from toolwire.actors.warden import Warden

pytestmark = pytest.mark.anyio


@tool(read_only=True, cache=60.0)
async def get(n: int = 0) -> int:
    await checkpoint()
    return n


@tool
async def delete(n: int = 0) -> int:
    return n


@tool
async def through(context: Context, name: str = "delete") -> str:
    result = await context.call(name)
    return "ran" if result.failure is None else result.failure.code


@asynccontextmanager
async def under(*rules: Rule, **options: Any) -> AsyncIterator[Runtime]:
    async with Runtime(policy=Policy(*rules), **options) as runtime:
        await runtime.serve(get, delete, through)
        yield runtime


def code(result: ToolResult[Any]) -> str:
    return "" if result.failure is None else result.failure.code


@pytest.mark.parametrize("options", [{}, {"local": False}], ids=["inside", "over the bus"])
async def test_every_way_of_calling_is_guarded(options: dict[str, Any]) -> None:
    async with under(Rule(deny="delete"), **options) as runtime:
        assert code(await runtime.call("delete")) == "not_allowed"
        many = await runtime.call_many([ToolCall("a", "get"), ToolCall("b", "delete"), ToolCall("c", "get")])
        assert [code(each) for each in many] == ["", "not_allowed", ""]
        assert (await runtime.call(through)).value == "not_allowed"
        chat = await runtime.converse(model=scripted([[("delete", {}), ("get", {})], "done"]), tools=["*"])
        reply = await chat.say("go")
        assert [code(each) for each in reply.calls] == ["not_allowed", ""]
        assert reply.calls[0].attempts == 0


async def test_what_is_not_there_is_not_allowed_either() -> None:
    async with under(Rule(allow="get")) as runtime:
        assert code(await runtime.call("nobody")) == "not_allowed"


async def test_a_cached_result_is_not_given_where_policy_denies() -> None:
    async with under(Rule(caller={"user": "bob"}, deny="get"), Rule(agent="b*", deny="get")) as runtime:
        for name, user, expected in [
            ("a", "ana", ""),
            ("a", "ana", ""),
            ("a", "bob", "not_allowed"),
            ("b", "ana", "not_allowed"),
        ]:
            agent = Agent(name, scripted([("get", {"n": 1}), "done"]), tools=[get])
            chat = await runtime.converse(agent, caller={"user": user})
            assert code((await chat.say("go")).calls[0]) == expected


async def test_no_middleware_gets_round_it() -> None:
    async def renames(call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        return await following(ToolCall(call.id, "delete", call.arguments))

    async with under(Rule(deny="delete")) as runtime:
        runtime.use(renames)
        assert code(await runtime.call("get")) == "not_allowed"


async def test_a_rate_by_caller_says_when_to_come_again() -> None:
    async with under(Rule(name="two an hour", tools="get", rate="2/h", per="caller")) as runtime:
        answers: dict[str, list[str]] = {}
        for user in ("ana", "bob"):
            script = scripted([[("get", {"n": n}) for n in range(3)], "done"])
            chat = await runtime.converse(model=script, tools=[get], caller={"user": user})
            calls = (await chat.say("go")).calls
            answers[user] = [code(each) for each in calls]
            failure = calls[2].failure
            assert failure is not None
            assert failure.details == {"by": "two an hour", "rate": "2/h"}
            assert failure.retry_after == pytest.approx(1800.0, abs=60.0)
        assert answers == {"ana": ["", "", "rate_limited"], "bob": ["", "", "rate_limited"]}


async def test_a_call_that_one_rule_refuses_counts_for_no_other() -> None:
    rules = (Rule(name="many", rate="2/h"), Rule(name="none", tools="delete", rate="1/h"))
    async with under(*rules) as runtime:
        assert code(await runtime.call(delete)) == ""
        refused = (await runtime.call(delete)).failure
        assert refused is not None
        assert refused.details["by"] == "none"
        assert code(await runtime.call(get)) == ""  # of "many" one was left
        assert code(await runtime.call(get, {"n": 1})) == "rate_limited"


async def test_no_more_than_so_many_run_at_once_and_each_place_comes_back() -> None:
    inside, let_go, entered = [0], anyio.Event(), anyio.Event()

    @tool
    async def slow() -> int:
        inside[0] += 1
        if inside[0] == 2:
            entered.set()
        await let_go.wait()
        return 1

    async with under(Rule(name="two", tools="slow", concurrency=2)) as runtime:
        await runtime.serve(slow)
        results: list[ToolResult[Any]] = []

        async def call() -> None:
            results.append(await runtime.call(slow))

        for outcome in ("", "cancelled"):
            inside[0], let_go, entered = 0, anyio.Event(), anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                tasks.start_soon(call)
                await entered.wait()
                third = (await runtime.call(slow)).failure
                assert third is not None
                assert (third.code, third.details["by"], third.effect) == ("rate_limited", "two", "none")
                if outcome:
                    tasks.cancel_scope.cancel()
                else:
                    let_go.set()
        warden = runtime._means.warden
        assert warden is not None
        assert warden._running == {}
        assert [code(each) for each in results] == ["", ""]


async def test_a_rule_may_ask_for_a_person_at_the_process_that_serves_the_tool() -> None:
    async with under(Rule(name="careful", confirm="delete", tools="delete", rate="1/h")) as runtime:
        failure = (await runtime.call(delete, {"n": 3})).failure
        assert failure is not None
        assert (failure.code, failure.details["reason"]) == ("confirmation_required", "careful asks for that")
        # it was counted when it was asked for
        assert (await runtime.confirm(failure.details["token"])).value == 3
        assert code(await runtime.call(delete)) == "rate_limited"


async def test_a_confirmed_call_of_a_tool_that_is_denied_by_then_does_not_run() -> None:
    async with under(Rule(confirm="delete")) as runtime:
        failure = (await runtime.call(delete)).failure
        assert failure is not None
        warden = runtime._means.warden
        assert warden is not None
        warden.policy, before = Policy(Rule(deny="delete")), warden.policy
        assert code(await runtime.confirm(failure.details["token"])) == "not_allowed"
        warden.policy = before
        assert (await runtime.confirm(failure.details["token"])).ok  # it was not spent


def test_nobody_who_came_long_ago_is_remembered() -> None:
    async def main() -> None:
        async with Runtime(policy=Policy(Rule(rate="1/s", per="caller"))) as runtime:
            await runtime.serve(get)
            warden = runtime._means.warden
            assert warden is not None
            meter = warden._meters[0]
            meter._keys = 10
            for n in range(100):
                chat = await runtime.converse(model=scripted([("get", {}), "."]), tools=[get], caller={"n": n})
                assert (await chat.say("go")).calls[0].ok
                await trio.sleep(0.5)
            assert len(meter) <= 10

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_it_shows_what_runs() -> None:
    assert repr(Warden(Policy(Rule(name="r")), lambda: 0.0)) == "<Warden <Policy r> [running: 0]>"
