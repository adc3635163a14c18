"""What actors say to each other, in the order in which it is said in one turn.

Each request names its answer: `class Complete(Request[Completed | SendAll])`. Beside it every request may be
answered with `Failed`, and may be preceded by events (`protocol.events`). Messages are arrays on the wire: fields
are only ever added, at the end, with defaults.
"""

from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from .blob import Blob
from .events import Reply
from .failures import Failure
from .history import HistoryMessage, Opaque
from .tools import Artifact, Mended, ToolCall, ToolResult, ToolSpec
from .usage import Usage

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


class Decision(Struct, frozen=True, array_like=True, gc=False):
    """What a person said about the call of that `token`. `arguments` (JSON text) take the place of its own."""

    token: str
    approved: bool
    arguments: str | None = None
    reason: str = ""


class Answered(Message, frozen=True, tag="answered", gc=False):
    """The decision is taken down. `running`: its turn goes on by itself; else `Resume` lets it go on."""

    running: bool


class Answer(Request[Answered], frozen=True, tag="answer", gc=False):
    """To a conversation, at any time: what a person said about a call that waits."""

    decision: Decision


class Resume(Request[TurnEnded], frozen=True, tag="resume", gc=False):
    """To a conversation whose turn is paused: go on with what was decided."""

    events: bool = False


class Say(Request[TurnEnded], frozen=True, tag="say", gc=False):
    """To a conversation: the user speaks. `events` asks for them to be told as they happen.

    `blobs` are shown with the text, at those `places` in it (see `UserMessage`). `tool_choice` is that of the turn:
    auto, none, required, or the name of the tool to call first. `output` is the JSON Schema of the answer, None for
    any.
    """

    text: str
    events: bool = False
    blobs: tuple[Blob, ...] = ()
    tool_choice: str = "auto"
    output: dict[str, Any] | None = None
    places: tuple[int, ...] = ()


class Interrupted(Message, frozen=True, tag="interrupted", gc=False):
    """No turn runs any more. `running`: one did, and has ended for that."""

    running: bool


class Interrupt(Request[Interrupted], frozen=True, tag="interrupt", gc=False):
    """To a conversation, at any time: end the turn that runs, and answer once it has ended."""


class Rewound(Message, frozen=True, tag="rewound", gc=False):
    """So many messages the history has now."""

    length: int


class Rewind(Request[Rewound], frozen=True, tag="rewind", gc=False):
    """To a conversation: forget what came after the first `length` messages; the system's stays.

    -1 stands for those before the user's last one.
    """

    length: int


class Greeted(Message, frozen=True, tag="greeted", gc=False):
    """Somebody is here."""


class Greet(Request[Greeted], frozen=True, tag="greet", gc=False):
    """To a conversation, at any time: is it open somewhere? Asked before it is opened elsewhere."""


class ToolsSelected(Message, frozen=True, tag="tools_selected", gc=False):
    """The tools to offer, best first. `digest` names exactly this list of exactly these specs.

    `always`: it is the same whatever is said, until a tool comes or goes.
    """

    names: tuple[str, ...]
    digest: str
    always: bool = False


class SelectTools(Request[ToolsSelected], frozen=True, tag="select_tools", gc=False):
    """To the selector: which tools could serve `query`, among those whose names match `patterns`.

    Without patterns: what the selector's own process serves. `used` are the tools that the conversation has called:
    they stay on offer.
    """

    query: str
    patterns: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


