"""Every guarantee of `runtime/bus/contract.py`, held against every bus on both event loops.

An end asks another end, and itself: the two take different ways where a bus has two.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toolwire.runtime.bus import (
    Abandoned,
    Bus,
    Closed,
    LocalFirst,
    Lost,
    MemoryBus,
    Progress,
    Refused,
    Stop,
    TooLarge,
    Unreachable,
)
from toolwire.runtime.bus.contract import CONFIRM
from toolwire.runtime.bus.nats import NatsBus

pytestmark = pytest.mark.anyio

SUBJECT = "tw.default.tool.x"
NewEnd = Callable[..., Bus]


@pytest.fixture(params=["memory", "nats", "local-first"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["nats", "local-first"])
def remote(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def maker(kind: str, request: pytest.FixtureRequest) -> NewEnd:
    """What makes ends that see each other and nobody else."""
    together = secrets.token_hex(8)

    def new(**options: float) -> Bus:
        if kind == "memory":
            return MemoryBus(together, grace=options.get("grace", 5.0))
        remote = NatsBus(request.getfixturevalue("nats_url"), namespace=together, **options)  # type: ignore[arg-type]
        return remote if kind == "nats" else LocalFirst(MemoryBus(grace=options.get("grace", 5.0)), remote)

    return new


@pytest.fixture
def new(kind: str, request: pytest.FixtureRequest) -> NewEnd:
    return maker(kind, request)


@pytest.fixture
def new_remote(remote: str, request: pytest.FixtureRequest) -> NewEnd:
    return maker(remote, request)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread outlives its bus; what sockets are left become ResourceWarnings, which are errors."""
    before = set(threading.enumerate())
    yield
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any("toolwire" in name for name in left)


@pytest.fixture(params=["itself", "another"])
async def pair(request: pytest.FixtureRequest, new: NewEnd) -> AsyncIterator[tuple[Bus, Bus]]:
    """Who serves and who asks: the same end, or two."""
    async with new() as server:
        if request.param == "itself":
            yield server, server
        else:
            async with new() as other:
                yield server, other


Pair = tuple[Bus, Bus]


async def echo(payload: bytes, _progress: Progress) -> bytes:
    return payload


async def ended_by(stop: Stop) -> None:
    await stop()


async def held(started: anyio.Event, ended: list[str]) -> bytes:
    """What a handler does that only a cancel ends."""
    started.set()
    try:
        await anyio.sleep_forever()
    except BaseException:
        ended.append("cancelled")
        raise
    return b""


class TestOneEnd:
    @pytest.mark.parametrize("payload", [b"", b"a", b"\x00\xff\r\n", b"x" * 100_000])
    async def test_the_answer_comes_as_it_was_given(self, pair: Pair, payload: bytes) -> None:
        server, asker = pair
        await server.serve(SUBJECT, echo)
        assert await asker.request(SUBJECT, payload) == payload

    async def test_nobody_there_is_unreachable_at_once(self, pair: Pair) -> None:
        with anyio.fail_after(1), pytest.raises(Unreachable, match=SUBJECT):
            await pair[1].request(SUBJECT, b"")

    async def test_a_thousand_at_once_have_each_their_own(self, pair: Pair) -> None:
        server, asker = pair
        answers = {}

        async def later(payload: bytes, _progress: Progress) -> bytes:
            await checkpoint()
            return payload * 2

        async def ask(number: int) -> None:
            answers[number] = await asker.request(SUBJECT, b"%d" % number)

        await server.serve(SUBJECT, later)
        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(ask, number)
        assert answers == {number: b"%d" % number * 2 for number in range(1000)}

    async def test_a_handler_may_ask_in_turn(self, pair: Pair) -> None:
        server, asker = pair

        async def again(payload: bytes, _progress: Progress) -> bytes:
            return payload if len(payload) > 5 else await server.request(SUBJECT, payload + b"a")

        await server.serve(SUBJECT, again)
        assert await asker.request(SUBJECT, b"") == b"aaaaaa"


