"""What Anthropic's Messages would refuse a request for, in its words.

A pure function over a request body and what was said before. Sources: https://platform.claude.com/docs/en/api/messages,
…/docs/en/build-with-claude/thinking-troubleshooting (thinking blocks that were changed, or are bound to what came
before them), …/docs/en/build-with-claude/mid-conversation-system-messages (where `role: "system"` may stand),
…/docs/en/api/errors#prefill-not-supported; and the answers quoted in
https://github.com/anthropics/claude-code/issues/8210 and /18947 (calls without results, results without calls), /64383
(server tools), https://github.com/pydantic/pydantic-ai/issues/2075 (no thinking block before a call),
https://github.com/tailcallhq/forgecode/issues/2107 (a message that ends with thinking). Stricter than some models:
names of 64 characters, no prefill at all, results in one message. Three settings are taken though the newest SDK has no
words for them, because the newest models don't take them; and one of `thinking` that is in its beta types only.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from . import typed
from .words import Before, Json, listed, schema_objections

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ID = re.compile(r"[a-zA-Z0-9_-]+")
KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
TRIAL = "thinking-binding-controls-2026-08-01"
MOST_MARKS = 4
LEAST_BUDGET = 1024
THINKING = ("thinking", "redacted_thinking")


def objections(body: Json, before: Before = None) -> Iterator[str]:
    """Everything that is wrong with `body`, beside its types."""
    messages = [{**each, "content": blocks_of(each["content"])} for each in body["messages"]]
    yield from _of_parameters(body)
    yield from _of_thinking(body)
    yield from _of_tools(body, messages)
    marks = json.dumps(body).count('"cache_control": {')
    if marks > MOST_MARKS:
        yield f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {marks}."
    yield from _of_texts("system", blocks_of(body.get("system", [])))
    yield from _of_order(messages)
    for n, message in enumerate(messages):
        yield from _of_message(n, message)
        yield from _of_calls(n, message, messages[n + 1] if n + 1 < len(messages) else None)
        yield from _of_results(n, message, messages[n - 1] if n else None)
    yield from _of_server_tools(messages)
    yield from _of_loop(body, messages)
    if before is not None:
        yield from _of_memory(body, messages, before)


def bare(body: Json) -> Json:
    """`body` without what the types of the SDK have no words for."""
    told = {name: body[name] for name in body if name not in {"temperature", "top_p", "top_k"}}
    if isinstance(told.get("thinking"), dict):
        told["thinking"] = {name: value for name, value in told["thinking"].items() if name != "block_binding"}
    return told


def blocks_of(content: Any) -> list[Json]:
    """A content as a list of blocks."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _of_parameters(body: Json) -> Iterator[str]:
    for name in sorted(body.keys() - typed.parameters("anthropic") - {"temperature", "top_p", "top_k"}):
        yield f"{name}: Extra inputs are not permitted"
    if "max_tokens" not in body:
        yield "max_tokens: Field required"
    elif body["max_tokens"] < 1:
        yield "max_tokens: Input should be greater than or equal to 1"
    if (value := body.get("temperature")) is not None and not 0 <= value <= 1:
        yield "temperature: range: 0..1"
    if body.get("temperature") is not None and body.get("top_p") is not None:
        yield "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    if any(not stop.strip() for stop in listed(body.get("stop_sequences"))):
        yield "stop_sequences: each stop sequence must contain non-whitespace"
    output = (body.get("output_config") or {}).get("format") or {}
    for each in schema_objections(output.get("schema")):
        if "additionalProperties" in each:
            yield (
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
            )


def _of_thinking(body: Json) -> Iterator[str]:
    thinking = body.get("thinking") or {}
    if thinking.get("type") not in {"enabled", "adaptive"}:
        return
    if (body.get("tool_choice") or {}).get("type") in {"any", "tool"}:
        yield "Thinking may not be enabled when tool_choice forces tool use."
    if body.get("temperature", 1) not in {1, None}:
        yield "`temperature` may only be set to 1 when thinking is enabled."
    if body.get("top_k") is not None:
        yield "`top_k` must be unset when thinking is enabled."
    if (top_p := body.get("top_p")) is not None and top_p < 0.95:
        yield "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
    if thinking["type"] == "enabled":
        if thinking["budget_tokens"] < LEAST_BUDGET:
            yield f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}"
        if thinking["budget_tokens"] >= body.get("max_tokens", 0):
            yield "`max_tokens` must be greater than `thinking.budget_tokens`."


