"""Each rule of the checker of Chat Completions has a body that it refuses; those beside it are taken."""

import copy
from typing import Any

import pytest

from strict.judge import objection
from strict.words import Exchange

Json = dict[str, Any]

PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def call(id_: str = "a", name: str = "get_weather", arguments: str = "{}") -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(*messages: Json, **more: Any) -> Json:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}, *messages], **more}


def calls(*made: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(made), **more}


def result(id_: str = "a", content: Any = "mild") -> Json:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def strict(parameters: Json) -> Json:
    return {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}


def output(schema: Json, name: str = "answer") -> Json:
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


TAKEN: dict[str, Json] = {
    "a text": asked(),
    "no text": {"model": "m", "messages": [{"role": "user", "content": ""}]},
    "a system and a developer": asked({"role": "system", "content": "s"}, {"role": "developer", "content": "d"}),
    "calls and results": asked(calls(call("a"), call("b")), result("b"), result("a"), tools=[WEATHER]),
    "two rounds": asked(calls(call()), result(), calls(call("b"), content="so"), result("b")),
    "an id again in another round": asked(calls(call()), result(), calls(call()), result()),
    "an image": asked({"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}),
    "a stream": asked(stream=True, stream_options={"include_usage": True}),
    "tools": asked(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False),
    "one tool": asked(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}}),
    "a strict tool": asked(tools=[strict(CLOSED)]),
    "an output": asked(response_format=output(CLOSED)),
    "what relatives say": asked({"role": "assistant", "content": "so", "reasoning_content": "hm"}),
    "settings": asked(temperature=0.5, max_completion_tokens=5, seed=1, stop=["a"], reasoning_effort="low"),
    "a reasoning model": {**asked(max_completion_tokens=5, temperature=1), "model": "gpt-5"},
}

REFUSED: dict[str, tuple[Json, str]] = {
    "an unknown parameter": (asked(tempature=1), "Unknown parameter: 'tempature'"),
    "no messages": ({"model": "m", "messages": []}, "Invalid 'messages': empty array"),
    "no model": ({"messages": [{"role": "user", "content": "hi"}]}, "model: Field required"),
    "a role": (asked({"role": "robot", "content": "x"}), "Invalid value: 'robot'"),
    "null": (asked({"role": "assistant", "content": None}), "expected a string, got null"),
    "no parts": (asked({"role": "user", "content": []}), "content': empty array"),
    "no calls": (asked(calls()), "tool_calls': empty array"),
    "an orphan": (asked(calls(call()), {"role": "user", "content": "?"}), "did not have response messages: a"),
    "an orphan at the end": (asked(calls(call())), "did not have response messages: a"),
    "half an answer": (asked(calls(call("a"), call("b")), result("a")), "did not have response messages: b"),
    "a stray": (asked(result()), "must be a response to a preceeding message"),
    "a stray behind a text": (
        asked(calls(call()), result(), {"role": "assistant", "content": "x"}, result()),
        "must be a response to a preceeding message",
    ),
    "a result twice": (asked(calls(call()), result(), result()), "'a' not found in 'tool_calls'"),
    "another's result": (asked(calls(call()), result("b")), "'b' not found in 'tool_calls'"),
    "an id twice": (asked(calls(call(), call()), result(), result()), "Duplicate value for 'tool_call_id' of 'a'"),
    "a long id": (asked(calls(call("x" * 41)), result("x" * 41)), "maximum length 40"),
    "an empty id": (asked(calls(call("")), result("")), "minimum length 1"),
    "a dotted name": (asked(calls(call("a", "a.b")), result()), "tool_calls[0].function.name"),
    "a long name": (asked(calls(call("a", "x" * 65)), result()), "tool_calls[0].function.name"),
    "arguments": (asked(calls(call("a", "f", "nope")), result()), "JSON text of an object"),
    "arguments as an object": (asked(calls(call("a", "f", {})), result()), "Input should be a valid string"),  # type: ignore[arg-type]
    "an image in a result": (
        asked(calls(call()), result("a", [{"type": "image_url", "image_url": {"url": PNG}}])),
        "messages.2",
    ),
    "no image": (
        asked(
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}}]}
        ),
        "unsupported image",
    ),
    "torn base64": (
        asked({"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"{PNG[:-1]}"}}]}),
        "unsupported image",
    ),
    "an empty list of tools": (asked(tools=[]), "Invalid 'tools': empty array"),
    "too many tools": (asked(tools=[WEATHER] * 129), "maximum length 128"),
    "a tool twice": (asked(tools=[WEATHER, WEATHER]), "Tool names must be unique"),
    "a tool's name": (
        asked(tools=[{"type": "function", "function": {"name": "a b"}}]),
        "Invalid 'tools[0].function.name'",
    ),
    "a tool's parameters": (
        asked(tools=[{"type": "function", "function": {"name": "a", "parameters": {"type": "string"}}}]),
        "got 'type: \"string\"'",
    ),
    "an open strict tool": (
        asked(tools=[strict({**CLOSED, "additionalProperties": True})]),
        "'additionalProperties' is required",
    ),
    "an optional parameter of a strict tool": (asked(tools=[strict({**CLOSED, "required": []})]), "Missing 'a'"),
    "a choice without tools": (asked(tool_choice="auto"), "'tool_choice' is only allowed"),
    "parallel without tools": (asked(parallel_tool_calls=True), "'parallel_tool_calls' is only allowed"),
    "a choice of another tool": (
        asked(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "f"}}),
        "Tool choice 'f' not found",
    ),
    "a choice that is none": (asked(tools=[WEATHER], tool_choice="any"), "tool_choice"),
    "two limits": (asked(max_tokens=1, max_completion_tokens=1), "at the same time"),
    "no tokens": (asked(max_tokens=0), "Expected a value >= 1"),
    "heat": (asked(temperature=3), "Invalid 'temperature'"),
    "stops": (asked(stop=["a"] * 5), "maximum length 4"),
    "stream options": (asked(stream_options={"include_usage": True}), "only allowed when 'stream'"),
    "tokens of a reasoning model": ({**asked(max_tokens=5), "model": "o3-mini"}, "Use 'max_completion_tokens'"),
    "heat of a reasoning model": ({**asked(temperature=0.5), "model": "gpt-5.1"}, "does not support 0.5"),
    "json unsaid": (asked(response_format={"type": "json_object"}), "must contain the word 'json'"),
    "an open output": (asked(response_format=output({"type": "object", "properties": {}})), "additionalProperties"),
    "an output that is no object": (asked(response_format=output({"type": "string"})), "must be of 'type: \"object\"'"),
    "an output's name": (asked(response_format=output(CLOSED, "a b")), "response_format.json_schema.name"),
    "a nested open output": (
        asked(response_format=output({**CLOSED, "properties": {"a": {"type": "object"}}})),
        "In context=('a',)",
    ),
    "a key that nobody knows": (asked({"role": "user", "content": "x", "mood": "good"}), "mood"),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_it_is_taken(body: Json) -> None:
    before = copy.deepcopy(body)
    assert objection("openai", body) == ""
    assert body == before


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(body: Json, words: str) -> None:
    assert words in objection("openai", body)


def test_what_a_relative_adds_is_taken_by_whoever_said_it() -> None:
    said = {"role": "assistant", "content": "so", "reasoning_content": "hm"}
    body = asked(said)
    answer = {"choices": [{"message": said}]}
    assert objection("openai", body, [Exchange(asked(), answer)]) == ""
    assert "Unknown parameter: 'messages[1].reasoning_content'" in objection("openai", body, [])
