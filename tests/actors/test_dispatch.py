"""One call on its way: who is asked, who is asked next, and what is never asked twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from toolwire.actors.catalogue import Catalogue
from toolwire.actors.dispatch import Dispatcher
from toolwire.actors.means import Means
from toolwire.actors.records import Records
from toolwire.actors.validator import Validator
from toolwire.protocol.failures import Failure, ToolwireError, failed
from toolwire.protocol.messages import CallEnded, CallTool
from toolwire.protocol.tools import Retry, ToolCall, ToolResult, ToolSpec
from toolwire.runtime.bus import Closed, MemoryBus
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import Answering, FakeActor

pytestmark = pytest.mark.anyio

CALL = ToolCall("1", "t", "{}")
DONE = CallEnded("42", None, "w")
HERE = "here"


class Yard:
    """A dispatcher, and workers that are fakes."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.catalogue = Catalogue(lambda name, instance: system.address("tool", name, instance))
        self.settled = 0
        self.looked = 0
        self.dispatcher = Dispatcher(Means(self.catalogue, HERE, Records(self.catalogue), self), "validator")

    async def settle(self) -> None:
        self.settled += 1

    def look_again(self) -> None:
        self.looked += 1

    async def worker(self, instance: str, answering: Answering, spec: ToolSpec = ToolSpec("t")) -> FakeActor:  # noqa: B008 - an immutable value
        actor = FakeActor(CallTool, answering)
        await self.system.spawn(actor, self.system.address("tool", spec.name, instance))
        self.catalogue.add(spec, instance)
        return actor

    async def call(self, call: ToolCall = CALL) -> ToolResult[object]:
        return await self.dispatcher.dispatch(call, call.text(), self.system.context(), None)


@asynccontextmanager
async def yard() -> AsyncIterator[Yard]:
    async with ActorSystem(MemoryBus()) as system:
        made = Yard(system)
        await system.spawn(Validator(made.catalogue), "validator")
        yield made


def refuses(code: str) -> ToolwireError:
    return ToolwireError(failed(code, "so it is"))


async def test_what_the_worker_answers_is_the_result() -> None:
    async with yard() as there:
        worker = await there.worker("w", DONE)
        result = await there.call()
        assert (result.id, result.name, result.content, result.worker, result.attempts) == ("1", "t", "42", "w", 1)
        assert result.seconds > 0
        (message,) = worker.received
        assert message == CallTool("1", "t", "{}", number=message.number)
        failure = failed("failed", "no", "maybe")
        worker.answering = CallEnded(None, failure, "w")
        assert (await there.call()).failure == failure


async def test_neither_result_nor_failure_is_no_answer() -> None:
    async with yard() as there:
        await there.worker("w", CallEnded())
        failure = (await there.call()).failure
        assert failure is not None
        assert failure.code == "invalid_result"


async def test_arguments_are_checked_before_they_are_sent() -> None:
    spec = ToolSpec("t", parameters={"type": "object", "required": ["city"]})
    async with yard() as there:
        worker = await there.worker("w", DONE, spec)
        result = await there.call()
        assert result.failure is not None
        assert (result.failure.code, result.attempts) == ("invalid_arguments", 0)
        assert worker.received == []


async def test_who_serves_it_in_this_process_checks_them_itself() -> None:
    spec = ToolSpec("t", parameters={"type": "object", "required": ["city"]})
    async with yard() as there:
        worker = await there.worker(HERE, DONE, spec)
        assert (await there.call()).ok
        assert len(worker.received) == 1


@pytest.mark.parametrize("code", ["unreachable", "overloaded"])
async def test_where_nothing_ran_another_is_asked(code: str) -> None:
    async with yard() as there:
        first = await there.worker("w1", refuses(code))
        second = await there.worker("w2", refuses(code))
        third = await there.worker("w3", DONE)
        for _ in range(3):
            assert (await there.call()).ok
        assert len(third.received) == 3
        assert first.received or second.received
        assert all(message.attempt <= 3 for worker in (first, second, third) for message in worker.received)


async def test_each_is_asked_once_and_then_it_is_enough() -> None:
    async with yard() as there:
        workers = [await there.worker(f"w{n}", refuses("overloaded")) for n in range(3)]
        result = await there.call()
        assert result.failure is not None
        assert (result.failure.code, result.attempts) == ("overloaded", 3)
        assert [len(worker.received) for worker in workers] == [1, 1, 1]


@pytest.mark.parametrize("code", ["worker_lost", "timed_out", "failed", "internal", "too_large", "invalid_message"])
async def test_where_something_may_have_run_nobody_else_is_asked(code: str) -> None:
    async with yard() as there:
        workers = [await there.worker(f"w{n}", refuses(code)) for n in range(3)]
        result = await there.call()
        assert result.failure is not None
        assert (result.failure.code, result.attempts) == (code, 1)
        assert sum(len(worker.received) for worker in workers) == 1


