"""The words for tools: what one is (`ToolSpec`), what is asked of it (`ToolCall`), what came of it (`ToolResult`)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from .failures import Failure, Misuse, failed, raised
from .spoken import Spoken, SpokenTool
from .standins import read, sent
from .usage import Usage

T_co = TypeVar("T_co", covariant=True)

encode_json = msgspec.json.Encoder(enc_hook=sent).encode


def unwritten(value: object) -> bool:
    """Whether `value` holds a number that stands in JSON as null: NaN, or an infinity."""
    todo: list[Any] = [msgspec.to_builtins(value, enc_hook=repr)]  # whatever is text already has no number in it
    while todo:
        part = todo.pop()
        if isinstance(part, float) and not math.isfinite(part):
            return True
        if isinstance(part, dict):
            todo.extend(part.values())
        elif isinstance(part, (list, tuple, set)):
            todo.extend(part)
    return False


class Retry(Struct, frozen=True, omit_defaults=True, gc=False):
    """How a failed call is tried again: `times` at most, after `first` seconds, then `factor` times that, up to `cap`.

    The waits are upper bounds: each is drawn between 0 and that (full jitter). `codes` are the failures that are tried
    again; without them, those that say so themselves (`Failure.retryable`). `attempt` is the time limit of each
    attempt, in seconds; the call's own is for all of them and the waits between.
    """

    times: int = 3
    first: float = 1.0
    factor: float = 2.0
    cap: float = 30.0
    codes: tuple[str, ...] = ()
    attempt: float | None = None


class Artifact(Struct, frozen=True, omit_defaults=True, gc=False):
    """A result that is too large to be handed round: where it is kept, and how large it is.

    `size` is in bytes: of a text, of the text itself; of anything else, of its JSON. An `id` of "" is kept nowhere.
    """

    id: str
    size: int
    worker: str = ""


class ToolSpec(SpokenTool, Struct, frozen=True, omit_defaults=True, gc=False):
    """A tool as everybody but its owner sees it.

    `parameters` and `returns` are JSON Schema 2020-12. `timeout` is in seconds, for one call. Tools that share a
    non-empty `object` are methods of one served object: their calls run one at a time, in the order asked.
    `writes` and `reads` name resources: a call waits for earlier calls of its response that write what it touches,
    or read what it writes. An `exclusive` call runs alone in its response. `version` is its author's, in any form.
    `lazy` is "" for a tool that is there; else its code is loaded when it is first needed: `called`, or already when
    it is first `selected` for a model. Until then the rest is what was announced of it. `lenient` says whether
    arguments that do not fit may be mended; None leaves it to whoever runs the call.

    `writes` and `reads` may hold templates, `file:{path}`, which are filled in from the arguments; `computed` says that
    its owner works out more of them than can be told here. `retry` is what is done about a failed call. `needs` is the
    time in seconds below which a call is not begun, or "p95" for what was observed. `cache` is how long, in seconds, a
    result may be given again to the same caller for the same arguments; with `share` such calls at the same time are
    one; with `hedge` a second attempt begins where the first takes unusually long. `confirm`: a person is asked before
    each call ("always"), or where the owner's rule says so ("maybe"). What an `untrusted` tool brings may be written by
    strangers. `isolation` is where it runs, if not on its owner's event loop: in a thread, which can't be stopped, or
    in a process of its own, which is killed when its time is over.
    """

    _word: ClassVar[str] = "tool"

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    returns: dict[str, Any] | None = None
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    timeout: float | None = None
    object: str = ""
    exclusive: bool = False
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    version: str = ""
    lazy: str = ""
    lenient: bool | None = None
    retry: Retry | None = None
    needs: float | Literal["p95"] | None = None
    cache: float | None = None
    share: bool = False
    hedge: bool = False
    confirm: Literal["", "always", "maybe"] = ""
    untrusted: bool = False
    computed: bool = False
    isolation: Literal["", "thread", "process"] = ""

    @property
    def repeatable(self) -> bool:
        """Whether a second run of the same call does no harm."""
        return self.read_only or self.idempotent

    @property
    def ordered(self) -> bool:
        """Whether its calls may have to wait for others of their response."""
        return bool(self.object or self.exclusive or self.writes or self.reads or self.computed)

    @property
    def direct(self) -> bool:
        """Whether a call is sent as it is: nothing is done about its time, its failures or its repetition."""
        return not (self.retry or self.needs or self.cache or self.share or self.hedge)


class ToolCall(Spoken, Struct, frozen=True, omit_defaults=True, gc=False):
    """One call as a model, or a program, asks for it.

    `arguments` is JSON text as a model wrote it (it may be malformed), or a mapping, which is encoded when the
    call is handed over, so that nobody shares it. `after` names calls of the same batch to wait for, by id.
    """

    _word: ClassVar[str] = "call"

    id: str
    name: str
    arguments: str | dict[str, Any] = "{}"
    after: tuple[str, ...] = ()

    def text(self) -> str:
        """The arguments as JSON text. Raises TypeError or ValueError for what JSON can't carry."""
        if isinstance(self.arguments, str):
            return self.arguments
        text = encode_json(self.arguments)
        if b"null" in text and unwritten(self.arguments):
            raise ValueError("they hold a NaN or an infinity")
        return text.decode()


