"""One suite for all formats: what is told is taken by the provider's own SDK, and is the same when it is heard."""

import json
import re
import types
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from anthropic.types import MessageParam, TextBlockParam, ToolParam, ToolResultBlockParam, ToolUseBlockParam
from google.genai import types as genai
from hypothesis import given
from hypothesis import strategies as st
from mcp import types as mcp
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageFunctionToolCallParam,
    ChatCompletionMessageParam,
    ChatCompletionToolMessageParam,
)
from openai.types.responses import FunctionToolParam, ResponseFunctionToolCallParam, ResponseInputItemParam
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import BaseModel, ConfigDict, TypeAdapter

from toolwire.protocol.blob import Blob
from toolwire.protocol.failures import Failure, failed
from toolwire.protocol.formats.contract import Format
from toolwire.protocol.history import (
    AssistantMessage,
    History,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
    tool_message,
)
from toolwire.protocol.said import Piece, said
from toolwire.protocol.spoken import FORMATS, format_named
from toolwire.protocol.tools import ToolCall, ToolResult, ToolSpec, encode_json

Judge = Callable[[Any], object]


class Judges(msgspec.Struct):
    """The SDK's own types for each kind of word; they raise for what is none."""

    tool: Judge
    call: Judge
    result: Judge
    history: Judge


def typed(kind: Any) -> Judge:
    """A type of theirs that knows every key. A TypedDict takes no configuration of others, a list of them does."""
    several: Any = types.GenericAlias(list, (kind,))
    judge: TypeAdapter[Any] = TypeAdapter(several, config=ConfigDict(extra="forbid"))
    return lambda value: judge.validate_python([value])


def modelled(kind: type[BaseModel]) -> Judge:
    """A model of theirs; what it gives back is what it was given, or it did not know all of it."""

    def judge(value: Any) -> None:
        assert kind.model_validate(value).model_dump(by_alias=True, exclude_unset=True, mode="json") == value

    return judge


def whole(*parts: tuple[str, Judge]) -> Judge:
    def judge(value: Any) -> None:
        for key, judged in parts:
            if key in value:
                judged(value[key])

    return judge


JUDGES = {
    "openai": Judges(
        typed(ChatCompletionFunctionToolParam),
        typed(ChatCompletionMessageFunctionToolCallParam),
        typed(ChatCompletionToolMessageParam),
        typed(list[ChatCompletionMessageParam]),
    ),
    "openai_responses": Judges(
        typed(FunctionToolParam),
        typed(ResponseFunctionToolCallParam),
        typed(FunctionCallOutput),
        typed(list[ResponseInputItemParam]),
    ),
    "anthropic": Judges(
        typed(ToolParam),
        typed(ToolUseBlockParam),
        typed(ToolResultBlockParam),
        whole(("messages", typed(list[MessageParam])), ("system", typed(list[TextBlockParam]))),
    ),
    # These models forbid what they don't know.
    "gemini": Judges(
        genai.FunctionDeclaration.model_validate,
        genai.Part.model_validate,
        genai.Part.model_validate,
        whole(("contents", typed(list[genai.Content])), ("systemInstruction", genai.Content.model_validate)),
    ),
    "mcp": Judges(
        modelled(mcp.Tool),
        modelled(mcp.CallToolRequestParams),
        modelled(mcp.CallToolResult),
        lambda value: modelled(mcp.CreateMessageRequestParams)({**value, "maxTokens": 1}),
    ),
}

texts = st.text(st.characters(exclude_categories=["Cs"]))
spoken = texts.filter(lambda text: bool(text.strip()))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80) | st.sampled_from(
    ["get_weather", "math.factorial", "3d_plot", "a b", "é", "-", "x" * 65]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, json_values, max_size=3).map(lambda value: json.dumps(value, ensure_ascii=False))
