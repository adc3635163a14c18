"""One suite for every hosted model: the real SDKs against providers as strict as theirs, whole and streamed."""

import json
from base64 import b64encode
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import to_thread

from strict.asking import MODELS, WAYS, answered, ask, said_by, speaking
from strict.judge import FORMATS
from strict.provider import Delivery, Provider
from strict.said import Counted, Finish, call, said, searched, text, thought
from strict.spoken import Ollama
from toolwire.actors.models.contract import Model, ModelReply, ModelRequest, StreamingModel
from toolwire.protocol.blob import Blob
from toolwire.protocol.events import Usage
from toolwire.protocol.failures import Misuse
from toolwire.protocol.history import (
    AssistantMessage,
    History,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from toolwire.protocol.tools import ToolCall, ToolSpec

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("few_authorities")]

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = ToolSpec("get_weather", "Weather", CITY)
DOTTED = ToolSpec("calendar.create event", "A name that nobody takes")
ASKED: list[HistoryMessage] = [SystemMessage("Be brief."), UserMessage("Weather?")]
SEALS = ("gAAA", "Er/", "hidden-", "reasoning_content", "hm!")
"""What only the one who said it may hear again."""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLWIRE_NO_MODELS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=FORMATS, scope="module")
def wire(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=WAYS, scope="module")
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_a_text(wire: str, way: str) -> None:
    async with speaking(wire, said(text("Grüße, mild 🌤."))) as (model, provider):
        heard = await ask(model, ModelRequest(ASKED), way)
    usage = Usage(12, 5, 4, 2)
    assert heard.reply == ModelReply("Grüße, mild 🌤.", (), usage, "stop", model="m-1")
    assert len(provider.bodies) == 1
    assert isinstance(model, Model)
    assert isinstance(model, StreamingModel)


async def test_what_is_counted(wire: str, way: str) -> None:
    counted = Counted(1000, 200, 900, 150)
    async with speaking(wire, said(text("a"), counted=counted)) as (model, _):
        assert (await ask(model, ModelRequest(ASKED), way)).reply.usage == Usage(1000, 200, 900, 150)


async def test_calls_side_by_side_and_their_results(wire: str, way: str) -> None:
    spoken = said(
        text("Let me see."), call("get_weather", {"city": "Orléans"}), call("get_weather"), call("get_weather")
    )
    async with speaking(wire, spoken, said(text("Mild."))) as (model, provider):
        reply = (await ask(model, ModelRequest(ASKED, [WEATHER]), way)).reply
        assert [json.loads(each.text()) for each in reply.calls] == [{"city": "Orléans"}, {}, {}]
        assert len({each.id for each in reply.calls}) == 3
        assert (reply.text, reply.finish) == ("Let me see.", "calls")
        after = await ask(model, ModelRequest([*ASKED, *answered(reply)], [WEATHER]), way)
    assert after.reply.text == "Mild."
    assert provider.connections == 1


async def test_names_that_nobody_takes_lead_back(wire: str, way: str) -> None:
    async with speaking(wire) as (model, provider):
        told = model.wire.format.names.told(DOTTED.name)
        provider.answers += [said(call(told, {"a": 1})), said(text("Done."))]
        reply = (await ask(model, ModelRequest(ASKED, [WEATHER, DOTTED]), way)).reply
        assert [each.name for each in reply.calls] == [DOTTED.name]
        await ask(model, ModelRequest([*ASKED, *answered(reply)], [WEATHER, DOTTED]), way)
    assert told != DOTTED.name
    assert provider.raw[1].count(told.encode()) == 2


async def test_ids_of_before_are_not_given_again(wire: str, way: str) -> None:
    async with speaking(wire, said(call("f", {}, "fc1")), said(call("f", {}, "fc1")), said(text("x"))) as (model, _):
        history: list[HistoryMessage] = list(ASKED)
        for _ in range(2):
            history += answered((await ask(model, ModelRequest(history, [ToolSpec("f")]), way)).reply)
        ids = [each.id for message in history if isinstance(message, AssistantMessage) for each in message.calls]
        assert len(set(ids)) == 2
        await ask(model, ModelRequest(history, [ToolSpec("f")]), way)


