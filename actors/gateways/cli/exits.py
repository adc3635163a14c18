"""How a command ends: one number for each way, the same for every command."""

from enum import IntEnum

from ....protocol.failures import Failure


class Exit(IntEnum):
    """The exit codes. 75 is EX_TEMPFAIL of sysexits.h, 130 what a shell says of SIGINT."""

    DONE = 0
    FAILED = 1
    ASKED_WRONGLY = 2
    UNREACHABLE = 3
    GAVE_BACK = 75
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.FAILED: "the tool or the turn failed",
    Exit.ASKED_WRONGLY: "asked wrongly: nothing ran",
    Exit.UNREACHABLE: "nobody reachable",
    Exit.GAVE_BACK: "drained, but gave calls back",
    Exit.INTERRUPTED: "interrupted",
}

ASKED_WRONGLY = {"unknown_tool", "unknown_conversation", "invalid_call", "invalid_arguments", "invalid_reference"}
"""Codes of failures that whoever typed the command can mend, and after which nothing has run."""


def exit_of(failure: Failure) -> Exit:
    """How a command ends that ended in `failure`."""
    if failure.code == "unreachable":
        return Exit.UNREACHABLE
    return Exit.ASKED_WRONGLY if failure.code in ASKED_WRONGLY else Exit.FAILED
