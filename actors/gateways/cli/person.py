"""Whoever sits at the terminal, if anybody: asked about calls that wait for a person."""

import sys
from contextlib import nullcontext
from functools import partial
from typing import Literal

from anyio.from_thread import BlockingPortal

from ....protocol.events import Pending, Reply
from ....protocol.failures import ToolwireError
from ...chat import Chat
from ..console import harmless, output
from ..live import TurnView

try:
    import termios
except ImportError:  # not on Windows
    termios = None  # type: ignore[assignment]

NOBODY = "nobody is at the terminal to confirm it"


class Person:
    """Answers for the calls of one conversation: yes or no, as typed; where nobody can type, no."""

    def __init__(self, portal: BlockingPortal, conversation: Chat, *, typed: bool) -> None:
        self._portal = portal
        self._conversation = conversation
        self._typed = typed
        self._later: Reply | None = None  # of a turn that was paused before the answer came

    def asked(self, pending: Pending, view: TurnView | None) -> None:
        """Ask about a call, and tell the conversation."""
        with nullcontext() if view is None else view.aside():
            reason = self._refusal(pending)
        word: Literal["approve", "deny"] = "approve" if reason is None else "deny"
        try:
            reply = self._portal.call(partial(self._conversation.answer, pending, word, reason=reason or ""))
        except ToolwireError as error:
            output(stderr=True).print(harmless(str(error)), style="red", soft_wrap=True)
        else:
            self._later = reply or self._later

    def settled(self, view: TurnView | None) -> Reply | None:
        """The end of a turn that was paused and then answered; None if it was not."""
        while (paused := self._conversation.pending) and self._later is not None:
            self.asked(paused[0], view)
        later, self._later = self._later, None
        return later

    def _refusal(self, pending: Pending) -> str | None:
        """Why the call is not to be made; None if it is."""
        if not self._typed:
            return NOBODY
        call = f"{pending.name}({pending.arguments})"  # whole: whoever says yes has to have seen it all
        reason = pending.reason.replace("\n", "\\n")  # else it could write a question of its own, and the answer to it
        output().print(harmless(f"{call}\n  waits for your word: {reason}"), soft_wrap=True)
        forget_what_was_typed()
        try:
            said = input("  do it? [y/N] ")
        except EOFError:
            return NOBODY
        return None if said.strip().lower() in {"y", "yes"} else ""


def forget_what_was_typed() -> None:
    """Leave out what was typed before a question was there to read: it is no answer to it."""
    if termios is not None:
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
