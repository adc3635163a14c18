"""A runtime for one test: at its end it looks for what is left, and says so."""

import asyncio
from asyncio.base_events import _run_until_complete_cb  # type: ignore[attr-defined]  # as anyio finds them: no other door
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from ..protocol.failures import Misuse, failed
from ..protocol.history import AssistantMessage, HistoryMessage
from ..protocol.tools import ToolCall
from ..protocol.validity import invalid
from ..runtime.testing import SETTLED, running
from .chat import Chat
from .conversation import Conversation
from .wiring import Runtime


@asynccontextmanager
async def tidy(*things: Any, **options: Any) -> AsyncIterator[Runtime]:
    """A runtime that serves `things`, inside `async with`; the options are those of `Runtime`.

    At its end no task may run that did not run before it, no function may go on in a thread, and the history of each
    conversation has to be one that every provider takes. Raises AssertionError, naming what is left; what the block
    itself raises goes on as it is, with a note of that.
    """
    before, conversations = running(), list[Conversation]()
    runtime = Runtime(**options)
    try:
        async with runtime:
            runtime._conversations.kept = conversations  # noqa: SLF001 - it is of the house
            if things:
                await runtime.serve(*things)
            yield runtime
    except Exception as error:
        for said in [*threads(runtime), *histories(conversations)]:
            error.add_note(said)
        raise
    left = [*await tasks(before), *threads(runtime), *histories(conversations)]
    if left:
        raise AssertionError("; ".join(left))


async def tasks(before: set[int]) -> list[str]:
    """The tasks that still run, and did not before, once they had the time to end."""
    for _ in range(SETTLED):
        if running() <= before:
            return []
        await checkpoint()
    known = before | outermost()
    left = [task for task in anyio.get_running_tasks() if task.id not in known]
    names = [f"{task.name} ({getattr(task.coro, '__qualname__', '?')})" for task in left]
    return [f"a task that was begun in the test still runs: {name}" for name in names]


def outermost() -> set[int]:
    """The tasks that asyncio runs until they are complete: where a fixture ends, that is whoever ends it."""
    try:
        there = asyncio.all_tasks()
    except RuntimeError:  # no asyncio here
        return set()
    callbacks = {task: getattr(task, "_callbacks", None) or () for task in there}
    return {id(task) for task, told in callbacks.items() if any(each[0] is _run_until_complete_cb for each in told)}


def threads(runtime: Runtime) -> list[str]:
    """The functions that go on in a thread, though their calls have ended."""
    return [f"{each.name!r} still runs in a thread, since {each.since:%H:%M:%S}" for each in runtime.abandoned]


def histories(conversations: Sequence[Conversation]) -> list[str]:
    """What is wrong with the histories of conversations."""
    found = ((each.history, invalid(each.history)) for each in conversations)
    return [f"a conversation of {len(told)} messages is not valid: {wrong}" for told, wrong in found if wrong]


def assert_valid(told: Chat | Sequence[HistoryMessage]) -> None:
    """Raises AssertionError if a provider would refuse the history, naming the message. Misuse for what is none."""
    if wrong := invalid(messages(told)):
        raise AssertionError(wrong)


def calls_of(told: Chat | Sequence[HistoryMessage]) -> list[tuple[str, Any]]:
    """The calls that a model has made, in order, as `scripted` spells them: `("get_weather", {"city": "Paris"})`.

    Of a whole conversation, or of a part of its history. Arguments that are no JSON stay the text that they are.
    """
    answers = (message for message in messages(told) if isinstance(message, AssistantMessage))
    return [(call.name, arguments(call)) for answer in answers for call in answer.calls]


def messages(told: object) -> Sequence[HistoryMessage]:
    """The history of a conversation, or what is one. Raises Misuse for what is neither."""
    if isinstance(told, Chat):
        return told.history()
    if isinstance(told, str) or not isinstance(told, Sequence) or not all(isinstance(n, HistoryMessage) for n in told):
        said = f"what is looked at is a Chat, its history or a list of its messages, not {told!r:.100}"
        raise Misuse(failed("invalid_call", said))
    return told


def arguments(call: ToolCall) -> Any:
    """What a call was made with."""
    try:
        return msgspec.json.decode(call.text())
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return call.arguments
