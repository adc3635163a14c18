"""What stands around a message on the way, and the one place where bytes become messages.

A payload is one msgpack array, `[version, id, …, body]`. The first two elements stand in every version to come,
so that a message of a version that is not spoken here can still be refused by its id.
"""

from functools import cache
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct

from .events import Event
from .failures import Failure, ToolwireError, failed
from .messages import Failed, Message, Request

VERSION = 1
DEPTH = 64
"""How deep requests may nest: Python's stack ends at about 330 of them."""

B = TypeVar("B")
A = TypeVar("A")

encode = msgspec.msgpack.Encoder().encode

NO_MESSAGE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, MemoryError, ValueError)
"""What msgspec raises for bytes that are none of ours (a deep nesting and invalid UTF-8 are not MsgspecErrors)."""

NO_BYTES = (TypeError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for a value that can't travel: no type of ours, half a surrogate pair, too large an integer."""


class Trail(Struct, frozen=True, array_like=True, gc=False):
    """What stays the same along a turn: whose it is, and the W3C trace context that it belongs to.

    `turn` is unique among all turns; outside of one it names whoever calls. `caller` is the application's own data
    about who speaks, as JSON text, `agent` the name of the agent whose turn it is. `tainted`: what is asked for may
    come from what strangers wrote.
    """

    conversation: str = ""
    turn: str = ""
    caller: str = ""
    traceparent: str = ""
    tracestate: str = ""
    agent: str = ""
    tainted: bool = False


class Envelope(Struct, Generic[B], frozen=True, array_like=True, gc=False):
    """A request on its way.

    `budget` is what is left of the time, in milliseconds; None for no limit. `path` names the one-at-a-time actors
    that wait for this request, `depth` counts the requests above it. `trail` is an encoded Trail, passed on as it
    is by whoever does not read it.
    """

    version: int
    id: int
    budget: Annotated[float, Meta(ge=0)] | None  # also keeps NaN out: no clock can be compared with it
    depth: Annotated[int, Meta(ge=0)]
    path: tuple[str, ...]
    trail: Raw
    body: B


class Answer(Struct, Generic[B], frozen=True, array_like=True, gc=False):
    """The one answer to a request, with the id of it."""

    version: int
    id: int
    body: B


class Head(Struct, frozen=True, array_like=True, gc=False):
    """What stands before the body of a request: enough to keep its time."""

    version: int
    id: int
    budget: float | None


class _Prefix(Struct, frozen=True, array_like=True, gc=False):
    version: int
    id: Annotated[int, Meta(ge=0)]  # noise may look like a number below: nobody waits for an answer to that


EMPTY_TRAIL = Raw(encode(Trail()))

decode_trail = msgspec.msgpack.Decoder(Trail).decode
decode_event = msgspec.msgpack.Decoder(Event).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_prefix = msgspec.msgpack.Decoder(_Prefix).decode


@cache
def envelopes(hears: Any) -> msgspec.msgpack.Decoder[Any]:
    """The decoder of requests whose body is one of the union `hears`."""
    return msgspec.msgpack.Decoder(Envelope[hears])


@cache
def answers(request: type[Request[Any]]) -> msgspec.msgpack.Decoder[Any]:
    """The decoder of what may be answered to `request`, which says so in its own head."""
    bases: tuple[Any, ...] = request.__orig_bases__  # type: ignore[attr-defined]  # typing's own record of them
    said: Any = next(get_args(base)[0] for base in bases if get_origin(base) is Request)
    wanted: Any = Answer[said | Failed]
    return msgspec.msgpack.Decoder(wanted)


@cache
def broadcasts(union: Any) -> msgspec.msgpack.Decoder[Any]:
    """The decoder of what is told to everybody."""
    return msgspec.msgpack.Decoder(Answer[union])


def refusal(payload: bytes, error: Exception) -> tuple[int, Failure]:
    """Why `payload` is no message for us, and the id to answer with (0 where it has none)."""
    try:
        prefix = _decode_prefix(payload)
    except NO_MESSAGE:
        return 0, failed("invalid_message", f"these bytes are no message: {error}")
    if prefix.version != VERSION:
        said = f"the message speaks version {prefix.version} of the protocol; version {VERSION} is spoken here"
        return prefix.id, failed("incompatible", said)
    if "Invalid value" in str(error) or "tag" in str(error):
        return prefix.id, failed("incompatible", f"a kind of message that is not known here: {error}")
    return prefix.id, failed("invalid_message", f"the message is malformed: {error}")


def answer_of(decoder: msgspec.msgpack.Decoder[Any], payload: bytes) -> Any:
    """The body of an answer. Raises ToolwireError for a `Failed`, and for what is no answer."""
    try:
        body = decoder.decode(payload).body
    except NO_MESSAGE as error:
        raise ToolwireError(refusal(payload, error)[1]) from error
    if type(body) is Failed:
        raise ToolwireError(body.failure)
    return body


def told(message: Message) -> bytes:
    """`message` as a payload that wants no answer."""
    return encode(Answer(VERSION, 0, message))
