"""Whatever goes wrong between a hosted model and its provider is one failure, and leaves nothing behind."""

import gc
import json

import anyio
import pytest

from strict.asking import MODELS, WAYS, ask, speaking
from strict.judge import FORMATS
from strict.provider import Delivery, Failing, Provider, Raw, Silence
from strict.said import call, said, text, thought
from strict.spoken import WIRES
from toolwire.actors.models.contract import ModelReply, ModelRequest
from toolwire.actors.models.hosted import Hosted
from toolwire.protocol.events import CallSpoken, TextDelta
from toolwire.protocol.failures import Failure, Misuse, ToolwireError
from toolwire.protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolSpec

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_authorities")]

WEATHER = ToolSpec("get_weather", "Weather", {"type": "object", "properties": {}})
ASKED: list[HistoryMessage] = [SystemMessage("Be brief."), UserMessage("Weather?")]
REQUEST = ModelRequest(ASKED, [WEATHER])
MILD = said(text("Mild."))
LONG = said(thought("hm"), text("It is mild, and it will stay so."), call("get_weather"), call("get_weather"))
PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLWIRE_NO_MODELS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)


@pytest.fixture(params=FORMATS, scope="module")
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=WAYS, scope="module")
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def failure_of(model: Hosted, way: str, request: ModelRequest = REQUEST) -> Failure:
    with pytest.raises(ToolwireError) as raised:
        await ask(model, request, way)
    assert not isinstance(raised.value, Misuse)
    failure = raised.value.failure
    assert "sk-secret" not in json.dumps([failure.message, failure.details])
    return failure


