"""What a turn says while it runs, in order and numbered. `msgspec.json.encode(event)` is an event's JSON."""

from typing import TYPE_CHECKING, Any, Generic

from msgspec import Struct

from .failures import Failure
from .history import Opaque
from .tools import ToolCall, ToolResult
from .usage import Usage as Usage  # noqa: PLC0414 - a word of theirs: who hears events finds it here

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    O_co = TypeVar("O_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    O_co = TypeVar("O_co", covariant=True)


class Pending(Struct, frozen=True, omit_defaults=True, gc=False):
    """A call that waits for a person: what is to be done, why that is asked, and what to answer with.

    `arguments` is JSON text, with the results that it takes in filled in. `token` stands for exactly this call, once,
    for `seconds` from when it was made.
    """

    id: str
    name: str
    arguments: str
    reason: str = ""
    token: str = ""
    seconds: float = 0.0


class Reply(Struct, Generic[O_co], frozen=True, omit_defaults=True, gc=False):
    """How a turn ended.

    `ended` is one of: answered, rounds, calls, tokens, cost, time, interrupted, refused, filtered, failed, paused.
    `calls` holds the result of each call of the turn, in the order asked; `failure` says why a turn did not end
    well. `rounds` counts how often the model was asked. `pending` are calls of a paused turn that wait for a person.
    `output` is what the answer says, where the turn asked for an answer of a type, and got it: plain JSON on the wire,
    of that type where a Chat gives it.
    """

    text: str
    ended: str = "answered"
    calls: tuple[ToolResult[Any], ...] = ()
    usage: Usage = Usage()
    rounds: int = 0
    failure: Failure | None = None
    pending: tuple[Pending, ...] = ()
    output: O_co | None = None


class TypedReply(Reply[Any], frozen=True, omit_defaults=True, gc=True, dict=True):
    """A Reply whose `output` is of a type that msgspec can't write by itself, such as a model of pydantic's.

    What stands in the place of `output`, and so is encoded, is its JSON. `of` gives one that has the value as well; it
    is copied and pickled along, while `msgspec.structs.replace` leaves the JSON alone.
    """

    @classmethod
    def of(cls, reply: Reply, json: Any, value: Any) -> Reply:
        """`reply` with the output `value`, that is written as `json`."""
        made = cls(**_told(reply), output=json)
        vars(made)[_VALUE] = value
        return made

    @property  # type: ignore[misc]  # beside what is encoded, which is not looked up by name
    def output(self) -> Any:
        return vars(self).get(_VALUE, _slot(self))

    def __reduce__(self) -> Any:
        return TypedReply.of, (Reply(**_told(self)), _slot(self), self.output)

    def __copy__(self) -> Reply:
        return self

    def __repr__(self) -> str:
        return repr(Reply(**_told(self), output=self.output))


def _told(reply: Reply) -> dict[str, Any]:
    """What stands in `reply`, by its fields, without its output."""
    return {name: getattr(reply, name) for name in Reply.__struct_fields__ if name != "output"}


_VALUE = "value"
_slot = Reply.__dict__["output"].__get__


class TextDelta(Struct, frozen=True, tag_field="event", tag="text", gc=False):
    """A piece of the answer, as the model speaks it."""

    text: str
    number: int = 0


class ReasoningDelta(Struct, frozen=True, tag_field="event", tag="reasoning", gc=False):
    """A piece of the model's reasoning, where the provider shows it."""

    text: str
    number: int = 0


class CallStarted(Struct, frozen=True, tag_field="event", tag="call_started", gc=False):
    """A call has left the plan: what it needed has ended.

    `needs` and `order` are the ids of the calls that it waited for: for their results, or only for their end.
    """

    id: str
    name: str
    arguments: str
    needs: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    number: int = 0


class CallProgress(Struct, frozen=True, tag_field="event", tag="call_progress", gc=False):
    """What a running tool says of itself: `done` of `total` (0: not known), and a note."""

    id: str
    done: float
    total: float = 0.0
    note: str = ""
    number: int = 0


class CallFinished(Struct, frozen=True, tag_field="event", tag="call_finished", gc=False):
    """A call has ended, well or badly."""

    result: ToolResult[Any]
    number: int = 0


class CallSpoken(Struct, frozen=True, tag_field="event", tag="call_spoken", gc=False):
    """The model has said all of a call, and may go on speaking. `position` counts the calls of its response from 0.

    `opaque` are the blocks of the response since the call that was told before this one, with the place of this call,
    if one of them is for the provider alone: if the response breaks off they go into the history with its calls.
    Told by a model to the conversation, which does not pass it on.
    """

    call: ToolCall
    position: int
    number: int = 0
    opaque: tuple[Opaque, ...] = ()


class ConfirmationWanted(Struct, frozen=True, tag_field="event", tag="confirmation_wanted", gc=False):
    """A call waits for a person; others go on. `Chat.answer` is the answer."""

    pending: Pending
    number: int = 0


class TurnFinished(Struct, frozen=True, tag_field="event", tag="turn_finished", gc=False):
    """The last event of a turn."""

    reply: Reply
    number: int = 0


Event = (
    TextDelta
    | ReasoningDelta
    | CallStarted
    | CallProgress
    | CallFinished
    | CallSpoken
    | ConfirmationWanted
    | TurnFinished
)
