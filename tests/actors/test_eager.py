"""Handing calls over while the model speaks: what the executor is asked, in which order, and what if it refuses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.actors.eager import EagerCalls
from toolwire.protocol.cues import Phase
from toolwire.protocol.events import CallFinished, CallSpoken, CallStarted, Event
from toolwire.protocol.failures import Failure, ToolwireError, failed
from toolwire.protocol.history import AssistantMessage, UserMessage
from toolwire.protocol.messages import (
    AddCall,
    BatchClosed,
    BatchEnded,
    CallAdded,
    CloseBatch,
    Complete,
    Completed,
    OpenBatch,
    RunBatch,
    ToolsSelected,
    TurnEnded,
)
from toolwire.protocol.offer import Eager, Offer
from toolwire.protocol.streamed import StreamedTurn
from toolwire.protocol.tools import ToolCall, ToolResult
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.context import Context
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import FakeActor

pytestmark = pytest.mark.anyio

CALLS = tuple(ToolCall(f"c{n}", "t") for n in range(4))
GONE = failed("model_failed", "gone")


class Scene:
    """A turn whose model says what `model` says, and an executor that keeps what it is asked."""

    def __init__(self, system: ActorSystem, eager: Eager, refuse: type | None) -> None:
        read_only = {"t"} if eager == "read_only" else set[str]()
        self.turn = StreamedTurn(Offer("c", [], eager=eager, read_only=read_only.__contains__), name="c.1")
        self.turn.start("go")
        self.heard: list[Event] = []
        self.closed = anyio.Event()
        self.refuse = refuse
        self.system = system
        self.executor = FakeActor(OpenBatch | AddCall | CloseBatch, self._execute)
        self.left: list[str] = []
        self.context = system.context()
        self.calls = EagerCalls(self.turn, self.context, system.private(self.executor, "executor"))

    @property
    def asked(self) -> list[str]:
        return [type(message).__name__ for message in self.executor.received]

    def tell(self, *positions: int) -> None:
        for position in positions:
            assert self.calls.heard(CallSpoken(CALLS[position], position))

    async def ask(self, model: Callable[[], Awaitable[Any]]) -> Any:
        """Ask a model for the next response; what the turn says then."""

        async def answer(_message: Complete, _context: Context) -> Any:
            return await model()

        command = self.turn.step(ToolsSelected(("t",), "digest"))
        door = self.system.private(FakeActor(Complete, answer), "model")
        try:
            heard = await self.calls.ask(door, command, hear=self.heard.append)
        except ToolwireError as error:
            heard = error.failure
        return self.turn.step(heard)

    async def close(self, command: CloseBatch) -> Any:
        return await self.calls.ask("", command, hear=self.heard.append)

    async def _execute(self, message: Any, context: Context) -> Any:
        if type(message) is self.refuse:
            raise ToolwireError(failed("overloaded", "no"))
        if isinstance(message, AddCall):
            await checkpoint()
            return CallAdded(started=True)
        if isinstance(message, CloseBatch):
            self.closed.set()
            return BatchClosed()
        context.report(CallStarted("c0", "t", "{}"))
        try:
            await self.closed.wait()
        except BaseException:
            self.left.append(message.name)
            raise
        result: ToolResult[Any] = ToolResult("c0", "t", "1")
        context.report(CallFinished(result))
        return BatchEnded((result,))


@asynccontextmanager
async def scene(eager: Eager = "read_only", refuse: type | None = None) -> AsyncIterator[Scene]:
    with anyio.fail_after(5):
        async with ActorSystem(MemoryBus()) as system:
            made = Scene(system, eager, refuse)
            async with made.calls:
                yield made


async def test_calls_are_handed_over_in_their_order() -> None:
    async with scene() as made:

        async def model() -> Completed:
            made.tell(0, 1)
            await anyio.wait_all_tasks_blocked()
            made.tell(2)
            return Completed("", CALLS)

        command = await made.ask(model)
        assert command == CloseBatch("c.1.1", 4)
        ended = await made.close(command)
        assert isinstance(ended, BatchEnded)
        assert made.asked == ["OpenBatch", "AddCall", "AddCall", "AddCall", "CloseBatch"]
        added = [message for message in made.executor.received if isinstance(message, AddCall)]
        assert [(message.position, message.call) for message in added] == list(enumerate(CALLS))[1:]
        assert [type(event) for event in made.heard] == [CallStarted, CallFinished]


async def test_a_response_that_ends_at_once_goes_the_usual_way() -> None:
    async with scene() as made:

        async def model() -> Completed:
            made.tell(0, 1)
            return Completed("", CALLS)

        assert isinstance(await made.ask(model), RunBatch)
        await anyio.wait_all_tasks_blocked()
        assert made.asked == []


async def test_a_model_that_fails_at_once_has_begun_nothing() -> None:
    async with scene("all") as made:

        async def model() -> Completed:
            made.tell(0)
            raise ToolwireError(GONE)

        ended = await made.ask(model)
        assert isinstance(ended, TurnEnded)
        assert made.turn.offer.history == [UserMessage("go")]
    assert made.asked == []


async def test_leaving_cancels_what_was_begun() -> None:
    async with scene() as made:

        async def model() -> Completed:
            made.tell(0)
            await anyio.wait_all_tasks_blocked()
            raise ToolwireError(GONE)

        assert isinstance(await made.ask(model), TurnEnded)
    assert made.left == ["c.1.1"]
    assert [type(event) for event in made.heard] == [CallStarted]  # who follows the turn tells its end


@pytest.mark.parametrize("refuse", [OpenBatch, AddCall, CloseBatch])
async def test_a_batch_that_can_not_be_brought_together_has_failed(refuse: type) -> None:
    async with scene(refuse=refuse) as made:

        async def model() -> Completed:
            made.tell(0, 1)
            await anyio.wait_all_tasks_blocked()
            return Completed("", CALLS)

        command = await made.ask(model)
        ended = await made.close(command)
        assert isinstance(ended, Failure)
        assert ended.code == "overloaded"
        assert isinstance(made.turn.step(ended), TurnEnded)
    assert made.left == ([] if refuse is OpenBatch else ["c.1.1"])


async def test_the_text_before_a_write_is_kept_with_it() -> None:
    async with scene("all") as made:

        async def model() -> Completed:
            made.turn.told.append("so ")
            made.tell(0)
            made.turn.told.append("far")
            await anyio.wait_all_tasks_blocked()
            raise ToolwireError(GONE)

        command = await made.ask(model)
        assert isinstance(command, CloseBatch)
        assert made.turn.response.message == AssistantMessage("so far", CALLS[:1])
        made.turn.step(await made.close(command))
        assert made.turn.phase == Phase.ENDED


async def test_what_is_raised_inside_goes_on_as_it_is() -> None:
    async def broken() -> None:
        async with scene() as made:

            async def model() -> Completed:
                made.tell(0)
                await anyio.wait_all_tasks_blocked()
                return Completed("", CALLS)

            await made.ask(model)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()


async def test_a_batch_that_was_never_opened_is_not_closed() -> None:
    async with scene() as made:
        with pytest.raises(ToolwireError, match="was not opened"):
            await made.close(CloseBatch("c.1.1", 1))


async def test_without_tools_nothing_is_prepared() -> None:
    async with scene() as made:
        made.calls.heard(CallSpoken(CALLS[0], 0))
        assert made.calls._opening is None
        assert made.turn.phase == Phase.SELECTING
