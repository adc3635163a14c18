"""What a model of OpenAI Responses says, whole or as a stream of events, as an answer.

Source: https://platform.openai.com/docs/api-reference/responses, and the types of the SDK. An answer is a list of
items. Where one of them is not ours to understand (reasoning, a tool that OpenAI runs itself), all of them are kept as
they came: OpenAI refuses a reasoning item without the very item that followed it.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..events import CallSpoken, ReasoningDelta, TextDelta, Usage
from ..failures import ToolwireError
from ..history import Opaque
from ..tools import ToolCall
from ..wasted import wasted
from .contract import Answer, News
from .http_failures import SERVER_ERROR, failure_from_http
from .layout import opaque_of
from .names import free_id
from .reading import Json, clean, is_object, read, text_of

PROVIDER = "openai_responses"
KEY = "OPENAI_API_KEY"

_STATUS_BY_CODE = {"rate_limit_exceeded": 429, "server_error": SERVER_ERROR, "vector_store_timeout": 504}
_REASONING = {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
_TEXT = {"response.output_text.delta", "response.refusal.delta"}
_ENDED = {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}


class Part(Struct, frozen=True, gc=False):
    """A part of a message."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None


class Item(Struct, frozen=True, gc=False):
    """One item of an answer, or of what a model is given."""

    type: str = "message"
    role: str = ""
    status: str | None = None
    phase: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str = ""
    namespace: str | None = None
    arguments: str | None = None

    @property
    def text(self) -> str:
        """What a message says; a refusal is said too."""
        if not isinstance(self.content, list):
            return clean(self.content or "")
        return clean("".join(part.text or part.refusal or "" for part in self.content))

    @property
    def refused(self) -> bool:
        """Whether a message is a refusal."""
        return isinstance(self.content, list) and any(part.refusal for part in self.content)

    @property
    def ours(self) -> bool:
        """Whether our words say all of it."""
        if self.type == "function_call":
            return not self.namespace
        parts = self.content if isinstance(self.content, list) else ()
        return self.type == "message" and not self.phase and not any(part.annotations for part in parts)


_item = msgspec.json.Decoder(Item)