blobs = st.builds(Blob, st.sampled_from(["image/png", "image/jpeg"]), st.binary(max_size=9))
with_blobs = blobs | json_values
PNG, PDF, PLAIN, WAV = "image/png", "application/pdf", "text/plain", "audio/wav"
images = st.sampled_from([PNG, "image/jpeg", "image/webp"])
some = st.binary(min_size=1, max_size=9)
file_names = st.just("") | st.from_regex(r"[a-z]{5,9}\.[a-z]{3}", fullmatch=True)
shown_images = st.builds(Blob, images | st.just("image/gif"), some) | st.just(Blob(PNG, url="https://x.y/z.png"))
CARRIED: dict[str, st.SearchStrategy[Blob]] = {
    "openai": shown_images
    | st.builds(Blob, st.just(PDF), some, file_names)
    | st.builds(Blob, st.sampled_from([WAV, "audio/mpeg"]), some),
    "openai_responses": shown_images
    | st.builds(Blob, st.sampled_from([PDF, PLAIN, "text/csv"]), some, file_names)
    | st.builds(Blob, st.just(PDF), name=file_names, url=st.just("https://x.y/z.pdf?a=1#b")),
    "anthropic": shown_images
    | st.builds(Blob, st.just(PDF), some, file_names)
    | st.builds(Blob, st.just(PLAIN), spoken.map(str.encode), file_names)
    | st.builds(Blob, st.just(PDF), name=file_names, url=st.just("https://x.y/z")),
    "gemini": st.builds(Blob, images | st.sampled_from([PDF, PLAIN, WAV, "video/mp4"]), some, file_names)
    | st.builds(
        Blob, st.sampled_from([PNG, PDF, "a/b"]), name=file_names, url=st.sampled_from(["gs://a/b", "https://x"])
    ),
    "mcp": st.builds(Blob, images | st.sampled_from([WAV, "audio/x"]), some),
}
"""What each format takes of what a user shows, and gives back as it was."""
KINDS = [PNG, "image/tiff", PDF, PLAIN, "text/csv", "application/json", WAV, "audio/ogg", "video/mp4", "a/b"]
shown_blobs = st.builds(Blob, st.sampled_from(KINDS), some, file_names) | st.builds(
    Blob, st.sampled_from(KINDS), name=file_names, url=st.just("https://x.y/z")
)
schemas = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    st.sampled_from([{"type": "string"}, {"type": "integer", "minimum": 1}, {}, {"enum": ["a", None, 0]}]),
    max_size=4,
).map(lambda properties: {"type": "object", "properties": properties})
FALSY = ["0", "0.0", '""', "[]", "{}", "false", "null"]


@pytest.fixture(params=FORMATS, scope="module")
def spoken_here(request: pytest.FixtureRequest) -> Format:
    found: Format = format_named(request.param)
    return found


def judged(format_: Format, kind: str, value: Any) -> Any:
    """`value`, after the SDK has taken it as it would travel."""
    travelled = json.loads(encode_json(value))
    getattr(JUDGES[format_.name], kind)(travelled)
    return travelled


@st.composite
def histories(draw: st.DrawFn) -> list[HistoryMessage]:
    messages: list[HistoryMessage] = draw(st.lists(st.builds(SystemMessage, spoken), max_size=1))
    for turn in range(draw(st.integers(0, 3))):
        messages.append(UserMessage(draw(spoken)))
        wanted = draw(st.lists(st.tuples(names, objects), max_size=3))
        calls = tuple(ToolCall(f"call_{turn}_{n}", name, text) for n, (name, text) in enumerate(wanted))
        messages.append(AssistantMessage(draw(spoken), calls))
        for call in calls:
            content = draw(json_values.map(lambda value: msgspec.json.encode(value).decode()))
            failure = draw(st.booleans())
            result: ToolResult[Any] = ToolResult(call.id, call.name, content)
            if failure:
                result = ToolResult(call.id, call.name, failure=failed("failed", draw(texts)))
            messages.append(tool_message(result))
    return messages


