"""Any list of messages, imported, damaged or cut anywhere, made one that every provider takes.

What it comes to: system messages first; each answer after a user's message or after results; right behind an answer
one result for each of its calls, in the order asked; no id of a call twice. What is so already stays as it is.
"""

from collections.abc import Sequence
from operator import is_

import msgspec
from msgspec import Struct

from .failures import Misuse, failed
from .history import AssistantMessage, HistoryMessage, Opaque, SystemMessage, ToolMessage, UserMessage, tool_message
from .ids import told_apart
from .tools import ToolCall, ToolResult, encode_json

MISSING = UserMessage("(what was said here is missing)")
"""Stands before an answer that follows nobody's words: providers refuse a conversation that a model begins."""

LOST = "what came of this call was not recorded"


class _Item(Struct, frozen=True, gc=False):
    id: str = ""


_decode_item = msgspec.json.Decoder(_Item).decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HistoryMessage).decode

Results = dict[int, ToolMessage]
"""The results of one answer, by the position of their call."""


def mended(messages: Sequence[HistoryMessage], code: str = "cancelled") -> Sequence[HistoryMessage]:
    """`messages` as every provider takes them; `messages` itself where nothing is wrong with it.

    System messages move to the front. A result moves behind its call, the nearest one before it of its id; one without
    a call is dropped, as is a second one, and an answer without text and calls. A call without a result gets a failure
    of that `code`, whose effect is "maybe". Where the id of a call is missing, or was used before, it gets another. A
    provider's own block that was there before goes. Raises Misuse for what is no message.
    """
    results = _results(messages)
    ids = {call.id for message in messages if isinstance(message, AssistantMessage) for call in message.calls}
    used: dict[str, int] = {}
    items: set[tuple[str, str]] = set()
    system: list[HistoryMessage] = []
    made: list[HistoryMessage] = []
    for n, message in enumerate(messages):
        match message:
            case SystemMessage():
                system.append(message)
            case UserMessage():
                made.append(message)
            case AssistantMessage() if message.calls or message.text.strip():
                if not made or isinstance(made[-1], AssistantMessage):
                    made.append(MISSING)
                answer = _without_doubles(told_apart(message, used, ids), items)
                made.append(answer)
                found = results.get(n, {})
                made += [_result(call, found.get(at), code) for at, call in enumerate(answer.calls)]
    made = [*system, *made]
    same = len(made) == len(messages) and all(map(is_, made, messages))
    return messages if same else made


def check_sendable(messages: Sequence[object]) -> None:
    """Raises Misuse for what no conversation could go on from: each of its turns would fail.

    That is what is no list, and a message whose fields are not of their types or hold what is no text. Of results only
    the types are looked at: `mended` writes their text anew.
    """
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        what = "History.from_json(…) reads a document, chat.history() is that of a conversation"
        said = f"history is a History or a list of messages, not {type(messages).__name__}: {what}"
        raise Misuse(failed("invalid_call", said))
    for n, message in enumerate(messages):
        try:
            _decode(_encode(message))
            if isinstance(message, AssistantMessage):
                for call in message.calls:
                    call.text()
        except (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError) as error:
            if isinstance(message, HistoryMessage) and not (
                isinstance(message, ToolMessage) and isinstance(error, UnicodeEncodeError)
            ):
                said = f"message {n} of the history can't be told to a model: {error}"
                raise Misuse(failed("invalid_call", said)) from error


def going_on(messages: Sequence[HistoryMessage], system: str) -> list[HistoryMessage]:
    """What a conversation remembers that goes on from `messages`: these, mended, in a list of its own.

    A `system` text takes the place of their system's messages; without one these stay.
    """
    valid = mended(messages)
    if not system:
        return list(valid)
    return [SystemMessage(system), *(each for each in valid if not isinstance(each, SystemMessage))]


def system_of(messages: Sequence[HistoryMessage]) -> str:
    """What the system says in `messages`."""
    return "\n\n".join(each.text for each in messages if isinstance(each, SystemMessage))


def _results(messages: Sequence[HistoryMessage]) -> dict[int, Results]:
    """The results that there are, by the index of their answer. Raises Misuse for what is no message."""
    waiting: dict[str, list[tuple[int, int]]] = {}
    results: dict[int, Results] = {}
    for n, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            for at in range(len(message.calls) - 1, -1, -1):  # of two with one id the first is answered first
                waiting.setdefault(message.calls[at].id, []).append((n, at))
        elif isinstance(message, ToolMessage):
            if places := waiting.get(message.id):
                answer, at = places.pop()
                results.setdefault(answer, {})[at] = message
        elif not isinstance(message, SystemMessage | UserMessage):
            said = (
                f"a history holds messages (UserMessage, AssistantMessage, …), not {message!r:.100}: "
                "read those of a provider by History.from_openai(…) or the like"
            )
            raise Misuse(failed("invalid_call", said))
    return results


def _without_doubles(message: AssistantMessage, items: set[tuple[str, str]]) -> AssistantMessage:
    """`message` without blocks that have an id of their own and are among `items`: to these it adds those it keeps."""
    pieces: list[Opaque] = []
    for piece in message.opaque:
        item = (piece.provider, _item_id(piece.raw))
        if item[1] and item in items:
            if piece.call or piece.text:
                pieces.append(Opaque(piece.provider, "", piece.call, piece.text))
        else:
            items.add(item)
            pieces.append(piece)
    same = len(pieces) == len(message.opaque) and all(map(is_, pieces, message.opaque))
    return message if same else AssistantMessage(message.text, message.calls, tuple(pieces))


def _item_id(raw: str) -> str:
    """The id of a provider's block, "" for none."""
    if '"id"' not in raw:
        return ""
    try:
        return _decode_item(raw).id
    except (msgspec.DecodeError, RecursionError):
        return ""


def _result(call: ToolCall, found: ToolMessage | None, code: str) -> ToolMessage:
    """The result of `call`, whose content is JSON."""
    if found is None:
        return tool_message(ToolResult(call.id, call.name, failure=failed(code, LOST, "maybe")))
    content = found.content
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        content = encode_json(content.encode("utf-8", "replace").decode()).decode()
    if found.id == call.id and found.name == call.name and content is found.content:
        return found
    return ToolMessage(call.id, call.name, content, found.failed)
