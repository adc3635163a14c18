"""Every way in which a call can end badly: one table of codes, one value, one exception root.

A `Failure` is a value that travels; a `ToolwireError` is how Python code hears of it. The pair of functions at
the end of this file is the only place where one becomes the other.
"""

from typing import Any, Literal, NamedTuple

from msgspec import Struct

Effect = Literal["none", "maybe", "done"]
"""What became of the world: nothing ran, nobody knows, it happened."""


class Meaning(NamedTuple):
    """What a code says of itself: the sentence for a reader, who can mend it, the HTTP status of a gateway."""

    sentence: str
    mended_by: str
    http: int
    retryable: bool = False


CODES: dict[str, Meaning] = {
    "unknown_tool": Meaning("no such tool", "model", 404),
    "unknown_conversation": Meaning("no such conversation", "caller", 404),
    "invalid_call": Meaning("the call has no id, or an id that was used before", "model", 422),
    "invalid_arguments": Meaning("the arguments are not JSON, or not what the schema asks", "model", 422),
    "invalid_reference": Meaning("a $result that can't be resolved", "model", 422),
    "dependency_failed": Meaning("a call whose result was needed has failed", "model", 200),
    "not_allowed": Meaning("policy forbids it", "operator", 403),
    "confirmation_required": Meaning("a person has to confirm it first", "user", 202),
    "confirmation_denied": Meaning("a person said no", "user", 403),
    "invalid_confirmation": Meaning("the confirmation is forged, used or expired", "user", 403),
    "rate_limited": Meaning("too many in a time", "caller", 429, retryable=True),
    "limit_reached": Meaning("a limit of the turn or the response is used up", "caller", 422),
    "overloaded": Meaning("whoever would do it is full", "caller", 503, retryable=True),
    "circuit_open": Meaning("it failed too often lately and rests", "caller", 503, retryable=True),
    "timed_out": Meaning("the time ran out", "caller", 504),
    "cancelled": Meaning("the caller left", "caller", 499),
    "unreachable": Meaning("nobody serves it", "operator", 503, retryable=True),
    "worker_lost": Meaning("whoever ran it is gone; the outcome is unknown", "user", 502),
    "failed": Meaning("the tool raised", "author", 200),
    "invalid_result": Meaning("the tool returned what it did not declare, or what JSON can't carry", "author", 200),
    "load_failed": Meaning("a lazy tool did not load", "author", 200),
    "too_large": Meaning("over a limit of size", "caller", 413),
    "model_failed": Meaning("the provider failed", "caller", 502),
    "model_refused": Meaning("the provider refused", "caller", 502),
    "context_too_long": Meaning("the history no longer fits the model", "caller", 502),
    "invalid_output": Meaning("the model gave no valid final output", "caller", 502),
    "conflict": Meaning("another host drives it, or a turn is running", "caller", 409),
    "storage_failed": Meaning("the journal can't be written", "operator", 507),
    "incompatible": Meaning("another major version, or a kind that is not known here", "operator", 400),
    "invalid_message": Meaning("bytes that are no message", "operator", 400),
    "internal": Meaning("a fault of Toolwire's own", "us", 500),
}


class Failure(Struct, frozen=True, omit_defaults=True, gc=False):
    """How one thing ended badly.

    `message` is written for whoever must react, most often a model: what is wrong, where, what would be right.
    `effect` says whether anything happened all the same. `retryable`: the executor may try again without asking.
    `retry_after` is in seconds. `details` holds plain JSON values.
    """

    code: str
    message: str
    effect: Effect = "none"
    retryable: bool = False
    retry_after: float | None = None
    details: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ToolwireError(Exception):
    """The root of every exception that Toolwire raises on purpose. `failure` says it as a value."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return str(self.failure)


class CallFailed(ToolwireError):
    """The value of a failed call was asked for."""


class ToolError(ToolwireError):
    """Raised by a tool to tell the model, in a sentence, why the call can't be done.

    `retry` says that the same call may well succeed later. `details` are plain JSON values.
    """

    def __init__(self, message: str, *, retry: bool = False, details: dict[str, Any] | None = None) -> None:
        super().__init__(Failure("failed", message, "maybe", retryable=retry, details=details or {}))


class Misuse(ToolwireError):
    """The program asked Toolwire for something that can't be: a closed runtime, a tool without a schema."""


def raised(failure: Failure) -> ToolwireError:
    """The exception that stands for `failure` in Python code."""
    return CallFailed(failure)


def failed(code: str, message: str, effect: Effect = "none", **details: Any) -> Failure:
    """A failure with the defaults of its code. Raises KeyError for a code that is not in the table."""
    return Failure(code, message, effect, CODES[code].retryable, details=details)
