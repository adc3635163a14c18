"""What can be said of a batch before any of it runs: which calls can't be made, and who waits for whom."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from . import shapes
from .failures import Failure, failed
from .graph import Lines, Waits, cycles, sequence
from .references import BrokenReference, Reference, few, mentions, parse, scan, shown
from .tools import ToolCall, ToolSpec

_KINDS: Final = {
    shapes.ARRAY: "a list",
    shapes.OBJECT: "an object",
    shapes.ARRAY | shapes.OBJECT: "a list or an object",
}
_HUGE: Final = 10**18

decode: Any = msgspec.json.Decoder().decode


class Draft:
    """A batch as it stands on paper. `Plan` says what its parameters mean.

    `refused`: why a call can't be made. `waits`: what a call waits for, if anything. `texts`: arguments that came as
    a mapping, as JSON text. `trees`: arguments that hold references or literals, decoded. `firsts`: who has an id.
    """

    def __init__(
        self,
        specs: Callable[[str], ToolSpec | None],
        *,
        references: bool = False,
        ids: bool = False,
        limit: int | None = None,
    ) -> None:
        self.calls: list[ToolCall] = []
        self.refused: dict[int, Failure] = {}
        self.waits: dict[int, Waits] = {}
        self.texts: dict[int, str] = {}
        self.trees: dict[int, Any] = {}
        self.firsts: dict[str, int] = {}
        self._known = specs
        self._specs: dict[str, ToolSpec | None] = {}
        self._references = references
        self._ids = ids
        self._limit = limit
        self._later = False
        self._doubled: set[str] = set()
        self._needs: dict[int, tuple[int, ...]] = {}
        self._after: dict[int, tuple[int, ...]] = {}
        self._given: dict[tuple[str, str], int] = {}
        self._asked: dict[tuple[str, str], int] = {}
        self._lines = Lines()

    def spec(self, name: str) -> ToolSpec | None:
        """The spec of a tool, as it was when its first call came."""
        if name not in self._specs:
            self._specs[name] = self._known(name)
        return self._specs[name]

    def add(self, call: ToolCall, refuse: Failure | None = None) -> int:
        """Add a call, which can name only those before it; its index."""
        n = len(self.calls)
        self.calls.append(call)
        self._count(n, call)
        if refuse is not None:
            self.refused.setdefault(n, refuse)
        if n not in self.refused:
            self._read(n, call)
        self._place(n)
        return n

    def extend(self, calls: Iterable[ToolCall], refuse: Mapping[int, Failure]) -> None:
        """Add calls together: an id may name any of them. To be done once, and before all else."""
        self.calls.extend(calls)
        for n, call in enumerate(self.calls):
            self._count(n, call)
        for n, failure in refuse.items():
            self.refused.setdefault(n, failure)
        for n, call in enumerate(self.calls):
            if n not in self.refused:
                self._read(n, call)
        line: Iterable[int] = range(len(self.calls))
        if self._later:
            # What tools touch must close no circle: calls line up in an order that what they ask for allows.
            self._refuse_cycles()
            self._refuse_dependents()
            line = sequence(len(self.calls), self._edges())
        for n in line:
            self._place(n)

    def producer(self, reference: Reference) -> int:
        """The call whose result a reference of a call that was not refused takes in."""
        result = reference.result
        return result - 1 if isinstance(result, int) else self.firsts[result]

    def _count(self, n: int, call: ToolCall) -> None:
        """Refuse what is over the limit, and what has no id of its own."""
        first = self.firsts.setdefault(call.id, n) if call.id else n
        if first != n:
            self._doubled.add(call.id)
        if self._limit is not None and n >= self._limit:
            said = f"this is call {n + 1}, and only the first {self._limit} are made"
            self.refused[n] = failed("limit_reached", said)
        elif not call.id:
            self.refused[n] = failed("invalid_call", "the call has no id: give each call one of its own")
        elif first != n:
            message = f"the id {shown(call.id)} is that of call {first + 1}, which goes on: give each call its own"
            self.refused[n] = failed("invalid_call", message)

    def _read(self, n: int, call: ToolCall) -> None:
        """Find what the call asks to wait for. Refuses it if that can't be."""
        text = call.arguments
        if not isinstance(text, str):
            try:
                text = self.texts[n] = call.text()
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                self.refused[n] = failed("invalid_arguments", f"the arguments can't be written as JSON: {error}")
                return
        try:
            if self._references and mentions(text):
                self._refer(n, text)
            if call.after:
                self._after[n] = self._named(n, call.after)
        except BrokenReference as broken:
            self.refused[n] = broken.failure
            self._needs.pop(n, None)

    def _refer(self, n: int, text: str) -> None:
        try:
            tree = decode(text)
        except msgspec.DecodeError:
            return  # whoever checks the arguments explains it
        except RecursionError:
            # Another decoder, or the same one with more stack left, may read it: then the reference would go as data.
            self.refused[n] = failed("invalid_arguments", "the arguments nest too deeply")
            return
        references, literals = scan(tree, ids=self._ids)
        if references or literals:
            self.trees[n] = tree
        if references:
            needs: set[int] = set()
            for reference in references:
                producer = self._found(n, reference)
                self._compare(n, producer, reference)
                needs.add(producer)
            self._needs[n] = tuple(sorted(needs))

    def _found(self, n: int, reference: Reference) -> int:
        result = reference.result
        if isinstance(result, str):
            return self._named(n, (result,), reference)[0]
        if 1 <= result <= n:
            return result - 1
        # Whether there is a later call of that number is not known while calls are still added.
        what = "itself" if result == n + 1 else "no earlier call" if result > n else "no call"
        earlier = f"one of the {n} calls before it" if n else "an earlier call, and there is none"
        # Python refuses to write out an integer of thousands of digits.
        number = str(result) if abs(result) < _HUGE else "(a huge number)"
        raise _broken(f"$result {number} is {what}: this is call {n + 1}, and it may name {earlier}", reference)

    def _named(self, n: int, ids: Iterable[str], reference: Reference | None = None) -> tuple[int, ...]:
        found: dict[int, None] = {}
        for name in ids:
            if not self._ids:
                raise _broken('"after" names calls by their ids, which is not allowed here')
            if name not in self.firsts:
                raise _broken(f"no call has the id {shown(name)}", reference)
            if name in self._doubled:
                raise _broken(f"more than one call has the id {shown(name)}", reference)
            producer = self.firsts[name]
            found[producer] = None
            self._later |= producer >= n
        return tuple(found)

    def _compare(self, n: int, producer: int, reference: Reference) -> None:
        """Say what the schemas of both ends rule out. Raises BrokenReference."""
        giver = self.spec(self.calls[producer].name)
        if giver is None or giver.returns is None:
            return
        place = (giver.name, reference.path)
        if place not in self._given:
            self._given[place] = shapes.at(giver.returns, parse(reference.path))
        given = self._given[place]
        if given & shapes.SCALAR:
            return  # it may be read as whatever is asked for
        taker = self.spec(self.calls[n].name)
        named = f"the result of call {producer + 1} ({shown(giver.name)})"
        what = f"{shown(reference.path)} of {named}" if reference.path else named
        if not given:
            raise _broken(f"{named} never has {shown(reference.path)}", reference, position=producer + 1)
        if taker is not None and not self._meets(given, taker, reference):
            raise _broken(f"{what} is {_KINDS[given]}, which can't stand here", reference, position=producer + 1)

    def _meets(self, given: int, taker: ToolSpec, reference: Reference) -> bool:
        place = (taker.name, reference.at)
        if place not in self._asked:
            self._asked[place] = shapes.at(taker.parameters, reference.steps)
        asked = self._asked[place]
        # 0: there is no such argument. Whoever checks the arguments says that better.
        return not asked or shapes.meets(given, asked)

    def _refuse_cycles(self) -> None:
        if not self._later:
            return
        for group in cycles(self._edges()):
            some = few([n + 1 for n in group])
            circle = f"calls {some} wait for each other" if len(group) > 1 else f"call {some} waits for itself"
            self.refused.update(dict.fromkeys(group, failed("invalid_reference", f"{circle}: it could never start")))

    def _refuse_dependents(self) -> None:
        if not self.refused:
            return
        needed_by: defaultdict[int, list[int]] = defaultdict(list)
        for n, producers in self._needs.items():
            for producer in producers:
                needed_by[producer].append(n)
        todo = sorted(self.refused.keys() & needed_by.keys(), reverse=True)
        while todo:
            producer = todo.pop()
            for n in needed_by[producer]:
                if n not in self.refused:
                    self.refused[n] = hanging(self.calls[producer], producer, self.refused[producer])
                    todo.append(n)

    def _place(self, n: int) -> None:
        """Lay the edges of a call, which goes the way of those that it needs if they are refused."""
        if n in self.refused:
            return
        needs = self._needs.get(n, ())
        for producer in needs if self.refused else ():
            if producer in self.refused:
                self.refused[n] = hanging(self.calls[producer], producer, self.refused[producer])
                return
        order = self._lines.join(n, self.spec(self.calls[n].name))
        if n in self._after:
            order.update(other for other in self._after[n] if other not in self.refused)
        if needs or order:
            self.waits[n] = Waits(needs, tuple(sorted(order)))

    def _edges(self) -> dict[int, set[int]]:
        """What the calls that are left ask to wait for."""
        edges: dict[int, set[int]] = {}
        for asked in (self._needs, self._after):
            for n, others in asked.items():
                if n not in self.refused:
                    edges.setdefault(n, set()).update(other for other in others if other not in self.refused)
        return edges


def hanging(call: ToolCall, n: int, failure: Failure) -> Failure:
    """How a call ends whose needed `call`, the `n`-th from 0, has ended with `failure`."""
    message = (
        f"it needs the result of call {n + 1} ({shown(call.name)}, id {shown(call.id)}), which failed: {failure.code}"
    )
    first = failure.details.get("root", n + 1) if failure.code == "dependency_failed" else n + 1
    details = {"position": n + 1, "id": call.id, "tool": call.name, "code": failure.code, "root": first}
    return Failure("dependency_failed", message, details=details)


def _broken(message: str, reference: Reference | None = None, position: int | None = None) -> BrokenReference:
    where = f"at {shown(reference.at)}: " if reference else ""
    details = {} if position is None else {"position": position}
    return BrokenReference(Failure("invalid_reference", where + message, details=details))
