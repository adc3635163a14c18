"""Results that are given again: to whom, for how long, and when no longer."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from toolwire import Runtime, Tool, ToolCall, ToolError, scripted, tool
from toolwire.actors.steps import Steps

pytestmark = pytest.mark.anyio


class Counted:
    """How often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    async def look(self, city: str = "", days: float = 1.0) -> str:
        self.runs += 1
        if city == "Atlantis":
            raise ToolError("nobody knows where it lies")
        return f"{city} {self.runs}"


def kept(counted: Counted, version: str = "") -> Tool[str]:
    return tool(counted.look, read_only=True, cache=60.0, version=version)


async def test_the_same_call_is_answered_again_without_a_run() -> None:
    counted = Counted()
    async with Runtime() as runtime:
        await runtime.serve(kept(counted))
        first, again, *others = await runtime.call_many(
            [
                ToolCall("a", "look", '{"city":"Paris","days":2}'),
                ToolCall("b", "look", '{ "days": 2, "city": "\\u0050aris" }', ("a",)),
                ToolCall("c", "look", '{"city":"Rome","days":2}', ("b",)),
                ToolCall("d", "look", '{"city":"Paris","days":2.5}', ("c",)),
            ]
        )
    assert (first.cached, first.attempts, first.value) == (False, 1, "Paris 1")
    assert (again.id, again.cached, again.attempts, again.value) == ("b", True, 0, "Paris 1")
    assert again.worker == first.worker
    assert [(each.cached, each.value) for each in others] == [(False, "Rome 2"), (False, "Paris 3")]


async def test_failures_are_not_kept_nor_is_what_is_no_json() -> None:
    counted = Counted()
    async with Runtime() as runtime:
        await runtime.serve(kept(counted))
        for _ in range(2):
            assert not (await runtime.call("look", {"city": "Atlantis"})).ok
            (result,) = await runtime.call_many([ToolCall("a", "look", '{"city": "Rome", "days": 1,}')])
            assert not result.cached
    assert counted.runs >= 2


async def test_another_caller_is_not_told() -> None:
    counted = Counted()
    said = ("look", {"city": "Paris"})
    async with Runtime() as runtime:
        await runtime.serve(kept(counted))
        values = []
        for user in ("u1", "u2", "u1"):
            chat = await runtime.converse(model=scripted([said, "so"]), caller={"user": user})
            reply = await chat.say("?")
            values.append((reply.calls[0].value, reply.calls[0].cached))
    assert values == [("Paris 1", False), ("Paris 2", False), ("Paris 1", True)]


@pytest.mark.parametrize("version", ["", "2"])
async def test_a_tool_that_is_replaced_is_asked_again(version: str) -> None:
    async with Runtime() as runtime:
        await runtime.serve(kept(Counted()))
        await runtime.call("look")
        assert (await runtime.call("look")).cached
        await runtime.serve(kept(Counted(), version=version), replace=True)
        assert not (await runtime.call("look")).cached
        assert (await runtime.call("look")).cached


async def test_a_tool_that_is_gone_takes_its_results_along() -> None:
    async with Runtime() as runtime:
        served = await runtime.serve(kept(Counted()))
        await runtime.call("look")
        assert len(runtime._means.steps.cache.kept) == 1
        await served.stop()
        assert len(runtime._means.steps.cache.kept) == 0


async def test_it_keeps_no_more_than_it_has_room_for() -> None:
    async with Runtime() as runtime:
        steps = runtime._means.steps = Steps(most=2)
        await runtime.serve(kept(Counted()))
        for city in ("a", "b", "c"):
            await runtime.call("look", {"city": city})
        assert len(steps.cache.kept) == 2
        assert not (await runtime.call("look", {"city": "a"})).cached


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_it_is_good_for_so_long() -> None:
    async def main() -> None:
        async with Runtime() as runtime:
            await runtime.serve(kept(Counted()))
            assert not (await runtime.call("look")).cached
            await trio.sleep(59)
            assert (await runtime.call("look")).cached
            await trio.sleep(2)  # having been asked for prolongs nothing
            assert not (await runtime.call("look")).cached

    timeless(main)
