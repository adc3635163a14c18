"""The part of a turn that has to do with people: what its calls want of one, and what was answered."""

from typing import Any

from .cues import Phase, Wait, Waited
from .events import Pending, Reply, Usage
from .failures import ToolwireError, failed
from .messages import Decision, RunBatch, TurnEnded
from .offer import Offer
from .questions import Questions
from .response import Response
from .tools import ToolResult


class Asking:
    """What has been asked in a turn, and not been carried out yet. `questions` is None until something is asked."""

    __slots__ = ("events", "offer", "phase", "questions", "response", "results", "rounds", "tainted", "usage")

    events: bool
    offer: Offer
    phase: str
    questions: Questions | None
    response: Response
    results: list[ToolResult[Any]]
    rounds: int
    tainted: bool
    usage: Usage

    @property
    def batch(self) -> str:
        """What the batch in hand is called while it runs."""
        raise NotImplementedError

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What nobody has answered yet."""
        return () if self.questions is None or self.phase == Phase.ENDED else self.questions.open

    def ask(self, pending: Pending) -> None:
        """Somebody was told that a call of the batch in hand waits for a person."""
        if self.questions is None:
            self.questions = Questions()
        self.questions.ask(pending)

    def answer(self, decision: Decision) -> None:
        """Take down what a person said. Raises ToolwireError for what was not asked, or is answered already."""
        if self.questions is None or self.phase == Phase.ENDED:
            raise ToolwireError(failed("invalid_confirmation", "no call of this conversation waits for a person"))
        self.questions.answer(decision)

    def take(self, decision: Decision) -> None:
        """Somebody else has carried out what was answered."""
        if self.questions is not None:
            self.questions.take(decision.token)

    def _asked(self, results: tuple[ToolResult[Any], ...]) -> bool:
        """Whether `results`, of the batch in hand, ask something of a person; then they are what stands so far."""
        if self.questions is None:
            self.questions = Questions()
        return self.questions.look(results)

    def _go_on(self, *, wait: bool) -> RunBatch | Wait | TurnEnded:
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
            self.response.calls,
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

    def _waited(self, _heard: Waited) -> RunBatch | Wait | TurnEnded:
        return self._go_on(wait=False)
