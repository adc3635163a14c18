"""What is special to Gemini: signatures, calls without ids, values as they are, reasons to stop."""

import base64
import json
from typing import Any

import pytest
from google.genai import types as genai
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.events import ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.formats.gemini import (
    VALIDATED,
    messages_from_gemini,
    messages_to_gemini,
    result_to_gemini,
    tool_from_gemini,
    tools_to_gemini,
)
from toolwire.protocol.formats.gemini_speech import _BROKEN, Speech, answer_from_gemini
from toolwire.protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec, encode_json

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
signatures = st.binary(min_size=1, max_size=9).map(lambda data: base64.b64encode(data).decode())
objects = st.dictionaries(texts, st.integers(-9, 9) | texts, max_size=3)
parts = st.lists(
    st.one_of(
        st.builds(lambda t: {"text": t}, texts),
        st.builds(lambda t, s: {"text": t, "thoughtSignature": s}, texts, signatures),
        st.builds(lambda t: {"text": t, "thought": True}, texts),
        st.builds(lambda a: {"functionCall": {"name": "search", "args": a}}, objects),
        st.builds(
            lambda a, s: {"functionCall": {"name": "search", "args": a}, "thoughtSignature": s}, objects, signatures
        ),
        st.builds(lambda c: {"executableCode": {"language": "PYTHON", "code": c}}, texts),
    ),
    min_size=1,
    max_size=6,
)


def response(made: list[Any], finish: str | None = "STOP") -> bytes:
    usage = {"promptTokenCount": 3, "toolUsePromptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 4}
    candidate = {"content": {"role": "model", "parts": made}, "finishReason": finish}
    return json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()


@given(parts)
def test_an_answer_goes_back_byte_for_byte(made: list[Any]) -> None:
    raw = response(made)
    genai.GenerateContentResponse.model_validate_json(raw)
    answer = answer_from_gemini(raw)
    history: list[HistoryMessage] = [UserMessage("go"), AssistantMessage(answer.text, answer.calls, answer.opaque)]
    history += [ToolMessage(call.id, call.name, "1") for call in answer.calls]
    told = encode_json(messages_to_gemini(history))
    for part in made:
        if part.keys() - {"text", "functionCall"}:
            assert json.dumps(part).encode() in told
    contents = json.loads(told)["contents"]
    for content in contents:
        genai.Content.model_validate(content)
    assert joined(contents[1]["parts"]) == joined(made)
    heard = messages_from_gemini(json.loads(told))
    assert [type(each) for each in heard] == [type(each) for each in history]
    results = [each.id for each in heard if isinstance(each, ToolMessage)]
    assert results == [call.id for call in heard[1].calls]  # type: ignore[union-attr]  # the answer


def joined(made: list[Any]) -> list[Any]:
    """Texts that follow each other as one, and calls without the ids that we gave them."""
    found: list[Any] = []
    for part in made:
        if found and part.keys() == found[-1].keys() == {"text"}:
            found[-1] = {"text": found[-1]["text"] + part["text"]}
        elif "functionCall" in part:
            called = {key: value for key, value in part["functionCall"].items() if key != "id"}
            found.append({**part, "functionCall": called})
        else:
            found.append(part)
    return found


@given(parts)
def test_pieces_give_the_same_as_the_whole(made: list[Any]) -> None:
    speech = Speech()
    heard: list[Any] = []
    for part in made:
        heard += speech.hear(response([part], None))
    heard += speech.hear(response([], "STOP"))
    whole = answer_from_gemini(response(made))
    assert speech.answer() == whole
    assert whole.usage == Usage(4, 6, 0, 4)
    assert whole.finish == ("calls" if whole.calls else "stop")
    assert "".join(each.text for each in heard if isinstance(each, TextDelta)) == whole.text
    thoughts = "".join(part["text"] for part in made if part.get("thought"))
    assert "".join(each.text for each in heard if isinstance(each, ReasoningDelta)) == thoughts


def test_a_signed_call_without_an_id_is_answered_without_one() -> None:
    made = [
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "czE="},
        {"functionCall": {"name": "f", "args": {}}},
        {"functionCall": {"id": "theirs", "name": "f", "args": {}}, "thoughtSignature": "czI="},
    ]
    answer = answer_from_gemini(response(made), made_up="new")
    assert [call.id for call in answer.calls] == ["new_1", "new_2", "theirs"]
    history: list[HistoryMessage] = [AssistantMessage("", answer.calls, answer.opaque)]
    history += [ToolMessage(call.id, "f", "1") for call in answer.calls]
    asked, answered = json.loads(encode_json(messages_to_gemini(history)))["contents"]
    assert [part["functionCall"].get("id") for part in asked["parts"]] == [None, "new_2", "theirs"]
    assert [part["functionResponse"].get("id") for part in answered["parts"]] == [None, "new_2", "theirs"]


