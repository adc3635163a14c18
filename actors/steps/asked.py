"""What a tool may ask to be done about its calls, as its author writes it."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, TypeGuard

from ...protocol.failures import CODES, Misuse, failed
from ...protocol.tools import Retry

MOST = 1_000
"""Retries of one call."""


class Asked(TypedDict, total=False):
    """Options of `tool` that are about the way to it."""

    retries: int | Retry | None
    needs: float | Literal["p95"] | None
    cache: float | None
    share: bool
    hedge: bool


def asked(name: str, options: Mapping[str, Any], *, read_only: bool) -> dict[str, Any]:
    """The fields of a ToolSpec for what `options` ask. Raises Misuse for what can't be, naming the tool and it."""
    needs, cache = options.get("needs"), options.get("cache")
    share, hedge = options.get("share", False), options.get("hedge", False)
    for option, given in (("share", share), ("hedge", hedge)):
        if not isinstance(given, bool):
            raise refused(name, f"{option} must be True or False, not {given!r}")
    for option, given in (("cache", cache), ("share", share), ("hedge", hedge)):
        if given and not read_only:
            raise refused(name, f"{option}= is for tools that are read_only: others have to run for each call")
    if needs is not None and needs != "p95" and not is_time(needs):
        raise refused(name, f'needs must be more than 0 s, or "p95", not {needs!r}')
    if cache is not None and not is_time(cache):
        raise refused(name, f"cache must be a number of seconds, more than 0, not {cache!r}")
    return {
        "retry": retry(name, options.get("retries")),
        "needs": needs,
        "cache": cache,
        "share": share,
        "hedge": hedge,
    }


def retry(name: str, retries: int | Retry | None) -> Retry | None:
    """`retries` as a Retry; None where nothing is tried again. Raises Misuse."""
    if retries is None or retries == 0:
        return None
    made = retries if isinstance(retries, Retry) else Retry(retries)
    if not is_count(made.times):
        raise refused(name, f"retries must be from 0 to {MOST}, not {made.times!r}")
    waits = (made.first, made.cap, made.factor)
    if not (all(map(is_number, waits)) and made.first >= 0 and made.cap >= 0 and made.factor >= 1):
        raise refused(
            name, f"the waits between retries can't be {made.first!r} s, times {made.factor!r}, to {made.cap!r}"
        )
    if made.attempt is not None and not is_time(made.attempt):
        raise refused(name, f"the time of an attempt must be more than 0 s, not {made.attempt!r}")
    if unknown := [code for code in made.codes if code not in CODES]:
        known = ", ".join(sorted(CODES))
        raise refused(name, f"there is no failure code {unknown[0]!r} to try again after; there are: {known}")
    return made


def is_time(value: object) -> bool:
    """Whether `value` is a number of seconds above 0."""
    return is_number(value) and value > 0


def is_count(value: object) -> bool:
    """Whether `value` says how often a call may be tried again."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a number. True is none: `cache=True` does not mean a second."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def refused(name: str, said: str) -> Misuse:
    """What is raised for an option of the tool `name`."""
    return Misuse(failed("invalid_call", f"{name}: {said}"))
