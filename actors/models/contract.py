"""The contract of a model: what it is given, what it gives back.

- `complete` answers with the whole reply. `stream`, where a model has it, gives an async context manager over the
  events of one reply, the last of which is the `ModelReply` itself; leaving the block ends the request.
- A stream may tell a call before that, as `CallSpoken`, once it has all of it: it may be run from then on. Calls are
  told in their order, from position 0 and without gaps; the reply holds them all, those that were told unchanged.
- A model keeps nothing between requests: each one holds all that it needs. `messages` and `tools` are read-only.
- A model raises ToolwireError with one of the codes `model_failed`, `model_refused`, `context_too_long`,
  `rate_limited`, `timed_out`; anything else that it raises is taken for `model_failed`.
- It runs inside the caller's deadline (`request.seconds` tells what is left) and is cancelled with it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from ...protocol.events import CallSpoken, ReasoningDelta, TextDelta, Usage
from ...protocol.history import HistoryMessage, Opaque
from ...protocol.tools import ToolCall, ToolSpec


class ModelRequest(Struct, frozen=True):
    """All that a model needs for one reply.

    `settings` say how to answer (temperature, max_tokens, …). `seconds` is the time left for the reply, None for no
    limit. `tool_choice` is auto, none, required (call some tool), or the name of the tool to call. `output` is the JSON
    Schema that the answer's text has to fit, None for any text.
    """

    messages: Sequence[HistoryMessage]
    tools: Sequence[ToolSpec] = ()
    settings: dict[str, Any] = {}
    conversation: str = ""
    seconds: float | None = None
    tool_choice: str = "auto"
    output: dict[str, Any] | None = None


class ModelReply(Struct, frozen=True):
    """What a model said: text, calls, or both.

    `finish` is one of: stop, calls, length (cut off), filtered, refused, paused (asked again, it goes on). `opaque` is
    for the provider that made it: the history keeps it, and the next request holds it again. `model` is who answered,
    as the provider says.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: str = "stop"
    opaque: tuple[Opaque, ...] = ()
    model: str = ""


ModelEvent = TextDelta | ReasoningDelta | CallSpoken | ModelReply


@runtime_checkable
class Model(Protocol):
    """A model that answers in one piece."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`."""
        ...


@runtime_checkable
class StreamingModel(Model, Protocol):
    """A model that can also be heard while it speaks."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """The events of the answer to `request`, the last of which is its ModelReply."""
        ...
