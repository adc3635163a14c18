"""The calls of one response: side by side, in order where they touch the same things, and each for itself.

That calls run at once is proved by their waiting for each other, never by time.
"""

import threading
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import (
    AssistantMessage,
    Context,
    ToolCall,
    ToolMessage,
    ToolResult,
    scripted,
    tool,
)

pytestmark = pytest.mark.anyio

WAIT = 10.0
"""Seconds that a thread waits for what has to come: it can't be cancelled."""


def named(count: int, name: str, **arguments: Any) -> list[ToolCall]:
    return [ToolCall(f"{name}-{n}", name, arguments) for n in range(count)]


def codes(results: Sequence[ToolResult[Any]]) -> list[str]:
    return [result.failure.code if result.failure else "" for result in results]


async def test_calls_run_side_by_side_and_their_results_stand_in_the_order_asked(bus: Any, valid: Any) -> None:
    meeting, ended = bus.meeting(20), []
    released = [anyio.Event() for _ in range(20)]

    @tool
    async def meet(n: int) -> int:
        await meeting.join()
        if n < 19:
            await released[n].wait()  # they end in the opposite order
        ended.append(n)
        if n:
            released[n - 1].set()
        return n

    model = scripted([[("meet", {"n": n}) for n in range(20)], "all met"])
    async with bus.open(meet) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("Meet")
        assert reply.text == "all met"
        assert [result.value for result in reply.calls] == list(range(20))
        assert ended == list(range(19, -1, -1))
        assert valid(chat, model)


async def test_calls_start_in_the_order_asked(bus: Any) -> None:
    started: list[int] = []

    @tool
    async def note(n: int) -> None:
        started.append(n)
        await checkpoint()

    async with bus.open(note) as runtime:
        await runtime.call_many([ToolCall(str(n), "note", {"n": n}) for n in range(100)])
    assert started == list(range(100))


async def test_a_model_may_use_the_result_of_one_call_in_another(bus: Any, valid: Any) -> None:
    @tool
    async def search(query: str) -> dict[str, Any]:
        return {"items": [{"id": 7, "name": query}]}

    @tool
    async def fetch(key: int) -> str:
        return f"item {key}"

    @tool
    async def join(left: str, right: str) -> str:
        return f"{left} & {right}"

    model = scripted(
        [
            [
                ("search", {"query": "lamp"}),
                ("fetch", {"key": {"$result": 1, "path": "/items/0/id"}}),
                ("join", {"left": {"$result": 2}, "right": {"$result": 1, "path": "/items/0/name"}}),
            ],
            "found",
        ]
    )
    async with bus.open(search, fetch, join) as runtime:
        chat = await runtime.converse(model=model, references=True)
        reply = await chat.say("Find a lamp")
        assert [result.value for result in reply.calls[1:]] == ["item 7", "item 7 & lamp"]
        assert valid(chat, model)


async def test_without_references_a_result_is_mere_data(bus: Any) -> None:
    @tool
    async def echo(value: dict[str, Any]) -> dict[str, Any]:
        return value

    data = {"$result": 1}
    model = scripted([[("echo", {"value": {}}), ("echo", {"value": data})], "x"])
    async with bus.open(echo) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert [result.value for result in reply.calls] == [{}, data]


async def test_a_chain_fails_from_the_call_that_failed_on_and_nowhere_else(bus: Any) -> None:
    @tool
    async def step(n: int) -> int:
        if n == 2:
            raise ValueError("two is too many")
        return n + 1

    @tool
    async def beside() -> str:
        return "fine"

    calls = [
        ToolCall("first", "step", {"n": 1}),
        *[ToolCall(f"s{n}", "step", {"n": {"$result": "first" if n == 0 else f"s{n - 1}"}}) for n in range(3)],
        ToolCall("beside", "beside"),
        ToolCall("later", "beside", after=("s2",)),
    ]
    async with bus.open(step, beside) as runtime:
        results = await runtime.call_many(calls)
    assert codes(results) == ["", "failed", "dependency_failed", "dependency_failed", "", ""]
    assert results[3].failure is not None
    assert results[3].failure.details["root"] == 2


