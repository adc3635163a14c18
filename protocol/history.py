"""What a conversation remembers: an append-only list of messages, and a view of its first n that costs nothing."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, overload

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .blob import Blob, unlinked
from .failures import CODES, Failure
from .spoken import Spoken
from .tools import ToolCall, ToolResult, encode_json


class SystemMessage(Struct, frozen=True, tag_field="role", tag="system", gc=False):
    """What the application tells the model before anybody speaks."""

    text: str


class UserMessage(Struct, frozen=True, omit_defaults=True, tag_field="role", tag="user", gc=False):
    """What the user said, and what was shown with it: images, files.

    `places` says where in the text each blob stands, in characters before it; () for all after the text.
    """

    text: str
    blobs: tuple[Blob, ...] = ()
    places: tuple[int, ...] = ()


ANSWER_AGAIN = "\nAnswer again, with nothing but one JSON value that fits"
"""Stands in what a turn says in the user's place, to have an answer mended."""


def by_user(message: object) -> bool:
    """Whether the user said `message`, not a turn in the user's place."""
    return isinstance(message, UserMessage) and ANSWER_AGAIN not in message.text


class Opaque(Struct, frozen=True, omit_defaults=True, gc=False):
    """One block of an answer, for the provider that made it and for nobody else: reasoning, a signature, the unknown.

    `raw` is its JSON text, byte for byte. It may stand for the call whose id is `call`, or for the next `text`
    characters of the message. Without `raw` it only keeps their place among the other blocks. `provider` says whose
    words these are, `maker` who said them: several may speak the words of one. It is "" where that was not told.
    """

    provider: str
    raw: str = ""
    call: str = ""
    text: int = 0
    maker: str = ""


class AssistantMessage(Struct, frozen=True, omit_defaults=True, tag_field="role", tag="assistant", gc=False):
    """What the model answered: text, calls, or both.

    `opaque` are the blocks of the answer in the order spoken, from the first to the last that our words don't say.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    opaque: tuple[Opaque, ...] = ()


class ToolMessage(Struct, frozen=True, omit_defaults=True, tag_field="role", tag="tool", gc=False):
    """What one call came to, as the model reads it: `content` is JSON text; a failure stands in it as `error`."""

    id: str
    name: str
    content: str
    failed: bool = False


HistoryMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class _Error(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    error: Failure


_decode_error = msgspec.json.Decoder(_Error).decode

VERSION = 1
"""Of the document that a history is exported as. Within one, fields are only ever added, with defaults."""


class _Version(Struct, frozen=True, gc=False):
    toolwire_history: int


class Recall(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a `memory` of that name knew of a history: where what a model is told begins, and what stands for the rest.

    In the messages from `start` to before `cut` thoughts that are bound to what came before are told no more.
    """

    memory: str
    start: int
    summary: str = ""
    cut: int = 0


class _Document(_Version, frozen=True, omit_defaults=True, gc=False):
    messages: list[HistoryMessage]
    recall: Recall | None = None


_decode_version = msgspec.json.Decoder(_Version).decode
_decode_document = msgspec.json.Decoder(_Document).decode


def tool_message(result: ToolResult[object]) -> ToolMessage:
    """How `result` is told to a model. Where strangers may have written it, nobody is sent to its urls."""
    if result.failure is None and result.content is not None:
        content = unlinked(result.content) if result.tainted else result.content
        return ToolMessage(result.id, result.name, content)
    failure = result.failure or Failure("internal", "a result without content")
    if "token" in failure.details:  # a confirmation is a person's to give
        details = {key: value for key, value in failure.details.items() if key != "token"}
        failure = replace(failure, details=details)
    content = encode_json(_Error(failure)).decode()
    return ToolMessage(result.id, result.name, unlinked(content) if result.tainted else content, failed=True)


def told_failure(content: str) -> Failure | None:
    """The failure that stands in `content`, as `tool_message` writes it; None if none does."""
    if not content.startswith('{"error":'):
        return None
    try:
        failure = _decode_error(content).error
    except (msgspec.DecodeError, RecursionError):
        return None
    return failure if failure.code in CODES else None


def told_result(message: ToolMessage) -> ToolResult[Any]:
    """The result that `message` tells of. How often and how long it ran was not told."""
    if not message.failed:
        return ToolResult(message.id, message.name, message.content)
    failure = told_failure(message.content) or Failure("failed", message.content)
    return ToolResult(message.id, message.name, failure=failure)


class History(Spoken, Sequence[HistoryMessage]):
    """The first `length` messages of a list that only grows: a snapshot that is made in constant time.

    `recall` is what the memory of its conversation knew of them then; None where it told them all.
    """

    _word: ClassVar[str] = "history"
    __slots__ = ("_length", "_messages", "recall")

    def __init__(self, messages: list[HistoryMessage], length: int | None = None, recall: Recall | None = None) -> None:
        self._messages = messages
        self._length = len(messages) if length is None else length
        self.recall = recall

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> HistoryMessage: ...
    @overload
    def __getitem__(self, index: slice) -> list[HistoryMessage]: ...
    def __getitem__(self, index: int | slice) -> HistoryMessage | list[HistoryMessage]:
        if isinstance(index, slice):
            return [self._messages[n] for n in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._messages[index % self._length]

    def __iter__(self) -> Iterator[HistoryMessage]:
        for n in range(self._length):
            yield self._messages[n]

    def to_json(self) -> str:
        """All of it as a document of our own: `{"toolwire_history": 1, "messages": […]}`, opaque blocks byte for byte.

        What its memory knew stands in it as `recall`. Raises TypeError for what JSON can't carry, which no history of a
        conversation holds.
        """
        return encode_json(_Document(VERSION, self[:], self.recall)).decode()

    @classmethod
    def from_json(cls, document: str | bytes) -> "History":
        """What `to_json` wrote. Raises msgspec.DecodeError for what it did not write, ValueError for a later version.

        Nothing is mended here; a conversation that begins with it mends what it has to.
        """
        try:
            version = _decode_version(document).toolwire_history
            if version != VERSION:
                raise ValueError(f"the history is of version {version}, and version {VERSION} is what can be read here")
            read = _decode_document(document)
        except msgspec.DecodeError as error:
            said = (
                f"this is no history that to_json() wrote: {error} (History.from_openai(…) and the like read others')"
            )
            raise msgspec.DecodeError(said) from error
        return cls(read.messages, recall=read.recall)

    def continues(self, earlier: "History") -> bool:
        """Whether this is `earlier`, perhaps with more after it: both are of one list, which only grows."""
        return self._messages is earlier._messages and len(self) >= len(earlier)  # noqa: SLF001 - of its own class

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have no hash either

    def __reduce__(self) -> tuple[type["History"], tuple[list[HistoryMessage], None, Recall | None]]:
        return History, (self[:], None, self.recall)  # what came later is nobody's who got this

    def __repr__(self) -> str:
        return f"<History {self._length} messages>"
