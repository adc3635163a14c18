"""The bus over NATS: requests, answers and everything between them as plain messages, without headers.

`Requests` holds what this end asks, `Services` what it answers, a `Link` carries both. The same code runs on every
event loop: nats-py speaks asyncio only, so on any other loop it lives in a thread behind the link.
"""

import secrets
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from ...protocol.subjects import token
from .contract import (
    CONFIRM,
    GRACE,
    Closed,
    Handler,
    Listener,
    Progress,
    Stop,
    TooLarge,
    checked_subject,
)
from .greeting import without_secrets
from .isolation import described, log
from .link import Hear, Link, Options, until_ready
from .requests import LOOK, Requests, Waiting
from .services import Services
from .signals import HEADROOM, Subjects, new_inbox
from .thread_link import ThreadLink, on_trio
from .ticker import Ticker

GROUP = "toolwire"
"""The queue group of every service, so that the broker hands a request to one end only."""
MOST = 16_384
"""Requests in hand, running and waiting: a beat lists them all and has to fit into a message."""


class NatsBus:
    """One end of a bus over a NATS broker, or several: `url` may name more, separated by commas.

    `concurrency` handlers run at once, `backlog` requests wait, over all subjects that this end serves. `credentials`
    is a NATS creds file. `watch` is the time in seconds between two looks at whether the connection still answers.
    `server` starts the broker and gives its URL; it is left when the bus is closed.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "default",
        concurrency: int = 4096,
        backlog: int = 4096,
        credentials: Path | str | None = None,
        tls: ssl.SSLContext | None = None,
        grace: float = GRACE,
        watch: float = 5.0,
        server: Callable[[], AbstractAsyncContextManager[str]] | None = None,
    ) -> None:
        if concurrency + backlog > MOST:
            raise ValueError(f"concurrency and backlog may be {MOST} together, not {concurrency + backlog}")
        self.instance = secrets.token_hex(8)
        self.url = without_secrets(url)
        self.namespace = namespace
        self.largest = 0
        self._bounds = concurrency, backlog
        self.grace = grace
        self._options = Options(url, f"toolwire-{self.instance}", credentials, tls, watch)
        self._server = server
        self._subjects = Subjects(token(namespace))
        self._open = False
        self._number = 0
        self._checked: set[str] = set()

    def __repr__(self) -> str:
        if not self._open:
            return f"<NatsBus {self.url} [closed]>"
        services = self._services
        return f"<NatsBus {self.url} [serves: {len(services.served)} | running: {len(services.pool)}]>"

    async def __aenter__(self) -> Self:
        """Connect. Raises Closed, with a sentence, within 3 s."""
        if self._open:
            raise ValueError(f"{self!r} is open already")
        async with AsyncExitStack() as undo:
            if self._server is not None:
                self._options = replace(self._options, url=await undo.enter_async_context(self._server()))
                self.url = without_secrets(self._options.url)
            link = self._link = self._new_link()
            await link.open()
            undo.push_async_callback(self._disconnect)
            await self._listen_to_others(new_inbox())
            self.largest = link.largest - HEADROOM
            self._turn = anyio.Lock()
            self._numbers: dict[str, int] = {}
            self._tasks: TaskGroup = anyio.create_task_group()
            await self._tasks.__aenter__()
            for ticker in (self._watching, self._services.acknowledging, self._services.beating):
                self._tasks.start_soon(ticker.run)
            self._services.pool.start(self._tasks)
            self._undo = undo.pop_all()
        self._open = True
        return self

    async def _listen_to_others(self, inbox: str) -> None:
        link, subjects = self._link, self._subjects
        self._inbox = f"{inbox}."
        requests = self._requests = Requests(inbox, link, subjects)
        services = self._services = Services(link, self.instance, subjects, lambda: self.largest, *self._bounds)
        self._watching = Ticker(LOOK, requests.look)
        await link.subscribe(f"{inbox}.>", "", requests.hear)
        await link.subscribe(subjects.beat, "", requests.hear_beat)
        await link.subscribe(subjects.cancel, "", services.hear_cancel)
        await link.subscribe(subjects.cancel_at(self.instance), "", services.hear_cancel)
        await link.subscribe(subjects.ping_at(self.instance), "", services.hear_ping)

    def _new_link(self) -> Link:
        from .direct_link import DirectLink  # noqa: PLC0415 - nats-py is costly to import; memory needs none

        def direct() -> Link:
            return DirectLink(self._options)

        return ThreadLink(direct) if on_trio() else direct()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool = self._services.pool
        try:
            with anyio.move_on_after(self.grace):
                async with anyio.create_task_group() as stopping:
                    for subject in list(self._numbers):
                        stopping.start_soon(self._stop, subject)
                await pool.finished()
        finally:
            self._open = False
            self._services.refuse(pool.drop())
            pool.cancel_all()
            self._requests.close(self.url)
            try:
                with anyio.move_on_after(CONFIRM):
                    await pool.finished()
                self._tasks.cancel_scope.cancel()
                await self._tasks.__aexit__(None, None, None)  # with the error it would come out in a group
            finally:
                await self._undo.aclose()

    async def _disconnect(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._link.close()

    async def request(self, subject: str, payload: bytes, *, to: str = "", progress: Progress | None = None) -> bytes:
        """See `Bus.request`."""
        self._check(subject, payload)
        number = str(self._number)
        self._number += 1
        waiting, sent = Waiting(subject, to, progress), False
        table = self._requests.waiting
        table[number] = waiting
        if self._watching.asleep:
            self._requests.awake()
            self._watching.wake()
        try:
            await self._send(subject, payload, self._inbox + number)
            sent = True
            await waiting.done.wait()
        except BaseException as error:
            if sent and not waiting.done.is_set():
                await self._leave(number, waiting, wait=isinstance(error, anyio.get_cancelled_exc_class()))
            raise
        finally:
            table.pop(number, None)
        if waiting.answer is None:
            raise waiting.error or Closed(f"{self.url} is closed")
        return waiting.answer

    async def _leave(self, number: str, waiting: Waiting, *, wait: bool) -> None:
        """Have the handler cancelled, and wait for its word that it is."""
        self._link.post(self._subjects.cancel_at(waiting.instance), (self._inbox + number).encode())
        if wait:
            with anyio.move_on_after(CONFIRM, shield=True):
                await waiting.done.wait()

    async def _send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send in the order asked, also while the link is not ready. Raises Closed if it stays so."""
        link = self._link
        if link.ready and not self._turn.locked():
            await link.send(subject, payload, reply)
            return
        async with self._turn:
            if not await until_ready(link):
                raise Closed(f"{self.url} can't be reached: it took nothing for a second")
            await link.send(subject, payload, reply)

    def _check(self, subject: str, payload: bytes = b"") -> None:
        if not self._open:
            raise Closed(f"{self.url} is closed")
        if subject not in self._checked:
            if len(self._checked) >= MOST:
                self._checked.clear()
            self._checked.add(checked_subject(subject))
        if len(payload) > self.largest:
            raise TooLarge(f"{subject} was to get {len(payload)} bytes; {self.url} carries {self.largest}")

    async def publish(self, subject: str, payload: bytes) -> None:
        """See `Bus.publish`."""
        self._check(subject, payload)
        await self._send(subject, payload)

    async def serve(self, subject: str, handler: Handler, *, shared: bool = False) -> Stop:
        """See `Bus.serve`. Every service is in a queue group: no request is ever handed to two ends."""
        self._check(subject)
        if subject in self._numbers:
            raise ValueError(f"this end serves {subject} already")
        services = self._services

        def hear(_subject: str, reply: str, payload: bytes | None) -> None:
            if payload is not None:
                services.take(subject, handler, reply, payload)

        self._numbers[subject] = 0  # nobody else may take it meanwhile
        try:
            self._numbers[subject] = await self._subscribe(subject, GROUP, hear)
        except BaseException:
            del self._numbers[subject]
            raise
        number = self._numbers[subject]
        services.add(subject)

        async def stop() -> None:
            if self._numbers.get(subject) == number:
                await self._stop(subject)

        return stop

    async def _subscribe(self, subject: str, queue: str, hear: Hear) -> int:
        if not await until_ready(self._link):
            raise Closed(f"{self.url} can't be reached")
        return await self._link.subscribe(subject, queue, hear)

    async def _stop(self, subject: str) -> None:
        number = self._numbers.pop(subject, None)
        if number is not None:
            self._services.served.discard(subject)
            await self._link.unsubscribe(number)

    async def listen(self, subject: str, listener: Listener) -> Stop:
        """See `Bus.listen`."""
        self._check(subject)

        def hear(_subject: str, _reply: str, payload: bytes | None) -> None:
            try:
                listener(payload or b"")
            except Exception as error:  # noqa: BLE001 - a listener's fault is nobody else's
                log.error("a listener of %s raised %s", subject, described(error))

        number = await self._subscribe(subject, "", hear)

        async def stop() -> None:
            await self._link.unsubscribe(number)

        return stop

    def serves(self, subject: str) -> bool:
        """Whether this very end serves `subject`."""
        return subject in self._services.served if self._open else False