def test_a_call_may_come_without_arguments() -> None:
    for call in ({"name": "f"}, {"name": "f", "args": None}):
        assert answer_from_gemini(response([{"functionCall": call}])).calls[0].text() == "{}"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "filtered"), ("BRAND_NEW", "filtered"), (None, "")],
)
def test_how_an_answer_ended(reason: str | None, finish: str) -> None:
    assert answer_from_gemini(response([{"text": "a"}], reason)).finish == finish


@pytest.mark.parametrize("reason", sorted(_BROKEN))
def test_an_answer_that_the_model_could_not_make_is_no_answer(reason: str) -> None:
    assert reason in genai.FinishReason.__members__
    with pytest.raises(ToolwireError, match=reason) as raised:
        answer_from_gemini(response([{"text": "a"}], reason))
    assert raised.value.failure.retryable


def test_a_blocked_prompt_is_filtered() -> None:
    assert answer_from_gemini({"promptFeedback": {"blockReason": "SAFETY"}}).finish == "filtered"


def test_an_error_in_the_place_of_an_answer() -> None:
    with pytest.raises(ToolwireError, match="slow down") as raised:
        answer_from_gemini({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}})
    assert raised.value.failure.code == "rate_limited"


def test_values_are_told_as_they_are() -> None:
    for content in ('"5"', '"sunny"', "0", '{"error": 1}', '{"output": 2}', "null"):
        told = result_to_gemini(ToolResult("a", "f", content))
        assert told["functionResponse"]["response"] == {"output": json.loads(content)}


@pytest.mark.parametrize(
    ("theirs", "content"),
    [
        ({"temp": 3}, '{"temp":3}'),
        ({}, "{}"),
        ({"output": 1, "more": 2}, '{"output":1,"more":2}'),
        ({"output": 0}, "0"),
    ],
)
def test_results_of_other_programs_are_read(theirs: Any, content: str) -> None:
    part = {"functionResponse": {"name": "f", "response": theirs}}
    assert ToolResult.from_gemini(part) == ToolResult("", "f", content)


def test_an_error_of_other_programs_is_a_failure() -> None:
    heard: ToolResult[Any] = ToolResult.from_gemini({"functionResponse": {"name": "f", "response": {"error": "boom"}}})
    assert heard.failure is not None
    assert heard.failure.message == "boom"


def test_system_messages_stand_in_one_place() -> None:
    told = messages_to_gemini([SystemMessage("a"), UserMessage("u"), SystemMessage("b")])
    assert told["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert [content["role"] for content in told["contents"]] == ["user"]


def test_a_content_that_has_no_word_here_is_refused() -> None:
    with pytest.raises(ValueError, match="has no word here"):
        messages_from_gemini({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "a", "data": ""}}]}]})


def test_tools_of_a_request() -> None:
    spec = ToolSpec("f", "Does f.", {"type": "object", "properties": {"a": {"type": "string"}}})
    told = tools_to_gemini([spec], strict=True)
    config = genai.GenerateContentConfig.model_validate({"tools": told, "toolConfig": VALIDATED})
    assert config.tools is not None
    assert told[0]["functionDeclarations"][0]["name"] == "f"


def test_the_dialect_of_open_api_is_read() -> None:
    parameters = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
    spec = tool_from_gemini({"name": "f", "parameters": parameters})
    assert spec.parameters == {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}


def test_a_call_named_by_a_digit_is_named_otherwise() -> None:
    told = ToolCall("a", "3d_plot").to_gemini()["functionCall"]["name"]
    assert told.startswith("_3d_plot__")
