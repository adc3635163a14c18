"""The Model Context Protocol: our words for tools, calls, results and histories, and theirs.

Theirs are plain JSON values as they stand in JSON-RPC messages. Sources: revisions 2025-11-25 and 2026-07-28 of
https://modelcontextprotocol.io/specification. A call is the `params` of `tools/call`, a result its `CallToolResult`;
the id of a call travels in `_meta`. A history is `{"systemPrompt": …, "messages": […]}`, as `sampling/createMessage`
takes them, where a call is a `tool_use` block.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..blob import Blob, parted
from ..events import Usage
from ..history import (
    AssistantMessage,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
    told_result,
    tool_message,
)
from ..said import Piece
from ..tools import ToolCall, ToolResult, ToolSpec
from .contract import Answer, Format
from .data_url import base64_of, from_base64
from .layout import laid_out, opaque_of
from .names import MCP, called, free_id
from .openai import object_schema
from .reading import Json, clean, given, object_raw, object_text, plain, read, text_of
from .results import Part, heard_message, told_text
from .shown import heard_said, shown

PROVIDER = "mcp"
CALL_ID = "toolwire/call"
"""Where the id of a call stands in `_meta`."""

_FINISH = {"endTurn": "stop", "stopSequence": "stop", "toolUse": "calls", "maxTokens": "length"}
_HINTS = {"readOnlyHint": "read_only", "idempotentHint": "idempotent", "destructiveHint": "destructive"}
_UNNAMED = "unnamed"
_OURS = {"text": {"type", "text"}, "tool_use": {"type", "id", "name", "input"}}


def tool_to_mcp(spec: ToolSpec, *, strict: bool = False) -> Json:  # noqa: ARG001 - MCP has no strict mode
    """A tool as a server lists it. Only results that are objects have an `outputSchema` that every revision takes."""
    told: Json = {"name": MCP.told(spec.name), "inputSchema": object_schema(spec)}
    if spec.description:
        told["description"] = spec.description
    if spec.returns is not None and spec.returns.get("type") == "object":
        told["outputSchema"] = spec.returns
    hints = {hint: True for hint, word in _HINTS.items() if getattr(spec, word)}
    # Who is not told otherwise takes every tool for a destructive one.
    hints |= {} if spec.destructive else {"destructiveHint": False}
    return {**told, "annotations": hints}


def tool_from_mcp(tool: Json, names: Mapping[str, str] = {}) -> ToolSpec:
    """A listed tool as a tool. Its hints are taken as they are told: who trusts no server sets them aside.

    Raises msgspec.ValidationError.
    """
    told = msgspec.convert(tool, _Tool)
    hints = {word: bool((told.annotations or {}).get(hint)) for hint, word in _HINTS.items()}
    name = names.get(told.name, told.name)
    spec = ToolSpec(name, told.description or "", told.input_schema or {}, told.output_schema)
    return msgspec.structs.replace(spec, **hints)


def call_to_mcp(call: ToolCall) -> Json:
    """A call as the `params` of `tools/call`."""
    arguments = plain(object_raw(call.text()))
    return {"name": MCP.told(call.name), "arguments": arguments, "_meta": {CALL_ID: call.id}}


def call_from_mcp(params: Json, names: Mapping[str, str] = {}) -> ToolCall:
    """The `params` of `tools/call`, or a `tool_use` block, as a call. Raises msgspec.ValidationError."""
    told = read(params, _params)
    id_ = told.id or (told.meta or {}).get(CALL_ID)
    raw = told.arguments if bytes(told.arguments) else told.input
    arguments = text_of(raw) if bytes(raw) not in {b"", b"null"} else "{}"
    return ToolCall(id_ if isinstance(id_, str) else "", called(told.name, names), arguments)


def result_to_mcp(result: ToolResult[Any]) -> Json:
    """A result as a `CallToolResult`: text and bytes as its content, and an object also as structured content."""
    message = tool_message(result)
    told: Json = plain(_content(message))
    return {**told, "_meta": {CALL_ID: result.id}}


def result_from_mcp(result: Json) -> ToolResult[Any]:
    """A `CallToolResult`, or a `tool_result` block, as a result. It does not tell which tool's it is."""
    return told_result(_result(read(result, _results), {}))


