"""A pool of worker processes: bounded, in order, replaced when they end; and never a storm of starts."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import ToolwireError
from toolwire.runtime import processes
from toolwire.runtime.processes import Processes

pytestmark = pytest.mark.anyio

STUB = """
import os, struct, sys, time
def taken(n):
    got = b""
    while len(got) < n:
        part = os.read(channel, n - len(got))
        if not part: sys.exit()
        got += part
    return got
def said(kind, what): os.write(channel, struct.pack(">BI", kind, len(what)) + what)
channel = int(sys.argv[1])
{first}
while True:
    what, _, rest = taken(struct.unpack(">BI", taken(5))[1]).partition(b" ")
    if what == b"echo": said(2, rest)
    if what == b"pid": said(2, str(os.getpid()).encode())
    if what == b"words": [said(1, word) for word in rest.split()]; said(2, b"")
    if what == b"exit": os._exit(int(rest))
    if what == b"twice": open(rest, "rb").read(); os.write(channel, (struct.pack(">BI", 2, 4) + b"open") * 2)
    if what == b"garbage": os.write(channel, b"\\xff" * 64); time.sleep(600)
    if what == b"huge": os.write(channel, struct.pack(">BI", 2, 2**31)); time.sleep(600)
    if what == b"closes": os.close(channel); time.sleep(600)
    if what == b"waits": open(rest, "w").write(str(os.getpid())); time.sleep(600)
    if what == b"gate": open(rest, "rb").read(); said(2, b"open")
"""
"""A worker process that needs none of ours: it starts in 20 ms."""


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the pauses between starts are is the supervisor's, and tested there."""
    monkeypatch.setattr(processes, "POLICY", processes.POLICY._replace(pause=0.0))


@asynccontextmanager
async def pool(most: int, first: str = "") -> AsyncIterator[Processes]:
    def command(channel: int, lifeline: int) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", STUB.replace("{first}", first), str(channel)]

    async with Processes(command, most) as made:
        with anyio.fail_after(60):
            yield made


async def failure(made: Processes, order: bytes) -> str:
    with pytest.raises(ToolwireError) as raised:
        await made.run(order)
    return str(raised.value.failure)


async def until(path: Path) -> int:
    while not (text := told(path)):
        await checkpoint()
    return int(text)


def told(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def reaped(pid: int) -> None:
    while os.path.exists(f"/proc/{pid}"):  # noqa: ASYNC240, PTH110 - it is no real file
        await checkpoint()


async def test_nothing_is_started_before_it_is_needed_and_what_is_there_is_kept() -> None:
    async with pool(1) as made:
        assert repr(made) == "<Processes [idle: 0 of 0 | at most: 1]>"
        assert await made.run(b"echo hello") == b"hello"
        assert await made.run(b"pid") == await made.run(b"pid")


async def test_what_it_says_before_its_answer_is_heard_in_order() -> None:
    heard: list[bytes] = []
    async with pool(1) as made:
        assert await made.run(b"words one two three", heard.append) == b""
    assert heard == [b"one", b"two", b"three"]


async def test_one_order_after_the_other_and_no_more_processes_than_are_allowed(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    answers: list[bytes] = []

    async def run(made: Processes, order: bytes) -> None:
        answers.append(await made.run(order))

    async with pool(1) as made, anyio.create_task_group() as tasks:
        tasks.start_soon(run, made, b"gate %s" % os.fsencode(gate))
        await anyio.wait_all_tasks_blocked()
        for n in range(5):
            tasks.start_soon(run, made, b"echo %d" % n)
            await anyio.wait_all_tasks_blocked()
        assert not answers
        (await anyio.to_thread.run_sync(partial(open, gate, "wb"))).close()
    assert answers == [b"open", b"0", b"1", b"2", b"3", b"4"]


async def test_too_many_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "WAITING", 2)
    async with pool(1) as made, anyio.create_task_group() as tasks:
        tasks.start_soon(made.run, b"waits %s" % os.fsencode(tmp_path / "pid"))
        await until(tmp_path / "pid")
        for _ in range(2):
            tasks.start_soon(made.run, b"echo x")
        await anyio.wait_all_tasks_blocked()
        said = "overloaded: 1 worker processes are busy, and 2 calls wait for one"
        assert await failure(made, b"echo x") == said
        tasks.cancel_scope.cancel()


async def test_one_that_waits_and_leaves_does_not_take_a_process_with_it(tmp_path: Path) -> None:
    async with pool(1) as made:
        with anyio.move_on_after(0.3):
            await made.run(b"waits %s" % os.fsencode(tmp_path / "first"))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(made.run, b"waits %s" % os.fsencode(tmp_path / "second"))
                tasks.start_soon(made.run, b"echo x")
                await until(tmp_path / "second")
                scope.cancel()
        assert await made.run(b"echo on") == b"on"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (b"exit 3", "ended by itself, with exit status 3"),
        (b"garbage", "let go of the way to its host"),
        (b"huge", "let go of the way to its host"),
        (b"closes", "let go of the way to its host"),
    ],
)
async def test_one_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch, order: bytes, said: str) -> None:
    monkeypatch.setattr("toolwire.runtime.child.LAST", 0.05)
    async with pool(1) as made:
        assert said in await failure(made, order)
        assert await made.run(b"echo on") == b"on"