class TestAtMostOnce:
    async def test_shared_subjects_hand_each_request_to_one(self, new: NewEnd) -> None:
        ran: list[bytes] = []

        def of(name: bytes) -> Callable[[bytes, Progress], Awaitable[bytes]]:
            async def handler(payload: bytes, _progress: Progress) -> bytes:
                ran.append(payload)
                return name

            return handler

        async with new() as one, new() as other, new() as asker:
            await one.serve(SUBJECT, of(b"one"), shared=True)
            await other.serve(SUBJECT, of(b"other"), shared=True)
            answers = [await asker.request(SUBJECT, b"%d" % number) for number in range(100)]
        assert sorted(ran) == sorted(b"%d" % number for number in range(100))
        assert set(answers) == {b"one", b"other"}

    async def test_two_ends_that_should_not_never_get_the_same_request(self, new: NewEnd) -> None:
        ran: list[bytes] = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            ran.append(payload)
            return b""

        async with new() as one, new() as other, new() as asker:
            await one.serve(SUBJECT, handler)
            await other.serve(SUBJECT, handler)
            for number in range(20):
                await asker.request(SUBJECT, b"%d" % number)
        assert ran == [b"%d" % number for number in range(20)]

    async def test_what_is_too_large_has_not_run(self, pair: Pair) -> None:
        server, asker = pair
        ran = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            ran.append(len(payload))
            return payload

        await server.serve(SUBJECT, handler)
        with pytest.raises(TooLarge, match=str(asker.largest + 1)):
            await asker.request(SUBJECT, bytes(asker.largest + 1))
        assert ran == []
        assert await asker.request(SUBJECT, bytes(asker.largest)) == bytes(asker.largest)

    async def test_an_answer_that_is_too_large_says_so(self, pair: Pair) -> None:
        server, asker = pair

        async def handler(_payload: bytes, _progress: Progress) -> bytes:
            return bytes(server.largest + 1)

        await server.serve(SUBJECT, handler)
        with pytest.raises(TooLarge, match=str(server.largest + 1)):
            await asker.request(SUBJECT, b"")

    async def test_a_publication_that_is_too_large_says_so(self, pair: Pair) -> None:
        with pytest.raises(TooLarge):
            await pair[1].publish(SUBJECT, bytes(pair[1].largest + 1))


class TestOrder:
    @pytest.mark.parametrize("suspends", [False, True])
    async def test_requests_start_in_the_order_asked(self, pair: Pair, *, suspends: bool) -> None:
        server, asker = pair
        asked: list[bytes] = []
        started: list[bytes] = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            started.append(payload)
            if suspends:
                await checkpoint()
            return b""

        async def ask(number: int) -> None:
            asked.append(b"%d" % number)
            await asker.request(SUBJECT, b"%d" % number)

        await server.serve(SUBJECT, handler)
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(ask, number)
        assert started == asked

    async def test_publications_are_heard_in_order_by_everybody(self, new: NewEnd) -> None:
        async with new() as one, new() as other:
            heard: list[list[bytes]] = [[], []]
            all_there = [anyio.Event(), anyio.Event()]
            for at, end in enumerate((one, other)):

                def listener(payload: bytes, at: int = at) -> None:
                    heard[at].append(payload)
                    if len(heard[at]) == 200:
                        all_there[at].set()

                await end.listen(SUBJECT, listener)
            for number in range(200):
                await one.publish(SUBJECT, b"%d" % number)
            for each in all_there:
                await each.wait()
        assert heard == [[b"%d" % number for number in range(200)]] * 2

    async def test_progress_comes_in_order_and_never_after_the_answer(self, pair: Pair) -> None:
        server, asker = pair
        kept: list[Progress] = []
        heard: list[bytes] = []

        async def handler(payload: bytes, progress: Progress) -> bytes:
            for number in range(50):
                progress(b"%d" % number)
            kept.append(progress)
            return payload

        await server.serve(SUBJECT, handler)
        await asker.request(SUBJECT, b"", progress=heard.append)
        assert heard == [b"%d" % number for number in range(50)]
        kept[0](b"late")
        await asker.request(SUBJECT, b"")
        assert len(heard) == 50

    async def test_progress_comes_before_the_handler_ends(self, pair: Pair) -> None:
        server, asker = pair
        heard = anyio.Event()

        async def handler(_payload: bytes, progress: Progress) -> bytes:
            progress(b"now")
            await heard.wait()
            return b"end"

        await server.serve(SUBJECT, handler)
        assert await asker.request(SUBJECT, b"", progress=lambda _note: heard.set()) == b"end"


class TestBounded:
    async def test_more_than_may_run_wait_and_more_than_may_wait_are_refused(self, new_remote: NewEnd) -> None:
        release, all_run = anyio.Event(), anyio.Event()
        running: list[bytes] = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            running.append(payload)
            if len(running) == 2:
                all_run.set()
            await release.wait()
            return payload

        answers: list[bytes] = []

        async with new_remote(concurrency=2, backlog=1) as server, new_remote() as asker:
            await server.serve(SUBJECT, handler)

            async def ask(payload: bytes) -> None:
                answers.append(await asker.request(SUBJECT, payload))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, b"a")
                tasks.start_soon(ask, b"b")
                await all_run.wait()
                tasks.start_soon(ask, b"c")
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(Refused):
                    await asker.request(SUBJECT, b"d")
                assert len(running) == 2
                release.set()
        assert sorted(answers) == [b"a", b"b", b"c"]

    async def test_a_place_is_free_again_when_an_answer_is_there(self, new_remote: NewEnd) -> None:
        async with new_remote(concurrency=1, backlog=0) as server, new_remote() as asker:
            await server.serve(SUBJECT, echo)
            for number in range(50):
                assert await asker.request(SUBJECT, b"%d" % number) == b"%d" % number


