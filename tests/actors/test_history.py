"""What a conversation remembers: it goes on from a history, branches, is rewound and cleared."""

from typing import Any

import anyio
import pytest

from toolwire import (
    Agent,
    AssistantMessage,
    History,
    Misuse,
    Runtime,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolwireError,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.models.scripted import Step
from toolwire.protocol.history import HistoryMessage

pytestmark = pytest.mark.anyio

PAST: list[HistoryMessage] = [
    SystemMessage("be brief"),
    UserMessage("two and three?"),
    AssistantMessage("", (ToolCall("1", "add", '{"a":2,"b":3}'),)),
    ToolMessage("1", "add", "5"),
    AssistantMessage("5"),
]


@tool(read_only=True)
async def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


ASK: list[Step] = [("add", {"a": 2, "b": 3}), "5"]


async def test_a_conversation_goes_on_from_a_history_and_leaves_that_as_it_is() -> None:
    past = list(PAST)
    model = scripted(["ten"])
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, history=past)
        assert (await chat.say("twice that?")).text == "ten"
        assert chat.history() == [*PAST, UserMessage("twice that?"), AssistantMessage("ten")]
    assert past == PAST
    assert list(model.requests[0].messages) == [*PAST, UserMessage("twice that?")]


async def test_a_history_that_is_damaged_is_mended_and_the_system_of_the_agent_wins() -> None:
    model = scripted(["so"])
    agent = Agent("a", model, "be kind")
    async with Runtime() as runtime:
        chat = await runtime.converse(agent, history=History(PAST, 3))
        await chat.say("and?")
    system, asked, called, result, said = model.requests[0].messages
    assert system == SystemMessage("be kind")
    assert [asked, called, said] == [*PAST[1:3], UserMessage("and?")]
    assert isinstance(result, ToolMessage)
    assert result.failed
    assert '"cancelled"' in result.content


async def test_where_references_are_on_the_instruction_joins_the_history_s_own_system() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([]), history=PAST, references=True)
        again = await runtime.converse(model=scripted([]), history=chat.history(), references=True)
    system = chat.history()[0]
    assert isinstance(system, SystemMessage)
    assert system.text.startswith("be brief\n\n")
    assert again.history() == chat.history()


async def test_what_is_no_history_is_refused_at_once() -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match=r"History\.from_openai"):
            await runtime.converse(model=scripted([]), history=[{"role": "user"}])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        (7, "a list of messages, not int"),
        ((each for each in PAST), "a list of messages, not generator"),
        ([UserMessage("a"), UserMessage(5)], r"message 1 .* Expected `str`, got `int`"),  # type: ignore[arg-type]
        ([AssistantMessage(None)], "message 0 .* got `None`"),  # type: ignore[arg-type]
        ([*PAST, AssistantMessage("", (ToolCall("a", "b", "{}"), "c"))], "message 5 "),  # type: ignore[arg-type]
        ([UserMessage("half \ud800")], "message 0 .* surrogates not allowed"),
    ],
)
async def test_what_every_turn_would_fail_for_is_refused_at_once(history: Any, sentence: str) -> None:
    async with Runtime() as runtime:
        with pytest.raises(Misuse, match=sentence):
            await runtime.converse(model=scripted([]), history=history)
        assert len(runtime.conversations) == 0


async def test_a_history_for_an_id_that_is_open_is_a_conflict() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([]), id="c")
        with pytest.raises(Misuse, match="is open and has a history") as opened:
            await runtime.converse(model=scripted([]), id="c", history=PAST)
        with pytest.raises(Misuse, match="a branch needs an id of its own") as branched:
            await chat.branch(id="c")
    assert {opened.value.failure.code, branched.value.failure.code} == {"conflict"}


