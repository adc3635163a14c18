"""One turn as the application follows it: its events, in order and numbered, whatever the reader does."""

from collections import deque
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
from anyio.lowlevel import checkpoint
from msgspec import ValidationError
from msgspec.structs import replace

from ..protocol.events import (
    CallFinished,
    CallProgress,
    CallStarted,
    Event,
    ReasoningDelta,
    Reply,
    TextDelta,
    TurnFinished,
    TypedReply,
)
from ..protocol.failures import Failure, Misuse, ToolwireError, failed
from ..protocol.messages import Say
from ..protocol.output import Output
from ..protocol.standins import written
from ..protocol.tools import ToolResult
from ..runtime.beside import Beside
from ..runtime.border import is_ours, is_scoped, log
from ..runtime.context import Context, Door
from ..runtime.system import NOT_OPEN

BACKLOG = 1_024
"""Events that wait for a slow reader; from then on deltas and progress are merged, and no other event is lost."""

PIECE = 64 * 1024
"""Characters from which on a merged delta takes no more: each that joins it copies it."""

NEAR = 128
"""How far back from the newest event a place to merge is looked for: about as many calls may report at once."""

DROPPED = failed("cancelled", "the response that this call belongs to was broken off", "maybe", by="model")

CLOSED = failed("cancelled", "the runtime was closed before the turn had ended", "maybe", by="runtime")

CANCELLED = failed("cancelled", "a tool, the model or the program cancelled the task of the turn", "maybe", by="task")


class TurnStream:
    """The events of one turn, numbered; the last is TurnFinished.

    Leaving the block cancels the turn, and waits for its end. If it is detached the turn goes on, and nobody hears of
    it any more, but for the log if it fails; the runtime's end cancels it. `name` is that of its conversation.
    """

    def __init__(
        self,
        context: Context,
        address: str | Door,
        said: Say,
        wanted: Output | None = None,
        *,
        detach: bool = False,
        name: str = "",
    ) -> None:
        self._context = context
        self._address = address
        self._said = said
        self._wanted = wanted
        self._detach = detach
        self._name = name
        self._waiting: deque[Event] = deque()
        self._news: anyio.Event | None = None  # while somebody waits for an event
        self._entered = False
        self._left = False
        self._over = False
        self._told_end = False
        self._error: ToolwireError | None = None
        self._number = 0
        self._running: dict[str, str] = {}  # names of the calls that were told as started, by their ids
        self._finished: dict[str, int] = {}  # how often a call of that id has ended: one may come in each response
        self._turn: Beside | None = None

    async def __aenter__(self) -> Self:
        if self._entered:
            said = "a stream is one turn, and was entered already: chat.stream(…) makes another"
            raise Misuse(failed("invalid_call", said))
        self._entered = True
        system = self._context.system
        if not system.open:
            raise Misuse(failed("unreachable", NOT_OPEN))
        if self._detach:
            system.tasks.start_soon(self._run)
        else:
            self._turn = Beside(system, "a turn that is followed")
            self._turn.start(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        if self._turn is None:
            self._waiting.clear()
        else:
            await self._turn.leave()

    def __aiter__(self) -> Self:
        if not self._entered:
            raise Misuse(
                failed("invalid_call", "a stream has to be entered first: async with chat.stream(…) as events")
            )
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._over:
                if not self._told_end:
                    await checkpoint()  # whoever is cancelled with the turn should not go on as if that had ended
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            if self._news is None:
                self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.popleft()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    async def _run(self) -> None:
        try:
            reply = (await self._context.ask(self._address, self._said, hear=self._hear)).reply
            if self._wanted is not None:
                reply = typed(reply, self._wanted)
            self._told_end = True
            self._unheard(reply.failure)
            self._mend(reply)
            self._hear(TurnFinished(reply, self._number + 1))
        except ToolwireError as error:
            self._error = error
            self._unheard(error.failure)
        except BaseException as error:
            if not is_ours(error):
                raise
            if self._detach or not self._left:  # it ends here, with its task: see `Beside`
                self._error = ToolwireError(CLOSED if is_scoped() else CANCELLED)
        finally:
            self._over = True
            self._tell()

    def _unheard(self, failure: Failure | None) -> None:
        """Log how a detached turn has failed of which nobody reads any more: by its code, for words may be contents."""
        if self._detach and self._left and failure is not None and failure.code != "cancelled":
            log.warning("a turn of %s that nobody followed any more has failed: %s", self._name, failure.code)
            log.debug("[%s]", failure.message)

    def _mend(self, reply: Reply) -> None:
        """Tell how calls ended of which nobody was told so.

        They were open when the turn was broken off, or their response was dropped; or it was lost: a bus may lose
        events while its connection is down or full.
        """
        if reply.ended == "paused":  # then some have not ended
            return
        told = self._finished.copy()
        for result in reply.calls:
            if told.get(result.id):
                told[result.id] -= 1
            else:
                self._hear(CallFinished(result, self._number + 1))
        for id_, name in list(self._running.items()):
            self._hear(CallFinished(ToolResult(id_, name, failure=DROPPED), self._number + 1))

    def _hear(self, event: Event) -> None:
        self._number = event.number
        if self._left:
            return
        if type(event) is CallStarted:
            self._running[event.id] = event.name
        elif type(event) is CallFinished:
            self._running.pop(event.result.id, None)
            self._finished[event.result.id] = self._finished.get(event.result.id, 0) + 1
        if len(self._waiting) >= BACKLOG and self._merged(event):
            return
        self._waiting.append(event)
        self._tell()

    def _merged(self, event: Event) -> bool:
        """Let `event` join one that waits, so that numbers still rise. Only deltas and progress can be merged.

        A delta does not pass what is no delta and no progress: what was said after a call is not told before it.
        """
        waiting = self._waiting
        last = len(waiting) - 1
        for n in range(last, max(last - NEAR, -1), -1):
            other = waiting[n]
            if isinstance(event, TextDelta | ReasoningDelta):
                if not isinstance(other, TextDelta | ReasoningDelta | CallProgress):
                    return False
                if isinstance(other, type(event)):
                    if len(other.text) >= PIECE:
                        return False
                    waiting[n] = replace(other, text=other.text + event.text)
                    return True
            elif isinstance(event, CallProgress) and isinstance(other, CallProgress) and other.id == event.id:
                del waiting[n]
                waiting.append(event)
                return True
        return isinstance(event, CallProgress)  # what a call says of itself may be lost: its end says everything


def typed(reply: Reply, wanted: Output) -> Reply:
    """`reply` with what was answered as the type that was asked for."""
    if reply.output is None:
        return reply
    try:
        value = wanted.typed(reply.output)
    except (ValidationError, ValueError, TypeError) as error:  # whoever drives the turn knows the schema alone
        failure = failed("invalid_output", f"the answer is not of the type that was asked for: {error}", errors=[])
        return replace(reply, ended="failed", failure=failure, output=None)
    try:
        if wanted.kind is not Any:
            msgspec.json.encode(value)
    except TypeError:  # nothing that msgspec writes by itself: whoever encodes the reply should need no hook for it
        return TypedReply.of(reply, spelt(value, reply.output), value)
    return replace(reply, output=value)


def spelt(value: Any, heard: Any) -> Any:
    """`value` as JSON, as its type writes it; as it was `heard` if its type can't be written."""
    try:
        return msgspec.json.decode(written(value))
    except (TypeError, ValueError):
        return heard
