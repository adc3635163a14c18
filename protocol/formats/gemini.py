"""Gemini: our words for tools, calls, results and histories, and theirs.

Theirs are the JSON of the REST interface (camelCase). Source: https://ai.google.dev/api/caching#Content and
https://ai.google.dev/gemini-api/docs/function-calling. A history is `{"systemInstruction": …, "contents": […]}`, as a
request takes them; the results of one answer stand in one content.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..blob import FETCHED, Blob, parted
from ..dialect import normalised
from ..history import (
    AssistantMessage,
    HistoryMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
    told_failure,
    told_result,
    tool_message,
)
from ..said import Piece
from ..tools import ToolCall, ToolResult, ToolSpec, encode_json
from . import strict as rules
from .contract import Format
from .data_url import base64_of, from_base64
from .gemini_speech import PROVIDER, Content, Part, Speech, answer_from_gemini, decode_part, without_id
from .layout import laid_out
from .names import GEMINI, called
from .openai import object_schema
from .reading import Json, decode_object, object_raw, plain, read, text_of
from .results import Part as ResultPart
from .results import heard_message
from .shown import heard_said, shown

VALIDATED: Json = {"functionCallingConfig": {"mode": "VALIDATED"}}
"""The `toolConfig` that makes Gemini hold itself to the schemas: its strict mode is one for all tools of a request."""


def tool_to_gemini(spec: ToolSpec, *, strict: bool = False) -> Json:
    """A tool as an entry of `functionDeclarations`. Say `VALIDATED` in the request for `strict` to mean anything."""
    description = {"description": spec.description} if spec.description else {}
    parameters = object_schema(spec)
    if strict and (found := rules.strict(parameters, rules.GEMINI)).schema is not None:
        parameters = found.schema
    return {"name": GEMINI.told(spec.name), **description, "parametersJsonSchema": parameters}


def tools_to_gemini(specs: Iterable[ToolSpec], *, strict: bool = False) -> list[Json]:
    """Tools as the `tools` of a request."""
    return [{"functionDeclarations": [tool_to_gemini(spec, strict=strict) for spec in specs]}]


def tool_from_gemini(tool: Json, names: Mapping[str, str] = {}) -> ToolSpec:
    """An entry of `functionDeclarations` as a tool. Raises msgspec.ValidationError.

    Parameters in the dialect of OpenAPI (`"type": "OBJECT"`) are made JSON Schema.
    """
    told = msgspec.convert(tool, _Tool)
    parameters = told.parameters_json_schema
    if parameters is None:
        parameters = normalised(told.parameters or {}).schema
    return ToolSpec(names.get(told.name, told.name), told.description or "", parameters)


def call_to_gemini(call: ToolCall) -> Json:
    """A call as a part."""
    told: Json = plain(_call(call))
    return told


def call_from_gemini(part: Json, names: Mapping[str, str] = {}) -> ToolCall:
    """A part as a call. Raises ValueError for another part."""
    call = decode_part(encode_json(part)).function_call
    if call is None:
        raise ValueError("a part without a functionCall is no call")
    arguments = text_of(call.args) if bytes(call.args) not in {b"", b"null"} else "{}"
    return ToolCall(call.id or "", called(call.name, names), arguments)


def result_to_gemini(result: ToolResult[Any]) -> Json:
    """A result as a part. Bytes stand beside the value; a failure is its `error`."""
    told: Json = plain(_told(tool_message(result), frozenset()))
    return told


def result_from_gemini(part: Json, names: Mapping[str, str] = {}) -> ToolResult[Any]:
    """A part as a result."""
    return told_result(_result(decode_part(encode_json(part)), names, []))


def messages_to_gemini(messages: Sequence[HistoryMessage]) -> Json:
    """A history as `systemInstruction` and `contents`. What is opaque stands in it as msgspec.Raw.

    Gemini takes what the application says only in one place: system messages go there, wherever they stood.
    """
    system = [{"text": each.text} for each in messages if isinstance(each, SystemMessage) and each.text]
    contents: list[Json] = []
    answered = False
    bare: frozenset[str] = frozenset()
    for message in messages:
        if isinstance(message, SystemMessage):
            continue
        if isinstance(message, AssistantMessage):
            bare = _bare(message)
        content = _content(message, bare)
        is_result = isinstance(message, ToolMessage)
        if is_result and answered:
            contents[-1]["parts"] += content["parts"]
        else:
            contents.append(content)
        answered = is_result
    return {**({"systemInstruction": {"parts": system}} if system else {}), "contents": contents}


def messages_from_gemini(theirs: Json, names: Mapping[str, str] = {}) -> list[HistoryMessage]:
    """Their `systemInstruction` and `contents` as a history. Raises what `messages_from_openai` raises."""
    told = read(theirs, _histories)
    system = told.system_instruction.parts if told.system_instruction else ()
    history: list[HistoryMessage] = [SystemMessage(decode_part(raw).text or "") for raw in system]
    taken: set[str] = set()
    waiting: list[tuple[str, str]] = []
    for number, content in enumerate(told.contents):
        if content.role == "model":
            speech = Speech(names, made_up=f"call_{number}", taken=taken)
            for raw in content.parts:
                speech.hear_part(raw.copy())
            answer = speech.answer()
            waiting = [(call.name, call.id) for call in answer.calls]
            taken.update(call.id for call in answer.calls)
            history.append(AssistantMessage(answer.text, answer.calls, answer.opaque))
        else:
            history += _heard(content, names, waiting)
    return history


_MEDIA = ("audio/", "video/", "text/")
_TAKEN = frozenset({
    *("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"),
    *("application/pdf", "application/json", "application/xml"),
})  # fmt: skip
"""Images and files that Gemini takes, besides sounds, films and texts: https://ai.google.dev/gemini-api/docs/vision."""


