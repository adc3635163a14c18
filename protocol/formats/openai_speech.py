"""What a model of OpenAI Chat Completions says, whole or in pieces, as an answer.

Source: https://platform.openai.com/docs/api-reference/chat; where vLLM, Ollama, llama.cpp and other relatives differ,
the comments say so.
"""

import json
from collections.abc import Container, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ..events import CallSpoken, ReasoningDelta, TextDelta, Usage
from ..failures import ToolwireError
from ..history import Opaque
from ..tools import ToolCall, encode_json
from ..wasted import wasted
from .contract import Answer, News
from .http_failures import SERVER_ERROR, failure_from_http
from .names import free_id
from .reading import Json, clean, given, is_object

PROVIDER = "openai"
KEY = "OPENAI_API_KEY"

_MESSAGE = frozenset({"role", "content", "refusal", "tool_calls", "name", "function_call", "annotations", "audio"})
"""The fields of a message that are understood here, or that are refused in a history."""
_CALL = frozenset({"id", "index", "type", "function"})

_TORN = frozenset({"", "length", "content_filter"})
"""After these the last call may lack its end."""

TRIES = 3
"""How often it is looked whether a call is whole before the answer says so: each look reads all of its arguments."""


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
        self._speaking: _Spoken | None = None
        self._told: list[ToolCall] = []
        self._used: set[str] = set()
        self._fields: Json = {}
        self._usage = Usage()
        self._finish = ""
        self._model = ""
        self.over = False  # [DONE] says it, which is no chunk

    @property
    def usage(self) -> Usage:
        """The tokens that it has said so far that it used."""
        return self._usage

    def hear(self, chunk: object) -> list[News]:
        """Take in one chunk (or a whole completion), as JSON text or decoded.

        Raises ToolwireError if it is an error, ValueError for what is no JSON, msgspec.ValidationError.
        """
        # The lenient decoder: a chunk may end in the midst of a surrogate pair.
        heard = msgspec.convert(json.loads(chunk) if isinstance(chunk, bytes) else chunk, _Chunk)
        if heard.usage is not None:
            self._usage = heard.usage.counted()
        if heard.error:
            # The status is 200 then; OpenRouter and vLLM put the real one into the error.
            code = heard.error.get("code") if isinstance(heard.error, dict) else None
            failure = failure_from_http(code if isinstance(code, int) else SERVER_ERROR, heard.error, key=KEY)
            raise ToolwireError(wasted(failure, self._usage, heard.model or self._model))
        self._model = heard.model or self._model
        if not heard.choices:
            return []
        choice = heard.choices[0]
        self._finish = choice.finish_reason or self._finish
        words = choice.delta or choice.message
        before = self._speaking
        events = [] if words is None else self._hear_words(words)
        if self._calls and choice.message is None and (self._finish or before is not self._speaking):
            self._tell_calls(events)
        return events

    def answer(self) -> Answer:
        """All that was said so far."""
        text, refusal = "".join(self._text), "".join(self._refusal)
        used = set(self._used)
        calls = tuple(self._call(n, used) for n in range(len(self._calls)))
        finish = _FINISH.get(self._finish, "stop") if self._finish else ""
        if finish in {"stop", "calls"}:
            finish = "calls" if calls else "refused" if refusal else "stop"  # relatives say "stop" after calls too
        spoken = zip(self._calls, calls, strict=True)
        opaque = (opaque_fields(self._fields), *(opaque_fields(each.fields, call.id) for each, call in spoken))
        return Answer(text or refusal, calls, self._usage, finish, tuple(filter(None, opaque)), self._model)

    def _hear_words(self, words: Json) -> list[News]:
        said = msgspec.convert(words, Words)
        events: list[News] = []
        if words.keys() - _MESSAGE:
            add_fields(self._fields, words, _MESSAGE)
        # DeepSeek, vLLM and llama.cpp say `reasoning_content`, OpenRouter and Ollama `reasoning`.
        if reasoning := clean(said.reasoning_content or said.reasoning or ""):
            events.append(ReasoningDelta(reasoning))
        if text := clean(text_in(said.content)):
            self._text.append(text)
            events.append(TextDelta(text))
        if refusal := clean(said.refusal or ""):
            self._refusal.append(refusal)
        for position, call in enumerate(said.tool_calls or ()):
            self._hear_call(call, position)
        return events

    def _hear_call(self, told: Json, position: int) -> None:
        call = msgspec.convert(told, Call)
        index = position if call.index is None else call.index
        spoken = self._open.get(index)
        # Ollama and relatives send index 0 for all calls: another id is another call. It may be one of before.
        if spoken is not None and call.id and spoken.id and call.id != spoken.id:
            spoken = next((known for known in self._calls if (known.index, known.id) == (index, call.id)), None)
        function = call.function or Function()
        if spoken is None or (spoken.whole and (function.name or function.arguments)):
            spoken = _Spoken(index)
            self._calls.append(spoken)
        self._open[index] = self._speaking = spoken
        spoken.id = spoken.id or call.id or ""
        spoken.name = spoken.name or function.name or ""
        spoken.add(function.arguments)
        add_fields(spoken.fields, told, _CALL)

    def _tell_calls(self, events: list[News]) -> None:
        """Tell the calls that are complete now: another one is spoken, or the answer has ended. In order, no gaps."""
        torn = self._finish in _TORN
        for position in range(len(self._told), len(self._calls)):
            spoken = self._calls[position]
            if torn and (spoken is self._speaking or (self._finish and position == len(self._calls) - 1)):
                return
            if not (spoken.name and spoken.is_whole(ended=not torn)):
                return
            call = self._call(position, self._used)
            self._told.append(call)
            beside = (opaque_fields(self._fields) if position == 0 else None, opaque_fields(spoken.fields, call.id))
            events.append(CallSpoken(call, position, opaque=tuple(filter(None, beside))))

    def _call(self, position: int, used: set[str]) -> ToolCall:
        spoken = self._calls[position]
        # No arguments at all stand for none, but not where the answer was cut off before them.
        nothing = "" if self._finish in _TORN and position == len(self._calls) - 1 else "{}"
        text = spoken.text() or nothing
        if position < len(self._told):
            told = self._told[position]
            return told if told.arguments == text else ToolCall(told.id, told.name, text)
        id_ = free_id(spoken.id, position + 1, used, self._taken, self._made_up)
        return ToolCall(id_, self._names.get(spoken.name, spoken.name), text)


