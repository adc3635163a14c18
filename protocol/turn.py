"""One turn as a table: what was heard, in which phase, leads to what is said next.

    SELECTING ── ToolsSelected ──▶ COMPLETING ── Completed with calls ──▶ CALLING ── BatchEnded ──▶ COMPLETING …
                                        └─ Completed without ──▶ ENDED

Before a model is asked again the tools may have changed: COMPLETING ── ToolsChanged ──▶ SELECTING.

A `Turn` knows no clock and sends nothing. It appends to the history, which is valid after every step and at every
instant between: no call stands in it without its result once `close` was called.
"""

import math
from collections.abc import Callable
from typing import Any, TypedDict

from msgspec import Struct

from .events import Reply, Usage
from .failures import Effect, Failure, failed
from .history import AssistantMessage, HistoryMessage, UserMessage, tool_message
from .messages import BatchEnded, Complete, Completed, RunBatch, SelectTools, SendAll, ToolsSelected, TurnEnded
from .tools import ToolCall, ToolResult


class Limits(TypedDict, total=False):
    """What one turn may use. `rounds` counts replies of the model, `seconds` is the time of the turn."""

    rounds: int
    calls: int
    calls_per_response: int
    input_tokens: int
    output_tokens: int
    seconds: float


DEFAULT_LIMITS: Limits = {"rounds": 10, "calls": 500, "calls_per_response": 128, "seconds": 300.0}


class Phase:
    """Whose answer the turn waits for. Plain strings: in the table an Enum would cost more to look up than to hear."""

    SELECTING = "selecting"
    COMPLETING = "completing"
    CALLING = "calling"
    ENDED = "ended"


NOTHING = Usage()


class ToolsChanged(Struct, frozen=True, gc=False):
    """Heard before a model is asked: the tools in reach are others than when they were selected."""


CHANGED = ToolsChanged()

Command = SelectTools | Complete | RunBatch | TurnEnded
Heard = ToolsSelected | Completed | SendAll | BatchEnded | Failure | ToolsChanged

REPEATS = 3
"""How often in a row the model actor may ask for everything: it forgets only where memory is short."""

FINISHED = {"stop": "answered", "calls": "answered", "length": "tokens", "filtered": "filtered", "refused": "refused"}
"""How a turn ends when its last reply, one without calls, finished so."""


class Offer:
    """What a conversation brings to each of its turns, and what stays from one to the next."""

    __slots__ = (
        "calls",
        "calls_per_response",
        "conversation",
        "history",
        "known",
        "limits",
        "patterns",
        "references",
        "rounds",
        "seconds",
        "settings",
        "used",
    )

    def __init__(
        self,
        conversation: str,
        history: list[HistoryMessage],
        *,
        patterns: tuple[str, ...] = (),
        limits: Limits = DEFAULT_LIMITS,
        settings: dict[str, Any] | None = None,
        references: bool = False,
    ) -> None:
        self.conversation = conversation
        self.history = history
        self.patterns = patterns
        self.limits = limits
        self.settings = settings or {}
        self.references = references
        self.known = 0
        self.used: dict[str, None] = {}
        self.rounds = limits.get("rounds", math.inf)
        self.calls = limits.get("calls", math.inf)
        self.calls_per_response = limits.get("calls_per_response", math.inf)
        self.seconds = limits.get("seconds")


