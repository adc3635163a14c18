"""Who serves what, as announced on a bus that others share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire.actors.catalogue import Catalogue
from toolwire.actors.directory import AGAIN, CHUNK, SETTLE, Directory
from toolwire.protocol.messages import Announce, Who
from toolwire.protocol.tools import ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import Recorder

pytestmark = pytest.mark.anyio

ONE, TWO = ToolSpec("one"), ToolSpec("two", "Two.")


@asynccontextmanager
async def end(name: str, *, start: bool = True) -> AsyncIterator[Directory]:
    """One of the ends of a bus in memory that others share."""
    async with ActorSystem(MemoryBus(name)) as system:
        directory = Directory(system, Catalogue(lambda tool, instance: system.address("tool", tool, instance)))
        if start:
            await directory.start()
        yield directory


async def test_what_is_announced_is_known_everywhere_but_not_twice_at_home() -> None:
    async with end("announce") as here, end("announce") as there:
        await here.announce([ONE, TWO])
        assert dict(there.catalogue) == {"one": ONE, "two": TWO}
        assert there.catalogue.entries["one"].instances == [here.instance]
        assert not here.catalogue


async def test_a_newcomer_is_told_of_what_is_there() -> None:
    async with end("newcomer") as here:
        await here.announce([ONE])
        async with end("newcomer") as there:
            await anyio.wait_all_tasks_blocked()
            assert list(there.catalogue) == ["one"]


async def test_what_is_withdrawn_is_gone_and_only_there() -> None:
    async with end("withdraw") as one, end("withdraw") as two, end("withdraw") as reader:
        for directory in (one, two):
            await directory.announce([ONE, TWO])
        await one.withdraw([ONE])
        assert reader.catalogue.entries["one"].instances == [two.instance]
        assert sorted(reader.catalogue.entries["two"].instances) == sorted([one.instance, two.instance])
        await two.leave()
        assert list(reader.catalogue) == ["two"]
        await one.leave()
        assert not reader.catalogue


async def test_who_leaves_is_asked_no_more() -> None:
    async with end("leave") as here, end("leave") as there:
        await here.announce([ONE])
        await here.leave()
        async with end("leave") as late:
            await anyio.wait_all_tasks_blocked()
            assert not late.catalogue
        assert not there.catalogue


async def test_many_specs_go_in_parts() -> None:
    specs = [ToolSpec(f"t{n}", "x" * 10_000) for n in range(100)]
    async with end("parts") as here, end("parts") as there:
        async with Recorder(here.system, here.address, Announce | Who) as recorder:
            await here.announce(specs)
        assert len(recorder.messages) == -(-100 * 10_000 // CHUNK)
        assert list(there.catalogue) == [spec.name for spec in specs]
        await here.announce([ToolSpec("huge", "x" * 2 * CHUNK)])
        assert "huge" in there.catalogue


@pytest.mark.parametrize("noise", [b"", b"hello", b"\x80" * 1000, b"\x93\x01\x00\x91\xa5other"])
async def test_what_is_no_announcement_is_passed_over(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with end("noise") as here, end("noise") as there:
        with caplog.at_level("CRITICAL", "toolwire"):
            await there.system.bus.publish(there.address, noise)
        await there.announce([ONE])
        assert list(here.catalogue) == ["one"]


def test_a_newcomer_waits_for_announcements_only_at_first() -> None:
    async def main() -> None:
        async with end("settle") as here:
            began = trio.current_time()
            await here.settle()
            await here.settle()
            assert trio.current_time() - began == pytest.approx(SETTLE)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_who_seemed_gone_is_known_again_when_it_comes_back() -> None:
    async def main() -> None:
        async with end("again") as here, end("again") as there:
            await here.announce([ONE])
            there.catalogue.forget(here.instance)
            there.look_again()
            there.look_again()
            await trio.sleep(2 * AGAIN[0])
            assert list(there.catalogue) == ["one"]
            async with Recorder(there.system, there.address, Announce | Who) as recorder:
                await trio.sleep(10 * sum(AGAIN))
                asked = [message for message in recorder.messages if isinstance(message, Who)]
                assert len(asked) == len(AGAIN) - 1

    trio.run(main, clock=MockClock(autojump_threshold=0))
