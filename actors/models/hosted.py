"""A model that somebody hosts, behind the provider's official SDK.

The SDK carries the bytes: keys, connections, errors. The words are those of `protocol/formats/`; its typed methods are
passed by, because they walk the whole history each round, and so is its reading of a stream, which leaves async
generators to the collector. What one provider does its own way stands in a file of its own, as a subclass.
"""

import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from anyio import CancelScope, move_on_after
from anyio.lowlevel import current_token
from msgspec import Raw
from msgspec.structs import replace

from ...protocol.events import CallSpoken, TextDelta
from ...protocol.failures import Failure, Misuse, ToolwireError, failed
from ...protocol.formats.contract import Answer, Hearing
from ...protocol.formats.http_failures import failure_from_http
from ...protocol.formats.offered import Offers
from ...protocol.formats.sse import EventStream
from ...protocol.history import AssistantMessage, HistoryMessage, Opaque
from ...protocol.tools import Retry, encode_json
from .contract import ModelEvent, ModelReply, ModelRequest
from .dressed import Once, dressed
from .settings import merged
from .translated import Prefixes, Told, Translation
from .wire import Wire, allowed, trust

CONNECT = 10.0
"""Seconds for a connection: who does not answer in that time does not answer."""
LONGEST = 600.0
"""Seconds for the next bytes of a reply where the request sets no limit: what the SDKs take too."""

REST = 0.1
"""Seconds for a connection to become free after the last event, before it is given up. The SDKs wait as long."""

_DONE = b"[DONE]"
_GARBAGE = (ValueError, RecursionError)
_CHOICES = frozenset({"auto", "none", "required"})

Json = dict[str, Any]


class Question(NamedTuple):
    """A request in a provider's words: its body, how names of tools in the answer lead back, and the ids taken."""

    content: bytes
    names: Mapping[str, str]
    ids: set[str]
    headers: Mapping[str, str]


class Frame(NamedTuple):
    """What stands around the history in a request: before it, and, in the place of its last `cut` bytes, after it."""

    before: bytes = b""
    cut: int = 0
    after: bytes = b""


