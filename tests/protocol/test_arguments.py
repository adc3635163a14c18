"""Arguments against schemas: jsonschema-rs and jsonschema agree, all that is wrong is told, and nothing runs away."""

import json
import socket
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

from toolwire.protocol.arguments import LARGEST, LISTED, Checker, parse
from toolwire.protocol.explanation import MOST, Explainer
from toolwire.protocol.failures import Failure, Misuse
from toolwire.protocol.soundness import HEAVIEST
from toolwire.protocol.wording import SHOWN, pointer

CALLS = Path(__file__).parents[1] / "data" / "bfcl_single" / "calls.jsonl"

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "units": {"enum": ["celsius", "fahrenheit", "kelvin"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "place": {
            "anyOf": [
                {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]},
                {"type": "null"},
            ]
        },
    },
    "required": ["city"],
    "additionalProperties": False,
}


def told(schema: Any, value: Any) -> list[tuple[str, str, str]]:
    return [(p.pointer, p.expected, p.got) for p in Checker(schema).check(value)]


def refused(schema: Any, text: str | bytes) -> Failure:
    failure = Checker(schema).judge(text)
    assert failure is not None
    return failure


def resolved(value: Any, steps: str) -> Any:
    for step in steps.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def test_what_fits_is_let_through() -> None:
    checker = Checker(WEATHER)
    assert checker.judge('{"city": "Paris", "days": 3.0, "place": {"lat": 1}}') is None
    assert checker.judge(b'{"city": "Paris"}') is None
    assert checker.check({"city": "Paris"}) == ()


def test_all_that_is_wrong_is_told_in_words() -> None:
    failure = refused(WEATHER, '{"citty": "Paris", "units": "celcius", "days": 0, "place": {"lat": "1"}, "x": [1, 2]}')
    assert failure.code == "invalid_arguments"
    assert failure.effect == "none"
    assert failure.message.splitlines() == [
        "the arguments do not fit the schema: ",
        '- /units: expected "celsius" or "fahrenheit" or "kelvin"; did you mean "celsius"?, got "celcius"',
        "- /days: expected at least 1, got 0",
        '- /place/lat: expected a number, got "1"',
        '- at the top: expected the required key "city", got only "citty", "units", "days", "place", "x"',
        '- /citty: expected no key "citty"; did you mean "city"?, got "Paris"',
        '- /x: expected no key "x"; the keys are "city", "units", "days", "place", got [1,2]',
    ]
    assert failure.details["errors"][1] == {"pointer": "/days", "expected": "at least 1", "got": "0"}


