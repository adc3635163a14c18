"""What actors say to each other, in the order in which it is said in one turn.

Each request names its answer: `class Complete(Request[Completed | SendAll])`. Beside it every request may be
answered with `Failed`, and may be preceded by events (`protocol.events`). Messages are arrays on the wire: fields
are only ever added, at the end, with defaults.
"""

from typing import Any, Generic, TypeVar

from msgspec import Struct

from .events import Reply, Usage
from .failures import Failure
from .history import HistoryMessage, Opaque
from .tools import Mended, ToolCall, ToolResult, ToolSpec

A = TypeVar("A")


class Message(Struct, frozen=True, array_like=True, gc=False):
    """Anything that an actor says."""


class Request(Message, Generic[A], frozen=True, gc=False):
    """A message that wants an answer of type A."""


class Failed(Message, frozen=True, tag="failed", gc=False):
    """The answer of whoever could not answer."""

    failure: Failure


class TurnEnded(Message, frozen=True, tag="turn_ended", gc=False):
    """A turn is over."""

    reply: Reply


class Say(Request[TurnEnded], frozen=True, tag="say", gc=False):
    """To a conversation: the user speaks. `events` asks for them to be told as they happen."""

    text: str
    events: bool = False


class ToolsSelected(Message, frozen=True, tag="tools_selected", gc=False):
    """The tools to offer, best first. `digest` names exactly this list of exactly these specs."""

    names: tuple[str, ...]
    digest: str


class SelectTools(Request[ToolsSelected], frozen=True, tag="select_tools", gc=False):
    """To the selector: which tools could serve `query`, among those whose names match `patterns`.

    Without patterns: what the selector's own process serves. `used` are the tools that the conversation has called:
    they stay on offer.
    """

    query: str
    patterns: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


class Completed(Message, frozen=True, tag="completed", gc=False):
    """What the model said. `finish` is one of: stop, calls, length, filtered, refused.

    `opaque` is for the provider that made it, and goes into the history with the rest.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: str = "stop"
    opaque: tuple[Opaque, ...] = ()


class SendAll(Message, frozen=True, tag="send_all", gc=False):
    """The model actor lacks what it was expected to know: the history, the specs, or both."""

    history: bool
    tools: bool


class Complete(Request[Completed | SendAll], frozen=True, tag="complete", gc=False):
    """To a model: go on with a conversation.

    `known` messages are there already, `newer` come after them. `tools` is the digest of those on offer; `specs`
    are sent only if they were asked for.
    """

    conversation: str
    known: int
    newer: tuple[HistoryMessage, ...]
    tools: str = ""
    specs: tuple[ToolSpec, ...] | None = None
    settings: dict[str, Any] = {}
    events: bool = False


class Remembered(Message, frozen=True, tag="remembered", gc=False):
    """So many messages of the conversation are known now."""

    known: int


class Remember(Request[Remembered], frozen=True, tag="remember", gc=False):
    """To a model: a part of a history that is too long for one message."""

    conversation: str
    known: int
    newer: tuple[HistoryMessage, ...]


class BatchEnded(Message, frozen=True, tag="batch_ended", gc=False):
    """One result for each call, in call order."""

    results: tuple[ToolResult[Any], ...]


class RunBatch(Request[BatchEnded], frozen=True, tag="run_batch", gc=False):
    """To the executor: the calls of one response.

    `references`: arguments may hold `$result`; `ids`: it may name calls by id. Calls after the first `limit` are
    refused. `timeout` is for each call, in seconds, where its tool names none.
    """

    calls: tuple[ToolCall, ...]
    references: bool = False
    ids: bool = False
    limit: int | None = None
    events: bool = False
    timeout: float | None = None


class CallChecked(Message, frozen=True, tag="call_checked", gc=False):
    """The call may run. `arguments` is None where they stand as they were; else `mended` says what was changed."""

    arguments: str | None = None
    mended: tuple[Mended, ...] = ()


class CheckCall(Request[CallChecked], frozen=True, tag="check_call", gc=False):
    """To the validator: are these the arguments that the tool asks for?"""

    tool: str
    arguments: str


class CallEnded(Message, frozen=True, tag="call_ended", gc=False):
    """How a tool's run ended: JSON text, or a failure. `worker` is the process that ran it.

    `mended` is what that process changed in the arguments.
    """

    content: str | None = None
    failure: Failure | None = None
    worker: str = ""
    mended: tuple[Mended, ...] = ()


class CallTool(Request[CallEnded], frozen=True, tag="call_tool", gc=False):
    """To a tool: run. `number` is the same for every attempt of one call, and for no other call of its process."""

    id: str
    tool: str
    arguments: str
    attempt: int = 1
    events: bool = False
    number: int = 0


class ToolLoaded(Message, frozen=True, tag="tool_loaded", gc=False):
    """A lazy tool is there now: as itself, or, if it turned out to be several, as these."""

    specs: tuple[ToolSpec, ...]


class LoadTool(Request[ToolLoaded], frozen=True, tag="load_tool", gc=False):
    """To a lazy tool: be there. Only to who announced that it is lazy."""

    tool: str


class Announce(Message, frozen=True, tag="announce", gc=False):
    """To everybody: `instance` serves these tools (from now on also, or with `gone` no longer)."""

    instance: str
    specs: tuple[ToolSpec, ...]
    gone: bool = False


class Who(Message, frozen=True, tag="who", gc=False):
    """To everybody: whoever serves tools, announce them."""

    instance: str
