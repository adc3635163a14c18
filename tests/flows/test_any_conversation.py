"""Whatever is done with a conversation, one thing after the other: its history stays one that the providers take.

Random sequences: turns said and followed, left, cancelled and interrupted at any moment; a person's word; rewinding,
branching, clearing; going on from an export, in our words or a provider's, and with another provider; memories that
leave out and sum up; models that break off, refuse, are cut off, or can't read so much; limits that are met, workers
that are lost. `make test` tries 200 on each loop, `make chaos` as many as TOOLWIRE_EXAMPLES says.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, NamedTuple

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from strict.anthropic import bound
from strict.judge import FORMATS, objection_to
from toolwire import (
    CallFinished,
    CallStarted,
    Chat,
    Context,
    History,
    ModelReply,
    ModelRequest,
    Reply,
    Runtime,
    Summarize,
    SystemMessage,
    ToolCall,
    ToolError,
    ToolMessage,
    ToolResult,
    ToolwireError,
    Trim,
    TurnFinished,
    Usage,
    UserMessage,
    tool,
)
from toolwire.actors.models.contract import ModelEvent
from toolwire.protocol.events import Event
from toolwire.protocol.failures import failed
from toolwire.protocol.history import HistoryMessage
from toolwire.runtime.testing import after, running
from toolwire.testing import assert_valid
from voices import Line, Voice

pytestmark = pytest.mark.chaos

EXAMPLES = int(os.environ.get("TOOLWIRE_EXAMPLES", "200"))
PATIENCE = 20.0
"""Seconds after which something hangs. What is done takes milliseconds."""

HUGE = 10**9

LIMITS: Any = {"rounds": 3, "calls": 12, "confirm_within": 0.0}


@tool(read_only=True)
async def look(n: int) -> int:
    await checkpoint()
    return n


@tool
async def slow(n: int, context: Context) -> int:
    for step in range(n):
        await context.progress(step, n)
        await checkpoint()
    return n


@tool
async def write(n: Any) -> int:
    return len(str(n))


@tool
async def fails(n: int) -> int:
    raise ToolError("no")


@tool
async def lost(n: int) -> int:
    return n


@tool(confirm=True)
async def pay(n: int) -> int:
    return n


async def losing(
    call: ToolCall, context: Context, following: Callable[[ToolCall], Awaitable[ToolResult[Any]]]
) -> ToolResult[Any]:
    """Between here and the tool `lost` the worker dies."""
    result = await following(call)
    if call.name == "lost":
        return ToolResult(call.id, call.name, failure=failed("worker_lost", "the worker has died", "maybe"))
    return result


class Finish(NamedTuple):
    """How an answer ends, "" for as it would; what the model can read at most, in tokens."""

    finish: str
    window: int


class Reader(Voice):
    """A voice that counts what it reads, and refuses to read more than it can. `binds`: as the newest models do."""

    def __init__(self, provider: str, talk: "Talk") -> None:
        super().__init__(provider, talk.line, reasons=talk.kind == "reasoning", branches=True)
        self.talk = talk
        self._numbers = count(FORMATS.index(provider) * 1_000 + 1)  # as adapters give no id that was there

    def read(self, request: ModelRequest) -> Callable[[ModelEvent], ModelEvent]:
        """Refuse `request`, or say what becomes of the answer to it."""
        body = self.body(request)
        tokens = len(json.dumps({word: said for word, said in body.items() if word != "tools"})) // 4
        finish, window = self.talk.finish()
        if tokens > window and not request.conversation.endswith(".memory"):
            raise ToolwireError(failed("context_too_long", f"{tokens} are more than {window}"))
        if self.provider == "anthropic" and self.talk.binds and isinstance(request.messages[-1], UserMessage):
            # Within a turn that a memory has cut, the newest thoughts have to stay, whatever they are bound to.
            self.refusals += bound(body, self.before(request.conversation))

        def ended(event: ModelEvent) -> ModelEvent:
            if not isinstance(event, ModelReply):
                return event
            return replace(event, usage=Usage(tokens, 5), finish=finish or event.finish)

        return ended

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer in one piece."""
        ended = self.read(request)
        reply = ended(await super().complete(request))
        assert isinstance(reply, ModelReply)
        return reply

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[Any]:
        """The same, event by event."""
        ended = self.read(request)
        async with super().stream(request) as events:
            yield Mapped(events, ended)


class Mapped:
    """The events of an answer, each as it becomes."""

    def __init__(self, events: AsyncIterator[ModelEvent], become: Callable[[ModelEvent], ModelEvent]) -> None:
        self._events = events
        self._become = become

    def __aiter__(self) -> "Mapped":
        return self

    async def __anext__(self) -> ModelEvent:
        return self._become(await anext(self._events))


class Step(NamedTuple):
    """What is done, and a number that says when, how much, or where."""

    what: str
    n: int


