"""The border at which what a handler, a listener or a progress function raises stops.

Errors are named by type and place, never by their text: the text may hold arguments or results.
"""

import asyncio
import logging
import math
import traceback

import anyio

from .contract import Lost, Progress

log = logging.getLogger("toolwire.bus")


def leaving() -> bool:
    """Whether the cancellation that is under way was meant for the current task.

    A handler's own `CancelledError` (a future it awaited was cancelled) is no cancellation of its requester.
    """
    if anyio.current_effective_deadline() == -math.inf:
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio runs here, whose Cancelled nobody can make by hand
        return True
    return task is not None and task.cancelling() > 0


def ends_all(error: BaseException) -> bool:
    """Whether `error` must go on through the bus: the program's end, or the current task's cancellation."""
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return any(ends_all(each) for each in error.exceptions)
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    return isinstance(error, anyio.get_cancelled_exc_class()) and leaving()


def lost(subject: str, error: BaseException) -> Lost:
    """The end of a request whose handler raised `error`; says it to the log, once."""
    log.error("the handler of %s raised %s", subject, described(error))
    return Lost(f"the handler of {subject} raised {type(error).__name__}")


def described(error: BaseException) -> str:
    """Type and place of an error, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{place}"


def ignored(_note: bytes) -> None:
    """The progress function of a requester who wants none."""


class Gate:
    """A progress function that lets nothing through once the answer is there, and raises nothing."""

    __slots__ = ("_hear",)

    def __init__(self, hear: Progress) -> None:
        self._hear: Progress | None = hear

    def __call__(self, note: bytes) -> None:
        if self._hear is None:
            return
        try:
            self._hear(note)
        except Exception as error:  # noqa: BLE001 - it is the requester's own; the handler must not hear of it
            self._hear = None
            log.error("a progress function raised %s; it is called no more", described(error))

    def close(self) -> None:
        """Let nothing through any more."""
        self._hear = None
