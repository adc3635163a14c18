"""`toolwire chat`: a conversation, typed or piped."""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import anyio
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cyclopts import Parameter
from msgspec.structs import replace

from ....protocol.events import ConfirmationWanted, Event, Pending, Reply, TextDelta, TurnFinished
from ....protocol.failures import Misuse, ToolwireError, failed
from ....protocol.history import HistoryMessage
from ...agent import Agent
from ...chat import Chat
from ...models.wire import leads_somewhere
from ..console import harmless, output
from ..live import TurnView
from .asides import Asides
from .exits import Exit, as_by_ctrl_c, exit_of
from .kept_history import KeptHistory
from .loading import attribute
from .options import Json, Namespace, Nats, Tools, joined
from .person import Person

Settings = Annotated[
    tuple[str, ...],
    Parameter(name="--setting", help="name=value of how the model answers, such as temperature=0.2. May be given more "
              "than once.", negative="", show_default=False),
]  # fmt: skip

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
    settings: Settings = (),
    history: Annotated[
        Path | None, Parameter(help="Go on with the conversation in this file, and keep it there.")
    ] = None,
    json: Json = False,
) -> int:
    """Talk to an agent, or to a model with tools: from a terminal, or one turn a line from a pipe.

    Ctrl-C interrupts the turn, and leaves where none runs; /help lists what else can be said to the program itself.
    Calls that a person has to confirm are asked about; from a pipe nobody can be asked, and they are denied. With
    --json each event of a turn is one line.
    """
    chosen = agent_of(agent, model, base_url, system, everything=bool(nats))
    if references:
        chosen = replace(chosen, references=True)
    if settings:
        chosen = replace(chosen, settings={**chosen.settings, **dict(map(setting, settings))})
    if history is None:
        return held(chosen, nats, namespace, tools, None, json=json)
    with KeptHistory(history) as kept:
        return held(chosen, nats, namespace, tools, kept, json=json)


def held(agent: Agent, nats: str | None, namespace: str, tools: Tools, kept: KeptHistory | None, *, json: bool) -> int:
    """The conversation itself, which goes on from what is kept. Returns how the command ends."""
    said: Sequence[HistoryMessage] = ()
    if kept is not None:
        past = said = kept.read()
        kept.keep(past)  # where it can't be kept is said before anything else is
    conversation: Chat | None = None
    try:
        with start_blocking_portal() as portal:
            url = nats if nats or tools else "memory://"
            with portal.wrap_async_context_manager(joined(url, namespace, tools)) as runtime:
                conversation = portal.call(partial(runtime.converse, agent, history=said))
                return talk(portal, conversation, kept, json=json)
    except BaseException:
        if conversation is not None:  # a turn may have run, whose end stands only now
            still_kept(kept, conversation)
        raise


def agent_of(agent: str | None, model: str | None, base_url: str | None, system: str, *, everything: bool) -> Agent:
    """Whom to talk to. `everything`: a model by itself is offered all tools of the bus. Raises Misuse."""
    if (agent is None) == (model is None):
        said = "say whom to talk to: --agent module:attribute, or --model such as openai:gpt-5.1 (one of the two)"
        raise Misuse(failed("invalid_call", said))
    if agent is not None:
        found: Agent = attribute(agent, Agent)
        return found
    if base_url and not leads_somewhere(base_url):
        said = f"--base-url is one such as http://127.0.0.1:11434/v1, not {base_url!r:.100}"
        raise Misuse(failed("invalid_call", said))
    named = f"{model}@{base_url}" if base_url else str(model)
    return Agent("", named, system, ("*",) if everything else None)


def setting(given: str) -> tuple[str, Any]:
    """`name=value` as both; the value is JSON, or else a text. Raises Misuse."""
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise Misuse(failed("invalid_call", f"{given!r} is not name=value, such as temperature=0.2"))
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def talk(portal: BlockingPortal, conversation: Chat, kept: KeptHistory | None, *, json: bool) -> int:
    """One turn for each line, to the end of the input. From a pipe the last turn that failed decides how it ends."""
    ended = Exit.DONE
    typed = sys.stdin.isatty() and sys.stdout.isatty()
    asides = Asides(portal, conversation)
    for line in typed_lines() if typed else sys.stdin:
        text = asides.take(line.strip()) if typed else line.strip()
        reply: Reply | None = None
        told_to_end: list[int] = []
        if text:
            with as_by_ctrl_c() as told_to_end:
                reply = turn(portal, conversation, text, json=json, typed=typed)
        if not still_kept(kept, conversation):
            ended = Exit.FAILED
        if told_to_end:
            return Exit.INTERRUPTED
        if typed or not text:
            continue
        if reply is None:
            return Exit.INTERRUPTED
        if reply.ended != "answered":
            ended = Exit.FAILED if reply.failure is None else exit_of(reply.failure)
    return ended


def still_kept(kept: KeptHistory | None, conversation: Chat) -> bool:
    """Keep what was said so far, if it is to be kept. Where that can't be done, that is said, and nothing is lost."""
    try:
        if kept is not None:
            kept.keep(conversation.history())
    except ToolwireError as error:
        output(stderr=True).print(harmless(error.failure.message), style="red", soft_wrap=True)
        return False
    return True


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
