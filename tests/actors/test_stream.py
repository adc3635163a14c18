"""Tools that yield: what is told while they run, what is their result, and that they are closed."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from msgspec import Struct

from toolwire import Agent, CallFinished, CallProgress, Runtime, Tool, scripted, tool
from toolwire.actors.stream import SHOWN, note

pytestmark = pytest.mark.anyio


class Page(Struct):
    number: int


@tool
async def pages(count: int) -> AsyncIterator[Page | str]:
    """Read pages."""
    for number in range(count):
        yield f"reading {number}"
        yield Page(number)


@tool
def behind(count: int) -> AsyncIterator[Page | str]:
    """Give what another yields."""
    return pages(count)  # type: ignore[no-any-return]


@tool
async def awaited(count: int) -> AsyncIterator[Page | str]:
    """Give what another yields, later."""

    async def source() -> AsyncIterator[Page | str]:
        yield "reading 0"
        yield Page(count - 1)

    return source()


class Steps:
    def __init__(self) -> None:
        self.closed: list[str] = []

    async def walk(self, far: int) -> AsyncIterator[int]:
        try:
            for step in range(far):
                yield step
            if far > 5:
                raise OSError("too far")
            if far == 5:
                await anyio.sleep_forever()
        finally:
            self.closed.append("walk")


@pytest.mark.parametrize("made", [pages, behind, awaited], ids=lambda made: made.name)
async def test_the_last_is_the_result(made: Tool[Any]) -> None:
    assert made.spec.returns is not None
    async with Runtime() as runtime:
        await runtime.serve(made)
        assert (await runtime.call(made, {"count": 2})).value == Page(1)
        assert (await runtime.call(made.name, {"count": 2})).value == {"number": 1}


async def test_nothing_yielded_is_null() -> None:
    async with Runtime() as runtime:
        await runtime.serve(pages)
        assert (await runtime.call("pages", {"count": 0})).value is None


async def test_each_is_told_when_it_comes() -> None:
    agent = Agent("reader", model=scripted([("pages", {"count": 2}), "done"]), tools=[pages])
    async with Runtime() as runtime:
        chat = await runtime.converse(agent)
        async with chat.stream("read") as events:
            heard = [event async for event in events]
    told = [(event.done, event.note) for event in heard if isinstance(event, CallProgress)]
    assert told == [(1, "reading 0"), (2, '{"number":0}'), (3, "reading 1"), (4, '{"number":1}')]
    assert [event.result.value for event in heard if isinstance(event, CallFinished)] == [{"number": 1}]


async def test_it_is_closed_however_it_ends() -> None:
    steps = Steps()
    async with Runtime() as runtime:
        await runtime.serve(steps)
        assert (await runtime.call("walk", {"far": 2})).value == 1
        failure = (await runtime.call("walk", {"far": 6})).failure
        assert failure is not None
        assert "too far" in failure.message
        late = (await runtime.call("walk", {"far": 5}, timeout=0.05)).failure
        assert late is not None
        assert late.code == "timed_out"
    assert steps.closed == ["walk"] * 3


async def test_an_iterator_that_can_not_be_closed_is_well_too() -> None:
    class Twice:
        def __init__(self) -> None:
            self.left = 2

        def __aiter__(self) -> "Twice":
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    @tool
    def twice() -> AsyncIterator[int]:
        return Twice()

    async with Runtime() as runtime:
        await runtime.serve(twice)
        assert (await runtime.call(twice)).value == 0


async def test_called_without_a_runtime_it_is_the_generator_that_it_is() -> None:
    async with aclosing(pages(1)) as yielded:
        assert [value async for value in yielded] == ["reading 0", Page(0)]


def test_a_note_is_short_and_never_fails() -> None:
    assert note("x" * 2 * SHOWN) == "x" * SHOWN + "…"
    assert note([1, "a"]) == '[1,"a"]'
    assert note(object()) == "a object that JSON can't carry (TypeError)"