calls = st.lists(
    st.tuples(
        st.sampled_from(["look", "look", "slow", "write", "write", "fails", "lost", "pay", "unheard_of"]),
        st.one_of(
            st.fixed_dictionaries({"n": st.integers(0, 3)}), st.sampled_from([{}, {"n": {"$result": 1}}, {"n": "x"}])
        ),
    ),
    max_size=4,
)
lines = st.lists(
    st.builds(
        Line,
        st.sampled_from(["", "Well.", "Let me see."]),
        calls,
        st.one_of(st.none(), st.none(), st.none(), st.integers(0, 12)),
    ),
    min_size=1,
    max_size=8,
)
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            [
                *("say", "stream", "leave", "cancel", "interrupt", "interrupt_said", "detach", "crowd"),
                *("approve", "deny", "rewind", "undo", "branch", "clear", "export", "words", "hand"),
            ]
        ),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=7,
)
finishes = st.lists(
    st.builds(Finish, st.sampled_from(["", "", "", "", "length", "refused", "filtered"]), st.just(HUGE))
    | st.builds(Finish, st.just(""), st.integers(60, 600)),
    max_size=4,
)
bounds: dict[str, Any] = {"tokens": st.integers(1, 600), "keep": st.sampled_from([0.01, 0.5, 0.9])}
memories = st.one_of(st.none(), st.builds(Trim, **bounds), st.builds(Summarize, **bounds))


