"""What a model of Anthropic Messages says, whole or as a stream of events, as an answer.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, and the types of the SDK. An answer is a list
of blocks. Text and calls are ours; thinking, its signature, and tools that Anthropic runs itself are kept as they came,
or, where a block came in pieces, as the pieces say.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..events import CallSpoken, ReasoningDelta, TextDelta, Usage
from ..failures import ToolwireError
from ..history import Opaque
from ..tools import ToolCall, encode_json
from ..wasted import wasted
from .contract import Answer, News
from .http_failures import SERVER_ERROR, failure_from_http
from .layout import opaque_of
from .names import free_id
from .reading import Json, clean, decode_object, given, is_object, read, text_of

PROVIDER = "anthropic"
KEY = "ANTHROPIC_API_KEY"

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": SERVER_ERROR,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "calls",
    "refusal": "refused",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "paused",
}
_CUT = frozenset({"refused", "length"})
"""How an answer ends that may be cut off within a tool of theirs. Without its end that is refused:
"`web_search` tool use with id … was found without a corresponding `web_search_tool_result` block".
"""
_OURS = {"text": {"type", "text"}, "tool_use": {"type", "id", "name", "input"}}
_DIRECT = {"type": "direct"}


class Block(Struct, frozen=True, gc=False):
    """A block of a message, as far as it is looked at."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str = ""
    name: str = ""
    input: Raw = Raw()
    tool_use_id: str = ""

    @property
    def theirs(self) -> bool:
        """Whether it calls a tool that Anthropic runs itself."""
        return self.type.endswith("_tool_use")


_block = msgspec.json.Decoder(Block)


class _Details(Struct, frozen=True, gc=False):
    thinking_tokens: int | None = None


