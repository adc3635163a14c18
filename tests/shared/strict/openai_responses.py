"""What OpenAI's Responses would refuse a request for, in its words.

A pure function over a request body and what was said before. Sources: the API reference,
https://platform.openai.com/docs/api-reference/responses/create, and the answers quoted in
https://github.com/openai/openai-node/issues/1567 (a reasoning item without the item it came with),
https://github.com/continuedev/continue/issues/11994 (an item without its reasoning item),
https://github.com/openai/codex/issues/8145 (`encrypted_content` that cannot be verified),
https://github.com/bytedance/trae-agent/issues/245 and https://github.com/microsoft/vscode/issues/320060 (calls without
outputs, outputs without calls). Stricter than the provider: an output stands before the next word of somebody else.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from . import typed
from .openai import MOST_TOOLS, NAME, REASONING_MODEL, function_objections, is_image, is_object
from .words import Before, Json, listed, schema_objections

LONGEST_ID = 64
LEAST_TOKENS = 16
BEGINNINGS = {"function_call": "fc", "reasoning": "rs", "message": "msg"}
"""How the ids of items begin. What has another one was made up, or belongs to something else."""

HEARD = ("function_call_output", "computer_call_output", "local_shell_call_output", "custom_tool_call_output")
PARTS = {
    "assistant": ("output_text", "refusal"),
    "user": ("input_text", "input_image", "input_file"),
    "system": ("input_text",),
    "developer": ("input_text",),
}
FILE = re.compile(
    r"https?://|data:(text/[a-z-]+|application/(pdf|json|xml|yaml|rtf|msword|vnd\.(ms-|openxml|oasis)[a-z.-]+))"
    r"(; *[^,]+)?;base64,"
)
"""What stands in the table of https://developers.openai.com/api/docs/guides/file-inputs."""


def objections(body: Json, before: Before = None) -> Iterator[str]:
    """Everything that is wrong with `body`, beside its types."""
    yield from _of_parameters(body)
    yield from _of_tools(body)
    items = listed(body.get("input"))
    if not body.get("input"):
        yield "Missing required parameter: 'input'."
    yield from _of_items(items)
    yield from _of_pairs(items)
    yield from _of_reasoning(items)
    if before is not None:
        yield from _of_memory(body, before)


def made(item: Json) -> bool:
    """Whether the model made `item`."""
    return item.get("type", "message") not in HEARD and item.get("role", "assistant") == "assistant"


def _of_parameters(body: Json) -> Iterator[str]:
    for name in body.keys() - typed.parameters("openai_responses"):
        yield f"Unknown parameter: '{name}'."
    if (value := body.get("max_output_tokens")) is not None and value < LEAST_TOKENS:
        yield (
            "Invalid 'max_output_tokens': integer below minimum value. "
            f"Expected a value >= {LEAST_TOKENS}, but got {value} instead."
        )
    if (value := body.get("temperature")) is not None:
        if not 0 <= value <= 2:
            yield f"Invalid 'temperature': decimal out of range. Expected a value from 0 to 2, but got {value} instead."
        if REASONING_MODEL.match(body["model"]):
            yield "Unsupported parameter: 'temperature' is not supported with this model."
    yield from _of_output((body.get("text") or {}).get("format") or {})


def _of_output(told: Json) -> Iterator[str]:
    if told.get("type") == "json_schema":
        if not NAME.fullmatch(told["name"]):
            yield "Invalid 'text.format.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
        if told["schema"].get("type") != "object":
            yield f"Invalid schema for response_format '{told['name']}': schema must be of 'type: \"object\"'."
        if told.get("strict"):
            for each in schema_objections(told["schema"]):
                yield f"Invalid schema for response_format '{told['name']}': {each}"


def _of_tools(body: Json) -> Iterator[str]:
    tools = body.get("tools") or []
    if len(tools) > MOST_TOOLS:
        yield f"Invalid 'tools': array too long. Expected an array with maximum length {MOST_TOOLS}."
    functions = [tool for tool in tools if tool["type"] == "function"]
    for n, function in enumerate(functions):
        yield from function_objections(function, f"tools[{n}]")
    names = [function["name"] for function in functions]
    if len(set(names)) < len(names):
        yield "Tool names must be unique."
    choice = body.get("tool_choice")
    if choice == "required" and not tools:
        yield "Tool choice 'required' must be specified with 'tools' parameter."
    if isinstance(choice, dict) and choice["type"] == "function" and choice["name"] not in names:
        yield "Tool choice 'function' not found in 'tools' parameter."


def _of_items(items: list[Json]) -> Iterator[str]:
    for id_, count in Counter(item["id"] for item in items if item.get("id")).items():
        if count > 1:
            yield f"Duplicate item found with id {id_}. Remove duplicate items from your input and try again."
    for n, item in enumerate(items):
        kind = item.get("type", "message")
        begins = BEGINNINGS.get(kind)
        if begins and item.get("id") is not None and not item["id"].startswith(begins):
            yield f"Invalid 'input[{n}].id': '{item['id']}'. Expected an ID that begins with '{begins}'."
        if kind == "function_call":
            yield from _of_call(item, f"input[{n}]")
        elif kind == "message":
            yield from _of_message(item, f"input[{n}]")


