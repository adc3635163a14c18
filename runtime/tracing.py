"""Traces: one span for each turn and each call, in whichever processes they run, after the GenAI conventions.

https://github.com/open-telemetry/semantic-conventions-genai: `invoke_agent` for a turn, `execute_tool` for a call.
Nothing is paid when nobody listens: `listens` is asked once a turn and once a batch. No content (arguments,
results, prompts) ever stands in a span, and no exception is recorded by the SDK's own hand, which would tell its
message and stack.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec import Raw
from msgspec.structs import replace

from ..protocol.envelope import Trail, encode
from ..protocol.events import Reply
from ..protocol.failures import Failure
from ..protocol.tools import ToolCall, ToolResult

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from .context import Context

NAMED = 128
"""Characters of a tool's name that stand in a span."""

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"


class Tracing:
    """Makes spans, if anybody records them. Without a provider of its own it goes by the global one."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer: Tracer | None = None

    def listens(self) -> bool:
        """Whether a span would be recorded. Who never imported OpenTelemetry has nobody who listens."""
        if self._tracer is not None:
            return True
        api = sys.modules.get("opentelemetry.trace")
        if self._provider is None:
            if api is None:
                return False
            found = api.get_tracer_provider()
            if isinstance(found, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
                return False
            self._tracer = found.get_tracer("toolwire", schema_url=SCHEMA)
        else:
            self._tracer = self._provider.get_tracer("toolwire", schema_url=SCHEMA)
        return True

    def current(self) -> Raw | None:
        """The trail of whoever is no actor: in the trace that is current here, if anybody listens."""
        if not self.listens():
            return None
        span = sys.modules["opentelemetry.trace"].get_current_span()
        known = span.get_span_context()
        return Raw(encode(carried(Trail(), known))) if known.is_valid else None

    def turn(self, agent: str, context: "Context", trail: Trail) -> "Recorded":
        """The span of one turn, which becomes the parent of what `trail` goes along with."""
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": trail.conversation,
        }
        if agent:
            attributes["gen_ai.agent.name"] = agent
        name = f"invoke_agent {agent}" if agent else "invoke_agent"
        return Recorded(self._started(name, trail, attributes), context, trail)

    def call(self, call: ToolCall, context: "Context", needs: int, order: int) -> "Recorded":
        """The span of one call, with how many others it waited for."""
        trail = context.whose()
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name[:NAMED],
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.id,
            "toolwire.call.needs": needs,
            "toolwire.call.order": order,
        }
        if trail.conversation:
            attributes["gen_ai.conversation.id"] = trail.conversation
        # A model may make up a name of any length.
        return Recorded(self._started(f"execute_tool {call.name[:NAMED]}", trail, attributes), context, trail)

    def recovery(self, call: ToolCall, context: "Context", code: str) -> "Recorded":
        """The span of asking a model about a call that failed with `code`. Its name is not one of the conventions."""
        trail = context.whose()
        attributes = {"toolwire.recovery.of": code, "gen_ai.tool.name": call.name[:NAMED]}
        return Recorded(self._started(f"recover {call.name[:NAMED]}", trail, attributes), context, trail)

    def _started(self, name: str, trail: Trail, attributes: dict[str, Any]) -> "Span":
        assert self._tracer is not None  # noqa: S101 - whoever makes spans has asked `listens`
        return self._tracer.start_span(name, _parent(trail), attributes=attributes)


class Recorded:
    """A span in the making: inside the block, `context` carries it on to whoever is asked."""

    __slots__ = ("_outer", "context", "span")

    def __init__(self, span: "Span", context: "Context", trail: Trail) -> None:
        self.span = span
        self.context = context
        self._outer = context.trail
        context.trail = Raw(encode(carried(trail, span.get_span_context())))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.trail = self._outer
        if kind is not None:
            self.failed(Failure("cancelled" if not issubclass(kind, Exception) else "internal", kind.__name__))
        self.span.end()

    def recovered(self, outcome: str) -> None:
        """What came of a recovery: `corrected`, `advised` or `nothing`."""
        self.span.set_attribute("toolwire.recovery.outcome", outcome)

    def ended(self, result: ToolResult[Any]) -> ToolResult[Any]:
        """How the call ended."""
        self.span.set_attribute("toolwire.call.attempts", result.attempts)
        if result.worker:
            self.span.set_attribute("toolwire.worker", result.worker)
        for how in ("shared", "cached", "hedged"):
            if getattr(result, how):
                self.span.set_attribute(f"toolwire.call.{how}", value=True)
        if result.failure is not None:
            self.failed(result.failure)
        return result

    def replied(self, reply: Reply) -> None:
        """How the turn ended."""
        if reply.usage.input_tokens or reply.usage.output_tokens:
            self.span.set_attribute("gen_ai.usage.input_tokens", reply.usage.input_tokens)
            self.span.set_attribute("gen_ai.usage.output_tokens", reply.usage.output_tokens)
        if reply.failure is not None:
            self.failed(reply.failure)

    def failed(self, failure: Failure) -> None:
        """It failed: the code tells how, in few words; the message may hold content and stays out."""
        status = sys.modules["opentelemetry.trace"].Status
        codes = sys.modules["opentelemetry.trace"].StatusCode
        self.span.set_attribute("error.type", failure.code)
        self.span.set_status(status(codes.ERROR))


def carried(trail: Trail, span: "SpanContext") -> Trail:
    """`trail` with `span` as the parent of what comes: https://www.w3.org/TR/trace-context/."""
    parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    return replace(trail, traceparent=parent, tracestate=span.trace_state.to_header())


def _parent(trail: Trail) -> Any:
    """The W3C context of `trail` as OpenTelemetry's; None (whatever is current here) where it has none."""
    if not trail.traceparent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - only where somebody listens: 24 ms

    carrier = {"traceparent": trail.traceparent, "tracestate": trail.tracestate}
    return TraceContextTextMapPropagator().extract(carrier)


def entered(context: "Context") -> Callable[[], object] | None:
    """What makes the trace of `context` the current one, for a tool's own spans. None if nobody here makes spans."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    trail = context.whose()
    if not trail.traceparent:
        return None
    from opentelemetry.context import attach  # noqa: PLC0415 - only where somebody listens

    return partial(attach, _parent(trail))
