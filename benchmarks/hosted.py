"""The adapters over the SDKs: the first text after its bytes have reached the SDK, and the body of a long history.

`sdk.delta.openai` and so on are as `delta`, but that the model is the adapter, and the stopwatch starts where the HTTP
client of the SDK is handed the bytes of the first text. `sdk.history.openai` and so on are the body of one more request
after 10,000 messages; nobody can do with less than the body of a short history and copying the long one's bytes.
"""

import statistics
import time
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from typing import Any

import httpx2

from toolwire import AssistantMessage, History, ModelRequest, Runtime, ToolCall, ToolMessage, ToolSpec, UserMessage
from toolwire.actors.models.hosted import Hosted
from toolwire.models import anthropic, openai, openai_responses
from toolwire.protocol.history import HistoryMessage
from toolwire.runtime.loops import here

from .deltas import BUDGET, at, queued, quiet
from .long_history import LONG, MOST, SHORT
from .measure import TOOLWIRE, Bench, Gate, side
from .work import ANSWER, ARGUMENTS, PROMPT, Loop, Work

WORK = Work("hosted", 500)
BODIES = 300
NOWHERE = "http://127.0.0.1:1/"


def sse(*data: str) -> bytes:
    """Events of a stream."""
    return "".join(f"data: {each}\n\n" for each in data).encode()


TEXT = f'"text": "{ANSWER}"'
ITEM = f'{{"type": "message", "id": "msg_1", "role": "assistant", "content": [{{"type": "output_text", {TEXT}}}]}}'
CHOICE = '{"choices": [{"index": 0, "delta": {%s}, "finish_reason": %s}]}'

PROVIDERS: dict[str, tuple[Any, tuple[bytes, bytes, bytes]]] = {
    "openai": (
        openai,
        (
            sse(CHOICE % ('"role": "assistant"', "null")),
            sse(CHOICE % (f'"content": "{ANSWER}"', "null")),
            sse(CHOICE % ("", '"stop"'), "[DONE]"),
        ),
    ),
    "openai_responses": (
        openai_responses,
        (
            sse(f'{{"type": "response.output_item.added", "output_index": 0, "item": {ITEM}}}'),
            sse(f'{{"type": "response.output_text.delta", "output_index": 0, "delta": "{ANSWER}"}}'),
            sse(f'{{"type": "response.completed", "response": {{"status": "completed", "output": [{ITEM}]}}}}'),
        ),
    ),
    "anthropic": (
        anthropic,
        (
            sse(
                '{"type": "message_start", "message": {"content": []}}',
                '{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}',
            ),
            sse(f'{{"type": "content_block_delta", "index": 0, "delta": {{"type": "text_delta", {TEXT}}}}}'),
            sse(
                '{"type": "content_block_stop", "index": 0}',
                '{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}',
                '{"type": "message_stop"}',
            ),
        ),
    ),
}
"""How each is made, and what it says: what comes before its text, the text, and what comes after."""

NAMES = [f"sdk.{what}.{provider}" for what in ("delta", "history") for provider in PROVIDERS]


class Line(httpx2.AsyncBaseTransport, httpx2.AsyncByteStream):
    """Where the SDK's connection would be: hands over three pieces, and notes when it does so with the second."""

    def __init__(self, pieces: tuple[bytes, bytes, bytes]) -> None:
        self.pieces = pieces
        self.said = 0.0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer with the stream."""
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        before, text, after = self.pieces
        yield before
        await quiet()
        self.said = time.perf_counter()
        yield text
        await quiet()
        yield after


def connected(model: Hosted, line: Line) -> Hosted:
    """`model`, in this event loop at the end of `line`."""
    client = getattr(model._sdk, model.wire.client)  # noqa: SLF001 - nobody else needs another connection
    http = httpx2.AsyncClient(transport=line)
    made = client(api_key="none", base_url=NOWHERE, max_retries=0, http_client=http, **model.options())
    model._clients[here()] = made  # noqa: SLF001 - as above
    return model


async def streamed(provider: str, turns: int) -> float:
    """Microseconds from the bytes of the first text to the application: the median of so many turns."""
    make, pieces = PROVIDERS[provider]
    line = Line(pieces)
    model = connected(make("m", base_url=NOWHERE), line)
    async with Runtime("memory://") as runtime:

        async def turn() -> float:
            chat = await runtime.converse(model=model)
            async with chat.stream(PROMPT) as events:
                heard = 0.0
                async for _ in events:
                    heard = heard or time.perf_counter() - line.said
            return heard

        taken = await at(0.5, turn, turns)
    await model.aclose()
    return taken


def grown(length: int) -> list[HistoryMessage]:
    """So many messages: turns of one call each."""
    messages: list[HistoryMessage] = []
    for number in count(1):
        if len(messages) >= length:
            break
        call = ToolCall(f"call_{number}", "add_0", ARGUMENTS)
        result = ToolMessage(call.id, call.name, ANSWER)
        messages += [UserMessage(PROMPT), AssistantMessage("", (call,)), result, AssistantMessage(ANSWER)]
    return messages[:length]


def body(provider: str, length: int, *, copied: int = 0) -> float:
    """Microseconds for the body of one more request. With `copied`, and for copying the body after so many messages."""
    model: Hosted = PROVIDERS[provider][0]("m", base_url=NOWHERE)
    bulk = b""
    if copied:
        bulk = asked(model, grown(copied), "bulk")
    messages, times = grown(length), []
    asked(model, messages, "body")
    for _ in range(BODIES):
        messages += [AssistantMessage(ANSWER), UserMessage(PROMPT)]
        if length == SHORT:
            messages, again = grown(SHORT), History(messages)
            asked(model, messages, "body")
            messages += again[-2:]
        started = time.perf_counter()
        content = asked(model, messages, "body")
        both = b"".join((content, bulk)) if bulk else content
        times.append(time.perf_counter() - started)
        del content, both  # a request is over before the next one is made
    return statistics.median(times) * 1e6


def asked(model: Hosted, messages: list[HistoryMessage], conversation: str) -> bytes:
    """The body of a request with these messages."""
    request = ModelRequest(History(messages), TOOLS, conversation=conversation)
    return model._question(request, stream=True).content  # noqa: SLF001 - the part that is ours


TOOLS = (ToolSpec("add_0", "The sum of two numbers."),)


def benches(loop: Loop, share: float) -> list[Bench]:
    """Two lines for each provider."""
    turns = WORK.reduced(share).turns
    made: list[Bench] = []
    for provider in PROVIDERS:
        sides = {"event": side(loop, queued, turns, 0.5), TOOLWIRE: side(loop, streamed, provider, turns)}
        made.append(Bench(f"sdk.delta.{provider}", "µs", sides, Gate(BUDGET)))
    for provider in PROVIDERS:
        least = f"at {SHORT} and a copy"
        bodies = {least: partial(body, provider, SHORT, copied=LONG), TOOLWIRE: partial(body, provider, LONG)}
        made.append(Bench(f"sdk.history.{provider}", "µs/body", bodies, Gate(MOST, least)))
    return made
