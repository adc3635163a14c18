"""Whom a conversation asks, and what it need not ask again."""

from collections.abc import Callable, Mapping
from typing import Any

from ..protocol.messages import SelectTools, ToolsSelected
from ..runtime.context import Door
from .selectors.contract import SelectionStrategy

SCOPES = 256
"""Selections that are kept, each for other patterns."""


class Selecting:
    """Who selects by a strategy of an agent's own."""

    __slots__ = ("__weakref__", "door", "strategy")

    def __init__(self, strategy: SelectionStrategy, door: str | Door) -> None:
        self.strategy = strategy  # held, so that its id stays its own
        self.door = door


class Asks(dict[type, "str | Door"]):
    """Whom conversations with one model ask. Of a class of its own, so that it can be held weakly.

    With a `selector` of an agent's own, whoever else is asked stays as it was, and lasts as long. `check_settings`
    raises Misuse for settings that the model can't have; None where the model can't tell beforehand. `forget` has a
    model of this process forget a conversation: a message for that would be a tenth of a short conversation.
    """

    def __init__(self, asks: "dict[type, str | Door]", selector: Selecting | None = None) -> None:
        super().__init__(asks)
        self.check_settings: Callable[[Mapping[str, Any]], None] | None = getattr(asks, "check_settings", None)
        self.forget: Callable[[str], None] | None = getattr(asks, "forget", None)
        self._selected: dict[tuple[str, ...], ToolsSelected] = {}
        self._version = -1
        if selector is not None:
            self[SelectTools] = selector.door
            self.held = (asks, selector)

    def selected(self, patterns: tuple[str, ...], version: int) -> ToolsSelected | None:
        """What was selected by these patterns and would be again, as long as the catalogue is of this version."""
        return self._selected.get(patterns) if version == self._version else None

    def keep(self, patterns: tuple[str, ...], version: int, selected: ToolsSelected) -> None:
        """Do not ask again for what is the same whatever is said."""
        if version != self._version or len(self._selected) >= SCOPES:
            self._selected.clear()
            self._version = version
        self._selected[patterns] = selected


def kept(asks: Asks, _model: object) -> Asks:
    """`asks`; the model is held, so that its id stays its own."""
    return asks
