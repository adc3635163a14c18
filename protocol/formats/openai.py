"""OpenAI Chat Completions: our words for tools, messages and replies, and theirs.

Theirs are plain JSON values. Source: https://platform.openai.com/docs/api-reference/chat; where vLLM, Ollama,
llama.cpp and other relatives differ, the comments say so. What a provider says is read leniently but typed: a shape
that is no chat completion raises msgspec.ValidationError.
"""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ..events import ReasoningDelta, TextDelta, Usage
from ..failures import ToolwireError
from ..history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from ..tools import ToolCall, ToolSpec, encode_json
from .openai_failures import SERVER_ERROR, failure_from_openai

Json = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ESCAPED = re.compile(r".*__[0-9a-f]{16}", re.DOTALL)
_LONGEST_ID = 40  # "string too long. Expected a string with maximum length 40": messages[].tool_calls[].id
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def tool_name(name: str) -> str:
    """`name` as OpenAI takes it; two names never become one.

    A name that has the form of an escaped one is escaped too, so nobody can pass for another by choosing a name.
    """
    if _NAME.fullmatch(name) and not _ESCAPED.fullmatch(name):
        return name
    readable = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:46]
    return f"{readable}__{_digest(name, 8)}"


def tool_names(specs: Iterable[ToolSpec]) -> dict[str, str]:
    """Their names of `specs` and ours, where they differ."""
    return {theirs: spec.name for spec in specs if (theirs := tool_name(spec.name)) != spec.name}


def tool_to_openai(spec: ToolSpec) -> Json:
    """A tool as an entry of `tools`. OpenAI asks for parameters of type object, at their top."""
    parameters = spec.parameters or _NO_PARAMETERS
    if parameters.get("type") != "object":
        parameters = {**parameters, "type": "object"}
    function = {"name": tool_name(spec.name), "description": spec.description, "parameters": parameters}
    return {"type": "function", "function": function}


def tool_from_openai(tool: Json) -> ToolSpec:
    """An entry of `tools` as a tool. Raises msgspec.ValidationError."""
    function = msgspec.convert(tool, _Tool).function
    return ToolSpec(function.name, function.description or "", function.parameters or {})


def message_to_openai(message: HistoryMessage) -> Json:
    """One message of a history as one of `messages`."""
    match message:
        case SystemMessage(text):
            return {"role": "system", "content": text}
        case UserMessage(text):
            return {"role": "user", "content": text}
        case ToolMessage(id=id_, content=content):
            return {"role": "tool", "tool_call_id": _call_id(id_), "content": content}
        case AssistantMessage(text, ()):
            return {"role": "assistant", "content": text}
        case AssistantMessage(text, calls):
            return {"role": "assistant", "content": text or None, "tool_calls": [_call_to_openai(c) for c in calls]}


def messages_from_openai(messages: Sequence[Json]) -> list[HistoryMessage]:
    """Their `messages` as a history. That a result was a failure is not told in this format.

    Raises msgspec.ValidationError for what is no message, ValueError for a role or a content that has no word here.
    """
    names: dict[str, str] = {}
    return [_message_from_openai(msgspec.convert(message, _Words), names) for message in messages]


class Answer(NamedTuple):
    """What a model said. `finish` is stop, calls, length, filtered or refused; "" if it did not come to its end."""

    text: str
    calls: tuple[ToolCall, ...]
    usage: Usage
    finish: str


def answer_from_openai(
    completion: object, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()
) -> Answer:
    """A whole chat completion as an answer; the parameters are those of Speech. Raises what Speech.hear raises."""
    speech = Speech(names, made_up=made_up, taken=taken)
    speech.hear(completion)
    return speech.answer()


