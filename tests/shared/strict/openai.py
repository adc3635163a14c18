"""What OpenAI's Chat Completions would refuse a request for, in its words.

A pure function over a request body, from what the API was seen to answer. Sources: the API reference,
https://platform.openai.com/docs/api-reference/chat/create; the sentences are those quoted in
https://github.com/openai/openai-python/issues and in https://github.com/langchain-ai/langchain/issues. Two rules are
those of relatives (vLLM, whose templates parse the arguments of a call; Azure, which wants names to be unique).
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
LONGEST_ID = 40
MOST_TOOLS = 128
ROLES = ("system", "developer", "user", "assistant", "tool")
IMAGE = re.compile(r"https?://.+|data:image/(png|jpeg|gif|webp);base64,([a-zA-Z0-9+/]+={0,2})")
REASONING_MODEL = re.compile(r"o\d|gpt-[5-9]")
OF_RELATIVES = ("reasoning_content", "reasoning", "reasoning_details", "extra_content", "extra_fields")


def objections(body: Json, before: Before = None) -> Iterator[str]:
    """Everything that is wrong with `body`, beside its types."""
    yield from _of_parameters(body)
    yield from _of_tools(body)
    if not body["messages"]:
        yield "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
    yield from _of_messages(body["messages"])
    yield from _of_additions(body["messages"], before)


def bare(body: Json) -> Json:
    """`body` without what relatives of OpenAI add to a message or a call, which its SDK's types don't know."""

    def without(value: Json) -> Json:
        return {name: each for name, each in value.items() if name not in OF_RELATIVES}

    messages = []
    for message in body["messages"]:
        told = without(message)
        if "tool_calls" in told:
            told["tool_calls"] = [without(call) for call in told["tool_calls"]]
        messages.append(told)
    return {**body, "messages": messages}


def _of_parameters(body: Json) -> Iterator[str]:
    for name in body.keys() - typed.parameters("openai"):
        yield f"Unknown parameter: '{name}'."
    if "max_tokens" in body and "max_completion_tokens" in body:
        yield "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
    for name in ("max_tokens", "max_completion_tokens"):
        if (value := body.get(name)) is not None and value < 1:
            yield f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
    if (value := body.get("temperature")) is not None and not 0 <= value <= 2:
        yield f"Invalid 'temperature': decimal out of range. Expected a value from 0 to 2, but got {value} instead."
    if len(listed(body.get("stop"))) > 4:
        yield "Invalid 'stop': array too long. Expected an array with maximum length 4."
    if body.get("stream_options") is not None and not body.get("stream"):
        yield "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    if REASONING_MODEL.match(body["model"]):
        yield from _of_reasoning_models(body)
    yield from _of_output(body)


def _of_reasoning_models(body: Json) -> Iterator[str]:
    if body.get("max_tokens") is not None:
        yield (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    if body.get("temperature", 1) not in {1, None}:
        yield (
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. "
            "Only the default (1) value is supported."
        )


def _of_output(body: Json) -> Iterator[str]:
    told = body.get("response_format") or {}
    if told.get("type") == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        yield "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    if told.get("type") == "json_schema":
        output = told["json_schema"]
        if not NAME.fullmatch(output["name"]):
            yield "Invalid 'response_format.json_schema.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
        if output.get("schema", {}).get("type") != "object":
            yield f"Invalid schema for response_format '{output['name']}': schema must be of 'type: \"object\"'."
        if output.get("strict"):
            for each in schema_objections(output.get("schema")):
                yield f"Invalid schema for response_format '{output['name']}': {each}"


def _of_tools(body: Json) -> Iterator[str]:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body:
                yield f"'{name}' is only allowed when 'tools' are specified."
        return
    if not tools:
        yield "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead."
    if len(tools) > MOST_TOOLS:
        yield f"Invalid 'tools': array too long. Expected an array with maximum length {MOST_TOOLS}."
    functions = [tool["function"] for tool in tools]
    for n, function in enumerate(functions):
        yield from function_objections(function, f"tools[{n}].function")
    names = [function["name"] for function in functions]
    if len(set(names)) < len(names):
        yield "Tool names must be unique."
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        yield f"Invalid value for 'tool_choice': Tool choice '{choice['function']['name']}' not found in 'tools'."


def function_objections(function: Json, place: str) -> Iterator[str]:
    """What is wrong with a function that is offered; both interfaces of OpenAI say the same."""
    name, parameters = function["name"], function.get("parameters") or {}
    if not NAME.fullmatch(name):
        yield (
            f"Invalid '{place}.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$', of 1 to 64 characters."
        )
    if parameters.get("type", "object") != "object":
        found = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{parameters['type']}\"'."
        yield f"Invalid schema for function '{name}': {found}"
    if function.get("strict"):
        for each in schema_objections(parameters):
            yield f"Invalid schema for function '{name}': {each}"


def _of_messages(messages: list[Json]) -> Iterator[str]:
    waiting: list[str] | None = None
    for n, message in enumerate(messages):
        role = message["role"]
        if role not in ROLES:
            yield f"Invalid value: '{role}'. Supported values are: {', '.join(map(repr, ROLES))}."
        if role == "tool":
            yield from _of_result(message, n, waiting)
            if waiting and message["tool_call_id"] in waiting:
                waiting.remove(message["tool_call_id"])
            continue
        yield from _of_waiting(waiting)
        waiting = None
        if message.get("tool_calls") is not None:
            waiting = [call["id"] for call in message["tool_calls"]]
            yield from _of_calls(message["tool_calls"], f"messages[{n}].tool_calls")
        elif message.get("content") is None:
            yield f"Invalid value for 'content': expected a string, got null. (messages[{n}])"
        yield from _of_content(message.get("content"), f"messages[{n}].content")
    yield from _of_waiting(waiting)


def _of_waiting(waiting: list[str] | None) -> Iterator[str]:
    if waiting:
        yield (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        )


def _of_result(message: Json, n: int, waiting: list[str] | None) -> Iterator[str]:
    if waiting is None:
        yield (
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
            f"'tool_calls'. (messages[{n}])"
        )
    elif message["tool_call_id"] not in waiting:
        yield (
            f"Invalid parameter: 'tool_call_id' of '{message['tool_call_id']}' not found in 'tool_calls' of previous "
            f"message. (messages[{n}])"
        )


def _of_calls(calls: list[Json], place: str) -> Iterator[str]:
    if not calls:
        yield f"Invalid '{place}': empty array. Expected an array with minimum length 1, but got an empty array."
    for id_, count in Counter(call["id"] for call in calls).items():
        if count > 1:
            yield f"Duplicate value for 'tool_call_id' of '{id_}' in {place}"
    for n, call in enumerate(calls):
        if len(call["id"]) > LONGEST_ID:
            yield (
                f"Invalid '{place}[{n}].id': string too long. Expected a string with maximum length {LONGEST_ID}, "
                f"but got a string with length {len(call['id'])} instead."
            )
        if not call["id"]:
            yield f"Invalid '{place}[{n}].id': empty string. Expected a string with minimum length 1."
        if not NAME.fullmatch(call["function"]["name"]):
            yield (
                f"Invalid '{place}[{n}].function.name': string does not match pattern. "
                "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$', of 1 to 64 characters."
            )
        if not is_object(call["function"]["arguments"]):
            yield f"Invalid '{place}[{n}].function.arguments': expected the JSON text of an object."


def _of_content(content: Any, place: str) -> Iterator[str]:
    if content == []:
        yield f"Invalid '{place}': empty array. Expected an array with minimum length 1, but got an empty array."
    for n, part in enumerate(listed(content)):
        if part["type"] == "image_url" and not is_image(part["image_url"]["url"]):
            yield (
                f"Invalid '{place}[{n}].image_url': You uploaded an unsupported image. Please make sure your image has "
                "of one the following formats: ['png', 'jpeg', 'gif', 'webp']."
            )


def _of_additions(messages: list[Json], before: Before) -> Iterator[str]:
    """What a relative adds is taken by that relative alone: by who has said it himself."""
    if before is None:
        return
    said = json.dumps([answer for _, answer in before])
    for n, message in enumerate(messages):
        for part in (message, *message.get("tool_calls", ())):
            for name in OF_RELATIVES:
                if name in part and f'"{name}"' not in said:
                    yield f"Unknown parameter: 'messages[{n}].{name}'."


def is_object(text: Any) -> bool:
    """Whether `text` is the JSON text of an object."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def is_image(url: str) -> bool:
    """Whether `url` leads to an image, or is one."""
    found = IMAGE.fullmatch(url)
    if found is None or found[2] is None:
        return found is not None
    try:
        return bool(base64.b64decode(found[2], validate=True))
    except ValueError:
        return False
