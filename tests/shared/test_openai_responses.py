"""Each rule of the checker of Responses has a body that it refuses; those beside it are taken."""

import copy
from typing import Any

import pytest

from strict.judge import objection
from strict.words import Exchange

Json = dict[str, Any]

PNG = "data:image/png;base64,iVBORw0KGgo="
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
F = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
USER = {"type": "message", "role": "user", "content": "hi"}
SAID = {
    "type": "message",
    "role": "assistant",
    "id": "msg_1",
    "status": "completed",
    "content": [{"type": "output_text", "text": "so", "annotations": []}],
}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


def call(id_: str = "a", name: str = "f", arguments: Any = "{}", **more: Any) -> Json:
    return {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments, **more}


def result(id_: str = "a", output: Any = "1") -> Json:
    return {"type": "function_call_output", "call_id": id_, "output": output}


def asked(*items: Json, **more: Any) -> Json:
    return {"model": "m", "store": False, "input": [USER, *items], **more}


def output(schema: Json, name: str = "answer") -> Json:
    return {"format": {"type": "json_schema", "name": name, "schema": schema, "strict": True}}


TAKEN: dict[str, Json] = {
    "a text": {"model": "m", "input": "hi"},
    "items": asked(),
    "calls and outputs": asked(call("a"), call("b"), result("b"), result("a"), tools=[F]),
    "a text behind a call": asked(call(), SAID, result()),
    "reasoning": asked(THOUGHT, call(), result(), include=["reasoning.encrypted_content"]),
    "reasoning before a text": asked(THOUGHT, SAID, USER),
    "an image in an output": asked(call(), result("a", [{"type": "input_image", "image_url": PNG, "detail": "auto"}])),
    "an image": asked({**USER, "content": [{"type": "input_image", "image_url": PNG, "detail": "auto"}]}),
    "tools": asked(tools=[F], tool_choice="required"),
    "one tool": asked(tools=[F], tool_choice={"type": "function", "name": "f"}),
    "a choice without tools": asked(tool_choice="none"),
    "a hosted tool": asked(tools=[{"type": "web_search"}]),
    "an output": asked(text=output(CLOSED)),
    "settings": asked(temperature=0.5, max_output_tokens=16, reasoning={"effort": "low"}, stream=True),
}

