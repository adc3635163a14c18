"""One word for the three providers: what would they object to?

`objection(format_name, body)` judges a request as it goes over the wire, `objection_to(format_name, history)` one that
is made of a history. Both give "" where nothing is wrong. First the provider's rules speak, then the SDK's types.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from toolwire.protocol.formats.contract import Format
from toolwire.protocol.history import AssistantMessage, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.spoken import format_named
from toolwire.protocol.tools import ToolSpec

from . import anthropic, openai, openai_responses, typed
from .words import Before, Json

FORMATS = ("openai", "openai_responses", "anthropic")


class Rules(NamedTuple):
    """What a provider objects to, and how a body looks to the types of its SDK."""

    objections: Callable[[Json, Before], Iterator[str]]
    typed: Callable[[Json], Json] = lambda body: body


RULES = {
    "openai": Rules(openai.objections, openai.bare),
    "openai_responses": Rules(openai_responses.objections),
    "anthropic": Rules(anthropic.objections, anthropic.bare),
}


def objection(format_name: str, body: Json, before: Before = None) -> str:
    """What the provider would refuse `body` for, "" for nothing. `before` is what it was asked and has answered."""
    rules = RULES[format_name]
    try:
        found = next(rules.objections(body, before), "")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        # The rules look at what has the right shape. If the types see nothing wrong either, the rules are.
        wrong = typed.objection(format_name, rules.typed(body) if "messages" in body or "input" in body else body)
        if not wrong:
            raise
        return f"{wrong} ({error!r})"
    return found or typed.objection(format_name, rules.typed(body))


def objection_to(format_name: str, history: Sequence[HistoryMessage], before: Before = None) -> str:
    """What the provider would refuse a next word for, if this is what was said: the user goes on, all tools offered."""
    return objection(format_name, body_of(format_name, history), before)


def body_of(format_name: str, history: Sequence[HistoryMessage]) -> Json:
    """A request of which all that matters is `history`, in which it is the model's turn."""
    spoken: Format = format_named(format_name)
    messages = list(history)
    if not messages or not isinstance(messages[-1], (UserMessage, ToolMessage)):
        messages.append(UserMessage("Go on."))
    called = {call.name: None for each in messages if isinstance(each, AssistantMessage) for call in each.calls}
    tools: dict[str, Any] = {"tools": [spoken.tool_to(ToolSpec(name)) for name in called]} if called else {}
    told = spoken.history_to(messages)
    match format_name:
        case "anthropic":
            return {"model": "strict", "max_tokens": 1024, **tools, **told}
        case "openai_responses":
            return {"model": "strict", "store": False, **tools, "input": told}
    return {"model": "strict", **tools, "messages": told}
