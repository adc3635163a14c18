"""Sanitizers: what the safe rules refuse, change and leave, and the order in which one's own are done."""

import json
import time
import timeit
from pathlib import PurePosixPath
from typing import Annotated, Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from toolwire.protocol.failures import ToolError
from toolwire.protocol.redaction import Redaction
from toolwire.protocol.sanitizers import (
    DEPTH,
    ITEMS,
    STRING,
    Refused,
    Sanitizers,
    cleaned,
    is_a,
    sanitized,
    unremarkable,
)
from toolwire.protocol.tools import Mended


def refusal(arguments: dict[str, Any], raw: frozenset[str] = frozenset()) -> Refused:
    with pytest.raises(Refused) as refused:
        cleaned(arguments, raw)
    assert refused.value.failure.effect == "none"
    return refused.value


@pytest.mark.parametrize("code", [*range(9), *range(0x0E, 0x20), 0x7F, *range(0x80, 0x85), *range(0x86, 0xA0)])
def test_control_characters_are_refused_with_their_place(code: int) -> None:
    failure = refusal({"a": {"b/c": ["x", f"a{chr(code)}b"]}}).failure
    assert failure.code == "invalid_arguments"
    assert failure.message == (
        f"the arguments can't be taken: /a/b~1c/1: text may not hold the control character U+{code:04X}"
    )
    assert failure.details["errors"][0]["pointer"] == "/a/b~1c/1"
    assert refusal({"a": {chr(code): 1}}).failure.code == "invalid_arguments", "in a key too"


@pytest.mark.parametrize(
    "text", ["\t\n\v\f\r\x85", "\u200d\u200c\u202e\u2066\u2028", "\ufeff", "\ufb01\uff21", "\ufffd\uffff", "", " a "]
)
def test_what_has_meaning_stays(text: str) -> None:
    arguments = {"a": [text, {text: text}], "b": [1, 1.5, True, None]}
    assert cleaned(arguments) == (arguments, ())


def test_text_is_brought_into_nfc_and_that_is_told() -> None:
    arguments, mended = cleaned({"a": "cafe\u0301", "b": [{"c": "\u212b"}], "d": "caf\u00e9"})
    assert arguments == {"a": "caf\u00e9", "b": [{"c": "\u00c5"}], "d": "caf\u00e9"}
    assert mended == (
        Mended("/a", "text in Unicode's form NFC", '"cafe\u0301"', '"caf\u00e9"'),
        Mended("/b/0/c", "text in Unicode's form NFC", '"\u212b"', '"\u00c5"'),
    )
    key = {"cafe\u0301": 1}
    assert cleaned({"a": key}) == ({"a": key}, ()), "a key is no text to be changed: two could become one"


