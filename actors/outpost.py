"""What runs in a worker process: it takes one call after the other, on its main thread, until its host lets go of it.

The tools are found here by name, in modules that are imported here. A failure crosses the border as it does in a
thread. What a tool prints goes to the host's standard error.
"""

import faulthandler
import fcntl
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from typing import Any, cast

import anyio
from anyio.lowlevel import checkpoint

from ..protocol.envelope import encode
from ..protocol.failures import ToolwireError, failed
from ..protocol.jobs import Done, Job, Logged, Prepare, decode_order
from ..protocol.messages import Request
from ..runtime.border import LARGEST, failure_of, speakable
from ..runtime.child import ANSWER, HEAD, WORD, Child, frame
from ..runtime.context import Door, Surroundings
from ..runtime.deadline import until
from ..runtime.tracing import entered
from .context import Context, logger
from .stream import last
from .tool import Tool, encoded, tool

ALONE = (
    "a tool that runs in a process of its own can't call others: let a tool without isolation call both, and hand on "
    "what the one gives"
)


LONGEST = 4 * LARGEST
"""The most bytes of what is said before an answer. What is longer is left out: it may be lost anyway."""


class Bench:
    """What a Context asks of the system that it lives in: here, only what time it is."""

    clock = staticmethod(time.monotonic)


class Apart(Context, eq=False):
    """The Context of a call in a worker process, the `order`-th thing it was asked for. It can't ask anybody."""

    order: int = 0

    @property
    def log(self) -> logging.LoggerAdapter[Any]:
        """A logger whose records go to the host, which puts the call's id and tool to them."""
        return logging.LoggerAdapter(logger, {"call_id": self.call_id, "tool": self.tool, "order": self.order})

    async def ask(self, address: str | Door, message: Request[Any], **_: Any) -> Any:
        """Refuse."""
        raise ToolwireError(failed("invalid_call", ALONE))


class Line(logging.Handler):
    """The way to the host. What is said after an answer, by a thread that a tool has left, is heard by nobody."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__()
        self._channel = channel
        self._lock = threading.Lock()
        self._talking = False
        self.number = 0

    def order(self) -> bytes | None:
        """What the host wants next; None when it wants nothing any more."""
        head = self._taken(HEAD.size)
        if head is None:
            return None
        order = self._taken(HEAD.unpack(head)[1])
        self.number += 1
        self._talking = True
        return order

    def _taken(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self._channel.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def answer(self, done: Done) -> None:
        """The one answer."""
        with self._lock:
            self._talking = False
            self._channel.sendall(frame(ANSWER, encode(done)))

    def say(self, order: int, word: bytes) -> None:
        """Something before the answer to what was asked `order`-th."""
        with self._lock:
            if self._talking and order == self.number and len(word) <= LONGEST:
                self._channel.sendall(frame(WORD, word))

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on what a tool has logged."""
        order = getattr(record, "order", self.number)
        self.say(order, encode(Logged(record.levelno, speakable(record.getMessage()[:LARGEST]))))

    def cut(self) -> None:
        """In a process that a tool has forked: it is not to speak for its parent, nor to keep its line open."""
        self._lock = threading.Lock()
        with suppress(OSError):
            self._channel.close()


class Outpost:
    """Runs what the host asks for."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._tools: dict[str, Tool[Any]] = {}

    def run(self) -> None:
        """Until the host wants nothing any more."""
        while (order := self.line.order()) is not None:
            asked = decode_order(order)
            self.line.answer(self._prepared(asked) if isinstance(asked, Prepare) else self._done(asked))

    def _tool(self, where: str) -> Tool[Any]:
        found = self._tools.get(where)
        if found is None:
            module, _, name = where.partition(":")
            there: Any = importlib.import_module(module)
            for part in name.split("."):
                there = getattr(there, part)
            found = self._tools[where] = there if isinstance(there, Tool) else tool(there)
        return found

    def _prepared(self, asked: Prepare) -> Done:
        sys.path[:] = asked.path
        importlib.invalidate_caches()
        try:
            if self._tool(asked.where).is_async:
                anyio.run(checkpoint, backend=asked.backend)  # the first loop takes 50 ms
        except BaseException as error:  # noqa: BLE001 - whatever a module raises, the host has to hear of it
            return Done(failure=failure_of(error))
        return Done()

    def _done(self, job: Job) -> Done:
        """One call, whatever it does. What ends a program in a thread of the host ends only the call here."""
        try:
            made = self._tool(job.where)
            deadline = until(job.budget, time.monotonic)
            system = cast("Surroundings", Bench)
            number = self.line.number
            say = partial(self.line.say, number)
            context = Apart(system, deadline, 0, (), job.trail, say, message=job.call, order=number)
            logger.setLevel(job.level)
            value = copy_context().run(run, made, context, job.backend)
        except BaseException as error:  # noqa: BLE001 - the border: it becomes a failure
            return Done(failure=failure_of(error, "maybe"))
        return Done(*encoded(value, job.largest))


def run(made: Tool[Any], context: Apart, backend: str) -> Any:
    """What the tool gives: called on this very thread, or by an event loop that lasts as long as the call."""
    arguments = made.signature.read(context.message.arguments)
    arguments |= dict.fromkeys(made.context_parameters, context)
    trace = entered(context)
    if trace is not None:
        trace()
    if made.is_async:
        return anyio.run(awaited, partial(made.function, **arguments), made, context, backend=backend)
    value = made.function(**arguments)
    return anyio.run(awaited, lambda: value, made, context, backend=backend) if isawaitable(value) else value


async def awaited(work: Callable[[], Any], made: Tool[Any], context: Apart) -> Any:
    """What an async function, or an async generator, gives."""
    value = work()
    if made.signature.streams:
        return await last(value, context)
    return await value if isawaitable(value) else value


def watch(lifeline: int) -> None:
    """Kill this process, and what it has started, when the host is gone, however that came.

    On Linux the kernel does it, also where a tool holds the interpreter's lock (a regular expression that runs away);
    elsewhere a thread.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([lifeline], [], [], 0)[0]:
            os._exit(1)  # it was gone before
    else:
        threading.Thread(target=await_end, args=(lifeline,), name="toolwire lifeline", daemon=True).start()


def await_end(lifeline: int) -> None:
    """Wait until the host is gone."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def main(channel: int, lifeline: int) -> None:
    """Be a worker process, on descriptors that were inherited."""
    for inherited in (channel, lifeline):
        os.set_inheritable(inherited, False)
    sys.argv[1:] = []
    Child.here = True
    faulthandler.enable()
    watch(lifeline)
    line = Line(socket.socket(fileno=channel))
    os.register_at_fork(after_in_child=line.cut)
    logger.addHandler(line)
    logger.propagate = False
    try:
        Outpost(line).run()
    except OSError:
        os._exit(1)  # a tool has closed the way to the host, or this is a copy of the process that it made
    except BaseException:  # noqa: BLE001 - what a tool has left behind, such as a signal's handler, raised it
        traceback.print_exc()
        os._exit(1)  # at once: threads and exit handlers of tools would keep it, and the next call with it