@pytest.mark.parametrize("spec", [ToolSpec("t", read_only=True), ToolSpec("t", idempotent=True)], ids=["read", "idem"])
async def test_unless_a_second_run_does_no_harm(spec: ToolSpec) -> None:
    async with yard() as there:
        for n in range(2):
            await there.worker(f"lost{n}", refuses("worker_lost"), spec)
        await there.worker("w", DONE, spec)
        assert (await there.call()).ok


async def test_a_lost_worker_is_told_as_such_and_forgotten() -> None:
    async with yard() as there:
        await there.worker("w", refuses("worker_lost"))
        there.catalogue.add(ToolSpec("u"), "w")
        failure = (await there.call()).failure
        assert failure is not None
        assert (failure.code, failure.effect) == ("worker_lost", "maybe")
        assert "check before you repeat" in failure.message
        assert not there.catalogue


async def test_a_call_that_finds_a_lost_worker_again_has_the_limits_of_its_tool() -> None:
    spec = ToolSpec("t", timeout=0.5, read_only=True, retry=Retry(times=2, first=0.001))
    async with yard() as there:
        await there.worker("w", refuses("worker_lost"), spec)
        assert not (await there.call()).ok
        assert not there.catalogue
        busy = CallEnded(None, Failure("failed", "it is busy", retryable=True), "w")
        again = FakeActor(CallTool, lambda message, _: DONE if message.attempt > 1 else busy)
        await there.system.spawn(again, there.system.address("tool", "t"))
        assert there.dispatcher.seconds("t", None) == 0.5
        result = await there.call()
        assert (result.ok, result.attempts, result.tainted) == (True, 2, False)


async def test_a_tool_that_is_served_no_longer_takes_no_other_along() -> None:
    async with yard() as there:
        there.catalogue.add(ToolSpec("t"), "w")
        there.catalogue.add(ToolSpec("u"), "w")
        failure = (await there.call()).failure
        assert failure is not None
        assert failure.code == "unreachable"
        assert list(there.catalogue) == ["u"]


@pytest.mark.parametrize("code", ["unreachable", "worker_lost"])
async def test_this_process_never_forgets_itself(code: str) -> None:
    async with yard() as there:
        await there.worker(HERE, refuses(code))
        assert not (await there.call()).ok
        assert list(there.catalogue) == ["t"]


async def test_an_unknown_tool_is_asked_for_at_the_door_for_strangers() -> None:
    async with yard() as there:
        stranger = FakeActor(CallTool, DONE)
        await there.system.spawn(stranger, there.system.address("tool", "t"))
        assert (await there.call()).ok
        assert there.settled == 1
        assert len(stranger.received) == 1


async def test_nobody_knows_it() -> None:
    async with yard() as there:
        failure = (await there.call()).failure
        assert failure is not None
        assert failure.code == "unreachable"  # whoever serves tools may just be away
        there.catalogue.add(ToolSpec("tt"), "w")
        failure = (await there.call()).failure
        assert failure is not None
        assert (failure.code, failure.details) == ("unknown_tool", {"closest": ["tt"]})


@pytest.mark.parametrize("name", ["a.*.>", "x" * 5_000, "", "\n", "é", "get weather"])
async def test_any_name_is_only_a_name(name: str) -> None:
    async with yard() as there:
        there.catalogue.add(ToolSpec("known"), "w")
        failure = (await there.call(ToolCall("1", name))).failure
        assert failure is not None
        assert failure.code == "unknown_tool"
        assert len(failure.message) < 400
        await there.worker("w", CallEnded("1"), ToolSpec(name))
        assert (await there.call(ToolCall("1", name))).ok


async def test_no_time_left_is_not_started() -> None:
    async with yard() as there:
        worker = await there.worker(HERE, DONE)
        result = await there.dispatcher.dispatch(CALL, "{}", there.system.context(-1.0), None)
        assert isinstance(result.failure, Failure)
        assert result.failure.code == "timed_out"
        assert worker.received == []


async def test_who_was_not_reached_is_looked_for_again() -> None:
    async with yard() as there:
        await there.worker("one", refuses("unreachable"))
        await there.call()
        assert not there.catalogue
        assert there.looked == 1


async def test_a_bus_that_is_cut_off_says_nothing_of_who_serves() -> None:
    asked: list[str] = []

    class Dead(MemoryBus):
        async def request(self, subject: str, *_: object, **__: object) -> bytes:
            asked.append(subject)
            raise Closed("the broker takes nothing")

    async with ActorSystem(Dead()) as system:
        there = Yard(system)
        for instance in ("one", "two"):
            there.catalogue.add(ToolSpec("t", read_only=True), instance)
        result = await Dispatcher(there.dispatcher.means).dispatch(CALL, "{}", system.context(), None)
        assert result.failure is not None
        assert (result.failure.code, result.failure.message) == ("unreachable", "the broker takes nothing")
        assert result.attempts == len(asked) == 1
        assert there.catalogue.entries["t"].instances == ["one", "two"]
        nobody = await there.dispatcher.dispatch(ToolCall("1", "u"), "{}", system.context(), None)
        assert nobody.failure == result.failure