class Hosted(ABC):
    """A model behind an SDK. It has one pool of connections for each event loop it is used in, until `aclose`.

    `model` names it, `base_url` says where it is (None: at its provider's), `maker` who what it says is kept for.
    `once` is the same without retries.
    """

    wire: ClassVar[Wire]

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        settings: Mapping[str, Any] | None = None,
        cache: bool | None = None,
        retries: int | Retry = 0,
        tool_parser: str | None = None,
    ) -> None:
        allowed()
        self._sdk, self._http = self.wire.sdk()
        trust(self._http)
        self.model = model
        self.base_url = self.wire.place_of(base_url)
        self._api_key = self.wire.key(api_key, self.base_url)
        self.maker = _place(self.base_url or self.wire.home)
        self.at_home = self.maker == _place(self.wire.home)
        self._cache = cache
        self._given = dict(settings or {})
        self._settled = self.settled(self._given)
        self._newest: tuple[object, Json] = (None, self._settled)
        self._prefixes = Prefixes(self.translation())
        self._offers = Offers(self.wire.format)
        self._clients: WeakKeyDictionary[object, Any] = WeakKeyDictionary()
        self.once = Once(self)
        self._way = dressed(self.once, retries, tool_parser)
        self.troubles = (getattr(self._sdk, self.wire.error), self._http.HTTPError, *_GARBAGE)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model} at {self._where}>"

    @abstractmethod
    def settled(self, settings: Mapping[str, Any]) -> Json:
        """`settings` as fields of a request, `tools` in them being those that the provider runs. Raises Misuse."""

    @abstractmethod
    def translation(self) -> Translation:
        """How it is told a history; `own` is to be asked for each message."""

    @abstractmethod
    def asked(self, body: Json, request: ModelRequest, told: Told) -> Frame:
        """Put into `body` what `request` asks for; settings and tools are there. What stands around the history."""

    def headers(self, body: Json) -> Mapping[str, str]:
        """Headers beside those of the SDK."""
        return {}

    def options(self) -> Json:
        """Options of the SDK's client beside those that all of them take."""
        return {}

    @property
    def _where(self) -> str:
        """For people: without a password that may stand in the URL."""
        if self.base_url is None:
            return urlsplit(self.wire.home).netloc
        scheme, _, rest = self.base_url.rpartition("//")
        head, slash, tail = rest.partition("/")
        return f"{scheme}//{head.rpartition('@')[2]}{slash}{tail}" if scheme else self.base_url

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises Misuse if a request with these settings, beside the model's own, can't be made."""
        self.settled(merged(self._given, settings))

    def own(self, message: HistoryMessage) -> HistoryMessage:
        """`message` without what others than this model's provider are to get back."""
        if type(message) is not AssistantMessage or not message.opaque:
            return message
        kept = tuple(piece for piece in message.opaque if piece.maker in {"", self.maker})
        return message if len(kept) == len(message.opaque) else replace(message, opaque=kept)

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`. Raises Misuse for settings or a choice that can't be, else ToolwireError."""
        return await self._way.complete(request)

    async def answer(self, request: ModelRequest) -> ModelReply:
        """The same, asked once."""
        client = self._client()
        asked = self._question(request)
        try:
            response = await client.post(
                self.wire.path,
                cast_to=self._http.Response,
                content=asked.content,
                options={"timeout": self._timeout(request), "headers": asked.headers},
            )
            return self.reply(self.whole(response.content, asked))
        except self.troubles as error:
            raise ToolwireError(self.failure(error)) from error

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`, the last of which is its ModelReply."""
        return self._way.stream(request)

    def events(self, request: ModelRequest) -> "Events":
        """The same, asked once."""
        return Events(self, request)

    async def aclose(self) -> None:
        """Close the connections of this event loop. The model may be used again."""
        client = self._clients.pop(current_token().native_token, None)
        if client is not None:
            await client.close()

    async def open(self, request: ModelRequest) -> tuple[Any, Question]:
        """The response to `request`, whose body is still to be read, and what was asked."""
        client = self._client()
        asked = self._question(request, stream=True)
        stream = await client.post(
            self.wire.path,
            cast_to=object,
            content=asked.content,
            options={"timeout": self._timeout(request), "headers": asked.headers},
            stream=True,
            stream_cls=self._sdk.AsyncStream[object],
        )
        return stream.response, asked

    def whole(self, content: bytes, asked: Question) -> Answer:
        """What a body says that came in one piece. Raises ToolwireError, ValueError."""
        return self.wire.format.answer_from(content, asked.names, made_up=_made_up(), taken=asked.ids)

    def speech(self, asked: Question) -> Hearing:
        """Who hears what comes in pieces."""
        make: Any = self.wire.format.speech
        hearing: Hearing = make(asked.names, made_up=_made_up(), taken=asked.ids)
        return hearing

    def reply(self, answer: Answer) -> ModelReply:
        """`answer` as a reply. Raises ToolwireError if it did not come to its end: its last call may be torn."""
        text, calls, usage, finish, opaque, model = answer
        if not finish:
            reason = "the provider's answer ended before the model had finished"
            raise ToolwireError(Failure("model_failed", reason, retryable=True))
        return ModelReply(text, calls, usage, finish, self.made(opaque), model)

    def made(self, opaque: tuple[Opaque, ...]) -> tuple[Opaque, ...]:
        """What the provider said, as its own."""
        return tuple([replace(piece, maker=self.maker) for piece in opaque])

    def failure(self, error: Exception) -> Failure:
        """What the SDK raised as what a model raises."""
        sdk = self._sdk
        told: Any = error
        if isinstance(error, sdk.APIStatusError):
            body = told.body.get("error", told.body) if isinstance(told.body, dict) else told.body
            return failure_from_http(told.status_code, body, told.response.headers, key=self.wire.keys[0])
        if isinstance(error, (sdk.APITimeoutError, self._http.TimeoutException)):
            return Failure("timed_out", "the provider did not answer in time", retryable=True)
        if isinstance(error, (sdk.APIConnectionError, self._http.HTTPError)):
            reason = f"the connection to {self._where} failed: {error.__cause__ or error}"
            return Failure("model_failed", reason, retryable=True)
        if isinstance(error, _GARBAGE):
            return failed("model_failed", f"what the provider said is no {self.wire.answer}: {error}")
        return failed("model_failed", str(error))

    def choice(self, request: ModelRequest) -> tuple[str, str]:
        """The tool choice of `request`: auto, none or required, or "" and the provider's name of a tool. Raises Misuse.

        Without tools on offer there is nothing to choose.
        """
        choice = request.tool_choice
        if choice in _CHOICES or not request.tools:
            return choice if request.tools else "auto", ""
        if all(spec.name != choice for spec in request.tools):
            offered = ", ".join(spec.name for spec in request.tools[:10])
            said = f"tool_choice names {choice!r}, which is not on offer; there are {offered}"
            raise Misuse(failed("model_failed", said))
        return "", self.wire.format.names.told(choice)

    def caches(self, *, unasked: bool) -> bool:
        """Whether the prompt is to be marked for the provider's cache; `unasked`: where nobody said so or not."""
        return unasked if self._cache is None else self._cache

    def _question(self, request: ModelRequest, *, stream: bool = False) -> Question:
        told = self._prefixes.told(request.conversation, request.messages)
        with told.items:
            return self._framed(told, request, stream=stream)

    def _framed(self, told: Told, request: ModelRequest, *, stream: bool) -> Question:
        body: Json = {"model": self.model, **self._fields(request.settings), "stream": stream}
        names: Mapping[str, str] = {}
        theirs = body.get("tools")
        if request.tools:
            offered = self._offers.told(request.tools)
            names = offered.names
            body["tools"] = offered.told
        before, cut, after = self.asked(body, request, told)
        if request.tools and theirs:
            body["tools"] = Raw(bytes(body["tools"])[:-1] + b"," + encode_json(theirs)[1:])
        key = b',"%b":[' % self.wire.messages.encode()
        items = told.items[: len(told.items) - cut]  # copied once: it may be a megabyte
        content = b"".join((encode_json(body)[:-1], key, before, items, after, told.closing, b"]}"))
        items.release()
        return Question(content, names, told.prefix.ids, self.headers(body))

    def _fields(self, settings: Mapping[str, Any]) -> Json:
        if not settings:
            return self._settled
        known, fields = self._newest
        if known is not settings:
            fields = self.settled(merged(self._given, settings))
            self._newest = (settings, fields)  # holds them, so that nothing else gets their identity
        return fields

    def _client(self) -> Any:
        allowed()
        loop = current_token().native_token
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = getattr(self._sdk, self.wire.client)(
                api_key=self._api_key,
                base_url=self.base_url,
                max_retries=0,  # who asks decides about trying again, within its own budget
                # The SDK's own wrapper of it closes itself in whatever event loop runs when it is collected.
                http_client=self._sdk.DefaultAsyncHttpxClient(verify=trust(self._http)),
                **self.options(),
            )
        return client

    def _timeout(self, request: ModelRequest) -> Any:
        seconds = LONGEST if request.seconds is None else request.seconds
        return self._sdk.Timeout(seconds, connect=min(CONNECT, seconds))


