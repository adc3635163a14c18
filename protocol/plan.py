"""The plan of a batch of calls: who waits for whom, who may start, what each is sent. A value without I/O or clock.

A call waits for others in two ways. It *needs* those whose results it takes in: if one fails, so does the call, as
`dependency_failed`, and so on along the chain, and nobody else. It keeps *order* behind calls of the same object,
of a resource that one of the two writes, around exclusive ones, and behind those that it names in `after`: however
these end, it goes on. Order is the order of the response, except where an id refers to a later call: that one
comes first.

In the code calls are named by their index in the batch, from 0; what a model or a person reads counts from 1.
"""

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final

import msgspec

from .draft import Draft, decode, hanging
from .failures import Failure, ToolwireError, failed
from .graph import Waits
from .references import BrokenReference, Reference, mentions, resolve, shown, substitute
from .tools import ToolCall, ToolResult, ToolSpec, encode_json

LARGEST: Final = 1 << 20
"""Bytes of a call's arguments once results are filled in: the limit that arguments have as such."""

_RUNNING: Final = 1
_ENDED: Final = 2

_checked: Any = msgspec.json.Decoder(msgspec.Raw).decode


class Plan:
    """The plan of one batch, and how far it is.

    For each call, exactly once and in this order: `take` gives its index, `arguments` the text to send, `end` says
    how it ended. A call that can't be made goes the same way: its `arguments` are the failure to end it with. So
    whoever runs a plan has one loop, and every call ends exactly once. Until a plan is `done`, a call is ready or
    running.

    `specs` gives the spec of a tool by name, None for an unknown one (whoever runs the plan refuses that call). With
    `references`, `$result` is looked for in the arguments; with `ids`, it may be an id too, and calls may say `after`.
    Calls beyond `limit` are refused as `limit_reached`. Of calls with the same id the first goes on.
    """

    __slots__ = ("_course", "_fresh", "_open", "_released", "_state", "calls", "refused")

    def __init__(
        self,
        calls: Sequence[ToolCall],
        specs: Callable[[str], ToolSpec | None],
        *,
        references: bool = False,
        ids: bool = False,
        limit: int | None = None,
    ) -> None:
        self.calls = calls = tuple(calls)
        count = len(calls)
        self.refused: dict[int, Failure] = {}
        self._course: _Course | None = None
        self._fresh = list(range(count - 1, -1, -1))
        self._released: list[int] = []
        self._open = count
        self._state = bytearray(count)
        known = {name: specs(name) for name in {call.name for call in calls}}
        if (limit is not None and count > limit) or not _plain(calls, known, references=references):
            draft = Draft(calls, known, references=references, ids=ids, limit=limit)
            self.refused = draft.refused
            self._course = _Course(draft)
            self._fresh = [n for n in self._fresh if n not in draft.waits]

    @property
    def done(self) -> bool:
        """Whether every call has ended."""
        return not self._open

    @property
    def has_ready(self) -> bool:
        """Whether `take` has one to give."""
        return bool(self._fresh or self._released)

    @property
    def ready(self) -> int:
        """How many calls may start now."""
        return len(self._fresh) + len(self._released)

    @property
    def waiting(self) -> int:
        """How many calls wait for others."""
        return len(self._course.waiting) if self._course else 0

    def take(self) -> int | None:
        """The first ready call in the order of the response. None if there is none."""
        fresh = self._fresh
        if self._released and not (fresh and fresh[-1] < self._released[0]):
            n = heappop(self._released)
        elif fresh:
            n = fresh.pop()
        else:
            return None
        self._state[n] = _RUNNING
        return n

    def arguments(self, n: int) -> str | Failure:
        """What to send for a call that was taken, as JSON text: untouched if it holds no references. Or why not."""
        if self._course is not None:
            return self._course.arguments(n)
        text = self.calls[n].arguments
        return text if isinstance(text, str) else self.calls[n].text()

    def end(self, n: int, result: ToolResult[Any]) -> None:
        """Mark a call that was taken as ended, which releases others. Raises ValueError if it is not running."""
        if self._state[n] != _RUNNING:
            raise ValueError(f"call {n} is not running: it {'has ended' if self._state[n] else 'was not taken'}")
        self._state[n] = _ENDED
        self._open -= 1
        if self._course is not None:
            for released in self._course.end(n, result):
                heappush(self._released, released)

    def waits(self, n: int) -> Waits:
        """Whom a call waits for, or waited for. A refused call waits for nobody, and nobody for it."""
        return self._course.draft.waits.get(n, _NOBODY) if self._course is not None else _NOBODY

    def graph(self) -> tuple[Waits, ...]:
        """Whom each call waits for."""
        return tuple(map(self.waits, range(len(self.calls))))

    def __repr__(self) -> str:
        running = self._open - self.ready - self.waiting
        counts = f"{self.ready} ready | {running} running | {self.waiting} waiting | {len(self.refused)} refused"
        return f"<Plan [calls: {len(self.calls)} | {counts}]>"