async def test_a_branch_goes_its_own_way_with_the_same_tools_and_caller() -> None:
    model = scripted([*ASK, *ASK, "left", "right"])
    async with Runtime() as runtime:
        await runtime.serve(add)
        chat = await runtime.converse(Agent("a", model, "be brief", tools=["add"]), caller={"user": "u1"}, id="c")
        await chat.say("two and three?")
        branch = await chat.branch(2, id="b")
        assert branch.id == "b"
        assert runtime.conversations == ("c", "b")
        await branch.say("and now?")
        assert chat.history()[4] == AssistantMessage("5")
        assert len(chat.history()) == 5
        whole = await chat.branch()
        assert whole.history() == chat.history()
        await chat.say("go")
        await whole.say("go")
        assert chat.history()[-1] == AssistantMessage("left")
        assert whole.history()[-1] == AssistantMessage("right")
    told = [[*request.messages] for request in model.requests]
    assert told[2] == [*PAST[:2], UserMessage("and now?")]
    assert told[4] == told[5] == [*chat.history()[:6]]
    assert all([spec.name for spec in request.tools] == ["add"] for request in model.requests)


@pytest.mark.parametrize("at", [3, 99])
async def test_a_call_is_not_cut_from_its_result(at: int) -> None:
    sentence = "nearest points to cut are 2 and 4" if at == 3 else "0 to 5 of them, not 99"
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([]), history=PAST)
        with pytest.raises(Misuse, match=sentence):
            await chat.branch(at)
        with pytest.raises(ToolwireError, match=sentence):
            await chat.rewind(at)
        for cut in (chat.branch, chat.rewind):
            with pytest.raises(Misuse, match="0 or more, not -1"):
                await cut(-1)
        assert chat.history() == PAST


async def test_what_is_rewound_is_forgotten_and_snapshots_stay() -> None:
    model = scripted(["hi", *ASK, "again"])
    async with Runtime() as runtime:
        await runtime.serve(add)
        chat = await runtime.converse(model=model, system="be brief")
        await chat.say("hello")
        await chat.say("two and three?")
        seen = chat.history()
        before = list(seen)
        assert await chat.rewind() == 3
        assert list(seen) == before
        assert chat.history() == before[:3]
        await chat.say("three and two?")
        assert list(seen) == before
    assert list(model.requests[-1].messages) == [*before[:3], UserMessage("three and two?")]


async def test_what_a_turn_said_in_the_user_s_place_goes_with_the_turn() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi", "no number", "7"]), output=None)
        await chat.say("hello")
        assert (await chat.say("seven?", output=int)).output == 7
        assert len(chat.history()) == 6
        assert await chat.rewind() == 2


async def test_clear_keeps_what_the_system_says() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["hi"]), history=PAST)
        await chat.clear()
        assert chat.history() == PAST[:1]
        assert await chat.rewind() == 1
        await chat.say("hello")
        assert len(chat.history()) == 3


async def test_a_rewind_waits_for_the_turn_that_runs() -> None:
    started, go = anyio.Event(), anyio.Event()

    @tool
    async def wait() -> str:
        started.set()
        await go.wait()
        return "done"

    async with Runtime() as runtime, anyio.create_task_group() as tasks:
        await runtime.serve(wait)
        chat = await runtime.converse(model=scripted([("wait",), "done"]))
        tasks.start_soon(chat.say, "wait")
        await started.wait()
        branch = await chat.branch()
        assert branch.history() == [UserMessage("wait")]
        tasks.start_soon(chat.clear)
        await anyio.wait_all_tasks_blocked()
        assert chat.history() == [UserMessage("wait")]
        go.set()
        await anyio.wait_all_tasks_blocked()
        assert chat.history() == []


async def test_a_paused_turn_is_left_by_a_rewind() -> None:
    @tool(confirm=True)
    async def erase() -> str:
        return "gone"

    async with Runtime() as runtime:
        await runtime.serve(erase)
        chat = await runtime.converse(model=scripted([("erase",), "well"]))
        reply = await chat.say("erase")
        assert reply.ended == "paused"
        await chat.rewind()
        assert chat.pending == ()
        with pytest.raises(ToolwireError, match="no call of this conversation waits"):
            await chat.answer(reply.pending[0], "approve")
        assert (await chat.say("sorry")).text == "well"
        assert len(chat.history()) == 2
