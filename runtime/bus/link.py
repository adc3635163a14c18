"""The narrow door to NATS: what a bus needs of a client, and nothing of how the client does it.

All that a bus promises is built above this, once, for every event loop. `DirectLink` is nats-py on asyncio;
`ThreadLink` carries it in a thread for a program that runs on another loop.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import anyio
from msgspec import Struct

Hear = Callable[[str, str, bytes | None], None]
"""Takes one message: its subject, where an answer goes ("" for nowhere), its bytes. None instead of bytes is the
broker's word that nobody serves the subject that was asked. It must neither block nor raise."""

LOOK = 0.01
"""Seconds between two looks at a link that is not ready."""

FULL = 4 * 1024 * 1024
"""Bytes waiting to be sent from which on a link is not ready: half a second of a slow network."""


class Options(Struct, frozen=True):
    """How to reach a broker. `url` may name several, separated by commas. `credentials` is a NATS creds file.

    `watch` is the time in seconds between two looks at whether the connection still answers.
    """

    url: str
    name: str = "toolwire"
    credentials: Path | str | None = None
    tls: ssl.SSLContext | None = None
    watch: float = 5.0


class Link(Protocol):
    """One connection to a broker. It comes back by itself when the broker does."""

    @property
    def largest(self) -> int:
        """The most bytes of a message, as the broker says."""
        ...

    @property
    def ready(self) -> bool:
        """Whether what is sent now leaves soon: connected, and not `FULL`."""
        ...

    @property
    def since(self) -> float:
        """When the connection came back for the last time, by `time.monotonic`. `-inf` if it never was away."""
        ...

    async def open(self) -> None:
        """Connect. Raises Closed, with a sentence, within 3 s."""
        ...

    async def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a message, in order with all others. Who sends much looks at `ready` before. Raises Closed."""
        ...

    def post(self, subject: str, payload: bytes, reply: str = "") -> None:
        """The same without waiting and without raising. On a closed link it is lost."""
        ...

    async def subscribe(self, subject: str, queue: str, hear: Hear) -> int:
        """Hear `subject`, in turn with the others of `queue` if it is not "". The broker knows when this returns.

        Gives the number to unsubscribe with. Raises Closed.
        """
        ...

    async def unsubscribe(self, number: int) -> None:
        """Hear no more. When this returns, all that the broker had sent has been heard."""
        ...

    async def close(self) -> None:
        """Send what waits, for a bounded time, and disconnect."""
        ...


async def until_ready(link: Link, seconds: float = 1.0) -> bool:
    """Wait until `link` is ready, at most for `seconds`. Says whether it is."""
    with anyio.move_on_after(seconds):
        while not link.ready:  # noqa: ASYNC110 - what it waits for happens inside nats-py, which tells nobody
            await anyio.sleep(LOOK)
    return link.ready
