"""What is promised of calls, one test for each promise, with every way to end that there is in one batch.

1. Each call id ends exactly once, and a model is always told a valid history.
2. Nothing hangs: each call ends within its time, whatever its tool does.
3. A call that may have run is not run again, unless its tool says that this does no harm; its key stays the same.
4. One call that is late, or wrong, or given up leaves its siblings alone, and nothing of it acts later.
5. Full means refused, at once.
6. All of this on each bus and both event loops: the fixture `bus`.
7. No content in logs and traces.

That no task, thread, process or file outlives a runtime is counted in test_leftovers.py; cancellations at every point
are in test_every_await.py, any graph of calls in test_any_graph.py.
"""

import asyncio
import logging
from collections import Counter
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from toolwire import CallProgress, Context, ToolCall, ToolError, scripted, tool

pytestmark = pytest.mark.anyio

CANARY = "canary-4711"


class Ways:
    """A tool for each way in which a call can end, and what has been done."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def tools(self) -> list[Any]:
        """All of them, each by its name."""
        ways = self

        @tool
        async def fine(n: int = 1) -> int:
            ways.done["fine"] += 1
            await checkpoint()
            return n

        @tool
        async def refuses(why: str = "") -> None:
            raise ToolError(f"no: {why}")

        @tool
        async def breaks() -> None:
            raise ExceptionGroup("two", [ValueError(CANARY), KeyError(CANARY)])

        @tool
        async def cancels_itself() -> None:
            raise asyncio.CancelledError

        @tool
        async def says_nonsense() -> Any:
            return object()

        @tool(timeout=0.05)
        async def hangs() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ways.done["left"] += 1
            ways.done["later"] += 1

        return [fine, refuses, breaks, cancels_itself, says_nonsense, hangs]


CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("fine", {}, ""),
    ("refuses", {}, "failed"),
    ("breaks", {}, "failed"),
    ("cancels_itself", {}, "failed"),
    ("says_nonsense", {}, "invalid_result"),
    ("hangs", {}, "timed_out"),
    ("fine", {"n": "no number"}, "invalid_arguments"),
    ("fine", {"n": {"$result": 2}}, "dependency_failed"),
    ("fine", {"n": {"$result": 99}}, "invalid_reference"),
    ("nobody_serves_this", {}, "unknown_tool"),
    ("fine", {"n": {"$result": 1}}, ""),
]
"""A call for each way to end, and the code of its failure."""


async def test_1_each_call_id_ends_exactly_once_and_the_history_is_valid(bus: Any, valid: Any) -> None:
    model = scripted([[(name, arguments) for name, arguments, _ in CALLS], "I see."])
    async with bus.open(*Ways().tools()) as runtime:
        chat = await runtime.converse(model=model, references=True)
        events = []
        async with chat.stream("Do all of it") as stream:
            events = [event async for event in stream]
        reply = events[-1].reply
        assert reply.text == "I see."
        assert [result.failure.code if result.failure else "" for result in reply.calls] == [code for *_, code in CALLS]
        finished = [event.result.id for event in events if type(event).__name__ == "CallFinished"]
        assert sorted(finished) == sorted(result.id for result in reply.calls)
        assert len(set(finished)) == len(CALLS)
        assert valid(chat, model)


async def test_2_nothing_hangs_whatever_a_tool_does(bus: Any) -> None:
    async with bus.open(*Ways().tools()) as runtime:
        with anyio.fail_after(10.0):
            for name, arguments, _ in CALLS:
                await runtime.call(name, arguments)
            nobody = await runtime.call("nobody_serves_this", timeout=3600)
            late = await runtime.call("hangs", timeout=0.02)
        assert nobody.failure.code == "unknown_tool"
        assert (late.failure.code, late.failure.effect) == ("timed_out", "maybe")


@pytest.mark.parametrize(("idempotent", "times"), [(False, 1), (True, 3)])
async def test_3_what_may_have_run_is_run_again_only_where_that_does_no_harm(
    bus: Any, *, idempotent: bool, times: int
) -> None:
    keys: list[str] = []

    @tool(idempotent=idempotent, retries=2)
    async def pays(context: Context) -> None:
        keys.append(context.idempotency_key)
        raise ToolError("the line went dead", retry=True)

    async with bus.open(pays) as runtime:
        runtime._means.steps.retries.draw = lambda: 0.0
        result = await runtime.call("pays")
        assert (result.failure.effect, result.attempts) == ("maybe", times)
    assert len(keys) == times
    assert len(set(keys)) == 1


async def test_4_a_call_leaves_its_siblings_alone_and_does_nothing_later(bus: Any) -> None:
    ways = Ways()
    async with bus.open(*ways.tools()) as runtime:
        others = [ToolCall(f"{n}", name, arguments) for n, (name, arguments, _) in enumerate(CALLS)]
        results = await runtime.call_many([*others, *[ToolCall(f"more {n}", "fine") for n in range(20)]])
        assert [result.value for result in results[len(CALLS) :]] == [1] * 20
        done = dict(ways.done)
        assert (ways.done["left"], ways.done["later"]) == (1, 0)
        for _ in range(20):
            await checkpoint()
        assert dict(ways.done) == done


async def test_5_full_means_refused_at_once(memory: Any) -> None:
    release = anyio.Event()

    @tool(concurrency=1)
    async def narrow() -> None:
        await release.wait()

    async with memory.open(narrow) as runtime, anyio.create_task_group() as others:
        for _ in range(1 + 1024):
            others.start_soon(runtime.call, "narrow")
        await anyio.wait_all_tasks_blocked()
        result = await runtime.call("narrow")
        assert (result.failure.code, result.failure.effect) == ("overloaded", "none")
        release.set()


async def test_7_no_content_in_logs_and_traces(bus: Any, caplog: pytest.LogCaptureFixture) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    @tool
    async def echo(text: str, context: Context) -> str:
        await context.progress(1, 2, "on the way")
        return text

    said: list[Any] = [("echo", {"text": CANARY}), ("refuses", {"why": CANARY}), ("fine", {"n": CANARY}), ("breaks",)]
    with caplog.at_level(logging.DEBUG, logger="toolwire"):
        async with bus.open(echo, *Ways().tools(), tracer_provider=provider) as runtime:
            chat = await runtime.converse(model=scripted([said, CANARY]), system=CANARY)
            async with chat.stream(CANARY) as stream:
                progress = [event async for event in stream if isinstance(event, CallProgress)]
            assert progress
    assert CANARY not in caplog.text
    assert exporter.get_finished_spans()
    assert CANARY not in "".join(span.to_json() for span in exporter.get_finished_spans())
