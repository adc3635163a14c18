"""nats-py on the asyncio loop that runs, with its traps closed (nats-py 2.16; each has a test).

- Whatever the broker calls an error closes the client for good: the watch makes a new one and subscribes again.
- A message whose subject is no UTF-8 ends the reading loop without a word: such a message is dropped, and the watch
  asks for a round trip every few seconds and reconnects where none comes.
- A PING that is cancelled or timed out ends the reading loop when its PONG comes late: none is ever cancelled, and
  after a timeout comes a reconnect.
- A `CancelledError` out of a callback ends its subscription: nothing leaves a callback.
- A PING is written before what waits to be sent, so that only two of them are a barrier; and `flush` reports success
  where the reading loop has ended, so that only `rtt` tells.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from .contract import Closed
from .greeting import WITHIN, addresses, greeting, without_secrets
from .isolation import described, log
from .link import FULL, Hear, Options

Result = TypeVar("Result")

CONNECT = 2.8
"""Seconds for all that it takes to be connected, in which nobody likes to wait longer than 3."""
ANSWER = 2
CLOSE = 2.0


class Heard:
    """One subscription: what is needed to make it again on a new client."""

    __slots__ = ("hear", "queue", "subject", "subscription")

    def __init__(self, subject: str, queue: str, hear: Hear) -> None:
        self.subject = subject
        self.queue = queue
        self.hear = hear
        self.subscription: Subscription | None = None

    async def arrived(self, message: Msg) -> None:
        """Hand over a message that came before the number of the subscription was known."""
        self.take(message.subject, message.reply, message.data, message.headers)

    def take(self, subject: str, reply: str, payload: bytes, headers: dict[str, str] | None) -> None:
        """Hand one message over."""
        nobody = headers is not None and not payload and headers.get("Status") == "503"
        try:
            self.hear(subject, reply, None if nobody else payload)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it would end the subscription
            log.error("what hears %s raised %s", self.subject, described(error))


class PatientClient(Client):
    """A client that hands messages over as they are read, and drops one that it can't read.

    nats-py puts a message into the queue of its subscription, for a task that calls back: a turn of the loop and a
    switch of tasks for each. What is in `hears`, by the subscription's number, only takes it and must not wait, so
    that it is called from the reading loop; nats-py is then told that there was no message.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hears: dict[int, Heard] = {}

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Any:
        heard = self.hears.get(sid)
        try:
            if heard is None:
                return super()._build_message(sid, subject, reply, data, headers)
            heard.take(subject.decode(), reply.decode(), data, headers)
        except UnicodeDecodeError:
            log.warning("a message with a subject that is no UTF-8 was dropped")
        return None