class _Tokens(Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _Details | None = None

    def counted(self) -> Usage:
        """Our count: theirs of the input is without what was written to their cache, and what was read from it."""
        heard = (self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens)
        thought = (self.output_tokens_details or _Details()).thinking_tokens
        written, cached = self.cache_creation_input_tokens or 0, self.cache_read_input_tokens or 0
        read = sum(tokens or 0 for tokens in heard)
        return Usage(read, self.output_tokens or 0, cached, thought or 0, cache_write_tokens=written)


class _Why(Struct, frozen=True, gc=False):
    explanation: str | None = None


class _Message(Struct, frozen=True, gc=False):
    model: str | None = None
    content: list[Raw] = []
    stop_reason: str | None = None
    stop_details: _Why | None = None
    usage: _Tokens | None = None
    error: Json | None = None


class _Delta(Struct, frozen=True, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_details: _Why | None = None


class _Event(Struct, frozen=True, gc=False):
    type: str = ""
    index: int = 0
    message: Raw = Raw()
    content_block: Raw = Raw()
    delta: _Delta = _Delta()
    usage: _Tokens | None = None
    error: Json | None = None


_events = msgspec.json.Decoder(_Event)
_messages = msgspec.json.Decoder(_Message)


def answer_from_anthropic(
    message: object, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()
) -> Answer:
    """A whole message as an answer; the parameters are those of Speech. Raises what Speech.hear raises."""
    speech = Speech(names, made_up=made_up, taken=taken)
    speech.hear_whole(read(message, _messages))
    return speech.answer()


class Speech:
    """An answer while it is spoken: hears event after event, tells what is new, and at the end the whole.

    The parameters are those of `openai_speech.Speech`.
    """

    def __init__(self, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()) -> None:
        self._names = names
        self._made_up = made_up
        self._taken = taken
        self._blocks: dict[int, _Spoken] = {}
        self._stopped: set[int] = set()
        self._told: dict[int, str] = {}  # the ids of the calls that were told
        self._since = -1  # the last block that was told with them
        self._theirs = False
        self._used: set[str] = set()
        self._usage = _Tokens()
        self._finish = ""
        self._model = ""
        self._why = _Why()
        self.over = False

    @property
    def usage(self) -> Usage:
        """The tokens that it has said so far that it used."""
        return self._usage.counted()

    def hear(self, chunk: object) -> Sequence[News]:
        """Take in one event, as JSON text or decoded.

        Raises ToolwireError if it is an error, ValueError for what is no JSON, msgspec.ValidationError.
        """
        event = read(chunk, _events)
        match event.type:
            case "error":
                raise self._failed(event.error or {})
            case "message_start":
                self.hear_whole(_messages.decode(event.message))
            case "content_block_start":
                spoken = self._blocks[event.index] = _Spoken(event.content_block.copy())
                self._theirs = self._theirs or spoken.block.type not in _OURS
                return spoken.beginning()
            case "content_block_delta" if event.index in self._blocks:
                return self._blocks[event.index].hear(event.delta)
            case "content_block_stop" if event.index in self._blocks:
                self._stopped.add(event.index)
                return self._tell_calls()
            case "message_delta":
                self._finish = event.delta.stop_reason or self._finish
                self._why = event.delta.stop_details or self._why
                self._count(event.usage)
            case "message_stop":
                self.over = True
        return []

    def hear_whole(self, message: _Message) -> None:
        """Take in a message, or the beginning of one. Raises ToolwireError if it is an error."""
        self._count(message.usage)
        if message.error:
            raise self._failed(message.error)
        for index, raw in enumerate(message.content):
            self._blocks[index] = _Spoken(raw.copy())
        self._finish = message.stop_reason or self._finish
        self._why = message.stop_details or self._why
        self._model = message.model or self._model

    def answer(self) -> Answer:
        """All that was said so far."""
        calls: list[ToolCall] = []
        pieces: list[Opaque] = []
        used: set[str] = set()
        finish = _FINISH.get(self._finish, "stop") if self._finish else ""
        last = max(self._blocks, default=0)
        ended = {spoken.block.tool_use_id for spoken in self._blocks.values()} if finish in _CUT else None
        for index, spoken in sorted(self._blocks.items()):
            block = spoken.block
            if ended is not None and block.theirs and block.id not in ended:
                continue
            raw = spoken.raw()
            if block.type == "tool_use":
                torn = finish in {"", "length", "paused"} and index == last and index not in self._told
                nothing = "" if torn else "{}"
                id_ = free_id(block.id, len(calls) + 1, used, self._taken, self._made_up)
                calls.append(ToolCall(id_, self._names.get(block.name, block.name), spoken.arguments() or nothing))
                pieces.append(Opaque(PROVIDER, raw if id_ == block.id else "", id_))
            else:
                pieces += spoken.piece(raw)
        if finish in {"stop", "calls"}:
            finish = "calls" if calls else "stop"
        said = "".join(spoken.text for _, spoken in sorted(self._blocks.items()))
        if finish == "refused" and not said:
            said = clean(self._why.explanation or "")  # it stops without a word, and says beside why
        return Answer(said, tuple(calls), self._usage.counted(), finish, opaque_of(pieces), self._model)

    def _tell_calls(self) -> list[News]:
        """The calls that are complete now: their blocks have stopped, and none of them is torn. In order, no gaps."""
        events: list[News] = []
        for index, spoken in sorted(self._blocks.items()):
            block = spoken.block
            if block.type != "tool_use" or index in self._told:
                continue
            text = spoken.arguments() or "{}"
            if index not in self._stopped or not is_object(text):
                break
            id_ = free_id(block.id, len(self._told) + 1, self._used, self._taken, self._made_up)
            call, position = ToolCall(id_, self._names.get(block.name, block.name), text), len(self._told)
            self._told[index] = id_
            events.append(CallSpoken(call, position, opaque=self._before(index) if self._theirs else ()))
        return events

    def _before(self, index: int) -> tuple[Opaque, ...]:
        """The blocks up to the call at `index` that were not told with calls before it."""
        pieces: list[Opaque] = []
        for n, spoken in sorted(self._blocks.items()):
            if self._since < n <= index:
                raw, id_ = spoken.raw(), self._told.get(n)
                if id_ is None:
                    pieces += spoken.piece(raw)
                else:
                    pieces.append(Opaque(PROVIDER, raw if id_ == spoken.block.id else "", id_))
        self._since = index
        return tuple(pieces)

    def _failed(self, error: Json) -> ToolwireError:
        """What an error comes to that stands where an answer was expected: with the status that it would have had."""
        failure = failure_from_http(_STATUS.get(str(error.get("type")), SERVER_ERROR), error, key=KEY)
        return ToolwireError(wasted(failure, self.usage, self._model))

    def _count(self, usage: _Tokens | None) -> None:
        """Take in tokens: those of a later event are of the whole message, and it may tell fewer kinds."""
        if usage is not None:
            counted = given(msgspec.structs.asdict(usage))
            self._usage = msgspec.structs.replace(self._usage, **counted)


class _Spoken:
    """A block while it is spoken."""

    __slots__ = ("_begun", "_changed", "_fields", "_input", "_words", "block")

    def __init__(self, raw: Raw) -> None:
        self._begun = raw
        self.block = _block.decode(raw)
        self._words = [clean(self.block.text or self.block.thinking or "")]
        self._input: list[str] = []
        self._fields: Json = {}
        self._changed = False

    @property
    def text(self) -> str:
        """What it says to the user."""
        return "".join(self._words) if self.block.type == "text" else ""

    def beginning(self) -> list[TextDelta | ReasoningDelta]:
        return self._told(self._words[0])

    def hear(self, delta: _Delta) -> list[TextDelta | ReasoningDelta]:
        self._changed = True
        if delta.partial_json is not None:
            self._input.append(delta.partial_json)
        if delta.signature is not None:
            self._fields["signature"] = self._fields.get("signature", "") + delta.signature
        if delta.citation is not None:
            self._fields.setdefault("citations", []).append(delta.citation)
        words = clean(delta.text or delta.thinking or "")
        self._words.append(words)
        return self._told(words)

    def arguments(self) -> str:
        """The arguments of a call as it wrote them; "" if it has said none."""
        said = clean("".join(self._input)).strip()
        begun = text_of(self.block.input) if bytes(self.block.input) else ""
        return said or ("" if begun == "{}" else begun)

    def raw(self) -> str:
        """The block as JSON text; "" if our words say all of it."""
        if self.block.type in _OURS and self._ours():
            return ""
        if not self._changed:
            return text_of(self._begun)
        fields: Json = {**decode_object(self._begun), **self._fields}
        word = {"text": "text", "thinking": "thinking"}.get(self.block.type)
        if word:
            fields[word] = "".join(self._words)
        if self._input:
            # Torn input can't stand in a history: what had begun is told without it.
            fields["input"] = _whole("".join(self._input)) or self.block.input
        return encode_json(fields).decode()

    def piece(self, raw: str) -> list[Opaque]:
        """Its place among the blocks of the answer, if it is no call; none if it says nothing."""
        return [Opaque(PROVIDER, raw, text=len(self.text))] if raw or self.text else []

    def _ours(self) -> bool:
        fields = given({**msgspec.json.decode(self._begun), **self._fields})
        if fields.get("caller") == _DIRECT:
            del fields["caller"]
        return fields.keys() <= _OURS[self.block.type]

    def _told(self, words: str) -> list[TextDelta | ReasoningDelta]:
        if not words or self.block.type not in {"text", "thinking"}:
            return []
        return [TextDelta(words) if self.block.type == "text" else ReasoningDelta(words)]


def _whole(text: str) -> Raw | None:
    try:
        decode_object(text)
    except msgspec.DecodeError:
        return None
    return Raw(text.encode())
