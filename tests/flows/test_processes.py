"""Tools in processes of their own: whatever they do, the call ends, in its time, and nothing of them is left."""

import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import CallProgress, Misuse, Runtime, ToolCall, lazy, scripted, tool
from toolwire.runtime import processes

pytestmark = pytest.mark.anyio

HERE = str(Path(__file__).parent)
SERVED = (
    *("pid", "moved", "about", "soon", "yields", "tells", "loops", "runs_away", "raises", "dies", "forks", "gives"),
    *("opens", "asks", "stays", "doubled", "counts", "long", "spills"),
)


@pytest.fixture(scope="module")
def tools() -> Iterator[Any]:
    """The module that worker processes import."""
    sys.path.insert(0, HERE)
    try:
        yield importlib.import_module("isolated_tools")
    finally:
        sys.path.remove(HERE)


@pytest.fixture(scope="module")
async def runtime(tools: Any, anyio_backend: str) -> AsyncIterator[Runtime]:
    """One pool for all, which does not pause before it replaces what has ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "POLICY", processes.POLICY._replace(pause=0.0))
        async with Runtime(processes=2) as runtime:
            await runtime.serve(*[getattr(tools, name) for name in SERVED])
            yield runtime


def alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has asked for its end yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def exists(pid: int) -> bool:
    """Whether anything of a process is there."""
    return Path(f"/proc/{pid}").exists()


async def gone(*pids: int) -> None:
    with anyio.fail_after(40):
        while any(map(alive, pids)):
            await checkpoint()


def told(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def written(path: Path) -> list[int]:
    """The process ids that a tool writes there once it runs."""
    with anyio.fail_after(40):
        while not (text := told(path)):
            await checkpoint()
    return [int(part) for part in text.split()]


async def test_it_runs_elsewhere_and_the_process_is_kept(runtime: Runtime) -> None:
    pids = {(await runtime.call("pid")).value for _ in range(5)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


async def test_arguments_and_results_are_those_of_its_types(runtime: Runtime, tools: Any) -> None:
    assert (await runtime.call(tools.moved, {"point": {"x": 1, "y": 3}, "by": 2})).value == tools.Point(3, 3)
    result = await runtime.call(tools.moved, {"point": {"x": 1}, "by": "2"})
    assert result.value == tools.Point(3, 0)
    assert result.repaired
    failure = (await runtime.call("moved", {"point": {"x": "one"}})).failure
    assert failure is not None
    assert (failure.code, failure.effect) == ("invalid_arguments", "none")
    assert (await runtime.call(tools.doubled, {"x": 4})).value == 8
    assert (await runtime.call("counts", {"a": 1, "b": 2})).value == 2


async def test_what_it_knows_of_its_call(runtime: Runtime) -> None:
    chat = await runtime.converse(model=scripted([("about",), "done"]), id="c", caller={"user": 1})
    told = (await chat.say("hi")).calls[0].value
    assert told.pop("key").startswith("c.1/")
    assert 0 < told.pop("left") <= 30
    expected = {"id": "call_1", "tool": "about", "attempt": 1, "conversation": "c", "caller": {"user": 1}, "main": True}
    assert told == expected


async def test_functions_that_are_async_run_there_too(runtime: Runtime) -> None:
    assert (await runtime.call("soon", {"seconds": 0})).value == "soon"
    chat = await runtime.converse(model=scripted([("yields", {"n": 3}), "done"]))
    async with chat.stream("go") as events:
        told = [event.done async for event in events if isinstance(event, CallProgress)]
    assert told == [1, 2, 3]


async def test_what_it_tells_logs_and_prints(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    chat = await runtime.converse(model=scripted([("tells",), "done"]))
    with caplog.at_level(logging.WARNING, "toolwire.tools"):
        async with chat.stream("go") as events:
            told = [event async for event in events if isinstance(event, CallProgress)]
    assert [(event.done, event.total, event.note) for event in told] == [(1, 2, "half")]
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["tool"]) == ("careful", "tells")


async def test_it_is_killed_when_its_time_is_over(runtime: Runtime, tmp_path: Path) -> None:
    began = time.monotonic()
    result = await runtime.call("loops", {"mark": str(tmp_path / "pid")}, timeout=0.3)
    assert time.monotonic() - began < 20
    assert result.failure is not None
    assert (result.failure.code, result.failure.effect) == ("timed_out", "maybe")
    assert result.failure.details["process"] == "killed"
    assert "the process that ran it was killed" in result.failure.message
    await gone(*await written(tmp_path / "pid"))
    assert (await runtime.call("pid")).ok


async def test_no_lock_and_no_signal_handler_keeps_it_nor_what_it_has_started(runtime: Runtime, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    pids: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.call, "runs_away", {"mark": str(mark)})
        pids += await written(mark)
        assert all(map(alive, pids))
        tasks.cancel_scope.cancel()
    assert len(pids) == 2
    await gone(*pids)
    assert (await runtime.call("pid")).ok


async def test_others_go_on_while_one_is_killed(runtime: Runtime) -> None:
    calls = [ToolCall("1", "loops"), ToolCall("2", "pid"), ToolCall("3", "pid"), ToolCall("4", "pid")]
    results = await runtime.call_many(calls)
    assert [result.ok for result in results] == [False, True, True, True]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("told", "no more"),
        ("other", "ValueError: other"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt: "),
        ("deep", "RecursionError: maximum recursion depth exceeded"),
    ],
)
async def test_what_it_raises_is_its_answer_and_it_lives_on(runtime: Runtime, kind: str, said: str) -> None:
    failure = (await runtime.call("raises", {"kind": kind})).failure
    assert failure is not None
    assert (failure.code, failure.effect, failure.retryable) == ("failed", "maybe", kind == "told")
    assert failure.message.startswith(said)
    assert failure.details == ({"n": 1} if kind == "told" else {"type": said.partition(":")[0]})
    assert "exit" not in failure.details


@pytest.mark.parametrize(
    ("how", "said", "code"),
    [
        ("segfault", "was killed by SIGSEGV", -signal.SIGSEGV),
        ("forks", "ended by itself, with exit status 9", 9),
        ("closes", "", 1),
    ],
)
async def test_one_that_dies_is_a_failed_call(runtime: Runtime, how: str, said: str, code: int) -> None:
    with anyio.fail_after(40):
        failure = (await runtime.call("dies", {"how": how})).failure
        assert failure is not None
        assert (failure.code, failure.effect, failure.details["exit"]) == ("failed", "maybe", code)
        assert said in failure.message
        assert (await runtime.call("pid")).ok


async def test_what_a_tool_has_left_behind_does_not_keep_a_process_that_has_come_to_its_end(tools: Any) -> None:
    async with Runtime(processes=1) as runtime:
        await runtime.serve(tools.dies, tools.pid)
        pid = (await runtime.call("pid")).value
        assert (await runtime.call("dies", {"how": "later"})).ok
        with anyio.fail_after(40):
            while exists(pid):  # its main thread may have ended while another still holds the line
                await checkpoint()
        assert (await runtime.call("pid", timeout=20.0)).ok


async def test_a_copy_that_it_forks_does_not_answer(runtime: Runtime) -> None:
    assert (await runtime.call("forks")).value == 7
    for _ in range(3):
        assert (await runtime.call("soon", {"seconds": 0})).value == "soon"


@pytest.mark.parametrize(
    ("what", "code"), [("huge", "too_large"), ("odd", "invalid_result"), ("nan", "invalid_result")]
)
async def test_a_result_that_can_not_travel(runtime: Runtime, what: str, code: str) -> None:
    failure = (await runtime.call("gives", {"what": what})).failure
    assert failure is not None
    assert (failure.code, failure.effect) == (code, "done")
    assert (await runtime.call("gives", {"what": "none"})).value is None
    assert (await runtime.call("gives", {"what": "bytes"})).value == "YWI="


async def test_a_large_result_is_kept_by_the_host_and_one_that_is_killed_counts_for_the_breaker(
    runtime: Runtime,
) -> None:
    result = await runtime.call("spills", {"size": 400_000}, timeout=20.0)
    assert result.artifact is not None
    assert await runtime.artifact(result) == "x" * 400_000
    asked = [await runtime.call("spills", {"size": -1}) for _ in range(2)]
    assert [each.failure.code for each in asked if each.failure] == ["timed_out", "circuit_open"]


async def test_of_a_result_that_is_too_large_the_head_may_be_shown(runtime: Runtime) -> None:
    result = await runtime.call("long")
    assert (result.value["bytes"], result.value["truncated"]) == (3 * 2**20, True)
    assert len(result.content or "") <= 500


async def test_a_tool_may_be_loaded_when_it_is_needed(runtime: Runtime, tools: Any) -> None:
    await runtime.serve(lazy("by_and_by", lambda: tools.pid))
    assert (await runtime.call("by_and_by")).value != os.getpid()


async def test_over_a_bus_too(tools: Any, nats_url: str, tmp_path: Path) -> None:
    async with Runtime(nats_url, namespace=tmp_path.name, local=False, processes=1) as runtime:
        await runtime.serve(tools.loops)
        failure = (await runtime.call("loops", {"mark": str(tmp_path / "pid")}, timeout=1.0)).failure
        assert failure is not None
        assert (failure.code, failure.details["process"]) == ("timed_out", "killed")
        await gone(*await written(tmp_path / "pid"))


async def test_a_secret_arrives_and_is_told_to_nobody(runtime: Runtime) -> None:
    result = await runtime.call("opens", {"password": "hunter22", "path": "cafe\u0301"})
    assert (result.value, result.repaired) == ("8 caf\u00e9", True)
    failure = (await runtime.call("opens", {"password": "hunter22", "path": "wrong"})).failure
    assert failure is not None
    assert "hunter22" not in str(failure)
    assert "does not open it" in str(failure)


async def test_it_calls_no_other(runtime: Runtime) -> None:
    said = (await runtime.call("asks")).value
    assert said.startswith("invalid_call: a tool that runs in a process of its own can't call others")


async def test_what_it_has_left_running_does_not_talk_into_the_next_call(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    chat = await runtime.converse(model=scripted([("stays",), ("soon", {"seconds": 0.1}), "done"]))
    with caplog.at_level(logging.WARNING, "toolwire.tools"):
        async with chat.stream("go") as events:
            told = [event.id async for event in events if isinstance(event, CallProgress)]
    assert set(told) <= {"call_1"}
    assert {record.__dict__["call_id"] for record in caplog.records} <= {"call_1"}


def not_importable() -> Any:
    module = ModuleType("made_up_just_now")
    sys.modules["made_up_just_now"] = module

    def nowhere() -> None: ...

    nowhere.__module__, nowhere.__qualname__ = "made_up_just_now", "nowhere"
    module.nowhere = nowhere  # type: ignore[attr-defined]
    return tool(isolation="process")(nowhere)


def of_the_program() -> Any:
    def started() -> None: ...

    started.__module__ = "__main__"
    return tool(isolation="process")(started)


def inner(tools: Any) -> Any:
    @tool(isolation="process")
    def closure() -> str:
        return str(tools)

    return closure


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (inner, "move it to the top of its module"),
    (lambda _: tool(name="short", isolation="process")(lambda: 1), "a lambda has no name to import it by"),
    (lambda tools: tools.schemed, "a lambda has no name"),
    (lambda _: of_the_program(), "it stands in the program that was started"),
    (lambda tools: tools.Stateful(), "it is a method of an object"),
    (lambda tools: tools.Stateful().method, "it is a method of an object"),
    (lambda tools: tool(name="part", isolation="process")(partial(tools.plain, 1)), "has no name to import it by"),
    (lambda tools: tools.injected, "it asks for a Stateful of this process (its parameter 'db')"),
    (lambda tools: tools.handled, "what it raises stays in its process"),
    (lambda _: not_importable(), "ModuleNotFoundError: No module named 'made_up_just_now'"),
]


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=range(len(REFUSED)))
async def test_what_no_other_process_can_find_is_refused_when_served(
    runtime: Runtime, tools: Any, make: Callable[[Any], Any], said: str
) -> None:
    with pytest.raises(Misuse, match="process") as refused:
        await runtime.serve(make(tools))
    assert said in str(refused.value)


async def test_without_processes_none_can_be_served(tools: Any) -> None:
    async with Runtime(processes=0) as runtime:
        with pytest.raises(Misuse, match="needs a process of its own"):
            await runtime.serve(tools.pid)


def children() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_is_left_when_the_runtime_has_closed(tools: Any, tmp_path: Path) -> None:
    before, opened = children(), descriptors()
    results: list[Any] = []

    async def call_on() -> None:
        results.append(await closing.call("loops", {"mark": str(tmp_path / "pid")}, timeout=30.0))

    async with anyio.create_task_group() as tasks:
        async with Runtime(processes=2) as closing:
            await closing.serve(tools.loops, tools.pid)
            await closing.call("loops", timeout=0.05)
            assert (await closing.call("pid")).ok
            assert children() - before
            tasks.start_soon(call_on)
            await written(tmp_path / "pid")
        assert not children() - before
    assert (results[0].failure.code, results[0].failure.effect) == ("cancelled", "maybe")
    assert not alive(int((tmp_path / "pid").read_text()))
    assert descriptors() == opened


async def test_nothing_is_left_when_the_program_is_killed(tmp_path: Path, anyio_backend: str) -> None:
    mark = tmp_path / "pids"
    program = (
        "import anyio, isolated_tools\n"
        "from toolwire import Runtime\n"
        "async def main():\n"
        "    async with Runtime(processes=2) as runtime:\n"
        "        await runtime.serve(isolated_tools.runs_away)\n"
        f"        await runtime.call('runs_away', {{'mark': {str(mark)!r}}})\n"
        f"anyio.run(main, backend={anyio_backend!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": HERE}
    async with await anyio.open_process([sys.executable, "-c", program], env=environment) as process:
        pids = await written(mark)
        process.kill()
    await gone(*pids)
