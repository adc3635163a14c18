"""An agent as a tool: one parameter `message`, a conversation of its own, the caller's time and trace."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from msgspec.structs import replace

from ..protocol.events import Pending, Reply
from ..protocol.failures import CallFailed, Failure, ToolwireError, failed
from ..protocol.history import AssistantMessage, HistoryMessage
from ..protocol.limits import DEFAULT_LIMITS
from ..protocol.messages import Say
from .agent import Agent
from .chat import Chat
from .context import Context
from .tool import Tool, tool

Open = Callable[[Agent, str | None, Any], Awaitable[Chat]]
"""Opens a conversation with an agent: by a name or without, on somebody's behalf."""

CLOSING = 1.0
LATER = 1.0
"""Seconds from the end of an agent's own time to that of its call: so it can say what it has used."""
DEEPEST = 5
HOPS = 3
"""Requests from one agent to the next: to its conversation, to the executor, to the tool."""


def agent_tool(agent: Agent, converse: Open, *, priced: bool = True) -> Tool[Any]:
    """`agent` as a tool that other agents may call. Its result is what it answers: text, or its `output`.

    `priced`: where it is served there are prices. Without them nobody knows what it costs.
    """

    async def ask(message: str, context: Context) -> Any:
        if context.depth > DEEPEST * HOPS:
            said = (
                f"{agent.name!r} was not asked: agents nest at most {DEEPEST} deep, and {asker(context)} is that deep"
            )
            raise ToolwireError(failed("limit_reached", said, by="depth"))
        chat = await converse(agent, None, context.caller)
        try:
            reply = (await context.ask(chat.address, Say(message))).reply
            answered = reply.ended == "answered" or (agent.last_answer and is_last(reply, chat.history()))
        finally:
            with anyio.move_on_after(CLOSING, shield=True):  # left by a cancellation, it has to be closed all the same
                await chat.close()
        context.tainted = any(result.tainted for result in reply.calls)
        used = reply.usage
        context.used(used if priced else replace(used, unpriced=used.unpriced + reply.rounds))
        if reply.ended == "paused":
            raise CallFailed(failed("failed", unconfirmed(agent.name, reply.pending), "maybe"))
        if not answered:
            raise CallFailed(reply.failure or Failure("failed", f"the agent ended without an answer: {reply.ended}"))
        return reply.text if agent.output is None else reply.output

    def asker(context: Context) -> str:
        name = context.whose().agent
        return repr(name) if name else f"the conversation of call {context.call_id!r}"

    description = agent.system.split("\n\n")[0][:500]
    schema = agent.output if isinstance(agent.output, dict) else None
    ask.__annotations__["return"] = Any if schema is not None else str if agent.output is None else agent.output
    described = f"Ask the agent {agent.name}. {description}".strip()
    made = tool(name=agent.name, description=described, timeout=longest(agent) + LATER)(ask)
    return made if schema is None else made.promising(schema)


def longest(agent: Agent) -> float:
    """The seconds that a turn of `agent` may take: what a function gives, only each turn knows."""
    limits = agent.limits
    return math.inf if callable(limits) else limits.get("seconds", DEFAULT_LIMITS.get("seconds", math.inf))


def is_last(reply: Reply, history: Sequence[HistoryMessage]) -> bool:
    """Whether a turn that a limit has ended did so with an answer."""
    last = history[-1] if reply.ended in {"rounds", "calls"} and reply.failure is None else None
    return isinstance(last, AssistantMessage) and not last.calls


def unconfirmed(name: str, pending: tuple[Pending, ...]) -> str:
    """Why an agent that was asked as a tool came to no end: nobody can confirm its calls there. Names them."""
    calls = ", ".join(f"{call.name}({call.arguments})"[:200] for call in pending)
    return f"the agent {name!r} stopped before what a person has to confirm, and has not done it: {calls}"
