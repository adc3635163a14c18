"""The phases of a turn; and what it says to whoever carries it, and hears from it, that is no message."""

from msgspec import Struct

from .events import Pending


class ToolsChanged(Struct, frozen=True, gc=False):
    """Heard before a model is asked: the tools in reach are others than when they were selected."""


class Wait(Struct, frozen=True, gc=False):
    """Said where every call that can go on has ended: wait until somebody answers one of these, for so many seconds."""

    pending: tuple[Pending, ...]
    seconds: float


class Waited(Struct, frozen=True, gc=False):
    """Heard after a `Wait`, and when a paused turn is to go on: `Turn.answer` has told what was answered meanwhile."""


CHANGED = ToolsChanged()
WAITED = Waited()


class Phase:
    """Whose answer the turn waits for. Plain strings: in its table an Enum would cost more to look up than to hear."""

    SELECTING = "selecting"
    COMPLETING = "completing"
    SPEAKING = "speaking"
    CALLING = "calling"
    WAITING = "waiting"
    PAUSED = "paused"
    ENDED = "ended"
