"""What whole turns need: three buses, a place where calls meet, and what has to hold at the end of each test.

The buses are memory, NATS with the six actors asked inside the process (`local=False`), and NATS with every hop over
the broker (`local=()`). A test asks for `bus`, and opens as many runtimes on it as it likes.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import pytest

from toolwire import (
    AssistantMessage,
    Chat,
    ModelRequest,
    Runtime,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    tool,
)
from toolwire.actors.models.scripted import Scripted
from toolwire.protocol.history import HistoryMessage

PATIENCE = 20.0
"""Seconds after which a test says that something hangs. What it waits for takes milliseconds."""

BUSES: dict[str, dict[str, Any]] = {"memory": {}, "nats": {"local": False}, "every-hop": {"local": ()}}


class Meeting:
    """Lets nobody go on before `count` have come: whoever gets through has run beside the others."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.came = 0
        self.full = anyio.Event()

    async def join(self) -> None:
        self.came += 1
        if self.came == self.count:
            self.full.set()
        await self.full.wait()


class TestBus:
    """One bus, and a namespace that no other test has. All runtimes that `open` gives see each other."""

    __test__ = False

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.namespace = secrets.token_hex(8)

    def __repr__(self) -> str:
        return f"<TestBus {self.name}>"

    @property
    def remote(self) -> bool:
        return self.name != "memory"

    def runtime(self, **options: Any) -> Runtime:
        return Runtime(self.url, namespace=self.namespace, **BUSES[self.name], **options)

    @asynccontextmanager
    async def open(self, *things: Any, **options: Any) -> AsyncIterator[Runtime]:
        """A runtime that serves `things`; nothing hangs in it, and no task outlives it."""
        with anyio.fail_after(PATIENCE):
            before = tasks()
            async with self.runtime(**options) as runtime:
                if things:
                    await runtime.serve(*things)
                yield runtime
            await nothing_left(before)


class Leaving:
    """`async with Leaving(request, scope)`: the scope is cancelled once `moment` was reached."""

    def __init__(self, moment: anyio.Event) -> None:
        self.moment = moment
        self.scope = anyio.CancelScope()

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._leave)
        self.scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        swallowed = self.scope.__exit__(kind, error, trace)
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        return swallowed

    async def _leave(self) -> None:
        await self.moment.wait()
        self.scope.cancel()


@pytest.fixture(params=list(BUSES))
def bus(request: pytest.FixtureRequest) -> TestBus:
    name: str = request.param
    url: str = f"memory://{secrets.token_hex(8)}" if name == "memory" else request.getfixturevalue("nats_url")
    return TestBus(name, url)


@pytest.fixture
def memory() -> TestBus:
    """The bus for what no bus can change."""
    return TestBus("memory", "memory://")


def tasks() -> set[int]:
    return {task.id for task in anyio.get_running_tasks()}


async def nothing_left(before: set[int]) -> None:
    """No task runs that did not run before; those that are ending are given a few turns of the loop to do so."""
    for _ in range(10):
        if not tasks() - before:
            return
        await anyio.lowlevel.checkpoint()
    left = [task for task in anyio.get_running_tasks() if task.id not in before]
    assert left == []


def assert_valid(messages: Sequence[HistoryMessage]) -> None:
    """A provider would take `messages`: the system first, and each call with its result right behind it, once."""
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


def assert_told(model: Scripted, chat: Chat) -> None:
    """The last request to `model` held a valid history, and the very one that the conversation keeps."""
    told = list(model.requests[-1].messages)
    assert_valid(told)
    assert told == list(chat.history())[: len(told)]
    assert len(chat.history()) - len(told) <= 1


def codes(results: Iterable[ToolResult[Any]]) -> list[str]:
    """The failure code of each, "" for those that succeeded."""
    return [result.failure.code if result.failure else "" for result in results]


def last_results(request: ModelRequest) -> list[ToolMessage]:
    """What the last calls came to, as the model is told."""
    found: list[ToolMessage] = []
    for message in reversed(list(request.messages)):
        if not isinstance(message, ToolMessage):
            break
        found.insert(0, message)
    return found


def calls(*names: str) -> list[ToolCall]:
    """Calls without arguments, with their names for ids where these are unique."""
    return [ToolCall(f"{name}-{n}", name) for n, name in enumerate(names)]


@contextmanager
def patient() -> Iterator[None]:
    with anyio.fail_after(PATIENCE):
        yield


def plain(name: str, answer: object = "done") -> Callable[[], Any]:
    """A tool without parameters that returns `answer`."""

    @tool(name=name)
    async def answering() -> Any:
        return answer

    return answering
