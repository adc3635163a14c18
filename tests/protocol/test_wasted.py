"""What a failed answer has used is counted: by the turn, and by what it costs."""

import pytest

from toolwire import Agent, Runtime
from toolwire.actors.models.contract import ModelReply, ModelRequest
from toolwire.actors.models.retrying import Retrying
from toolwire.protocol.failures import Failure, ToolwireError
from toolwire.protocol.prices import Price
from toolwire.protocol.tools import Retry
from toolwire.protocol.usage import Usage
from toolwire.protocol.wasted import usage_in, with_usage

pytestmark = pytest.mark.anyio


class Torn:
    """Breaks off, after it has used so many tokens."""

    model = "torn"

    async def complete(self, request: ModelRequest) -> ModelReply:
        usage = {"input_tokens": 1_000_000, "output_tokens": 5}
        raise ToolwireError(Failure("model_failed", "torn", retryable=True, details={"usage": usage}))


async def test_a_turn_that_failed_says_what_was_used_and_what_that_cost() -> None:
    model = Retrying(Torn(), Retry(1, first=0.0))
    async with Runtime(prices={"torn": Price(2.0, 0.0)}) as runtime:
        reply = await (await runtime.converse(Agent("a", model=model))).say("?")
    assert reply.failure is not None
    assert reply.usage == Usage(2_000_000, 10, cost=4.0, wasted_tokens=2_000_000)


@pytest.mark.parametrize("usage", [None, "much", {"input_tokens": "many"}, []])
def test_what_is_no_usage_counts_as_none(usage: object) -> None:
    assert usage_in(Failure("model_failed", "x", details={"usage": usage})) == Usage()


def test_there_and_back() -> None:
    failure = with_usage(Failure("model_failed", "x"), Usage(1, 2))
    assert usage_in(failure) == Usage(1, 2, wasted_tokens=1)
    assert with_usage(failure, usage_in(failure)) == failure
