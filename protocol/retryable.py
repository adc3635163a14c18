"""Which exceptions say that the same call may well succeed later, and when.

Libraries for HTTP each have exceptions of their own, so these are told by what they carry: a status, and headers with
`Retry-After` (RFC 9110, section 10.2.3), not by their type.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

STATUSES = frozenset({429, 502, 503, 504})
"""HTTP: too many requests, bad gateway, unavailable, gateway timeout (RFC 6585 and RFC 9110, section 15.6)."""

KINDS: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError)
"""The builtin exceptions that stand for a connection that failed and for a time that ran out."""

NAMES = frozenset({"ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout", "ReadError", "RemoteProtocolError"})
"""The same where a library derives its own from nothing builtin (httpx), by the name of the class."""

LONGEST = 3600.0
"""Seconds that a server may ask to wait; a longer wait is no retry any more."""


class Later(NamedTuple):
    """Whether to try again, and after how many seconds (None: whoever retries knows)."""

    retryable: bool
    after: float | None = None


NO = Later(retryable=False)


def later(error: BaseException, now: datetime | None = None) -> Later:
    """What `error` says of a second try. `now` is for dates in `Retry-After`; without it a date is left out."""
    status = status_of(error)
    if status is not None:
        return Later(retryable=True, after=retry_after(error, now)) if status in STATUSES else NO
    if isinstance(error, KINDS) or any(kind.__name__ in NAMES for kind in type(error).__mro__):
        return Later(retryable=True)
    return NO


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception carries: as `status`, `status_code` or `code`, itself or its `response`."""
    for carrier in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(carrier, name, None)
            if isinstance(value, int) and 100 <= value <= 599:  # noqa: PLR2004 - the range of HTTP's statuses
                return value
    return None


def retry_after(error: BaseException, now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: a number, or a date. None if it asks for nothing that can be read."""
    for carrier in (error, getattr(error, "response", None)):
        headers = getattr(carrier, "headers", None)
        if isinstance(headers, Mapping) or hasattr(headers, "get"):
            asked = _header(headers, "Retry-After")
            if asked is not None:
                return _seconds(asked, now)
    return None


def _header(headers: Any, name: str) -> str | None:
    for spelling in (name, name.lower()):
        value = headers.get(spelling)
        if isinstance(value, str):
            return value.strip()
    return None


def _seconds(asked: str, now: datetime | None) -> float | None:
    try:
        seconds = float(asked)
    except ValueError:
        if now is None:
            return None
        try:
            at = parsedate_to_datetime(asked)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST) if seconds == seconds else None  # noqa: PLR0124 - NaN is not itself
