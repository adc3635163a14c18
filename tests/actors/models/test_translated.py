"""Only what is new is translated, and the prefix says what the formats say."""

import json
import sys
from collections.abc import Sequence
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.actors.models.anthropic import Anthropic, anthropic
from toolwire.actors.models.openai import openai
from toolwire.actors.models.openai_responses import openai_responses
from toolwire.actors.models.translated import Prefixes, Told, Translation
from toolwire.protocol.history import (
    AssistantMessage,
    History,
    HistoryMessage,
    Opaque,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from toolwire.protocol.tools import ToolCall


@pytest.fixture(autouse=True, scope="module")
def surroundings() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOOLWIRE_NO_MODELS", raising=False)
        yield


class Translating:
    """Remembers what it was asked to translate."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.translation = Translation(self)

    def __call__(self, thing: object) -> list[str]:
        self.asked.append(thing)
        return [f"#{len(self.asked)}"]


def texts(told: Told) -> Any:
    with told.items as items:
        return json.loads(b"".join((b"[", items, told.closing, b"]")))


def test_only_what_is_new_is_translated() -> None:
    translate = Translating()
    prefixes = Prefixes(translate.translation)
    messages: list[HistoryMessage] = [UserMessage("a")]
    assert texts(prefixes.told("c", History(messages))) == ["#1"]
    messages += [AssistantMessage("", (ToolCall("x", "f"),)), ToolMessage("x", "f", "1")]
    told = prefixes.told("c", History(messages))
    assert (texts(told), told.prefix.ids, list(told.prefix.called)) == (["#1", "#2", "#3"], {"x"}, ["f"])
    assert texts(prefixes.told("c", History(messages, 2))) == ["#1", "#2"]
    assert texts(prefixes.told("c", History(messages, 0))) == []
    assert translate.asked == messages


def test_another_list_is_another_history_though_it_begins_alike() -> None:
    prefixes = Prefixes(Translating().translation)
    messages: list[HistoryMessage] = [UserMessage("a"), UserMessage("b")]
    prefixes.told("c", History(messages))
    assert texts(prefixes.told("c", History(list(messages)))) == ["#3", "#4"]


def test_a_plain_list_may_change_and_is_translated_each_time() -> None:
    prefixes = Prefixes(Translating().translation)
    messages: list[HistoryMessage] = [UserMessage("a")]
    prefixes.told("c", messages)
    assert texts(prefixes.told("c", messages)) == ["#2"]


def test_conversations_are_forgotten_in_the_order_in_which_they_last_spoke() -> None:
    prefixes = Prefixes(Translating().translation, limit=2)
    views = {name: History([UserMessage(name)]) for name in "abc"}
    told = [texts(prefixes.told(name, views[name])) for name in "abacabc"]
    assert told == [["#1"], ["#2"], ["#1"], ["#3"], ["#1"], ["#4"], ["#5"]]
    assert len(prefixes._prefixes) == 2


def test_what_is_held_is_bounded_by_its_size() -> None:
    prefixes = Prefixes(Translating().translation, most=1_000)
    for name in "abcdefgh":
        prefixes.told(name, History([UserMessage(name)]))
        assert prefixes._size == sum(prefix.size for prefix in prefixes._prefixes.values()) <= 1_000
    assert list(prefixes._prefixes) == list("bcdefgh")
    prefixes.told("h", History([UserMessage("x")] * 10))
    assert list(prefixes._prefixes) == ["h"]
    assert prefixes._size == prefixes._prefixes["h"].size > 1_000
    prefixes.told("h", History([]))
    assert prefixes._size == 0


words = st.sampled_from(["", " ", "so", "Grüße 🌤"])
calls = st.lists(st.sampled_from("abc"), max_size=3, unique=True).map(
    lambda ids: tuple(ToolCall(id_, "f") for id_ in ids)
)
opaque = st.sampled_from(
    [
        (),
        (Opaque("anthropic", '{"type": "thinking","thinking":"hm","signature":"s"}'),),
        (Opaque("openai_responses", '{"type": "reasoning","id":"rs"}'),),
        (Opaque("openai", '{"reasoning_content": "hm"}'),),
    ]
)
messages_ = st.lists(
    st.one_of(
        st.builds(SystemMessage, words),
        st.builds(UserMessage, words),
        st.builds(AssistantMessage, words, calls, opaque),
        st.builds(ToolMessage, st.sampled_from("abc"), st.just("f"), st.just('"1"'), st.booleans()),
    ),
    max_size=12,
)


def test_threads_that_ask_one_model_count_its_bytes_right() -> None:
    """They did not: a count that only grows leaves no conversation its prefix in the end."""
    prefixes, wrong = Prefixes(Translation(lambda message: [str(message)]), limit=8), list[BaseException]()

    def ask(who: int) -> None:
        try:
            for n in range(600):
                texts(prefixes.told(f"{who}-{n % 5}", History([UserMessage("a" * n)])))
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            wrong.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [Thread(target=ask, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
    assert prefixes._size == sum(prefix.size for prefix in prefixes._prefixes.values())


@pytest.mark.parametrize("make", [openai, openai_responses, anthropic], ids=lambda make: make.__name__)
@given(messages=messages_, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_a_prefix_says_what_the_format_says(make: Any, messages: list[HistoryMessage], cuts: list[int]) -> None:
    model = make("m", base_url="http://127.0.0.1:9")
    prefixes = Prefixes(model.translation(model.own))
    for cut in [*cuts, len(messages), *cuts]:
        view = History(messages, min(cut, len(messages)))
        told = prefixes.told("c", view)
        assert said(model, told) == model.wire.format.history_to(list(view))


def said(model: Any, told: Told) -> Any:
    items: Sequence[Any] = texts(told)
    if not isinstance(model, Anthropic):
        return items
    system = json.loads(b"[" + told.leading + b"]")
    return {**({"system": system} if system else {}), "messages": items}
