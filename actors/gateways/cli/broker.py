"""`toolwire broker`: a nats-server for others to join."""

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from ....runtime.bus import BusError, embedded_server
from ..console import output
from .exits import Exit


def broker(
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1; 0 takes a free one.")] = 4222,
    data: Annotated[Path | None, Parameter(help="Where its data is kept; a temporary directory without.")] = None,
) -> int:
    """Run a NATS broker on this machine until SIGINT or SIGTERM, for workers and callers to join."""
    with ExitStack() as stack:
        directory = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolwire-broker-")))
        return anyio.run(serve, directory.absolute(), port)


async def serve(directory: Path, port: int) -> int:
    """Run the broker until a signal ends it."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        try:
            async with embedded_server(directory, port) as url:
                invite(url)
                async for _ in signals:
                    break
        except BusError as error:
            output(stderr=True).print(f"toolwire: {error}", soft_wrap=True)
            return Exit.FAILED
    return Exit.DONE


def invite(url: str) -> None:
    """Say where the broker is, and how to join it."""
    out = output()
    out.print(f"the broker listens on {url}; Ctrl-C ends it", soft_wrap=True)
    out.print(f"  toolwire worker module:attribute --nats {url}", soft_wrap=True)
    out.print(f"  toolwire tools --nats {url}", soft_wrap=True)
