"""What a tool may know of the call that it serves, and do on its behalf."""

from logging import LoggerAdapter, getLogger
from typing import Any, Protocol

import msgspec
from anyio import NoEventLoopError, from_thread

from ..protocol.envelope import DEPTH, NO_BYTES
from ..protocol.events import CallProgress
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import CallTool, RunBatch
from ..protocol.tools import ToolCall, ToolResult, called
from ..protocol.usage import Usage
from ..runtime import context

logger = getLogger("toolwire.tools")

HOPS = 2
"""Requests from one call to the next that it makes: to the executor, to the tool."""


class Named(Protocol):
    """A tool, for who only needs to know what it is called."""

    @property
    def name(self) -> str:
        """What a model calls it."""
        ...


class Context(context.Context, eq=False):
    """A parameter of this type is filled in, and left out of the tool's schema."""

    message: CallTool = CallTool("", "", "")
    executor: str | context.Door = ""
    calls: int = 0
    tainted: bool = False
    usage: Usage | None = None

    @property
    def call_id(self) -> str:
        """The id of this call, as the model gave it."""
        return self.message.id

    @property
    def tool(self) -> str:
        """The name of this tool, as it was called."""
        return self.message.tool

    @property
    def attempt(self) -> int:
        """Which start of this call it is, from 1."""
        return self.message.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this call, and for no other call."""
        return f"{self.whose().turn}/{self.message.number:x}"

    @property
    def conversation(self) -> str:
        """The id of the conversation, "" outside of one."""
        return self.whose().conversation

    @property
    def caller(self) -> Any:
        """The application's own data about who speaks, None if it gave none. It is never shown to a model."""
        caller = self.whose().caller
        return msgspec.json.decode(caller) if caller else None

    @property
    def log(self) -> LoggerAdapter[Any]:
        """A logger whose records carry the call's id and tool."""
        return LoggerAdapter(logger, {"call_id": self.call_id, "tool": self.tool})

    async def progress(self, done: float, total: float = 0.0, note: str = "") -> None:
        """Tell whoever follows the turn how far this call is."""
        if self.message.events:
            self.report(CallProgress(self.call_id, done, total, note))

    def report_progress(self, done: float, total: float = 0.0, note: str = "") -> None:
        """As `progress`, for a function that is not async, wherever it runs."""
        if not self.message.events:
            return
        told = CallProgress(self.call_id, done, total, note)
        try:
            from_thread.run_sync(self.report, told)
        except NoEventLoopError:  # in no thread of a loop: on the loop itself, or in a process of its own
            self.report(told)

    async def call(
        self, tool: Named | str, arguments: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> ToolResult[Any]:
        """Call another tool inside this call's time, trace and cancellation; `timeout` may only shorten its time.

        Raises Misuse for what is no tool, and for arguments that are no dict.
        """
        name, given = called(tool, arguments)
        self.calls += 1
        identity = f"{self.call_id}.{self.calls}"
        try:
            asked = ToolCall(identity, name, ToolCall("", name, given).text())
        except NO_BYTES as error:
            failure = failed("invalid_arguments", f"the arguments are not what JSON can carry: {error}")
            return ToolResult(identity, name, None, failure, 0)
        if self.depth + HOPS > DEPTH:
            return ToolResult(identity, name, None, too_deep(self, name), 0)
        try:
            tainted = self.tainted or self.whose().tainted
            ended = await self.ask(self.executor, RunBatch((asked,), timeout=timeout, tainted=tainted))
        except ToolwireError as error:
            return ToolResult(asked.id, name, None, error.failure, 0)
        self.tainted = self.tainted or ended.tainted
        if not ended.results:
            return ToolResult(asked.id, name, None, failed("internal", "the executor answered nothing"), 0)
        result = ended.results[0]
        if result.usage is not None and not result.cached:
            self.used(result.usage)
        return result

    def used(self, usage: Usage) -> None:
        """A model that was asked on behalf of this call has used so much: it counts for the turn that made the call."""
        self.usage = usage if self.usage is None else self.usage + usage


def too_deep(context: Context, name: str) -> Failure:
    """Why a call of the tool `name` is not made: too many wait for each other already. It names the first of them."""
    first, levels = context.call_id, 0
    while levels < context.depth // HOPS and (cut := first.rpartition("."))[2].isdecimal() and cut[0]:
        first, levels = cut[0], levels + 1
    said = (
        f"{name!r} was not called: it would be number {levels + 2} of a chain of calls that make each other, which "
        f"began with the call {first!r} and goes on with {context.tool!r}; requests nest at most {DEPTH} deep"
    )
    return failed("limit_reached", said, by="depth", first=first, calls=levels + 1)


def of_call(outer: context.Context, message: CallTool, executor: str | context.Door) -> Context:
    """What the tool that serves `message` is given."""
    return Context(
        outer.system,
        outer.deadline,
        outer.depth,
        outer.path,
        outer.trail,
        outer.listener,
        outer.began,
        outer.queued,
        message,
        executor,
    )
