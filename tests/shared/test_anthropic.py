"""Each rule of the checker of Messages has a body that it refuses; those beside it are taken."""

import copy
from typing import Any

import pytest

from strict.anthropic import bound
from strict.judge import objection
from strict.words import Exchange

Json = dict[str, Any]

F = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
USER = {"role": "user", "content": "hi"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig1"}
HIDDEN = {"type": "redacted_thinking", "data": "zzz"}
EXTENDED = {"type": "enabled", "budget_tokens": 1024}
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
MARK = {"type": "ephemeral"}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def call(id_: str = "a", name: str = "f", input_: Any = None) -> Json:
    return {"type": "tool_use", "id": id_, "name": name, "input": {} if input_ is None else input_}


def result(id_: str = "a", content: Any = "1") -> Json:
    return {"type": "tool_result", "tool_use_id": id_, "content": content}


def image(data: str) -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def said(*blocks: Any) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def told(*blocks: Any) -> Json:
    return {"role": "user", "content": list(blocks)}


def asked(*messages: Json, **more: Any) -> Json:
    return {"model": "m", "max_tokens": 2000, "messages": [USER, *messages], **more}


def looped(*blocks: Any, **more: Any) -> Json:
    return asked(said(*blocks), told(result()), tools=[F], **more)


def output(schema: Json) -> Json:
    return {"format": {"type": "json_schema", "schema": schema}}


TAKEN: dict[str, Json] = {
    "a text": asked(),
    "a system": asked(system=[text("s", cache_control=MARK)]),
    "calls and results": asked(said(call("a"), call("b")), told(result("b"), result("a"), text("?")), tools=[F]),
    "two of the user": asked(USER),
    "an id again in another round": asked(said(call()), told(result()), said(call()), told(result()), tools=[F]),
    "an image in a result": asked(said(call()), told(result("a", [text("x"), image("AAAA")])), tools=[F]),
    "thinking": looped(THOUGHT, call(), thinking=EXTENDED),
    "hidden thinking": looped(HIDDEN, call(), thinking=EXTENDED),
    "thinking in an earlier turn left out": asked(said(text("x")), USER, thinking=EXTENDED),
    "no thinking where it is the model's to say": looped(call(), thinking={"type": "adaptive"}),
    "a tool of theirs": asked(said(SEARCH, FOUND, text("x")), USER),
    "a tool of theirs, paused": asked(said(SEARCH, FOUND)),
    "a system in the midst": asked({"role": "system", "content": "s"}, said(text("x")), USER),
    "tools": asked(tools=[F], tool_choice={"type": "any", "disable_parallel_tool_use": True}),
    "one tool": asked(tools=[F], tool_choice={"type": "tool", "name": "f"}),
    "no tool": looped(call(), tool_choice={"type": "none"}),
    "a strict tool": asked(tools=[{"name": "f", "input_schema": CLOSED, "strict": True}]),
    "an output": asked(output_config=output(CLOSED)),
    "settings": asked(temperature=0.5, stop_sequences=["x"], stream=True),
    "four marks": asked(
        system=[text("s", cache_control=MARK)], tools=[{**F, "name": f"f{n}", "cache_control": MARK} for n in range(3)]
    ),
}

REFUSED: dict[str, tuple[Json, str]] = {
    "an unknown parameter": (asked(seed=1), "seed: Extra inputs are not permitted"),
    "an unknown key": (asked(told(text("x", mood="good"))), "mood: Extra inputs are not permitted"),
    "no limit": ({"model": "m", "messages": [USER]}, "max_tokens: Field required"),
    "no tokens": ({**asked(), "max_tokens": 0}, "max_tokens: Input should be greater"),
    "no messages": ({**asked(), "messages": []}, "at least one message is required"),
    "an assistant first": ({**asked(), "messages": [said(text("x")), USER]}, 'first message must use the "user" role'),
    "a system first": ({**asked(), "messages": [{"role": "system", "content": "s"}]}, "top-level 'system' parameter"),
    "a system behind an assistant": (
        asked(said(text("x")), {"role": "system", "content": "s"}),
        "must immediately follow a user turn",
    ),
    "a system before a user": (asked({"role": "system", "content": "s"}, USER), "must precede an assistant turn"),
    "a role": (asked({"role": "tool", "content": "x"}), "messages.1.role"),
    "an assistant last": (asked(said(text("x"))), "does not support assistant message prefill"),
    "no blocks": (asked(said(), USER), "messages.1: all messages must have non-empty content"),
    "an empty text": (asked(said(text("")), USER), "text content blocks must be non-empty"),
    "blanks": (asked(told(text(" \n"))), "must contain non-whitespace text"),
    "an empty string": ({**asked(), "messages": [{"role": "user", "content": ""}]}, "must be non-empty"),
    "an empty system": (asked(system=""), "system.0: text content blocks must be non-empty"),
    "an empty text in a result": (looped(call()) | asked(said(call()), told(result("a", [text("")]))), "non-empty"),
    "an orphan": (asked(said(call()), USER, tools=[F]), "without `tool_result` blocks immediately after: a."),
    "an orphan at the end": (asked(said(call()), tools=[F]), "prefill"),
    "half an answer": (asked(said(call("a"), call("b")), told(result("a")), tools=[F]), "immediately after: b."),
    "results in two messages": (
        asked(said(call("a"), call("b")), told(result("a")), told(result("b")), tools=[F]),
        "immediately after: b.",
    ),
    "a text before the result": (asked(said(call()), told(text("x"), result()), tools=[F]), "immediately after: a."),
    "a stray": (asked(told(result()), tools=[F]), "unexpected `tool_use_id` found in `tool_result` blocks: a."),
    "a result two turns later": (
        asked(said(call()), told(result()), said(text("x")), told(result()), tools=[F]),
        "messages.4.content.0: unexpected `tool_use_id`",
    ),
    "a result twice": (asked(said(call()), told(result(), result()), tools=[F]), "must have a single result"),
    "an id twice": (asked(said(call(), call()), told(result()), tools=[F]), "`tool_use` ids must be unique"),
    "an id": (asked(said(call("a.b")), told(result("a.b")), tools=[F]), "tool_use.id: String should match"),
    "a name": (looped(call("a", "f.g")), "tool_use.name: String should match"),
    "an input": (looped(call("a", "f", [1])), "tool_use.input: Input should be a valid dictionary"),
    "calls without tools": (asked(said(call()), told(result())), "must define tools"),
    "a call of a user": (asked(told(call()), tools=[F]), "can only be in `assistant` messages"),
    "a result of an assistant": (asked(said(call(), result()), told(result()), tools=[F]), "can only be in `user`"),
    "no image": (asked(told(image("***"))), "invalid base64"),
    "thinking at the end": (asked(said(text("x"), THOUGHT), USER), "The final block in an assistant message cannot be"),
    "no thinking": (
        looped(call(), thinking=EXTENDED),
        "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
    ),
    "thinking behind a text": (looped(text("x"), THOUGHT, call(), thinking=EXTENDED), "but found `text`"),
    "a forced tool and thinking": (
        asked(thinking=EXTENDED, tools=[F], tool_choice={"type": "any"}),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    "heat and thinking": (asked(thinking=EXTENDED, temperature=0.5), "`temperature` may only be set to 1"),
    "top_k and thinking": (asked(thinking={"type": "adaptive"}, top_k=5), "`top_k` must be unset"),
    "top_p and thinking": (asked(thinking=EXTENDED, top_p=0.5), "`top_p` must be greater"),
    "a small budget": (asked(thinking={"type": "enabled", "budget_tokens": 10}), "greater than or equal to 1024"),
    "a large budget": (asked(thinking={"type": "enabled", "budget_tokens": 2000}), "`max_tokens` must be greater"),
    "heat": (asked(temperature=1.5), "temperature: range: 0..1"),
    "heat and top_p": (asked(temperature=0.5, top_p=0.5), "cannot both be specified"),
    "a blank stop": (asked(stop_sequences=["\n"]), "must contain non-whitespace"),
    "five marks": (
        asked(tools=[{**F, "name": f"f{n}", "cache_control": MARK} for n in range(5)]),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "a mark on thinking": (looped({**THOUGHT, "cache_control": MARK}, call()), "cache_control"),
    "a tool's name": (asked(tools=[{**F, "name": "f.g"}]), "tools.0.custom.name: String should match"),
    "a tool twice": (asked(tools=[F, F]), "Tool names must be unique"),
    "a tool's schema": (asked(tools=[{"name": "f", "input_schema": {}}]), "input_schema.type"),
    "a choice at the top of a schema": (
        asked(tools=[{"name": "f", "input_schema": {"type": "object", "anyOf": []}}]),
        "does not support oneOf, allOf, or anyOf",
    ),
    "a key of a schema": (
        asked(tools=[{"name": "f", "input_schema": {"type": "object", "properties": {"$a": {}}}}]),
        "Property keys should match",
    ),
    "an open strict tool": (asked(tools=[{**F, "strict": True}]), "must be explicitly set to false"),
    "a choice without tools": (asked(tool_choice={"type": "auto"}), "may only be specified while providing tools"),
    "a choice of another tool": (asked(tools=[F], tool_choice={"type": "tool", "name": "g"}), "'g' not found"),
    "a choice that is none": (asked(tools=[F], tool_choice={"type": "required"}), "tool_choice"),
    "an open output": (asked(output_config=output({"type": "object"})), "output_config.format.schema"),
    "a search without its end": (asked(said(SEARCH, text("x")), USER), "without a corresponding `web_search_tool_res"),
    "a search without its end, and a user": (
        asked(said(SEARCH), said(text("x")), USER),
        "without a corresponding `web_search_tool_result`",
    ),
    "the end of no search": (asked(said(FOUND, text("x")), USER), "must have a corresponding `server_tool_use`"),
    "a search's id": (asked(said({**SEARCH, "id": "a"}, text("x")), USER), "srvtoolu_"),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_it_is_taken(body: Json) -> None:
    before = copy.deepcopy(body)
    assert objection("anthropic", body) == ""
    assert body == before


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(body: Json, words: str) -> None:
    assert words in objection("anthropic", body)


BEFORE = [
    Exchange(asked(tools=[F]), {"content": [THOUGHT, HIDDEN, call()]}),
    Exchange(asked(tools=[F]), {"content": [THOUGHT, call("z"), HIDDEN]}),
]
REMEMBERED: dict[str, tuple[Json, str]] = {
    "without what ended it": (asked(said(THOUGHT, call("z")), told(result("z")), tools=[F]), ""),
    "as it was": (looped(THOUGHT, HIDDEN, call(), thinking={"type": "adaptive"}), ""),
    "as it was, later": (asked(said(THOUGHT, HIDDEN, call()), told(result()), said(text("x")), USER, tools=[F]), ""),
    "left out in an earlier turn": (asked(said(call()), told(result()), said(text("x")), USER, tools=[F]), ""),
    "a changed thought": (looped({**THOUGHT, "thinking": "ah"}, HIDDEN, call()), "Invalid `signature` in `thinking`"),
    "another signature": (looped({**THOUGHT, "signature": "sig2"}, HIDDEN, call()), "Invalid `signature`"),
    "changed data": (looped(THOUGHT, {**HIDDEN, "data": "y"}, call()), "Invalid `data` in `redacted_thinking` block"),
    "one left out": (looped(THOUGHT, call()), "blocks in the latest assistant message cannot be modified"),
    "all left out": (looped(call()), "blocks in the latest assistant message cannot be modified"),
    "in another order": (looped(HIDDEN, THOUGHT, call()), "cannot be modified"),
}


@pytest.mark.parametrize(("body", "words"), REMEMBERED.values(), ids=REMEMBERED)
def test_what_it_said_is_held_against_the_request(body: Json, words: str) -> None:
    found = objection("anthropic", body, BEFORE)
    assert words in found if words else found == ""


def test_thinking_is_bound_to_what_stood_before_it() -> None:
    same = looped(THOUGHT, HIDDEN, call())
    assert list(bound(same, BEFORE)) == []
    marked = {**same, "tools": [{**F, "cache_control": MARK}]}
    assert list(bound(marked, BEFORE)) == []
    for changed in ({**same, "tools": [{**F, "name": "g"}]}, {**same, "system": "s"}):
        assert "bound to a different conversation" in next(bound(changed, BEFORE))
