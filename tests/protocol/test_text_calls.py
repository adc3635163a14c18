"""Calls written as text: what is a call in each notation, what is text, and that cutting changes nothing."""

import json
import time
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.notations import NOTATIONS
from toolwire.protocol.text_calls import Scan
from toolwire.protocol.tools import ToolCall

CORPUS = Path(__file__).parents[1] / "corpus" / "model_outputs.jsonl"
OFFERED = frozenset({"search", "weather", "a.b"})

Heard = list[str | tuple[str, str]]


def heard(notation: str, *pieces: str) -> Heard:
    """Texts, put together, and calls without their ids."""
    numbers = count(1)
    parser = NOTATIONS[notation](lambda: f"c{next(numbers)}", OFFERED)
    out: Heard = []
    for each in [*(part for piece in pieces for part in parser.hear(piece)), *parser.end()]:
        if isinstance(each, ToolCall):
            assert isinstance(each.arguments, str)
            out.append((each.name, each.arguments))
        elif out and isinstance(out[-1], str):
            out[-1] += each
        else:
            out.append(each)
    return out


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[one:other] for one, other in pairwise(ends)]


HERMES: list[tuple[str, Heard]] = [
    ("no call at all, a < b", ["no call at all, a < b"]),
    ('<tool_call>{"name": "search", "arguments": {"q": 1}}</tool_call>', [("search", '{"q": 1}')]),
    (
        (
            'Let me.\n<tool_call>\n{"name": "search", "arguments": {"q": "}</tool_call>\\""}}\n</tool_call>\n'
            '<tool_call>\n{"arguments": {}, "name": "weather"}\n</tool_call>\n'
        ),
        ["Let me.\n", ("search", '{"q": "}</tool_call>\\""}'), ("weather", "{}")],
    ),
    ('<tool_call>{"name": "search", "arguments": {}}</tool_call> and done', [("search", "{}"), " and done"]),
    ('<tool_call>{"name": "search", "arguments": {"q": [1]}}', [("search", '{"q": [1]}')]),
    ('<tool_call>{"name": "search", "arguments": {"q": [1]}}\n</tool_c', [("search", '{"q": [1]}')]),
    ('<tool_call>{"name": "search", "arguments": {"q": [1', [("search", '{"q": [1')]),
    ('<tool_call>{"name": "sea', ['<tool_call>{"name": "sea']),
    ('<tool_call>{"name": "search", "arguments": {"q": 1}</tool_call> so', [("search", '{"q": 1}'), " so"]),
    ('<tool_call>{"name": "search", "arguments": "{\\"q\\": 1}"}</tool_call>', [("search", '{"q": 1}')]),
    ('<tool_call>{"name": "search"}</tool_call>', [("search", "{}")]),
    ('<tool_call>{"name": "search", "arguments": null}</tool_call>', [("search", "{}")]),
    ('<tool_call>{"name": "search", "parameters": {"q": 2}}</tool_call>', [("search", '{"q": 2}')]),
    (
        '<tool_call>[{"name": "search"}, {"name": "weather"}]</tool_call> x',
        [("search", "{}"), ("weather", "{}"), " x"],
    ),
    ('<tool_call>{"name": "search"}\n{"name": "weather"}\n</tool_call>', [("search", "{}"), ("weather", "{}")]),
    (
        '<tool_call>{"name": "search", "arguments": {"q": \'x\'}}</tool_call>!',
        [("search", "{\"q\": 'x'}"), "!"],
    ),
    (
        (
            '<tool_call>{"name": "search", "arguments": {"q": "x}}</tool_call> '
            '<tool_call>{"name": "weather", "arguments": {}}</tool_call> so'
        ),
        [("search", '{"q": "x}'), ("weather", "{}"), " so"],
    ),
    ("<tool_call>{'name': 'search'}</tool_call>", ["<tool_call>{'name': 'search'}</tool_call>"]),
    ("The mark <tool_call> is a mark", ["The mark <tool_call> is a mark"]),
    ("<tool_call></tool_call>", ["<tool_call></tool_call>"]),
    ("<tool_call>[1]</tool_call>", ["<tool_call>[1]</tool_call>"]),
    ('<tool_call><tool_call>{"name": "search"}</tool_call>', ["<tool_call>", ("search", "{}")]),
    ("<tool_", ["<tool_"]),
    ("<tool_call>  ", ["<tool_call>  "]),
]

