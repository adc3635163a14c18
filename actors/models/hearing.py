"""Another model's answer, heard by a model that stands around it: what it raises, its events, the time for the first.

What stands around a model is itself a model, see `contract`; these are the pieces that such models share.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio

from ...protocol.events import CallSpoken, TextDelta
from ...protocol.failures import Failure, ToolwireError, failed
from ...protocol.retry import ATTEMPT
from ...protocol.retryable import later
from ...runtime.border import ends_program, is_ours, shown
from .contract import Model, ModelEvent, ModelReply, ModelRequest, StreamingModel

Stream = Callable[[ModelRequest], AbstractAsyncContextManager[AsyncIterator[ModelEvent]]]
"""What `stream` is of a model that has it."""


def failure_from(error: BaseException) -> Failure:
    """What a model raised, as a failure. What cancels this task, and what ends the program, is raised again.

    One exception in a group, as a model that works with a task group raises it, stands for itself.
    """
    if not isinstance(error, ToolwireError) and (is_ours(error) or ends_program(error)):
        raise error
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, ToolwireError):
        return error.failure
    retryable, after = later(error) if isinstance(error, Exception) else (False, None)
    return Failure("model_failed", f"the model raised {shown(error)}", retryable=retryable, retry_after=after)


def name_of(model: Model) -> str:
    """What a model is called: by its provider, or as it shows itself."""
    name = getattr(model, "model", None)
    return name if isinstance(name, str) else repr(model)


def prepare(models: Iterable[object]) -> None:
    """Have each of `models` make what it needs, if it has a word for that. Raises Misuse if that can't be had."""
    for model in models:
        word = None if isinstance(model, type) else getattr(model, "prepare", None)
        if callable(word):
            word()


def check_settings(models: Iterable[object], settings: Mapping[str, Any]) -> None:
    """Have each of `models` look at `settings`, if it has a word for that. Raises Misuse for what it can't have."""
    for model in models:
        word = getattr(model, "check_settings", None)
        if word is not None:
            word(settings)


def sooner(seconds: float | None, limit: float) -> float:
    """The shorter of two times, in seconds; None is no limit."""
    return limit if seconds is None else min(seconds, limit)


def too_late(what: str, seconds: float) -> Failure:
    """That a model did not begin to answer in the time it was given."""
    said = f"{what} was given up after {seconds:.3g} s without an answer"
    return failed("timed_out", said, by=ATTEMPT, seconds=seconds)


def left_of(request: ModelRequest, began: float) -> float | None:
    """Seconds that are left for an answer that was asked for at `began`; None for no limit."""
    return None if request.seconds is None else request.seconds - (anyio.current_time() - began)


def stream_of(model: Model) -> Stream:
    """How `model` is heard: one that answers only whole says its text, its calls and its reply at once."""
    if isinstance(model, StreamingModel):
        return model.stream
    return lambda request: Whole(model, request)


async def close(models: Iterable[Model]) -> None:
    """Close each of `models` that can be closed, once. The last exception of those goes on after all are."""
    wrong: Exception | None = None
    for model in {id(model): model for model in models}.values():
        aclose: Any = getattr(model, "aclose", None)
        if aclose is not None:
            try:
                await aclose()
            except Exception as error:  # noqa: BLE001 - the others are to be closed too; it is raised below
                wrong = error
    if wrong is not None:
        raise wrong


class Whole:
    """The answer of a model that answers in one piece, as the events of a stream."""

    def __init__(self, model: Model, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._events: list[ModelEvent] = []

    async def __aenter__(self) -> Self:
        reply = await self._model.complete(self._request)
        told: list[ModelEvent] = [CallSpoken(call, position) for position, call in enumerate(reply.calls)]
        self._events = [reply, *reversed(told), *([TextDelta(reply.text)] if reply.text else [])]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        if not self._events:
            raise StopAsyncIteration
        return self._events.pop()


class Hearing:
    """One stream of another model, from its first event on: `begin`, then `next` until it gives None, then `close`.

    With `seconds` it fails as `timed_out` if nothing is heard in that time. That limit is a cancel scope around all of
    the stream, as the scopes that this may open itself have to lie within; but it is armed only in `begin`: what the
    listener does later is not to be cancelled.
    """

    __slots__ = ("_events", "_first", "_manager", "_name", "_scope", "_seconds")

    def __init__(self, model: object, stream: Stream, request: ModelRequest, seconds: float | None = None) -> None:
        self._name = model
        self._manager = stream(request)
        self._seconds = seconds
        self._scope = None if seconds is None else anyio.CancelScope()
        self._first: ModelEvent | None = None

    async def begin(self) -> Self:
        """Open the stream, and wait for its first event. If that fails, it is closed already."""
        scope = self._scope
        if scope is not None:
            scope.__enter__()
            scope.deadline = anyio.current_time() + (self._seconds or 0.0)
        try:
            self._events = aiter(await self._manager.__aenter__())
        except BaseException as error:
            self._left(type(error), error, error.__traceback__)
            raise
        try:
            self._first = await anext(self._events, None)
            if scope is not None:
                scope.deadline = math.inf
                if scope.cancel_called:  # it was heard in the moment in which its time was over
                    raise self._late()  # noqa: TRY301 - the stream has to be closed
            if self._first is None:
                raise ToolwireError(failed("model_failed", "the model's stream ended without a reply"))  # noqa: TRY301 - the same
        except BaseException as error:
            await self.close(type(error), error, error.__traceback__)
            raise
        return self

    async def next(self) -> ModelEvent | None:
        """The next event; None at the end."""
        first = self._first
        if first is not None:
            self._first = None
            return first
        return await anext(self._events, None)

    async def close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End the stream. Whether it takes `error` for done with."""
        try:
            done = await self._manager.__aexit__(kind, error, trace)
        except BaseException as other:
            self._left(type(other), other, other.__traceback__)
            raise
        self._left(kind, error, trace)
        return bool(done)

    def _left(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the scope. Raises ToolwireError if `error` is that its time is over."""
        scope, self._scope = self._scope, None
        if scope is not None and scope.__exit__(kind, error, trace) and error is not None:
            raise self._late() from error

    def _late(self) -> ToolwireError:
        return ToolwireError(too_late(repr(self._name), self._seconds or 0.0))


class Begun(NamedTuple):
    """A stream that has begun, and what is made of its reply (None: nothing)."""

    hearing: Hearing
    answered: Callable[[ModelReply], ModelReply] | None = None


class Answering:
    """The events of an answer that `begin` begins, at whatever model and after however many tries."""

    __slots__ = ("_answered", "_begin", "_hearing")

    def __init__(self, begin: Callable[[], Awaitable[Begun]]) -> None:
        self._begin = begin

    async def __aenter__(self) -> Self:
        self._hearing, self._answered = await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._hearing.close(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        event = await self._hearing.next()
        if event is None:
            raise StopAsyncIteration
        if self._answered is not None and isinstance(event, ModelReply):
            return self._answered(event)
        return event
