"""Which exceptions may be tried again, and when."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.retryable import LONGEST, STATUSES, later

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class HttpError(Exception):
    """As the libraries for HTTP have them."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


class ConnectTimeout(Exception):  # as httpx names it
    """Derives from nothing builtin."""


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ConnectionResetError(), True),
        (BrokenPipeError(), True),
        (TimeoutError(), True),
        (ConnectTimeout(), True),
        (ValueError("HTTP 503"), False),
        (FileNotFoundError(), False),
        (KeyError(429), False),
    ],
    ids=repr,
)
def test_by_type(error: Exception, *, retryable: bool) -> None:
    assert later(error).retryable is retryable


@given(st.integers(100, 599))
def test_by_status(status: int) -> None:
    assert later(HttpError(status)).retryable is (status in STATUSES)


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("1e9", LONGEST),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
@pytest.mark.parametrize("spelling", ["Retry-After", "retry-after"])
def test_how_long(asked: str, after: float | None, spelling: str) -> None:
    assert later(HttpError(429, {spelling: asked}), NOW).after == after


@given(st.text())
def test_any_header_is_read_or_left(asked: str) -> None:
    after = later(HttpError(503, {"Retry-After": asked}), NOW).after
    assert after is None or 0 <= after <= LONGEST
