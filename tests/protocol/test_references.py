import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.references import BrokenReference, Reference, find, mentions, parse, resolve, scan, substitute

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["$result", "$literal", "path"]), inner, max_size=4)
        | inner.map(lambda value: {"$literal": value})
        | st.builds(lambda n, path: {"$result": n, "path": path}, st.integers(), st.sampled_from(["", "/a", "/0/b"]))
    ),
    max_leaves=20,
)
RFC_6901 = {
    "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", RFC_6901), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
        ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8),
    ],
)  # fmt: skip
def test_the_examples_of_rfc_6901(path: str, value: object) -> None:
    assert resolve(RFC_6901, path) == value


def test_an_escaped_tilde_is_not_escaped_twice() -> None:
    assert parse("/~01") == ["~1"]


@pytest.mark.parametrize("path", ["a", "#/a", "a/b", "/~", "/~2", "/a~", " /a", "$.a"])
def test_what_is_no_pointer_is_refused(path: str) -> None:
    with pytest.raises(BrokenReference, match="is no JSON Pointer") as caught:
        resolve(RFC_6901, path)
    assert caught.value.failure.code == "invalid_reference"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/fo", 'the object has no "fo"; it has "foo", "", "a/b", "c%d", "e^f", "g|h", "i\\j", "k"l" and 2 more'),
        ("/foo/2", 'the list at "/foo" has 2 entries, counted from 0, and no "2"'),
        ("/foo/-", 'the list at "/foo" has 2 entries, counted from 0, and no "-"'),
        ("/foo/00", 'the list at "/foo" has 2 entries, counted from 0, and no "00"'),
        ("/foo/\u0664", 'the list at "/foo" has 2 entries, counted from 0, and no "\u0664"'),
        ("/foo/-1", 'the list at "/foo" has 2 entries, counted from 0, and no "-1"'),
        ("/foo/0/x", '"/foo/0" is neither an object nor a list and has no "x"'),
    ],
)
def test_a_path_to_nowhere_says_what_is_there(path: str, message: str) -> None:
    with pytest.raises(BrokenReference) as caught:
        resolve(RFC_6901, path)
    assert caught.value.failure.message == message


def test_a_place_of_thousands_of_digits_is_no_place() -> None:
    with pytest.raises(BrokenReference, match="has 2 entries") as caught:
        resolve(["a", "b"], "/" + "9" * 5000)
    assert len(caught.value.failure.message) < 200


@given(JSON)
def test_every_place_of_a_value_is_reached_by_its_pointer(value: Any) -> None:
    todo = [("", value)]
    while todo:
        path, part = todo.pop()
        assert resolve(value, path) is part
        for key, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            todo.append((f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}", inner))


def test_references_are_found_wherever_they_nest() -> None:
    arguments = {
        "to": {"$result": 1},
        "all": [1, {"x/y": [{"$result": 2, "path": "/a/0"}]}, [{"path": "", "$result": 3}]],
        "text": "$result",
        "path": {"path": "/a"},
        "last": {"$literal": 1, "more": {"$result": 4}},
    }
    found = find(arguments)
    assert [(reference.result, reference.path, reference.at) for reference in found] == [
        (1, "", "/to"),
        (2, "/a/0", "/all/1/x~1y/0"),
        (3, "", "/all/2/0"),
        (4, "", "/last/more"),
    ]
    assert found[1].steps == ["all", "1", "x/y", "0"]


def test_all_of_the_arguments_may_be_a_reference() -> None:
    assert find({"$result": 1}) == [Reference(1)]
    assert substitute({"$result": 1}, lambda reference: reference.result * 2) == 2


def test_a_literal_is_never_searched() -> None:
    inner = {"$result": "whatever", "else": 1}
    assert scan({"a": {"$literal": inner}}) == ([], True)
    assert scan({"a": 1}) == ([], False)
    assert substitute({"a": {"$literal": {"$literal": inner}}}, no_results) == {"a": {"$literal": inner}}
    assert substitute({"$literal": inner}, no_results) == inner


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"$result": 1, "pth": "/a"}, 'has keys beside "$result" and "path": "pth"'),
        ({"$result": 1, "path": "/a", "z": 1}, 'has keys beside "$result" and "path": "z"'),
        ({"$result": 1, "$literal": 2}, 'has keys beside "$result" and "path": "$literal"'),
        ({"$result": "a"}, "must be the position of an earlier call, counted from 1, not text"),
        ({"$result": True}, "not true or false"),
        ({"$result": None}, "not null"),
        ({"$result": 1.0}, "not a number with a fraction"),
        ({"$result": {"$result": 1}}, "not an object"),
        ({"$result": [1]}, "not a list"),
        ({"$result": 1, "path": None}, "path must be a JSON Pointer as text, not null"),
        ({"$result": 1, "path": 0}, "path must be a JSON Pointer as text, not a number"),
        ({"$result": 1, "path": "a"}, '"a" is no JSON Pointer'),
        ({"$result": 1, "path": "/~x"}, '"/~x" is no JSON Pointer'),
    ],
)
def test_whatever_else_has_the_key_is_broken(reference: object, message: str) -> None:
    for read in (find, lambda arguments: substitute(arguments, no_results)):
        with pytest.raises(BrokenReference) as caught:
            read({"in": [reference]})
        assert caught.value.failure.code == "invalid_reference"
        assert message in caught.value.failure.message


