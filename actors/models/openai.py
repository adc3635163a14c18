"""A model that speaks OpenAI's Chat Completions: OpenAI itself, vLLM, Ollama, llama.cpp, over the `openai` SDK."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ...protocol.formats.names import digest
from ...protocol.formats.openai import FORMAT, message_to_openai
from ...protocol.history import HistoryMessage
from ...protocol.tools import Retry, encode_json
from .contract import ModelRequest
from .dressed import RETRIES
from .hosted import Frame, Hosted, Json
from .output import instructed, openai_schema
from .settings import Settings, chosen
from .translated import Told, Translation
from .wire import Wire

WIRE = Wire(
    provider="OpenAI",
    module="openai",
    client="AsyncOpenAI",
    error="OpenAIError",
    keys=("OPENAI_API_KEY",),
    place="OPENAI_BASE_URL",
    home="https://api.openai.com/v1",
    path="/chat/completions",
    messages="messages",
    answer="chat completion",
    format=FORMAT,
)

_WORDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "reasoning_effort": "reasoning_effort",
    "seed": "seed",
    "stop": "stop",
    "parallel_calls": "parallel_tool_calls",
}
# "'max_tokens' is not supported with this model": behind Azure or a gateway too, which may put its own name before.
_REASONS = re.compile(r"(.*/)?(o[1-9]|gpt-([5-9]|[1-9]\d))")
_NEWER = re.compile(r"max_tokens.{0,80}not supported.{0,80}max_completion_tokens", re.DOTALL)
_ABOUT_TOOLS = ("tool_choice", "parallel_tool_calls")  # refused in a request that offers no tools


def openai(
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    settings: Settings | None = None,
    cache: bool | None = None,
    retries: int | Retry = RETRIES,
    tool_parser: str | None = None,
    like: str | None = None,
) -> "OpenAI":
    """A model of OpenAI, or of whoever speaks like it at `base_url` (such as "http://127.0.0.1:11434/v1").

    Without `api_key` it is taken from OPENAI_API_KEY, without `base_url` from OPENAI_BASE_URL; who has a base_url needs
    no key. `settings` hold for each request. `cache`: whether a conversation names itself to the provider's cache of
    prompts; None leaves that to OpenAI itself, because its relatives may not know the word.
    `retries` is how often a failure that may pass is tried again, see `retrying`. `tool_parser` reads calls that the
    model writes as text: "hermes", "mistral" or "json", see `parsed`. `like` is the
    model whose rules hold, such as "gpt-5.1", where the name does not say it.
    Raises Misuse if the SDK or the key is missing, a setting can't be, or TOOLWIRE_NO_MODELS forbids real models.
    """
    return OpenAI(
        model,
        base_url=base_url,
        api_key=api_key,
        settings=settings,
        cache=cache,
        retries=retries,
        tool_parser=tool_parser,
        like=like,
    )


class OpenAI(Hosted):
    """See `openai`."""

    wire: ClassVar[Wire] = WIRE

    def settled(self, settings: Mapping[str, Any]) -> Json:
        """`settings` as fields of a request. Raises Misuse."""
        given = chosen(settings, {*_WORDS, "max_tokens"}, "OpenAI's Chat Completions")
        fields: Json = {_WORDS[word]: value for word, value in given.items() if word in _WORDS}
        if "max_tokens" in given:
            # Its newer models refuse the old word, wherever they are; and most relatives know no other.
            newer = self.at_home or self.corrections or _REASONS.match(self.like)
            fields["max_completion_tokens" if newer else "max_tokens"] = given["max_tokens"]
        return {**fields, **given.get("extra", {})}

    def corrects(self, words: str) -> bool:
        """Whether they want the newer word for the most tokens: the name of a deployment may hide which model it is."""
        return bool(_NEWER.search(words))

    def translation(self, own: Callable[[HistoryMessage], HistoryMessage]) -> Translation:
        """Each message is one of theirs."""
        return Translation(lambda message: [message_to_openai(own(message))])

    def asked(self, body: Json, request: ModelRequest, told: Told) -> Frame:
        """The messages stand alone, unless the model has to be told what to answer."""
        if body["stream"]:
            body.setdefault("stream_options", {"include_usage": True})
        choice, tool = self.choice(request)
        if tool:
            body.setdefault("tool_choice", {"type": "function", "function": {"name": tool}})
        elif choice != "auto":
            body.setdefault("tool_choice", choice)
        if "tools" not in body:
            for word in _ABOUT_TOOLS:
                body.pop(word, None)
        if self.caches(unasked=self.at_home) and request.conversation:
            body.setdefault("prompt_cache_key", digest(request.conversation, 16))
        if request.output is None:
            return Frame()
        if (schema := openai_schema(request.output)) is None:
            said = encode_json({"role": "system", "content": instructed(request.output)})
            return Frame(said + b"," if told.items else said)
        body.setdefault("response_format", {"type": "json_schema", "json_schema": schema})
        return Frame()
