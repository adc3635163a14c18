import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from toolwire.actors.models.contract import ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.openai import OpenAI, openai
from toolwire.protocol.events import CallSpoken, ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import Misuse, ToolwireError
from toolwire.protocol.history import (
    AssistantMessage,
    History,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from toolwire.protocol.tools import Retry, ToolCall, ToolSpec

pytestmark = pytest.mark.anyio

WEATHER = ToolSpec("get_weather", "Weather", {"type": "object", "properties": {"city": {"type": "string"}}})
DOTTED = ToolSpec("calendar.create event", "A name that OpenAI refuses")
ASKED: list[HistoryMessage] = [SystemMessage("Be brief."), UserMessage("Weather?")]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLWIRE_NO_MODELS", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def completion(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


def call(id_: str, name: str, arguments: object = "{}", **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def events_of(*deltas: dict[str, Any], finish: str | None = "stop", done: bool = True) -> bytes:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return "".join([": a comment\r\n\r\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


@asynccontextmanager
async def model_of(provider: Any, **options: Any) -> AsyncIterator[OpenAI]:
    async with provider.serving() as base_url:
        model = openai("m", base_url=base_url, **{"retries": 0, **options})
        with anyio.fail_after(10):
            yield model
        await model.aclose()


async def heard(model: StreamingModel, request: ModelRequest) -> list[Any]:
    async with model.stream(request) as events:
        return [event async for event in events]


async def failure_of(model: OpenAI, request: ModelRequest) -> Any:
    with pytest.raises(ToolwireError) as raised:
        await model.complete(request)
    return raised.value.failure


async def test_a_text(provider_of: Any) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    provider = provider_of(completion({"content": "Mild 🌤."}, usage=usage))
    async with model_of(provider, settings={"temperature": 0.5}) as model:
        reply = await model.complete(ModelRequest(ASKED, settings={"seed": 1}))
    assert reply == ModelReply("Mild 🌤.", (), Usage(12, 5), "stop", model="m")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
    assert provider.bodies == [{"temperature": 0.5, "seed": 1, "model": "m", "messages": messages, "stream": False}]


async def test_calls_and_their_results_go_back_as_the_provider_asks(provider_of: Any) -> None:
    said = completion({"tool_calls": [call("a", "get_weather", '{"city":"Paris"}'), call("", "now", "")]}, "tool_calls")
    provider = provider_of(said, completion({"content": "Mild."}))
    messages = list(ASKED)
    async with model_of(provider) as model:
        reply = await model.complete(ModelRequest(History(messages), [WEATHER, DOTTED], conversation="c"))
        assert [(c.name, c.arguments) for c in reply.calls] == [("get_weather", '{"city":"Paris"}'), ("now", "{}")]
        assert reply.finish == "calls"
        messages.append(AssistantMessage(reply.text, reply.calls))
        messages += [ToolMessage(c.id, c.name, '"mild"') for c in reply.calls]
        assert (await model.complete(ModelRequest(History(messages), [WEATHER, DOTTED], conversation="c"))).text
    first, second = provider.bodies
    assert second["messages"][: len(ASKED)] == first["messages"]
    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert provider.connections == 1


async def test_hostile_histories_are_made_valid(provider_of: Any) -> None:
    calls = (ToolCall("x" * 200, "a name", "no json"), ToolCall("", "", "[1]"), ToolCall("c", "ok", '{"a": 1}'))
    results = [ToolMessage(c.id, c.name, "1") for c in calls]
    provider = provider_of(completion({"content": "fine"}))
    async with model_of(provider, settings={"extra": {"tool_choice": "auto"}}) as model:
        reply = await model.complete(ModelRequest([*ASKED, AssistantMessage("", calls), *results]))
    assert reply.text == "fine"


async def test_the_checker_refuses_what_openai_refuses(provider_of: Any) -> None:
    orphan = [*ASKED, AssistantMessage("", (ToolCall("a", "f"),)), UserMessage("?")]
    stray = [*ASKED, ToolMessage("a", "f", "1")]
    double = [*ASKED, AssistantMessage("", (ToolCall("a", "f"), ToolCall("a", "f")))]
    async with model_of(provider_of()) as model:
        for messages in (orphan, stray, double):
            failure = await failure_of(model, ModelRequest(messages))
            assert (failure.code, failure.retryable, failure.details) == (
                "model_failed",
                False,
                {"status": 400, "error": "invalid_request_error"},
            )


async def test_names_that_openai_refuses_lead_back(provider_of: Any) -> None:
    async with model_of(provider := provider_of(None)) as model:
        names = [
            tool["function"]["name"]
            for tool in json.loads(model._question(ModelRequest(ASKED, [DOTTED])).content)["tools"]
        ]
        provider.answers[:] = [completion({"tool_calls": [call("a", names[0])]}, "tool_calls")]
        reply = await model.complete(ModelRequest(ASKED, [WEATHER, DOTTED]))
    assert reply.calls == (ToolCall("a", "calendar.create event", "{}"),)


async def test_an_id_of_the_history_is_not_given_again(provider_of: Any) -> None:
    again = completion({"tool_calls": [call("call_0", "f")]}, "tool_calls")
    history = [*ASKED, AssistantMessage("", (ToolCall("call_0", "f"),)), ToolMessage("call_0", "f", "1")]
    async with model_of(provider_of(again)) as model:
        reply = await model.complete(ModelRequest(history))
    assert reply.calls[0].id not in {"", "call_0"}


async def test_a_conversation_that_begins_anew_is_translated_anew(provider_of: Any) -> None:
    provider = provider_of(*[completion({"content": "ok"})] * 3)
    async with model_of(provider) as model:
        messages = list(ASKED)
        await model.complete(ModelRequest(History(messages), conversation="c"))
        await model.complete(ModelRequest(History([SystemMessage("Else."), ASKED[1]]), conversation="c"))
        await model.complete(ModelRequest(History(messages, 1), conversation="c"))
    assert [[m["content"] for m in body["messages"]] for body in provider.bodies] == [
        ["Be brief.", "Weather?"],
        ["Else.", "Weather?"],
        ["Be brief."],
    ]


@pytest.mark.parametrize("done", [True, False], ids=["done", "no-done"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_in_awkward_pieces(provider_of: Any, sse: Any, size: int, *, done: bool) -> None:
    wire = events_of(
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "Grüße "},
        {"content": "🌤!"},
        {"tool_calls": [call("a", "get_weather", '{"ci', index=0)]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ty":"Orléans"}'}}]},
        {"tool_calls": [call("b", "now", "", index=0)]},
        finish="tool_calls",
        done=done,
    )
    provider = provider_of(sse([wire[n : n + size] for n in range(0, len(wire), size)]))
    async with model_of(provider) as model:
        *deltas, reply = await heard(model, ModelRequest(ASKED, [WEATHER]))
    assert deltas[:3] == [ReasoningDelta("hm"), TextDelta("Grüße "), TextDelta("🌤!")]
    calls = (ToolCall("a", "get_weather", '{"city":"Orléans"}'), ToolCall("b", "now", "{}"))
    opaque = (Opaque("openai", '{"reasoning_content":"hm"}', maker=model.maker),)
    assert deltas[3:] == [CallSpoken(calls[0], 0, opaque=opaque), CallSpoken(calls[1], 1)]
    assert reply == ModelReply("Grüße 🌤!", calls, Usage(7, 3), "calls", opaque)
    assert provider.bodies[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("end", ["proper", "abrupt"])
async def test_a_stream_that_is_cut_off_is_a_failure(provider_of: Any, sse: Any, end: str) -> None:
    torn = events_of({"content": "a"}, {"tool_calls": [call("a", "f", "", index=0)]}, finish=None, done=False)
    async with model_of(provider_of(sse([torn], end))) as model:
        with pytest.raises(ToolwireError) as raised:
            await heard(model, ModelRequest(ASKED))
    assert (raised.value.failure.code, raised.value.failure.retryable) == ("model_failed", True)


async def test_an_error_in_the_midst_of_a_stream(provider_of: Any, sse: Any) -> None:
    error = {"error": {"message": "slow down", "code": 429}}
    wire = events_of({"content": "a"}, finish=None, done=False) + f"data: {json.dumps(error)}\n\n".encode()
    async with model_of(provider_of(sse([wire]))) as model:
        with pytest.raises(ToolwireError, match="slow down") as raised:
            await heard(model, ModelRequest(ASKED))
    assert raised.value.failure.code == "rate_limited"


@pytest.mark.parametrize("pieces", [1, 2], ids=["chunk by chunk", "all at once"])
async def test_leaving_a_stream_ends_the_request(provider_of: Any, sse: Any, pieces: int) -> None:
    wire = events_of({"content": "one"}, {"content": "two"}, finish=None, done=False)
    provider = provider_of(sse([wire] * pieces, "open"))
    async with model_of(provider) as model:
        async with model.stream(ModelRequest(ASKED)) as events:
            assert await anext(events) == TextDelta("one")
        await provider.left.wait()
        gc.collect()  # an async generator that is left to the collector warns here, on trio


async def test_cancelling_a_stream_ends_the_request(provider_of: Any, sse: Any) -> None:
    provider = provider_of(sse([events_of({"content": "one"}, finish=None, done=False)], "open"))
    async with model_of(provider) as model:
        with anyio.CancelScope() as scope:
            async with model.stream(ModelRequest(ASKED)) as events:
                assert await anext(events) == TextDelta("one")
                scope.cancel()
                await anext(events)
        assert scope.cancelled_caught
        await provider.left.wait()
        gc.collect()


async def test_cancelling_a_completion_ends_the_request(provider_of: Any) -> None:
    async with model_of(provider := provider_of(None)) as model:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(model.complete, ModelRequest(ASKED))
            await provider.asked.wait()
            tasks.cancel_scope.cancel()
        await provider.left.wait()


async def test_a_slow_answer_ends_with_the_time_left(provider_of: Any) -> None:
    async with model_of(provider_of(None)) as model:
        failure = await failure_of(model, ModelRequest(ASKED, seconds=0.05))
    assert failure.code == "timed_out"


@pytest.mark.parametrize(
    ("status", "error", "headers", "code", "retryable", "after"),
    [
        (429, {"message": "slow", "code": "rate_limit_exceeded"}, {"Retry-After": "7"}, "rate_limited", True, 7.0),
        (429, {"message": "pay", "code": "insufficient_quota"}, {"Retry-After": "7"}, "model_failed", False, None),
        (500, {"message": "oops"}, {}, "model_failed", True, None),
        (503, "busy", {"retry-after-ms": "250"}, "model_failed", True, 0.25),
        (401, {"message": "Incorrect API key provided: sk-1"}, {}, "model_failed", False, None),
        (403, {"message": "not yours"}, {}, "model_failed", False, None),
        (404, {"message": "no such model"}, {}, "model_failed", False, None),
        (400, {"message": "", "code": "context_length_exceeded"}, {}, "context_too_long", False, None),
        (400, {"message": "filtered", "code": "content_filter"}, {}, "model_refused", False, None),
    ],
)
async def test_what_the_provider_refuses(
    provider_of: Any, failing: Any, status: Any, error: Any, headers: Any, code: Any, retryable: Any, after: Any
) -> None:
    provider = provider_of(failing(status, error, headers))
    async with model_of(provider) as model:
        failure = await failure_of(model, ModelRequest(ASKED))
    assert (failure.code, failure.retryable, failure.retry_after) == (code, retryable, after)
    assert failure.details["status"] == status
    assert len(provider.bodies) == 1  # the SDK does not try again by itself
    assert "sk-1" not in failure.message
    assert ("OPENAI_API_KEY" in failure.message) == (status in {401, 403})


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": "none"},
        {"choices": []},
        {"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]},
        {"error": {"message": "no luck"}},
        {},
    ],
)
async def test_what_is_no_completion(provider_of: Any, answer: Any) -> None:
    async with model_of(provider_of(answer)) as model:
        assert (await failure_of(model, ModelRequest(ASKED))).code == "model_failed"


async def test_events_that_are_no_json(provider_of: Any, sse: Any) -> None:
    async with model_of(provider_of(sse([b"data: {nope\n\n"]))) as model:
        with pytest.raises(ToolwireError, match="no chat completion"):
            await heard(model, ModelRequest(ASKED))


async def test_nobody_there() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra_attributes[anyio.abc.SocketAttribute.local_port]()
    await listener.aclose()
    model = openai("m", base_url=f"http://127.0.0.1:{port}/v1", retries=0)
    failure = await failure_of(model, ModelRequest(ASKED))
    assert (failure.code, failure.retryable) == ("model_failed", True)
    assert str(port) in failure.message
    await model.aclose()


async def test_the_key_and_the_place_come_from_the_environment(
    provider_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_of(completion({"content": "ok"}))
    async with provider.serving() as base_url:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        model = openai("m")
        assert (await model.complete(ModelRequest(ASKED))).text == "ok"
        await model.aclose()
    assert "authorization: bearer sk-test\r\n" in provider.headers[0].lower()


async def test_real_models_can_be_forbidden(provider_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with model_of(provider_of(completion({"content": "ok"}))) as model:
        monkeypatch.setenv("TOOLWIRE_NO_MODELS", "1")
        with pytest.raises(Misuse, match="TOOLWIRE_NO_MODELS"):
            await model.complete(ModelRequest(ASKED))
        with pytest.raises(Misuse, match="TOOLWIRE_NO_MODELS"):
            openai("m", api_key="sk")


async def test_a_missing_key_is_said() -> None:
    with pytest.raises(Misuse, match="set OPENAI_API_KEY"):
        openai("m")


async def test_a_missing_sdk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(Misuse, match=r"pip install 'toolwire\[openai\]'"):
        openai("m", api_key="sk")


async def test_it_is_a_streaming_model_and_shows_no_key() -> None:
    model = openai("m", base_url="http://user:secret@127.0.0.1:9/v1", api_key="sk-secret", retries=0)
    assert isinstance(model, StreamingModel)
    assert repr(model) == "<OpenAI m at http://127.0.0.1:9/v1>"


@pytest.mark.parametrize("streamed", [False, True])
async def test_it_asks_again_where_it_is_told_to_wait(
    provider_of: Any, failing: Any, sse: Any, *, streamed: bool
) -> None:
    busy = failing(429, {"message": "Slow down", "type": "requests"}, {"retry-after": "0.001"})
    well = sse([events_of({"content": "ok"}, finish="stop")]) if streamed else completion({"content": "ok"})
    provider = provider_of(busy, busy, well)
    async with model_of(provider, retries=Retry(2, first=0.0)) as model:
        reply = (await heard(model, ModelRequest(ASKED)))[-1] if streamed else await model.complete(ModelRequest(ASKED))
    assert reply.text == "ok"
    assert len(provider.bodies) == 3
