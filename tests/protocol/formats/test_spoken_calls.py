"""Calls that are told while an answer is spoken, in all formats: what is told early stands in the answer, unchanged."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.events import CallSpoken
from toolwire.protocol.formats import anthropic_speech, gemini_speech, openai_responses_speech, openai_speech
from toolwire.protocol.formats.contract import Format, Hearing
from toolwire.protocol.history import AssistantMessage, Opaque
from toolwire.protocol.spoken import format_named
from toolwire.protocol.tools import ToolCall
from voices import TELLING, Line

Said = tuple[str, str, list[str]]
"""Id, name, and the arguments in pieces."""


def chat(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


def openai_chunks(calls: Sequence[Said]) -> Iterator[list[dict[str, Any]]]:
    for index, (id_, name, pieces) in enumerate(calls):
        first: dict[str, Any] = {"index": index, "id": id_, "function": {"name": name, "arguments": ""}}
        more = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        yield [chat({"tool_calls": [part]}) for part in (first, *more)]


def openai_end(finish: str) -> list[dict[str, Any]]:
    return [chat({}, {"calls": "tool_calls"}.get(finish, finish)), {"choices": [], "usage": {"prompt_tokens": 1}}]


def responses_chunks(calls: Sequence[Said]) -> Iterator[list[dict[str, Any]]]:
    for index, (id_, name, pieces) in enumerate(calls):
        item = {"type": "function_call", "call_id": id_, "name": name, "arguments": ""}
        kind = "response.function_call_arguments"
        told = [{"type": f"{kind}.delta", "output_index": index, "delta": piece} for piece in pieces]
        whole = "".join(pieces)
        yield [
            {"type": "response.output_item.added", "output_index": index, "item": item},
            *told,
            {"type": f"{kind}.done", "output_index": index, "arguments": whole},
            {"type": "response.output_item.done", "output_index": index, "item": {**item, "arguments": whole}},
        ]


def responses_end(finish: str) -> list[dict[str, Any]]:
    if finish == "length":
        return [{"type": "response.incomplete", "response": {"status": "incomplete"}}]
    return [{"type": "response.completed", "response": {"status": "completed"}}]


def anthropic_chunks(calls: Sequence[Said]) -> Iterator[list[dict[str, Any]]]:
    for index, (id_, name, pieces) in enumerate(calls):
        block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield [
            {"type": "content_block_start", "index": index, "content_block": block},
            *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
            {"type": "content_block_stop", "index": index},
        ]


def anthropic_end(finish: str) -> list[dict[str, Any]]:
    reason = {"calls": "tool_use", "length": "max_tokens"}[finish]
    return [{"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}]


def gemini_chunks(calls: Sequence[Said]) -> Iterator[list[dict[str, Any]]]:
    for id_, name, pieces in calls:
        try:
            part = {"functionCall": {"id": id_, "name": name, "args": json.loads("".join(pieces) or "{}")}}
        except json.JSONDecodeError:  # Gemini has no torn calls
            part = {"functionCall": {"id": id_, "name": name}}
        yield [{"candidates": [{"content": {"parts": [part]}}]}]


def gemini_end(finish: str) -> list[dict[str, Any]]:
    return [{"candidates": [{"finishReason": {"calls": "STOP", "length": "MAX_TOKENS"}[finish]}]}]


class Spoken:
    """One provider: how it says calls, and how it is heard."""

    def __init__(
        self,
        name: str,
        speech: Callable[[], Hearing],
        chunks: Callable[[Sequence[Said]], Iterator[list[dict[str, Any]]]],
        end: Callable[[str], list[dict[str, Any]]],
        *,
        mixes: bool,
    ) -> None:
        self.name, self.speech, self.chunks, self.end, self.mixes = name, speech, chunks, end, mixes

    def __repr__(self) -> str:
        return self.name


PROVIDERS = [
    Spoken("openai", openai_speech.Speech, openai_chunks, openai_end, mixes=True),
    Spoken("openai_responses", openai_responses_speech.Speech, responses_chunks, responses_end, mixes=True),
    Spoken("anthropic", anthropic_speech.Speech, anthropic_chunks, anthropic_end, mixes=True),
    Spoken("gemini", gemini_speech.Speech, gemini_chunks, gemini_end, mixes=False),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('a}{"\\é[')),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3).map(json.dumps)


@st.composite
def said(draw: st.DrawFn) -> list[Said]:
    """Calls, some without arguments, with missing or doubled ids, or cut off in the middle of their arguments."""
    calls: list[Said] = []
    for _ in range(draw(st.integers(1, 4))):
        text = draw(objects | st.just("") | objects.map(lambda whole: whole[:-1]))
        pieces: list[str] = []
        while text:
            size = draw(st.integers(1, len(text)))
            pieces.append(text[:size])
            text = text[size:]
        calls.append((draw(st.sampled_from(["x", "y", "z"])) + str(len(calls)), draw(st.sampled_from("fgh")), pieces))
    return calls


def mixed(draw: Callable[..., Any], parts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The chunks of all calls, mixed; each call begins after the one before it has."""
    order: list[dict[str, Any]] = []
    left = [list(part) for part in parts]
    begun = 0
    while any(left):
        choices = [n for n in range(min(begun + 1, len(left))) if left[n]]
        n = draw(st.sampled_from(choices))
        begun = max(begun, n + 1)
        order.append(left[n].pop(0))
    return order


