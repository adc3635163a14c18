"""One turn as a table: what was heard, in which phase, leads to what is said next.

    SELECTING ── ToolsSelected ──▶ COMPLETING ── Completed with calls ──▶ CALLING ── BatchEnded ──▶ COMPLETING …
                                        └─ Completed without ──▶ ENDED

Before a model is asked again the tools may have changed: COMPLETING ── ToolsChanged ──▶ SELECTING. Where calls wait for
a person, so does the turn, for a while, and is then put aside until somebody answers:

    CALLING ── BatchEnded, of which some wait ──▶ WAITING ── Waited, answered ──▶ CALLING …
                                                     └─ Waited, for nothing ──▶ PAUSED ── Waited, answered ──▶ CALLING …

A `Turn` knows no clock and sends nothing. It appends to the history, which is valid at every instant, before `close`
too: a response goes in with the results of its calls, see `Response`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .asking import Asking
from .blob import Blob
from .cues import CHANGED, Phase, ToolsChanged, Wait, Waited
from .events import Reply, Usage
from .failures import Effect, Failure, failed
from .history import AssistantMessage, UserMessage
from .messages import (
    BatchEnded,
    CloseBatch,
    Complete,
    Completed,
    Decision,
    RunBatch,
    SelectTools,
    SendAll,
    ToolsSelected,
    TurnEnded,
)
from .offer import Offer
from .output import Wanted
from .questions import Questions, left, question
from .repeats import Repeats
from .response import Response
from .said import too_large
from .tools import ToolCall, ToolResult

NOTHING = Usage()

Command = SelectTools | Complete | RunBatch | CloseBatch | Wait | TurnEnded
Heard = ToolsSelected | Completed | SendAll | BatchEnded | Failure | ToolsChanged | Waited

REPEATS = 3
"""How often in a row the model actor may ask for everything: it forgets only where memory is short."""

FINISHED = {"stop": "answered", "calls": "answered", "length": "tokens", "filtered": "filtered", "refused": "refused"}
"""How a turn ends when its last reply, one without calls, finished so."""


class Turn(Asking):
    """One turn of a conversation, from what the user says to the reply. `name` is unique among all turns.

    `seconds` is the time that a paused one has left, `waited` how long it has waited for a person since it started, or
    went on: whoever looks at the clock keeps them here.
    """

    __slots__ = (
        "called",
        "digest",
        "events",
        "name",
        "names",
        "offer",
        "output",
        "repeated",
        "repeats",
        "response",
        "results",
        "rounds",
        "seconds",
        "tainted",
        "text",
        "tool_choice",
        "usage",
        "waited",
        "wanted",
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
        self.repeated = Repeats(offer.same_call, references=offer.references)
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
        if self.open:
            standing = () if self.questions is None else self.questions.results
            waiting = {pending.id for pending in self.pending}

            def failing(call: ToolCall) -> Failure:
                waits = self.phase == Phase.WAITING or call.id in waiting
                return failed(code, sentence, "none" if waits else effect)

            self._answer(self.response.broken_off(failing, standing))
        self.questions = None
        self.phase = Phase.ENDED

    def end(self, ended: str, text: str = "", failure: Failure | None = None, output: Any = None) -> TurnEnded:
        """The turn is over."""
        if self.open or self.phase == Phase.SPEAKING:
            self.close()
        self.phase = Phase.ENDED
        return TurnEnded(Reply(text, ended, tuple(self.results), self.usage, self.rounds, failure, (), output))

    def _select(self, _heard: ToolsChanged = CHANGED) -> SelectTools:
        self.phase = Phase.SELECTING
        return SelectTools(self.text, self.offer.patterns, tuple(self.offer.used))

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
            False,
            self.tool_choice,
            self.output,
        )

    def _selected(self, heard: ToolsSelected) -> Command:
        # The same tools, offered with references, are another offer.
        self.digest = f"{heard.digest}$" if heard.digest and self.offer.references else heard.digest
        self.names = heard.names
        return self._complete()

    def _completed(self, heard: Completed) -> Command:
        self._take_down(heard)
        if not heard.calls:
            ended = FINISHED.get(heard.finish, "answered")
            if self.wanted is not None and ended == "answered":
                return self._judge(self.wanted, heard.text)
            return self.end(ended, heard.text)
        spent = self.offer.spent(self.rounds, self.called, self.usage)
        if spent is not None:
            self.close("limit_reached", SPENT.format(spent), "none")
            return self.end(spent, heard.text)
        return self._call(heard.calls)

    def _judge(self, wanted: Wanted, text: str) -> Command:
        """End with what an answer says, or let the model mend it, as far as it may."""
        value = wanted.output.heard(text)
        if not isinstance(value, Failure):
            return self.end("answered", text, output=value)
        spent = self.offer.spent(self.rounds, self.called, self.usage)
        if not wanted.left or spent is not None:
            return self.end(spent if wanted.left and spent else "failed", text, value)
        wanted.left -= 1
        self.offer.history.append(UserMessage(wanted.output.correction(value)))
        return self._complete()

    def _take_down(self, heard: Completed) -> None:
        """Write what the model said into the history, and count it."""
        offer = self.offer
        offer.known = len(offer.history)
        self.rounds += 1
        self.repeats = 0
        usage = heard.usage
        if usage.input_tokens or usage.output_tokens:
            self.usage = self.usage + usage
        message = AssistantMessage(heard.text, heard.calls, heard.opaque)
        if heard.calls:
            self.response.message = message
        else:
            offer.history.append(message)

    def _call(self, calls: tuple[ToolCall, ...]) -> RunBatch:
        offer = self.offer
        limit = offer.room(self.called)
        self.called += len(calls)
        self.phase = Phase.CALLING
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
        self.results += results

    def _go_on(self, *, wait: bool) -> Command:
        """Carry out what was answered; if nothing was, wait for it, or let the turn pause."""
        questions = self.questions
        assert questions is not None  # noqa: S101 - in these phases there are questions
        decisions = questions.decided()
        if decisions:
            return self._again(questions, decisions)
        if wait:
            self.phase = Phase.WAITING
            return Wait(questions.open, self.offer.confirm_within)
        return self._pause(questions)

    def _again(self, questions: Questions, decisions: dict[int, Decision]) -> RunBatch:
        """Run what can go on now that so much is decided. What has ended stands."""
        self.phase = Phase.CALLING
        return RunBatch(
            self.open,
            self.offer.references,
            events=self.events,
            name=self.batch,
            ended=questions.standing(decisions),
            decisions=decisions,
            tainted=self.tainted,
        )

    def _pause(self, questions: Questions) -> TurnEnded:
        """Put the turn aside. Until it goes on, its open calls stand in the history with what they wait for."""
        if self.phase != Phase.PAUSED:
            self.response.put_aside(self.offer, questions.results)
            self.phase = Phase.PAUSED
        text = "" if self.response.message is None else self.response.message.text
        calls = (*self.results, *questions.results)
        return TurnEnded(Reply(text, "paused", calls, self.usage, self.rounds, None, questions.open))

    def _waited(self, _heard: Waited) -> Command:
        return self._go_on(wait=False)

    def _send_all(self, heard: SendAll) -> Command:
        self.repeats += 1
        if self.repeats > REPEATS:
            said = f"the model actor forgot what it was told, {self.repeats} times in a row"
            return self._fail(failed("model_failed", said))
        if heard.history:
            self.offer.known = 0
        return self._complete()

    def _fail(self, heard: Failure) -> Command:
        if not self.rounds and heard.code == "too_large":
            # What the user said can't be told to anybody: no later turn could go on from it.
            self.offer.history = self.offer.history[:-1]
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
    (Phase.COMPLETING, Failure): Turn._fail,  # noqa: SLF001 - as above
    (Phase.CALLING, Failure): Turn._fail,  # noqa: SLF001 - as above
}
