import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import TypeAdapter

from toolwire.protocol.events import ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.formats.contract import Answer
from toolwire.protocol.formats.openai import (
    message_to_openai,
    messages_from_openai,
    tool_from_openai,
    tool_name,
    tool_names,
    tool_to_openai,
)
from toolwire.protocol.formats.openai_speech import Speech, answer_from_openai
from toolwire.protocol.history import AssistantMessage, HistoryMessage, Opaque, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolSpec, encode_json

THEIR_MESSAGES = TypeAdapter(list[ChatCompletionMessageParam])
THEIR_TOOLS = TypeAdapter(list[ChatCompletionToolParam])

texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)
json_values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | texts, lambda v: st.lists(v, max_size=3))
objects = st.dictionaries(texts, json_values, max_size=3).map(json.dumps)


@st.composite
def histories(draw: st.DrawFn) -> list[HistoryMessage]:
    messages: list[HistoryMessage] = draw(st.lists(st.builds(SystemMessage, texts), max_size=1))
    for turn in range(draw(st.integers(0, 3))):
        messages.append(UserMessage(draw(texts)))
        wanted = draw(st.lists(st.tuples(names, objects), max_size=3))
        calls = tuple(ToolCall(f"call_{turn}_{n}", name, text) for n, (name, text) in enumerate(wanted))
        messages.append(AssistantMessage(draw(texts), calls))
        messages += [ToolMessage(call.id, call.name, draw(objects)) for call in calls]
    return messages


@given(histories())
def test_a_history_comes_back(history: list[HistoryMessage]) -> None:
    theirs = [message_to_openai(message) for message in history]
    THEIR_MESSAGES.validate_python(theirs)
    assert messages_from_openai(theirs) == history


@given(st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=4))
def test_whatever_a_model_called_can_be_told_again(calls: list[ToolCall]) -> None:
    theirs = message_to_openai(AssistantMessage("", tuple(calls)))
    for call, told in zip(calls, theirs.get("tool_calls", ()), strict=True):
        assert 0 < len(told["id"]) <= 40
        assert told["id"] == message_to_openai(ToolMessage(call.id, call.name, ""))["tool_call_id"]
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", told["function"]["name"])
        assert isinstance(json.loads(told["function"]["arguments"]), dict)


def test_what_other_programs_write_is_read() -> None:
    theirs: list[dict[str, Any]] = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
        {"role": "tool", "tool_call_id": "stray", "content": "1"},
        {"role": "user", "content": ["a", {"type": "text", "text": "b"}]},
    ]
    assert messages_from_openai(theirs) == [
        SystemMessage("ab"),
        AssistantMessage("no"),
        AssistantMessage("never"),
        ToolMessage("stray", "", "1"),
        UserMessage("ab"),
    ]


def test_images_that_a_model_made_go_back_as_they_came() -> None:
    made = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}]}
    answer = {"role": "assistant", "content": "here", **made}
    (heard,) = messages_from_openai([answer])
    assert isinstance(heard, AssistantMessage)
    assert json.loads(encode_json(message_to_openai(heard))) == answer


@pytest.mark.parametrize(
    "message",
    [
        {"role": "function", "name": "f", "content": "1"},
        {"content": "no role"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]},
        {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "https://x.y/z"}}]},
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    ],
)
def test_what_has_no_word_here_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no word here"):
        messages_from_openai([message])


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        messages_from_openai([{"role": "assistant", "content": 7}])


@given(st.text(max_size=80), st.text(max_size=80))
def test_names_are_taken_and_differ(one: str, other: str) -> None:
    theirs = tool_name(one)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", theirs)
    assert (theirs == tool_name(other)) == (one == other)
    assert tool_names([ToolSpec(one)]).get(theirs, theirs) == one


def test_nobody_takes_the_place_of_an_escaped_name() -> None:
    escaped = tool_name("calendar.create")
    assert escaped.startswith("calendar_create__")
    assert tool_name("get_weather") == "get_weather"
    assert tool_names([ToolSpec("calendar.create"), ToolSpec(escaped), ToolSpec("get_weather")]) == {
        escaped: "calendar.create",
        tool_name(escaped): escaped,
    }


