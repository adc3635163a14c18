"""A batch of which nothing is drafted yet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .course import Course
from .draft import Check, Draft
from .references import mentions
from .resources import Resources
from .tools import ToolCall, ToolResult, ToolSpec


class Blank:
    """A plan that is open, before there is anything to draft: most responses have one call, and that waits for nobody.

    `calls` are those of the plan, where `specs` and what follows are as there.
    """

    __slots__ = ("_known", "calls", "check", "limit", "references", "resources", "specs")

    def __init__(
        self,
        calls: list[ToolCall],
        specs: Callable[[str], ToolSpec | None],
        references: bool,  # noqa: FBT001 - it is made in one place
        limit: int | None,
        resources: Resources | None,
        check: Check | None,
    ) -> None:
        self.calls = calls
        self.specs = specs
        self.references = references
        self.limit = limit
        self.resources = resources
        self.check = check
        self._known: dict[str, ToolSpec | None] = {}

    def alone(self, call: ToolCall, *, eager: bool) -> bool:
        """Take in the first call, if it may start at once, and nothing has to be drafted for it."""
        if self.calls or self.references or (self.limit is not None and self.limit < 1):
            return False
        spec = self.specs(call.name)
        known = {call.name: spec}
        if not (eager or (spec is not None and spec.read_only)) or not is_plain((call,), known, references=False):
            return False
        self._known = known
        self.calls.append(call)
        return True

    def course(self, first: ToolResult[Any] | None) -> Course:
        """The course of the calls that came so far: one at the most, which may have ended with `first`."""
        draft = Draft(
            self._spec, references=self.references, limit=self.limit, resources=self.resources, check=self.check
        )
        course = Course(draft, grows=True)
        for call in self.calls:
            course.add(draft.add(call), kept=False)
            if first is not None:
                course.end(0, first)
        draft.calls = self.calls
        return course

    def _spec(self, name: str) -> ToolSpec | None:
        """The spec of a tool, as it was when its first call came."""
        return self._known[name] if name in self._known else self.specs(name)


def is_plain(calls: Sequence[ToolCall], specs: Mapping[str, ToolSpec | None], *, references: bool) -> bool:
    """Whether no call can wait, be refused, or be rewritten: then there is nothing to draft."""
    ids = {call.id for call in calls}
    if len(ids) != len(calls) or "" in ids:
        return False
    for spec in specs.values():
        if spec is not None and spec.ordered:
            return False
    for call in calls:
        text = call.arguments
        if call.after or not isinstance(text, str) or (references and mentions(text)):
            return False
    return True
