"""Tokens: a real one counts for its call, and nothing else counts for anything."""

import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from toolwire.protocol.confirmation import HEAD, UNSEEN, Claim, Seal, exact, issuer, text_of, torn, visible
from toolwire.protocol.failures import Failure
from toolwire.protocol.secret import Secret

KEY = b"k" * 32
NONCE = b"0123456789abcdef"
CLAIM = Claim("worker-1", "call_1", "transfer", '{"user":"u1"}', exact('{"amount": 500}', {"amount": 500}))
SEAL = Seal(KEY)
TOKEN = SEAL.token(CLAIM, 100.0, NONCE)

texts = st.text(max_size=40)
claims = st.builds(Claim, texts, texts, texts, texts, st.binary(max_size=64))


def reason(opened: bytes | Failure) -> str:
    """Why a token does not count."""
    assert isinstance(opened, Failure)
    assert (opened.code, opened.effect, opened.details) == ("invalid_confirmation", "none", {})
    return opened.message


@given(st.text(), st.text("a\u202e\u200b\u2028\U000e0041é", max_size=8))
def test_what_a_person_reads_is_what_is_there(one: str, other: str) -> None:
    text = msgspec.json.encode({one: other}).decode()
    shown = visible(text)
    assert msgspec.json.decode(shown) == {one: other}
    assert not any(unicodedata.category(each) in UNSEEN for each in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pay bob", "pay bob"),
        ("zahle an Jürgen 你好", "zahle an Jürgen 你好"),
        ("pay \u202ebob", "pay \\u202ebob"),
        ("a\u200bb\u2028", "a\\u200bb\\u2028"),
        ("\U000e0041", "\\udb40\\udc41"),
    ],
)
def test_what_can_not_be_seen_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(claims, st.floats(0, 1e9), st.binary(min_size=1, max_size=32), st.binary(min_size=16, max_size=200))
def test_a_token_counts_for_what_it_was_issued_for(claim: Claim, now: float, nonce: bytes, key: bytes) -> None:
    seal = Seal(key)
    token = seal.token(claim, now + 1.0, nonce)
    assert seal.opened(token, claim, now) == nonce
    assert issuer(token) == claim.instance


@given(claims, claims)
def test_it_counts_for_no_other_call(one: Claim, other: Claim) -> None:
    assume(one != other)
    assert isinstance(SEAL.opened(SEAL.token(one, 10.0, NONCE), other, 0.0), Failure)


@given(claims, claims)
def test_changed_arguments_are_all_that_may_differ(one: Claim, other: Claim) -> None:
    opened = SEAL.opened(SEAL.token(one, 10.0, NONCE), other, 0.0, changed=True)
    assert (opened == NONCE) is (replace(one, arguments=b"") == replace(other, arguments=b""))


@given(st.integers(0, len(TOKEN) - 1), st.integers(0, 7))
def test_no_bit_of_it_can_be_flipped(at: int, bit: int) -> None:
    raw = bytearray(TOKEN.encode())
    raw[at] ^= 1 << bit
    reason(SEAL.opened(raw.decode("latin-1"), CLAIM, 0.0))


@given(st.data())
def test_no_bit_of_what_it_says_or_of_its_seal_can_be_flipped(data: st.DataObject) -> None:
    parts = [bytearray(part) for part in torn(TOKEN)]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert "not one that was given out" in reason(
        SEAL.opened(".".join([HEAD, *(text_of(bytes(part)) for part in parts)]), CLAIM, 0.0)
    )


@given(st.one_of(st.text(max_size=2000), st.text("tw1.-_AQ=", max_size=400).map(lambda text: f"tw1.{text}")))
def test_no_other_text_is_one(text: str) -> None:
    reason(SEAL.opened(text, CLAIM, 0.0))
    assert issuer(text) == "" or "." in text


@pytest.mark.parametrize("cut", range(1, 60))
def test_no_part_of_it_is_one(cut: int) -> None:
    for text in (TOKEN[:-cut], TOKEN[cut:], TOKEN + "A" * cut, TOKEN + "=" * cut, " " * cut + TOKEN):
        reason(SEAL.opened(text, CLAIM, 0.0))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"call": "call_2"}, "another call"),
        ({"tool": "refund"}, "another tool"),
        ({"tool": "transfеr"}, "another tool"),  # noqa: RUF001 - the look-alike is the test
        ({"caller": '{"user":"u2"}'}, "another caller"),
        ({"caller": ""}, "another caller"),
        ({"arguments": exact('{"amount": 501}', {"amount": 501})}, "other arguments"),
        ({"instance": "worker-2"}, "another process"),
    ],
)
def test_the_refusal_says_what_it_is_for(changed: dict[str, Any], said: str) -> None:
    assert said in reason(SEAL.opened(TOKEN, replace(CLAIM, **changed), 0.0))


def test_it_expires() -> None:
    assert SEAL.opened(TOKEN, CLAIM, 99.9) == NONCE
    assert "expired" in reason(SEAL.opened(TOKEN, CLAIM, 100.0))


def test_it_needs_the_key() -> None:
    assert "given out here" in reason(Seal(b"l" * 32).opened(TOKEN, CLAIM, 0.0))
    assert KEY.decode() not in repr(SEAL) + TOKEN


def test_it_tells_nobody_the_caller_or_the_arguments() -> None:
    said, _ = torn(TOKEN)
    for hidden in (b"u1", b"500", CLAIM.arguments, b"transfer", b"call_1"):
        assert hidden not in said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": 2}', ' {"b":2,\n"a":1}', True),
        ('{"a": 1}', '{"a": 1.0}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": null}', "{}", False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": "\\u00e9"}', '{"a": "é"}', True),
        ('{"a": "e\\u0301"}', '{"a": "é"}', False),
        ("{'a': 1}", '{"a": 1}', False),
    ],
)
def test_what_counts_as_the_same_arguments(one: str, other: str, *, same: bool) -> None:
    assert (exact(one, {}) == exact(other, {})) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Path("/a/b"), Path("/a/b"), True),
        (Path("/a/b"), Path("/etc/b"), False),  # where a link led, after a sanitizer
        (Secret("one"), Secret("one"), True),
        (Secret("one"), Secret("two"), False),
        ({3, 1, 2}, {2, 3, 1}, True),
        (object(), object(), True),  # what a sanitizer made is told by what it was made of
    ],
)
def test_what_a_tool_gets_counts_too(one: object, other: object, *, same: bool) -> None:
    assert (exact("{}", {"a": one}) == exact("{}", {"a": other})) is same
