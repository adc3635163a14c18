"""Anthropic Messages: our words for tools, calls, results and histories, and theirs.

Theirs are plain JSON values. Source: https://platform.claude.com/docs/en/api/messages. A history is
`{"system": […], "messages": […]}`, as a request takes them; the results of one answer stand in one message.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..blob import Blob, parted
from ..history import (
    AssistantMessage,
    HistoryMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    told_result,
    tool_message,
)
from ..said import Piece
from ..tools import ToolCall, ToolResult, ToolSpec
from . import strict as rules
from .anthropic_speech import PROVIDER, Block, Speech, answer_from_anthropic
from .contract import Format
from .data_url import base64_of, from_base64
from .layout import laid_out, not_ending_with
from .names import ANTHROPIC, called
from .openai import object_schema
from .reading import Json, object_raw, plain, read
from .reading import text_of as text_in
from .results import Part, heard_message, told_text
from .shown import PDF, blob_at, heard_said, is_image, shown, text_of

THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""\"The final block in an assistant message cannot be `thinking`": an answer may have been cut off behind one."""
_NOTHING = "(nothing)"
"""What a user's message without a visible character is told as: "text content blocks must contain non-whitespace"."""


def tool_to_anthropic(spec: ToolSpec, *, strict: bool = False) -> Json:
    """A tool as an entry of `tools`."""
    description = {"description": spec.description} if spec.description else {}
    parameters = object_schema(spec)
    told: Json = {"name": ANTHROPIC.told(spec.name), **description, "input_schema": parameters}
    if strict and (found := rules.strict(parameters, rules.ANTHROPIC)).schema is not None:
        told |= {"input_schema": found.schema, "strict": True}
    return told


def tool_from_anthropic(tool: Json, names: Mapping[str, str] = {}) -> ToolSpec:
    """An entry of `tools` as a tool. Raises msgspec.ValidationError."""
    told = msgspec.convert(tool, _Tool)
    return ToolSpec(names.get(told.name, told.name), told.description or "", told.input_schema or {})


def call_to_anthropic(call: ToolCall) -> Json:
    """A call as a block."""
    told: Json = plain(_call(call))
    return told


def call_from_anthropic(block: Json, names: Mapping[str, str] = {}) -> ToolCall:
    """A block as a call. Raises msgspec.ValidationError."""
    told = read(block, _block)
    arguments = text_in(told.input) if bytes(told.input) else "{}"
    return ToolCall(told.id, called(told.name, names), arguments)


def result_to_anthropic(result: ToolResult[Any]) -> Json:
    """A result as a block. Images and documents stand beside the text; a failure is marked as one."""
    return _told(tool_message(result))


def result_from_anthropic(block: Json) -> ToolResult[Any]:
    """A block as a result. It does not tell which tool's it is."""
    return told_result(_result(msgspec.convert(block, _Result), {}))


def message_to_anthropic(message: HistoryMessage) -> Json:
    """One message of a history as one of `messages`. What is opaque stands in it as msgspec.Raw."""
    match message:
        case SystemMessage(text):
            return {"role": "system", "content": [_text(text)]}
        case UserMessage(text, blobs):
            content = shown(message, _visible, _shown) if blobs else [_text(text)]
            return {"role": "user", "content": [block for block in content if block is not None]}
        case ToolMessage():
            return {"role": "user", "content": [_told(message)]}
        case AssistantMessage():
            blocks = laid_out(message, PROVIDER, ANTHROPIC, _visible, _call)
            said = [block for block in blocks if block is not None]
            return {"role": "assistant", "content": not_ending_with(THOUGHTS, said)}


def messages_to_anthropic(messages: Sequence[HistoryMessage]) -> Json:
    """A history as `system` and `messages`. What is opaque stands in it as msgspec.Raw.

    System messages that come first are `system`; later ones stay where they are. An answer without a visible
    character is left out, because the API refuses it.
    """
    first = next((n for n, each in enumerate(messages) if not isinstance(each, SystemMessage)), len(messages))
    system = [_text(each.text) for each in messages[:first] if isinstance(each, SystemMessage) and each.text.strip()]
    told: list[Json] = []
    answered = False
    for message in messages[first:]:
        entry = message_to_anthropic(message)
        is_result = isinstance(message, ToolMessage)
        if is_result and answered:
            told[-1]["content"] += entry["content"]
        elif entry["content"]:
            told.append(entry)
            answered = is_result
    return {**({"system": system} if system else {}), "messages": told}


def messages_from_anthropic(theirs: Json, names: Mapping[str, str] = {}) -> list[HistoryMessage]:
    """Their `system` and `messages` as a history. Raises what `messages_from_openai` raises."""
    told = read(theirs, _histories)
    system = [told.system] if isinstance(told.system, str) else [each.text or "" for each in told.system or ()]
    history: list[HistoryMessage] = [SystemMessage(text) for text in system if text]
    known: dict[str, str] = {}
    for message in told.messages:
        blocks = message.blocks()
        if message.role == "assistant":
            answer = answer_from_anthropic({"content": blocks, "stop_reason": "tool_use"}, names)  # others may follow
            known.update((call.id, call.name) for call in answer.calls)
            history.append(AssistantMessage(answer.text, answer.calls, answer.opaque))
        else:
            history += _heard(message.role, blocks, known)
    return history


