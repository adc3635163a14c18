"""OpenAI Responses: our words for tools, calls, results and histories, and theirs.

Theirs are plain JSON values. Source: https://platform.openai.com/docs/api-reference/responses. A history is a list of
items; the items of one answer follow each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..blob import Blob, Parted, parted
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
from .contract import Format
from .data_url import data_url
from .layout import laid_out, not_ending_with
from .names import OPENAI_RESPONSES, called
from .openai import UNNAMED, function_to_openai
from .openai_responses_speech import PROVIDER, Item, Speech, answer_from_openai_responses, items_as_answer
from .reading import Json, object_text, read
from .results import Part, heard_message, told_text
from .shown import blob_at, heard_said, is_image, shown

THOUGHTS = frozenset({"reasoning"})
"""Such an item "was provided without its required following item" where an answer was cut off behind it."""
_NO_FILES = ("image/", "audio/", "video/")
_OFFICE = "application/vnd.openxmlformats-officedocument."
_FILES = frozenset({
    *("application/pdf", "application/json", "application/xml", "application/yaml", "application/rtf"),
    *("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"),
    "application/vnd.oasis.opendocument.text",
    *(f"{_OFFICE}{kind}" for kind in ("wordprocessingml.document", "spreadsheetml.sheet")),
    f"{_OFFICE}presentationml.presentation",
})  # fmt: skip
"""Files that are taken, besides texts: https://developers.openai.com/api/docs/guides/file-inputs."""


def tool_to_openai_responses(spec: ToolSpec, *, strict: bool = False) -> Json:
    """A tool as an entry of `tools`. `strict` is always said: without it this interface takes true for granted."""
    return {"type": "function", **function_to_openai(spec, strict=strict)}


def tool_from_openai_responses(tool: Json, names: Mapping[str, str] = {}) -> ToolSpec:
    """An entry of `tools` as a tool. Raises msgspec.ValidationError."""
    told = msgspec.convert(tool, _Tool)
    return ToolSpec(names.get(told.name, told.name), told.description or "", told.parameters or {})


def call_to_openai_responses(call: ToolCall) -> Json:
    """A call as an item."""
    told = {"call_id": OPENAI_RESPONSES.call_id(call.id), "name": OPENAI_RESPONSES.told(call.name)}
    return {"type": "function_call", **told, "arguments": object_text(call.text())}


def call_from_openai_responses(item: Json, names: Mapping[str, str] = {}) -> ToolCall:
    """An item as a call. Raises msgspec.ValidationError."""
    told = msgspec.convert(item, Item)
    return ToolCall(told.call_id or "", called(told.name, names), told.arguments or "{}")


def result_to_openai_responses(result: ToolResult[Any]) -> Json:
    """A result as an item. Images and files stand beside the text; a failure is told as our own kind of object."""
    return _told(tool_message(result))


def result_from_openai_responses(item: Json) -> ToolResult[Any]:
    """An item as a result. It does not tell which tool's it is."""
    return told_result(_result(msgspec.convert(item, _Output), {}))


def messages_to_openai_responses(messages: Iterable[HistoryMessage]) -> list[Any]:
    """A history as the items of `input`. What is opaque stands among them as msgspec.Raw."""
    return [item for message in messages for item in items_to_openai_responses(message)]


def items_to_openai_responses(message: HistoryMessage) -> list[Any]:
    """One message of a history as items. What is opaque stands among them as msgspec.Raw."""
    match message:
        case SystemMessage(text):
            return [_message("system", text)]
        case UserMessage(text, blobs):
            return [_message("user", shown(message, _text, _shown) if blobs else text)]
        case ToolMessage():
            return [_told(message)]
        case AssistantMessage():
            items = laid_out(
                message, PROVIDER, OPENAI_RESPONSES, lambda text: _message("assistant", text), call_to_openai_responses
            )
            return not_ending_with(THOUGHTS, items) or [_message("assistant", "")]


def messages_from_openai_responses(items: Sequence[Json], names: Mapping[str, str] = {}) -> list[HistoryMessage]:
    """Their items as a history. Raises what `messages_from_openai` raises."""
    history: list[HistoryMessage] = []
    known: dict[str, str] = {}
    spoken: list[Raw] = []

    def end() -> None:
        if spoken:
            answer = items_as_answer(spoken, names)
            known.update((call.id, call.name) for call in answer.calls)
            history.append(AssistantMessage(answer.text, answer.calls, answer.opaque))
            spoken.clear()

    for raw in read(items, _raws):
        role, kind = (told := _kind.decode(raw)).role, told.type
        if kind == "function_call_output":
            end()
            history.append(_result(_output.decode(raw), known))
        elif kind == "message" and role != "assistant":
            end()
            history.append(_heard(role, told.content))
        else:
            spoken.append(raw.copy())
    end()
    return history


