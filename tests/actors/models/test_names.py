"""What is read from a model's name, what is not where nobody knows it, and how a user says what it does not tell."""

from typing import Any

import pytest

from strict.asking import WAYS, ask, speaking
from strict.provider import Failing
from strict.said import call, said, text, thought
from toolwire.actors.models.claude import Claude, claude
from toolwire.actors.models.contract import ModelRequest
from toolwire.models import anthropic, openai, openai_responses
from toolwire.protocol.failures import Misuse, ToolwireError
from toolwire.protocol.history import AssistantMessage, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolSpec

ELSEWHERE = "http://127.0.0.1:9/v1"
ASKED: list[HistoryMessage] = [UserMessage("Weather?")]
MILD = said(text("Mild."))
NAMES: dict[str, Claude | None] = {
    "claude-2.1": Claude("", (2, 1)),
    "claude-instant-1.2": Claude("instant", (1, 2)),
    "claude-3-opus-20240229": Claude("opus", (3, 0)),
    "claude-3-5-sonnet-20241022": Claude("sonnet", (3, 5)),
    "claude-3-7-sonnet-latest": Claude("sonnet", (3, 7)),
    "claude-4-sonnet-20250514": Claude("sonnet", (4, 0)),
    "claude-sonnet-4-20250514": Claude("sonnet", (4, 0)),
    "claude-sonnet-4@20250514": Claude("sonnet", (4, 0)),
    "claude-opus-4-0": Claude("opus", (4, 0)),
    "claude-opus-4.1": Claude("opus", (4, 1)),
    "claude-sonnet-4-5": Claude("sonnet", (4, 5)),
    "claude-sonnet-4-5-latest": Claude("sonnet", (4, 5)),
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": Claude("sonnet", (4, 5)),
    "anthropic/claude-haiku-4.5": Claude("haiku", (4, 5)),
    "claude-opus-5-20260701": Claude("opus", (5, 0)),
    "claude-opus-5-5": Claude("opus", (5, 5)),
    "claude-fable-5-1": Claude("fable", (5, 1)),
    "claude-opus-12-10": Claude("opus", (12, 10)),
    "claude-mythos-preview": Claude("", None),
    "claude": Claude("", None),
    "kimi-k2": None,
    "my-deployment": None,
}
NOBODY_KNOWS = ["claude-6", "claude-opus-6", "claude-fable-6-1", "claude-zeta", "claude-mythos-preview", "kimi", "prod"]


@pytest.mark.parametrize(("name", "meant"), NAMES.items(), ids=NAMES)
def test_which_claude_a_name_means(name: str, meant: Claude | None) -> None:
    assert claude(name) == meant


@pytest.mark.parametrize("name", NOBODY_KNOWS)
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.3},
        {"temperature": 0.3, "top_p": 0.5},
        {"reasoning_effort": "none"},
        {"reasoning_effort": "max", "max_tokens": 50_000},
        {"reasoning_effort": "high", "temperature": 0.5},
        {"reasoning_effort": "high", "top_p": 0.97},
    ],
    ids=str,
)
def test_of_what_nobody_knows_nothing_is_refused(name: str, settings: Any) -> None:
    """The provider will say what it does not take."""
    for make in (openai, anthropic):
        make(name, base_url=ELSEWHERE, settings=settings)
    openai_responses(name, base_url=ELSEWHERE, settings=settings)


@pytest.mark.parametrize("make", [openai, openai_responses, anthropic])
def test_what_is_no_name_is_refused(make: Any) -> None:
    """As the variable of an environment that nobody has set gives it."""
    for wrong in (None, "", " ", 5, b"m"):
        with pytest.raises(Misuse, match="model has to be the name of a model, a text, not "):
            make(wrong, base_url=ELSEWHERE)
    for wrong in ("", 5):
        with pytest.raises(Misuse, match="like has to be the name of a model"):
            make("m", base_url=ELSEWHERE, like=wrong)


