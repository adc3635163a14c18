"""A model that speaks Anthropic's Messages: Claude, or a relative of that interface, over the `anthropic` SDK."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from msgspec import Raw
from msgspec.structs import replace

from ...protocol.failures import Misuse, failed
from ...protocol.formats.anthropic import FORMAT, THOUGHTS, message_to_anthropic, tool_to_anthropic
from ...protocol.formats.layout import kind_of
from ...protocol.history import AssistantMessage, HistoryMessage, Opaque, SystemMessage, ToolMessage
from ...protocol.tools import Retry, ToolSpec, encode_json
from .claude import claude
from .contract import ModelRequest
from .dressed import RETRIES
from .hosted import Frame, Hosted, Json
from .output import anthropic_schema, instructed
from .settings import Settings, chosen
from .translated import Disowned, Told, Translation
from .wire import Wire

WIRE = Wire(
    provider="Anthropic",
    module="anthropic",
    client="AsyncAnthropic",
    error="AnthropicError",
    keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    place="ANTHROPIC_BASE_URL",
    home="https://api.anthropic.com",
    path="/v1/messages",
    messages="messages",
    answer="message",
    format=FORMAT,
)

MOST_TOKENS = 16_000
"""What one answer may take where nobody says: Anthropic wants to be told, and all but its oldest have as many."""
MOST_WITH_REASONING = 32_000

BUDGETS = {"minimal": 1_024, "low": 4_000, "medium": 8_000, "high": 16_000, "xhigh": 32_000, "max": 32_000}
"""Tokens to think with, for models that do not know how to measure it by themselves."""
LEAST_BUDGET = 1_024
LEAST_TOP_P = 0.95
"""The least `top_p` beside thoughts, https://platform.claude.com/docs/en/build-with-claude/extended-thinking."""

_SAMPLING = ("temperature", "top_p", "top_k")
_WORDS = frozenset({"temperature", "top_p", "max_tokens", "stop", "reasoning_effort", "parallel_calls"})
_BEFORE = {"anthropic-version": "2023-06-01"}
"""The version of the interface that still takes how to sample; the SDK's own, of 2026-10-21, refuses it. See
https://platform.claude.com/docs/en/api/versioning. Models from 4.7 on refuse it in both."""

# What the newest models thought is bound to the system, tools and messages before it: where those are others now, a
# request is refused, unless it says that they may be left out. It can't say so where thinking is off.
# https://platform.claude.com/docs/en/build-with-claude/preserved-thinking/fix-bound-to-a-different-conversation
_BOUND = "bound to a different conversation"
_DROPPING = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
_BINDING = {"anthropic-beta": "thinking-binding-controls-2026-08-01"}
_FOREIGN = re.compile(r"Invalid `(?:signature|data)` in `(?:redacted_)?thinking`")
_UNBOUND = ("disabled", "between_tools")


def anthropic(
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    settings: Settings | None = None,
    cache: bool | None = None,
    retries: int | Retry = RETRIES,
    like: str | None = None,
) -> "Anthropic":
    """A model of Anthropic, or of whoever speaks its Messages at `base_url`.

    Without `api_key` it is taken from ANTHROPIC_API_KEY, without `base_url` from ANTHROPIC_BASE_URL; who has a base_url
    needs no key. `settings` hold for each request. Unless `cache` is False, tools, system and the end of the
    conversation are marked for the provider's cache of prompts. `retries` is how often a failure that may pass
    is tried again, see `retrying`. `like` is the model whose rules hold, such as "claude-sonnet-4-5", where the name
    does not say it.
    Raises Misuse if the SDK or the key is missing, a setting can't be, or TOOLWIRE_NO_MODELS forbids real models.
    """
    return Anthropic(
        model, base_url=base_url, api_key=api_key, settings=settings, cache=cache, retries=retries, like=like
    )


