"""The model actor: it keeps what it was told of a conversation, so that a history need not travel each round."""

import json
from collections import OrderedDict
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from ..protocol.events import CallSpoken, ReasoningDelta, TextDelta
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.history import History, HistoryMessage
from ..protocol.messages import Complete, Completed, Remember, Remembered, SendAll
from ..protocol.prices import Prices
from ..protocol.tools import ToolCall, ToolSpec
from ..protocol.usage import Usage
from ..protocol.wasted import usage_in, with_usage
from ..runtime.actor import Actor
from ..runtime.border import ends_program, is_ours, shown
from ..runtime.context import Context
from .models.contract import Model, ModelReply, ModelRequest, StreamingModel

CONVERSATIONS = 1_024
OFFERS = 256


class Memory:
    """Bounded: what was used longest ago goes first, and is asked for again if it is needed (`SendAll`)."""

    def __init__(self, conversations: int = CONVERSATIONS, offers: int = OFFERS) -> None:
        self._histories: OrderedDict[str, list[HistoryMessage]] = OrderedDict()
        self._offers: OrderedDict[str, tuple[ToolSpec, ...]] = OrderedDict()
        self._most = (conversations, offers)

    def extended(self, conversation: str, known: int, newer: tuple[HistoryMessage, ...]) -> History | None:
        """The history with `newer` after the first `known`; None if those are not here. Nothing is kept of none."""
        histories = self._histories
        messages = histories.get(conversation)
        if known == 0:
            if messages is not None:
                del histories[conversation]
            if not newer:
                return History([])
            messages = histories[conversation] = list(newer)
            if len(histories) > self._most[0]:
                histories.popitem(last=False)
            return History(messages)
        if messages is None or len(messages) < known:
            return None
        if len(messages) > known:  # a reply that was never heard, and is asked for again
            messages = histories[conversation] = messages[:known]
        messages += newer
        histories.move_to_end(conversation)
        return History(messages)

    def forget(self, conversation: str) -> None:
        """Nothing of it is needed any more."""
        self._histories.pop(conversation, None)

    def offer(self, digest: str, specs: tuple[ToolSpec, ...] | None) -> tuple[ToolSpec, ...] | None:
        """The specs that `digest` stands for; None if they are not here."""
        if not digest:
            return ()
        offers = self._offers
        if specs is None:
            known = offers.get(digest)
            if known is not None:
                offers.move_to_end(digest)
            return known
        offers[digest] = specs
        offers.move_to_end(digest)
        if len(offers) > self._most[1]:
            offers.popitem(last=False)
        return specs


class ModelActor(Actor):
    """Asks one model, for any number of conversations at once."""

    hears = Complete | Remember
    limit: ClassVar[int | None] = None

    def __init__(self, model: Model, prices: Prices | None = None) -> None:
        self.model = model
        self.prices = prices
        self._speaker = model if isinstance(model, StreamingModel) else None  # asked once: 13 µs
        self.memory = Memory()

    async def receive(self, message: Complete | Remember, context: Context) -> Completed | SendAll | Remembered:
        """Answer what the model said, or what is missing to ask it. What the model raises becomes a failure here."""
        history = self.memory.extended(message.conversation, message.known, message.newer)
        if not isinstance(message, Complete):
            return Remembered(0 if history is None else len(history))
        tools = self.memory.offer(message.tools, message.specs)
        if history is None or tools is None:
            return SendAll(history=history is None, tools=tools is None)
        request = ModelRequest(
            history,
            tools,
            message.settings,
            message.conversation,
            context.remaining(),
            message.tool_choice,
            message.output,
        )
        try:
            if message.events and self._speaker is not None:
                reply = await self._streamed(self._speaker, request, context, calls=message.calls)
            else:
                reply = await self.model.complete(request)
        except BaseException as error:
            if isinstance(error, ToolwireError) and self.prices is not None and "usage" in error.failure.details:
                raise ToolwireError(self._priced_failure(error.failure, self.prices)) from error
            if isinstance(error, ToolwireError) or is_ours(error) or ends_program(error):
                raise
            raise ToolwireError(failed("model_failed", f"the model raised {shown(error)}")) from error
        if type(reply) is not ModelReply:
            said = f"the model returned {type(reply).__name__}, not a ModelReply"
            raise ToolwireError(failed("model_failed", said))
        if reply.calls:
            reply = spelled(reply)
        if self.prices is not None:
            return self._priced(reply, self.prices)
        return Completed(reply.text, reply.calls, reply.usage, reply.finish, reply.opaque, reply.model)

    def _priced(self, reply: ModelReply, prices: Prices) -> Completed:
        """What the model said, with what it cost."""
        name = reply.model or str(getattr(self.model, "model", ""))
        cost = cost_of(prices, name, reply.usage)
        usage = replace(reply.usage, unpriced=1) if cost is None else replace(reply.usage, cost=cost)
        return Completed(reply.text, reply.calls, usage, reply.finish, reply.opaque, name, cost is not None)

    def _priced_failure(self, failure: Failure, prices: Prices) -> Failure:
        """How the model failed, with what that cost."""
        usage = usage_in(failure)
        name = str(failure.details.get("model") or getattr(self.model, "model", ""))
        cost = cost_of(prices, name, usage)
        return with_usage(failure, replace(usage, unpriced=1) if cost is None else replace(usage, cost=cost))

    def unsaid(self, error: Exception) -> Failure:
        """Whatever can't be sent on, the model has said."""
        return failed("model_failed", f"what the model said can't be sent on: {shown(error)}")

    async def _streamed(
        self, model: StreamingModel, request: ModelRequest, listener: Context, *, calls: bool
    ) -> ModelReply:
        reply = None
        async with model.stream(request) as events:
            async for event in events:
                if isinstance(event, (TextDelta, ReasoningDelta)):
                    listener.report(event)
                elif isinstance(event, CallSpoken):
                    if calls:
                        call = written(event.call)
                        listener.report(event if call is event.call else replace(event, call=call))
                else:
                    reply = event
        if reply is None:
            raise ToolwireError(failed("model_failed", "the model's stream ended without a reply"))
        return reply


def spelled(reply: ModelReply) -> ModelReply:
    """`reply` with calls that a history can keep."""
    for call in reply.calls:
        if type(call.arguments) is not str and written(call) is not call:
            return replace(reply, calls=tuple(map(written, reply.calls)))
    return reply


def written(call: ToolCall) -> ToolCall:
    """`call`, which a history can keep: a NaN, which JSON has no word for, makes its arguments malformed text."""
    if type(call.arguments) is str:
        return call
    try:
        call.text()
    except (TypeError, OverflowError, RecursionError, UnicodeEncodeError):
        return call  # it can't be sent on, and that is what is said of it
    except ValueError:
        return replace(call, arguments=json.dumps(msgspec.to_builtins(call.arguments)))
    return call


def cost_of(prices: Prices, model: str, usage: Usage) -> float | None:
    """What `usage` of the model of that name costs, None where nobody knows. Raises ToolwireError."""
    try:
        return prices.cost(model, usage)
    except Exception as error:
        said = f"Runtime(prices=…) raised {shown(error)} for the model {model[:100]!r}"
        raise ToolwireError(failed("failed", said, by="prices")) from error
