"""Answers of a type, and what users show: whole turns on every bus."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
import pydantic
import pytest

from strict.asking import speaking
from strict.judge import FORMATS, objection_to
from strict.said import call, said, text, thought
from toolwire import (
    Agent,
    AssistantMessage,
    Blob,
    Chat,
    History,
    Misuse,
    ModelReply,
    ModelRequest,
    Reply,
    Runtime,
    Secret,
    TextDelta,
    ToolwireError,
    TurnFinished,
    UserMessage,
    run,
    scripted,
    tool,
)
from toolwire.protocol.messages import Say
from toolwire.protocol.said import LARGEST
from toolwire.runtime.testing import interruptions

pytestmark = pytest.mark.anyio

PNG = Blob("image/png", b"\x89PNG", "a.png")
PDF = Blob("application/pdf", url="https://example.org/a.pdf")
RIGHT = '{"city": "Rome", "days": 2}'
WRONG = '{"city": "Rome"}'


class Trip(msgspec.Struct):
    city: str
    days: int


class Even(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("it has to be even")
        return number


@tool
async def look() -> str:
    return "sunny"


def shape(chat: Chat) -> str:
    """Who said something, in order."""
    return "".join(type(message).__name__[0] for message in chat.history())


async def replied(chat: Chat, *, followed: bool) -> Reply:
    """The reply to "go", said or followed."""
    if not followed:
        return await chat.say("go")
    async with chat.stream("go") as events:
        last = [event async for event in events][-1]
    assert isinstance(last, TurnFinished)
    return last.reply


async def test_an_answer_is_of_the_type_that_was_asked_for(bus: Any, valid: Any) -> None:
    model = scripted([("look",), f"Here you are: {RIGHT}", "no trip at all"])
    async with bus.open(look) as runtime:
        chat = await runtime.converse(Agent("a", model, output=Trip), id="answers")
        reply = await chat.say("go")
        assert (reply.ended, reply.output, reply.rounds) == ("answered", Trip("Rome", 2), 2)
        assert reply.text == f"Here you are: {RIGHT}"
        assert {request.output["title"] for request in model.requests if request.output} == {"Trip"}
        assert (await chat.say("talk", output=str)).output == "no trip at all"
        assert model.requests[-1].output is None
        assert valid(chat, model)


async def test_a_model_mends_what_does_not_fit(bus: Any, valid: Any) -> None:
    model = scripted(["Rome!", WRONG, f"```json\n{RIGHT}\n```"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model, id="mended")
        reply = await chat.say("go", output=Trip)
        assert (reply.ended, reply.output, reply.rounds) == ("answered", Trip("Rome", 2), 3)
        assert shape(chat) == "UAUAUA"
        first, second = (request.messages[-1] for request in model.requests[1:])
        assert isinstance(first, UserMessage)
        assert '"required":["city","days"]' in first.text
        assert isinstance(second, UserMessage)
        assert 'the required key "days"' in second.text
        assert valid(chat, model)


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_after_so_many_tries_the_turn_has_failed(memory: Any, valid: Any, retries: int) -> None:
    model = scripted([WRONG] * 9)
    async with memory.open() as runtime:
        chat = await runtime.converse(model=model, output=Trip, output_retries=retries)
        reply = await chat.say("go")
        assert (reply.ended, reply.rounds, reply.output, reply.text) == ("failed", retries + 1, None, WRONG)
        assert reply.failure.code == "invalid_output"
        assert reply.failure.details["errors"][0]["expected"] == 'the required key "days"'
        assert shape(chat) == "UA" * (retries + 1)
        assert valid(chat, model)


async def test_a_correction_is_a_round_like_any_other(memory: Any) -> None:
    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted([WRONG] * 9), output=Trip, limits={"rounds": 2})
        reply = await chat.say("go")
        assert (reply.ended, reply.rounds, reply.failure.code) == ("rounds", 2, "invalid_output")


@pytest.mark.parametrize(
    ("finish", "ended"), [("refused", "refused"), ("length", "tokens"), ("filtered", "filtered"), ("stop", "failed")]
)
async def test_what_is_no_answer_is_not_looked_at(memory: Any, finish: str, ended: str) -> None:
    async with memory.open() as runtime:
        model = scripted([ModelReply("I can't", finish=finish)])
        chat = await runtime.converse(model=model, output=Trip, output_retries=0)
        reply = await chat.say("go")
        assert (reply.ended, reply.output, reply.text) == (ended, None, "I can't")
        assert (reply.failure is not None) == (ended == "failed")


async def test_a_followed_turn_tells_both_answers(bus: Any) -> None:
    async with bus.open() as runtime:
        chat = await runtime.converse(model=scripted([WRONG, RIGHT]))
        async with chat.stream("go", output=Trip) as events:
            told = [event async for event in events]
        assert "".join(event.text for event in told if isinstance(event, TextDelta)) == WRONG + RIGHT
        assert isinstance(told[-1], TurnFinished)
        assert told[-1].reply.output == Trip("Rome", 2)
        assert json.loads(msgspec.json.encode(told[-1]))["reply"]["output"] == {"city": "Rome", "days": 2}


class Ride(pydantic.BaseModel):
    to: str
    paid_by: str = pydantic.Field(default="card", alias="paidBy")


@dataclass
class Booked:
    rides: list[Ride]
    where: Path
    pin: Secret[str]


@pytest.mark.parametrize("followed", [False, True])
@pytest.mark.parametrize(
    ("kind", "answer", "value", "written"),
    [
        (Ride, '{"to": "Rome"}', Ride(to="Rome"), {"to": "Rome", "paidBy": "card"}),
        (list[Ride], '[{"to": "Rome", "paidBy": "x"}]', [Ride(to="Rome", paidBy="x")], [{"to": "Rome", "paidBy": "x"}]),
        (Path, '"a/b"', Path("a/b"), "a/b"),
        (
            Booked,
            '{"rides": [], "where": "b", "pin": "1234"}',
            Booked([], Path("b"), Secret("1234")),
            {"rides": [], "where": "b", "pin": "***"},
        ),
    ],
)
async def test_every_event_is_json_whatever_the_type_of_the_answer(
    bus: Any, kind: Any, answer: str, value: Any, written: Any, followed: Any
) -> None:
    async with bus.open() as runtime:
        chat = await runtime.converse(model=scripted([answer]), output=kind, id="json")
        reply = await replied(chat, followed=followed)
        assert (reply.output, type(reply.output), reply.ended) == (value, type(value), "answered")
        event = json.loads(msgspec.json.encode(TurnFinished(reply, 3)))
        assert event["reply"].pop("output") == written
        assert event["reply"].keys() == {"text", "usage", "rounds"}


async def test_a_validator_of_pydantic_is_heard_by_the_model(bus: Any) -> None:
    model = scripted(['{"number": 3}', '{"number": 4}', '{"number": 5}', '{"number": 6}'])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model, id="even")
        assert (await chat.say("go", output=Even)).output == Even(number=4)
        assert "it has to be even" in model.requests[1].messages[-1].text  # type: ignore[union-attr]  # a user's
        assert (await chat.say("go", output=Even.model_json_schema())).output == {"number": 5}
        assert (await chat.say("go", output=Literal["a"] | Even)).output == Even(number=6)


async def test_says_that_wait_for_each_other_keep_their_types(memory: Any) -> None:
    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted([RIGHT, "[1]", "yes", RIGHT]), output=Trip)
        replies: dict[Any, Reply] = {}

        async def say(kind: Any) -> None:
            replies[kind] = await chat.say("go", output=kind)

        async with anyio.create_task_group() as saying:
            for kind in (None, list[int], Literal["yes", "no"], dict[str, Any]):
                saying.start_soon(say, kind)
                await anyio.lowlevel.checkpoint()
        assert [reply.output for reply in replies.values()] == [
            Trip("Rome", 2),
            [1],
            "yes",
            {"city": "Rome", "days": 2},
        ]


async def test_a_paused_turn_keeps_the_type_that_it_was_asked_for(memory: Any) -> None:
    @tool(confirm=True)
    async def pay() -> int:
        return 1

    async with memory.open(pay) as runtime:
        chat = await runtime.converse(model=scripted([("pay",), WRONG, RIGHT]))
        paused = await chat.say("go", output=Trip)
        assert (paused.ended, paused.output) == ("paused", None)
        reply = await chat.answer(paused.pending[0], "approve")
        assert reply is not None
        assert (reply.ended, reply.output) == ("answered", Trip("Rome", 2))


@pytest.mark.parametrize("output", [Trip, {"type": "object", "required": ["days"]}], ids=["type", "schema"])
async def test_an_agent_as_a_tool_has_its_value_for_a_result(bus: Any, output: Any) -> None:
    planner = Agent("planner", scripted([WRONG, RIGHT]), tools=[], output=output)
    async with bus.open(planner) as runtime:
        spec = runtime.tools["planner"]
        assert "days" in json.dumps(spec.returns)
        result = await runtime.call("planner", {"message": "go"})
        assert result.value == {"city": "Rome", "days": 2}


async def test_an_agent_as_a_tool_that_does_not_fit_fails(memory: Any) -> None:
    async with memory.open(Agent("planner", scripted([WRONG] * 3), tools=[], output=Trip)) as runtime:
        result = await runtime.call("planner", {"message": "go"})
        assert result.failure.code == "invalid_output"


async def test_a_null_may_be_the_answer(memory: Any) -> None:
    async with memory.open(Agent("planner", scripted(["null"]), tools=[], output=Trip | None)) as runtime:
        assert (await runtime.call("planner", {"message": "go"})).value is None


async def test_a_stranger_asks_by_schema(memory: Any) -> None:
    async with memory.open() as runtime:
        chat = await runtime.converse(model=scripted(["[1, 2]"]), id="open")
        context = runtime._context()
        schema = {"type": "array", "items": {"type": "integer"}}
        assert (await context.ask(chat.address, Say("go", output=schema))).reply.output == [1, 2]
        with pytest.raises(ToolwireError, match="no usable JSON Schema") as raised:
            await context.ask(chat.address, Say("go", output={"type": "arry"}))
        assert raised.value.failure.code == "invalid_call"
        assert shape(chat) == "UA"


async def test_what_can_not_be_asked_for_is_refused_at_once(memory: Any) -> None:
    async with memory.open() as runtime:
        model = scripted([])
        for wrong in (object(), "Trip", [Trip]):
            with pytest.raises(Misuse, match="JSON Schema"):
                Agent("a", model, output=wrong)
            with pytest.raises(Misuse, match="JSON Schema"):
                await runtime.converse(model=model, output=wrong)
            chat = await runtime.converse(model=model)
            with pytest.raises(Misuse, match="JSON Schema"):
                await chat.say("go", output=wrong)
            with pytest.raises(Misuse, match="JSON Schema"):
                chat.stream("go", output=wrong)
        with pytest.raises(Misuse, match="output_retries must be a whole number"):
            Agent("a", model, output_retries=-1)
        with pytest.raises(Misuse, match="is said is a text"):
            await chat.say(7)
        assert model.requests == []


def test_a_program_without_a_loop_gets_it_too() -> None:
    assert run(Agent("a", scripted([RIGHT]), output=Trip), "go").output == Trip("Rome", 2)


async def test_what_is_shown_reaches_the_model_in_its_place(bus: Any, valid: Any) -> None:
    model = scripted(["a cat", "both", "none"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model, id="shown")
        assert (await chat.say("What is this?", PNG)).text == "a cat"
        assert (await chat.say(["Compare", PNG, "with", PDF])).text == "both"
        async with chat.stream("And?", PNG) as events:
            assert isinstance([event async for event in events][-1], TurnFinished)
        one, two, three = (message for message in chat.history() if isinstance(message, UserMessage))
        assert one == UserMessage("What is this?", (PNG,))
        assert two == UserMessage("Compare with", (PNG, PDF), (7, 12))
        assert three == UserMessage("And?", (PNG,))
        assert list(model.requests[-1].messages) == list(chat.history())[:-1]
        content = chat.history().to_openai()[2]["content"]
        assert [part["type"] for part in content] == ["text", "image_url", "text", "text"]
        assert "example.org/a.pdf" in content[-1]["text"]
        assert "PNG" not in repr(chat) + repr(one) + repr(chat.history())
        assert valid(chat, model)


async def test_what_is_too_large_to_be_shown_leaves_no_trace(bus: Any, valid: Any) -> None:
    model = scripted(["fine"] * 3)
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("look", Blob("image/png", b"x" * (LARGEST + 1)))
        assert (reply.ended, reply.failure.code) == ("failed", "too_large")
        assert shape(chat) == ""
        reply = await chat.say("look", Blob("image/png", b"x" * 2_000_000))
        if bus.name == "every-hop":  # the broker carries 1 MiB at once
            assert (reply.ended, reply.failure.code) == ("failed", "too_large")
            assert shape(chat) == ""
        else:
            assert (reply.ended, shape(chat)) == ("answered", "UA")
        assert (await chat.say("go on")).text == "fine"
        assert valid(chat, model)
        assert isinstance(chat.history()[-1], AssistantMessage)


async def test_a_tool_hears_of_no_bytes(memory: Any) -> None:
    async with memory.open(look) as runtime:
        chat = await runtime.converse(model=scripted([("look",), "ok"]))
        reply = await chat.say("look", PNG)
        assert reply.calls[0].value == "sunny"
        assert not any("PNG" in repr(event) for event in reply.calls)


async def planning(request: ModelRequest) -> Any:
    """A tool first; then an answer that does not fit, until it was said what is wrong."""
    await anyio.lowlevel.checkpoint()
    last = request.messages[-1]
    if isinstance(last, UserMessage):
        return RIGHT if last.text.startswith("the answer is not") else [("look",)]
    return WRONG


@pytest.mark.parametrize("way", ["suspension", "turn", "interrupted"])
async def test_broken_off_at_every_point_the_history_is_taken_by_all(memory: Any, valid: Any, way: Any) -> None:
    @tool
    async def look() -> str:
        await anyio.lowlevel.checkpoint()
        return "sunny"

    model = scripted([planning] * 10_000)
    async with memory.open(look) as runtime:
        chats: list[Chat] = []

        async def turn() -> None:
            chats.append(await runtime.converse(model=model, output=Trip))
            async with chats[-1].stream(["see", PNG, "and", PDF]) as events:
                async for event in events:
                    assert not isinstance(event, TurnFinished) or event.reply.output in (Trip("Rome", 2), None)

        async def ended() -> None:
            history = chats[-1].history()
            assert valid(history)
            assert not any(objection_to(wire, list(history)) for wire in FORMATS)
            assert (await chats[-1].say("and now?")).output == Trip("Rome", 2)
            assert valid(chats[-1])

        act = (
            (lambda: chats[-1].interrupt() if chats else anyio.lowlevel.checkpoint()) if way == "interrupted" else None
        )
        points = await interruptions(turn, ended, "turn" if way == "interrupted" else way, act=act)
        assert points >= (2 if way == "suspension" else 3)  # how many is for the scheduler to say


@pytest.mark.usefixtures("few_authorities")
@pytest.mark.parametrize("wire", FORMATS)
async def test_a_hosted_model_is_held_to_the_schema_and_corrected(wire: str) -> None:
    answers = said(text("Rome!")), said(text('{"value": [{"city": "Rome", "days": 2}]}'))
    async with speaking(wire, *answers) as (model, provider), Runtime() as runtime:
        chat = await runtime.converse(model=model)
        assert (await chat.say("Where is this?", PNG, output=list[Trip])).output == [Trip("Rome", 2)]
        first, second = provider.raw
        assert b"additionalProperties" in first
        assert b"iVBORw==" in first
        assert b"the answer is not what was asked for" in second


async def test_a_runtime_that_is_closed_says_so(memory: Any) -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([]), output=Trip)
    with pytest.raises(Misuse, match="not open"):
        await chat.say("go")


@pytest.mark.parametrize("untrusted", [True, False])
async def test_a_url_that_strangers_may_have_written_is_not_handed_on(bus: Any, valid: Any, untrusted: Any) -> None:
    far = {"$blob": "image/png", "url": "https://evil.example/?q=all+that+it+knows"}

    @tool(untrusted=untrusted)
    async def page() -> dict[str, Any]:
        return {"title": "a page", "image": far}

    model = scripted([("page",), "ok"])
    async with bus.open(page) as runtime:
        chat = await runtime.converse(model=model)
        reply = await chat.say("read it")
        assert reply.calls[0].value["image"] == far
        for history in (chat.history(), History(list(model.requests[1].messages))):
            told = [json.dumps(history.to_anthropic()), json.dumps(history.to_openai_responses())]
            assert all(("evil.example" in each, "left_out" in each) == (True, untrusted) for each in told)
        assert valid(chat, model)


@pytest.mark.parametrize("followed", [True, False])
async def test_an_answer_that_the_bus_does_not_carry_leaves_a_history(bus: Any, valid: Any, followed: Any) -> None:
    model = scripted(["It is " + "x" * 2_000_000, "fine"])
    async with bus.open() as runtime:
        chat = await runtime.converse(model=model)
        reply = await replied(chat, followed=followed)
        assert reply.ended == ("failed" if bus.name == "every-hop" else "answered")
        assert shape(chat) in ({"UA"} if followed or reply.failure is None else {""})
        assert not any(objection_to(wire, list(chat.history())) for wire in FORMATS)
        assert (await chat.say("go on")).text == "fine"
        assert valid(chat, model)


@pytest.mark.usefixtures("few_authorities")
@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("wire", FORMATS)
async def test_a_model_that_thinks_and_calls_is_corrected_in_between(wire: str, followed: Any) -> None:
    answers = [
        said(thought("first"), text("let me look"), call("look")),
        said(thought("then"), text(WRONG)),
        said(thought("once more"), call("look")),
        said(thought("nothing to say"), text("")),
        said(thought("now"), text(RIGHT)),
        said(text("fine")),
    ]
    async with speaking(wire, *answers) as (model, _provider), Runtime() as runtime:
        chat = await runtime.converse(model=model, tools=[look], output=Trip)
        reply = await replied(chat, followed=followed)
        assert (reply.ended, reply.output, reply.text, reply.rounds) == ("answered", Trip("Rome", 2), RIGHT, 5)
        assert (await chat.say("and then?", output=str)).output == "fine"
        assert shape(chat) == "UATAUATAUAUA"
        assert not any(objection_to(each, list(chat.history())) for each in FORMATS)


@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("size", [300_000, 600_000])
async def test_a_reply_is_never_lost_for_its_size(bus: Any, valid: Any, size: int, followed: Any) -> None:
    @tool
    async def large() -> str:
        return "y" * 240_000

    answer = json.dumps({"city": "x" * size, "days": 1})
    async with bus.open(large) as runtime:
        model = scripted([[("large",), ("large",)], answer, RIGHT])
        chat = await runtime.converse(model=model, id="named", output=Trip)
        reply = await replied(chat, followed=followed)
        assert shape(chat) == "UATTA"
        if not bus.remote:
            assert (reply.ended, reply.text) == ("answered", answer)
        elif size == 300_000:  # said twice, as text and as output: the results have no room beside
            assert (reply.ended, reply.text, reply.output) == ("answered", answer, Trip("x" * size, 1))
            assert {result.failure and result.failure.code for result in reply.calls} == {"too_large"}
        else:
            assert (reply.ended, reply.text) == ("failed", "")
            assert reply.failure is not None
            assert reply.failure.code == "too_large"
            assert "stands in the history" in reply.failure.message
        assert (await chat.say("go on")).output == Trip("Rome", 2)
        assert valid(chat, model)