async def test_a_thousand_calls_in_a_chain(bus: Any) -> None:
    @tool
    async def more(n: int) -> int:
        return n + 1

    calls = [ToolCall(f"{n}", "more", {"n": {"$result": f"{n - 1}"} if n else 0}) for n in range(1_000)]
    async with bus.open(more) as runtime:
        results = await runtime.call_many(calls)
    assert results[-1].value == 1_000


async def test_who_writes_a_resource_has_it_alone_and_readers_share_it(bus: Any) -> None:
    inside: list[str] = []
    reading = bus.meeting(3)
    order: list[str] = []

    @tool(writes={"calendar"})
    async def write(name: str) -> None:
        assert inside == []
        inside.append(name)
        await checkpoint()
        await checkpoint()
        inside.remove(name)
        order.append(name)

    @tool(reads={"calendar"})
    async def read(name: str) -> None:
        await reading.join()
        order.append(name)

    @tool(writes={"files"})
    async def elsewhere() -> None:
        await reading.full.wait()

    calls = [
        ToolCall("1", "write", {"name": "w1"}),
        ToolCall("2", "elsewhere"),
        *[ToolCall(f"r{n}", "read", {"name": f"r{n}"}) for n in range(3)],
        ToolCall("3", "write", {"name": "w2"}),
    ]
    async with bus.open(write, read, elsewhere) as runtime:
        results = await runtime.call_many(calls)
    assert codes(results) == [""] * 6
    assert order[0] == "w1"
    assert sorted(order[1:4]) == ["r0", "r1", "r2"]
    assert order[4] == "w2"


async def test_an_exclusive_call_has_the_response_for_itself(bus: Any) -> None:
    running: list[str] = []
    meeting = bus.meeting(2)

    @tool
    async def beside(late: int = 0) -> None:
        running.append("beside")
        if not late:
            await meeting.join()
        await checkpoint()
        running.remove("beside")

    @tool(exclusive=True)
    async def alone() -> list[str]:
        await checkpoint()
        return list(running)

    calls = [*named(2, "beside"), ToolCall("alone", "alone"), ToolCall("late", "beside", {"late": 1})]
    async with bus.open(beside, alone) as runtime:
        results = await runtime.call_many(calls)
    assert codes(results) == [""] * 4
    assert results[2].value == []


async def test_an_object_takes_its_calls_one_by_one_in_order_while_others_run(bus: Any) -> None:
    meeting = bus.meeting(2)

    class Journal:
        def __init__(self) -> None:
            self.lines: list[str] = []
            self.busy = False

        async def write(self, line: str) -> int:
            assert not self.busy
            self.busy = True
            if not self.lines:
                await meeting.join()
            await checkpoint()
            self.lines.append(line)
            self.busy = False
            return len(self.lines)

        async def read(self) -> list[str]:
            assert not self.busy
            return self.lines

    @tool
    async def beside() -> str:
        await meeting.join()
        return "met"

    journal = Journal()
    calls = [ToolCall(str(n), "write", {"line": f"{n}"}) for n in range(6)]
    calls.insert(3, ToolCall("read", "read"))
    calls.append(ToolCall("beside", "beside"))
    async with bus.open(journal, beside) as runtime:
        results = await runtime.call_many(calls)
    assert codes(results) == [""] * 8
    assert results[3].value == ["0", "1", "2"]
    assert journal.lines == [f"{n}" for n in range(6)]


async def test_two_batches_take_turns_at_the_door_of_an_object(bus: Any) -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def up(self) -> int:
            before = self.count
            await checkpoint()
            self.count = before + 1
            return self.count

    counter = Counter()
    async with bus.open(counter) as runtime, anyio.create_task_group() as batches:
        for _ in range(4):
            batches.start_soon(runtime.call_many, named(10, "up"))
    assert counter.count == 40


async def test_functions_that_are_not_async_run_in_threads_beside_the_others(bus: Any) -> None:
    ready, go = threading.Event(), threading.Event()

    @tool
    def blocking() -> bool:
        ready.set()
        return go.wait(WAIT)

    @tool
    async def releasing() -> bool:
        while not ready.is_set():
            await checkpoint()
        go.set()
        return True

    async with bus.open(blocking, releasing) as runtime:
        results = await runtime.call_many([ToolCall("a", "blocking"), ToolCall("b", "releasing")])
    assert [result.value for result in results] == [True, True]


