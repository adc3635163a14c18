"""The executor: a shell around `protocol.plan`. It brings every call of a response to its end."""

from collections.abc import Sequence
from typing import Any, ClassVar

import anyio
from msgspec.structs import replace

from ..protocol.events import CallFinished, CallStarted, ConfirmationWanted
from ..protocol.failures import ToolwireError, failed
from ..protocol.messages import (
    AddCall,
    AnswerCall,
    BatchClosed,
    BatchEnded,
    CallAdded,
    CallAnswered,
    CloseBatch,
    OpenBatch,
    RunBatch,
)
from ..protocol.questions import question
from ..protocol.tools import ToolResult
from ..runtime.actor import Actor
from ..runtime.context import Context
from ..runtime.tracing import Tracing
from .artifacts import Artifacts
from .dispatch import Dispatcher
from .errand import Errand

OVERTAKEN = 1.0
"""Seconds that a call waits for the batch that it belongs to: on a bus a request may overtake another."""

Heard = RunBatch | OpenBatch | AddCall | CloseBatch | AnswerCall
Said = BatchEnded | CallAdded | BatchClosed | CallAnswered

WIDEST = 4
"""Bytes that a character of UTF-8 may take."""


class Executor(Actor):
    """Runs the calls of one response in parallel, each as soon as those that it waits for have ended."""

    hears = Heard
    limit: ClassVar[int | None] = None

    def __init__(self, dispatcher: Dispatcher, tracing: Tracing, artifacts: Artifacts) -> None:
        self.dispatcher = dispatcher
        self.artifacts = artifacts
        self.tracing = tracing
        self.batches: dict[str, Errand] = {}
        self._awaited: dict[str, anyio.Event] = {}

    async def receive(self, message: Heard, context: Context) -> Said:
        """Run the batch; one result for each call, in call order, whatever happens.

        Most responses have one call: it needs no plan, no task and no follower.
        """
        if not isinstance(message, RunBatch):
            return await self._heard(message, context)
        if len(message.calls) == 1 and self._is_plain(message):
            if message.events:
                result = await self._alone(message, context)
            else:
                call = message.calls[0]
                seconds = self.dispatcher.seconds(call.name, message.timeout)
                result = await self.dispatcher.run(call, seconds, context, None)
            return BatchEnded((result,), result.tainted)
        return await self._run(Errand(self.dispatcher, self.tracing, self.artifacts, message, context))

    async def _run(self, errand: Errand) -> BatchEnded:
        """Run a batch to its end. While it runs it is found by its name, if it has one."""
        name = errand.message.name
        if not name:
            results = await errand.finish()
        else:
            self.batches[name] = errand
            try:
                results = await errand.finish()
            finally:
                del self.batches[name]
        return BatchEnded(fitted(results, errand.context.system.largest("executor") // 2), errand.tainted)

    async def _heard(self, message: OpenBatch | AddCall | CloseBatch | AnswerCall, context: Context) -> Said:
        """What is said of a batch that runs, or begins before all of its calls are known."""
        if isinstance(message, AnswerCall):
            errand = self.batches.get(message.name)
            return CallAnswered(errand is not None and errand.answer(message.decision))
        if isinstance(message, OpenBatch):
            if message.name in self.batches:
                raise ToolwireError(failed("conflict", f"a batch of the name {message.name[:100]!r} runs already"))
            errand = Errand(self.dispatcher, self.tracing, self.artifacts, message, context)
            if message.name in self._awaited:
                self._awaited[message.name].set()
            return await self._run(errand)
        errand = await self._opened(message.name)
        if isinstance(message, AddCall):
            return CallAdded(errand.add(message))
        errand.close(message)
        return BatchClosed()

    async def _opened(self, name: str) -> Errand:
        """The open batch of that name. Raises ToolwireError if there is none, and none comes."""
        errand = self.batches.get(name)
        if errand is None:
            coming = self._awaited.setdefault(name, anyio.Event())
            try:
                with anyio.move_on_after(OVERTAKEN):
                    await coming.wait()
            finally:
                self._awaited.pop(name, None)
            errand = self.batches.get(name)
        if errand is None or not errand.plan.open:
            raise ToolwireError(failed("invalid_message", f"no batch of the name {name[:100]!r} is open"))
        return errand

    def _is_plain(self, message: RunBatch) -> bool:
        """Whether the first call needs no plan: it waits for nobody, and nothing about it is to be refused."""
        call = message.calls[0]
        within = message.limit is None or message.limit > 0
        special = message.references or call.after or message.decisions or message.repeated or message.tainted
        return bool(call.id) and within and not (special or self.tracing.listens())

    async def _alone(self, message: RunBatch, context: Context) -> ToolResult[Any]:
        """The one call of a response, and what is told of it."""
        call = message.calls[0]
        context.report(CallStarted(call.id, call.name, self.dispatcher.catalogue.shown(call.name, call.text())))
        seconds = self.dispatcher.seconds(call.name, message.timeout)
        result = await self.dispatcher.run(call, seconds, context, context.report)
        pending = question(result) if message.name else None
        context.report(CallFinished(result) if pending is None else ConfirmationWanted(pending))
        return result


TOGETHER = "the tool did its work, but the results of this response are too large together: ask for less"


def fitted(results: Sequence[ToolResult[Any]], room: int, said: str = TOGETHER) -> tuple[ToolResult[Any], ...]:
    """`results`, with at most `room` bytes of content: they go on in one message, and what is over fails alone."""
    if sum(len(result.content) for result in results if result.content is not None) * WIDEST <= room:
        return tuple(results)
    fit: list[ToolResult[Any]] = []
    for result in results:
        size = len(result.content.encode()) if result.content is not None else 0
        if size <= room:
            room -= size
            fit.append(result)
        else:
            failure = failed("too_large", said, "done", size=size)
            fit.append(replace(result, content=None, failure=failure))
    return tuple(fit)