def _of_tools(body: Json, messages: list[Json]) -> Iterator[str]:
    tools = body.get("tools") or []
    for n, tool in enumerate(tools):
        if "input_schema" in tool:
            yield from _of_tool(tool, f"tools.{n}.custom")
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    choice = body.get("tool_choice")
    if choice is not None and not tools:
        yield "tool_choice: tool_choice may only be specified while providing tools."
    if choice is not None and choice["type"] == "tool" and choice["name"] not in names:
        yield f"tool_choice: Tool '{choice['name']}' not found in provided tools"
    spoken = {block["type"] for message in messages for block in message["content"]}
    if not tools and spoken & {"tool_use", "tool_result"}:
        yield "Requests which include `tool_use` or `tool_result` blocks must define tools."


def _of_tool(tool: Json, place: str) -> Iterator[str]:
    schema = tool["input_schema"]
    if not NAME.fullmatch(tool["name"]):
        yield f"{place}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
    if schema.get("type") != "object":
        yield f"{place}.input_schema.type: Input should be 'object'"
    if any(word in schema for word in ("oneOf", "allOf", "anyOf")):
        yield f"{place}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
    if any(not KEY.fullmatch(key) for key in schema.get("properties") or {}):
        yield f"{place}.input_schema.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{{1,64}}$'"
    if tool.get("strict"):
        for each in schema_objections(schema):
            if "additionalProperties" in each:
                yield f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false"


def _of_order(messages: list[Json]) -> Iterator[str]:
    if not messages:
        yield "messages: at least one message is required"
        return
    if messages[0]["role"] == "system":
        yield "messages.0: use the top-level 'system' parameter for the initial system prompt"
    elif messages[0]["role"] != "user":
        yield 'messages: first message must use the "user" role'
    for n, message in enumerate(messages):
        if message["role"] not in {"user", "assistant", "system"}:
            yield f"messages.{n}.role: Input should be 'user', 'assistant' or 'system'"
        if message["role"] == "system" and n:
            yield from _of_system(n, messages)
    yield from _of_end(messages[-1])


def _of_system(n: int, messages: list[Json]) -> Iterator[str]:
    last = (messages[n - 1]["content"] or [{"type": ""}])[-1]["type"]
    if messages[n - 1]["role"] != "user" and not last.endswith("_tool_result"):
        yield f"messages.{n}: a system message must immediately follow a user turn"
    if messages[n + 1 :] and messages[n + 1]["role"] != "assistant":
        yield f"messages.{n}: a system message must precede an assistant turn or end the array"


def _of_end(last: Json) -> Iterator[str]:
    if last["role"] == "assistant" and not any("server_tool" in block["type"] for block in last["content"]):
        yield "This model does not support assistant message prefill. The conversation must end with a user message."
        if last["content"] and last["content"][-1].get("text", "").rstrip() != last["content"][-1].get("text", ""):
            yield "messages: final assistant content cannot end with trailing whitespace"


def _of_message(n: int, message: Json) -> Iterator[str]:
    blocks = message["content"]
    if not blocks:
        yield f"messages.{n}: all messages must have non-empty content except for the optional final assistant message"
    elif message["role"] == "assistant" and blocks[-1]["type"] in THINKING:
        yield f"messages.{n}: The final block in an assistant message cannot be `{blocks[-1]['type']}`."
    if message["role"] != "assistant" and any(block["type"] in {*THINKING, "tool_use"} for block in blocks):
        yield f"messages.{n}: `tool_use` blocks can only be in `assistant` messages"
    if message["role"] != "user" and any(block["type"] == "tool_result" for block in blocks):
        yield f"messages.{n}: `tool_result` blocks can only be in `user` messages"
    yield from _of_texts(f"messages.{n}.content", blocks)
    for place, block in enumerate(blocks):
        for part in (block, *(listed(block.get("content")) if block["type"] == "tool_result" else ())):
            source = part.get("source") if part["type"] in {"image", "document"} else None
            if isinstance(source, dict) and source["type"] == "base64" and not _is_base64(source["data"]):
                yield f"messages.{n}.content.{place}.{part['type']}.source.base64.data: invalid base64 data"
            if isinstance(source, dict) and source["type"] == "url" and not source["url"].startswith("https://"):
                yield f"messages.{n}.content.{place}.{part['type']}.source.url.url: Only HTTPS URLs are supported."


