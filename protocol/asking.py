"""The part of a turn that has to do with people: what its calls want of one, and what was answered."""

from typing import Any

from .cues import Phase
from .events import Pending
from .failures import ToolwireError, failed
from .messages import Decision
from .questions import Questions
from .tools import ToolResult


class Asking:
    """What has been asked in a turn, and not been carried out yet. `questions` is None until something is asked."""

    __slots__ = ("phase", "questions")

    phase: str
    questions: Questions | None

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