class Completed(Message, frozen=True, tag="completed", gc=False):
    """What the model said. `finish` is one of: stop, calls, length, filtered, refused, paused (ask it again).

    `opaque` is for the provider that made it, and goes into the history with the rest. `model` is who answered.
    `priced`: what it costs is known.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: str = "stop"
    opaque: tuple[Opaque, ...] = ()
    model: str = ""
    priced: bool = False


class SendAll(Message, frozen=True, tag="send_all", gc=False):
    """The model actor lacks what it was expected to know: the history, the specs, or both."""

    history: bool
    tools: bool


class Complete(Request[Completed | SendAll], frozen=True, tag="complete", gc=False):
    """To a model: go on with a conversation.

    `known` messages are there already, `newer` come after them. `tools` is the digest of those on offer; `specs`
    are sent only if they were asked for. `calls` asks to be told of each call as soon as it is spoken. `tool_choice` is
    auto, none, required, or a tool's name; `output` the JSON Schema of the answer, None for any.
    """

    conversation: str
    known: int
    newer: tuple[HistoryMessage, ...]
    tools: str = ""
    specs: tuple[ToolSpec, ...] | None = None
    settings: dict[str, Any] = {}
    events: bool = False
    calls: bool = False
    tool_choice: str = "auto"
    output: dict[str, Any] | None = None


class Remembered(Message, frozen=True, tag="remembered", gc=False):
    """So many messages of the conversation are known now."""

    known: int


class Remember(Request[Remembered], frozen=True, tag="remember", gc=False):
    """To a model: a part of a history that is too long for one message."""

    conversation: str
    known: int
    newer: tuple[HistoryMessage, ...]


class BatchEnded(Message, frozen=True, tag="batch_ended", gc=False):
    """One result for each call, in call order.

    What waits for a person ends as `confirmation_required`, and so, without a token, does whatever waits for that; the
    batch can be run again with the others already `ended`. `tainted`: a tool that is not to be trusted was heard.
    """

    results: tuple[ToolResult[Any], ...]
    tainted: bool = False


class RunBatch(Request[BatchEnded], frozen=True, tag="run_batch", gc=False):
    """To the executor: the calls of one response.

    `references`: arguments may hold `$result`; `ids`: it may name calls by id. Calls after the first `limit` are
    refused. `timeout` is for each call, in seconds, where its tool names none. `name` is what the batch is called while
    it runs. `ended` are results of calls that are not to be run again, None for the others; `decisions` what a person
    said about calls, by position. `repeated` are the positions of calls that were made too often in this turn already.
    `tainted`: an earlier batch of the turn was.
    """

    calls: tuple[ToolCall, ...]
    references: bool = False
    ids: bool = False
    limit: int | None = None
    events: bool = False
    timeout: float | None = None
    name: str = ""
    ended: tuple[ToolResult[Any] | None, ...] = ()
    decisions: dict[int, Decision] = {}
    repeated: tuple[int, ...] = ()
    tainted: bool = False


class OpenBatch(Request[BatchEnded], frozen=True, tag="open_batch", gc=False):
    """To the executor: calls of a response that is still being spoken, beginning with `first`.

    The answer comes once `CloseBatch` has come and every call has ended. `eager` says which calls may start before
    that: those of `read_only` tools, or all. `repeated`: the first one was made too often in this turn already. The
    rest is as in `RunBatch`.
    """

    name: str
    first: ToolCall
    eager: Literal["read_only", "all"] = "read_only"
    references: bool = False
    limit: int | None = None
    events: bool = False
    timeout: float | None = None
    tainted: bool = False
    repeated: bool = False


class CallAdded(Message, frozen=True, tag="call_added", gc=False):
    """The call is part of the batch. `started`: it may have begun already."""

    started: bool


class AddCall(Request[CallAdded], frozen=True, tag="add_call", gc=False):
    """To the executor: the call at `position`, from 0, of an open batch. They come in order."""

    name: str
    position: int
    call: ToolCall
    repeated: bool = False


class BatchClosed(Message, frozen=True, tag="batch_closed", gc=False):
    """No more calls are waited for."""


class CloseBatch(Request[BatchClosed], frozen=True, tag="close_batch", gc=False):
    """To the executor: an open batch has all its calls, `count` of them.

    With `refuse`, those that have not started end with that.
    """

    name: str
    count: int
    refuse: Failure | None = None


class CallAnswered(Message, frozen=True, tag="call_answered", gc=False):
    """Whether the batch was still running, and the call still waiting: then the decision is carried out."""

    known: bool


class AnswerCall(Request[CallAnswered], frozen=True, tag="answer_call", gc=False):
    """To the executor: what a person said about a call of a batch that is running."""

    name: str
    decision: Decision


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

    `mended` is what that process changed in the arguments. `queued` and `ran` are seconds: at the tool's door, and in
    the tool. `artifact` is where the whole result is kept, where `content` only tells of it. `tainted`: the tool has
    heard from others what strangers may have written. `usage` is what the models that it asked have used.
    """

    content: str | None = None
    failure: Failure | None = None
    worker: str = ""
    mended: tuple[Mended, ...] = ()
    queued: float = 0.0
    ran: float = 0.0
    artifact: Artifact | None = None
    tainted: bool = False
    usage: Usage | None = None


class CallTool(Request[CallEnded], frozen=True, tag="call_tool", gc=False):
    """To a tool: run. `number` is the same for every attempt of one call, and for no other call of its process.

    `confirm`: not without a person, whatever the tool says itself; the reason, "" for no. `token` is what a person has
    confirmed; `changed` says that it was for other arguments, and that the person gave these in their place.
    """

    id: str
    tool: str
    arguments: str
    attempt: int = 1
    events: bool = False
    number: int = 0
    confirm: str = ""
    token: str = ""
    changed: bool = False


class ArtifactRead(Message, frozen=True, tag="artifact_read", gc=False):
    """A piece of an artifact. `next` is where the following one begins, in bytes; None at the end. `size` is of all.

    `is_text`: the pieces are the text that a tool returned; else they are its result's JSON. `tainted`: a tool that is
    not to be trusted was heard before it was made.
    """

    text: str
    next: int | None
    size: int
    is_text: bool
    tainted: bool = False


class ReadArtifact(Request[ArtifactRead], frozen=True, tag="read_artifact", gc=False):
    """To the process that keeps an artifact: about `length` bytes of it from `offset` on, in whole characters."""

    id: str
    offset: int
    length: int


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


class Claim(Message, frozen=True, tag="claim", gc=False):
    """To everybody who is about to open a conversation of the same name: `instance` is. Its claims have numbers."""

    instance: str
    number: int
