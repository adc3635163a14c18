"""One request to a model and what came of it, as a line of a recording."""

from hashlib import blake2b

import msgspec
from msgspec import Struct

from ...protocol.events import CallSpoken, ReasoningDelta, TextDelta
from ...protocol.failures import Failure
from ...protocol.history import HistoryMessage
from ...protocol.tools import ToolSpec, encode_json
from .contract import ModelReply

Told = TextDelta | ReasoningDelta | CallSpoken


class Exchange(Struct, frozen=True, omit_defaults=True):
    """A request and its answer: a `reply` or a `failure`.

    `messages` are those after the first `known`, which stand in earlier lines of the `conversation`. `tools` are the
    names on offer, each with a digest of its spec. `told` are the events of a stream before its reply, None where the
    model was not streamed.
    """

    conversation: str = ""
    known: int = 0
    messages: tuple[HistoryMessage, ...] = ()
    tools: dict[str, str] = {}
    settings: msgspec.Raw = msgspec.Raw(b"{}")
    tool_choice: str = "auto"
    output: msgspec.Raw = msgspec.Raw(b"null")
    told: tuple[Told, ...] | None = None
    reply: ModelReply | None = None
    failure: Failure | None = None
    version: int = 1


read = msgspec.json.Decoder(Exchange).decode


def line_of(exchange: Exchange) -> bytes:
    """`exchange` as a line of JSON."""
    return encode_json(exchange) + b"\n"


def digest(spec: ToolSpec) -> str:
    """What names exactly this spec."""
    return blake2b(encode_json(spec), digest_size=8).hexdigest()
