"""What a model of Gemini says, whole or in the chunks of a stream, as an answer.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse. An answer is a list of parts, and a
chunk holds whole ones: a call is never cut. Text and calls without more are ours; thoughts, a part with a
`thoughtSignature`, code that Gemini runs itself and all else are kept as they came.
"""

from collections.abc import Container, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..events import CallSpoken, ReasoningDelta, TextDelta, Usage
from ..failures import Failure, ToolwireError
from ..history import Opaque
from ..tools import ToolCall
from ..wasted import wasted
from .contract import Answer, News
from .http_failures import SERVER_ERROR, failure_from_http
from .layout import opaque_of
from .names import free_id
from .reading import Json, clean, given, is_object, read, text_of

PROVIDER = "gemini"
KEY = "GEMINI_API_KEY"

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
_BROKEN = frozenset({
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
    *("MISSING_THOUGHT_SIGNATURE", "OTHER", "NO_IMAGE", "IMAGE_OTHER"),
})  # fmt: skip
"""Reasons to stop after which there is no answer. All others but those above are filters."""


class FunctionCall(Struct, frozen=True, gc=False):
    """A call; `id` is missing more often than not."""

    name: str = ""
    id: str | None = None
    args: Raw = Raw()


class Part(Struct, frozen=True, rename="camel", gc=False):
    """A part of a content, as far as it is looked at."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    function_response: Raw = Raw()


class Content(Struct, frozen=True, gc=False):
    """The parts that one side said."""

    role: str | None = None
    parts: list[Raw] = []


class _Candidate(Struct, frozen=True, rename="camel", gc=False):
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Tokens(Struct, frozen=True, rename="camel", gc=False):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class _Feedback(Struct, frozen=True, rename="camel", gc=False):
    block_reason: str | None = None


class _Response(Struct, frozen=True, rename="camel", gc=False):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Tokens | None = None
    prompt_feedback: _Feedback | None = None
    error: Json | None = None
    model_version: str | None = None


_responses = msgspec.json.Decoder(_Response)
decode_part = msgspec.json.Decoder(Part).decode


def answer_from_gemini(
    response: object, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()
) -> Answer:
    """A whole response as an answer; the parameters are those of Speech. Raises what Speech.hear raises."""
    speech = Speech(names, made_up=made_up, taken=taken)
    speech.hear(response)
    return speech.answer()


class Speech:
    """An answer while it is spoken: hears chunk after chunk, tells what is new, and at the end the whole.

    The parameters are those of `openai_speech.Speech`.
    """

    def __init__(self, names: Mapping[str, str] = {}, *, made_up: str = "call", taken: Container[str] = ()) -> None:
        self._names = names
        self._made_up = made_up
        self._taken = taken
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._pieces: list[Opaque] = []
        self._told = 0
        self._sent = 0
        self._theirs = False
        self._used: set[str] = set()
        self._usage = Usage()
        self._finish = ""
        self._model = ""
        self.over = False  # its streams end without a word

    @property
    def usage(self) -> Usage:
        """The tokens that it has said so far that it used."""
        return self._usage

    def hear(self, chunk: object) -> list[News]:
        """Take in one chunk (or a whole response), as JSON text or decoded.

        Raises ToolwireError if it is an error, or the model failed at its answer, ValueError for what is no JSON,
        msgspec.ValidationError.
        """
        heard = read(chunk, _responses)
        if heard.error:
            code = heard.error.get("code")
            failure = failure_from_http(code if isinstance(code, int) else SERVER_ERROR, heard.error, key=KEY)
            raise ToolwireError(wasted(failure, self._usage, self._model))
        self._model = heard.model_version or self._model
        if heard.usage_metadata is not None:
            self._usage = _usage(heard.usage_metadata)
        if heard.prompt_feedback is not None and heard.prompt_feedback.block_reason:
            self._finish = "filtered"
        if not heard.candidates:
            return []
        candidate = heard.candidates[0]
        events = [self.hear_part(raw) for raw in (candidate.content.parts if candidate.content else ())]
        if reason := candidate.finish_reason:
            if reason in _BROKEN:
                said = f"the model stopped with {reason}: {candidate.finish_message or 'no reason was given'}"
                failure = Failure("model_failed", said, retryable=True)
                raise ToolwireError(wasted(failure, self._usage, self._model))
            self._finish = _FINISH.get(reason, "filtered")
        return [event for event in events if event is not None]

    def hear_part(self, raw: Raw) -> News | None:
        """Take in one part, which is whole."""
        part = decode_part(raw)
        fields = given(msgspec.json.decode(raw))
        if part.function_call is not None:
            return self._hear_call(part.function_call, raw, plain=fields.keys() <= {"functionCall"})
        text = clean(part.text or "")
        if part.text is None or part.thought:
            self._pieces.append(Opaque(PROVIDER, text_of(raw)))
            return ReasoningDelta(text) if part.thought and text else None
        self._text.append(text)
        ours = fields.keys() <= {"text"}
        if text or not ours:
            self._pieces.append(Opaque(PROVIDER, "" if ours else text_of(raw), text=len(text)))
        return TextDelta(text) if text else None

    def answer(self) -> Answer:
        """All that was said so far."""
        finish = "calls" if self._finish == "stop" and self._calls else self._finish
        text, calls, opaque = "".join(self._text), tuple(self._calls), opaque_of(self._pieces)
        return Answer(text, calls, self._usage, finish, opaque, self._model)

    def _hear_call(self, call: FunctionCall, raw: Raw, *, plain: bool) -> CallSpoken | None:
        """A call is never cut; it is told at once, unless it can't be run, or stands behind one that can't."""
        id_ = free_id(call.id or "", len(self._calls) + 1, self._used, self._taken, self._made_up)
        arguments = clean(text_of(call.args)) if bytes(call.args) not in {b"", b"null"} else "{}"
        self._calls.append(ToolCall(id_, self._names.get(call.name, call.name), arguments))
        # A call without an id goes back without one, and so does its result: Gemini knows them by name and order.
        as_it_came = not plain and id_ in {call.id, id_ if not call.id else ""}
        self._pieces.append(Opaque(PROVIDER, text_of(raw) if as_it_came else "", id_))
        position = len(self._calls) - 1
        if self._told != position or not (call.name and is_object(arguments)):
            return None
        self._told += 1
        return CallSpoken(self._calls[position], position, opaque=self._since())

    def _since(self) -> tuple[Opaque, ...]:
        """The parts that were not told with calls before; none as long as our words say all."""
        if not self._theirs:
            self._theirs = any(piece.raw for piece in self._pieces)
        if not self._theirs:
            return ()
        since, self._sent = self._pieces[self._sent :], len(self._pieces)
        return tuple(since)


def without_id(raw: str) -> bool:
    """Whether a part is a call that came without an id."""
    call = decode_part(raw.encode()).function_call
    return call is not None and not call.id


def _usage(told: _Tokens) -> Usage:
    asked: Any = (told.prompt_token_count or 0) + (told.tool_use_prompt_token_count or 0)
    thought = told.thoughts_token_count or 0
    return Usage(asked, (told.candidates_token_count or 0) + thought, told.cached_content_token_count or 0, thought)
