import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolwire.actors.selectors.keyword import FEW, LONGEST_QUERY, Keyword, words_of
from toolwire.protocol.tools import ToolSpec

DATA = Path(__file__).parents[2] / "data" / "selection"


def lines(name: str) -> Iterator[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def index_of(*specs: ToolSpec) -> Keyword:
    index = Keyword()
    for spec in specs:
        index.add(spec)
    return index


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("get_weather", ["get", "weather"]),
        ("getHTTPResponse2", ["get", "http", "response", "2"]),
        ("calendar.createEvent", ["calendar", "create", "event"]),
        ("Cities, classes & statuses!", ["city", "classe", "statuse"]),
        ("booked BOOKING books", ["book", "book", "book"]),
        ("is was bus red king", ["is", "was", "bus", "red", "king"]),
        ("Größe straße ÉTÉ", ["grösse", "strasse", "été"]),
        ("погода 天气", ["погода", "天气"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_name_weighs_more_than_a_description_and_that_more_than_a_detail() -> None:
    index = index_of(
        ToolSpec("a", "x y z", {"properties": {"p": {"description": "x weather"}}}),
        ToolSpec("b", "x y weather", {"properties": {"p": {"description": "x z"}}}),
        ToolSpec("weather", "x y z", {"properties": {"p": {"description": "x z"}}}),
    )
    assert index.select("weather", limit=3) == ["weather", "b", "a"]


def test_parameters_and_their_choices_are_found() -> None:
    index = index_of(
        ToolSpec("a", parameters={"properties": {"celsiusScale": {}}}),
        ToolSpec("b", parameters={"properties": {"unit": {"enum": ["kelvin", 7]}}}),
    )
    assert index.select("celsius", limit=2) == ["a"]
    assert index.select("kelvin", limit=2) == ["b"]


def test_rare_words_weigh_more_than_common_ones() -> None:
    index = index_of(*[ToolSpec(f"tool{n}", "file") for n in range(9)], ToolSpec("rare", "archive"))
    assert index.select("file archive", limit=1) == ["rare"]


def test_equal_ones_come_by_name() -> None:
    assert index_of(ToolSpec("b", "file"), ToolSpec("c", "file"), ToolSpec("a", "file")).select("file", limit=2) == [
        "a",
        "b",
    ]


def test_a_word_of_most_tools_is_passed_over_where_there_are_many() -> None:
    index = index_of(*[ToolSpec(f"t{n}", "file") for n in range(FEW)])
    assert len(index.select("file", limit=99)) == FEW
    index.add(ToolSpec("one_more", "file archive"))
    assert index.select("file", limit=99) == []
    assert index.select("file archive", limit=99) == ["one_more"]


def test_the_end_of_a_long_query_counts() -> None:
    index = index_of(ToolSpec("a", "first"), ToolSpec("b", "last"))
    assert index.select("first" + " " * LONGEST_QUERY + "last", limit=2) == ["b"]


def test_the_index_shrinks_with_its_tools() -> None:
    index = index_of(ToolSpec("a", "one two"), ToolSpec("b", "two three"))
    assert repr(index) == "<Keyword [tools: 2 | words: 5]>"
    index.remove("a")
    index.remove("b")
    assert repr(index) == "<Keyword [tools: 0 | words: 0]>"
    assert index._length == 0


def test_questions_that_people_asked(capsys: pytest.CaptureFixture[str]) -> None:
    tools = [ToolSpec(line["name"], line["description"], line["parameters"]) for line in lines("tools.jsonl")]
    questions = list(lines("questions.jsonl"))
    index = index_of(*tools)
    recall: dict[int, float] = {}
    for k in (1, 3, 5, 10):
        found = [set(index.select(asked["query"], limit=k)) & set(asked["tools"]) for asked in questions]
        shares = [len(names) / len(asked["tools"]) for names, asked in zip(found, questions, strict=True)]
        recall[k] = sum(shares) / len(shares)
    figures = ", ".join(f"@{k} {share:.2f}" for k, share in recall.items())
    with capsys.disabled():
        print(f"\nkeyword selection, {len(questions)} questions, {len(tools)} tools: recall {figures}")  # noqa: T201 - to be seen
    assert recall[5] >= 0.92  # measured: 0.96
    assert recall[1] >= 0.80  # measured: 0.85