_FINISH = {
    "stop": "stop",
    "tool_calls": "calls",
    "function_call": "calls",
    "length": "length",
    "content_filter": "filtered",
}


class Function(Struct, frozen=True, gc=False):
    """What is called."""

    name: str | None = None
    arguments: str | Json | None = None


class Call(Struct, frozen=True, gc=False):
    """A call, or a delta of one."""

    id: str | None = None
    index: int | None = None
    function: Function | None = None


class Words(Struct, frozen=True, gc=False):
    """A message, or a delta of one."""

    role: str | None = None
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Json] | None = None
    tool_call_id: str | None = None


class _Choice(Struct, frozen=True, gc=False):
    delta: Json | None = None
    message: Json | None = None
    finish_reason: str | None = None


class _Details(Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Tokens(Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's word

    def counted(self) -> Usage:
        heard, said = self.prompt_tokens_details or _Details(), self.completion_tokens_details or _Details()
        cached = heard.cached_tokens or self.prompt_cache_hit_tokens or 0
        return Usage(self.prompt_tokens or 0, self.completion_tokens or 0, cached, said.reasoning_tokens or 0)


class _Chunk(Struct, frozen=True, gc=False):
    """A chat completion, or a chunk of one. The last chunk, with the usage, has no choice in it."""

    choices: list[_Choice] = []
    usage: _Tokens | None = None
    error: Json | str | None = None
    model: str | None = None


class _Spoken:
    """A call while it is spoken. `whole` once its arguments came as an object: nothing can be added to that."""

    __slots__ = ("fields", "id", "index", "name", "parts", "tries", "whole")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.parts: list[str] = []
        self.whole = False
        self.tries = 0
        self.fields: Json = {}

    def text(self) -> str:
        """The arguments as far as they were said."""
        return clean("".join(self.parts)).strip()

    def is_whole(self, *, ended: bool) -> bool:
        """Whether the arguments are an object. None at all may stand for none only once the answer has `ended`."""
        self.tries += 1
        return self.tries <= TRIES and is_object(self.text() or ("{}" if ended else ""))

    def add(self, arguments: str | Json | None) -> None:
        if isinstance(arguments, dict):
            self.whole = True
            self.parts.append(encode_json(arguments).decode())
        elif arguments:
            self.parts.append(arguments)


def text_in(content: str | list[Any] | None, *, strict: bool = False) -> str:
    """The text of a content, which may come in parts. Raises ValueError, if strict, for a part that is no text."""
    if not isinstance(content, list):
        return content or ""
    texts = [part.get("text", part.get("refusal")) if isinstance(part, dict) else part for part in content]
    if strict and not all(isinstance(text, str) for text in texts):
        raise ValueError("a content with parts that are no text has no word here")
    return "".join(text for text in texts if isinstance(text, str))


def fields_of(message: Json) -> Json:
    """The fields of a whole message that are not understood here."""
    found: Json = {}
    add_fields(found, message, _MESSAGE | {"tool_call_id"})
    return found


def fields_of_call(call: Json) -> Json:
    """The fields of a whole call that are not understood here: signatures of thoughts, most often."""
    found: Json = {}
    add_fields(found, call, _CALL)
    return found


def add_fields(fields: Json, told: Json, known: frozenset[str]) -> None:
    """Take the fields of `told` that are not `known` into `fields`. In a stream texts and lists come in pieces."""
    for name, value in given({name: told[name] for name in told.keys() - known}).items():
        before = fields.get(name)
        if isinstance(value, str) and isinstance(before, str):
            fields[name] = before + value
        elif isinstance(value, list) and isinstance(before, list):
            fields[name] = [*before, *value]
        else:
            fields[name] = value


def opaque_fields(fields: Json, call: str = "") -> Opaque | None:
    """`fields` that stand beside the message, or beside a call of it; None for none."""
    if not fields:
        return None
    raw = json.dumps(dict(sorted(fields.items())), ensure_ascii=False, separators=(",", ":"))
    return Opaque(PROVIDER, clean(raw), call)
