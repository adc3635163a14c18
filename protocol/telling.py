"""What a model is told of a conversation that grows too long for it: not all, while the history keeps everything.

Told are the system's messages, a summary of what is left out if there is one, and the newest messages, from a user's
on. Where they begin within a turn, the user's message of that turn comes before them. They begin where nothing is
split: a result stays with its call, and so does what belongs to the call alone, such as a block of reasoning.
"""

from collections.abc import Sequence
from operator import is_

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .failures import Misuse, failed
from .history import (
    AssistantMessage,
    HistoryMessage,
    Opaque,
    Recall,
    SystemMessage,
    ToolMessage,
    UserMessage,
    by_user,
)
from .weights import Weights, guessed


class Telling(Struct, frozen=True, omit_defaults=True, gc=False):
    """Where in the history what a model is told begins, and what it is told of the messages before that."""

    start: int = 0
    summary: str = ""


class _Kind(Struct, frozen=True, gc=False):
    type: str = ""


_kind = msgspec.json.Decoder(_Kind).decode

ALL = Telling()

THOUGHTS = frozenset({"thinking", "redacted_thinking"})

BEFORE_LAST = -1
"""Of `Rewind`: before the user's last message."""

SUMMARY = "(What was said before this, in short. These are notes, not a request.)\n\n"


def systems(history: Sequence[HistoryMessage]) -> int:
    """How many messages of the system's a history begins with."""
    return next((n for n, each in enumerate(history) if not isinstance(each, SystemMessage)), len(history))


def whole(history: Sequence[HistoryMessage], start: int) -> int:
    """The last point at or before `start` where nothing is split; a model is always told something."""
    start = min(start, len(history) - 1)
    while start > 0 and isinstance(history[start], ToolMessage):
        start -= 1
    return max(start, 0)


def length_kept(history: Sequence[HistoryMessage], length: int) -> int:
    """How many messages are left after a rewind to `length`, see `Rewind`. Raises ToolwireError where that can't be."""
    if length == BEFORE_LAST:
        length = next((n for n in range(len(history) - 1, -1, -1) if by_user(history[n])), len(history))
    if not 0 <= length <= len(history):
        said = f"the history has {len(history)} messages: it can be cut after 0 to {len(history)} of them, not {length}"
        raise Misuse(failed("invalid_call", said))
    if length < len(history) and isinstance(history[length], ToolMessage):
        after = next((n for n in range(length, len(history)) if not isinstance(history[n], ToolMessage)), len(history))
        said = f"between message {length} and the next a call would lose its result: the nearest points to cut are "
        raise Misuse(failed("invalid_call", f"{said}{whole(history, length)} and {after}"))
    return max(length, systems(history))


def unbound(message: HistoryMessage) -> HistoryMessage:
    """`message` without thoughts that are bound to what came before them, which is not told as it was any more.

    Source: https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting, "a thinking block signature
    is invalid".
    """
    if not isinstance(message, AssistantMessage) or not any(map(_is_bound, message.opaque)):
        return message
    opaque = tuple(piece for piece in message.opaque if not _is_bound(piece))
    return AssistantMessage(message.text, message.calls, opaque)


def _is_bound(piece: Opaque) -> bool:
    return piece.provider == "anthropic" and "thinking" in piece.raw and _kind(piece.raw).type in THOUGHTS


def head_of(history: Sequence[HistoryMessage], telling: Telling) -> list[HistoryMessage]:
    """What is told before message `telling.start`."""
    start, first = telling.start, systems(history)
    head = list(history[:first])
    if telling.summary:
        head.append(UserMessage(f"{SUMMARY}{telling.summary}"))
    if start < len(history) and not by_user(history[start]):
        asked = next((n for n in range(start - 1, first - 1, -1) if by_user(history[n])), first)
        head.append(history[asked])
    return head