class Anthropic(Hosted):
    """See `anthropic`."""

    wire: ClassVar[Wire] = WIRE
    _marked: tuple[object, Raw] = (None, Raw())

    def settled(self, settings: Mapping[str, Any]) -> Json:
        """`settings` as fields of a request. Raises Misuse."""
        given = chosen(settings, _WORDS, "Anthropic")
        known = claude(self.like)
        fields: Json = {"max_tokens": given.get("max_tokens", known.most_tokens if known else MOST_TOKENS)}
        sampling: Json = {word: given[word] for word in ("temperature", "top_p") if word in given}
        if len(sampling) > 1 and known and known.since(4, 1):
            said = f"{self.like} takes either temperature or top_p: leave out one of them"
            raise Misuse(failed("model_failed", said))
        if any(value != 1 for value in sampling.values()) and known and known.unsampled:
            said = f"{self.like} takes no {next(iter(sampling))}: leave it out, and say what you want in words"
            raise Misuse(failed("model_failed", said))
        fields |= sampling
        if "stop" in given:
            fields["stop_sequences"] = [given["stop"]] if isinstance(given["stop"], str) else list(given["stop"])
        if given.get("parallel_calls") is False:
            fields["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
        if "reasoning_effort" in given:
            fields |= self._thinking(given)
        return {**fields, **given.get("extra", {})}

    def _thinking(self, given: Mapping[str, Any]) -> Json:
        """How hard to think. Raises Misuse."""
        effort, known = given["reasoning_effort"], claude(self.like)
        if effort == "none":
            if known and known.always_thinks:
                said = f"{self.like} can't but think: leave out reasoning_effort, or make it 'low', which is its least"
                raise Misuse(failed("model_failed", said))
            return {"thinking": {"type": "between_tools" if known and known.thinks_between_tools else "disabled"}}
        if (
            known
            and known.since(0, 0)
            and (given.get("temperature", 1) != 1 or not LEAST_TOP_P <= given.get("top_p", 1) <= 1)
        ):
            said = "Anthropic takes no temperature but 1, and no top_p below 0.95, beside reasoning_effort"
            raise Misuse(failed("model_failed", f"{said}: leave out one of them"))
        if known and not known.budgeted:
            effort = "low" if effort == "minimal" else effort
            most = given.get("max_tokens", MOST_WITH_REASONING)
            return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}, "max_tokens": most}
        budget = BUDGETS[effort]
        if known and "max_tokens" not in given:
            budget = min(budget, known.most_thoughts)
        most = given.get("max_tokens", MOST_TOKENS + budget)
        if most >= 2 * LEAST_BUDGET:
            budget = min(budget, most - LEAST_BUDGET)
        elif known is None:  # somebody else's, who may want less
            budget = most // 2
        else:
            said = f"reasoning is a part of max_tokens, which has to be {2 * LEAST_BUDGET} or more then, not {most}"
            raise Misuse(failed("model_failed", said))
        return {"thinking": {"type": "enabled", "budget_tokens": budget}, "max_tokens": most}

    def headers(self, body: Json) -> Mapping[str, str]:
        """An older version of the interface for what only that one takes; and its name for what is on trial."""
        before = _BEFORE if any(word in body for word in _SAMPLING) else {}
        return {**before, **_BINDING} if "block_binding" in body.get("thinking", ()) else before

    def options(self) -> Json:
        """No spans beside ours; and the key where relatives look for it too."""
        elsewhere = {} if self.at_home else {"default_headers": {"X-Api-Key": self._api_key}}
        return {"open_telemetry": {"traces": False, "propagation": False}, **elsewhere}

    def translation(self, own: Callable[[HistoryMessage], HistoryMessage]) -> Translation:
        """System messages that come first stand apart, and the results of one answer stand in one message."""

        def items(message: HistoryMessage) -> list[Any]:
            entry = message_to_anthropic(own(message))
            if isinstance(message, ToolMessage):
                content: list[Any] = entry["content"]
                return content
            return [entry] if entry["content"] else []

        return Translation(items, self._system, (b'{"role":"user","content":[', b"]}"))

    def thoughtless(self, message: HistoryMessage) -> HistoryMessage:
        """`own` without what the model thought."""
        message = self.own(message)
        if not isinstance(message, AssistantMessage):
            return message
        return replace(message, opaque=tuple(piece for piece in message.opaque if not _is_thought(piece)))

    def disowns(self, words: str) -> Disowned:
        """Some, where what stands before a thought is another now; all, where one is not of this provider's making."""
        if _BOUND in words:
            return Disowned.SOME
        return Disowned.ALL if _FOREIGN.search(words) else Disowned.NOTHING

    def drops(self, fields: Json) -> bool:
        """Whether such thoughts can be left out there."""
        return fields.get("thinking", {}).get("type") not in _UNBOUND

    def _system(self, message: SystemMessage) -> list[Any]:
        content: list[Any] = message_to_anthropic(message)["content"]
        return content if message.text.strip() else []

    def asked(self, body: Json, request: ModelRequest, told: Told) -> Frame:
        """The messages stand alone, but for a mark; what the system says stands beside them."""
        system = told.leading
        if request.output is not None:
            system = self._shaped(body, request.output, system)
        own = self.thoughtless if told.prefix.disowned == Disowned.ALL else self.own
        if body.get("thinking", {}).get("type") == "enabled" and _thoughtless(own, request):
            del body["thinking"]
        if told.prefix.disowned == Disowned.SOME:
            body["thinking"] = {**_DROPPING, **body.get("thinking", {})}
        self._offer(body, request, told)
        frame = Frame()
        if self.caches(unasked=True):
            system, frame = self._mark(body, request, system, told)
        if system:
            body["system"] = Raw(b"[" + system + b"]")
        return frame

    def _shaped(self, body: Json, output: Json, system: bytes) -> bytes:
        """Ask for an answer of that schema: by the interface's own word for it, else by words to the model."""
        schema = None
        known = claude(self.like)
        if known and not known.schemaless:
            schema = anthropic_schema(output)
        if schema is None:
            said = encode_json({"type": "text", "text": instructed(output)})
            return b",".join(filter(None, (system, said)))
        shape = {"format": {"type": "json_schema", "schema": schema}}
        body["output_config"] = {**shape, **body.get("output_config", {})}
        return system

    def _offer(self, body: Json, request: ModelRequest, told: Told) -> None:
        """Say which tools there are, and which to call."""
        set_ = body.pop("tool_choice", None)
        if request.tools:
            told.prefix.tools = body["tools"]
            self._choose(body, request, set_)
        elif told.prefix.called and "tools" not in body:
            # "Requests which include `tool_use` or `tool_result` blocks must define tools"; and what a model thought
            # is bound to the tools that it had then.
            body["tools"] = told.prefix.tools or _named(told.prefix.called)
            body["tool_choice"] = {"type": "none"}

    def _choose(self, body: Json, request: ModelRequest, set_: Json | None) -> None:
        """Say which tool to call. Where a model thinks, Anthropic lets nobody force it to one: it is left to choose."""
        choice, tool = self.choice(request)
        chosen_: Json = {"type": "tool", "name": tool} if tool else {"type": "any" if choice == "required" else choice}
        known = claude(self.like)
        thinks = body.get("thinking", {}).get("type", "disabled") != "disabled" or (known and known.unforced)
        if choice != "none" and thinks:
            chosen_ = {"type": "auto"}
        if set_ is not None and choice != "none":  # by a setting: a choice of its own, or how many calls there may be
            chosen_ = set_ if set_.get("type") != "auto" else {**set_, **chosen_}
        if chosen_ != {"type": "auto"}:
            body["tool_choice"] = chosen_

    def _mark(self, body: Json, request: ModelRequest, system: bytes, told: Told) -> tuple[bytes, Frame]:
        """Mark the ends of what stays the same for the cache: three marks of the four that there may be."""
        # The same in all places: one that lives longer must not come after one that lives shorter.
        kind = body.get("cache_control") or {"type": "ephemeral"}
        mark = b',"cache_control":' + encode_json(kind)
        if isinstance(body.get("tools"), Raw):
            if self._marked[0] is not body["tools"]:
                self._marked = body["tools"], Raw(bytes(body["tools"])[:-2] + mark + b"}]")
            body["tools"] = self._marked[1]
        if system:
            system = system[:-1] + mark + b"}"
        if self.at_home:
            body["cache_control"] = kind  # moves with the end of the conversation, whose bytes stay as they are
            return system, Frame()
        if not told.items or isinstance(request.messages[-1], AssistantMessage):
            return system, Frame()  # there may be thoughts at its end, which can't be marked
        end = b"}" if told.closing else b"}]}"
        return system, Frame(b"", len(end), mark + end)  # its relatives know the mark of a block better


def _named(names: Iterable[str]) -> Raw:
    """Tools of these names, of which nothing else is known."""
    return Raw(encode_json([tool_to_anthropic(ToolSpec(name)) for name in names]))


def _is_thought(piece: Opaque) -> bool:
    return piece.provider == FORMAT.name and kind_of(piece) in THOUGHTS


def _thoughtless(own: Callable[[HistoryMessage], HistoryMessage], request: ModelRequest) -> bool:
    """Whether the calls whose results are told were made without a thought in what is told of them.

    It asks for the thought of such calls if it is to think on. They come from another provider then.
    """
    for message in reversed(request.messages):
        if isinstance(message, AssistantMessage):
            heard = own(message)
            return isinstance(heard, AssistantMessage) and not any(map(_is_thought, heard.opaque))
        if not isinstance(message, ToolMessage):
            return False
    return False
