"""A model that is asked no more often than a limiter allows."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ...protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from ...protocol.tools import encode_json
from ...protocol.wasted import usage_in
from ...runtime.loops import here
from .contract import Model, ModelEvent, ModelReply, ModelRequest
from .hearing import failure_from, left_of
from .limiter import Limiter
from .standing import Standing

CHARACTERS = 4
"""Of a text to a token, as providers themselves say for English."""
CONVERSATIONS = 1_024
"""Conversations whose last count of tokens is kept."""

NOTHING = (0, 0)


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
        limiter = self.limiter
        taken = 0 if limiter.tokens is None else self._counts.estimate(request)
        asked = request if limiter.admit(taken) else await self.wait(request, taken)
        try:
            reply = await self.inner.complete(asked)
        except BaseException as error:
            self.failed(error, taken)
            raise
        self.answered(request, reply, taken)
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

    async def wait(self, request: ModelRequest, taken: int) -> ModelRequest:
        """Wait until `request` may begin, which takes so many tokens. It, with the time that is left then."""
        seconds = request.seconds
        began = 0.0 if seconds is None else here().clock()
        if not await self.limiter.enter(taken, seconds):
            return request
        left = left_of(request, began)
        return request if left is None else replace(request, seconds=max(left, 0.0))

    def answered(self, request: ModelRequest, reply: ModelReply, taken: int) -> None:
        """The model has answered a request for which so many tokens were taken."""
        if self.limiter.tokens is None:
            self.limiter.leave(0)
            return
        spent = reply.usage.input_tokens + reply.usage.output_tokens or taken
        self._counts.note(request, spent - reply.usage.wasted_tokens)
        self.limiter.leave(spent - taken)

    def failed(self, error: BaseException, taken: int) -> None:
        """It has failed, or was cancelled."""
        self.limiter.leave(spent_by(error, taken) - taken)


class LimitedStream:
    """The events of an answer that has its place at a limiter, inside `async with`."""

    __slots__ = ("_limited", "_next", "_reply", "_request", "_spent", "_stream", "_taken")

    def __init__(self, limited: Limited, request: ModelRequest) -> None:
        self._limited = limited
        self._request = request
        self._reply: ModelReply | None = None

    async def __aenter__(self) -> AsyncIterator[ModelEvent]:
        limited, request = self._limited, self._request
        counts = limited.counts
        taken = self._taken = self._spent = 0 if counts is None else counts.estimate(request)
        asked = request if limited.limiter.admit(taken) else await limited.wait(request, taken)
        try:
            self._stream = limited.hear(asked)
            events = aiter(await self._stream.__aenter__())
        except BaseException as error:
            limited.failed(error, taken)
            raise
        if counts is None:
            return events
        self._next = events.__anext__
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._stream.__aexit__(kind, error, trace)
        finally:
            if self._limited.counts is None:
                self._limited.limiter.leave(0)
            elif self._reply is not None:
                self._limited.answered(self._request, self._reply, self._taken)
            else:  # what was thought stands where it was left before its end, for whatever reason of the listener's
                self._limited.limiter.leave(self._spent - self._taken)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        try:
            event = await self._next()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self._spent = spent_by(error, self._taken)
            raise
        if type(event) is ModelReply:
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
        first, known = self._known.get(request.conversation, NOTHING)
        last = len(messages)
        if not 0 < first <= last:
            first, known = 0, len(encode_json(request.tools)) // CHARACTERS if request.tools else 0
        characters = 0
        for n in range(first, last):
            characters += size(messages[n])
        return known + characters // CHARACTERS

    def note(self, request: ModelRequest, tokens: int) -> None:
        """That `request` and its answer were so many."""
        conversation, known = request.conversation, self._known
        if not conversation:
            return
        new = conversation not in known
        known[conversation] = (len(request.messages) + 1, tokens)
        if not new:
            known.move_to_end(conversation)
        elif len(known) > self._limit:
            known.popitem(last=False)


def spent_by(error: BaseException, taken: int) -> int:
    """The tokens of an answer that failed; those that were taken where it was cancelled, as nobody knows then."""
    try:
        usage = usage_in(failure_from(error))
    except BaseException as other:
        if other is not error:
            raise
        return taken
    return usage.input_tokens + usage.output_tokens


def size(message: HistoryMessage) -> int:
    """Characters of a message; images and files are not counted."""
    if type(message) is UserMessage or type(message) is SystemMessage:  # isinstance costs a Struct 0.3 µs to say no
        return len(message.text)
    if isinstance(message, ToolMessage):
        return len(message.content)
    if isinstance(message, AssistantMessage):
        return len(message.text) + sum([len(call.name) + len(call.text()) for call in message.calls])
    return len(message.text)
