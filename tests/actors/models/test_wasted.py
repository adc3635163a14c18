"""What an answer has used that came to nothing was paid: it stands in the failure, in a reply after it, in the turn."""

import json
from typing import Any

import pytest

from strict.asking import WAYS, ask, speaking
from strict.judge import FORMATS
from strict.provider import Delivery, Failing, Raw
from strict.said import said, text
from strict.spoken import WIRES, event
from toolwire import Price, Runtime, scripted
from toolwire.actors.models.contract import ModelRequest
from toolwire.actors.models.scripted import spoken
from toolwire.models import fallback, limited, retrying
from toolwire.protocol.events import TurnFinished, Usage
from toolwire.protocol.failures import Failure, ToolwireError
from toolwire.protocol.history import UserMessage
from toolwire.protocol.tools import Retry

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_authorities")]

REQUEST = ModelRequest([UserMessage("Weather?")])
MILD = said(text("It is mild, and it will stay so."))
USED = Usage(12, 5, 4, 2)


def told_before(wire: str) -> bytes:
    """What tells the usage before the end."""
    whole: dict[str, Any] = WIRES[wire]().whole(MILD)
    if wire == "openai":  # as vLLM does with `continuous_usage_stats`
        return event({"choices": [], "usage": whole["usage"], "model": "m-1"})
    return b""


def broken(wire: str, *, upto: int = 3) -> Delivery:
    """A stream that ends in the midst, after its usage was told."""
    whole: dict[str, Any] = WIRES[wire]().whole(MILD)
    if wire == "openai_responses":  # it says so at the end only, of an answer that failed too
        failed = {**whole, "status": "failed", "output": [], "error": {"code": "server_error", "message": "oops"}}
        return Delivery(MILD, upto=upto, tail=event({"type": "response.failed", "response": failed}))
    return Delivery(MILD, upto=upto, tail=told_before(wire), end="abrupt")


@pytest.fixture(params=FORMATS, scope="module")
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def used(usage: Usage, wire: str) -> bool:
    """Whether that is what was used once. Anthropic says at the beginning what it heard, and little of what it says."""
    return usage.input_tokens == USED.input_tokens and (wire == "anthropic" or usage == USED)


async def failure_of(model: Any, way: str = "streamed") -> Failure:
    with pytest.raises(ToolwireError) as raised:
        await ask(model, REQUEST, way)
    return raised.value.failure


def usage_of(failure: Failure) -> Usage:
    return Usage(**failure.details["usage"])


@pytest.mark.parametrize("upto", [2, 5])
async def test_a_stream_that_breaks_says_what_it_has_used(wire: str, upto: int) -> None:
    async with speaking(wire, broken(wire, upto=upto)) as (model, _):
        failure = await failure_of(model)
        assert used(usage_of(failure), wire)
        assert failure.details["model"]


async def test_so_does_one_that_ends_without_its_end(wire: str) -> None:
    async with speaking(wire, Delivery(MILD, upto=3, tail=told_before(wire))) as (model, _):
        failure = await failure_of(model)
        assert failure.retryable
        assert wire == "openai_responses" or used(usage_of(failure), wire)


async def test_and_one_with_an_error_in_it(wire: str) -> None:
    error = WIRES[wire]().error_event("server_error", "oops")
    async with speaking(wire, Delivery(MILD, upto=3, tail=told_before(wire) + error)) as (model, _):
        failure = await failure_of(model)
        assert wire == "openai_responses" or used(usage_of(failure), wire)
        assert failure.details["error"] == "server_error"


async def test_and_an_answer_in_one_piece_that_is_none(wire: str) -> None:
    whole: dict[str, Any] = WIRES[wire]().whole(MILD)
    match wire:
        case "openai":
            whole["choices"][0]["finish_reason"] = None
        case "openai_responses":
            whole |= {"status": "failed", "error": {"code": "server_error", "message": "oops"}}
        case _:
            whole["stop_reason"] = None
    async with speaking(wire, *[Raw(json.dumps(whole).encode())] * 2) as (model, _):
        for way in WAYS:
            assert usage_of(await failure_of(model, way)) == USED


async def test_what_used_nothing_says_nothing(wire: str) -> None:
    async with speaking(wire, Failing(500), Failing(429)) as (model, _):
        for way in WAYS:
            assert "usage" not in (await failure_of(model, way)).details


async def test_it_is_added_where_it_is_asked_again(wire: str) -> None:
    async with speaking(wire, *[broken(wire, upto=1)] * 2, MILD, retries=Retry(2, first=0.001)) as (model, _):
        reply = (await ask(model, REQUEST, "streamed")).reply
        assert (reply.text, reply.usage.input_tokens) == ("It is mild, and it will stay so.", 36)
    async with speaking(wire, *[broken(wire, upto=1)] * 2, retries=Retry(1, first=0.001)) as (model, _):
        assert usage_of(await failure_of(model)).input_tokens == 24


async def test_and_where_another_model_goes_on(wire: str) -> None:
    async with speaking(wire, broken(wire, upto=1), broken(wire, upto=1)) as (model, _):
        reply = (await ask(fallback(model, scripted(["So."])), REQUEST, "streamed")).reply  # type: ignore[arg-type]
        assert (reply.text, reply.usage.input_tokens) == ("So.", 12)
        failure = await failure_of(fallback(model, scripted([ConnectionError()])))
        assert used(usage_of(failure), wire)
        assert failure.details["model"]


async def test_and_where_the_last_one_breaks_off_in_the_midst() -> None:
    """What was told stands, so nobody is asked again; what the tries before it have used is not forgotten."""
    first = ToolwireError(Failure("model_failed", "no", retryable=True, details={"usage": {"input_tokens": 5}}))
    torn = ToolwireError(Failure("model_failed", "torn", details={"usage": {"input_tokens": 7}}))
    for error, tokens in ((torn, 12), (ConnectionError("gone"), 5)):
        breaks = spoken([("a",), ("b",)], raises=error, after=1)
        assert usage_of(await failure_of(retrying(scripted([first, breaks]), Retry(1, first=0.001)))) == Usage(tokens)
        assert usage_of(await failure_of(fallback(scripted([first]), scripted([breaks])))) == Usage(tokens)


async def test_a_limiter_counts_it(wire: str) -> None:
    async with speaking(wire, broken(wire, upto=1)) as (model, _):
        within = limited(model, tokens="1000/m")
        failure = await failure_of(within)
        assert within.limiter.tokens is not None
        left = within.limiter.tokens.wait(1_000, within.limiter._loop.clock())  # type: ignore[union-attr]
        assert left == pytest.approx(usage_of(failure).input_tokens * 0.06, abs=0.4)
        assert left > 0.5


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_turn_counts_it_and_what_it_cost(wire: str, retries: int) -> None:
    answers: list[Any] = [broken(wire, upto=1), *[MILD] * retries]
    async with speaking(wire, *answers, retries=Retry(retries, first=0.001) if retries else 0) as (model, _):
        async with Runtime(prices={"m": Price(100_000, 0), "m-1": Price(100_000, 0)}) as runtime:
            chat = await runtime.converse(model=model)
            async with chat.stream("Weather?") as events:
                told = [event async for event in events]
        assert isinstance(told[-1], TurnFinished)
        reply = told[-1].reply
        assert reply.ended == ("answered" if retries else "failed")
        assert reply.usage.input_tokens == 12 + 12 * retries
        assert reply.usage.cost == pytest.approx(1.2 + 1.2 * retries)
        assert not reply.usage.unpriced
