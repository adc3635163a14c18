"""The models of `toolwire.models` before a provider on loopback, and what has to hold once they are done with it."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from toolwire.actors.models.contract import ModelReply, ModelRequest
from toolwire.actors.models.hosted import Hosted
from toolwire.models import anthropic, openai, openai_responses
from toolwire.protocol.events import CallSpoken, ReasoningDelta, TextDelta
from toolwire.protocol.history import AssistantMessage, HistoryMessage, ToolMessage

from .provider import Answer, Provider

PATIENCE = 30.0
"""Seconds after which a test says that something hangs. What it waits for takes milliseconds."""

MODELS: dict[str, Any] = {"openai": openai, "openai_responses": openai_responses, "anthropic": anthropic}
WAYS = ("whole", "streamed")
_speaking: list[str] = []


class Heard(NamedTuple):
    """A reply, and what was told before it."""

    reply: ModelReply
    reasoning: str = ""


@asynccontextmanager
async def speaking(
    wire: str, *answers: Answer, model: str = "m", refused: bool = False, binding: bool = False, **options: Any
) -> AsyncIterator[tuple[Hosted, Provider]]:
    """A model and its provider, who answers so. At the end nothing was refused, and no task and no socket is left."""
    tasks, sockets = _tasks(), _sockets()
    _speaking.append(wire)
    provider = Provider(wire, *answers, binding=binding)
    async with provider.serving() as base_url:
        options = {
            "retries": 0,
            "base_url": base_url,
            "api_key": "sk-secret",
            **options,
        }  # each trouble is heard at once
        asked: Hosted = MODELS[provider.wire.name](model, **options)
        with anyio.fail_after(PATIENCE):
            try:
                yield asked, provider
            finally:
                await asked.aclose()
                _speaking.pop()
    assert bool(provider.refused) == refused, provider.refused
    if _speaking:
        return  # whoever began first looks at what is left of all
    for _ in range(20):
        if not _tasks() - tasks and not _left(sockets):
            return
        await checkpoint()
    assert not _tasks() - tasks
    assert not _left(sockets)


async def ask(model: Hosted, request: ModelRequest, way: str) -> Heard:
    """What `model` says. What a stream tells beforehand is the same."""
    if way == "whole":
        return Heard(await model.complete(request))
    async with model.stream(request) as events:
        heard = [event async for event in events]
    assert isinstance(heard[-1], ModelReply)
    reply: ModelReply = heard[-1]
    assert sum(isinstance(event, ModelReply) for event in heard) == 1
    spoken = [event for event in heard if isinstance(event, CallSpoken)]
    assert [each.position for each in spoken] == list(range(len(spoken)))
    assert tuple(each.call for each in spoken) == reply.calls[: len(spoken)]
    assert reply.finish == "refused" or _joined(heard, TextDelta) == reply.text
    return Heard(reply, _joined(heard, ReasoningDelta))


def said_by(reply: ModelReply) -> AssistantMessage:
    """A reply as a history keeps it."""
    return AssistantMessage(reply.text, reply.calls, reply.opaque)


def answered(reply: ModelReply) -> list[HistoryMessage]:
    """A reply and a result for each of its calls."""
    return [said_by(reply), *(ToolMessage(call.id, call.name, '"mild"') for call in reply.calls)]


def _joined(events: Sequence[object], kind: type[TextDelta] | type[ReasoningDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def _tasks() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


def _sockets() -> set[str]:
    """The inodes of the sockets that are open here. Where the system does not tell, none."""
    found = set[str]()
    with suppress(OSError):
        for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - many times a test
            with suppress(OSError):
                found.add(os.readlink(f"/proc/self/fd/{number}").removeprefix("socket:[").rstrip("]"))  # noqa: PTH115
    return found


def _left(before: set[str]) -> set[str]:
    """The sockets to somebody on loopback that are open since. What threads, loops and imports opened is not ours."""
    new = _sockets() - before
    if not new:
        return new
    with Path("/proc/self/net/tcp").open() as table:
        return {row.split()[9] for row in table if " 0100007F:" in row} & new
