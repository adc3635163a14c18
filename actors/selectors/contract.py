"""The contract of a selection strategy: which of many tools a model is offered, where it can't be offered all.

- A strategy is told of each tool that comes, changes or goes, and keeps its own index of them. `select` answers from
  that index: it never walks all tools.
- `select` gives the names of known tools only, best first, none twice, at most `limit`; the same answer to the same
  query while no tool comes or goes. It gives fewer, or none, where it finds no reason for more: what is offered then
  is decided by whoever asks.
- No method waits, and none keeps the query.
- Two attributes are looked for, and need not be there. `most` (128, what the largest provider takes) is how many tools
  a model is offered: where no more are in reach all of them are, and nobody is asked, unless `always` is true. Tools
  that the conversation has called stay on offer, before those that are selected.
- Names that are not in reach are passed over. What a method raises ends the turn, as `failed`; tools are served all the
  same.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ...protocol.tools import ToolSpec

Among = Callable[[str], bool]
"""Whether a tool of that name may be selected at all."""


@runtime_checkable
class SelectionStrategy(Protocol):
    """Chooses tools by what was said."""

    def add(self, spec: ToolSpec) -> None:
        """Take in a tool; one of the same name is replaced."""
        ...

    def remove(self, name: str) -> None:
        """Forget a tool. One that is not known is no error."""
        ...

    def select(self, query: str, *, limit: int, among: Among | None = None) -> list[str]:
        """The names of the tools that fit `query` best, out of those that `among` says yes to."""
        ...