class _Tool(Struct, frozen=True, rename="camel", gc=False):
    name: str
    description: str | None = None
    parameters_json_schema: Json | None = None
    parameters: Json | None = None


class _Bytes(Struct, frozen=True, rename="camel", gc=False):
    mime_type: str = ""
    data: str = ""
    display_name: str = ""


class _File(Struct, frozen=True, rename="camel", gc=False):
    mime_type: str = ""
    file_uri: str = ""
    display_name: str = ""


class _Shown(Struct, frozen=True, rename="camel", gc=False):
    inline_data: _Bytes | None = None
    file_data: _File | None = None

    def blob(self) -> Blob | None:
        """What it holds, or leads to."""
        if self.inline_data is not None:
            told = self.inline_data
            return from_base64(told.mime_type, told.data, told.display_name)
        if self.file_data is not None:
            return Blob(self.file_data.mime_type, name=self.file_data.display_name, url=self.file_data.file_uri)
        return None


class _Response(Struct, frozen=True, rename="camel", gc=False):
    name: str = ""
    id: str | None = None
    response: Raw = Raw(b"{}")
    parts: list[_Shown] = []


class _History(Struct, frozen=True, rename="camel", gc=False):
    contents: list[Content]
    system_instruction: Content | None = None


_response = msgspec.json.Decoder(_Response)
_shown = msgspec.json.Decoder(_Shown)
_histories = msgspec.json.Decoder(_History)


def _call(call: ToolCall) -> Json:
    told = {"id": GEMINI.call_id(call.id), "name": GEMINI.told(call.name)}
    return {"functionCall": {**told, "args": object_raw(call.text())}}


def _bare(message: AssistantMessage) -> frozenset[str]:
    """The ids of calls that go back to Gemini without one."""
    pieces = (piece for piece in message.opaque if piece.provider == PROVIDER and piece.raw and piece.call)
    return frozenset(piece.call for piece in pieces if without_id(piece.raw))


def _content(message: HistoryMessage, bare: frozenset[str]) -> Json:
    match message:
        case ToolMessage():
            return {"role": "user", "parts": [_told(message, bare)]}
        case AssistantMessage():
            parts = laid_out(message, PROVIDER, GEMINI, _text, _call)
            return {"role": "model", "parts": parts or [{"text": ""}]}
        case UserMessage(blobs=blobs) if blobs:
            return {"role": "user", "parts": shown(message, _text, _taken)}
        case _:
            return {"role": "user", "parts": [_text(message.text)]}


