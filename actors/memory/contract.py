"""The contract of a memory: what a model is told of a conversation that grows too long for it.

- The history keeps everything. A strategy only says from which message on the model is told of it, and what stands for
  the messages before that. What the system says, and the user's message of the turn, are told in any case.
- `shorten` is asked before each request to the model, so it answers None, as it is, almost always and without waiting.
  Each cut costs what the provider's cache knew of the conversation: cut rarely, and deep.
- It may begin anywhere: what it gives is moved back to where no call is split from its result.
- It is asked again with `refused`, how often in a row, when the provider has refused what was told as too long: then
  more has to go, whatever the tokens say. Answered None, or nothing shorter, the turn ends as `context_too_long`.
- It runs within the time of the turn. What it raises is logged, and the conversation told as it was before.
- It keeps nothing of a conversation: one strategy serves many at once. What it wants to know again stands in
  `past.telling`. Of `model`, if it has that and it is not None, `past.ask` asks, else of the conversation's own.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from ...protocol.history import History
from ...protocol.telling import Telling, Told

Ask = Callable[[str, str], Awaitable[str]]


class Past:
    """A conversation up to now, as a strategy sees it.

    `messages` is all that was said, `telling` what the model is told of it now. `refused` is how often in a row the
    provider has just refused that as too long.
    """

    __slots__ = ("_ask", "_told", "messages", "refused")

    def __init__(self, messages: History, told: Told, ask: Ask, refused: int = 0) -> None:
        self.messages = messages
        self.refused = refused
        self._told = told
        self._ask = ask

    @property
    def telling(self) -> Telling:
        """What the model is told now."""
        return self._told.telling

    @property
    def tokens(self) -> float:
        """How many tokens that has, tools included: as the provider counted them, and by size since it did."""
        return self._told.tokens

    @property
    def fixed(self) -> float:
        """How many of these tokens can't be left out: tools, and what the system says."""
        return self._told.fixed(self.messages)

    def point(self, tokens: float) -> int:
        """From which message on the model can be told so that it is at most so many `tokens`, by the same estimate.

        It is at a user's message, or, where that would leave out much more, within a turn; and at the newest point
        there is if nothing is short enough.
        """
        return self._told.point(self.messages, tokens)

    async def ask(self, system: str, text: str) -> str:
        """Ask a model about `text`, without tools; its usage counts in the turn. Raises ToolwireError."""
        return await self._ask(system, text)


@runtime_checkable
class MemoryStrategy(Protocol):
    """Shortens what a model is told."""

    async def shorten(self, past: Past) -> Telling | None:
        """What the model is to be told from now on; None for what it is told already."""
        ...
