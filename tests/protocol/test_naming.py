"""What a tool may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import Misuse
from toolwire.protocol.naming import LONGEST, PLAIN, Naming, accepted, naming, unfit


@pytest.mark.parametrize(
    ("prefix", "namespace", "name"),
    [
        ("", "", "start"),
        ("car", "", "car_start"),
        ("", "car", "car.start"),
        ("old", "home.car", "home.car.old_start"),
    ],
)
def test_a_prefix_is_part_of_the_name_and_a_namespace_stands_before_it(prefix: str, namespace: str, name: str) -> None:
    assert naming(prefix, namespace).of("start") == name


def test_one_name_instead_of_another() -> None:
    assert Naming("a", "b", "c").of("start") == "c"
    assert PLAIN.of("start") == "start"


@pytest.mark.parametrize("prefix", ["a.b", "a b", "é", "a/"])
def test_a_prefix_that_is_none(prefix: str) -> None:
    with pytest.raises(Misuse, match="a prefix has letters, digits, _ and - only"):
        naming(prefix, "")


@pytest.mark.parametrize("namespace", [".", "a.", ".a", "a..b", "a b", "é"])
def test_a_namespace_that_is_none(namespace: str) -> None:
    with pytest.raises(Misuse, match="a namespace has letters"):
        naming("", namespace)


@pytest.mark.parametrize("name", ["a", "a-b_C9", "x" * 64])
def test_what_providers_take(name: str) -> None:
    assert accepted(name)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "é", "x" * 65, "a\n"])
def test_what_providers_refuse(name: str) -> None:
    assert not accepted(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "needs a name"),
        ("x" * (LONGEST + 1), "at most 256 characters"),
        ("a\r\nPUB b", "can't be seen"),
        (" a", "can't be seen"),
        ("a\x00", "can't be seen"),
        ("\ud800", "can't be seen"),
    ],
)
def test_what_nothing_can_be_called(name: str, why: str) -> None:
    said = unfit(name)
    assert said is not None
    assert why in said


@given(st.text())
def test_the_sentence_can_be_written_whatever_the_name(name: str) -> None:
    said = unfit(name)
    assert said is None or len(said.encode()) < 2_000
    assert not accepted(name) or said is None