MISTRAL: list[tuple[str, Heard]] = [
    ("no call [at all]", ["no call [at all]"]),
    ('[TOOL_CALLS] [{"name": "search", "arguments": {"q": "]"}}]', [("search", '{"q": "]"}')]),
    (
        'Well. [TOOL_CALLS][{"name": "search", "arguments": {}}, {"name": "weather", "arguments": {}}] so',
        ["Well. ", ("search", "{}"), ("weather", "{}"), " so"],
    ),
    ('[TOOL_CALLS] [{"name": "search", "arguments": {"q": [1', [("search", '{"q": [1')]),
    ('[TOOL_CALLS] {"name": "search", "arguments": {}}', [("search", "{}")]),
    ('[TOOL_CALLS]search{"q": 1}', [("search", '{"q": 1}')]),
    (
        '[TOOL_CALLS]search[ARGS]{"q": 1}[TOOL_CALLS]a.b[CALL_ID]x1y2[ARGS]{"q": {}}',
        [("search", '{"q": 1}'), ("a.b", '{"q": {}}')],
    ),
    ('[TOOL_CALLS]search{"q": "x}[TOOL_CALLS]weather{}', [("search", '{"q": "x}'), ("weather", "{}")]),
    ('[TOOL_CALLS]search{"q"', [("search", '{"q"')]),
    ("[TOOL_CALLS]search", ["[TOOL_CALLS]search"]),
    ("[TOOL_CALLS] is a mark {so}", ["[TOOL_CALLS] is a mark {so}"]),
    ("[TOOL_CALLS]\nnothing\n", ["[TOOL_CALLS]\nnothing\n"]),
    ('[TOOL_CALLS][TOOL_CALLS]search{"q": 1}', ["[TOOL_CALLS]", ("search", '{"q": 1}')]),
    ("[TOOL_CALLS][]", ["[TOOL_CALLS][]"]),
    (f"[TOOL_CALLS]{'x' * 400}{{}}", [f"[TOOL_CALLS]{'x' * 400}{{}}"]),
    ("[TOOL", ["[TOOL"]),
]

JSON: list[tuple[str, Heard]] = [
    ("just text\n\n  and more", ["just text\n\n  and more"]),
    ('{"name": "search", "arguments": {"q": 1}}', [("search", '{"q": 1}')]),
    ('  { "type": "function", "name": "search", "parameters": {} }\n', ["  ", ("search", "{}")]),
    ('I look.\n{"name": "search", "arguments": {}}\nso', ["I look.\n", ("search", "{}"), "\nso"]),
    (
        '[{"name": "search", "arguments": {}},\n {"name": "weather", "arguments": {}}]',
        [("search", "{}"), ("weather", "{}")],
    ),
    ('[{"name": "search"}, {"name": "nobody"}]', ['[{"name": "search"}, {"name": "nobody"}]']),
    ('{"name": "nobody", "arguments": {}}', ['{"name": "nobody", "arguments": {}}']),
    ('{"name": "search", "age": 3}', ['{"name": "search", "age": 3}']),
    ('{"city": "Paris"} {"name": "search"}', ['{"city": "Paris"} {"name": "search"}']),
    ('so: {"name": "search", "arguments": {}}', ['so: {"name": "search", "arguments": {}}']),
    ('```json\n{"name": "search", "arguments": {"q": 1}}\n```', [("search", '{"q": 1}')]),
    (
        'Well\n```\n{"name": "search"}\n{"name": "weather"}\n```\nso',
        ["Well\n", ("search", "{}"), ("weather", "{}"), "\nso"],
    ),
    ('```json\n{"name": "search"}\n', [("search", "{}")]),
    ('```json\n{"name": "search"}\n``', [("search", "{}")]),
    ('```json\n{"name": "search"', ['```json\n{"name": "search"']),
    ('```json\n{"city": 1}\n```\n{"name": "search"}', ['```json\n{"city": 1}\n```\n', ("search", "{}")]),
    ('```json\n{"name": "search"} so\n```', ['```json\n{"name": "search"} so\n```']),
    ('```python\n{"name": "search"}\n```\n', ['```python\n{"name": "search"}\n```\n']),
    ('```x```\n{"name": "search"}', ["```x```\n", ("search", "{}")]),
    ("```json", ["```json"]),
    ("```json\n```\n", ["```json\n```\n"]),
    ("[1, 2]\n{}\n", ["[1, 2]\n{}\n"]),
    ('{"name": "search", "arguments": {"q": [1', ['{"name": "search", "arguments": {"q": [1']),
    ("{  \n", ["{  \n"]),
    ('{"name": "search"}{"name": "weather"}', [("search", "{}"), '{"name": "weather"}']),
    ('{"name": "search"}\n\n{"name": "weather"}\n', [("search", "{}"), ("weather", "{}")]),
]

