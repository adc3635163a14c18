"""A turn that is followed while it runs: its calls are handed over as they are spoken.

    COMPLETING ── the first call is spoken ──▶ SPEAKING ── Completed ──▶ CALLING ── BatchEnded ──▶ COMPLETING …

The calls of a response may yet be dropped until it has ended: if it fails, or the turn is interrupted, what was begun
is cancelled, and only the text that was told stays. Once a call that may have changed something was handed over they
stand as they are: the history says what was called, and what came of it.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from .cues import Phase
from .events import CallSpoken
from .failures import Effect, Failure, failed
from .history import AssistantMessage
from .messages import AddCall, BatchEnded, CloseBatch, Complete, Completed, OpenBatch, SendAll
from .offer import Offer
from .speaking import Speaking
from .tools import ToolCall, ToolResult
from .turn import ENDED_BY, SPENT, STEPS, Command, Heard, Turn


class StreamedTurn(Turn):
    """See `Turn`. `speaking` is the response in hand, if a call of it was told before its end."""

    __slots__ = ("speaking",)

    streamed: ClassVar[bool] = True

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

    def speak(self, spoken: CallSpoken) -> tuple[OpenBatch | AddCall, ...]:
        """What to say at once, now that the model has said all of a call.

        Nothing, if it waits for the end of the response, or for a call that may start before that.
        """
        speaking, offer = self.speaking, self.offer
        if speaking is None:
            speaking = self.speaking = self._begun()
        if speaking is None or not speaking.continues(spoken):
            return ()
        if spoken.opaque:
            speaking.opaque += spoken.opaque
        if self.phase == Phase.SPEAKING:
            return (self._add(speaking, spoken.call),)
        if self.phase != Phase.COMPLETING:
            return ()
        speaking.held.append(spoken.call)
        if offer.eager == "read_only" and not offer.read_only(spoken.call.name):
            return ()
        return self._open(speaking)

    def withdraw(self) -> None:
        """Nothing of what was spoken was handed over after all: the end of the response decides alone."""
        if self.phase == Phase.SPEAKING:
            self.phase = Phase.COMPLETING
            self._take_back(self._spoken().calls)
            self.speaking = None

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

    def _begun(self) -> Speaking | None:
        """The response in hand, if its calls will be made at all."""
        offer, limit = self.offer, self.offer.room(self.called)
        if self.phase != Phase.COMPLETING or offer.eager == "off":
            return None
        if self.rounds + 1 >= offer.rounds or (limit is not None and limit < 1):
            return None
        return Speaking(f"{self.name}.{self.rounds + 1}")

    def _open(self, speaking: Speaking) -> tuple[OpenBatch | AddCall, ...]:
        """Open a batch with the calls that were held."""
        offer = self.offer
        self.phase = Phase.SPEAKING
        (first, *others), speaking.held = speaking.held, []
        repeated = self._too_often(first)
        speaking.take(first, repeated=repeated)
        opened = OpenBatch(
            speaking.name,
            first,
            "all" if offer.eager == "all" else "read_only",
            offer.references,
            offer.room(self.called),
            events=self.events,
            tainted=self.tainted,
            repeated=repeated,
        )
        return (opened, *[self._add(speaking, call) for call in others])

    def _add(self, speaking: Speaking, call: ToolCall) -> AddCall:
        """Add a call to the batch that is open."""
        repeated = self._too_often(call)
        return AddCall(speaking.name, speaking.take(call, repeated=repeated), call, repeated)

    def _too_often(self, call: ToolCall) -> bool:
        """Count a call; whether it is made too often."""
        if self._repeats is None and len(self._made) < self.offer.same_call:  # so few that none can be
            self._made += (call,)
            return False
        return self.repeated.count(call)

    def _take_back(self, calls: list[ToolCall]) -> None:
        """`calls`, those counted last, are not made."""
        if self._repeats is None:
            self._made = self._made[: len(self._made) - len(calls)]
        else:
            self._repeats.forget(calls)

    def _complete(self) -> Complete:
        self.speaking = None
        return super()._complete()

    def _replied(self, heard: Completed) -> CloseBatch:
        """The response has ended, and some of its calls may run already."""
        speaking = self._spoken()
        changed = speaking.changed(heard.calls)
        if changed is not None:
            self.offer.known = len(self.offer.history)
            return self._keep(heard.text, changed)
        self._take_down(heard)
        self.phase = Phase.CALLING
        offer, over = self.offer, None
        if offer.metered or self.rounds >= offer.rounds or self.called >= offer.calls:  # else no limit has a say
            over = self._over(heard)
        self.called += len(heard.calls)
        if over is None:
            late = heard.calls[len(speaking.calls) :]  # the others are counted already
            speaking.leave(heard.calls, speaking.positions([n for n, call in enumerate(late) if self._too_often(call)]))
            return CloseBatch(speaking.name, len(heard.calls))
        ended, failure = over
        speaking.last = (ended, heard.text, failure)
        return CloseBatch(speaking.name, len(speaking.calls), failed("limit_reached", SPENT.format(ended), "none"))

    def _broken(self, heard: Failure) -> Command:
        """The model has failed in the midst of a response."""
        speaking = self._spoken()
        if self._must_stay(speaking):
            return self._keep("".join(self.told), heard)
        self._drop()
        return self._fail(heard)

    def _again_all(self, _heard: SendAll) -> Command:
        said = "the end of the model's response did not arrive: it may be too large"
        return self._broken(failed("model_failed", said))

    def _keep(self, text: str, failure: Failure) -> CloseBatch:
        """What was said becomes history: what runs goes on to its end, what has not begun does not begin."""
        speaking = self._spoken()
        self._write(text, speaking)
        self.phase = Phase.CALLING
        speaking.last = (ENDED_BY.get(failure.code, "failed"), text, failure)
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
            self.said = "".join(self.told)
            self._write(self.said, speaking)
        else:
            self._drop()

    def _write(self, text: str, speaking: Speaking) -> None:
        """Write a response that did not come to its end into the history."""
        self.rounds += 1
        self.told = []
        message = self.response.message = AssistantMessage(text, tuple(speaking.calls), speaking.opaque)
        self.called += len(message.calls)
        self.response.parts = None  # it goes on from them

    def _drop(self) -> None:
        """Nothing of the response stays but what was told."""
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