async def test_what_it_thought_comes_back_unchanged_over_three_rounds(wire: str, way: str) -> None:
    rounds = [
        said(thought("hm! Grüße"), call("get_weather", {"city": "Paris"}), call("get_weather")),
        said(thought("hm! 🌤\n"), thought("", hidden=True), text("And"), call("get_weather", {"city": "Rome"})),
        said(thought("hm!"), text("Mild.")),
    ]
    async with speaking(wire, *rounds, said(text("Bye."))) as (model, provider):
        messages: list[HistoryMessage] = list(ASKED)
        for _ in rounds:
            request = ModelRequest(History(messages), [WEATHER], {"reasoning_effort": "high"}, "c")
            heard = await ask(model, request, way)
            assert way == "whole" or heard.reasoning.startswith("hm!")
            messages += answered(heard.reply)
        messages.append(UserMessage("Thanks."))
        await ask(model, ModelRequest(History(messages), [WEATHER], {"reasoning_effort": "high"}, "c"), way)
    seals = [part for _, answer in provider.exchanges for part in thoughts(answer)]
    assert len(seals) >= 3
    for seal in seals:
        assert json.dumps(seal, ensure_ascii=False) in json.dumps(provider.bodies[3], ensure_ascii=False)


def thoughts(answer: dict[str, Any]) -> list[Any]:
    """What of an answer is the model's own thinking."""
    parts = answer.get("output") or answer.get("content") or [answer["choices"][0]["message"]]
    sealed = ("reasoning_content", "encrypted_content", "signature", "data")
    return [part[word] for part in parts for word in sealed if word in part]


@pytest.mark.parametrize("other", FORMATS)
async def test_what_it_thought_is_nobody_elses(wire: str, other: str) -> None:
    spoken = said(thought("hm!"), thought("", hidden=True), call("get_weather", {"city": "Paris"}))
    async with speaking(wire, spoken) as (model, _):
        history = [*ASKED, *answered(await model.complete(ModelRequest(ASKED, [WEATHER])))]
    assert any(message.opaque for message in history if isinstance(message, AssistantMessage))
    async with speaking(other, said(text("Mild."))) as (model, provider):
        await model.complete(ModelRequest(history, [WEATHER]))
    assert not [seal for seal in SEALS if seal in provider.raw[0].decode()]


@pytest.mark.parametrize("wire", ["openai_responses", "anthropic"])
async def test_what_the_provider_looked_up_itself_comes_back(wire: str, way: str) -> None:
    spoken = said(searched("weather"), text("Mild, "), searched("wind"), text("calm."))
    async with speaking(wire, spoken, said(text("Bye."))) as (model, provider):
        reply = (await ask(model, ModelRequest(ASKED), way)).reply
        assert (reply.text, reply.calls, reply.finish) == ("Mild, calm.", (), "stop")
        await ask(model, ModelRequest([*ASKED, said_by(reply), UserMessage("Thanks.")]), way)
    answer = provider.exchanges[0].answer
    if wire == "anthropic":
        kinds = [block["type"] for block in provider.bodies[1]["messages"][1]["content"]]
        assert kinds == [block["type"] for block in answer["content"]]
    else:
        assert provider.bodies[1]["input"][-5:-1] == answer["output"]


CHOICES: dict[str, dict[str, Any]] = {
    "openai": {
        "auto": None,
        "none": "none",
        "required": "required",
        "get_weather": {"type": "function", "function": {"name": "get_weather"}},
    },
    "openai_responses": {
        "auto": None,
        "none": "none",
        "required": "required",
        "get_weather": {"type": "function", "name": "get_weather"},
    },
    "anthropic": {
        "auto": None,
        "none": {"type": "none"},
        "required": {"type": "any"},
        "get_weather": {"type": "tool", "name": "get_weather"},
    },
}


