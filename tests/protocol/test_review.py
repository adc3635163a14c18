"""What a model, or a provider, stumbles over."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.review import CODES, review, reviewed
from toolwire.protocol.tools import ToolSpec, encode_json

CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Which city."}}}


def codes(spec: ToolSpec, *alike: str) -> list[str]:
    return [finding.code for finding in reviewed(spec, alike).findings]


def good(name: str = "get_weather", description: str = "The weather in a city.", parameters: Any = None) -> ToolSpec:
    return ToolSpec(name, description, CITY if parameters is None else parameters)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found = review([good()])
    assert (found.found, found.tools[0].findings) == (0, ())
    assert found.characters == found.tools[0].characters == len(encode_json(CITY))


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (good(description=""), "no_description"),
        (good(description=" \n "), "no_description"),
        (good(description="Weather."), "one_word"),
        (good(description="weather " * 128 + "x"), "too_long"),
        (good("weather.get"), "name_refused"),
        (good("x" * 65), "name_refused"),
        (good(parameters={"type": "object", "properties": {"city": {"type": "string"}}}), "undescribed"),
        (good(parameters={"properties": {"city": {"description": " "}}}), "undescribed"),
        (good(parameters={"properties": {"city": True}}), "undescribed"),
        (good(parameters={"properties": {"die Größe": {"description": "How large."}}}), "parameter_refused"),
    ],
)
def test_each_is_found_alone(spec: ToolSpec, code: str) -> None:
    assert codes(spec) == [code]
    assert code in CODES


def test_a_description_of_just_the_length_is_not_too_long() -> None:
    assert codes(good(description="x " * 512)) == []


def test_a_parameter_may_be_described_where_its_type_is() -> None:
    described = {"properties": {"at": {"$ref": "#/$defs/At"}}, "$defs": {"At": {"description": "A place."}}}
    assert codes(good(parameters=described)) == []
    without: list[Any] = [{}, {"At": {}}, {"At": True}, True]
    for definitions in without:
        assert codes(good(parameters={**described, "$defs": definitions})) == ["undescribed"]
    assert codes(good(parameters={"properties": {"at": {"$ref": "elsewhere"}}})) == ["undescribed"]


def test_tools_that_say_the_same_are_told_apart() -> None:
    found = review([good("a"), good("b", "The  weather\nin a city."), good("c", "Another."), *map(good, "defg")])
    by_name = {each.name: each.findings for each in found.tools}
    assert [finding.code for finding in by_name["a"]] == ["same_description"]
    assert by_name["a"][0].message == "the same description as b, d, e and 2 more: a model can't tell them apart"
    assert [finding.code for finding in by_name["c"]] == ["one_word"]
    assert "same_description" not in [
        f.code for each in review([good("a", ""), good("b", "")]).tools for f in each.findings
    ]


def test_sizes_are_characters_and_add_up() -> None:
    wide = {"properties": {"x": {"description": "é" * 10}}}
    found = review([good("a", "One two.", wide), good("b", "Three four.")])
    assert found.tools[0].characters == len('{"properties":{"x":{"description":""}}}') + 10
    assert found.characters == sum(each.characters for each in found.tools)


def test_what_is_not_loaded_is_marked() -> None:
    assert review([ToolSpec("soon", "It comes later.", {"type": "object"}, lazy="called")]).tools[0].lazy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.dictionaries(st.sampled_from(["properties", "$defs", "type"]), JSON)


@given(st.lists(st.builds(ToolSpec, st.text(max_size=70), st.text(max_size=20), SCHEMAS), max_size=4))
def test_whatever_a_stranger_announces_can_be_reviewed(specs: list[ToolSpec]) -> None:
    found = review(specs)
    assert [each.name for each in found.tools] == [spec.name for spec in specs]
    assert found.found == sum(len(each.findings) for each in found.tools)
    assert all(finding.code in CODES for each in found.tools for finding in each.findings)