def test_a_secret_is_changed_and_not_shown() -> None:
    redaction = Redaction({"properties": {"a": {"writeOnly": True}}})
    arguments, mended = cleaned({"a": "cafe\u0301"}, redaction=redaction)
    assert arguments == {"a": "caf\u00e9"}
    assert mended == (Mended("/a", "text in Unicode's form NFC", '"***"', '"***"'),)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_sizes_are_bounded() -> None:
    fits = {
        "text": "x" * STRING,
        "list": [0] * ITEMS,
        "object": {str(n): 0 for n in range(ITEMS)},
        "deep": nested(DEPTH - 1),
    }
    assert cleaned(fits) == (fits, ())
    for pointer, limit, value in (
        ("/a", STRING, "x" * (STRING + 1)),
        ("/a", STRING, "\u00e9" * (STRING // 2 + 1)),
        ("/a", ITEMS, [0] * (ITEMS + 1)),
        ("/a", ITEMS, {str(n): 0 for n in range(ITEMS + 1)}),
        ("/a" + "/0" * (DEPTH - 1), DEPTH, nested(DEPTH)),
    ):
        failure = refusal({"a": value}).failure
        assert (failure.code, failure.details) == ("too_large", {"pointer": pointer, "limit": limit})
        assert failure.message.startswith(f"{pointer}: ")
        assert cleaned({"a": value}, frozenset({"a"})) == ({"a": value}, ()), "unless it is to be left as it comes"


values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=8) | st.text('a\u0301\x00\x1b\x7f\x80\x85\\"u\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from("ab"), values, max_size=2), st.booleans())
def test_what_looks_unremarkable_is(arguments: dict[str, Any], ascii_only: bool) -> None:  # noqa: FBT001
    text = json.dumps(arguments, ensure_ascii=ascii_only)
    if unremarkable(text):
        assert cleaned(arguments) == (arguments, ())


@given(st.dictionaries(st.sampled_from("ab"), values, max_size=2))
def test_clean_is_clean(arguments: dict[str, Any]) -> None:
    try:
        clean, _ = cleaned(arguments)
    except Refused:
        return
    assert cleaned(clean) == (clean, ())
    assert normalize("NFC", json.dumps(clean, ensure_ascii=False)) == normalize(
        "NFC", json.dumps(arguments, ensure_ascii=False)
    )


@pytest.mark.parametrize(
    "text", ['{"a": "' + "x" * STRING + '"}', '{"a": [' + "0," * ITEMS + "0]}", '{"a": ' + "[" * 70 + "]" * 70 + "}"]
)
def test_what_may_be_too_large_is_looked_at(text: str) -> None:
    assert not unremarkable(text)


def test_plain_text_costs_next_to_nothing() -> None:
    text = json.dumps({"city": "Paris", "units": "celsius", "path": "a\\d", "lines": 'x\ny"z"', "n": [1, 2, 3]})
    assert unremarkable(text)
    assert unremarkable('{"city": "Köln", "text": "天气"}')
    assert min(timeit.repeat(lambda: unremarkable(text), number=2000, repeat=5)) / 2000 < 5e-6, "0.4 µs"


def test_the_worst_is_looked_at_quickly() -> None:
    arguments = {"a": ["e\u0301" * 100] * 5_000, "b": [[0]] * 10_000}
    began = time.perf_counter()
    cleaned(arguments)
    assert time.perf_counter() - began < 1.0, "0.05 s"


# One's own


def below(value: str) -> str:
    if value.startswith("/etc"):
        raise ValueError("it has to lie below /data")
    return value


def test_they_are_done_by_type_then_by_name_then_by_the_tool() -> None:
    rules = Sanitizers()
    rules.add(str, lambda value: value + " type")
    rules.add("path", lambda value: value + " name")
    rules.add("path", lambda value: value + " again")
    steps = rules.of({"path": str, "n": int, "other": str | None}, {"path": lambda value: value + " tool", "n": None})
    values: dict[str, Any] = {"path": "x", "n": 1, "other": "y"}
    assert sanitized(values, steps) == (
        Mended("/path", "sanitized", '"x"', '"x type name again tool"'),
        Mended("/other", "sanitized", '"y"', '"y type"'),
    )
    assert values == {"path": "x type name again tool", "n": 1, "other": "y type"}


def test_what_is_not_changed_is_not_told_and_what_is_left_out_is_not_judged() -> None:
    values: dict[str, Any] = {"a": [1]}
    assert sanitized(values, {"a": (list,), "b": (below,)}) == ()
    assert values == {"a": [1]}
    assert sanitized({"a": 1}, {"a": (float,)}) == (Mended("/a", "sanitized", "1", "1.0"),)


def test_a_refusal_says_where_and_why() -> None:
    with pytest.raises(Refused, match="/path: it has to lie below /data, got") as refused:
        sanitized({"path": "/etc/passwd"}, {"path": (below,)})
    assert refused.value.failure.details["errors"] == [
        {"pointer": "/path", "expected": "it has to lie below /data", "got": '"/etc/passwd"'}
    ]
    with pytest.raises(Refused) as refused:
        sanitized({"path": "/etc/passwd"}, {"path": (below,)}, hidden=["path"])
    assert "passwd" not in str(refused.value)
    assert "/data" not in str(refused.value), "whoever wrote the sentence may have put the value into it"


def test_what_else_a_sanitizer_raises_goes_on() -> None:
    def odd(value: Any) -> Any:
        raise ToolError("not today")

    with pytest.raises(ToolError):
        sanitized({"a": 1}, {"a": (odd,)})


class Odd:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


def test_values_that_can_not_be_compared_count_as_changed() -> None:
    assert len(sanitized({"a": Odd()}, {"a": (lambda _: Odd(),)})) == 1


@pytest.mark.parametrize(
    ("kind", "wanted", "is_one"),
    [
        (str, str, True),
        (str | None, str, True),
        (Annotated[str, Meta(min_length=1)], str, True),
        (Annotated[str | None, Meta(title="A")], str, True),
        (bool, int, False),
        (bool, bool, True),
        (list[int], list, True),
        (dict[str, int], list, False),
        (PurePosixPath, PurePosixPath.__base__, True),
        (Any, str, False),
    ],
)
def test_kinds(kind: Any, wanted: type, is_one: bool) -> None:  # noqa: FBT001
    assert is_a(kind, wanted) is is_one
