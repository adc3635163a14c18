"""The runtime: an actor system with the six actors in it, and the face that a program talks to."""

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import anyio
from msgspec import Raw

from ..protocol.envelope import Trail, encode
from ..protocol.failures import Misuse, ToolwireError, failed
from ..protocol.history import HistoryMessage
from ..protocol.limits import Limits
from ..protocol.messages import RunBatch
from ..protocol.naming import naming
from ..protocol.offer import Eager
from ..protocol.options import check
from ..protocol.outline import Graph
from ..protocol.policy import Policy
from ..protocol.prices import Prices, Pricing
from ..protocol.record import CallRecord
from ..protocol.sanitizers import Sanitizer
from ..protocol.subjects import KINDS
from ..protocol.tools import Artifact, ToolCall, ToolResult, called, typed
from ..runtime.bus import BusError, open_bus
from ..runtime.context import Context, outside, reached
from ..runtime.system import ActorSystem
from ..runtime.threads import Abandoned
from ..runtime.tracing import Tracing
from .agent import Agent
from .artifact_reader import read_whole
from .artifacts import ROOM, Artifacts
from .audit import Sink
from .catalogue import Catalogue
from .chat import Chat
from .confirmations import key_of
from .conversations import Conversations, told
from .crew import Terms, crew
from .directory import Directory
from .explaining import explained
from .handlers import Handler
from .intake import Customs
from .means import CALL_SECONDS, Means
from .memory.contract import MemoryStrategy
from .middleware import Middleware
from .models.contract import Model
from .options import RUNTIME
from .queueing import WhenBusy
from .records import Records
from .selectors import Keyword, SelectionStrategy
from .sending import encoded, encoded_all
from .services import Services
from .serving import Served
from .tool import Tool
from .tool_actor import Workshop

T = TypeVar("T")

LEAVING = 1.0
"""Seconds to tell others that nothing is served here any more."""
THREADS = 40
RESULT = 256 * 1024

OWN: frozenset[str] = frozenset({"selector", "model", "validator", "executor"})
"""Kinds of which every runtime has its own: they are asked inside the process unless it is told otherwise."""