def _of_call(item: Json, place: str) -> Iterator[str]:
    if not 0 < len(item["call_id"]) <= LONGEST_ID:
        yield (
            f"Invalid '{place}.call_id': expected a string with maximum length {LONGEST_ID}, "
            f"but got a string with length {len(item['call_id'])} instead."
        )
    if not NAME.fullmatch(item["name"]):
        yield (
            f"Invalid '{place}.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$', of 1 to 64 characters."
        )
    if not is_object(item["arguments"]):
        yield f"Invalid '{place}.arguments': expected the JSON text of an object."


def _of_message(item: Json, place: str) -> Iterator[str]:
    if item["role"] not in PARTS:
        yield f"Invalid value: '{item['role']}'. Supported values are: {', '.join(map(repr, PARTS))}."
    if item["content"] in (None, []):
        yield f"Invalid '{place}.content': empty array. Expected an array with minimum length 1."
    for n, part in enumerate(listed(item["content"])):
        if part["type"] not in PARTS.get(item["role"], ()):
            yield (
                f"Invalid value: '{part['type']}'. Supported values are: "
                f"{', '.join(map(repr, PARTS.get(item['role'], ())))}. ({place}.content[{n}].type)"
            )
        yield from _of_part(part, f"{place}.content[{n}]")


def _of_part(part: Json, place: str) -> Iterator[str]:
    if part["type"] == "input_image" and not is_image(part.get("image_url") or "") and not part.get("file_id"):
        yield f"Invalid '{place}.image_url'. Expected a valid URL, or a data URL of a png, jpeg, gif or webp image."
    if part["type"] == "input_file" and part.get("file_data") is not None and not part.get("filename"):
        yield f"Missing required parameter: '{place}.filename'."
    if part["type"] == "input_file" and not FILE.match(part.get("file_data") or part.get("file_url") or ""):
        yield f"Invalid file data: '{place}.file_data'. Expected a supported file type."


def _of_pairs(items: list[Json]) -> Iterator[str]:
    waiting: list[str] = []
    known: set[str] = set()
    for n, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "function_call":
            if item["call_id"] in known:
                yield f"Duplicate call_id '{item['call_id']}' in input[{n}]: each call needs one of its own."
            waiting.append(item["call_id"])
            known.add(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in waiting:
                yield f"No tool call found for function call output with call_id {item['call_id']}."
            else:
                waiting.remove(item["call_id"])
            for part in listed(item["output"]):
                yield from _of_part(part, f"input[{n}].output")
        elif not made(item) and waiting:
            yield f"No tool output found for function call {waiting[0]}."
    if waiting:
        yield f"No tool output found for function call {waiting[0]}."


def _of_reasoning(items: list[Json]) -> Iterator[str]:
    for n, item in enumerate(items):
        if item.get("type") == "reasoning" and not (items[n + 1 :] and made(items[n + 1])):
            yield f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."


def _of_memory(body: Json, before: Any) -> Iterator[str]:
    """What only the provider can know, for it made the items itself."""
    if (named := body.get("previous_response_id")) and named not in {answer["id"] for _, answer in before}:
        yield f"Previous response with id '{named}' not found."
    items = listed(body.get("input"))
    outputs = [answer["output"] for _, answer in before]
    known = {item["id"]: item for output in outputs for item in output}
    here = {_key(item) for item in items}
    ids = {item.get("id") for item in items}  # an item without its own is one that anybody may have made
    for item in items:
        theirs = known.get(item.get("id", ""))
        if item.get("type") == "reasoning":
            yield from _of_reasoning_item(item, theirs, stored=body.get("store", True) is not False)
        elif theirs is not None and theirs != item:
            yield f"Item '{item['id']}' of type '{item.get('type')}' is not what was sent with this id."
    for output in outputs:
        for item, after in pairwise(output):
            if item["type"] != "reasoning":
                continue
            if after["id"] in ids and _key(item) not in here:
                whose = f"Item '{after['id']}' of type '{after['type']}'"
                yield f"{whose} was provided without its required 'reasoning' item: '{item['id']}'."
            if _key(item) in here and _key(_following(items, item)) != _key(after):
                yield f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."


def _of_reasoning_item(item: Json, theirs: Json | None, *, stored: bool) -> Iterator[str]:
    if not item.get("encrypted_content") and not stored:
        yield (
            f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false. "
            "Try again with `store` set to true, or remove this item from your input."
        )
    if theirs is None or theirs.get("encrypted_content") != item.get("encrypted_content"):
        yield (
            f"The encrypted content for item {item['id']} could not be verified. "
            "Reason: Encrypted content could not be decrypted or parsed."
        )
    elif theirs != item:
        yield f"Item '{item['id']}' of type 'reasoning' is not what was sent with this id."


def _following(items: list[Json], item: Json) -> Json:
    place = next(n for n, each in enumerate(items) if _key(each) == _key(item))
    return items[place + 1] if place + 1 < len(items) else {}


def _key(item: Json) -> tuple[str, str]:
    """What tells an item from others: a call is known by its call, for its own id may be left out."""
    kind = item.get("type", "message")
    return kind, str(item["call_id"]) if kind == "function_call" else str(item.get("id"))
