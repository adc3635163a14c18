"""How many tokens the messages of a history have: as a provider reported them, and guessed by size between reports.

No tokenizer: each provider has another, and reports what it counted with every reply. What it counted for one request
more than for the one before is what came between them.
"""

from bisect import bisect_left
from collections.abc import Sequence

from .history import AssistantMessage, HistoryMessage, ToolMessage

CHARACTERS = 4.0
"""Of a token, in English, as providers say. Of other scripts it has fewer; the first report shows that."""

FRAME = 4.0
"""Tokens around a message: its role, its ends."""

BLOB = 1_500.0
"""Tokens of an image: what the large providers make of one of a megapixel."""

MOST = 4.0
"""How much more than guessed a text may have: a token for each character. What is more is told beside it: tools."""


def guessed(message: HistoryMessage) -> float:
    """The tokens of `message`, by its size."""
    if isinstance(message, AssistantMessage):
        size = len(message.text) + sum(len(piece.raw) for piece in message.opaque)
        return FRAME + (size + sum(len(call.name) + len(call.text()) for call in message.calls)) / CHARACTERS
    if isinstance(message, ToolMessage):
        return FRAME + len(message.content) / CHARACTERS
    blobs = getattr(message, "blobs", ())
    return FRAME + len(message.text) / CHARACTERS + BLOB * len(blobs)


class Weights:
    """The tokens of a history that grows, and what is told beside it. Each message is looked at once, then re-weighed.

    `beside` are the tokens of what is told with each request and is no message: tools, and the like.
    """

    __slots__ = ("_known", "_last", "_sums", "beside")

    def __init__(self) -> None:
        self._sums = [0.0]  # [n]: of the first n messages
        self._known = 0  # messages whose tokens were reported
        self._last: float | None = None  # what the last report said, if what is told since then began as it did
        self.beside = 0.0

    def grow(self, history: Sequence[HistoryMessage]) -> None:
        """Weigh what has come since."""
        sums = self._sums
        if len(history) < len(sums) - 1:
            self.cut(len(history))
        for n in range(len(sums) - 1, len(history)):
            sums.append(sums[n] + guessed(history[n]))

    def cut(self, length: int) -> None:
        """Only the first `length` messages are left."""
        if length >= len(self._sums) - 1:
            return
        del self._sums[length + 1 :]
        self._known = min(self._known, length)
        self._last = None

    def begin(self) -> None:
        """What is told begins with other messages from now on."""
        self._last = None

    def between(self, start: int, end: int) -> float:
        """The tokens of the messages from `start` to before `end`."""
        return self._sums[end] - self._sums[start]

    def after(self, start: int) -> float:
        """The tokens of the messages from `start` on."""
        return self._sums[-1] - self._sums[start]

    def reaching(self, tokens: float) -> int:
        """The first message from which on there are at most so many; their number, if there is none."""
        return bisect_left(self._sums, self._sums[-1] - tokens)

    def report(self, tokens: float, start: int, head: float) -> None:
        """A provider has counted `tokens` for all messages from `start` on, with `head` others before them."""
        known, end = max(self._known, start), len(self._sums) - 1
        new = self.between(known, end)
        if self._last is not None:
            counted = max(0.0, tokens - self._last)
        else:
            rest = max(0.0, tokens - head - self.between(start, known))
            counted = min(max(0.0, rest - self.beside), MOST * new)
            self.beside = max(0.0, rest - counted)
        if new > 0.0:
            self._scale(known, counted / new)
        self._known, self._last = end, tokens

    def _scale(self, start: int, share: float) -> None:
        """Let the messages from `start` on have `share` times the tokens."""
        sums = self._sums
        first = sums[start]
        sums[start + 1 :] = [first + (each - first) * share for each in sums[start + 1 :]]