def _told(message: ToolMessage, bare: frozenset[str]) -> Json:
    text, blobs = parted(message.content, _is_taken)
    if message.failed and told_failure(message.content):
        response = Raw(message.content.encode())  # it is {"error": …} already
    else:
        word = "error" if message.failed else "output"
        response = Raw(encode_json({word: Raw((text or '{"$blob":0}').encode())}))
    told: Json = {} if message.id in bare else {"id": GEMINI.call_id(message.id)}
    told |= {"name": GEMINI.told(message.name), "response": response}
    return {"functionResponse": told | ({"parts": [_blob(blob) for blob in blobs]} if blobs else {})}


def _text(text: str) -> Json:
    return {"text": text}


def _taken(blob: Blob) -> Json | None:
    """What a user showed, as a part; None for what Gemini refuses."""
    return _blob(blob) if _is_taken(blob) else None


def _is_taken(blob: Blob) -> bool:
    """Whether Gemini takes it. A file behind a URL it looks at itself."""
    kind = blob.media_type.partition(";")[0]
    return blob.stands(FETCHED) if blob.url else kind in _TAKEN or kind.startswith(_MEDIA)


def _blob(blob: Blob) -> Json:
    name = {"displayName": blob.name} if blob.name else {}
    if blob.url:
        return {"fileData": {"mimeType": blob.media_type, "fileUri": blob.url, **name}}
    return {"inlineData": {"mimeType": blob.media_type, "data": base64_of(blob), **name}}


def _heard(content: Content, names: Mapping[str, str], waiting: list[tuple[str, str]]) -> list[HistoryMessage]:
    """What a user's content says. `waiting`: the names and ids of calls, for results that tell no id."""
    heard: list[HistoryMessage] = []
    said: list[Piece] = []
    for raw in content.parts:
        part = decode_part(raw)
        if bytes(part.function_response) and not said:
            heard.append(_result(part, names, waiting))
        elif part.text is not None:
            said.append(part.text)
        elif (blob := _shown.decode(raw).blob()) is not None:
            said.append(blob)
        else:
            raise ValueError(
                "a part of a user's content that is neither text, nor bytes, nor a result has no word here"
            )
    return [*heard, heard_said(said)] if said else heard


def _result(part: Part, names: Mapping[str, str], waiting: list[tuple[str, str]]) -> ToolMessage:
    if not bytes(part.function_response):
        raise ValueError("a part without a functionResponse is no result")
    told = _response.decode(part.function_response)
    name = names.get(told.name, told.name)
    asked = (each for each in waiting if (each[1] == told.id if told.id else each[0] == name))
    found = next(asked, (name, told.id or ""))
    if found in waiting:
        waiting.remove(found)
    fields = decode_object(told.response)
    parts: list[ResultPart] = [blob for each in told.parts if (blob := each.blob()) is not None]
    if fields.keys() == {"error"}:
        error = plain(fields["error"])
        return heard_message(found[1], name, [_failure_text(told.response, error), *parts], failed=True)
    text = text_of(fields["output"] if fields.keys() == {"output"} else told.response)
    if parts and msgspec.json.decode(text) == {"$blob": 0}:
        return heard_message(found[1], name, parts, failed=False)
    return heard_message(found[1], name, [text, *parts], failed=False)


def _failure_text(response: Raw, error: Any) -> str:
    text = encode_json(decode_object(response)).decode()
    return text if told_failure(text) else error if isinstance(error, str) else encode_json(error).decode()


FORMAT = Format(
    name=PROVIDER,
    names=GEMINI,
    rules=rules.GEMINI,
    tool_to=tool_to_gemini,
    tool_from=tool_from_gemini,
    call_to=call_to_gemini,
    call_from=call_from_gemini,
    result_to=result_to_gemini,
    result_from=result_from_gemini,
    messages_to=messages_to_gemini,
    messages_from=messages_from_gemini,
    answer_from=answer_from_gemini,
    speech=Speech,
)
