"""A model that speaks from a list: for tests, demos and benchmarks, without a key and without a network."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, overload

import anyio
from msgspec import Struct

from ...protocol.events import CallSpoken, ReasoningDelta, TextDelta
from ...protocol.failures import Misuse, ToolwireError, failed
from ...protocol.history import AssistantMessage, ToolMessage, UserMessage
from ...protocol.tools import ToolCall
from .contract import ModelEvent, ModelReply, ModelRequest
from .replayed import Replayed

Call = ToolCall | tuple[str] | tuple[str, Mapping[str, Any] | str]
"""One call: `("get_weather", {"city": "Paris"})`, whose arguments may be JSON text, or a ToolCall with its own id."""

Line = str | Call | Sequence[str | ReasoningDelta | Call] | ModelReply | BaseException
"""One response: a text, one call, a list of calls (a text among them is said beside them, reasoning is told before
all else), a whole reply, or what is raised instead."""


class Speaking(Struct, frozen=True):
    """A response that takes its time. See `spoken`."""

    line: Line
    every: float = 0.0
    then: float = 0.0
    raises: BaseException | None = None
    after: int | None = None


class Said(NamedTuple):
    """One response: all of it, how slowly it is said, and the reasoning that is heard before it."""

    reply: ModelReply
    speaking: Speaking | None
    reasoning: tuple[ReasoningDelta, ...]


Step = Line | Speaking | Callable[[ModelRequest], Line | Speaking | Awaitable[Line | Speaking]]
"""One response, or a function of the request that gives it."""

_WORDS = re.compile(r"\s*\S+\s*|\s+")


@overload
def scripted(steps: Path) -> Replayed: ...
@overload
def scripted(steps: Sequence[Step]) -> "Scripted": ...
def scripted(steps: Sequence[Step] | Path) -> "Scripted | Replayed":
    """A model that answers its first request with the first of `steps`, and so on; `.requests` shows what it was asked.

    Calls without an id get "call_1", "call_2", …, unique in the script. Asked for more than it has, it fails with
    `model_failed`, saying after what; `.unspoken` are the steps that nobody asked for. Raises Misuse, naming the step,
    for what is no step.
    In place of steps there may be the Path of a recording, which is spoken again, see `Replayed`.
    """
    if isinstance(steps, Path):
        return Replayed(steps)
    if isinstance(steps, str) or not isinstance(steps, Iterable):
        raise Misuse(failed("model_failed", f"a script is a list of steps: write scripted([{steps!r:.200}])"))
    return Scripted(steps)


def spoken(
    line: Line,
    *,
    every: float = 0.0,
    then: float = 0.0,
    raises: BaseException | None = None,
    after: int | None = None,
) -> Speaking:
    """A step of a script that is said slowly: each of its calls takes `every` seconds, the end another `then`.

    With `raises` the model breaks off: it raises that once `after` calls are said (all of them, if None). Seconds are
    those of the event loop, so a mock clock moves them; even 0 of them let others run.
    """
    return Speaking(line, every, then, raises, after)


class Scripted:
    """See `scripted`. `requests` holds every request, in the order in which they came."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self._ids: set[str] = set()
        self._named = 0
        self.requests: list[ModelRequest] = []
        for number, step in enumerate(self._steps, 1):
            if not callable(step):
                self._ids.update(_ids(_parts(step, number)))

    def __repr__(self) -> str:
        return f"<Scripted [steps: {len(self._steps)} | spoken: {min(len(self.requests), len(self._steps))}]>"

    @property
    def unspoken(self) -> tuple[Step, ...]:
        """The steps that nobody has asked for yet: `assert not model.unspoken` at the end of a test."""
        return self._steps[len(self.requests) :]

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The next step, as a reply. Raises what the step says, or ToolwireError if there is none left."""
        reply, speaking, _ = await self.next(request)
        if speaking is not None:
            calls = reply.calls if speaking.raises is None else reply.calls[: speaking.after]
            await anyio.sleep(speaking.every * len(calls))
            await ended(speaking)
        return reply

    async def next(self, request: ModelRequest) -> Said:
        """The next step. Raises what it says, or ToolwireError if there is none left."""
        number = len(self.requests) + 1
        self.requests.append(request)
        if number > len(self._steps):
            steps = len(self._steps)
            has = f"{steps} step{'s' * (steps != 1)}"
            reason = f"the script has {has} and was asked for step {number}, {occasion(request)}"
            raise ToolwireError(failed("model_failed", reason))
        step = self._steps[number - 1]
        line = step(request) if callable(step) else step
        if inspect.isawaitable(line):
            line = await line
        speaking = line if isinstance(line, Speaking) else None
        spoken_line = line if speaking is None else speaking.line
        among = spoken_line if isinstance(spoken_line, list) else ()
        reasoning = tuple(part for part in among if isinstance(part, ReasoningDelta))
        return Said(self._reply(spoken_line, number), speaking, reasoning)

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager["Spoken"]:
        """The same, word by word, then call by call."""
        return Spoken(self, request)

    def _reply(self, line: Any, number: int) -> ModelReply:
        if isinstance(line, BaseException):
            raise line
        if isinstance(line, ModelReply):
            return line
        if isinstance(line, str):
            return ModelReply(line)
        parts = _parts(line, number)
        text = "".join(part for part in parts if isinstance(part, str))
        calls = tuple(self._call(part) for part in parts if not isinstance(part, str | ReasoningDelta))
        return ModelReply(text, calls, finish="calls" if calls else "stop")

    def _call(self, part: ToolCall | tuple[Any, ...]) -> ToolCall:
        if isinstance(part, ToolCall):
            return part
        name, arguments = part if len(part) == 2 else (*part, {})  # noqa: PLR2004 - a name and its arguments
        return ToolCall(self._next_id(), name, arguments if isinstance(arguments, str) else dict(arguments))

    def _next_id(self) -> str:
        self._named += 1
        while (id_ := f"call_{self._named}") in self._ids:
            self._named += 1
        return id_


class Spoken:
    """The events of one scripted reply, inside `async with`."""

    def __init__(self, model: Scripted, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._speaking: Speaking | None = None
        self._events: Iterator[ModelEvent] = iter(())

    async def __aenter__(self) -> Self:
        reply, speaking, reasoning = await self._model.next(self._request)
        self._speaking = speaking
        calls = reply.calls if speaking is None or speaking.raises is None else reply.calls[: speaking.after]
        told = (CallSpoken(call, position) for position, call in enumerate(calls))
        self._events = chain(reasoning, map(TextDelta, _WORDS.findall(reply.text)), told, (reply,))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        for event in self._events:
            if self._speaking is not None:
                if type(event) is CallSpoken:
                    await anyio.sleep(self._speaking.every)
                elif type(event) is ModelReply:
                    await ended(self._speaking)
            return event
        raise StopAsyncIteration


async def ended(speaking: Speaking) -> None:
    """Come to the end of a response that is said slowly. Raises what it breaks off with."""
    await anyio.sleep(speaking.then)
    if speaking.raises is not None:
        raise speaking.raises


def occasion(request: ModelRequest) -> str:
    """What a model was asked about, for a person who wonders why: the newest message."""
    match request.messages[-1] if request.messages else None:
        case UserMessage(text=text):
            said = f"after the user said {text!r:.100}"
        case ToolMessage(name=name, content=content):
            said = f"after {name!r} gave {content:.100}"
        case AssistantMessage(text=text):
            said = f"after it said {text!r:.100}"
        case _:
            return "before anybody spoke"
    return said


def _parts(line: object, number: int) -> Sequence[Any]:
    """The texts and calls of one response. Raises Misuse for what is none."""
    if isinstance(line, Speaking):
        line = line.line
    if isinstance(line, (str, ModelReply, BaseException)):
        return ()
    parts = line if isinstance(line, list) else [line]
    for part in parts:
        if not isinstance(part, (str, ToolCall, ReasoningDelta)) and not _is_call(part):
            reason = f"step {number} of the script is no text, call, list of calls, reply, exception or function"
            raise Misuse(failed("model_failed", f"{reason}: {part!r:.200}"))
    return parts


def _is_call(part: object) -> bool:
    match part:
        case (str(),) | (str(), str() | Mapping()) if isinstance(part, tuple):
            return True
    return False


def _ids(parts: Sequence[Any]) -> Iterator[str]:
    return (part.id for part in parts if isinstance(part, ToolCall))
