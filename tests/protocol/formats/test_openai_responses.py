"""What is special to OpenAI Responses: items that belong together, their events, strictness that is always said."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam, ResponseOutputItem, ResponseStreamEvent
from pydantic import TypeAdapter

from toolwire.protocol.events import ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.formats.openai_responses import messages_from_openai_responses, messages_to_openai_responses
from toolwire.protocol.formats.openai_responses_speech import Speech, answer_from_openai_responses
from toolwire.protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolResult, encode_json

THEIR_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
THEIR_OUTPUT: TypeAdapter[Any] = TypeAdapter(list[ResponseOutputItem])
THEIR_INPUT: TypeAdapter[Any] = TypeAdapter(list[ResponseInputItemParam])

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
objects = st.dictionaries(texts, st.integers(-9, 9) | texts, max_size=3).map(json.dumps)


def said(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "status": "completed", "content": [part], **more}


def call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "name": "search", "arguments": arguments, "status": "completed", **more}


items = st.lists(
    st.one_of(
        st.builds(said, texts),
        st.builds(lambda t: said(t, phase="commentary"), texts),
        st.builds(call, objects),
        st.builds(
            lambda e: {"type": "reasoning", "summary": [{"type": "summary_text", "text": e}], "encrypted_content": e},
            texts,
        ),
        st.just({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}),
    ),
    max_size=6,
).map(
    lambda made: [
        {**item, "id": f"it_{n}", **({"call_id": f"call_{n}"} if item["type"] == "function_call" else {})}
        for n, item in enumerate(made)
    ]
)


def response(output: list[Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    told = {"object": "response", "id": "r", "created_at": 1, "model": "m", "parallel_tool_calls": True, "tools": []}
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    details |= {"output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8, **details}
    return {**told, "tool_choice": "auto", "status": status, "output": output, "usage": usage, **more}


def ours(output: list[Any]) -> bool:
    return all(item["type"] in {"message", "function_call"} and "phase" not in item for item in output)


@given(items)
def test_an_answer_goes_back_byte_for_byte(output: list[Any]) -> None:
    THEIR_OUTPUT.validate_python(output)
    answer = answer_from_openai_responses(json.dumps(response(output)).encode())
    told = encode_json(messages_to_openai_responses([AssistantMessage(answer.text, answer.calls, answer.opaque)]))
    THEIR_INPUT.validate_json(told)
    in_our_words = ours(output)
    while output and output[-1]["type"] == "reasoning":
        output = output[:-1]  # what an answer was cut off behind is refused
    if not output:
        assert [item["type"] for item in json.loads(told)] == ["message"]
    elif in_our_words:
        assert [item["type"] for item in json.loads(told)] == merged(output)
    else:
        assert json.loads(told) == output
        for item in output:
            assert json.dumps(item).encode() in told
    heard = messages_from_openai_responses(json.loads(told)) if output else []
    assert [(each.text, [c.id for c in each.calls]) for each in heard if isinstance(each, AssistantMessage)] == (
        [(answer.text, [c.id for c in answer.calls])] if output else []
    )


def merged(output: list[Any]) -> list[str]:
    """The kinds of items, where texts that follow each other are one."""
    kinds = [item["type"] for item in output] or ["message"]
    return [kind for n, kind in enumerate(kinds) if not n or kind == "function_call" or kinds[n - 1] != kind]


@given(items, st.data())
def test_pieces_give_the_same_as_the_whole(output: list[Any], data: st.DataObject) -> None:
    speech = Speech()
    heard: list[Any] = []
    for number, event in enumerate(events(output, data)):
        told = {**event, "sequence_number": number}
        THEIR_EVENTS.validate_python(told)
        heard += speech.hear(json.dumps(told).encode())
    whole = answer_from_openai_responses(response(output))
    streamed = speech.answer()
    assert streamed[:4] == whole[:4]
    assert [(json.loads(p.raw or "0"), p.call, p.text) for p in streamed.opaque] == [
        (json.loads(p.raw or "0"), p.call, p.text) for p in whole.opaque
    ]
    assert whole.usage == Usage(3, 5)
    assert "".join(each.text for each in heard if isinstance(each, TextDelta)) == whole.text
    thoughts = "".join(item["encrypted_content"] for item in output if item["type"] == "reasoning")
    assert "".join(each.text for each in heard if isinstance(each, ReasoningDelta)) == thoughts


def events(output: list[Any], data: st.DataObject) -> list[dict[str, Any]]:
    """The events that say `output`; the last of them may hold it all, or nothing."""
    told: list[dict[str, Any]] = [{"type": "response.created", "response": response([], "in_progress")}]
    for index, item in enumerate(output):
        at = {"item_id": item["id"], "output_index": index}
        empty: dict[str, Any] = {
            "message": {"content": []},
            "function_call": {"arguments": ""},
            "reasoning": {"summary": []},
        }
        begun = {**item, **empty.get(item["type"], {})}
        told.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        if item["type"] == "message":
            pieces = cut(item["content"][0]["text"], data)
            more = {**at, "content_index": 0, "logprobs": []}
            told += [{"type": "response.output_text.delta", "delta": piece, **more} for piece in pieces]
        elif item["type"] == "function_call":
            pieces = cut(item["arguments"], data)
            told += [{"type": "response.function_call_arguments.delta", "delta": piece, **at} for piece in pieces]
            done = {"arguments": item["arguments"], "name": "search", **at}
            told.append({"type": "response.function_call_arguments.done", **done})
        elif item["type"] == "reasoning":
            more = {"delta": item["encrypted_content"], "summary_index": 0, **at}
            told.append({"type": "response.reasoning_summary_text.delta", **more})
        told.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [*told, {"type": "response.completed", "response": response(output if data.draw(st.booleans()) else [])}]


def cut(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize(
    ("status", "more", "finish"),
    [
        ("completed", {}, "stop"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "filtered"),
        ("in_progress", {}, ""),
    ],
)
def test_how_an_answer_ended(status: str, more: dict[str, Any], finish: str) -> None:
    assert answer_from_openai_responses(response([said("a", id="m")], status, **more)).finish == finish


def test_a_refusal_is_told() -> None:
    part = {"type": "refusal", "refusal": "no"}
    answer = answer_from_openai_responses(response([{**said("", id="m"), "content": [part]}]))
    assert (answer.text, answer.finish) == ("no", "refused")


def test_a_call_that_is_cut_off_is_told_as_far_as_it_came() -> None:
    speech = Speech()
    for index, name in enumerate(("first", "second")):
        begun = {"type": "function_call", "id": name, "call_id": name, "name": name, "arguments": ""}
        speech.hear({"type": "response.output_item.added", "output_index": index, "item": begun})
    delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x":'}
    speech.hear(delta)
    details = {"incomplete_details": {"reason": "max_output_tokens"}}
    speech.hear({"type": "response.incomplete", "response": response([], "incomplete", **details)})
    assert [call.text() for call in speech.answer().calls] == ['{"x":', ""]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}, "rate_limited"),
        ({"type": "error", "error": {"code": "server_error", "message": "slow"}}, "model_failed"),
        ({"type": "response.failed", "response": response([], error={"code": "x", "message": "slow"})}, "model_failed"),
    ],
)
def test_an_error_in_the_place_of_an_answer(event: dict[str, Any], code: str) -> None:
    with pytest.raises(ToolwireError, match="slow") as raised:
        Speech().hear(event)
    assert raised.value.failure.code == code


def test_ids_that_are_doubled_are_made_up_and_then_told_in_our_words() -> None:
    output = [{"type": "reasoning", "id": "r", "summary": []}, *[call("{}", id="f", call_id="a")] * 2]
    answer = answer_from_openai_responses(response(output), made_up="new")
    assert [each.id for each in answer.calls] == ["a", "new_2"]
    told = messages_to_openai_responses([AssistantMessage("", answer.calls, answer.opaque)])
    assert [item["call_id"] for item in json.loads(encode_json(told))[1:]] == ["a", "new_2"]


def test_what_other_programs_write_is_read() -> None:
    image = {"type": "input_image", "image_url": "https://x.y/z.png"}
    theirs: list[dict[str, Any]] = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"role": "assistant", "content": "so"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "sunny"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "c"}, image]},
    ]
    *head, last = messages_from_openai_responses(theirs)
    expected: list[HistoryMessage] = [SystemMessage("be kind"), UserMessage("ab")]
    assert head == [*expected, AssistantMessage("so", (ToolCall("a", "f"),)), ToolMessage("a", "f", '"sunny"')]
    assert isinstance(last, ToolMessage)
    assert json.loads(last.content) == ["c", {"$blob": "image/png", "url": "https://x.y/z.png"}]
    for role, part in (("user", {"type": "input_image", "file_id": "file_1"}), ("system", image), ("user", "text")):
        with pytest.raises(ValueError, match="has no word here"):
            messages_from_openai_responses([{"role": role, "content": [part]}])


def test_files_travel_beside_images() -> None:
    content = '{"$blob":"application/pdf","data":"eA==","name":"a.pdf"}'
    told = ToolResult("a", "f", content).to_openai_responses()
    assert told["output"] == [
        {"type": "input_file", "file_data": "data:application/pdf;base64,eA==", "filename": "a.pdf"}
    ]
    heard: ToolResult[Any] = ToolResult.from_openai_responses(told)
    assert json.loads(heard.content or "") == json.loads(content)
