"""What is special to Anthropic Messages: blocks that are not ours, their events, marks and places."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.types import ContentBlockParam, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from toolwire.protocol.events import ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.formats.anthropic import messages_from_anthropic, messages_to_anthropic, tool_to_anthropic
from toolwire.protocol.formats.anthropic_speech import Speech, answer_from_anthropic
from toolwire.protocol.history import (
    AssistantMessage,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
    told_result,
)
from toolwire.protocol.tools import ToolCall, ToolSpec, encode_json

THEIR_EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
THEIR_BLOCKS: TypeAdapter[Any] = TypeAdapter(list[ContentBlockParam])

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
words = texts.filter(lambda text: bool(text.strip()))
objects = st.dictionaries(texts, st.integers() | texts, max_size=3)
blocks = st.lists(
    st.one_of(
        st.builds(lambda t: {"type": "text", "text": t}, words),
        st.builds(lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, texts, texts),
        st.builds(lambda d: {"type": "redacted_thinking", "data": d}, texts),
        st.builds(lambda i: {"type": "tool_use", "name": "search", "input": i}, objects),
        st.builds(lambda i: {"type": "server_tool_use", "name": "web_search", "input": i}, objects),
    ),
    max_size=6,
).map(lambda made: [{**b, "id": f"toolu_{n}"} if "input" in b else b for n, b in enumerate(made)])


def message(content: list[Any], stop: str | None = "end_turn", **more: Any) -> bytes:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 5}
    told = {"type": "message", "role": "assistant", "content": content, "stop_reason": stop, "usage": usage}
    return json.dumps({**told, **more}).encode()


def events(content: list[Any], data: st.DataObject, stop: str = "end_turn") -> list[dict[str, Any]]:
    """The events that say `content` in pieces, as the SDK's own types know them."""
    begun: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "m",
        "stop_reason": None,
    }
    begun |= {"stop_sequence": None, "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1}}
    said: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(content):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}.get(block["type"], {})
        start = {**block, **empty, **({"input": {}} if "input" in block else {})}
        said.append({"type": "content_block_start", "index": index, "content_block": start})
        deltas: list[dict[str, Any]] = []
        if block["type"] == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in cut(block["text"], data)]
        elif block["type"] == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"], data)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif "input" in block:
            told = cut(json.dumps(block["input"]), data)
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in told]
        said += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        said.append({"type": "content_block_stop", "index": index})
    usage = {"output_tokens": 5}
    said.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage})
    return [*said, {"type": "message_stop"}]


def cut(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def content_of(told: dict[str, Any]) -> list[Any]:
    content: list[Any] = told["messages"][-1]["content"]
    return content


@given(blocks)
def test_an_answer_goes_back_byte_for_byte(content: list[Any]) -> None:
    raw = message(content)
    answer = answer_from_anthropic(raw)
    told = encode_json(messages_to_anthropic([AssistantMessage(answer.text, answer.calls, answer.opaque)]))
    while content and content[-1]["type"] in {"thinking", "redacted_thinking"}:
        content = content[:-1]  # what an answer was cut off behind is refused
    for block in content:
        if block["type"] not in {"text", "tool_use"}:
            assert json.dumps(block).encode() in raw
            assert json.dumps(block).encode() in told
    back = content_of(json.loads(told)) if content else []
    merged = joined(content)
    assert joined(back) == merged
    THEIR_BLOCKS.validate_python(back)


def joined(content: list[Any]) -> list[Any]:
    """Texts that follow each other as one."""
    found: list[Any] = []
    for block in content:
        if found and block["type"] == found[-1]["type"] == "text":
            found[-1] = {"type": "text", "text": found[-1]["text"] + block["text"]}
        else:
            found.append(block)
    return found


@given(blocks, st.data())
def test_pieces_give_the_same_as_the_whole(content: list[Any], data: st.DataObject) -> None:
    stop = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
    speech = Speech()
    heard: list[Any] = []
    for event in events(content, data, stop):
        if event["type"] != "ping":
            THEIR_EVENTS.validate_python(event)
        heard += speech.hear(json.dumps(event).encode())
    whole, streamed = answer_from_anthropic(message(content, stop)), speech.answer()
    assert streamed[:4] == whole[:4]
    assert [plain(piece) for piece in streamed.opaque] == [plain(piece) for piece in whole.opaque]
    assert streamed.usage == Usage(5, 5, 2)
    assert "".join(e.text for e in heard if isinstance(e, TextDelta)) == whole.text
    thoughts = [block["thinking"] for block in content if block["type"] == "thinking"]
    assert "".join(e.text for e in heard if isinstance(e, ReasoningDelta)) == "".join(thoughts)


def plain(piece: Opaque) -> Any:
    return json.loads(piece.raw or "null"), piece.call, piece.text


def test_what_our_words_say_is_not_kept_twice() -> None:
    content = [
        {"type": "text", "text": "so", "citations": None},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
    ]
    answer = answer_from_anthropic(message(content, "tool_use"))
    assert answer[:5] == ("so", (ToolCall("a", "f", '{"x": 1}'),), Usage(5, 5, 2), "calls", ())


def test_thinking_between_calls_keeps_its_place() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    content = [
        {"type": "text", "text": "first"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        thought,
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ]
    answer = answer_from_anthropic(message(content, "tool_use"))
    assert [bool(piece.raw) for piece in answer.opaque] == [False, False, True]
    history: list[HistoryMessage] = [AssistantMessage(answer.text, answer.calls, answer.opaque)]
    assert json.loads(encode_json(messages_to_anthropic(history)))["messages"][0]["content"] == content


def test_a_refusal_without_a_word_says_why() -> None:
    why = {"type": "refusal", "category": "cyber", "explanation": "That could do harm."}
    whole = answer_from_anthropic({"content": [], "stop_reason": "refusal", "stop_details": why})
    speech = Speech()
    speech.hear({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": why}, "usage": {}})
    assert whole == speech.answer()
    assert (whole.text, whole.finish) == ("That could do harm.", "refused")
    content = [{"type": "text", "text": "No."}]
    assert answer_from_anthropic({"content": content, "stop_reason": "refusal", "stop_details": why}).text == "No."


def test_a_cited_text_is_kept_whole() -> None:
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": None}
    citation |= {"start_char_index": 0, "end_char_index": 1, "file_id": None}
    speech = Speech()
    start = {"type": "text", "text": "", "citations": []}
    speech.hear({"type": "content_block_start", "index": 0, "content_block": start})
    speech.hear({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "said"}})
    speech.hear({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}})
    (piece,) = speech.answer().opaque
    assert json.loads(piece.raw) == {"type": "text", "text": "said", "citations": [citation]}
    assert piece.text == 4


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "stop"),
        ("new_reason", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "paused"),
        ("refusal", "refused"),
        (None, ""),
    ],
)
def test_how_an_answer_ended(stop: str | None, finish: str) -> None:
    assert answer_from_anthropic(message([{"type": "text", "text": "a"}], stop)).finish == finish


