"""Tools that run in processes of their own: a module, for a worker process has to find them by name."""

import atexit
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio
from msgspec import Struct

from toolwire import Breaker, Context, Inject, Secret, Tool, ToolError, tool


class Point(Struct):
    x: int
    y: int = 0


@tool(isolation="process")
def pid() -> int:
    return os.getpid()


@tool(isolation="process")
def moved(point: Point, by: int = 1) -> Point:
    return Point(point.x + by, point.y)


@tool(isolation="process")
def about(context: Context) -> dict[str, Any]:
    return {
        "id": context.call_id,
        "tool": context.tool,
        "attempt": context.attempt,
        "caller": context.caller,
        "conversation": context.conversation,
        "key": context.idempotency_key,
        "left": context.remaining(),
        "main": threading.current_thread() is threading.main_thread(),
    }


@tool(isolation="process", result="spill", breaker=Breaker(failures=1), timeout=0.3)
async def spills(size: int) -> str:
    if size < 0:
        await anyio.sleep_forever()
    return "x" * size


@tool(isolation="process")
async def soon(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "soon"


@tool(isolation="process")
async def yields(n: int) -> AsyncIterator[int]:
    for each in range(n):
        yield each


@tool(isolation="process")
def tells(context: Context) -> None:
    context.report_progress(1, 2, "half")
    context.log.warning("careful")
    print("printed")  # noqa: T201 - what it prints must not be taken for an answer


@tool(isolation="process", timeout=0.5)
def loops(mark: str = "") -> None:
    if mark:
        Path(mark).write_text(str(os.getpid()))
    while True:
        pass


@tool(isolation="process")
def runs_away(mark: str) -> None:
    """It holds the interpreter's lock for ever, and ignores what can be ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(mark).write_text(f"{os.getpid()} {child.pid}")
    re.match("(a+)+$", "a" * 60 + "b")


@tool(isolation="process")
def raises(kind: str) -> None:
    if kind == "told":
        raise ToolError("no more", retry=True, details={"n": 1})
    if kind == "exit":
        sys.exit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "deep":
        raises.function("deep")
    raise ValueError(kind)


@tool(isolation="process")
def dies(how: str) -> None:
    if how == "segfault":
        ctypes.string_at(0)
    if how == "closes":
        os.closerange(3, 64)
    if how == "later":
        atexit.register(time.sleep, 600)
        threading.Thread(target=time.sleep, args=(600,)).start()
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    if how == "forks" and os.fork() == 0:
        time.sleep(60)  # holds whatever it has inherited
    if how == "forks":
        os._exit(9)


@tool(isolation="process")
def forks() -> int:
    """A careless one: both go on into what called it."""
    os.fork()
    return 7


@tool(isolation="process")
def gives(what: str) -> Any:
    return {"huge": "x" * 2**20, "odd": object(), "nan": float("nan"), "bytes": b"ab", "none": None}[what]


@tool(isolation="process", result="truncate", result_bytes=500)
def long() -> str:
    return "x" * 3 * 2**20


@tool(isolation="process")
def opens(password: Secret[str], path: str) -> str:
    if path == "wrong":
        raise ValueError(f"{password.reveal()} does not open it")
    return f"{len(password.reveal())} {path}"


@tool(isolation="process")
async def asks(context: Context) -> str:
    return str((await context.call("pid")).failure)


@tool(isolation="process")
def stays(context: Context) -> int:
    """A thread of it goes on, and would talk into the next call."""

    def later() -> None:
        for _ in range(50):
            time.sleep(0.001)
            context.report_progress(1, note="late")
            context.log.error("late")

    threading.Thread(target=later).start()
    return 1


def plain(x: int) -> int:
    return 2 * x


doubled = tool(isolation="process")(plain)
schemed = Tool.from_schema("schemed", "", {"type": "object"}, lambda value: value, isolation="process")


def counted(value: dict[str, Any]) -> int:
    return len(value)


counts = Tool.from_schema("counts", "", {"type": "object"}, counted, isolation="process")


class Stateful:
    @tool(isolation="process")
    def method(self) -> None: ...

    def __call__(self, x: int) -> int:
        return x


@tool(isolation="process")
def injected(db: Annotated[Stateful, Inject]) -> None: ...


@tool(isolation="process", on_error={ValueError: print})
def handled() -> None: ...