def messages_to_mcp(messages: Sequence[HistoryMessage]) -> Json:
    """A history as `systemPrompt` and `messages`. What is opaque stands in it as msgspec.Raw.

    There is one system prompt: system messages go there, wherever they stood.
    """
    system = [each.text for each in messages if isinstance(each, SystemMessage) and each.text]
    told: list[Json] = []
    answered = False
    for message in messages:
        is_result = isinstance(message, ToolMessage)
        match message:
            case SystemMessage():
                continue
            case UserMessage(text, blobs):
                told.append({"role": "user", "content": shown(message, _text, _shown) if blobs else [_text(text)]})
            case AssistantMessage():
                blocks = laid_out(message, PROVIDER, MCP, _text, _call)
                told.append({"role": "assistant", "content": blocks or [_text("")]})
            case ToolMessage() if answered:
                told[-1]["content"].append(_block(message))
            case ToolMessage():
                told.append({"role": "user", "content": [_block(message)]})
        answered = is_result
    return {**({"systemPrompt": "\n\n".join(system)} if system else {}), "messages": told}


def messages_from_mcp(theirs: Json, names: Mapping[str, str] = {}) -> list[HistoryMessage]:
    """Their `systemPrompt` and `messages` as a history. Raises what `messages_from_openai` raises."""
    told = read(theirs, _histories)
    history: list[HistoryMessage] = [SystemMessage(told.system_prompt)] if told.system_prompt else []
    known: dict[str, str] = {}
    for message in told.messages:
        blocks = _blocks(message.content)
        if message.role == "assistant":
            text, calls, opaque = _spoken(blocks, names, made_up="call", taken=known)
            known.update((call.id, call.name) for call in calls)
            history.append(AssistantMessage(text, calls, opaque))
        else:
            history += _heard(blocks, known)
    return history


def answer_from_mcp(
    result: object, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()
) -> Answer:
    """What a client's model said, a `CreateMessageResult`, as an answer. It counts no tokens."""
    told = read(result, _answers)
    text, calls, opaque = _spoken(_blocks(told.content), names, made_up=made_up, taken=taken)
    finish = _FINISH.get(told.stop_reason or "endTurn", "stop")
    if finish in {"stop", "calls"}:
        finish = "calls" if calls else "stop"
    return Answer(text, calls, Usage(), finish, opaque)


class _Tool(Struct, frozen=True, rename="camel", gc=False):
    name: str
    description: str | None = None
    input_schema: Json | None = None
    output_schema: Json | None = None
    annotations: Json | None = None


class _Params(Struct, frozen=True, gc=False):
    name: str
    id: str = ""
    arguments: Raw = Raw()
    input: Raw = Raw()
    meta: Json | None = msgspec.field(default=None, name="_meta")


class _Result(Struct, frozen=True, rename="camel", gc=False):
    content: list[Json] = []
    structured_content: Raw = Raw()
    is_error: bool | None = None
    tool_use_id: str = ""
    meta: Json | None = msgspec.field(default=None, name="_meta")


class _Block(Struct, frozen=True, gc=False):
    type: str = ""
    text: str = ""


class _Message(Struct, frozen=True, gc=False):
    role: str
    content: Raw


class _History(Struct, frozen=True, rename="camel", gc=False):
    messages: list[_Message]
    system_prompt: str | None = None


class _Answer(Struct, frozen=True, rename="camel", gc=False):
    content: Raw
    stop_reason: str | None = None


_params = msgspec.json.Decoder(_Params)
_results = msgspec.json.Decoder(_Result)
_histories = msgspec.json.Decoder(_History)
_answers = msgspec.json.Decoder(_Answer)
_decode_block = msgspec.json.Decoder(_Block).decode
_decode_blocks = msgspec.json.Decoder(list[Raw]).decode


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _call(call: ToolCall) -> Json:
    told = {"id": MCP.call_id(call.id), "name": MCP.told(call.name)}
    return {"type": "tool_use", **told, "input": object_raw(call.text())}


def _block(message: ToolMessage) -> Json:
    return {"type": "tool_result", "toolUseId": MCP.call_id(message.id), **_content(message)}


def _content(message: ToolMessage) -> Json:
    text, blobs = parted(message.content, lambda _: True)
    content = [_text(told_text(text) if not blobs else text)] if text is not None else []
    told: Json = {"content": [*content, *map(_blob, blobs)]}
    if text is not None and object_text(text) is text and not message.failed:
        told["structuredContent"] = Raw(text.encode())
    return {**told, "isError": message.failed}


def _shown(blob: Blob) -> Json | None:
    """What a user showed, as a block; None for what `sampling/createMessage` has no block for."""
    told = _blob(msgspec.structs.replace(blob, name=""))
    return told if told["type"] in {"image", "audio"} else None