class _Tool(Struct, frozen=True, gc=False):
    name: str
    description: str | None = None
    input_schema: Json | None = None


class _Result(Struct, frozen=True, gc=False):
    tool_use_id: str = ""
    content: str | list[Json] | None = None
    is_error: bool | None = None


class _Message(Struct, frozen=True, gc=False):
    role: str
    content: Raw

    def blocks(self) -> list[Raw]:
        content = msgspec.json.decode(self.content, type=str | list[Raw])
        return [_text_raw(content)] if isinstance(content, str) else content


class _History(Struct, frozen=True, gc=False):
    messages: list[_Message]
    system: str | list[Block] | None = None


_block = msgspec.json.Decoder(Block)
_result_block = msgspec.json.Decoder(_Result)
_histories = msgspec.json.Decoder(_History)


def _text(text: str) -> Json:
    return {"type": "text", "text": text if text.strip() else _NOTHING}


def _visible(text: str) -> Json | None:
    return _text(text) if text.strip() else None


def _text_raw(text: str) -> Raw:
    return Raw(msgspec.json.encode({"type": "text", "text": text}))


def _call(call: ToolCall) -> Json:
    told = {"id": ANTHROPIC.call_id(call.id), "name": ANTHROPIC.told(call.name)}
    return {"type": "tool_use", **told, "input": object_raw(call.text())}


def _told(message: ToolMessage) -> Json:
    text, blobs = parted(message.content, _is_taken)
    content: str | list[Json] = told_text(text or '""')
    if blobs:
        content = [*([] if text is None else [{"type": "text", "text": text}]), *map(_blob, blobs)]
    error = {"is_error": True} if message.failed else {}
    return {"type": "tool_result", "tool_use_id": ANTHROPIC.call_id(message.id), "content": content, **error}


def _shown(blob: Blob) -> Json | None:
    """What a user showed, as a block; None for what is not taken. Any text is a plain text here."""
    if _is_taken(blob):
        return _blob(blob)
    text = text_of(blob)
    if text is None or not text.strip():
        return None
    return _document({"type": "text", "media_type": "text/plain", "data": text}, blob.name)


def _is_taken(blob: Blob) -> bool:
    """Whether it is an image or a document here. "Only HTTPS URLs are supported"."""
    return (is_image(blob) or blob.media_type == PDF) and blob.stands(("https://",))


def _blob(blob: Blob) -> Json:
    source = {"type": "base64", "media_type": blob.media_type, "data": "" if blob.url else base64_of(blob)}
    if blob.url:
        source = {"type": "url", "url": blob.url}
    return _document(source, blob.name) if blob.media_type == PDF else {"type": "image", "source": source}


def _document(source: Json, name: str) -> Json:
    return {"type": "document", "source": source, **({"title": name} if name else {})}


def _heard(role: str, blocks: Iterable[Raw], known: Mapping[str, str]) -> list[HistoryMessage]:
    """What a message says that is not the model's. Results stand first in one that has them."""
    heard: list[HistoryMessage] = []
    said: list[Piece] = []
    for raw in blocks:
        block = _block.decode(raw)
        if block.type == "tool_result" and role == "user" and not said:
            heard.append(_result(_result_block.decode(raw), known))
        elif block.type == "text" and role in {"user", "system"}:
            said.append(block.text or "")
        elif role == "user" and isinstance(piece := _part(msgspec.json.decode(raw)), Blob):
            said.append(piece)
        else:
            raise ValueError(f"a block of the type {block.type!r} in a message of the role {role!r} has no word here")
    if said:
        message = heard_said(said)
        heard.append(message if role == "user" else SystemMessage(message.text))
    return heard


def _result(told: _Result, known: Mapping[str, str]) -> ToolMessage:
    content = [{"type": "text", "text": told.content}] if isinstance(told.content, str) else told.content or []
    parts = [_part(part) for part in content]
    return heard_message(told.tool_use_id, known.get(told.tool_use_id, ""), parts, failed=bool(told.is_error))


def _part(part: Json) -> Part:
    source = part.get("source")
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if not isinstance(source, dict):
        return part
    name = str(part.get("title") or "")
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return from_base64(kind, data, name)
        case {"type": "text", "data": str(data)}:
            return Blob("text/plain", data.encode(), name)
        case {"type": "url", "url": str(url)}:
            return blob_at(url, PDF if part.get("type") == "document" else "image/*", name) or part
    return part


FORMAT = Format(
    name=PROVIDER,
    names=ANTHROPIC,
    rules=rules.ANTHROPIC,
    tool_to=tool_to_anthropic,
    tool_from=tool_from_anthropic,
    call_to=call_to_anthropic,
    call_from=call_from_anthropic,
    result_to=result_to_anthropic,
    result_from=lambda theirs, names: result_from_anthropic(theirs),  # noqa: ARG005 - it tells no name
    messages_to=messages_to_anthropic,
    messages_from=messages_from_anthropic,
    answer_from=answer_from_anthropic,
    speech=Speech,
)
