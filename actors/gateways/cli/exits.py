"""How a command ends: one number for each way, the same for every command."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from ....protocol.failures import Failure


class Exit(IntEnum):
    """The exit codes. 130 is what a shell says of SIGINT."""

    DONE = 0
    FAILED = 1
    ASKED_WRONGLY = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.FAILED: "the tool or the turn failed",
    Exit.ASKED_WRONGLY: "asked wrongly: nothing ran",
    Exit.UNREACHABLE: "nobody reachable",
    Exit.INTERRUPTED: "interrupted",
}

ASKED_WRONGLY = {"unknown_tool", "unknown_conversation", "invalid_call", "invalid_arguments", "invalid_reference"}
"""Codes of failures that whoever typed the command can mend, and after which nothing has run."""


ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that tell a command to end. Windows knows no SIGHUP."""


def exit_of(failure: Failure) -> Exit:
    """How a command ends that ended in `failure`."""
    if failure.code == "unreachable":
        return Exit.UNREACHABLE
    return Exit.ASKED_WRONGLY if failure.code in ASKED_WRONGLY else Exit.FAILED


@contextmanager
def as_by_ctrl_c() -> Iterator[list[int]]:
    """SIGTERM, and a terminal that goes, end what runs inside as Ctrl-C does: it is cancelled, and all that it started.

    In the list are the signals that came so, for whoever goes on after a Ctrl-C.
    """
    came: list[int] = []

    def heard(number: int, _frame: object) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)

    ours: list[int] = []
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler  # ignored by what a script puts behind
    ):
        ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in ours:
        signal.signal(number, heard)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
