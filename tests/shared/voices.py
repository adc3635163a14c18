"""Models that speak as a provider does: in its events, with or without reasoning, and that refuse what it refuses.

A `Voice` hears its lines from a function of the request, tells them as the provider's stream would, and lets the parser
of that format read them. Each request is judged first by the strict rules, together with what was said before.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

from anyio.lowlevel import checkpoint

from strict.judge import objection
from strict.words import Exchange
from toolwire import AssistantMessage, ModelReply, ModelRequest, ToolMessage, ToolwireError, UserMessage
from toolwire.actors.models.contract import ModelEvent
from toolwire.protocol.failures import failed
from toolwire.protocol.formats.contract import Answer, Format, Hearing
from toolwire.protocol.spoken import format_named
from toolwire.protocol.tools import ToolSpec

Json = dict[str, Any]


class Line(NamedTuple):
    """What a model says: a text, and calls as (tool, arguments). It breaks off after so many events, if any."""

    text: str
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    breaks: int | None = None


GO = "Go"
SAID = "All is done."
AGAIN = "I am here."

ROUNDS = [
    Line(
        "I shall look.",
        [
            ("look", {"at": "sky"}),
            ("slow", {"steps": 2}),
            ("fails", {}),
            ("write", {"value": {"$result": 1}}),
            ("look", {"at": "sea"}),
        ],
    ),
    Line("", [("asks", {}), ("write", {"value": 1})]),
    Line("Once more.", [("look", {"at": "me"}), ("slow", {"steps": 1})]),
    Line(SAID),
]


def line(request: ModelRequest) -> Line:
    """The round that is due: as many as have ended since the user asked for work; another word is only answered."""
    messages = list(request.messages)
    since = max(place for place, message in enumerate(messages) if isinstance(message, UserMessage))
    said = messages[since]
    if not isinstance(said, UserMessage) or said.text != GO:
        return Line(AGAIN)
    results = sum(isinstance(message, ToolMessage) for message in messages[since:])
    return {0: ROUNDS[0], 5: ROUNDS[1], 7: ROUNDS[2], 9: ROUNDS[3]}[results]


BROKEN = ToolwireError(failed("model_failed", "the line is dead"))
"""How a model breaks off."""


class Told(NamedTuple):
    """An answer as its stream tells it, event by event, and as the provider remembers it."""

    events: list[Json]
    answer: Json


class Voice:
    """A model that speaks as `provider` does. `refusals` are what it did not take, `asked` counts the requests.

    With `branches` all that was said to it is one past: conversations may go on from each other.
    """

    def __init__(
        self, provider: str, lines: Callable[[ModelRequest], Line], *, reasons: bool, branches: bool = False
    ) -> None:
        self.provider = provider
        self.refusals: list[str] = []
        self.asked = 0
        self._lines = lines
        self._reasons = reasons
        self._branches = branches
        self._format: Format = format_named(provider)
        self._before: dict[str, list[Exchange]] = {}
        self._numbers = count(1)

    def forget(self) -> None:
        """Forget all that was said: what is said next is numbered as if it were the first."""
        self._before.clear()
        self._numbers = count(1)

    def before(self, conversation: str) -> list[Exchange]:
        """What was asked and answered in a conversation."""
        return self._before.setdefault("" if self._branches else conversation, [])

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer in one piece."""
        told, hearing, breaks = self._begin(request)
        await checkpoint()
        if breaks is not None:
            raise BROKEN
        for event in told.events:
            hearing.hear(event)
        return ModelReply(*hearing.answer())

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator["Speaking"]:
        """The same, event by event."""
        told, hearing, breaks = self._begin(request)
        await checkpoint()
        yield Speaking(told.events, hearing, breaks)

    def _begin(self, request: ModelRequest) -> tuple[Told, Hearing, int | None]:
        self.asked += 1
        body = self.body(request)
        before = self.before(request.conversation)
        refusal = objection(self.provider, body, before)
        if refusal:
            self.refusals.append(refusal)
            raise ToolwireError(failed("model_failed", refusal))
        line = self._lines(request)
        told = TELLING[self.provider](line, next(self._numbers), reasons=self._reasons)
        before.append(Exchange(body, told.answer))
        assert self._format.speech is not None
        names = self._format.names.back(request.tools)
        return told, self._format.speech(names), line.breaks

    def body(self, request: ModelRequest) -> Json:
        """`request` in the provider's words."""
        specs = list(request.tools)
        if not specs and self.provider == "anthropic":  # calls can't be told without tools: the adapter names them too
            said = (message for message in request.messages if isinstance(message, AssistantMessage))
            specs = [ToolSpec(name) for name in dict.fromkeys(call.name for each in said for call in each.calls)]
        tools = [self._format.tool_to(spec) for spec in specs]
        told = self._format.history_to(request.messages)
        body: Json = {"model": "strict", **({"tools": tools} if tools else {})}
        match self.provider:
            case "anthropic":
                thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if self._reasons else {}
                return {**body, "max_tokens": 4096, **thinking, **told}
            case "openai_responses":
                return {**body, "store": False, "include": ["reasoning.encrypted_content"], "input": told}
        return {**body, "messages": told}


