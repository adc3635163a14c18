"""The door of one tool: how often it lets in, when it rests, and how long who came had to wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire import Breaker, CallFailed, Context, Misuse, Runtime, ToolError, tool
from toolwire.actors.gate import gates
from toolwire.protocol.failures import failed
from toolwire.protocol.messages import CallTool
from toolwire.protocol.observed import ENOUGH
from toolwire.runtime.context import outside

pytestmark = pytest.mark.anyio


class Hands:
    """A clock that is turned by hand, beside the real one."""

    def __init__(self, runtime: Runtime) -> None:
        self.real = runtime.system.clock
        self.ahead = 0.0
        runtime.system.clock = self

    def __call__(self) -> float:
        return self.real() + self.ahead


@asynccontextmanager
async def serving(*things: Any, **options: Any) -> AsyncIterator[tuple[Runtime, Hands]]:
    async with Runtime(**options) as runtime:
        await runtime.serve(*things)
        yield runtime, Hands(runtime)


async def code(runtime: Runtime, name: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
    failure = (await runtime.call(name, arguments, **options)).failure
    return "" if failure is None else failure.code


class Patient:
    """A tool that fails while it is ill, and counts how often it was asked."""

    def __init__(self) -> None:
        self.ill = True
        self.asked = 0

    async def work(self, n: int = 0) -> int:
        self.asked += 1
        if self.ill:
            raise ValueError("ill")
        return n


async def test_so_many_calls_in_a_time() -> None:
    ran: list[int] = []

    @tool(rate="3/m")
    async def search(n: int) -> None:
        ran.append(n)

    async with serving(search) as (runtime, hands):
        assert await code(runtime, "search", {"n": "none"}) == "invalid_arguments"
        assert [await code(runtime, "search", {"n": n}) for n in range(3)] == [""] * 3
        failure = (await runtime.call(search, {"n": 3})).failure
        assert failure is not None
        assert (failure.code, failure.effect, failure.retryable) == ("rate_limited", "none", True)
        assert failure.details == {"by": "tool", "rate": "3/m"}
        assert failure.retry_after == pytest.approx(20.0, abs=1.0)
        hands.ahead = 20.0
        assert [await code(runtime, "search", {"n": n}) for n in (4, 5)] == ["", "rate_limited"]
    assert ran == [0, 1, 2, 4]


async def test_what_is_forged_takes_no_room_from_who_may_call() -> None:
    @tool(rate="1/h", confirm=True, breaker=Breaker(failures=1))
    async def pay() -> str:
        return "paid"

    async with serving(pay) as (runtime, _):
        asked = (await runtime.call(pay)).failure
        assert asked is not None
        context = outside(runtime.system)
        for token in ("forged", asked.details["token"]):  # the latter is for a call with another id
            ended = await context.ask(runtime.system.door("tool", "pay"), CallTool("c", "pay", "{}", token=token))
            assert ended.failure is not None
            assert ended.failure.code == "invalid_confirmation"
        assert (await runtime.confirm(asked.details["token"])).value == "paid"


async def test_each_method_of_an_object_has_a_rate_of_its_own() -> None:
    class Two:
        @tool(rate="1/h")
        async def one(self) -> None: ...

        @tool
        async def other(self) -> None: ...

    async with serving(Two()) as (runtime, _):
        asked = [await code(runtime, name) for name in ("one", "other", "one", "other")]
    assert asked == ["", "", "rate_limited", ""]


async def test_a_tool_that_keeps_failing_rests_and_is_tried_again() -> None:
    patient = Patient()
    work = tool(name="work", breaker=Breaker(failures=2, rest=10.0))(patient.work)
    async with serving(work) as (runtime, hands):
        assert [await code(runtime, "work") for _ in range(2)] == ["failed"] * 2
        failure = (await runtime.call(work)).failure
        assert failure is not None
        assert (failure.code, failure.effect, failure.details) == ("circuit_open", "none", {"by": "tool"})
        assert failure.retry_after == pytest.approx(10.0, abs=1.0)
        hands.ahead = 11.0
        assert [await code(runtime, "work") for _ in range(2)] == ["failed", "circuit_open"]
        hands.ahead, patient.ill = 22.0, False
        assert [await code(runtime, "work") for _ in range(3)] == [""] * 3
    assert patient.asked == 6


@pytest.mark.parametrize("arguments", [{"n": "x"}, {"m": 1}])
async def test_what_was_asked_wrongly_says_nothing_of_the_tool(arguments: dict[str, Any]) -> None:
    work = tool(name="work", breaker=Breaker(failures=1))(Patient().work)
    async with serving(work) as (runtime, _):
        for _ in range(3):
            assert await code(runtime, "work", arguments) == "invalid_arguments"
        assert await code(runtime, "work") == "failed"


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (ValueError("no"), True),
        (ToolError("no"), True),
        (CallFailed(failed("overloaded", "another one's")), False),
        (CallFailed(failed("invalid_arguments", "what it asked of another")), False),
    ],
    ids=str,
)
async def test_which_failures_count(error: Exception, *, counted: bool) -> None:
    @tool(breaker=Breaker(failures=1))
    async def work() -> None:
        raise error

    async with serving(work) as (runtime, _):
        await runtime.call(work)
        assert (await code(runtime, "work") == "circuit_open") is counted


async def test_a_result_that_is_none_counts_and_one_that_is_too_large_does_not() -> None:
    @tool(breaker=Breaker(failures=1))
    async def odd(result: str) -> Any:
        return object() if result == "object" else "x" * 2_000

    async with serving(odd, result_bytes=1_000) as (runtime, _):
        asked = [await code(runtime, "odd", {"result": result}) for result in ("long", "object", "long")]
    assert asked == ["too_large", "invalid_result", "circuit_open"]


async def test_a_handler_that_makes_the_best_of_it_does_not_make_the_tool_well() -> None:
    def instead(_error: BaseException, _context: object) -> str:
        return "something else"

    @tool(breaker=Breaker(failures=1), on_error={ValueError: instead})
    async def work() -> str:
        raise ValueError("no")

    async with serving(work) as (runtime, _):
        assert [await code(runtime, "work") for _ in range(2)] == ["", "circuit_open"]


@pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])
async def test_one_that_takes_too_long_counts_and_one_whose_caller_left_does_not(*, in_thread: bool) -> None:
    release = anyio.Event()
    began = 0

    async def stuck() -> None:
        nonlocal began
        began += 1
        await release.wait()

    def stuck_in_thread() -> None:
        anyio.from_thread.run(stuck)

    work = tool(name="work", breaker=Breaker(failures=2))(stuck_in_thread if in_thread else stuck)
    async with serving(work, call_seconds=0.02) as (runtime, _):
        for n in range(3):
            async with anyio.create_task_group() as calling:
                calling.start_soon(partial(runtime.call, work, timeout=60.0))
                while began == n:
                    await checkpoint()
                calling.cancel_scope.cancel()
        for _ in range(2):
            assert await code(runtime, "work") == "timed_out"
        assert await code(runtime, "work") == "circuit_open"
        release.set()


async def test_a_caller_in_a_hurry_says_nothing_of_the_tool() -> None:
    @tool(breaker=Breaker(failures=1))
    async def slow(seconds: float) -> None:
        await anyio.sleep(seconds)

    @tool(breaker=Breaker(failures=1))
    async def asks(context: Context) -> None:
        (await context.call("slow", {"seconds": 5.0})).value  # noqa: B018 - it raises

    async with serving(slow, asks) as (runtime, _):
        for name, arguments in [("slow", {"seconds": 5.0}), ("asks", {})] * 3:
            assert await code(runtime, name, arguments, timeout=0.003) == "timed_out"
        for _ in range(ENOUGH):
            assert await code(runtime, "slow", {"seconds": 0.0}) == ""
        assert await code(runtime, "slow", {"seconds": 5.0}, timeout=0.2) == "timed_out"  # as long as ever
        assert await code(runtime, "slow", {"seconds": 0.0}) == "circuit_open"


async def test_one_that_takes_all_of_its_own_time_counts() -> None:
    @tool(breaker=Breaker(failures=1), timeout=0.02)
    async def stuck() -> None:
        await anyio.sleep_forever()

    async with serving(stuck) as (runtime, _):
        assert [await code(runtime, "stuck") for _ in range(2)] == ["timed_out", "circuit_open"]


async def test_a_probe_whose_caller_left_makes_room_for_the_next() -> None:
    patient, inside = Patient(), anyio.Event()

    @tool(breaker=Breaker(failures=1, rest=10.0))
    async def work(wait: bool = False) -> None:  # noqa: FBT001, FBT002 - an argument as a model gives it
        if wait:
            inside.set()
            await anyio.sleep_forever()
        await patient.work()

    async with serving(work) as (runtime, hands):
        assert await code(runtime, "work") == "failed"
        hands.ahead, patient.ill = 11.0, False
        async with anyio.create_task_group() as calling:
            calling.start_soon(runtime.call, work, {"wait": True})
            await inside.wait()
            failure = (await runtime.call(work)).failure
            assert failure is not None
            assert (failure.code, failure.retry_after) == ("circuit_open", 1.0)
            calling.cancel_scope.cancel()
        assert [await code(runtime, "work") for _ in range(2)] == ["", ""]


async def test_a_full_door_is_no_reason_to_wait_for_a_tool_that_rests() -> None:
    inside, release = anyio.Event(), anyio.Event()
    patient = Patient()

    class Two:
        @tool(breaker=Breaker(failures=1))
        async def work(self) -> None:
            await patient.work()

        @tool
        async def other(self) -> None:
            inside.set()
            await release.wait()

    async with serving(Two()) as (runtime, _), anyio.create_task_group() as calling:
        assert await code(runtime, "work") == "failed"
        calling.start_soon(runtime.call, "other")
        await inside.wait()
        assert await code(runtime, "work") == "circuit_open"
        release.set()
    assert patient.asked == 1


async def test_an_object_that_is_built_anew_is_not_well_for_that() -> None:
    class Frail:
        @tool(breaker=Breaker(failures=2), rate="3/h")
        async def work(self) -> None:
            raise ValueError("crashed")

    async with serving(Frail) as (runtime, hands):
        asked = [await code(runtime, "work") for _ in range(3)]
        hands.ahead = 11.0
        asked += [await code(runtime, "work")]
        hands.ahead = 22.0
        asked += [await code(runtime, "work")]
    assert asked == ["internal", "internal", "circuit_open", "internal", "rate_limited"]


async def test_the_seconds_at_the_door_and_in_the_tool() -> None:
    inside, release = anyio.Event(), anyio.Event()

    @tool(concurrency=1)
    async def narrow(fail: bool) -> None:  # noqa: FBT001 - an argument as a model gives it
        inside.set()
        await release.wait()
        hands.ahead += 3.0
        if fail:
            raise ValueError("no")

    found: dict[bool, Any] = {}

    async def call(*, fail: bool) -> None:
        found[fail] = await runtime.call(narrow, {"fail": fail})

    async with serving(narrow) as (runtime, hands), anyio.create_task_group() as calling:
        calling.start_soon(lambda: call(fail=False))
        await inside.wait()
        calling.start_soon(lambda: call(fail=True))
        await anyio.wait_all_tasks_blocked()
        hands.ahead = 5.0
        release.set()
    first, second = found[False], found[True]
    assert first.ok
    assert second.failure.code == "failed"
    assert (first.queued, first.ran) == (0.0, pytest.approx(8.0, abs=1.0))
    assert (second.queued, second.ran) == (pytest.approx(8.0, abs=1.0), pytest.approx(3.0, abs=1.0))


async def test_a_call_that_never_began_ran_for_no_time() -> None:
    @tool(rate="1/h")
    async def rare() -> None: ...

    async with serving(rare) as (runtime, _):
        results = [await runtime.call(rare) for _ in range(2)]
    assert results[0].ran > 0.0
    assert (results[1].queued, results[1].ran) == (0.0, 0.0)


@pytest.mark.parametrize(
    "options", [{"rate": "many"}, {"rate": ""}, {"result": "drop"}, {"result_bytes": 0}, {"result_bytes": -1}], ids=str
)
def test_limits_that_can_not_be(options: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        tool(**options)(Patient().work)


def test_a_tool_without_limits_has_none() -> None:
    assert tool(Patient().work).guard is None
    assert tool(breaker=False, rate=None, result="refuse")(Patient().work).guard is None
    made = tool(breaker=True)(Patient().work).guard
    assert made is not None
    assert made.breaker == Breaker()


def test_what_a_gate_says_of_itself() -> None:
    made = tool(name="work", breaker=True, rate="10/s")(Patient().work)
    assert repr(gates([made], 30.0)["work"]) == "<Gate work [rate: 10/s | circuit: closed]>"
    assert gates([tool(Patient().work)], 30.0) == {}
