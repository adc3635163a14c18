"""The demo: its parts by themselves, and the whole of it as it runs on a real broker with two worker processes."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from rich.console import Console, RenderableType

from toolwire import CallFinished, CallStarted, Failure, ModelReply, ModelRequest, Runtime, ToolCall, ToolResult
from toolwire.actors.gateways.demo.loops import Pace, one_after_the_other, plain_gather, waves
from toolwire.actors.gateways.demo.play import REAL, SCRIPT, Audience, Stage, chosen, play
from toolwire.actors.gateways.demo.recording import Recording, Row
from toolwire.actors.gateways.demo.script import ROUNDS, trip
from toolwire.actors.gateways.demo.tools import TRIP
from toolwire.actors.gateways.demo.watched import Spoken, Watched
from toolwire.actors.gateways.demo.waterfall import Bar, summary, waterfall
from toolwire.protocol.events import Event
from toolwire.protocol.failures import failed
from toolwire.runtime.bus import Closed

TAKES = 20.0
"""Seconds that the demo may take."""


@pytest.mark.parametrize(
    ("needs", "expected"),
    [([], []), ([0], [[1]]), ([0, 0], [[1, 2]]), ([0, 1, 2, 0], [[1, 4], [2], [3]]), ([0, 1, 1], [[1], [2, 3]])],
)
def test_calls_stand_in_waves_by_what_they_need(needs: list[int], expected: list[list[int]]) -> None:
    calls = [ToolCall(str(n), "t", {"x": {"$result": need}} if need else {}) for n, need in enumerate(needs, 1)]
    assert waves(calls) == expected


async def noted(calls: Sequence[Sequence[ToolCall]], loop: Any) -> tuple[list[str], int]:
    """What `loop` does with calls of a tool `add`, in order, and how often it asks the model."""
    notes: list[str] = []

    async def add(name: str, more: int = 0) -> int:
        notes.append(name)
        return more + 1

    async with Runtime() as runtime:
        await runtime.serve(add)
        measured = await loop(runtime, calls, Pace())
    return notes, measured.replies


CHAIN = [
    ToolCall("1", "add", {"name": "a"}),
    ToolCall("2", "add", {"name": "b", "more": {"$result": 1}}),
    ToolCall("3", "add", {"name": "c"}),
]


@pytest.mark.anyio
async def test_a_loop_that_gathers_asks_the_model_once_more_for_each_wait() -> None:
    notes, replies = await noted([CHAIN, CHAIN[:1]], plain_gather)
    assert (set(notes[:2]), notes[2:], replies) == ({"a", "c"}, ["b", "a"], 4)  # trio starts tasks in any order


@pytest.mark.anyio
async def test_a_loop_one_by_one_keeps_the_order_of_the_script() -> None:
    assert await noted([CHAIN, CHAIN[:1]], one_after_the_other) == (["a", "b", "c", "a"], 3)


class Clock:
    """Time that goes on by one second each time it is looked at."""

    def __init__(self) -> None:
        self.now = -1.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_recording_tells_when_each_call_was_asked_for_began_and_ended() -> None:
    lost = Failure("invalid_arguments", "no")
    heard: list[Event] = [
        CallStarted("x", "search", "{}"),  # at 1
        CallFinished(ToolResult("x", "search", "1", worker="w")),  # at 2
        CallStarted("y", "hold", "{}", needs=("x",), order=("x",)),  # at 3
        CallFinished(ToolResult("y", "hold", None, lost)),  # at 4
        CallFinished(ToolResult("z", "book", None, lost)),  # at 5, never started
        CallStarted("pay", "pay", "{}"),  # at 6
    ]
    recording = Recording(Clock())
    for event in heard:
        recording.hear(event)
    recording.answered("pay")  # at 7
    killed = failed("timed_out", "too long", "maybe", process="killed")
    recording.hear(CallFinished(ToolResult("pay", "pay", None, killed, 2)))  # at 8
    asked = ("x", "y", "z", "never", "pay")
    rows = recording.rows([Spoken(0.0, 0.5, asked, {"x": 0.25})], lambda result: result.worker)
    assert rows == [
        Row(1, "search", "w", 0.25, 1.0, 2.0, (), (), "ok"),
        Row(2, "hold", "", 0.5, 3.0, 4.0, (1,), (1,), "invalid_arguments"),
        Row(3, "book", "", 0.5, 5.0, 5.0, (), (), "invalid_arguments"),
        Row(5, "pay", "", 0.5, 7.0, 8.0, (), (), "timed_out, killed", 2, confirmed=True),
    ]


@pytest.mark.anyio
async def test_a_watched_model_notes_each_reply() -> None:
    watched = Watched(trip(), Clock())
    whole = await watched.complete(ModelRequest(()))
    async with watched.stream(ModelRequest(())) as events:
        last = [event async for event in events][-1]
    assert [call.id for call in whole.calls] == ["1", "2", "3", "4", "5", "6"]
    assert isinstance(last, ModelReply)
    assert watched.replies == [
        Spoken(0.0, 1.0, ("1", "2", "3", "4", "5", "6")),
        Spoken(2.0, 8.0, ("7", "8", "9", "10", "11"), {"7": 3.0, "8": 4.0, "9": 5.0, "10": 6.0, "11": 7.0}),
    ]


def drawn(shown: RenderableType, width: int, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(shown)
    out.seek(0)
    return out.read().rstrip("\n")


@pytest.mark.parametrize(
    ("waits", "runs", "line"),
    [
        ((0.0, 0.0), (0.0, 4.0), "━━━━━━━━"),
        ((0.0, 0.0), (0.0, 1.0), "━━      "),
        ((1.0, 2.0), (2.0, 3.0), "  ··━━  "),
        ((0.0, 0.0), (0.25, 0.75), "╺╸      "),
        ((4.0, 4.0), (4.0, 4.0), "       ╺"),
        ((0.0, 0.0), (0.0, 0.0), "╸       "),
    ],
)
def test_a_bar_stands_where_its_time_is(waits: tuple[float, float], runs: tuple[float, float], line: str) -> None:
    assert drawn(Bar(4.0, waits, runs, "red"), 8) == line


def test_a_bar_can_be_drawn_in_ascii() -> None:
    assert drawn(Bar(4.0, (1.0, 2.0), (2.0, 3.0), "red"), 8, "ascii") == "  ..==  "


def test_a_waterfall_shows_who_waited_for_whom() -> None:
    rows = [
        Row(1, "search", "worker 1", 1.0, 1.0, 2.0, (), (), "ok"),
        Row(2, "hold", "here", 1.0, 2.0, 3.0, (1,), (), "timed_out"),
        Row(3, "add", "", 1.0, 2.0, 2.0, (), (1, 2), "invalid_arguments"),
        Row(4, "pay", "here", 1.0, 2.0, 3.0, (), (), "ok", 3, confirmed=True),
    ]
    text = drawn(waterfall(rows, [Spoken(0.0, 1.0, ("1", "2", "3", "4")), Spoken(3.0, 4.0, ())]), 100)
    heading, first, search, hold, add, pay, answer = text.splitlines()
    assert heading.split()[:6] == ["call", "where", "waits", "for", "0", "s"]
    assert first.split()[:4] == ["reply", "1", "the", "model"]
    assert search.split()[:3] == ["1", "search", "worker"]
    assert hold.split()[:4] == ["2", "hold", "here", "1"]
    assert hold.split()[-3:] == ["1.00", "s", "timed_out"]
    assert "refused" in add
    assert "after 1, after 2" in add
    assert pay.split()[:5] == ["4", "pay", "here", "a", "person"]
    assert pay.split()[-4:] == ["ok", "at", "try", "3"]
    assert answer.split()[:4] == ["the", "answer", "the", "model"]
    assert search.index("━") < hold.index("━") < answer.index("━")
    assert hold.index("·") == search.index("━")


@pytest.mark.parametrize(
    ("model", "base_url", "environment", "expected"),
    [
        (None, None, {}, SCRIPT),
        (None, None, {"OPENAI_API_KEY": "k"}, REAL),
        (None, None, {"OPENAI_API_KEY": "k", "TOOLWIRE_NO_MODELS": "1"}, SCRIPT),
        (SCRIPT, None, {"OPENAI_API_KEY": "k"}, SCRIPT),
        ("openai:x", None, {}, "openai:x"),
        ("openai:x", "http://h/v1", {}, "openai:x@http://h/v1"),
        (None, "http://h/v1", {}, f"{REAL}@http://h/v1"),
    ],
)
def test_the_script_speaks_unless_somebody_else_is_meant(
    model: str | None,
    base_url: str | None,
    environment: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_API_KEY", "TOOLWIRE_NO_MODELS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert chosen(model, base_url) == expected


class Watching(Audience):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def staged(self, stage: Stage, model: str) -> None:
        self.stages.append(stage)


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.usefixtures("playing")  # they play beside it
@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)  # it lasts 9 s; with a server it plays on asyncio
async def test_without_a_server_it_plays_in_memory_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolwire.runtime.bus.embedded.binary", no_server)
    watching = Watching()
    outcome = await play(SCRIPT, watching)
    [stage] = watching.stages
    assert (stage.url, stage.workers, stage.reason) == ("memory://", {}, "no server here")
    assert outcome.reply.ended == "answered"
    assert {row.where for row in outcome.rows} == {"here", "here, thread", ""}
    assert "plain gather" in drawn(summary(outcome), 100)


def no_server() -> str:
    raise Closed("no server here")


def begun(*arguments: str) -> "subprocess.Popen[str]":
    """The demo as a program, with no key and no settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TOOLWIRE", "OPENAI"))}
    return subprocess.Popen(
        [sys.executable, "-m", "toolwire", "demo", *arguments],
        env={**kept, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Played(NamedTuple):
    """How a demo ended, and what it said."""

    code: int
    out: str
    err: str


def played(program: "subprocess.Popen[str]") -> Played:
    out, err = program.communicate(timeout=TAKES)
    return Played(program.returncode, out, err)


@pytest.fixture(scope="module")
def playing() -> "Iterator[dict[str, subprocess.Popen[str]]]":
    """Both ways to play it, at once: each takes 9 s, and waits through nearly all of them."""
    with begun("--json") as measuring, begun("--memory") as plain:
        try:
            yield {"measuring": measuring, "plain": plain}
        finally:
            measuring.kill()
            plain.kill()


@pytest.fixture(scope="module")
def measured(playing: "dict[str, subprocess.Popen[str]]") -> dict[str, Any]:
    done = played(playing["measuring"])
    assert (done.code, done.err) == (0, "")
    told: dict[str, Any] = json.loads(done.out)
    return told


@pytest.mark.slow
def test_the_demo_plays_over_two_worker_processes(measured: dict[str, Any]) -> None:
    assert measured["bus"].startswith("nats://127.0.0.1:")
    assert len(set(measured["workers"].values())) == 2
    places = {call["name"]: call["where"] for call in measured["calls"]}
    assert set(places.values()) == {"worker 1", "worker 2", "here", "here, thread"}
    assert places["search_flights"] == places["hold_seat"] == "worker 1"
    assert places["exchange_rate"] == "here, thread"


@pytest.mark.slow
def test_the_demo_shows_every_kind_of_ending(measured: dict[str, Any]) -> None:
    calls = measured["calls"]
    assert (measured["ended"], len(calls), measured["replies"]["toolwire"]) == ("answered", 15, len(ROUNDS) + 1)
    ended = [(call["name"], call["ended"]) for call in calls if call["ended"] != "ok"]
    assert ended == [("book_table", "invalid_arguments"), ("fare_forecast", "timed_out, killed")]
    assert [call["ended"] for call in calls if call["name"] == "book_table"] == ["invalid_arguments", "ok"]
    for call in calls:
        assert all(calls[n - 1]["finished"] <= call["began"] for n in (*call["needs"], *call["order"]))
    assert sum(bool(call["needs"]) for call in calls) == 3
    assert sum(bool(call["order"]) for call in calls) == 1
    assert {call["name"]: call["attempts"] for call in calls if call["attempts"] > 1} == {"city_events": 2}
    assert [call["name"] for call in calls if call["confirmed"]] == ["pay_hotel"]


@pytest.mark.slow
def test_calls_that_only_read_start_while_the_model_still_speaks(measured: dict[str, Any]) -> None:
    search, hold = (
        next(call for call in measured["calls"] if call["name"] == name) for name in ("search_flights", "hold_seat")
    )
    assert search["began"] < measured["spoken"][0]["ended"] <= hold["began"]


@pytest.mark.slow
def test_the_turn_is_faster_than_both_loops(measured: dict[str, Any]) -> None:
    seconds = measured["seconds"]
    assert all(a < b for a, b in pairwise([seconds["toolwire"], seconds["plain_gather"], seconds["one_by_one"]]))
    assert measured["replies"] == {"toolwire": 4, "plain_gather": 6, "one_by_one": 4}


@pytest.mark.slow
def test_the_demo_is_plain_in_a_pipe(playing: "dict[str, subprocess.Popen[str]]") -> None:
    done = played(playing["plain"])
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    for word in ("in memory", "search_flights", "waits for", "plain gather", "one by one", "OPENAI_API_KEY"):
        assert word in done.out


def test_a_real_model_without_a_key_is_one_sentence() -> None:
    with begun("--model", "openai:gpt-5.1", "--memory") as program:
        done = played(program)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "OPENAI_API_KEY" in done.err


@pytest.mark.anyio
async def test_every_tool_of_the_script_is_served() -> None:
    async with Runtime() as runtime:
        served = await runtime.serve(*TRIP)
    assert {call.name for calls in ROUNDS for call in calls} == set(served.tools)
