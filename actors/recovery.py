"""Recovery by a model: a failing call, its error and its schema are given to a model, which corrects or advises.

It is a middleware, so it is off until somebody says `runtime.use(recovery(model))`. It is bounded in attempts and by
the call's own time; a call that may have happened is only made again if that does no harm.
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.history import HistoryMessage, SystemMessage, UserMessage
from ..protocol.tools import ToolCall, ToolResult, ToolSpec, encode_json
from ..runtime.tracing import Tracing
from .context import Context
from .middleware import Middleware, Next
from .models import model_from
from .models.contract import Model, ModelRequest

CODES = frozenset({"invalid_arguments", "failed", "invalid_reference"})

INSTRUCTION = (
    "A call of a tool has failed. You are given the tool, the arguments of the call and the error, as JSON. If you can "
    "correct the arguments from what stands there, call the tool again with corrected arguments. If you can't, say in "
    "one sentence what whoever asked should do instead. Never make up a value that nothing in the call suggests."
)


class Case(Struct, frozen=True):
    """What the model is shown of a failed call."""

    tool: str
    description: str
    arguments: str
    error: Failure


class Recovery:
    """Asks `model` about failed calls, at most `attempts` times each, for failures with one of `codes`."""

    LONGEST: ClassVar[int] = 2_000
    """Characters of the model's advice that are passed on."""

    def __init__(
        self, model: Model, specs: Mapping[str, ToolSpec] | None, attempts: int, codes: Collection[str]
    ) -> None:
        self.model = model
        self.specs = specs
        self.attempts = attempts
        self.codes = frozenset(codes)
        self.tracing: Tracing | None = None

    async def __call__(self, call: ToolCall, context: Context, following: Next) -> ToolResult[Any]:
        """Make the call; where it fails, have it corrected."""
        result = await following(call)
        for _ in range(self.attempts):
            failure = result.failure
            spec = self.specs.get(call.name) if self.specs is not None else None
            if failure is None or failure.code not in self.codes or spec is None:
                return result
            corrected, advice = await self._followed(call, failure, spec, context)
            if corrected is None:
                return replace(result, failure=advised(failure, advice)) if advice else result
            if failure.effect != "none" and not spec.repeatable:
                return replace(result, failure=advised(failure, f"arguments that may be right: {corrected.arguments}"))
            call = corrected
            result = await following(call)
        return result

    def attach(self, tools: Mapping[str, ToolSpec], tracing: Tracing) -> None:
        """The runtime that it serves: its tools, to which it may correct calls unless it was told, and its traces."""
        self.tracing = tracing
        if self.specs is None:
            self.specs = tools

    async def _followed(
        self, call: ToolCall, failure: Failure, spec: ToolSpec, context: Context
    ) -> tuple[ToolCall | None, str]:
        """As `_asked`, with a span where somebody listens."""
        if self.tracing is None or not self.tracing.listens():
            return await self._asked(call, failure, spec, context)
        with self.tracing.recovery(call, context, failure.code) as span:
            corrected, advice = await self._asked(call, failure, spec, context)
            span.recovered("corrected" if corrected is not None else "advised" if advice else "nothing")
            return corrected, advice

    async def _asked(
        self, call: ToolCall, failure: Failure, spec: ToolSpec, context: Context
    ) -> tuple[ToolCall | None, str]:
        """A corrected call, or advice. A model that fails recovers nothing."""
        case = Case(spec.name, spec.description, call.text(), failure)
        messages: list[HistoryMessage] = [SystemMessage(INSTRUCTION), UserMessage(encode_json(case).decode())]
        try:
            reply = await self.model.complete(ModelRequest(messages, (spec,), seconds=context.remaining()))
        except ToolwireError:
            return None, ""
        asked = next((each for each in reply.calls if each.name == spec.name), None)
        if asked is None or not is_object(asked.text()) or asked.text() == call.text():
            return None, reply.text[: self.LONGEST]
        return ToolCall(call.id, call.name, asked.text(), call.after), ""


def is_object(text: str) -> bool:
    """Whether `text` is a JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return False


def advised(failure: Failure, advice: str) -> Failure:
    """`failure` with what a model advises."""
    details = {**failure.details, "advice": advice}
    return replace(failure, message=f"{failure.message}\nAdvice: {advice}", details=details)


def recovery(
    model: str | Model,
    *,
    attempts: int = 1,
    codes: Collection[str] = CODES,
    specs: Mapping[str, ToolSpec] | None = None,
) -> Middleware:
    """A middleware that has failed calls corrected by `model`, at most `attempts` times each.

    `codes` are the failures that it is asked about. `specs` are the tools that it may correct calls to; without it,
    all that the runtime knows. Raises Misuse for what is no model.
    """
    if attempts < 1:
        raise ToolwireError(failed("invalid_call", f"attempts must be at least 1, not {attempts}"))
    return Recovery(model_from(model), specs, attempts, codes)