class _Course:
    """How far a batch is whose calls wait for each other, or of which some are refused or take results in."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.waiting = set(draft.waits)
        self.doomed: dict[int, Failure] = {}
        self.results = _Results(draft)
        self.needs_left: dict[int, int] = {}
        self.order_left: dict[int, int] = {}
        self.needed_by: dict[int, list[int]] = {}
        self.ordered_by: dict[int, list[int]] = {}
        for n, waits in draft.waits.items():
            self.needs_left[n] = len(waits.needs)
            self.order_left[n] = len(waits.order)
            for other in waits.needs:
                self.needed_by.setdefault(other, []).append(n)
            for other in waits.order:
                self.ordered_by.setdefault(other, []).append(n)

    def end(self, n: int, result: ToolResult[Any]) -> list[int]:
        """The calls that are ready now that `n` has ended."""
        released: list[int] = []
        if n in self.needed_by:
            failure = result.failure
            if failure is None and result.content is not None:
                self.results.contents[n] = result.content
            else:
                failure = hanging(self.draft.calls[n], n, failure or failed("internal", "a result without content"))
            for other in self.needed_by[n]:
                self.needs_left[other] -= 1
                if failure is not None:
                    self.doomed.setdefault(other, failure)
                self._release(other, released)
        for other in self.ordered_by.get(n, ()):
            self.order_left[other] -= 1
            self._release(other, released)
        return released

    def arguments(self, n: int) -> str | Failure:
        failure = self.draft.refused.get(n) or self.doomed.get(n)
        if failure is not None:
            return failure
        if n in self.draft.trees:
            return self.results.filled(n)
        text = self.draft.calls[n].arguments
        return text if isinstance(text, str) else self.draft.texts[n]

    def _release(self, n: int, released: list[int]) -> None:
        # A call whose need has failed need not wait for its other needs. It does keep its place in every line: others
        # stand behind it instead of behind those before it.
        if not self.order_left[n] and (n in self.doomed or not self.needs_left[n]) and n in self.waiting:
            self.waiting.remove(n)
            released.append(n)


class _Results:
    """What calls have returned, as far as others take it in: each is decoded once, and each part encoded once."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.contents: dict[int, str] = {}
        self._values: dict[int, Any] = {}
        self._parts: dict[tuple[int, str], msgspec.Raw] = {}

    def filled(self, n: int) -> str | Failure:
        """The arguments of a call with results in the place of its references."""
        room = LARGEST

        def part(reference: Reference) -> msgspec.Raw:
            nonlocal room
            found = self._part(reference)
            # Counted before anything is written: a short text may name a long result a thousand times.
            room -= len(memoryview(found))
            if room < 0:
                raise ToolwireError(_TOO_LARGE)
            return found

        try:
            filled = encode_json(substitute(self.draft.trees[n], part, ids=True))
        except ToolwireError as broken:
            return broken.failure
        return filled.decode() if len(filled) <= LARGEST else _TOO_LARGE

    def _part(self, reference: Reference) -> msgspec.Raw:
        key = (self.draft.producer(reference), reference.path)
        if key not in self._parts:
            self._parts[key] = self._read(reference, *key)
        return self._parts[key]

    def _read(self, reference: Reference, producer: int, path: str) -> msgspec.Raw:
        """A part of a result as JSON text. Raises ToolwireError."""
        call = self.draft.calls[producer]
        named = f"at {shown(reference.at)}: the result of call {producer + 1} ({shown(call.name)}, id {shown(call.id)})"
        details = {"position": producer + 1, "id": call.id, "tool": call.name}
        try:
            if not path:
                # Not taken on trust: text that is more than one value would write itself into the arguments.
                whole: msgspec.Raw = _checked(self.contents[producer])
                return whole
            if producer not in self._values:
                self._values[producer] = decode(self.contents[producer])
            return msgspec.Raw(encode_json(resolve(self._values[producer], path)))
        except BrokenReference as broken:
            message = f"{named} has no {shown(path)}: {broken.failure.message}"
            raise ToolwireError(Failure("invalid_reference", message, details=details)) from None
        except (msgspec.DecodeError, RecursionError):
            raise ToolwireError(hanging(call, producer, failed("invalid_result", "it can't be read"))) from None


_NOBODY: Final = Waits()
_TOO_LARGE: Final = failed("too_large", f"with the results that they name, the arguments are over {LARGEST:,} bytes")


def _plain(calls: Sequence[ToolCall], specs: Mapping[str, ToolSpec | None], *, references: bool) -> bool:
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
