"""The runtime as a program sees it."""

import gc
import os
import re
import signal
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from toolwire import (
    Agent,
    AssistantMessage,
    CallFailed,
    Context,
    Limits,
    Misuse,
    Runtime,
    ToolCall,
    ToolResult,
    ToolwireError,
    UserMessage,
    run,
    scripted,
    tool,
)
from toolwire.actors.conversations import LATELY
from toolwire.actors.models.contract import ModelReply, ModelRequest
from toolwire.runtime.bus import Bus
from toolwire.runtime.bus.embedded import embedded_server

pytestmark = pytest.mark.anyio


@tool
async def double(x: int) -> int:
    return 2 * x


@tool
async def whoami(context: Context) -> Any:
    return [context.caller, context.conversation]


def triple(x: int) -> int:
    return 3 * x


class Box:
    def put(self, x: int) -> int:
        return x


def failure_code(result: ToolResult[Any]) -> str:
    return result.failure.code if result.failure else ""


async def test_it_says_what_it_is() -> None:
    runtime = Runtime()
    assert repr(runtime) == "<Runtime memory:// [tools: 0 | conversations: 0]>"
    async with runtime:
        served = await runtime.serve(double, Box())
        chat = await runtime.converse(model=scripted([]), id="c")
        assert repr(runtime) == "<Runtime memory:// [tools: 2 | conversations: 1]>"
        assert repr(served) == "<Served double, put>"
        assert served.tools == ("double", "put")
        await chat.close()
        await served.stop()
        assert repr(runtime) == "<Runtime memory:// [tools: 0 | conversations: 0]>"


async def test_a_call_by_the_tool_and_by_its_name() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        typed: ToolResult[int] = await runtime.call(double, {"x": 4})
        assert typed.value == 8
        assert (await runtime.call("double", {"x": 4})).value == 8
        assert typed.worker == runtime.system.bus.instance
        assert typed.seconds > 0


async def test_every_failure_is_in_the_result() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        assert failure_code(await runtime.call("nowhere")) == "unknown_tool"
        assert failure_code(await runtime.call("double", {"x": "no"})) == "invalid_arguments"
        assert failure_code(await runtime.call("double", {"x": object()})) == "invalid_arguments"
        assert failure_code(await runtime.call("double", {"x": "\ud800"})) == "invalid_arguments"
        assert failure_code(await runtime.call("double", {"x": "x" * 2**21})) == "too_large"
        assert failure_code(await runtime.call("double", {"x": "x" * 2**24})) == "too_large"
        assert failure_code(await runtime.call("half: \ud800")) == "invalid_call"
        assert failure_code(await runtime.call("double", {"x": 1}, timeout=-1)) == "timed_out"
        with pytest.raises(CallFailed):
            _ = (await runtime.call("nowhere")).value


async def test_many_calls_with_references_by_id_and_by_position() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        calls = [
            ToolCall("c", "double", {"x": {"$result": "b"}}),
            ToolCall("b", "double", {"x": {"$result": "a"}}),
            ToolCall("a", "double", {"x": 1}),
            ToolCall("d", "double", {"x": {"$result": 3}}),
        ]
        assert [result.value for result in await runtime.call_many(calls)] == [8, 4, 2, 4]


async def test_one_call_whose_arguments_are_no_json_leaves_the_others_alone() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        calls = [
            ToolCall("a", "double", {"x": {1, 2}}),
            ToolCall("b", "double", {"x": object()}),
            ToolCall("c", "double", {"x": 1}),
        ]
        results = await runtime.call_many(calls)
        assert [failure_code(result) for result in results] == ["invalid_arguments", "invalid_arguments", ""]
        assert [result.id for result in results] == ["a", "b", "c"]


