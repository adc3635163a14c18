"""What a model was asked and answered is written down, and spoken again to who asks the same."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from toolwire import Agent, Runtime, tool
from toolwire.actors.models.contract import ModelEvent, ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.scripted import scripted, spoken
from toolwire.models import record, replayed
from toolwire.protocol.events import Usage
from toolwire.protocol.failures import Failure, Misuse, ToolwireError
from toolwire.protocol.history import Opaque, UserMessage
from toolwire.runtime.testing import interruptions

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest([UserMessage("?")], settings={"seed": 1})
DOWN = ToolwireError(Failure("rate_limited", "later", retryable=True, retry_after=2.0))


@tool(read_only=True)
def add(a: int, b: int) -> int:
    return a + b


async def heard(model: StreamingModel, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    async with model.stream(request) as events:
        return [event async for event in events]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def conversed(model: Any, *said: str) -> list[Any]:
    told: list[Any] = []
    async with Runtime() as runtime:
        chat = await runtime.converse(Agent("a", model=model, tools=[add], system="Add."))
        for each in said:
            async with chat.stream(each) as events:
                told += [type(event).__name__ async for event in events]
            told.append((await chat.say(each)).text)
    return told


async def test_a_conversation_is_spoken_again(tmp_path: Path) -> None:
    steps: list[Any] = [["I add", ("add", {"a": 1, "b": 2})], "It is 3", ("add", {"a": 2, "b": 2}), "It is 4"]
    path = tmp_path / "turns.jsonl"
    first = await conversed(record(scripted(steps), path), "1 + 2?")
    assert await conversed(replayed(path), "1 + 2?") == first
    assert await conversed(scripted(path), "1 + 2?") == first
    written = lines(path)
    assert [(each.get("known", 0), len(each["messages"])) for each in written] == [(0, 2), (2, 2), (4, 2), (6, 2)]
    assert list(written[0]["tools"]) == ["add"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_all_of_an_answer_is_kept_and_failures_too(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    whole = ModelReply("so", (), Usage(3, 4), "length", (Opaque("p", '{"a":1}', maker="m"),), "m-1")
    model = record(scripted([whole, DOWN, whole, spoken([("add",), ("add",)], raises=DOWN, after=1)]), path)
    again: Any = None
    for use in (model, None):
        asked: Any = use or replayed(path)
        assert await asked.complete(REQUEST) == whole
        with pytest.raises(ToolwireError) as raised:
            await asked.complete(REQUEST)
        assert raised.value.failure == DOWN.failure
        told = await heard(asked)
        assert again is None or told == again
        again = told
        async with asked.stream(REQUEST) as events:
            assert (await anext(aiter(events))).position == 0
            with pytest.raises(ToolwireError, match="later"):
                await anext(aiter(events))
    assert json.loads(json.dumps(lines(path)[0]["settings"])) == {"seed": 1}


async def test_who_asks_something_else_is_told_what(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    await record(scripted(["one", "two"]), path).complete(REQUEST)
    with pytest.raises(ToolwireError, match="it has 2 messages, the recorded one had 1"):
        await replayed(path).complete(ModelRequest([UserMessage("?")] * 2))
    with pytest.raises(ToolwireError, match=r'its last message is .*"!".*the recorded one was .*"\?"'):
        await heard(replayed(path), ModelRequest([UserMessage("!")]))
    assert (await replayed(path, strict=False).complete(ModelRequest([]))).text == "one"
    model = replayed(path)
    await model.complete(REQUEST)
    assert repr(model) == f"<Replayed {path} [spoken: 1 | left: 0]>"
    with pytest.raises(ToolwireError, match="no further request"):
        await model.complete(REQUEST)


async def test_conversations_at_once_each_find_their_own(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    model = record(scripted(["a1", "b1", "a2"]), path)
    for conversation, text in (("x", "a"), ("y", "b"), ("x", "a")):
        await model.complete(ModelRequest([UserMessage(text)], conversation=conversation))
    again = replayed(path)
    said = [
        (await again.complete(ModelRequest([UserMessage(text)], conversation=conversation))).text
        for conversation, text in (("1", "b"), ("2", "a"), ("2", "a"))
    ]
    assert said == ["b1", "a1", "a2"]


async def test_what_was_cancelled_is_written_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "left.jsonl"
    path.touch()
    made: list[Any] = []

    async def work() -> None:
        made.append(record(scripted([spoken("slow")]), path))
        await heard(made[-1])

    async def ended() -> None:
        await made[-1].aclose()

    points = await interruptions(work, ended, "suspension")
    codes = [each.get("failure", {}).get("code") for each in lines(path)]
    assert len(codes) == points + 1
    assert codes[0] == "cancelled"
    assert codes[-1] is None
    model = record(scripted(["a b"]), path)
    async with model.stream(REQUEST) as events:
        await anext(aiter(events))
    assert lines(path)[-1]["failure"]["code"] == "cancelled"


async def test_what_can_not_be_written_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolwireError, match="storage_failed"):
        await record(scripted(["a"]), tmp_path / "nowhere" / "a.jsonl").complete(REQUEST)
    with pytest.raises(Misuse, match="can't be read"):
        replayed(tmp_path / "missing.jsonl")
    (tmp_path / "other.jsonl").write_text('{"reply": 1}\n', encoding="utf-8")
    with pytest.raises(Misuse, match="line 1 of"):
        replayed(tmp_path / "other.jsonl")
    model = record(scripted([]), tmp_path / "r")
    assert repr(model) == f"<Recording <Scripted [steps: 0 | spoken: 0]> to {tmp_path / 'r'}>"


async def test_a_writer_that_was_killed_leaves_a_recording(tmp_path: Path) -> None:
    """However much of its last line came to the disk, and whoever goes on writing."""
    path = tmp_path / "torn.jsonl"
    await record(scripted(["one ä"]), path).complete(REQUEST)
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole + whole[:length])
        said = scripted(path)
        assert (await said.complete(REQUEST)).text == "one ä"
        if length % 40 == 0:
            await record(scripted(["two"]), path).complete(REQUEST)
            said = replayed(path)
            assert [(await said.complete(REQUEST)).text for _ in range(2)] == ["one ä", "two"]


async def test_a_long_message_is_shown_where_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    await record(scripted(["a"]), path).complete(ModelRequest([UserMessage("x" * 900 + " at 10:15")]))
    with pytest.raises(ToolwireError, match=r"at 10:16.*, the recorded one was .*at 10:15.*strict=False"):
        await replayed(path).complete(ModelRequest([UserMessage("x" * 900 + " at 10:16")]))
