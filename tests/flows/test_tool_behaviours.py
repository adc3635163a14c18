"""Tools that misbehave, one in each row of `tests/corpus/tool_behaviours.jsonl`: each call ends as its row says, once,
the next call is answered, and nothing of it is left running.
"""

import asyncio
import enum
import gc
import io
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from toolwire import CallFailed, Context, Served, ToolCall, ToolError, ToolResult, ToolwireError, tool
from toolwire.protocol.failures import CODES, Failure

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus" / "tool_behaviours.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in CORPUS.read_text("ascii").splitlines()]

MOOD: ContextVar[str] = ContextVar("MOOD", default="calm")
BEHAVIOURS: dict[str, Callable[..., Any]] = {}


def behaviour(why: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What a row of the corpus does."""

    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        assert why not in BEHAVIOURS, why
        BEHAVIOURS[why] = function
        return function

    return named


def returning(why: str, make: Callable[[], Any]) -> None:
    async def bad() -> Any:
        return make()

    behaviour(why)(bad)


def raising(why: str, make: Callable[[], BaseException]) -> None:
    async def bad() -> None:
        await checkpoint()
        raise make()

    behaviour(why)(bad)


class Odd(BaseException):
    """Not even an Exception."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class MuteForGood(Exception):
    def __str__(self) -> str:
        raise Odd


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - that is the point


class Nameless(Exception):
    def __repr__(self) -> str:
        raise ValueError("no words")


class Prickly(Exception):
    """Whoever looks at it is stung."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)


class Greedy(Exception):
    """It asks to be tried again in a time that is none."""

    status = 429

    class response:  # noqa: N801 - as clients of HTTP call it
        headers: ClassVar[dict[str, str]] = {"Retry-After": "nan"}


class Changeling(Exception):
    @property
    def __class__(self) -> Any:
        return asyncio.CancelledError

    @__class__.setter
    def __class__(self, _: Any) -> None: ...


def cause_of_itself() -> BaseException:
    error = ValueError("round")
    error.__cause__ = error.__context__ = error
    return error


def deep_group() -> BaseException:
    group = ExceptionGroup[Exception]("outside", [ValueError("inside")])
    for _ in range(50):
        group = ExceptionGroup("outside", [group])
    return group


raising("raises a ValueError", lambda: ValueError("no"))
raising("raises what is not even an Exception", Odd)
raising("raises a CancelledError of its own", asyncio.CancelledError)
raising("raises GeneratorExit", GeneratorExit)
raising("raises StopIteration with a value", lambda: StopIteration("mine"))
raising("raises StopAsyncIteration", StopAsyncIteration)
raising("raises a group of errors", lambda: ExceptionGroup("two", [ValueError(), TypeError()]))
raising("raises a group of cancellations", lambda: BaseExceptionGroup("two", [asyncio.CancelledError(), Odd()]))
raising("raises a group in a group in a group", deep_group)
raising("raises MemoryError", MemoryError)
raising("raises TimeoutError though no time is up", TimeoutError)
raising("raises an error that has no words", Mute)
raising("raises an error whose words raise what is no Exception", MuteForGood)
raising("raises an error whose words are a number", NoText)
raising("raises an error that has no repr", Nameless)
raising("raises an error that may not be looked at", Prickly)
raising("raises an error that asks for a retry after NaN seconds", Greedy)
raising("raises an error that says it is a cancellation", Changeling)
raising("raises an error that is its own cause", cause_of_itself)
raising("raises an error with half a surrogate", lambda: ValueError("\ud83d"))
raising("raises an error of a megabyte", lambda: ValueError("x" * 2**20))
raising("raises an error with control characters", lambda: ValueError("\x00\x1b[2J\r\n"))
raising("raises a ToolError with details that JSON can't carry", lambda: ToolError("no", details={"n": object()}))
raising("raises a failure with a code of the runtime's", lambda: CallFailed(Failure("internal", "mine", "none")))
raising("raises a failure with a code that is none", lambda: ToolwireError(Failure("no such code", "mine")))
raising("raises an error with a long chain behind it", lambda: chained(500))


def chained(length: int) -> BaseException:
    error = ValueError("first")
    for n in range(length):
        other = ValueError(str(n))
        other.__cause__ = error
        error = other
    return error


def circle() -> Any:
    value: dict[str, Any] = {}
    value["me"] = value
    return value


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


@dataclass
class Parent:
    children: list["Parent"] = field(default_factory=list)


def family() -> Parent:
    parent = Parent()
    parent.children.append(parent)
    return parent


class Restless(Mapping[str, int]):
    """It changes while it is looked at."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        yield "a"
        raise RuntimeError("changed size")


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Fading(msgspec.Struct):
    """A value with a field that was never set."""

    there: int
    gone: int = 0


def faded() -> Fading:
    value = Fading(1)
    del value.gone
    return value


class Colour(enum.Enum):
    RED = object()


returning("returns an object", object)
returning("returns a function", lambda: circle)
returning("returns a module", lambda: json)
returning("returns a type", lambda: int)
returning("returns an exception", lambda: ValueError("returned"))
returning("returns a lock", threading.Lock)
returning("returns an open file", io.StringIO)
returning("returns a generator", lambda: (n for n in range(3)))
returning("returns an iterator", lambda: iter([1]))
returning("returns a complex number", lambda: 1j)
returning("returns NaN deep inside", lambda: {"a": [1, {"b": float("nan")}]})
returning("returns infinity", lambda: float("inf"))
returning("returns itself inside itself", circle)
returning("returns an object that holds itself", family)
returning("returns what is nested too deep", lambda: nested(100_000))
returning("returns keys that are tuples", lambda: {(1, 2): 3})
returning("returns half a surrogate", lambda: {"a": ["\udc00"]})
returning("returns half a surrogate as a key", lambda: {"\udc00": 1})
returning("returns a set of what can't be written", lambda: {object()})
returning("returns an enum of objects", lambda: Colour.RED)
returning("returns a mapping that changes while it is read", Restless)
returning("returns what may not be looked at", Hostile)
returning("returns a value that lacks a field", faded)
returning("returns a megabyte", lambda: "x" * 2**20)
returning("returns a million numbers", lambda: list(range(10**6)))
returning("returns an integer of a hundred digits", lambda: 10**100)
returning("returns bytes", lambda: b"\xff\x00")
returning("returns nothing", lambda: None)


@behaviour("blocks the loop for a moment")
async def _() -> str:
    time.sleep(0.02)  # noqa: ASYNC251 - that is the point
    return "done"


@behaviour("never suspends for a while")
async def _() -> int:
    return sum(range(300_000))


@behaviour("exhausts the stack")
async def _() -> None:
    def deep() -> None:
        deep()

    deep()


@behaviour("exhausts the stack in a thread")
def _() -> None:
    def deep() -> None:
        deep()

    deep()


@behaviour("starts a thread and returns")
def _() -> str:
    threading.Thread(target=time.sleep, args=(0.01,), daemon=True).start()
    return "done"


@behaviour("spawns a task and leaves it to others")
async def _(context: Context) -> str:
    context.system.tasks.start_soon(checkpoint)  # a tool has no business there
    return "done"


@behaviour("spawns a task that fails in a group of its own")
async def _() -> None:
    async def fails() -> None:
        raise KeyError("inside")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fails)
        await anyio.sleep_forever()


