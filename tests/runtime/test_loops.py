"""What stands for the event loop that runs, and its limits of time."""

import asyncio
import gc
import math
from collections.abc import Callable
from threading import Thread
from typing import Any
from weakref import ref

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire.runtime.alarms import SLOT
from toolwire.runtime.loops import AsyncioLoop, Loop, TrioLoop, here
from toolwire.runtime.testing import interruptions
from toolwire.runtime.virtual_time import VirtualTimeLoop, virtual_time

pytestmark = pytest.mark.anyio


async def over(seconds: float, wait: float) -> tuple[bool, Any]:
    """Whether a limit of so many seconds ended a wait of so many, and after what time."""
    loop = here()
    began = loop.clock()
    deadline = began + seconds
    scope = loop.limit(deadline)
    with scope:
        try:
            await anyio.sleep(wait)
        finally:
            loop.forget(scope, deadline)
    return scope.cancelled_caught, loop.clock() - began


async def test_it_is_the_same_as_long_as_the_loop_is() -> None:
    loop = here()
    assert here() is loop
    assert loop.runs()
    assert not loop.over()
    assert loop.clock() == pytest.approx(anyio.current_time(), abs=1.0)
    seen: list[Loop] = []

    async def look() -> None:
        seen.append(here())

    def elsewhere() -> None:
        trio.run(look)
        asyncio.run(look())

    thread = Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert here() is loop
    assert len({id(each) for each in [loop, *seen]}) == 3
    assert [(each.runs(), each.over()) for each in seen] == [(False, True)] * 2


def test_outside_of_any_there_is_none() -> None:
    with pytest.raises(anyio.NoEventLoopError):
        here()


@pytest.mark.parametrize("make", [asyncio.new_event_loop, VirtualTimeLoop])
def test_a_loop_that_stands_still_is_not_over_and_is_not_kept(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def look() -> Loop:
        return here()

    native = make()
    loop = native.run_until_complete(look())
    assert (loop.runs(), loop.over()) == (False, False)
    native.close()
    assert loop.over()
    kept = ref(native)
    del native
    gc.collect()
    assert kept() is None
    assert loop.over()
    assert loop.clock() <= loop.clock()  # it can still be asked, for what was taken by it


@pytest.mark.parametrize("first", ["host", "guest"])
def test_a_guest_and_its_host_have_each_their_own(first: str) -> None:
    """Both run in one thread at once: whichever was asked for last, a task gets the loop whose task it is."""

    async def guest(seen: list[Loop], told: Callable[[], object]) -> None:
        for _ in range(3):
            seen.append(here())
            told()
            await trio.lowlevel.checkpoint()

    async def host() -> tuple[list[Loop], list[Loop]]:
        asked = here() if first == "host" else None
        loop = asyncio.get_running_loop()
        mine, theirs, done, told = list[Loop](), list[Loop](), loop.create_future(), asyncio.Event()
        trio.lowlevel.start_guest_run(
            guest,
            theirs,
            told.set,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        await told.wait()
        mine.append(here())
        (await done).unwrap()
        return [*mine, here(), *([asked] if asked else [])], theirs

    mine, theirs = asyncio.run(host())
    assert len(theirs) == 3
    assert {type(loop) for loop in mine} == {AsyncioLoop}
    assert {type(loop) for loop in theirs} == {TrioLoop}


@pytest.mark.parametrize("seconds", [0.1, SLOT, 3 * SLOT, 30.0])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_limit_ends_what_takes_longer_at_its_time(backend: str, seconds: float) -> None:
    name, options = virtual_time(backend, idle=0)
    assert anyio.run(over, seconds, 100.0, backend=name, backend_options=options) == (True, pytest.approx(seconds))
    assert anyio.run(over, 100.0, seconds, backend=name, backend_options=options) == (False, pytest.approx(seconds))


@pytest.mark.parametrize("seconds", [-1.0, 0.0, -math.inf, math.nan])
async def test_no_time_is_over_at_once(seconds: float) -> None:
    assert (await over(seconds, 1000.0))[0]


@pytest.mark.parametrize("after", [SLOT, 30.0])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_limit_that_is_lifted_ends_nothing(backend: str, after: float) -> None:
    """Neither one that is far off, nor one that the scope knows already."""

    async def main() -> None:
        loop = here()
        deadline = loop.clock() + 2 * SLOT + 0.9 * after
        scope = loop.limit(deadline)
        with scope:
            await anyio.sleep(0.8 * after)
            loop.lift(scope, deadline)
            await anyio.sleep(2 * after)
        assert not scope.cancel_called

    name, options = virtual_time(backend, idle=0)
    anyio.run(main, backend=name, backend_options=options)


async def test_without_an_end_nothing_is_set() -> None:
    assert await over(math.inf, 0.0) == (False, pytest.approx(0.0, abs=1.0))


async def test_who_leaves_early_leaves_nothing_behind() -> None:
    async def work() -> None:
        await over(1000.0, 0.0)

    async def ended() -> None:
        loop = here()
        if isinstance(loop, AsyncioLoop):
            assert not any(loop._slots.values())

    assert await interruptions(work, ended) >= 1


def test_a_cancellation_from_outside_is_not_taken_for_the_limit() -> None:
    async def main() -> None:
        with anyio.move_on_after(5.0) as outer:
            await over(30.0, 100.0)
        assert outer.cancelled_caught

    trio.run(main, clock=MockClock(autojump_threshold=0))
    name, options = virtual_time("asyncio", idle=0)
    anyio.run(main, backend=name, backend_options=options)
