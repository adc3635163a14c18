"""What every selection strategy promises, held by each."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.actors.selectors import Keyword, SelectionStrategy
from toolwire.protocol.tools import ToolSpec

EXAMPLE = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "own_selector.py"))

STRATEGIES: list[type[SelectionStrategy]] = [Keyword, EXAMPLE["Spelling"]]
every_strategy = pytest.mark.parametrize("make", STRATEGIES)

words = st.sampled_from(["weather", "city", "send", "mail", "stock", "price", "file", "read"])
phrases = st.lists(words, max_size=4)
specs = st.builds(lambda name, told: ToolSpec("_".join(name), " ".join(told)), st.lists(words, min_size=1), phrases)


@every_strategy
@given(st.lists(specs, max_size=12), st.lists(st.integers(0, 11)), phrases, st.integers(0, 6))
def test_known_allowed_few_and_the_same_each_time(
    make: type[SelectionStrategy], tools: list[ToolSpec], gone: list[int], said: list[str], limit: int
) -> None:
    strategy = make()
    for spec in tools:
        strategy.add(spec)
    for n in gone:
        if n < len(tools):
            strategy.remove(tools[n].name)
    names = {spec.name for spec in tools} - {tools[n].name for n in gone if n < len(tools)}
    query = " ".join(said)
    found = strategy.select(query, limit=limit)
    assert set(found) <= names
    assert len(found) == len(set(found)) <= limit
    assert strategy.select(query, limit=limit) == found
    allowed = strategy.select(query, limit=limit, among=lambda name: "mail" in name)
    assert all("mail" in name for name in allowed)


@every_strategy
@given(st.lists(specs, min_size=1, max_size=12, unique_by=lambda spec: spec.name), phrases, st.data())
def test_what_came_and_went_leaves_no_trace(
    make: type[SelectionStrategy], tools: list[ToolSpec], said: list[str], data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.sampled_from(tools), unique_by=lambda spec: spec.name))
    changed, fresh = make(), make()
    for spec in tools:
        changed.add(ToolSpec(spec.name, "something else, soon replaced"))
        changed.select(" ".join(said), limit=3)
        changed.add(spec)
    for spec in tools:
        if spec not in kept:
            changed.remove(spec.name)
    for spec in kept:
        fresh.add(spec)
    query = " ".join(said)
    assert changed.select(query, limit=12) == fresh.select(query, limit=12)


@every_strategy
@given(st.text(), st.text(), st.text())
def test_any_text_will_do(make: type[SelectionStrategy], name: str, description: str, query: str) -> None:
    strategy = make()
    strategy.add(ToolSpec(name, description, {"properties": {name: {"enum": [description, 1]}, "x": True}}))
    assert set(strategy.select(query, limit=3)) <= {name}


@every_strategy
def test_what_fits_comes_first(make: type[SelectionStrategy]) -> None:
    strategy = make()
    assert strategy.select("weather", limit=3) == []
    for spec in (
        ToolSpec("send_mail", "Send a mail to a person"),
        ToolSpec("get_weather", "Current weather for a city"),
        ToolSpec("read_file", "Read a file of the disk"),
    ):
        strategy.add(spec)
    assert strategy.select("what is the weather in the city of Paris?", limit=3)[0] == "get_weather"
    strategy.remove("get_weather")
    strategy.remove("never_there")
    assert "get_weather" not in strategy.select("what is the weather in the city of Paris?", limit=3)


@every_strategy
def test_it_is_one_for_the_type_checker_and_at_run_time(make: type[SelectionStrategy]) -> None:
    assert isinstance(make(), SelectionStrategy)