class Speaking:
    """The events of one answer, read by the provider's own parser. Between two of them others run."""

    def __init__(self, events: list[Json], hearing: Hearing, breaks: int | None = None) -> None:
        self._events = self._told(events, hearing, breaks)

    def __aiter__(self) -> "Speaking":
        return self

    async def __anext__(self) -> ModelEvent:
        for event in self._events:
            if event is None:
                await checkpoint()
            else:
                return event
        raise StopAsyncIteration

    @staticmethod
    def _told(events: list[Json], hearing: Hearing, breaks: int | None) -> Iterator[ModelEvent | None]:
        for event in events[:breaks]:
            yield None
            yield from hearing.hear(event)
        if breaks is not None:
            raise BROKEN
        answer: Answer = hearing.answer()
        yield None
        yield ModelReply(*answer)


def halves(text: str) -> tuple[str, str]:
    """`text` in two pieces."""
    middle = len(text) // 2
    return text[:middle], text[middle:]


def as_anthropic(line: Line, number: int, *, reasons: bool) -> Told:
    """Blocks: thoughts with their signature and hidden ones, text, calls."""
    blocks: list[Json] = []
    events: list[Json] = [{"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 9}}}]

    def add(block: Json, begun: Json, *deltas: Json) -> None:
        index = len(blocks)
        blocks.append(block)
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": index})

    if reasons:
        thought, signature = f"I think {number}.", f"EqQBCgIYAhIM{number}=="
        add(
            {"type": "thinking", "thinking": thought, "signature": signature},
            {"type": "thinking", "thinking": "", "signature": ""},
            *({"type": "thinking_delta", "thinking": piece} for piece in halves(thought)),
            {"type": "signature_delta", "signature": signature},
        )
        hidden = {"type": "redacted_thinking", "data": f"EmwKAhgBEgy{number}"}
        add(hidden, hidden)
    if line.text:
        deltas = ({"type": "text_delta", "text": piece} for piece in halves(line.text))
        add({"type": "text", "text": line.text}, {"type": "text", "text": ""}, *deltas)
    for place, (name, arguments) in enumerate(line.calls):
        call = {"type": "tool_use", "id": f"toolu_{number}_{place}", "name": name}
        pieces = ({"type": "input_json_delta", "partial_json": piece} for piece in halves(json.dumps(arguments)))
        add({**call, "input": dict(arguments)}, {**call, "input": {}}, *pieces)
    reason = "tool_use" if line.calls else "end_turn"
    events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}})
    events.append({"type": "message_stop"})
    return Told(events, {"content": blocks})


def as_responses(line: Line, number: int, *, reasons: bool) -> Told:
    """Items: reasoning with what is encrypted of it, a message, calls."""
    items: list[Json] = []
    events: list[Json] = [{"type": "response.created", "response": {"status": "in_progress", "output": []}}]

    def add(item: Json, begun: Json, *between: Json) -> None:
        index = len(items)
        items.append(item)
        events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        events.extend({**each, "output_index": index} for each in between)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})

    if reasons:
        thought = {"type": "reasoning", "id": f"rs_{number}", "summary": []}
        summary = [{"type": "summary_text", "text": f"I think {number}."}]
        delta = {"type": "response.reasoning_summary_text.delta", "delta": summary[0]["text"]}
        add({**thought, "summary": summary, "encrypted_content": f"gAAAAA{number}"}, thought, delta)
    if line.text:
        message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
        parts = [{"type": "output_text", "text": line.text, "annotations": []}]
        deltas = ({"type": "response.output_text.delta", "delta": piece} for piece in halves(line.text))
        add({**message, "content": parts}, {**message, "content": [], "status": "in_progress"}, *deltas)
    for place, (name, arguments) in enumerate(line.calls):
        call = {"type": "function_call", "id": f"fc_{number}_{place}", "call_id": f"call_{number}_{place}"}
        text = json.dumps(arguments)
        deltas = ({"type": "response.function_call_arguments.delta", "delta": piece} for piece in halves(text))
        done = {"type": "response.function_call_arguments.done", "arguments": text}
        whole = {**call, "name": name, "arguments": text, "status": "completed"}
        add(whole, {**whole, "arguments": "", "status": "in_progress"}, *deltas, done)
    answer = {"id": f"resp_{number}", "status": "completed", "output": items}
    usage = {"input_tokens": 9, "output_tokens": 5}
    events.append({"type": "response.completed", "response": {**answer, "usage": usage}})
    return Told(events, answer)


def as_openai(line: Line, number: int, *, reasons: bool) -> Told:
    """A message: with the reasoning that relatives of OpenAI add, a content, calls."""
    message: Json = {"role": "assistant", "content": line.text or None}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if reasons:
        thought = f"I think {number}."
        details = [{"type": "reasoning.encrypted", "data": f"gAAAAA{number}", "index": 0}]
        message |= {"reasoning_content": thought, "reasoning_details": details}
        deltas += [{"reasoning_content": piece} for piece in halves(thought)]
        deltas.append({"reasoning_details": details})
    deltas += [{"content": piece} for piece in halves(line.text)] if line.text else []
    if line.calls:
        message["tool_calls"] = []
    for place, (name, arguments) in enumerate(line.calls):
        text = json.dumps(arguments)
        call = {"id": f"call_{number}_{place}", "type": "function"}
        message["tool_calls"].append({**call, "function": {"name": name, "arguments": text}})
        begun = {"index": place, **call, "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [begun]})
        deltas += [{"tool_calls": [{"index": place, "function": {"arguments": piece}}]} for piece in halves(text)]
    events: list[Json] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    reason = "tool_calls" if line.calls else "stop"
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    events.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}})
    return Told(events, {"choices": [{"message": message}]})


TELLING: dict[str, Callable[..., Told]] = {
    "anthropic": as_anthropic,
    "openai_responses": as_responses,
    "openai": as_openai,
}