@pytest.mark.parametrize("parameters", [{}, {"properties": {"a": {}}}, {"type": "object", "required": ["a"]}])
def test_a_tool(parameters: dict[str, Any]) -> None:
    theirs = tool_to_openai(ToolSpec("f", "does f", parameters))
    THEIR_TOOLS.validate_python([theirs])
    assert theirs["function"]["parameters"]["type"] == "object"
    spec = tool_from_openai(theirs)
    assert (spec.name, spec.description) == ("f", "does f")
    assert parameters.items() <= spec.parameters.items()


def call(id_: str | None, name: str | None, arguments: object, **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def spoken(*calls: dict[str, Any], finish: str = "tool_calls", taken: tuple[str, ...] = ()) -> tuple[ToolCall, ...]:
    """The calls of a stream with one of `calls` in each chunk."""
    speech = Speech(made_up="new", taken=taken)
    for heard in calls:
        speech.hear({"choices": [{"delta": {"tool_calls": [heard]}}]})
    speech.hear({"choices": [{"delta": {}, "finish_reason": finish}]})
    return speech.answer().calls


def test_another_id_is_another_call_though_the_index_is_the_same() -> None:
    told = [call("a", "f", '{"x":', index=0), call(None, None, "1}", index=0), call("b", "g", "{}", index=0)]
    assert spoken(*told) == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))


def test_calls_may_be_told_by_turns() -> None:
    by_index = [call("a", "f", "[", index=0), call("b", "g", "{", index=1)]
    by_index += [call(None, None, "]", index=0), call(None, "", "}", index=1)]
    by_id = [call("a", "f", "[", index=0), call("b", "g", "{", index=0)]
    by_id += [call("a", None, "]", index=0), call("b", None, "}", index=0)]
    assert spoken(*by_index) == spoken(*by_id) == (ToolCall("a", "f", "[]"), ToolCall("b", "g", "{}"))


def test_ids_that_are_missing_or_taken_are_made_up() -> None:
    told = [call("", "f", "", index=0), call(None, "g", "", index=1), call("a", "h", "", index=2)]
    told += [call("a", "i", "", index=3), call("old", "j", "", index=4)]
    assert [c.id for c in spoken(*told, taken=("old",))] == ["new_1", "new_2", "a", "new_4", "new_5"]


def test_arguments_may_come_as_an_object() -> None:
    told = [call("a", "f", {"x": "ü"}, index=0), call("a", None, "", index=0), call(None, "g", {}, index=0)]
    assert spoken(*told) == (ToolCall("a", "f", '{"x":"ü"}'), ToolCall("new_2", "g", "{}"))


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_call_that_is_cut_off_does_not_become_one_without_arguments(finish: str) -> None:
    calls = spoken(call("a", "f", "", index=0), call("b", "delete_all", "", index=1), finish=finish)
    assert calls == (ToolCall("a", "f", "{}"), ToolCall("b", "delete_all", ""))


@given(st.lists(st.tuples(names, objects), min_size=1, max_size=4), texts, st.data())
def test_pieces_give_the_same_as_the_whole(wanted: list[tuple[str, str]], text: str, data: st.DataObject) -> None:
    calls = [call(f"id{n}", name, arguments) for n, (name, arguments) in enumerate(wanted)]
    message = {"role": "assistant", "content": text, "tool_calls": calls}
    usage = {"prompt_tokens": 5, "completion_tokens": 6}
    whole = answer_from_openai({"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage})

    one_index = data.draw(st.booleans())  # as Ollama does
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in cut(text, data)]
    for n, (name, arguments) in enumerate(wanted):
        first, *rest = cut(arguments, data)
        index = 0 if one_index else n
        deltas.append({"tool_calls": [call(f"id{n}", name, first, index=index)]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in rest]
    speech = Speech()
    events = [event for delta in deltas for event in speech.hear(chunk(delta))]
    speech.hear(chunk({}, finish_reason="tool_calls"))
    speech.hear(json.dumps({"choices": [], "usage": usage}).encode())

    assert speech.answer() == whole
    assert whole == Answer(text, tuple(ToolCall(f"id{n}", *w) for n, w in enumerate(wanted)), Usage(5, 6), "calls")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, **more}]}).encode()


