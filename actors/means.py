"""What every call that is made from one process goes by, whoever makes it."""

from dataclasses import dataclass, field

from ..runtime.context import Door
from .catalogue import Catalogue
from .held import Held
from .intake import Customs
from .middleware import Around
from .records import Records
from .sending import Others
from .steps import Steps
from .warden import Warden

CALL_SECONDS = 30.0
"""The time limit of a call whose tool names none."""


@dataclass(eq=False, slots=True)
class Means:
    """The tools that are known, and what is done about calls of them on the way.

    `here` is this end of the bus, `others` knows who else serves tools there. `seconds` is the time limit of a call
    whose tool names none. `around` stands around each call, `customs` is what is done with arguments. `warden` lets
    calls in as a policy says, `held` keeps those that wait for a person; with `taint` one is asked before what can't
    be undone, once strangers were heard. `executor` runs what is called on behalf of a call; it is told when it lives.
    """

    catalogue: Catalogue
    here: str
    records: Records
    others: Others | None = None
    seconds: float = CALL_SECONDS
    around: Around = field(default_factory=Around)
    customs: Customs = field(default_factory=Customs)
    steps: Steps = field(default_factory=Steps)
    warden: Warden | None = None
    held: Held | None = None
    taint: bool = True
    executor: str | Door = ""
