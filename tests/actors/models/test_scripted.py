from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from toolwire.actors.models.contract import ModelReply, ModelRequest, StreamingModel
from toolwire.actors.models.scripted import Scripted, scripted, spoken
from toolwire.protocol.events import CallSpoken, ReasoningDelta, TextDelta, Usage
from toolwire.protocol.failures import Misuse, ToolwireError
from toolwire.protocol.history import AssistantMessage, History, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall

pytestmark = pytest.mark.anyio

REQUEST = ModelRequest([UserMessage("?")])


async def heard(model: Scripted, request: ModelRequest = REQUEST) -> list[object]:
    async with model.stream(request) as events:
        return [event async for event in events]


async def test_each_kind_of_step() -> None:
    mine = ToolCall("mine", "search", {"q": 1})
    whole = ModelReply("whole", usage=Usage(3, 4), finish="length")
    model = scripted([
        "text",
        ("get_weather", {"city": "Paris"}),
        ("torn", '{"a": '),
        ("now",),
        mine,
        ["beside ", ("a", {}), mine, "it", ("b", {})],
        whole,
        [],
    ])  # fmt: skip
    replies = [await model.complete(REQUEST) for _ in range(8)]
    assert replies == [
        ModelReply("text"),
        ModelReply("", (ToolCall("call_1", "get_weather", {"city": "Paris"}),), finish="calls"),
        ModelReply("", (ToolCall("call_2", "torn", '{"a": '),), finish="calls"),
        ModelReply("", (ToolCall("call_3", "now", {}),), finish="calls"),
        ModelReply("", (mine,), finish="calls"),
        ModelReply("beside it", (ToolCall("call_4", "a", {}), mine, ToolCall("call_5", "b", {})), finish="calls"),
        whole,
        ModelReply(""),
    ]


async def test_made_up_ids_keep_clear_of_given_ones() -> None:
    model = scripted([("a", {}), ToolCall("call_1", "b"), [("c", {}), ToolCall("call_3", "d")], ("e", {})])
    ids = [call.id for _ in range(4) for call in (await model.complete(REQUEST)).calls]
    assert ids == ["call_2", "call_1", "call_4", "call_3", "call_5"]


async def test_functions_of_the_request() -> None:
    async def later(request: ModelRequest) -> str:
        return f"{len(request.messages)} messages"

    model = scripted([lambda request: ("echo", {"heard": len(request.messages)}), later])
    assert (await model.complete(REQUEST)).calls == (ToolCall("call_1", "echo", {"heard": 1}),)
    assert (await model.complete(REQUEST)).text == "1 messages"


async def test_what_a_function_gives_is_checked_too() -> None:
    model = scripted([lambda _: {"no": "step"}])  # type: ignore[list-item,return-value]  # that is what is tested
    with pytest.raises(Misuse, match="step 1"):
        await model.complete(REQUEST)


async def test_exceptions_are_raised() -> None:
    model = scripted([ConnectionError("down"), "up"])
    with pytest.raises(ConnectionError, match="down"):
        await model.complete(REQUEST)
    assert (await model.complete(REQUEST)).text == "up"


async def test_the_end_of_the_script_is_a_typed_failure() -> None:
    model = scripted(["only"])
    await model.complete(REQUEST)
    with pytest.raises(ToolwireError, match="the script has 1 step and was asked for step 2") as raised:
        await model.complete(REQUEST)
    assert raised.value.failure.code == "model_failed"
    with pytest.raises(ToolwireError, match="step 3"):
        await heard(model)


async def test_requests_show_what_was_sent_then() -> None:
    messages: list[HistoryMessage] = [UserMessage("one")]
    model = scripted(["a", "b"])
    await model.complete(ModelRequest(History(messages)))
    messages.append(UserMessage("two"))
    await heard(model, ModelRequest(History(messages)))
    assert [list(request.messages) for request in model.requests] == [messages[:1], messages]


@pytest.mark.parametrize("text", ["", "one", "  two  words\n", "Grüße 🌤"])
async def test_the_words_of_a_stream_are_its_text(text: str) -> None:
    *deltas, call, reply = await heard(scripted([[text, ("a", {})]]))
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == text
    assert call == CallSpoken(ToolCall("call_1", "a", {}), 0)
    assert len(deltas) == len(text.split())
    assert reply == ModelReply(text, (ToolCall("call_1", "a", {}),), finish="calls")


async def test_calls_are_told_in_order_before_the_reply() -> None:
    mine = ToolCall("mine", "b")
    *told, reply = await heard(scripted([["so", ("a", {}), mine, ("c",)]]))
    calls = (ToolCall("call_1", "a", {}), mine, ToolCall("call_2", "c", {}))
    assert told == [TextDelta("so"), *[CallSpoken(call, position) for position, call in enumerate(calls)]]
    assert reply == ModelReply("so", calls, finish="calls")