def heard(speech: Hearing, chunks: Sequence[dict[str, Any]]) -> list[CallSpoken]:
    events = [event for each in chunks for event in speech.hear(json.dumps(each).encode())]
    return [event for event in events if isinstance(event, CallSpoken)]


@pytest.mark.parametrize("provider", PROVIDERS, ids=repr)
@given(calls=said(), finish=st.sampled_from(["calls", "length"]), data=st.data())
def test_what_is_told_early_stands_in_the_answer(provider: Spoken, calls: list[Said], finish: str, data: Any) -> None:
    parts = list(provider.chunks(calls))
    mix = provider.mixes and data.draw(st.booleans())
    order = mixed(data.draw, parts) if mix else [each for part in parts for each in part]
    speech = provider.speech()
    told = heard(speech, [*order, *provider.end(finish)])
    answer = speech.answer()
    assert [event.position for event in told] == list(range(len(told)))
    assert [event.call for event in told] == list(answer.calls[: len(told)])
    assert all(isinstance(json.loads(event.call.text()), dict) for event in told)
    assert len(answer.calls) == len(calls)


@pytest.mark.parametrize("provider", PROVIDERS, ids=repr)
def test_a_call_is_told_as_soon_as_the_next_one_begins(provider: Spoken) -> None:
    calls: list[Said] = [("c1", "f", ['{"a"', ":1}"]), ("c2", "g", ['{"b":', "2}"]), ("c3", "h", ["{}"])]
    first, second, third = provider.chunks(calls)
    speech = provider.speech()
    before_the_end = heard(speech, [*first, *second, *third[:1]])
    assert [(event.position, event.call.id, json.loads(event.call.text())) for event in before_the_end[:2]] == [
        (0, "c1", {"a": 1}),
        (1, "c2", {"b": 2}),
    ]
    rest = heard(speech, [*third[1:], *provider.end("calls")])
    assert [event.call.id for event in (*before_the_end, *rest)] == ["c1", "c2", "c3"]


@pytest.mark.parametrize("provider", PROVIDERS[:3], ids=repr)
def test_a_torn_call_is_not_told(provider: Spoken) -> None:
    speech = provider.speech()
    parts = list(provider.chunks([("c1", "f", ["{}"]), ("c2", "g", ['{"path": "/ho'])]))
    told = heard(speech, [each for part in parts for each in part] + provider.end("length"))
    assert [event.call.id for event in told] == ["c1"]
    assert [call.id for call in speech.answer().calls] == ["c1", "c2"]


@pytest.mark.parametrize("provider", PROVIDERS[:3], ids=repr)
def test_no_deltas_are_no_arguments(provider: Spoken) -> None:
    speech = provider.speech()
    told = heard(speech, [*next(provider.chunks([("c1", "now", [])])), *provider.end("calls")])
    assert speech.answer().calls == (ToolCall("c1", "now", "{}"),)
    if provider.name != "openai_responses":  # which may say so of a call that is cut off
        assert told == [CallSpoken(ToolCall("c1", "now", "{}"), 0)]


def test_anthropic_tells_an_empty_call_even_before_the_answer_is_cut_off() -> None:
    speech = anthropic_speech.Speech()
    told = heard(speech, [*next(anthropic_chunks([("c1", "now", [])])), *anthropic_end("length")])
    assert [event.call for event in told] == list(speech.answer().calls) == [ToolCall("c1", "now", "{}")]


