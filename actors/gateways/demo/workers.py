"""Worker processes, started and ended with a block; each says when it is ready."""

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from msgspec import Struct

from ....protocol.failures import ToolwireError, failed
from ....runtime.bus.embedded import dies_with_us

READY = 20.0
"""Seconds that a worker may take to be ready. Usual are 0.5."""
DRAINED = 5.0
"""Seconds that it may take to end."""


class Worker(Struct, frozen=True):
    """A worker process: the name of its end of the bus, its process id, and what it serves."""

    instance: str
    pid: int
    tools: tuple[str, ...]


class Ready(Struct):
    """The line that `toolwire worker --json` prints."""

    worker: str
    tools: tuple[str, ...]


@asynccontextmanager
async def worker_processes(url: str, served: Mapping[str, str]) -> AsyncIterator[dict[str, Worker]]:
    """Workers on the bus at `url`, by name; `served` says what each serves, as `module:attribute`.

    Raises ToolwireError if one is not ready in time.
    """
    async with AsyncExitStack() as stack:
        started = {name: await stack.enter_async_context(process(url, what)) for name, what in served.items()}
        yield {name: await ready(name, one) for name, one in started.items()}


@asynccontextmanager
async def process(url: str, what: str) -> AsyncIterator[Process]:
    """One worker process, which is told to end with the block, and killed if it does not."""
    # -P: the current directory holds the user's files, none of which is meant.
    worker = [sys.executable, "-P", "-m", __name__.partition(".")[0], "worker", what, "--nats", url, "--json"]
    command = [*dies_with_us(), *worker]
    # A session of its own: Ctrl-C in a terminal is for us, and we end it.
    async with await anyio.open_process(
        command, stdin=subprocess.DEVNULL, stderr=None, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            with anyio.CancelScope(shield=True):
                await ended(running)


async def ready(name: str, running: Process) -> Worker:
    """Wait until the process says what it serves. Raises ToolwireError."""
    said = ""
    if running.stdout is not None:
        with anyio.move_on_after(READY):
            async for piece in TextReceiveStream(running.stdout):
                said += piece
                if "\n" in said:
                    told = msgspec.json.decode(said.partition("\n")[0], type=Ready)
                    return Worker(told.worker, running.pid, told.tools)
    raise ToolwireError(failed("unreachable", f"{name} did not start"))


async def ended(running: Process) -> None:
    """End a process: politely, then not."""
    if running.returncode is None:
        running.terminate()
        with anyio.move_on_after(DRAINED):
            await running.wait()
    if running.returncode is None:
        running.kill()
