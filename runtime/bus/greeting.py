"""What a NATS server says before it is asked: one `INFO` line with JSON.

Read by hand before a client connects, because it tells the three ways of not being reached apart, and by whoever
has to know *which* server listens on a port.
"""

import os
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec

from .contract import Closed

PORT = 4222
WITHIN = 2.0
LONGEST = 65536
"""Bytes of a greeting. With a thousand servers in a cluster it has 30,000."""


def addresses(url: str) -> list[tuple[str, int]]:
    """The hosts and ports that a URL names, separated by commas. Raises ValueError."""
    found = []
    for each in url.split(","):
        parts = urlsplit(each if "://" in each else f"nats://{each}")
        if not parts.hostname:
            raise ValueError(f"{without_secrets(url)!r} names no host, such as in nats://127.0.0.1:4222")
        found.append((parts.hostname, parts.port or PORT))
    return found


def without_secrets(url: str) -> str:
    """`url` as it may be shown: without user, password and token."""
    shown = []
    for each in url.split(","):
        scheme, mark, rest = each.rpartition("://")
        shown.append(scheme + mark + rest.rpartition("@")[2])
    return ",".join(shown)


async def greeting(host: str, port: int, within: float = WITHIN) -> dict[str, Any]:
    """The INFO of the server at `host`. Raises Closed with a sentence."""
    place = f"{host}:{port}"
    line = b""
    try:
        with anyio.fail_after(within):
            async with await anyio.connect_tcp(host, port, happy_eyeballs_delay=0.1) as stream:
                while not line.endswith(b"\n") and len(line) < LONGEST:
                    line += await stream.receive(4096)
    except TimeoutError:
        what = f"said {line[:20]!r}" if line else "said nothing"
        raise Closed(f"no NATS server at {place}: whoever is there {what} within {within:g} s") from None
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        raise Closed(f"no NATS server at {place}: it hung up") from None
    except OSError as error:
        raise Closed(f"no NATS server at {place}: {reason(error)}") from None
    word, _, said = line.partition(b" ")
    with suppress(msgspec.DecodeError):
        known: dict[str, Any] = msgspec.json.decode(said, type=dict[str, Any])
        if word == b"INFO":
            return known
    raise Closed(f"no NATS server at {place}: it says {line[:20]!r}")


def reason(error: OSError) -> str:
    """The innermost cause of a connection that failed; anyio wraps one for each address tried."""
    cause: BaseException = error
    while isinstance(cause.__cause__, OSError | ExceptionGroup) or isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0] if isinstance(cause, ExceptionGroup) else cause.__cause__  # type: ignore[assignment]
    number = cause.errno if isinstance(cause, OSError) else None
    if number is not None and number > 0:  # asyncio puts words of its own in the place of the system's
        return os.strerror(number)
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