LONG_OPENAI = "This model's maximum context length is 8 tokens."
ERRORS: dict[str, tuple[dict[str, Failing], str, bool, float | None]] = {
    "too fast": (
        {
            "openai": Failing(429, "rate_limit_exceeded", "slow down", {"retry-after": "7"}),
            "anthropic": Failing(429, "rate_limit_error", "slow down", {"retry-after": "7"}),
        },
        "rate_limited",
        True,
        7.0,
    ),
    "too fast, by a date": (
        {
            "openai": Failing(
                429,
                "rate_limit_exceeded",
                "slow down",
                {"date": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"},
            )
        },
        "rate_limited",
        True,
        30.0,
    ),
    "in milliseconds": (
        {"openai": Failing(503, "busy", "busy", {"retry-after-ms": "250"})},
        "model_failed",
        True,
        0.25,
    ),
    "no credit": (
        {
            "openai": Failing(429, "insufficient_quota", "pay", {"retry-after": "7"}),
            "anthropic": Failing(400, "billing_error", "Your credit balance is too low"),
        },
        "model_failed",
        False,
        None,
    ),
    "overloaded": (
        {"openai": Failing(503, "server_error", "busy"), "anthropic": Failing(529, "overloaded_error", "Overloaded")},
        "model_failed",
        True,
        None,
    ),
    "broken": (
        {"openai": Failing(500, "server_error", "oops"), "anthropic": Failing(500, "api_error", "oops")},
        "model_failed",
        True,
        None,
    ),
    "too slow there": (
        {"openai": Failing(408, "timeout", "slow"), "anthropic": Failing(504, "timeout_error", "slow")},
        "timed_out",
        True,
        None,
    ),
    "no key": (
        {
            "openai": Failing(401, "invalid_api_key", "Incorrect API key provided: sk-secret"),
            "anthropic": Failing(401, "authentication_error", "invalid x-api-key: sk-secret"),
        },
        "model_failed",
        False,
        None,
    ),
    "no right": (
        {"openai": Failing(403, "forbidden", "not yours"), "anthropic": Failing(403, "permission_error", "not yours")},
        "model_failed",
        False,
        None,
    ),
    "no such model": (
        {
            "openai": Failing(404, "model_not_found", "no such model"),
            "anthropic": Failing(404, "not_found_error", "model: m"),
        },
        "model_failed",
        False,
        None,
    ),
    "too long": (
        {
            "openai": Failing(400, "context_length_exceeded", LONG_OPENAI),
            "anthropic": Failing(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        },
        "context_too_long",
        False,
        None,
    ),
    "too large": (
        {"openai": Failing(413, "x", LONG_OPENAI), "anthropic": Failing(413, "request_too_large", "too large")},
        "context_too_long",
        False,
        None,
    ),
    "filtered": ({"openai": Failing(400, "content_filter", "filtered")}, "model_refused", False, None),
    "wrong": ({"openai": Failing(400, "invalid_request_error", "no")}, "model_failed", False, None),
    "a page": ({"openai": Failing(502, body=PAGE)}, "model_failed", True, None),
    "an empty no": ({"openai": Failing(500, body="")}, "model_failed", True, None),
}


async def test_what_the_provider_says_no_to(wire: str, way: str) -> None:
    key = "ANTHROPIC_API_KEY" if wire == "anthropic" else "OPENAI_API_KEY"
    async with speaking(wire) as (model, provider):
        for number, (error, (failing, code, retryable, after)) in enumerate(ERRORS.items(), 1):
            answer = failing.get(wire, failing["openai"])
            provider.answers.append(answer)
            failure = await failure_of(model, way)
            assert (failure.code, failure.retryable, failure.retry_after) == (code, retryable, after), error
            assert failure.details["status"] == answer.status
            assert len(provider.bodies) == number  # the SDK does not try again by itself
            assert "<html" not in failure.message
            assert (key in failure.message) == (answer.status in {401, 403}), error


IN_STREAM: dict[str, dict[str, tuple[str, str, bool]]] = {
    "openai": {"slow": ("rate_limit_exceeded", "rate_limited", True), "down": ("server_error", "model_failed", True)},
    "openai_responses": {
        "slow": ("rate_limit_exceeded", "rate_limited", True),
        "down": ("server_error", "model_failed", True),
    },
    "anthropic": {
        "slow": ("rate_limit_error", "rate_limited", True),
        "down": ("overloaded_error", "model_failed", True),
    },
}


@pytest.mark.parametrize("upto", [0, 4])
async def test_an_error_in_the_midst_of_a_stream(wire: str, upto: int) -> None:
    async with speaking(wire) as (model, provider):
        for kind, code, retryable in IN_STREAM[wire].values():
            tail = provider.wire.error_event(kind, "it says why, and the key: sk-secret")
            provider.answers.append(Delivery(LONG, upto=upto, tail=tail))
            failure = await failure_of(model, "streamed")
            assert (failure.code, failure.retryable) == (code, retryable)
            assert "it says why" in failure.message


async def test_a_response_that_failed() -> None:
    async with speaking("openai_responses") as (model, provider):
        failed = provider.wire.whole(MILD) | {"status": "failed", "output": []}
        failed["error"] = {"code": "server_error", "message": "it says why"}
        event = {"type": "response.failed", "sequence_number": 1, "response": failed}
        provider.answers += [
            Delivery(LONG, upto=3, tail=f"event: response.failed\ndata: {json.dumps(event)}\n\n".encode()),
            Raw(json.dumps(failed).encode()),
        ]
        for each in ("streamed", "whole"):
            failure = await failure_of(model, each)
            assert (failure.code, failure.retryable) == ("model_failed", True)
            assert "it says why" in failure.message


GARBAGE = {
    "a page": Raw(PAGE.encode(), "text/html"),
    "nothing": Raw(b""),
    "no JSON": Raw(b'{"id": '),
    "null": Raw(b"null"),
    "a list": Raw(b"[1]"),
    "another object": Raw(b'{"hello": "world"}'),
    "bytes": Raw(b"\xff\xfe\x00", "application/octet-stream"),
}


async def test_what_is_no_answer(wire: str, way: str) -> None:
    async with speaking(wire, *GARBAGE.values()) as (model, _):
        for garbage in GARBAGE:
            assert (await failure_of(model, way)).code == "model_failed", garbage


async def test_events_that_are_none(wire: str) -> None:
    tails = [f"data: {data}\n\n".encode() for data in ("{nope", "7", "null", "[]", '{"type": 7}', '{"choices": 7}')]
    async with speaking(wire, *(Delivery(LONG, upto=3, tail=tail) for tail in tails)) as (model, _):
        for tail in tails:
            assert (await failure_of(model, "streamed")).code == "model_failed", tail


@pytest.mark.parametrize("end", ["proper", "abrupt"])
async def test_a_stream_that_ends_too_early(wire: str, end: str) -> None:
    """Cut after each of its events but the last ones, which say that it is whole."""
    count = len(WIRES[wire]().streamed(WIRES[wire]().whole(LONG)))
    last = {"openai": 3, "openai_responses": 1, "anthropic": 2}[wire]
    cuts = range(count - last + 1)
    async with speaking(wire, *(Delivery(LONG, upto=upto, end=end) for upto in cuts)) as (model, _):
        for _ in cuts:
            failure = await failure_of(model, "streamed")
            assert (failure.code, failure.retryable) == ("model_failed", True)


async def test_an_answer_that_is_torn(wire: str) -> None:
    async with speaking(wire, Delivery(LONG, end="abrupt")) as (model, _):
        failure = await failure_of(model, "whole")
    assert (failure.code, failure.retryable) == ("model_failed", True)


async def test_silence_ends_with_the_time_left(wire: str, way: str) -> None:
    request = ModelRequest(ASKED, seconds=0.05)
    async with speaking(wire, Silence(), Delivery(LONG, upto=3, end="silent")) as (model, provider):
        for _ in range(2):
            assert (await failure_of(model, way, request)).code == "timed_out"
        await provider.left.wait()


async def test_nobody_there(wire: str, way: str) -> None:
    async with Provider(wire).serving() as base_url:
        pass
    model = MODELS[wire]("m", base_url=base_url, api_key="sk-secret", retries=0)
    failure = await failure_of(model, way)
    assert (failure.code, failure.retryable) == ("model_failed", True)
    assert base_url.partition("//")[2] in failure.message
    await model.aclose()


async def test_cancelling_frees_the_connection(wire: str, way: str) -> None:
    async with speaking(wire, Silence(), MILD) as (model, provider):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, model, REQUEST, way)
            await provider.asked.wait()
            tasks.cancel_scope.cancel()
        await provider.left.wait()
        assert (await ask(model, REQUEST, way)).reply.text == "Mild."
        gc.collect()  # an async generator that is left to the collector warns here, on trio


@pytest.mark.parametrize("size", [None, 1_000_000], ids=["event by event", "all at once"])
async def test_leaving_a_stream_frees_the_connection(wire: str, size: int | None) -> None:
    async with speaking(wire, Delivery(LONG, size, upto=9, end="silent"), MILD) as (model, provider):
        async with model.stream(REQUEST) as events:
            assert isinstance(await anext(events), object)
        await provider.left.wait()
        assert (await ask(model, REQUEST, "streamed")).reply.text == "Mild."
        gc.collect()


async def test_cancelling_at_each_event_frees_the_connection(wire: str) -> None:
    spoken = WIRES[wire]().streamed(WIRES[wire]().whole(LONG))
    cuts = range(1, len(spoken), 3)
    async with speaking(wire, *(Delivery(LONG, upto=upto, end="silent") for upto in cuts), MILD) as (model, provider):
        for _ in cuts:
            provider.left, provider.silent = anyio.Event(), anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, model, REQUEST, "streamed")
                await provider.silent.wait()
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            await provider.left.wait()
        assert (await ask(model, REQUEST, "streamed")).reply.text == "Mild."
        gc.collect()