class _Details(Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Tokens(Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def counted(self) -> Usage:
        heard, said = self.input_tokens_details or _Details(), self.output_tokens_details or _Details()
        tokens = (self.input_tokens, self.output_tokens, heard.cached_tokens, said.reasoning_tokens)
        return Usage(*(each or 0 for each in tokens))


class _Incomplete(Struct, frozen=True, gc=False):
    reason: str | None = None


class _Response(Struct, frozen=True, gc=False):
    status: str | None = None
    output: list[Raw] = []
    error: Json | None = None
    incomplete_details: _Incomplete | None = None
    usage: _Tokens | None = None
    model: str | None = None


class _Event(Struct, frozen=True, gc=False):
    type: str = ""
    output_index: int = 0
    delta: Any = None
    arguments: Any = None
    item: Raw = Raw()
    response: Raw = Raw()
    code: Any = None
    message: Any = None
    error: Any = None


_events = msgspec.json.Decoder(_Event)
_responses = msgspec.json.Decoder(_Response)


def answer_from_openai_responses(
    response: object, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()
) -> Answer:
    """A whole response as an answer; the parameters are those of Speech. Raises what Speech.hear raises."""
    speech = Speech(names, made_up=made_up, taken=taken)
    speech.hear_whole(read(response, _responses))
    return speech.answer()


class Speech:
    """An answer while it is spoken: hears event after event, tells what is new, and at the end the whole.

    The parameters are those of `openai_speech.Speech`.
    """

    def __init__(self, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()) -> None:
        self._names = names
        self._made_up = made_up
        self._taken = taken
        self._begun: dict[int, Item] = {}
        self._pieces: dict[int, list[str]] = {}
        self._done: dict[int, tuple[Raw, Item]] = {}
        self._whole: dict[int, str] = {}
        self._told: dict[int, str] = {}  # the ids of the calls that were told
        self._since = -1  # the last item that was told with them
        self._theirs = False
        self._used: set[str] = set()
        self._usage = Usage()
        self._finish = ""
        self._model = ""
        self.over = False

    @property
    def usage(self) -> Usage:
        """The tokens that it has said so far that it used."""
        return self._usage

    def hear(self, chunk: object) -> list[News]:
        """Take in one event, as JSON text or decoded.

        Raises ToolwireError if it is an error, ValueError for what is no JSON, msgspec.ValidationError.
        """
        event = read(chunk, _events)
        index = event.output_index
        if event.type == "error":
            told = event.error if isinstance(event.error, dict) else {"code": event.code, "message": event.message}
            raise self._failed(told)
        if event.type in _ENDED:
            self.hear_whole(_responses.decode(event.response))
            self.over = True
        elif event.type == "response.output_item.added":
            item = self._begun[index] = _item.decode(event.item)
            self._theirs = self._theirs or not item.ours
        elif event.type == "response.output_item.done":
            self._done[index] = event.item.copy(), _item.decode(event.item)
        elif event.type == "response.function_call_arguments.done" and isinstance(event.arguments, str):
            self._pieces[index] = [event.arguments]
            self._whole[index] = clean(event.arguments).strip()
            return self._tell_calls()
        elif isinstance(event.delta, str):
            return self._hear_delta(event.type, index, event.delta)
        return []

    def hear_whole(self, response: _Response) -> None:
        """Take in a response as it stands at its end. Raises ToolwireError if it failed."""
        self._model = response.model or self._model
        if response.usage is not None:
            self._usage = response.usage.counted()
        if response.error:
            raise self._failed(response.error)
        for index, raw in enumerate(response.output):
            if index not in self._done:
                self._done[index] = raw.copy(), _item.decode(raw)
        reason = response.incomplete_details.reason if response.incomplete_details else None
        if response.status == "completed":
            self._finish = "stop"
        elif response.status == "incomplete":
            self._finish = "filtered" if reason == "content_filter" else "length"

    def answer(self) -> Answer:
        """All that was said so far."""
        heard = [self._item_at(index) for index in sorted({*self._begun, *self._done})]
        calls: list[ToolCall] = []
        pieces: list[Opaque] = []
        used: set[str] = set()
        torn = self._finish in {"", "length", "filtered"}
        whole = not all(item.ours for _, item in heard)
        for number, (raw, item) in enumerate(heard, 1):
            text = text_of(raw) if whole and bytes(raw) else ""
            if item.type == "function_call":
                id_ = free_id(item.call_id or "", len(calls) + 1, used, self._taken, self._made_up)
                nothing = "" if torn and number == len(heard) else "{}"
                arguments = clean(item.arguments or "").strip() or nothing
                calls.append(ToolCall(id_, self._names.get(item.name, item.name), arguments))
                pieces.append(Opaque(PROVIDER, text if id_ == item.call_id else "", id_))
            elif text or item.text:
                pieces.append(Opaque(PROVIDER, text, text=len(item.text)))
        finish = self._finish
        if finish == "stop":
            finish = "calls" if calls else "refused" if any(item.refused for _, item in heard) else "stop"
        said = "".join(item.text for _, item in heard if item.type != "function_call")
        return Answer(said, tuple(calls), self._usage, finish, opaque_of(pieces), self._model)

    def _failed(self, error: Json) -> ToolwireError:
        """What an error comes to that stands where an answer was expected."""
        failure = failure_from_http(_status(error.get("code")), error, key=KEY)
        return ToolwireError(wasted(failure, self._usage, self._model))

    def _item_at(self, index: int) -> tuple[Raw, Item]:
        """An item, with its bytes once it is done."""
        if index in self._done:
            return self._done[index]
        item = self._begun[index]
        said = "".join(self._pieces.get(index, ()))
        if item.type == "function_call":
            return Raw(), msgspec.structs.replace(item, arguments=said)
        return Raw(), Item(content=said if item.type == "message" else "")

    def _tell_calls(self) -> list[News]:
        """The calls that are complete now: their arguments are said to be done. In order, no gaps."""
        events: list[News] = []
        for index in sorted(index for index, item in self._begun.items() if item.type == "function_call"):
            if index in self._told:
                continue
            item, text = self._begun[index], self._whole.get(index, "")
            if not (item.name and is_object(text)):
                break
            id_ = free_id(item.call_id or "", len(self._told) + 1, self._used, self._taken, self._made_up)
            call, position = ToolCall(id_, self._names.get(item.name, item.name), text), len(self._told)
            self._told[index] = id_
            events.append(CallSpoken(call, position, opaque=self._before(index) if self._theirs else ()))
        return events

    def _before(self, index: int) -> tuple[Opaque, ...]:
        """The items up to the call at `index` that were not told with calls before it. The call's own is not done."""
        pieces: list[Opaque] = []
        for n in sorted({*self._begun, *self._done}):
            if self._since < n <= index:
                raw, item = self._item_at(n)
                if n in self._told:
                    pieces.append(Opaque(PROVIDER, call=self._told[n]))
                elif bytes(raw) or item.text:
                    pieces.append(Opaque(PROVIDER, text_of(raw) if bytes(raw) else "", text=len(item.text)))
        self._since = index
        return tuple(pieces)

    def _hear_delta(self, kind: str, index: int, delta: str) -> list[News]:
        if kind in _REASONING:
            return [ReasoningDelta(clean(delta))]
        if kind in _TEXT or kind == "response.function_call_arguments.delta":
            self._pieces.setdefault(index, []).append(delta)
        return [TextDelta(clean(delta))] if kind == "response.output_text.delta" else []


def items_as_answer(items: Iterable[Raw], names: Mapping[str, str]) -> Answer:
    """Items that follow each other in a history as one answer."""
    speech = Speech(names)
    speech.hear_whole(_Response("completed", list(items)))
    return speech.answer()


def _status(code: object) -> int:
    """The HTTP status that an error without one would have had."""
    return _STATUS_BY_CODE.get(code, 400) if isinstance(code, str) and code else SERVER_ERROR
