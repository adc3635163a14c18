"""`toolwire chat`: a conversation, typed or piped."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from importlib import import_module
from queue import SimpleQueue
from typing import Annotated

import anyio
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cyclopts import Parameter
from msgspec.structs import replace

from ....protocol.events import ConfirmationWanted, Event, Pending, Reply, TextDelta, TurnFinished
from ....protocol.failures import Misuse, failed
from ...agent import Agent
from ...chat import Chat
from ..console import harmless, output
from ..live import TurnView
from .exits import Exit, exit_of
from .loading import attribute
from .options import Json, Namespace, Nats, Tools, joined
from .person import Person

PROMPT = "\n> "


def chat(
    *,
    agent: Annotated[str | None, Parameter(help="module:attribute of an Agent.")] = None,
    model: Annotated[str | None, Parameter(help="A model, such as openai:gpt-5.1, where there is no agent.")] = None,
    base_url: Annotated[str | None, Parameter(help="Where a server that speaks like OpenAI's is.")] = None,
    system: Annotated[str, Parameter(help="What the model is told first.")] = "",
    tools: Tools = (),
    nats: Nats = None,
    namespace: Namespace = "default",
    references: Annotated[bool, Parameter(help="Let calls use each other's results.", negative="")] = False,
    json: Json = False,
) -> int:
    """Talk to an agent, or to a model with tools: from a terminal, or one turn a line from a pipe.

    Ctrl-C interrupts the turn, and leaves where none runs. Calls that a person has to confirm are asked about; from a
    pipe nobody can be asked, and they are denied. With --json each event of a turn is one line.
    """
    chosen = agent_of(agent, model, base_url, system, everything=bool(nats))
    if references:
        chosen = replace(chosen, references=True)
    with start_blocking_portal() as portal:
        url = nats if nats or tools else "memory://"
        with portal.wrap_async_context_manager(joined(url, namespace, tools)) as runtime:
            conversation = portal.call(runtime.converse, chosen)
            return talk(portal, conversation, json=json)


def agent_of(agent: str | None, model: str | None, base_url: str | None, system: str, *, everything: bool) -> Agent:
    """Whom to talk to. `everything`: a model by itself is offered all tools of the bus. Raises Misuse."""
    if (agent is None) == (model is None):
        said = "say whom to talk to: --agent module:attribute, or --model such as openai:gpt-5.1 (one of the two)"
        raise Misuse(failed("invalid_call", said))
    if agent is not None:
        found: Agent = attribute(agent, Agent)
        return found
    named = f"{model}@{base_url}" if base_url else str(model)
    return Agent("", named, system, ("*",) if everything else None)


def talk(portal: BlockingPortal, conversation: Chat, *, json: bool) -> int:
    """One turn for each line, to the end of the input. From a pipe the last turn that failed decides how it ends."""
    ended = Exit.DONE
    typed = sys.stdin.isatty() and sys.stdout.isatty()
    for line in typed_lines() if typed else sys.stdin:
        if not line.strip():
            continue
        reply = turn(portal, conversation, line.strip(), json=json, typed=typed)
        if typed:
            continue
        if reply is None:
            return Exit.INTERRUPTED
        if reply.ended != "answered":
            ended = Exit.FAILED if reply.failure is None else exit_of(reply.failure)
    return ended


def typed_lines() -> Iterator[str]:
    """What a person types, line by line, to Ctrl-D. Raises KeyboardInterrupt at Ctrl-C."""
    with suppress(ImportError):  # not everywhere; where it is, input() can edit lines
        import_module("readline")
    while True:
        try:
            line = input(PROMPT)
        except (EOFError, KeyboardInterrupt) as left:
            output().out("")
            if isinstance(left, KeyboardInterrupt):
                raise
            return
        yield line


def turn(portal: BlockingPortal, conversation: Chat, text: str, *, json: bool, typed: bool) -> Reply | None:
    """One turn, shown while it runs; None if Ctrl-C ended it."""
    out, aside = output(), output(stderr=True)
    person = Person(portal, conversation, typed=typed)
    with nullcontext() if json else TurnView(out, None if out.is_terminal else aside) as view:
        show = (lambda event: out.out(msgspec.json.encode(event).decode())) if view is None else view.hear
        reply = followed(portal, conversation, text, show, lambda pending: person.asked(pending, view))
        later = None if reply is None else person.settled(view)
        if later is not None:  # nobody followed how it went on
            show(TurnFinished(later) if json else TextDelta(later.text))
            reply = later
    if reply is None:
        aside.print("interrupted")
    elif reply.failure is not None:
        aside.print(harmless(str(reply.failure)), style="red", soft_wrap=True)
    elif reply.ended != "answered":
        aside.print(f"the turn ended by: {reply.ended}")
    return reply


def followed(
    portal: BlockingPortal,
    conversation: Chat,
    text: str,
    show: Callable[[Event], None],
    ask: Callable[[Pending], None],
) -> Reply | None:
    """One turn, whose events are shown by `show`, in another thread; None if Ctrl-C ended it.

    `ask` is called here, with each call that waits for a person: a thread of its own could not be interrupted.
    """
    scope = portal.call(anyio.CancelScope)
    questions: SimpleQueue[Pending | None] = SimpleQueue()

    async def follow() -> Reply | None:
        reply: Reply | None = None
        try:
            with scope:
                async with conversation.stream(text) as events:
                    async for event in events:
                        show(event)
                        if isinstance(event, ConfirmationWanted):
                            questions.put(event.pending)
                        elif isinstance(event, TurnFinished):
                            reply = event.reply
        finally:
            questions.put(None)
        return reply

    running: Future[Reply | None] = portal.start_task_soon(follow)
    try:
        while (pending := questions.get()) is not None:
            ask(pending)
        return running.result()
    except KeyboardInterrupt:
        portal.call(scope.cancel)  # not running.cancel(): that would not wait for the end of the turn
        return running.result()
