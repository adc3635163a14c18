"""Spawning, supervising, stopping; and that nothing outlives the system."""

import logging
from typing import Any, ClassVar

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from toolwire.protocol.events import Reply
from toolwire.protocol.failures import Misuse, ToolwireError, failed
from toolwire.protocol.messages import Message, Say, TurnEnded
from toolwire.runtime.actor import Actor
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.context import Context
from toolwire.runtime.supervisor import RestartPolicy
from toolwire.runtime.system import BREATH, ActorSystem
from toolwire.runtime.testing import FakeActor

pytestmark = pytest.mark.anyio

ENDED = TurnEnded(Reply("done"))


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Crashes are logged; these tests make many."""
    caplog.set_level(logging.CRITICAL, "toolwire")


def new_system() -> ActorSystem:
    return ActorSystem(MemoryBus())


async def say(system: ActorSystem, text: str, address: str = "a") -> str:
    """What is answered: the text of the reply, or the code of the failure."""
    try:
        return (await system.context().ask(address, Say(text))).reply.text
    except ToolwireError as error:
        return error.failure.code


class Counter(Actor):
    """Counts what it hears, from 1; "crash" raises what it did not declare, "refuse" what it did."""

    hears = Say
    limit: ClassVar[int | None] = 1
    built = 0

    def __init__(self) -> None:
        type(self).built += 1
        self.count = 0

    async def receive(self, message: Say, context: Context) -> TurnEnded:
        self.count += 1
        if message.text == "crash":
            raise ZeroDivisionError
        if message.text == "refuse":
            raise ToolwireError(failed("not_allowed", "no"))
        return TurnEnded(Reply(str(self.count)))


class Shared(Counter):
    limit: ClassVar[int | None] = None


async def test_spawned_it_is_heard_and_stopped_it_is_not() -> None:
    async with new_system() as system:
        ref = await system.spawn(FakeActor(Say, ENDED), "a", "also")
        assert repr(ref) == "<Ref FakeActor a>"
        assert repr(system) == "<ActorSystem memory:// [actors: 2]>"
        assert await say(system, "hi") == await say(system, "hi", "also") == "done"
        await ref.stop()
        await ref.stop()
        assert await say(system, "hi") == await say(system, "hi", "also") == "unreachable"
        assert repr(system) == "<ActorSystem memory:// [actors: 0]>"
        await system.spawn(FakeActor(Say, ENDED), "a")


async def test_who_waits_at_a_stopped_door_is_answered() -> None:
    async def forever(*_: object) -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    answers: list[str] = []
    async with new_system() as system, anyio.create_task_group() as tasks:
        ref = await system.spawn(FakeActor(Say, forever, limit=1), "a")

        async def one() -> None:
            answers.append(await say(system, "hi"))

        for _ in range(3):
            tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        await ref.stop()
        await anyio.wait_all_tasks_blocked()
        assert answers == ["unreachable", "unreachable"]
        tasks.cancel_scope.cancel()


async def test_an_address_is_taken_once_and_nothing_is_left_of_the_second() -> None:
    async with new_system() as system:
        await system.spawn(FakeActor(Say, ENDED), "a")
        with pytest.raises(Misuse, match="a is served here already"):
            await system.spawn(FakeActor(Say, ENDED), "b", "a")
        assert await say(system, "hi", "b") == "unreachable"


async def test_of_two_at_once_one_has_the_address() -> None:
    class Slow(MemoryBus):
        async def serve(self, *args: Any, **named: Any) -> Any:
            await checkpoint()
            return await super().serve(*args, **named)

    async with ActorSystem(Slow()) as system:
        said: list[str] = []

        async def spawn() -> None:
            try:
                said.append(repr(await system.spawn(Counter(), "a")))
            except Misuse as error:
                said.append(error.failure.code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spawn)
            tasks.start_soon(spawn)
        assert sorted(said) == ["<Ref Counter a>", "conflict"]


async def test_an_address_that_the_bus_refuses_leaves_nothing_behind() -> None:
    async with new_system() as system:
        with pytest.raises(ValueError, match="no subject"):
            await system.spawn(FakeActor(Say, ENDED), "a", "with space")
        assert await say(system, "hi") == "unreachable"
        await system.spawn(FakeActor(Say, ENDED), "a")


async def test_closed_it_spawns_nothing() -> None:
    system = new_system()
    with pytest.raises(Misuse, match="not open"):
        system.private(FakeActor(Say, ENDED), "x")
    async with system:
        pass
    with pytest.raises(Misuse, match="not open"):
        await system.spawn(FakeActor(Say, ENDED), "a")


async def test_crashed_it_is_built_anew_and_its_mailbox_goes_on() -> None:
    Counter.built = 0
    async with new_system() as system:
        await system.spawn(Counter, "a")
        assert [await say(system, each) for each in ("", "", "crash", "", "")] == ["1", "2", "internal", "1", "2"]
        assert Counter.built == 2


async def test_what_it_declared_is_no_crash() -> None:
    async with new_system() as system:
        await system.spawn(Counter, "a")
        assert [await say(system, each) for each in ("", "refuse", "")] == ["1", "not_allowed", "3"]


async def test_an_instance_keeps_its_state_whatever_it_raises() -> None:
    async with new_system() as system:
        await system.spawn(Counter(), "a")
        assert [await say(system, each) for each in ("crash", "crash", "")] == ["internal", "internal", "3"]


@pytest.mark.parametrize("kind", [Counter, Shared])
async def test_beyond_the_intensity_it_is_unreachable_for_good(kind: type[Counter]) -> None:
    async with new_system() as system:
        await system.spawn(kind, "a", policy=RestartPolicy(intensity=2, pause=0.0))
        for _ in range(2):
            assert await say(system, "crash") == "internal"
            await anyio.wait_all_tasks_blocked()
        assert await say(system, "crash") == "internal"
        assert [await say(system, "") for _ in range(2)] == ["unreachable"] * 2


async def test_all_who_wait_are_answered_when_it_is_given_up() -> None:
    answers: list[str] = []
    gate = anyio.Event()

    class Doomed(Actor):
        hears = Say
        limit: ClassVar[int | None] = 1

        async def receive(self, message: Say, context: Context) -> TurnEnded:
            await gate.wait()
            raise ZeroDivisionError

    async with new_system() as system, anyio.create_task_group() as tasks:
        await system.spawn(Doomed, "a", policy=RestartPolicy("temporary"))

        async def one() -> None:
            answers.append(await say(system, "hi"))

        for _ in range(5):
            tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert sorted(answers) == ["internal"] + ["unreachable"] * 4


def test_between_restarts_the_door_is_held() -> None:
    async def main() -> None:
        async with new_system() as system:
            await system.spawn(Counter, "a", policy=RestartPolicy(pause=1.0))
            began = system.clock()
            assert [await say(system, "crash") for _ in range(2)] == ["internal"] * 2
            assert system.clock() == began
            assert await say(system, "") == "1"
            assert system.clock() - began == pytest.approx(1.0)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_factory_that_raises_is_tried_again_and_then_given_up() -> None:
    tries: list[float] = []

    async def main() -> None:
        async with new_system() as system:

            def build() -> Counter:
                tries.append(system.clock())
                if 1 < len(tries) < 4:
                    raise OSError("no room")
                return Counter()

            await system.spawn(build, "a")
            assert await say(system, "crash") == "internal"
            assert await say(system, "") == "1"
            assert len(tries) == 4

            def never() -> Counter:
                tries.append(0.0)
                if len(tries) > 5:
                    raise OSError("no room")
                return Counter()

            await system.spawn(never, "b")
            assert await say(system, "crash", "b") == "internal"
            assert await say(system, "", "b") == "unreachable"

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_answers_first(kind: type[BaseException]) -> None:
    answers: list[str] = []

    async def use() -> None:
        async with new_system() as system:
            await system.spawn(FakeActor(Say, kind()), "a")
            answers.append(await say(system, "hi"))
            await anyio.sleep_forever()

    with pytest.raises(kind):
        await use()
    assert answers == ["cancelled"]


async def test_what_the_program_raises_goes_on_as_it_is() -> None:
    async def use() -> None:
        async with new_system():
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await use()


async def test_cancelled_from_outside_it_closes() -> None:
    system = new_system()
    with anyio.CancelScope() as scope:
        async with system:
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not system.open


async def test_a_crash_while_it_closes_is_answered_too() -> None:
    answers: list[str] = []

    class Late(Counter):
        async def receive(self, message: Say, context: Context) -> TurnEnded:
            await anyio.lowlevel.cancel_shielded_checkpoint()
            raise ZeroDivisionError

    async with anyio.create_task_group() as tasks, new_system() as system:
        await system.spawn(Late, "a", policy=RestartPolicy(pause=1.0))

        async def one() -> None:
            answers.append(await say(system, "hi"))

        for _ in range(3):
            tasks.start_soon(one)
            await checkpoint()
    assert set(answers) <= {"internal", "unreachable"}
    assert len(answers) == 3


async def test_whoever_never_suspends_gives_the_loop_a_turn_in_time_and_not_more_often() -> None:
    turns, now = 0, 1.0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with new_system() as system:
        system.tasks.start_soon(other)
        system.clock = lambda: now
        for _ in range(400):
            if system.breathless():
                await checkpoint()
            now += BREATH / 4
    assert 400 / 5 <= turns <= 400 / 4 + 2  # a step late at most


async def test_another_actor_takes_over_an_address_and_those_who_wait_are_served_by_the_old_one() -> None:
    gate, inside = anyio.Event(), anyio.Event()

    class Busy(Actor):
        hears = Say
        limit: ClassVar[int | None] = 1

        async def receive(self, message: Say, context: Context) -> TurnEnded:
            inside.set()
            await gate.wait()
            return TurnEnded(Reply("old"))

    answered: list[str] = []

    async def ask() -> None:
        answered.append(await say(system, "hi"))

    async with new_system() as system:
        old = await system.spawn(Busy(), "a", "b")
        new = await system.spawn(Counter(), key="c")
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await inside.wait()
            await anyio.wait_all_tasks_blocked()
            system.hand_over(["a"], new)
            assert (old.addresses, new.addresses) == (("b",), ("a",))
            assert await say(system, "hi") == "1"
            system.hand_over(["b"], new)
            await old.stop()
            assert await say(system, "hi", "b") == "2"
            gate.set()
        assert answered == ["old"] * 3
        await new.stop()
        assert not system.serves("a")
        assert await say(system, "hi") == "unreachable"


async def test_nobody_waits_at_a_door_that_was_taken_over_when_the_system_closes() -> None:
    inside = anyio.Event()

    class Stuck(Actor):
        hears = Say
        limit: ClassVar[int | None] = 1

        async def receive(self, message: Say, context: Context) -> TurnEnded:
            inside.set()
            await anyio.sleep_forever()
            raise AssertionError

    answered: list[str] = []

    async def ask() -> None:
        answered.append(await say(system, "hi"))

    async with anyio.create_task_group() as tasks:
        async with new_system() as system:
            await system.spawn(Stuck(), "a")
            with anyio.CancelScope() as first:
                tasks.start_soon(ask)
                await inside.wait()
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                system.hand_over(["a"], await system.spawn(Counter(), key="c"))
                first.cancel()
            system.bus.grace = 0.0  # type: ignore[attr-defined]  # the memory bus's own
        assert answered == ["unreachable"]
        tasks.cancel_scope.cancel()


async def test_what_is_not_served_here_is_not_handed_over() -> None:
    async with new_system() as system:
        ref = await system.spawn(Counter(), "a")
        with pytest.raises(KeyError):
            system.hand_over(["b"], ref)
        assert await say(system, "hi") == "1"
