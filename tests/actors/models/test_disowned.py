"""Thoughts that their provider takes no more: it refused every later request of the conversation."""

import json
from typing import Any

import pytest

from strict.asking import WAYS, answered, ask, said_by, speaking
from strict.provider import Delivery, Failing, Raw
from strict.said import Counted, call, said, text, thought
from strict.spoken import WIRES, event
from toolwire.actors.models.contract import ModelRequest
from toolwire.models import openai_responses
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.history import AssistantMessage, HistoryMessage, Opaque, SystemMessage, UserMessage
from toolwire.protocol.tools import ToolSpec

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_authorities")]

ASKED: list[HistoryMessage] = [SystemMessage("Be brief."), UserMessage("Weather?")]
F, G = ToolSpec("f"), ToolSpec("g")
THOUGHTS = [said(thought("hm"), text("Mild.")), said(thought("so"), text("Mild again.")), said(text("Still."))]
MILD = said(text("Still."))
UNREAD = Failing(400, "invalid_request_error", "The encrypted content gAAA could not be verified.")
OF_ANOTHER = Failing(400, "e", "Reasoning input items can only be provided to a reasoning or computer use model.")
CHANGED: dict[str, tuple[list[HistoryMessage], tuple[ToolSpec, ...]]] = {
    "system": ([SystemMessage("Be long."), *ASKED[1:]], (F,)),
    "tools": (ASKED, (F, G)),
    "cut off": ([SystemMessage("Be brief."), UserMessage("A summary.")], (F,)),
}


@pytest.fixture(params=WAYS, scope="module")
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize(("start", "tools"), CHANGED.values(), ids=CHANGED)
@pytest.mark.parametrize("effort", [None, "high"])
async def test_thoughts_that_no_longer_follow_are_left_out(start: Any, tools: Any, effort: Any, way: str) -> None:
    settings: Any = {"reasoning_effort": effort}
    async with speaking(
        "anthropic", *THOUGHTS, model="claude-opus-5-5", refused=True, binding=True, settings=settings
    ) as (model, provider):
        first = await ask(model, ModelRequest(ASKED, (F,), conversation="c"), way)
        history = [*start, *answered(first.reply), UserMessage("And then?")]
        second = await ask(model, ModelRequest(history, tools, conversation="c"), way)
        assert second.reply.text == "Mild again."
        history += [*answered(second.reply), UserMessage("And now?")]
        assert (await ask(model, ModelRequest(history, tools, conversation="c"), way)).reply.text == "Still."
        assert len(provider.refused) == 1, "once is enough: the conversation is known to be another"
        assert provider.bodies[-1]["thinking"]["block_binding"] == {"prefix_mismatch_behavior": "drop_block"}
        assert "hm" in str(provider.bodies[-1]["messages"])


async def test_an_unchanged_conversation_asks_for_nothing_of_the_kind(way: str) -> None:
    async with speaking("anthropic", *THOUGHTS, model="claude-opus-5-5", binding=True) as (model, provider):
        first = await ask(model, ModelRequest(ASKED, (F,)), way)
        await ask(model, ModelRequest([*ASKED, *answered(first.reply), UserMessage("And then?")], (F,)), way)
        assert "thinking" not in provider.bodies[-1]
        assert "anthropic-beta" not in provider.heads[-1].lower()


async def test_where_thinking_is_off_no_thought_is_told(way: str) -> None:
    strictly: Any = {"model": "claude-sonnet-5-5", "refused": True, "binding": True}
    async with speaking("anthropic", *THOUGHTS, **strictly) as (model, provider):
        first = await ask(model, ModelRequest(ASKED), way)
        history = [SystemMessage("Be long."), *ASKED[1:], *answered(first.reply), UserMessage("And then?")]
        off: Any = {"reasoning_effort": "none"}
        assert (await ask(model, ModelRequest(history, settings=off), way)).reply.text == "Mild again."
        assert provider.bodies[-1]["thinking"] == {"type": "between_tools"}
        assert "hm" not in str(provider.bodies[-1])
        assert len(provider.refused) == 1


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
async def test_thoughts_of_nobody_knows_whom(kind: str, way: str) -> None:
    """As they come from a document of somebody's conversation, with an account or a relative that is not told."""
    block = {"thinking": '"thinking":"x","signature":"y"', "redacted_thinking": '"data":"y"'}[kind]
    theirs = Opaque("anthropic", f'{{"type":"{kind}",{block}}}')
    history = [*ASKED, AssistantMessage("Mild.", (), (theirs,)), UserMessage("And then?")]
    async with speaking("anthropic", *THOUGHTS, refused=True) as (model, provider):
        assert (await ask(model, ModelRequest(history), way)).reply.text == "Mild."
        assert kind not in str(provider.bodies[-1])


async def test_thoughts_that_openai_can_not_read(way: str) -> None:
    answers: list[Any] = [said(thought("hm"), call("f")), UNREAD, said(text("Mild.")), said(text("Still."))]
    async with speaking("openai_responses", *answers) as (model, provider):
        first = await ask(model, ModelRequest(ASKED, (F,), conversation="c"), way)
        history = [*ASKED, *answered(first.reply)]
        reply = (await ask(model, ModelRequest(history, (F,), conversation="c"), way)).reply
        assert reply.text == "Mild."
        assert [item.get("type", "message") for item in provider.bodies[-1]["input"]][-2:] == [
            "function_call",
            "function_call_output",
        ]
        assert "reasoning" in str(provider.bodies[-2]["input"])
        assert "'reasoning'" not in str(provider.bodies[-1]["input"])
        history += [said_by(reply), UserMessage("And then?")]
        assert (await ask(model, ModelRequest(history, (F,), conversation="c"), way)).reply.text == "Still."