@behaviour("ignores a cancellation for a moment")
async def _() -> str:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            for _ in range(5):
                await checkpoint()
    return "never"


@behaviour("swallows its cancellation and goes on")
async def _() -> str:
    with suppress(BaseException):
        await anyio.sleep_forever()
    await anyio.sleep_forever()
    return "never"


@behaviour("answers its cancellation with another error")
async def _() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError("instead")


@behaviour("answers its cancellation with a result")
async def _() -> str:
    try:
        await anyio.sleep_forever()
    except BaseException:  # noqa: BLE001 - that is the point
        return "all the same"
    return "never"


@behaviour("cancels a scope of its own")
async def _() -> str:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep_forever()
    return "done"


@behaviour("lets a time limit of its own run out")
async def _() -> None:
    with anyio.fail_after(0):
        await anyio.sleep_forever()


@behaviour("waits in a thread for longer than it may")
def _() -> None:
    threading.Event().wait(0.1)


@behaviour("tells its progress after its end")
async def _(context: Context) -> str:
    async def late() -> None:
        await checkpoint()
        await context.progress(2.0)

    context.system.tasks.start_soon(late)  # a tool has no business there
    await context.progress(1.0)
    return "done"


@behaviour("tells progress that is no number")
async def _(context: Context) -> None:
    await context.progress("half", float("nan"), "\ud800")  # type: ignore[arg-type]  # that is the point


