"""The validator: a shell around `protocol.arguments`."""

from typing import ClassVar

from ..protocol.failures import ToolwireError
from ..protocol.messages import CallChecked, CheckCall
from ..runtime.actor import Actor
from ..runtime.context import Context
from .catalogue import Catalogue

CHECKED = CallChecked()


class Validator(Actor):
    """Says whether arguments are what the tool's schema asks. A tool that is not known here is left to its owner."""

    hears = CheckCall
    limit: ClassVar[int | None] = None

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    async def receive(self, message: CheckCall, context: Context) -> CallChecked:
        """Answer, or raise ToolwireError with every error there is."""
        entry = self.catalogue.entries.get(message.tool)
        if entry is not None:
            failure = entry.checker.judge(message.arguments)
            if failure is not None:
                raise ToolwireError(failure)
        return CHECKED
