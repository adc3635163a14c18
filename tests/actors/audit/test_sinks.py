"""One contract, one suite, every sink: what is written can be found, within its bounds, whatever happens between."""

import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolwire.actors.audit import JsonLines, Sink, Sqlite
from toolwire.protocol.record import CallRecord, Wanted, written

BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
Make = Callable[[Path], Sink]


@pytest.fixture(params=[JsonLines, Sqlite])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@contextmanager
def opened(sink: Sink) -> Iterator[Sink]:
    sink.open()
    try:
        yield sink
    finally:
        sink.close()


def record(n: int, tool: str = "t", code: str = "ok", conversation: str = "c") -> CallRecord:
    return CallRecord(BEGAN + timedelta(seconds=n), f"call_{n}", tool, conversation, code=code, seconds=n / 10)


RECORDS = [record(n, "ab"[n % 2], ("ok", "failed", "timed_out")[n % 3], f"c{n % 4}") for n in range(24)]


def test_what_is_written_is_found_the_latest_first(make: Make, tmp_path: Path) -> None:
    with opened(make(tmp_path / "calls")) as sink:
        sink.write(RECORDS[:10])
        sink.write(RECORDS[10:])
        assert sink.find() == RECORDS[::-1]
        assert sink.find(limit=3) == RECORDS[:-4:-1]
    assert make(tmp_path / "calls").find(limit=1) == RECORDS[-1:]  # by somebody who has not opened it


@given(
    tool=st.none() | st.sampled_from("ab"),
    code=st.none() | st.sampled_from(["ok", "failed", "overloaded"]),
    conversation=st.none() | st.sampled_from(["c0", "c3", "c9"]),
    since=st.none() | st.integers(-1, 25),
    limit=st.integers(1, 30),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_asked_for_is_what_fits(
    make: Make,
    tmp_path: Path,
    tool: str | None,
    code: str | None,
    conversation: str | None,
    since: int | None,
    limit: int,
) -> None:
    sink = make(tmp_path / "calls")
    if not (tmp_path / "calls").exists():
        with opened(sink):
            sink.write(RECORDS)
    start = None if since is None else BEGAN + timedelta(seconds=since)
    wanted = Wanted(tool, conversation, code, start)
    expected = [each for each in RECORDS[::-1] if wanted.fits(each)][:limit]
    assert sink.find(tool=tool, conversation=conversation, code=code, since=start, limit=limit) == expected


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_time_without_a_zone_is_local(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        local = (BEGAN + timedelta(seconds=20)).astimezone().replace(tzinfo=None)
        with opened(make(tmp_path / "calls")) as sink:
            sink.write(RECORDS)
            assert sink.find(since=local) == RECORDS[:19:-1]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_every_field_comes_back(make: Make, tmp_path: Path) -> None:
    whole = CallRecord(
        BEGAN, "1", "t\n'\"", "ü", "turn", "a", "failed", "maybe", 3, 1.5, 0.25, 1.0, "w", True, True, True, True,
        '{"a": "\\n"}', "[1]", "it broke\nhere", '{"user":"u1"}',
    )  # fmt: skip
    with opened(make(tmp_path / "calls")) as sink:
        sink.write([whole])
        assert sink.find(tool="t\n'\"") == [whole]


def test_it_goes_on_where_it_was_closed(make: Make, tmp_path: Path) -> None:
    for n in range(3):
        with opened(make(tmp_path / "calls")) as sink:
            sink.write([record(n)])
    assert [each.id for each in make(tmp_path / "calls").find()] == ["call_2", "call_1", "call_0"]


def test_where_nothing_can_be_kept_is_said_at_once(make: Make, tmp_path: Path) -> None:
    sink = make(tmp_path / "nowhere" / "calls")
    with pytest.raises(OSError, match=r"."):
        sink.open()
    with pytest.raises(OSError, match=r"."):
        sink.find()


def test_the_oldest_go_first(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "lines", largest=len(written_lines(10)), keep=2)
    rows = Sqlite(tmp_path / "rows", most=25)
    for sink in (lines, rows):
        with opened(sink):
            for n in range(0, 100, 5):
                sink.write([record(100 + m) for m in range(n, n + 5)])
            sink.write([record(n) for n in range(200, 245)])
    assert [each.id for each in rows.find(limit=999)] == [f"call_{n}" for n in reversed(range(220, 245))]
    kept = [each.id for each in lines.find(limit=999)]
    assert kept == [f"call_{n}" for n in reversed(range(245 - len(kept), 245))]
    assert 20 < len(kept) <= 30
    assert sorted(path.name for path in tmp_path.glob("lines*")) == ["lines", "lines.1", "lines.2"]
    assert all(path.stat().st_size <= lines.largest for path in tmp_path.glob("lines*"))


def written_lines(count: int) -> bytes:
    return b"".join(written(record(100 + n)) + b"\n" for n in range(count))


def test_lines_that_a_crash_has_torn_cost_no_other(tmp_path: Path) -> None:
    with opened(JsonLines(tmp_path / "calls")) as sink:
        sink.write([record(1), record(2)])
    whole = (tmp_path / "calls").read_bytes()
    (tmp_path / "calls").write_bytes(whole[:-20] + b"")
    with (tmp_path / "calls").open("ab") as file:
        file.write(b'\xff\xfe nonsense\n[1]\n{"time":"now"}\n{"torn')
    with opened(JsonLines(tmp_path / "calls")) as sink:
        sink.write([record(3)])
        assert [each.id for each in sink.find()] == ["call_3", "call_1"]


def test_only_its_owner_may_read_lines(tmp_path: Path) -> None:
    with opened(JsonLines(tmp_path / "calls")):
        assert (tmp_path / "calls").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_tears_nothing(make: Make, tmp_path: Path) -> None:
    with opened(make(tmp_path / "calls")) as sink:
        sink.write([record(1)])
        largest = max(path.stat().st_size for path in tmp_path.iterdir())
        with full_at(largest + 50), pytest.raises(OSError, match=r"too large|full|disk I/O"):
            sink.write([record(n) for n in range(2, 100)])
        assert [each.id for each in sink.find()] == ["call_1"]
        sink.write([record(100)])
        assert [each.id for each in sink.find()] == ["call_100", "call_1"]


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """A limit of the kernel's on the size of files stands for a disk that is full: a write is cut short, then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)


def test_a_database_that_somebody_holds_is_an_error_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolwire.actors.audit.sqlite.PATIENCE", 0.01)
    with opened(Sqlite(tmp_path / "calls")) as sink:
        sink.write([record(1)])
        other = sqlite3.connect(tmp_path / "calls", isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(OSError, match="locked"):
            sink.write([record(2)])
        assert [each.id for each in sink.find()] == ["call_1"]  # reading goes on
        other.execute("rollback")
        other.close()
        sink.write([record(3)])
        assert [each.id for each in sink.find()] == ["call_3", "call_1"]


def test_what_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "calls").write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match="not a database"):
        Sqlite(tmp_path / "calls").open()
    assert repr(Sqlite("calls.db")) == "<Sqlite calls.db>"
    assert repr(JsonLines("calls.jsonl")) == "<JsonLines calls.jsonl>"
