"""Secrets show as `***` wherever a value is shown."""

import copy
import json
import logging
import pickle
from typing import Any

import msgspec
import pytest

from toolwire.protocol.arguments import Checker, Understood
from toolwire.protocol.failures import Failure
from toolwire.protocol.redaction import Redaction, has_secrets, scrubbed, scrubbed_deep
from toolwire.protocol.secret import Secret, decode_secret, encode_secret, held, is_secret, secret_schema

CANARY = "correct-horse-battery"


def test_it_shows_nowhere_but_by_reveal(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", secret, {"password": secret})
    shown = [repr(secret), str(secret), f"{secret} {secret!r:>9} {secret:>9}", caplog.text, repr([secret])]
    shown.append(msgspec.json.encode({"a": secret}, enc_hook=encode_secret).decode())
    assert all("***" in each and CANARY not in each for each in shown), shown
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == CANARY


def test_it_is_a_value() -> None:
    assert Secret(CANARY) == Secret(CANARY) != Secret("x")
    assert Secret(5) == Secret(5) != 5
    assert len({Secret(CANARY), Secret(CANARY)}) == 1
    secret = Secret(CANARY)
    assert copy.copy(secret) is secret is copy.deepcopy(secret)


def test_it_does_not_leave_the_process_by_accident() -> None:
    with pytest.raises(TypeError, match="not pickled") as error:
        pickle.dumps(Secret(CANARY))
    assert CANARY not in str(error.value)
    with pytest.raises(TypeError):
        msgspec.json.encode(Secret(CANARY))
    with pytest.raises(TypeError, match="object"):
        encode_secret(object())


def test_its_type_and_schema() -> None:
    assert [is_secret(kind) for kind in (Secret, Secret[str], str, list[Secret[str]])] == [True, True, False, False]
    assert [held(Secret), held(Secret[int])] == [str, int]
    assert secret_schema({"type": "string"}) == {"type": "string", "format": "password", "writeOnly": True}
    assert secret_schema({"type": "integer"}) == {"type": "integer", "writeOnly": True}
    assert decode_secret(Secret[int], 5) == Secret(5)
    with pytest.raises(msgspec.ValidationError) as error:
        decode_secret(Secret[int], CANARY)
    assert CANARY not in str(error.value)


LOGIN = {
    "$defs": {"key": {"type": "string", "minLength": 30, "writeOnly": True}, "proxy": {
        "type": "object", "properties": {"key": {"$ref": "#/$defs/key"}}, "required": ["host"],
    }},
    "type": "object",
    "properties": {
        "user": {"type": "string"},
        "password": {"type": "string", "format": "password", "maxLength": 5},
        "pin": {"type": "integer", "writeOnly": True},
        "keys": {"type": "array", "items": {"$ref": "#/$defs/key"}},
        "proxy": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/proxy"}]},
        "n": {"type": "integer"},
    },
    "additionalProperties": False,
}  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": CANARY},
        {"password": [CANARY]},
        {"password": {"a": CANARY}},
        {"pasword": CANARY},
        {"Password": CANARY, "n": "x"},
        {"pin": CANARY},
        {"keys": [CANARY]},
        {"keys": CANARY},
        {"keys": {"a": CANARY}},
        {"proxy": {"key": CANARY}},
        {"proxy": CANARY},
        {"proxy": f'{{"key": "{CANARY}"}}'},
        {"proxy": [{"key": CANARY}]},
        {"n": "1", "password": CANARY},
    ],
    ids=str,
)
def test_no_failure_shows_one(arguments: Any) -> None:
    checker = Checker(LOGIN)
    for text in (json.dumps(arguments), json.dumps(json.dumps(arguments)), f"```json\n{json.dumps(arguments)}\n```"):
        for repair in (False, True):
            failure = checker.understand(text, repair=repair)
            assert isinstance(failure, Failure)
            assert failure.details["errors"]
            assert "***" in failure.message
            assert CANARY not in msgspec.json.encode(failure).decode()


@pytest.mark.parametrize(
    "text",
    [
        f'{{"password": "{CANARY}",}}',
        f"{{'password': '{CANARY}'}}",
        f'{{"password": "{CANARY}',
        CANARY,
        f'["{CANARY}"]',
    ],
)
def test_no_malformed_text_shows_one(text: str) -> None:
    failure = Checker(LOGIN).understand(text)
    assert isinstance(failure, Failure)
    for n in range(len(CANARY) - 4):
        assert CANARY[n : n + 5] not in failure.message
    assert isinstance(Checker(LOGIN).understand(text, lenient=False), Failure)


def test_what_was_mended_does_not_show_one() -> None:
    checker = Checker(LOGIN)
    text = '{"pin": "12345", "n": "7", "proxy": "{\\"host\\": 1, \\"key\\": null}", "password": "12345",}'
    understood = checker.understand(text, repair=True)
    assert isinstance(understood, Understood)
    assert json.loads(understood.text) == {"pin": 12345, "n": 7, "proxy": {"host": 1}, "password": "12345"}
    told = [(m.pointer, m.before, m.after) for m in understood.mended]
    assert told == [
        ("", '"***"', '{"pin":"***","n":7,"proxy":{"host":"***"},"password":"***"}'),
        ("/pin", '"***"', '"***"'),
        ("/n", '"7"', "7"),
        ("/proxy", '"***"', '{"host":"***"}'),
        ("/proxy/key", "null", ""),
    ]


def test_the_rest_is_shown_as_ever() -> None:
    failure = Checker(LOGIN).understand('{"user": 5, "n": "x"}')
    assert isinstance(failure, Failure)
    assert [error["got"] for error in failure.details["errors"]] == ["5", '"x"']
    assert Redaction(LOGIN).shown({"user": "u", "n": [1], "keys": []}) == {"user": "u", "n": [1], "keys": []}


def test_what_schemas_mark() -> None:
    assert has_secrets(LOGIN)
    assert not has_secrets({"properties": {"a": {"type": "string", "format": "date"}}})
    redaction = Redaction(LOGIN)
    hides = ["password", "pin", "keys", "proxy"]
    assert [name for name in LOGIN["properties"] if redaction.hides(name)] == hides  # type: ignore[attr-defined]
    assert redaction.hidden({"password": CANARY, "pin": 123456, "user": "somebody", "keys": ["abcd", "abc"]}) == [
        CANARY, "123456", "abcd",
    ]  # fmt: skip
    tree = Redaction({"properties": {"next": {"$ref": "#"}, "key": {"writeOnly": True}}, "additionalProperties": False})
    deep: Any = {"key": CANARY}
    for _ in range(500):
        deep = {"next": deep}
    assert CANARY not in json.dumps(tree.shown(deep))
    patterns = Redaction({"patternProperties": {"^k": {"writeOnly": True}}, "additionalProperties": {"type": "string"}})
    assert patterns.shown({"k1": CANARY, "other": "o"}) == {"k1": "***", "other": "o"}
    pairs = Redaction({"prefixItems": [{}, {"writeOnly": True}]})
    assert pairs.shown(["a", CANARY, "b"]) == ["a", "***", "b"]


def test_texts_are_scrubbed() -> None:
    secrets = [CANARY, 'with "quotes"\n', "correct"]
    text = f"bad key {CANARY}; {json.dumps(secrets[1])} {secrets[1]!r} {secrets[1]}"
    assert scrubbed(text, secrets) == "bad key ***; \"***\" '***' ***"
    assert scrubbed(text, []) == text
    assert scrubbed_deep({CANARY: [text, {"n": 1}]}, secrets) == {"***": [scrubbed(text, secrets), {"n": 1}]}
