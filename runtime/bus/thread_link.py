"""A link whose asyncio loop runs in a thread, for a program on another event loop.

Two queues cross the border, one each way, and whoever puts something into an empty one wakes the other side once: a
burst costs one waking, whatever its length (7 µs a message with 64 in flight, where a call through anyio's portal
costs 70).
"""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
from anyio.lowlevel import current_token

from .contract import Closed
from .isolation import described, log
from .link import FULL, Hear, Link

MANY = 16_384
"""Messages that may wait for the host's loop. Then the thread stops reading, and TCP stops the senders."""
PATIENCE = 2.0
"""Seconds that the thread waits for room; then a message is dropped, as a broker does with who does not read."""

Waker = Callable[[Callable[[], None]], object]
"""Has a function called on a loop, from any thread."""


def on_trio() -> bool:
    """Whether the event loop that runs here is trio's."""
    return current_token().backend_class.__module__.endswith("_trio")


def waker() -> Waker:
    """The way back to the loop that runs here."""
    if on_trio():
        call: Waker = sys.modules["trio"].lowlevel.current_trio_token().run_sync_soon  # who runs on trio has it
        return call
    return asyncio.get_running_loop().call_soon_threadsafe


def new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where that is installed (the extra `fast`): it halves what the way through the thread costs."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on a loop of its own, as `asyncio.run` does, which would wait for a name server that is silent."""
    loop = new_loop()
    try:
        loop.run_until_complete(work)
        loop.run_until_complete(cancelled(asyncio.all_tasks(loop)))
    finally:
        loop.close()


async def cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Question:
    """One call into the thread: what to do there, and what came of it."""

    __slots__ = ("done", "error", "left", "value", "waiting", "work")

    def __init__(self, work: Callable[[], Awaitable[Any]], left: Callable[[Any], Awaitable[Any]] | None = None) -> None:
        self.work = work
        self.left = left
        self.waiting = True
        self.done = anyio.Event()
        self.value: Any = None
        self.error: Exception | None = None


