"""The event loop that runs: what tells it from another one, its clock, and limits of time at the price of a scope.

For what is asked outside of an actor, where no system with its alarms is at hand. As there, a limit that is far off is
an entry in a slot of `SLOT` seconds on asyncio, as a timer costs as much again as a scope; trio keeps all of its
deadlines in one heap, where one more is cheap.
"""

import asyncio
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import anyio
from anyio.lowlevel import current_token

from .alarms import SLOT
from .deadline import NEVER, Clock, loop_clock

if TYPE_CHECKING:
    import trio

    Scope = anyio.CancelScope | trio.CancelScope


class Loop(ABC):
    """One event loop. `clock` is the one that its scopes go by, and can be read from any thread."""

    __slots__ = ("__weakref__", "clock", "known", "running")

    def __init__(self, native: object, running: Callable[[], object]) -> None:
        self.known = ref(native)
        self.running = running
        self.clock: Clock = loop_clock()

    @abstractmethod
    def runs(self) -> bool:
        """Whether it runs at this moment, in whichever thread."""

    @abstractmethod
    def over(self) -> bool:
        """Whether it will never run again."""

    @abstractmethod
    def limit(self, deadline: float) -> "Scope":
        """A scope, to be entered now, that is cancelled at `deadline`; `forget` it before it is left."""

    @abstractmethod
    def lift(self, scope: "Scope", deadline: float) -> None:
        """Let the scope, which is to go on, have no limit any more."""

    @abstractmethod
    def forget(self, scope: "Scope", deadline: float) -> None:
        """The scope is left now."""


class AsyncioLoop(Loop):
    """A loop of asyncio, or of uvloop."""

    __slots__ = ("_scope", "_slots")

    def __init__(self, native: object) -> None:
        super().__init__(native, _in_asyncio)
        if getattr(self.clock, "__self__", None) is native:
            self.clock = Own(self.known)
        self._scope = type(anyio.CancelScope())
        self._slots: dict[float, dict[anyio.CancelScope, float]] = {}

    def runs(self) -> bool:
        """Whether it runs at this moment."""
        native: Any = self.known()
        return native is not None and bool(native.is_running())

    def over(self) -> bool:
        """Whether it was closed."""
        native: Any = self.known()
        return native is None or bool(native.is_closed())

    def limit(self, deadline: float) -> "Scope":
        """A scope that is cancelled at `deadline`."""
        slot = deadline // SLOT
        scopes = self._slots.get(slot)
        if scopes is None:
            if not slot > self.clock() // SLOT + 1:  # NaN too, which is no time at all
                return self._scope(deadline=NEVER if deadline == NEVER else max(-math.inf, deadline))
            scopes = self._slots[slot] = {}
            native: Any = self.known()
            native.call_at(slot * SLOT, self._arm, slot)
        scope = self._scope()
        scopes[scope] = deadline
        return scope

    def lift(self, scope: "Scope", deadline: float) -> None:
        """Let the scope have no limit any more. It may have been armed."""
        scopes: Any = self._slots.get(deadline // SLOT)
        if scopes is None or scopes.pop(scope, None) is None:
            scope.deadline = NEVER

    def forget(self, scope: "Scope", deadline: float) -> None:
        """The scope is left now, and its own timer with it."""
        scopes: Any = self._slots.get(deadline // SLOT)
        if scopes is not None:
            scopes.pop(scope, None)

    def _arm(self, slot: float) -> None:
        for scope, deadline in self._slots.pop(slot).items():
            scope.deadline = deadline


class Own:
    """The clock of a loop that has a time of its own. It does not keep the loop; without it, it stands still."""

    __slots__ = ("_known", "_now")

    def __init__(self, known: "ref[Any]") -> None:
        self._known = known
        self._now = 0.0

    def __call__(self) -> float:
        """The seconds on it."""
        native = self._known()
        if native is not None:
            self._now = native.time()
        return self._now


class TrioLoop(Loop):
    """A run of trio."""

    __slots__ = ("_trio",)

    def __init__(self, native: object) -> None:
        self._trio: Any = sys.modules["trio"]  # whoever runs on it has imported it
        super().__init__(native, _in_trio)

    def runs(self) -> bool:
        """Whether it is not over."""
        native: Any = self.known()
        try:
            if native is not None:
                native.run_sync_soon(int)
        except self._trio.RunFinishedError:
            return False
        return native is not None

    def over(self) -> bool:
        """Whether it is over: it can't be begun again."""
        return not self.runs()

    def limit(self, deadline: float) -> "Scope":
        """A scope that is cancelled at `deadline`: its own, as anyio's around it costs half as much again."""
        scope: trio.CancelScope = self._trio.CancelScope(deadline=max(-math.inf, deadline))
        return scope

    def lift(self, scope: "Scope", deadline: float) -> None:
        """Let the scope have no limit any more."""
        scope.deadline = NEVER

    def forget(self, scope: "Scope", deadline: float) -> None:
        """The scope is left now, and its deadline with it."""


# Whose task runs decides: where trio is the guest of asyncio, both have a loop that runs in this thread.
def _in_asyncio() -> object:
    """The loop of asyncio whose task this is. Raises RuntimeError where none runs."""
    task = asyncio.current_task()
    return None if task is None else task.get_loop()


def _in_trio() -> object:
    """The token of the run of trio whose task this is. Raises RuntimeError where that is none of trio's."""
    lowlevel: Any = sys.modules["trio.lowlevel"]
    lowlevel.current_task()
    return lowlevel.current_trio_token()


_loops: "WeakKeyDictionary[object, Loop]" = WeakKeyDictionary()
_last: Loop | None = None


def here() -> Loop:
    """The event loop that runs. Raises anyio.NoEventLoopError where none does."""
    last = _last
    if last is not None:
        try:
            native = last.running()
        except RuntimeError:
            native = None
        if native is not None and native is last.known():
            return last
    return _found()


def _found() -> Loop:
    """The same, where another one was asked for last."""
    global _last  # noqa: PLW0603 - one word is kept, so that asking costs 0.3 µs and not 1.5
    token = current_token()
    native = token.native_token
    loop = _loops.get(native)
    if loop is None:
        kind = TrioLoop if token.backend_class.__module__.endswith("_trio") else AsyncioLoop
        loop = _loops[native] = kind(native)
    _last = loop
    return loop
