"""Event loops on which waiting takes no time: what goes by their clock, and what does not."""

import time
from typing import Any

import anyio
import pytest

from toolwire import Misuse, Runtime, ToolResult, tool
from toolwire.runtime.deadline import loop_clock
from toolwire.runtime.virtual_time import IDLE, virtual_time

pytestmark = pytest.mark.anyio

REAL = 5.0
"""Seconds of the real time that a test of far more virtual ones may take on a busy machine."""

LOOPS = [virtual_time("asyncio"), virtual_time("trio")]


@pytest.fixture(params=LOOPS, ids=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@tool
async def slow() -> None:
    await anyio.sleep_forever()


@tool(timeout=30.0)
def blocking(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@tool(rate="10/m")
async def rated() -> str:
    return "done"


def code(result: ToolResult[Any]) -> str:
    return "" if result.failure is None else result.failure.code


async def test_a_tool_that_takes_too_long_takes_no_time() -> None:
    began = time.monotonic()
    async with Runtime() as runtime:
        await runtime.serve(slow)
        late = await runtime.call(slow)
        assert code(late) == "timed_out"
        assert late.seconds == pytest.approx(30.0, abs=0.1)
        assert code(await runtime.call(slow, timeout=86_400.0 * 3)) == "timed_out"
    assert time.monotonic() - began < REAL


async def test_a_rate_goes_by_the_loop() -> None:
    began = time.monotonic()
    async with Runtime() as runtime:
        await runtime.serve(rated)
        codes = [code(await runtime.call(rated)) for _ in range(12)]
        assert codes == [""] * 10 + ["rate_limited"] * 2
        await anyio.sleep(60.0)
        assert code(await runtime.call(rated)) == ""
    assert time.monotonic() - began < REAL


async def test_the_clock_stands_still_while_something_runs() -> None:
    clock = loop_clock()
    before = clock()
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    assert clock() == before
    await anyio.sleep(7.0)
    assert clock() == pytest.approx(before + 7.0)
    assert anyio.current_time() == pytest.approx(clock())


async def test_a_thread_has_its_real_time_before_the_clock_jumps() -> None:
    async with Runtime() as runtime:
        await runtime.serve(blocking)
        assert (await runtime.call(blocking, {"seconds": IDLE / 10})).value == "done"


async def test_a_thread_alone_is_waited_for() -> None:
    began = time.monotonic()
    await anyio.to_thread.run_sync(time.sleep, IDLE * 3)
    assert time.monotonic() - began >= IDLE * 3


async def test_cancel_scopes_and_sleeps_end_in_order() -> None:
    ended: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        with anyio.move_on_after(50.0):
            await anyio.sleep(seconds)
        ended.append(f"{name} after {anyio.current_time() - began:.0f}")

    began = anyio.current_time()
    async with anyio.create_task_group() as sleeping:
        for name, seconds in (("c", 3_000.0), ("a", 10.0), ("b", 20.0)):
            sleeping.start_soon(sleep, name, seconds)
    assert ended == ["a after 10", "b after 20", "c after 50"]


def test_there_are_two_loops() -> None:
    with pytest.raises(Misuse, match='for "asyncio" and for "trio"'):
        virtual_time("curio")


def test_a_program_may_run_so_too() -> None:
    async def main() -> float:
        await anyio.sleep(1_000.0)
        return anyio.current_time()

    for name, options in LOOPS:
        assert anyio.run(main, backend=name, backend_options=options) >= 1_000.0