async def test_a_call_that_takes_too_long_leaves_the_others_alone(bus: Any, valid: Any) -> None:
    timed = anyio.Event()

    @tool(timeout=0.1)
    async def stuck() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            timed.set()

    @tool
    async def patient(n: int) -> int:
        await timed.wait()  # so it ends after the other
        return n

    model = scripted([[("patient", {"n": 1}), ("stuck",), ("patient", {"n": 2})], "well", ("stuck",), "again"])
    async with bus.open(stuck, patient) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert codes(reply.calls) == ["", "timed_out", ""]
        assert reply.calls[1].failure is not None
        assert reply.calls[1].failure.effect == "maybe"
        assert valid(chat, model)
        reply = await chat.say("Once more")
        assert (reply.text, codes(reply.calls)) == ("again", ["timed_out"])
        assert valid(chat, model)


async def test_a_thread_that_takes_too_long_is_left_behind(bus: Any) -> None:
    go = threading.Event()

    @tool(timeout=0.1)
    def stuck() -> bool:
        return go.wait(WAIT)

    @tool
    async def fine() -> str:
        return "fine"

    async with bus.open(stuck, fine) as runtime:
        try:
            results = await runtime.call_many([ToolCall("a", "stuck"), ToolCall("b", "fine")])
            assert codes(results) == ["timed_out", ""]
            assert (await runtime.call("fine")).value == "fine"
        finally:
            go.set()


async def test_the_caller_may_give_less_time(bus: Any) -> None:
    @tool(timeout=30.0)
    async def stuck() -> None:
        await anyio.sleep_forever()

    async with bus.open(stuck) as runtime:
        assert codes([await runtime.call(stuck, timeout=0.05)]) == ["timed_out"]
        assert codes(await runtime.call_many(named(3, "stuck"), timeout=0.05)) == ["timed_out"] * 3


async def test_a_tool_calls_tools_within_its_own_time(bus: Any) -> None:
    left: list[float | None] = []

    @tool
    async def leaf(context: Context) -> str:
        left.append(context.remaining())
        return context.call_id

    @tool
    async def hang() -> None:
        await anyio.sleep_forever()

    @tool(timeout=5.0)
    async def outer(context: Context) -> list[str]:
        found: list[str] = []
        async with anyio.create_task_group() as calling:

            async def one() -> None:
                found.append((await context.call(leaf)).value)

            calling.start_soon(one)
            calling.start_soon(one)
        return sorted(found)

    @tool(timeout=0.2)
    async def late(context: Context) -> None:
        await context.call(hang)

    async with bus.open(leaf, hang, outer, late) as runtime:
        assert (await runtime.call_many([ToolCall("top", "outer")]))[0].value == ["top.1", "top.2"]
        assert all(seconds is not None and seconds <= 5.0 for seconds in left)
        assert codes([await runtime.call(late)]) == ["timed_out"]


async def test_what_a_tool_calls_fails_as_a_value(bus: Any) -> None:
    seen: list[str] = []

    @tool
    async def leaf(n: int) -> int:
        raise ValueError("no")

    @tool
    async def outer(context: Context) -> str:
        seen.extend(codes([await context.call("leaf", {"n": "x"}), await context.call("leaf", {"n": 1})]))
        seen.extend(codes([await context.call("nobody"), await context.call("leaf", {"n": {1, 2}})]))
        return "went on"

    async with bus.open(leaf, outer) as runtime:
        assert (await runtime.call("outer")).value == "went on"
    assert seen == ["invalid_arguments", "failed", "unknown_tool", "invalid_arguments"]


async def test_an_object_that_calls_itself_is_refused_at_once(bus: Any) -> None:
    class Loop:
        async def outer(self, context: Context) -> str:
            return codes([await context.call("inner")])[0]

        async def inner(self) -> str:
            return "never"

    async with bus.open(Loop()) as runtime:
        assert (await runtime.call("outer")).value == "conflict"
        assert (await runtime.call("inner")).value == "never"


