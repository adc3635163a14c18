"""What a provider was told before, in its own words, so that a round translates only what is new.

Both caches are bounded and hold JSON that is encoded already: a request copies it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Raw, Struct

from ...protocol.history import AssistantMessage, History, HistoryMessage
from ...protocol.tools import ToolSpec, encode_json

CONVERSATIONS = 256
TOOL_LISTS = 64


class Prefix:
    """The translated beginning of one conversation, and the ids of its calls."""

    __slots__ = ("_history", "_told", "ids")

    def __init__(self) -> None:
        self._history: History | None = None
        self._told: list[Raw] = []
        self.ids: set[str] = set()

    def begins(self, messages: Sequence[HistoryMessage]) -> bool:
        """Whether `messages` are a later, or an earlier, view of the list whose beginning this is."""
        # Equal messages are no proof that costs nothing; the list itself, which only grows, is one.
        return (
            isinstance(messages, History)
            and self._history is not None
            and messages._messages is self._history._messages  # noqa: SLF001 - History has no word for it yet
        )

    def told(self, messages: Sequence[HistoryMessage], translate: Callable[[HistoryMessage], object]) -> list[Raw]:
        """`messages` in the provider's words; those that are new are translated."""
        if isinstance(messages, History):
            self._history = messages
        for n in range(len(self._told), len(messages)):
            message = messages[n]
            self._told.append(Raw(encode_json(translate(message))))
            if isinstance(message, AssistantMessage):
                self.ids.update(call.id for call in message.calls)
        return self._told[: len(messages)]


class Prefixes:
    """The prefixes of the conversations that spoke last."""

    def __init__(self, translate: Callable[[HistoryMessage], object], limit: int = CONVERSATIONS) -> None:
        self._translate = translate
        self._limit = limit
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()

    def told(self, conversation: str, messages: Sequence[HistoryMessage]) -> tuple[list[Raw], set[str]]:
        """`messages` in the provider's words, and the ids of the calls in them."""
        prefix = self._prefixes.get(conversation)
        if prefix is None or not prefix.begins(messages):
            prefix = self._prefixes[conversation] = Prefix()
            if len(self._prefixes) > self._limit:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(conversation)
        return prefix.told(messages, self._translate), prefix.ids


class ToolList(Struct, frozen=True):
    """Tools in the provider's words, and how its names lead back to ours. `specs` keep their identities taken."""

    specs: tuple[ToolSpec, ...]
    told: Raw
    names: dict[str, str]


class ToolLists:
    """The lists of tools that were offered last. A tool is known by its identity: specs are never changed."""

    def __init__(
        self,
        translate: Callable[[ToolSpec], object],
        names: Callable[[Sequence[ToolSpec]], dict[str, str]],
        limit: int = TOOL_LISTS,
    ) -> None:
        self._translate = translate
        self._names = names
        self._limit = limit
        self._lists: OrderedDict[tuple[int, ...], ToolList] = OrderedDict()

    def told(self, specs: Sequence[ToolSpec]) -> ToolList:
        """`specs` in the provider's words."""
        key = tuple(map(id, specs))
        known = self._lists.get(key)
        if known is None:
            told = Raw(encode_json([self._translate(spec) for spec in specs]))
            known = self._lists[key] = ToolList(tuple(specs), told, self._names(specs))
            if len(self._lists) > self._limit:
                self._lists.popitem(last=False)
        self._lists.move_to_end(key)
        return known
