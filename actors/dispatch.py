"""The way of one call: its time, what stands around it, whether it may go, and what is done about it on the way.

Most calls go straight to their tool. One whose arguments are to be checked first, or whose tool asks for more (retries,
a cache, …), takes the longer way, through the steps of `actors/steps/`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from ..protocol.confirmation import issuer, refused
from ..protocol.draft import Check
from ..protocol.events import Event
from ..protocol.failures import Failure, Misuse, ToolwireError, failed
from ..protocol.messages import CallTool, CheckCall
from ..protocol.references import Reference
from ..protocol.tools import Mended, ToolCall, ToolResult
from ..runtime.context import Context, Door
from .catalogue import Catalogue, Entry
from .context import of_call
from .intake import Customs
from .middleware import Around
from .records import Records
from .sending import Others, Sender, Targets, Word, numbers
from .steps import Passage, Steps
from .warden import Warden

STRANGERS = "the turn has read what strangers may have written"

CALL_SECONDS = 30.0
"""The time limit of a call whose tool names none."""


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
        steps: Steps | None = None,
        records: Records | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.validator = validator
        self.sender = Sender(catalogue, here, others)
        self.call_seconds = call_seconds
        self.around = Around() if around is None else around
        self.customs = Customs() if customs is None else customs
        self.steps = Steps() if steps is None else steps
        self.records = Records(catalogue) if records is None else records
        self.executor: str | Door = ""
        self.warden: Warden | None = None
        self.taint = True
        """Whether a person is asked before what can't be undone, once strangers were heard."""
        self.hold: Callable[[ToolCall, ToolResult[Any], Context], None] | None = None
        """Is told each call that may wait for a person, as it was asked for, and how it ended."""
        self._cut: tuple[ToolCall, int] | None = None
        """The call that was cut off last, and how often it had been tried."""

    def seconds(self, name: str, asked: float | None) -> float:
        """The time limit of a call to `name`: what was asked, else what the tool says, else the default."""
        if asked is not None:
            return asked
        entry = self.catalogue.entry(name)
        return self.call_seconds if entry is None or entry.spec.timeout is None else entry.spec.timeout

    async def run(
        self,
        call: ToolCall,
        seconds: float,
        context: Context,
        hear: Callable[[Event], None] | None,
        word: Word | None = None,
    ) -> ToolResult[Any]:
        """Run one call to its end, within `seconds` and the time that `context` has left, which is cut to it."""
        system = context.system
        began = system.clock()
        context.deadline = deadline = min(began + seconds, context.deadline)
        result = None
        try:
            with system.scope() as scope:
                system.alarms.set(scope, deadline)
                try:
                    result = await self.dispatch(call, call.text(), context, hear, word)
                finally:
                    system.alarms.unset(scope, deadline)
            if result is None:
                result = await self.late(call, timed_out(call, deadline - began, system.clock() - began), context)
        except BaseException:  # whoever called has left
            if self.records.wanted():
                self.records.cancelled(call, call.text(), context.trail, system.clock() - began)
            raise
        if self.records.wanted():
            self.records.ended(result, call.text(), context.trail)
        return result

    async def late(self, call: ToolCall, result: ToolResult[Any], context: Context) -> ToolResult[Any]:
        """`result`, of a call that ran out of its time, after the handler for that, if there is one."""
        cut, self._cut = self._cut, None
        if cut is not None and cut[0] is call:
            result = replace(result, attempts=cut[1])
        entry = self.catalogue.entry(call.name)
        if entry is not None and entry.spec.isolation:
            result = left_behind(result, entry.spec.isolation)
        if not self.around.handlers.by_code:
            return result
        message = CallTool(call.id, call.name, call.text())
        own = of_call(context, message, self.executor)
        result = await self.around.settled(result, own)
        return replace(result, tainted=True) if own.tainted else result

    @property
    def foresees(self) -> Check | None:
        """What looks at the arguments of calls that wait for results. None where something else may change them yet."""
        return None if self.around else self.foreseen

    def foreseen(self, call: ToolCall, arguments: Any, references: Sequence[Reference]) -> Failure | None:
        """Why a call can't be right, whatever its references bring; None if it may be, or nobody can tell."""
        entry = self.catalogue.entry(call.name)
        try:
            foresight = None if entry is None else entry.foresight
        except Misuse:
            return None
        if entry is None or foresight is None:
            return None
        return foresight.foresee(arguments, references, lenient=self.customs.is_lenient(entry.spec))

    def dispatch(
        self,
        call: ToolCall,
        arguments: str,
        context: Context,
        hear: Callable[[Event], None] | None,
        word: Word | None = None,
    ) -> Awaitable[ToolResult[Any]]:
        """Run one call to its end: exactly one result, whatever happens. Only a cancellation is raised.

        `word` is what is to be said to its tool of a person's word.
        """
        around = self.around
        if around.middlewares or around.handlers.by_code:
            return self._kept(call, arguments, context, self._through(call, arguments, context, hear, word))
        entry = self.catalogue.entries.get(call.name)
        if entry is not None and entry.direct and word is None and self.warden is None:
            return self.sender.send(call, arguments, (), entry, context, hear, next(numbers))
        return self._kept(call, arguments, context, self._guarded(call, call, arguments, context, hear, word))

    async def _kept(
        self, call: ToolCall, arguments: str, context: Context, coming: Awaitable[ToolResult[Any]]
    ) -> ToolResult[Any]:
        """What is `coming` of a call, which is kept as it was asked for where a person has to be asked."""
        result = await coming
        if result.failure is not None and self.hold is not None:
            self.hold(ToolCall(call.id, call.name, arguments), result, context)
        return result

    async def _through(
        self,
        call: ToolCall,
        arguments: str,
        context: Context,
        hear: Callable[[Event], None] | None,
        word: Word | None,
    ) -> ToolResult[Any]:
        """Through everything that stands around calls. What that hears of strangers counts as if the tool had."""
        began = context.system.clock()
        own = of_call(
            context, CallTool(call.id, call.name, arguments, 1, hear is not None, next(numbers)), self.executor
        )
        asked = ToolCall(call.id, call.name, arguments, call.after)
        heard = False

        async def tool(changed: ToolCall) -> ToolResult[Any]:
            nonlocal heard
            heard = heard or own.tainted
            said = word
            if changed is not asked and self.taint and (heard or context.whose().tainted):
                said = self.wary(changed.name, word)
            result = await self._guarded(call, changed, changed.text(), context, hear, said)
            heard = heard or result.tainted
            return result

        result = await self.around.run(asked, own, tool)
        return replace(result, seconds=context.system.clock() - began, tainted=result.tainted or own.tainted)

    def wary(self, name: str, word: Word | None) -> Word | None:
        """`word`; else that a person is to be asked, if a call of that tool can't be undone: strangers were heard."""
        spec = self.catalogue.spec(name)
        return Word(STRANGERS) if word is None and (spec is None or spec.destructive) else word

    async def _guarded(
        self,
        asked: ToolCall,
        call: ToolCall,
        arguments: str,
        context: Context,
        hear: Callable[[Event], None] | None,
        word: Word | None,
    ) -> ToolResult[Any]:
        """If the policy lets it. Nothing that stands around calls can change what is judged here."""
        warden = self.warden
        if warden is None:
            return await self._carefully(asked, call, arguments, context, hear, word)
        entered = warden.enter(call.name, context, confirmed=word is not None and bool(word.token))
        if isinstance(entered, Failure):
            return ToolResult(call.id, call.name, None, entered, 0)
        try:
            return await self._carefully(asked, call, arguments, context, hear, wanted(word, entered.confirm))
        finally:
            warden.leave(entered)

    async def _carefully(
        self,
        asked: ToolCall,
        call: ToolCall,
        arguments: str,
        context: Context,
        hear: Callable[[Event], None] | None,
        word: Word | None,
    ) -> ToolResult[Any]:
        """The longer way: `call`, for which `asked` may stand outside, is checked, and then what its tool asks for."""
        clock = context.system.clock
        began = clock()
        mended: tuple[Mended, ...] = ()
        entry = self.catalogue.entry(call.name)
        try:
            if entry is None and self.sender.others is not None:
                await self.sender.others.settle()
                entry = self.catalogue.entry(call.name)
            if entry is not None and entry.instances != [self.sender.here]:
                arguments, mended = await self._checked(entry, arguments, context)
        except ToolwireError as error:
            return ToolResult(call.id, call.name, None, error.failure, 0, clock() - began)
        if word is not None or entry is None or entry.spec.direct:  # a person's word is for one run, of this very call
            targets = None if word is None or not word.token else issued(word.token, entry)
            if targets == []:
                return ToolResult(call.id, call.name, None, refused("the process that asked for it is gone"), 0)
            number = next(numbers)
            return await self.sender.send(call, arguments, mended, entry, context, hear, number, 0, targets, word)
        passage = Passage(call, arguments, mended, entry, context, hear, next(numbers), self.sender)
        try:
            result = await self.steps.run(passage)
        except BaseException:  # a cancellation: maybe its time limit, and then `late` is asked
            self._cut = asked, passage.attempts
            raise
        return replace(result, seconds=clock() - began)

    async def _checked(self, entry: Entry, arguments: str, context: Context) -> tuple[str, tuple[Mended, ...]]:
        """The arguments as they are to be sent, and what was changed in them.

        Raises ToolwireError with all that is wrong with them.
        """
        if self.validator:
            checked = await context.ask(self.validator, CheckCall(entry.spec.name, arguments))
            return checked.arguments or arguments, checked.mended
        understood = self.customs.understood(entry.spec, entry.checker, arguments)
        return (arguments, ()) if understood is None else (understood.text, understood.mended)


