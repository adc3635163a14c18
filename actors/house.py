"""Whom the conversations of one process ask."""

from ..protocol.messages import CloseBatch, Complete, RunBatch, SelectTools
from ..runtime.context import Door
from ..runtime.tracing import Tracing
from .catalogue import Catalogue


class House:
    """Whom conversations ask, and what they share with the others of their process."""

    __slots__ = ("catalogue", "executor", "selector", "tracing")

    def __init__(self, selector: str | Door, executor: str | Door, catalogue: Catalogue, tracing: Tracing) -> None:
        self.selector = selector
        self.executor = executor
        self.catalogue = catalogue
        self.tracing = tracing

    def asks(self, model: str | Door) -> dict[type, str | Door]:
        """Where each command of a turn goes, for conversations with the model at that address."""
        executor = self.executor
        return {
            SelectTools: self.selector,
            Complete: model,
            RunBatch: executor,
            CloseBatch: executor,
        }
