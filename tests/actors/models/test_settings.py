"""What each provider is asked for: settings, choice of tools, the shape of the answer, marks for its cache."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from toolwire.actors.models.anthropic import BUDGETS, MOST_TOKENS, MOST_WITH_REASONING
from toolwire.actors.models.contract import ModelRequest
from toolwire.models import anthropic, openai, openai_responses
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

ELSEWHERE = "http://127.0.0.1:9/v1"
ASKED: list[HistoryMessage] = [SystemMessage("Be brief."), UserMessage("Weather?")]
CALLED: list[HistoryMessage] = [*ASKED, AssistantMessage("", (ToolCall("a", "f"),)), ToolMessage("a", "f", "1")]
TOOL = ToolSpec("get_weather", "Weather")
DOTTED = ToolSpec("calendar.create event")
SHAPE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SHAPE, "additionalProperties": False}
MAKERS: list[Callable[..., Any]] = [openai, openai_responses, anthropic]
OLD, NEW = "claude-sonnet-4-5", "claude-opus-4-7"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLWIRE_NO_MODELS", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def asked(model: Any, tools: Sequence[ToolSpec] = (), messages: Any = ASKED, **more: Any) -> Any:
    """The body of a request."""
    return json.loads(model._question(ModelRequest(messages, tools, **more)).content)


def settled(make: Callable[..., Any], model: str = "m", *, home: bool = False, **settings: Any) -> Any:
    """What a request holds for settings."""
    where = {"api_key": "k"} if home else {"base_url": ELSEWHERE}
    body = asked(make(model, settings=settings, cache=False, **where))
    return {key: body[key] for key in body.keys() - {"model", "stream", "messages", "input", "system"}}


def test_common_words_in_chat_completions() -> None:
    words: Any = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"], "reasoning_effort": "low"}
    assert settled(openai, **words) == words
    assert settled(openai, max_tokens=9) == {"max_tokens": 9}
    assert settled(openai, home=True, max_tokens=9) == {"max_completion_tokens": 9}


def test_common_words_in_responses() -> None:
    words: Any = {"temperature": 0.5, "top_p": 0.9}
    common = {"store": False, "include": ["reasoning.encrypted_content"]}
    assert settled(openai_responses, **words, max_tokens=99) == {**words, **common, "max_output_tokens": 99}
    assert settled(openai_responses, reasoning_effort="low") == {**common, "reasoning": {"effort": "low"}}
    assert settled(openai_responses, "gpt-4.1-mini") == {"store": False}
    assert settled(openai_responses, extra={"store": True, "include": []}) == {"store": True, "include": []}


def test_common_words_in_messages() -> None:
    assert settled(anthropic, temperature=0.5) == {"temperature": 0.5, "max_tokens": MOST_TOKENS}
    told = {"max_tokens": 99, "stop_sequences": ["END"]}
    assert settled(anthropic, stop="END", max_tokens=99) == settled(anthropic, stop=["END"], max_tokens=99) == told


def test_sampling_is_asked_for_in_the_version_that_has_it() -> None:
    request = ModelRequest(ASKED)
    newest = anthropic(OLD, base_url=ELSEWHERE)
    assert newest._question(request).headers == {}
    for settings in ({"temperature": 1.0}, {"top_p": 0.9}, {"extra": {"top_k": 5}}):
        model: Any = anthropic(OLD, base_url=ELSEWHERE, settings=settings)  # type: ignore[arg-type]  # a plain dict
        assert model._question(request).headers == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        (NEW, "high", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        (NEW, "minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (NEW, "none", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5", "max", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        (OLD, "medium", {"thinking": {"type": "enabled", "budget_tokens": BUDGETS["medium"]}}),
        ("claude-opus-4-1-20250805", "low", {"thinking": {"type": "enabled", "budget_tokens": BUDGETS["low"]}}),
        ("claude-haiku-4-5@20251001", "low", {"thinking": {"type": "enabled", "budget_tokens": BUDGETS["low"]}}),
        ("glm-4.6", "low", {"thinking": {"type": "enabled", "budget_tokens": BUDGETS["low"]}}),
    ],
)
def test_how_hard_claude_thinks(model: str, effort: str, told: dict[str, Any]) -> None:
    body = settled(anthropic, model, reasoning_effort=effort)
    most = body.pop("max_tokens")
    assert body == told
    budget = told["thinking"].get("budget_tokens")
    adaptive = told["thinking"]["type"] == "adaptive"
    assert most == (MOST_WITH_REASONING if adaptive else MOST_TOKENS + (budget or 0))


def test_a_budget_leaves_room_for_words() -> None:
    body = settled(anthropic, OLD, reasoning_effort="high", max_tokens=5_000)
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (5_000 - 1_024, 5_000)


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (
            openai,
            {"temprature": 1},
            r"no setting 'temprature' \(did you mean 'temperature'\?\).* extra=\{'temprature': …\}",
        ),
        (openai, {"logit_bias": {}}, r"extra=\{'logit_bias': …\}"),
        (openai, {"zzz": 1}, "there are temperature, top_p, max_tokens"),
        (openai_responses, {"seed": 1}, "OpenAI's Responses has no equal of the setting 'seed': leave it out"),
        (openai_responses, {"stop": "a"}, "no equal of the setting 'stop'"),
        (anthropic, {"seed": 1}, "Anthropic has no equal of the setting 'seed'"),
        (openai, {"max_tokens": 0}, "'max_tokens' is 0; it has to be a whole number above 0"),
        (openai, {"temperature": "hot"}, "'temperature' is 'hot'; it has to be a number"),
        (openai, {"temperature": True}, "it has to be a number"),
        (openai, {"reasoning_effort": "hard"}, "one of none, minimal, low"),
        (openai, {"reasoning_effort": ["high"]}, "one of none, minimal, low"),
        (openai, {"seed": 0.5}, "a whole number"),
        (openai, {"stop": [1]}, "a text, or a list of texts"),
        (openai, {"parallel_calls": 1}, "True or False"),
        (openai, {"extra": 7}, "a dict of the provider's own fields"),
        (openai, {"extra": {"logit_bias": object()}}, "a dict of the provider's own fields, in JSON"),
        (openai, {"temperature": float("nan")}, "it has to be a number"),
        (anthropic, {"stop": "\ud800"}, "it has to be a text, or a list of texts"),
        (
            partial(anthropic, like=OLD),
            {"reasoning_effort": "high", "temperature": 0.5},
            "no temperature but 1, and no top_p below 0.95, beside reasoning_effort",
        ),
    ],
)
def test_what_cannot_be_set_is_said(make: Any, settings: Any, said: str) -> None:
    with pytest.raises(Misuse, match=said):
        make("m", base_url=ELSEWHERE, settings=settings)
    with pytest.raises(Misuse, match=said):
        asked(make("m", base_url=ELSEWHERE), settings=settings)


def test_too_few_tokens_to_think_are_refused() -> None:
    with pytest.raises(Misuse, match="has to be 2048 or more then, not 2000"):
        settled(anthropic, OLD, reasoning_effort="low", max_tokens=2_000)


def test_what_is_newer_wins_and_extra_wins_over_all() -> None:
    first = {"temperature": 0.1, "seed": 1, "extra": {"user": "u", "logprobs": True}}
    model = openai("m", base_url=ELSEWHERE, settings=first)  # type: ignore[arg-type]  # a plain dict
    settings = {"temperature": 0.2, "seed": None, "extra": {"user": "v", "model": "other"}}
    body = asked(model, settings=settings)
    assert (body["temperature"], body["user"], body["logprobs"], body["model"]) == (0.2, "v", True, "other")
    assert "seed" not in body
    assert asked(model, settings=settings) == body
    assert asked(model)["temperature"] == 0.1


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("choice", ["auto", "none", "required", DOTTED.name])
def test_tool_choice(make: Any, choice: str) -> None:
    body = asked(make("m", base_url=ELSEWHERE), [TOOL, DOTTED], tool_choice=choice)
    if choice == "auto":
        assert "tool_choice" not in body
        return
    theirs = body["tools"][1].get("function", body["tools"][1])["name"]
    assert (
        body["tool_choice"]
        == {
            "openai": {DOTTED.name: {"type": "function", "function": {"name": theirs}}}.get(choice, choice),
            "openai_responses": {DOTTED.name: {"type": "function", "name": theirs}}.get(choice, choice),
            "anthropic": {
                "none": {"type": "none"},
                "required": {"type": "any"},
                DOTTED.name: {"type": "tool", "name": theirs},
            }.get(choice),
        }[make.__name__]
    )


@pytest.mark.parametrize("make", MAKERS)
def test_without_tools_there_is_nothing_to_choose(make: Any) -> None:
    settings = {"parallel_calls": False}
    body = asked(make("m", base_url=ELSEWHERE, settings=settings), tool_choice="required")
    assert not body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize("make", MAKERS)
def test_a_tool_that_is_not_on_offer_cannot_be_chosen(make: Any) -> None:
    with pytest.raises(Misuse, match="tool_choice names 'nope', which is not on offer; there are get_weather"):
        asked(make("m", base_url=ELSEWHERE), [TOOL], tool_choice="nope")


def test_one_call_at_a_time() -> None:
    settings: Any = {"parallel_calls": False}
    for make in (openai, openai_responses):
        body = asked(make("m", base_url=ELSEWHERE, settings=settings), [TOOL])
        assert body["parallel_tool_calls"] is False
    model = anthropic("m", base_url=ELSEWHERE, settings=settings)
    for choice, kind in (("auto", "auto"), ("required", "any")):
        told = asked(model, [TOOL], tool_choice=choice)["tool_choice"]
        assert told == {"type": kind, "disable_parallel_tool_use": True}
    assert asked(model, [TOOL], tool_choice="none")["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize("model", [OLD, NEW])
def test_who_thinks_is_not_forced_to_call(model: str) -> None:
    thinking = anthropic(model, base_url=ELSEWHERE, settings={"reasoning_effort": "low"})
    for choice in ("required", TOOL.name):
        assert "tool_choice" not in asked(thinking, [TOOL], tool_choice=choice)
    assert asked(thinking, [TOOL], tool_choice="none")["tool_choice"] == {"type": "none"}


def test_tools_of_the_provider_stand_beside_ours() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    model = anthropic("m", base_url=ELSEWHERE, settings={"extra": {"tools": [search]}})
    assert [tool["name"] for tool in asked(model, [TOOL])["tools"]] == ["get_weather", "web_search"]
    assert asked(model)["tools"] == [search]
    assert asked(model, messages=CALLED)["tools"] == [search]


def test_who_has_called_tools_is_told_of_them_though_none_is_on_offer() -> None:
    model = anthropic("m", base_url=ELSEWHERE)
    body = asked(model, messages=CALLED)
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "none"}
    offered = asked(model, [TOOL], CALLED, conversation="c")["tools"]
    assert asked(model, [], CALLED, conversation="c")["tools"] == offered
    assert "tools" not in asked(model)


@pytest.mark.parametrize("make", [openai, openai_responses])
def test_the_shape_of_an_answer_by_openai(make: Any) -> None:
    def shape(schema: Any) -> Any:
        body = asked(make("m", base_url=ELSEWHERE), output=schema)
        return body["response_format"]["json_schema"] if make is openai else body["text"]["format"]

    told = {"name": "answer", "schema": CLOSED, "strict": True}
    kind = {} if make is openai else {"type": "json_schema"}
    assert shape(CLOSED) == {**kind, **told}
    loose = {"type": "object", "additionalProperties": {"type": "string"}}
    assert shape(loose) == {**kind, "name": "answer", "schema": loose, "strict": False}


@pytest.mark.parametrize("make", MAKERS)
def test_a_shape_that_a_provider_does_not_take_is_told_in_words(make: Any) -> None:
    body = asked(make("m", base_url=ELSEWHERE, cache=False), output={"type": "integer"})
    if make is anthropic:
        assert body["system"][0]["text"] == "Be brief."
        assert '{"type":"integer"}' in body["system"][1]["text"]
    else:
        messages = body["messages" if make is openai else "input"]
        assert '{"type":"integer"}' in messages[0]["content"]
        assert [message["content"] for message in messages[1:]] == ["Be brief.", "Weather?"]
    assert not body.keys() & {"response_format", "text", "output_config"}
    assert asked(make("m", base_url=ELSEWHERE), messages=[], output={"type": "integer"})


def test_the_shape_of_an_answer_by_claude() -> None:
    told = {"format": {"type": "json_schema", "schema": CLOSED}}
    assert asked(anthropic(OLD, base_url=ELSEWHERE), output=CLOSED)["output_config"] == told
    thinking = anthropic(NEW, base_url=ELSEWHERE, settings={"reasoning_effort": "low"})
    assert asked(thinking, output=CLOSED)["output_config"] == {**told, "effort": "low"}
    for old in ("claude-sonnet-4-20250514", "claude-3-7-sonnet-latest", "glm-4.6"):
        assert "output_config" not in asked(anthropic(old, base_url=ELSEWHERE), output=CLOSED)


def test_marks_for_the_cache() -> None:
    mark = {"type": "ephemeral"}
    body = asked(anthropic(OLD, api_key="k"), [TOOL, DOTTED], CALLED)
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, mark]
    assert [block.get("cache_control") for block in body["system"]] == [mark]
    assert body["cache_control"] == mark
    assert "cache_control" not in json.dumps(body["messages"])
    hour: Any = {"type": "ephemeral", "ttl": "1h"}
    longer = asked(anthropic(OLD, api_key="k", settings={"extra": {"cache_control": hour}}), [TOOL], CALLED)
    assert (
        longer["tools"][0]["cache_control"] == longer["system"][0]["cache_control"] == longer["cache_control"] == hour
    )
    off = asked(anthropic(OLD, api_key="k", cache=False), [TOOL], CALLED)
    assert "cache_control" not in json.dumps(off)


@pytest.mark.parametrize("messages", [ASKED, CALLED, CALLED[:-1], []], ids=["user", "result", "assistant", "none"])
def test_relatives_find_the_last_mark_at_a_block(messages: list[HistoryMessage]) -> None:
    model = anthropic(OLD, base_url=ELSEWHERE)
    body, plain = (
        asked(model, [TOOL], messages),
        asked(anthropic(OLD, base_url=ELSEWHERE, cache=False), [TOOL], messages),
    )
    assert "cache_control" not in body
    if messages and not isinstance(messages[-1], AssistantMessage):
        assert body["messages"][-1]["content"][-1].pop("cache_control") == {"type": "ephemeral"}
    assert body["messages"] == plain["messages"]


def test_the_bytes_of_the_beginning_stay_as_they_are() -> None:
    messages = list(CALLED)
    model = anthropic(OLD, api_key="k")

    def content() -> bytes:
        return model._question(ModelRequest(History(messages), [TOOL], conversation="c")).content

    first = content()
    messages += [AssistantMessage("Mild."), UserMessage("And in Rome?")]
    assert content().startswith(first.removesuffix(b"]}"))


def test_a_conversation_names_itself_to_openais_cache() -> None:
    for make in (openai, openai_responses):
        models = [make("m", api_key="k"), make("m", base_url=ELSEWHERE), make("m", base_url=ELSEWHERE, cache=True)]
        keys = [asked(model, conversation="user@example.org").get("prompt_cache_key") for model in models]
        assert keys[0] == keys[2]
        assert keys[0] is not None
        assert (len(keys[0]), keys[1]) == (32, None)
        assert "prompt_cache_key" not in asked(make("m", api_key="k", cache=False), conversation="c")
        assert "prompt_cache_key" not in asked(make("m", api_key="k"))


THOUGHT = '{"type": "thinking","thinking":"hm","signature":"s"}'


def thought(maker: str) -> list[HistoryMessage]:
    calls = (ToolCall("a", "f"),)
    return [*ASKED, AssistantMessage("", calls, (Opaque("anthropic", THOUGHT, maker=maker),)), CALLED[-1]]


def test_what_a_model_thought_goes_back_to_its_maker_alone() -> None:
    model = anthropic(OLD, base_url="http://me@One/v1/")
    assert model.maker == "one"
    for maker, told in (("one", True), ("", True), ("two", False), ("api.anthropic.com", False)):
        content = model._question(ModelRequest(thought(maker))).content
        assert (THOUGHT.encode() in content) == told
    assert (
        b"reasoning_content" not in openai("m", base_url="http://one")._question(ModelRequest(reasoned("two"))).content
    )
    assert b"reasoning_content" in openai("m", base_url="http://one")._question(ModelRequest(reasoned("one"))).content


def reasoned(maker: str) -> list[HistoryMessage]:
    return [*ASKED, AssistantMessage("so", (), (Opaque("openai", '{"reasoning_content":"hm"}', maker=maker),))]


def test_who_did_not_think_before_a_call_does_not_have_to_after_it() -> None:
    model = anthropic(OLD, base_url="http://one", settings={"reasoning_effort": "low"})
    assert "thinking" in asked(model, messages=thought("one"))
    assert "thinking" not in asked(model, messages=thought("two"))
    assert "thinking" not in asked(model, messages=CALLED)
    assert "thinking" in asked(model, messages=[*CALLED, UserMessage("?")])
    assert "thinking" in asked(model, messages=[CALLED[-1]])
    adaptive = anthropic(NEW, base_url="http://one", settings={"reasoning_effort": "low"})
    assert "thinking" in asked(adaptive, messages=CALLED)


@pytest.mark.parametrize("model", [NEW, "claude-opus-5", "claude-haiku-5-5", "claude-fable-5-1"])
def test_the_newest_models_are_not_told_how_to_sample(model: str) -> None:
    settings: Any
    for settings in ({"temperature": 0.5}, {"top_p": 0.9}):
        with pytest.raises(Misuse, match=f"{model} takes no {next(iter(settings))}: leave it out"):
            anthropic(model, base_url=ELSEWHERE, settings=settings)
    assert settled(anthropic, model, temperature=1)["temperature"] == 1


@pytest.mark.parametrize("model", [OLD, "claude-haiku-4-5", NEW, "claude-opus-4-1-20250805"])
def test_claude_takes_one_word_for_how_to_sample(model: str) -> None:
    with pytest.raises(Misuse, match=f"{model} takes either temperature or top_p: leave out one of them"):
        anthropic(model, base_url=ELSEWHERE, settings={"temperature": 0.5, "top_p": 0.9})


@pytest.mark.parametrize("model", ["claude-3-5-haiku-latest", "claude-sonnet-4-20250514", "kimi"])
def test_others_take_both(model: str) -> None:
    both = settled(anthropic, model, temperature=0.5, top_p=0.9)
    assert (both["temperature"], both["top_p"]) == (0.5, 0.9)


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-fable-5", "claude-fable-5-1", "us.claude-mythos-5-2"])
def test_a_model_that_can_not_but_think_is_not_asked_to_stop(model: str) -> None:
    with pytest.raises(Misuse, match=f"{model} can't but think: leave out reasoning_effort, or make it 'low'"):
        anthropic(model, base_url=ELSEWHERE, settings={"reasoning_effort": "none"})


@pytest.mark.parametrize(
    ("model", "kind"),
    [("claude-sonnet-5-5", "between_tools"), ("claude-sonnet-5", "disabled"), ("claude-opus-5-20260701", "disabled")],
)
def test_how_thinking_is_switched_off(model: str, kind: str) -> None:
    assert settled(anthropic, model, reasoning_effort="none")["thinking"] == {"type": kind}


@pytest.mark.parametrize(("model", "forced"), [("claude-opus-5-5", False), ("claude-opus-5", True), ("kimi", True)])
def test_who_lets_nobody_force_it_to_a_tool(model: str, *, forced: bool) -> None:
    body = asked(anthropic(model, base_url=ELSEWHERE), [TOOL], tool_choice="required")
    assert body.get("tool_choice") == ({"type": "any"} if forced else None)
    none = asked(anthropic(model, base_url=ELSEWHERE), [TOOL], tool_choice="none")
    assert none["tool_choice"] == {"type": "none"}
