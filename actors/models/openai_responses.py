"""A model that speaks OpenAI's Responses, over the `openai` SDK. Nothing is kept there: each request holds it all."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from msgspec.structs import replace

from ...protocol.formats.layout import kind_of
from ...protocol.formats.names import digest
from ...protocol.formats.openai_responses import FORMAT, THOUGHTS, items_to_openai_responses
from ...protocol.history import AssistantMessage, HistoryMessage
from ...protocol.tools import Retry, encode_json
from .contract import ModelRequest
from .dressed import RETRIES
from .hosted import Frame, Hosted, Json
from .output import instructed, openai_schema
from .settings import Settings, chosen
from .translated import Disowned, Told, Translation
from .wire import Wire

WIRE = Wire(
    provider="OpenAI",
    module="openai",
    client="AsyncOpenAI",
    error="OpenAIError",
    keys=("OPENAI_API_KEY",),
    place="OPENAI_BASE_URL",
    home="https://api.openai.com/v1",
    path="/responses",
    messages="input",
    answer="response",
    format=FORMAT,
)

_WORDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "parallel_calls": "parallel_tool_calls",
}
_ABOUT_TOOLS = ("tool_choice", "parallel_tool_calls")
_ENCRYPTED = "reasoning.encrypted_content"
# "Encrypted content is not supported with this model": those that do not reason. Nor do they take what others thought:
# https://github.com/openai/openai-python/issues/2364
_WITHOUT_REASONING = re.compile(r"(.*/)?(ft:)?(gpt-[34]|chatgpt-|gpt-\d[\w.]*-chat)")
_NOT_SEALED = re.compile(r"Encrypted content is not supported", re.IGNORECASE)
# What was thought elsewhere, or can't be read any more: https://github.com/openai/codex/issues/8119
_UNREAD = re.compile(
    r"invalid_encrypted_content|encrypted.content.*could not be verified|Reasoning input items can only be provided",
    re.DOTALL,
)


def openai_responses(
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    settings: Settings | None = None,
    cache: bool | None = None,
    retries: int | Retry = RETRIES,
    like: str | None = None,
) -> "OpenAIResponses":
    """A model of OpenAI by its Responses, or of whoever speaks them at `base_url`. The rest is as with `openai`.

    OpenAI is asked to store nothing; what a model has thought goes back encrypted; `extra` can change that.
    """
    return OpenAIResponses(
        model, base_url=base_url, api_key=api_key, settings=settings, cache=cache, retries=retries, like=like
    )


class OpenAIResponses(Hosted):
    """See `openai_responses`."""

    wire: ClassVar[Wire] = WIRE

    def settled(self, settings: Mapping[str, Any]) -> Json:
        """`settings` as fields of a request. Raises Misuse."""
        given = chosen(settings, {*_WORDS, "reasoning_effort"}, "OpenAI's Responses")
        fields: Json = {"store": False}
        if self._reasons:
            fields["include"] = [_ENCRYPTED]
        fields |= {_WORDS[word]: value for word, value in given.items() if word in _WORDS}
        if "reasoning_effort" in given:
            fields["reasoning"] = {"effort": given["reasoning_effort"]}
        return {**fields, **given.get("extra", {})}

    @property
    def _reasons(self) -> bool:
        """Whether it thinks, as far as its name says, and the provider."""
        return not (self.corrections or _WITHOUT_REASONING.match(self.like))

    def corrects(self, words: str) -> bool:
        """Whether it does not think after all: the name of a deployment may hide which model it is."""
        return bool(_NOT_SEALED.search(words))

    def translation(self, own: Callable[[HistoryMessage], HistoryMessage]) -> Translation:
        """Each message is one or more items of theirs."""
        return Translation(lambda message: items_to_openai_responses(own(message)))

    def own(self, message: HistoryMessage) -> HistoryMessage:
        """`message` without what this model is not to get back."""
        own = super().own(message)
        return own if self._reasons else _in_our_words(own)

    def thoughtless(self, message: HistoryMessage) -> HistoryMessage:
        """`own` without what the model thought."""
        return _in_our_words(super().own(message))

    def disowns(self, words: str) -> Disowned:
        """All of them, where one can't be read there."""
        return Disowned.ALL if _UNREAD.search(words) else Disowned.NOTHING

    def asked(self, body: Json, request: ModelRequest, told: Told) -> Frame:
        """The items stand alone, unless the model has to be told what to answer."""
        choice, tool = self.choice(request)
        if tool:
            body.setdefault("tool_choice", {"type": "function", "name": tool})
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
            said = encode_json({"type": "message", "role": "system", "content": instructed(request.output)})
            return Frame(said + b"," if told.items else said)
        body["text"] = {"format": {"type": "json_schema", **schema}, **body.get("text", {})}
        return Frame()


def _in_our_words(message: HistoryMessage) -> HistoryMessage:
    """`message`, told anew if there is a thought in it: the other items of an answer are not taken without it."""
    if isinstance(message, AssistantMessage) and any(kind_of(piece) in THOUGHTS for piece in message.opaque):
        return replace(message, opaque=())
    return message
