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
from typing import Any, Final, Literal

from .blank import Blank, is_plain
from .course import Course
from .draft import Check, Draft
from .failures import Failure
from .graph import Waits
from .resources import Resources, Touch
from .tools import ToolCall, ToolResult, ToolSpec

Eager = Literal["read_only", "all"]
"""Which calls of a plan may start before all of them are known: those of `read_only` tools, or all."""

_RUNNING: Final = 1
_ENDED: Final = 2
_HELD: Final = 3

_IS: Final = ("was not taken", "is running", "has ended", "is held")


class Plan:
    """The plan of one batch, and how far it is.

    For each call, exactly once and in this order: `take` gives its index, `arguments` the text to send, `end` says
    how it ended. A call that can't be made goes the same way: its `arguments` are the failure to end it with. So
    whoever runs a plan has one loop, and every call ends exactly once. Between `take` and `end` a call may be held
    for a person, and is taken once more when it is released. Until a plan is `done`, a call is ready, running or
    held, or more calls are to come.

    `specs` gives the spec of a tool by name, None for an unknown one (whoever runs the plan refuses that call). With
    `references`, `$result` is looked for in the arguments; with `ids`, it may be an id too, and calls may say `after`.
    Calls beyond `limit` are refused as `limit_reached`. Of calls with the same id the first goes on. `resources` are
    asked what the function of a tool says that a call touches; `check` what is wrong in the arguments of a call that
    takes results in, whatever those may be. `refuse` says which other calls are refused, and why. `ended` holds results
    of calls that are not run again, None for the others.
    """

    __slots__ = (
        *("_blank", "_course", "_eager", "_first", "_fresh", "_held", "_left", "_released", "_state"),
        *("calls", "open", "refused"),
    )

    calls: Sequence[ToolCall]

    def __init__(
        self,
        calls: Sequence[ToolCall],
        specs: Callable[[str], ToolSpec | None],
        *,
        references: bool = False,
        ids: bool = False,
        limit: int | None = None,
        resources: Resources | None = None,
        check: Check | None = None,
        refuse: Mapping[int, Failure] = {},
        ended: Sequence[ToolResult[Any] | None] = (),
    ) -> None:
        self.calls = calls = tuple(calls)
        count = len(calls)
        self.open = False
        self.refused: dict[int, Failure] = {}
        self._eager = True
        self._course: Course | None = None
        self._blank: Blank | None = None
        self._first: ToolResult[Any] | None = None  # how a call ended of which nothing was drafted
        self._fresh = list(range(count - 1, -1, -1))
        self._released: list[int] = []
        self._held: set[int] = set()
        self._left = count
        self._state = bytearray(count)
        known = {name: specs(name) for name in {call.name for call in calls}}
        over = limit is not None and count > limit
        if over or refuse or ended or not is_plain(calls, known, references=references):
            draft = Draft(
                known.__getitem__, references=references, ids=ids, limit=limit, resources=resources, check=check
            )
            draft.extend(calls, refuse)
            self.refused = draft.refused
            self._course = Course(draft)
            self._fresh = [n for n in self._fresh if n not in draft.waits]
            self._settle({n: result for n, result in enumerate(ended) if result is not None})

    @classmethod
    def opened(
        cls,
        specs: Callable[[str], ToolSpec | None],
        *,
        references: bool = False,
        limit: int | None = None,
        eager: Eager = "read_only",
        resources: Resources | None = None,
        check: Check | None = None,
    ) -> "Plan":
        """A plan without calls yet: they are added one by one, and may start at once where `eager` allows it.

        The others are kept back until it is closed, and so is whatever has to stay behind them. Nobody knows a later
        call, so ids mean nothing here; in all else it is the plan that those calls would have had together.
        """
        plan = cls((), specs)
        calls: list[ToolCall] = []
        plan.calls = calls
        plan.open = True
        plan._eager = eager == "all"
        plan._blank = Blank(calls, specs, references, limit, resources, check)
        return plan

    @property
    def done(self) -> bool:
        """Whether every call has ended, and none is to come."""
        return not (self._left or self.open)

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
        """How many calls wait for others, or to be let go by `close`."""
        return len(self._course.waiting) if self._course else 0

    @property
    def running(self) -> int:
        """How many calls were taken, have not ended, and are not held."""
        return self._left - self.ready - self.waiting - len(self._held)

    @property
    def held(self) -> tuple[int, ...]:
        """The calls that are held, in the order of the response."""
        return tuple(sorted(self._held))

    @property
    def stalled(self) -> bool:
        """Whether nothing goes on but by a `release`: no call is ready, running or to come, and some are held."""
        return bool(self._held) and not (self.open or self.has_ready or self.running)

    def add(self, call: ToolCall, refuse: Failure | None = None) -> int:
        """Add the next call of an open plan; its index. `refuse`: why it is not made. Raises ValueError if closed."""
        blank = self._blank
        if blank is None or not self.open:
            raise ValueError("the plan is closed: no call can be added")
        course = self._course
        if course is None:
            if refuse is None and blank.alone(call, eager=self._eager):
                self._left = 1
                self._state.append(0)
                self._fresh.append(0)
                return 0
            course = self._course = blank.course(self._first)
            self.refused = course.draft.refused
        n = course.draft.add(call, refuse)
        spec = course.draft.spec(call.name)
        self._left += 1
        self._state.append(0)
        kept = not (self._eager or (spec is not None and spec.read_only) or n in self.refused)
        if course.add(n, kept=kept):
            heappush(self._released, n)
        return n

    def close(self) -> None:
        """No call comes after this: those that were kept back may start. Nothing happens to a closed plan."""
        if self.open:
            self.open = False
            if self._course is not None:
                self._release(self._course.close())

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

    def needed(self, n: int) -> bool:
        """Whether other calls take in what a call returns, or, as long as calls are added, may do so."""
        return self._course is not None and self._course.needed(n)

    def supply(self, n: int, whole: str | Failure) -> None:
        """Say what others take in of a call whose result only tells of a larger one: its JSON text, or why not.

        To be called before those others are taken.
        """
        if self._course is not None:
            self._course.supply(n, whole)

    def end(self, n: int, result: ToolResult[Any]) -> None:
        """Mark a call that was taken, or is held, as ended, which releases others. Raises ValueError for any other."""
        if self._state[n] != _RUNNING:
            if self._state[n] != _HELD:
                raise ValueError(f"call {n} is not running: it {_IS[self._state[n]]}")
            self._held.remove(n)
        self._state[n] = _ENDED
        self._left -= 1
        if self._course is not None:
            self._release(self._course.end(n, result))
        else:
            self._first = result

    def hold(self, n: int) -> None:
        """Let a call that was taken wait for a person. Raises ValueError if it is not running."""
        if self._state[n] != _RUNNING:
            raise ValueError(f"call {n} is not running: it {_IS[self._state[n]]}")
        self._state[n] = _HELD
        self._held.add(n)

    def release(self, n: int) -> None:
        """Make a held call ready: `take` gives it once more. Raises ValueError if it is not held."""
        if self._state[n] != _HELD:
            raise ValueError(f"call {n} is not held: it {_IS[self._state[n]]}")
        self._held.remove(n)
        self._state[n] = 0
        heappush(self._released, n)

    def hanging(self) -> dict[int, int]:
        """For each call that can't start before a held one has ended: the first held call that it waits for."""
        return self._course.behind(self.held) if self._course is not None and self._held else {}

    def touch(self, n: int) -> Touch:
        """What a call touches. Nothing, if it was refused."""
        return self._course.draft.touches.get(n, _NOTHING) if self._course is not None else _NOTHING

    def waits(self, n: int) -> Waits:
        """Whom a call waits for, or waited for. A refused call waits for nobody, and nobody for it."""
        return self._course.draft.waits.get(n, _NOBODY) if self._course is not None else _NOBODY

    def graph(self) -> tuple[Waits, ...]:
        """Whom each call waits for."""
        return tuple(map(self.waits, range(len(self.calls))))

    def __repr__(self) -> str:
        held = f" | {len(self._held)} held" if self._held else ""
        counts = f"{self.ready} ready | {self.running} running | {self.waiting} waiting{held}"
        calls = f"{len(self.calls)}, more to come" if self.open else len(self.calls)
        return f"<Plan [calls: {calls} | {counts} | {len(self.refused)} refused]>"

    def _settle(self, ended: Mapping[int, ToolResult[Any]]) -> None:
        """Calls that ended in an earlier run."""
        if self._course is None or not ended:
            return
        self._fresh = [n for n in self._fresh if n not in ended]
        self._left -= len(ended)
        for n in ended:
            self._state[n] = _ENDED
        self._release(self._course.settle(ended))

    def _release(self, released: Sequence[int]) -> None:
        for n in released:
            heappush(self._released, n)


_NOBODY: Final = Waits()
_NOTHING: Final = Touch()
