"""Whatever is done with a conversation, one thing after the other: its history stays one that the providers take.

Random sequences: turns said and followed, left, cancelled and interrupted at any moment; a person's word; rewinding,
branching, clearing; going on from an export; models that break off, limits that are met, workers that are lost. `make
test` tries 200 on each loop, `make chaos` as many as TOOLWIRE_EXAMPLES says.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strict.judge import FORMATS, objection_to
from toolwire import (
    CallFinished,
    CallStarted,
    Chat,
    Context,
    History,
    ModelRequest,
    Reply,
    Runtime,
    ToolCall,
    ToolError,
    ToolMessage,
    ToolResult,
    ToolwireError,
    TurnFinished,
    UserMessage,
    tool,
)
from toolwire.protocol.events import Event
from toolwire.protocol.failures import failed
from toolwire.protocol.history import HistoryMessage
from toolwire.runtime.testing import after, running
from voices import Line, Voice

pytestmark = pytest.mark.chaos

EXAMPLES = int(os.environ.get("TOOLWIRE_EXAMPLES", "200"))
PATIENCE = 20.0
"""Seconds after which something hangs. What is done takes milliseconds."""

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
                *("approve", "deny", "rewind", "undo", "branch", "clear", "export"),
            ]
        ),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=7,
)


class Talk:
    """One conversation, and what its model says next."""

    def __init__(
        self, runtime: Runtime, provider: str, kind: str, eager: str, said: Sequence[Line], when_busy: str
    ) -> None:
        self.runtime = runtime
        self.lines = said
        self.spoken = 0
        self.voice = Voice(provider, self.line, reasons=kind == "reasoning", branches=True)
        self.options: dict[str, Any] = {"references": True, "eager": eager, "limits": LIMITS, "system": "Be short."}
        self.options["when_busy"] = when_busy
        self.chat: Chat
        self.told: list[Event] = []

    def line(self, request: ModelRequest) -> Line:
        """The lines come round and round: limits end the turns. A text has to be one."""
        line = self.lines[self.spoken % len(self.lines)]
        self.spoken += 1
        return line if line.text or line.calls else line._replace(text="Hm.")

    async def open(self, history: Sequence[HistoryMessage] = ()) -> None:
        self.chat = await self.runtime.converse(model=self.voice, history=history, **self.options)

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
                self.chat = await self.chat.branch()
            case "clear":
                await self.chat.clear()
            case "export":
                await self.open(History.from_json(history.to_json()))

    async def do(self, step: Step) -> None:
        """One step, and what holds after it."""
        self.told.clear()
        before, pending = list(self.chat.history()), bool(self.chat.pending)
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
        after_ = list(self.chat.history())
        kept = turn_begins(before) if pending else len(before)
        assert after_[:kept] == before[:kept]
        self.valid()
        self.agree(reply, after_[turn_begins(after_) :])

    def valid(self) -> None:
        """The provider takes the history."""
        history = self.chat.history()
        assert not objection_to(self.voice.provider, history, self.voice.before(self.chat.id))
        assert self.voice.refusals == []

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


async def through(
    provider: str, kind: str, eager: str, said: Sequence[Line], done: Sequence[Step], when_busy: str
) -> None:
    """One conversation through all steps; then it still answers, and nothing is left."""
    before = running()
    with anyio.fail_after(PATIENCE):
        async with Runtime() as runtime:
            runtime.use(losing)
            await runtime.serve(look, slow, write, fails, lost, pay)
            talk = Talk(runtime, provider, kind, eager, said, when_busy)
            await talk.open()
            for step in done:
                await talk.do(step)
            talk.lines = [Line("Here.")]
            assert (await talk.chat.say("Are you there?")).text == "Here."
            for other in FORMATS:
                assert other == provider or not objection_to(other, talk.chat.history(), [])
            talk.valid()
    assert running() <= before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    provider=st.sampled_from(FORMATS),
    kind=st.sampled_from(["reasoning", "reasoning", "plain"]),
    eager=st.sampled_from(["all", "all", "read_only", "off"]),
    said=lines,
    done=steps,
    when_busy=st.sampled_from(["queue", "queue", "refuse", "interrupt"]),
)
def test_any_conversation_is_taken_at_every_step(
    backend: str, provider: str, kind: str, eager: str, said: list[Line], done: list[Step], when_busy: str
) -> None:
    anyio.run(through, provider, kind, eager, said, done, when_busy, backend=backend)
