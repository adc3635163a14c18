"""The events of one turn on their way to whoever follows it."""

from msgspec.structs import replace

from ..protocol.events import CallFinished, ConfirmationWanted, Event, TextDelta
from ..protocol.turn import Turn
from ..runtime.context import Context
from .eager import EagerCalls


class Numbered:
    """Passes the events of a turn on to its caller, numbered from 1."""

    __slots__ = ("_context", "_eager", "_number", "_turn")

    def __init__(self, context: Context, turn: Turn, eager: EagerCalls | None) -> None:
        self._context = context
        self._turn = turn
        self._eager = eager
        self._number = 0

    def hear(self, event: Event) -> None:
        """Pass `event` on."""
        if self._eager is not None and self._eager.heard(event):
            return
        self._number += 1
        if type(event) is TextDelta:
            self._turn.told.append(event.text)
        elif type(event) is CallFinished:
            self._turn.tell(event.result)
        elif type(event) is ConfirmationWanted:
            self._turn.ask(event.pending)
        self._context.report(replace(event, number=self._number))
