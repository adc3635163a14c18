"""How far a batch is whose calls wait for each other, or of which some are refused or take results in."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from .draft import Draft, hanging
from .failures import Failure, failed
from .graph import Waits
from .references import shown
from .results import Results
from .tools import ToolResult


class Course:
    """Who still waits, who is doomed, and what each end releases. `grows`: calls are still added to the draft.

    A call's own lines are counted down as those before it end. Each edge is looked at once in the life of a batch.
    """

    __slots__ = (
        "_kept",
        "_needed_by",
        "_needs_left",
        "_order_left",
        "_ordered_by",
        "_over",
        "_withheld",
        "doomed",
        "draft",
        "results",
        "waiting",
    )

    def __init__(self, draft: Draft, *, grows: bool = False) -> None:
        self.draft = draft
        self.waiting = set(draft.waits)
        self.doomed: dict[int, Failure] = {}
        self.results = Results(draft)
        self._needs_left: dict[int, int] = {}
        self._order_left: dict[int, int] = {}
        self._needed_by: defaultdict[int, list[int]] = defaultdict(list)
        self._ordered_by: defaultdict[int, list[int]] = defaultdict(list)
        self._kept: list[int] = []
        self._over: dict[int, Failure | None] | None = {} if grows else None
        self._withheld: dict[int, Failure] = {}
        needed_by, ordered_by = self._needed_by, self._ordered_by
        needs_left, order_left = self._needs_left, self._order_left
        for n, (needs, order) in draft.waits.items():
            if needs:
                needs_left[n] = len(needs)
                for other in needs:
                    needed_by[other].append(n)
            if order:
                order_left[n] = len(order)
                for other in order:
                    ordered_by[other].append(n)

    def add(self, n: int, *, kept: bool) -> bool:
        """Let the newest call of the draft take its place, kept back until `close` if asked. Whether it is ready."""
        over = self._over
        if over is None:
            raise ValueError("all calls of this batch are there")
        needs, order = self.draft.waits.get(n) or Waits()
        left = [other for other in needs if other not in over]
        before = [other for other in order if other not in over]
        for other in needs:
            if (failure := over.get(other)) is not None:
                self.doomed.setdefault(n, failure)
        for other in left:
            self._needed_by[other].append(n)
        for other in before:
            self._ordered_by[other].append(n)
        self._needs_left[n], self._order_left[n] = len(left), len(before) + kept
        if kept:
            self._kept.append(n)
        if not self._order_left[n] and (n in self.doomed or not left):
            return True
        self.waiting.add(n)
        return False

    def close(self) -> list[int]:
        """No call comes after this. The calls that are ready now, since none is kept back any longer."""
        self._over = None
        released: list[int] = []
        for n in self._kept:
            self._order_left[n] -= 1
            self._release(n, released)
        self._kept.clear()
        return released

    def needed(self, n: int) -> bool:
        """Whether others take in what a call returns, or may."""
        return self._over is not None or n in self._needed_by

    def supply(self, n: int, whole: str | Failure) -> None:
        """What others take in of a call, in the place of its result's content."""
        if isinstance(whole, str):
            self.results.contents[n] = whole
            return
        failure = hanging(self.draft.calls[n], n, whole)
        said = f"it needs all of the result of call {n + 1} ({shown(self.draft.calls[n].name)}): {whole.message}"
        self._withheld[n] = failure = replace(failure, message=said)
        for other in self._needed_by.get(n, ()):
            self.doomed.setdefault(other, failure)

    def end(self, n: int, result: ToolResult[Any]) -> list[int]:
        """The calls that are ready now that `n` has ended."""
        released: list[int] = []
        needed_by = self._needed_by.get(n)
        if needed_by is not None or self._over is not None:
            failure = self._outcome(n, result)
            for other in needed_by or ():
                self._needs_left[other] -= 1
                if failure is not None:
                    self.doomed.setdefault(other, failure)
                self._release(other, released)
        for other in self._ordered_by.get(n, ()):
            self._order_left[other] -= 1
            self._release(other, released)
        return released

    def settle(self, ended: Mapping[int, ToolResult[Any]]) -> list[int]:
        """Let calls have ended before the batch begins. The others that are ready because of that."""
        self.waiting.difference_update(ended)
        return [other for n, result in ended.items() for other in self.end(n, result)]

    def arguments(self, n: int) -> str | Failure:
        """What to send for a call that may start, or the failure to end it with."""
        failure = self.draft.refused.get(n) or self.doomed.get(n)
        if failure is not None:
            return failure
        if n in self.draft.marked:
            return self.results.filled(n)
        text = self.draft.calls[n].arguments
        return text if isinstance(text, str) else self.draft.texts[n]

    def behind(self, held: Iterable[int]) -> dict[int, int]:
        """For each call that can't start before one of `held` has ended: the first of them that it waits for."""
        found: dict[int, int] = {}
        for first in held:
            todo = [first]
            while todo:
                n = todo.pop()
                needing = [other for other in self._needed_by.get(n, ()) if other not in self.doomed]
                for other in (*needing, *self._ordered_by.get(n, ())):
                    if other in self.waiting and other not in found:
                        found[other] = first
                        todo.append(other)
        return found

    def _outcome(self, n: int, result: ToolResult[Any]) -> Failure | None:
        """Why those who need the result of `n` can't have it. Keeps it, if they can."""
        failure = result.failure or self._withheld.get(n)
        if failure is None and result.content is not None:
            self.results.contents.setdefault(n, result.content)
        elif n not in self._withheld:
            failure = hanging(self.draft.calls[n], n, failure or failed("internal", "a result without content"))
        if self._over is not None:
            self._over[n] = failure
        return failure

    def _release(self, n: int, released: list[int]) -> None:
        # A call whose need has failed need not wait for its other needs. It does keep its place in every line: others
        # stand behind it instead of behind those before it.
        if not self._order_left.get(n) and (n in self.doomed or not self._needs_left.get(n)) and n in self.waiting:
            self.waiting.remove(n)
            released.append(n)
