"""One span for each turn and each call, after the conventions, without content; and nothing paid if nobody listens."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from toolwire import Agent, Context, Runtime, ToolCall, ToolError, scripted, tool
from toolwire.protocol.envelope import Trail
from toolwire.runtime.tracing import Tracing, carried

pytestmark = pytest.mark.anyio

SECRET = "xyzzy-plugh"  # noqa: S105 - stands for content


class Recorded:
    """Spans that have ended, by name."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        finished = self.exporter.get_finished_spans()
        assert len({span.name for span in finished}) == len(finished)
        return {span.name: span for span in finished}

    def attributes(self, name: str) -> dict[str, Any]:
        return dict(self.spans[name].attributes or {})


def known(span: ReadableSpan) -> SpanContext:
    """The trace and the id of a span."""
    context: SpanContext | None = span.context
    assert context is not None
    return context


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    recorder = Recorded()
    yield recorder
    recorder.provider.shutdown()


@tool(read_only=True)
async def greet(name: str) -> str:
    return f"hello {name}"


@tool
async def refuse(name: str) -> str:
    raise ToolError(f"no {name}")


async def test_one_span_for_the_turn_and_one_for_each_call(recorded: Recorded) -> None:
    script = scripted([[("greet", {"name": SECRET}), ("refuse", {"name": SECRET}), ("nowhere", {})], SECRET])
    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(greet, refuse)
        chat = await runtime.converse(Agent("porter", script, SECRET), id="c-7")
        await chat.say(SECRET)
        worker = runtime.system.bus.instance
    assert set(recorded.spans) == {
        "invoke_agent porter",
        "execute_tool greet",
        "execute_tool refuse",
        "execute_tool nowhere",
    }
    assert recorded.attributes("invoke_agent porter") == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "porter",
        "gen_ai.conversation.id": "c-7",
    }
    assert recorded.attributes("execute_tool greet") == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "greet",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_1",
        "gen_ai.conversation.id": "c-7",
        "toolwire.call.needs": 0,
        "toolwire.call.order": 0,
        "toolwire.call.attempts": 1,
        "toolwire.worker": worker,
    }
    assert recorded.attributes("execute_tool refuse")["error.type"] == "failed"
    assert recorded.attributes("execute_tool nowhere")["error.type"] == "unknown_tool"


async def test_calls_are_children_of_their_turn_and_the_turn_of_whoever_asked(recorded: Recorded) -> None:
    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(greet)
        chat = await runtime.converse(model=scripted([("greet", {"name": "x"}), "done"]))
        with recorded.provider.get_tracer("app").start_as_current_span("request") as request:
            await chat.say("hi")
            assert (await runtime.call(greet, {"name": "y"})).ok
    spans = recorded.exporter.get_finished_spans()
    turn = next(span for span in spans if span.name == "invoke_agent")
    inner, outer = [span for span in spans if span.name == "execute_tool greet"]
    assert turn.parent is not None
    assert inner.parent is not None
    assert outer.parent is not None
    assert turn.parent.span_id == outer.parent.span_id == request.get_span_context().span_id
    assert inner.parent.span_id == known(turn).span_id
    assert {known(span).trace_id for span in spans} == {request.get_span_context().trace_id}


async def test_status_and_error_type_go_together_and_ok_is_never_set(recorded: Recorded) -> None:
    script = scripted([[("greet", {"name": "x"}), ("refuse", {"name": "x"})]])
    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(greet, refuse)
        chat = await runtime.converse(model=script)
        reply = await chat.say("hi")
        assert reply.ended == "failed"
    for span in recorded.spans.values():
        failed = "error.type" in (span.attributes or {})
        assert span.status.status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
        assert span.kind is SpanKind.INTERNAL
    assert recorded.attributes("invoke_agent")["error.type"] == "model_failed"


async def test_no_content_and_no_exception_text_is_in_any_span(recorded: Recorded) -> None:
    @tool
    async def raises(name: str) -> str:
        raise ValueError(f"{name} {SECRET}")

    calls: list[Any] = [
        ("greet", {"name": SECRET}),
        ("raises", {"name": SECRET}),
        ("greet", f'{{"name": 5, "{SECRET}": 1}}'),
    ]
    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(greet, raises)
        chat = await runtime.converse(
            Agent("a", scripted([calls, RuntimeError(SECRET)]), SECRET), caller={"who": SECRET}
        )
        await chat.say(SECRET)
    finished = recorded.exporter.get_finished_spans()
    assert len(finished) == 4
    for span in finished:
        assert SECRET not in span.to_json()
        assert not span.events