def issued(token: str, entry: Entry | None) -> Targets:
    """Whom to ask with a token: only who gave it out."""
    instance = issuer(token)
    return [] if entry is None else [target for target in entry.targets if target[1] == instance]


def wanted(word: Word | None, confirm: str) -> Word | None:
    """`word`, and that a person is to be asked for one more reason."""
    if not confirm:
        return word
    return (
        Word(confirm)
        if word is None
        else word._replace(confirm=f"{word.confirm}; {confirm}" if word.confirm else confirm)
    )


def timed_out(call: ToolCall, limit: float, seconds: float) -> ToolResult[Any]:
    """The result of a call that was stopped after `seconds`, for its limit was `limit`."""
    said = f"the call took longer than {limit:g} s and was given up; what it began may still take effect"
    failure = failed("timed_out", said, "maybe", by="call", seconds=limit)
    return ToolResult(call.id, call.name, None, failure, 1, seconds)


LEFT: dict[str, tuple[str, str]] = {
    "thread": ("abandoned", "its thread can't be stopped and may go on; what it does may still take effect"),
    "process": ("killed", "the process that ran it was killed; what it did until then may have taken effect"),
}
"""What becomes of a tool that is not done in time, by where it runs."""


def left_behind(result: ToolResult[Any], isolation: str) -> ToolResult[Any]:
    """`result`, of a call that ran out of its time, with what becomes of its tool."""
    failure = result.failure
    if failure is None or failure.code != "timed_out":
        return result
    became, said = LEFT[isolation]
    message = f"{failure.message.partition(';')[0]}; {said}"
    failure = replace(failure, message=message, details={**failure.details, isolation: became})
    return replace(result, failure=failure)
