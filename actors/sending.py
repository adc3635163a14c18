"""The last leg of a call: find who serves its tool, send it there, and make a result of whatever comes back."""

import secrets
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from ..protocol.envelope import NO_BYTES
from ..protocol.events import Event
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import CallEnded, CallTool
from ..protocol.tools import ToolCall, ToolResult
from ..runtime.border import speakable
from ..runtime.context import Context, Door, cut_off
from .catalogue import Catalogue, Entry

NOTHING_RAN = {"unreachable", "overloaded"}
"""After these another worker may be asked, whatever the tool is: they prove that nothing ran."""

Targets = list[tuple[str | Door, str]]
"""Address and instance of each who may be asked, in the order in which they are."""

numbers = count(secrets.randbits(62))
"""One for each call. Ids will not do: a model may use one again in its next response, and a program in its next run."""


class Word(NamedTuple):
    """What goes with a call of a person's word: that one is wanted, and why; or the token of one that was given.

    `changed`: the token was for other arguments, and the person gave these.
    """

    confirm: str = ""
    token: str = ""
    changed: bool = False


class Others(Protocol):
    """Knows who else serves tools, on a bus that others share."""

    async def settle(self) -> None:
        """Wait until whoever is there has had time to announce itself."""
        ...

    def look_again(self) -> None:
        """Somebody seems gone: find out whether it comes back."""
        ...


class Sender:
    """Sends calls, and hands one over to the next worker where that is allowed."""

    def __init__(self, catalogue: Catalogue, here: str, others: Others | None = None) -> None:
        self.catalogue = catalogue
        self.here = here
        self.others = others

    async def send(
        self,
        call: ToolCall,
        arguments: str,
        entry: Entry | None,
        context: Context,
        hear: Callable[[Event], None] | None,
        number: int,
        before: int = 0,
        targets: Targets | None = None,
        word: Word | None = None,
    ) -> ToolResult[Any]:
        """One attempt, or several: until somebody has answered who may have run it. Only a cancellation is raised.

        `before` are the attempts that were begun already; `targets` whom to ask, where that is decided.
        """
        clock = context.system.clock
        began = clock()
        attempts = before
        failure = None
        if targets is None:
            targets = self.targets(call.name, entry, context)
        for address, instance in targets:
            attempts += 1
            try:
                message = CallTool(call.id, call.name, arguments, attempts, hear is not None, number)
                if word is not None:
                    message = replace(message, confirm=word.confirm, token=word.token, changed=word.changed)
                ended = await context.ask(address, message, to=instance, hear=hear)
            except ToolwireError as error:
                failure = error.failure
            else:
                made = result(call, ended, attempts, clock() - began)
                if ended.usage is not None:
                    made = replace(made, usage=ended.usage)
                trusted = entry is not None and not (entry.spec.untrusted or ended.tainted)
                return made if trusted else replace(made, tainted=True)
            if instance and instance != self.here:
                self._gone(call.name, instance, failure)
            if not another(failure, entry):
                break
        failure = self._not_sent(call.name, failure, entry)
        return ToolResult(call.id, call.name, None, failure, attempts, clock() - began)

    def targets(self, name: str, entry: Entry | None, context: Context) -> Targets:
        """Who serves the tool; nobody known: the door for strangers."""
        if entry is None or not entry.targets:
            return [(context.system.address("tool", name), "")]
        return entry.targets if len(entry.targets) == 1 else entry.in_turn()

    def _gone(self, name: str, instance: str, failure: Failure) -> None:
        """What is known no longer: that `instance` serves the tool, or that it is there at all."""
        if failure.code == "unreachable" and not cut_off(failure):
            self.catalogue.lose(name, instance)
        elif failure.code == "worker_lost":
            self.catalogue.forget(instance)
        else:
            return
        if self.others is not None:
            self.others.look_again()

    def _not_sent(self, name: str, last: Failure | None, entry: Entry | None) -> Failure:
        """Why nobody answered, in words for whoever has to mend it."""
        absent = last is None or (last.code == "unreachable" and not cut_off(last))
        if last is None or (absent and entry is not None and not entry.instances):
            return failed("unreachable", f"nobody serves the tool {name[:100]!r} any more", tool=name[:100])
        if absent and entry is None:
            if self.others is None or self.catalogue:
                return self.catalogue.unknown(name)
            return failed("unreachable", f"nobody serves the tool {name[:100]!r}", tool=name[:100])
        if last.code == "worker_lost":
            said = (
                f"the worker that ran {name!r} is gone, and whether it did its work is unknown: "
                "check before you repeat the call"
            )
            return failed("worker_lost", said, "maybe", cause=last.message)
        return last


def another(failure: Failure, entry: Entry | None) -> bool:
    """Whether another worker may be asked: nothing ran, or a second run does no harm."""
    if failure.code in NOTHING_RAN:
        return not cut_off(failure)
    return failure.code == "worker_lost" and entry is not None and entry.spec.repeatable


def result(call: ToolCall, ended: CallEnded, attempts: int, seconds: float) -> ToolResult[Any]:
    """What a worker answered, as the result of the call."""
    failure = ended.failure
    if ended.content is None and failure is None:
        failure = failed("invalid_result", "the worker answered neither a result nor a failure", "maybe")
    made: ToolResult[Any] = ToolResult(
        call.id,
        call.name,
        ended.content,
        failure,
        attempts,
        seconds,
        ended.worker,
        ended.mended,
        ended.queued,
        ended.ran,
        artifact=ended.artifact,
    )
    return made


def encoded(call: ToolCall) -> tuple[ToolCall, Failure | None]:
    """`call` with its arguments as text, and why it can't be sent so: then it is sent as one that no tool takes."""
    identity, name, after = speakable(call.id), speakable(call.name), tuple(map(speakable, call.after))
    try:
        text = call.text()
        text.encode()  # what can't be sent would take the other calls with it
    except NO_BYTES as error:
        failure = failed("invalid_arguments", f"the arguments are not what JSON can carry: {error}")
        return ToolCall(identity, name, "null", after), failure
    if (identity, name) == (call.id, call.name):
        return ToolCall(identity, name, text, after), None
    failure = failed("invalid_call", "the id or the name of the call is no text: it holds half a surrogate pair")
    return ToolCall(identity, name, "null", after), failure


def encoded_all(calls: Sequence[ToolCall]) -> tuple[tuple[ToolCall, ...], dict[int, ToolResult[Any]]]:
    """`calls` as they are sent, and, by position, the results of those that can't be sent so."""
    made = [encoded(call) for call in calls]
    failures: dict[int, ToolResult[Any]] = {
        n: ToolResult(call.id, call.name, None, failure, 0)
        for n, (call, (_, failure)) in enumerate(zip(calls, made, strict=True))
        if failure is not None
    }
    return tuple(text for text, _ in made), failures
