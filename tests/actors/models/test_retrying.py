"""A model is asked again: how often, when, for how long, and what of a stream may be said twice (nothing)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire.actors.models.contract import ModelEvent, ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.retrying import Retrying
from toolwire.actors.models.scripted import Scripted, scripted, spoken
from toolwire.protocol.events import CallSpoken, TextDelta, Usage
from toolwire.protocol.failures import Failure, Misuse, ToolwireError, failed
from toolwire.protocol.history import UserMessage
from toolwire.protocol.tools import Retry, ToolCall
from toolwire.runtime.testing import interruptions

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest([UserMessage("?")])
AT_ONCE = Retry(2, first=0.0)
BUSY = ToolwireError(Failure("model_failed", "busy", retryable=True))
REFUSED = ToolwireError(failed("model_refused", "no"))


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def heard(model: Retrying, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    async with model.stream(request) as events:
        return [event async for event in events]


async def into(events: list[ModelEvent], model: Retrying) -> None:
    """The same, also where it breaks off."""
    async with model.stream(REQUEST) as stream:
        async for event in stream:
            events.append(event)  # noqa: PERF401 - a list of its own would be lost


class Plain:
    """Answers only whole, as often failing first as it is told."""

    def __init__(self, *raised: BaseException) -> None:
        self.raised = list(raised)
        self.seconds: list[float | None] = []
        self.closed = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.seconds.append(request.seconds)
        await anyio.lowlevel.checkpoint()
        if self.raised:
            raise self.raised.pop(0)
        return ModelReply("at last", usage=Usage(10, 1))

    async def aclose(self) -> None:
        self.closed += 1


class Breaking:
    """Streams what stands in its lists, one after the other; an exception among it is raised."""

    def __init__(self, *streams: list[ModelEvent | BaseException]) -> None:
        self.streams = list(streams)
        self.open = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise AssertionError("it is only heard")

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        self.open += 1
        try:
            with anyio.CancelScope():  # it has to lie within what surrounds it
                yield Events(self.streams.pop(0))
        finally:
            self.open -= 1


class Events:
    def __init__(self, events: list[ModelEvent | BaseException]) -> None:
        self.events = iter(events)

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> ModelEvent:
        await anyio.lowlevel.checkpoint()
        event = next(self.events, None)
        if event is None:
            raise StopAsyncIteration
        if isinstance(event, BaseException):
            raise event
        return event


async def test_it_is_asked_until_it_answers() -> None:
    model = Retrying(scripted([BUSY, BUSY, "well"]), AT_ONCE)
    assert (await model.complete(REQUEST)).text == "well"


async def test_and_only_so_often_and_says_how_often() -> None:
    inner = scripted([BUSY] * 9)
    with pytest.raises(ToolwireError) as raised:
        await Retrying(inner, AT_ONCE).complete(REQUEST)
    assert len(inner.requests) == 3
    assert raised.value.failure.message == "busy (tried 3 times)"
    assert raised.value.failure.details == {"attempts": 3}
    assert raised.value.failure.retryable
    assert raised.value.__cause__ is BUSY


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ToolwireError(failed("rate_limited", "slow down")), 3),
        (ToolwireError(failed("timed_out", "no answer")), 3),
        (ConnectionResetError("gone"), 3),
        (REFUSED, 1),
        (ToolwireError(failed("context_too_long", "too much")), 1),
        (ToolwireError(failed("model_failed", "the key is wrong")), 1),
        (ValueError("a fault of its own"), 1),
        (Misuse(failed("model_failed", "no key")), 1),
    ],
)
async def test_what_may_pass_is_tried_again(error: Exception, tries: int) -> None:
    inner = scripted([error] * 9)
    with pytest.raises(ToolwireError) as raised:
        await Retrying(inner, AT_ONCE).complete(REQUEST)
    assert len(inner.requests) == tries
    assert isinstance(raised.value, Misuse) == isinstance(error, Misuse)
    inner = scripted([error] * 9)
    with pytest.raises(ToolwireError):
        await heard(Retrying(inner, AT_ONCE))
    assert len(inner.requests) == tries


async def test_or_what_it_is_told_to() -> None:
    inner = scripted([REFUSED, BUSY])
    with pytest.raises(ToolwireError, match="busy"):
        await Retrying(inner, Retry(5, first=0.0, codes=("model_refused",))).complete(REQUEST)
    assert len(inner.requests) == 2


async def test_what_failed_tries_cost_is_not_lost() -> None:
    torn = ToolwireError(Failure("model_failed", "torn", retryable=True, details={"usage": {"input_tokens": 7}}))
    inner = Plain(torn, torn)
    assert (await Retrying(inner, AT_ONCE).complete(REQUEST)).usage == Usage(24, 1, wasted_tokens=14)
    with pytest.raises(ToolwireError) as raised:
        await Retrying(scripted([torn] * 3), AT_ONCE).complete(REQUEST)
    assert raised.value.failure.details["usage"]["input_tokens"] == 21
    reply = ModelReply("whole", usage=Usage(1, 1))
    told = await heard(Retrying(Breaking([torn], [torn], [TextDelta("whole"), reply]), AT_ONCE))
    assert told[-1] == ModelReply("whole", usage=Usage(15, 1, wasted_tokens=14))


def test_waits_are_those_of_tools() -> None:
    async def main() -> None:
        began = trio.current_time()
        model = Retrying(scripted([BUSY, BUSY, "well"]), Retry(2), draw=lambda: 0.5)
        await model.complete(REQUEST)
        assert trio.current_time() - began == pytest.approx(0.5 + 1.0)
        asked = ToolwireError(Failure("rate_limited", "later", retryable=True, retry_after=20.0))
        began = trio.current_time()
        await heard(Retrying(scripted([asked, "well"]), Retry(2)))
        assert trio.current_time() - began == pytest.approx(20.0)

    timeless(main)


def test_a_long_wait_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asked = ToolwireError(Failure("rate_limited", "for sk-1234", retryable=True, retry_after=120.0))
        await Retrying(scripted([asked, BUSY, "well"]), Retry(2), draw=lambda: 0.5).complete(REQUEST)

    timeless(main)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "toolwire.models"]
    assert told.endswith("is asked again in 120 s: rate_limited")


def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    async def main() -> None:
        asked = ToolwireError(Failure("rate_limited", "later", retryable=True, retry_after=20.0))
        for use in (Retrying.complete, heard):
            began = trio.current_time()
            with pytest.raises(ToolwireError) as raised:
                await use(Retrying(scripted([asked, "well"]), Retry(2)), ModelRequest([], seconds=20.0))
            assert trio.current_time() == began
            said = "later (tried once, and there is no time left for another try)"
            assert raised.value.failure.message == said
            assert raised.value.failure.retry_after == 20.0

    timeless(main)


def test_each_try_knows_what_time_is_left() -> None:
    async def main() -> None:
        inner = Plain(BUSY.with_traceback(None), ConnectionError())
        await Retrying(inner, Retry(2, first=8.0, factor=1.0), draw=lambda: 0.5).complete(
            ModelRequest([], seconds=10.0)
        )
        assert inner.seconds == [10.0, pytest.approx(6.0), pytest.approx(2.0)]

    timeless(main)


def test_a_silent_try_is_given_up_and_what_is_heard_is_not() -> None:
    async def main() -> None:
        retry = Retry(1, first=0.0, attempt=5.0)
        for use in (Retrying.complete, heard):
            inner = scripted([spoken("never", then=99.0), "well"]) if use is Retrying.complete else Silent()
            began = trio.current_time()
            await use(Retrying(inner, retry), REQUEST)
            assert trio.current_time() - began == pytest.approx(5.0)
        slow = Retrying(scripted([spoken([("a",), ("b",)], every=3.0, then=30.0)]), retry)
        began = trio.current_time()
        async with slow.stream(REQUEST) as events:
            async for _ in events:
                await trio.sleep(4.0)  # nor is the listener
        assert trio.current_time() - began > 36.0

    timeless(main)


class Silent(Breaking):
    """Says nothing the first time that it is heard."""

    def __init__(self) -> None:
        super().__init__([ModelReply("well")])
        self.asked = 0

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        self.asked += 1
        if self.asked == 1:
            await anyio.sleep_forever()
        async with super().stream(request) as events:
            yield events


async def test_a_stream_is_begun_again_before_anything_was_told() -> None:
    reply = ModelReply("well", (ToolCall("a", "b"),))
    whole: list[ModelEvent | BaseException] = [TextDelta("well"), CallSpoken(reply.calls[0], 0), reply]
    inner = Breaking([BUSY], [], whole)
    with pytest.raises(ToolwireError, match="without a reply"):
        await heard(Retrying(inner, AT_ONCE))
    assert await heard(Retrying(inner, AT_ONCE)) == whole
    assert inner.open == 0


class Grouped(Breaking):
    """Has a task group of its own, which wraps what is raised."""

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        async with super().stream(request) as events, anyio.create_task_group():
            yield events


async def test_what_a_group_wraps_is_known_again() -> None:
    assert await heard(Retrying(Grouped([BUSY], [ModelReply("well")]), AT_ONCE)) == [ModelReply("well")]


@pytest.mark.parametrize("told", [TextDelta("we"), CallSpoken(ToolCall("a", "b"), 0)])
async def test_and_never_after(told: ModelEvent) -> None:
    inner = Breaking([told, BUSY], [ModelReply("well")])
    events: list[ModelEvent] = []
    with pytest.raises(ToolwireError) as raised:
        await into(events, Retrying(inner, AT_ONCE))
    assert (events, raised.value) == ([told], BUSY)
    assert (inner.open, len(inner.streams)) == (0, 1)


async def test_leaving_it_leaves_the_stream_inside() -> None:
    inner = Breaking([TextDelta("we"), ModelReply("well")])
    async with Retrying(inner, AT_ONCE).stream(REQUEST) as stream:
        await anext(aiter(stream))
        assert inner.open == 1
    assert inner.open == 0


async def test_a_model_that_does_not_stream_does_not_then() -> None:
    assert not isinstance(Retrying(Plain(), AT_ONCE), StreamingModel)
    assert isinstance(Retrying(scripted([]), AT_ONCE), StreamingModel)


async def test_it_closes_what_is_inside_and_shows_it() -> None:
    inner = Plain()
    await Retrying(inner, AT_ONCE).aclose()
    await Retrying(scripted([]), AT_ONCE).aclose()
    assert inner.closed == 1
    assert repr(Retrying(scripted([]), AT_ONCE)) == "<Retrying <Scripted [steps: 0 | spoken: 0]> [retries: 2]>"


@pytest.mark.parametrize("limit", [None, 50.0])
async def test_cancelled_anywhere_it_leaves_nothing(limit: float | None) -> None:
    made: list[Breaking] = []

    async def work() -> None:
        again: list[ModelEvent | BaseException] = [TextDelta("we"), ModelReply("well")]
        inner = Breaking([BUSY], [BUSY], again)
        made.append(inner)
        await heard(Retrying(inner, Retry(2, first=0.0, attempt=limit)))

    async def ended() -> None:
        assert made[-1].open == 0

    assert await interruptions(work, ended) > 3
    assert await interruptions(work, ended, "suspension") > 3


async def test_cancelling_a_wait_is_no_failure() -> None:
    inner = Scripted([BUSY, "well"])
    with anyio.move_on_after(0.001) as scope:
        await Retrying(inner, Retry(2, first=1000.0), draw=lambda: 1.0).complete(REQUEST)
    assert scope.cancelled_caught
