"""The words for tools: what one is (`ToolSpec`), what is asked of it (`ToolCall`), what came of it (`ToolResult`)."""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from .failures import Failure, raised

T_co = TypeVar("T_co", covariant=True)

encode_json = msgspec.json.Encoder().encode


class ToolSpec(Struct, frozen=True, omit_defaults=True, gc=False):
    """A tool as everybody but its owner sees it.

    `parameters` and `returns` are JSON Schema 2020-12. `timeout` is in seconds, for one call. Tools that share a
    non-empty `object` are methods of one served object: their calls run one at a time, in the order asked.
    `writes` and `reads` name resources: a call waits for earlier calls of its response that write what it touches,
    or read what it writes. An `exclusive` call runs alone in its response.
    """

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

    @property
    def repeatable(self) -> bool:
        """Whether a second run of the same call does no harm."""
        return self.read_only or self.idempotent

    @property
    def ordered(self) -> bool:
        """Whether its calls may have to wait for others of their response."""
        return bool(self.object or self.exclusive or self.writes or self.reads)


class ToolCall(Struct, frozen=True, omit_defaults=True, gc=False):
    """One call as a model, or a program, asks for it.

    `arguments` is JSON text as a model wrote it (it may be malformed), or a mapping, which is encoded when the
    call is handed over, so that nobody shares it. `after` names calls of the same batch to wait for, by id.
    """

    id: str
    name: str
    arguments: str | dict[str, Any] = "{}"
    after: tuple[str, ...] = ()

    def text(self) -> str:
        """The arguments as JSON text. Raises TypeError for what JSON can't carry."""
        return self.arguments if isinstance(self.arguments, str) else encode_json(self.arguments).decode()


class ToolResult(Struct, Generic[T_co], frozen=True, omit_defaults=True, gc=False):
    """How one call ended: `content` (JSON text) or a `failure`, never both, never neither.

    `seconds` is the time from its start to its end; `worker` the process that ran it ("" for a call that was
    refused before it started); `attempts` how often it was started.
    """

    id: str
    name: str
    content: str | None = None
    failure: Failure | None = None
    attempts: int = 1
    seconds: float = 0.0
    worker: str = ""

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
        """`content` as a value of the declared type."""
        value: T_co = msgspec.json.decode(content, type=self.type, strict=False)
        return value


def typed(result: ToolResult[Any], kind: Any) -> TypedResult[Any]:
    """`result` with a value of the type `kind`."""
    told = (result.id, result.name, result.content, result.failure, result.attempts, result.seconds, result.worker)
    return TypedResult(*told, kind)