def same(heard: Sequence[HistoryMessage], told: Sequence[HistoryMessage]) -> bool:
    """Whether both say the same, whatever the blanks in their JSON."""

    def plain(message: HistoryMessage) -> Any:
        match message:
            case ToolMessage(id_, name, content, failure):
                return ToolMessage, id_, name, json.loads(content), failure
            case AssistantMessage(text, calls, opaque):
                return AssistantMessage, text, [(c.id, c.name, json.loads(c.text())) for c in calls], opaque
        return message

    return list(map(plain, heard)) == list(map(plain, told))


def names_in(format_: Format, messages: Sequence[HistoryMessage]) -> dict[str, str]:
    called = [call.name for each in messages if isinstance(each, AssistantMessage) for call in each.calls]
    return format_.names.back(map(ToolSpec, called))


@given(history=histories())
def test_a_history_comes_back(spoken_here: Format, history: list[HistoryMessage]) -> None:
    theirs = judged(spoken_here, "history", spoken_here.history_to(history))
    assert same(spoken_here.history_from(theirs, names_in(spoken_here, history)), history)


@given(data=st.data())
def test_what_a_user_shows_comes_back_in_its_place(spoken_here: Format, data: st.DataObject) -> None:
    shown: list[Piece] = data.draw(st.lists(spoken | CARRIED[spoken_here.name], min_size=1, max_size=5))
    history: list[HistoryMessage] = [UserMessage(*said(shown)), AssistantMessage("I see")]
    theirs = judged(spoken_here, "history", spoken_here.history_to(history))
    assert spoken_here.history_from(theirs, {}) == history


@given(shown=st.lists(texts | shown_blobs, max_size=5))
def test_whatever_a_user_shows_is_told_or_named(spoken_here: Format, shown: list[Piece]) -> None:
    theirs = judged(spoken_here, "history", spoken_here.history_to([UserMessage(*said(shown))]))
    told = json.dumps(theirs)
    for blob in shown:
        if isinstance(blob, Blob):
            written = json.dumps(blob.data.decode(errors="replace"))[1:-1]
            there = (blob.url, b64encode(blob.data).decode() or "-", written or "-", f"{len(blob.data)} bytes")
            assert any(each and each in told for each in there)
    again = spoken_here.history_from(theirs, {})
    assert spoken_here.history_from(judged(spoken_here, "history", spoken_here.history_to(again)), {}) == again


@pytest.mark.parametrize("name", sorted({*FORMATS} - {"openai"}))
def test_what_stands_behind_a_url_is_told_by_it(name: str) -> None:
    format_ = format_named(name)
    content = msgspec.json.encode({"chart": Blob("image/png", url="https://x.y/z.png")}).decode()
    told = judged(format_, "result", format_.result_to(ToolResult("c1", "t", content)))
    assert "left_out" not in json.dumps(told)
    assert json.loads(format_.result_from(told, {}).content) == json.loads(content)


@given(name=names, description=texts, parameters=schemas)
def test_a_tool_comes_back(spoken_here: Format, name: str, description: str, parameters: dict[str, Any]) -> None:
    spec = ToolSpec(name, description, parameters)
    theirs = judged(spoken_here, "tool", spoken_here.tool_to(spec))
    assert spoken_here.tool_from(theirs, spoken_here.names.back([spec])) == spec


@given(call=st.builds(ToolCall, st.from_regex(r"[a-z_0-9]{1,40}", fullmatch=True), names, objects))
def test_a_call_comes_back(spoken_here: Format, call: ToolCall) -> None:
    theirs = judged(spoken_here, "call", spoken_here.call_to(call))
    heard = spoken_here.call_from(theirs, spoken_here.names.back([ToolSpec(call.name)]))
    assert (heard.id, heard.name, json.loads(heard.text())) == (call.id, call.name, json.loads(call.text()))