def test_the_message_says_where_and_how_to_mean_it_as_data() -> None:
    with pytest.raises(BrokenReference) as caught:
        find({"in": [{"$result": "a"}]})
    assert 'the reference at "/in/0"' in str(caught.value)
    assert '{"$literal": ...}' in str(caught.value)


def test_ids_are_for_those_who_may() -> None:
    assert find({"a": {"$result": "search"}}, ids=True) == [Reference("search", "", (None, "a"))]
    assert find({"a": {"$result": 2}}, ids=True)[0].result == 2
    with pytest.raises(BrokenReference, match="the position or the id of a call"):
        find({"a": {"$result": None}}, ids=True)


def no_results(reference: Reference) -> object:
    raise AssertionError(reference)


def naive(value: Any) -> Any:
    """What substitution means, by recursion."""
    if isinstance(value, dict):
        if "$result" in value:
            return ["result", value["$result"], value.get("path", "")]
        return value["$literal"] if value.keys() == {"$literal"} else {key: naive(part) for key, part in value.items()}
    return [naive(part) for part in value] if isinstance(value, list) else value


@given(JSON)
def test_substitution_puts_in_results_unwraps_literals_and_changes_nothing_given(value: Any) -> None:
    before = copy.deepcopy(value)
    asked: list[Reference] = []

    def result(reference: Reference) -> object:
        asked.append(reference)
        return ["result", reference.result, reference.path]

    try:
        found = find(value)
    except BrokenReference:
        with pytest.raises(BrokenReference):
            substitute(value, result)
    else:
        filled = substitute(value, result)
        assert filled == naive(value)
        assert json.dumps(filled) == json.dumps(naive(value))  # the order of keys too
        assert {reference.at for reference in asked} == {reference.at for reference in found}
    assert value == before


def test_results_are_data() -> None:
    sly = {"$result": 1, "x": {"$literal": {"$result": 2}}}
    assert substitute({"a": {"$result": 1}}, lambda _: sly) == {"a": sly}


@given(JSON)
def test_text_without_a_mention_holds_neither_references_nor_literals(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), escaped(json.dumps(value))):
        try:
            found = scan(json.loads(text))
        except BrokenReference:
            assert mentions(text)
        else:
            assert mentions(text) or found == ([], False)


def escaped(text: str) -> str:
    """The same JSON with the letters of the keys that matter escaped."""
    return text.replace("$", "\\u0024").replace("result", "r\\u0065sult").replace("literal", "\\u006Citeral")


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("{}", False),
        ('{"price": "$5", "result": 1}', False),
        ('{"a": {"$result": 1}}', True),
        ('{"a": {"$literal": 1}}', True),
        ('{"a": {"\\u0024result": 1}}', True),
        ('{"a": {"$r\\u0065sult": 1}}', True),
        ('{"a": "\\u00e9 \\n result"}', False),
        ('{"a": "\\"\\/ $5"}', False),
    ],
)
def test_which_texts_are_parsed(text: str, yes: bool) -> None:  # noqa: FBT001 - a column of the table
    assert mentions(text) is yes


def test_escaped_keys_are_references() -> None:
    assert find(msgspec.json.decode('{"a": {"\\u0024res\\u0075lt": 1}}')) == [Reference(1, "", (None, "a"))]


def test_depth_costs_no_stack() -> None:
    deep: Any = {"$result": 1}
    for _ in range(50_000):
        deep = [deep]
    assert len(find(deep)[0].steps) == 50_000
    filled: Any = substitute(deep, lambda _: "here")
    for _ in range(50_000):
        filled = filled[0]
    assert filled == "here"


def test_a_broken_reference_of_any_size_has_a_short_message() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    for value in ({"$result": deep}, {"$result": 1, **{str(n) * 1000: 0 for n in range(1000)}}):
        with pytest.raises(BrokenReference) as caught:
            find(value)
        assert len(str(caught.value)) < 1000
