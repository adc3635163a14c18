"""How a provider of models says no by HTTP, and what that comes to here.

Sources: https://platform.openai.com/docs/guides/error-codes, https://platform.claude.com/docs/en/api/errors, and the
answers of vLLM and llama.cpp.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from ..failures import Failure

LONGEST_REASON = 2_000
"""Characters of a provider's own words in a failure: a proxy may answer with a page."""

LONGEST_CODE = 100
"""Characters of its own word for the error."""

LONGEST_PAGE = 20_000
"""Characters of a page in which its title is looked for."""

SERVER_ERROR = 500
"""This status and those above say a fault of theirs, which may pass."""


def failure_from_http(status: int, error: object, headers: Mapping[str, str] = {}, *, key: str) -> Failure:
    """What an answer with an HTTP status of 400 and above comes to; `error` is the object of that name in its body.

    `key` is the environment variable that holds the provider's key. `details` are the status, and the provider's own
    word for the `error`, where it has one.
    """
    told = error if isinstance(error, dict) else {}
    message = _words(told.get("message") or error or "no reason was given")
    meaning = _meaning(status, (told.get("code"), told.get("type")), message)
    said = f"the provider answered {status}: {message}"
    if meaning.hint:
        hint = meaning.hint.format(key=key)
        said = f"{said}. {hint}" if meaning.quoted else f"the provider answered {status}. {hint}"
    after = retry_after(headers) if meaning.retryable else None
    details: dict[str, object] = {"status": status}
    if isinstance(word := told.get("code") or told.get("type"), str):
        details["error"] = word[:LONGEST_CODE]
    return Failure(meaning.code, said, retryable=meaning.retryable, retry_after=after, details=details)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, by RFC 9110 §10.2.3 and OpenAI's own `retry-after-ms`; a date counts from the answer's own."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        until, now = (_instant(headers[name]) for name in ("retry-after", "date"))
        return max((until - now).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return None


def _instant(date: str) -> datetime:
    """An instant by RFC 9110 §5.6.7: in GMT, also where the oldest of its forms does not say so. Raises ValueError."""
    instant = parsedate_to_datetime(date)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _words(said: object) -> str:
    """The provider's own words; of a page, which proxies answer with, its title."""
    words = str(said).strip()
    if words.startswith("<"):
        title = _TITLE.search(words[:LONGEST_PAGE])
        return f"a page, {' '.join(title[1].split())!r}" if title else "a page, and no JSON"
    return words[:LONGEST_REASON]


class _Meaning(NamedTuple):
    """A code of ours, what to do about it, whether to try again, and whether the provider's words may be repeated."""

    code: str
    hint: str = ""
    retryable: bool = False
    quoted: bool = True


_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)

_LONG = _Meaning("context_too_long")
_LONG_STATUS = {400, 413, 422}
_LONG_WORDS = re.compile(
    r"context[ _](length|window|size|limit)|maximum model length|prompt is too long|input length and .?max_tokens",
    re.IGNORECASE,
)

_NO_CREDIT = _Meaning("model_failed", "The account has no credit left: waiting does not help")

_TOO_FAST = _Meaning("rate_limited", retryable=True)

_BY_CODE: dict[object, _Meaning] = {
    "content_filter": _Meaning("model_refused"),
    "content_policy_violation": _Meaning("model_refused"),
    "context_length_exceeded": _LONG,
    "exceed_context_size_error": _LONG,
    "insufficient_quota": _NO_CREDIT,
    "billing_error": _NO_CREDIT,
    "request_too_large": _LONG,
    # In the midst of a stream there is no status beside it.
    "rate_limit_exceeded": _TOO_FAST,
    "rate_limit_error": _TOO_FAST,
}

_BY_STATUS = {
    401: _Meaning("model_failed", "It refused the key: set {key}, or give api_key=", quoted=False),
    403: _Meaning("model_failed", "The key may not do this: set {key} to one that may"),
    404: _Meaning("model_failed", "Check the name of the model, and base_url"),
    402: _NO_CREDIT,
    408: _Meaning("timed_out", retryable=True),
    409: _Meaning("model_failed", retryable=True),
    429: _TOO_FAST,
    504: _Meaning("timed_out", retryable=True),
    529: _Meaning("model_failed", "It is overloaded", retryable=True),
}


def _meaning(status: int, codes: tuple[object, ...], message: str) -> _Meaning:
    for code in codes:
        if isinstance(code, str) and code in _BY_CODE:
            return _BY_CODE[code]
    if status in _LONG_STATUS and _LONG_WORDS.search(message):
        return _LONG
    return _BY_STATUS.get(status) or _Meaning("model_failed", retryable=status >= SERVER_ERROR)