def test_openai_another_id_is_another_call_whatever_its_index() -> None:
    speech = openai_speech.Speech()
    parts = [{"index": 0, "id": f"c{n}", "function": {"name": "f", "arguments": "{}"}} for n in range(3)]
    told = heard(speech, [chat({"tool_calls": [part]}) for part in parts])
    assert [event.call.id for event in told] == ["c0", "c1"]


def test_openai_what_comes_after_a_call_was_told_shows_in_the_answer() -> None:
    speech = openai_speech.Speech()
    parts = [part for each in openai_chunks([("a", "f", ["{}"]), ("b", "g", ["{}"])]) for part in each]
    told = heard(speech, [*parts, chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":1}'}}]})])
    assert [event.call for event in told] == [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")]
    assert speech.answer().calls == (ToolCall("a", "f", '{}{"x":1}'), ToolCall("b", "g", "{}"))


def test_openai_made_up_ids_are_the_same_early_and_late() -> None:
    speech = openai_speech.Speech(made_up="made", taken={"c"})
    parts = [{"index": n, "id": id_, "function": {"name": "f", "arguments": "{}"}} for n, id_ in enumerate(["", "c"])]
    late = {"index": 0, "id": "known_late", "function": {}}
    told = heard(speech, [chat({"tool_calls": [part]}) for part in (*parts, late)] + [chat({}, "stop")])
    assert [event.call.id for event in told] == ["made_1", "made_2"]
    assert [event.call for event in told] == list(speech.answer().calls)


def test_openai_a_call_is_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def looked(text: str) -> bool:
        looks.append(text)
        return False

    monkeypatch.setattr(openai_speech, "is_object", looked)
    speech = openai_speech.Speech()
    for n in range(100):
        speech.hear(chat({"tool_calls": [{"index": n % 2, "id": "ab"[n % 2], "function": {"arguments": "{"}}]}))
    assert len(looks) <= openai_speech.TRIES


def test_a_whole_answer_is_not_told_in_parts() -> None:
    speech = openai_speech.Speech()
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert speech.hear({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}) == []


def foreign(provider: str, message: AssistantMessage) -> list[Any]:
    """What stands in `message` for the provider alone, told to it: each with the id of the call before which it is."""
    format_: Format = format_named(provider)
    told = format_.history_to([message])
    match provider:
        case "anthropic":
            return [block for each in told["messages"] for block in each["content"]]
        case "gemini":
            return [part for each in told["contents"] for part in each["parts"]]
        case "openai_responses":  # an item is done only after its call is told: until then it has no id of its own
            return [{key: item[key] for key in item if key not in {"id", "status"}} for item in told]
    return list(told)


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("kind", ["reasoning", "plain"])
@pytest.mark.parametrize("provider", list(TELLING))
def test_an_answer_that_breaks_off_after_a_call_keeps_what_its_provider_wants_back(
    provider: str, kind: str, after: int
) -> None:
    said = [("look", {"n": n}) for n in range(3)]
    events = TELLING[provider](Line("So:", said), 1, reasons=kind == "reasoning").events
    speech = format_named(provider).speech()
    calls: list[ToolCall] = []
    opaque: tuple[Opaque, ...] = ()
    for event in events:
        for news in speech.hear(event):
            if isinstance(news, CallSpoken) and len(calls) < after:
                calls.append(news.call)
                opaque += news.opaque
    assert bool(opaque) == (kind == "reasoning")
    broken = foreign(provider, AssistantMessage("So:", tuple(calls), opaque))
    answer = speech.answer()
    whole = foreign(provider, AssistantMessage(answer.text, answer.calls[:after], answer.opaque))
    assert broken == whole


def test_a_signature_that_comes_with_the_second_call_is_told_with_it() -> None:
    speech = gemini_speech.Speech()
    parts: list[dict[str, Any]] = [
        {"text": "So:"},
        {"functionCall": {"name": "look", "args": {}}},
        {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "czE="},
        {"functionCall": {"name": "look", "args": {"n": 1}}},
    ]
    told = [news for part in parts for news in speech.hear({"candidates": [{"content": {"parts": [part]}}]})]
    first, second, third = [news for news in told if isinstance(news, CallSpoken)]
    assert first.opaque == ()
    answer = speech.answer()
    message = AssistantMessage("So:", answer.calls, (*second.opaque, *third.opaque))
    assert foreign("gemini", message) == foreign("gemini", AssistantMessage("So:", answer.calls, answer.opaque))
