"""The demo as it runs: a broker, two worker processes, one turn, and the loops that it is compared with."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, cast

import anyio
from msgspec import Struct

from ....protocol.events import ConfirmationWanted, Event, Pending, Reply, TurnFinished
from ....protocol.failures import ToolwireError
from ....protocol.tools import ToolResult, ToolSpec
from ...agent import Agent
from ...chat import Chat
from ...models import model_from
from ...models.contract import StreamingModel
from ...wiring import Runtime
from .loops import Measured, Pace, one_after_the_other, plain_gather
from .recording import Recording, Row
from .script import ASKED, ROUNDS, SYSTEM, trip
from .tools import HERE, IN_THREADS, TRIP
from .watched import Spoken, Watched
from .workers import Worker, worker_processes

SCRIPT = "script"
"""The model where no real one is asked for."""
PACE = Pace(reply=0.2, call=0.06, person=0.3)
"""How long the script takes for a reply, and a person to say yes; both take longer in earnest."""
REAL = "openai:gpt-5.1"
"""Who is asked if there is a key, and nobody else was named."""

_TOOLS = f"{__package__}.tools"
SERVED = {"worker 1": f"{_TOOLS}:FLIGHTS", "worker 2": f"{_TOOLS}:CITY"}


class Stage(Struct, frozen=True):
    """Where the demo plays: the bus, the workers by name, and why it is in memory, if it is."""

    url: str
    workers: dict[str, Worker]
    reason: str = ""


class Outcome(Struct, frozen=True):
    """What was seen and measured: the turn, its calls, the model's replies; the loops, where a script spoke."""

    stage: Stage
    model: str
    reply: Reply
    seconds: float
    rows: tuple[Row, ...]
    replies: tuple[Spoken, ...]
    gather: Measured | None = None
    one_by_one: Measured | None = None


class Audience:
    """Whoever watches: is told where it plays, of each event, and of what comes next."""

    def staged(self, stage: Stage, model: str) -> None:
        """All is up."""

    def hear(self, event: Event) -> None:
        """Something happened in the turn."""

    def compared(self) -> None:
        """The turn is over; the loops run."""


def chosen(model: str | None, base_url: str | None) -> str:
    """Which model is meant by two flags and the environment."""
    if model is None:
        forbidden = os.environ.get("TOOLWIRE_NO_MODELS") == "1"
        keyed = "OPENAI_API_KEY" in os.environ and not forbidden
        model = REAL if keyed or base_url else SCRIPT
    return f"{model}@{base_url}" if base_url and model != SCRIPT else model


async def play(model: str, audience: Audience, *, embedded: bool = True) -> Outcome:
    """Play the demo. `embedded` False plays it in memory. Raises ToolwireError, e.g. for a model without a key."""
    clock = time.monotonic
    scripted = model == SCRIPT
    speaking = cast("StreamingModel", trip(PACE.call) if scripted else model_from(model))
    watched = Watched(speaking, clock, PACE.reply if scripted else 0.0)
    async with AsyncExitStack() as stack:
        runtime, stage = await staged(stack, embedded=embedded)
        audience.staged(stage, model)
        recording, reply = await turn(runtime, watched, clock, audience)
        rows = recording.rows(watched.replies, Places(runtime, stage).of)
        replies = recording.replies(watched.replies)
        outcome = (stage, model, reply, replies[-1].ended if replies else 0.0, tuple(rows), tuple(replies))
        if not scripted:
            return Outcome(*outcome)
        audience.compared()
        return Outcome(*outcome, *await loops(runtime))


async def staged(stack: AsyncExitStack, *, embedded: bool) -> tuple[Runtime, Stage]:
    """A runtime with all tools in reach: over a broker and two workers, or in memory if there can't be a broker."""
    reason = "as asked for"
    if embedded:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="toolwire-demo-"))
        try:
            runtime = await stack.enter_async_context(Runtime(f"nats+embedded://{directory}"))
        except ToolwireError as error:
            reason = error.failure.message
        else:
            url = runtime.system.bus.url
            workers = await stack.enter_async_context(worker_processes(url, SERVED))
            await runtime.serve(*HERE)
            await arrived(runtime, (tool for worker in workers.values() for tool in worker.tools))
            return runtime, Stage(url, workers)
    runtime = await stack.enter_async_context(Runtime())
    await runtime.serve(*TRIP)
    return runtime, Stage("memory://", {}, reason)


async def arrived(runtime: Runtime, tools: Iterable[str]) -> None:
    """Wait until this process has heard of all of `tools`."""
    arrivals = Arrivals(tools)
    runtime.tools.tell(arrivals)
    await arrivals.complete.wait()


class Arrivals:
    """Hears of tools as they come, and says when all are there."""

    def __init__(self, awaited: Iterable[str]) -> None:
        self.complete = anyio.Event()
        self._awaited = set(awaited)

    def add(self, spec: ToolSpec) -> None:
        """A tool is there."""
        self._awaited.discard(spec.name)
        if not self._awaited:
            self.complete.set()

    def remove(self, name: str) -> None:
        """One that has gone was there."""


async def turn(
    runtime: Runtime, model: Watched, clock: Callable[[], float], audience: Audience
) -> tuple[Recording, Reply]:
    """One turn, recorded."""
    agent = Agent("trip", model, SYSTEM, ("*",), references=True)
    chat = await runtime.converse(agent)
    reply = Reply("", "interrupted")
    recording = Recording(clock)
    async with anyio.create_task_group() as tasks, chat.stream(ASKED) as events:
        async for event in events:
            recording.hear(event)
            audience.hear(event)
            if isinstance(event, ConfirmationWanted):
                tasks.start_soon(person, chat, event.pending, recording)
            elif isinstance(event, TurnFinished):
                reply = event.reply
    return recording, reply


async def person(chat: Chat, pending: Pending, recording: Recording) -> None:
    """Somebody reads what is to be done, and says yes."""
    await anyio.sleep(PACE.person)
    recording.answered(pending.id)
    await chat.answer(pending, "approve")


class Places:
    """Where calls ran, in the words of the demo."""

    def __init__(self, runtime: Runtime, stage: Stage) -> None:
        self._tools = runtime.tools
        self._names = {runtime.system.bus.instance: "here"}
        self._names.update({worker.instance: name for name, worker in stage.workers.items()})

    def of(self, result: ToolResult[Any]) -> str:
        """Where the call ran, "" if it was refused before it did. Each tool of the demo is served by one process."""
        failure = result.failure
        if failure is not None and failure.effect == "none":
            return ""
        entry = self._tools.entries.get(result.name)
        instance = result.worker or (entry.instances[0] if entry is not None else "")
        name = self._names.get(instance, instance)
        return "here, thread" if name == "here" and result.name in IN_THREADS else name


async def loops(runtime: Runtime) -> tuple[Measured, Measured]:
    """Both loops, side by side: they wait for timers, not for the processor."""
    measured: dict[Any, Measured] = {}

    async def measure(loop: Callable[..., Any]) -> None:
        measured[loop] = await loop(runtime, ROUNDS, PACE)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(measure, plain_gather)
        tasks.start_soon(measure, one_after_the_other)
    return measured[plain_gather], measured[one_after_the_other]
