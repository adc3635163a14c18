"""The executor: a shell around `protocol.plan`. It brings every call of a response to its end."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from ..protocol.events import CallFinished, CallStarted, Event
from ..protocol.messages import BatchEnded, RunBatch
from ..protocol.plan import Plan
from ..protocol.tools import ToolResult
from ..runtime.actor import Actor
from ..runtime.context import Context
from ..runtime.tracing import Tracing
from .batch import Batch, timed_out
from .dispatch import Dispatcher

CALL_SECONDS = 30.0


class Executor(Actor):
    """Runs the calls of one response in parallel, each as soon as those that it waits for have ended."""

    hears = RunBatch
    limit: ClassVar[int | None] = None

    def __init__(self, dispatcher: Dispatcher, tracing: Tracing, call_seconds: float = CALL_SECONDS) -> None:
        self.dispatcher = dispatcher
        self.tracing = tracing
        self.call_seconds = call_seconds

    async def receive(self, message: RunBatch, context: Context) -> BatchEnded:
        """Run the batch; one result for each call, in call order, whatever happens."""
        if len(message.calls) == 1 and self._is_plain(message):
            return BatchEnded((await self._alone(message, context),))
        errand = Errand(self, message, context)
        batch = Batch(errand.plan, message.calls, errand.run, errand.seconds, context.system, errand.ended)
        await batch.run()
        return BatchEnded(tuple(batch.results))

    def _is_plain(self, message: RunBatch) -> bool:
        """Whether the first call needs no plan: it waits for nobody, and nothing about it is to be refused."""
        call = message.calls[0]
        within = message.limit is None or message.limit > 0
        return bool(call.id) and within and not (message.references or call.after or self.tracing.listens())

    async def _alone(self, message: RunBatch, context: Context) -> ToolResult[Any]:
        """Most responses have one call: it needs no plan, no task and no follower."""
        call, system = message.calls[0], context.system
        arguments, limit = call.text(), self.seconds(call.name, message.timeout)
        began = system.clock()
        context.deadline = deadline = min(began + limit, context.deadline)
        hear = context.report if message.events else None
        if hear is not None:
            hear(CallStarted(call.id, call.name, arguments))
        with system.scope() as scope:
            system.alarms.set(scope, deadline)
            try:
                result = await self.dispatcher.dispatch(call, arguments, context, hear)
            finally:
                system.alarms.unset(scope, deadline)
        if scope.cancelled_caught:
            result = timed_out(call, limit, system.clock() - began)
        if hear is not None:
            hear(CallFinished(result))
        return result

    def seconds(self, name: str, asked: float | None) -> float:
        """The time limit of a call to `name`: what was asked, else what the tool says, else the default."""
        if asked is not None:
            return asked
        entry = self.dispatcher.catalogue.entries.get(name)
        return self.call_seconds if entry is None or entry.spec.timeout is None else entry.spec.timeout


class Errand:
    """One batch as the executor sees it: what is asked, on whose behalf, and who wants to hear of it."""

    __slots__ = ("context", "ended", "executor", "hear", "message", "plan", "traced")

    def __init__(self, executor: Executor, message: RunBatch, context: Context) -> None:
        self.executor = executor
        self.message = message
        self.context = context
        spec = executor.dispatcher.catalogue.spec
        self.plan = Plan(message.calls, spec, references=message.references, ids=message.ids, limit=message.limit)
        self.hear: Callable[[Event], None] | None = None
        self.ended: Callable[[ToolResult[Any]], None] | None = None
        if message.events:
            self.hear = context.report
            self.ended = self._tell
        self.traced = executor.tracing.listens()

    def seconds(self, name: str) -> float:
        """The time limit of a call to `name`."""
        return self.executor.seconds(name, self.message.timeout)

    def run(self, position: int, arguments: str, deadline: float) -> Awaitable[ToolResult[Any]]:
        """Bring the call at `position` to its end."""
        outer, call, hear = self.context, self.message.calls[position], self.hear
        if hear is not None:
            hear(self._started(position, arguments))
        context = Context(outer.system, min(deadline, outer.deadline), outer.depth, outer.path, outer.trail)
        if self.traced:
            return self._traced(position, arguments, context)
        return self.executor.dispatcher.dispatch(call, arguments, context, hear)

    async def _traced(self, position: int, arguments: str, context: Context) -> ToolResult[Any]:
        call, waits = self.message.calls[position], self.plan.waits(position)
        dispatch = self.executor.dispatcher.dispatch
        with self.executor.tracing.call(call, context, len(waits.needs), len(waits.order)) as span:
            return span.ended(await dispatch(call, arguments, context, self.hear))

    def _started(self, position: int, arguments: str) -> CallStarted:
        calls, waits = self.message.calls, self.plan.waits(position)
        call = calls[position]
        needs = tuple(calls[other].id for other in waits.needs)
        order = tuple(calls[other].id for other in waits.order)
        return CallStarted(call.id, call.name, arguments, needs, order)

    def _tell(self, result: ToolResult[Any]) -> None:
        self.context.report(CallFinished(result))
