"""A batch on its way: its calls as the executor has them run, told of, held for a person and gone on with."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from ..protocol.envelope import encode
from ..protocol.events import CallFinished, CallStarted, ConfirmationWanted, Event
from ..protocol.failures import ToolwireError, failed
from ..protocol.messages import AddCall, CloseBatch, Decision, OpenBatch, RunBatch
from ..protocol.plan import Plan
from ..protocol.questions import denied, hanging, question
from ..protocol.repeats import too_often
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.context import Context
from ..runtime.tracing import Tracing
from .artifact_reader import whole
from .artifacts import Artifacts
from .batch import PENDING, Batch
from .dispatch import Dispatcher, Underway
from .sending import Word


class Errand:
    """One batch: what is asked, on whose behalf, and who wants to hear of it.

    A batch with a name is that of a conversation, whose calls can wait for a person; others end without.
    """

    __slots__ = (
        "_batch",
        "_begun",
        "_decisions",
        "_held",
        "_plain",
        "_spent",
        "_stand",
        "_trail",
        "_underway",
        "_waiting",
        "artifacts",
        "context",
        "dispatcher",
        "hear",
        "message",
        "plan",
        "resumed",
        "tainted",
        "traced",
        "tracing",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        tracing: Tracing,
        artifacts: Artifacts,
        message: RunBatch | OpenBatch,
        context: Context,
    ) -> None:
        self.dispatcher = dispatcher
        self.tracing = tracing
        self.artifacts = artifacts
        self.message = message
        self.context = context
        self.resumed = False
        self.tainted = message.tainted
        self._trail: Raw | None = None
        self._decisions: dict[int, Decision] = {}
        self._held: dict[str, int] = {}
        self._waiting: dict[int, ToolResult[Any]] = {}
        self._spent: set[str] = set()
        self._underway = Underway()
        self._stand: Sequence[ToolResult[Any] | None] = ()
        self._batch: Batch | None = None
        self.plan = self._planned(message) if isinstance(message, RunBatch) else self._opened(message)
        self.hear: Callable[[Event], None] | None = context.report if message.events else None
        self._begun: dict[str, str] | None = {} if dispatcher.records.wanted() else None  # their arguments, by id
        self.traced = tracing.listens()
        self._plain = False

    def _planned(self, message: RunBatch) -> Plan:
        """The plan of calls that are all there."""
        if message.decisions:
            self.resumed = True
            self._stand = self._standing(message)
        catalogue = self.dispatcher.catalogue
        return Plan(
            message.calls,
            catalogue.spec,
            references=message.references,
            ids=message.ids,
            limit=message.limit,
            resources=catalogue.resources,
            check=self.dispatcher.foresees,
            refuse={n: too_often(message.calls[n]) for n in message.repeated} if message.repeated else {},
            ended=self._stand,
        )

    def _opened(self, message: OpenBatch) -> Plan:
        """The plan of calls of which only the first is there."""
        catalogue = self.dispatcher.catalogue
        plan = Plan.opened(
            catalogue.spec,
            references=message.references,
            limit=message.limit,
            eager=message.eager,
            resources=catalogue.resources,
            check=self.dispatcher.foresees,
        )
        plan.add(message.first, too_often(message.first) if message.repeated else None)
        return plan

    def add(self, message: AddCall) -> bool:
        """Add the next call of an open batch; whether it may start at once. Raises ToolwireError if one is missing."""
        there = len(self.plan.calls)
        if message.position > there:
            said = f"call {message.position + 1} came, and only {there} came before it"
            raise ToolwireError(failed("invalid_message", said))
        if message.position < there or self._batch is None:
            return False  # it was sent twice
        return self._batch.add(message.call, too_often(message.call) if message.repeated else None)

    def close(self, message: CloseBatch) -> None:
        """No more calls come. Raises ToolwireError if one is missing."""
        there = len(self.plan.calls)
        if message.count != there:
            said = f"the batch is to have {message.count} calls, and {there} came"
            raise ToolwireError(failed("invalid_message", said))
        if message.refuse is not None:  # what waits for a person has not started
            self._waiting.clear()
            self._held.clear()
        if self._batch is not None:
            self._batch.close(message.refuse)

    async def finish(self) -> Sequence[ToolResult[Any]]:
        """Run the batch to its end. One result for each call; for what waits for a person, what it waits for."""
        message, calls = self.message, self.plan.calls
        ended = self._tell if message.events else None
        if self._begun is not None:
            ended = self._record
        holds = self._holds if message.name else None
        batch = Batch(self.plan, calls, self.run, self.seconds, self.context.system, ended, self.late, holds)
        batch.tainted = self.tainted
        self._plain = not (self.resumed or self.hear or self._begun is not None or self.traced or message.references)
        results = batch.results
        for n, result in enumerate(self._stand):
            if result is not None:
                results[n] = result
                if result.artifact is not None and message.references and self.plan.needed(n):
                    await self._supplied(n, known(result), self.context)
        self._batch = batch
        try:
            await batch.run()
        except BaseException:  # whoever asked has left
            self._left(results)
            raise
        finally:
            self.tainted = batch.tainted
            self._batch = None  # they know each other
        for n, result in self._waiting.items():
            results[n] = result
        for n, held in self.plan.hanging().items():
            results[n] = hanging(calls[n], calls[held])
        return results

    def _standing(self, message: RunBatch) -> list[ToolResult[Any] | None]:
        """What stands of an earlier run. Questions that nobody has answered are asked no more, but held as they are."""
        self._decisions = dict(message.decisions)
        self._spent = {decision.token for decision in message.decisions.values()}
        stand: list[ToolResult[Any] | None] = list(message.ended)
        for n, result in enumerate(message.ended):
            if result is not None and question(result) is not None:
                self._waiting[n] = result
                stand[n] = None
        return stand

    def answer(self, decision: Decision) -> bool:
        """Carry out what a person said about a call; False if that is not held, or the batch is at its end."""
        token, batch = decision.token, self._batch
        if batch is None:
            return False
        position = self._held.pop(token, None)
        if position is None:  # one that is asked about since an earlier run, and that this has not come to
            asked = ((n, question(result)) for n, result in self._waiting.items())
            position = next((n for n, pending in asked if pending is not None and pending.token == token), None)
            if position is None:
                return False
        elif not batch.release(position):
            self._held[token] = position
            return False
        del self._waiting[position]
        self._spent.add(token)
        self._decisions[position] = decision
        self.resumed = True
        self._plain = False
        return True

    def _holds(self, position: int, result: ToolResult[Any]) -> bool:
        """Whether the call at `position` waits for a person, who is then told so."""
        pending = question(result)
        if pending is None or pending.token in self._spent:
            return False
        self._held[pending.token] = position
        if self.hear is not None and position not in self._waiting:
            self.hear(ConfirmationWanted(pending))
        self._waiting[position] = result
        return True

    def seconds(self, name: str) -> float:
        """The time limit of a call to `name`."""
        return self.dispatcher.seconds(name, self.message.timeout)

    def run(self, position: int, arguments: str, deadline: float) -> Awaitable[ToolResult[Any]]:
        """Bring the call at `position` to its end."""
        outer, call, batch = self.context, self.plan.calls[position], self._batch
        if self._plain and batch is not None and not batch.tainted:  # as most are: then one look is enough
            context = Context(outer.system, min(deadline, outer.deadline), outer.depth, outer.path, outer.trail)
            return self.dispatcher.dispatch(call, arguments, context, None)
        return self._carefully(position, arguments, deadline)

    def _carefully(self, position: int, arguments: str, deadline: float) -> Awaitable[ToolResult[Any]]:
        """The same where somebody hears of it, decides about it, or takes in what it gives."""
        outer, call, hear, word = self.context, self.plan.calls[position], self.hear, None
        if self.resumed:
            if position in self._waiting:
                return known(self._waiting[position])
            decision = self._decisions.pop(position, None)
            if decision is not None:
                if not decision.approved:
                    return known(denied(call, decision.reason))
                word = Word(token=decision.token, changed=decision.arguments is not None)
                arguments = arguments if decision.arguments is None else decision.arguments
        if hear is not None and word is None:  # else it was told when it was started first
            hear(self._started(position, arguments))
        if self._begun is not None:
            self._begun[call.id] = arguments
        context = Context(outer.system, min(deadline, outer.deadline), outer.depth, outer.path, outer.trail)
        if self._batch is not None and self._batch.tainted and self.dispatcher.means.taint:
            context.trail = self._tainted_trail()
            word = self.dispatcher.wary(call.name, word)
        if self.traced:
            running: Awaitable[ToolResult[Any]] = self._traced(position, arguments, context, word)
        else:
            running = self.dispatcher.dispatch(call, arguments, context, hear, word, self._underway)
        needed = self.message.references and self.plan.needed(position)
        return self._supplied(position, running, context) if needed else running

    def _tainted_trail(self) -> Raw:
        """The trail for what is done from now on: whoever is asked on behalf of this batch is as wary."""
        if self._trail is None:
            self._trail = Raw(encode(replace(self.context.whose(), tainted=True)))
        return self._trail

    async def _supplied(self, position: int, running: Awaitable[ToolResult[Any]], context: Context) -> ToolResult[Any]:
        """The call, whose result others take in: all of it, also where it is too large to be handed round."""
        result = await running
        if result.artifact is not None:
            try:
                found = await whole(context, self.artifacts, result.artifact.id)
                self.plan.supply(position, found.json())
            except ToolwireError as error:
                self.plan.supply(position, error.failure)
        return result

    async def _traced(self, position: int, arguments: str, context: Context, word: Word | None) -> ToolResult[Any]:
        call, waits = self.plan.calls[position], self.plan.waits(position)
        dispatch = self.dispatcher.dispatch
        with self.tracing.call(call, context, len(waits.needs), len(waits.order)) as span:
            return span.ended(await dispatch(call, arguments, context, self.hear, word, self._underway))

    async def late(self, call: ToolCall, result: ToolResult[Any]) -> ToolResult[Any]:
        """What is done about a call that ran out of its time."""
        return await self.dispatcher.late(call, result, self.context, self._underway)

    def _started(self, position: int, arguments: str) -> CallStarted:
        calls, waits = self.plan.calls, self.plan.waits(position)
        call = calls[position]
        needs = tuple(calls[other].id for other in waits.needs)
        order = tuple(calls[other].id for other in waits.order)
        shown = self.dispatcher.catalogue.shown(call.name, arguments)
        return CallStarted(call.id, call.name, shown, needs, order)

    def _tell(self, result: ToolResult[Any]) -> None:
        self.context.report(CallFinished(result))

    def _record(self, result: ToolResult[Any]) -> None:
        if self.hear is not None:
            self._tell(result)
        arguments = "" if self._begun is None else self._begun.get(result.id, "")
        self.dispatcher.records.ended(result, arguments, self.context.trail)

    def _left(self, results: Sequence[ToolResult[Any]]) -> None:
        """Whoever asked has left: take down the calls that had not ended."""
        if self._begun is None:
            return
        for call, result in zip(self.plan.calls, results, strict=False):
            if result is PENDING:
                self.dispatcher.records.cancelled(call, self._begun.get(call.id), self.context.trail)


async def known(result: ToolResult[Any]) -> ToolResult[Any]:
    """A result that is there already, for whoever waits for one."""
    return result
