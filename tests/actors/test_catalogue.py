"""Which tools there are, where, and what is told to those who index them."""

import time

import pytest

from toolwire.actors.catalogue import LOST, Catalogue
from toolwire.protocol.failures import Misuse
from toolwire.protocol.tools import ToolSpec


class Told:
    """An index that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, spec: ToolSpec) -> None:
        self.said.append(f"+{spec.name}")

    def remove(self, name: str) -> None:
        self.said.append(f"-{name}")


def new_catalogue(*names: str) -> Catalogue:
    catalogue = Catalogue(lambda name, instance: f"{name}@{instance}")
    for name in names:
        catalogue.add(ToolSpec(name), "here")
    return catalogue


def test_it_is_a_mapping_of_names_to_specs() -> None:
    catalogue = new_catalogue("a", "b")
    assert dict(catalogue) == {"a": ToolSpec("a"), "b": ToolSpec("b")}
    assert len(catalogue) == 2
    assert "a" in catalogue
    assert catalogue.spec("c") is None
    assert catalogue["a"] == ToolSpec("a")
    with pytest.raises(KeyError):
        catalogue["c"]
    assert repr(catalogue) == "<Catalogue 2 tools>"


def test_a_tool_is_there_as_long_as_anybody_serves_it() -> None:
    catalogue = new_catalogue("a")
    catalogue.add(ToolSpec("a"), "there")
    catalogue.remove("a", "here")
    assert "a" in catalogue
    catalogue.remove("a", "elsewhere")
    catalogue.remove("a", "there")
    assert "a" not in catalogue
    catalogue.remove("a", "there")


def test_who_is_gone_is_forgotten_with_all_its_tools() -> None:
    catalogue = new_catalogue("a", "b")
    catalogue.add(ToolSpec("b"), "there")
    catalogue.forget("here")
    assert list(catalogue) == ["b"]


def test_what_is_lost_is_offered_to_nobody_but_stays_known_until_it_is_back_or_withdrawn() -> None:
    catalogue = new_catalogue("a", "b")
    secret = {"type": "object", "properties": {"key": {"type": "string", "writeOnly": True}}}
    catalogue.add(ToolSpec("s", parameters=secret), "there")
    catalogue.forget("there")
    assert list(catalogue) == ["a", "b"]
    assert "hunter22" not in catalogue.shown("s", '{"key": "hunter22"}')
    catalogue.add(ToolSpec("s", "back"), "there")
    assert catalogue.entry("s") is catalogue.entries["s"]
    catalogue.forget("there")
    catalogue.remove("s", "there")
    assert catalogue.entry("s") is None


def test_what_is_lost_is_bounded() -> None:
    catalogue = new_catalogue(*map(str, range(LOST + 1)))
    catalogue.forget("here")
    assert len(catalogue.lost) == LOST
    assert catalogue.spec("0") is None


def test_calls_go_to_everybody_in_turn() -> None:
    catalogue = new_catalogue("a")
    for instance in ("x", "y"):
        catalogue.add(ToolSpec("a"), instance)
    entry = catalogue.entries["a"]
    first = [entry.in_turn()[0] for _ in range(6)]
    assert sorted(first) == sorted([("a@here", "here"), ("a@x", "x"), ("a@y", "y")] * 2)
    assert all(sorted(entry.in_turn()) == sorted(entry.targets) for _ in range(3))


def test_the_version_grows_only_when_something_changes() -> None:
    catalogue = new_catalogue("a")
    before = catalogue.version
    catalogue.add(ToolSpec("a"), "here")
    catalogue.add(ToolSpec("a"), "there")
    catalogue.remove("a", "there")
    assert catalogue.version == before
    catalogue.add(ToolSpec("a", "new words"), "here")
    catalogue.add(ToolSpec("b"), "here")
    catalogue.remove("b", "here")
    assert catalogue.version == before + 3


def test_what_this_end_serves_is_a_change_of_its_own() -> None:
    catalogue = Catalogue(lambda name, instance: f"{name}@{instance}", "here")
    catalogue.add(ToolSpec("a"), "there")
    before = catalogue.version
    catalogue.add(ToolSpec("a"), "here")
    assert catalogue.version == before + 1
    catalogue.add(ToolSpec("a"), "here")
    assert catalogue.version == before + 1
    catalogue.remove("a", "here")
    assert catalogue.version == before + 2


def test_another_actor_of_this_end_takes_over_where_the_spec_stays_the_same() -> None:
    doors = iter("xyz")
    catalogue = Catalogue(lambda _name, _instance: next(doors), "here")
    for door in "xy":
        catalogue.add(ToolSpec("a"), "here")
        assert catalogue.entries["a"].targets == [(door, "here")]


def test_lazy_tools_are_known_until_they_are_loaded() -> None:
    catalogue = new_catalogue("a")
    catalogue.add(ToolSpec("b", lazy="selected"), "here")
    catalogue.add(ToolSpec("c", lazy="called"), "here")
    assert catalogue.unloaded == {"b"}
    catalogue.add(ToolSpec("b", "Real."), "here")
    assert catalogue.unloaded == set()
    catalogue.add(ToolSpec("b", lazy="selected"), "here")
    assert catalogue.unloaded == {"b"}
    catalogue.forget("here")
    assert catalogue.unloaded == set()


def test_what_somebody_has_loaded_is_not_lazy_because_another_has_not() -> None:
    catalogue = new_catalogue("a")
    catalogue.add(ToolSpec("a", lazy="selected"), "there")
    assert catalogue["a"] == ToolSpec("a")
    assert catalogue.entries["a"].instances == ["here", "there"]
    catalogue.add(ToolSpec("a", "Real."), "there")
    assert catalogue["a"].description == "Real."


def test_an_index_is_told_of_all_that_is_and_of_every_change() -> None:
    told = Told()
    catalogue = new_catalogue("a")
    catalogue.tell(told)
    catalogue.add(ToolSpec("b"), "here")
    catalogue.add(ToolSpec("b"), "there")
    catalogue.add(ToolSpec("b", "new words"), "here")
    catalogue.forget("here")
    assert told.said == ["+a", "+b", "+b", "-a"]


def test_a_digest_names_exactly_one_spec() -> None:
    catalogue = new_catalogue("a")
    before = catalogue.entries["a"].digest
    assert before == catalogue.entries["a"].digest == new_catalogue("a").entries["a"].digest
    catalogue.add(ToolSpec("a", "new words"), "here")
    assert catalogue.entries["a"].digest != before


def test_the_checker_is_made_when_it_is_first_needed() -> None:
    catalogue = new_catalogue()
    catalogue.add(ToolSpec("a", parameters={"type": "nonsense"}), "there")
    with pytest.raises(Misuse):
        _ = catalogue.entries["a"].checker
    catalogue.add(ToolSpec("a", parameters={"type": "object"}), "there")
    assert catalogue.entries["a"].checker is catalogue.entries["a"].checker


def test_an_unknown_tool_is_told_with_its_closest() -> None:
    failure = new_catalogue("get_weather", "book_flight").unknown("get_wether")
    assert failure.code == "unknown_tool"
    assert failure.details == {"closest": ["get_weather"]}
    assert "did you mean 'get_weather'?" in failure.message
    assert new_catalogue("a").unknown("zzzz").message == "there is no tool 'zzzz'"


def test_a_name_of_any_length_is_told_shortened_and_in_time() -> None:
    catalogue = new_catalogue(*(f"tool_number_{n}_of_many" for n in range(1_000)))
    began = time.monotonic()
    for _ in range(10):
        failure = catalogue.unknown("tool_number_" + "x" * 5_000)
        assert len(failure.message) < 400
    assert time.monotonic() - began < 2.0
