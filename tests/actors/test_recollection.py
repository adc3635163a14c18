"""A strategy at work in a conversation: whatever it gives, and whatever is taken back, the conversation goes on."""

from typing import Any

import pytest
from msgspec.structs import asdict

from toolwire import (
    AssistantMessage,
    Failure,
    ModelReply,
    ModelRequest,
    Past,
    Retry,
    Runtime,
    Telling,
    ToolwireError,
    Trim,
    Usage,
    UserMessage,
    scripted,
)
from toolwire.models import retrying
from toolwire.protocol.failures import failed
from toolwire.protocol.weights import guessed

pytestmark = pytest.mark.anyio


class Gives:
    """A strategy that gives what it was told to give."""

    def __init__(self, what: Any) -> None:
        self.what = what

    async def shorten(self, past: Past) -> Telling | None:
        """See `MemoryStrategy`."""
        return self.what  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(5, id="a number"),
        pytest.param([UserMessage("hi")], id="messages"),
        pytest.param(Telling("3"), id="a text for the start"),  # type: ignore[arg-type]
        pytest.param(Telling(2.5), id="half a message"),  # type: ignore[arg-type]
        pytest.param(Telling(2, None), id="no summary"),  # type: ignore[arg-type]
        pytest.param(Telling(2, "\ud800"), id="half a character"),
    ],
)
async def test_what_is_no_telling_is_logged_and_the_turn_goes_on(what: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["one", "two", "three"]), memory=Gives(what))
        for text in ("one", "two", "three"):
            assert (await chat.say("next")).text == text
        assert list(chat.told()) == list(chat.history())
    assert "Gives raised" in caplog.text


async def test_what_was_too_large_and_taken_back_has_no_weight_and_cuts_nothing() -> None:
    def sized(request: ModelRequest) -> str:
        if any(isinstance(each, UserMessage) and len(each.text) > 5_000 for each in request.messages):
            raise ToolwireError(failed("too_large", "more than 5,000 characters"))
        return "yes"

    model = scripted([sized] * 8)
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Trim(1_000))
        for n in range(3):
            await chat.say(f"{n}?")
        reply = await chat.say("x" * 10_000)
        assert reply.failure is not None
        assert reply.failure.code == "too_large"
        assert list(chat.told()) == list(chat.history())
        for n in range(3, 5):
            assert (await chat.say(f"{n}?")).ended == "answered"
        assert list(model.requests[-1].messages) == list(chat.history()[:-1])
        assert chat.history()[-1] == AssistantMessage("yes")


@pytest.mark.parametrize(("tokens", "enough"), [(2_000, True), (1_000, False)])
async def test_tools_that_take_most_of_it_leave_a_share_of_the_rest(
    tokens: int, caplog: pytest.LogCaptureFixture, *, enough: bool
) -> None:
    def counted(request: ModelRequest) -> ModelReply:
        return ModelReply("a " * 50, usage=Usage(1_500 + round(sum(map(guessed, request.messages))), 5))

    model = scripted([counted] * 40)
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Trim(tokens))
        for _ in range(40):
            assert (await chat.say("q " * 20)).ended == "answered"
    told = [len(request.messages) for request in model.requests]
    assert (min(told[1:]) > 1) == enough
    assert ("alone have about 1" in caplog.text) != enough


async def test_what_a_failed_try_has_read_is_not_taken_for_what_was_told() -> None:
    """A stream that broke off is asked for again: both are paid, and the history is no longer for that."""

    def read(request: ModelRequest) -> Usage:
        return Usage(round(sum(map(guessed, request.messages))), 5)

    def torn(request: ModelRequest) -> ModelReply:
        raise ToolwireError(Failure("model_failed", "torn", retryable=True, details={"usage": asdict(read(request))}))

    def whole(request: ModelRequest) -> ModelReply:
        return ModelReply("a " * 50, usage=read(request))

    model = scripted([whole] * 4 + [torn, whole] * 2 + [whole] * 2)
    async with Runtime() as runtime:
        chat = await runtime.converse(model=retrying(model, Retry(1, first=0.001)), memory=Trim(1_500))
        replies = [await chat.say("q " * 100) for _ in range(8)]
        assert [reply.usage.wasted_tokens * 2 for reply in replies[4:6]] == [
            reply.usage.input_tokens for reply in replies[4:6]
        ]
        assert list(chat.told()) == list(chat.history())
    assert len(model.requests[-1].messages) == 15
