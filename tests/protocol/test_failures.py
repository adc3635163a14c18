"""The table of failures against the design, and the two ways between a failure and an exception."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.failures import (
    CODES,
    CallFailed,
    Failure,
    Misuse,
    ToolError,
    ToolwireError,
    failed,
    raised,
)
from toolwire.runtime.border import failure_of

DESIGNED = {
    404: "unknown_tool unknown_conversation",
    422: "invalid_call invalid_arguments invalid_reference limit_reached",
    200: "dependency_failed failed invalid_result load_failed",
    403: "not_allowed confirmation_denied invalid_confirmation",
    202: "confirmation_required",
    429: "rate_limited",
    503: "overloaded circuit_open unreachable",
    504: "timed_out",
    499: "cancelled",
    502: "worker_lost model_failed model_refused context_too_long invalid_output",
    413: "too_large",
    409: "conflict",
    507: "storage_failed",
    400: "incompatible invalid_message",
    500: "internal",
}
"""DESIGN §6 by HTTP status."""


def test_the_table_is_the_design() -> None:
    assert {code: meaning.http for code, meaning in CODES.items()} == {
        code: http for http, codes in DESIGNED.items() for code in codes.split()
    }


@pytest.mark.parametrize("code", CODES)
def test_each_code_is_a_word_and_says_who_can_mend_it(code: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    meaning = CODES[code]
    assert meaning.mended_by in {"model", "caller", "user", "operator", "author", "us"}
    assert meaning.sentence
    assert not meaning.sentence.endswith(".")


def test_only_what_proves_that_nothing_ran_may_be_tried_again_without_asking() -> None:
    retryable = {code for code, meaning in CODES.items() if meaning.retryable}
    assert retryable == {"rate_limited", "overloaded", "circuit_open", "unreachable"}


def test_a_code_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError, match="no_such_code"):
        failed("no_such_code", "?")


@given(
    st.builds(
        Failure,
        st.sampled_from(sorted(CODES)),
        st.text(st.characters(codec="utf-8")),
        st.sampled_from(["none", "maybe", "done"]),
        st.booleans(),
        st.none() | st.floats(0, 1e6),
        st.dictionaries(
            st.text(st.characters(codec="ascii")), st.integers(-(2**63), 2**63) | st.booleans() | st.none()
        ),
    )
)
def test_a_failure_comes_back_from_an_exception_and_from_the_wire(failure: Failure) -> None:
    error = raised(failure)
    assert isinstance(error, CallFailed)
    assert error.failure == failure
    assert failure_of(error) == failure
    assert str(error) == str(failure) == f"{failure.code}: {failure.message}"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=Failure) == failure
    assert msgspec.json.decode(msgspec.json.encode(failure), type=Failure) == failure


def test_every_exception_of_ours_has_one_root() -> None:
    for kind in (CallFailed, ToolError, Misuse):
        assert issubclass(kind, ToolwireError)


def test_a_tool_error_may_have_had_an_effect() -> None:
    error = ToolError("the flight is full", retry=True, details={"seats": 0})
    assert error.failure == Failure("failed", "the flight is full", "maybe", retryable=True, details={"seats": 0})


def test_defaults_are_those_of_the_code() -> None:
    assert failed("overloaded", "full", by="me") == Failure("overloaded", "full", retryable=True, details={"by": "me"})
    assert failed("timed_out", "late", "maybe") == Failure("timed_out", "late", "maybe")