async def test_a_cycle_fails_the_calls_on_it_and_no_other() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        calls = [
            ToolCall("a", "double", {"x": {"$result": "b"}}),
            ToolCall("b", "double", {"x": {"$result": "a"}}),
            ToolCall("c", "double", {"x": 1}),
        ]
        results = await runtime.call_many(calls)
        assert [failure_code(result) for result in results] == ["invalid_reference", "invalid_reference", ""]


async def test_a_name_is_served_once_and_both_are_named() -> None:
    @tool(name="double")
    async def other(x: int) -> int:
        return x

    async with Runtime() as runtime:
        served = await runtime.serve(double)
        for things in ((other,), (triple, other)):
            with pytest.raises(
                Misuse, match=r"'double' is served twice: by .*double and by .*other; give one a prefix"
            ):
                await runtime.serve(*things)
        assert set(runtime.tools) == {"double"}
        await runtime.serve(other, prefix="my")
        await served.stop()
        await served.stop()
        await runtime.serve(other)
        assert (await runtime.call("double", {"x": 1})).value == 1


async def test_two_of_one_name_at_once_serve_neither() -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="served twice"):
            await runtime.serve(Box(), Box())
        assert not runtime.tools
        await runtime.serve(Box())


async def test_stopped_it_is_unknown() -> None:
    async with Runtime() as runtime:
        served = await runtime.serve(double)
        await served.stop()
        assert failure_code(await runtime.call(double, {"x": 1})) == "unknown_tool"


async def test_one_that_is_open_is_not_entered_again() -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="the runtime is open already"):
            await runtime.__aenter__()
        await runtime.serve(double)
        assert (await runtime.call(double, {"x": 2})).value == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agent": "openai:gpt-5.1"}, "converse(agent) takes an Agent, converse(model=…) a model or its name"),
        ({"agent": scripted([])}, "is no agent"),
        ({"agent": Agent}, "is no agent"),
        ({"id": 5}, "the id of a conversation is a text of its own, not 5"),
        ({"id": ""}, "the id of a conversation is a text of its own, not ''"),
        ({"history": 5}, "history is a History or a list of messages, not int"),
        ({"history": '{"toolwire_history":1,"messages":[]}'}, "History.from_json(…) reads a document"),
        ({"history": {"messages": []}}, "list of messages, not dict"),
    ],
)
async def test_what_is_no_conversation_is_refused_in_a_sentence(options: dict[str, Any], said: str) -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match=re.escape(said)):
            await runtime.converse(**{"model": scripted([]), **options})


@tool
async def of_others(what: str, context: Context) -> Any:
    """Call something else, as a program would by mistake."""
    return (await context.call(print if what == "print" else "double", [1])).value  # type: ignore[arg-type]  # the mistake


async def test_what_is_no_call_is_refused_in_a_sentence() -> None:
    no_tool = "a call is of a tool, which @tool makes of a function, or of a tool's name, not of <built-in function"
    no_dict = "the arguments of a call are a dict, by the names of its parameters, not "
    call: Any
    async with Runtime() as runtime:
        call = runtime.call
        await runtime.serve(of_others)
        with pytest.raises(Misuse, match=re.escape(no_tool)):
            await call(print, {})
        with pytest.raises(Misuse, match=re.escape(no_dict + "'Paris'")):
            await call(of_others, "Paris")
        for what, said in (("print", no_tool), ("double", no_dict)):
            result = await call(of_others, {"what": what})
            assert said in result.failure.message


async def test_an_agent_is_called_by_itself_as_by_its_name() -> None:
    helper: Any = Agent("helper", scripted(["four"]))
    async with Runtime() as runtime:
        await runtime.serve(helper)
        assert (await runtime.call(helper, {"message": "2+2"})).value == "four"