def fields(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model._settled
    return found


@pytest.mark.parametrize(
    ("name", "most"),
    [("claude-opus-4-20250514", 32_000), ("claude-opus-4-1", 32_000), ("claude-opus-4-5", 48_000), ("kimi", 48_000)],
)
def test_thoughts_and_answer_are_no_more_than_the_model_has(name: str, most: int) -> None:
    """Opus 4 and 4.1 refuse a max_tokens above 32,000."""
    for effort in ("xhigh", "max"):
        asked = fields(anthropic(name, base_url=ELSEWHERE, settings={"reasoning_effort": effort}))
        assert asked == {"max_tokens": most, "thinking": {"type": "enabled", "budget_tokens": most - 16_000}}
    asked = fields(anthropic(name, base_url=ELSEWHERE, settings={"reasoning_effort": "max", "max_tokens": 32_000}))
    assert asked["thinking"]["budget_tokens"] == 32_000 - 1_024


def test_somebody_elses_model_may_think_as_little_as_is_wanted() -> None:
    model = anthropic("kimi", base_url=ELSEWHERE, settings={"reasoning_effort": "low", "max_tokens": 1_000})
    assert fields(model) == {"max_tokens": 1_000, "thinking": {"type": "enabled", "budget_tokens": 500}}


def test_the_oldest_are_not_asked_for_more_than_they_have() -> None:
    most = {name: fields(anthropic(name, base_url=ELSEWHERE))["max_tokens"] for name in NAMES}
    assert most["claude-3-opus-20240229"] == 4_096
    assert most["claude-3-5-sonnet-20241022"] == 8_192
    assert {most["claude-3-7-sonnet-latest"], most["claude-opus-5-5"], most["claude"], most["kimi-k2"]} == {16_000}


def test_what_a_name_does_not_tell_can_be_said() -> None:
    deployed: Any = {"base_url": ELSEWHERE}
    told = fields(anthropic("prod", like="claude-opus-5", settings={"reasoning_effort": "high"}, **deployed))
    assert told["thinking"] == {"type": "adaptive"}
    with pytest.raises(Misuse, match="claude-opus-5 takes no temperature"):
        anthropic("prod", like="claude-opus-5", settings={"temperature": 0.5}, **deployed)
    assert fields(anthropic("claude-opus-5", like="kimi", settings={"temperature": 0.5}, **deployed))["temperature"]
    assert fields(openai("prod", like="gpt-5.1", settings={"max_tokens": 9}, **deployed)) == {
        "max_completion_tokens": 9
    }
    assert fields(openai("gpt-5.1", like="llama", settings={"max_tokens": 9}, **deployed)) == {"max_tokens": 9}
    assert fields(openai_responses("prod", like="gpt-4.1", **deployed)) == {"store": False}
    assert fields(openai_responses("gpt-4.1", like="gpt-5.1", **deployed))["include"]
    assert openai("prod", like="gpt-5.1", **deployed).model == "prod"


def test_or_be_written_as_the_provider_has_it() -> None:
    extra: Any = {"extra": {"temperature": 0.5, "thinking": {"type": "disabled"}}}
    assert fields(anthropic("claude-opus-5-5", base_url=ELSEWHERE, settings=extra))["temperature"] == 0.5


@pytest.mark.parametrize("name", ["gpt-5", "gpt-6.1", "gpt-10", "o3", "o10-mini", "azure/gpt-5.1"])
def test_newer_models_of_openai_elsewhere(name: str) -> None:
    told = fields(openai(name, base_url=ELSEWHERE, settings={"max_tokens": 9}))
    assert told == {"max_completion_tokens": 9}


@pytest.mark.parametrize("name", ["gpt-4.1", "openai/gpt-4o", "chatgpt-4o-latest", "gpt-6-chat-latest", "ft:gpt-4o:x"])
def test_models_that_do_not_reason_are_not_asked_for_it(name: str) -> None:
    assert fields(openai_responses(name, base_url=ELSEWHERE)) == {"store": False}


NOT_SEALED = Failing(400, "invalid_request_error", "Encrypted content is not supported with this model.")
NEWER = Failing(
    400,
    "unsupported_parameter",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
)


@pytest.mark.anyio
@pytest.mark.usefixtures("few_authorities")
@pytest.mark.parametrize("way", WAYS)
async def test_a_provider_that_says_that_it_does_not_reason_is_believed(way: str) -> None:
    """The name of a deployment may hide which model it is: each request of it was refused."""
    async with speaking("openai_responses", said(thought("hm"), call("f")), NOT_SEALED, MILD, MILD) as (
        model,
        provider,
    ):
        history = [*ASKED]
        reply = (await ask(model, ModelRequest(ASKED, [ToolSpec("f")]), way)).reply
        history += [AssistantMessage(reply.text, reply.calls, reply.opaque)]
        history += [ToolMessage(each.id, each.name, "1") for each in reply.calls]
        for _ in range(2):
            assert (await ask(model, ModelRequest(history, [ToolSpec("f")]), way)).reply.text == "Mild."
        assert ["include" in body for body in provider.bodies] == [True, True, False, False]
        assert "gAAA" not in str(provider.bodies[-1])


@pytest.mark.anyio
@pytest.mark.usefixtures("few_authorities")
@pytest.mark.parametrize("way", WAYS)
async def test_and_one_that_wants_the_newer_word(way: str) -> None:
    settings: Any = {"max_tokens": 99}
    async with speaking("openai", NEWER, MILD, MILD, NEWER, settings=settings) as (model, provider):
        for _ in range(2):
            assert (await ask(model, ModelRequest(ASKED), way)).reply.text == "Mild."
        with pytest.raises(ToolwireError, match="max_completion_tokens"):  # once is enough
            await ask(model, ModelRequest(ASKED), way)
        told = [("max_tokens" in body, "max_completion_tokens" in body) for body in provider.bodies]
        assert told == [(True, False), (False, True), (False, True), (False, True)]
