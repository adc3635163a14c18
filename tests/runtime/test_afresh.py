"""Work in a task of its own: what it gives, raises and is cancelled by is as without one."""

import asyncio
from contextvars import ContextVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.runtime.afresh import afresh

pytestmark = pytest.mark.anyio

MARK: ContextVar[str] = ContextVar("MARK", default="")


async def test_what_it_gives_and_raises() -> None:
    async def gives() -> str:
        await checkpoint()
        return MARK.get()

    async def raises() -> None:
        await checkpoint()
        raise ZeroDivisionError

    MARK.set("mine")
    assert await afresh(gives) == "mine"
    with pytest.raises(ZeroDivisionError):
        await afresh(raises)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), ExceptionGroup("", [ValueError()])])
async def test_what_is_no_cancellation_of_ours_is_raised_as_it_is(error: BaseException) -> None:
    async def raises() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await afresh(raises)
    assert raised.value is error


async def test_a_cancellation_reaches_it() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    with anyio.move_on_after(0.01) as scope:
        await afresh(waits)
    assert scope.cancelled_caught
    assert ended == ["cancelled"]


async def test_the_stack_begins_anew() -> None:
    async def deeper(n: int) -> int:
        if n == 0:
            return 0
        if n % 200 == 0:
            return 1 + await afresh(lambda: deeper(n - 1))
        return 1 + await deeper(n - 1)

    assert await deeper(5_000) == 5_000
