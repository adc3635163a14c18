"""A model that speaks from a recording, and looks whether it is asked what was asked then."""

import os
from collections import deque
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ...protocol.events import CallSpoken, TextDelta
from ...protocol.failures import Failure, Misuse, ToolwireError, failed
from ...protocol.history import HistoryMessage
from ...protocol.tools import encode_json
from .contract import ModelEvent, ModelReply, ModelRequest
from .recorded import Exchange, read

SHOWN = 300
"""Characters of a message in a failure."""
TORN = "Input data was truncated"
"""What msgspec says of JSON that ends too early."""


class Replayed:
    """Answers as the recording `path` has it, conversation by conversation, each in its order.

    A request must have as many messages as the recorded one, and the same last one; `strict=False` takes any. What
    else differs is not looked at. `requests` holds what it was asked. The file is read when this is made; a line that
    its writer did not come to end, as it was killed, is passed over. Raises Misuse if it is no recording.
    """

    def __init__(self, path: str | os.PathLike[str], *, strict: bool = True) -> None:
        self.path = Path(path)
        self.strict = strict
        self.requests: list[ModelRequest] = []
        groups: dict[str, deque[Exchange]] = {}
        for exchange in exchanges(self.path):
            groups.setdefault(exchange.conversation, deque()).append(exchange)
        self._free = list(groups.values())
        self._taken: dict[str, deque[Exchange]] = {}

    def __repr__(self) -> str:
        left = sum(map(len, (*self._free, *self._taken.values())))
        return f"<Replayed {self.path} [spoken: {len(self.requests)} | left: {left}]>"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """What was answered then. Raises ToolwireError: what was raised then, or `model_failed` if it does not fit."""
        exchange = self.next(request)
        if exchange.reply is None:
            raise ToolwireError(failure_of(exchange))
        return exchange.reply

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager["ReplayedStream"]:
        """The same, with the events that were told then."""
        return ReplayedStream(self, request)

    def next(self, request: ModelRequest) -> Exchange:
        """The recorded answer to `request`."""
        self.requests.append(request)
        group = self._taken.get(request.conversation)
        if group is None:
            group = self._taken[request.conversation] = self._begun(request)
        if not group:
            raise ToolwireError(failed("model_failed", f"{self.path.name} holds no further request of a conversation"))
        if self.strict and (wrong := difference(request, group[0])):
            said = f"{self.path.name} was recorded for another request: {wrong}; record it anew, or take strict=False"
            raise ToolwireError(failed("model_failed", said))
        return group.popleft()

    def _begun(self, request: ModelRequest) -> deque[Exchange]:
        """The recorded conversation that `request` begins: the first that fits, or the first."""
        fitting = [group for group in self._free if not difference(request, group[0])]
        for group in (fitting or self._free)[:1]:
            self._free.remove(group)
            return group
        return deque()


class ReplayedStream:
    """The events of one recorded answer, inside `async with`."""

    def __init__(self, model: Replayed, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._events: deque[ModelEvent | Failure] = deque()

    async def __aenter__(self) -> Self:
        exchange = self._model.next(self._request)
        reply = exchange.reply
        if exchange.told is not None:
            self._events.extend(exchange.told)
        elif reply is not None:
            self._events.extend([TextDelta(reply.text)] if reply.text else [])
            self._events.extend(CallSpoken(call, position) for position, call in enumerate(reply.calls))
        self._events.append(failure_of(exchange) if reply is None else reply)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        if not self._events:
            raise StopAsyncIteration
        event = self._events.popleft()
        if isinstance(event, Failure):
            raise ToolwireError(event)
        return event


def exchanges(path: Path) -> list[Exchange]:
    """What stands in a recording. Raises Misuse if it is none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise Misuse(failed("invalid_call", f"the recording can't be read: {error}")) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(read(line))
        except msgspec.MsgspecError as error:
            if str(error) == TORN:
                continue
            raise Misuse(failed("invalid_call", f"line {number} of {path} is no recorded request: {error}")) from error
    return found


def failure_of(exchange: Exchange) -> Failure:
    """How it failed."""
    return exchange.failure or failed("model_failed", "the recorded request has no answer")


def difference(request: ModelRequest, exchange: Exchange) -> str:
    """What is not as it was recorded, "" for nothing."""
    count, then = len(request.messages), exchange.known + len(exchange.messages)
    if count != then:
        return f"it has {count} messages, the recorded one had {then}"
    if not exchange.messages:
        return ""
    now, before = written(request.messages[-1]), written(exchange.messages[-1])
    if now == before:
        return ""
    return f"its last message is {around(now, before)}, the recorded one was {around(before, now)}"


def around(text: str, other: str) -> str:
    """`text` where it begins to differ from `other`."""
    pairs = enumerate(zip(text, other, strict=False))
    at = next((n for n, (one, another) in pairs if one != another), len(other))
    first = max(0, at - SHOWN // 2)
    return f"{'…' if first else ''}{text[first : first + SHOWN]}{'…' if first + SHOWN < len(text) else ''}"


def written(message: HistoryMessage) -> str:
    """`message` as JSON."""
    return encode_json(message).decode()