async def test_the_choice_of_a_tool(wire: str) -> None:
    async with speaking(wire, *[said(text("a"))] * 8) as (model, provider):
        for choice, expected in CHOICES[wire].items():
            await model.complete(ModelRequest(ASKED, [WEATHER], tool_choice=choice))
            await model.complete(ModelRequest(ASKED, tool_choice=choice))
            told, without = (body.get("tool_choice") for body in provider.bodies[-2:])
            assert told == expected
            assert without is None


async def test_a_choice_of_what_is_not_on_offer(wire: str) -> None:
    async with speaking(wire) as (model, _):
        with pytest.raises(Misuse, match="tool_choice names 'fly'"):
            await model.complete(ModelRequest(ASKED, [WEATHER], tool_choice="fly"))


async def test_a_forced_call_of_one_that_thinks(wire: str) -> None:
    async with speaking(wire, said(text("a")), settings={"reasoning_effort": "low"}) as (model, _):
        await model.complete(ModelRequest(ASKED, [WEATHER], tool_choice="required"))


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "heat": ({"temperature": 0.5}, {each: {"temperature": 0.5} for each in FORMATS}),
    "tokens": (
        {"max_tokens": 100},
        {
            "openai": {"max_tokens": 100},
            "openai_responses": {"max_output_tokens": 100},
            "anthropic": {"max_tokens": 100},
        },
    ),
    "stop": ({"stop": ["END"]}, {"openai": {"stop": ["END"]}, "anthropic": {"stop_sequences": ["END"]}}),
    "seed": ({"seed": 7}, {"openai": {"seed": 7}}),
    "effort": (
        {"reasoning_effort": "low"},
        {
            "openai": {"reasoning_effort": "low"},
            "openai_responses": {"reasoning": {"effort": "low"}},
            "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 4000}},
        },
    ),
    "extra": ({"extra": {"service_tier": "auto"}}, {each: {"service_tier": "auto"} for each in FORMATS}),
}


async def test_settings(wire: str, way: str) -> None:
    async with speaking(wire, *[said(text("a"))] * len(SETTINGS)) as (model, provider):
        for settings, expected in SETTINGS.values():
            if wire in expected:
                await ask(model, ModelRequest(ASKED, [WEATHER], settings), way)
                assert provider.bodies[-1] | expected[wire] == provider.bodies[-1]
            else:
                with pytest.raises(Misuse, match="has no equal of the setting"):
                    await model.complete(ModelRequest(ASKED, settings=settings))


async def test_one_call_at_a_time(wire: str) -> None:
    async with speaking(wire, *[said(text("a"))] * 3, settings={"parallel_calls": False}) as (model, provider):
        await model.complete(ModelRequest(ASKED, [WEATHER]))
        await model.complete(ModelRequest(ASKED, [WEATHER], tool_choice="get_weather"))
        await model.complete(ModelRequest(ASKED))
    first, forced, without = provider.bodies
    if wire == "anthropic":
        assert first["tool_choice"]["disable_parallel_tool_use"] is True
        assert forced["tool_choice"] == {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
        assert "tool_choice" not in without
    else:
        assert (first["parallel_tool_calls"], forced["parallel_tool_calls"]) == (False, False)
        assert "parallel_tool_calls" not in without


async def test_how_it_ended(wire: str, way: str) -> None:
    finishes: tuple[Finish, ...] = ("length", "filtered", "refused")
    async with speaking(wire, *(said(text("I can't say."), finish=finish) for finish in finishes)) as (model, _):
        for finish in finishes:
            reply = (await ask(model, ModelRequest(ASKED), way)).reply
            assert reply.text == "I can't say."
            # Anthropic has one word for both.
            assert reply.finish == ("refused" if wire == "anthropic" and finish == "filtered" else finish)


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "warm": {"type": "boolean"}}}
SHAPES: dict[str, dict[str, Any]] = {
    "closed": {**SCHEMA, "required": ["city", "warm"], "additionalProperties": False},
    "open": {**SCHEMA, "additionalProperties": True},
    "optional": {**SCHEMA, "required": ["city"]},
    "a list": {"type": "array", "items": {"type": "string"}},
}


