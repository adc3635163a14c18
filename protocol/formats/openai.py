"""OpenAI Chat Completions: our words for tools, calls, results and histories, and theirs.

Theirs are plain JSON values. Source: https://platform.openai.com/docs/api-reference/chat. What its relatives add to a
message or to a call (`reasoning_content`, `reasoning_details`, `extra_content`) is opaque here: an `Opaque` holds those
fields as an object, and they are put beside the others again. What is heard is read leniently but typed: a shape that
is no chat completion raises msgspec.ValidationError.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..blob import Blob, parted
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
from ..tools import ToolCall, ToolResult, ToolSpec, encode_json
from . import strict as rules
from .contract import Format
from .data_url import base64_of, blob_in, data_url, from_base64
from .names import OPENAI, called
from .openai_speech import (
    PROVIDER,
    Call,
    Function,
    Speech,
    Words,
    answer_from_openai,
    fields_of,
    fields_of_call,
    opaque_fields,
    text_in,
)
from .reading import Json, decode_object, object_text
from .results import heard_message, told_text
from .shown import PDF, blob_at, heard_said, is_image, shown

AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
"""What OpenAI calls the sounds that it takes."""
UNNAMED = "file"
"""What a file without a name is called: a name is asked for."""

NO_PARAMETERS: Json = {"type": "object", "properties": {}}


def tool_name(name: str) -> str:
    """`name` as OpenAI takes it; two names never become one."""
    return OPENAI.told(name)


def tool_names(specs: Iterable[ToolSpec]) -> dict[str, str]:
    """Their names of `specs` and ours, where they differ."""
    return OPENAI.back(specs)


def tool_to_openai(spec: ToolSpec, *, strict: bool = False) -> Json:
    """A tool as an entry of `tools`. OpenAI asks for parameters of type object, at their top."""
    function = function_to_openai(spec, strict=strict)
    return {"type": "function", "function": function if function["strict"] else _without_strict(function)}


def function_to_openai(spec: ToolSpec, *, strict: bool) -> Json:
    """What both interfaces of OpenAI want to know of a tool. `strict` in it says whether it could be."""
    parameters = object_schema(spec)
    if strict and (found := rules.strict(parameters, rules.OPENAI)).schema is not None:
        return {"name": tool_name(spec.name), **_description(spec), "parameters": found.schema, "strict": True}
    return {"name": tool_name(spec.name), **_description(spec), "parameters": parameters, "strict": False}


def object_schema(spec: ToolSpec) -> Json:
    """The parameters of a tool as a schema of type object, which providers ask for."""
    parameters = spec.parameters or NO_PARAMETERS
    return parameters if parameters.get("type") == "object" else {**parameters, "type": "object"}


def tool_from_openai(tool: Json, names: Mapping[str, str] = {}) -> ToolSpec:
    """An entry of `tools` as a tool. Raises msgspec.ValidationError."""
    function = msgspec.convert(tool, _Tool).function
    return ToolSpec(names.get(function.name, function.name), function.description or "", function.parameters or {})


def call_to_openai(call: ToolCall) -> Json:
    """A call as an entry of `tool_calls`. Arguments that are no JSON object stand in one that says so."""
    function = {"name": tool_name(call.name), "arguments": object_text(call.text())}
    return {"id": OPENAI.call_id(call.id), "type": "function", "function": function}


def call_from_openai(call: Json, names: Mapping[str, str] = {}) -> ToolCall:
    """An entry of `tool_calls` as a call. Raises msgspec.ValidationError."""
    told = msgspec.convert(call, Call)
    function = told.function or Function()
    arguments = function.arguments or "{}"
    text = arguments if isinstance(arguments, str) else encode_json(arguments).decode()
    return ToolCall(told.id or "", called(function.name, names), text)


def result_to_openai(result: ToolResult[Any]) -> Json:
    """A result as a message of the role "tool". It carries text only: of a blob it says that there was one."""
    return message_to_openai(tool_message(result))


def result_from_openai(message: Json) -> ToolResult[Any]:
    """A message of the role "tool" as a result. It does not tell which tool's it is."""
    told = msgspec.convert(message, Words)
    return told_result(heard_message(told.tool_call_id or "", "", [text_in(told.content, strict=True)]))


def message_to_openai(message: HistoryMessage) -> Json:
    """One message of a history as one of `messages`. What is opaque stands in it as msgspec.Raw."""
    match message:
        case SystemMessage(text):
            return {"role": "system", "content": text}
        case UserMessage(text, blobs):
            return {"role": "user", "content": shown(message, _text, _blob) if blobs else text}
        case ToolMessage(id=id_, content=content):
            text = told_text(parted(content, lambda _: False).text or content)
            return {"role": "tool", "tool_call_id": OPENAI.call_id(id_), "content": text}
        case AssistantMessage():
            return _answer_to_openai(message)


def messages_to_openai(messages: Iterable[HistoryMessage]) -> list[Json]:
    """A history as `messages`. What is opaque stands in it as msgspec.Raw."""
    return [message_to_openai(message) for message in messages]


