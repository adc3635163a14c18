"""The door: bounded, in order, nobody forgotten, whatever is cancelled, held or closed."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from toolwire.protocol.failures import ToolwireError
from toolwire.runtime.mailbox import Mailbox

pytestmark = pytest.mark.anyio


class Guests:
    """Those who go in at a door, and how far each has come."""

    def __init__(self, door: Mailbox, tasks: TaskGroup) -> None:
        self.door = door
        self.tasks = tasks
        self.inside: list[int] = []
        self.arrived: list[int] = []
        self.entered: list[int] = []
        self.refused: dict[int, str] = {}
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.out: dict[int, anyio.Event] = {}

    def come(self, guest: int) -> None:
        self.scopes[guest] = anyio.CancelScope()
        self.out[guest] = anyio.Event()
        self.tasks.start_soon(self._visit, guest)

    async def _visit(self, guest: int) -> None:
        with self.scopes[guest]:
            self.arrived.append(guest)
            try:
                await self.door.enter()
            except ToolwireError as error:
                self.refused[guest] = error.failure.code
                return
            self.inside.append(guest)
            self.entered.append(guest)
            try:
                await self.out[guest].wait()
            finally:
                self.inside.remove(guest)
                self.door.leave()


async def with_guests(door: Mailbox, story: Callable[[Guests], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        guests = Guests(door, tasks)
        await story(guests)
        tasks.cancel_scope.cancel()


async def test_room_is_taken_at_once_and_given_back() -> None:
    door = Mailbox("d", limit=2)
    assert door.enter_nowait()
    assert door.enter_nowait()
    assert not door.enter_nowait()
    door.leave()
    assert door.enter_nowait()


async def test_who_waits_goes_in_by_order_of_coming() -> None:
    async def story(guests: Guests) -> None:
        for guest in range(5):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        assert guests.inside == [0]
        for guest in range(5):
            guests.out[guest].set()
            await anyio.wait_all_tasks_blocked()
        assert guests.entered == [0, 1, 2, 3, 4]

    await with_guests(Mailbox("d"), story)


async def test_a_place_is_handed_over_not_fought_for() -> None:
    async def story(guests: Guests) -> None:
        guests.come(0)
        await anyio.wait_all_tasks_blocked()
        guests.come(1)
        await anyio.wait_all_tasks_blocked()
        guests.out[0].set()
        while guests.inside == [0]:
            await checkpoint()
        # Whether 1 has noticed yet or not: the place is his.
        assert not guests.door.enter_nowait()
        await anyio.wait_all_tasks_blocked()
        assert guests.inside == [1]

    await with_guests(Mailbox("d"), story)


async def test_full_is_refused_at_once() -> None:
    async def story(guests: Guests) -> None:
        for guest in range(5):
            guests.come(guest)
        await anyio.wait_all_tasks_blocked()
        assert list(guests.refused.values()) == ["overloaded", "overloaded"]
        guests.out[guests.inside[0]].set()
        await anyio.wait_all_tasks_blocked()
        guests.come(9)
        await anyio.wait_all_tasks_blocked()
        assert 9 not in guests.refused

    await with_guests(Mailbox("d", limit=1, capacity=2), story)


async def test_the_refusal_names_the_door() -> None:
    door = Mailbox("the printer", capacity=0)
    assert door.enter_nowait()
    with pytest.raises(ToolwireError, match="the printer is full: 1 run and 0 wait") as caught:
        await door.enter()
    assert caught.value.failure.retryable
    assert caught.value.failure.details == {"by": "the printer"}


async def test_who_leaves_the_line_is_not_let_in() -> None:
    async def story(guests: Guests) -> None:
        for guest in range(3):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        guests.scopes[1].cancel()
        await anyio.wait_all_tasks_blocked()
        guests.out[0].set()
        await anyio.wait_all_tasks_blocked()
        assert guests.entered == [0, 2]

    await with_guests(Mailbox("d"), story)


async def test_cancelled_in_the_very_moment_of_being_let_in() -> None:
    async def story(guests: Guests) -> None:
        for guest in range(3):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        guests.scopes[1].cancel()
        guests.door.leave()  # 0's place goes to 1, who is cancelled already but has not noticed
        guests.door.running += 1  # 0 still is inside, and will leave once more
        await anyio.wait_all_tasks_blocked()
        guests.out[0].set()
        await anyio.wait_all_tasks_blocked()
        assert 2 in guests.entered
        guests.out[2].set()
        await anyio.wait_all_tasks_blocked()
        assert guests.door.running == 0

    await with_guests(Mailbox("d"), story)


async def test_held_nobody_goes_in_until_it_opens() -> None:
    async def story(guests: Guests) -> None:
        guests.door.hold()
        for guest in range(3):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        assert guests.inside == []
        guests.door.open()
        await anyio.wait_all_tasks_blocked()
        assert sorted(guests.inside) == [0, 1]

    await with_guests(Mailbox("d", limit=2), story)


async def test_closed_everybody_is_sent_away_and_it_never_opens_again() -> None:
    async def story(guests: Guests) -> None:
        for guest in range(3):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        guests.door.close("gone for good")
        await anyio.wait_all_tasks_blocked()
        assert guests.refused == {1: "unreachable", 2: "unreachable"}
        assert guests.inside == [0]
        guests.out[0].set()
        await anyio.wait_all_tasks_blocked()
        assert guests.inside == []
        guests.door.open()
        assert not guests.door.enter_nowait()
        with pytest.raises(ToolwireError, match="gone for good"):
            await guests.door.enter()

    await with_guests(Mailbox("d"), story)


async def test_cancelled_in_the_very_moment_of_being_sent_away() -> None:
    async def story(guests: Guests) -> None:
        for guest in range(2):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        guests.scopes[1].cancel()
        guests.door.close("gone")
        await anyio.wait_all_tasks_blocked()
        assert guests.door.running == 1

    await with_guests(Mailbox("d"), story)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "come", "out", "cancel", "hold", "open"]), st.integers(0, 9), st.booleans()
    ),
    max_size=30,
)


@settings(max_examples=40)
@given(STEPS, st.integers(1, 3), st.integers(0, 4))
def test_whatever_happens_at_a_door(  # noqa: C901 - a story with seven kinds of steps
    steps: list[tuple[str, int, bool]], limit: int, capacity: int
) -> None:
    """Never more inside than the limit, never more waiting than there is room, and no place is ever lost."""

    async def story(guests: Guests) -> None:
        door, known, held = guests.door, 0, False
        for what, which, settle in steps:
            if what == "come":
                guests.come(known)
                known += 1
            elif what == "hold":
                door.hold()
                held = True
            elif what == "open":
                door.open()
                held = False
            elif known:
                guest = which % known
                guests.out[guest].set() if what == "out" else guests.scopes[guest].cancel()
            if settle:
                await anyio.wait_all_tasks_blocked()
                assert len(guests.inside) == door.running <= limit
                assert len(door.waiting) <= capacity
                assert held or not door.waiting or door.running == limit
        door.open()
        for guest in range(known):
            guests.out[guest].set()
        await anyio.wait_all_tasks_blocked()
        assert guests.inside == []
        assert door.running == 0
        assert not door.waiting
        if door.limit == 1:  # of several who are let in at once, any may be the first to notice
            assert guests.entered == [guest for guest in guests.arrived if guest in guests.entered]

    for backend in ("asyncio", "trio"):
        anyio.run(with_guests, Mailbox("d", limit, capacity), story, backend=backend)


async def test_dismissed_who_waits_is_sent_away_and_who_finds_room_comes_in() -> None:
    door = Mailbox("door", 1)
    async with anyio.create_task_group() as tasks:
        guests = Guests(door, tasks)
        for guest in (1, 2):
            guests.come(guest)
            await anyio.wait_all_tasks_blocked()
        door.dismiss("it is late")
        await anyio.wait_all_tasks_blocked()
        assert guests.refused == {2: "unreachable"}
        guests.come(3)
        await anyio.wait_all_tasks_blocked()
        assert guests.refused == {2: "unreachable", 3: "unreachable"}
        guests.out[1].set()
        await anyio.wait_all_tasks_blocked()
        guests.come(4)
        await anyio.wait_all_tasks_blocked()
        assert guests.inside == [4]
        guests.out[4].set()
