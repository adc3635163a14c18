"""Answers on the wire of each provider: whole, as one JSON object, and streamed, as its server-sent events.

A stream is made of the whole answer, so both say the same. Its shape is that of the provider. Sources:
https://platform.openai.com/docs/api-reference/chat-streaming, …/responses-streaming, and
https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

import json
from collections.abc import Iterator
from itertools import count

from .said import Called, Said, Searched, Text, Thought
from .words import Json

PIECE = 7
"""Characters in one delta."""


def event(data: Json | str, name: str = "") -> bytes:
    """One event of a stream. Anthropic and Responses name theirs, Chat Completions does not."""
    told = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {told}\n\n".encode("utf-8", "surrogatepass")


def pieces(words: str) -> Iterator[str]:
    """`words` in pieces, as a model speaks; not even nothing is said in no piece."""
    return (words[n : n + PIECE] for n in range(0, max(len(words), 1), PIECE))


class Chat:
    """OpenAI's Chat Completions, of a relative that tells what the model thought."""

    name = "openai"
    path = "/v1/chat/completions"
    base = "/v1"
    thoughts = "reasoning_content"

    def __init__(self) -> None:
        self._numbers = count(1)

    def whole(self, said: Said) -> Json:
        """The answer as a completion."""
        number = next(self._numbers)
        words = "".join(part.words for part in said.parts if isinstance(part, Text))
        message: Json = {"role": "assistant", "content": words or None, "refusal": None}
        if said.finish == "refused":
            message |= {"content": None, "refusal": words}
        if thoughts := [part.words for part in said.parts if isinstance(part, Thought)]:
            message[self.thoughts] = "".join(thoughts)
        called = [part for part in said.parts if isinstance(part, Called)]
        if called:
            message["tool_calls"] = [
                {
                    "id": part.id or f"call_{number}_{n}",
                    "type": "function",
                    "function": {"name": part.name, "arguments": part.arguments},
                }
                for n, part in enumerate(called)
            ]
        finish = {"calls": "tool_calls", "filtered": "content_filter", "refused": "stop"}.get(said.finish, said.finish)
        tokens = said.counted
        usage = {
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.input + tokens.output,
            "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning, "audio_tokens": 0},
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": "m-1"}
        return {**head, "choices": [choice], "usage": usage, "service_tier": "default"}

    def streamed(self, answer: Json) -> list[bytes]:
        """The answer as chunks: the role, deltas, the end, the usage, [DONE]."""
        choice, usage = answer["choices"][0], answer["usage"]
        head = {**{key: answer[key] for key in ("id", "created", "model")}, "object": "chat.completion.chunk"}

        def chunk(delta: Json, finish: str | None = None) -> bytes:
            told = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return event({**head, "choices": [told], "usage": None})

        deltas = [chunk(delta) for delta in self._deltas(choice["message"])]
        tokens = event({**head, "choices": [], "usage": usage})
        return [*deltas, chunk({}, choice["finish_reason"]), tokens, event("[DONE]")]

    def _deltas(self, message: Json) -> Iterator[Json]:
        yield {"role": "assistant", "content": "", "refusal": None}
        for field in (self.thoughts, "content", "refusal"):
            if message.get(field):
                yield from ({field: piece} for piece in pieces(message[field]))
        for index, call in enumerate(message.get("tool_calls", ())):
            function = call["function"]
            begun = {**call, "function": {"name": function["name"], "arguments": ""}}
            yield {"tool_calls": [{"index": index, **begun}]}
            for piece in pieces(function["arguments"]):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def error(self, kind: str, message: str) -> Json:
        """The body of an answer that says no."""
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def error_event(self, kind: str, message: str) -> bytes:
        """The same in the midst of a stream."""
        return event(self.error(kind, message))


class Ollama(Chat):
    """The same as Ollama speaks it: each call in one delta, and index 0 for all of them."""

    thoughts = "reasoning"

    def _deltas(self, message: Json) -> Iterator[Json]:
        yield from super()._deltas({key: value for key, value in message.items() if key != "tool_calls"})
        for call in message.get("tool_calls", ()):
            yield {"role": "assistant", "content": "", "tool_calls": [{"index": 0, **call}]}


class Responses:
    """OpenAI's Responses."""

    name = "openai_responses"
    path = "/v1/responses"
    base = "/v1"

    def __init__(self) -> None:
        self._numbers = count(1)

    def whole(self, said: Said) -> Json:
        """The answer as a response."""
        number = next(self._numbers)
        output = [self._item(part, f"{number}_{n}", said) for n, part in enumerate(said.parts)]
        status, why = "completed", None
        if said.finish in {"length", "filtered"}:
            reason = "max_output_tokens" if said.finish == "length" else "content_filter"
            status, why = "incomplete", {"reason": reason}
        tokens = said.counted
        usage = {
            "input_tokens": tokens.input,
            "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.input + tokens.output,
        }
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 1,
            "status": status,
            "error": None,
            "incomplete_details": why,
            "instructions": None,
            "model": "m-1",
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
            "usage": usage,
        }

    def _item(self, part: Text | Thought | Called | Searched, number: str, said: Said) -> Json:
        match part:
            case Thought(words, hidden):
                summary = [] if hidden else [{"type": "summary_text", "text": words}]
                sealed = f"gAAA-{number}-é"
                return {"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": sealed}
            case Called(name, arguments, id_):
                told = {"call_id": id_ or f"call_{number}", "name": name, "arguments": arguments}
                return {"type": "function_call", "id": f"fc_{number}", **told, "status": "completed"}
            case Searched(query):
                action = {"type": "search", "query": query}
                return {"type": "web_search_call", "id": f"ws_{number}", "status": "completed", "action": action}
            case Text(words):
                content: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": words}
                if said.finish == "refused":
                    content = {"type": "refusal", "refusal": words}
                head = {"type": "message", "id": f"msg_{number}", "status": "completed", "role": "assistant"}
                return {**head, "content": [content]}

    def streamed(self, answer: Json) -> list[bytes]:
        """The answer as events, from `response.created` to its end."""
        begun = {**answer, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        told: list[Json] = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
        ]
        for index, item in enumerate(answer["output"]):
            told += ({**each, "output_index": index} for each in self._item_events(item))
        told.append({"type": f"response.{answer['status']}", "response": answer})
        return [event({**each, "sequence_number": n}, each["type"]) for n, each in enumerate(told)]

    def _item_events(self, item: Json) -> Iterator[Json]:
        empty: Json = {"function_call": {"arguments": ""}, "message": {"content": []}, "reasoning": {"summary": []}}
        begun = {**item, **empty.get(item["type"], {}), "status": "in_progress"}
        if item["type"] == "reasoning":
            begun = {**item, "summary": [], "encrypted_content": "gAAA-begun"}
        yield {"type": "response.output_item.added", "item": begun}
        where = {"item_id": item["id"]}
        if item["type"] == "function_call":
            for piece in pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **where, **done}
        elif item["type"] == "web_search_call":
            for state in ("in_progress", "searching", "completed"):
                yield {"type": f"response.web_search_call.{state}", **where}
        elif item["type"] == "reasoning":
            for n, part in enumerate(item["summary"]):
                yield from self._part_events(part, "summary", {**where, "summary_index": n})
        else:
            for n, part in enumerate(item["content"]):
                yield from self._part_events(part, "content", {**where, "content_index": n})
        yield {"type": "response.output_item.done", "item": item}

    def _part_events(self, part: Json, kind: str, where: Json) -> Iterator[Json]:
        field = "refusal" if part["type"] == "refusal" else "text"
        name = {"summary_text": "reasoning_summary_text"}.get(part["type"], part["type"])
        around = "response.reasoning_summary_part" if kind == "summary" else "response.content_part"
        chances: Json = {"logprobs": []} if name == "output_text" else {}
        yield {"type": f"{around}.added", **where, "part": {**part, field: ""}}
        for piece in pieces(part[field]):
            yield {"type": f"response.{name}.delta", **where, "delta": piece, **chances}
        yield {"type": f"response.{name}.done", **where, field: part[field], **chances}
        yield {"type": f"{around}.done", **where, "part": part}

    def error(self, kind: str, message: str) -> Json:
        """The body of an answer that says no."""
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def error_event(self, kind: str, message: str) -> bytes:
        """The same in the midst of a stream."""
        told = {"type": "error", "code": kind, "message": message, "param": None, "sequence_number": 99}
        return event(told, "error")