class ThreadLink:
    """A `Link` that runs another one, made by `make` there, on asyncio in a thread."""

    _wake_host: Waker
    _thread: threading.Thread
    _gone: anyio.Event

    def __init__(self, make: Callable[[], Link]) -> None:
        self._make = make
        self._link: Link | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._asked: set[asyncio.Task[None]] = set()
        self._out: deque[tuple[str, bytes, str] | Question] = deque()
        self._out_woken = False
        self._put_bytes = 0  # counted on the host's loop
        self._sent_bytes = 0  # counted in the thread: one counter for both would lose steps
        self._in: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._in_woken = False
        self._room = threading.Event()
        self._ended = False

    @property
    def largest(self) -> int:
        """See `Link.largest`."""
        return self._inner.largest

    @property
    def ready(self) -> bool:
        """See `Link.ready`."""
        return self._link is not None and self._put_bytes - self._sent_bytes < FULL and self._link.ready

    @property
    def since(self) -> float:
        """See `Link.since`."""
        return self._inner.since

    @property
    def _inner(self) -> Link:
        if self._link is None:
            raise Closed("the link is closed")
        return self._link

    # On the host's loop.

    async def open(self) -> None:
        """See `Link.open`. The thread starts here."""
        self._wake_host = waker()
        self._gone = anyio.Event()
        opened = Question(self._open)
        self._thread = threading.Thread(target=self._live, args=(opened,), name="toolwire-nats", daemon=True)
        self._thread.start()
        try:
            await opened.done.wait()
        except BaseException:
            await self.close()
            raise
        if opened.error is not None:
            await self.close()
            raise opened.error

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Link.send`."""
        if self._ended:
            raise Closed("the link is closed")
        self._put_bytes += len(payload)
        self._out.append((subject, payload, reply))
        if not self._out_woken:
            self._wake()

    def post(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Link.post`."""
        if not self._ended:
            self._put_bytes += len(payload)
            self._out.append((subject, payload, reply))
            if not self._out_woken:
                self._wake()

    async def subscribe(self, subject: str, queue: str, hear: Hear) -> int:
        """See `Link.subscribe`."""

        def arrived(subject: str, reply: str, payload: bytes | None) -> None:
            self._hand_over(hear, subject, reply, payload)

        subscribed = Question(lambda: self._inner.subscribe(subject, queue, arrived), left=self._leave)
        number: int = await self._ask(subscribed)
        return number

    async def _leave(self, number: int) -> None:
        await self._inner.unsubscribe(number)

    async def unsubscribe(self, number: int) -> None:
        """See `Link.unsubscribe`. Its end comes through the queue in which the messages stand before it."""
        await self._ask(Question(lambda: self._inner.unsubscribe(number)))

    async def close(self) -> None:
        """See `Link.close`. The thread ends here."""
        self._ended = True
        with anyio.CancelScope(shield=True):
            self._wake()
            await self._gone.wait()
        self._thread.join()

    async def _ask(self, question: Question) -> Any:
        if self._ended:
            raise Closed("the link is closed")
        self._out.append(question)
        self._wake()
        try:
            await question.done.wait()
        except BaseException:
            question.waiting = False
            if question.done.is_set():  # its value came in the same moment
                self._answered(question, question.value, question.error)
            raise
        if question.error is not None:
            raise question.error
        return question.value

    def _answered(self, question: Question, value: Any, error: Exception | None) -> None:
        question.value, question.error = value, error
        question.done.set()
        left = question.left
        if not question.waiting and left is not None and error is None and not self._ended:
            self._out.append(Question(lambda: left(value)))
            self._wake()

    def _wake(self) -> None:
        self._out_woken = True
        if self._loop is not None:  # else the thread is about to look by itself
            try:
                self._loop.call_soon_threadsafe(self._send_all)
            except RuntimeError:  # its loop is closed
                self._ended = True

    def _take_in(self) -> None:
        """Hear all that has come in. A waking that comes while it runs finds nothing, and does no harm."""
        self._in_woken = False
        arrived = self._in
        while arrived:
            hear, arguments = arrived.popleft()
            try:
                hear(*arguments)
            except Exception as error:  # noqa: BLE001 - the next message must still be heard
                log.error("what hears a message raised %s", described(error))
        self._room.set()

    # In the thread.

    def _live(self, opened: Question) -> None:
        try:
            run(self._carry(opened))
        finally:
            self._ended = True
            self._in.append((self._gone.set, ()))
            self._wake_host(self._take_in)

    async def _open(self) -> None:
        link = self._make()
        await link.open()
        self._link = link

    async def _carry(self, opened: Question) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        await self._answer(opened)
        if self._link is None:
            return
        self._send_all()
        try:
            await self._end.wait()
        finally:
            await cancelled(self._asked)
            await self._link.close()

    def _send_all(self) -> None:
        """Send what the host has put out. The order matters: it may put something out between any two lines."""
        self._out_woken = False
        link, out = self._link, self._out
        if link is None:
            return  # it is opening, and looks here when it is open
        while out:
            each = out.popleft()
            if isinstance(each, Question):
                task = asyncio.ensure_future(self._answer(each))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
            else:
                subject, payload, reply = each
                self._sent_bytes += len(payload)
                link.post(subject, payload, reply)
        if self._ended and self._end is not None:
            self._end.set()

    async def _answer(self, question: Question) -> None:
        value, raised = None, None
        try:
            value = await question.work()
        except Exception as error:  # noqa: BLE001 - it is raised again where it was asked for
            raised = error
        self._hand_over(self._answered, question, value, raised)

    def _hand_over(self, hear: Callable[..., object], *arguments: Any) -> None:
        if len(self._in) >= MANY:
            self._room.clear()
            if not self._room.wait(PATIENCE):
                log.error("a message was dropped: the event loop of the program does not run")
                return
        self._in.append((hear, arguments))
        if not self._in_woken:
            self._in_woken = True
            try:
                self._wake_host(self._take_in)
            except RuntimeError:  # the host's loop is gone without having closed the bus
                self._ended = True
