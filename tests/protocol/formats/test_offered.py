"""A thousand tools are translated once, whatever list they stand in."""

from typing import Any

import msgspec
import pytest

from toolwire.protocol.formats.contract import Format
from toolwire.protocol.formats.offered import Offers
from toolwire.protocol.spoken import format_named
from toolwire.protocol.tools import ToolSpec


def counting() -> tuple[Format, list[str]]:
    """OpenAI's format, and the names of the tools that it was made to translate."""
    format_: Format = format_named("openai")
    translated: list[str] = []

    def tool_to(spec: ToolSpec, *, strict: bool = False) -> dict[str, Any]:
        translated.append(spec.name)
        return format_.tool_to(spec, strict=strict)

    return format_._replace(tool_to=tool_to), translated


def test_a_thousand_tools_are_translated_once() -> None:
    format_, translated = counting()
    offers = Offers(format_)
    specs = [ToolSpec(f"t.{n}") for n in range(1_000)]
    first = offers.told(specs)
    assert offers.told(list(specs)) is first
    assert len(translated) == 1_000
    assert len(msgspec.json.decode(first.told)) == 1_000
    assert first.names[format_.names.told("t.7")] == "t.7"
    more = offers.told([*specs[:500], ToolSpec("new")])
    assert translated[1_000:] == ["new"]
    assert msgspec.json.decode(more.told)[:500] == msgspec.json.decode(first.told)[:500]


@pytest.mark.parametrize("make", [list, tuple])
def test_tools_are_known_by_identity(make: type[list[ToolSpec]]) -> None:
    format_, translated = counting()
    offers = Offers(format_)
    a, b = ToolSpec("a"), ToolSpec("b")
    first = offers.told(make([a, b]))
    assert offers.told(make([a, b])) is first
    assert offers.told(make([b, a])) is not first
    assert offers.told(make([a, ToolSpec("b")])) is not first
    assert translated == ["a", "b", "b"]


def test_what_is_over_a_limit_is_forgotten_the_oldest_first() -> None:
    format_, translated = counting()
    offers = Offers(format_, specs=2, lists=1)
    a, b, c = (ToolSpec(name) for name in "abc")
    offers.told([a, b])
    offers.told([b, c])
    offers.told([b])
    assert translated == ["a", "b", "c"]
    offers.told([a])
    assert translated == ["a", "b", "c", "a"]


def test_strict_is_handed_on() -> None:
    spec = ToolSpec("t", "", {"type": "object", "properties": {}})
    assert b'"strict":true' in bytes(Offers(format_named("anthropic"), strict=True).told([spec]).told)
    assert b'"strict"' not in bytes(Offers(format_named("anthropic")).told([spec]).told)


def test_no_tools_are_an_empty_list() -> None:
    assert bytes(Offers(format_named("mcp")).told([]).told) == b"[]"
