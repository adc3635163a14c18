"""What somebody wrote by keyword, looked at before it is used: names that exist, values of the kind that is meant.

A name that nobody reads would be a promise that nobody keeps: `@tool(confrim=True)` must not make a tool that asks no
one, nor `destructive="no"` one that is.
"""

import math
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from .failures import Misuse, failed


class Kind(NamedTuple):
    """What a value has to be: in words, and as a question."""

    said: str
    fits: Callable[[Any], bool]


def is_count(value: object, least: int = 1) -> bool:
    """Whether `value` is a whole number of `least` or more; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_limit(value: object) -> bool:
    """Whether `value` is a whole number of 0 or more, or infinite. Asked of each limit of each conversation."""
    return value >= 0 if type(value) is int else value == math.inf or is_count(value, 0)


def is_seconds(value: object) -> bool:
    """Whether `value` is a number above 0; true and false are none, and NaN is not above anything."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def is_amount(value: object) -> bool:
    """Whether `value` is a number of 0 or more."""
    return (value == 0 and not isinstance(value, bool | complex)) or is_seconds(value)


TRUTH = Kind("True or False", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str))
COUNT = Kind("a whole number, 1 or more", is_count)
COUNT_OR_0 = Kind("a whole number, 0 or more", lambda value: is_count(value, 0))
LIMIT = Kind("a whole number, 0 or more, or math.inf", is_limit)
SECONDS = Kind("more than 0 s", is_seconds)
AMOUNT = Kind("a number, 0 or more", is_amount)
SECONDS_OR_0 = Kind("0 s or more", is_amount)


def maybe(kind: Kind) -> Kind:
    """`kind`, or None."""
    return Kind(f"{kind.said}, or None", lambda value: value is None or kind.fits(value))


def check(about: str, given: Mapping[str, object], kinds: Mapping[str, Kind], names: Collection[str] = ()) -> None:
    """Raises Misuse for a name that stands in neither `kinds` nor `names`, and for a value not of its kind."""
    for name, value in given.items():
        kind = kinds.get(name)
        if kind is not None:
            if not kind.fits(value):
                raise Misuse(failed("invalid_call", f"{about}: {name} must be {kind.said}, not {value!r:.100}"))
        elif name not in names:
            raise Misuse(failed("invalid_call", unknown(about, name, {*kinds, *names})))


def unknown(about: str, name: str, known: Collection[str]) -> str:
    """A sentence for a name that does not exist, with the one that may be meant, or with all."""
    near = get_close_matches(str(name), known, 1)
    hint = f"do you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"{about}: there is no {str(name)[:100]!r}; {hint}"