REFUSED: dict[str, tuple[Json, str]] = {
    "an unknown parameter": (asked(seed=1), "Unknown parameter: 'seed'"),
    "nothing": ({"model": "m"}, "Missing required parameter: 'input'"),
    "an item of no kind": (asked({"type": "thought", "text": "x"}), "input"),
    "an orphan": (asked(call(), USER), "No tool output found for function call a."),
    "an orphan at the end": (asked(call()), "No tool output found for function call a."),
    "an output too late": (asked(call(), USER, result()), "No tool output found for function call a."),
    "a stray": (asked(result()), "No tool call found for function call output with call_id a."),
    "an output twice": (asked(call(), result(), result()), "No tool call found"),
    "an output before its call": (asked(result(), call()), "No tool call found"),
    "a call id twice": (asked(call(), call(), result(), result()), "Duplicate call_id 'a'"),
    "an item twice": (asked(SAID, SAID), "Duplicate item found with id msg_1"),
    "an id of another kind": (asked(call(id="call_1"), result()), "Expected an ID that begins with 'fc'"),
    "a long call id": (asked(call("x" * 65), result("x" * 65)), "maximum length 64"),
    "an empty call id": (asked(call(""), result("")), "length 0"),
    "a dotted name": (asked(call("a", "f.g"), result()), "Invalid 'input[1].name'"),
    "arguments": (asked(call("a", "f", "[]"), result()), "JSON text of an object"),
    "a role": (asked({**USER, "role": "tool"}), "Invalid value: 'tool'"),
    "no parts": (asked({**USER, "content": []}), "content': empty array"),
    "what a user can't say": (
        asked({**USER, "content": [{"type": "output_text", "text": "x"}]}),
        "Invalid value: 'output_text'",
    ),
    "what an assistant can't say": (
        asked({"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}),
        "Invalid value: 'input_text'",
    ),
    "no image": (asked({**USER, "content": [{"type": "input_image", "image_url": "x"}]}), "input[1].content[0].image"),
    "a file without a name": (
        asked({**USER, "content": [{"type": "input_file", "file_data": "data:text/plain;base64,AA=="}]}),
        "Missing required parameter: 'input[1].content[0].filename'",
    ),
    "reasoning at the end": (asked(THOUGHT), "without its required following item"),
    "reasoning before a user": (asked(THOUGHT, USER), "without its required following item"),
    "reasoning before an output": (asked(call(), THOUGHT, result()), "without its required following item"),
    "a tool without strict": (
        asked(tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}]),
        "strict",
    ),
    "a tool of Chat Completions": (asked(tools=[{"type": "function", "function": {"name": "f"}}]), "name"),
    "an open strict tool": (asked(tools=[{**F, "strict": True}]), "'additionalProperties' is required"),
    "a tool twice": (asked(tools=[F, F]), "Tool names must be unique"),
    "too many tools": (asked(tools=[F] * 129), "maximum length 128"),
    "required without tools": (asked(tool_choice="required"), "must be specified with 'tools'"),
    "a choice of another tool": (
        asked(tools=[F], tool_choice={"type": "function", "name": "g"}),
        "not found in 'tools'",
    ),
    "few tokens": (asked(max_output_tokens=15), "Expected a value >= 16"),
    "heat": (asked(temperature=2.5), "Invalid 'temperature'"),
    "heat of a reasoning model": ({**asked(temperature=1), "model": "gpt-5"}, "'temperature' is not supported"),
    "an open output": (asked(text=output({"type": "object"})), "additionalProperties"),
    "an output that is no object": (asked(text=output({"type": "string"})), "must be of 'type: \"object\"'"),
    "an output's name": (asked(text=output(CLOSED, "a b")), "text.format.name"),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_it_is_taken(body: Json) -> None:
    before = copy.deepcopy(body)
    assert objection("openai_responses", body) == ""
    assert body == before


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(body: Json, words: str) -> None:
    assert words in objection("openai_responses", body)


MADE = call(id="fc_1", status="completed")
BEFORE = [Exchange(asked(), {"id": "resp_1", "output": [THOUGHT, MADE]})]
REMEMBERED: dict[str, tuple[Json, str]] = {
    "as it was": (asked(THOUGHT, MADE, result()), ""),
    "the call without its own id": (asked(THOUGHT, call(), result()), ""),
    "a call without its reasoning": (asked(MADE, result()), "without its required 'reasoning' item: 'rs_1'"),
    "a call of its id that anybody made": (asked(call(), result()), ""),
    "reasoning without its call": (asked(THOUGHT, SAID), "without its required following item"),
    "something between": (asked(THOUGHT, SAID, MADE, result()), "without its required following item"),
    "changed reasoning": (
        asked({**THOUGHT, "encrypted_content": "gAAB"}, MADE, result()),
        "The encrypted content for item rs_1 could not be verified",
    ),
    "a changed summary": (
        asked({**THOUGHT, "summary": [{"type": "summary_text", "text": "x"}]}, MADE, result()),
        "'rs_1' of type 'reasoning' is not what was sent",
    ),
    "reasoning of somebody else": (asked({**THOUGHT, "id": "rs_2"}, SAID), "The encrypted content for item rs_2"),
    "reasoning that was not stored": (
        asked({"type": "reasoning", "id": "rs_1", "summary": []}, MADE, result()),
        "Items are not persisted",
    ),
    "a changed call": (asked(THOUGHT, {**MADE, "arguments": '{"a":1}'}, result()), "'fc_1' of type 'function_call'"),
    "an unknown response": (asked(previous_response_id="resp_2"), "Previous response with id 'resp_2' not found"),
}


@pytest.mark.parametrize(("body", "words"), REMEMBERED.values(), ids=REMEMBERED)
def test_what_it_said_is_held_against_the_request(body: Json, words: str) -> None:
    found = objection("openai_responses", body, BEFORE)
    assert words in found if words else found == ""
