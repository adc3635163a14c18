"""A conversation in a file is one chat's at a time, and nothing that another has written is lost."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolwire import AssistantMessage, History, Misuse, UserMessage
from toolwire.actors.gateways.cli import kept_history
from toolwire.actors.gateways.cli.kept_history import KeptHistory

ONE = History([UserMessage("one"), AssistantMessage("1")])
TWO = History([*ONE, UserMessage("two")])

HOLDS = """
import sys
from pathlib import Path
from toolwire import History, UserMessage
from toolwire.actors.gateways.cli.kept_history import KeptHistory

with KeptHistory(Path(sys.argv[1])) as kept:
    kept.read()
    kept.keep(History([UserMessage("theirs")]))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "talk.json"


@pytest.fixture(params=["locks", "a file system without locks", "a system without locks", "and without links"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a chat has to do with."""

    def refused(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    if request.param == "a file system without locks":
        monkeypatch.setattr(fcntl, "flock", refused)
    elif request.param != "locks":
        monkeypatch.setattr(kept_history, "fcntl", None)
    if request.param == "and without links":
        monkeypatch.setattr(os, "link", refused)
    return str(request.param)


def said(place: Path) -> History:
    return History.from_json(place.read_bytes())


def test_what_is_kept_is_read_by_the_next_one(place: Path, system: str) -> None:
    for history in (ONE, TWO):
        with KeptHistory(place) as kept:
            assert kept.read() == ([] if history is ONE else ONE)
            for _ in range(3):
                kept.keep(History([]))
                kept.keep(history)
    assert said(place) == TWO
    assert [each.name for each in place.parent.iterdir()] == ["talk.json"]


def test_what_another_has_written_stays_until_it_is_moved_away(place: Path, system: str) -> None:
    with KeptHistory(place) as kept:
        kept.read()
        kept.keep(ONE)
        place.with_suffix(".new").write_text("theirs")
        place.with_suffix(".new").replace(place)
        for _ in range(2):
            with pytest.raises(Misuse, match=r"talk\.json was written by somebody else meanwhile, and stays as it is"):
                kept.keep(TWO)
            assert place.read_text() == "theirs"
        assert [each.name for each in place.parent.iterdir()] == ["talk.json"]
        place.rename(place.with_suffix(".theirs"))
        kept.keep(TWO)
    assert said(place) == TWO


def test_what_is_changed_in_place_is_seen_too(place: Path, system: str) -> None:
    with KeptHistory(place) as kept:
        kept.read()
        kept.keep(ONE)
        place.write_text(place.read_text().replace("one", "other"))
        with pytest.raises(Misuse, match="written by somebody else"):
            kept.keep(TWO)
    assert said(place)[0] == UserMessage("other")


def test_of_two_that_begin_with_no_file_the_second_is_told(place: Path, system: str) -> None:
    with KeptHistory(place) as kept, KeptHistory(place) as other:
        assert kept.read() == other.read() == []
        kept.keep(ONE)
        with pytest.raises(Misuse, match="written by somebody else"):
            other.keep(TWO)
        kept.keep(TWO)
    assert said(place) == TWO


def test_one_that_is_written_in_the_moment_between_looking_and_writing_stays(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = os.link

    def late(*given: Any) -> None:
        place.write_text("theirs")
        linked(*given)

    monkeypatch.setattr(os, "link", late)
    with KeptHistory(place) as kept, pytest.raises(Misuse, match="written by somebody else"):
        kept.keep(ONE)
    assert place.read_text() == "theirs"


def test_one_that_is_open_is_not_opened_by_another(place: Path) -> None:
    with KeptHistory(place) as kept:
        kept.read()
        for history in (ONE, TWO):  # each is another file, in the place of the one before
            kept.keep(history)
            with (
                KeptHistory(place) as other,
                pytest.raises(Misuse, match=r"talk\.json is open in another chat") as told,
            ):
                other.read()
            assert told.value.failure.code == "conflict"
    with KeptHistory(place) as other:
        assert other.read() == TWO


def test_one_that_is_written_while_it_is_opened_is_opened_as_it_is_then(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KeptHistory(place) as kept:
        kept.keep(ONE)
    locked, times = kept_history._locked, iter((TWO, None))

    def late(handle: int) -> bool:
        history = next(times, None)
        if history is not None:
            with KeptHistory(place) as other:
                other._mark = kept._mark
                other.keep(history)
        return locked(handle)

    monkeypatch.setattr(kept_history, "_locked", late)
    with KeptHistory(place) as another:
        assert another.read() == TWO


@pytest.fixture
def holder(place: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the file open."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "held\n"
        yield program
        program.kill()


def test_a_crash_leaves_no_lock(place: Path, holder: "subprocess.Popen[str]") -> None:
    with KeptHistory(place) as kept:
        with pytest.raises(Misuse, match="open in another chat"):
            kept.read()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert kept.read() == [UserMessage("theirs")]
        kept.keep(ONE)
    assert said(place) == ONE


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells its open files elsewhere")
def test_no_handle_is_left_open(place: Path, system: str) -> None:
    def handles() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = handles()
    with KeptHistory(place) as kept:
        for _ in range(5):
            kept.keep(ONE)
        place.write_text("theirs")
        with pytest.raises(Misuse):
            kept.keep(TWO)
    for _ in range(2):
        with KeptHistory(place) as kept, pytest.raises(Misuse, match="holds no conversation"):
            kept.read()
    assert handles() == before