@pytest.mark.parametrize("name", ["m", "claude-sonnet-4-5"])
async def test_an_answer_of_a_schema(wire: str, name: str) -> None:
    async with speaking(wire, *[said(text("{}"))] * 8, model=name) as (model, provider):
        for shape in SHAPES.values():
            await model.complete(ModelRequest(ASKED, output=shape))
            await model.complete(ModelRequest(ASKED, [WEATHER], output=shape))
            assert "string" in provider.raw[-2].decode()
            assert all(field in provider.raw[-2].decode() for field in shape.get("properties", ()))


@pytest.mark.parametrize("name", ["m", "gpt-5.1", "claude-opus-4-8", "claude-sonnet-4-5"])
async def test_models_that_think(wire: str, name: str) -> None:
    settings = {"reasoning_effort": "medium", "max_tokens": 9000}
    spoken = said(thought("hm"), call("get_weather", {"city": "Paris"}))
    async with speaking(wire, spoken, said(text("a")), model=name, settings=settings) as (model, _):
        reply = (await ask(model, ModelRequest(ASKED, [WEATHER]), "streamed")).reply
        await ask(model, ModelRequest([*ASKED, *answered(reply)], [WEATHER]), "streamed")


async def test_the_ends_of_what_stays_are_marked_for_the_cache(wire: str, way: str) -> None:
    async with speaking(wire, *[said(call("get_weather"))] * 4, cache=True) as (model, provider):
        messages: list[HistoryMessage] = list(ASKED)
        for _ in range(4):
            heard = await ask(model, ModelRequest(History(messages), [WEATHER, DOTTED], conversation="c"), way)
            messages += answered(heard.reply)
    if wire == "anthropic":
        assert all(0 < raw.count(b'"cache_control"') <= 4 for raw in provider.raw)
    else:
        assert len({body["prompt_cache_key"] for body in provider.bodies}) == 1


PNG = Blob("image/png", b"\x89PNG\r\n", "a.png")
PDF = Blob("application/pdf", b"%PDF-1.7", "a.pdf")
FAR = Blob("image/jpeg", url="https://example.org/a.jpg")
SOUND = Blob("audio/wav", b"RIFF")


async def test_what_a_user_shows_and_a_tool_returns(wire: str, way: str) -> None:
    """Images and documents go where they are taken; where not, it is said that there was one."""
    shown = json.dumps({"image": "seen", "blob": {"$blob": "image/png", "data": b64encode(PNG.data).decode()}})
    alone = json.dumps({"$blob": "image/png", "data": b64encode(PNG.data).decode()})
    calls = tuple(ToolCall(f"c{n}", "look") for n in range(2))
    history: list[HistoryMessage] = [
        UserMessage("What is this? And this?", (PNG, FAR), (13, 13)),
        AssistantMessage("", calls),
        ToolMessage("c0", "look", shown),
        ToolMessage("c1", "look", alone),
        UserMessage("", (PDF, SOUND)),
    ]
    async with speaking(wire, said(text("A cat."))) as (model, provider):
        assert (await ask(model, ModelRequest(history, [ToolSpec("look")]), way)).reply.text == "A cat."
    told = provider.raw[0].decode()
    assert told.count(b64encode(PNG.data).decode()) == (1 if wire == "openai" else 3)
    assert "https://example.org/a.jpg" in told
    assert b64encode(PDF.data).decode() in told


async def test_hostile_histories_are_made_valid(wire: str, way: str) -> None:
    calls = (
        ToolCall("x" * 200, "a name", "no json"),
        ToolCall("", "", "[1]"),
        ToolCall("c.d/e", "ok", '{"a": 1}'),
        ToolCall("ü", "x" * 100, ""),
    )
    history: list[HistoryMessage] = [
        SystemMessage("  "),
        UserMessage(""),
        AssistantMessage(" \n", ()),
        UserMessage("\t"),
        AssistantMessage("", calls, (Opaque("elsewhere", "{nope"), Opaque("openai", '{"content":7}', "none"))),
        *(ToolMessage(each.id, each.name, "" if number else '"\\ud83d"') for number, each in enumerate(calls)),
        AssistantMessage("so \n"),
        UserMessage("\x00 Grüße \u2028"),
    ]
    async with speaking(wire, said(text("fine"))) as (model, _):
        assert (await ask(model, ModelRequest(history, [WEATHER, DOTTED]), way)).reply.text == "fine"


