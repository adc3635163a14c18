"""A model that somebody hosts, behind the provider's official SDK.

The SDK carries the bytes: keys, connections, errors. The words are those of `protocol/formats/`; its typed methods are
passed by, because they walk the whole history each round, and so is its reading of a stream, which leaves async
generators to the collector. What one provider does its own way stands in a file of its own, as a subclass.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from msgspec import Raw
from msgspec.structs import replace

from ...protocol.failures import Failure, Misuse, ToolwireError, failed
from ...protocol.formats.contract import Answer, Hearing
from ...protocol.formats.http_failures import failure_from_http
from ...protocol.formats.offered import Offers
from ...protocol.history import AssistantMessage, HistoryMessage, Opaque
from ...protocol.tools import Retry, encode_json
from ...protocol.usage import Usage
from ...protocol.wasted import added, usage_in, wasted
from ...runtime.loops import Loop, here
from .answer_events import Events, Question
from .contract import ModelEvent, ModelReply, ModelRequest
from .dressed import Once, dressed
from .settings import merged
from .translated import Disowned, Prefixes, Told, Translation
from .wire import NO_KEY, Wire, allowed, named, trust

CONNECT = 10.0
"""Seconds for a connection: who does not answer in that time does not answer."""
LONGEST = 600.0
"""Seconds for the next bytes of a reply where the request sets no limit: what the SDKs take too."""

_GARBAGE = (ValueError, RecursionError)
_CHOICES = frozenset({"auto", "none", "required"})

Json = dict[str, Any]


class Frame(NamedTuple):
    """What stands around the history in a request: before it, and, in the place of its last `cut` bytes, after it."""

    before: bytes = b""
    cut: int = 0
    after: bytes = b""


class Hosted(ABC):
    """A model behind an SDK. It has one pool of connections for each event loop it is used in, until `aclose`, or until
    it is asked in another one when that loop is closed.

    `model` names it, `base_url` says where it is (None: at its provider's), `maker` who what it says is kept for.
    `once` is the same without retries. What a model takes is read from the name `like`, which is its own unless it is
    given; `corrections` is how often its provider said that this was read wrongly.
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
        like: str | None = None,
    ) -> None:
        allowed()
        self._sdk, self._http = self.wire.sdk()
        trust(self._http)
        self.model = named(model, "model")
        self.like = model if like is None else named(like, "like")
        self.corrections = 0
        self.base_url = self.wire.place_of(base_url)
        self._api_key = self.wire.key(api_key, self.base_url)
        self.maker = _place(self.base_url or self.wire.home)
        self.at_home = self.maker == _place(self.wire.home)
        self._cache = cache
        self._given = dict(settings or {})
        self._settled = self.settled(self._given)
        self._newest: tuple[object, Json] = (None, self._settled)
        self._prefixes = Prefixes(self.translation(self.own))
        self._thoughtless = Prefixes(self.translation(self.thoughtless))
        self._offers = Offers(self.wire.format)
        self._clients: dict[Loop, Any] = {}
        self.once = Once(self)
        self._way = dressed(self.once, retries, tool_parser)
        self.troubles: tuple[type[Exception], ...] = (
            getattr(self._sdk, self.wire.error),
            self._http.HTTPError,
            *_GARBAGE,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model} at {self._where}>"

    @abstractmethod
    def settled(self, settings: Mapping[str, Any]) -> Json:
        """`settings` as fields of a request, `tools` in them being those that the provider runs. Raises Misuse."""

    @abstractmethod
    def translation(self, own: Callable[[HistoryMessage], HistoryMessage]) -> Translation:
        """How it is told a history; `own` is to be asked what of each message."""

    @abstractmethod
    def asked(self, body: Json, request: ModelRequest, told: Told) -> Frame:
        """Put into `body` what `request` asks for; settings and tools are there. What stands around the history."""

    def thoughtless(self, message: HistoryMessage) -> HistoryMessage:
        """`own` without what the model thought."""
        return self.own(message)

    def disowns(self, words: str) -> Disowned:
        """Which thoughts the provider refused a request for, by its own words."""
        return Disowned.NOTHING

    def corrects(self, words: str) -> bool:
        """Whether the provider's words tell that the name was read wrongly, so that `settled` gives other words."""
        return False

    def drops(self, fields: Json) -> bool:
        """Whether the provider leaves out some by itself, in a request with these fields."""
        return False

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
        disowned, spent = Disowned.NOTHING, Usage()
        while True:
            try:
                response, asked = await self._ask(request, disowned=disowned)
            except self.troubles as error:
                raise ToolwireError(added(self.failure(error), spent)) from error
            try:
                reply = self.reply(self.whole(response.content, asked))
                return reply if spent == Usage() else replace(reply, usage=reply.usage + spent)
            except _GARBAGE as error:
                raise ToolwireError(added(self.failure(error), spent)) from error
            except ToolwireError as error:
                failure = added(self.told(error), spent)
                disowned = self.again(failure, asked)
                if not disowned:
                    raise ToolwireError(failure) from error
                spent = usage_in(failure)

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`, the last of which is its ModelReply."""
        return self._way.stream(request)

    def events(self, request: ModelRequest) -> "Events":
        """The same, asked once."""
        return Events(self, request)

    async def aclose(self) -> None:
        """Close the connections of this event loop. The model may be used again."""
        client = self._clients.pop(here(), None)
        if client is not None:
            await client.close()

    async def open(self, request: ModelRequest, disowned: Disowned = Disowned.NOTHING) -> tuple[Any, Question]:
        """The response to `request`, whose body is still to be read, and what was asked."""
        stream, asked = await self._ask(request, stream=True, disowned=disowned)
        return stream.response, asked

    def whole(self, content: bytes, asked: Question) -> Answer:
        """What a body says that came in one piece. Raises ToolwireError, ValueError."""
        return self.wire.format.answer_from(content, asked.names, made_up=_made_up(), taken=asked.prefix.ids)

    def speech(self, asked: Question) -> Hearing:
        """Who hears what comes in pieces."""
        make: Any = self.wire.format.speech
        hearing: Hearing = make(asked.names, made_up=_made_up(), taken=asked.prefix.ids)
        return hearing

    def reply(self, answer: Answer) -> ModelReply:
        """`answer` as a reply. Raises ToolwireError if it did not come to its end: its last call may be torn."""
        text, calls, usage, finish, opaque, model = answer
        if not finish:
            reason = "the provider's answer ended before the model had finished"
            if not (text or calls or opaque):  # as a page looks that somebody else answers with
                reason = f"the answer of {self._where} ended before a model had said anything. Check base_url"
            raise ToolwireError(wasted(Failure("model_failed", reason, retryable=True), usage, model or self.model))
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
            return self._masked(failure_from_http(told.status_code, body, told.response.headers, key=self.wire.keys[0]))
        if isinstance(error, (sdk.APITimeoutError, self._http.TimeoutException)):
            return Failure("timed_out", "the provider did not answer in time", retryable=True)
        if isinstance(error, (sdk.APIConnectionError, self._http.HTTPError)):
            reason = f"the connection to {self._where} failed: {error.__cause__ or error}"
            return Failure("model_failed", reason, retryable=True)
        if isinstance(error, _GARBAGE):
            reason = f"what the provider said is no {self.wire.answer}: {error}. Check base_url: {self._where}"
            return failed("model_failed", reason)
        return failed("model_failed", str(error))

    def told(self, error: ToolwireError) -> Failure:
        """What the provider said in the place of an answer, or in the midst of one."""
        return self._masked(error.failure)

    def _masked(self, failure: Failure) -> Failure:
        """`failure` without the key, which some providers say again."""
        shown = failure.message.replace(self._api_key, "…") if self._api_key != NO_KEY else failure.message
        return failure if shown == failure.message else replace(failure, message=shown)

    def again(self, failure: Failure, asked: Question) -> Disowned:
        """Which thoughts are to be left out where the same is asked once more, after what the provider said."""
        return self._to_leave_out(f"{failure.details.get('error')}: {failure.message}", asked)

    def _read_anew(self, words: str, corrections: int) -> bool:
        """Whether to ask in other words, as the name was read wrongly. Once: what comes of that is theirs to judge."""
        if corrections or not self.corrects(words):
            return False
        if not self.corrections:
            self.corrections = 1
            self._settled = self.settled(self._given)
            self._newest = (None, self._settled)
            self._prefixes = Prefixes(self.translation(self.own))
        return True

    def _to_leave_out(self, words: str, asked: Question) -> Disowned:
        disowned, before = self.disowns(words), asked.prefix.disowned
        if not disowned or before == Disowned.ALL:
            return Disowned.NOTHING
        return max(disowned, Disowned(before + 1))

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

    async def _ask(
        self, request: ModelRequest, *, stream: bool = False, disowned: Disowned = Disowned.NOTHING
    ) -> tuple[Any, Question]:
        """What the SDK gives for `request`, and what was asked: once more where thoughts are to be left out."""
        while True:
            corrections = self.corrections
            try:
                asked = self._question(request, stream=stream, disowned=disowned)
            except (UnicodeEncodeError, TypeError) as error:
                said = f"what the model is to be asked can't be said in JSON: {error}"
                raise ToolwireError(failed("model_failed", said)) from error
            try:
                return await self._post(asked, request, stream=stream), asked
            except self._sdk.APIStatusError as error:
                if self._read_anew(str(error), corrections):
                    continue
                disowned = self._to_leave_out(str(error), asked)
                if not disowned:
                    raise

    async def _post(self, asked: Question, request: ModelRequest, *, stream: bool) -> Any:
        streams = {"stream": True, "stream_cls": self._sdk.AsyncStream[object]} if stream else {}
        return await self._client().post(
            self.wire.path,
            cast_to=object if stream else self._http.Response,
            content=asked.content,
            options={"timeout": self._timeout(request), "headers": asked.headers},
            **streams,
        )

    def _question(
        self, request: ModelRequest, *, stream: bool = False, disowned: Disowned = Disowned.NOTHING
    ) -> Question:
        told = self._prefixes.told(request.conversation, request.messages)
        disowned = told.prefix.disowned = max(told.prefix.disowned, disowned)
        if disowned and (disowned == Disowned.ALL or not self.drops(self._fields(request.settings))):
            told.items.release()
            told = self._thoughtless.told(request.conversation, request.messages)
            told.prefix.disowned = Disowned.ALL
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
        return Question(content, names, told.prefix, self.headers(body))

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
        loop = here()
        client = self._clients.get(loop)
        if client is None:
            for other in [other for other in list(self._clients) if other.over()]:
                self._clients.pop(other, None)  # it can't be closed any more; its sockets are, where it is collected
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


def _place(url: str) -> str:
    """Who is asked: the host of a URL, with its port and path."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}".lower()


def _made_up() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