async def test_what_one_says_too_much_is_no_answer_to_the_next(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    answers: list[bytes] = []

    async def run(made: Processes, order: bytes) -> None:
        answers.append(await made.run(order))

    async with pool(1) as made:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, made, b"twice %s" % os.fsencode(gate))
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(run, made, b"echo next")  # it is in line when the other is answered, twice
                await anyio.wait_all_tasks_blocked()
                (await anyio.to_thread.run_sync(partial(open, gate, "wb"))).close()
            assert await made.run(b"echo last") == b"last"
    assert answers == [b"open", b"next"] * 2


async def test_an_idle_one_that_ends_is_not_asked() -> None:
    async with pool(1) as made:
        pid = int(await made.run(b"pid"))
        os.kill(pid, 9)
        await reaped(pid)
        assert int(await made.run(b"pid")) != pid


async def test_processes_that_end_as_they_start_are_given_up_and_tried_again_when_asked(tmp_path: Path) -> None:
    mark = tmp_path / "fine"
    starts = tmp_path / "starts"
    first = f"open({str(starts)!r}, 'a').write('x')\nif not os.path.exists({str(mark)!r}): os._exit(4)"
    async with pool(1, first) as made:
        said = (
            "overloaded: worker processes end as soon as they start; the last one ended by itself, with exit status 4"
        )
        made._first[b"echo ready"] = None
        assert await failure(made, b"echo x") == said
        assert len(starts.read_text()) == 6  # the first, and as many as the supervisor allows
        mark.touch()
        assert await made.run(b"echo on") == b"on"


async def test_a_program_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Processes(lambda _channel, _lifeline: ["/nowhere/python"], 1) as made:
        with anyio.fail_after(10):
            assert "the last one could not start: FileNotFoundError" in await failure(made, b"x")


async def test_what_each_new_one_is_asked_first(tmp_path: Path) -> None:
    async with pool(1) as made:
        assert await made.prepare(b"echo ready") == b"ready"
        pid = int(await made.run(b"pid"))
        os.kill(pid, 9)
        assert list(made._first) == [b"echo ready"]
        await reaped(pid)
        assert await made.run(b"echo on") == b"on"
        made.forget(b"echo ready")
        assert not made._first


async def test_who_waits_when_it_closes_is_told() -> None:
    said: list[str] = []

    async def run(made: Processes) -> None:
        said.append(await failure(made, b"echo x"))

    async with anyio.create_task_group() as tasks:
        async with pool(1, "time.sleep(600)") as made:
            made._first[b"echo ready"] = None  # nobody answers it
            tasks.start_soon(run, made)
            await anyio.wait_all_tasks_blocked()
        tasks.start_soon(run, made)
    assert said == ["overloaded: the runtime is closed"] * 2
