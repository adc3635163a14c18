from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from toolwire.actors.models import Model, ModelReply, ModelRequest, StreamingModel, model_from
from toolwire.actors.models.openai import OpenAI
from toolwire.actors.models.scripted import scripted
from toolwire.protocol.events import TextDelta
from toolwire.protocol.failures import Misuse, ToolwireError

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLWIRE_NO_MODELS", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


@pytest.mark.parametrize(
    ("name", "model", "base_url"),
    [
        ("openai:gpt-5.1", "gpt-5.1", None),
        ("openai:llama3.2:8b@http://127.0.0.1:11434/v1", "llama3.2:8b", "http://127.0.0.1:11434/v1"),
        ("openai:@cf/meta/llama@https://host/v1", "@cf/meta/llama", "https://host/v1"),
        ("openai:ft:gpt-4o@2026", "ft:gpt-4o@2026", None),
    ],
)
def test_names(name: str, model: str, base_url: str | None) -> None:
    made = model_from(name)
    assert isinstance(made, OpenAI)
    assert (made.model, made.base_url) == (model, base_url)


@pytest.mark.parametrize("name", ["gpt-5.1", "", "openai:", ":x"])
def test_a_name_without_a_provider_is_refused(name: str) -> None:
    with pytest.raises(Misuse, match="known: anthropic, openai, openai_responses"):
        model_from(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        ("openai/gpt-5.1", "openai:gpt-5.1"),
        ("claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        ("meta/llama-4", "openai:meta/llama-4"),
    ],
)
def test_a_name_that_others_would_take_is_told_as_it_is_here(name: str, meant: str) -> None:
    with pytest.raises(Misuse, match=f'names no provider: write "{meant}"'):
        model_from(name)


def test_an_unknown_provider_names_the_known() -> None:
    with pytest.raises(Misuse, match="'acme' is not known here; known: anthropic, openai"):
        model_from("acme:x")


def test_a_model_passes_as_it_is() -> None:
    model = scripted(["a"])
    assert model_from(model) is model


class Silent:
    def complete(self, request: object) -> None: ...


class Shouting:
    """Streams only; says `last` at the end."""

    def __init__(self, *last: Any) -> None:
        self.last = last

    def __repr__(self) -> str:
        return "<Shouting>"

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[Any]]:
        async def events() -> AsyncIterator[Any]:
            yield TextDelta("a")
            for event in self.last:
                yield event

        yield events()


@pytest.mark.parametrize("model", [None, 7, object(), Silent(), Shouting, type(scripted([]))])
def test_anything_else_is_refused(model: object) -> None:
    with pytest.raises(Misuse, match="is no model"):
        model_from(model)


async def test_a_model_that_only_streams_is_heard_to_its_end() -> None:
    model = model_from(Shouting(ModelReply("a")))
    assert isinstance(model, StreamingModel)
    assert await model.complete(ModelRequest([])) == ModelReply("a")
    assert repr(model) == "<Shouting>"


async def test_a_stream_without_a_reply_is_a_failure() -> None:
    model: Model = model_from(Shouting())
    with pytest.raises(ToolwireError, match="without a ModelReply"):
        await model.complete(ModelRequest([]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", 'such as "openai:gpt-5.1"'),
        ("openai", 'such as "openai:gpt-5.1"'),
        ("anthropic:", 'such as "anthropic:claude-sonnet-4-5"'),
        ("openai:@http://127.0.0.1:9/v1", "no name of a provider and a model"),
        ("claude-sonnet-4-5", 'write "anthropic:claude-sonnet-4-5"'),
        ("gpt-5.1", 'write "openai:gpt-5.1"'),
        ("opnai:gpt-5.1", "do you mean 'openai'"),
        ("Anthropic:claude", "do you mean 'anthropic'"),
        ("openai:llama@localhost:11434/v1", "begins with http:// or https://"),
        ("openai:llama@127.0.0.1:8000", "begins with http:// or https://"),
    ],
)
def test_a_name_that_is_misspelt_is_told_how(name: str, said: str) -> None:
    with pytest.raises(Misuse) as refused:
        model_from(name)
    assert said in str(refused.value)