@given(value=json_values)
def test_a_value_comes_back(spoken_here: Format, value: Any) -> None:
    result: ToolResult[Any] = ToolResult("c1", "t", msgspec.json.encode(value).decode())
    heard = spoken_here.result_from(judged(spoken_here, "result", spoken_here.result_to(result)), {})
    assert heard.ok
    assert heard.id == "c1"
    assert json.loads(heard.content or "") == json.loads(result.content or "")


@pytest.mark.parametrize("content", FALSY)
def test_falsy_values_survive(spoken_here: Format, content: str) -> None:
    result: ToolResult[Any] = ToolResult("c1", "t", content)
    told = judged(spoken_here, "result", spoken_here.result_to(result))
    assert spoken_here.result_from(told, {}).content == content


@given(st.builds(Failure, st.sampled_from(["failed", "timed_out", "invalid_arguments"]), texts, st.just("maybe")))
def test_a_failure_comes_back_as_one(failure: Failure) -> None:
    for name in FORMATS:
        format_ = format_named(name)
        result: ToolResult[Any] = ToolResult("c1", "t", failure=failure)
        heard = format_.result_from(judged(format_, "result", format_.result_to(result)), {})
        assert heard.failure == failure


@pytest.mark.parametrize(("name", "mark"), [("anthropic", "is_error"), ("mcp", "isError")])
def test_a_failure_is_marked_where_there_is_a_mark(name: str, mark: str) -> None:
    format_: Format = format_named(name)
    good: ToolResult[Any] = ToolResult("c1", "t", '{"error": "as data"}')
    bad: ToolResult[Any] = ToolResult("c1", "t", failure=failed("failed", "no"))
    assert not format_.result_to(good).get(mark)
    assert format_.result_to(bad)[mark] is True
    assert format_.result_from(format_.result_to(good), {}).value == {"error": "as data"}


@given(
    value=blobs | st.lists(blobs | json_values, max_size=3) | st.dictionaries(texts, blobs | json_values, max_size=3)
)
def test_bytes_come_back_where_they_are_carried(value: Any) -> None:
    content = msgspec.json.encode(value).decode()
    result: ToolResult[Any] = ToolResult("c1", "t", content)
    for name in set(FORMATS) - {"openai"}:
        format_ = format_named(name)
        heard = format_.result_from(judged(format_, "result", format_.result_to(result)), {})
        assert json.loads(heard.content or "") == json.loads(content)


def test_bytes_that_are_not_carried_are_named_and_do_not_swell_the_text() -> None:
    content = msgspec.json.encode({"chart": Blob("image/png", b"x" * 9_999, "a.png")}).decode()
    for name, kind in (("openai", "image/png"), ("anthropic", "audio/wav")):
        format_ = format_named(name)
        told = json.dumps(format_.result_to(ToolResult("c1", "t", content.replace("image/png", kind))))
        assert kind in told
        assert "9999" in told
        assert len(told) < 400


def test_a_url_that_is_not_carried_is_named() -> None:
    content = msgspec.json.encode(Blob("image/png", url="https://x.y/z.png")).decode()
    told = json.loads(ToolResult("c1", "t", content).to_openai()["content"])
    assert told == {"$blob": "image/png", "url": "https://x.y/z.png", "left_out": "it can't be told in this format"}


def test_bytes_travel_as_bytes() -> None:
    data = b64encode(b"\x89PNG").decode()
    result: ToolResult[Any] = ToolResult("c1", "t", msgspec.json.encode(Blob("image/png", b"\x89PNG")).decode())
    assert result.to_openai_responses()["output"][0]["image_url"] == f"data:image/png;base64,{data}"
    assert result.to_anthropic()["content"][0]["source"]["data"] == data
    assert genai.Part.model_validate(result.to_gemini()).function_response.parts[0].inline_data.data == b"\x89PNG"  # type: ignore[union-attr, index]
    assert result.to_mcp()["content"] == [{"type": "image", "data": data, "mimeType": "image/png"}]


