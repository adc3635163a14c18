"""Threads: bounded also where functions hang, daemons, in a copy of the context, and `from_thread` works in them."""

import logging
import subprocess
import sys
import threading
import time
from contextvars import ContextVar
from functools import partial

import anyio
import anyio.from_thread
import pytest

from toolwire.runtime.threads import Threads

pytestmark = pytest.mark.anyio

MARK: ContextVar[str] = ContextVar("MARK", default="")


async def test_what_it_gives_and_raises_comes_back() -> None:
    threads = Threads(2)
    assert await threads.run(lambda: threading.current_thread() is not threading.main_thread())
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0)
    assert await threads.run(lambda: 7) == 7
    threads.close()


async def test_a_function_that_nobody_waits_for_keeps_its_place() -> None:
    threads = Threads(2)
    release = threading.Event()
    for _ in range(2):
        with anyio.move_on_after(0.01):
            await threads.run(release.wait)
    assert threads.limiter.borrowed_tokens == 2
    with anyio.move_on_after(0.02) as scope:
        await threads.run(lambda: None)
    assert scope.cancelled_caught  # there was no room
    release.set()
    with anyio.fail_after(5):
        assert await threads.run(lambda: 7) == 7
        while threads.limiter.borrowed_tokens:  # the second one ends in its own time
            await anyio.lowlevel.checkpoint()
    threads.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_function_may_run_an_event_loop_of_its_own(backend: str) -> None:
    async def seven() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    threads = Threads(1)
    assert await threads.run(partial(anyio.run, seven, backend=backend)) == 7
    threads.close()


async def test_context_variables_are_a_copy() -> None:
    threads = Threads(1)
    MARK.set("outside")

    def work() -> str:
        seen = MARK.get()
        MARK.set("inside")
        return seen

    assert await threads.run(work) == "outside"
    assert MARK.get() == "outside"
    threads.close()


async def test_a_function_can_call_back_into_the_loop() -> None:
    threads = Threads(1)

    async def double(n: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * n

    assert await threads.run(lambda: anyio.from_thread.run(double, 21)) == 42
    threads.close()


async def test_a_function_that_nobody_waits_for_is_reported_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    threads, release = Threads(2), threading.Event()
    with caplog.at_level(logging.INFO, "toolwire.threads"):
        for name in ("first", "second"):
            with anyio.move_on_after(0.01):
                await threads.run(release.wait, name)
        assert [each.name for each in threads.abandoned] == ["first", "second"]
        assert threads.abandoned[0].since.tzinfo is not None
        assert repr(threads) == "<Threads [running: 2 of 2 | abandoned: 2]>"
        threads.close()
        release.set()
        with anyio.fail_after(5):
            while threads.abandoned:
                await anyio.lowlevel.checkpoint()
    assert [(record.levelname, record.getMessage().split(" ")[0]) for record in caplog.records[:3]] == [
        ("WARNING", "first"),
        ("WARNING", "second"),
        ("WARNING", "closed"),
    ]
    assert "first, second" in caplog.records[2].getMessage()
    assert sorted(record.levelname for record in caplog.records[3:]) == ["INFO", "INFO"]


async def test_a_function_that_never_began_is_not_reported() -> None:
    threads, release = Threads(1), threading.Event()
    ran = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(threads.run, release.wait)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):
            await threads.run(lambda: ran.append(1))
        assert not threads.abandoned
        release.set()
    assert not ran
    threads.close()


async def test_a_function_that_raises_is_not_reported() -> None:
    threads = Threads(1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0)
    assert not threads.abandoned
    threads.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stuck_function_does_not_keep_the_process(backend: str) -> None:
    program = (
        "import anyio, time\n"
        "from toolwire import Runtime, tool\n"
        "@tool(timeout=0.1)\n"
        "def stuck() -> None:\n    time.sleep(60)\n"
        "async def main():\n"
        "    async with Runtime() as runtime:\n"
        "        await runtime.serve(stuck)\n"
        "        print((await runtime.call(stuck)).failure.code)\n"
        f"anyio.run(main, backend={backend!r})\n"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert ended.stdout.strip() == "timed_out"
    assert time.monotonic() - began < 20
