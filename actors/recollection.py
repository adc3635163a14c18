"""What the model of one conversation is told of it, where a strategy shortens that."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
from msgspec.structs import replace

from ..protocol.cues import Phase
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.history import History, HistoryMessage, Recall, SystemMessage, UserMessage
from ..protocol.messages import Complete, Completed, SendAll
from ..protocol.telling import Telling, Told
from ..protocol.turn import Turn
from ..protocol.wasted import usage_in
from ..runtime.border import ends_program, is_ours, log, shown
from ..runtime.context import Context, Door
from .memory.contract import MemoryStrategy, Past

REFUSALS: Final = 2
"""How often what a provider refuses as too long is shortened and told again."""

SHARE = 0.5
"""Of the time that a turn has left, for an answer to what a strategy asks: the turn has to go on without it too."""


class Recollection:
    """A strategy at work in one conversation. `asks` is whom it asks; None for the conversation's own model."""

    __slots__ = ("_asks", "_refused", "_strategy", "told")

    def __init__(self, strategy: MemoryStrategy, asks: dict[type, str | Door] | None) -> None:
        self._strategy = strategy
        self._asks = asks
        self._refused = 0
        self.told = Told()

    def messages(self, history: list[HistoryMessage]) -> list[HistoryMessage]:
        """What the model would be told now."""
        return list(self.told.newer(history, 0)[1])

    def rewound(self, history: list[HistoryMessage]) -> None:
        """Only so much is left of the history."""
        self.told.cut(history)

    def recall(self, history: Sequence[HistoryMessage]) -> Recall | None:
        """What an export of `history` needs, so that a memory of the same class goes on from it."""
        return self.told.recall(type(self._strategy).__name__, len(history))

    def go_on(self, given: Sequence[HistoryMessage], history: Sequence[HistoryMessage]) -> None:
        """Tell of `history`, which goes on from `given`, what a memory of the same class has told of that."""
        recall = given.recall if isinstance(given, History) else None
        if recall is not None and recall.memory == type(self._strategy).__name__:
            self.told.go_on(given, recall, history)

    def follow(self, other: "Recollection", history: list[HistoryMessage], shift: int) -> None:
        """Tell what another one told, whose messages stood `shift` places before where they stand in `history`."""
        telling = other.told.telling
        if telling.start and telling.start + shift < len(history):
            self.told.weights.grow(history)
            self.told.tell(history, Telling(telling.start + shift, telling.summary))

    async def tell(self, command: Complete, turn: Turn, context: Context, model: str | Door) -> Complete:
        """`command`, which goes by the history, as the model is told it, once the strategy has had its say."""
        offer, told = turn.offer, self.told
        told.weights.grow(offer.history)
        telling = await self._shortened(turn, context, model)
        if telling is not None:
            told.tell(offer.history, telling)
            offer.known = 0
            turn.told = []  # by whoever refused what stood there before
        elif told.settled(offer.history):
            offer.known = 0
        known, newer = told.newer(offer.history, offer.known)
        return replace(command, conversation=offer.conversation, known=known, newer=newer)  # it may have lost its name

    def asking(self, ask: Callable[..., Any], turn: Turn, context: Context, model: str | Door) -> Callable[..., Any]:
        """`ask`, learning from what the model answers; what is too long for it is shortened, and asked again."""

        async def asked(address: str | Door, command: Any, *, hear: Any) -> Any:
            if not isinstance(command, Complete):
                return await ask(address, command, hear=hear)
            while True:
                try:
                    answer = await ask(address, command, hear=hear)
                except ToolwireError as error:
                    shorter = await self._shorter(error.failure, command, turn, context, model)
                    if shorter is None:
                        raise
                    command = shorter
                else:
                    self._learn(answer)
                    return answer

        return asked

    def _learn(self, answer: Completed | SendAll) -> None:
        self._refused = 0
        if isinstance(answer, Completed) and (tokens := answer.usage.input_tokens - answer.usage.wasted_tokens):
            self.told.report(tokens)

    async def _shorter(
        self, failure: Failure, command: Complete, turn: Turn, context: Context, model: str | Door
    ) -> Complete | None:
        """What to ask the model instead, if `command` was too long for it; None if it can't be shortened further."""
        if failure.code != "context_too_long" or turn.phase != Phase.COMPLETING:
            return None
        self._refused += 1
        before = self.told.telling.start
        if self._refused <= REFUSALS:
            shorter = await self.tell(command, turn, context, model)
            if self.told.telling.start > before:
                return shorter
        self._refused = 0
        return None

    async def _shortened(self, turn: Turn, context: Context, model: str | Door) -> Telling | None:
        """What the strategy says. Whatever it raises, the conversation goes on as it was told before."""
        asks = self._asks[Complete] if self._asks is not None else model

        async def ask(system: str, text: str) -> str:
            return await _answer(system, text, turn, context, asks)

        try:
            return checked(
                await self._strategy.shorten(Past(History(turn.offer.history), self.told, ask, self._refused))
            )
        except BaseException as error:
            if is_ours(error) or ends_program(error):
                raise
            log.error("%s: %s raised %s", turn.name, type(self._strategy).__name__, shown(error))
            return None


def checked(telling: object) -> Telling | None:
    """What a strategy gave. Raises TypeError for what can't be told, UnicodeEncodeError for a summary that can't be."""
    if telling is None:
        return None
    if not isinstance(telling, Telling) or type(telling.start) is not int or type(telling.summary) is not str:
        raise TypeError(
            f"shorten gives None, or Telling(start, summary) of a whole number and a text, not {telling!r:.100}"
        )
    telling.summary.encode()
    return telling


async def _answer(system: str, text: str, turn: Turn, context: Context, model: str | Door) -> str:
    """What a model says to `text`. Raises ToolwireError."""
    asked = Complete(f"{turn.offer.conversation}.memory", 0, (SystemMessage(system), UserMessage(text)))
    remaining = context.remaining()
    with anyio.move_on_after(None if remaining is None else remaining * SHARE):
        try:
            answer = await context.ask(model, asked)
        except ToolwireError as error:
            turn.usage = turn.usage + usage_in(error.failure)
            raise
        if isinstance(answer, Completed):
            turn.usage = turn.usage + answer.usage
        if not isinstance(answer, Completed) or answer.finish in {"refused", "filtered"}:
            raise ToolwireError(failed("model_refused", "the model did not answer what a memory asked"))
        return answer.text
    raise ToolwireError(failed("timed_out", "the model took half of the time that the turn had left", by="turn"))
