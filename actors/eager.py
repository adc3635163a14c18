"""Eager start: calls on their way to the executor while the model still speaks.

The first call of a response that may start opens a batch, with those before it; others are added to it as they are
told, and it is closed once the response has ended. All of it happens inside the turn: whoever leaves the turn ends the
batch, and waits for that.
"""

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio

from ..protocol.events import CallSpoken, Event
from ..protocol.failures import Failure, ToolwireError, failed
from ..protocol.messages import AddCall, BatchEnded, CloseBatch, Complete, OpenBatch
from ..protocol.streamed import StreamedTurn
from ..runtime.beside import Beside
from ..runtime.context import Context, Door

Hear = Callable[[Event], None]


class Opening:
    """One batch, from before the response has ended. `begun` once the executor was told of it.

    It runs beside the turn, which has to `close` or `leave` it.
    """

    def __init__(self, first: OpenBatch, executor: str | Door, context: Context, hear: Hear) -> None:
        self.begun = False
        self.withdrawn = False
        self._executor = executor
        self._context = context
        self._hear = hear
        self._adding: deque[AddCall] = deque()
        self._fed: anyio.Event | None = None
        self._ended: BatchEnded | Failure | None = None
        self._tasks = Beside(context.system, "calls of a response that is spoken")
        self._tasks.start(self._run, first)

    def add(self, command: AddCall) -> None:
        """Add a call, as soon as those before it are."""
        self._adding.append(command)
        if self.begun:
            self._feed_on()

    async def close(self, command: CloseBatch, rest: Sequence[AddCall]) -> BatchEnded | Failure:
        """Add the rest, close the batch, and wait for its end."""
        self._adding.extend(rest)
        if self._fed is not None:
            await self._fed.wait()
        await self._feed()
        if self._ended is None:
            await self._say(command)
        await self._tasks.wait()
        return self._ended or failed("cancelled", "the batch was given up", "maybe")

    async def leave(self) -> None:
        """Cancel what still runs, and wait for its end."""
        if not self.begun:
            self.withdrawn = True
            return
        await self._tasks.leave()

    async def _run(self, first: OpenBatch) -> None:
        if self.withdrawn:
            return
        self.begun = True
        if self._adding:
            self._feed_on()
        try:
            self._ended = await self._context.ask(self._executor, first, hear=self._hear)
        except ToolwireError as error:
            self._ended = error.failure

    def _feed_on(self) -> None:
        if self._fed is None:
            self._fed = anyio.Event()
            self._tasks.start(self._feed)

    async def _feed(self) -> None:
        """Add what waits to be added, one after the other: calls come in their order on every bus."""
        try:
            while self._adding and self._ended is None:
                await self._say(self._adding.popleft())
        finally:
            if self._fed is not None:
                self._fed.set()
                self._fed = None

    async def _say(self, command: Any) -> None:
        """Tell the executor. Without one of its calls a batch is not what the model asked for: it is given up."""
        try:
            await self._context.ask(self._executor, command)
        except ToolwireError as error:
            if self._ended is None:
                self._ended = error.failure
                self._tasks.cancel()


class EagerCalls:
    """Hands over the calls of one turn as they are spoken, inside `async with`."""

    def __init__(self, turn: StreamedTurn, context: Context, executor: str | Door) -> None:
        self._turn = turn
        self._context = context
        self._executor = executor
        self._hear: Hear
        self._opening: Opening | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opening is not None:
            await self._opening.leave()

    async def ask(self, address: str | Door, command: Any, *, hear: Any) -> Any:
        """As `Context.ask`; but calls are handed over while the model is asked, and their batch is then closed.

        Raises ToolwireError as that does. How a batch failed is an answer.
        """
        if isinstance(command, CloseBatch):
            opening, speaking = self._opening, self._turn.speaking
            if opening is None or speaking is None:
                raise ToolwireError(failed("internal", "a batch is closed that was not opened"))
            return await opening.close(command, speaking.rest)
        if not isinstance(command, Complete):
            return await self._context.ask(address, command, hear=hear)
        self._hear, self._opening = hear, None
        try:
            return await self._context.ask(address, command, hear=hear)
        finally:
            self._withdraw()

    def heard(self, event: Event) -> bool:
        """Take in what a model says; whether it was meant for nobody else."""
        if type(event) is CallSpoken:
            self._spoken(event)
            return True
        return False

    def _spoken(self, event: CallSpoken) -> None:
        if not self._context.system.open:
            return  # the runtime closes: nobody could be asked
        for command in self._turn.speak(event):
            if type(command) is AddCall:
                if self._opening is not None:
                    self._opening.add(command)
            elif type(command) is OpenBatch and self._turn.speaking is not None:
                self._opening = Opening(command, self._executor, self._context, self._hear)

    def _withdraw(self) -> None:
        """The response has ended. A batch that nobody was told of yet would only cost time."""
        opening = self._opening
        if opening is not None and not opening.begun:
            opening.withdrawn = True
            self._opening = None
            self._turn.withdraw()