async def test_a_call_that_waited_says_for_how_many(recorded: Recorded) -> None:
    calls = [
        ToolCall("a", "greet", {"name": "x"}),
        ToolCall("b", "shout", {"text": {"$result": "a"}}, after=("c",)),
        ToolCall("c", "whisper", {}),
    ]

    @tool
    async def shout(text: str) -> str:
        return text.upper()

    @tool
    async def whisper() -> str:
        return ""

    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(greet, shout, whisper)
        assert all(result.ok for result in await runtime.call_many(calls))
    attributes = recorded.attributes("execute_tool shout")
    assert (attributes["toolwire.call.needs"], attributes["toolwire.call.order"]) == (1, 1)


async def test_a_tools_own_spans_are_children_of_its_call(recorded: Recorded) -> None:
    tracer = recorded.provider.get_tracer("mine")

    @tool
    async def in_loop() -> str:
        with tracer.start_as_current_span("query in loop"):
            await anyio.lowlevel.checkpoint()
            with tracer.start_as_current_span("deeper"):
                return ""

    @tool
    def in_thread() -> str:
        with tracer.start_as_current_span("query in thread"):
            return ""

    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(in_loop, in_thread)
        chat = await runtime.converse(model=scripted([[("in_loop",), ("in_thread",)], "done"]))
        await chat.say("hi")
    spans = recorded.spans
    for child, parent in {
        "query in loop": "execute_tool in_loop",
        "deeper": "query in loop",
        "query in thread": "execute_tool in_thread",
    }.items():
        above = spans[child].parent
        assert above is not None
        assert above.span_id == known(spans[parent]).span_id
    assert len({known(span).trace_id for span in spans.values()}) == 1
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_call_from_within_a_tool_is_a_child_of_the_tools_call(recorded: Recorded) -> None:
    @tool
    async def outer(context: Context) -> str:
        return str((await context.call("greet", {"name": "x"})).value)

    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(greet, outer)
        assert (await runtime.call(outer)).value == "hello x"
    above = recorded.spans["execute_tool greet"].parent
    assert above is not None
    assert above.span_id == known(recorded.spans["execute_tool outer"]).span_id


async def test_the_trace_context_travels_in_the_envelope(recorded: Recorded) -> None:
    seen: list[Trail] = []

    @tool
    async def look(context: Context) -> None:
        seen.append(context.whose())

    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(look)
        await runtime.call(look)
    span = recorded.spans["execute_tool look"]
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", seen[0].traceparent)
    assert seen[0].traceparent == carried(Trail(), known(span)).traceparent


async def test_a_call_that_is_cancelled_ends_its_span(recorded: Recorded) -> None:
    @tool
    async def forever() -> None:
        await anyio.sleep_forever()

    async with Runtime(tracer_provider=recorded.provider) as runtime:
        await runtime.serve(forever)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, forever)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert recorded.attributes("execute_tool forever")["error.type"] == "cancelled"


async def test_who_listens_to_nothing_makes_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a span was made")

    monkeypatch.setattr(Tracing, "_started", never)
    async with Runtime() as runtime:
        await runtime.serve(greet)
        chat = await runtime.converse(model=scripted([("greet", {"name": "x"}), "done"]))
        assert (await chat.say("hi")).ended == "answered"
        assert (await runtime.call(greet, {"name": "x"})).ok
        assert not runtime.tracing.listens()


def test_without_opentelemetry_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert not Tracing().listens()
    assert Tracing().current() is None


def test_a_provider_that_is_set_later_is_found(monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> None:
    tracing = Tracing()
    assert not tracing.listens()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: recorded.provider)
    assert tracing.listens()


async def test_a_foreign_trace_context_that_is_none_starts_a_new_trace(recorded: Recorded) -> None:
    tracing = Tracing(recorded.provider)
    assert tracing.listens()
    for parent in ("nonsense", "00-0-0-00", "ff-" + "1" * 32 + "-" + "2" * 16 + "-01"):
        span = tracing._started(parent, Trail(traceparent=parent), {})
        span.end()
        assert recorded.spans[parent].parent is None