class Speech:
    """An answer while it is spoken: hears chunk after chunk, tells what is new, and at the end the whole.

    `names` leads from their names of tools to ours. A call whose id is missing, was used in this answer or stands in
    `taken` gets an id that begins with `made_up`, which should be unique.
    """

    def __init__(self, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()) -> None:
        self._names = names
        self._made_up = made_up
        self._taken = taken
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Spoken] = []
        self._open: dict[int, _Spoken] = {}
        self._usage = Usage()
        self._finish = ""

    def hear(self, chunk: object) -> list[TextDelta | ReasoningDelta]:
        """Take in one chunk (or a whole completion), as JSON text or decoded.

        Raises ToolwireError if it is an error, ValueError for what is no JSON, msgspec.ValidationError.
        """
        # The lenient decoder: a chunk may end in the midst of a surrogate pair.
        heard = msgspec.convert(json.loads(chunk) if isinstance(chunk, bytes) else chunk, _Chunk)
        if heard.error:
            # The status is 200 then; OpenRouter and vLLM put the real one into the error.
            code = heard.error.get("code") if isinstance(heard.error, dict) else None
            raise ToolwireError(failure_from_openai(code if isinstance(code, int) else SERVER_ERROR, heard.error))
        if heard.usage is not None:
            self._usage = Usage(heard.usage.prompt_tokens or 0, heard.usage.completion_tokens or 0)
        if not heard.choices:
            return []
        choice = heard.choices[0]
        self._finish = choice.finish_reason or self._finish
        words = choice.delta or choice.message
        return [] if words is None else self._hear_words(words)

    def answer(self) -> Answer:
        """All that was said so far."""
        text, refusal = "".join(self._text), "".join(self._refusal)
        calls = self._spoken_calls()
        finish = _FINISH.get(self._finish, "stop") if self._finish else ""
        if finish in {"stop", "calls"}:
            finish = "calls" if calls else "refused" if refusal else "stop"  # relatives say "stop" after calls too
        return Answer(text or refusal, calls, self._usage, finish)

    def _hear_words(self, words: "_Words") -> list[TextDelta | ReasoningDelta]:
        events: list[TextDelta | ReasoningDelta] = []
        # DeepSeek, vLLM and llama.cpp say `reasoning_content`, OpenRouter and Ollama `reasoning`.
        if reasoning := _clean(words.reasoning_content or words.reasoning or ""):
            events.append(ReasoningDelta(reasoning))
        if text := _clean(_plain(words.content)):
            self._text.append(text)
            events.append(TextDelta(text))
        if refusal := _clean(words.refusal or ""):
            self._refusal.append(refusal)
        for position, call in enumerate(words.tool_calls or ()):
            self._hear_call(call, position)
        return events

    def _hear_call(self, call: "_Call", position: int) -> None:
        index = position if call.index is None else call.index
        spoken = self._open.get(index)
        # Ollama and relatives send index 0 for all calls: another id is another call. It may be one of before.
        if spoken is not None and call.id and spoken.id and call.id != spoken.id:
            spoken = next((known for known in self._calls if (known.index, known.id) == (index, call.id)), None)
        function = call.function or _Function()
        if spoken is None or (spoken.whole and (function.name or function.arguments)):
            spoken = _Spoken(index)
            self._calls.append(spoken)
        self._open[index] = spoken
        spoken.id = spoken.id or call.id or ""
        spoken.name = spoken.name or function.name or ""
        spoken.add(function.arguments)

    def _spoken_calls(self) -> tuple[ToolCall, ...]:
        used: set[str] = set()
        calls: list[ToolCall] = []
        torn = self._finish in {"", "length", "content_filter"}
        for number, spoken in enumerate(self._calls, 1):
            id_ = spoken.id
            if not id_ or id_ in used or id_ in self._taken:
                id_ = f"{self._made_up}_{number}"
            used.add(id_)
            # No arguments at all stand for none, but not where the answer was cut off before them.
            nothing = "" if torn and number == len(self._calls) else "{}"
            text = _clean("".join(spoken.parts)).strip() or nothing
            calls.append(ToolCall(id_, self._names.get(spoken.name, spoken.name), text))
        return tuple(calls)


_FINISH = {
    "stop": "stop",
    "tool_calls": "calls",
    "function_call": "calls",
    "length": "length",
    "content_filter": "filtered",
}


class _Function(Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | Json | None = None


class _Call(Struct, frozen=True, gc=False):
    id: str | None = None
    index: int | None = None
    function: _Function | None = None


class _Words(Struct, frozen=True, gc=False):
    """A message, or a delta of one."""

    role: str | None = None
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Choice(Struct, frozen=True, gc=False):
    delta: _Words | None = None
    message: _Words | None = None
    finish_reason: str | None = None


class _Tokens(Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(Struct, frozen=True, gc=False):
    """A chat completion, or a chunk of one. The last chunk, with the usage, has no choice in it."""

    choices: list[_Choice] = []
    usage: _Tokens | None = None
    error: Json | str | None = None


class _ToolFunction(Struct, frozen=True, gc=False):
    name: str
    description: str | None = None
    parameters: Json | None = None


class _Tool(Struct, frozen=True, gc=False):
    function: _ToolFunction


class _Spoken:
    """A call while it is spoken. `whole` once its arguments came as an object: nothing can be added to that."""

    __slots__ = ("id", "index", "name", "parts", "whole")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.parts: list[str] = []
        self.whole = False

    def add(self, arguments: str | Json | None) -> None:
        if isinstance(arguments, dict):
            self.whole = True
            self.parts.append(encode_json(arguments).decode())
        elif arguments:
            self.parts.append(arguments)


def _message_from_openai(words: _Words, names: dict[str, str]) -> HistoryMessage:
    text = _plain(words.content, strict=True)
    match words.role:
        case "system" | "developer":
            return SystemMessage(text)
        case "user":
            return UserMessage(text)
        case "assistant":
            calls = tuple(_call_from_openai(call) for call in words.tool_calls or ())
            names.update((call.id, call.name) for call in calls)
            return AssistantMessage(text or words.refusal or "", calls)
        case "tool":
            id_ = words.tool_call_id or ""
            return ToolMessage(id_, names.get(id_, ""), text)
        case role:
            raise ValueError(f"a message of the role {role!r} has no word here")


def _call_from_openai(call: _Call) -> ToolCall:
    function = call.function or _Function()
    return ToolCall(call.id or "", function.name or "", function.arguments or "{}")


def _call_to_openai(call: ToolCall) -> Json:
    function = {"name": tool_name(call.name), "arguments": _object_text(call.text())}
    return {"id": _call_id(call.id), "type": "function", "function": function}


def _object_text(arguments: str) -> str:
    """`arguments`, if they are a JSON object: vLLM and llama.cpp parse what stands in a history and refuse the rest."""
    try:
        _decode_object(arguments)
    except msgspec.DecodeError:
        return encode_json({"malformed_arguments": arguments}).decode()
    return arguments


def _call_id(id_: str) -> str:
    return id_ if 0 < len(id_) <= _LONGEST_ID else f"call_{_digest(id_, 16)}"


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _plain(content: str | list[Any] | None, *, strict: bool = False) -> str:
    """The text of a content, which may come in parts. Raises ValueError, if strict, for a part that is no text."""
    if not isinstance(content, list):
        return content or ""
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    if strict and not all(isinstance(text, str) for text in texts):
        raise ValueError("a content with parts that are no text has no word here")
    return "".join(text for text in texts if isinstance(text, str))


def _clean(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can say and UTF-8 can't."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