SAID = [
    (notation, text, expected)
    for notation, said in (("hermes", HERMES), ("mistral", MISTRAL), ("json", JSON))
    for text, expected in said
]


@pytest.mark.parametrize(("notation", "text", "expected"), SAID)
def test_what_is_a_call_and_what_is_text(notation: str, text: str, expected: Heard) -> None:
    assert heard(notation, text) == expected
    assert heard(notation, *text) == expected


PARTS = sorted({
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "```", "```json\n", "```python\n", "\n", " ", "<", "["),
    *("{", "}", "]", '"', "\\", ",", "search", '{"name": "search", "arguments": {"q": "x"}}', '{"name": "search"}'),
    *('{"name":', '"search"', "text", "é", '{"q": 1}', "<tool_", "``", "'"),
})  # fmt: skip
texts = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=14).map("".join)
places = st.lists(st.integers(0, 400), max_size=12)


@pytest.mark.parametrize("notation", sorted(NOTATIONS))
@given(text=texts, places=places)
def test_cutting_changes_nothing(notation: str, text: str, places: list[int]) -> None:
    assert heard(notation, *cut(text, places)) == heard(notation, text)


@pytest.mark.parametrize("notation", sorted(NOTATIONS))
@given(text=texts, places=places)
def test_no_character_is_lost(notation: str, text: str, places: list[int]) -> None:
    said = heard(notation, *cut(text, places))
    if all(isinstance(each, str) for each in said):
        assert "".join(each for each in said if isinstance(each, str)) == text
    at = 0
    for each in said:  # texts and arguments stand in the text, in that order
        if each != "" and each[1:] != ("{}",):
            at = text.index(each if isinstance(each, str) else each[1], at)


@pytest.mark.parametrize("notation", sorted(NOTATIONS))
@given(text=st.text(alphabet="ab {}\"\n'", max_size=60), places=places)
def test_text_comes_at_once_but_for_what_may_begin_a_call(notation: str, text: str, places: list[int]) -> None:
    if notation == "json":
        text = f"x{text}".replace("\n", " ")
    parser = NOTATIONS[notation](lambda: "c", OFFERED)
    for piece in cut(text, places):
        assert parser.hear(piece) == [piece]
    assert parser.end() == []


arguments = st.dictionaries(
    st.text(max_size=5),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=12), st.lists, max_leaves=4),
    max_size=3,
)
WAYS = {
    "hermes": lambda calls: "".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>\n" for call in calls),
    "mistral": lambda calls: f"[TOOL_CALLS] {json.dumps(calls)}",
    "json": lambda calls: f"```json\n{json.dumps(calls, indent=1)}\n```",
}


@pytest.mark.parametrize("notation", sorted(NOTATIONS))
@given(calls=st.lists(st.tuples(st.sampled_from(sorted(OFFERED)), arguments), min_size=1, max_size=4), places=places)
def test_what_was_written_is_heard(notation: str, calls: list[tuple[str, Any]], places: list[int]) -> None:
    text = WAYS[notation]([{"name": name, "arguments": given} for name, given in calls])
    said = heard(notation, *cut(text, places))
    assert [(each[0], json.loads(each[1])) for each in said] == calls