class DirectLink:
    """A `Link` on asyncio. All of it is used on the loop that opened it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._client = PatientClient()
        self._heard: dict[int, Heard] = {}
        self._number = 0
        self._outbox: deque[tuple[str, bytes, str]] = deque()
        self._posted = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._asks = False
        self.since = -math.inf
        self._named = without_secrets(options.url)

    @property
    def largest(self) -> int:
        """See `Link.largest`."""
        return self._client.max_payload

    @property
    def ready(self) -> bool:
        """See `Link.ready`."""
        client = self._client
        return client.is_connected and client.pending_data_size < FULL

    async def open(self) -> None:
        """See `Link.open`."""
        tried: list[Closed] = []
        began, places = time.monotonic(), addresses(self.options.url)
        for host, port in places:
            try:
                known = await greeting(host, port, WITHIN / len(places))
                self._asks = bool(known.get("auth_required"))
                break
            except Closed as error:
                tried.append(error)
        else:
            raise tried[0]
        await self._connect(CONNECT - (time.monotonic() - began))
        self._begin(self._pump())
        self._begin(self._watch())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do `work` to its end, even if whoever waits for it is cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _connect(self, within: float) -> None:
        """Connect a new client. nats-py would try for ever; here its first error for each server is the end of it."""
        client, failed = PatientClient(), asyncio.get_running_loop().create_future()
        servers = [each if "://" in each else f"nats://{each}" for each in self.options.url.split(",")]
        errors: list[str] = []

        async def heard_error(error: Exception) -> None:
            if not failed.done():
                errors.append(str(error) or type(error).__name__)
                if len(errors) >= len(servers):
                    failed.set_result(None)
            # Attempts to reconnect fail five times a second; that a message was not permitted is told nowhere else.
            log.log(logging.WARNING if "permissions" in str(error) else logging.DEBUG, "%s", error)

        async def went_away() -> None:
            if self._client is client and not self._closing:
                log.warning("the connection to %s is lost; trying to connect again", self._named)

        async def came_back() -> None:
            self._is_back()

        told: dict[str, Any] = {"error_cb": heard_error, "disconnected_cb": went_away, "reconnected_cb": came_back}
        connecting = asyncio.create_task(client.connect(servers, **told, **self._settings()))
        try:
            await asyncio.wait({connecting, failed}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed.cancel()
            if not client.is_connected:
                connecting.cancel()
                await asyncio.wait({connecting})
                await self._end(client)
        if not client.is_connected:
            raised = None if connecting.cancelled() else connecting.exception()
            why = errors[-1] if errors else str(raised or f"it did not answer within {within:.1f} s")
            if self._asks:  # it may hang up before its reason is read
                why = f"{why}; it asks who you are"
            raise Closed(f"the NATS server at {without_secrets(self.options.url)} let nobody in: {why}")
        self._client = client

    def _settings(self) -> dict[str, Any]:
        options = self.options
        settings: dict[str, Any] = {
            "name": options.name,
            "connect_timeout": 2,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "ping_interval": 10,
            "pending_size": 8 * FULL,
            "flush_timeout": ANSWER,
            "skip_subject_validation": True,  # ours are checked; those to answer at came over the wire as one word
        }
        if options.credentials is not None:
            settings["user_credentials"] = str(options.credentials)
        if options.tls is not None:
            settings["tls"] = options.tls
        return settings

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Link.send`."""
        try:
            if self._outbox:
                await self._empty()
            await self._client.publish(subject, payload, reply)
        except Error as error:
            raise Closed(f"{without_secrets(self.options.url)} takes nothing: {error}") from None

    def post(self, subject: str, payload: bytes, reply: str = "") -> None:
        """See `Link.post`."""
        try:
            if self._outbox or not self._put(subject, payload, reply):
                self._outbox.append((subject, payload, reply))
                self._posted.set()
        except Error as error:
            log.warning("a message to %s was lost: %s", subject, error)

    def _put(self, subject: str, payload: bytes, reply: str) -> bool:
        """Publish at once, if that needs no waiting: what is sent waits for a turn of the loop less, and in order.

        `publish` is a coroutine, but it suspends only where too much waits to be sent, and where the connection is
        ending; then it has put the message into its buffer before.
        """
        client = self._client
        if client.pending_data_size + len(payload) > 2 * FULL:
            return False
        publishing = client.publish(subject, payload, reply)
        try:
            publishing.send(None)
        except StopIteration:
            return True
        publishing.close()
        return True

    async def _pump(self) -> None:
        while True:
            await self._posted.wait()
            self._posted.clear()
            await self._empty()

    async def _empty(self) -> None:
        while self._outbox:
            subject, payload, reply = self._outbox.popleft()
            try:
                await self._client.publish(subject, payload, reply)
            except Error as error:
                log.warning("a message to %s was lost: %s", subject, error)

    async def subscribe(self, subject: str, queue: str, hear: Hear) -> int:
        """See `Link.subscribe`."""
        self._number += 1
        number, heard = self._number, Heard(subject, queue, hear)
        self._heard[number] = heard
        try:
            await self._attach(heard)
            await self._barrier()
        except BaseException as error:
            del self._heard[number]
            if heard.subscription is not None:
                self._begin(forget(heard.subscription))
            if isinstance(error, Error):
                raise Closed(f"{without_secrets(self.options.url)} takes no subscription: {error}") from None
            raise
        return number

    async def _attach(self, heard: Heard) -> None:
        """Subscribe on the client that there is now."""
        client = self._client
        heard.subscription = await client.subscribe(heard.subject, queue=heard.queue, cb=heard.arrived)
        client.hears[heard.subscription._id] = heard  # noqa: SLF001 - nats-py tells the number nowhere else

    async def unsubscribe(self, number: int) -> None:
        """See `Link.unsubscribe`."""
        heard = self._heard.pop(number, None)
        if heard is not None and heard.subscription is not None:
            await self._whole(self._hear_no_more(heard.subscription))

    async def _hear_no_more(self, subscription: Subscription) -> None:
        with contextlib.suppress(Error):
            if self._client.is_connected:
                # Without this, `drain` has its PONG before the broker has read UNSUB, and loses what comes between.
                await self._client._send_unsubscribe(subscription._id)  # noqa: SLF001
                await self._barrier()
                await subscription.drain()  # type: ignore[no-untyped-call]
        await forget(subscription)
        self._client.hears.pop(subscription._id, None)  # noqa: SLF001 - as above

    async def _barrier(self) -> None:
        """Return when the broker has read all that was sent. Raises nats.errors.Error."""
        if not await self._whole(self._answers(trips=2)):
            raise Error("it does not answer")

    async def _answers(self, trips: int = 1) -> bool:
        """Whether the broker sends a PONG, `trips` times. If not, connect again: a late one would do harm."""
        try:
            for _ in range(trips):
                await self._client.rtt(ANSWER)  # `flush` says yes where nobody reads the answer any more
        except Error:
            log.warning("%s does not answer; connecting again", without_secrets(self.options.url))
            await self._again()
            return False
        return True

    async def _watch(self) -> None:
        """Look now and then whether the connection answers, and mend it where it does not."""
        while True:
            await asyncio.sleep(self.options.watch)
            try:
                if self._client.is_closed:
                    await self._revive()
                elif self._client.is_connected:
                    await self._whole(self._answers())
            except (Closed, Error) as error:
                log.warning("%s", error)

    async def _again(self) -> None:
        """Reconnect. The old socket is cut off first: closing it politely may wait for a peer that reads nothing."""
        if self._client.is_connected:
            cut(self._client)
            await self._client.force_reconnect()

    async def _revive(self) -> None:
        """Replace a client that an error of the broker has closed for good."""
        await self._connect(CONNECT)
        self._is_back()
        for heard in self._heard.values():
            await self._attach(heard)

    def _is_back(self) -> None:
        self.since = time.monotonic()
        log.warning("the connection to %s is back", self._named)

    async def close(self) -> None:
        """See `Link.close`."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(Error, TimeoutError):
            await asyncio.wait_for(self._empty(), CLOSE)
        if self._client.is_connected:
            with contextlib.suppress(Error):
                await self._barrier()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._end(self._client)

    async def _end(self, client: Client) -> None:
        if not client.is_connected:  # what waits would be written to a dead socket, whose error ends `close`
            client._pending, client._pending_data_size = [], 0  # noqa: SLF001 - nats-py has no door to it
        ending = asyncio.create_task(client.close())
        done, _ = await asyncio.wait({ending}, timeout=CLOSE)
        if not done:
            cut(client)
            ending.cancel()
            await asyncio.wait({ending}, timeout=CLOSE)
        if ending.done() and not ending.cancelled() and (error := ending.exception()) is not None:
            log.debug("the connection to %s ended with %s", self._named, described(error))


async def forget(subscription: Subscription) -> None:
    """Hear no more, whatever state the connection is in. Heard twice it does nothing."""
    with contextlib.suppress(Error):
        await subscription.unsubscribe()


def cut(client: Client) -> None:
    """Drop the socket of a client with what it still had to say."""
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001 - nats-py has no door to it
    if writer is not None:
        writer.transport.abort()
