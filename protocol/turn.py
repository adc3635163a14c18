"""One turn as a table: what was heard, in which phase, leads to what is said next.

    SELECTING ── ToolsSelected ──▶ COMPLETING ── Completed with calls ──▶ CALLING ── BatchEnded ──▶ COMPLETING …
                                        └─ Completed without ──▶ ENDED

Before a model is asked again the tools may have changed: COMPLETING ── ToolsChanged ──▶ SELECTING. Where calls wait for
a person, so does the turn, for a while, and is then put aside until somebody answers:

    CALLING ── BatchEnded, of which some wait ──▶ WAITING ── Waited, answered ──▶ CALLING …
                                                     └─ Waited, for nothing ──▶ PAUSED ── Waited, answered ──▶ CALLING …

A `Turn` knows no clock and sends nothing. It appends to the history, which is valid at every instant, before `close`
too: a response goes in with the results of its calls, see `Response`. What somebody was told of a response that came to
no end stands there as well, as the text that it is.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .asking import Asking
from .blob import Blob
from .choice import after_first, is_name, not_on_offer
from .cues import CHANGED, Phase, ToolsChanged, Wait, Waited
from .events import Reply, Usage
from .failures import Effect, Failure, ToolwireError, failed
from .history import AssistantMessage, UserMessage
from .messages import (
    BatchEnded,
    CloseBatch,
    Complete,
    Completed,
    RunBatch,
    SelectTools,
    SendAll,
    ToolsSelected,
    TurnEnded,
)
from .offer import Offer
from .output import Wanted
from .prices import unpriced, unpriced_call
from .questions import Questions, left, question
from .repeats import Repeats
from .response import Response
from .said import too_large
from .tools import ToolCall, ToolResult
from .wasted import usage_in

NOTHING = Usage()

Command = SelectTools | Complete | RunBatch | CloseBatch | Wait | TurnEnded
Heard = ToolsSelected | Completed | SendAll | BatchEnded | Failure | ToolsChanged | Waited

Over = tuple[str, Failure | None]
"""How a turn ends, and why, if not well."""

REPEATS = 3
"""How often in a row the model actor may ask for everything: it forgets only where memory is short."""

FINISHED = {"stop": "answered", "calls": "answered", "length": "tokens", "filtered": "filtered", "refused": "refused"}
"""How a turn ends when its last reply, one without calls, finished so."""


class Turn(Asking):
    """One turn of a conversation, from what the user says to the reply. `name` is unique among all turns.

    `seconds` is the time that a paused one has left, `waited` how long it has waited for a person since it started, or
    went on: whoever looks at the clock keeps them here. `told` is the text of the response in hand that somebody heard,
    `said` that of the answer so far, where it comes in more than one response, or came to no end.
    """

    streamed: ClassVar[bool] = False

    __slots__ = (
        *("_made", "_repeats", "called", "digest", "name", "names", "output", "repeats"),
        *("said", "seconds", "text", "told", "tool_choice", "waited", "wanted"),
    )

    names: tuple[str, ...]
    seconds: float | None
    waited: float

    def __init__(self, offer: Offer, *, events: bool = False, name: str = "") -> None:
        self.offer = offer
        self.events = events
        self.name = name
        self.tainted = False
        self.questions: Questions | None = None
        self._made: tuple[ToolCall, ...] = ()  # as long as nothing is counted
        self._repeats: Repeats | None = None
        self.text = ""
        self.tool_choice = "auto"
        self.output: dict[str, Any] | None = None
        self.wanted: Wanted | None = None
        self.phase = Phase.ENDED
        self.digest = ""
        self.rounds = 0
        self.called = 0
        self.repeats = 0
        self.response = Response()
        self.results: list[ToolResult[Any]] = []
        self.usage = NOTHING
        self.told: list[str] = []
        self.said = ""

    def start(
        self,
        text: str,
        blobs: tuple[Blob, ...] = (),
        tool_choice: str = "auto",
        output: dict[str, Any] | None = None,
        places: tuple[int, ...] = (),
    ) -> Command:
        """The user says `text`, and shows `blobs`. See `Say`. Raises Misuse for an `output` that is no schema."""
        self.text = text
        self.tool_choice = tool_choice
        if output is not None or self.offer.outputs is not None:
            self.wanted = self.offer.wanted(output)
            self.output = None if self.wanted is None else self.wanted.output.told
        if blobs and (failure := too_large(blobs)) is not None:
            return self.end("failed", failure=failure)
        self.offer.history.append(UserMessage(text, blobs, places))
        return self._select()

    def step(self, heard: Heard) -> Command:
        """What to say after `heard`. Raises KeyError for what can't be heard in this phase."""
        return STEPS[self.phase, type(heard)](self, heard)

    def tell(self, result: ToolResult[Any]) -> None:
        """Somebody was told that an open call has ended so: no other end of it may be told later."""
        self.response.tell(result)

    @property
    def repeated(self) -> Repeats:
        """The calls that the turn has made, counted from now on."""
        if self._repeats is None:
            self._repeats = Repeats(self.offer.same_call, references=self.offer.references)
            self._repeats.among(self._made)
        return self._repeats

    @property
    def open(self) -> tuple[ToolCall, ...]:
        """The calls of the response in hand, if they have not all ended."""
        return self.response.calls

    @property
    def batch(self) -> str:
        """What the batch in hand is called while it runs: a turn has one at a time."""
        return self.name

    def leave(self) -> None:
        """A paused turn will not go on: its calls are answered for the person, so that the history can."""
        if self.phase == Phase.PAUSED and self.questions is not None:
            self.phase = Phase.CALLING
            self.questions.results = tuple(map(left, self.questions.results))
            self.close()

    def close(
        self,
        code: str = "cancelled",
        sentence: str = "the turn ended before this call did",
        effect: Effect = "maybe",
    ) -> None:
        """Give each call that is still open a result, so that the history is valid however the turn ends."""
        if self.phase == Phase.PAUSED:
            return  # its calls have results, for as long as it is
        if self.told and not self.open:
            self.offer.known = len(self.offer.history)  # whoever began to answer has heard it all
        if self.open:
            standing = () if self.questions is None else self.questions.results
            waiting = {pending.id for pending in self.pending}

            def failing(call: ToolCall) -> Failure:
                waits = self.phase == Phase.WAITING or call.id in waiting
                return failed(code, sentence, "none" if waits else effect)

            self._answer(self.response.broken_off(failing, standing))
        self.response.leave(self.offer)
        if self.told:
            self._stand()
        self.questions = None
        self.phase = Phase.ENDED

    def end(self, ended: str, text: str = "", failure: Failure | None = None, output: Any = None) -> TurnEnded:
        """The turn is over."""
        if self.open or self.told or self.phase == Phase.SPEAKING or self.response.parts is not None:
            self.close()
        self.phase = Phase.ENDED
        said = text or self.said
        return TurnEnded(Reply(said, ended, tuple(self.results), self.usage, self.rounds, failure, (), output))

    def _select(self, _heard: ToolsChanged = CHANGED) -> SelectTools:
        self.phase = Phase.SELECTING
        used = tuple(self.offer.used)
        if self.tool_choice != "auto" and is_name(self.tool_choice):
            used = (self.tool_choice, *used)
        return SelectTools(self.text, self.offer.patterns, used)

    def _selected(self, heard: ToolsSelected) -> Command:
        # The same tools, offered with references, are another offer.
        self.digest = f"{heard.digest}$" if heard.digest and self.offer.references else heard.digest
        self.names = heard.names
        if self.tool_choice != "auto":
            self._must_offer()
        return self._complete()

    def _must_offer(self) -> None:
        """Raises ToolwireError where the model is to call a tool that is not on offer. Then nothing was said."""
        refused = not_on_offer(self.tool_choice, self.names)
        if refused is not None:
            self._unsay()
            raise ToolwireError(refused)

    def _unsay(self) -> None:
        """What the user said can't be told to anybody."""
        self.offer.history = self.offer.history[:-1]

    def _complete(self) -> Complete:
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
            self.streamed and self.events and bool(self.digest),
            self.tool_choice if not offer.last_answer or self._last(self.rounds + 1) is None else "none",
            self.output,
        )

    def _last(self, rounds: int) -> str | None:
        """Which limit makes the response of that number the last one, where that is to be an answer."""
        offer = self.offer
        if not offer.last_answer or not self.digest or self.tool_choice == "none":
            return None
        return offer.spent(rounds, self.called, NOTHING)

    def _completed(self, heard: Completed) -> Command:
        self._take_down(heard)
        if not heard.calls:
            return self._answered(heard)
        offer = self.offer
        if offer.metered or self.rounds >= offer.rounds or self.called >= offer.calls:  # asked of each response
            over = self._over(heard)
            if over is not None:
                self.close("limit_reached", SPENT.format(over[0]), "none")
                return self.end(over[0], heard.text, over[1])
        return self._call(heard.calls)

    def _answered(self, heard: Completed) -> Command:
        """The model has said something, and calls nothing."""
        self.said += heard.text
        paused, over = heard.finish == "paused", None
        if paused or self.wanted is not None or self.offer.metered:  # else no limit has a say in how it ends
            over = self._over(heard)
        if paused:  # it has more to say, and wants to be asked for it
            self.response.go_on(self.offer)
            if over is None:
                return self._complete()
        if over is not None and (paused or over[1] is not None):
            return self.end(over[0], failure=over[1])
        ended = FINISHED.get(heard.finish, "answered")
        if ended == "answered":
            if self.offer.last_answer:
                ended = self._last(self.rounds) or ended
            if self.wanted is not None:
                return self._judge(self.wanted, ended, over)
        return self.end(ended)

    def _judge(self, wanted: Wanted, ended: str, over: Over | None) -> Command:
        """End with what an answer says, or let the model mend it, as far as it may."""
        value = wanted.output.heard(self.said)
        if not isinstance(value, Failure):
            return self.end(ended, output=value)
        if not wanted.left or over is not None:
            return self.end(over[0] if wanted.left and over is not None else "failed", failure=value)
        wanted.left -= 1
        self.said = ""
        self.offer.history.append(UserMessage(wanted.output.correction(value)))
        return self._complete()

    def _over(self, heard: Completed) -> Over | None:
        """How the turn ends after what was heard, if it may go no further."""
        if self.offer.metered and "cost" in self.offer.limits and (self.usage.unpriced or not heard.priced):
            return "failed", unpriced_call() if heard.priced else unpriced(heard.model, heard.usage)
        spent = self.offer.spent(self.rounds, self.called, self.usage)
        return None if spent is None else (spent, None)

    def _take_down(self, heard: Completed) -> None:
        """Write what the model said into the history, and count it."""
        offer = self.offer
        offer.known = len(offer.history)
        self.rounds += 1
        self.repeats = 0
        usage = heard.usage
        if usage.input_tokens or usage.output_tokens or usage.cost:
            self.usage = self.usage + usage
        if self.told:
            self.told = []
        if self.response.parts is not None and (heard.calls or heard.finish == "stop"):
            self.response.parts = None
        if self.tool_choice != "auto" and heard.finish != "paused":
            self.tool_choice = after_first(self.tool_choice)
        message = AssistantMessage(heard.text, heard.calls, heard.opaque)
        if heard.calls:
            self.said = ""
            self.response.message = message
        else:
            offer.history.append(message)

    def _stand(self) -> None:
        """The response in hand comes to no end. What was told of it stands, if it says anything."""
        told, self.told = "".join(self.told), []
        if told.strip():
            self.rounds += 1
            self.said += told
            self.offer.history.append(AssistantMessage(told))

    def _call(self, calls: tuple[ToolCall, ...]) -> RunBatch:
        offer = self.offer
        limit = offer.room(self.called)
        self.called += len(calls)
        self.phase = Phase.CALLING
        repeated: tuple[int, ...] = ()
        if self._repeats is None and len(self._made) + len(calls) <= offer.same_call:  # so few that none can be
            self._made += calls
        else:
            repeated = self.repeated.among(calls)
        return RunBatch(
            calls, offer.references, False, limit, self.events, None, self.batch, (), {}, repeated, self.tainted
        )

    def _ended(self, heard: BatchEnded) -> Command:
        if len(heard.results) != len(self.open):
            said = f"{len(self.open)} calls were handed over, and {len(heard.results)} results came back"
            return self._fail(failed("internal", said, "maybe"))
        if heard.tainted:
            self.tainted = True
        for result in heard.results:
            if result.failure is not None and question(result) is not None and self._asked(heard.results):
                return self._go_on(wait=self.events and self.offer.confirm_within > 0)
        self._answer(heard.results)
        if self.questions is not None:
            self.questions.results = ()
        return self._complete()

    def _answer(self, results: Sequence[ToolResult[Any]]) -> None:
        """Write the open calls and their results into the history."""
        used = self.offer.used
        self.response.end(self.offer, results)
        for result in results:
            used[result.name] = None
            if result.usage is not None and not (result.cached or result.shared):  # then it was counted where it ran
                self.usage = self.usage + result.usage
        self.results += results

    def _send_all(self, heard: SendAll) -> Command:
        self.repeats += 1
        self.told = []
        if self.repeats > REPEATS:
            said = f"the model actor forgot what it was told, {self.repeats} times in a row"
            return self._fail(failed("model_failed", said))
        if heard.history:
            self.offer.known = 0
        return self._complete()

    def _unheard(self, heard: Failure) -> Command:
        """The model came to no answer, but may have used something."""
        self.usage = self.usage + usage_in(heard)
        return self._fail(heard)

    def _fail(self, heard: Failure) -> Command:
        if not self.rounds and not self.told and heard.code == "too_large":
            self._unsay()  # no later turn could go on from it; the model's answer to it may be too large, too
        return self.end(ENDED_BY.get(heard.code, "failed"), failure=heard)


SPENT = "the limit of the turn is reached: {}"

ENDED_BY = {"timed_out": "time", "cancelled": "interrupted", "model_refused": "refused"}

STEPS: dict[tuple[str, type], Callable[[Turn, Any], Command]] = {
    (Phase.SELECTING, ToolsSelected): Turn._selected,  # noqa: SLF001 - the table is part of the class
    (Phase.COMPLETING, Completed): Turn._completed,  # noqa: SLF001 - as above
    (Phase.COMPLETING, SendAll): Turn._send_all,  # noqa: SLF001 - as above
    (Phase.COMPLETING, ToolsChanged): Turn._select,  # noqa: SLF001 - as above
    (Phase.CALLING, BatchEnded): Turn._ended,  # noqa: SLF001 - as above
    (Phase.WAITING, Waited): Turn._waited,  # noqa: SLF001 - as above
    (Phase.PAUSED, Waited): Turn._waited,  # noqa: SLF001 - as above
    (Phase.SELECTING, Failure): Turn._fail,  # noqa: SLF001 - as above
    (Phase.COMPLETING, Failure): Turn._unheard,  # noqa: SLF001 - as above
    (Phase.CALLING, Failure): Turn._fail,  # noqa: SLF001 - as above
}
