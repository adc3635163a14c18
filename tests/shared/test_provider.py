"""The providers on loopback speak as the real ones do: the SDKs' own types and their own clients hear the same."""

import json
from typing import Any

import anthropic
import anyio
import httpx2
import openai
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from strict.judge import FORMATS
from strict.provider import Delivery, Failing, Provider, cut
from strict.said import Said, call, said, searched, text, thought
from strict.spoken import WIRES

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_authorities")]

WEATHER: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
SAYING: dict[str, Said] = {
    "text": said(text("Grüße aus Orléans 🌤, mild.")),
    "calls": said(text("So."), call("get_weather", {"city": "Orléans"}), call("get_weather")),
    "thought": said(thought("Hm, hm, hm."), call("get_weather", {"city": "Paris"})),
    "hidden": said(thought("", hidden=True), text("So.")),
    "searched": said(searched("weather"), text("Mild.")),
    "cut off": said(text("Mi"), finish="length"),
    "filtered": said(text("Mi"), finish="filtered"),
    "refused": said(text("I can't."), finish="refused"),
}
KINDS: dict[str, tuple[Any, Any]] = {
    "openai": (ChatCompletion, ChatCompletionChunk),
    "openai_responses": (Response, ResponseStreamEvent),
    "anthropic": (Message, RawMessageStreamEvent),
}


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


@pytest.mark.parametrize("told", SAYING.values(), ids=SAYING)
def test_what_it_says_is_of_the_sdks_types(name: str, told: Said) -> None:
    wire = WIRES[name]()
    answer = wire.whole(told)
    whole, streamed = map(TypeAdapter, KINDS[name])
    whole.validate_python(answer)
    events = wire.streamed(answer)
    for each in events:
        data = each.decode().rpartition("data: ")[2]
        if data.strip() not in {"[DONE]", '{"type": "ping"}'}:
            streamed.validate_python(json.loads(data))


class Client:
    """The SDK's own client of a provider: what it heard, as the text and the calls."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        options: Any = {"base_url": url, "api_key": "k", "max_retries": 0, "http_client": httpx2.AsyncClient()}
        self.sdk: Any = anthropic.AsyncAnthropic(**options) if name == "anthropic" else openai.AsyncOpenAI(**options)

    async def ask(self) -> tuple[str, list[tuple[str, Any]]]:
        """Ask for a whole answer."""
        tool = {"name": "get_weather", "description": "Weather"}
        user: Any = [{"role": "user", "content": "?"}]
        if self.name == "anthropic":
            tools: Any = [{**tool, "input_schema": WEATHER}]
            message = await self.sdk.messages.create(model="m", max_tokens=9, messages=user, tools=tools)
            return self.heard_anthropic(message)
        if self.name == "openai":
            tools = [{"type": "function", "function": {**tool, "parameters": WEATHER}}]
            completion = await self.sdk.chat.completions.create(model="m", messages=user, tools=tools)
            return self.heard_chat(completion.choices[0].message)
        tools = [{"type": "function", **tool, "parameters": WEATHER, "strict": False}]
        return self.heard_response(await self.sdk.responses.create(model="m", input=user, tools=tools))

    async def hear(self) -> tuple[str, list[tuple[str, Any]]]:
        """Ask for a stream, put together by the SDK."""
        user: Any = [{"role": "user", "content": "?"}]
        if self.name == "anthropic":
            async with self.sdk.messages.stream(model="m", max_tokens=9, messages=user) as stream:
                return self.heard_anthropic(await stream.get_final_message())
        if self.name == "openai":
            async with self.sdk.chat.completions.stream(model="m", messages=user) as stream:
                return self.heard_chat((await stream.get_final_completion()).choices[0].message)
        async with self.sdk.responses.stream(model="m", input=user) as stream:
            return self.heard_response(await stream.get_final_response())

    def heard_anthropic(self, message: Any) -> tuple[str, list[tuple[str, Any]]]:
        blocks = message.content
        words = "".join(block.text for block in blocks if block.type == "text")
        return words, [(block.name, block.input) for block in blocks if block.type == "tool_use"]

    def heard_chat(self, message: Any) -> tuple[str, list[tuple[str, Any]]]:
        calls = message.tool_calls or ()
        return message.content or "", [(each.function.name, json.loads(each.function.arguments)) for each in calls]

    def heard_response(self, response: Any) -> tuple[str, list[tuple[str, Any]]]:
        calls = [item for item in response.output if item.type == "function_call"]
        return response.output_text, [(item.name, json.loads(item.arguments)) for item in calls]


HEARD: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "text": ("Grüße aus Orléans 🌤, mild.", []),
    "calls": ("So.", [("get_weather", {"city": "Orléans"}), ("get_weather", {})]),
    "thought": ("", [("get_weather", {"city": "Paris"})]),
    "searched": ("Mild.", []),
}


@pytest.mark.parametrize("size", [None, 13], ids=["events", "torn"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # left by its SDK, OpenAI's stream warns on trio
async def test_the_sdks_own_clients_hear_it(name: str, size: int | None) -> None:
    sayings = [SAYING[each] for each in HEARD]
    provider = Provider(name, *sayings, *(Delivery(each, size, b": keep-alive\n\n") for each in sayings))
    async with provider.serving() as url:
        client = Client(name, url)
        with anyio.fail_after(10):
            heard = [await client.ask() for _ in sayings]
            assert heard == list(HEARD.values())
            heard = [await client.hear() for _ in sayings]
            assert heard == list(HEARD.values())
        await client.sdk.close()
    assert provider.refused == []


async def test_what_it_would_refuse_is_refused(name: str) -> None:
    provider = Provider(name, Failing(429, "rate_limit_error", "slow down", {"retry-after": "3"}))
    errors: dict[str, Any] = {"anthropic": anthropic}
    async with provider.serving() as url:
        client = Client(name, url)
        with anyio.fail_after(10):
            with pytest.raises(errors.get(name, openai).RateLimitError, match="slow down"):
                await client.ask()
            provider.wire.path = "/v1/nothing"
            with pytest.raises(errors.get(name, openai).BadRequestError, match="Invalid URL"):
                await client.ask()
        await client.sdk.close()
    assert len(provider.refused) == 1


def test_pieces_are_never_empty() -> None:
    assert list(cut([b"ab", b"", b"c"], None)) == [b"ab", b"c"]
    assert list(cut([b"ab", b"", b"c"], 2)) == [b"ab", b"c"]