class TestCancellation:
    async def test_leaving_a_request_cancels_its_handler_and_no_other(self, pair: Pair) -> None:
        server, asker = pair
        started, release = anyio.Event(), anyio.Event()
        ended: list[str] = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            if payload == b"stays":
                await release.wait()
                return b"stayed"
            return await held(started, ended)

        stayed: list[bytes] = []

        async def stay() -> None:
            stayed.append(await asker.request(SUBJECT, b"stays"))

        await server.serve(SUBJECT, handler)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stay)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(asker.request, SUBJECT, b"leaves")
                    await started.wait()
                    scope.cancel()
            assert ended == ["cancelled"], "the handler's end is confirmed before the request goes on"
            release.set()
        assert stayed == [b"stayed"]

    async def test_leaving_does_not_wait_for_a_handler_that_stays(self, new_remote: NewEnd) -> None:
        started, release, done = anyio.Event(), anyio.Event(), anyio.Event()

        async def handler(_payload: bytes, _progress: Progress) -> bytes:
            started.set()
            with anyio.CancelScope(shield=True):
                await release.wait()
            done.set()
            return b""

        async with new_remote() as server, new_remote() as asker:
            await server.serve(SUBJECT, handler)
            with anyio.fail_after(CONFIRM + 2), anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(asker.request, SUBJECT, b"")
                    await started.wait()
                    scope.cancel()
            assert not done.is_set()
            release.set()
            await done.wait()

    async def test_what_still_waits_for_its_turn_is_dropped(self, new_remote: NewEnd) -> None:
        started, release = anyio.Event(), anyio.Event()
        ran: list[bytes] = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            ran.append(payload)
            started.set()
            await release.wait()
            return payload

        async with new_remote(concurrency=1) as server, new_remote() as asker:
            await server.serve(SUBJECT, handler)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(asker.request, SUBJECT, b"first")
                await started.wait()
                with anyio.move_on_after(0.05) as left:
                    await asker.request(SUBJECT, b"second")
                assert left.cancelled_caught
                release.set()
            assert await asker.request(SUBJECT, b"third") == b"third"
        assert ran == [b"first", b"third"]

    async def test_a_deadline_is_a_cancel(self, pair: Pair) -> None:
        server, asker = pair
        started = anyio.Event()
        ended: list[str] = []
        await server.serve(SUBJECT, lambda _payload, _progress: held(started, ended))
        with pytest.raises(TimeoutError), anyio.fail_after(0.1):
            await asker.request(SUBJECT, b"")
        assert ended == ["cancelled"]

    async def test_an_asyncio_task_that_is_cancelled_leaves_too(self, pair: Pair, anyio_backend: str) -> None:
        if anyio_backend != "asyncio":
            pytest.skip("tasks are asyncio's own")
        server, asker = pair
        started = anyio.Event()
        ended: list[str] = []
        await server.serve(SUBJECT, lambda _payload, _progress: held(started, ended))
        asking = asyncio.ensure_future(asker.request(SUBJECT, b""))
        await started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert ended == ["cancelled"]


class Odd(BaseException):
    """What no program should raise."""


RAISED: list[BaseException] = [
    ValueError("secret"),
    ExceptionGroup("secret", [ValueError()]),
    Unreachable("secret"),
    Refused("secret"),
    asyncio.CancelledError("secret"),
    Odd("secret"),
    BaseExceptionGroup("secret", [Odd()]),
]