HOSTILE = [
    ("mistral", "[TOOL_CALLS]{", None),
    ("mistral", '[TOOL_CALLS]a{"x', None),
    ("mistral", '[TOOL_CALLS][{"', 4),
    ("hermes", '<tool_call>{"', None),
    ("hermes", '<tool_call>{"name":"search","arguments":{"x":"}', 4),
    ("hermes", '<tool_call>{"name":"search","arguments":{}} ', 1),
    *(("json", text, 4) for text in ('{"name":', "```json\n", '```\n{"name":"search"}\n')),
]
BLANKS = [
    ("hermes", '<tool_call>{"name":"search","arguments":{}}'),
    ("mistral", '[TOOL_CALLS][{"name":"search"}'),
    ("json", ""),
    ("json", "{"),
    ("json", "```\n"),
    ("json", '```\n{"name":"search"}'),
]


@pytest.mark.parametrize(
    ("notation", "text", "length"),
    [
        *((notation, part * (60_000 // len(part)), length) for notation, part, length in HOSTILE),
        *((notation, begun + " " * 60_000, 2) for notation, begun in BLANKS),
    ],
)
def test_hostile_text_takes_no_longer_than_its_length(notation: str, text: str, length: int | None) -> None:
    """What takes the square of it took 2 to 20 seconds here."""
    length = length or len(text)
    began = time.process_time()
    heard(notation, *(text[at : at + length] for at in range(0, len(text), length)))
    assert time.process_time() - began < 1


def test_a_call_far_from_the_beginning_of_its_line_is_text() -> None:
    text = " " * 200 + '{"name": "search", "arguments": {}}'
    assert heard("json", text) == heard("json", *text) == [text]
    text = "{" + " " * 200 + '"name": "search", "arguments": {}}'
    assert heard("json", text) == heard("json", *text) == [text]


@pytest.mark.parametrize("notation", ["hermes", "mistral"])
def test_who_explains_the_notation_calls_nothing(notation: str) -> None:
    text = '<tool_call>{"name": "tool", "arguments": {...}}</tool_call>[TOOL_CALLS]{"name": "tool", "arguments": {...}}'
    assert heard(notation, text) == [text]


def test_what_follows_a_call_and_is_none_is_text_with_its_blanks() -> None:
    text = '<tool_call>{"name": "search", "arguments": {}}'
    assert heard("hermes", f'{text}  \n{{"a": 1}}') == [("search", "{}"), '  \n{"a": 1}']


def outputs() -> list[str]:
    lines = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    return [call["arguments"] for line in lines for call in line["calls"] if isinstance(call["arguments"], str)]


@pytest.mark.parametrize("notation", ["hermes", "mistral"])
def test_arguments_as_models_write_them_arrive_as_they_are(notation: str) -> None:
    """Whole ones unchanged, malformed ones malformed: whether those are mended is the executor's to say."""
    seen = 0
    for text in outputs():
        written = f'{{"name": "weather", "arguments": {text}}}'
        said = f"<tool_call>{written}</tool_call>" if notation == "hermes" else f"[TOOL_CALLS] [{written}]"
        calls = [each for each in heard(notation, said) if not isinstance(each, str)]
        assert heard(notation, *said) == heard(notation, said)
        try:
            whole = isinstance(json.loads(text), dict)
        except ValueError:
            # Else the object around it lends a brace or takes one, or ends where a mark may begin.
            balanced = text.count("{") == text.count("}") and "<" not in text
            for _, given in calls if balanced else ():
                with pytest.raises(ValueError):  # noqa: PT011 - whatever json says of it
                    json.loads(given)
            continue
        if whole:
            seen += 1
            assert [json.loads(given) for _, given in calls] == [json.loads(text)]
    assert seen > 20


def test_a_scan_looks_at_each_character_once() -> None:
    scan = Scan()
    assert scan.feed('{"a": "') == -1
    for _ in range(50_000):
        assert scan.feed("}]\\\\") == -1
    assert scan.feed('"}rest') == 2
    assert scan.closed
    assert len(scan.text) == 200_009
