"""A model that is asked no more often than a limiter allows."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import anyio
from msgspec.structs import replace

from ...protocol.history import AssistantMessage, HistoryMessage, ToolMessage
from ...protocol.tools import encode_json
from ...protocol.wasted import usage_in
from .contract import Model, ModelEvent, ModelReply, ModelRequest
from .hearing import failure_from, left_of
from .limiter import Limiter
from .standing import Standing

CHARACTERS = 4
"""Of a text to a token, as providers themselves say for English."""
CONVERSATIONS = 1_024
"""Conversations whose last count of tokens is kept."""


class Limited(Standing):
    """Asks `model` as `limiter` allows. A request that can't begin within its time fails as `rate_limited`, at once.

    Its tokens are estimated, from what the model counted last in the conversation and the size of what is new since;
    when it has ended the model's own count takes the place of that. What failed without costing anything is given back.
    """

    def __init__(self, model: Model, limiter: Limiter) -> None:
        super().__init__(model)
        self.limiter = limiter
        self._counts = Counts()

    def __repr__(self) -> str:
        return f"<Limited {self.inner!r} by {self.limiter!r}>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`. Raises ToolwireError."""
        visit = Visit(self, request)
        asked = await visit.enter()
        try:
            reply = await self.inner.complete(asked)
        except BaseException as error:
            visit.failed(error)
            raise
        visit.answered(reply)
        return reply

    def _stream(self, request: ModelRequest) -> "LimitedStream":
        """The events of the answer to `request`. Raises ToolwireError."""
        return LimitedStream(self, request)

    def hear(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The stream of the model inside."""
        return self._hear(request)

    @property
    def counts(self) -> "Counts | None":
        """How many tokens conversations have; None where nobody asks."""
        return None if self.limiter.tokens is None else self._counts


class Visit:
    """One request inside of a limiter: `enter`, then exactly one of the others."""

    __slots__ = ("_limiter", "_request", "_taken", "counts")

    def __init__(self, limited: Limited, request: ModelRequest) -> None:
        self._limiter = limited.limiter
        self._request = request
        self.counts = limited.counts
        self._taken = 0 if self.counts is None else self.counts.estimate(request)

    async def enter(self) -> ModelRequest:
        """Wait for it; the request with the time that is left then."""
        request = self._request
        began = 0.0 if request.seconds is None else anyio.current_time()
        if not await self._limiter.enter(self._taken, request.seconds):
            return request
        left = left_of(request, began)
        return request if left is None else replace(request, seconds=max(left, 0.0))

    def answered(self, reply: ModelReply) -> None:
        """The model has answered."""
        spent = reply.usage.input_tokens + reply.usage.output_tokens or self._taken
        if self.counts is not None:
            self.counts.note(self._request, spent)
        self._limiter.leave(spent - self._taken)

    def failed(self, error: BaseException) -> None:
        """It has failed, or was cancelled: then nobody knows what it took, and what was thought stands."""
        spent = self._taken
        try:
            usage = usage_in(failure_from(error))
        except BaseException as other:
            if other is not error:
                raise
        else:
            spent = usage.input_tokens + usage.output_tokens
        self._limiter.leave(spent - self._taken)

    def left(self) -> None:
        """It was left before its end."""
        self._limiter.leave(0)


class LimitedStream:
    """The events of an answer that has its place at a limiter, inside `async with`."""

    __slots__ = ("_events", "_limited", "_reply", "_request", "_stream", "_visit")

    def __init__(self, limited: Limited, request: ModelRequest) -> None:
        self._limited = limited
        self._request = request
        self._reply: ModelReply | None = None

    async def __aenter__(self) -> Self:
        self._visit = Visit(self._limited, self._request)
        asked = await self._visit.enter()
        try:
            self._stream = self._limited.hear(asked)
            self._events = aiter(await self._stream.__aenter__())
        except BaseException as error:
            self._visit.failed(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._stream.__aexit__(kind, error, trace)
        finally:
            if self._reply is not None:
                self._visit.answered(self._reply)
            elif error is not None:
                self._visit.failed(error)
            else:
                self._visit.left()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        event = await anext(self._events)
        if isinstance(event, ModelReply):
            self._reply = event
        return event


class Counts:
    """How many tokens the conversations had that spoke last, and how many messages that was."""

    def __init__(self, limit: int = CONVERSATIONS) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def estimate(self, request: ModelRequest) -> int:
        """About how many tokens `request` has: only what is new in its conversation is looked at."""
        messages = request.messages
        first, known = self._known.get(request.conversation, (0, 0))
        if not 0 < first <= len(messages):
            first, known = 0, len(encode_json(request.tools)) // CHARACTERS if request.tools else 0
        return known + sum(size(messages[n]) for n in range(first, len(messages))) // CHARACTERS

    def note(self, request: ModelRequest, tokens: int) -> None:
        """That `request` and its answer were so many."""
        if not request.conversation:
            return
        self._known[request.conversation] = (len(request.messages) + 1, tokens)
        self._known.move_to_end(request.conversation)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)


def size(message: HistoryMessage) -> int:
    """Characters of a message; images and files are not counted."""
    if isinstance(message, ToolMessage):
        return len(message.content)
    if isinstance(message, AssistantMessage):
        return len(message.text) + sum(len(call.name) + len(call.text()) for call in message.calls)
    return len(message.text)