class TestIsolation:
    @pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
    async def test_what_a_handler_raises_is_lost_logged_once_and_harms_nobody(
        self, pair: Pair, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        server, asker = pair

        async def handler(_payload: bytes, _progress: Progress) -> bytes:
            raise error

        await server.serve(SUBJECT, handler)
        await server.serve(SUBJECT + "2", echo)
        with caplog.at_level(logging.WARNING, "toolwire"), pytest.raises(Lost, match=type(error).__name__) as raised:
            await asker.request(SUBJECT, b"")
        assert len(caplog.records) == 1
        assert "secret" not in str(raised.value) + caplog.text
        assert await asker.request(SUBJECT + "2", b"lives") == b"lives"

    async def test_what_is_no_answer_is_lost(self, pair: Pair) -> None:
        async def handler(_payload: bytes, _progress: Progress) -> bytes:
            return None  # type: ignore[return-value]

        await pair[0].serve(SUBJECT, handler)
        with pytest.raises(Lost):
            await pair[1].request(SUBJECT, b"")

    async def test_what_a_listener_raises_harms_nobody(self, pair: Pair) -> None:
        server, asker = pair
        heard, there = [], anyio.Event()

        def bad(_payload: bytes) -> None:
            raise ValueError

        def good(payload: bytes) -> None:
            heard.append(payload)
            if len(heard) == 2:
                there.set()

        await server.listen(SUBJECT, bad)
        await server.listen(SUBJECT, good)
        await asker.publish(SUBJECT, b"1")
        await asker.publish(SUBJECT, b"2")
        await there.wait()
        assert heard == [b"1", b"2"]

    async def test_what_a_progress_function_raises_harms_nobody(self, pair: Pair) -> None:
        server, asker = pair

        async def handler(payload: bytes, progress: Progress) -> bytes:
            progress(b"1")
            progress(b"2")
            return payload

        def bad(_note: bytes) -> None:
            raise ValueError

        await server.serve(SUBJECT, handler)
        assert await asker.request(SUBJECT, b"a", progress=bad) == b"a"


class TestServing:
    async def test_an_end_serves_a_subject_once(self, pair: Pair) -> None:
        server = pair[0]
        stop = await server.serve(SUBJECT, echo)
        with pytest.raises(ValueError, match="already"):
            await server.serve(SUBJECT, echo)
        assert server.serves(SUBJECT)
        await stop()
        assert not server.serves(SUBJECT)
        await server.serve(SUBJECT, echo)
        await stop()
        assert server.serves(SUBJECT), "an old stop ends no new service"

    async def test_serves_speaks_of_this_end_only(self, new: NewEnd) -> None:
        async with new() as server, new() as asker:
            await server.serve(SUBJECT, echo)
            assert (server.serves(SUBJECT), asker.serves(SUBJECT)) == (True, False)

    async def test_after_a_stop_nothing_is_taken_and_what_runs_goes_on(self, pair: Pair) -> None:
        server, asker = pair
        started, release = anyio.Event(), anyio.Event()
        answers = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            started.set()
            await release.wait()
            return payload

        async def ask() -> None:
            answers.append(await asker.request(SUBJECT, b"first"))

        stop = await server.serve(SUBJECT, handler)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await started.wait()
            await stop()
            await stop()
            with pytest.raises(Unreachable):
                await asker.request(SUBJECT, b"second")
            release.set()
        assert answers == [b"first"]

    async def test_a_stop_under_load_loses_nothing(self, new: NewEnd) -> None:
        """Each request is answered, or is known not to have run."""
        ran: list[bytes] = []
        ended: list[str] = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            ran.append(payload)
            return payload

        async with new() as server, new() as asker:

            async def ask(number: int) -> None:
                try:
                    await asker.request(SUBJECT, b"%d" % number)
                    ended.append("answered")
                except Unreachable:
                    ended.append("unreachable")

            stop = await server.serve(SUBJECT, handler)
            async with anyio.create_task_group() as tasks:
                for number in range(500):
                    tasks.start_soon(ask, number)
                    if number % 50 == 0:
                        await checkpoint()
                    if number == 250:
                        tasks.start_soon(ended_by, stop)
        assert len(ended) == 500
        assert ended.count("answered") == len(ran) == len(set(ran))

    async def test_a_listener_that_is_stopped_hears_no_more(self, pair: Pair) -> None:
        server, asker = pair
        heard: list[bytes] = []
        there = anyio.Event()
        stop = await server.listen(SUBJECT, heard.append)
        await server.listen(SUBJECT, lambda payload: there.set() if payload == b"2" else None)
        await asker.publish(SUBJECT, b"1")
        if server is not asker:
            await server.publish(SUBJECT, b"own")
        await stop()
        await stop()
        await asker.publish(SUBJECT, b"2")
        await there.wait()
        assert b"2" not in heard

    async def test_publishing_to_nobody_is_no_error(self, pair: Pair) -> None:
        await pair[1].publish(SUBJECT, b"")

    @pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0", "a.*", "a.>", "ä", "a" * 513, "a\x00"])
    async def test_what_is_no_subject_is_no_subject(self, pair: Pair, subject: str) -> None:
        with pytest.raises(ValueError, match="subject"):
            await pair[0].serve(subject, echo)
        with pytest.raises(ValueError, match="subject"):
            await pair[0].listen(subject, lambda _payload: None)


class TestClosing:
    async def test_running_handlers_end_and_answer(self, new: NewEnd) -> None:
        started, release = anyio.Event(), anyio.Event()
        answers = []

        async def handler(payload: bytes, _progress: Progress) -> bytes:
            started.set()
            await release.wait()
            return payload

        async with new() as asker:

            async def ask() -> None:
                answers.append(await asker.request(SUBJECT, b"a"))

            async with anyio.create_task_group() as tasks, new() as server:
                await server.serve(SUBJECT, handler)
                tasks.start_soon(ask)
                await started.wait()
                tasks.start_soon(self.refused_then_released, asker, release)
        assert answers == [b"a"]

    async def refused_then_released(self, asker: Bus, release: anyio.Event) -> None:
        """Ask an end that closes until it takes no more, then let its handler end."""
        try:
            while True:
                with anyio.move_on_after(0.02):
                    await asker.request(SUBJECT, b"b")
        except Unreachable:
            release.set()

    async def test_handlers_that_do_not_end_are_cancelled_after_the_grace(self, new_remote: NewEnd) -> None:
        started = anyio.Event()
        ended: list[str] = []
        async with new_remote() as asker, anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(Lost):
                    await asker.request(SUBJECT, b"")

            async with new_remote(grace=0.05) as server:
                await server.serve(SUBJECT, lambda _payload, _progress: held(started, ended))
                tasks.start_soon(ask)
                await started.wait()
        assert ended == ["cancelled"]

    async def test_in_memory_a_handler_belongs_to_its_requester(self) -> None:
        started, release = anyio.Event(), anyio.Event()
        answers = []

        async def handler(_payload: bytes, _progress: Progress) -> bytes:
            started.set()
            await release.wait()
            return b"late"

        async with anyio.create_task_group() as tasks:
            async with MemoryBus(grace=0.01) as bus:

                async def ask() -> None:
                    answers.append(await bus.request(SUBJECT, b""))

                await bus.serve(SUBJECT, handler)
                tasks.start_soon(ask)
                await started.wait()
            assert answers == []
            release.set()
        assert answers == [b"late"]

    async def test_requests_that_wait_are_abandoned_and_their_handlers_cancelled(self, new_remote: NewEnd) -> None:
        started = anyio.Event()
        ended: list[str] = []
        async with new_remote() as server:
            await server.serve(SUBJECT, lambda _payload, _progress: held(started, ended))
            async with anyio.create_task_group() as tasks, new_remote() as asker:

                async def ask() -> None:
                    with pytest.raises(Abandoned):
                        await asker.request(SUBJECT, b"")

                tasks.start_soon(ask)
                await started.wait()
        assert ended == ["cancelled"]

    async def test_a_closed_bus_says_so(self, new: NewEnd) -> None:
        bus = new()
        with pytest.raises(Closed):
            await bus.request(SUBJECT, b"")
        async with bus:
            await bus.serve(SUBJECT, echo)
        for act in (
            lambda: bus.request(SUBJECT, b""),
            lambda: bus.publish(SUBJECT, b""),
            lambda: bus.serve(SUBJECT, echo),
            lambda: bus.listen(SUBJECT, lambda _payload: None),
        ):
            with pytest.raises(Closed):
                await act()
        assert not bus.serves(SUBJECT)

    async def test_a_bus_can_be_opened_again(self, new: NewEnd) -> None:
        bus = new()
        for _ in range(2):
            async with bus:
                await bus.serve(SUBJECT, echo)
                assert await bus.request(SUBJECT, b"a") == b"a"

    async def test_an_error_in_the_block_comes_out_as_it_is(self, new: NewEnd) -> None:
        async def fails() -> None:
            async with new() as bus:
                await bus.serve(SUBJECT, echo)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fails()

    async def test_a_cancelled_block_closes_too(self, new: NewEnd) -> None:
        bus = new()
        with anyio.CancelScope() as scope:
            async with bus:
                await bus.serve(SUBJECT, echo)
                scope.cancel()
                await checkpoint()
        assert not bus.serves(SUBJECT)

    async def test_no_task_is_left(self, new: NewEnd, anyio_backend: str) -> None:
        if anyio_backend != "asyncio":
            pytest.skip("trio has no task without a nursery")
        before = asyncio.all_tasks()
        async with new() as bus:
            await bus.serve(SUBJECT, echo)
            await bus.request(SUBJECT, b"")
        assert asyncio.all_tasks() == before
