import json

import pytest
from msgspec import Raw

from toolwire.actors.models.translated import Prefixes, ToolLists
from toolwire.protocol.history import AssistantMessage, History, HistoryMessage, ToolMessage, UserMessage
from toolwire.protocol.tools import ToolCall, ToolSpec


class Translating:
    """Remembers what it was asked to translate."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __call__(self, thing: object) -> str:
        self.asked.append(thing)
        return f"#{len(self.asked)}"


def texts(told: list[Raw]) -> list[str]:
    return [json.loads(bytes(raw)) for raw in told]


def test_only_what_is_new_is_translated() -> None:
    translate = Translating()
    prefixes = Prefixes(translate)
    messages: list[HistoryMessage] = [UserMessage("a")]
    assert texts(prefixes.told("c", History(messages))[0]) == ["#1"]
    messages += [AssistantMessage("", (ToolCall("x", "f"),)), ToolMessage("x", "f", "1")]
    told, ids = prefixes.told("c", History(messages))
    assert (texts(told), ids) == (["#1", "#2", "#3"], {"x"})
    assert texts(prefixes.told("c", History(messages, 2))[0]) == ["#1", "#2"]
    assert translate.asked == messages


def test_another_list_is_another_history_though_it_begins_alike() -> None:
    prefixes = Prefixes(Translating())
    messages: list[HistoryMessage] = [UserMessage("a"), UserMessage("b")]
    prefixes.told("c", History(messages))
    assert texts(prefixes.told("c", History(list(messages)))[0]) == ["#3", "#4"]


def test_a_plain_list_may_change_and_is_translated_each_time() -> None:
    prefixes = Prefixes(Translating())
    messages: list[HistoryMessage] = [UserMessage("a")]
    prefixes.told("c", messages)
    assert texts(prefixes.told("c", messages)[0]) == ["#2"]


def test_conversations_are_forgotten_in_the_order_in_which_they_last_spoke() -> None:
    prefixes = Prefixes(Translating(), limit=2)
    views = {name: History([UserMessage(name)]) for name in "abc"}
    told = [texts(prefixes.told(name, views[name])[0]) for name in "abacabc"]
    assert told == [["#1"], ["#2"], ["#1"], ["#3"], ["#1"], ["#4"], ["#5"]]
    assert len(prefixes._prefixes) == 2


@pytest.mark.parametrize("make", [list, tuple])
def test_tools_are_known_by_identity(make: type[list[ToolSpec]]) -> None:
    translate = Translating()
    lists = ToolLists(translate, lambda specs: {spec.name: "?" for spec in specs}, limit=2)
    a, b = ToolSpec("a"), ToolSpec("b")
    assert bytes(lists.told(make([a, b])).told) == b'["#1","#2"]'
    assert lists.told(make([a, b])).names == {"a": "?", "b": "?"}
    assert bytes(lists.told(make([b, a])).told) == b'["#3","#4"]'
    assert bytes(lists.told(make([a, ToolSpec("b")])).told) == b'["#5","#6"]'
    assert len(lists._lists) == 2
    assert translate.asked[:2] == [a, b]