class Runtime:
    """Runs tools, conversations and models as actors: in this process, or over a bus that others share.

    `url`: `memory://`, `nats://host:port`, or `nats+embedded:///directory`, which starts a nats-server there (or
    joins the one that runs). `namespace` keeps tenants of one bus apart. `local`: True lets calls to what this very
    process serves stay inside it; False sends calls to tools and conversations over the bus all the same; a
    collection names the kinds of actors that may be reached inside. `call_seconds` is the time limit of a call whose
    tool names none, `result_bytes` the most that a result may have, `artifact_bytes` how much is kept of larger ones
    (docs/results.md), `threads` how many functions that are not async run at once, `processes` how many worker
    processes there may be (as many as cores; docs/time.md). `lenient` lets arguments that do not fit be mended where
    there is one way to read them, `repair="on"` also texts that are no JSON; results tell what was changed
    (docs/arguments.md). `secret`, 16 bytes or more, is what confirmations of tools served here are sealed with; without
    it one is drawn. `policy` is what calls made from here may do; with `taint` a person is asked before what can't be
    undone, once a turn has read what strangers may have written (docs/protection.md).
    `history` is of how many calls the records are kept here, `audit` where they are kept beside that; with
    `audit_strict` a call begins only when its record has a place (docs/outcomes.md). `selector` chooses where many
    tools are in reach, for agents that have none of their own. `prices` is what models cost (docs/turns.md).

    Raises ToolwireError, `unreachable`, where nobody listens at the url, `storage_failed` where no record can be kept,
    and ValueError for a url of no known kind.
    """

    def __init__(
        self,
        url: str = "memory://",
        *,
        namespace: str = "default",
        local: bool | Iterable[str] = True,
        call_seconds: float = CALL_SECONDS,
        result_bytes: int = RESULT,
        artifact_bytes: int = ROOM,
        threads: int = THREADS,
        processes: int | None = None,
        tracer_provider: Any = None,
        lenient: bool = True,
        repair: Literal["off", "on"] = "off",
        secret: str | bytes | None = None,
        history: int = 0,
        audit: Sequence[Sink] = (),
        audit_strict: bool = False,
        policy: Policy | None = None,
        taint: bool = True,
        selector: SelectionStrategy | None = None,
        prices: Pricing | None = None,
    ) -> None:
        check("Runtime", {name: value for name, value in locals().items() if name in RUNTIME}, RUNTIME)
        self.url = url
        kinds = (KINDS if local else OWN) if isinstance(local, bool) else frozenset(local)
        bus = open_bus(url, namespace=namespace, local=lambda subject: subject.split(".")[2] in kinds)
        self.system = ActorSystem(bus, namespace=namespace, local=kinds)
        self.tools = Catalogue(lambda name, instance: self.system.door("tool", name, instance), bus.instance)
        self.tracing = Tracing(tracer_provider)
        records = Records(self.tools, history, audit, strict=audit_strict)
        self._means = Means(self.tools, bus.instance, records, seconds=call_seconds, taint=taint)
        self._means.customs = Customs(lenient, repair == "on")
        chosen, priced = Keyword() if selector is None else selector, None if prices is None else Prices(prices)
        self._terms = Terms(policy, chosen, priced, key_of(secret))
        self._directory: Directory | None = None
        self._services: Services
        self._conversations: Conversations
        self._artifacts = Artifacts(bus.instance, artifact_bytes)
        parts = (threads, result_bytes, self._means.customs, self._artifacts, processes, call_seconds)
        self._workshop = Workshop(bus.instance, "", *parts)
        self._workshop.handlers = self._means.around.handlers
        if audit_strict:
            self._means.around.middlewares.append(records.place)
        self._numbers = count(1)

    def __repr__(self) -> str:
        conversations = len(self._conversations) if hasattr(self, "_conversations") else 0
        left = f" | abandoned threads: {len(self.abandoned)}" if self.abandoned else ""
        return f"<Runtime {self.url} [tools: {len(self.tools)} | conversations: {conversations}{left}]>"

    @property
    def conversations(self) -> tuple[str, ...]:
        """The ids of the conversations that are open and were given one."""
        return self._conversations.names if hasattr(self, "_conversations") else ()

    @property
    def abandoned(self) -> tuple[Abandoned, ...]:
        """Functions that still run in a thread though their call has ended: no thread can be stopped."""
        return self._workshop.threads.abandoned

    @property
    def history(self) -> tuple[CallRecord, ...]:
        """The records of the latest calls that were made from here, the latest last; as many as `history=` says."""
        return tuple(self._means.records.latest)

    async def __aenter__(self) -> Self:
        self.system.must_be_closed()
        await self._workshop.__aenter__()
        try:
            await self._enter_system()
        except BaseException:
            await self._workshop.__aexit__()
            raise
        return self

    async def _enter_system(self) -> None:
        with reached:
            await self.system.__aenter__()
        try:
            await self._means.records.open(self.system.tasks)
            with reached:
                await self._furnish()
        except BaseException as error:
            await self.system.__aexit__(type(error), error, error.__traceback__)
            await self._means.records.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._directory is not None:
            with anyio.move_on_after(LEAVING, shield=True), suppress(BusError):
                await self._directory.leave()
        try:
            return await self.system.__aexit__(kind, error, trace)
        finally:
            try:  # whoever is cancelled raises that at its end: what follows has to end all the same
                await self._workshop.__aexit__()  # after the last tool has ended
            finally:
                with anyio.move_on_after(LEAVING, shield=True):
                    await self._conversations.close()
                await self._means.records.close()

    async def _furnish(self) -> None:
        """Spawn the actors that every runtime has of its own."""
        system = self.system
        system.trail = Raw(encode(Trail(turn=system.bus.instance)))
        directory = None
        if self.url != "memory://":  # where nobody else can be
            directory = self._directory = Directory(system, self.tools)
            await directory.start()
        self._means.others = directory
        self.tools.tell(self._means.steps.cache)
        parts = (self._means, self._terms, self.tracing, self._artifacts, self._workshop, directory)
        made = await crew(system, *parts, self._context)
        self._dispatcher, self._desk, self._services, self._conversations = made

    async def serve(self, *things: Any, prefix: str = "", namespace: str = "", replace: bool = False) -> Served:
        """Serve tools, functions, objects (each public method is a tool), agents and lazy tools; ready when it returns.

        A class is served by one instance of it, built anew if it crashes. `prefix="car"` makes `start` `car_start`, a
        part of the name; `namespace="files"` makes `read` `files.read`, one of `files.*`. With `replace` they take the
        names that are served here already: calls on their way end at the old tools, later ones reach the new, none
        finds nothing. What an old object offered beside that stays. Conversations are offered what is new from their
        next round on. Raises Misuse for a name that is served here already, naming both, and for what can't be a tool.
        """
        self.system.must_be_here()
        made = [self._conversations.as_tool(thing) for thing in things]
        with reached:
            return await self._services.serve(made, naming(prefix, namespace), replace=replace)

    def provide(self, kind: Any, factory: Any) -> None:
        """Say what `Annotated[kind, Inject]` gets in this process, before a tool that asks for it is served.

        `factory` is a function, async or not, or a `kind` that is there. A function is called once, when the first
        such tool is served; what it raises, `serve` raises. A context manager, async or not, is entered, its value is
        what tools get, and it is left when the runtime has closed and no tool runs any more, the last one first.
        Raises Misuse where a `kind` is in use already.
        """
        self._workshop.providers.add(kind, factory)

    def use(self, *middlewares: Middleware) -> None:
        """Put `async def m(call, context, next) -> ToolResult` around each call that is made from here.

        The first stands outermost. Each is called with the call as it is to be sent, its Context, and what comes
        next; what it returns is the result.
        """
        for middleware in middlewares:
            attach = getattr(middleware, "attach", None)
            if attach is not None:
                attach(self.tools, self.tracing)
            self._means.around.middlewares.append(middleware)

    def on_error(self, key: type[BaseException] | str, handler: Handler) -> None:
        """Call `handler` for an exception type (raised by tools served here) or a failure code (of calls from here).

        What it returns decides: None changes nothing, a Failure takes the place of the one there was, anything else
        is the result of the call after all. Raises Misuse for a key that is neither.
        """
        self._means.around.handlers.on(key, handler)

    def sanitize(self, key: str | type, sanitizer: Sanitizer) -> None:
        """Do `sanitizer` to every parameter of that name, or of that type, of the tools that are served here.

        It is given the value, decoded, and gives the one to use; it refuses by raising ValueError, or ToolError, with a
        sentence. A tool that was called before keeps what it had.
        """
        self._means.customs.sanitizers.add(key, sanitizer)

    async def discover(self) -> Catalogue:
        """The tools in reach, once whoever is on the bus has had the time to announce its own."""
        if self._directory is not None:
            await self._directory.settle()
        return self.tools

    @overload
    async def call(
        self, tool: Tool[T], arguments: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> ToolResult[T]: ...
    @overload
    async def call(
        self, tool: str, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> ToolResult[Any]: ...
    async def call(
        self, tool: Tool[Any] | str, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> ToolResult[Any]:
        """Call one tool, by itself or by name. `timeout` is in seconds. Every failure is in the result.

        Raises Misuse for what is no tool, and for arguments that are no dict.
        """
        self.system.must_be_here()
        name, given = called(tool, arguments)
        call, failure = encoded(ToolCall(f"call_{next(self._numbers)}", name, given))
        result: ToolResult[Any]
        if failure is not None:
            result = self._means.records.noted(ToolResult(call.id, name, None, failure, 0), self.system.trail)
        elif self.tracing.listens():
            result = (await self._batch((call,), timeout, ids=False))[0]
        else:  # one call on nobody's behalf needs no plan: it goes its way from here
            seconds = self._dispatcher.seconds(name, timeout)
            result = await self._dispatcher.run(call, seconds, outside(self.system), None)
        return typed(result, tool.result_type) if isinstance(tool, Tool) else result

    async def confirm(
        self, token: str, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> ToolResult[Any]:
        """Run the call that ended as `confirmation_required` with this token, once: a person has said yes.

        With `arguments` the person gave these in place of the call's own.
        """
        self.system.must_be_here()
        return await self._desk.confirm(self.system, token, arguments, timeout)

    def deny(self, token: str, reason: str = "") -> ToolResult[Any]:
        """Forget the call that waits for this token: a person has said no. Its result is `confirmation_denied`."""
        self.system.must_be_here()
        return self._desk.deny(token, reason)

    async def call_many(
        self, calls: Sequence[ToolCall], *, timeout: float | None = None
    ) -> tuple[ToolResult[Any], ...]:
        """Run calls together, as if a model had asked for them in one response; results in call order.

        Arguments may hold `{"$result": id or position, "path": …}`; `timeout` is for each call, in seconds.
        """
        sent, failures = encoded_all(calls)
        results = await self._batch(sent, timeout, ids=True)
        return tuple(failures.get(n, result) for n, result in enumerate(results)) if failures else results

    def explain(self, calls: Sequence[ToolCall], *, references: bool = True, ids: bool = True) -> Graph:
        """What `call_many(calls)` would do, without running it; with `ids=False`, as the response of a model."""
        self.system.must_be_here()
        return explained(calls, self._dispatcher, references=references, ids=ids)

    async def _batch(
        self, calls: tuple[ToolCall, ...], timeout: float | None, *, ids: bool
    ) -> tuple[ToolResult[Any], ...]:
        context = self._context()
        try:
            return (await context.ask(self._means.executor, RunBatch(calls, ids, ids, timeout=timeout))).results
        except ToolwireError as error:
            return tuple(ToolResult(call.id, call.name, None, error.failure, 0) for call in calls)

    async def artifact(self, of: ToolResult[Any] | Artifact | str, *, caller: Any = None) -> str:
        """The whole of a result that was too large: the text that the tool returned, or the JSON of anything else.

        `of` is the result, its `artifact`, or the id of that; `caller` who it was made for, as `converse` was told.
        Raises ToolwireError where it is not kept, or not any more, or not for that caller.
        """
        return await read_whole(self._context(), self._artifacts, of, told(caller))

    def _context(self) -> Context:
        if self.system.thread != get_ident():  # here too, for each turn passes by: a call less
            self.system.must_be_here()
        return outside(self.system, self.tracing.current() if self.tracing.listens() else None)

    async def converse(
        self,
        agent: Agent | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the public name
        caller: Any = None,
        model: str | Model | None = None,
        system: str = "",
        tools: Sequence[Any] | None = None,
        limits: Limits | Callable[[Any], Limits] | None = None,
        settings: Mapping[str, Any] | None = None,
        references: bool = False,
        eager: Eager = "read_only",
        output: Any = None,
        last_answer: bool = False,
        memory: MemoryStrategy | None = None,
        selector: SelectionStrategy | None = None,
        when_busy: WhenBusy = "queue",
        history: Sequence[HistoryMessage] = (),
        output_retries: int = 2,
    ) -> Chat:
        """Open a conversation, or go on with the one of that `id`.

        By an agent, or by a model and what it is told; the rest as in `Agent`. Without an `id` nobody else can find it:
        it lasts as long as the Chat. A new one goes on from `history` (docs/history.md). `caller` is the application's
        own data about who speaks: tools see it, a model never does. Raises Misuse if the conversation is open for
        another caller or in another process, or if it is open and a `history` is given.
        """
        self.system.must_be_here()
        if agent is None:
            if model is None:
                raise Misuse(failed("invalid_call", "a conversation needs an agent, or a model"))
            rest = (references, eager, output, last_answer, memory, selector, when_busy, output_retries)
            agent = Agent("", model, system, tools, limits or {}, settings or {}, *rest)
        with reached:
            return await self._conversations.open(agent, id, caller, history or ())

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; leaving the runtime then lets running calls end."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                return
