"""Results as text: strings without quotes, nothing lost."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.formats.results import heard_text, told_text

strings = st.text(st.characters(exclude_categories=["Cs"]))
contents = st.recursive(
    st.none() | st.booleans() | st.integers() | strings, lambda inner: st.lists(inner, max_size=3)
).map(lambda value: msgspec.json.encode(value).decode())


@given(contents)
def test_what_is_told_is_heard(content: str) -> None:
    assert json.loads(heard_text(told_text(content))) == json.loads(content)


@given(strings)
def test_any_text_is_heard_as_json(text: str) -> None:
    value = json.loads(heard_text(text))
    assert value == text or json.loads(text) == value


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('"line 1\\nline 2"', "line 1\nline 2"),
        ('"5"', '"5"'),
        ('"null"', '"null"'),
        ('""', '""'),
        ('" "', '" "'),
        ('"{}"', '"{}"'),
        ('{"a": "b"}', '{"a": "b"}'),
        ('"torn', '"torn'),
        ("0", "0"),
    ],
)
def test_what_a_model_reads(content: str, told: str) -> None:
    assert told_text(content) == told