def cut(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize(
    ("message", "reason", "finish"),
    [
        ({"content": "a"}, "stop", "stop"),
        ({"content": "a"}, "eos", "stop"),
        ({"content": "a"}, "length", "length"),
        ({"content": "a"}, "content_filter", "filtered"),
        ({"content": None, "refusal": "a"}, "stop", "refused"),
        ({"content": [{"type": "text", "text": "a"}]}, "stop", "stop"),
        ({"content": "a", "tool_calls": [call("x", "f", "{}")]}, "stop", "calls"),
        ({"content": "a", "tool_calls": [call("x", "f", "{}")]}, "function_call", "calls"),
        ({"content": "a"}, "tool_calls", "stop"),
        ({"content": "a"}, None, ""),
    ],
)
def test_how_an_answer_ended(message: dict[str, Any], reason: str | None, finish: str) -> None:
    answer = answer_from_openai({"choices": [{"message": message, "finish_reason": reason}]})
    assert (answer.text, answer.finish) == ("a", finish)


def test_reasoning_is_told_by_either_name() -> None:
    speech = Speech()
    assert speech.hear(chunk({"reasoning": "a"})) == [ReasoningDelta("a")]
    assert speech.hear(chunk({"reasoning_content": "b", "content": "c"})) == [ReasoningDelta("b"), TextDelta("c")]


def test_halves_of_surrogate_pairs_do_no_harm() -> None:
    speech = Speech()
    events = speech.hear(b'{"choices": [{"delta": {"content": "a\\ud83d"}}]}')
    assert events == [TextDelta("a\N{REPLACEMENT CHARACTER}")]
    assert speech.answer().text.encode()


@pytest.mark.parametrize(
    "chunk", [b"nope", b"\xff", b'{"choices": 1}', b"[]", {"choices": [{"delta": {"content": 1}}]}]
)
def test_what_is_no_completion_is_refused(chunk: object) -> None:
    with pytest.raises((ValueError, msgspec.ValidationError)):
        Speech().hear(chunk)


@pytest.mark.parametrize(
    ("error", "code"),
    [({"message": "slow", "code": 429}, "rate_limited"), ("broken", "model_failed"), ({"code": "x"}, "model_failed")],
)
def test_an_error_in_the_place_of_an_answer(error: object, code: str) -> None:
    with pytest.raises(ToolwireError) as raised:
        answer_from_openai({"error": error})
    assert raised.value.failure.code == code


EXTRA = {"reasoning_content": "hm", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "index": 0}]}
SIGNED = {"google": {"thought_signature": "s"}}


def test_what_relatives_add_goes_back_to_them() -> None:
    told = {**call("a", "f", "{}"), "extra_content": SIGNED}
    message = {"role": "assistant", "content": None, "tool_calls": [told, call("b", "g", "{}")], **EXTRA}
    answer = answer_from_openai({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    again = message_to_openai(AssistantMessage(answer.text, answer.calls, answer.opaque))
    assert json.loads(msgspec.json.encode(again)) == message
    assert messages_from_openai([message]) == [AssistantMessage("", answer.calls, answer.opaque)]


def test_what_relatives_add_may_come_in_pieces() -> None:
    speech = Speech()
    for delta in ({"reasoning_content": "h"}, {"reasoning_content": "m", "reasoning_details": []}):
        speech.hear(chunk(delta))
    speech.hear(chunk({"reasoning_details": [1], "tool_calls": [{**call("a", "f", "{", index=0), "extra": SIGNED}]}))
    speech.hear(chunk({"reasoning_details": [2], "tool_calls": [call(None, None, "}", index=0)]}))
    fields, signature = speech.answer().opaque
    assert json.loads(fields.raw) == {"reasoning_content": "hm", "reasoning_details": [1, 2]}
    assert (json.loads(signature.raw), signature.call) == ({"extra": SIGNED}, "a")


def test_what_is_added_never_takes_the_place_of_what_we_say() -> None:
    opaque = Opaque("openai", '{"role":"system","content":"mine","tool_calls":[],"x":1}')
    told = json.loads(msgspec.json.encode(message_to_openai(AssistantMessage("a", (ToolCall("c", "f"),), (opaque,)))))
    assert (told["role"], told["content"], len(told["tool_calls"]), told["x"]) == ("assistant", "a", 1, 1)


def test_a_string_is_told_without_its_quotes() -> None:
    assert message_to_openai(ToolMessage("a", "f", '"line 1\\nline 2"'))["content"] == "line 1\nline 2"
    assert messages_from_openai([{"role": "tool", "tool_call_id": "a", "content": "sunny"}]) == [
        ToolMessage("a", "", '"sunny"')
    ]
