"""The way of one call: check it, find who serves it, send it, and make a result of whatever comes back."""

import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Protocol

from msgspec.structs import replace

from ..protocol.events import Event
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import CallEnded, CallTool, CheckCall
from ..protocol.tools import Mended, ToolCall, ToolResult
from ..runtime.context import Context, Door, cut_off
from .catalogue import Catalogue, Entry
from .context import of_call
from .intake import Customs
from .middleware import Around

NOTHING_RAN = {"unreachable", "overloaded"}
"""After these another worker may be asked, whatever the tool is: they prove that nothing ran."""

numbers = count(secrets.randbits(62))
"""One for each call. Ids will not do: a model may use one again in its next response, and a program in its next run."""

CALL_SECONDS = 30.0
"""The time limit of a call whose tool names none."""


class Others(Protocol):
    """Knows who else serves tools, on a bus that others share."""

    async def settle(self) -> None:
        """Wait until whoever is there has had time to announce itself."""
        ...

    def look_again(self) -> None:
        """Somebody seems gone: find out whether it comes back."""
        ...


class Dispatcher:
    """Brings one call to whoever serves its tool. Any number may be on their way at once.

    Arguments are checked before they are sent; a tool that is served in this very process checks them itself, as it
    decodes them into its own types, so that they are looked at once. Without a `validator` to ask they are checked
    right here.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        validator: str | Door,
        here: str,
        others: Others | None = None,
        call_seconds: float = CALL_SECONDS,
        around: Around | None = None,
        customs: Customs | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.validator = validator
        self.here = here
        self.others = others
        self.call_seconds = call_seconds
        self.around = Around() if around is None else around
        self.customs = Customs() if customs is None else customs
        self.executor: str | Door = ""

    def seconds(self, name: str, asked: float | None) -> float:
        """The time limit of a call to `name`: what was asked, else what the tool says, else the default."""
        if asked is not None:
            return asked
        entry = self.catalogue.entries.get(name)
        return self.call_seconds if entry is None or entry.spec.timeout is None else entry.spec.timeout

    async def run(
        self, call: ToolCall, seconds: float, context: Context, hear: Callable[[Event], None] | None
    ) -> ToolResult[Any]:
        """Run one call to its end, within `seconds` and the time that `context` has left, which is cut to it."""
        system = context.system
        began = system.clock()
        context.deadline = deadline = min(began + seconds, context.deadline)
        with system.scope() as scope:
            system.alarms.set(scope, deadline)
            try:
                return await self.dispatch(call, call.text(), context, hear)
            finally:
                system.alarms.unset(scope, deadline)
        return await self.late(call, timed_out(call, deadline - began, system.clock() - began), context)

    async def late(self, call: ToolCall, result: ToolResult[Any], context: Context) -> ToolResult[Any]:
        """`result`, of a call that ran out of its time, after the handler for that, if there is one."""
        if not self.around.handlers.by_code:
            return result
        message = CallTool(call.id, call.name, call.text())
        return await self.around.settled(result, of_call(context, message, self.executor))

    def dispatch(
        self, call: ToolCall, arguments: str, context: Context, hear: Callable[[Event], None] | None
    ) -> Awaitable[ToolResult[Any]]:
        """Run one call to its end: exactly one result, whatever happens. Only a cancellation is raised."""
        if self.around:
            return self._through(call, arguments, context, hear)
        return self._sent(call, arguments, context, hear)

    async def _through(
        self, call: ToolCall, arguments: str, context: Context, hear: Callable[[Event], None] | None
    ) -> ToolResult[Any]:
        """Through everything that stands around calls."""
        began = context.system.clock()
        message = CallTool(call.id, call.name, arguments, 1, hear is not None, next(numbers))

        async def tool(changed: ToolCall) -> ToolResult[Any]:
            return await self._sent(changed, changed.text(), context, hear)

        asked = ToolCall(call.id, call.name, arguments, call.after)
        result = await self.around.run(asked, of_call(context, message, self.executor), tool)
        return replace(result, seconds=context.system.clock() - began)

    async def _sent(
        self, call: ToolCall, arguments: str, context: Context, hear: Callable[[Event], None] | None
    ) -> ToolResult[Any]:
        """To whoever serves the tool."""
        clock = context.system.clock
        began = clock()
        attempts = 0
        mended: tuple[Mended, ...] = ()
        number = next(numbers)
        entry = self.catalogue.entries.get(call.name)
        try:
            if entry is None and self.others is not None:
                await self.others.settle()
                entry = self.catalogue.entries.get(call.name)
            targets = self._targets(call.name, entry, context)
            if entry is not None and targets[0][1] != self.here:
                arguments, mended = await self._checked(entry, arguments, context)
        except ToolwireError as error:
            return ToolResult(call.id, call.name, None, error.failure, 0, clock() - began)
        failure = None
        for address, instance in targets:
            attempts += 1
            try:
                message = CallTool(call.id, call.name, arguments, attempts, hear is not None, number)
                ended = await context.ask(address, message, to=instance, hear=hear)
            except ToolwireError as error:
                failure = error.failure
            else:
                return result(call, ended, attempts, clock() - began, mended)
            if instance and instance != self.here:
                self._gone(call.name, instance, failure)
            if not another(failure, entry):
                break
        failure = self._not_sent(call.name, failure, entry)
        return ToolResult(call.id, call.name, None, failure, attempts, clock() - began)

    async def _checked(self, entry: Entry, arguments: str, context: Context) -> tuple[str, tuple[Mended, ...]]:
        """The arguments as they are to be sent, and what was changed in them.

        Raises ToolwireError with all that is wrong with them.
        """
        if self.validator:
            checked = await context.ask(self.validator, CheckCall(entry.spec.name, arguments))
            return checked.arguments or arguments, checked.mended
        understood = self.customs.understood(entry.spec, entry.checker, arguments)
        return (arguments, ()) if understood is None else (understood.text, understood.mended)

    def _gone(self, name: str, instance: str, failure: Failure) -> None:
        """What is known no longer: that `instance` serves the tool, or that it is there at all."""
        if failure.code == "unreachable" and not cut_off(failure):
            self.catalogue.remove(name, instance)
        elif failure.code == "worker_lost":
            self.catalogue.forget(instance)
        else:
            return
        if self.others is not None:
            self.others.look_again()

    def _targets(self, name: str, entry: Entry | None, context: Context) -> list[tuple[str | Door, str]]:
        """Address and instance of each who serves the tool; nobody known: the door for strangers."""
        if entry is None:
            return [(context.system.address("tool", name), "")]
        return entry.targets if len(entry.targets) == 1 else entry.in_turn()

    def _not_sent(self, name: str, last: Failure | None, entry: Entry | None) -> Failure:
        """Why nobody answered, in words for whoever has to mend it."""
        if last is None:
            return failed("unreachable", f"nobody serves the tool {name[:100]!r} any more", tool=name[:100])
        if entry is None and last.code == "unreachable" and not cut_off(last):
            if self.others is None or self.catalogue:
                return self.catalogue.unknown(name)
            return failed("unreachable", f"nobody serves the tool {name[:100]!r}", tool=name[:100])
        if last.code == "worker_lost":
            said = (
                f"the worker that ran {name!r} is gone, and whether it did its work is unknown: "
                "check before you repeat the call"
            )
            return failed("worker_lost", said, "maybe", cause=last.message)
        return last


def timed_out(call: ToolCall, limit: float, seconds: float) -> ToolResult[Any]:
    """The result of a call that was stopped after `seconds`, for its limit was `limit`."""
    said = f"the call took longer than {limit:g} s and was given up; what it began may still take effect"
    failure = failed("timed_out", said, "maybe", by="call", seconds=limit)
    return ToolResult(call.id, call.name, None, failure, 1, seconds)


def another(failure: Failure, entry: Entry | None) -> bool:
    """Whether another worker may be asked: nothing ran, or a second run does no harm."""
    if failure.code in NOTHING_RAN:
        return not cut_off(failure)
    return failure.code == "worker_lost" and entry is not None and entry.spec.repeatable


def result(
    call: ToolCall, ended: CallEnded, attempts: int, seconds: float, mended: tuple[Mended, ...] = ()
) -> ToolResult[Any]:
    """What a worker answered, as the result of the call. `mended` is what was changed before it was sent there."""
    failure = ended.failure
    if ended.content is None and failure is None:
        failure = failed("invalid_result", "the worker answered neither a result nor a failure", "maybe")
    return ToolResult(
        call.id, call.name, ended.content, failure, attempts, seconds, ended.worker, mended + ended.mended
    )
