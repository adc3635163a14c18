"""What every format gives: our words told in theirs, and theirs heard as ours.

- All are pure functions over plain JSON values. What is told is taken by the provider's own SDK; what is heard is read
  leniently but typed: a shape that is nothing of the kind raises msgspec.ValidationError, and what has no word here
  ValueError.
- `x_from(x_to(value)) == value` for all that the format carries; docs/formats.md says what is lost.
- A history told again to the provider that made it holds every block that is not ours to understand, byte for byte.
  `messages_to` keeps such blocks as `msgspec.Raw`, which `encode_json` writes as they came; `history_to` gives plain
  values instead, for somebody's SDK.
- `names` leads from their names of tools to ours, where they differ: `Format.names.back(specs)`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..events import CallSpoken, ReasoningDelta, TextDelta, Usage
from ..history import History, HistoryMessage, Opaque
from ..tools import ToolCall, ToolResult, ToolSpec
from .names import Names
from .reading import plain
from .strict import Rules

NamesBack = Mapping[str, str]

News = TextDelta | ReasoningDelta | CallSpoken
"""What is told of an answer while it is spoken.

Calls are told in their order, without gaps, as soon as the provider's own events say that one has all its arguments and
these are a JSON object. What is only complete at the end, or torn there, stands in the answer alone.
"""


class Answer(NamedTuple):
    """What a model said.

    `finish` is stop, calls, length, filtered, refused or paused (the provider wants to be asked again); "" if it did
    not come to its end. `model` is the one that answered, as the provider names it.
    """

    text: str
    calls: tuple[ToolCall, ...]
    usage: Usage
    finish: str
    opaque: tuple[Opaque, ...] = ()
    model: str = ""


class Hearing(Protocol):
    """An answer while it is spoken: hears piece after piece, tells what is new, and at the end the whole.

    Each call that was told is the same in the answer, unless the provider changed it afterwards: then the answer shows
    what it came to. `over` once the stream itself has said that nothing follows, where its interface has a word for it.
    """

    over: bool

    @property
    def usage(self) -> Usage:
        """The tokens that it has said so far that it used."""
        ...

    def hear(self, chunk: object) -> Sequence[News]:
        """Take in one piece of a stream, as JSON text or decoded.

        Raises ToolwireError if it is an error, ValueError for what is no JSON, msgspec.ValidationError.
        """
        ...

    def answer(self) -> Answer:
        """All that was said so far."""
        ...


class ToolTo(Protocol):
    """A tool in their words. `strict`: in their strict mode, if its schema allows that."""

    def __call__(self, spec: ToolSpec, *, strict: bool = False) -> dict[str, Any]: ...


class Format(NamedTuple):
    """One vocabulary of others. `speech` makes a Hearing of a streamed answer; MCP has none. So it is with `rules`."""

    name: str
    names: Names
    rules: Rules | None
    tool_to: ToolTo
    tool_from: Callable[[Any, NamesBack], ToolSpec]
    call_to: Callable[[ToolCall], dict[str, Any]]
    call_from: Callable[[Any, NamesBack], ToolCall]
    result_to: Callable[[ToolResult[Any]], dict[str, Any]]
    result_from: Callable[[Any, NamesBack], ToolResult[Any]]
    messages_to: Callable[[Sequence[HistoryMessage]], Any]
    messages_from: Callable[[Any, NamesBack], list[HistoryMessage]]
    answer_from: Callable[..., Answer]
    speech: Callable[..., Hearing] | None = None

    def history_to(self, messages: Sequence[HistoryMessage]) -> Any:
        """A history in their words, as plain values."""
        return plain(self.messages_to(messages))

    def history_from(self, theirs: Any, names: NamesBack) -> History:
        """Their words as a history."""
        return History(self.messages_from(theirs, names))