async def test_a_tool_that_calls_itself_for_ever_is_stopped(bus: Any) -> None:
    depth = 0

    @tool
    async def deeper(context: Context) -> str:
        nonlocal depth
        depth += 1
        result = await context.call("deeper")
        return result.failure.code if result.failure else result.value

    async with bus.open(deeper) as runtime:
        assert (await runtime.call("deeper")).value == "limit_reached"
        assert 5 < depth < 70
        assert (await runtime.call("deeper")).ok


async def test_what_a_tool_does_to_its_arguments_is_seen_by_nobody(bus: Any, valid: Any) -> None:
    @tool
    async def vandal(items: list[int], options: dict[str, Any]) -> int:
        items.append(99)
        options.clear()
        options["broken"] = True
        return len(items)

    arguments = {"items": [1, 2], "options": {"deep": {"er": [1]}}}
    kept = {"items": [1, 2], "options": {"deep": {"er": [1]}}}
    model = scripted([[("vandal", arguments), ("vandal", arguments)], "done"])
    async with bus.open(vandal) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("?")
        assert [result.value for result in reply.calls] == [3, 3]
        results = await runtime.call_many([ToolCall("a", "vandal", arguments), ToolCall("b", "vandal", arguments)])
        assert [result.value for result in results] == [3, 3]
        assert (await runtime.call(vandal, arguments)).value == 3
        assert arguments == kept
        said = next(message for message in chat.history() if isinstance(message, AssistantMessage))
        assert valid(chat, model)
        assert [call.text() for call in said.calls] == [ToolCall("", "", kept).text()] * 2


async def test_a_result_that_two_calls_take_in_is_not_shared(bus: Any) -> None:
    @tool
    async def give() -> list[int]:
        return [1]

    @tool
    async def append(items: list[int]) -> list[int]:
        items.append(2)
        return items

    calls = [ToolCall("g", "give"), *[ToolCall(f"a{n}", "append", {"items": {"$result": "g"}}) for n in range(2)]]
    async with bus.open(give, append) as runtime:
        results = await runtime.call_many(calls)
    assert [result.value for result in results] == [[1], [1, 2], [1, 2]]


async def test_more_calls_than_a_tool_takes_at_once_wait_for_each_other(bus: Any) -> None:
    most, inside = 0, 0

    @tool(concurrency=3)
    async def narrow() -> None:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        await checkpoint()
        await checkpoint()
        inside -= 1

    async with bus.open(narrow) as runtime:
        results = await runtime.call_many(named(40, "narrow"))
    assert codes(results) == [""] * 40
    assert most == 3


async def test_a_full_tool_refuses_at_once_and_takes_calls_again(bus: Any) -> None:
    """One call runs and 1,024 wait: so many fit behind the door of a tool that takes one at a time."""
    go, refused = anyio.Event(), anyio.Event()
    found: list[str] = []

    @tool(concurrency=1)
    async def narrow() -> None:
        await go.wait()

    async with bus.open(narrow) as runtime:

        async def one() -> None:
            found.extend(codes([await runtime.call("narrow")]))
            if len(found) == 75:
                refused.set()

        async with anyio.create_task_group() as calling:
            for _ in range(1_100):
                calling.start_soon(one)
            await refused.wait()
            assert found == ["overloaded"] * 75
            go.set()
        assert found.count("") == 1_025
        assert (await runtime.call("narrow")).ok


async def test_an_empty_batch_is_no_work(bus: Any) -> None:
    async with bus.open() as runtime:
        assert await runtime.call_many([]) == ()


async def test_a_model_sees_results_in_the_order_asked_however_they_ended(bus: Any, valid: Any) -> None:
    first = anyio.Event()

    @tool
    async def slow() -> str:
        await first.wait()
        return "slow"

    @tool
    async def fast() -> str:
        first.set()
        return "fast"

    model = scripted([[("slow",), ("nobody",), ("fast",), ("slow", "{")], "done"])
    async with bus.open(slow, fast) as runtime:
        chat = await runtime.converse(model=model)
        await chat.say("?")
        assert valid(chat, model)
    told = [message for message in model.requests[1].messages if isinstance(message, ToolMessage)]
    assert [(message.id, message.failed) for message in told] == [
        ("call_1", False),
        ("call_2", True),
        ("call_3", False),
        ("call_4", True),
    ]
