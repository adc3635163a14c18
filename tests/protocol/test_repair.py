"""Repair: what json-repair may read for us, and the guesses that are never made."""

import time

import pytest

from toolwire.protocol.arguments import Checker, Understood
from toolwire.protocol.failures import Failure
from toolwire.protocol.repair import LONGEST, repaired, unbalanced, unfenced


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ("{'a': 1}", {"a": 1}),
        ("{a: 1}", {"a": 1}),
        ('{"a": True, "b": None}', {"a": True, "b": None}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('{"a": "say "hi" now"}', {"a": 'say "hi" now'}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ('{"a": 1 // one\n}', {"a": 1}),
        ('```json\n{"a": 1,}\n```', {"a": 1}),
    ],
)
def test_what_is_plain_is_repaired(text: str, value: object) -> None:
    assert repaired(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "hello", "null", "[1,]", "{", "{,}", "{}}", "[", '{"a": }', '{"a" 1}', "{: 1}"),
        *('{"a": 1', '{"a": "b', "{'a': {'b': 1}", '{"a": [1, 2}', '{"a": 1}}', "{'path': '/tmp/x}"),
        *('{"a": 1}{"b": 2}', '{"a": 1,}\n{"b": 2}', 'I call {"a": 1} now', '{"a": 1e400}', '{"a": "\\ud800",}'),
        "{'a': 1" + " " * LONGEST + "}",
    ],
)
def test_no_wild_guess_is_made(text: str) -> None:
    assert repaired(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{" + '"\\' * 7_900 + "}",
            "{" + '"a":' * 4_000 + "}",
            '{"a":"' + 'x"' * 8_000 + "}",
            "{" * 8_000 + "}" * 8_000,
        ),
        *("{" + "a:1 " * 4_000 + "}", '{"a":' + "[1 " * 300 + "]" * 300 + "}", "{/*" + "*" * 7_900 + "}"),
        *(
            '{"a": "' + 'b", c: "' * 5_000 + '"}',
            "```" * 20_000,
            "```\n" + " " * 60_000 + "```",
            "{" + "(a)" * 5_400 + "}",
        ),
    ],
    ids=range(11),
)
def test_no_repair_takes_long(text: str) -> None:
    repaired("{'a': 1}")  # what is imported late is there now
    began = time.perf_counter()
    repaired(text)
    unfenced(text)
    assert time.perf_counter() - began < 2.0, "0.1 s where it was written"


@pytest.mark.parametrize(
    ("text", "open_end"),
    [
        *(("{}", False), ("{", True), ("{[}", True), ("}{}", True)),
        *(('{"a": "{"}', False), ('{"a": "\\"}', True), ("{'a': '}'}", False)),
        ("{\"a\": \"'\"}", False),
    ],
)  # fmt: skip
def test_brackets_in_texts_do_not_count(text: str, open_end: bool) -> None:  # noqa: FBT001
    assert unbalanced(text) is open_end


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```json\n{}\n```", "{}\n"),
        ("```\n{}```", "{}"),
        (" ```JSON \r\n{}\n``` ", "{}\n"),
        ("```json {}```", None),
        ("```json\n{}\n```\n```json\n{}\n```", None),
        ("```json\n{}", None),
        ("``````", None),
        ("```", None),
        ("{}", None),
    ],
)
def test_one_code_fence_around_all(text: str, inside: str | None) -> None:
    assert unfenced(text) == inside


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_it_is_off_unless_it_is_switched_on_and_it_is_told() -> None:
    checker = Checker(SCHEMA)
    for text in ("{'n': 1}", b"{'n': 1}"):
        assert isinstance(checker.understand(text), Failure)
        understood = checker.understand(text, repair=True)
        assert isinstance(understood, Understood)
        assert understood.text == '{"n":1}'
        assert str(*understood.mended) == """at the top: repaired JSON, "{'n': 1}" -> {"n":1}"""


def test_what_was_repaired_may_be_mended_too_and_has_to_fit() -> None:
    checker = Checker(SCHEMA)
    understood = checker.understand("{'n': '1'}", repair=True)
    assert isinstance(understood, Understood)
    assert [m.pointer for m in understood.mended] == ["", "/n"]
    strict = checker.understand("{'n': '1'}", repair=True, lenient=False)
    assert isinstance(strict, Failure)
    assert [error["pointer"] for error in strict.details["errors"]] == ["/n"]
    assert isinstance(checker.understand("{'m': 1}", repair=True), Failure)


def test_nothing_becomes_an_empty_object() -> None:
    anything = Checker({"type": "object"})
    for text in ("", "{,}", "hello", "{", "[]", "{'': }"):
        assert isinstance(anything.understand(text, repair=True), Failure)
    understood = anything.understand("null")
    assert isinstance(understood, Understood)
    assert str(*understood.mended) == 'at the top: null in place of no arguments, "null" -> {}'
    assert isinstance(Checker(SCHEMA | {"required": []}).understand("null"), Failure)