class Talk:
    """One conversation, and what its model says next."""

    def __init__(self, runtime: Runtime, told: "Told") -> None:
        self.runtime = runtime
        self.lines = told.said
        self.finishes = told.finishes
        self.kind = told.kind
        self.spoken = 0
        self.finished = 0
        self.binds = True
        self.voices = {provider: Reader(provider, self) for provider in FORMATS}
        self.voice = self.voices[told.provider]
        self.options: dict[str, Any] = {
            "references": True,
            "eager": told.eager,
            "limits": LIMITS,
            "memory": told.memory,
        }
        self.options |= {"when_busy": told.when_busy, "system": "Be short."}
        self.names = count(1)
        self.chat: Chat
        self.told: list[Event] = []

    def line(self, request: ModelRequest) -> Line:
        """The lines come round and round: limits end the turns. A text has to be one."""
        line = self.lines[self.spoken % len(self.lines)]
        self.spoken += 1
        return line if line.text or line.calls else line._replace(text="Hm.")

    def finish(self) -> Finish:
        """How the next answer ends: they come round too."""
        self.finished += 1
        return self.finishes[self.finished % len(self.finishes)] if self.finishes else Finish("", HUGE)

    async def open(self, history: Sequence[HistoryMessage] = ()) -> None:
        name = f"talk-{next(self.names)}"
        self.chat = await self.runtime.converse(model=self.voice, history=history, id=name, **self.options)

    async def hand(self, number: int) -> None:
        """The next turn is another provider's, with another system message, or none."""
        self.binds = False
        self.voice = self.voices[FORMATS[number % len(FORMATS)]]
        self.options["system"] = ("Be short.", "Be long.", "")[number // 3 % 3]
        same = await self.runtime.converse(model=self.voice, id=self.chat.id, **self.options)
        assert same is self.chat

    async def follow(self, until: int | None = None, *, interrupts: bool = False, detach: bool = False) -> Reply | None:
        """A followed turn, left or interrupted after so many events."""
        async with self.chat.stream("Follow", detach=detach) as events:
            async for event in events:
                self.told.append(event)
                if isinstance(event, TurnFinished):
                    return event.reply
                if len(self.told) == until:
                    if not interrupts:
                        return None
                    await self.chat.interrupt()
        raise AssertionError("a stream that is not left ends with its reply")

    async def beside(self, turns: int, act: Callable[[], Coroutine[Any, Any, Any]]) -> Reply | None:
        """A turn, and what is done after so many turns of the loop."""
        replies: list[Reply] = []
        async with anyio.create_task_group() as acting, anyio.create_task_group() as tasks:
            tasks.start_soon(after, turns, lambda: acting.start_soon(act))
            replies.append(await self.chat.say("Beside"))
            tasks.cancel_scope.cancel()
        return replies[0]

    async def cancelled(self, turns: int) -> Reply | None:
        """A turn that is cancelled after so many turns of the loop."""
        replies: list[Reply] = []
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(after, turns, scope.cancel)
                replies.append(await self.chat.say("Cancelled"))
            tasks.cancel_scope.cancel()
        return replies[0] if replies else None

    async def crowd(self, turns: int) -> None:
        """Three turns at once, and an interruption after so many turns of the loop: of one, or between two."""
        ended: list[str] = []

        async def say() -> None:
            with suppress(ToolwireError):  # where it is refused while another turn runs
                ended.append((await self.chat.say("Crowd")).ended)

        async def interrupt() -> None:
            for _ in range(turns):
                await checkpoint()
            interrupted.append(await self.chat.interrupt())

        interrupted: list[bool] = []
        async with anyio.create_task_group() as tasks:
            for work in (say, say, say, interrupt):
                tasks.start_soon(work)
        assert ended
        if self.options["when_busy"] != "interrupt":
            assert ended.count("interrupted") <= interrupted.count(True)

    async def answered(self, decision: Any) -> Reply | None:
        """A person's word for what waits, if anything does."""
        if not self.chat.pending:
            return None
        return await self.chat.answer(self.chat.pending[0], decision)

    async def cut(self, step: Step) -> None:
        """What takes from a history, or goes on from it elsewhere."""
        history = self.chat.history()
        match step.what:
            case "rewind":
                with suppress(ToolwireError):  # for what is between a call and its result
                    await self.chat.rewind(step.n % (len(history) + 1))
            case "undo":
                if any(isinstance(message, UserMessage) for message in history):
                    await self.chat.rewind()
            case "branch":
                self.chat = await self.chat.branch(id=f"talk-{next(self.names)}")
            case "clear":
                await self.chat.clear()
            case "export":
                await self.open(History.from_json(history.to_json()))
            case "words":
                self.binds = False
                name = FORMATS[step.n % len(FORMATS)]
                await self.open(getattr(History, f"from_{name}")(getattr(history, f"to_{name}")()))
            case "hand":
                await self.hand(step.n)

    def said(self) -> list[HistoryMessage]:
        """The history, without what the system says: that changes with the agent."""
        return [message for message in self.chat.history() if not isinstance(message, SystemMessage)]

    async def do(self, step: Step) -> None:
        """One step, and what holds after it."""
        self.told.clear()
        before, pending = self.said(), bool(self.chat.pending)
        reply: Reply | None = None
        match step.what:
            case "say":
                reply = await self.chat.say("Say")
            case "stream":
                reply = await self.follow()
            case "leave":
                reply = await self.follow(step.n)
            case "interrupt":
                reply = await self.follow(step.n, interrupts=True)
            case "interrupt_said":
                reply = await self.beside(step.n, self.chat.interrupt)
            case "cancel":
                reply = await self.cancelled(step.n)
            case "detach":
                await self.follow(step.n, detach=True)
                await self.chat.interrupt()
            case "crowd":
                await self.crowd(step.n)
                pending = pending or bool(self.chat.pending)
            case "approve" | "deny":
                reply = await self.answered(step.what)
                pending = True
            case _:
                await self.cut(step)
                self.valid()
                return
        after_ = self.said()
        kept = turn_begins(before) if pending else len(before)
        assert after_[:kept] == before[:kept]
        self.valid()
        self.agree(reply, after_[turn_begins(after_) :])

    def valid(self) -> None:
        """Each provider takes the history, and what would be told of it now."""
        assert_valid(self.chat)
        history, told = self.chat.history(), self.chat.told()
        for provider, voice in self.voices.items():
            before = voice.before(self.chat.id)
            assert not objection_to(provider, [*told, UserMessage("Next.")], before)
            if self.options["memory"] is not None:
                assert not objection_to(provider, [*history, UserMessage("Next.")], before)
            # Thoughts may be lost in another's words, and then the user speaks before the model goes on.
            assert not self.binds or not objection_to(provider, history, before)
            assert voice.refusals == []

    def agree(self, reply: Reply | None, turn: Sequence[HistoryMessage]) -> None:
        """Events, reply and history tell the same of the calls of the last turn."""
        results = [message.id for message in turn if isinstance(message, ToolMessage)]
        started = [event.id for event in self.told if isinstance(event, CallStarted)]
        finished = [event.result.id for event in self.told if isinstance(event, CallFinished)]
        assert len(set(started)) == len(started)
        assert len(set(finished)) == len(finished)
        if reply is not None:
            assert [result.id for result in reply.calls] == results
            waiting = {pending.id for pending in reply.pending}
            assert not self.told or set(started) - waiting <= set(finished)


def turn_begins(history: Sequence[HistoryMessage]) -> int:
    """Where the last turn begins."""
    return max((n for n, message in enumerate(history) if isinstance(message, UserMessage)), default=0)


class Told(NamedTuple):
    """Who speaks, and how."""

    provider: str
    kind: str
    eager: str
    said: Sequence[Line]
    finishes: Sequence[Finish]
    when_busy: str
    memory: Trim | Summarize | None


async def through(told: Told, done: Sequence[Step]) -> None:
    """One conversation through all steps; then it still answers, and nothing is left."""
    before = running()
    with anyio.fail_after(PATIENCE):
        async with Runtime() as runtime:
            runtime.use(losing)
            await runtime.serve(look, slow, write, fails, lost, pay)
            talk = Talk(runtime, told)
            await talk.open()
            for step in done:
                await talk.do(step)
            talk.lines, talk.finishes = [Line("Here.")], []
            reply = await talk.chat.say("Are you there?")
            talk.valid()
            assert (reply.text, reply.failure) == ("Here.", None)
    assert running() <= before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    told=st.builds(
        Told,
        provider=st.sampled_from(FORMATS),
        kind=st.sampled_from(["reasoning", "reasoning", "plain"]),
        eager=st.sampled_from(["all", "all", "read_only", "off"]),
        said=lines,
        finishes=finishes,
        when_busy=st.sampled_from(["queue", "queue", "refuse", "interrupt"]),
        memory=memories,
    ),
    done=steps,
)
def test_any_conversation_is_taken_at_every_step(backend: str, told: Told, done: list[Step]) -> None:
    anyio.run(through, told, done, backend=backend)
