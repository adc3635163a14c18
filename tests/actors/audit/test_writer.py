"""Records on their way to a sink: in order, bounded, flushed at the end, whatever the sink does."""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import pytest

from toolwire import Runtime
from toolwire.actors.audit.writer import Writer
from toolwire.protocol.record import CallRecord

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Slow:
    """A sink that writes when it may."""

    content = False

    def __init__(self) -> None:
        self.may = threading.Semaphore(0)
        self.written: list[str] = []
        self.fails = 0
        self.closed = False

    def __repr__(self) -> str:
        return "<Slow>"

    def open(self) -> None:
        pass

    def write(self, records: Sequence[CallRecord]) -> None:
        assert self.may.acquire(timeout=10)
        if self.fails:
            self.fails -= 1
            raise OSError(28, "No space left on device")
        self.written += [record.id for record in records]

    def close(self) -> None:
        self.closed = True

    def find(self, **_: object) -> list[CallRecord]:
        return []


def record(n: int) -> CallRecord:
    return CallRecord(NOW, str(n), "t")


async def test_what_waits_is_bounded_and_what_is_dropped_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = Slow()
    writer = Writer(sink, most=3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        writer.add(record(0))
        await anyio.wait_all_tasks_blocked()  # the thread has it
        for n in range(1, 10):
            writer.add(record(n))
        assert writer.lost == 6
        assert repr(writer) == "<Writer <Slow> [waiting: 3 | lost: 6]>"
        tasks.cancel_scope.cancel()
        sink.may.release(2)
    await writer.close()
    assert sink.written == ["0", "1", "2", "3"]
    assert sink.closed
    said = [each.getMessage() for each in caplog.records if each.name == "toolwire.audit"]
    assert said == ["<Slow> is too slow: records of calls are dropped, 1 so far"]


async def test_a_full_disk_is_counted_and_said_and_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    sink = Slow()
    sink.fails = 1
    writer = Writer(sink)
    sink.may.release(2)
    writer.add(record(1))
    await writer._write()
    writer.add(record(2))
    await writer.close()
    assert (sink.written, writer.lost) == (["2"], 1)
    (said,) = [each for each in caplog.records if each.name == "toolwire.audit"]
    assert said.levelno == logging.ERROR
    assert said.getMessage().startswith("<Slow>: 1 records of calls can't be written: [Errno 28]")


async def test_strict_nobody_begins_without_a_place() -> None:
    sink = Slow()
    writer = Writer(sink, strict=True, most=2)
    begun: list[int] = []
    all_begun = anyio.Event()

    async def call(n: int) -> None:
        await writer.place()
        begun.append(n)
        if len(begun) == 5:
            all_begun.set()
        writer.added()
        writer.add(record(n))

    async with anyio.create_task_group() as tasks:
        for n in range(5):
            tasks.start_soon(call, n)
        await anyio.wait_all_tasks_blocked()
        assert len(begun) == 2
        sink.may.release(5)
        async with anyio.create_task_group() as writing:
            writing.start_soon(writer.run)
            await all_begun.wait()
            writing.cancel_scope.cancel()
    await writer.close()
    assert sorted(sink.written) == ["0", "1", "2", "3", "4"]
    assert writer.lost == 0


async def test_a_sink_that_hangs_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("toolwire.actors.audit.writer.CLOSING", 0.01)
    sink = Slow()
    writer = Writer(sink)
    writer.add(record(1))
    await writer.close()
    sink.may.release()
    said = [each.getMessage() for each in caplog.records if each.name == "toolwire.audit"]
    assert said == ["<Slow> does not end: records of calls may be lost, 0 that were not begun to be written"]


async def test_what_waits_is_bounded_in_content_too() -> None:
    sink = Slow()
    writer = Writer(sink, room=100)
    for n in range(5):
        writer.add(CallRecord(NOW, str(n), "t", arguments="x" * 30, result="y" * 10))
    assert writer.lost == 2
    sink.may.release(2)
    await writer._write()
    writer.add(record(9))
    await writer.close()
    assert sink.written == ["0", "1", "2", "9"]


async def test_a_sink_that_can_not_be_closed_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Slow):
        def close(self) -> None:
            raise OSError(5, "Input/output error")

    stuck, other = Stuck(), Slow()
    stuck.may.release()
    other.may.release()
    async with Runtime(audit=[stuck, other]) as runtime:
        await runtime.call("nobody")
    assert stuck.written == other.written == ["call_1"]
    assert other.closed
    assert "<Slow> can't be closed" in caplog.text
