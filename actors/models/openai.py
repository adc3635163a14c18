"""A model that speaks OpenAI's Chat Completions: OpenAI itself, vLLM, Ollama, llama.cpp, over the `openai` SDK.

The SDK carries the bytes (keys, connections, events of a stream, errors); the words are those of
`protocol/formats/openai.py`. Its typed methods are passed by, because they walk the whole history each round.
"""

import os
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import msgspec
from anyio import CancelScope, move_on_after
from anyio.lowlevel import current_token

from ...protocol.failures import Failure, Misuse, ToolwireError, failed
from ...protocol.formats.contract import Answer
from ...protocol.formats.openai import message_to_openai, tool_names, tool_to_openai
from ...protocol.formats.openai_failures import failure_from_openai
from ...protocol.formats.openai_speech import Speech, answer_from_openai
from ...protocol.formats.sse import EventStream
from ...protocol.tools import encode_json
from .contract import ModelEvent, ModelReply, ModelRequest
from .translated import Prefixes, ToolLists

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import AsyncOpenAI

CONNECT = 10.0
"""Seconds for a connection: who does not answer in that time does not answer."""
LONGEST = 600.0
"""Seconds for the next bytes of a reply where the request sets no limit: what the SDK takes too."""

REST = 0.1
"""Seconds for a connection to become free after the last event, before it is given up. The SDK waits as long."""

_PATH = "/chat/completions"
_DONE = b"[DONE]"
_GARBAGE = (ValueError, RecursionError)
_WITHOUT_TOOLS = ("tool_choice", "parallel_tool_calls")  # refused in a request that offers no tools


def openai(
    model: str, *, base_url: str | None = None, api_key: str | None = None, settings: dict[str, Any] | None = None
) -> "OpenAI":
    """A model of OpenAI, or of whoever speaks like it at `base_url` (such as "http://127.0.0.1:11434/v1").

    Without `api_key` it is taken from OPENAI_API_KEY, without `base_url` from OPENAI_BASE_URL; who has a base_url needs
    no key. `settings` go into each request as they are (temperature, max_completion_tokens, …).
    Raises Misuse if the SDK or the key is missing, or TOOLWIRE_NO_MODELS forbids real models.
    """
    return OpenAI(model, base_url=base_url, api_key=api_key, settings=settings)


