"""A model that is asked again where it failed in a way that may pass."""

import random
from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import TypeVar

import anyio
from msgspec.structs import replace

from ...protocol.events import Usage
from ...protocol.failures import Failure, Misuse, ToolwireError
from ...protocol.retry import wait_after
from ...protocol.tools import Retry
from ...protocol.wasted import usage_in, with_usage
from ...runtime.loops import here
from .contract import Model, ModelReply, ModelRequest
from .hearing import Answering, Begun, Hearing, failure_from, in_time, left_of, name_of
from .standing import Standing

T = TypeVar("T")

log = getLogger("toolwire.models")

LONG = 5.0
"""Seconds of a wait that the log tells of: whoever waits for the answer should be able to learn for what."""


class Retrying(Standing):
    """Asks `model` again as `retry` says, within the time of the request. `draw` gives random numbers from 0 to 1.

    Tried again is what says so of itself (`Failure.retryable`: 429, 5xx, a connection that failed), and what took too
    long while the request still has time; where `retry.codes` names some, those instead. The waits are those of tools,
    and not shorter than the failure's `retry_after`; one that does not fit the time left is not begun. A stream is
    tried again as long as nothing of it was told. What failed tries have cost, where the model says it
    (`details.usage`), is added to the usage of the reply. The last failure says how often it was tried
    (`details.attempts`).
    """

    def __init__(self, model: Model, retry: Retry, draw: Callable[[], float] = random.random) -> None:
        super().__init__(model)
        self.retry = retry
        self.draw = draw

    def __repr__(self) -> str:
        return f"<Retrying {self.inner!r} [retries: {self.retry.times}]>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`, at the last try or before. Raises ToolwireError."""
        began = here().clock()
        try:
            return await self._whole(request)
        except BaseException as error:  # noqa: BLE001 - what cancels is raised again
            tries = Tries(self, request, began)
            return tries.answered(await tries.go_on(error, self._whole))

    @property
    def once(self) -> Model:
        """The model inside, which is asked once."""
        return self.inner

    def _stream(self, request: ModelRequest) -> Answering:
        """The events of the answer to `request`. Raises ToolwireError."""
        return Answering(self._begun, request)

    async def _begun(self, request: ModelRequest) -> Begun:
        began = here().clock()
        try:
            return Begun(await self._heard(request))
        except BaseException as error:  # noqa: BLE001 - what cancels is raised again
            tries = Tries(self, request, began)
            hearing = await tries.go_on(error, self._heard)
            return Begun(hearing, tries.answered, tries.spent)

    async def _whole(self, request: ModelRequest) -> ModelReply:
        limit = self.retry.attempt
        if limit is None:
            return await self.inner.complete(request)
        return await in_time(self.inner, request, limit)

    def _heard(self, request: ModelRequest) -> Awaitable[Hearing]:
        return Hearing(self.inner, self._hear, request, self.retry.attempt).begin()


class Tries:
    """The failed tries of one request, which was first asked at `began`."""

    __slots__ = ("_around", "_began", "_count", "_request", "_spent")

    def __init__(self, around: Retrying, request: ModelRequest, began: float) -> None:
        self._around = around
        self._request = request
        self._began = began
        self._count = 0
        self._spent = Usage()

    async def go_on(self, error: BaseException, ask: Callable[[ModelRequest], Awaitable[T]]) -> T:
        """Ask until it succeeds, after a first try that raised `error`. Raises ToolwireError if that never comes."""
        while True:
            await anyio.sleep(self._wait(error))
            left = left_of(self._request, self._began)
            request = self._request if left is None else replace(self._request, seconds=max(left, 0.0))
            try:
                return await ask(request)
            except BaseException as again:  # noqa: BLE001 - what cancels is raised again
                error = again

    @property
    def spent(self) -> Usage | None:
        """What the failed tries have cost; None for nothing."""
        return None if self._spent == Usage() else self._spent

    def answered(self, reply: ModelReply) -> ModelReply:
        """`reply` with what the failed tries have cost."""
        return reply if self._spent == Usage() else replace(reply, usage=reply.usage + self._spent)

    def _wait(self, error: BaseException) -> float:
        """Seconds until the next try. Raises what the last one raised, if there is none."""
        failure, around = failure_from(error), self._around
        if isinstance(error, Misuse):
            raise error
        self._count += 1
        self._spent += usage_in(failure)
        may = passes(failure, around.retry)
        wait = None
        if may:
            left = left_of(self._request, self._began)
            wait = wait_after(failure, around.retry, self._count, left, around.draw())
        if wait is None:
            raise ToolwireError(self._last(failure, early=may and self._count <= around.retry.times)) from error
        if wait >= LONG:
            log.warning("%s is asked again in %.0f s: %s", name_of(around.inner), wait, failure.code)
        return wait

    def _last(self, failure: Failure, *, early: bool) -> Failure:
        times = "once" if self._count == 1 else f"{self._count} times"
        why = ", and there is no time left for another try" if early else ""
        details = {**failure.details, "attempts": self._count}
        said = failure.message if self._count == 1 and not early else f"{failure.message} (tried {times}{why})"
        told = replace(failure, message=said, details=details)
        return told if self._spent == Usage() else with_usage(told, self._spent)


def passes(failure: Failure, retry: Retry) -> bool:
    """Whether another try of the same request may do better."""
    if retry.codes:
        return failure.code in retry.codes
    return failure.retryable or failure.code == "timed_out"