class Mended(Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing in a call's arguments that was changed before its tool got them: where, why, from what to what.

    `pointer` is a JSON Pointer into the arguments as the tool got them. `before` and `after` are JSON text, shortened;
    "" where nothing stood, or stands.
    """

    pointer: str
    what: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        return f"{self.pointer or 'at the top'}: {self.what}, {self.before} -> {self.after or 'left out'}"


class ToolResult(Spoken, Struct, Generic[T_co], frozen=True, omit_defaults=True, gc=False):
    """How one call ended: `content` (JSON text) or a `failure`, never both, never neither.

    `seconds` is the time from its start to its end; `worker` the process that ran it ("" for a call that was
    refused before it started); `attempts` how often it was started; `mended` what was changed in its arguments.
    Of the last attempt, `queued` is how many seconds it waited at the tool's door, `ran` how long the tool itself took.
    `shared`: another call of the same moment ran for this one too; `cached`: an earlier one did; `hedged`: a second
    attempt was begun because the first took long. `artifact` is where the whole result is kept, where `content` is not.
    `tainted`: strangers may have written what it says. `usage` is what models used that the tool has asked, where it
    is an agent.
    """

    _word: ClassVar[str] = "result"

    id: str
    name: str
    content: str | None = None
    failure: Failure | None = None
    attempts: int = 1
    seconds: float = 0.0
    worker: str = ""
    mended: tuple[Mended, ...] = ()
    queued: float = 0.0
    ran: float = 0.0
    shared: bool = False
    cached: bool = False
    hedged: bool = False
    artifact: Artifact | None = None
    tainted: bool = False
    usage: Usage | None = None

    @property
    def repaired(self) -> bool:
        """Whether its arguments were changed before the tool got them."""
        return bool(self.mended)

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.failure is None

    @property
    def value(self) -> T_co:
        """What the tool returned. Raises CallFailed if the call failed."""
        if self.failure is not None or self.content is None:
            raise raised(self.failure or Failure("internal", "a result without content"))
        return self.decoded(self.content)

    def decoded(self, content: str) -> T_co:
        """`content` as the value it stands for: plain JSON here, the tool's own type where it is known."""
        value: T_co = msgspec.json.decode(content)
        return value


class TypedResult(ToolResult[T_co], frozen=True, gc=False):
    """A result whose value is of the type that the tool declares. It never travels."""

    type: Any = Any

    def decoded(self, content: str) -> T_co:
        """`content` as a value of the declared type.

        Raises CallFailed where it only tells of a larger one, and, `invalid_result`, where it is of another type.
        """
        if self.artifact is not None:
            said = f"the result has {self.artifact.size} bytes and is not here: `await runtime.artifact(result)` has it"
            raise raised(Failure("too_large", said, "done", details={"artifact": self.artifact.id}))
        try:
            value: T_co = msgspec.json.decode(content, type=self.type, strict=False, dec_hook=read)
        except msgspec.ValidationError as error:
            kind = getattr(self.type, "__name__", self.type) if isinstance(self.type, type) else self.type
            said = f"{self.name!r} says that it returns {kind}, and did not: {error}; its result is {content!s:.100}"
            raise raised(Failure("invalid_result", said, "done")) from error
        return value


def typed(result: ToolResult[Any], kind: Any) -> TypedResult[Any]:
    """`result` with a value of the type `kind`."""
    fields = [getattr(result, name) for name in ToolResult.__struct_fields__]
    return TypedResult(*fields, kind)  # type: ignore[call-arg]  # as many as there are


def called(tool: object, arguments: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """The name of what a program calls, and its arguments by name. Raises Misuse for what can't be meant."""
    name = tool if isinstance(tool, str) else getattr(tool, "name", None)
    if not isinstance(name, str):
        said = f"a call is of a tool, which @tool makes of a function, or of a tool's name, not of {tool!r:.100}"
        raise Misuse(failed("invalid_call", said))
    try:
        return name, dict(arguments or {})
    except (TypeError, ValueError):
        said = f"the arguments of a call are a dict, by the names of its parameters, not {arguments!r:.100}"
        raise Misuse(failed("invalid_call", said)) from None
