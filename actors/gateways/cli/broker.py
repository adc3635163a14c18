"""`toolwire broker`: a nats-server for others to join."""

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import anyio
from cyclopts import Parameter

from ....protocol.failures import Misuse, failed
from ....runtime.bus import BusError
from ....runtime.bus.embedded import embedded_server
from ....runtime.bus.greeting import greeting
from ..console import output
from .exits import Exit

LOOK = 1.0
"""Seconds between two looks at the server."""
SILENT = 3
"""Looks in a row without an answer, after which it is gone."""
LAST_PORT = 65535


def broker(
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1; 0 takes a free one.")] = 4222,
    data: Annotated[Path | None, Parameter(help="Where its data is kept; a temporary directory without.")] = None,
) -> int:
    """Run a NATS broker on this machine until SIGINT or SIGTERM, for workers and callers to join."""
    if not 0 <= port <= LAST_PORT:
        raise Misuse(failed("invalid_call", f"--port must be from 0 to {LAST_PORT}, not {port}"))
    with ExitStack() as stack:
        directory = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolwire-broker-")))
        return anyio.run(serve, directory.absolute(), port)


async def serve(directory: Path, port: int) -> int:
    """Run the broker until a signal ends it. It has failed if its server goes before."""
    ended = Exit.DONE
    try:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with embedded_server(directory, port) as url, anyio.create_task_group() as tasks:
                invite(url)
                tasks.start_soon(watch, url)
                await anext(signals)
                tasks.cancel_scope.cancel()
    except* BusError as errors:
        output(stderr=True).print(f"toolwire: {errors.exceptions[0]}", soft_wrap=True)
        ended = Exit.FAILED
    return ended


async def watch(url: str) -> None:
    """Look after the server. Raises BusError when it is gone, so that whoever watches over us can start us anew."""
    place = urlsplit(url)
    silent = 0
    while True:
        await anyio.sleep(LOOK)
        try:
            await greeting(place.hostname or "", place.port or 0)
            silent = 0
        except BusError as error:
            silent += 1
            if silent == SILENT:
                raise BusError(f"the broker is gone: {error}") from None


def invite(url: str) -> None:
    """Say where the broker is, and how to join it."""
    out = output()
    out.print(f"the broker listens on {url}; Ctrl-C ends it", soft_wrap=True)
    out.print(f"  toolwire worker module:attribute --nats {url}", soft_wrap=True)
    out.print(f"  toolwire tools --nats {url}", soft_wrap=True)