def messages_from_openai(messages: Sequence[Json], names: Mapping[str, str] = {}) -> list[HistoryMessage]:
    """Their `messages` as a history.

    Raises msgspec.ValidationError for what is no message, ValueError for a role or a content that has no word here.
    """
    known: dict[str, str] = {}
    return [_message_from_openai(message, names, known) for message in messages]


def _without_strict(function: Json) -> Json:
    return {word: value for word, value in function.items() if word != "strict"}


def _description(spec: ToolSpec) -> Json:
    return {"description": spec.description} if spec.description else {}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _blob(blob: Blob) -> Json | None:
    if is_image(blob):
        return {"type": "image_url", "image_url": {"url": blob.url or data_url(blob)}}
    if not blob.url and blob.media_type in AUDIO:
        return {"type": "input_audio", "input_audio": {"data": base64_of(blob), "format": AUDIO[blob.media_type]}}
    if not blob.url and blob.media_type == PDF:
        return {"type": "file", "file": {"file_data": data_url(blob), "filename": blob.name or UNNAMED}}
    return None


def _piece(part: Any) -> Piece:
    """A part of what a user said. Raises ValueError for one that has no word here, such as the id of a kept file."""
    if isinstance(part, str):
        return part
    told = msgspec.convert(part, _Part)
    if told.type == "text" and told.text is not None:
        return told.text
    if told.image_url is not None and (image := blob_at(told.image_url.get("url"), "image/*")) is not None:
        return image
    if told.input_audio is not None:
        kind = {"wav": "audio/wav", "mp3": "audio/mpeg"}.get(str(told.input_audio.get("format")), "audio/*")
        return from_base64(kind, str(told.input_audio.get("data")))
    if told.file is not None:
        name = str(told.file.get("filename") or "")
        if (file := blob_in(told.file.get("file_data"), "" if name == UNNAMED else name)) is not None:
            return file
    raise ValueError(f"a part of the type {told.type!r} in a user's message has no word here")


def _user(content: str | list[Any] | None) -> UserMessage:
    return heard_said(map(_piece, content)) if isinstance(content, list) else UserMessage(content or "")


def _answer_to_openai(message: AssistantMessage) -> Json:
    told: Json = {"role": "assistant", "content": message.text}
    if message.calls:
        told |= {"content": message.text or None, "tool_calls": [call_to_openai(call) for call in message.calls]}
    for piece in message.opaque:
        if piece.provider == PROVIDER and piece.raw:
            _add(told, message, piece)
    return told


def _add(told: Json, message: AssistantMessage, piece: Opaque) -> None:
    """Put the fields of `piece` beside those that we understand, which stay as they are."""
    beside = told
    if piece.call:
        pairs = zip(told.get("tool_calls", ()), message.calls, strict=True)
        beside = next((entry for entry, call in pairs if call.id == piece.call), {})
    for name, value in decode_object(piece.raw).items():
        beside.setdefault(name, value)


def _message_from_openai(message: Json, names: Mapping[str, str], known: dict[str, str]) -> HistoryMessage:
    words = msgspec.convert(message, Words)
    if words.role == "user":
        return _user(words.content)
    text = text_in(words.content, strict=True)
    match words.role:
        case "system" | "developer":
            return SystemMessage(text)
        case "assistant":
            for word in ("function_call", "audio"):  # an answer of before tools, and a sound that is kept elsewhere
                if message.get(word):
                    raise ValueError(f"an answer with {word!r} in it has no word here")
            calls = tuple(call_from_openai(call, names) for call in words.tool_calls or ())
            known.update((call.id, call.name) for call in calls)
            opaque = [opaque_fields(fields_of(message))]
            opaque += [
                opaque_fields(fields_of_call(call), call["id"]) for call in words.tool_calls or () if "id" in call
            ]
            return AssistantMessage(text or words.refusal or "", calls, tuple(filter(None, opaque)))
        case "tool":
            id_ = words.tool_call_id or ""
            return heard_message(id_, known.get(id_, ""), [text])
        case role:
            raise ValueError(f"a message of the role {role!r} has no word here")


class _Part(Struct, frozen=True, gc=False):
    type: str = ""
    text: str | None = None
    image_url: Json | None = None
    input_audio: Json | None = None
    file: Json | None = None


class _ToolFunction(Struct, frozen=True, gc=False):
    name: str
    description: str | None = None
    parameters: Json | None = None


class _Tool(Struct, frozen=True, gc=False):
    function: _ToolFunction


FORMAT = Format(
    name=PROVIDER,
    names=OPENAI,
    rules=rules.OPENAI,
    tool_to=tool_to_openai,
    tool_from=tool_from_openai,
    call_to=call_to_openai,
    call_from=call_from_openai,
    result_to=result_to_openai,
    result_from=lambda theirs, names: result_from_openai(theirs),  # noqa: ARG005 - it tells no name
    messages_to=messages_to_openai,
    messages_from=messages_from_openai,
    answer_from=answer_from_openai,
    speech=Speech,
)
