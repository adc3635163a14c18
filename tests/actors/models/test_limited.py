"""Requests and tokens in a time, requests at once: who waits, for how long, in which order, and what is given back."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Barrier, Thread

import anyio
import anyio.to_thread
import pytest
import trio
from trio.testing import MockClock

from toolwire.actors.models.contract import ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.limited import Limited, size
from toolwire.actors.models.limiter import WAITING, Limiter
from toolwire.actors.models.scripted import scripted, spoken
from toolwire.models import limited
from toolwire.protocol.events import Usage
from toolwire.protocol.failures import Failure, Misuse, ToolwireError, failed
from toolwire.protocol.history import AssistantMessage, HistoryMessage, SystemMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolSpec
from toolwire.runtime.testing import interruptions

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest([UserMessage("?")])
IN_TIME = ModelRequest([UserMessage("?")], seconds=300.0)


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def heard(model: Limited, request: ModelRequest = REQUEST) -> None:
    async with model.stream(request) as events:
        async for _ in events:
            pass


class Sized:
    """Answers at once, and counts so many tokens; or fails."""

    def __init__(self, tokens: int = 0, error: Exception | None = None) -> None:
        self.tokens = tokens
        self.error = error
        self.seconds: list[float | None] = []
        self.closed = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.seconds.append(request.seconds)
        if self.error is not None:
            raise self.error
        return ModelReply("so", usage=Usage(self.tokens - 1, 1) if self.tokens else Usage())

    async def aclose(self) -> None:
        self.closed += 1


def test_requests_pass_at_their_rate() -> None:
    async def main() -> None:
        inner = Sized()
        model = limited(inner, requests="2/m")
        began = trio.current_time()
        for _ in range(4):
            await model.complete(IN_TIME)
        assert trio.current_time() - began == pytest.approx(60.0)
        assert inner.seconds == [300.0, 300.0, pytest.approx(270.0), pytest.approx(270.0)]
        streamed = limited(scripted(["a"] * 3), requests="2/m")
        began = trio.current_time()
        for _ in range(3):
            await heard(streamed)
        assert trio.current_time() - began == pytest.approx(30.0)

    timeless(main)


def test_a_wait_that_does_not_fit_is_refused_at_once() -> None:
    async def main() -> None:
        model = limited(Sized(), requests="1/m")
        await model.complete(REQUEST)
        began = trio.current_time()
        with pytest.raises(ToolwireError) as raised:
            await model.complete(ModelRequest([], seconds=20.0))
        failure = raised.value.failure
        assert trio.current_time() == began
        assert (failure.code, failure.retryable) == ("rate_limited", True)
        assert failure.retry_after == pytest.approx(60.0)
        assert failure.details == {"by": "requests", "rate": "1/m"}
        assert "1/m requests at most: the wait of 60 s does not fit" in failure.message

    timeless(main)


def test_those_ahead_are_counted_in() -> None:
    async def main() -> None:
        model = limited(Sized(), requests="1/m")
        await model.complete(REQUEST)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.complete, REQUEST)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ToolwireError) as raised:
                await model.complete(ModelRequest([], seconds=100.0))
            assert raised.value.failure.retry_after == pytest.approx(120.0)

    timeless(main)


def test_tokens_are_counted_as_the_model_counts_them() -> None:
    async def main() -> None:
        model = limited(Sized(600), tokens="1000/m")
        began = trio.current_time()
        await model.complete(REQUEST)
        await model.complete(REQUEST)
        assert trio.current_time() == began  # the estimate of the second is small
        await model.complete(REQUEST)
        assert trio.current_time() - began == pytest.approx(0.2 * 60, abs=0.1)
        with pytest.raises(ToolwireError) as raised:
            await model.complete(ModelRequest([UserMessage("?")], seconds=10.0))
        assert raised.value.failure.details["by"] == "tokens"

    timeless(main)


def test_what_failed_without_cost_is_given_back_and_what_is_too_much_passes_once() -> None:
    async def main() -> None:
        request = ModelRequest([UserMessage("x" * 40_000)])
        refused = limited(Sized(error=ConnectionError()), tokens="1000/m")
        began = trio.current_time()
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await refused.complete(request)
        torn = Failure("model_failed", "torn", details={"usage": {"input_tokens": 1500}})
        torn_off = limited(scripted([ToolwireError(torn), "so"]), tokens="1000/m")
        with pytest.raises(ToolwireError):
            await heard(torn_off, request)
        assert trio.current_time() == began
        await heard(torn_off)
        assert trio.current_time() - began == pytest.approx(30.0, abs=0.1)

    timeless(main)


async def test_the_estimate_goes_by_the_last_count() -> None:
    model = limited(Sized(5_000), tokens="1000000/m")
    counts = model.counts
    assert counts is not None
    messages: list[HistoryMessage] = [SystemMessage("s" * 40), UserMessage("u" * 40)]
    request = ModelRequest(messages, (ToolSpec("a_tool"),), conversation="c")
    assert counts.estimate(request) == 20 + len('[{"name":"a_tool"}]') // 4
    await model.complete(request)
    call = ToolCall("1", "t", '{"a":1}')
    later = [*messages, AssistantMessage("so", (call,)), ToolMessage("1", "t", "r" * 80)]
    assert counts.estimate(ModelRequest(later, conversation="c")) == 5_000 + 20
    assert counts.estimate(ModelRequest(messages[:1], conversation="c")) == 10
    assert counts.estimate(ModelRequest(later[:2], conversation="other")) == 20
    assert size(later[2]) == 2 + 1 + 7
    retried = ModelReply("so", usage=Usage(9_000, 1_000, wasted_tokens=4_500))
    twice = Limited(scripted([retried]), Limiter(tokens="1000000/m"))
    await twice.complete(request)
    assert twice.counts is not None
    assert twice.counts.estimate(ModelRequest(later, conversation="c")) == 5_500 + 20


async def test_few_conversations_are_kept() -> None:
    model = limited(Sized(10), tokens="1000000/m")
    assert model.counts is not None
    for n in range(1_100):
        await model.complete(ModelRequest([], conversation=str(n)))
    assert len(model.counts._known) == 1_024


async def test_so_many_at_once_in_the_order_in_which_they_came() -> None:
    order: list[int] = []
    running: list[int] = []
    go_on = anyio.Event()

    class Slow:
        async def complete(self, request: ModelRequest) -> ModelReply:
            order.append(len(request.messages))
            running.append(1)
            assert len(running) <= 2
            await go_on.wait()
            running.pop()
            return ModelReply()

    model = limited(Slow(), concurrent=2)
    async with anyio.create_task_group() as tasks:
        for n in range(6):
            tasks.start_soon(model.complete, ModelRequest([UserMessage("?")] * n))
            await anyio.wait_all_tasks_blocked()
        assert order == [0, 1]
        assert repr(model.limiter) == "<Limiter 2 at once [running: 2 | waiting: 4]>"
        go_on.set()
    assert order == [0, 1, 2, 3, 4, 5]
    assert repr(model.limiter) == "<Limiter 2 at once [running: 0 | waiting: 0]>"


def test_none_of_them_ending_in_time_is_a_refusal() -> None:
    async def main() -> None:
        model = limited(scripted([spoken("slow", then=100.0), "never"]), concurrent=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.complete, REQUEST)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            with pytest.raises(ToolwireError) as raised:
                await model.complete(ModelRequest([], seconds=20.0))
            assert trio.current_time() - began == pytest.approx(20.0)
        assert raised.value.failure.details == {"by": "concurrent"}

    timeless(main)


def test_nor_is_there_a_wait_without_time() -> None:
    """Where it would fit, but for those who came before and have not looked yet."""

    async def main() -> None:
        limiter = Limiter(tokens="100/m")
        assert limiter.admit(100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(limited(Sized(), limiter).complete, ModelRequest([UserMessage("x" * 200)]))
            await trio.testing.wait_all_tasks_blocked()
            limiter.leave(-100)
            with pytest.raises(ToolwireError, match="no time was left to wait for the requests before it") as raised:
                await limited(Sized(), limiter).complete(ModelRequest([], seconds=0.0))
        assert raised.value.failure.details == {"by": "waiting"}

    timeless(main)


def test_who_is_cancelled_leaves_no_hole() -> None:
    async def main() -> None:
        model = limited(Sized(), requests="1/m")
        await model.complete(REQUEST)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            leaving = trio.CancelScope()

            async def leave() -> None:
                with leaving:
                    await model.complete(REQUEST)

            nursery.start_soon(leave)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(model.complete, REQUEST)
            await trio.testing.wait_all_tasks_blocked()
            leaving.cancel()
        assert trio.current_time() - began == pytest.approx(60.0)

    timeless(main)


async def test_full_is_refused() -> None:
    limiter = Limiter(concurrent=1)
    await limiter.enter(0, None)
    async with anyio.create_task_group() as tasks:
        for _ in range(WAITING):
            tasks.start_soon(limiter.enter, 0, None)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ToolwireError, match="1024 requests to the model wait already"):
            await limiter.enter(0, None)
        tasks.cancel_scope.cancel()
    assert repr(limiter) == "<Limiter 1 at once [running: 1 | waiting: 0]>"


def test_models_may_share_one() -> None:
    async def main() -> None:
        limiter = Limiter(requests="1/m")
        began = trio.current_time()
        await limited(Sized(), limiter).complete(REQUEST)
        await limited(scripted(["a"]), limiter).complete(REQUEST)
        assert trio.current_time() - began == pytest.approx(60.0)

    timeless(main)


@pytest.mark.parametrize("ahead", [0.0, 60.0])
def test_another_loop_goes_on_with_what_was_taken(ahead: float) -> None:
    """Whether its clock is behind that of the first or ahead: a program may run each turn in a loop of its own."""
    model = limited(Sized(), requests="1/m", tokens="1000/m")

    async def main(start: float, wait: float) -> None:
        await trio.sleep(start)
        began = trio.current_time()
        await model.complete(IN_TIME)
        assert trio.current_time() - began == pytest.approx(wait)

    trio.run(main, 30.0, 0.0, clock=MockClock(autojump_threshold=0))
    trio.run(main, ahead, 60.0, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("busy", [False, True])
async def test_two_loops_at_once_are_refused(*, busy: bool) -> None:
    """The events of one are not for the threads of another: who waited there would wait for ever."""
    model = limited(scripted([spoken("so"), spoken("slow", then=1000.0)]), requests="9/s")

    def elsewhere() -> None:
        asyncio.run(model.complete(REQUEST))

    await model.complete(REQUEST)
    async with anyio.create_task_group() as group:
        if busy:
            group.start_soon(model.complete, REQUEST)
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(Misuse, match="the one that it was used in still runs: give each loop, and each thread"):
            await anyio.to_thread.run_sync(elsewhere)
        group.cancel_scope.cancel()
    assert not model.limiter.running


def test_many_threads_that_share_one_are_told_so_and_break_nothing() -> None:
    limiter, start, told = Limiter(requests="900000/s", concurrent=2), Barrier(4), list[str]()

    async def asks() -> None:
        for _ in range(200):
            await limited(Sized(), limiter).complete(REQUEST)

    def thread() -> None:
        start.wait()
        try:
            asyncio.run(asks())
            told.append("so")
        except Misuse as error:
            told.append(str(error))

    threads = [Thread(target=thread) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert "so" in told
    assert all(said == "so" or "give each loop" in said for said in told)
    assert (limiter.running, len(limiter._queue), limiter._queued) == (0, 0, 0)


def test_a_loop_that_was_closed_under_its_requests_holds_no_place() -> None:
    limiter = Limiter(concurrent=1)
    loop = asyncio.new_event_loop()
    slow = limited(scripted([spoken("slow", then=1000.0)]), limiter)
    tasks = [loop.create_task(slow.complete(REQUEST)) for _ in range(2)]
    loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(Misuse, match="give each loop"):  # it may go on
        asyncio.run(limited(Sized(), limiter).complete(REQUEST))
    assert repr(limiter) == "<Limiter 1 at once [running: 1 | waiting: 1]>"
    loop.close()
    asyncio.run(limited(Sized(), limiter).complete(REQUEST))
    assert repr(limiter) == "<Limiter 1 at once [running: 0 | waiting: 0]>"
    for task in tasks:
        with suppress(RuntimeError):  # anyio's own: its scope ends where no loop is
            task.get_coro().close()  # as the collector does it, with a warning
        setattr(task, "_log_destroy_pending", False)  # noqa: B010 - a word of its own that its types don't tell
    assert repr(limiter) == "<Limiter 1 at once [running: 0 | waiting: 0]>"


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelled_anywhere_it_gives_its_place_back(*, streamed: bool) -> None:
    limiter = Limiter(requests="1000/s", tokens="100000/s", concurrent=1)

    async def work() -> None:
        model = limited(scripted([spoken("a"), spoken("b")]), limiter)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(model.complete, REQUEST)
            await (heard(model) if streamed else model.complete(REQUEST))

    async def ended() -> None:
        assert (limiter.running, len(limiter._queue), limiter._queued) == (0, 0, 0)

    assert await interruptions(work, ended) > 1


async def test_a_stream_that_is_left_gives_its_place_back() -> None:
    model = limited(scripted(["a b c"]), tokens="1000/m", concurrent=1)
    async with model.stream(REQUEST) as events:
        await anext(aiter(events))
        assert model.limiter.running == 1
    assert model.limiter.running == 0
    with pytest.raises(ToolwireError):
        await heard(limited(scripted([]), model.limiter))
    assert model.limiter.running == 0


def test_a_listener_that_fails_gives_no_tokens_back() -> None:
    """The model was asked, and has begun to answer: that it took nothing is only known of its own failures."""

    async def main() -> None:
        request = ModelRequest([UserMessage("x" * 4_000)])
        model = limited(scripted(["a b c", "so"]), tokens="1000/m")
        with suppress(ConnectionError):
            async with model.stream(request) as events:
                await anext(events)
                raise ConnectionError
        began = trio.current_time()
        await heard(model, request)
        assert trio.current_time() - began == pytest.approx(60.0, abs=0.1)

    timeless(main)


async def test_it_is_as_what_is_inside() -> None:
    inner = Sized()
    model = limited(inner, concurrent=1)
    shown: object = model
    assert not isinstance(shown, StreamingModel)
    assert isinstance(limited(scripted([]), concurrent=1), StreamingModel)
    await model.aclose()
    assert inner.closed == 1
    shown = "by <Limiter 60/m requests, 100000/m tokens [running: 0 | waiting: 0]>>"
    assert repr(limited(inner, requests="60/m", tokens="100000/m")).endswith(shown)


def test_what_is_refused() -> None:
    with pytest.raises(Misuse, match="nothing is limited"):
        limited(scripted([]))
    with pytest.raises(Misuse, match="'10' is no rate"):
        limited(scripted([]), requests="10")
    with pytest.raises(Misuse, match="'60/m' is no Limiter: write which limit it is, requests="):
        limited(scripted([]), "60/m")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(Misuse, match="concurrent must be"):
        limited(scripted([]), concurrent=0)
    with pytest.raises(Misuse, match="give a Limiter, or"):
        limited(scripted([]), Limiter(concurrent=1), requests="1/s")
    assert failed("rate_limited", "so").retryable
