"""Three buses for whole turns, and what has to hold on each of them at the end of a test.

The buses are memory, NATS with the six actors asked inside the process (`local=False`), and NATS with every hop over
the broker (`local=()`).
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import AssistantMessage, Chat, Runtime, SystemMessage, ToolMessage
from toolwire.actors.models.scripted import Scripted
from toolwire.protocol.history import HistoryMessage

PATIENCE = 20.0
"""Seconds after which a test says that something hangs. What it waits for takes milliseconds."""

TURNS = 20
"""Turns of the loop that a task may take to end."""

BUSES: dict[str, dict[str, Any]] = {"memory": {}, "nats": {"local": False}, "every-hop": {"local": ()}}


class Meeting:
    """Lets nobody go on before `count` have come: whoever gets through has run beside the others."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.came = 0
        self.full = anyio.Event()

    async def join(self) -> None:
        """Come, and wait for the others."""
        self.came += 1
        if self.came >= self.count:
            self.full.set()
        await self.full.wait()


class BusUnderTest:
    """One bus, and a namespace that no other test has: the runtimes on it see each other, and nobody else."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.namespace = secrets.token_hex(8)
        self._inside = False

    def __repr__(self) -> str:
        return f"<BusUnderTest {self.name}>"

    @property
    def remote(self) -> bool:
        """Whether calls to tools leave the process."""
        return self.name != "memory"

    def runtime(self, **options: Any) -> Runtime:
        """A runtime on this bus."""
        return Runtime(self.url, namespace=self.namespace, **BUSES[self.name], **options)

    @asynccontextmanager
    async def open(self, *things: Any, **options: Any) -> AsyncIterator[Runtime]:
        """A runtime that serves `things`. Nothing hangs in it, and no task outlives it and those around it."""
        with anyio.fail_after(PATIENCE):
            before, outermost, self._inside = tasks(), not self._inside, True
            async with self.runtime(**options) as runtime:
                if things:
                    await runtime.serve(*things)
                yield runtime
            if outermost:
                self._inside = False
                await nothing_left(before)

    def meeting(self, count: int) -> Meeting:
        """A place where `count` calls wait for each other."""
        return Meeting(count)

    @asynccontextmanager
    async def left_at(self, moment: anyio.Event) -> AsyncIterator[anyio.CancelScope]:
        """A scope that is cancelled as soon as `moment` is there."""

        async def leave() -> None:
            await moment.wait()
            scope.cancel()

        async with anyio.create_task_group() as watching:
            watching.start_soon(leave)
            with anyio.CancelScope() as scope:
                yield scope
            watching.cancel_scope.cancel()


@pytest.fixture(params=list(BUSES))
def bus(request: pytest.FixtureRequest) -> BusUnderTest:
    name: str = request.param
    url: str = "memory://" if name == "memory" else request.getfixturevalue("nats_url")
    return BusUnderTest(name, url)


@pytest.fixture
def memory() -> BusUnderTest:
    """The bus for what no bus can change."""
    return BusUnderTest("memory", "memory://")


@pytest.fixture
def shared_bus(bus: BusUnderTest) -> BusUnderTest:
    """The same, but that in memory too several runtimes see each other."""
    return BusUnderTest(bus.name, bus.url if bus.remote else f"memory://{bus.namespace}")


@pytest.fixture
def valid() -> Any:
    """`valid(messages)` holds if a provider would take them; `valid(chat, model)` also that the model was told so."""

    def check(told: Chat | Sequence[HistoryMessage], model: Scripted | None = None) -> bool:
        if not isinstance(told, Chat):
            assert_valid(told)
            return True
        assert_valid(told.history())
        if model is not None:
            asked = list(model.requests[-1].messages)
            assert_valid(asked)
            assert asked == list(told.history())[: len(asked)]
        return True

    return check


def assert_valid(messages: Sequence[HistoryMessage]) -> None:
    """The system comes first, if at all; each call has its result right behind it, once, in the order asked."""
    waiting: list[str] = []
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            assert waiting, f"message {place} answers no call: {message}"
            assert message.id == waiting.pop(0), f"message {place} is out of place: {message}"
            continue
        assert not waiting, f"calls without a result before message {place}: {waiting}"
        assert place == 0 or not isinstance(message, SystemMessage)
        if isinstance(message, AssistantMessage):
            waiting = [call.id for call in message.calls]
    assert not waiting, f"calls without a result at the end: {waiting}"


def tasks() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


async def nothing_left(before: set[int]) -> None:
    """No task runs that did not run before."""
    for _ in range(TURNS):
        if not tasks() - before:
            return
        await checkpoint()
    assert [task for task in anyio.get_running_tasks() if task.id not in before] == []
