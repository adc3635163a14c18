"""Whether a failed call is tried again, and after how long: exponential backoff with full jitter.

The waits are those of Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a random time
between 0 and a bound that grows from attempt to attempt.
"""

import math

from .failures import Failure
from .tools import Retry, ToolSpec

ATTEMPT = "attempt"
"""`details.by` of a `timed_out` that one attempt ran into, and not the call."""
LATE = {ATTEMPT, "deadline"}
"""The same, and what a worker says that saw the time of its request run out."""


def pause(failure: Failure, spec: ToolSpec, attempt: int, left: float | None, draw: float) -> float | None:
    """Seconds to wait before the attempt after `attempt`, which is counted from 1 and ended with `failure`.

    None: it is not tried again. `left` are the seconds that the call has left for that wait (None: no limit), `draw`
    is a random number from 0 to 1. A wait is not shorter than what the failure asks for (`retry_after`), and never as
    long as what is left.
    """
    retry = spec.retry
    if retry is None or not may_repeat(failure, spec) or not asked_for(failure, retry):
        return None
    return wait_after(failure, retry, attempt, left, draw)


def wait_after(failure: Failure, retry: Retry, attempt: int, left: float | None, draw: float) -> float | None:
    """The same for what may be tried again, and where that is wanted: how often and how long `retry` says."""
    if attempt > retry.times:
        return None
    wait = draw * bound(retry, attempt)
    if failure.retry_after is not None:
        wait = max(wait, failure.retry_after)
    # Written so that a number which is none, of a spec that came over the wire, is no wait.
    return wait if 0 <= wait < (math.inf if left is None else left) else None


def bound(retry: Retry, attempt: int) -> float:
    """The longest wait after `attempt`, in seconds."""
    try:
        return min(retry.cap, retry.first * retry.factor ** (attempt - 1))
    except OverflowError:
        return retry.cap


def may_repeat(failure: Failure, spec: ToolSpec) -> bool:
    """Whether another run does no harm: nothing ran, or the tool says so of itself."""
    return failure.effect == "none" or spec.repeatable


def asked_for(failure: Failure, retry: Retry) -> bool:
    """Whether failures of that kind are tried again.

    Where the tool does not name them: those that say so, and those where only this one attempt is over, too late or
    with its worker.
    """
    if retry.codes:
        return failure.code in retry.codes
    late = failure.code == "timed_out" and failure.details.get("by") in LATE
    return failure.retryable or late or failure.code == "worker_lost"