EXPLAINED: list[tuple[Any, Any, list[tuple[str, str, str]]]] = [
    ({"type": ["integer", "null"]}, "a", [("", "an integer or null", '"a"')]),
    ({"const": 1}, 2, [("", "exactly 1", "2")]),
    ({"pattern": "^a"}, "b", [("", 'a string that matches the regular expression "^a"', '"b"')]),
    ({"uniqueItems": True}, [1, 1.0], [("", "items that all differ", "[1,1.0]")]),
    ({"prefixItems": [{}], "items": False}, [1, 2], [("", "no further items", "[1,2]")]),
    ({"items": {"type": "integer"}}, [1, "a", {}], [("/1", "an integer", '"a"'), ("/2", "an integer", "{}")]),
    ({"properties": {"a": False}}, {"a": 1}, [("/a", "nothing: it is not allowed here", "1")]),
    ({"properties": {"a/b~": {"type": "null"}}}, {"a/b~": 1}, [("/a~1b~0", "null", "1")]),
    ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, [("", "a key that is at most 1 characters", '"ab"')]),
    ({"dependentRequired": {"a": ["b", "c"]}}, {"a": 1, "c": 1}, [("", 'the required key "b"', 'only "a", "c"')]),
    ({"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False}, {"xa": 1, "b": 1}, [
        ("/xa", "null", "1"), ("/b", 'no key "b", nor any other', "1"),
    ]),
    ({"additionalProperties": {"type": "null"}}, {"a": 1}, [("/a", "null", "1")]),
    ({"unevaluatedProperties": False}, {"a": 1}, [("", "no keys but those that the schema names", '{"a":1}')]),
    ({"not": {"const": 1}}, 1, [("", 'a value that does not fit {"const":1}', "1")]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 2, [
        ("", "a value that fits one of the alternatives only", "2"),
    ]),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "a", [("", "an integer or null", '"a"')]),
    ({"anyOf": [{"type": "string", "minLength": 3}, {"pattern": "^x"}]}, "a", [
        ("", 'at least 3 characters or a string that matches the regular expression "^x"', '"a"'),
    ]),
    ({"anyOf": [
        {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
        {"properties": {"kind": {"const": "b"}, "y": {"type": "integer"}}, "required": ["kind"]},
    ]}, {"kind": "b", "y": ""}, [("/y", "an integer", '""')]),
    ({"enum": list(range(25))}, -1, [("", " or ".join(map(str, range(20))) + " or 5 others", "-1")]),
    ({"enum": ["Red", "Green", "Blue"]}, "GREEN", [
        ("", '"Red" or "Green" or "Blue"; did you mean "Green"?', '"GREEN"'),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "problems"), EXPLAINED)
def test_each_keyword_has_its_words(schema: Any, value: Any, problems: list[tuple[str, str, str]]) -> None:
    assert told(schema, value) == problems


def test_a_message_is_bounded() -> None:
    failure = refused(
        {"items": False, "additionalProperties": False}, json.dumps({f"key{i}" * 50: "x" * 500 for i in range(40)})
    )
    assert len(failure.details["errors"]) == LISTED
    assert failure.message.endswith("- and at least 30 more")
    assert len(failure.message) < LISTED * (3 * 200 + 2 * SHOWN)
    assert len(Checker({"items": False}).check([1])) == 1
    assert len(Checker({"additionalProperties": False}).check({str(i): 1 for i in range(200)})) == MOST


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "are empty; without any, write {}"),
        (" \n", "are empty"),
        ('{"a": 1,}', "trailing comma in object (byte 8), near '{\"a\": 1,}'"),
        ('{"city": "Paris"', "ends too early"),
        ('```json\n{"a": 1}\n```', "invalid character (byte 0)"),
        ("{'a': 1}", "object keys must be strings (byte 1)"),
        ('{"a": 1}{"a": 2}', "trailing characters (byte 9)"),
        ('{"a": NaN}', "invalid character (byte 6)"),
        ('{"a": 1e400}', "out of range"),
        ('{"a": ' + "9" * 5000 + "}", "out of range"),
        ('{"a": "\\ud800"}', "half a surrogate pair"),
        ('{"a": "\ud800"}', "no UTF-8 text"),
        (b'{"a": "\xff"}', "no UTF-8 text"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[1]", 'a JSON object such as {"key": 1}, not an array'),
        ('"{}"', "not a string"),
        ("1.5", "not a number"),
        ("true", "not a boolean"),
        ("null", "not null"),
    ],
    ids=range(20),
)
def test_what_is_no_json_object_is_told_with_its_place(text: str | bytes, said: str) -> None:
    failure = refused({}, text)
    assert failure.code == "invalid_arguments"
    assert said in failure.message
    assert parse(text) == failure


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_too_large_is_a_matter_of_bytes(letter: str) -> None:
    fits = '{"a":"' + letter * ((LARGEST - 8) // len(letter.encode())) + '"}'
    assert Checker({}).judge(fits) is None
    assert Checker({}).judge(fits.encode()) is None
    for text in (fits + " " * 4, (fits + " " * 4).encode()):
        failure = refused({}, text)
        assert failure.code == "too_large"
        assert failure.details["limit"] == LARGEST < failure.details["size"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "dict"}, "at /type: 'dict' is no type; the types are \"array\""),
        ({"properties": {"x": {"type": "float"}}}, "at /properties/x/type: 'float' is no type"),
        ({"properties": {"x": {"pattern": "("}}}, 'at /properties/x/pattern: "(" is not a "regex"'),
        ({"required": "a"}, 'at /required: "a" is not of type "array"'),
        ({"$ref": "#/$defs/none"}, "'/$defs/none' does not exist"),
        ({"$ref": "#"}, "# leads back to itself"),
        ({"properties": {"x": {"allOf": [{"$ref": "#/properties/x"}]}}}, "#/properties/x leads back to itself"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "leads back to itself"),
        ({"$ref": "file:///etc/passwd"}, "cannot fetch file:///etc/passwd"),
        ({"$ref": "other.json"}, "other.json"),
        ([1], "object"),
        (True, "object"),
        ({"enum": {1, 2}}, "set"),
    ],
)
def test_what_is_no_schema_is_refused_at_once(schema: Any, said: str) -> None:
    with pytest.raises(Misuse) as misuse:
        Checker(schema)
    assert said in misuse.value.failure.message
    assert misuse.value.failure.code == "invalid_call"