def _blob(blob: Blob) -> Json:
    kind = blob.media_type.partition("/")[0]
    if blob.url:
        about = {"uri": blob.url, "name": blob.name or _UNNAMED, "mimeType": blob.media_type}
        return {"type": "resource_link", **about}
    if kind in {"image", "audio"} and not blob.name:
        return {"type": kind, "data": base64_of(blob), "mimeType": blob.media_type}
    uri = f"blob:{blob.name or _UNNAMED}"
    return {"type": "resource", "resource": {"uri": uri, "mimeType": blob.media_type, "blob": base64_of(blob)}}


def _blocks(content: Raw) -> list[Raw]:
    """The blocks of a content, which may be one block."""
    return [raw.copy() for raw in _decode_blocks(content)] if bytes(content).lstrip()[:1] == b"[" else [content.copy()]


def _spoken(
    blocks: Iterable[Raw], names: Mapping[str, str], *, made_up: str, taken: Container[str]
) -> tuple[str, tuple[ToolCall, ...], tuple[Opaque, ...]]:
    texts: list[str] = []
    calls: list[ToolCall] = []
    pieces: list[Opaque] = []
    used: set[str] = set()
    for raw in blocks:
        block = _decode_block(raw)
        ours = given(msgspec.json.decode(raw)).keys() <= _OURS.get(block.type, set())
        if block.type == "tool_use":
            call = call_from_mcp(msgspec.json.decode(raw, type=dict[str, Raw]), names)
            id_ = free_id(call.id, len(calls) + 1, used, taken, made_up)
            pieces.append(Opaque(PROVIDER, "" if ours or id_ != call.id else text_of(raw), id_))
            calls.append(msgspec.structs.replace(call, id=id_))
        else:
            text = clean(block.text) if block.type == "text" else ""
            texts.append(text)
            if text or not ours:
                pieces.append(Opaque(PROVIDER, "" if ours else text_of(raw), text=len(text)))
    return "".join(texts), tuple(calls), opaque_of(pieces)


def _heard(blocks: Iterable[Raw], known: Mapping[str, str]) -> list[HistoryMessage]:
    heard: list[HistoryMessage] = []
    said: list[Piece] = []
    for raw in blocks:
        block = _decode_block(raw)
        if block.type == "tool_result" and not said:
            heard.append(_result(_results.decode(raw), known))
        elif block.type == "text":
            said.append(block.text)
        elif isinstance(piece := _part(msgspec.json.decode(raw)), Blob):
            said.append(piece)
        else:
            raise ValueError(f"a block of the type {block.type!r} in a user's message has no word here")
    return [*heard, heard_said(said)] if said else heard


def _result(told: _Result, known: Mapping[str, str]) -> ToolMessage:
    meta = (told.meta or {}).get(CALL_ID)
    id_ = told.tool_use_id or (meta if isinstance(meta, str) else "")
    parts = [_part(part) for part in told.content]
    only_text = all(isinstance(part, str) for part in parts)
    if bytes(told.structured_content) not in {b"", b"null"} and only_text and not told.is_error:
        parts = [text_of(told.structured_content)]
    return heard_message(id_, known.get(id_, ""), parts, failed=bool(told.is_error))


def _part(part: Json) -> Part:
    resource = part.get("resource")
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") in {"image", "audio"} and isinstance(part.get("data"), str):
        return from_base64(str(part.get("mimeType")), str(part["data"]))
    if isinstance(resource, dict) and isinstance(resource.get("blob"), str):
        name = str(resource.get("uri")).removeprefix("blob:")
        return from_base64(str(resource.get("mimeType") or ""), resource["blob"], "" if name == _UNNAMED else name)
    match part:
        case {"type": "resource_link", "uri": str(uri), "mimeType": str(kind)} if uri.startswith(("http:", "https:")):
            name = str(part.get("name"))
            return Blob(kind, name="" if name == _UNNAMED else name, url=uri)
    return part


FORMAT = Format(
    name=PROVIDER,
    names=MCP,
    rules=None,
    tool_to=tool_to_mcp,
    tool_from=tool_from_mcp,
    call_to=call_to_mcp,
    call_from=call_from_mcp,
    result_to=result_to_mcp,
    result_from=lambda theirs, names: result_from_mcp(theirs),  # noqa: ARG005 - it tells no name
    messages_to=messages_to_mcp,
    messages_from=messages_from_mcp,
    answer_from=answer_from_mcp,
)
