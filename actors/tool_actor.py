"""The tool actor: one function, or the methods of one object, behind one door."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from inspect import iscoroutine
from typing import Any, ClassVar, Self

from msgspec.structs import replace

from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import CallEnded, CallTool
from ..protocol.tools import ToolResult
from ..runtime.actor import NARROW, Actor
from ..runtime.border import ends_program, failure_of, is_ours
from ..runtime.context import Context, Door
from ..runtime.isolation import isolated
from ..runtime.processes import Processes, cores
from ..runtime.threads import Threads
from ..runtime.tracing import entered
from .artifacts import Artifacts
from .confirmations import Confirmations
from .context import Context as CallContext
from .context import of_call
from .gate import Gate, Visit
from .handlers import Handlers, handled
from .intake import Customs, Intake
from .means import CALL_SECONDS
from .middleware import decided
from .packing import Packing
from .process import command, in_process, prepare
from .providers import Providers
from .steps.needs import too_late
from .stream import last
from .tool import Tool, encoded
from .validator import be_ready


class Workshop:
    """What the tools of one runtime share: its name, its threads, how large a result may be, who runs their calls.

    `customs` is what is done with arguments, `providers` what is injected, `confirmations` asks for a person's word,
    `artifacts` keeps what is too large, `processes` are those of tools that are isolated so (as many as cores), and
    `seconds` is the time limit of a call for which nobody names one.
    """

    confirmations: Confirmations

    def __init__(
        self,
        worker: str,
        executor: str | Door,
        threads: int,
        largest: int,
        customs: Customs | None = None,
        artifacts: Artifacts | None = None,
        processes: int | None = None,
        seconds: float = CALL_SECONDS,
    ) -> None:
        self.worker = worker
        self.artifacts = Artifacts(worker) if artifacts is None else artifacts
        self.executor = executor
        self.threads = Threads(threads)
        self.largest = largest
        self.customs = Customs() if customs is None else customs
        self.providers = Providers()
        self.processes = Processes(command, cores() if processes is None else processes)
        self.handlers = Handlers()
        self.seconds = seconds

    async def __aenter__(self) -> Self:
        await self.providers.__aenter__()
        await self.processes.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Only after the last tool has ended."""
        try:  # cancelled, each raises, and the next has to be left all the same
            await self.processes.__aexit__()
        finally:
            try:
                await self.providers.__aexit__()
            finally:
                self.threads.close()

    def reserve(self, tool: Tool[Any], context: Context) -> None:
        """Raise ToolwireError, `conflict`, where the threads are all taken by calls that wait for this very one."""
        key = f"threads of {self.worker}"
        if context.path.count(key) >= self.threads.limit:
            said = f"{tool.name!r} needs a thread, and the calls that wait for it hold all {self.threads.limit}"
            raise ToolwireError(failed("conflict", said))
        if tool.context_parameters:  # others can't call
            context.path = (*context.path, key)

    async def furnish(self, tools: Collection[Tool[Any]]) -> None:
        """Make ready what `tools` need: what is injected, processes. Raises Misuse for what can't be."""
        await prepare(tools, self.processes)
        await self.providers.fill(tools)
        be_ready()


