import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import CODES
from toolwire.protocol.formats.http_failures import LONGEST_REASON, failure_from_http, retry_after

DATES = {"retry-after": "Fri, 06 Nov 2026 08:49:37 GMT", "date": "Fri, 06 Nov 2026 08:49:07 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "soon"}, 2.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        (DATES, 30.0),
        ({**DATES, "date": DATES["retry-after"], "retry-after": DATES["date"]}, 0.0),
        ({"retry-after": DATES["retry-after"]}, None),
        ({**DATES, "date": "Fri, 06 Nov 2026 08:49:07 -0000"}, 30.0),
        ({**DATES, "retry-after": "Fri Nov  6 08:49:37 2026"}, 30.0),
        ({**DATES, "retry-after": "Friday, 06-Nov-26 08:49:37 GMT"}, 30.0),
        ({**DATES, "retry-after": "Fri, 06 Nov 99999 08:49:37 GMT"}, None),
        ({"retry-after": "2", "retry-after-ms": "nan"}, 2.0),
    ],
)
def test_seconds_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "the request exceeds the available context size, try increasing it",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096",
    ],
)
def test_a_history_that_no_longer_fits_is_known_by_its_words(message: str) -> None:
    assert failure_from_http(400, {"message": message, "code": 400}, key="K").code == "context_too_long"
    assert failure_from_http(500, {"message": message}, key="K").code == "model_failed"


def test_of_a_page_its_title_is_told() -> None:
    page = f"<html><head><TITLE lang='en'> Bad\n gateway </TITLE></head>{'x' * 9_000}</html>"
    assert failure_from_http(502, page, key="K").message == "the provider answered 502: a page, 'Bad gateway'"
    assert failure_from_http(502, "<html>?", key="K").message == "the provider answered 502: a page, and no JSON"


def test_what_is_said_of_a_refused_key_does_not_repeat_it() -> None:
    failure = failure_from_http(401, {"message": "Incorrect API key provided: sk-secret"}, key="ACME_KEY")
    assert failure.message == "the provider answered 401. It refused the key: set ACME_KEY, or give api_key="


@given(
    st.integers(400, 599),
    st.none() | st.text() | st.dictionaries(st.sampled_from(["message", "code", "type"]), st.integers() | st.text()),
)
def test_every_error_becomes_a_failure(status: int, error: object) -> None:
    failure = failure_from_http(status, error, key="K")
    assert failure.code in CODES
    assert str(status) in failure.message
    assert len(failure.message) < LONGEST_REASON + 200
    told = error if isinstance(error, dict) else {}
    word = told.get("code") or told.get("type")
    assert failure.details == {"status": status, **({"error": word[:100]} if isinstance(word, str) else {})}
