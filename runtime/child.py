"""One worker process: a process of this program's own, which does one thing after the other and can be killed.

It is reached by a socket pair of its own, not by its standard streams: what it prints goes to this program's standard
error, and can't be taken for an answer. It leads a session, so that what it has started is killed with it. It holds
one end of a pipe of which only this program has the other: when that is gone, so is the process (`watch` in
`actors/outpost.py`), also where this program was killed with -9.

A frame is one byte (what it is), four of length, and the payload.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar

import anyio
from anyio.abc import Process

ORDER, WORD, ANSWER = range(3)
"""Kinds of frames: what is asked; what is said before the answer; the answer."""

HEAD = struct.Struct(">BI")
READ = 1 << 18
LAST = 1.0
"""Seconds that a process may take to end once it has let go of its channel. Usual is a millisecond."""

Command = Callable[[int, int], Sequence[str]]
"""The command line of a process, by the numbers of its channel and of its lifeline."""


class Died(Exception):
    """The process ended by itself. `code` is its exit status, negative for a signal; None if it only talks no more."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        if self.code is None:
            return "let go of the way to its host"
        if self.code >= 0:
            return f"ended by itself, with exit status {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class Child:
    """A worker process as its host sees it, asked one thing at a time. `Child.here`: whether this process is one."""

    here: ClassVar[bool] = False

    def __init__(self, process: Process, channel: socket.socket, lifeline: int) -> None:
        self.process = process
        self.killed = False
        self.gone = False
        self._reaped = False
        self._channel = channel
        self._lifeline = lifeline
        self._read = bytearray()

    def __repr__(self) -> str:
        return f"<Child {self.process.pid}{' gone' if self.gone else ' killed' if self.killed else ''}>"

    @property
    def usable(self) -> bool:
        """Whether it can be asked, as far as one can see: it waits, and has nothing to say."""
        if self.killed or self.gone or self._read:  # what it said too much would answer the next thing asked
            return False
        try:
            self._channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # it has ended, or speaks out of turn

    async def ask(self, payload: bytes, hear: Callable[[bytes], None], largest: int) -> bytes:
        """What it answers to `payload`; `hear` is told what it says before. Cancelled, it kills the process at once.

        Raises Died if the process ends instead, or says more than `largest` bytes at once.
        """
        try:
            await self._send(frame(ORDER, payload))
            while True:
                kind, said = await self._receive(largest)
                if kind == ANSWER:
                    return said
                hear(said)
        except (OSError, EOFError, anyio.ClosedResourceError):
            raise await self._death() from None
        except BaseException:
            self.kill()
            raise

    async def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._channel.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._channel)

    async def _receive(self, largest: int) -> tuple[int, bytes]:
        """The next frame. Raises EOFError where there is none, and where what comes is no frame of ours."""
        read, needed = self._read, HEAD.size
        while True:
            if len(read) >= needed:
                kind, size = HEAD.unpack_from(read)
                if kind not in {WORD, ANSWER} or size > largest:
                    raise EOFError
                needed = HEAD.size + size
                if len(read) >= needed:
                    said = bytes(memoryview(read)[HEAD.size : needed])
                    del read[:needed]
                    return kind, said
            await anyio.wait_readable(self._channel)
            with suppress(BlockingIOError):
                data = self._channel.recv(READ)
                if not data:
                    raise EOFError
                read += data

    async def _death(self) -> Died:
        """How it ended. A process that talks no longer is killed, if it does not end by itself."""
        try:
            with anyio.move_on_after(LAST):
                await self.process.wait()
            return Died(self.process.returncode)
        finally:
            self.gone = True
            self.kill()

    def kill(self) -> None:
        """Kill it, and what it has started, now."""
        if self.process.returncode is None:
            self.killed = True
            self._kill_group()

    def _kill_group(self) -> None:
        with suppress(OSError):  # nobody is left
            os.killpg(self.process.pid, signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it end by itself."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    async def wait(self) -> int:
        """Wait for its end, and let whoever waits for its answer know. Its exit status."""
        code = await self.process.wait()
        self.gone = True
        if not self._reaped:
            self._reaped = True
            self._kill_group()  # what it has left behind
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_RD)  # what it has left in there can still be read
        return code

    async def end(self, grace: float = 0.0) -> None:
        """Wait at most `grace` seconds for its end, then kill it. Nothing of it is left then."""
        with anyio.CancelScope(shield=True):
            if grace:
                with anyio.move_on_after(grace):
                    await self.wait()
            self.kill()
            await self.wait()
            anyio.notify_closing(self._channel)
            self._channel.close()
            os.close(self._lifeline)


async def started(command: Command) -> Child:
    """A new worker process, which may not be ready yet. Raises OSError if there can be none."""
    ours, theirs = socket.socketpair()
    watched, lifeline = os.pipe()
    try:
        with theirs, os.fdopen(watched, "rb", buffering=0):
            ours.setblocking(False)
            process = await spawned(command(theirs.fileno(), watched), (theirs.fileno(), watched))
    except BaseException:
        ours.close()
        os.close(lifeline)
        raise
    return Child(process, ours, lifeline)


async def spawned(words: Sequence[str], handed: Sequence[int]) -> Process:
    """A process that is handed these descriptors. It is there, or not, when this ends: nothing cancels it halfway."""
    printed = standard_error()
    with anyio.CancelScope(shield=True):
        return await anyio.open_process(
            words,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
            pass_fds=handed,
        )
    raise TimeoutError  # nobody cancels that scope


def standard_error() -> int:
    """Where a process may print: this program's standard error, or nowhere if it has closed that."""
    try:
        os.fstat(STANDARD_ERROR)
    except OSError:
        return subprocess.DEVNULL
    return STANDARD_ERROR


STANDARD_ERROR = 2

POSSIBLE = sys.platform != "win32"
"""Whether there can be such processes: they are handed descriptors, lead sessions and are killed as groups."""


def frame(kind: int, payload: bytes) -> bytes:
    """`payload` as it is sent."""
    return HEAD.pack(kind, len(payload)) + payload