async def test_a_call_is_told_once_it_is_whole(wire: str) -> None:
    """The first call is there before the second has begun to be spoken to its end; a torn one is never told."""
    spoken = WIRES[wire]().streamed(WIRES[wire]().whole(LONG))
    upto = len(spoken) - {"openai": 4, "openai_responses": 4, "anthropic": 4}[wire]
    async with (
        speaking(wire, Delivery(LONG, upto=upto, end="silent")) as (model, _),
        model.stream(REQUEST) as events,
    ):
        async for event in events:
            if isinstance(event, CallSpoken):
                assert (event.position, event.call.name, event.call.text()) == (0, "get_weather", "{}")
                assert {piece.maker for piece in event.opaque} == {model.maker}
                break
            assert not isinstance(event, ModelReply)


async def test_a_call_that_is_torn_is_no_call_to_run(wire: str) -> None:
    torn = said(call("get_weather", {"city": "Orl"}), finish="length")
    async with speaking(wire, torn, MILD) as (model, _):
        async with model.stream(REQUEST) as events:
            heard = [event async for event in events]
        reply = heard[-1]
        assert isinstance(reply, ModelReply)
        assert reply.finish == "length"
        results = [ToolMessage(each.id, each.name, '{"error":{}}', failed=True) for each in reply.calls]
        history = [*ASKED, AssistantMessage(reply.text, reply.calls, reply.opaque), *results, UserMessage("Again.")]
        assert (await ask(model, ModelRequest(history, [WEATHER]), "streamed")).reply.text == "Mild."


