"""Whose cancellation it is, and what becomes of everything else that is raised."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint

from toolwire.protocol.envelope import encode
from toolwire.protocol.failures import Failure, Misuse, ToolError, failed
from toolwire.runtime.border import (
    ends_program,
    failure_of,
    fault,
    is_cancellation,
    is_ours,
    only_cancellation,
    plain,
    shown,
)

pytestmark = pytest.mark.anyio


async def judged(work: Callable[[], Awaitable[object]]) -> bool:
    """Whether what `work` raises is ours, asked in the very `except` that catches it."""
    try:
        await work()
    except BaseException as error:  # noqa: BLE001 - the point
        return is_ours(error)
    raise AssertionError("nothing was raised")


async def test_a_scope_that_is_cancelled_cancels_us() -> None:
    heard = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        heard.append(await judged(checkpoint))
    assert heard == [True]


async def test_so_does_a_deadline() -> None:
    heard = []
    with anyio.move_on_after(0):
        heard.append(await judged(anyio.sleep_forever))
    assert heard == [True]


async def test_and_an_outer_scope() -> None:
    heard = []
    with anyio.CancelScope() as outer, anyio.CancelScope():
        outer.cancel()
        heard.append(await judged(checkpoint))
    assert heard == [True]


async def test_one_that_somebody_raised_by_hand_is_not_ours() -> None:
    async def leaky() -> None:
        raise asyncio.CancelledError

    assert not await judged(leaky)


async def test_nor_is_a_group_of_them() -> None:
    async def leaky() -> None:
        raise BaseExceptionGroup("", [asyncio.CancelledError(), asyncio.CancelledError()])

    assert not await judged(leaky)


async def test_behind_a_shield_the_outer_cancellation_is_not_meant() -> None:
    async def leaky() -> None:
        raise asyncio.CancelledError

    heard = []
    with anyio.CancelScope() as outer:
        with anyio.CancelScope(shield=True):
            outer.cancel()
            heard.append(await judged(leaky))
        await checkpoint()
    # On asyncio a cancelled task counts as such behind its shield too, once the loop has told it.
    assert heard == [False]


async def test_a_group_of_ours_is_ours() -> None:
    async def nursery() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            await anyio.sleep_forever()

    heard = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        heard.append(await judged(nursery))
    assert heard == [True]


async def test_the_native_cancellation_of_asyncio(anyio_backend: str) -> None:
    if anyio_backend == "trio":
        pytest.skip("asyncio's own")
    heard: list[bool] = []

    async def one() -> None:
        heard.append(await judged(anyio.sleep_forever))

    async def group() -> None:
        async def nursery() -> None:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError as error:
                raise BaseExceptionGroup("", [error]) from None

        heard.append(await judged(nursery))

    for work in (one, group):
        task = asyncio.create_task(work())
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        await task
    assert heard == [True, True]


async def test_a_future_that_was_cancelled_does_not_cancel_us(anyio_backend: str) -> None:
    if anyio_backend == "trio":
        pytest.skip("asyncio's own")

    async def waits() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert not await judged(waits)


def test_what_is_a_cancellation() -> None:
    assert is_cancellation(asyncio.CancelledError())
    assert not is_cancellation(KeyboardInterrupt())
    assert only_cancellation(BaseExceptionGroup("", [asyncio.CancelledError()]))
    assert not only_cancellation(BaseExceptionGroup("", [asyncio.CancelledError(), ValueError()]))
    assert not only_cancellation(ValueError())


async def test_trios_own_is_one(anyio_backend: str) -> None:
    if anyio_backend == "asyncio":
        pytest.skip("trio's own")
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled) as caught:
            await trio.lowlevel.checkpoint()
        assert is_cancellation(caught.value)


def test_what_ends_the_program() -> None:
    assert ends_program(KeyboardInterrupt())
    assert ends_program(SystemExit(3))
    assert ends_program(BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [KeyboardInterrupt()])]))
    assert not ends_program(asyncio.CancelledError())
    assert not ends_program(ExceptionGroup("", [ValueError()]))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_in_words() -> None:
    assert shown(ValueError("no city")) == "ValueError: no city"
    assert shown(Unspeakable()) == "Unspeakable"
    assert len(shown(ValueError("x" * 10**6))) < 2_100
    assert "1000012 characters" in shown(ValueError("x" * 10**6))
    encode(shown(ValueError("half a pair: \ud83d")))


def test_what_was_meant_as_a_failure_is_one() -> None:
    assert failure_of(ToolError("full")) == Failure("failed", "full", "maybe")
    assert failure_of(Misuse(failed("conflict", "twice")), "done") == failed("conflict", "twice")


def test_all_else_is_failed_by_type_and_message() -> None:
    assert failure_of(KeyError("k"), "maybe") == failed("failed", "KeyError: 'k'", "maybe", type="KeyError")


@pytest.mark.parametrize("details", [{"a": object()}, {"a": 2**70}, {"a": "\ud800"}, {"a": {1, 2}}, {1: 2}])
def test_a_failure_can_travel_whatever_its_author_put_in(details: dict[str, object]) -> None:
    failure = plain(Failure("failed", "half: \ud800", details=details))
    encode(failure)
    assert failure.code == "failed"
    assert failure.message == "half: ?"
    assert all(isinstance(key, str) for key in failure.details)


def test_a_failure_is_never_larger_than_a_history_can_bear() -> None:
    failure = plain(Failure("failed", "x" * 10**6, details={"a": "x" * 10**6}))
    assert len(encode(failure)) < 10_000
    assert "1000000 characters" in failure.message


def test_plain_details_stay() -> None:
    failure = failed("too_large", "é", size=1, parts=[1.5, None, {"a": True}])
    assert plain(failure) == failure


def test_a_fault_tells_where_to_look_and_no_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "toolwire"):
        with pytest.raises(ValueError, match="the word") as caught:
            int("the word is " + str(1234))
        failure = fault("the kettle", caught.value)
    assert failure.code == "internal"
    assert failure.details["id"] in failure.message
    assert failure.details["id"] in caplog.text
    assert "the kettle" in caplog.text
    assert "test_border.py" in caplog.text
    assert "ValueError" in caplog.text
    assert "the word is 1234" not in caplog.text + failure.message


def test_the_whole_exception_is_logged_where_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "toolwire"):
        fault("the kettle", ValueError("the password is 1234"))
    assert "1234" in caplog.text
