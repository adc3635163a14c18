"""Models of which the next is asked where the one before it can't serve."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from ...protocol.events import Usage
from ...protocol.failures import Failure, Misuse, ToolwireError
from ...protocol.wasted import usage_in, with_usage
from ...runtime.loops import here
from .contract import Model, ModelReply, ModelRequest, StreamingModel
from .hearing import (
    Answering,
    Begun,
    Hearing,
    check_settings,
    close,
    failure_from,
    in_time,
    left_of,
    name_of,
    prepare,
    stream_of,
)

T = TypeVar("T")

SERVED = frozenset({"model_failed", "rate_limited", "timed_out", "overloaded", "circuit_open", "unreachable"})
"""The failures that say nothing about the request itself: another model may well answer it."""


class Fallback:
    """Asks the first of `models`, and the next where it fails with a code of SERVED, or one of `also`.

    Each request begins with the first again. All but the last have `within` seconds to answer, or to begin with it in
    a stream; without it each has an equal share of the time left, so that a silent one leaves time for the others
    (math.inf: all of it). In a stream the next is asked as long as nothing was told. `ModelReply.model` says who
    answered. If all fail, the failure is that of the last, and names each (`details.tried`).
    """

    def __init__(self, models: Sequence[Model], within: float | None = None, also: Collection[str] = ()) -> None:
        self.models = tuple(models)
        self.within = within
        self.codes = SERVED | frozenset(also)
        if any(isinstance(model, StreamingModel) for model in models):
            self._hear = [stream_of(model) for model in models]
            self.stream = self._stream

    def __repr__(self) -> str:
        return f"<Fallback {', then '.join(map(repr, self.models))}>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The answer of the first model that has one. Raises ToolwireError."""
        model, reply, spent = await self._first(request, self._whole)
        return answered(model, spent, reply)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises Misuse for settings that one of the models can't have."""
        check_settings(self.models, settings)

    async def aclose(self) -> None:
        """Close the models."""
        await close(self.models)

    def prepare(self) -> None:
        """Make what the first request needs. Raises Misuse if that can't be had."""
        prepare(self.models)

    def _stream(self, request: ModelRequest) -> Answering:
        """The events of the answer to `request`. Raises ToolwireError."""
        return Answering(self._begun, request)

    async def _begun(self, request: ModelRequest) -> Begun:
        model, hearing, spent = await self._first(request, self._heard)
        return Begun(hearing, partial(answered, model, spent), spent)

    async def _first(
        self, request: ModelRequest, ask: Callable[[int, ModelRequest, float | None], Awaitable[T]]
    ) -> tuple[Model, T, Usage | None]:
        """Who answers `request` first, with what, and what the others have cost."""
        began = 0.0 if request.seconds is None else here().clock()
        tried: list[tuple[Model, Failure]] = []
        last = len(self.models) - 1
        for n, model in enumerate(self.models):
            left = request.seconds if not tried else left_of(request, began)
            try:
                asked = request if not tried or left is None else replace(request, seconds=max(left, 0.0))
                said = await ask(n, asked, None if n == last else self._share(left, last + 1 - n))
            except BaseException as error:
                failure = failure_from(error)
                if isinstance(error, Misuse):
                    raise
                tried.append((model, failure))
                left = left_of(request, began)
                if n == last or failure.code not in self.codes or (left is not None and left <= 0):
                    raise ToolwireError(all_failed(tried)) from error
            else:
                return model, said, spent_by(tried) if tried else None
        raise AssertionError("the last model answers, or fails")

    def _share(self, left: float | None, models: int) -> float | None:
        """Seconds for a model that has others behind it; None for no limit of its own."""
        if self.within is not None:
            return None if self.within == float("inf") else self.within
        return None if left is None else left / models

    async def _whole(self, n: int, request: ModelRequest, seconds: float | None) -> ModelReply:
        model = self.models[n]
        if seconds is None:
            return await model.complete(request)
        return await in_time(model, request, seconds)

    def _heard(self, n: int, request: ModelRequest, seconds: float | None) -> Awaitable[Hearing]:
        return Hearing(self.models[n], self._hear[n], request, seconds).begin()


def answered(model: Model, spent: Usage | None, reply: ModelReply) -> ModelReply:
    """`reply` with whose it is, and with what those cost that failed before."""
    if spent is not None:
        reply = replace(reply, usage=reply.usage + spent)
    return reply if reply.model else replace(reply, model=name_of(model))


def spent_by(tried: Sequence[tuple[Model, Failure]]) -> Usage:
    """What failed answers have cost, as far as that is known."""
    return sum((usage_in(failure) for _, failure in tried), Usage())


def all_failed(tried: Sequence[tuple[Model, Failure]]) -> Failure:
    """The failure of a request that nobody served."""
    last = tried[-1][1]
    if len(tried) == 1:
        return last
    said = "; ".join(f"{name_of(model)}: {failure}" for model, failure in tried)
    told = [{"model": name_of(model), "code": failure.code} for model, failure in tried]
    details = {**last.details, "tried": told}
    spent = spent_by(tried)
    if spent != Usage():
        named = [failure.details["model"] for _, failure in tried if "model" in failure.details]
        details |= {"model": named[-1]} if named else {}
    waits = [failure.retry_after for _, failure in tried if failure.retry_after is not None]
    failure = replace(
        last,
        message=f"{len(tried)} models were asked and none answered: {said}",
        retryable=any(failure.retryable for _, failure in tried),
        retry_after=min(waits, default=None),
        details=details,
    )
    return failure if spent == Usage() else with_usage(failure, spent)
