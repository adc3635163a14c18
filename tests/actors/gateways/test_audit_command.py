"""`toolwire audit`: what was kept of calls, for people and for programs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toolwire.actors.audit import JsonLines, Sqlite
from toolwire.actors.gateways.cli.app import main
from toolwire.actors.gateways.cli.audit import instant
from toolwire.actors.gateways.cli.exits import Exit
from toolwire.protocol.failures import Misuse
from toolwire.protocol.record import CallRecord

NOW = datetime.now(UTC)
RECORDS = [
    CallRecord(NOW - timedelta(hours=2), "1", "search", "c1", seconds=0.5, attempts=1, cached=True),
    CallRecord(NOW, "2", "mail\x1b[2J", "c2", code="failed", effect="maybe", attempts=3),
]


@pytest.fixture(params=["lines", "rows"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "calls"
    sink = JsonLines(path) if request.param == "lines" else Sqlite(path)
    sink.open()
    sink.write(RECORDS)
    sink.close()
    return str(path)


def test_a_table_for_people(kept: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # else it is as wide as whoever started the tests has it
    assert main(["audit", kept]) == Exit.DONE
    heading, latest, first = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["time", "tool", "call", "conversation"]
    assert "failed" in latest
    assert "\x1b[2J" not in latest
    assert first.split()[2:] == ["search", "1", "c1", "ok", "0.500", "1", "cached"]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["2", "1"]),
        (["--tool", "search"], ["1"]),
        (["--code", "failed"], ["2"]),
        (["--conversation", "c1"], ["1"]),
        (["--since", "1h"], ["2"]),
        (["--since", "3h", "--limit", "1"], ["2"]),
    ],
)
def test_lines_for_programs(kept: str, capsys: pytest.CaptureFixture[str], options: list[str], ids: list[str]) -> None:
    assert main(["audit", kept, "--json", *options]) == Exit.DONE
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ids


def test_nothing_found_is_said(kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", kept, "--tool", "nobody"]) == Exit.DONE
    assert capsys.readouterr().err == "no such call is recorded there\n"


@pytest.mark.parametrize("content", [b"", b"root:x:0:0\n", b"[1,2]\n", b"\x00" * 100, b"\xff\n"])
def test_a_file_that_is_no_audit_is_called_so(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_bytes(content)
    assert main(["audit", str(tmp_path / "other")]) == Exit.DONE
    assert capsys.readouterr().err == f"{tmp_path / 'other'} holds no record of calls\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "nowhere can't be read: No such file or directory"),
        ([".", "--limit", "0"], "--limit must be 1 or more, not 0"),
        ([".", "--since", "yesterday"], "--since takes a time ago, such as"),
    ],
)
def test_asked_wrongly_is_one_sentence(capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    assert main(["audit", *options]) == Exit.ASKED_WRONGLY
    assert capsys.readouterr().err.startswith(f"toolwire: {said}")


def test_a_time_ago_or_a_date() -> None:
    assert instant("90s", NOW) == NOW - timedelta(seconds=90)
    assert instant("7d", NOW) == NOW - timedelta(days=7)
    assert instant("2026-01-31T00:00:00Z", NOW) == datetime(2026, 1, 31, tzinfo=UTC)
    with pytest.raises(Misuse):
        instant("999999999d", NOW)
