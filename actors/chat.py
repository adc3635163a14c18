"""A conversation as the application holds it: say something, or follow a turn while it runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar, overload

from ..protocol.blob import Blob
from ..protocol.envelope import NO_BYTES
from ..protocol.events import Pending, Reply
from ..protocol.failures import Misuse, ToolwireError, failed
from ..protocol.history import History, HistoryMessage
from ..protocol.messages import Answer, Decision, Interrupt, Remember, Resume, Rewind, Say
from ..protocol.options import is_count
from ..protocol.output import Output, output_of
from ..protocol.said import meant
from ..protocol.telling import BEFORE_LAST
from ..protocol.tools import ToolCall
from ..runtime.context import Context, Door
from .conversation import Conversation
from .following import TurnStream, typed
from .tool import Tool

T = TypeVar("T")
Words = str | Sequence[str | Blob]
"""What is said: a text, or texts and blobs in their order."""

ToolChoice = Tool[Any] | str
"""Which tools a model may, must or must not call: "auto", "none", "required", or a tool, by itself or its name."""

Branch = Callable[[Conversation, int | None, str | None], Awaitable["Chat"]]
"""Opens a conversation that has heard the first so many messages of another, None for all, by a name or without."""


class Chat:
    """One conversation. One turn runs at a time: who speaks meanwhile waits."""

    __slots__ = ("_branch", "_close", "_context", "_conversation", "_forget", "address", "id")

    def __init__(
        self,
        identity: str,
        address: str | Door,
        context: Callable[[], Context],
        conversation: Conversation,
        branch: "Branch",
        close: Callable[[], Awaitable[None]] | None = None,
        forget: Callable[[str], None] | None = None,
    ) -> None:
        self.id = identity
        self.address = address
        self._branch = branch
        self._close = close
        self._forget = forget
        self._context = context
        self._conversation = conversation

    def __repr__(self) -> str:
        return f"<Chat {self.id} [messages: {len(self._conversation.history)}]>"

    @overload
    async def say(self, text: Words, *blobs: Blob, tool_choice: ToolChoice = "auto") -> Reply: ...
    @overload
    async def say(self, text: Words, *blobs: Blob, output: type[T], tool_choice: ToolChoice = "auto") -> Reply[T]: ...
    @overload
    async def say(self, text: Words, *blobs: Blob, output: Any, tool_choice: ToolChoice = "auto") -> Reply: ...
    async def say(self, text: Words, *blobs: Blob, output: Any = None, tool_choice: ToolChoice = "auto") -> Reply:
        """Say `text`, show `blobs` with it, and wait for the reply.

        Blobs may also stand between texts: `say(["Compare", one, "with", other])`. `output` is a type that the answer
        of this turn has to be of, or a JSON Schema; without it, that of the agent holds (docs/answers.md).
        `tool_choice` is "none" (no tool is called in the turn), "required" (some tool is called first), or the tool
        that is called first. Raises ToolwireError only for misuse, in a closed runtime, for a tool that is not on offer
        (`unknown_tool`), and while another turn runs (`conflict`) if the conversation is `when_busy="refuse"`.
        """
        wanted = self._conversation.output if output is None else self._expect(output)
        if type(text) is str and not blobs and output is None and tool_choice == "auto":
            said = Say(text)
        else:
            said = spoken(text, blobs, None if output is None else wanted, tool_choice)
        reply = (await self._context().ask(self.address, said)).reply
        return reply if wanted is None else typed(reply, wanted)

    def stream(
        self,
        text: Words,
        *blobs: Blob,
        output: Any = None,
        tool_choice: ToolChoice = "auto",
        detach: bool = False,
    ) -> "TurnStream":
        """Say `text`, and follow the turn: `async with chat.stream(…) as events: async for event in events: …`.

        Leaving the block cancels the turn, and waits for its end; with `detach` the turn goes on, until its end or that
        of the runtime. Iterating raises what `say` raises. An answer that does not fit `output` is told like any other,
        and so is the one that comes in its place.
        """
        wanted = self._conversation.output if output is None else self._expect(output)
        said = spoken(text, blobs, None if output is None else wanted, tool_choice, events=True)
        return TurnStream(self._context(), self.address, said, wanted, detach=detach, name=self.id)

    def _expect(self, kind: Any) -> Output:
        """What answers have to be for `kind`, told to the conversation too. Raises Misuse for what has no schema."""
        output = output_of(kind)
        self._conversation.expect(output)
        return output

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The calls of the turn that wait for a person, and that nobody has answered for yet."""
        return self._conversation.pending

    async def answer(
        self,
        pending: Pending | str,
        answer: Literal["approve", "deny"],
        arguments: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> Reply | None:
        """Say what a person decided about a call that waits; by its token, or as it stands in `pending`.

        With `arguments` an approved call runs with these in place of its own; `reason` is told to the model with a
        denial. While the turn runs, the answer is None: who said something, or follows the turn, gets its reply. A
        turn that was paused goes on, and its reply is returned: `paused` again, if others still wait. Raises
        ToolwireError, `invalid_confirmation`, for what no call waits for (any more), and Misuse for no such answer.
        """
        decision = Decision(token_of(pending), answer == "approve", given(answer, arguments), reason)
        answered = await self._context().ask(self.address, Answer(decision))
        if answered.running:
            return None
        wanted = self._conversation.wanted
        reply = (await self._context().ask(self.address, Resume())).reply
        return reply if wanted is None else typed(reply, wanted)

    async def interrupt(self) -> bool:
        """End the turn that runs, and wait for its end. Whether there was one; else nothing happens.

        Whoever said something, or follows the turn, gets its reply, `ended` as interrupted, or as it did in that very
        moment. Those who wait to be heard are heard next. A turn that is paused is left, as when the user goes on.
        """
        return (await self._context().ask(self.address, Interrupt())).running

    def history(self) -> History:
        """What was said so far, as of now: later turns add nothing to it, and `rewind` takes nothing away."""
        history, memory = self._conversation.history, self._conversation.memory
        return History(history, recall=None if memory is None else memory.recall(history))

    def told(self) -> tuple[HistoryMessage, ...]:
        """What the model would be told of it now: all of it, unless the agent has a `memory` that leaves some out."""
        memory, history = self._conversation.memory, self._conversation.history
        return tuple(history if memory is None else memory.messages(history))

    async def branch(self, at: int | None = None, *, id: str | None = None) -> "Chat":  # noqa: A002 - as in converse
        """Another conversation, with the same agent, on behalf of the same caller, that has heard the same so far.

        With `at`, only the first so many messages. A turn that runs is not waited for: what stands in the history now
        is taken. Raises Misuse where `at` is between a call and its result, naming the nearest points, and,
        `conflict`, if `id` is open.
        """
        return await self._branch(self._conversation, None if at is None else counted("branch(at)", at), id)

    async def rewind(self, to: int | None = None) -> int:
        """Forget all but the first `to` messages; without `to`, the user's last message and what came after it.

        What the system says stays. A turn that runs is waited for, whatever `when_busy` says; one that is paused is
        left. Snapshots of the history stay as they are. Returns how many messages are left. Raises ToolwireError where
        `to` is between a call and its result, naming the nearest points.
        """
        length = BEFORE_LAST if to is None else counted("rewind(to)", to)
        return (await self._context().ask(self.address, Rewind(length))).length

    async def clear(self) -> None:
        """Forget everything but what the system says. As `rewind(0)`."""
        await self.rewind(0)

    async def close(self) -> None:
        """Forget the conversation: its name is free, and the runtime keeps nothing of it. A turn that runs goes on.

        One without a name is known to this Chat alone: its model's actor forgets what it was told, and if you go on
        speaking here it is told anew.
        """
        if self._close is not None:
            await self._close()
            return
        if self._forget is not None:
            self._forget(self.id)
            return
        with suppress(ToolwireError):  # a model that can't be told now forgets it in time
            await self._context().ask(self._conversation.leave(self.id), Remember(self.id, 0, ()))


def counted(what: str, messages: int) -> int:
    """`messages`, if so many can stay. Raises Misuse."""
    if not is_count(messages, 0):
        raise Misuse(failed("invalid_call", f"{what} takes how many messages stay, 0 or more, not {messages!r:.100}"))
    return messages


def spoken(
    text: Words, blobs: Sequence[Blob], wanted: Output | None, choice: ToolChoice, *, events: bool = False
) -> Say:
    """What is said. Raises Misuse for what can't be."""
    if type(text) is str and not blobs and wanted is None and choice == "auto":  # as most is
        return Say(text, events)
    said = meant(text, blobs)
    schema = None if wanted is None else wanted.schema
    return Say(said.text, events, said.blobs, chosen(choice), schema, said.places)


def chosen(choice: ToolChoice) -> str:
    """A tool choice as it is said. Raises Misuse for what is none."""
    name: Any = choice.name if isinstance(choice, Tool) else choice
    if not isinstance(name, str) or not name:
        said = f'tool_choice is "auto", "none", "required", a tool or its name, not {choice!r:.100}'
        raise Misuse(failed("invalid_call", said))
    return name


def token_of(pending: Pending | str) -> str:
    """The token of what waits. Raises Misuse for what is neither."""
    if isinstance(pending, str):
        return pending
    if not isinstance(pending, Pending):
        said = (
            f"an answer is to one call that waits, such as reply.pending[0], or to its token, not to {pending!r:.100}"
        )
        raise Misuse(failed("invalid_call", said))
    return pending.token


def given(answer: str, arguments: Mapping[str, Any] | None) -> str | None:
    """The arguments that a person gave, as JSON text; None if they stand as they were. Raises Misuse."""
    if answer not in ("approve", "deny"):
        raise Misuse(failed("invalid_call", f'the answer is "approve" or "deny", not {answer!r:.100}'))
    if arguments is None:
        return None
    if answer == "deny":
        raise Misuse(failed("invalid_call", "what is denied does not run: it takes no arguments, only a reason"))
    if not isinstance(arguments, Mapping):
        raise Misuse(failed("invalid_call", f"arguments are an object, not {arguments!r:.100}"))
    try:
        return ToolCall("", "", dict(arguments)).text()
    except NO_BYTES as error:
        raise Misuse(failed("invalid_arguments", f"the arguments are not what JSON can carry: {error}")) from error