async def test_a_conversation_goes_on_without_its_tools(wire: str, way: str) -> None:
    """As where the rounds are used up: what was called is in the history, and nothing is on offer any more."""
    async with speaking(wire, said(call("get_weather")), said(text("Mild."))) as (model, _):
        reply = (await ask(model, ModelRequest(ASKED, [WEATHER]), way)).reply
        await ask(model, ModelRequest([*ASKED, *answered(reply)], [WEATHER], tool_choice="none"), way)


async def test_connections_are_used_again(wire: str, way: str) -> None:
    async with speaking(wire, *[said(text("a"))] * 4) as (model, provider):
        for _ in range(4):
            await ask(model, ModelRequest(ASKED), way)
    assert provider.connections == 1


async def test_two_event_loops_use_one_model(wire: str, way: str, anyio_backend: str) -> None:
    elsewhere = {"asyncio": "trio", "trio": "asyncio"}[anyio_backend]
    async with speaking(wire, *[said(text("a"))] * 4) as (model, provider):

        async def there() -> str:
            words = (await ask(model, ModelRequest(ASKED), way)).reply.text
            await model.aclose()
            return words

        for _ in range(2):
            assert (await ask(model, ModelRequest(ASKED), way)).reply.text == "a"
            assert await to_thread.run_sync(partial(anyio.run, there, backend=elsewhere)) == "a"
    assert provider.connections == 3


PIECES = {"bytes": (1, b""), "torn": (11, b": keep-alive\n\n"), "all at once": (1_000_000, b"\n\n")}
WORDS = 'Grüße 🌤, a\\n "quoted"\n\ttext \u2028 of 漢字.'


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("pieces", PIECES)
async def test_a_stream_in_awkward_pieces(wire: str, pieces: str, line_end: bytes) -> None:
    size, between = PIECES[pieces]
    spoken = said(thought("hm 漢"), text(WORDS), call("get_weather", {"city": "Orléans 🌤"}), call("get_weather"))
    async with speaking(wire, spoken, Delivery(spoken, size, between, line_end=line_end)) as (model, _):
        whole = await ask(model, ModelRequest(ASKED, [WEATHER]), "whole")
        streamed = await ask(model, ModelRequest(ASKED, [WEATHER]), "streamed")
    assert streamed.reasoning == "hm 漢"
    for one, other in ((whole.reply, streamed.reply),):
        assert (one.text, one.usage, one.finish, one.model) == (other.text, other.usage, other.finish, other.model)
        assert [(c.name, json.loads(c.text())) for c in one.calls] == [
            (c.name, json.loads(c.text())) for c in other.calls
        ]
        assert len(one.opaque) == len(other.opaque)


async def test_a_head_that_comes_late_and_bytes_that_come_slowly(wire: str, way: str) -> None:
    late = anyio.Event()
    async with (
        speaking(wire, Delivery(said(text("Mild.")), 5, late=late)) as (model, provider),
        anyio.create_task_group() as tasks,
    ):

        async def speak() -> None:
            assert (await ask(model, ModelRequest(ASKED), way)).reply.text == "Mild."

        tasks.start_soon(speak)
        await provider.asked.wait()
        await anyio.wait_all_tasks_blocked()
        late.set()


async def test_a_relative_that_counts_no_calls(way: str) -> None:
    spoken = said(thought("hm"), call("get_weather", {"city": "Paris"}), call("get_weather", {"city": "Rome"}))
    provider = Provider(Ollama(), spoken, said(text("Mild.")))
    async with provider.serving() as url:
        model = MODELS["openai"]("llama3.2", base_url=url)
        with anyio.fail_after(10):
            heard = await ask(model, ModelRequest(ASKED, [WEATHER]), way)
            await ask(model, ModelRequest([*ASKED, *answered(heard.reply)], [WEATHER]), way)
        await model.aclose()
    assert [json.loads(each.text())["city"] for each in heard.reply.calls] == ["Paris", "Rome"]
    assert provider.refused == []
