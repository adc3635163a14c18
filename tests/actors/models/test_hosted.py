"""How a hosted model fails, whoever hosts it, and what it says of itself."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import current_token

from strict.judge import FORMATS
from strict.provider import Delivery, Failing, Provider, Raw
from strict.said import said, text
from toolwire import Runtime, models, scripted
from toolwire.actors.models import model_from
from toolwire.actors.models.contract import ModelReply, ModelRequest, StreamingModel
from toolwire.protocol.events import TextDelta, Usage
from toolwire.protocol.failures import Failure, Misuse, ToolwireError
from toolwire.protocol.history import History, HistoryMessage, UserMessage

pytestmark = pytest.mark.anyio

ASKED: list[HistoryMessage] = [UserMessage("Weather?")]
MILD = said(text("Mild."))
NAMES = {"openai": "gpt-5.1", "openai_responses": "gpt-5.1", "anthropic": "claude-sonnet-4-5"}
KEYS = {"openai": "OPENAI_API_KEY", "openai_responses": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
PAGE = "<!DOCTYPE html>\n<html><head><title>502  Bad\nGateway</title></head><body>nginx</body></html>"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLWIRE_NO_MODELS", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", *KEYS.values()):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


@asynccontextmanager
async def model_of(name: str, *answers: Any, **options: Any) -> AsyncIterator[Any]:
    async with Provider(name, *answers).serving() as base_url:
        model = getattr(models, name)(NAMES[name], base_url=base_url, **{"retries": 0, **options})
        with anyio.fail_after(10):
            yield model
        await model.aclose()


async def failure_of(model: Any, *, stream: bool = False) -> Failure:
    with pytest.raises(ToolwireError) as raised:
        await (heard(model) if stream else model.complete(ModelRequest(ASKED)))
    return raised.value.failure


async def heard(model: Any) -> list[Any]:
    async with model.stream(ModelRequest(ASKED)) as events:
        return [event async for event in events]


@pytest.mark.parametrize(
    ("no", "code", "retryable", "after", "words"),
    [
        (Failing(429, "rate_limit_error", "slow", {"retry-after": "7"}), "rate_limited", True, 7.0, "slow"),
        (Failing(529, "overloaded_error", "Overloaded", {"retry-after-ms": "250"}), "model_failed", True, 0.25, "529"),
        (Failing(500, "api_error", "oops"), "model_failed", True, None, "500: oops"),
        (Failing(504, "timeout_error", "late"), "timed_out", True, None, "late"),
        (Failing(502, body=PAGE), "model_failed", True, None, "502: a page, '502 Bad Gateway'"),
        (Failing(503, body="<p>no</p>"), "model_failed", True, None, "a page, and no JSON"),
        (Failing(404, "not_found_error", "model: m"), "model_failed", False, None, "Check the name of the model"),
        (Failing(400, "invalid", "prompt is too long: 9 tokens > 8"), "context_too_long", False, None, "too long"),
        (Failing(413, "request_too_large", "big"), "context_too_long", False, None, "big"),
        (Failing(402, "billing_error", "pay"), "model_failed", False, None, "no credit left"),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
async def test_a_no(name: str, no: Any, code: str, words: str, *, retryable: bool, after: float) -> None:
    async with model_of(name, no, no) as model:
        failure = await failure_of(model)
        assert await failure_of(model, stream=True) == failure
    assert (failure.code, failure.retryable, failure.retry_after) == (code, retryable, after)
    assert words in failure.message
    assert "body" not in failure.message


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_names_where_it_comes_from(name: str, status: int) -> None:
    async with model_of(name, Failing(status, "authentication_error", "invalid x-api-key")) as model:
        failure = await failure_of(model)
    assert KEYS[name] in failure.message
    assert not failure.retryable


async def test_a_key_that_somebody_repeats_is_not_shown(name: str) -> None:
    async with model_of(name, Failing(403, "e", "no sk-much-secret"), api_key="sk-much-secret") as model:
        message = (await failure_of(model)).message
    assert "the provider answered 403: no …" in message


async def test_an_error_in_the_midst_of_a_stream(name: str) -> None:
    error: dict[str, Any] = {"message": "wait", "code": 429} if name == "openai" else {"message": "wait"}
    kind = {"anthropic": "rate_limit_error", "openai_responses": "rate_limit_exceeded"}.get(name, "")
    event = {"type": "error", "error": error}
    error |= {"type": kind} if name == "anthropic" else {"code": kind or 429}
    tail = f"data: {json.dumps(event)}\n\n".encode()
    async with model_of(name, Delivery(MILD, upto=2, tail=tail)) as model:
        failure = await failure_of(model, stream=True)
    assert (failure.code, failure.retryable) == ("rate_limited", True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_page_instead_of_an_answer(name: str, *, stream: bool) -> None:
    async with model_of(name, Raw(PAGE.encode(), "text/html")) as model:
        failure = await failure_of(model, stream=stream)
    assert failure.code == "model_failed"
    assert "Check base_url" in failure.message


async def test_an_answer_that_does_not_stream_though_it_was_asked_to(name: str) -> None:
    provider = Provider(name)
    content = json.dumps(provider.wire.whole(MILD)).encode()
    async with model_of(name, Raw(content), Raw(b'{"error": {"message": "no luck"}}')) as model:
        told, reply = await heard(model)
        assert told == TextDelta("Mild.")
        assert (reply.text, reply.finish) == ("Mild.", "stop")
        assert (await failure_of(model, stream=True)).code == "model_failed"


async def test_an_answer_ends_with_its_last_event_though_the_connection_stays(name: str) -> None:
    async with model_of(name, Delivery(MILD, end="silent")) as model:
        *_, reply = await heard(model)
    assert reply.text == "Mild."


async def test_nobody_there_is_a_failure_that_may_pass(name: str) -> None:
    model = getattr(models, name)("m", base_url="http://user:secret@127.0.0.1:9/v1")
    failure = await failure_of(model)
    assert (failure.code, failure.retryable) == ("model_failed", True)
    assert "127.0.0.1:9" in failure.message
    assert "secret" not in failure.message + repr(model) + model.maker
    await model.aclose()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loops_that_follow_each_other_leave_one_pool_of_connections(name: str, backend: str) -> None:
    """A program may run each turn in a loop of its own, where nobody closes what the last one has opened."""
    model = getattr(models, name)("m", base_url="http://127.0.0.1:9/v1", retries=0)
    loops = []

    async def asked() -> None:
        loops.append(current_token().native_token)
        await failure_of(model)

    for _ in range(4):
        anyio.run(asked, backend=backend)
    assert len(set(map(id, loops))) == 4
    assert len(model._clients) == 1


async def test_who_answered_and_what_it_took(name: str) -> None:
    async with model_of(name, MILD, MILD) as model:
        whole = await model.complete(ModelRequest(ASKED))
        *_, streamed = await heard(model)
    assert whole == streamed
    assert isinstance(whole, ModelReply)
    assert whole.usage == Usage(12, 5, 4, 2)
    assert whole.model


async def test_names_and_keys(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misuse, match=f"set {KEYS[name]}, or give api_key= or base_url="):
        model_from(f"{name}:m")
    monkeypatch.setenv(KEYS[name], "sk-test")
    model: Any = model_from(f"{name}:{NAMES[name]}")
    assert (model.base_url, model.at_home) == (None, True)
    assert repr(model).endswith(f"{NAMES[name]} at {'api.anthropic.com' if name == 'anthropic' else 'api.openai.com'}>")
    assert isinstance(model, StreamingModel)
    monkeypatch.setenv("TOOLWIRE_NO_MODELS", "1")
    with pytest.raises(Misuse, match="TOOLWIRE_NO_MODELS forbids real models"):
        model_from(f"{name}:m")


@pytest.mark.parametrize(
    "url",
    ["ftp://x/v1", "not a url", "127.0.0.1:9/v1", "http://[::1/v1", "http://x:99999/v1", "http://", "http://x/\nv1 "],
)
async def test_a_base_url_where_nobody_can_be(name: str, url: str) -> None:
    with pytest.raises(Misuse, match=r"the base URL of .* can't be .*: write it like 'http://127.0.0.1:11434/v1'"):
        getattr(models, name)("m", base_url=url)
    with pytest.raises(Misuse, match="can't be what it was given") as raised:
        getattr(models, name)("m", base_url="ftp://me:secret@x/v1")
    assert "secret" not in str(raised.value)


async def test_a_key_as_a_file_holds_it(name: str) -> None:
    model: Any = getattr(models, name)("m", api_key="sk-test\n")
    assert model._api_key == "sk-test"
    for wrong in ("sk-te\nst", "sk-clé"):
        with pytest.raises(Misuse, match=f"holds what no key does: look at {KEYS[name]}") as raised:
            getattr(models, name)("m", api_key=wrong)
        assert "sk-" not in str(raised.value)


async def test_words_that_no_provider_can_be_told(name: str) -> None:
    """It is not the provider's fault; and what is said afterwards is told whole."""
    async with model_of(name, MILD) as model:
        messages: list[HistoryMessage] = [UserMessage("Hello \ud83d")]
        for stream in (False, True):
            request = ModelRequest(History(messages))
            with pytest.raises(ToolwireError, match="what the model is to be asked can't be said in JSON: 'utf-8'"):
                await (spoken(model, request) if stream else model.complete(request))
        messages[0] = UserMessage("Hello")
        assert (await model.complete(ModelRequest(History(messages)))).text == "Mild."


async def spoken(model: Any, request: ModelRequest) -> None:
    async with model.stream(request) as events:
        async for _ in events:
            pass


async def test_settings_are_looked_at_when_a_conversation_opens(name: str) -> None:
    async with Runtime() as runtime, model_of(name) as model:
        around = models.fallback(scripted(["a"]), models.retrying(model))
        for asked in (model, around):
            with pytest.raises(Misuse, match="no setting 'temprature'"):
                await runtime.converse(model=asked, settings={"temprature": 1})
        settings: models.Settings = {"temperature": 0.5}
        assert (await (await runtime.converse(model=around, settings=settings)).say("?")).text == "a"
