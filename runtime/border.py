"""The one border where an exception becomes a failure.

Everything that an actor or a tool can raise comes by here once. A cancellation that is meant for the task itself
goes on; one that somebody raised on his own account (a library that leaks its own, a tool that raises it by hand)
is a failure like any other.
"""

import asyncio
import math
import secrets
import sys
import traceback
from datetime import UTC, datetime
from logging import getLogger

import anyio
import msgspec
from msgspec.structs import replace

from ..protocol.envelope import NO_BYTES, encode
from ..protocol.failures import CallFailed, Effect, Failure, ToolwireError, failed
from ..protocol.retryable import NO, later

log = getLogger("toolwire")

SHOWN = 2_000
"""How many characters of somebody's exception are told on."""

LARGEST = 64 * 1024
"""The most that a failure's message, and its details, may have: it stands in a history, and has to reach it."""

ENDS_PROGRAM = (KeyboardInterrupt, SystemExit)
"""What answers the call in hand and then ends the runtime."""


def is_cancellation(error: BaseException) -> bool:
    """Whether `error` is what an event loop throws into a task that it cancels."""
    trio = sys.modules.get("trio")
    return isinstance(error, asyncio.CancelledError) or (trio is not None and isinstance(error, trio.Cancelled))


def only_cancellation(error: BaseException) -> bool:
    """Whether `error` is a cancellation, or a group of nothing but cancellations."""
    if isinstance(error, BaseExceptionGroup):
        return all(only_cancellation(inner) for inner in error.exceptions)
    return is_cancellation(error)


def ends_program(error: BaseException) -> bool:
    """Whether `error` is the program's end: KeyboardInterrupt or SystemExit, alone or in the group of a nursery."""
    if isinstance(error, BaseExceptionGroup):
        return any(ends_program(inner) for inner in error.exceptions)
    return isinstance(error, ENDS_PROGRAM)


def is_scoped() -> bool:
    """Whether a scope cancels the current task; else it is cancelled by itself, as only asyncio can."""
    return anyio.current_effective_deadline() == -math.inf


def is_ours(error: BaseException) -> bool:
    """Whether `error` cancels the current task, and so must go on."""
    if not only_cancellation(error):
        return False
    if is_scoped():
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no asyncio here: on trio a scope that cancels has told so above
        return False
    return task is not None and task.cancelling() > 0


def shown(error: BaseException) -> str:
    """`error` as its type and message, shortened; never a traceback, and never a failure of its own."""
    try:
        text = speakable(f"{type(error).__name__}: {error}")
    except BaseException as other:  # somebody's __str__ may raise anything
        if ends_program(other):
            raise
        text = type(error).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def speakable(text: str) -> str:
    """`text` as UTF-8 can carry it: half a surrogate pair becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain(failure: Failure) -> Failure:
    """`failure` as it can travel, whatever its author put into it: details that are no JSON are left out."""
    details = failure.details
    if details:
        try:
            written = msgspec.json.encode(details)
            details = msgspec.json.decode(written) if len(written) <= LARGEST else {"left_out": "too large"}
            encode(details)
        except (*NO_BYTES, msgspec.MsgspecError):
            details = {"left_out": "details that JSON can't carry"}
    message = speakable(failure.message)
    if len(message) > LARGEST:
        message = f"{message[:SHOWN]}… ({len(message)} characters)"
    return replace(failure, message=message, details=details)


def traced(error: BaseException) -> str:
    """The type of `error` and where it was raised, without its text, for a log."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


def failure_of(error: BaseException, effect: Effect = "none") -> Failure:
    """`error` as a value: what was meant as one is, what a tool raised is `failed`."""
    if isinstance(error, CallFailed) and error.failure.effect == "none":
        return plain(replace(error.failure, effect=effect))  # it is the effect of another call, which this one made
    if isinstance(error, ToolwireError):
        return plain(error.failure)
    try:
        retryable, after = later(error, datetime.now(UTC))
    except Exception:  # noqa: BLE001 - somebody's exception may raise anything while it is looked at
        retryable, after = NO
    return Failure("failed", shown(error), effect, retryable, after, {"type": type(error).__name__})


def fault(where: str, error: BaseException) -> Failure:
    """A failure for a fault of Toolwire's own, or of an actor: the log has the rest under its id.

    An exception's own text may hold arguments or results: it is logged only at the level DEBUG.
    """
    number = secrets.token_hex(4)
    log.error("%s raised what it did not declare [%s]: %s", where, number, traced(error))
    log.debug("[%s]", number, exc_info=error)
    return failed("internal", f"an internal fault; the log has it as {number}", "maybe", id=number)