class Messages:
    """Anthropic's Messages."""

    name = "anthropic"
    path = "/v1/messages"
    base = ""

    def __init__(self) -> None:
        self._numbers = count(1)

    def whole(self, said: Said) -> Json:
        """The answer as a message."""
        number = next(self._numbers)
        content = [block for n, part in enumerate(said.parts) for block in self._blocks(part, f"{number}_{n}")]
        reasons = {"calls": "tool_use", "length": "max_tokens", "filtered": "refusal", "refused": "refusal"}
        tokens = said.counted
        usage = {
            # Their input tokens are those that were neither read from the cache nor written into it.
            "input_tokens": tokens.input - tokens.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": tokens.output,
            "output_tokens_details": {"thinking_tokens": tokens.reasoning},
            "service_tier": "standard",
        }
        head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "m-1"}
        stop = {"stop_reason": reasons.get(said.finish, "end_turn"), "stop_sequence": None}
        return {**head, "content": content, **stop, "usage": usage}

    def _blocks(self, part: Text | Thought | Called | Searched, number: str) -> list[Json]:
        match part:
            case Text(words):
                return [{"type": "text", "text": words, "citations": None}]
            case Thought(words, hidden):
                if hidden:
                    return [{"type": "redacted_thinking", "data": f"hidden-{number}"}]
                return [{"type": "thinking", "thinking": words, "signature": f"Er/{number}=="}]
            case Called(name, arguments, id_):
                told = {"id": id_ or f"toolu_{number}", "name": name, "input": json.loads(arguments)}
                return [{"type": "tool_use", **told, "caller": {"type": "direct"}}]
            case Searched(query):
                id_ = f"srvtoolu_{number}"
                found = {
                    "type": "web_search_result",
                    "title": query,
                    "url": "https://example.org",
                    "encrypted_content": f"Eq/{number}==",
                    "page_age": None,
                }
                return [
                    {"type": "server_tool_use", "id": id_, "name": "web_search", "input": {"query": query}},
                    {"type": "web_search_tool_result", "tool_use_id": id_, "content": [found]},
                ]

    def streamed(self, answer: Json) -> list[bytes]:
        """The answer as events, from `message_start` to `message_stop`."""
        usage = {**answer["usage"], "output_tokens": 1}
        begun = {**answer, "content": [], "stop_reason": None, "usage": usage}
        told: list[Json] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
        for index, block in enumerate(answer["content"]):
            begin, deltas = self._deltas(block)
            told.append({"type": "content_block_start", "index": index, "content_block": begin})
            told += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
            told.append({"type": "content_block_stop", "index": index})
        stop = {key: answer[key] for key in ("stop_reason", "stop_sequence")}
        told += [{"type": "message_delta", "delta": stop, "usage": answer["usage"]}, {"type": "message_stop"}]
        return [event(each, each["type"]) for each in told]

    def _deltas(self, block: Json) -> tuple[Json, list[Json]]:
        match block["type"]:
            case "text":
                deltas: list[Json] = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
                return {**block, "text": ""}, deltas
            case "thinking":
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
                return {**block, "thinking": "", "signature": ""}, deltas
            case "tool_use" | "server_tool_use":
                written = pieces(json.dumps(block["input"], ensure_ascii=False)) if block["input"] else iter([""])
                return {**block, "input": {}}, [
                    {"type": "input_json_delta", "partial_json": piece} for piece in written
                ]
        return block, []

    def error(self, kind: str, message: str) -> Json:
        """The body of an answer that says no."""
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def error_event(self, kind: str, message: str) -> bytes:
        """The same in the midst of a stream."""
        return event(self.error(kind, message), "error")


Wire = Chat | Responses | Messages
WIRES: dict[str, type[Chat] | type[Responses] | type[Messages]] = {
    wire.name: wire for wire in (Chat, Responses, Messages)
}
