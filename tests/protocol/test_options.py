import math
from typing import Any

import pytest

from toolwire.protocol.failures import Misuse
from toolwire.protocol.options import COUNT, COUNT_OR_0, LIMIT, SECONDS, SECONDS_OR_0, TEXT, TRUTH, Kind, check, maybe

KINDS: list[tuple[Kind, list[Any], list[Any]]] = [
    (TRUTH, [True, False], [1, "no", None]),
    (TEXT, ["", "a"], [b"a", 1]),
    (COUNT, [1, 10**30], [0, -1, 1.0, True, "1"]),
    (COUNT_OR_0, [0, 1], [-1, False, 0.0]),
    (LIMIT, [0, 7, math.inf], [-1, 1.5, math.nan, "7"]),
    (SECONDS, [1, 0.5, math.inf], [0, -0.5, math.nan, True, "1"]),
    (SECONDS_OR_0, [0, 0.0, 3], [-1, math.nan, False, "0", 0j]),
    (maybe(COUNT), [None, 1], [0, "x"]),
]


@pytest.mark.parametrize(("kind", "fitting", "others"), KINDS)
def test_a_kind_takes_what_it_says(kind: Kind, fitting: list[Any], others: list[Any]) -> None:
    assert all(kind.fits(value) for value in fitting)
    assert not any(kind.fits(value) for value in others)
    with pytest.raises(Misuse) as refused:
        check("f", {"it": others[0]}, {"it": kind})
    assert str(refused.value).endswith(f"f: it must be {kind.said}, not {others[0]!r}")


def test_a_name_that_nobody_reads_is_refused_with_the_one_that_may_be_meant() -> None:
    check("f", {"free": object(), "sure": True}, {"sure": TRUTH}, ["free"])
    with pytest.raises(Misuse, match=r"f: there is no 'fre'; do you mean 'free'\?"):
        check("f", {"fre": 1}, {"sure": TRUTH}, ["free"])
    with pytest.raises(Misuse, match=r"f: there is no 'zzz'; there are: free, sure"):
        check("f", {"zzz": 1}, {"sure": TRUTH}, ["free"])
