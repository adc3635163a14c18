"""Where words go: a terminal, a pipe, or nowhere any more."""

import io
import os
import re
import sys

from rich.console import Console

WIDTH = 120
"""Columns of a table where nobody says how many there are: a pipe, a file."""

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys: controls, and marks that turn the direction of what follows."""


class Output(Console):
    """A console that falls silent when its reader has left (`| head -1`): the command goes on to its own end."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on, so that nothing is raised at the last flush either."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if self.stderr else sys.stdout).fileno())
        os.close(nowhere)


def settle() -> None:
    """Let nothing that is said fail for the stream it goes to: one that is closed, or knows few characters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # as after `>&-`
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def output(*, stderr: bool = False, plain: bool = False) -> Output:
    """Standard output, or standard error; `plain` is without colour and without anything that moves."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
    moving = False if plain else None
    return Output(
        stderr=stderr, width=width, no_color=plain or None, force_terminal=moving, highlight=False, markup=False
    )


def harmless(text: str) -> str:
    """`text` without what a terminal would obey: it may be a model's, or a stranger's."""
    return _OBEYED.sub("�", text)


def brief(text: str, longest: int = 72) -> str:
    """`text` in one line of at most `longest` characters."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