class ToolActor(Actor):
    """Runs calls to `tools`: `limit` of them at once, each on arguments of its own.

    If it can be `rebuilt`, what a tool raises without declaring it (ToolError) is a crash.
    """

    hears = CallTool
    limit: ClassVar[int | None] = None

    def __init__(
        self,
        tools: dict[str, Tool[Any]],
        workshop: Workshop,
        limit: int,
        gates: Mapping[str, Gate] | None = None,
        *,
        rebuilt: bool = False,
    ) -> None:
        self.tools = tools
        self.rebuilt = rebuilt
        self.workshop = workshop
        self.limit = limit  # type: ignore[misc]  # each tool says how many at once
        self.gates = {} if gates is None else gates
        self._intakes: dict[str, Intake] = {}

    async def receive(self, message: CallTool, context: Context) -> CallEnded:
        """Run one call. What the tool raises is an answer; only a cancellation that is ours goes on."""
        intake = self._intakes.get(message.tool)
        if intake is None:
            intake = self._intake(message.tool)
        tool, worker, gate, clock = intake.tool, self.workshop.worker, intake.gate, context.system.clock
        try:
            arguments, mended = intake.take(message.arguments)
            if tool.asks or message.confirm or message.token:
                visit = self._let_in(intake, arguments, message, context)
            else:
                visit = None if gate is None else gate.enter(clock())
        except Exception as error:  # noqa: BLE001 - a sanitizer may raise anything
            return CallEnded(None, failure_of(error, "none"), worker)
        artifact, heard = None, False
        try:
            if tool.is_plain:
                trace = entered(context)  # before there is a coroutine, for it may raise
                value = await isolated(tool.function(**arguments), trace)
            else:
                value = await self._run(tool, arguments, message, context, changed=bool(mended))
        except BaseException as error:
            now = clock()
            failure = outcome(error, visit, context, now)
            if failure is None or self._crashes(error, context):
                raise
            failure = intake.scrubbed(failure, arguments)
            content, failure, heard = await self._handled(tool, error, failure, message, context)
        else:
            now = clock()
            if intake.packing is None:
                content, failure = encoded(value, self.workshop.largest)
            else:
                tainted = tool.spec.untrusted or heard_strangers(tool, arguments)
                content, failure, artifact = intake.packing.pack(value, context, tainted=tainted)
            if visit is not None:
                visit.ended(failure, context, now)
        ended = CallEnded(content, failure, worker, mended, context.queued, now - context.began, artifact)
        told = heard or tool.context_parameters
        return with_what_was_heard(ended, tool, arguments, heard=heard) if told else ended

    def turned_away(self, message: CallTool, context: Context) -> Failure | None:
        """That the tool rests, which need not be waited for."""
        gate = self.gates.get(message.tool)
        return None if gate is None else gate.shut(context.system.clock())

    def _let_in(self, intake: Intake, arguments: dict[str, Any], message: CallTool, context: Context) -> Visit | None:
        """Let a call in whose tool asks for time, or for a person's word. A token is spent only on one that is let in.

        Raises ToolwireError.
        """
        tool, gate, confirmations, now = intake.tool, intake.gate, self.workshop.confirmations, context.system.clock()
        if tool.needs is not None and context.deadline - now < tool.needs:  # it has waited at the door
            raise ToolwireError(too_late(tool.needs, max(0.0, context.deadline - now)))
        if not message.token:
            confirmations.ask(tool, arguments, message, context)
            return None if gate is None else gate.enter(now)
        nonce = confirmations.known(tool, arguments, message, context)  # first: what is forged does not count as a call
        visit = None if gate is None else gate.enter(now)
        confirmations.spend(nonce)
        return visit

    async def _handled(
        self, tool: Tool[Any], error: BaseException, failure: Failure, message: CallTool, context: Context
    ) -> tuple[str | None, Failure | None, bool]:
        """What handlers make of a tool that raised: the content or the failure of its answer.

        And whether the handler has called a tool that is not to be trusted.
        """
        handler = tool.handlers.for_error(error) or self.workshop.handlers.for_error(error)
        handler = handler or tool.handlers.for_failure(failure)
        if handler is None:
            return None, failure, False
        own = of_call(context, message, self.workshop.executor)
        result = decided(ToolResult(message.id, message.tool, None, failure), await handled(handler, error, own))
        return result.content, result.failure, own.tainted

    async def _run(
        self, tool: Tool[Any], arguments: dict[str, Any], message: CallTool, context: Context, *, changed: bool
    ) -> Any:
        """What the function gives for `arguments` (`changed`: not those of the message), and for what is filled in."""
        if tool.spec.isolation == "process":
            processes, values, packing = self.workshop.processes, arguments if changed else None, self._packing(tool)
            largest = self.workshop.largest if packing is None else packing.most
            return await in_process(tool, values, message, context, processes, largest)
        if not tool.is_async and self.workshop.threads.limit <= NARROW:
            self.workshop.reserve(tool, context)
        for name in tool.context_parameters:
            arguments[name] = of_call(context, message, self.workshop.executor)
        for name, kind in tool.injected:
            if kind in self.workshop.providers.values:
                arguments[name] = self.workshop.providers.values[kind]
        trace = entered(context)
        if tool.is_async:
            work = tool.function(**arguments)
        else:
            work = await self._in_thread(tool.name, partial(tool.function, **arguments), trace)
        if tool.signature.streams:
            work = last(work, of_call(context, message, self.workshop.executor))
        # A decorator that is not async, around a function that is, can be told only by what it gives.
        return await isolated(work, trace) if iscoroutine(work) else work

    def _crashes(self, error: BaseException, context: Context) -> bool:
        """Whether what a tool raised leaves a state behind that is not to be trusted. Ends the program if it has to."""
        if ends_program(error):
            context.system.end(error)
            return False
        return self.rebuilt and not isinstance(error, ToolwireError)

    def _intake(self, name: str) -> Intake:
        """What takes the arguments of a tool; made at its first call."""
        tool = self.tools.get(name)
        if tool is None:
            raise ToolwireError(failed("unknown_tool", f"there is no tool {name[:100]!r} here"))
        intake = self._intakes[name] = Intake(tool, self.workshop.customs, self.gates.get(name))
        intake.packing = self._packing(tool)
        return intake

    def _packing(self, tool: Tool[Any]) -> Packing | None:
        """What packs the results of a tool that says something of their size."""
        if tool.guard is None or not tool.guard.sized:
            return None
        return Packing(tool.guard, self.workshop.artifacts, self.workshop.largest)

    async def _in_thread(self, name: str, work: Callable[[], Any], trace: Callable[[], object] | None) -> Any:
        if trace is not None:
            work = partial(after, trace, work)
        outcome = partial(settled, work)
        value, error = await self.workshop.threads.run(outcome, name)
        if error is not None:
            raise error
        return value


