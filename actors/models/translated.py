"""What a provider was told before, in its own words, so that a round translates only what is new.

It is bounded, and holds JSON that is encoded already: a request copies it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import IntEnum
from threading import Lock
from typing import Any, NamedTuple

from msgspec import Raw

from ...protocol.history import AssistantMessage, History, HistoryMessage, SystemMessage, ToolMessage
from ...protocol.tools import encode_json

CONVERSATIONS = 256
BYTES = 64 * 2**20
"""All prefixes together. The one that spoke last is kept, however long it is."""


_EACH = 128
"""Bytes that are held for a message beside its words."""


class Disowned(IntEnum):
    """What its provider takes no more of what it thought in a conversation: the thoughts that it leaves out, or all."""

    NOTHING = 0
    SOME = 1
    ALL = 2


class Translation(NamedTuple):
    """How a provider is told a history.

    `items` gives what one message becomes, nothing where it is left out. With `leading`, the system messages that come
    first stand apart, as what that gives. With `results`, results that follow each other share one message, whose JSON
    begins and ends so; their items are what stands in it.
    """

    items: Callable[[HistoryMessage], Sequence[Any]]
    leading: Callable[[SystemMessage], Sequence[Any]] | None = None
    results: tuple[bytes, bytes] | None = None


class Told(NamedTuple):
    """A history in a provider's words: the entries of two JSON lists, without their brackets.

    The one list is `items` and then `closing`; the other is `leading`, empty where a translation has none. `prefix` is
    what it was taken from: it can't grow until `items`, which is a view of it, is released.
    """

    items: memoryview
    closing: bytes
    leading: bytes
    prefix: "Prefix"


class Prefix:
    """The translated beginning of one conversation.

    `ids` are those of its calls, `called` the names of the tools that they call. `tools` is the list of tools that its
    model was offered last, in the provider's words, None for none. `disowned` is what the provider takes no more of it.
    """

    __slots__ = (
        *("_ends", "_history", "_inside", "_items", "_leading", "_open", "_translation"),
        *("called", "disowned", "ids", "tools"),
    )

    def __init__(self, translation: Translation, before: "Prefix | None" = None) -> None:
        self._translation = translation
        self._history: History | None = None
        self._items = bytearray()
        self._leading = bytearray()
        self._open = translation.leading is not None  # nobody but the system has spoken yet
        self._inside = False  # of a message that joins results, and is not ended yet
        self._ends: list[tuple[int, int, bool]] = []
        self.ids: set[str] = set()
        self.called: dict[str, None] = {}
        self.tools: Raw | None = before.tools if before else None
        self.disowned: Disowned = before.disowned if before else Disowned.NOTHING

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        return len(self._items) + len(self._leading) + _EACH * len(self._ends)

    def begins(self, messages: Sequence[HistoryMessage]) -> bool:
        """Whether `messages` are a later, or an earlier, view of the list whose beginning this is."""
        # Equal messages are no proof that costs nothing; the list itself, which only grows, is one.
        return (
            isinstance(messages, History)
            and self._history is not None
            and messages._messages is self._history._messages  # noqa: SLF001 - History has no word for it yet
        )

    def told(self, messages: Sequence[HistoryMessage]) -> Told:
        """`messages` in the provider's words; those that are new are translated."""
        if isinstance(messages, History):
            self._history = messages
        for n in range(len(self._ends), len(messages)):
            self._add(messages[n])
            self._ends.append((len(self._items), len(self._leading), self._inside))
        if not messages:
            return Told(memoryview(b""), b"", b"", self)
        end, leading, inside = self._ends[len(messages) - 1]
        results = self._translation.results
        closing = results[1] if inside and results else b""
        with memoryview(self._items) as items:
            return Told(items[:end], closing, bytes(self._leading[:leading]), self)

    def _add(self, message: HistoryMessage) -> None:
        translation = self._translation
        if self._open:
            if isinstance(message, SystemMessage) and translation.leading is not None:
                _append(self._leading, translation.leading(message))
                return
            self._open = False
        if isinstance(message, AssistantMessage):
            for call in message.calls:
                self.ids.add(call.id)
                self.called[call.name] = None
        items = translation.items(message)
        if not items:
            return
        if translation.results is None:
            _append(self._items, items)
            return
        opening, closing = translation.results
        joins = isinstance(message, ToolMessage)
        if self._inside and not joins:
            self._items += closing
        if joins and not self._inside:
            new = encode_json(items)[1:-1]
            self._items += b"," + opening if self._items else opening
            self._items += new
        else:
            _append(self._items, items)
        self._inside = joins


def _append(told: bytearray, items: Sequence[Any]) -> None:
    if items:
        new = encode_json(items)[1:-1]  # which may fail: nothing is told then
        if told:
            told += b","
        told += new


class Prefixes:
    """The prefixes of the conversations that spoke last."""

    def __init__(self, translation: Translation, limit: int = CONVERSATIONS, most: int = BYTES) -> None:
        self._translation = translation
        self._limits = limit, most
        self._size = 0
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()
        self._lock = Lock()  # a model may be asked in several event loops, each in a thread of its own

    def told(self, conversation: str, messages: Sequence[HistoryMessage]) -> Told:
        """`messages` in the provider's words."""
        with self._lock:
            return self._told(conversation, messages)

    def _told(self, conversation: str, messages: Sequence[HistoryMessage]) -> Told:
        prefix = self._prefixes.get(conversation)
        if prefix is None or not prefix.begins(messages):
            self._size -= prefix.size if prefix else 0
            prefix = self._prefixes[conversation] = Prefix(self._translation, prefix)
        self._prefixes.move_to_end(conversation)
        before = prefix.size
        told = prefix.told(messages)
        self._size += prefix.size - before
        limit, most = self._limits
        while len(self._prefixes) > limit or (self._size > most and len(self._prefixes) > 1):
            self._size -= self._prefixes.popitem(last=False)[1].size
        return told
