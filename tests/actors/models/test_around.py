"""What stands around models as programs write it: with names, which are made late, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from toolwire import Agent, Retry, Runtime
from toolwire.actors.models import model_from
from toolwire.actors.models.contract import StreamingModel
from toolwire.actors.models.named import Named
from toolwire.actors.models.retrying import Retrying
from toolwire.actors.models.scripted import scripted
from toolwire.models import (
    ModelReply,
    ModelRequest,
    anthropic,
    fallback,
    limited,
    openai,
    openai_responses,
    parsed,
    record,
    retrying,
)
from toolwire.protocol.failures import Failure, Misuse, ToolwireError

pytestmark = pytest.mark.anyio

BUSY = ToolwireError(Failure("model_failed", "busy", retryable=True, retry_after=0.0))


async def test_they_stand_in_each_other() -> None:
    model = fallback(retrying(scripted([BUSY, BUSY]), 0), retrying(scripted(["well"]), 1))
    async with Runtime() as runtime:
        chat = await runtime.converse(Agent("a", model=model))
        assert (await chat.say("Hello")).text == "well"


@pytest.mark.parametrize("backwards", [False, True])
async def test_settings_are_looked_at_through_all_of_them(tmp_path: Path, *, backwards: bool) -> None:
    around: list[Any] = [
        lambda model: record(model, tmp_path / "a.jsonl"),
        lambda model: parsed(model, "hermes"),
        lambda model: limited(model, concurrent=1),
        lambda model: fallback(model, scripted([])),
        retrying,
    ]
    model: Any = openai("m", api_key="k", base_url="http://127.0.0.1:1")
    for each in around[::-1] if backwards else around:
        model = each(model)
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="temperature"):
            await runtime.converse(Agent("a", model=model, settings={"temperature": "hot"}))


async def test_a_missing_key_is_told_when_somebody_converses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("TOOLWIRE_NO_MODELS", raising=False)
    model = fallback(retrying("openai:gpt-5.1"), fallback("openai:gpt-5.1", scripted(["never"])))
    assert repr(model).startswith("<Fallback <openai:gpt-5.1>, then <Fallback <openai:gpt-5.1>")
    assert isinstance(model, StreamingModel)
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match="OPENAI_API_KEY"):
            await runtime.converse(model=model)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert model_from(model) is model
    await model.aclose()


async def test_how_often_is_written_as_for_tools_and_said_once() -> None:
    inner = scripted([])
    assert retrying(inner, 0) is inner
    again = retrying(inner)
    assert isinstance(again, Retrying)
    assert again.retry == Retry(2)
    more = retrying(again, 5)
    assert isinstance(more, Retrying)
    assert (more.inner, more.retry) == (inner, Retry(5))
    assert retrying(more, 0) is inner
    for wrong in (-1, True, Retry(2, codes=("busy",))):
        with pytest.raises(Misuse, match="retrying: "):
            retrying(inner, wrong)


async def test_a_providers_model_is_asked_again_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLWIRE_NO_MODELS", raising=False)
    for make in (openai, openai_responses, anthropic):
        model: Any = make("m", api_key="k")
        assert model._way.retry == Retry(2)
        assert make("m", api_key="k", retries=0)._way is not None
        again = retrying(model, 5)
        assert isinstance(again, Retrying)
        assert (again.inner, again.retry) == (model.once, Retry(5))
        assert retrying(model, 0) is model.once
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    named: Any = retrying("openai:m", 5)
    assert named.prepare()._way.retry == Retry(5)
    read: Any = openai("m", api_key="k", tool_parser="hermes")
    assert read._way.inner.notation == "hermes"
    with pytest.raises(Misuse, match="there are: 'hermes', 'json', 'mistral'"):
        openai("m", api_key="k", tool_parser="qwen")
    with pytest.raises(Misuse, match="there is no tool_parser"):
        parsed(read, "qwen")


async def test_a_named_model_is_made_once_and_closed_if_it_was() -> None:
    made = []

    def make(name: str) -> StreamingModel:
        made.append(name)
        return scripted(["one", "two"])

    model = Named("a:b", make)
    await model.aclose()
    assert (await model.complete(ModelRequest([]))).text == "one"
    async with model.stream(ModelRequest([])) as events:
        assert [event async for event in events][-1] == ModelReply("two")
    await model.aclose()
    assert made == ["a:b"]


def test_what_is_refused() -> None:
    with pytest.raises(Misuse, match="two models or more"):
        fallback(scripted([]))
    with pytest.raises(Misuse, match="no model"):
        fallback(scripted([]), object())  # type: ignore[arg-type]  # that is the test
    with pytest.raises(Misuse, match="within must be"):
        fallback(scripted([]), scripted([]), within=0)
    with pytest.raises(Misuse, match="also must be"):
        fallback(scripted([]), scripted([]), also="model_refused")
    with pytest.raises(Misuse, match="also must be"):
        fallback(scripted([]), scripted([]), also={"refused"})
    with pytest.raises(Misuse, match="retries"):
        retrying(scripted([]), -1)
