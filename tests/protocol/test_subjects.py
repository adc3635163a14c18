import random
import re
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol import subjects
from toolwire.protocol.subjects import KINDS, LONGEST, name, subject, token

PLAIN = ascii_letters + digits + "_-"
HOSTILE = [
    "", ".", "..", "*", ">", "a.*.>", " ", "\r\n", "PUB x 0\r\n\r\n", "\x00", "\t", "=", "==", "=2E", "=2e", "a=2Eb",
    "é", "日本語", "🛠", "\ud800", "tw.default.tool.x", "$SRV.PING", "_INBOX.x", "a" * 64, "a" * 65, "a" * 80, "a" * 81,
    "=" * 30, "." * 26, "." * 27, "x" * 5000, "." * 5000, "sha256-" + "0" * 64, "sha256-" + "0" * 57,
]  # fmt: skip
NAMES = st.one_of(
    st.text(),
    st.text(alphabet=PLAIN, max_size=90),
    st.text(alphabet=".*> =\r\nE2a", max_size=40),
    st.text(alphabet=st.characters(categories=["L", "S", "Cs"]), max_size=30),
    st.sampled_from(HOSTILE),
)


def is_one_part(part: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_=-]{1,80}", part) is not None


@given(NAMES)
def test_a_token_is_one_short_part_without_wildcards_or_space(text: str) -> None:
    assert is_one_part(token(text))


@given(NAMES)
def test_a_token_names_what_it_was_made_of_or_nothing(text: str) -> None:
    meant = name(token(text))
    assert meant == text or (meant is None and re.fullmatch(r"sha256-[0-9a-f]{64}", token(text)))


@given(NAMES, NAMES)
def test_no_two_names_share_a_token(one: str, other: str) -> None:
    assert (token(one) == token(other)) == (one == other)


@given(st.text(alphabet=PLAIN, min_size=1, max_size=64))
def test_a_plain_name_is_its_own_token(text: str) -> None:
    assert token(text) == text


@given(st.text(alphabet=PLAIN + "=.", max_size=90))
def test_a_token_that_nobody_made_names_nothing(text: str) -> None:
    meant = name(text)
    assert meant is None or token(meant) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_stands_for_itself_alone(text: str) -> None:
    assert is_one_part(token(text))
    assert [other for other in HOSTILE if token(other) == token(text)] == [text]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("get_weather", "get_weather"),
        ("weather.get", "=weather=2Eget"),
        ("", "="),
        ("a=b", "=a=3Db"),
        ("a" * 65, "=" + "a" * 65),
        ("Get_Weather", "Get_Weather"),
    ],
)
def test_tokens_are_readable(text: str, part: str) -> None:
    assert token(text) == part


def test_what_is_too_long_to_quote_is_hashed() -> None:
    assert token("." * 26) == "=" + "=2E" * 26
    assert token("." * 27).startswith("sha256-")
    assert name(token("." * 27)) is None
    assert name(token("x" * 5000)) is None


@pytest.mark.parametrize("part", ["=2", "=zz", "=a.b", "=a=2e", "=41", "=a=", "=FF", "=a=FF", "a.b", "*", " ", ""])
def test_a_malformed_token_names_nothing(part: str) -> None:
    assert name(part) is None


def test_ten_thousand_random_names_never_meet() -> None:
    chance = random.Random(20)  # noqa: S311 - names, no secrets
    alphabet = PLAIN + ".*> =~\r\néß日🛠"
    names = {"".join(chance.choices(alphabet, k=chance.randint(0, 100))) for _ in range(10_000)}
    assert len({token(text) for text in names}) == len(names)


def test_case_is_kept() -> None:
    assert len({token("a.b"), token("A.b"), token("ab"), token("AB"), token("é" * 40), token("É" * 40)}) == 6


@given(NAMES, st.sampled_from(sorted(KINDS)), NAMES, NAMES)
def test_a_subject_has_four_parts_and_a_fifth_for_an_instance(space: str, kind: str, text: str, instance: str) -> None:
    made = subject(space, kind, text, instance)  # type: ignore[arg-type]
    parts = made.split(".")
    assert len(made.encode()) <= 512
    assert parts[:4] == ["tw", token(space), kind, token(text)]
    assert parts[4:] == ([token(instance)] if instance else [])
    assert all(map(is_one_part, parts))


def test_a_subject_reads_like_this() -> None:
    assert subject("default", "tool", "get_weather") == "tw.default.tool.get_weather"
    assert subject("acme.eu", "conversation", "user-42", "w1") == "tw.=acme=2Eeu.conversation.user-42.w1"


@pytest.mark.parametrize("long", ["a", "a" * 5000])
def test_an_unknown_kind_is_refused(long: str) -> None:
    with pytest.raises(
        ValueError, match=r"'tools' is no kind of subject: artifact, cancel, conversation, .*, tool, validator"
    ):
        subject("default", "tools", long)  # type: ignore[arg-type]


def test_long_names_take_no_place_in_the_caches() -> None:
    subjects._token.cache_clear()
    subjects._subject.cache_clear()
    subject("default", "tool", "x" * 1_000_000)
    assert subjects._subject.cache_info().currsize == 0
    assert subjects._token.cache_info().currsize == 1  # "default"
    assert subjects._token.cache_info().maxsize is not None
    assert len(token("x" * 1_000_000)) <= LONGEST