def outcome(error: BaseException, visit: Visit | None, context: Context, now: float) -> Failure | None:
    """What a tool raised, as its failure; None if it was cancelled because nobody wants its answer."""
    if is_ours(error):
        if visit is not None:
            visit.cancelled(context, now)
        return None
    failure = failure_of(error, "maybe")
    if failure.code == "confirmation_required":  # of a call that the tool made: nobody can say yes to that by this one
        failure = failed("failed", failure.message, failure.effect, cause=failure.code)
    if visit is not None:
        visit.ended(failure, context, now)
    return failure


def with_what_was_heard(ended: CallEnded, tool: Tool[Any], arguments: dict[str, Any], *, heard: bool) -> CallEnded:
    """`ended`, with what the tool has heard from those whom it asked: strangers' words, what models have used."""
    given = [each for name in tool.context_parameters if isinstance(each := arguments.get(name), CallContext)]
    tainted = heard or any(each.tainted for each in given)
    usage = next((each.usage for each in given if each.usage is not None), None)
    return replace(ended, tainted=tainted, usage=usage) if tainted or usage is not None else ended


def heard_strangers(tool: Tool[Any], arguments: dict[str, Any]) -> bool:
    """Whether a tool that ran with these has called one that is not to be trusted."""
    given = (arguments.get(name) for name in tool.context_parameters)
    return any(isinstance(each, CallContext) and each.tainted for each in given)


def settled(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `work` gave or raised, as a value: a loop takes some of both for its own (a coroutine, GeneratorExit)."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
        return None, error


def after(first: Callable[[], object], work: Callable[[], Any]) -> Any:
    """Do `first`, then `work`: a thread has context variables of its own."""
    first()
    return work()