class Turn:
    """One turn of a conversation, from what the user says to the reply."""

    __slots__ = (
        "called",
        "digest",
        "events",
        "offer",
        "open",
        "phase",
        "repeats",
        "results",
        "rounds",
        "text",
        "told",
        "usage",
    )

    def __init__(self, offer: Offer, *, events: bool = False) -> None:
        self.offer = offer
        self.events = events
        self.text = ""
        self.phase = Phase.ENDED
        self.digest = ""
        self.rounds = 0
        self.called = 0
        self.repeats = 0
        self.open: tuple[ToolCall, ...] = ()
        self.told: dict[str, ToolResult[Any]] | None = None
        self.results: list[ToolResult[Any]] = []
        self.usage = NOTHING

    def start(self, text: str) -> Command:
        """The user says `text`."""
        self.text = text
        self.offer.history.append(UserMessage(text))
        return self._select()

    def step(self, heard: Heard) -> Command:
        """What to say after `heard`. Raises KeyError for what can't be heard in this phase."""
        return STEPS[self.phase, type(heard)](self, heard)

    def tell(self, result: ToolResult[Any]) -> None:
        """Somebody was told that an open call has ended so: no other end of it may be told later."""
        if result.failure is None or result.failure.code != "invalid_call":  # whose id may be that of another call
            if self.told is None:
                self.told = {}
            self.told[result.id] = result

    def close(
        self,
        code: str = "cancelled",
        sentence: str = "the turn ended before this call did",
        effect: Effect = "maybe",
    ) -> None:
        """Give each call that is still open a result, so that the history is valid however the turn ends."""
        told = self.told or {}
        for call in self.open:
            result = told.pop(call.id, None) or ToolResult(call.id, call.name, failure=failed(code, sentence, effect))
            self.results.append(result)
            self.offer.history.append(tool_message(result))
        self.open = ()
        self.phase = Phase.ENDED

    def end(self, ended: str, text: str = "", failure: Failure | None = None) -> TurnEnded:
        """The turn is over."""
        if self.open:
            self.close()
        self.phase = Phase.ENDED
        return TurnEnded(Reply(text, ended, tuple(self.results), self.usage, self.rounds, failure))

    def _select(self, _heard: ToolsChanged = CHANGED) -> SelectTools:
        self.phase = Phase.SELECTING
        return SelectTools(self.text, self.offer.patterns, tuple(self.offer.used))

    def _complete(self) -> Complete:
        offer = self.offer
        self.phase = Phase.COMPLETING
        newer = tuple(offer.history[offer.known :])
        return Complete(offer.conversation, offer.known, newer, self.digest, None, offer.settings, self.events)

    def _selected(self, heard: ToolsSelected) -> Command:
        self.digest = heard.digest
        return self._complete()

    def _completed(self, heard: Completed) -> Command:
        offer = self.offer
        offer.known = len(offer.history)
        self.rounds += 1
        self.repeats = 0
        usage = heard.usage
        if usage.input_tokens or usage.output_tokens:
            self.usage = self.usage + usage
        offer.history.append(AssistantMessage(heard.text, heard.calls, heard.opaque))
        if not heard.calls:
            return self.end(FINISHED.get(heard.finish, "answered"), heard.text)
        self.open = heard.calls
        spent = self._spent()
        if spent is not None:
            self.close("limit_reached", f"the limit of the turn is reached: {spent}", "none")
            return self.end(spent, heard.text)
        return self._call(heard.calls)

    def _spent(self) -> str | None:
        offer, usage = self.offer, self.usage
        if self.rounds >= offer.rounds:
            return "rounds"
        if self.called >= offer.calls:
            return "calls"
        if usage is not NOTHING:
            limits = offer.limits
            if usage.input_tokens > limits.get("input_tokens", math.inf):
                return "tokens"
            if usage.output_tokens > limits.get("output_tokens", math.inf):
                return "tokens"
        return None

    def _call(self, calls: tuple[ToolCall, ...]) -> RunBatch:
        offer = self.offer
        limit = min(offer.calls - self.called, offer.calls_per_response)
        self.called += len(calls)
        self.phase = Phase.CALLING
        return RunBatch(calls, offer.references, limit=None if limit == math.inf else int(limit), events=self.events)

    def _ended(self, heard: BatchEnded) -> Command:
        if len(heard.results) != len(self.open):
            said = f"{len(self.open)} calls were handed over, and {len(heard.results)} results came back"
            return self._fail(failed("internal", said, "maybe"))
        history, used = self.offer.history, self.offer.used
        for result in heard.results:
            history.append(tool_message(result))
            used[result.name] = None
        self.results += heard.results
        self.open = ()
        self.told = None
        return self._complete()

    def _send_all(self, heard: SendAll) -> Command:
        self.repeats += 1
        if self.repeats > REPEATS:
            said = f"the model actor forgot what it was told, {self.repeats} times in a row"
            return self._fail(failed("model_failed", said))
        if heard.history:
            self.offer.known = 0
        return self._complete()

    def _fail(self, heard: Failure) -> Command:
        if self.phase == Phase.SELECTING and heard.code == "too_large":
            self.offer.history.pop()  # what the user said can't be told to anybody: no later turn could go on from it
        return self.end(ENDED_BY.get(heard.code, "failed"), failure=heard)


ENDED_BY = {"timed_out": "time", "cancelled": "interrupted", "model_refused": "refused"}

STEPS: dict[tuple[str, type], Callable[[Turn, Any], Command]] = {
    (Phase.SELECTING, ToolsSelected): Turn._selected,  # noqa: SLF001 - the table is part of the class
    (Phase.COMPLETING, Completed): Turn._completed,  # noqa: SLF001 - as above
    (Phase.COMPLETING, SendAll): Turn._send_all,  # noqa: SLF001 - as above
    (Phase.COMPLETING, ToolsChanged): Turn._select,  # noqa: SLF001 - as above
    (Phase.CALLING, BatchEnded): Turn._ended,  # noqa: SLF001 - as above
    (Phase.SELECTING, Failure): Turn._fail,  # noqa: SLF001 - as above
    (Phase.COMPLETING, Failure): Turn._fail,  # noqa: SLF001 - as above
    (Phase.CALLING, Failure): Turn._fail,  # noqa: SLF001 - as above
}
