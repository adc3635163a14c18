"""Another model's answer, heard by a model that stands around it: what it raises, its events, the time for the first.

What stands around a model is itself a model, see `contract`; these are the pieces that such models share.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from msgspec.structs import replace

from ...protocol.events import CallSpoken, TextDelta, Usage
from ...protocol.failures import Failure, Misuse, ToolwireError, failed
from ...protocol.retry import ATTEMPT
from ...protocol.retryable import later
from ...protocol.wasted import added
from ...runtime.border import ends_program, is_ours, shown
from ...runtime.loops import here
from .contract import Model, ModelEvent, ModelReply, ModelRequest, StreamingModel

if TYPE_CHECKING:
    from ...runtime.loops import Scope

Stream = Callable[[ModelRequest], AbstractAsyncContextManager[AsyncIterator[ModelEvent]]]
"""What `stream` is of a model that has it."""


def failure_from(error: BaseException) -> Failure:
    """What a model raised, as a failure. What cancels this task, and what ends it or the program, is raised again.

    One exception in a group, as a model that works with a task group raises it, stands for itself.
    """
    if not isinstance(error, ToolwireError) and (
        isinstance(error, GeneratorExit) or is_ours(error) or ends_program(error)
    ):
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


def too_late(what: str, seconds: float) -> Failure:
    """That a model did not begin to answer in the time it was given."""
    said = f"{what} was given up after {seconds:.3g} s without an answer"
    return failed("timed_out", said, by=ATTEMPT, seconds=seconds)


def left_of(request: ModelRequest, began: float) -> float | None:
    """Seconds that are left for an answer that was asked for at `began`; None for no limit."""
    return None if request.seconds is None else request.seconds - (here().clock() - began)


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
    """One stream of another model, from its first event on: `begin`, then `first` and what `next` gives, then `close`.

    With `seconds` it fails as `timed_out` if nothing is heard in that time. That limit is a cancel scope around all of
    the stream, as the scopes that this may open itself have to lie within; but it is armed only in `begin`: what the
    listener does later is not to be cancelled.
    """

    __slots__ = ("_deadline", "_loop", "_manager", "_name", "_scope", "_seconds", "first", "next")

    def __init__(self, model: object, stream: Stream, request: ModelRequest, seconds: float | None = None) -> None:
        self._name = model
        self._manager = stream(request)
        self._seconds = seconds
        self._scope: Scope | None = None
        self.first: ModelEvent | None = None
        self.next: Callable[[], Awaitable[ModelEvent]]

    async def begin(self) -> Self:
        """Open the stream, and wait for its first event. If that fails, it is closed already."""
        if self._seconds is not None:
            loop = self._loop = here()
            self._deadline = loop.clock() + self._seconds
            self._scope = loop.limit(self._deadline)
            self._scope.__enter__()
        try:
            self.next = aiter(await self._manager.__aenter__()).__anext__
        except BaseException as error:
            self._left(type(error), error, error.__traceback__)
            raise
        try:
            try:
                self.first = await self.next()
            except StopAsyncIteration:
                said = "the model's stream ended without a reply"
                raise ToolwireError(failed("model_failed", said)) from None
            if self._scope is not None:
                self._loop.lift(self._scope, self._deadline)
                if self._scope.cancel_called:  # it was heard in the moment in which its time was over
                    raise self._late()  # noqa: TRY301 - the stream has to be closed
        except BaseException as error:
            await self.close(type(error), error, error.__traceback__)
            raise
        return self

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
        if scope is not None:
            self._loop.forget(scope, self._deadline)
            if scope.__exit__(kind, error, trace) and error is not None:
                raise self._late() from error

    def _late(self) -> ToolwireError:
        return ToolwireError(too_late(repr(self._name), self._seconds or 0.0))


class Begun(NamedTuple):
    """A stream that has begun, what is made of its reply (None: nothing), and what was spent on others before it."""

    hearing: Hearing
    answered: Callable[[ModelReply], ModelReply] | None = None
    spent: Usage | None = None


class Answering:
    """The events of an answer that `begin` begins, at whatever model and after however many tries."""

    __slots__ = ("_answered", "_begin", "_first", "_hearing", "_next", "_request", "_spent")

    def __init__(self, begin: Callable[[ModelRequest], Awaitable[Begun]], request: ModelRequest) -> None:
        self._begin = begin
        self._request = request

    async def __aenter__(self) -> Self:
        hearing, self._answered, self._spent = await self._begin(self._request)
        self._hearing = hearing
        self._first = hearing.first
        self._next = hearing.next
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._hearing.close(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        event = self._first
        if event is None:
            event = await (self._next() if self._spent is None else self._counted(self._spent))
        else:
            self._first = None
        if self._answered is not None and type(event) is ModelReply:
            return self._answered(event)
        return event

    async def _counted(self, spent: Usage) -> ModelEvent:
        """The next event; a failure says what was spent before it too."""
        try:
            return await self._next()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            failure = failure_from(error)
            if isinstance(error, Misuse):
                raise
            raise ToolwireError(added(failure, spent)) from error


async def in_time(model: Model, request: ModelRequest, seconds: float) -> ModelReply:
    """The answer of `model`, within so many seconds. Raises ToolwireError, `timed_out` after those."""
    loop = here()
    deadline = loop.clock() + seconds
    left = request.seconds
    asked = replace(request, seconds=seconds) if left is None or left > seconds else request
    scope = loop.limit(deadline)
    with scope:
        try:
            return await model.complete(asked)
        finally:
            loop.forget(scope, deadline)
    raise ToolwireError(too_late(repr(model), seconds))
