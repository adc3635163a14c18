"""What is special to MCP: hints, structured content, resources, a client's model."""

import json
from typing import Any

import pytest
from mcp import types as mcp

from toolwire.protocol.events import Usage
from toolwire.protocol.formats.mcp import answer_from_mcp, messages_from_mcp, messages_to_mcp
from toolwire.protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec, encode_json


@pytest.mark.parametrize("word", ["read_only", "idempotent", "destructive"])
def test_hints_come_back(word: str) -> None:
    spec = ToolSpec("f", "", {"type": "object"}, {"type": "object"}, **{word: True})  # type: ignore[arg-type]  # one of three
    theirs = spec.to_mcp()
    tool = mcp.Tool.model_validate(theirs)
    assert tool.annotations is not None
    assert tool.annotations.destructive_hint is (word == "destructive")
    assert ToolSpec.from_mcp(theirs) == spec


def test_only_objects_have_an_output_schema() -> None:
    assert "outputSchema" not in ToolSpec("f", returns={"type": "array"}).to_mcp()
    assert ToolSpec("f", returns={"type": "object"}).to_mcp()["outputSchema"] == {"type": "object"}


def test_names_with_dots_stay() -> None:
    assert ToolSpec("math.factorial").to_mcp()["name"] == "math.factorial"
    assert ToolSpec("a b").to_mcp()["name"].startswith("a_b__")


@pytest.mark.parametrize(
    ("content", "structured"), [('{"a": 0}', {"a": 0}), ("{}", {}), ("[1]", None), ('"x"', None), ("null", None)]
)
def test_objects_are_structured_content_too(content: str, structured: Any) -> None:
    told = ToolResult("c", "f", content).to_mcp()
    assert mcp.CallToolResult.model_validate(told).structured_content == structured
    assert [block["type"] for block in told["content"]] == ["text"]


@pytest.mark.parametrize(
    ("theirs", "value"),
    [
        ({"content": []}, ""),
        ({"content": [{"type": "text", "text": "sunny"}]}, "sunny"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "1"}]}, ["a", 1]),
        ({"content": [{"type": "text", "text": "a: 1"}], "structuredContent": {"a": 1}}, {"a": 1}),
        ({"content": [], "structuredContent": 0}, 0),
        ({"content": [], "structuredContent": False}, False),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "resource_link", "uri": "x:y", "name": "n"}]},
            ["a", {"type": "resource_link", "uri": "x:y", "name": "n"}],
        ),
    ],
)
def test_results_of_other_servers_are_read(theirs: Any, value: Any) -> None:
    mcp.CallToolResult.model_validate(theirs)
    heard: ToolResult[Any] = ToolResult.from_mcp(theirs)
    assert heard.ok
    assert heard.value == value


def test_an_error_of_another_server_is_a_failure() -> None:
    heard: ToolResult[Any] = ToolResult.from_mcp({"content": [{"type": "text", "text": "boom"}], "isError": True})
    assert heard.failure is not None
    assert (heard.failure.code, heard.failure.message) == ("failed", "boom")


def test_named_bytes_and_other_media_are_resources() -> None:
    for content in ('{"$blob":"image/png","data":"eA==","name":"a.png"}', '{"$blob":"application/zip","data":"eA=="}'):
        told = ToolResult("c", "f", content).to_mcp()
        assert [block["type"] for block in told["content"]] == ["resource"]
        heard: ToolResult[Any] = ToolResult.from_mcp(json.loads(json.dumps(told)))
        assert json.loads(heard.content or "") == json.loads(content)


def test_a_clients_model_answers() -> None:
    picture = {"type": "image", "data": "eA==", "mimeType": "image/png"}
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    told = {"role": "assistant", "model": "m", "content": [picture, use], "stopReason": "toolUse"}
    mcp.CreateMessageResultWithTools.model_validate(told)
    answer = answer_from_mcp(told)
    assert answer[:4] == ("", (ToolCall("a", "f", '{"x":1}'),), Usage(), "calls")
    history: list[HistoryMessage] = [AssistantMessage(answer.text, answer.calls, answer.opaque)]
    assert json.loads(encode_json(messages_to_mcp(history)))["messages"][0]["content"] == [picture, use]
    one = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "so"}, "stopReason": "maxTokens"}
    assert answer_from_mcp(one)[:5] == ("so", (), Usage(), "length", ())


def test_calls_stand_in_a_history_as_blocks() -> None:
    history: list[HistoryMessage] = [
        SystemMessage("be kind"),
        UserMessage("go"),
        AssistantMessage("", (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g"))),
        ToolMessage("a", "f", "1"),
        ToolMessage("b", "g", '{"y":[]}'),
    ]
    told = json.loads(encode_json(messages_to_mcp(history)))
    params = mcp.CreateMessageRequestParams.model_validate({**told, "maxTokens": 1})
    assert [message.role for message in params.messages] == ["user", "assistant", "user"]
    assert messages_from_mcp(told) == history
    with pytest.raises(ValueError, match="has no word here"):
        messages_from_mcp({"messages": [{"role": "user", "content": {"type": "image", "data": "", "mimeType": "a"}}]})


def test_a_block_is_a_call_too() -> None:
    assert ToolCall.from_mcp({"type": "tool_use", "id": "a", "name": "f", "input": {}}) == ToolCall("a", "f")
    assert ToolCall.from_mcp({"name": "f", "arguments": None}) == ToolCall("", "f")
