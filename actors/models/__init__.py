"""Models: whoever answers a conversation. `contract.py` says what one is."""

import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from ...protocol.failures import Misuse, ToolwireError, failed
from .contract import Model, ModelEvent, ModelReply, ModelRequest, StreamingModel
from .hearing import close, prepare

__all__ = ["Model", "ModelEvent", "ModelReply", "ModelRequest", "StreamingModel", "model_from"]


def _openai(model: str, **options: Any) -> Model:
    from .openai import openai  # noqa: PLC0415 - 28 ms, for those who talk to it

    return openai(model, **options)


def _openai_responses(model: str, **options: Any) -> Model:
    from .openai_responses import openai_responses  # noqa: PLC0415 - the same

    return openai_responses(model, **options)


def _anthropic(model: str, **options: Any) -> Model:
    from .anthropic import anthropic  # noqa: PLC0415 - the same

    return anthropic(model, **options)


_PROVIDERS: dict[str, Callable[..., Model]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "openai_responses": _openai_responses,
}
EXAMPLES = {
    "anthropic": "anthropic:claude-sonnet-4-5",
    "openai": "openai:gpt-5.1",
    "openai_responses": "openai_responses:gpt-5.1",
}
_SPELLING = re.compile(r"(?P<provider>[^:]+):(?P<model>(?!@https?://).+?)(?:@(?P<base_url>https?://\S+))?", re.DOTALL)
_HOST = re.compile(r".*@[\w.-]+:\d+(/.*)?", re.DOTALL)
"""A base URL without its scheme: as the end of a model's name it would go to the provider itself."""


def model_from(model: object) -> Model:
    """The model that `model` names or is.

    A name is "provider:model", such as "openai:gpt-5.1"; who speaks like the provider elsewhere is named by
    "openai:llama3.2@http://127.0.0.1:11434/v1". A model is an object with `async complete(request)`, or with
    `stream(request)`, or both. One that makes what it needs only later has a `prepare()`, which is called here.
    Raises Misuse.
    """
    if isinstance(model, str):
        return model_named(model)
    prepare((model,))
    return as_model(model)


def as_model(model: object) -> Model:
    """An object as a model, before what it needs is made. Raises Misuse if it is none."""
    if inspect.iscoroutinefunction(getattr(model, "complete", None)) and not isinstance(model, type):
        return model  # type: ignore[return-value]  # its parameters can't be told from here
    if callable(getattr(model, "stream", None)) and not isinstance(model, type):
        return _Whole(model)
    reason = 'it is neither a name such as "openai:gpt-5.1" nor an object with `async complete(request)`'
    raise Misuse(failed("model_failed", f"{model!r:.200} is no model: {reason}"))


def model_named(name: str, **options: Any) -> Model:
    """The model of that name; `options` are those of its provider's function. Raises Misuse."""
    spelling = _SPELLING.fullmatch(name)
    if spelling is None:
        raise Misuse(failed("model_failed", _unnamed(name)))
    provider, model, base_url = spelling.group("provider", "model", "base_url")
    make = _PROVIDERS.get(provider)
    if make is None:
        near = get_close_matches(provider.lower(), _PROVIDERS, 1)
        hint = f"do you mean {near[0]!r}?" if near else f"known: {', '.join(_PROVIDERS)}"
        raise Misuse(failed("model_failed", f"the provider {provider[:100]!r} is not known here; {hint}"))
    if base_url is None and _HOST.fullmatch(model):
        said = f"{name[:200]!r}: the URL after the @ begins with http:// or https://"
        raise Misuse(failed("model_failed", said))
    return make(model, base_url=base_url, **options)


def _unnamed(name: str) -> str:
    """What is wrong with a name that has no provider, or no model."""
    known = f"(known: {', '.join(_PROVIDERS)})"
    provider = name.partition(":")[0]
    if not name or ":" in name or provider in _PROVIDERS:
        example = EXAMPLES.get(provider, EXAMPLES["openai"])
        return f'{name[:200]!r} is no name of a provider and a model, such as "{example}" {known}'
    begins, slash, rest = name.partition("/")
    if slash and rest and begins in _PROVIDERS:  # as some gateways and libraries write it
        return f'{name[:200]!r} names no provider: write "{begins}:{rest[:200]}" {known}'
    provider = "anthropic" if name.startswith("claude") else "openai"
    return f'{name[:200]!r} names no provider: write "{provider}:{name[:200]}" {known}'


class _Whole:
    """A model that only streams, heard to its end."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.stream = model.stream

    def __repr__(self) -> str:
        return repr(self._model)

    async def aclose(self) -> None:
        """Close the model, if it can be closed."""
        await close((self._model,))

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer `request`. Raises ToolwireError if the stream ends without a ModelReply."""
        last: object = None
        async with self.stream(request) as events:
            async for event in events:  # to its end, even after the reply: a generator left behind is a leak
                last = event
        if isinstance(last, ModelReply):
            return last
        raise ToolwireError(failed("model_failed", "the model's stream ended without a ModelReply"))