class _Tool(Struct, frozen=True, gc=False):
    name: str
    description: str | None = None
    parameters: Json | None = None


class _Output(Struct, frozen=True, gc=False):
    call_id: str | None = None
    output: str | list[Json] = ""


class _Kind(Struct, frozen=True, gc=False):
    type: str = "message"
    role: str = ""
    content: Any = None


_raws = msgspec.json.Decoder(list[Raw])
_kind = msgspec.json.Decoder(_Kind)
_output = msgspec.json.Decoder(_Output)


def _message(role: str, content: str | list[Json]) -> Json:
    return {"type": "message", "role": role, "content": content}


def _text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _shown(blob: Blob) -> Json | None:
    """What a user showed, as a part; None for what is not taken."""
    return _blob(blob) if _is_taken(blob) else None


def _is_taken(blob: Blob) -> bool:
    """Whether it is an image or a file here. A file behind a URL they look at themselves."""
    kind = blob.media_type.partition(";")[0]
    if blob.url:
        return is_image(blob) or (blob.stands() and not kind.startswith(_NO_FILES))
    return is_image(blob) or kind in _FILES or kind.startswith("text/")


def _blob(blob: Blob) -> Json:
    if is_image(blob):
        return {"type": "input_image", "image_url": blob.url or data_url(blob), "detail": "auto"}
    if blob.url:
        return {"type": "input_file", "file_url": blob.url, **({"filename": blob.name} if blob.name else {})}
    return {"type": "input_file", "file_data": data_url(blob), "filename": blob.name or UNNAMED}


def _heard(role: str, content: Any) -> HistoryMessage:
    parts = content if isinstance(content, list) else [{"type": "input_text", "text": content or ""}]
    said = heard_said(map(_piece, parts))
    if role == "user":
        return said
    if role not in {"system", "developer"} or said.blobs:
        raise ValueError(f"a message of the role {role!r} with these parts has no word here")
    return SystemMessage(said.text)


def _piece(part: Any) -> Piece:
    """A part of what a user said. Raises ValueError for one that has no word here, such as the id of a kept file."""
    kind = part.get("type") if isinstance(part, dict) else None
    found = _part(part) if kind in {"input_text", "input_image", "input_file"} else None
    if isinstance(found, str | Blob):
        return found
    raise ValueError(f"a part of the type {kind!r} in a message that is not the model's has no word here")


def _told(message: ToolMessage) -> Json:
    text, blobs = parted(message.content, _is_taken)
    output = told_text(text or '""') if not blobs else _parts(Parted(text, blobs))
    id_ = OPENAI_RESPONSES.call_id(message.id)
    return {"type": "function_call_output", "call_id": id_, "output": output}


def _parts(told: Parted) -> list[Json]:
    return [*([] if told.text is None else [_text(told.text)]), *map(_blob, told.blobs)]


def _result(told: _Output, known: Mapping[str, str]) -> ToolMessage:
    id_ = told.call_id or ""
    parts: list[Part] = [told.output] if isinstance(told.output, str) else [_part(part) for part in told.output]
    return heard_message(id_, known.get(id_, ""), parts)


def _part(part: Json) -> Part:
    if isinstance(part.get("text"), str):
        return str(part["text"])
    name = str(part.get("filename") or "")
    name = "" if name == UNNAMED else name
    image = blob_at(part.get("image_url"), "image/*")
    file = blob_at(part.get("file_data"), "", name) or blob_at(part.get("file_url"), "application/octet-stream", name)
    return image or file or part


FORMAT = Format(
    name=PROVIDER,
    names=OPENAI_RESPONSES,
    rules=rules.OPENAI,
    tool_to=tool_to_openai_responses,
    tool_from=tool_from_openai_responses,
    call_to=call_to_openai_responses,
    call_from=call_from_openai_responses,
    result_to=result_to_openai_responses,
    result_from=lambda theirs, names: result_from_openai_responses(theirs),  # noqa: ARG005 - it tells no name
    messages_to=messages_to_openai_responses,
    messages_from=messages_from_openai_responses,
    answer_from=answer_from_openai_responses,
    speech=Speech,
)