async def test_a_model_that_does_not_think_is_told_no_thoughts(way: str) -> None:
    async with speaking("openai_responses", said(thought("hm"), call("f")), said(text("Mild."))) as (model, provider):
        first = await ask(model, ModelRequest(ASKED, (F,)), way)
        other = openai_responses("gpt-4.1", base_url=model.base_url, api_key="k")
        history = [*ASKED, *answered(first.reply)]
        assert (await ask(other, ModelRequest(history, (F,)), way)).reply.text == "Mild."
        assert "'reasoning'" not in str(provider.bodies[-1]["input"])
        await other.aclose()


async def test_a_refusal_that_stays_is_told(way: str) -> None:
    async with speaking("openai_responses", UNREAD, OF_ANOTHER, said(text("Mild."))) as (model, provider):
        with pytest.raises(ToolwireError, match="can only be provided"):
            await ask(model, ModelRequest(ASKED), way)
        assert len(provider.bodies) == 2


NO = {
    "openai_responses": ("invalid_encrypted_content", "The item could not be read."),
    "anthropic": ("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"),
}


def refusal(wire: str, upto: int, kind: str) -> Any:
    """The same no, in an answer with the status 200."""
    word, message = NO[wire]
    if kind == "event":
        return Delivery(said(text("Never.")), upto=upto, tail=WIRES[wire]().error_event(word, message))
    whole: dict[str, Any] = WIRES[wire]().whole(said(text("Never."), counted=Counted(9, 0, 0, 0)))
    if wire == "anthropic":
        body: Any = WIRES[wire]().error(word, message)
    else:
        body = {**whole, "status": "failed", "output": [], "error": {"code": word, "message": message}}
    if kind == "whole":
        return Raw(json.dumps(body).encode())
    failed = {"type": "response.failed", "response": body}
    return Delivery(said(text("Never.")), upto=upto, tail=event(failed))


@pytest.mark.parametrize(("wire", "kind"), [(wire, kind) for wire in NO for kind in ("event", "whole")])
@pytest.mark.parametrize("upto", [0, 1, 2])
async def test_a_refusal_that_comes_in_the_answer_is_the_same(wire: str, kind: str, upto: int) -> None:
    """Before anything was told: it is asked once more, and from then on no thoughts are told."""
    before = said(thought("hm"), text("So.") if wire == "anthropic" else call("f"))
    answers: list[Any] = [before, refusal(wire, upto, kind), said(text("Mild.")), MILD]
    async with speaking(wire, *answers) as (model, provider):
        first = await ask(model, ModelRequest(ASKED, (F,), conversation="c"), "streamed")
        history = [*ASKED, *answered(first.reply), UserMessage("And?")]
        way = "streamed" if kind == "event" else WAYS[upto % 2]
        reply = (await ask(model, ModelRequest(history, (F,), conversation="c"), way)).reply
        assert reply.text == "Mild."
        assert [("gAAA" in str(body) or "signature" in str(body)) for body in provider.bodies] == [False, True, False]
        history += [said_by(reply), UserMessage("And then?")]
        assert (await ask(model, ModelRequest(history, (F,), conversation="c"), way)).reply.text == "Still."
        assert len(provider.bodies) == 4


async def test_what_a_response_used_before_it_was_refused_is_counted() -> None:
    answers: list[Any] = [refusal("openai_responses", 2, "failed"), refusal("openai_responses", 0, "whole"), MILD]
    async with speaking("openai_responses", answers[0], MILD) as (model, _):
        assert (await ask(model, ModelRequest(ASKED), "streamed")).reply.usage.input_tokens == 12 + 9
    async with speaking("openai_responses", answers[1], MILD) as (model, _):
        assert (await ask(model, ModelRequest(ASKED), "whole")).reply.usage.input_tokens == 12 + 9
    async with speaking("openai_responses", answers[0], Failing(500)) as (model, _):
        with pytest.raises(ToolwireError) as raised:
            await ask(model, ModelRequest(ASKED), "streamed")
        assert raised.value.failure.details["usage"]["input_tokens"] == 9


async def test_after_a_word_was_told_it_is_a_failure() -> None:
    torn = refusal("openai_responses", 6, "event")
    async with speaking("openai_responses", torn, MILD) as (model, provider):
        with pytest.raises(ToolwireError, match="could not be read"):
            await ask(model, ModelRequest(ASKED), "streamed")
        assert len(provider.bodies) == 1


async def test_one_that_stays_in_the_answer_is_told(way: str) -> None:
    kind = "event" if way == "streamed" else "whole"
    no = refusal("openai_responses", 1, kind)
    async with speaking("openai_responses", no, no, MILD) as (model, provider):
        with pytest.raises(ToolwireError, match="could not be read"):
            await ask(model, ModelRequest(ASKED), way)
        assert len(provider.bodies) == 2
