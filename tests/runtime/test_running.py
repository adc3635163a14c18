"""Actors that do something beside answering: started again as their policy says, and ended with their actor."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from toolwire.protocol.events import Reply
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.messages import Say, TurnEnded
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.supervisor import Restart, RestartPolicy
from toolwire.runtime.system import ActorSystem
from toolwire.runtime.testing import FakeActor

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Crashes are logged; these tests make many."""
    caplog.set_level(logging.CRITICAL, "toolwire")


def new_system() -> ActorSystem:
    return ActorSystem(MemoryBus())


async def say(system: ActorSystem, text: str) -> str:
    """What is answered: the text of the reply, or the code of the failure."""
    try:
        return (await system.context().ask("a", Say(text))).reply.text
    except ToolwireError as error:
        return error.failure.code


class Runner(FakeActor):
    """Has a `run` of its own: each time it says so, and does what it is told."""

    def __init__(self, runs: list[str], what: Callable[[], Any], name: str = "run") -> None:
        super().__init__(Say, lambda message, _: self._answer(message), limit=1)
        self.runs = runs
        self.what = what
        self.name = name

    def _answer(self, message: Say) -> TurnEnded:
        if message.text == "crash":
            raise ZeroDivisionError
        return TurnEnded(Reply(self.name))

    async def run(self) -> None:
        self.runs.append(self.name)
        await self.what()


async def ends() -> None:
    await checkpoint()


async def crashes() -> None:
    await checkpoint()
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("restart", "what", "times"),
    [
        ("permanent", ends, 4),
        ("permanent", crashes, 4),
        ("transient", ends, 1),
        ("transient", crashes, 4),
        ("temporary", ends, 1),
        ("temporary", crashes, 1),
    ],
)
def test_who_runs_is_started_again_as_its_policy_says(restart: Restart, what: Callable[[], Any], times: int) -> None:
    runs: list[str] = []

    async def main() -> None:
        async with new_system() as system:
            await system.spawn(Runner(runs, what), "a", policy=RestartPolicy(restart, intensity=3))
            await anyio.sleep(1)
            assert await say(system, "hi") == "unreachable"

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(runs) == times


async def test_run_goes_on_beside_the_answers_and_ends_with_the_actor() -> None:
    runs: list[str] = []
    ended = anyio.Event()

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with new_system() as system:
        ref = await system.spawn(Runner(runs, work), "a")
        assert await say(system, "hi") == "run"
        await anyio.wait_all_tasks_blocked()
        await ref.stop()
        await ended.wait()
        assert runs == ["run"]


async def test_built_anew_it_is_the_new_one_that_runs() -> None:
    runs: list[str] = []
    living = 0
    built = iter("123")

    async def work() -> None:
        nonlocal living
        living += 1
        try:
            await anyio.sleep_forever()
        finally:
            living -= 1

    async with new_system() as system:
        await system.spawn(lambda: Runner(runs, work, next(built)), "a")
        await anyio.wait_all_tasks_blocked()
        assert await say(system, "crash") == "internal"
        assert await say(system, "hi") == "2"
        await anyio.wait_all_tasks_blocked()
        assert runs == ["1", "2"]
        assert living == 1
    assert living == 0


async def test_one_that_ends_the_program_ends_the_system() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def use() -> None:
        async with new_system() as system:
            await system.spawn(Runner([], interrupted), "a")
            await anyio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await use()


async def test_nothing_outlives_it() -> None:
    states: list[str] = []

    async def work() -> None:
        states.append("begun")
        try:
            await anyio.sleep_forever()
        finally:
            states.append("ended")

    async with new_system() as system:
        await system.spawn(Runner([], work), "a")
        system.tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
    assert sorted(states) == ["begun", "begun", "ended", "ended"]
