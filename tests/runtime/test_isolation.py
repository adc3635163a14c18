"""Somebody's coroutine in the task that is there, with context variables of its own."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from toolwire.runtime.isolation import isolated

pytestmark = pytest.mark.anyio

MOOD: ContextVar[str] = ContextVar("MOOD", default="calm")


async def test_what_is_set_inside_stays_inside() -> None:
    async def work() -> str:
        assert MOOD.get() == "merry"
        MOOD.set("angry")
        await checkpoint()
        return MOOD.get()

    token = MOOD.set("merry")
    try:
        assert await isolated(work()) == "angry"
        assert MOOD.get() == "merry"
    finally:
        MOOD.reset(token)


async def test_siblings_in_one_task_do_not_see_each_other() -> None:
    async def work(mood: str) -> str:
        before = MOOD.get()
        MOOD.set(mood)
        await checkpoint()
        return before

    assert [await isolated(work(mood)) for mood in ("a", "b", "c")] == ["calm"] * 3


async def test_tasks_and_threads_that_it_starts_inherit_what_it_set() -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append(MOOD.get())

    async def work() -> None:
        MOOD.set("busy")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        seen.append(await to_thread.run_sync(MOOD.get))

    await isolated(work())
    assert seen == ["busy", "busy"]


async def test_what_is_entered_first_is_seen_by_it_alone() -> None:
    async def work() -> str:
        await checkpoint()
        return MOOD.get()

    assert await isolated(work(), lambda: MOOD.set("given")) == "given"
    assert MOOD.get() == "calm"


async def test_a_cancellation_reaches_it_and_goes_on() -> None:
    told: list[str] = []

    async def work() -> None:
        MOOD.set("hurt")
        try:
            await anyio.sleep_forever()
        finally:
            told.append(MOOD.get())

    with anyio.CancelScope() as scope:
        scope.cancel()
        await isolated(work())
    assert scope.cancelled_caught
    assert told == ["hurt"]


async def test_it_may_shield_its_last_step() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await checkpoint()
                told.append(MOOD.get())

    with anyio.CancelScope() as scope:
        scope.cancel()
        await isolated(work())
    assert told == ["calm"]


async def test_its_own_scopes_nest() -> None:
    async def work() -> str:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        return "went on"

    with anyio.CancelScope() as outer:
        assert await isolated(work()) == "went on"
    assert not outer.cancelled_caught


@pytest.mark.parametrize(
    "error", [ValueError("v"), KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(3)], ids=repr
)
async def test_exceptions_pass(error: BaseException) -> None:
    async def work() -> None:
        await checkpoint()
        raise error

    with pytest.raises(type(error)) as caught:
        await isolated(work())
    assert caught.value is error


async def test_a_stop_iteration_is_an_error_like_in_any_coroutine() -> None:
    async def work() -> None:
        raise StopIteration(5)

    with pytest.raises(RuntimeError, match="StopIteration"):
        await isolated(work())


async def test_it_may_catch_what_is_thrown_in_and_go_on() -> None:
    async def work() -> int:
        caught = 0
        for _ in range(3):
            try:
                with anyio.fail_after(0):
                    await anyio.sleep_forever()
            except TimeoutError:
                caught += 1
        return caught

    assert await isolated(work()) == 3


def test_closing_it_closes_the_work() -> None:
    told: list[str] = []

    class Pause:
        def __await__(self) -> Any:
            yield "paused"

    async def work() -> None:
        MOOD.set("closing")
        try:
            await Pause()
        finally:
            told.append(MOOD.get())

    async def outer() -> None:
        await isolated(work())

    running: Coroutine[Any, Any, None] = outer()
    assert running.send(None) == "paused"
    running.close()
    assert told == ["closing"]
    assert MOOD.get() == "calm"
