"""The next model is asked where the one before can't serve: which failures those are, and what time is left for it."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire.actors.models.contract import ModelEvent, ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.fallback import SERVED, Fallback
from toolwire.actors.models.scripted import Scripted, scripted, spoken
from toolwire.protocol.events import CallSpoken, TextDelta, Usage
from toolwire.protocol.failures import CODES, Failure, Misuse, ToolwireError, failed
from toolwire.protocol.history import UserMessage
from toolwire.protocol.tools import ToolCall
from toolwire.runtime.testing import interruptions

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest([UserMessage("?")])
DOWN = ToolwireError(Failure("model_failed", "it is down", details={"usage": {"input_tokens": 5}}))


def timeless(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def heard(model: Fallback, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    async with model.stream(request) as events:
        return [event async for event in events]


async def into(events: list[ModelEvent], model: Fallback) -> None:
    """The same, also where it breaks off."""
    async with model.stream(REQUEST) as stream:
        async for event in stream:
            events.append(event)  # noqa: PERF401 - a list of its own would be lost


class Plain:
    """Answers only whole, under a name; keeps the time that it was given."""

    model = "plain-1"

    def __init__(self, said: ModelReply | BaseException) -> None:
        self.said = said
        self.seconds: list[float | None] = []
        self.closed = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.seconds.append(request.seconds)
        await anyio.lowlevel.checkpoint()
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said

    async def aclose(self) -> None:
        self.closed += 1
        if isinstance(self.said, BaseException):
            raise ConnectionError(f"{self.said} while it closes")


class Silent:
    """Never says anything; `after` are events that come before that."""

    def __init__(self, *after: ModelEvent) -> None:
        self.after = list(after)
        self.open = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        await anyio.sleep_forever()
        raise AssertionError

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator["Silent"]:
        self.open += 1
        try:
            async with anyio.create_task_group():
                yield self
        finally:
            self.open -= 1

    def __aiter__(self) -> "Silent":
        return self

    async def __anext__(self) -> ModelEvent:
        if self.after:
            return self.after.pop(0)
        await anyio.sleep_forever()
        raise AssertionError


async def test_the_first_answers_where_it_can() -> None:
    second = scripted(["second"])
    model = Fallback([Plain(ModelReply("first", usage=Usage(1, 2))), second])
    assert await model.complete(REQUEST) == ModelReply("first", usage=Usage(1, 2), model="plain-1")
    assert not second.requests


async def test_then_the_next_and_the_reply_says_who() -> None:
    answer = ModelReply("third", usage=Usage(1, 2), model="third-2026")
    model = Fallback([scripted([DOWN] * 2), Plain(DOWN), scripted([answer, "fourth"])])
    assert await model.complete(REQUEST) == ModelReply(
        "third", usage=Usage(11, 2, wasted_tokens=10), model="third-2026"
    )
    assert (await model.complete(REQUEST)).model == "<Scripted [steps: 2 | spoken: 2]>"


@pytest.mark.parametrize("code", sorted(CODES))
async def test_only_failures_that_another_may_not_have(code: str) -> None:
    second = scripted(["second", "second"])
    model = Fallback([scripted([ToolwireError(failed(code, "no"))] * 2), second])
    for use in (model.complete, lambda request: heard(model, request)):
        if code in SERVED:
            await use(REQUEST)
        else:
            with pytest.raises(ToolwireError, match="no"):
                await use(REQUEST)
    assert len(second.requests) == (2 if code in SERVED else 0)


async def test_or_also_what_is_named() -> None:
    refused = ToolwireError(failed("model_refused", "no"))
    assert (await Fallback([scripted([refused]), scripted(["yes"])], also={"model_refused"}).complete(REQUEST)).text


async def test_misuse_is_nobodys_failure() -> None:
    with pytest.raises(Misuse, match="forbidden"):
        await Fallback([scripted([Misuse(failed("model_failed", "forbidden"))]), scripted(["yes"])]).complete(REQUEST)


async def test_all_failing_is_one_failure_that_names_each() -> None:
    busy = ToolwireError(Failure("rate_limited", "slow down", retryable=True, retry_after=3.0))
    with pytest.raises(ToolwireError) as raised:
        await Fallback([scripted([busy]), Plain(DOWN), Plain(ValueError("odd"))]).complete(REQUEST)
    failure = raised.value.failure
    assert failure.code == "model_failed"
    assert failure.message == (
        "3 models were asked and none answered: <Scripted [steps: 1 | spoken: 1]>: rate_limited: slow down; "
        "plain-1: model_failed: it is down; plain-1: model_failed: the model raised ValueError: odd"
    )
    assert (failure.retryable, failure.retry_after) == (True, 3.0)
    assert [each["code"] for each in failure.details["tried"]] == ["rate_limited", "model_failed", "model_failed"]
    assert failure.details["usage"]["input_tokens"] == 5


def test_a_silent_one_leaves_time_for_the_others() -> None:
    async def main() -> None:
        for use in (Fallback.complete, heard):
            silent, last = Silent(), Plain(ModelReply("last"))
            began = trio.current_time()
            await use(Fallback([silent, silent, last]), ModelRequest([], seconds=30.0))
            assert trio.current_time() - began == pytest.approx(20.0)
            assert last.seconds == [pytest.approx(10.0)]
            assert silent.open == 0

    timeless(main)


def test_or_as_much_as_is_said() -> None:
    async def main() -> None:
        for use in (Fallback.complete, heard):
            began = trio.current_time()
            await use(Fallback([Silent(), Plain(ModelReply("last"))], within=4.0), REQUEST)
            assert trio.current_time() - began == pytest.approx(4.0)
            with trio.move_on_after(50.0) as scope:
                await use(
                    Fallback([Silent(), Plain(ModelReply("last"))], within=math.inf), ModelRequest([], seconds=20)
                )
            assert scope.cancelled_caught

    timeless(main)


def test_who_has_begun_may_go_on() -> None:
    async def main() -> None:
        slow = scripted([spoken([("a",), ("b",)], every=3.0, then=30.0)])
        began = trio.current_time()
        async with Fallback([slow, scripted(["no"])], within=4.0).stream(REQUEST) as events:
            async for _ in events:
                await trio.sleep(5.0)
        assert trio.current_time() - began > 46.0

    timeless(main)


async def test_a_stream_goes_to_the_next_before_anything_was_told() -> None:
    call = ToolCall("a", "b")
    whole = ModelReply("whole", (call,), model="plain-1")
    model = Fallback([Silent(), scripted([ConnectionError()]), Plain(whole)], within=0.001)
    assert await heard(model) == [TextDelta("whole"), CallSpoken(call, 0), whole]


async def test_and_never_after() -> None:
    second, events = scripted(["second"]), list[ModelEvent]()
    with pytest.raises(ToolwireError) as raised:
        await into(events, Fallback([scripted([spoken([("a",), ("b",)], raises=DOWN, after=1)]), second]))
    assert (len(events), raised.value, second.requests) == (1, DOWN, [])


async def test_without_time_there_is_no_next() -> None:
    second = scripted(["second"])
    with pytest.raises(ToolwireError, match="down"):
        await Fallback([scripted([DOWN]), second]).complete(ModelRequest([], seconds=0.0))
    assert not second.requests


async def test_it_streams_where_any_of_them_does() -> None:
    assert isinstance(Fallback([Plain(DOWN), scripted([])]), StreamingModel)
    assert not isinstance(Fallback([Plain(DOWN), Plain(DOWN)]), StreamingModel)


async def test_each_is_closed_once_whatever_another_says_to_it() -> None:
    first, second = Plain(DOWN), Plain(ModelReply())
    with pytest.raises(ConnectionError):
        await Fallback([first, second, first, scripted([])]).aclose()
    assert (first.closed, second.closed) == (1, 1)


async def test_it_shows_itself() -> None:
    shown = "<Fallback <Scripted [steps: 0 | spoken: 0]>, then <Scripted [steps: 1 | spoken: 0]>>"
    assert repr(Fallback([scripted([]), scripted(["a"])])) == shown


def test_a_request_that_is_given_up_with_its_loop_asks_nobody_more() -> None:
    """A coroutine that is closed must not wait again: its event loop, and who would carry it on, are gone."""

    class Suspended:
        def __await__(self) -> Generator[None, None, ModelReply]:
            yield
            raise AssertionError

        async def complete(self, request: ModelRequest) -> ModelReply:
            return await self

    second = Plain(ModelReply())
    asked = Fallback([Suspended(), second]).complete(REQUEST)
    asked.send(None)
    asked.close()
    assert second.seconds == []


@pytest.mark.parametrize("within", [None, 50.0])
async def test_cancelled_anywhere_it_leaves_nothing(within: float | None) -> None:
    made: list[Silent] = []

    async def work() -> None:
        silent = Silent(ModelReply())
        made.append(silent)
        with anyio.move_on_after(0):
            await heard(Fallback([Scripted([DOWN]), Plain(DOWN), silent], within=within))

    async def ended() -> None:
        assert made[-1].open == 0

    assert await interruptions(work, ended) >= 1
    assert await interruptions(work, ended, "suspension") >= 1
