"""Recovery by a model: corrected arguments, advice, its bounds, and what it must not do."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from toolwire import Misuse, Runtime, ToolwireError, recovery, scripted, tool

pytestmark = pytest.mark.anyio


@tool
async def book(day: int) -> str:
    """Book a day of the month."""
    if day > 31:
        raise ValueError("no month has that day")
    return f"booked {day}"


async def test_wrong_arguments_are_corrected_by_a_model() -> None:
    model = scripted([("book", {"day": 3})])
    async with Runtime() as runtime:
        await runtime.serve(book)
        runtime.use(recovery(model))
        result = await runtime.call("book", {"day": "the third"})
        assert (result.value, result.attempts) == ("booked 3", 2)
    request = model.requests[0]
    shown = request.messages[-1].text  # type: ignore[union-attr]  # the user's message
    assert "the third" in shown
    assert "invalid_arguments" in shown
    assert [spec.name for spec in request.tools] == ["book"]


async def test_advice_is_passed_on() -> None:
    async with Runtime() as runtime:
        await runtime.serve(book)
        runtime.use(recovery(scripted(["Ask the user for a day."])))
        result = await runtime.call("book", {})
        assert result.failure is not None
        assert result.failure.code == "invalid_arguments"
        assert result.failure.message.endswith("Advice: Ask the user for a day.")


async def test_a_call_that_may_have_happened_is_not_made_again() -> None:
    started: list[int] = []

    @tool
    async def send(n: int) -> None:
        """Send something."""
        started.append(n)
        raise ValueError("the line broke")

    async with Runtime() as runtime:
        await runtime.serve(send)
        runtime.use(recovery(scripted([("send", {"n": 2})])))
        result = await runtime.call("send", {"n": 1})
        assert started == [1]
        assert result.failure is not None
        assert "may be right" in result.failure.message


async def test_it_is_bounded_and_a_model_that_fails_changes_nothing() -> None:
    model = scripted([("book", {"day": "b"}), ("book", {"day": "c"})])
    async with Runtime() as runtime:
        await runtime.serve(book)
        runtime.use(recovery(model, attempts=2))
        result = await runtime.call("book", {"day": "a"})
        assert result.failure is not None
        assert (result.failure.code, len(model.requests)) == ("invalid_arguments", 2)
        assert not (await runtime.call("book", {"day": "a"})).ok  # the script is exhausted


async def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ToolwireError, match="at least 1"):
        recovery(scripted([]), attempts=0)
    with pytest.raises(Misuse):
        recovery("no such model")


async def test_it_is_traced_without_content() -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with Runtime(tracer_provider=provider) as runtime:
        await runtime.serve(book)
        runtime.use(recovery(scripted([("book", {"day": 3})])))
        assert (await runtime.call("book", {"day": "the third"})).ok
    found = {span.name: span for span in spans.get_finished_spans()}
    assert set(found) == {"recover book", "execute_tool book"}
    recovered = found["recover book"]
    call = found["execute_tool book"].context
    assert recovered.parent is not None
    assert call is not None
    assert recovered.parent.span_id == call.span_id
    assert dict(recovered.attributes or {}) == {
        "toolwire.recovery.of": "invalid_arguments",
        "gen_ai.tool.name": "book",
        "toolwire.recovery.outcome": "corrected",
    }