@behaviour("calls itself for ever")
async def _(context: Context) -> str:
    return str((await context.call("bad")).value)


@behaviour("calls a tool that is not there")
async def _(context: Context) -> str:
    return str((await context.call("nobody")).value)


@behaviour("calls a tool with what JSON can't carry")
async def _(context: Context) -> str:
    return str((await context.call("good", {"n": object()})).value)


@behaviour("yields nothing")
async def _() -> AsyncIterator[int]:
    for n in range(0):
        yield n


@behaviour("yields, then raises")
async def _() -> AsyncIterator[int]:
    yield 1
    raise ValueError("after all")


@behaviour("yields for ever")
async def _() -> AsyncIterator[int]:
    n = 0
    while True:
        yield (n := n + 1)
        await checkpoint()


@behaviour("yields what JSON can't carry")
async def _() -> AsyncIterator[Any]:
    yield object()


@behaviour("runs an event loop inside the event loop")
async def _() -> None:
    anyio.run(checkpoint, backend="asyncio" if asyncio_runs() else "trio")


def asyncio_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@behaviour("runs an event loop of its own in a thread")
def _() -> str:
    asyncio.run(asyncio.sleep(0))
    return "done"


@behaviour("changes its arguments and its surroundings")
async def _() -> str:
    MOOD.set("spoiled")
    return MOOD.get()


@behaviour("closes stdout")
def _() -> str:
    sys.stdout.close()
    return "done"


@behaviour("lowers the limit of recursion")
async def _() -> str:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before - 1)
    sys.setrecursionlimit(before)
    return "done"


@behaviour("collects garbage while it runs")
async def _() -> str:
    gc.collect()
    return "done"


@behaviour("raises in a finally while it raises")
async def _() -> None:
    try:
        raise ValueError("first")
    finally:
        raise KeyError("second")


@behaviour("asks for time that it does not have")
async def _(context: Context) -> float | None:
    context.deadline = 0.0
    return context.remaining()


STOPS: list[Served] = []


@behaviour("stops its own service while it runs")
async def _() -> str:
    await STOPS.pop().stop()
    return "stopped"


@tool
async def good(n: int) -> int:
    return n + 1


def test_every_row_is_a_behaviour() -> None:
    assert [row["why"] for row in ROWS] == list(BEHAVIOURS)
    assert len(ROWS) >= 60


@pytest.mark.parametrize("row", ROWS, ids=[row["why"] for row in ROWS])
async def test_a_tool_that_misbehaves(memory: Any, row: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    results: list[ToolResult[Any]] = []
    async with memory.open(good) as runtime:
        STOPS[:] = [await runtime.serve(tool(name="bad", timeout=row.get("timeout"))(BEHAVIOURS[row["why"]]))]
        with anyio.fail_after(5):
            results.append(await runtime.call("bad"))
        assert MOOD.get() == "calm"
        assert (await runtime.call(good, {"n": 1})).value == 2
        together = await runtime.call_many([call("bad", "1"), call("good", "2"), call("bad", "3")])
        assert [result.id for result in together] == ["1", "2", "3"]
        assert together[1].value == 2
        if row["expect"] != "gone":
            results += [together[0], together[2]]
    for result in results:
        check(result, row)
    assert runtime.abandoned == () or "thread" in row["why"]


def call(name: str, identity: str) -> Any:
    from_json: Any = {"bad": "{}", "good": '{"n": 1}'}[name]
    return msgspec.convert({"id": identity, "name": name, "arguments": from_json}, ToolCall)


def check(result: ToolResult[Any], row: dict[str, Any]) -> None:
    """One result, typed, which can travel."""
    failure = result.failure
    assert (failure is None) != (result.content is None)
    assert msgspec.json.decode(msgspec.json.encode(result), type=ToolResult[Any]) == result
    if failure is None:
        assert row["expect"] in {"ok", "gone"}
        assert json.loads(result.content or "") == row.get("value")
        return
    assert (failure.code, failure.effect) == (row["expect"], row.get("effect", "maybe"))
    assert failure.code in CODES or row["expect"] not in CODES
    assert failure.message
    assert len(failure.message) < 5_000