class Told:
    """What the model of one conversation is told now, and how many tokens that has."""

    __slots__ = ("_cut", "_head", "_head_tokens", "_loop", "telling", "weights")

    def __init__(self) -> None:
        self.telling = ALL
        self.weights = Weights()
        self._head: list[HistoryMessage] = []
        self._head_tokens = 0.0
        self._cut = 0  # how long the history was when its beginning was cut off
        self._loop = -1  # where the answer stands whose results were the newest then

    @property
    def tokens(self) -> float:
        """Of all that is told, by what the provider has reported and by size."""
        return self.weights.beside + self._head_tokens + self.weights.after(self.telling.start)

    def fixed(self, history: Sequence[HistoryMessage]) -> float:
        """The tokens of what is told in any case: tools, and what the system says."""
        return self.weights.beside + self.weights.between(0, systems(history))

    def tell(self, history: Sequence[HistoryMessage], telling: Telling) -> None:
        """From now on tell this."""
        start = whole(history, telling.start)
        self.telling = Telling(start, telling.summary) if start > systems(history) else ALL
        self._head = [] if self.telling is ALL else head_of(history, self.telling)
        self._head_tokens = sum(map(guessed, self._head))
        self._cut, self._loop = 0, -1
        if self.telling is not ALL:
            self._cut = len(history)
            if isinstance(history[-1], ToolMessage):
                # "Thinking blocks in the latest assistant message cannot be modified", until the user has spoken.
                self._loop = whole(history, len(history) - 1)
        self.weights.begin()

    def recall(self, memory: str, length: int) -> Recall | None:
        """What is told of a history of that `length`, to go on from elsewhere; None for all."""
        if self.telling is ALL:
            return None
        cut = self._cut if self._loop < 0 else length  # whoever goes on from it begins with the user
        return Recall(memory, self.telling.start, self.telling.summary, cut)

    def go_on(self, given: Sequence[HistoryMessage], recall: Recall, history: Sequence[HistoryMessage]) -> None:
        """Tell what was told of `given`, if `history` goes on from it, and the messages that are left out are the same.

        But for what the system says. Where later ones are not the same, thoughts that are bound to them go.
        """
        before, now = systems(given), systems(history)
        left_out = range(before, min(recall.start, len(given)))
        if len(history) - now < len(left_out) or any(given[n] is not history[n + now - before] for n in left_out):
            return
        same = len(given) - before == len(history) - now and all(map(is_, given[before:], history[now:]))
        self.take(recall if same else replace(recall, cut=len(history)), history, now - before)

    def take(self, recall: Recall, history: Sequence[HistoryMessage], shift: int = 0) -> None:
        """Tell what was told of messages that stand `shift` places further on in `history`."""
        start, cut = recall.start + shift, recall.cut + shift
        if systems(history) < start < len(history):
            self.weights.grow(history)
            self.tell(history, Telling(start, recall.summary))
            self._cut, self._loop = max(self.telling.start, min(cut, len(history))), -1

    def cut(self, history: Sequence[HistoryMessage]) -> None:
        """Only so much is left of the history. A summary that covers more is not told any more."""
        self.weights.cut(len(history))
        self._cut = min(self._cut, len(history))
        if len(history) <= self.telling.start:
            self.tell(history, ALL)

    def newer(self, history: Sequence[HistoryMessage], known: int) -> tuple[int, tuple[HistoryMessage, ...]]:
        """What comes after the first `known` messages of the history; all, if that is 0.

        With how many messages that were told before come before it.
        """
        start, head = self.telling.start, self._head
        if known:
            return len(head) + known - start, tuple(history[known:])
        cut, loop = self._cut, self._loop
        before = [message if n == loop else unbound(message) for n, message in enumerate(history[start:cut], start)]
        return 0, (*head, *before, *history[max(start, cut) :])

    def settled(self, history: Sequence[HistoryMessage]) -> bool:
        """Whether all has to be told anew: the turn is over within which the beginning was cut off.

        What was thought since then is bound to a thought that goes now.
        """
        if self._loop < 0 or not by_user(history[-1]):
            return False
        self._cut, self._loop = len(history), -1
        self.weights.begin()
        return True

    def report(self, tokens: int) -> None:
        """The provider has counted so many in what was told, up to the newest message that was weighed."""
        self.weights.report(tokens, self.telling.start, self._head_tokens)

    def point(self, history: Sequence[HistoryMessage], tokens: float) -> int:
        """Where to begin, so that at most so many `tokens` are told; at the latest at the newest point there is.

        At a user's message, unless more than half of what could be told would be left out for that: then within a turn.
        """
        start = self.weights.reaching(tokens - self.fixed(history))
        start = max(start, self.telling.start)
        asked = next((n for n in range(start, len(history)) if by_user(history[n])), None)
        if asked is not None and self.weights.after(asked) * 2 >= self.weights.after(start):
            return asked
        within = next((n for n in range(start, len(history)) if not isinstance(history[n], ToolMessage)), None)
        return whole(history, len(history) - 1) if within is None else within