@given(one=st.text(max_size=200), other=st.text(max_size=200))
def test_names_and_ids_are_taken_and_differ(spoken_here: Format, one: str, other: str) -> None:
    told = spoken_here.names
    for way, taken in ((told.told, told.name), (told.call_id, told.id)):
        assert taken.fullmatch(way(one))
        assert (way(one) == way(other)) == (one == other)
    assert told.back([ToolSpec(one)]).get(told.told(one), told.told(one)) == one


@given(calls=st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=4))
def test_whatever_a_model_called_can_be_told_again(spoken_here: Format, calls: list[ToolCall]) -> None:
    messages: list[HistoryMessage] = [UserMessage("go"), AssistantMessage("", tuple(calls))]
    messages += [ToolMessage(call.id, call.name, "1") for call in calls]
    judged(spoken_here, "history", spoken_here.history_to(messages))


@given(history=histories(), provider=st.sampled_from(FORMATS))
def test_nobody_is_given_the_blocks_of_another(history: list[HistoryMessage], provider: str) -> None:
    foreign = [
        msgspec.structs.replace(each, opaque=(Opaque(provider, '{"secret":"of_another"}'),))
        if isinstance(each, AssistantMessage)
        else each
        for each in history
    ]
    for name in set(FORMATS) - {provider}:
        assert format_named(name).history_to(foreign) == format_named(name).history_to(history)


def test_a_block_of_a_call_that_is_gone_goes_with_it() -> None:
    for name in ("anthropic", "gemini", "openai_responses", "mcp", "openai"):
        gone = AssistantMessage("left", (), (Opaque(name, '{"signed":1}', "c1"),))
        assert "signed" not in json.dumps(format_named(name).history_to([UserMessage("a"), gone]))


@pytest.mark.parametrize("kind", ["tool", "call", "result", "history"])
@pytest.mark.parametrize("theirs", [7, "x", {"content": 7}, [[]], None])
def test_what_is_nothing_of_the_kind_is_refused(spoken_here: Format, kind: str, theirs: Any) -> None:
    if kind == "result" and isinstance(theirs, dict) and spoken_here.name == "openai_responses":
        theirs = {"output": 7}
    with pytest.raises((msgspec.ValidationError, ValueError, TypeError)):
        getattr(spoken_here, f"{kind}_from")(theirs, {})


def test_the_words_speak_for_themselves(spoken_here: Format) -> None:
    spec = ToolSpec("math.add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}})
    call = ToolCall("c1", "math.add", '{"a":1}')
    result: ToolResult[Any] = ToolResult("c1", "math.add", "1")
    history = History([UserMessage("go"), AssistantMessage("so", (call,)), tool_message(result)])
    back = spoken_here.names.back([spec])
    for kind, word in (("tool", spec), ("call", call), ("result", result), ("history", history)):
        theirs = getattr(word, f"to_{spoken_here.name}")()
        assert theirs == getattr(spoken_here, f"{kind}_to")(word)
        heard = getattr(type(word), f"from_{spoken_here.name}")(judged(spoken_here, kind, theirs), back)
        assert type(heard) is type(word)
        assert heard == word or kind == "result"  # most formats don't say which tool's a result is
    assert ToolResult.from_openai(result.to_openai()).content == "1"


def test_only_what_is_spoken_is_found() -> None:
    with pytest.raises(KeyError):
        format_named("os")


def test_strict_is_said_or_not_at_all(spoken_here: Format) -> None:
    strict = ToolSpec("t", "", {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    loose = ToolSpec("t", "", {"type": "object", "additionalProperties": True})
    for spec in (strict, loose):
        told = judged(spoken_here, "tool", spoken_here.tool_to(spec, strict=True))
        said = re.findall(r'"strict": (\w+)', json.dumps(told))
        expected = {
            "openai": ["true"] if spec is strict else [],
            "openai_responses": ["true" if spec is strict else "false"],
            "anthropic": ["true"] if spec is strict else [],
        }
        assert said == expected.get(spoken_here.name, [])
