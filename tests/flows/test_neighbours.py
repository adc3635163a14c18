"""Two runtimes on one bus: tools live in one, the conversation in the other."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Agent, CallProgress, CallStarted, Context, Runtime, ToolCall, scripted, tool

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    return a + b


@tool
async def where(context: Context) -> str:
    return context.system.bus.instance


@asynccontextmanager
async def neighbours(bus: Any, *things: Any) -> AsyncIterator[tuple[Runtime, Runtime]]:
    """A worker that serves `things`, and a host that knows of them."""
    async with bus.open(*things) as worker, bus.open() as host:
        await knows(host, *worker.tools)
        yield worker, host


async def knows(runtime: Runtime, *names: str) -> None:
    """Wait until `runtime` has heard of these tools, and of no others."""
    while set(runtime.tools) != set(names):
        await checkpoint()


async def test_a_conversation_calls_tools_of_the_other(shared_bus: Any, valid: Any) -> None:
    model = scripted([[("add", {"a": 1, "b": 2}), ("where",)], "done"])
    async with neighbours(shared_bus, add, where) as (worker, host):
        assert dict(host.tools) == dict(worker.tools)
        chat = await host.converse(model=model, tools=["*"])
        reply = await chat.say("?")
        assert [result.value for result in reply.calls] == [3, worker.system.bus.instance]
        assert {result.worker for result in reply.calls} == {worker.system.bus.instance}
        assert valid(chat, model)
    assert [spec.name for spec in model.requests[0].tools] == ["add", "where"]


async def test_without_patterns_only_the_own_tools_are_offered(shared_bus: Any) -> None:
    model = scripted(["nothing", "something"])
    async with neighbours(shared_bus, add) as (_, host):
        await (await host.converse(model=model)).say("?")
        await (await host.converse(model=model, tools=["a*"])).say("?")
    assert [[spec.name for spec in request.tools] for request in model.requests] == [[], ["add"]]


async def test_the_host_refuses_what_does_not_fit_before_it_sends(shared_bus: Any) -> None:
    ran: list[int] = []

    @tool
    async def strict(n: int) -> None:
        ran.append(n)

    async with neighbours(shared_bus, strict) as (_, host):
        result = await host.call("strict", {"n": "one"})
        assert result.failure is not None
        assert (result.failure.code, result.attempts, result.worker) == ("invalid_arguments", 0, "")
    assert ran == []


async def test_calls_depend_on_each_other_across_runtimes(shared_bus: Any) -> None:
    @tool
    async def double(n: int) -> int:
        return 2 * n

    async with neighbours(shared_bus, add) as (_, host):
        await host.serve(double)
        calls = [
            ToolCall("a", "add", {"a": 1, "b": 2}),
            ToolCall("b", "double", {"n": {"$result": "a"}}),
            ToolCall("c", "add", {"a": {"$result": "b"}, "b": {"$result": "a"}}),
        ]
        assert [result.value for result in await host.call_many(calls)] == [3, 6, 9]


async def test_an_object_of_the_other_keeps_the_order(shared_bus: Any) -> None:
    class Journal:
        def __init__(self) -> None:
            self.lines: list[int] = []

        async def write(self, line: int) -> list[int]:
            await checkpoint()
            self.lines.append(line)
            return list(self.lines)

    async with neighbours(shared_bus, Journal()) as (_, host):
        results = await host.call_many([ToolCall(f"{n}", "write", {"line": n}) for n in range(20)])
        assert [result.value for result in results] == [list(range(n + 1)) for n in range(20)]


async def test_calls_of_both_run_side_by_side(shared_bus: Any) -> None:
    meeting = shared_bus.meeting(2)

    @tool
    async def there() -> None:
        await meeting.join()

    @tool
    async def here() -> None:
        await meeting.join()

    async with neighbours(shared_bus, there) as (_, host):
        await host.serve(here)
        results = await host.call_many([ToolCall("1", "there"), ToolCall("2", "here")])
        assert all(result.ok for result in results)


async def test_a_tool_of_the_other_tells_how_far_it_is_and_is_cancelled(shared_bus: Any, valid: Any) -> None:
    cancelled = anyio.Event()

    @tool
    async def endless(context: Context) -> None:
        try:
            await context.progress(1, 2, "half")
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    model = scripted([("endless",), "back"])
    async with neighbours(shared_bus, endless) as (_, host):
        chat = await host.converse(model=model, tools=["*"])
        kinds: list[type] = []
        async with chat.stream("Go") as stream:
            async for event in stream:
                kinds.append(type(event))
                if isinstance(event, CallProgress):
                    break
        assert kinds == [CallStarted, CallProgress]
        await cancelled.wait()
        assert (await chat.say("And now?")).text == "back"
        assert valid(chat, model)


async def test_a_tool_calls_a_tool_of_the_other_and_both_know_the_caller(shared_bus: Any) -> None:
    seen: list[Any] = []

    @tool
    async def inner(context: Context) -> str:
        seen.append((context.caller, context.conversation))
        return "inner"

    @tool
    async def outer(context: Context) -> str:
        seen.append((context.caller, context.conversation))
        result = await context.call("inner")
        return f"outer, {result.value}"

    async with neighbours(shared_bus, outer) as (worker, host):
        await host.serve(inner)
        await knows(worker, "outer", "inner")
        model = scripted([("outer",), "done"])
        chat = await host.converse(Agent("a", model, tools=["*"]), id="c-1", caller={"user": "u1"})
        reply = await chat.say("?")
        assert [result.value for result in reply.calls] == ["outer, inner"]
    assert seen == [({"user": "u1"}, "c-1")] * 2


async def test_no_two_calls_share_an_idempotency_key_across_runtimes(shared_bus: Any) -> None:
    keys: list[str] = []

    @tool
    async def pay(context: Context) -> None:
        keys.append(context.idempotency_key)

    @tool
    async def shop(context: Context) -> None:
        assert (await context.call("pay")).ok

    async with neighbours(shared_bus, pay, shop) as (_, host):
        for _ in range(2):
            model = scripted([[ToolCall("a", "pay"), ToolCall("b", "shop")], "paid"])
            await (await host.converse(model=model, tools=["*"])).say("Pay")
        await host.call("pay")
    assert len(keys) == 5
    assert len(set(keys)) == 5


async def test_two_who_serve_the_same_tool_share_the_work(shared_bus: Any) -> None:
    async with neighbours(shared_bus, where) as (one, host), shared_bus.open(where) as two:
        while len(host.tools.entries["where"].instances) < 2:
            await checkpoint()
        results = await host.call_many([ToolCall(f"{n}", "where") for n in range(20)])
        instances = [result.value for result in results]
        assert {instances.count(runtime.system.bus.instance) for runtime in (one, two)} == {10}


async def test_one_of_two_leaves_and_the_other_goes_on(shared_bus: Any) -> None:
    async with neighbours(shared_bus, where) as (one, host):
        async with shared_bus.open(where):
            while len(host.tools.entries["where"].instances) < 2:
                await checkpoint()
        results = await host.call_many([ToolCall(f"{n}", "where") for n in range(6)])
        assert {result.value for result in results} == {one.system.bus.instance}


async def test_the_last_one_leaves_and_a_new_one_comes(shared_bus: Any, valid: Any) -> None:
    call = ("add", {"a": 1, "b": 1})
    model = scripted([call, "there", call, "gone", call, "there again"])
    async with shared_bus.open() as host:
        chat = await host.converse(model=model, tools=["*"])
        async with shared_bus.open(add):
            await knows(host, "add")
            assert [result.ok for result in (await chat.say("?")).calls] == [True]
        await knows(host)
        reply = await chat.say("?")
        assert reply.text == "gone"
        [result] = reply.calls
        assert result.failure is not None
        assert result.failure.code in {"unreachable", "unknown_tool"}
        async with shared_bus.open(add):
            await knows(host, "add")
            reply = await chat.say("?")
            assert ([result.value for result in reply.calls], reply.text) == ([2], "there again")
            assert valid(chat, model)
    assert [len(request.tools) for request in model.requests] == [1, 1, 0, 0, 1, 1]


async def test_an_agent_of_the_other_is_a_tool(shared_bus: Any, valid: Any) -> None:
    inner = scripted([("add", {"a": 20, "b": 1}), "it is 21"])
    outer = scripted([("adder", {"message": "20 + 1?"}), "21, it says"])
    async with neighbours(shared_bus, add, Agent("adder", inner, tools=["add"])) as (_, host):
        chat = await host.converse(model=outer, tools=["adder"])
        reply = await chat.say("?")
        assert ([result.value for result in reply.calls], reply.text) == (["it is 21"], "21, it says")
        assert valid(chat, outer)


async def test_namespaces_are_apart(nats_url: str) -> None:
    with anyio.fail_after(10):
        async with (
            Runtime(nats_url, namespace=secrets.token_hex(4)) as one,
            Runtime(nats_url, namespace=secrets.token_hex(4)) as two,
        ):
            await one.serve(add)
            await two.discover()
            assert dict(two.tools) == {}
            result = await two.call("add", {"a": 1, "b": 1})
            assert result.failure is not None
            assert result.failure.code == "unreachable"
            assert result.seconds < 2.0


async def test_three_hundred_tools_are_announced(shared_bus: Any) -> None:
    """Specs of 3 MiB altogether, which no single message over NATS could carry."""

    def made(n: int) -> Any:
        return tool(name=f"tool_{n}", description="x" * 10_000)(add.function)

    async with neighbours(shared_bus, *map(made, range(300))) as (_, host):
        assert (await host.call("tool_299", {"a": 1, "b": 2})).value == 3
        model = scripted(["fine"])
        await (await host.converse(model=model, tools=["*"])).say("tool_7")
    assert 0 < len(model.requests[0].tools) <= 128