def doubling(levels: int) -> dict[str, Any]:
    """A schema that unfolds to 2 ** levels subschemas at one place."""
    nodes: dict[str, Any] = {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(levels)}
    return {"$defs": {**nodes, f"n{levels}": {"type": "object"}}, "$ref": "#/$defs/n0"}


def test_a_schema_that_unfolds_without_end_is_refused() -> None:
    assert Checker(doubling(8)).judge("{}") is None
    with pytest.raises(Misuse, match=f"more than {HEAVIEST} subschemas"):
        Checker(doubling(40))
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"items": deep}
    with pytest.raises(Misuse):
        Checker(deep)


def test_a_recursive_schema_is_fine() -> None:
    tree = {
        "type": "object",
        "properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}},
        "additionalProperties": False,
    }
    assert Checker(tree).judge('{"left": {"left": {"value": 1}}}') is None
    assert told(tree, {"left": {"left": {"value": ""}}}) == [("/left/left/value", "an integer", '""')]


@contextmanager
def nobody_calls() -> Iterator[str]:
    """The URL of a server that fails the test if anybody connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(BlockingIOError):
            server.accept()


Remote = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize(
    "remote",
    [
        lambda url: {"$ref": url},
        lambda url: {"$id": url, "properties": {"a": {"$ref": "other.json"}}},
        lambda url: {"$dynamicRef": url + "#meta"},
        lambda url: {"properties": {"a": {"allOf": [{"$ref": url + "#/$defs/a"}]}}},
    ],
)
def test_a_remote_reference_is_refused_and_never_fetched(remote: Remote) -> None:
    with nobody_calls() as url, pytest.raises(Misuse):
        Checker(remote(url))


def test_no_explanation_fetches_either() -> None:
    # Past the Checker, straight to what explains: jsonschema of old fetched a `$ref` that it did not know.
    with nobody_calls() as url:
        schema = {"properties": {"a": {"$ref": url}}, "$schema": url, "$id": url + "/id", "required": ["b"]}
        with pytest.raises(Exception, match="Unresolvable"):
            Explainer(schema).explain({"a": 1})
        assert told({"$schema": url, "type": "object", "required": ["b"]}, {}) == [("", 'the required key "b"', "{}")]


def test_the_metaschema_may_be_referred_to() -> None:
    checker = Checker({"properties": {"schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}})
    assert checker.judge('{"schema": {"type": "string"}}') is None
    assert [p.pointer for p in checker.check({"schema": {"minLength": "a"}})] == ["/schema/minLength"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


CHOICE = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
LONG = "a" * 5000 + "!"
STRINGS = {"properties": {"a": {"items": {"type": "string"}}}}
RUNAWAYS: list[tuple[str, Any, Any]] = [
    ("many wrong items", STRINGS, {"a": [1] * 300_000}),
    ("many right items and one wrong", STRINGS, {"a": ["a"] * 200_000 + [1]}),
    ("many errors about one text", {"properties": {"a": {"allOf": [{"type": "null"}] * 1000}}}, {"a": "x" * 1_000_000}),
    ("nested alternatives", {
        "$defs": {"n": {"anyOf": [CHOICE | {"required": ["a"]}, CHOICE | {"required": ["b"]}]}}, "$ref": "#/$defs/n",
    }, nested(16)),
    ("a pattern that Python's re never ends on", {"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": LONG}),
    ("one that runs back and forth", {"properties": {"a": {"pattern": r"^(a|a)*(?!x)$"}}}, {"a": LONG}),
    ("such a pattern on keys", {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {LONG: 1}),
    ("and with unevaluated keys", {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}, {LONG: 1}),
    ("many unknown keys", {"additionalProperties": False}, {f"k{i}": 1 for i in range(50_000)}),
    ("a long unknown key", {"properties": {"abc": {}}, "additionalProperties": False}, {"ab" * 200_000: 1}),
    ("items that nearly all differ", {"properties": {"a": {"uniqueItems": True}}}, {
        "a": [{"i": i % 9_999} for i in range(10_000)],
    }),
    ("a long enum", {"properties": {"a": {"enum": [f"v{i}" for i in range(10_000)]}}}, {"a": "v"}),
    ("deep nesting", {"type": "object", "properties": {"a": {"$ref": "#"}}}, nested(400)),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value"), [run[1:] for run in RUNAWAYS], ids=[run[0] for run in RUNAWAYS])
def test_no_explanation_runs_away(schema: Any, value: Any) -> None:
    checker, text = Checker(schema), json.dumps(value)
    checker.judge("[]")
    Explainer({"type": "null"}).explain(1)  # what is imported late is there now
    began = time.perf_counter()
    failure = checker.judge(text)
    assert time.perf_counter() - began < 2.0, "about 0.1 s where it was written; without a bound 4 s to for ever"
    assert failure is not None
    assert failure.details["errors"]
    assert len(failure.message) < 10_000
    for error in failure.details["errors"]:
        resolved(value, error["pointer"])


def test_where_too_much_is_wrong_the_parameter_is_named() -> None:
    failure = refused(
        {"properties": {"a": {"items": {"type": "string"}}, "b": {}}}, json.dumps({"b": 1, "a": [1] * 200_000})
    )
    assert [error["pointer"] for error in failure.details["errors"]] == ["/a"]
    assert "too much in it" in failure.message


# The two libraries against each other

kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
keys = st.sampled_from(["a", "b", "c"])
small = st.integers(-3, 3)
scalars = (
    st.none()
    | st.booleans()
    | small
    | st.sampled_from([0.5, 1.0, -0.0, 1e30, 2**70])
    | st.sampled_from(["", "a", "ab", "é", "1"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)


def some(keywords: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


leaves = some(
    {
        "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "minimum": small,
        "exclusiveMaximum": small,
        "multipleOf": st.sampled_from([1, 2, 3]),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "pattern": st.sampled_from(["^a", "b$", "^[a-z]*$", "."]),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "required": st.lists(keys, max_size=2, unique=True),
        "minProperties": st.integers(0, 2),
        "maxProperties": st.integers(0, 2),
        "format": st.sampled_from(["date", "email"]),
        "default": values,
    }
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    branches = st.lists(inner, min_size=1, max_size=3)
    return some(
        {
            "type": kinds,
            "properties": st.dictionaries(keys, inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b|c"]), inner, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "unevaluatedProperties": st.booleans(),
            "propertyNames": inner,
            "dependentRequired": st.dictionaries(keys, st.lists(keys, max_size=2, unique=True), max_size=2),
            "required": st.lists(keys, max_size=2, unique=True),
            "items": st.booleans() | inner,
            "prefixItems": branches,
            "contains": inner,
            "uniqueItems": st.booleans(),
            "anyOf": branches,
            "oneOf": branches,
            "allOf": branches,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
        }
    )


schemas = st.recursive(leaves, grown, max_leaves=6)


def meaning(schema: Any) -> Any:
    """What a schema means here: jsonschema as it comes."""
    return jsonschema.Draft202012Validator(schema, registry=REGISTRY)


@given(schemas, values)
def test_both_libraries_agree_and_no_refusal_lacks_a_reason(schema: Any, value: Any) -> None:
    checker, fits = Checker(schema), meaning(schema).is_valid(value)
    problems = checker.check(value)
    assert (not problems) == fits
    assert ("unevaluatedProperties" in str(schema)) or len(problems) <= MOST
    for problem in problems:
        resolved(value, problem.pointer)
        assert problem.expected
        assert 0 < len(problem.got) <= 2 * SHOWN


@given(schemas, st.dictionaries(keys, values, max_size=3))
def test_text_and_value_are_judged_alike(schema: Any, value: dict[str, Any]) -> None:
    checker = Checker(schema)
    failure = checker.judge(json.dumps(value))
    assert (failure is None) == (not checker.check(value))


@given(schemas, values, st.sampled_from(["a", "b", "c"]))
def test_what_is_wrong_inside_is_found_at_its_place(schema: Any, value: Any, key: str) -> None:
    inside = Checker(schema).check(value)
    assume(inside)
    outside = Checker({"properties": {key: schema}}).check({key: value})
    assume(not any("too much in it" in p.expected for p in (*inside, *outside)))  # then the place is a rough one
    assert {p.pointer for p in outside} == {pointer([key]) + p.pointer for p in inside}


DIFFERENCES: list[tuple[str, Any, Any, bool, bool]] = [
    (
        "floats that are no multiple in binary: jsonschema-rs reckons in decimals",
        {"multipleOf": 0.01},
        0.07,
        True,
        False,
    ),
    ("$ in Python's re also stands before a last line break", {"pattern": "a$"}, "a\n", False, True),
    ("\\d in Python's re is a digit of any script", {"pattern": "^\\d$"}, "٣", False, True),
]


@pytest.mark.parametrize(("why", "schema", "value", "quick", "slow"), DIFFERENCES)
def test_the_known_differences(why: str, schema: Any, value: Any, quick: bool, slow: bool) -> None:  # noqa: FBT001
    problems = Checker(schema).check(value)
    assert (not problems, meaning(schema).is_valid(value)) == (quick, slow), why


def test_where_only_the_judge_says_no_its_own_words_are_told() -> None:
    schema = {"properties": {"a": {"multipleOf": 0.3}}}
    assert meaning(schema).is_valid({"a": 1e16})
    (problem,) = Checker(schema).check({"a": 1e16})
    assert (problem.pointer, problem.got, problem.keyword) == ("/a", "1e16", "multipleOf")
    assert problem.expected == "what the schema asks (this value is not a multiple of 0.3)"


# Real tools


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in CALLS.read_text().splitlines()]


@pytest.mark.parametrize("line", lines(), ids=lambda line: line["id"])
def test_real_calls_are_judged_as_the_data_says(line: dict[str, Any]) -> None:
    checker = Checker(line["function"]["parameters"])
    failure = checker.judge(json.dumps(line["args"]))
    assert (failure is None) == line["valid"]
    if failure is not None:
        assert failure.message.startswith("the arguments do not fit the schema: ")
        for error in failure.details["errors"]:
            resolved(line["args"], error["pointer"])


def test_the_sample_holds_both_kinds() -> None:
    verdicts = [line["valid"] for line in lines()]
    assert len(verdicts) >= 60
    assert verdicts.count(False) >= 10


def test_a_yes_is_quick() -> None:
    checker, text = Checker(WEATHER), '{"city": "Paris", "units": "celsius", "days": 3}'
    assert min(timeit.repeat(lambda: checker.judge(text), number=2000, repeat=5)) / 2000 < 12e-6, "0.6 µs"
    assert min(timeit.repeat(lambda: Checker(WEATHER), number=20, repeat=5)) / 20 < 1e-3, "33 µs"