class OpenAI:
    """See `openai`. It has one pool of connections for each event loop that it is used in, until `aclose`."""

    def __init__(
        self, model: str, *, base_url: str | None = None, api_key: str | None = None, settings: dict[str, Any] | None
    ) -> None:
        _allowed()
        self._sdk, self._http = _sdk()
        self.model = model
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._api_key = api_key or os.environ.get("OPENAI_API_KEY") or ("none" if self.base_url else "")
        if not self._api_key:
            raise Misuse(failed("model_failed", "no key for OpenAI: set OPENAI_API_KEY, or give api_key= or base_url="))
        self._settings = settings or {}
        self._prefixes = Prefixes(message_to_openai)
        self._tools = ToolLists(tool_to_openai, tool_names)
        self._clients: WeakKeyDictionary[object, AsyncOpenAI] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<OpenAI {self.model} at {self._where}>"

    @property
    def _where(self) -> str:
        """For people: without a password that may stand in the URL."""
        return re.sub(r"//[^/@]*@", "//", self.base_url or "api.openai.com")

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`."""
        client = self._client()
        content, names, ids = self._body(request)
        with self._mapped():
            response = await client.post(
                _PATH, cast_to=self._http.Response, content=content, options={"timeout": self._timeout(request)}
            )
            return _reply(answer_from_openai(response.content, names, made_up=_made_up(), taken=ids))

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager["Events"]:
        """The events of the answer to `request`, the last of which is its ModelReply."""
        return Events(self, request)

    async def aclose(self) -> None:
        """Close the connections of this event loop. The model may be used again."""
        client = self._clients.pop(current_token().native_token, None)
        if client is not None:
            await client.close()

    async def _open(self, request: ModelRequest) -> tuple["Response", Speech]:
        client = self._client()
        content, names, ids = self._body(request, stream=True)
        stream = await client.post(
            _PATH,
            cast_to=object,
            content=content,
            options={"timeout": self._timeout(request)},
            stream=True,
            stream_cls=self._sdk.AsyncStream[object],
        )
        # The SDK's own reading is passed by: after [DONE], or an error, it leaves async generators to the collector.
        return stream.response, Speech(names, made_up=_made_up(), taken=ids)

    def _body(self, request: ModelRequest, *, stream: bool = False) -> tuple[bytes, dict[str, str], set[str]]:
        """The request in their words, how their names of tools lead back to ours, and the ids that are taken."""
        messages, ids = self._prefixes.told(request.conversation, request.messages)
        streaming = {"stream_options": {"include_usage": True}} if stream else {}
        body = {**streaming, **self._settings, **request.settings}
        body |= {"model": self.model, "messages": messages, "stream": stream}
        if not request.tools:
            for setting in _WITHOUT_TOOLS:
                body.pop(setting, None)
            return encode_json(body), {}, ids
        tools = self._tools.told(request.tools)
        body["tools"] = tools.told
        return encode_json(body), tools.names, ids

    def _client(self) -> "AsyncOpenAI":
        _allowed()
        loop = current_token().native_token
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._sdk.AsyncOpenAI(
                api_key=self._api_key,
                base_url=self.base_url,
                max_retries=0,  # who asks decides about trying again, within its own budget
                # The SDK's own wrapper of it closes itself in whatever event loop runs when it is collected.
                http_client=self._sdk.DefaultAsyncHttpxClient(),
            )
        return client

    def _timeout(self, request: ModelRequest) -> Any:
        seconds = LONGEST if request.seconds is None else request.seconds
        return self._sdk.Timeout(seconds, connect=min(CONNECT, seconds))

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """The one place where what the SDK raises becomes what a model raises."""
        try:
            yield
        except (self._sdk.OpenAIError, self._http.HTTPError, msgspec.ValidationError, *_GARBAGE) as error:
            raise ToolwireError(self._failure(error)) from error

    def _failure(self, error: Exception) -> Failure:
        sdk = self._sdk
        told: Any = error
        if isinstance(error, sdk.APIStatusError):
            return failure_from_openai(told.status_code, told.body, told.response.headers)
        if isinstance(error, (sdk.APITimeoutError, self._http.TimeoutException)):
            return failed("timed_out", "the provider did not answer in time")
        if isinstance(error, (sdk.APIConnectionError, self._http.HTTPError)):
            reason = f"the connection to {self._where} failed: {error.__cause__ or error}"
            return Failure("model_failed", reason, retryable=True)
        if isinstance(error, sdk.OpenAIError):
            return failed("model_failed", str(error))
        return failed("model_failed", f"what the provider said is no chat completion: {error}")


class Events:
    """The events of one answer, inside `async with`; leaving the block ends the request."""

    def __init__(self, model: OpenAI, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._events = EventStream()
        self._waiting: deque[ModelEvent] = deque()
        self._over = False

    async def __aenter__(self) -> Self:
        with self._model._mapped():  # noqa: SLF001 - one thing in two classes
            self._response, self._speech = await self._model._open(self._request)  # noqa: SLF001 - the same
        self._pieces = self._response.aiter_bytes()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _ended(self._response, self._pieces, REST if self._over else 0.0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        with self._model._mapped():  # noqa: SLF001 - one thing in two classes
            while not self._waiting:
                if self._over:
                    raise StopAsyncIteration
                self._hear(await anext(self._pieces, None))
        return self._waiting.popleft()

    def _hear(self, piece: bytes | None) -> None:
        """Take in a piece of the answer, or its end."""
        for data in self._events.feed(piece) if piece is not None else [_DONE]:
            if data == _DONE:
                self._over = True
                self._waiting.append(_reply(self._speech.answer()))
                return
            self._waiting.extend(self._speech.hear(data))


async def _ended(response: "Response", pieces: AsyncIterator[bytes], seconds: float) -> None:
    """End an answer, waiting `seconds` for what is left of it, so that its connection can be used again.

    The async generators in `pieces`, one within the other, end from within: at their end, or cancelled where the
    innermost waits. Left to the collector they warn on trio, and keep the connection on both loops.
    """
    with move_on_after(seconds), suppress(Exception):  # what goes wrong now no longer matters
        async for _ in pieces:
            pass
    with CancelScope(shield=True):
        await response.aclose()


def _reply(answer: Answer) -> ModelReply:
    """`answer` as a reply. Raises ToolwireError if it did not come to its end: its last call may be torn."""
    if not answer.finish:
        reason = "the provider's answer ended before the model had finished"
        raise ToolwireError(Failure("model_failed", reason, retryable=True))
    return ModelReply(*answer)


def _made_up() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _allowed() -> None:
    if os.environ.get("TOOLWIRE_NO_MODELS", "0") not in {"", "0"}:
        raise Misuse(failed("model_failed", "TOOLWIRE_NO_MODELS forbids real models here: use scripted([...])"))


def _sdk() -> tuple[Any, Any]:
    """The SDK, which is an extra and takes half a second to import, and the HTTP client that it is built on."""
    try:
        return import_module("openai"), import_module("httpx2")
    except ModuleNotFoundError:
        raise Misuse(failed("model_failed", "the SDK of OpenAI is missing: pip install 'toolwire[openai]'")) from None