class Events:
    """The events of one answer, inside `async with`; leaving the block ends the request."""

    def __init__(self, model: Hosted, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._events = EventStream()
        self._waiting: deque[ModelEvent] = deque()
        self._over = False

    async def __aenter__(self) -> Self:
        model = self._model
        try:
            self._response, asked = await model.open(self._request)
            self._speech = model.speech(asked)
            self._pieces: AsyncIterator[bytes] = self._response.aiter_bytes()
            if self._response.headers.get("content-type", "").startswith("application/json"):
                await self._hear_whole(asked)  # some relatives do not stream, whatever they are asked
        except model.troubles as error:
            raise ToolwireError(model.failure(error)) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _ended(self._response, self._pieces, REST if self._over else 0.0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        waiting = self._waiting
        if waiting:
            return waiting.popleft()
        try:
            while not waiting:
                if self._over:
                    raise StopAsyncIteration
                self._hear(await anext(self._pieces, None))
        except self._model.troubles as error:
            raise ToolwireError(self._model.failure(error)) from error
        return waiting.popleft()

    def _hear(self, piece: bytes | None) -> None:
        """Take in a piece of the answer, or its end."""
        speech = self._speech
        for data in self._events.feed(piece) if piece is not None else [_DONE]:
            if data != _DONE:
                for news in speech.hear(data):
                    if type(news) is CallSpoken and news.opaque:
                        news = replace(news, opaque=self._model.made(news.opaque))  # noqa: PLW2901 - the same, as its own
                    self._waiting.append(news)
                if not speech.over:
                    continue
            self._over = True
            self._waiting.append(self._model.reply(speech.answer()))
            return

    async def _hear_whole(self, asked: Question) -> None:
        try:
            content = b"".join([piece async for piece in self._pieces])
            reply = self._model.reply(self._model.whole(content, asked))
        except BaseException:
            await _ended(self._response, self._pieces, 0.0)
            raise
        self._over = True
        if reply.text:
            self._waiting.append(TextDelta(reply.text))
        self._waiting.append(reply)


async def _ended(response: Any, pieces: AsyncIterator[bytes], seconds: float) -> None:
    """End an answer, waiting `seconds` for what is left of it, so that its connection can be used again.

    The async generators in `pieces`, one within the other, end from within: at their end, or cancelled where the
    innermost waits. Left to the collector they warn on trio, and keep the connection on both loops.
    """
    with move_on_after(seconds), suppress(Exception):  # what goes wrong now no longer matters
        async for _ in pieces:
            pass
    with CancelScope(shield=True):
        await response.aclose()


def _place(url: str) -> str:
    """Who is asked: the host of a URL, with its port and path."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}".lower()


def _made_up() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
