"""A turn that is followed while it runs: its calls are handed over as they are spoken.

    COMPLETING ── the first call is spoken ──▶ SPEAKING ── Completed ──▶ CALLING ── BatchEnded ──▶ COMPLETING …

What the model says until it has ended may yet be dropped: if it fails, or the turn is interrupted, what was begun is
cancelled, and nothing of it stays. Only once a call that may have changed something was handed over it stands as it
is: the history says what was called, and what came of it.
"""

from collections.abc import Callable
from typing import Any

from .events import CallSpoken
from .failures import Effect, Failure, failed
from .history import AssistantMessage
from .messages import AddCall, BatchEnded, CloseBatch, Complete, Completed, OpenBatch, SendAll
from .offer import Offer
from .speaking import Speaking
from .tools import ToolCall, ToolResult
from .turn import ENDED_BY, SPENT, STEPS, Command, Heard, Phase, Turn


class StreamedTurn(Turn):
    """See `Turn`. `speaking` is the response in hand, if a call of it was told before its end."""

    __slots__ = ("speaking",)

    def __init__(self, offer: Offer, *, events: bool = True, name: str = "") -> None:
        super().__init__(offer, events=events, name=name)
        self.speaking: Speaking | None = None

    @property
    def batch(self) -> str:
        """What the batch in hand is called while it runs."""
        return self.speaking.name if self.speaking is not None else super().batch

    def step(self, heard: Heard) -> Command:
        """What to say after `heard`. Raises KeyError for what can't be heard in this phase."""
        return SPOKEN[self.phase, type(heard)](self, heard)

    def speak(self, spoken: CallSpoken) -> OpenBatch | AddCall | None:
        """What to say at once, now that the model has said all of a call. None: it waits for the response's end."""
        call, speaking = spoken.call, self.speaking
        if speaking is None:
            return self._open(call) if self.phase == Phase.COMPLETING and spoken.position == 0 else None
        if self.phase != Phase.SPEAKING or not speaking.continues(spoken):
            return None
        repeated = self._counting().count(call)
        return AddCall(speaking.name, speaking.take(call, repeated=repeated), call, repeated)

    def withdraw(self) -> None:
        """Nothing of what was spoken was handed over after all: the end of the response decides alone."""
        if self.phase == Phase.SPEAKING:
            self.phase = Phase.COMPLETING

    def close(
        self,
        code: str = "cancelled",
        sentence: str = "the turn ended before this call did",
        effect: Effect = "maybe",
    ) -> None:
        """Give each call that is still open a result, so that the history is valid however the turn ends."""
        if self.phase == Phase.SPEAKING:
            self._break_off()
        super().close(code, sentence, effect)

    def _open(self, call: ToolCall) -> OpenBatch | None:
        """Open a batch with the first call of a response, if its calls will be made at all."""
        offer, limit = self.offer, self._limit()
        eager = offer.eager
        if eager == "off" or self.rounds + 1 >= offer.rounds or (limit is not None and limit < 1):
            return None
        name = f"{self.name}.{self.rounds + 1}"
        speaking = self.speaking = Speaking(name)
        self.phase = Phase.SPEAKING
        repeated = self._counting().count(call)
        speaking.take(call, repeated=repeated)
        return OpenBatch(
            name,
            call,
            eager,
            offer.references,
            limit,
            events=self.events,
            tainted=self.tainted,
            repeated=repeated,
        )

    def _complete(self) -> Complete:
        self.speaking = None
        offer = self.offer
        self.phase = Phase.COMPLETING
        newer = tuple(offer.history[offer.known :])
        return Complete(
            offer.conversation,
            offer.known,
            newer,
            self.digest,
            None,
            offer.settings,
            self.events,
            calls=self.events and bool(self.digest),
        )

    def _repeated(self, calls: tuple[ToolCall, ...]) -> tuple[int, ...]:
        """Which of `calls` are made too often. Those that were spoken before the end are counted already."""
        speaking = self.speaking
        if speaking is None:
            return super()._repeated(calls)
        return speaking.positions(self._counting().among(calls[len(speaking.calls) :]))

    def _replied(self, heard: Completed) -> CloseBatch:
        """The response has ended, and some of its calls may run already."""
        speaking = self._spoken()
        changed = speaking.changed(heard.calls)
        if changed is not None:
            self.offer.known = len(self.offer.history)
            return self._keep(heard.text, changed)
        self._take_down(heard)
        self.phase = Phase.CALLING
        spent = self._spent()
        self.called += len(heard.calls)
        if spent is None:
            speaking.leave(heard.calls, self._repeated(heard.calls))
            return CloseBatch(speaking.name, len(heard.calls))
        speaking.last = (spent, heard.text, None)
        return CloseBatch(speaking.name, len(speaking.calls), failed("limit_reached", SPENT.format(spent), "none"))

    def _broken(self, heard: Failure) -> Command:
        """The model has failed in the midst of a response."""
        speaking = self._spoken()
        if self._must_stay(speaking):
            return self._keep("".join(speaking.text), heard)
        self._drop()
        return self._fail(heard)

    def _again_all(self, _heard: SendAll) -> Command:
        said = "the end of the model's response did not arrive: it may be too large"
        return self._broken(failed("model_failed", said))

    def _keep(self, text: str, failure: Failure) -> CloseBatch:
        """What was said becomes history: what runs goes on to its end, what has not begun does not begin."""
        speaking = self._spoken()
        self.rounds += 1
        self._write(text, speaking)
        self.phase = Phase.CALLING
        speaking.last = (ENDED_BY.get(failure.code, "failed"), "", failure)
        said = "the model's response broke off before this call had begun"
        return CloseBatch(speaking.name, len(self.open), failed("cancelled", said, "none", by="model"))

    def _ended(self, heard: BatchEnded) -> Command:
        speaking = self.speaking
        if speaking is None or speaking.last is None:
            return super()._ended(heard)
        handed = len(speaking.calls)
        if len(heard.results) != handed:
            said = f"{handed} calls were handed over, and {len(heard.results)} results came back"
            return self._fail(failed("internal", said, "maybe"))
        ended, text, failure = speaking.last
        over = failed("limit_reached", SPENT.format(ended), "none")
        rest: list[ToolResult[Any]] = [ToolResult(call.id, call.name, failure=over) for call in self.open[handed:]]
        self._answer((*heard.results, *rest))
        return self.end(ended, text, failure)

    def _break_off(self) -> None:
        """The turn ends in the midst of a response."""
        speaking = self._spoken()
        if self._must_stay(speaking):
            self._write("".join(speaking.text), speaking)
        else:
            self._drop()

    def _write(self, text: str, speaking: Speaking) -> None:
        """Write a response that did not come to its end into the history."""
        message = self.response.message = AssistantMessage(text, tuple(speaking.calls))
        self.called += len(message.calls)

    def _drop(self) -> None:
        """Nothing of the response stays."""
        self.phase = Phase.COMPLETING
        self.speaking = None
        self.response.drop()

    def _must_stay(self, speaking: Speaking) -> bool:
        """Whether nobody may act as if the response had never been: something may have been changed."""
        return self.offer.eager == "all" and speaking.writes(self.offer.read_only)

    def _spoken(self) -> Speaking:
        assert self.speaking is not None  # noqa: S101 - there is one while the model speaks, and until its calls end
        return self.speaking


SPOKEN: dict[tuple[str, type], Callable[[Any, Any], Command]] = {
    **STEPS,
    (Phase.SPEAKING, Completed): StreamedTurn._replied,  # noqa: SLF001 - the table is part of the class
    (Phase.SPEAKING, SendAll): StreamedTurn._again_all,  # noqa: SLF001 - as above
    (Phase.SPEAKING, Failure): StreamedTurn._broken,  # noqa: SLF001 - as above
    (Phase.CALLING, BatchEnded): StreamedTurn._ended,  # noqa: SLF001 - as above
}
