"""What can be said of a batch before any of it runs: which calls can't be made, and who waits for whom."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from . import shapes
from .failures import Failure, failed
from .graph import Waits, cycles, sequence
from .lines import Lines
from .references import BrokenReference, Reference, few, mentions, parse, scan, shown, substitute
from .resources import UNKNOWN, Resources, Touch, templated, touched
from .tools import ToolCall, ToolSpec

_KINDS: Final = {
    shapes.ARRAY: "a list",
    shapes.OBJECT: "an object",
    shapes.ARRAY | shapes.OBJECT: "a list or an object",
}
_HUGE: Final = 10**18
_NONE: Final[tuple[int, ...]] = ()
_waits: Any = tuple.__new__  # half of what the class itself takes

decode: Any = msgspec.json.Decoder().decode

Check = Callable[[ToolCall, Any, Sequence[Reference]], Failure | None]
"""Why a call can't be right, whatever the references in its arguments (decoded, their literals unwrapped) bring.

It is asked for calls whose arguments hold a reference, or might seem to."""


class Draft:
    """A batch as it stands on paper. `Plan` says what its parameters mean.

    `refused`: why a call can't be made. `waits`: what a call waits for, if anything. `texts`: arguments that came as
    a mapping, as JSON text. `marked`: whose arguments hold references or literals. `firsts`: who has an id.
    `touches`: what a call touches, if anything.
    """

    def __init__(
        self,
        specs: Callable[[str], ToolSpec | None],
        *,
        references: bool = False,
        ids: bool = False,
        limit: int | None = None,
        resources: Resources | None = None,
        check: Check | None = None,
    ) -> None:
        self.calls: list[ToolCall] = []
        self.refused: dict[int, Failure] = {}
        self.waits: dict[int, Waits] = {}
        self.texts: dict[int, str] = {}
        self.marked: set[int] = set()
        self.firsts: dict[str, int] = {}
        self.touches: dict[int, Touch] = {}
        self._known = specs
        self._specs: dict[str, ToolSpec | None] = {}
        self._fixed: dict[str, Touch | None] = {}
        self._references = references
        self._ids = ids
        self._limit = limit
        self._resources = resources
        self._check = check
        self._later = False
        self._doubled: set[str] = set()
        self._needs: dict[int, tuple[int, ...]] = {}
        self._after: dict[int, tuple[int, ...]] = {}
        self._given: dict[tuple[str, str], int] = {}
        self._asked: dict[tuple[str, str], int] = {}
        self._lines = Lines()

    def spec(self, name: str) -> ToolSpec | None:
        """The spec of a tool that was called, as it was when its first call came."""
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
        self.firsts = {call.id: n for n, call in enumerate(self.calls)}
        if len(self.firsts) == len(self.calls) and "" not in self.firsts and self._limit is None:
            self._specs = {name: self._known(name) for name in {call.name for call in self.calls}}
        else:
            self.firsts = {}
            for n, call in enumerate(self.calls):
                self._count(n, call)
        for n, failure in refuse.items():
            self.refused.setdefault(n, failure)
        refused = self.refused
        for n, call in enumerate(self.calls):
            if n not in refused:
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
        if call.name not in self._specs:
            self._specs[call.name] = self._known(call.name)
        first = self.firsts.setdefault(call.id, n) if call.id else n
        if first == n and call.id and (self._limit is None or n < self._limit):
            return
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
        if literals:
            tree = substitute(tree, _written, ids=True)
        if references or literals:
            self.marked.add(n)  # decoded again when it is due: 10,000 trees would take more than they save
        needs = self._producers(n, references)
        if self._check is not None and (failure := self._check(self.calls[n], tree, references)) is not None:
            self.refused[n] = failure
        elif needs:
            self._needs[n] = tuple(sorted({*needs})) if len(needs) > 1 else tuple(needs)

    def _producers(self, n: int, references: Sequence[Reference]) -> list[int]:
        """Whose result each reference takes in. Raises BrokenReference for one that can't be."""
        specs, calls, firsts = self._specs, self.calls, self.firsts
        needs = []
        for reference in references:
            result = reference.result
            if type(result) is int and 0 < result <= n:
                producer = result - 1
            elif result in firsts and result not in self._doubled:
                producer = firsts[result]
                self._later = self._later or producer >= n
            else:
                raise self._unfound(n, reference)
            giver = specs[calls[producer].name]
            if giver is not None and giver.returns is not None:
                self._compare(n, producer, giver, giver.returns, reference)
            needs.append(producer)
        return needs

    def _unfound(self, n: int, reference: Reference) -> BrokenReference:
        result = reference.result
        if isinstance(result, str):
            return self._unnamed(result, reference)
        # Whether there is a later call of that number is not known while calls are still added.
        what = "itself" if result == n + 1 else "no earlier call" if result > n else "no call"
        earlier = f"one of the {n} calls before it" if n else "an earlier call, and there is none"
        # Python refuses to write out an integer of thousands of digits.
        number = str(result) if abs(result) < _HUGE else "(a huge number)"
        return _broken(f"$result {number} is {what}: this is call {n + 1}, and it may name {earlier}", reference)

    def _named(self, n: int, ids: Iterable[str]) -> tuple[int, ...]:
        found: list[int] = []
        for name in ids:
            if not self._ids or name not in self.firsts or name in self._doubled:
                raise self._unnamed(name, None)
            found.append(producer := self.firsts[name])
            self._later = self._later or producer >= n
        return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)

    def _unnamed(self, name: str, reference: Reference | None) -> BrokenReference:
        if not self._ids:
            return _broken('"after" names calls by their ids, which is not allowed here')
        many = "more than one call has" if name in self._doubled else "no call has"
        return _broken(f"{many} the id {shown(name)}", reference)

    def _compare(self, n: int, producer: int, giver: ToolSpec, returns: object, reference: Reference) -> None:
        """Say what the schemas of both ends rule out. Raises BrokenReference."""
        place = (giver.name, reference.path)
        if place not in self._given:
            self._given[place] = shapes.at(returns, parse(reference.path))
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
        refused = self.refused
        needs = self._needs.get(n, _NONE)
        if refused:
            if n in refused:
                return
            for producer in needs:
                if producer in refused:
                    refused[n] = hanging(self.calls[producer], producer, refused[producer])
                    return
        name = self.calls[n].name
        touch = self._fixed[name] if name in self._fixed else self._touch(n, name)
        order: Collection[int] = self._lines.join(n, touch)
        if touch is not None:
            self.touches[n] = touch
        after = self._after.get(n)
        if after is not None:
            order = {*order, *after} if order else after
            if refused:
                order = [other for other in order if other not in refused]
        if order or needs:
            self.waits[n] = _waits(Waits, (needs, tuple(sorted(order)) if len(order) > 1 else tuple(order)))

    def _touch(self, n: int, name: str) -> Touch | None:
        """What the call touches, if anything: with most tools the same at each call."""
        spec = self.spec(name)
        if spec is not None and (spec.computed or templated(spec.writes) or templated(spec.reads)):
            return touched(spec, self.calls[n], self._foreseen(n), self._resources)
        ordered = spec is not None and spec.ordered
        found = self._fixed[name] = touched(spec, self.calls[n], None, None) if spec is not None and ordered else None
        return found

    def tree(self, n: int) -> Any:
        """The arguments of a call, decoded. Raises msgspec.DecodeError and RecursionError."""
        text = self.calls[n].arguments
        return decode(text if isinstance(text, str) else self.texts[n])

    def _foreseen(self, n: int) -> dict[str, Any] | None:
        """The arguments of a call, with what is not known yet in the place of its references. None if unreadable."""
        try:
            tree = self.tree(n)
        except (msgspec.DecodeError, RecursionError):
            return None
        if n in self.marked:
            tree = substitute(tree, _unknown, ids=True)
        return tree if isinstance(tree, dict) else None

    def _edges(self) -> dict[int, set[int]]:
        """What the calls that are left ask to wait for."""
        edges: dict[int, set[int]] = {}
        for asked in (self._needs, self._after):
            for n, others in asked.items():
                if n not in self.refused:
                    edges.setdefault(n, set()).update(other for other in others if other not in self.refused)
        return edges


def _written(reference: Reference) -> object:
    return {"$result": reference.result, "path": reference.path}


def _unknown(_reference: Reference) -> object:
    return UNKNOWN


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