async def test_what_the_checker_refuses_is_the_models_failure(wire: str, way: str) -> None:
    orphan = [*ASKED, AssistantMessage("", (ToolCall("a", "get_weather"),)), UserMessage("?")]
    async with speaking(wire, refused=True) as (model, provider):
        failure = await failure_of(model, way, ModelRequest(orphan, [WEATHER]))
    assert (failure.code, failure.retryable, failure.details["status"]) == ("model_failed", False, 400)
    assert failure.details["error"] == "invalid_request_error"
    assert provider.refused[0][:40] in failure.message


async def test_a_relative_that_does_not_stream(wire: str) -> None:
    async with speaking(wire) as (model, provider):
        provider.answers.append(Raw(json.dumps(provider.wire.whole(LONG)).encode()))
        async with model.stream(REQUEST) as events:
            heard = [event async for event in events]
    assert TextDelta("It is mild, and it will stay so.") in heard
    assert isinstance(heard[-1], ModelReply)
    assert len(heard[-1].calls) == 2


KEYS = {"openai": "OPENAI_API_KEY", "openai_responses": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
PLACES = {"openai": "OPENAI_BASE_URL", "openai_responses": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}


async def test_the_key_and_the_place_come_from_the_environment(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(wire, MILD)
    async with provider.serving() as base_url:
        monkeypatch.setenv(KEYS[wire], "sk-test")
        monkeypatch.setenv(PLACES[wire], base_url)
        model = MODELS[wire]("m")
        assert (await model.complete(REQUEST)).text == "Mild."
        await model.aclose()
    assert "sk-test\r\n" in provider.heads[0]


async def test_a_missing_key_is_said(wire: str) -> None:
    with pytest.raises(Misuse, match=f"set {KEYS[wire]}, or give api_key= or base_url="):
        MODELS[wire]("m")


async def test_real_models_can_be_forbidden(wire: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(wire) as (model, provider):
        monkeypatch.setenv("TOOLWIRE_NO_MODELS", "1")
        with pytest.raises(Misuse, match="TOOLWIRE_NO_MODELS"):
            await ask(model, REQUEST, way)
        with pytest.raises(Misuse, match="TOOLWIRE_NO_MODELS"):
            MODELS[wire]("m", api_key="sk")
    assert provider.bodies == []


async def test_no_key_is_shown(wire: str) -> None:
    model = MODELS[wire]("m", base_url="http://user:hidden@127.0.0.1:9/v1", api_key="sk-secret", retries=0)
    assert "m at http://127.0.0.1:9" in repr(model)
    failure = await failure_of(model, "whole")
    assert "hidden" not in failure.message + repr(model)
    await model.aclose()