def test_a_call_that_is_cut_off_does_not_become_one_without_arguments() -> None:
    def begun(stop: str) -> str:
        speech = Speech()
        block = {"type": "tool_use", "id": "a", "name": "delete_all", "input": {}}
        speech.hear({"type": "content_block_start", "index": 0, "content_block": block})
        speech.hear({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 1}})
        return speech.answer().calls[0].text()

    assert begun("max_tokens") == ""
    assert begun("tool_use") == "{}"


def test_ids_that_are_doubled_or_taken_are_made_up_and_then_told_in_our_words() -> None:
    content = [{"type": "tool_use", "id": "a", "name": "f", "input": {}, "toolset_name": "x"}] * 2
    answer = answer_from_anthropic(message(content, "tool_use"), made_up="new", taken={"a"})
    assert [call.id for call in answer.calls] == ["new_1", "new_2"]
    assert not any(piece.raw for piece in answer.opaque)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "model_failed"),
        ("rate_limit_error", "rate_limited"),
        ("invalid_request_error", "model_failed"),
    ],
)
def test_an_error_in_the_place_of_an_answer(kind: str, code: str) -> None:
    told = {"type": "error", "error": {"type": kind, "message": "no"}}
    for hear in (Speech().hear, answer_from_anthropic):
        with pytest.raises(ToolwireError, match="no") as raised:
            hear(told)
        assert raised.value.failure.code == code
        assert raised.value.failure.retryable == (kind != "invalid_request_error")


def test_half_a_surrogate_pair_does_no_harm() -> None:
    speech = Speech()
    speech.hear({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    torn = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\ud83d"}}'
    assert speech.hear(torn) == [TextDelta("a\N{REPLACEMENT CHARACTER}")]
    with pytest.raises(ValueError, match="Expecting value"):
        speech.hear(b"nope")


def test_results_of_one_answer_stand_in_one_message() -> None:
    calls = (ToolCall("a", "f"), ToolCall("b", "f"))
    history: list[HistoryMessage] = [
        UserMessage("go"),
        AssistantMessage("", calls),
        *(ToolMessage(call.id, "f", "1") for call in calls),
        SystemMessage("be brief"),
        UserMessage("and?"),
    ]
    told = messages_to_anthropic(history)
    assert [each["role"] for each in told["messages"]] == ["user", "assistant", "user", "system", "user"]
    assert [block["tool_use_id"] for block in told["messages"][2]["content"]] == ["a", "b"]
    assert messages_from_anthropic(json.loads(encode_json(told))) == history


def test_nothing_is_told_that_the_api_refuses() -> None:
    told = messages_to_anthropic([SystemMessage(""), UserMessage(" "), AssistantMessage("\n"), UserMessage("a")])
    assert told == {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "(nothing)"}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
        ]
    }


def test_what_other_programs_write_is_read() -> None:
    parts = [{"type": "text", "text": "sunny"}, {"type": "search_result", "source": "s"}]
    theirs = {
        "system": "be kind",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
                    {"type": "tool_result", "tool_use_id": "b"},
                    {"type": "tool_result", "tool_use_id": "c", "content": "boom", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "d", "content": parts},
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
    }
    *head, one, two, three, four, end = messages_from_anthropic(theirs)
    assert head[:3] == [SystemMessage("be kind"), UserMessage("hi"), AssistantMessage("hello")]
    assert one == ToolMessage("a", "f", '"sunny"')
    assert two == ToolMessage("b", "", '""')
    assert isinstance(three, ToolMessage)
    failure = told_result(three).failure
    assert failure is not None
    assert failure.message == "boom"
    assert isinstance(four, ToolMessage)
    assert json.loads(four.content) == ["sunny", {"type": "search_result", "source": "s"}]
    assert end == UserMessage("go on")
    image = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    with pytest.raises(ValueError, match="has no word here"):
        messages_from_anthropic({"messages": [{"role": "user", "content": [image]}]})
    with pytest.raises(msgspec.ValidationError):
        messages_from_anthropic({"messages": [{"content": "no role"}]})


def test_a_tool_has_an_object_of_parameters() -> None:
    assert tool_to_anthropic(ToolSpec("f"))["input_schema"] == {"type": "object", "properties": {}}