async def test_in_another_thread_it_is_refused_before_anybody_waits_for_ever(anyio_backend_name: str) -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted(["Hello."]))
        named = await runtime.converse(model=scripted([]), id="c")

        async def stream() -> None:
            async with chat.stream("Hi"):
                pass

        ways = (
            partial(chat.say, "Hi"),
            chat.interrupt,
            chat.branch,
            named.close,
            stream,
            partial(runtime.call, double, {"x": 1}),
            partial(runtime.call_many, []),
            partial(runtime.converse, model="openai:gpt-5.1"),
            partial(runtime.serve, print),
        )
        for way in ways:
            elsewhere = partial(anyio.run, way, backend=anyio_backend_name)
            with pytest.raises(Misuse, match="belongs to the event loop of another thread"):
                await anyio.to_thread.run_sync(partial(in_a_new_thread, elsewhere))
        assert (await anyio.to_thread.run_sync(anyio.from_thread.run, chat.say, "Hi")).text == "Hello."
        assert len(chat.history()) == 2


def in_a_new_thread(work: Callable[[], Any]) -> Any:
    """What `work` gives or raises in a thread that no event loop knows."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


async def test_a_stream_is_entered_once() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["a", "b"]))
        stream = chat.stream("Hello")
        async with stream as events:
            assert [type(event).__name__ async for event in events] == ["TextDelta", "TurnFinished"]
        with pytest.raises(Misuse, match="makes another"):
            await stream.__aenter__()
        assert len(chat.history()) == 2


async def test_run_is_not_for_those_who_have_an_event_loop() -> None:
    with pytest.raises(Misuse, match="for programs without an event loop"):
        run(Agent("a", scripted(["b"])), "Hello")


async def test_before_it_is_entered_and_after_it_is_left_it_is_closed() -> None:
    runtime = Runtime()
    served = None
    for _ in range(2):
        for use in (
            lambda: runtime.call("double"),
            lambda: runtime.call_many([]),
            lambda: runtime.serve(double),
            lambda: runtime.converse(model=scripted([])),
        ):
            with pytest.raises(Misuse, match="the runtime is not open"):
                await use()
        async with runtime:
            served = await runtime.serve(double)
    assert served is not None
    await served.stop()


async def test_a_conversation_is_opened_once_by_its_id() -> None:
    model = scripted(["one", "two"])
    async with Runtime() as runtime:
        chats: list[Any] = []

        async def open_one() -> None:
            chats.append(await runtime.converse(model=model, id="c"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(open_one)
        assert len({id(chat) for chat in chats}) == 1
        assert chats[0].id == "c"
        first, second = await runtime.converse(model=model), await runtime.converse(model=model)
        assert first.id != second.id


async def test_at_once_they_open_one_conversation_serve_a_tool_once_and_make_one_model(nats_url: str) -> None:
    agent = Agent("a", scripted([]), tools=[double])
    async with Runtime(nats_url, namespace="at_once") as runtime:
        chats: list[Any] = []

        async def converse(id: str | None) -> None:  # noqa: A002 - the public name
            chats.append(await runtime.converse(agent, id=id))

        async with anyio.create_task_group() as tasks:
            for identity in ("c", "c", None, None):
                tasks.start_soon(converse, identity)
        assert len(set(chats)) == 3
        assert list(runtime.tools) == ["double"]
        assert len({id(chat._conversation._asks) for chat in chats}) == 1  # one actor of the model for all


async def test_stopped_it_is_let_go() -> None:
    async with Runtime() as runtime:
        box = Box()
        gone = weakref.ref(box)
        served = await runtime.serve(box)
        await served.stop()
        del box, served
        gc.collect()
        assert gone() is None


async def test_a_broker_that_went_away_is_told_as_a_failure(tmp_path: Path) -> None:
    async with AsyncExitStack() as broker:
        url = await broker.enter_async_context(embedded_server(tmp_path))
        async with Runtime(url) as runtime:
            served = await runtime.serve(double)
            await broker.aclose()
            for act in (lambda: runtime.serve(triple), lambda: runtime.converse(model=scripted([]), id="c")):
                with pytest.raises(ToolwireError) as raised:
                    await act()
                assert raised.value.failure.code == "unreachable"
            await served.stop()
            assert not runtime.tools


async def test_a_call_that_runs_when_its_worker_leaves_may_still_call_others(nats_url: str) -> None:
    started, leave = anyio.Event(), anyio.Event()

    @tool
    async def twice(context: Context) -> Any:
        started.set()
        await leave.wait()
        return (await context.call(double, {"x": 21})).value

    async def work() -> None:
        async with Runtime(nats_url, namespace="leaves") as worker:
            await worker.serve(twice, double)
            await started.wait()
            leaving = worker.system.bus
            tasks.start_soon(released, leaving)

    async def released(bus: Bus) -> None:
        while bus.serves("tw.leaves.tool.double"):  # noqa: ASYNC110 - nobody tells when a bus takes no more
            await anyio.sleep(0.001)
        leave.set()

    async with Runtime(nats_url, namespace="leaves") as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        while "twice" not in runtime.tools:  # noqa: ASYNC110 - what is announced is told to nobody
            await anyio.sleep(0.001)
        assert (await runtime.call("twice")).value == 42


async def test_a_conversation_needs_an_agent_or_a_model() -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="needs an agent, or a model"):
            await runtime.converse(system="s")
        with pytest.raises(Misuse, match="names no provider"):
            await runtime.converse(model="gpt")


async def test_what_an_agent_may_call_is_served_with_it() -> None:
    box = Box()
    model = scripted(["a", "b", "c"])
    agent = Agent("a", model, tools=[double, triple, box, "other_*"])
    async with Runtime() as runtime:
        await runtime.serve(tool(name="unrelated")(triple))
        for _ in range(3):  # each conversation of the agent finds what the first one brought
            chat = await runtime.converse(agent)
            await chat.say("hi")
        assert set(runtime.tools) == {"unrelated", "double", "triple", "put"}
        for request in model.requests:
            assert {spec.name for spec in request.tools} == {"double", "triple", "put"}


async def test_an_agent_without_tools_offers_what_is_served_and_one_with_none_offers_none() -> None:
    model = scripted(["a", "b"])
    async with Runtime() as runtime:
        await runtime.serve(double)
        await (await runtime.converse(Agent("a", model))).say("hi")
        await (await runtime.converse(Agent("a", model, tools=[]))).say("hi")
    assert [len(request.tools) for request in model.requests] == [1, 0]


async def test_a_tool_of_an_agent_that_is_another_of_the_same_name_is_refused() -> None:
    @tool(name="double")
    async def other(x: int) -> int:
        return x

    async with Runtime() as runtime:
        await runtime.serve(double)
        with pytest.raises(Misuse, match="served twice"):
            await runtime.converse(Agent("a", scripted([]), tools=[other]))


async def test_a_caller_is_seen_by_tools_and_by_no_model() -> None:
    model = scripted([("whoami",), "done"])
    async with Runtime() as runtime:
        await runtime.serve(whoami)
        chat = await runtime.converse(model=model, caller={"user": "u1"}, id="c-1")
        reply = await chat.say("hi")
        assert reply.calls[0].value == [{"user": "u1"}, "c-1"]
        assert (await runtime.call(whoami)).value == [None, ""]

    def told(request: ModelRequest) -> str:
        return repr((request.messages[0], request.settings))

    assert "u1" not in told(model.requests[0])


async def test_what_a_conversation_can_not_be_opened_by_is_refused() -> None:
    async def limits(_caller: Any) -> Limits:
        return {}

    nan = AssistantMessage("", (ToolCall("1", "f", {"x": float("nan")}),))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"caller": {"a": object()}}, "caller is data that JSON can carry, such as a dict"),
        ({"output": [int]}, r"an answer is of a type, such as list\[int\], or fits a JSON Schema"),
        ({"limits": limits}, "a function that gives limits is a `def`, not `async`"),
        ({"history": [UserMessage("a"), nan]}, "message 1 of the history can't be told to a model"),
    ]
    async with Runtime() as runtime:
        for options, said in wrong:
            with pytest.raises(Misuse, match=said):
                await runtime.converse(model=scripted([]), **options)


async def test_nobody_speaks_in_the_name_of_another_caller() -> None:
    async with Runtime() as runtime:
        model = scripted([])
        chat = await runtime.converse(model=model, id="c", caller={"user": "u1"})
        assert await runtime.converse(model=model, id="c", caller={"user": "u1"}) is chat
        assert await runtime.converse(model=model, id="c") is chat
        with pytest.raises(Misuse, match="open for another caller"):
            await runtime.converse(model=model, id="c", caller={"user": "u2"})
        await chat.close()
        await chat.close()
        assert await runtime.converse(model=model, id="c", caller={"user": "u2"}) is not chat


async def test_settings_reach_the_model() -> None:
    model = scripted(["hi"])
    async with Runtime() as runtime:
        await (await runtime.converse(model=model, settings={"temperature": 0.5})).say("hi")
    assert model.requests[0].settings == {"temperature": 0.5}


async def test_a_thousand_conversations_at_once() -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        done: list[str] = []

        async def one(n: int) -> None:
            chat = await runtime.converse(model=scripted([("double", {"x": n}), f"{2 * n}"]))
            reply = await chat.say("go")
            assert reply.calls[0].value == 2 * n
            done.append(reply.text)

        async with anyio.create_task_group() as tasks:
            for n in range(1_000):
                tasks.start_soon(one, n)
    assert sorted(map(int, done)) == list(range(0, 2_000, 2))


async def test_two_runtimes_side_by_side_know_nothing_of_each_other() -> None:
    async with Runtime() as one, Runtime() as two:
        await one.serve(double)
        assert failure_code(await two.call("double", {"x": 1})) in {"unknown_tool", "unreachable"}
        await two.serve(double)


async def test_an_exception_of_the_program_goes_on_as_it_is() -> None:
    async def use() -> None:
        async with Runtime() as runtime:
            await runtime.serve(double)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await use()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    async with Runtime() as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.run)
        await anyio.wait_all_tasks_blocked()
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("url", ["", "http://x", "memory", "redis://localhost"])
async def test_a_url_of_no_known_kind(url: str) -> None:
    with pytest.raises(ValueError, match="memory://"):
        Runtime(url)


async def test_nobody_listens_there() -> None:
    with anyio.fail_after(3), pytest.raises(ToolwireError, match="unreachable"):
        async with Runtime("nats://127.0.0.1:1"):
            pass


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_turn_from_a_program_without_a_loop(backend: str) -> None:
    agent = Agent("a", scripted([("double", {"x": 21}), "42"]), tools=[double])
    reply = run(agent, "the answer?", backend=backend)
    assert (reply.text, reply.calls[0].value) == ("42", 42)


async def test_models_given_as_objects_go_with_their_conversations() -> None:
    async with Runtime() as runtime:
        kept = scripted(["one", "two"])
        chat = await runtime.converse(model=kept)
        models = []
        for _ in range(100):
            model = scripted(["hi"])
            await (await runtime.converse(model=model)).say("x")
            models.append(weakref.ref(model))
            del model
        gc.collect()
        assert sum(each() is not None for each in models) <= LATELY
        assert (await chat.say("x")).text == "one"
        assert (await (await runtime.converse(model=kept)).say("x")).text == "two"


async def test_a_turn_of_many_rounds_lets_others_run() -> None:
    class Restless:
        async def complete(self, request: ModelRequest) -> ModelReply:
            return ModelReply("", (ToolCall(f"c{len(request.messages)}", "nothing", "{}"),))

    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    async with Runtime() as runtime, anyio.create_task_group() as others:
        others.start_soon(tick)
        chat = await runtime.converse(model=Restless(), limits={"rounds": 3000, "calls": 10_000})
        await chat.say("go")
        assert ticks > 10
        others.cancel_scope.cancel()