def _of_texts(place: str, blocks: list[Json]) -> Iterator[str]:
    for n, block in enumerate(blocks):
        texts = [block, *(listed(block.get("content")) if block["type"] == "tool_result" else ())]
        for text in texts:
            if text["type"] == "text" and not text["text"]:
                yield f"{place}.{n}: text content blocks must be non-empty"
            elif text["type"] == "text" and not text["text"].strip():
                yield f"{place}.{n}: text content blocks must contain non-whitespace text"


def _of_calls(n: int, message: Json, after: Json | None) -> Iterator[str]:
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    ids = [call["id"] for call in calls]
    if len(set(ids)) < len(ids):
        yield f"messages.{n}: `tool_use` ids must be unique"
    for number, block in enumerate(message["content"]):
        place = f"messages.{n}.content.{number}.tool_use"
        if block["type"] == "tool_use":
            if not ID.fullmatch(block["id"]):
                yield f"{place}.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            if not NAME.fullmatch(block["name"]):
                yield f"{place}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            if not isinstance(block["input"], dict):
                yield f"{place}.input: Input should be a valid dictionary"
    answered: set[str] = set()
    for block in after["content"] if after is not None and after["role"] == "user" else ():
        if block["type"] != "tool_result":
            break  # what stands behind other blocks is not found
        answered.add(block["tool_use_id"])
    if missing := [id_ for id_ in ids if id_ not in answered]:
        yield (
            f"messages.{n}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _of_results(n: int, message: Json, previous: Json | None) -> Iterator[str]:
    blocks = previous["content"] if previous is not None and previous["role"] == "assistant" else []
    known = {block["id"] for block in blocks if block["type"] == "tool_use"}
    results = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
    for place, id_ in enumerate(results):
        if id_ not in known:
            yield (
                f"messages.{n}.content.{place}: unexpected `tool_use_id` found in `tool_result` blocks: {id_}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
    for id_, count in Counter(results).items():
        if count > 1:
            yield (
                f"messages.{n}.content: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {id_}"
            )


def _of_server_tools(messages: list[Json]) -> Iterator[str]:
    """Assistant messages that follow each other are one; what a pause left open may be open at the very end."""
    open_: dict[str, str] = {}
    for n, message in enumerate(messages):
        if message["role"] != "assistant":
            yield from _left_open(n - 1, open_)
            open_ = {}
        yield from _of_server_blocks(n, message, open_)


def _of_server_blocks(n: int, message: Json, open_: dict[str, str]) -> Iterator[str]:
    for place, block in enumerate(message["content"]):
        kind = block["type"]
        if kind == "server_tool_use":
            open_[block["id"]] = block["name"]
            if not block["id"].startswith("srvtoolu_"):
                yield (
                    f"messages.{n}.content.{place}.server_tool_use.id: "
                    "String should match pattern '^srvtoolu_[a-zA-Z0-9_]+$'"
                )
        elif kind.endswith("_tool_result") and open_.pop(block["tool_use_id"], None) is None:
            yield (
                f"messages.{n}.content.{place}: unexpected `tool_use_id` found in `{kind}` blocks: "
                f"{block['tool_use_id']}. Each `{kind}` block must have a corresponding `server_tool_use` block before "
                "it."
            )


def _left_open(n: int, open_: dict[str, str]) -> Iterator[str]:
    for id_, name in open_.items():
        yield (
            f"messages.{n}: `{name}` tool use with id `{id_}` was found without a corresponding `{name}_tool_result` "
            "block"
        )


def _of_loop(body: Json, messages: list[Json]) -> Iterator[str]:
    """With extended thinking the message whose calls were just answered begins with its thinking."""
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    place = _open_loop(messages)
    if place is not None and (found := messages[place]["content"][0]["type"]) not in THINKING:
        yield (
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from "
            "previous turns. To avoid this requirement, disable `thinking`."
        )


def _open_loop(messages: list[Json]) -> int | None:
    """Where the message stands whose calls the last message answers."""
    if len(messages) > 1 and any(block["type"] == "tool_result" for block in messages[-1]["content"]):
        return len(messages) - 2
    return None


def _of_memory(body: Json, messages: list[Json], before: Any) -> Iterator[str]:
    """What only the provider can know, for it signed it itself."""
    answers = [answer["content"] for _, answer in before]
    signed = {_seal(block) for blocks in answers for block in blocks if block["type"] in THINKING}
    for n, message in enumerate(messages):
        for place, block in enumerate(message["content"]):
            if block["type"] in THINKING and _seal(block) not in signed:
                what = "signature" if block["type"] == "thinking" else "data"
                yield f"messages.{n}.content.{place}: Invalid `{what}` in `{block['type']}` block"
    loop = _open_loop(messages)
    if loop is None:
        return
    here = messages[loop]["content"]
    ids = {block["id"] for block in here if block["type"] == "tool_use"}
    for blocks in answers:
        made = {block["id"] for block in blocks if block["type"] == "tool_use"}
        if made & ids and _thoughts(here) != _thoughts(blocks, ending=False):
            yield (
                f"messages.{loop}.content: `thinking` or `redacted_thinking` blocks in the latest assistant message "
                "cannot be modified. These blocks must remain as they were in the original response."
            )


def bound(body: Json, before: Before) -> Iterator[str]:
    """What the newest models refuse besides: thinking whose beginning, tools and system included, is another now.

    Source: …/docs/en/build-with-claude/thinking-troubleshooting, "a thinking block signature is invalid".
    """
    messages = body["messages"]
    for request, answer in before or ():
        seals = [_seal(block) for block in answer["content"] if block["type"] in THINKING]
        for n, message in enumerate(messages):
            for place, block in enumerate(blocks_of(message["content"])):
                if block["type"] in THINKING and _seal(block) in seals and _begins(body, n) != _begins(request):
                    yield (
                        f"messages.{n}.content.{place}: Invalid `signature` in `thinking` block. The block is bound to "
                        "a different conversation. Remove the block, or set "
                        '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
                    )


def binding(body: Json, head: str, before: Before) -> Iterator[str]:
    """The same, unless the request says that such thinking may be left out, by a word that is on trial."""
    behavior = (body.get("thinking") or {}).get("block_binding")
    if behavior is not None and f"anthropic-beta: {TRIAL}" not in head.lower():
        yield "thinking.adaptive.block_binding: Extra inputs are not permitted"
    if behavior != {"prefix_mismatch_behavior": "drop_block"}:
        yield from bound(body, before)


def _begins(body: Json, length: int | None = None) -> Any:
    """What stands before an answer. Cache marks don't count."""

    def unmarked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: unmarked(each) for key, each in value.items() if key != "cache_control"}
        return [unmarked(each) for each in value] if isinstance(value, list) else value

    return unmarked([blocks_of(body.get("system") or []), body.get("tools") or [], body["messages"][:length]])


def _thoughts(blocks: list[Json], *, ending: bool = True) -> list[tuple[int, Any]]:
    """Thinking and, between it, how many blocks of other kinds. What stands at the very end nobody may send back."""
    while not ending and blocks and blocks[-1]["type"] in THINKING:
        blocks = blocks[:-1]
    return [(place, _seal(block)) for place, block in enumerate(blocks) if block["type"] in THINKING]


def _seal(block: Json) -> tuple[Any, ...]:
    return tuple(block.get(key) for key in ("type", "thinking", "signature", "data"))


def _is_base64(data: str) -> bool:
    try:
        return bool(base64.b64decode(data, validate=True))
    except ValueError:
        return False
