"""The validator: a shell around `protocol.arguments`."""

from functools import cache
from threading import Thread
from typing import ClassVar

from ..protocol import explanation
from ..protocol.messages import CallChecked, CheckCall
from ..runtime.actor import Actor
from ..runtime.context import Context
from .catalogue import Catalogue
from .intake import Customs

CHECKED = CallChecked()


class Validator(Actor):
    """Says whether arguments are what the tool's schema asks, or can be mended until they are.

    A tool that is not known here is left to its owner.
    """

    hears = CheckCall
    limit: ClassVar[int | None] = None

    def __init__(self, catalogue: Catalogue, customs: Customs | None = None) -> None:
        self.catalogue = catalogue
        self.customs = Customs() if customs is None else customs

    async def receive(self, message: CheckCall, context: Context) -> CallChecked:
        """Answer, or raise ToolwireError with every error there is."""
        be_ready()
        entry = self.catalogue.entry(message.tool)
        if entry is not None:
            understood = self.customs.understood(entry.spec, entry.checker, message.arguments)
            if understood is not None:
                return CallChecked(understood.text, understood.mended)
        return CHECKED


@cache
def be_ready() -> None:
    """Once in a process, load beside the loop what explains wrong arguments: the first of them would stop the loop.

    No end of a program waits for the thread, and what is first explained meanwhile loads it as well.
    """
    Thread(target=explanation.load, name="toolwire explanation", daemon=True).start()
