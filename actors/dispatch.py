"""The way of one call: its time, what stands around it, whether it may go, and what is done about it on the way.

Most calls go straight to their tool. One whose arguments are to be checked first, or whose tool asks for more (retries,
a cache, …), takes the longer way, through the steps of `actors/steps/`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from ..protocol import subjects
from ..protocol.confirmation import issuer, refused
from ..protocol.draft import Check
from ..protocol.events import Event
from ..protocol.failures import Failure, Misuse, ToolwireError, failed
from ..protocol.messages import CallTool, CheckCall
from ..protocol.references import Reference
from ..protocol.tools import Mended, ToolCall, ToolResult
from ..runtime.context import Context, Door, cut_off
from .catalogue import Entry
from .context import of_call
from .means import Means
from .sending import Sender, Targets, Word, numbers
from .steps import Passage

GONE = refused("the process that asked for it is gone")
STRANGERS = "the turn has read what strangers may have written"


class Going:
    """One call on its way, as whoever made it sees it, and how often it was begun so far.

    What stands around calls may let it go on several times, with changes; its attempts are counted all the same.
    `number` is for what goes on first. `word` is what is to be said to its tool of a person's word.
    """

    __slots__ = ("_numbers", "attempts", "call", "context", "hear", "number", "word")

    def __init__(
        self, call: ToolCall, context: Context, hear: Callable[[Event], None] | None, word: Word | None
    ) -> None:
        self.call = call
        self.context = context
        self.hear = hear
        self.word = word
        self.number = next(numbers)
        self.attempts = 0
        self._numbers: dict[tuple[str, str], int] = {}

    def number_for(self, name: str, arguments: str) -> int:
        """The number for what goes on. With other arguments it has another: whoever knows a key refuses it for them."""
        known = self._numbers.get((name, arguments))
        if known is None:
            known = self._numbers[name, arguments] = next(numbers) if self._numbers else self.number
        return known


Underway = dict[str, Going]
"""The calls of somebody that went the longer way, by id: of one that is cut off, it tells how often it was begun."""


class Dispatcher:
    """Brings one call to whoever serves its tool. Any number may be on their way at once.

    Arguments are checked before they are sent; a tool that is served in this very process checks them itself, as it
    decodes them into its own types, so that they are looked at once. Without a `validator` to ask they are checked
    right here.
    """

    def __init__(self, means: Means, validator: str | Door = "") -> None:
        self.means = means
        self.catalogue = means.catalogue
        self.records = means.records
        self.validator = validator
        self.sender = Sender(means.catalogue, means.here, means.others)

    def seconds(self, name: str, asked: float | None) -> float:
        """The time limit of a call to `name`: what was asked, else what the tool says, else the default."""
        if asked is not None:
            return asked
        entry = self.catalogue.entry(name)
        return self.means.seconds if entry is None or entry.spec.timeout is None else entry.spec.timeout

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
        result, underway = None, Underway()
        try:
            with system.scope() as scope:
                system.alarms.set(scope, deadline)
                try:
                    result = await self.dispatch(call, call.text(), context, hear, word, underway)
                finally:
                    system.alarms.unset(scope, deadline)
            if result is None:
                result = timed_out(call, deadline - began, system.clock() - began)
                result = await self.late(call, result, context, underway)
        except BaseException:  # whoever called has left
            if self.records.wanted():
                self.records.cancelled(call, call.text(), context.trail, system.clock() - began)
            raise
        if self.records.wanted():
            self.records.ended(result, call.text(), context.trail)
        return result

    async def late(
        self, call: ToolCall, result: ToolResult[Any], context: Context, underway: Underway
    ) -> ToolResult[Any]:
        """`result`, of a call that ran out of its time, after the handler for that, if there is one."""
        going, means = underway.get(call.id), self.means
        if going is not None:
            result = replace(result, attempts=going.attempts)
        entry = self.catalogue.entry(call.name)
        if entry is not None and entry.spec.isolation:
            result = left_behind(result, entry.spec.isolation)
        if not means.around.handlers.by_code:
            return result
        message = CallTool(call.id, call.name, call.text())
        own = of_call(context, message, means.executor)
        result = await means.around.settled(result, own)
        return replace(result, tainted=True) if own.tainted else result

    @property
    def foresees(self) -> Check | None:
        """What looks at the arguments of calls that wait for results. None where something else may change them yet."""
        return None if self.means.around else self.foreseen

    def foreseen(self, call: ToolCall, arguments: Any, references: Sequence[Reference]) -> Failure | None:
        """Why a call can't be right, whatever its references bring; None if it may be, or nobody can tell."""
        entry = self.catalogue.entry(call.name)
        try:
            foresight = None if entry is None else entry.foresight
        except Misuse:
            return None
        if entry is None or foresight is None:
            return None
        return foresight.foresee(arguments, references, lenient=self.means.customs.is_lenient(entry.spec))

    def wary(self, name: str, word: Word | None) -> Word | None:
        """`word`; else that a person is to be asked, if a call of that tool can't be undone: strangers were heard."""
        spec = self.catalogue.spec(name)
        return Word(STRANGERS) if word is None and (spec is None or spec.destructive) else word

    def dispatch(
        self,
        call: ToolCall,
        arguments: str,
        context: Context,
        hear: Callable[[Event], None] | None,
        word: Word | None = None,
        underway: Underway | None = None,
    ) -> Awaitable[ToolResult[Any]]:
        """Run one call to its end: exactly one result, whatever happens. Only a cancellation is raised.

        `word` is what is to be said to its tool of a person's word; the call stands in `underway` if it goes the
        longer way.
        """
        around = self.means.around
        bare = not (around.middlewares or around.handlers.by_code)
        if bare and word is None and self.means.warden is None:
            entry = self.catalogue.entries.get(call.name)
            if entry is not None and entry.direct:
                return self.sender.send(call, arguments, entry, context, hear, next(numbers))
        going = Going(call, context, hear, word)
        if underway is not None:
            underway[call.id] = going
        coming = self._guarded(going, call, arguments, word) if bare else self._through(going, arguments)
        return self._kept(going, arguments, coming)

    async def _kept(self, going: Going, arguments: str, coming: Awaitable[ToolResult[Any]]) -> ToolResult[Any]:
        """What is `coming` of a call, which is kept as it was asked for where a person has to be asked."""
        result = await coming
        held = self.means.held
        if result.failure is not None and held is not None:
            held.keep(ToolCall(going.call.id, going.call.name, arguments), result, going.context)
        return result

    async def _through(self, going: Going, arguments: str) -> ToolResult[Any]:
        """Through everything that stands around calls. What that hears of strangers counts as if the tool had."""
        call, context, means = going.call, going.context, self.means
        began = context.system.clock()
        message = CallTool(call.id, call.name, arguments, 1, going.hear is not None, going.number)
        own = of_call(context, message, means.executor)
        asked = ToolCall(call.id, call.name, arguments, call.after)
        heard = False

        async def tool(changed: ToolCall) -> ToolResult[Any]:
            nonlocal heard
            heard = heard or own.tainted
            word = going.word
            if changed is not asked and means.taint and (heard or context.whose().tainted):
                word = self.wary(changed.name, word)
            result = await self._guarded(going, changed, changed.text(), word)
            heard = heard or result.tainted
            return result

        result = await means.around.run(asked, own, tool)
        return replace(result, seconds=context.system.clock() - began, tainted=result.tainted or own.tainted)

    async def _guarded(self, going: Going, call: ToolCall, arguments: str, word: Word | None) -> ToolResult[Any]:
        """If the policy lets it. Nothing that stands around calls can change what is judged here."""
        warden = self.means.warden
        if warden is None:
            return await self._carefully(going, call, arguments, word)
        entered = warden.enter(call.name, going.context, confirmed=word is not None and bool(word.token))
        if isinstance(entered, Failure):
            return ToolResult(call.id, call.name, None, entered, 0)
        try:
            return await self._carefully(going, call, arguments, wanted(word, entered.confirm))
        finally:
            warden.leave(entered)

    async def _carefully(self, going: Going, call: ToolCall, arguments: str, word: Word | None) -> ToolResult[Any]:
        """The longer way: the arguments are checked, and then what the tool asks for is done."""
        clock = going.context.system.clock
        began = clock()
        mended: tuple[Mended, ...] = ()
        number = going.number_for(call.name, arguments)
        entry = self.catalogue.entry(call.name)
        try:
            if entry is None and self.sender.others is not None:
                await self.sender.others.settle()
                entry = self.catalogue.entry(call.name)
            if entry is not None and entry.instances != [self.sender.here]:
                arguments, mended = await self._checked(entry, arguments, going.context)
        except ToolwireError as error:
            return ToolResult(call.id, call.name, None, error.failure, 0, clock() - began)
        if word is not None or entry is None or entry.spec.direct:  # a person's word is for one run, of this very call
            result = await self._once(going, call, arguments, entry, number, word)
        else:
            passage = Passage(call, arguments, entry, going.context, going.hear, number, self.sender)
            passage.attempts = going.attempts
            try:
                result = await self.means.steps.run(passage)
            finally:
                going.attempts = passage.attempts
        return replace(result, seconds=clock() - began, mended=mended + result.mended)

    async def _once(
        self, going: Going, call: ToolCall, arguments: str, entry: Entry | None, number: int, word: Word | None
    ) -> ToolResult[Any]:
        """The longer way of a call about which nothing is done, or a person said something."""
        targets = None if word is None or not word.token else self._issued(word.token, entry)
        if targets == []:
            return ToolResult(call.id, call.name, None, GONE, 0)
        before = going.attempts
        going.attempts += 1
        context, hear = going.context, going.hear
        result = await self.sender.send(call, arguments, entry, context, hear, number, before, targets, word)
        going.attempts = max(going.attempts, result.attempts)
        failure = result.failure
        if targets is not None and failure is not None and failure.code == "unreachable" and not cut_off(failure):
            return replace(result, failure=GONE)
        return result

    def _issued(self, token: str, entry: Entry | None) -> Targets:
        """Whom to ask with a token: only who gave it out, though it may be missed where tools are listed."""
        instance = issuer(token)
        if entry is None or not instance or subjects.token(instance) != instance:  # whose name is none, it is forged
            return []
        return [self.catalogue.target(entry.spec.name, instance)]

    async def _checked(self, entry: Entry, arguments: str, context: Context) -> tuple[str, tuple[Mended, ...]]:
        """The arguments as they are to be sent, and what was changed in them.

        Raises ToolwireError with all that is wrong with them.
        """
        if self.validator:
            checked = await context.ask(self.validator, CheckCall(entry.spec.name, arguments))
            return checked.arguments or arguments, checked.mended
        understood = self.means.customs.understood(entry.spec, entry.checker, arguments)
        return (arguments, ()) if understood is None else (understood.text, understood.mended)


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
