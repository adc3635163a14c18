"""The executor: a shell around `protocol.plan`. It brings every call of a response to its end."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from ..protocol.events import CallFinished, CallStarted, Event
from ..protocol.failures import ToolwireError, failed
from ..protocol.messages import BatchEnded, RunBatch
from ..protocol.plan import Plan
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.actor import Actor
from ..runtime.context import Context
from ..runtime.tracing import Tracing
from .artifact_reader import whole
from .artifacts import Artifacts
from .batch import PENDING, Batch
from .dispatch import Dispatcher

WIDEST = 4
"""Bytes that a character of UTF-8 may take."""


class Executor(Actor):
    """Runs the calls of one response in parallel, each as soon as those that it waits for have ended."""

    hears = RunBatch
    limit: ClassVar[int | None] = None

    def __init__(self, dispatcher: Dispatcher, tracing: Tracing, artifacts: Artifacts) -> None:
        self.dispatcher = dispatcher
        self.artifacts = artifacts
        self.tracing = tracing

    async def receive(self, message: RunBatch, context: Context) -> BatchEnded:
        """Run the batch; one result for each call, in call order, whatever happens.

        Most responses have one call: it needs no plan, no task and no follower.
        """
        if len(message.calls) == 1 and self._is_plain(message):
            if message.events:
                return BatchEnded((await self._alone(message, context),))
            call = message.calls[0]
            seconds = self.dispatcher.seconds(call.name, message.timeout)
            return BatchEnded((await self.dispatcher.run(call, seconds, context, None),))
        errand = Errand(self, message, context)
        batch = Batch(errand.plan, message.calls, errand.run, errand.seconds, context.system, errand.ended, errand.late)
        try:
            await batch.run()
        except BaseException:  # whoever asked has left
            errand.left(batch.results)
            raise
        return BatchEnded(fitted(batch.results, context.system.largest("executor") // 2))

    def _is_plain(self, message: RunBatch) -> bool:
        """Whether the first call needs no plan: it waits for nobody, and nothing about it is to be refused."""
        call = message.calls[0]
        within = message.limit is None or message.limit > 0
        return bool(call.id) and within and not (message.references or call.after or self.tracing.listens())

    async def _alone(self, message: RunBatch, context: Context) -> ToolResult[Any]:
        """The one call of a response, and what is told of it."""
        call = message.calls[0]
        context.report(CallStarted(call.id, call.name, self.dispatcher.catalogue.shown(call.name, call.text())))
        seconds = self.dispatcher.seconds(call.name, message.timeout)
        result = await self.dispatcher.run(call, seconds, context, context.report)
        context.report(CallFinished(result))
        return result


class Errand:
    """One batch as the executor sees it: what is asked, on whose behalf, and who wants to hear of it."""

    __slots__ = ("_begun", "context", "ended", "executor", "hear", "message", "plan", "traced")

    def __init__(self, executor: Executor, message: RunBatch, context: Context) -> None:
        self.executor = executor
        self.message = message
        self.context = context
        spec = executor.dispatcher.catalogue.spec
        self.plan = Plan(
            message.calls,
            spec,
            references=message.references,
            ids=message.ids,
            limit=message.limit,
            resources=executor.dispatcher.catalogue.resources,
            check=executor.dispatcher.foresees,
        )
        self.hear: Callable[[Event], None] | None = None
        self.ended: Callable[[ToolResult[Any]], None] | None = None
        if message.events:
            self.hear = context.report
            self.ended = self._tell
        records = executor.dispatcher.records
        self._begun: dict[str, str] | None = {} if records.wanted() else None  # their arguments, by id
        if self._begun is not None:
            self.ended = self._record
        self.traced = executor.tracing.listens()

    def seconds(self, name: str) -> float:
        """The time limit of a call to `name`."""
        return self.executor.dispatcher.seconds(name, self.message.timeout)

    def run(self, position: int, arguments: str, deadline: float) -> Awaitable[ToolResult[Any]]:
        """Bring the call at `position` to its end."""
        outer, call, hear = self.context, self.message.calls[position], self.hear
        if hear is not None:
            hear(self._started(position, arguments))
        if self._begun is not None:
            self._begun[call.id] = arguments
        context = Context(outer.system, min(deadline, outer.deadline), outer.depth, outer.path, outer.trail)
        if self.traced:
            running: Awaitable[ToolResult[Any]] = self._traced(position, arguments, context)
        else:
            running = self.executor.dispatcher.dispatch(call, arguments, context, hear)
        needed = self.message.references and self.plan.needed(position)
        return self._supplied(position, running, context) if needed else running

    async def _supplied(self, position: int, running: Awaitable[ToolResult[Any]], context: Context) -> ToolResult[Any]:
        """The call, whose result others take in: all of it, also where it is too large to be handed round."""
        result = await running
        if result.artifact is not None:
            try:
                found = await whole(context, self.executor.artifacts, result.artifact.id)
                self.plan.supply(position, found.json())
            except ToolwireError as error:
                self.plan.supply(position, error.failure)
        return result

    async def _traced(self, position: int, arguments: str, context: Context) -> ToolResult[Any]:
        call, waits = self.message.calls[position], self.plan.waits(position)
        dispatch = self.executor.dispatcher.dispatch
        with self.executor.tracing.call(call, context, len(waits.needs), len(waits.order)) as span:
            return span.ended(await dispatch(call, arguments, context, self.hear))

    async def late(self, call: ToolCall, result: ToolResult[Any]) -> ToolResult[Any]:
        """What is done about a call that ran out of its time."""
        return await self.executor.dispatcher.late(call, result, self.context)

    def _started(self, position: int, arguments: str) -> CallStarted:
        calls, waits = self.message.calls, self.plan.waits(position)
        call = calls[position]
        needs = tuple(calls[other].id for other in waits.needs)
        order = tuple(calls[other].id for other in waits.order)
        shown = self.executor.dispatcher.catalogue.shown(call.name, arguments)
        return CallStarted(call.id, call.name, shown, needs, order)

    def _tell(self, result: ToolResult[Any]) -> None:
        self.context.report(CallFinished(result))

    def _record(self, result: ToolResult[Any]) -> None:
        if self.hear is not None:
            self._tell(result)
        arguments = "" if self._begun is None else self._begun.get(result.id, "")
        self.executor.dispatcher.records.ended(result, arguments, self.context.trail)

    def left(self, results: Sequence[ToolResult[Any]]) -> None:
        """Whoever asked has left: take down the calls that had not ended."""
        if self._begun is None:
            return
        for call, result in zip(self.message.calls, results, strict=True):
            if result is PENDING:
                arguments = self._begun.get(call.id)
                self.executor.dispatcher.records.cancelled(call, arguments, self.context.trail)


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