async def times(model: Scripted) -> list[float]:
    """When each event of the next step comes, in seconds of the loop."""
    began = anyio.current_time()
    async with model.stream(REQUEST) as events:
        return [anyio.current_time() - began async for _ in events]


def test_a_slow_step_takes_its_time() -> None:
    model = scripted([spoken(["one two", ("a",), ("b",)], every=0.25, then=0.5), spoken("text", then=0.25), "quick"])
    clock = MockClock(autojump_threshold=0)
    said = [trio.run(times, model, clock=clock) for _ in range(3)]
    assert said == [[0, 0, 0.25, 0.5, 1.0], [0, 0.25], [0, 0]]


def test_a_slow_step_takes_as_long_in_one_piece() -> None:
    async def answered() -> float:
        began = anyio.current_time()
        await scripted([spoken([("a",), ("b",)], every=0.25, then=0.5)]).complete(REQUEST)
        return anyio.current_time() - began

    assert trio.run(answered, clock=MockClock(autojump_threshold=0)) == 1.0


@pytest.mark.parametrize(("after", "calls"), [(None, 2), (1, 1), (0, 0)])
async def test_a_step_that_breaks_off(after: int | None, calls: int) -> None:
    step = spoken(["so", ("a",), ("b",)], raises=ConnectionError("gone"), after=after)
    model = scripted([step, step])
    told: list[object] = []

    async def hear() -> None:
        async with model.stream(REQUEST) as events:
            async for event in events:
                told.append(event)  # noqa: PERF401 - what was told before it raises is what is looked at

    with pytest.raises(ConnectionError, match="gone"):
        await hear()
    assert [type(event) for event in told] == [TextDelta, *[CallSpoken] * calls]
    with pytest.raises(ConnectionError, match="gone"):
        await model.complete(REQUEST)


async def test_a_function_may_give_a_slow_step() -> None:
    model = scripted([lambda _: spoken(("a",))])
    assert [type(event) for event in await heard(model)] == [CallSpoken, ModelReply]


async def test_what_is_said_slowly_is_checked_too() -> None:
    with pytest.raises(Misuse, match="step 1"):
        scripted([spoken(7)])  # type: ignore[arg-type]  # that is what is tested


async def test_a_stream_can_be_left() -> None:
    model = scripted(["one two three", "next"])
    async with model.stream(REQUEST) as events:
        assert await anext(events) == TextDelta("one ")
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    assert (await model.complete(REQUEST)).text == "next"


@pytest.mark.parametrize("step", [7, None, ("a", 1), ("a", {}, {}), [["nested"]], {"a": 1}], ids=repr)
async def test_what_is_no_step_is_refused_with_its_place(step: object) -> None:
    with pytest.raises(Misuse, match="step 2"):
        scripted(["fine", step])  # type: ignore[list-item]  # that is what is tested


async def test_a_text_is_no_script() -> None:
    with pytest.raises(Misuse, match="list of steps"):
        scripted("hello")


async def test_repr_and_contract() -> None:
    model = scripted(["a", "b"])
    await model.complete(REQUEST)
    assert repr(model) == "<Scripted [steps: 2 | spoken: 1]>"
    assert isinstance(model, StreamingModel)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([UserMessage("go " * 100)], "after the user said 'go go go"),
        ([UserMessage("go"), ToolMessage("1", "look", '"up"')], "after 'look' gave \"up\""),
        ([UserMessage("go"), AssistantMessage("gone")], "after it said 'gone'"),
        ([], "before anybody spoke"),
    ],
    ids=len,
)
async def test_a_script_that_is_over_says_what_it_was_asked_after(messages: list[Any], said: str) -> None:
    with pytest.raises(ToolwireError) as caught:
        await scripted([]).complete(ModelRequest(messages))
    assert said in caught.value.failure.message
    assert len(caught.value.failure.message) < 250


async def test_what_nobody_asked_for_is_told() -> None:
    model = scripted(["one", "two"])
    assert list(model.unspoken) == ["one", "two"]
    await model.complete(REQUEST)
    assert list(model.unspoken) == ["two"]
    await model.complete(REQUEST)
    assert not model.unspoken
    with pytest.raises(ToolwireError):
        await model.complete(REQUEST)
    assert not model.unspoken


async def test_reasoning_is_heard_before_all_else_and_is_no_part_of_the_answer() -> None:
    step: Any = [ReasoningDelta("Let me "), ReasoningDelta("see."), "I look.", ("look", {})]
    *told, reply = await heard(scripted([step]))
    assert told == [
        ReasoningDelta("Let me "),
        ReasoningDelta("see."),
        TextDelta("I "),
        TextDelta("look."),
        CallSpoken(ToolCall("call_1", "look", {}), 0),
    ]
    assert reply == ModelReply("I look.", (ToolCall("call_1", "look", {}),), finish="calls")
    assert await scripted([step]).complete(REQUEST) == reply
