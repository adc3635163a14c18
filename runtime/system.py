"""The actor system: spawns actors on a bus, supervises them, stops them. It knows no tool and no model."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from threading import get_ident
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from ..protocol.envelope import EMPTY_TRAIL, told
from ..protocol.failures import Misuse, failed
from ..protocol.messages import Message
from ..protocol.subjects import Kind, subject
from .actor import Actor, Cell
from .alarms import Alarms
from .border import ends_program, is_cancellation, is_ours, log, traced
from .bus.contract import Bus, Progress, Stop
from .context import Context, outside
from .deadline import Clock, loop_clock
from .supervisor import RestartPolicy, Supervisor

NOT_OPEN = "the runtime is not open: use it inside of `async with Runtime() as runtime:`"
ELSEWHERE = (
    "the runtime belongs to the event loop of another thread: use it there; from a thread by "
    "`anyio.from_thread.run(chat.say, text)`, or `asyncio.run_coroutine_threadsafe(chat.say(text), loop)`"
)

BREATH = 0.001
"""Seconds of work without a turn for the loop. A turn costs 6 µs or more, which a call of 15 µs should not pay."""


class Ref:
    """An actor that was spawned: where it is heard, and how to stop it."""

    __slots__ = ("before", "cell", "replaced", "stops")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.stops: dict[str, Stop] = {}
        self.before: list[Cell] = []
        self.replaced = False

    def __repr__(self) -> str:
        return f"<Ref {type(self.cell.actor).__name__} {self.cell.key}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is heard."""
        return tuple(self.stops)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The actor, and those that stood in its place before and still have somebody waiting."""
        return (self.cell, *self.before)

    async def withdraw(self, why: str = "") -> None:
        """Take no new message from the bus. Those that run go on; those that wait are answered `unreachable`."""
        stops, self.stops = self.stops, {}
        for stop in stops.values():
            await stop()
        for cell in self.cells:
            cell.dismiss(why)

    async def stop(self, why: str = "") -> None:
        """Take no new message. Those that run go on; those that wait or come are answered `unreachable`, and `why`.

        One in whose place another stands has nothing to stop: what it was sent ends there.
        """
        if self.replaced:
            return
        await self.withdraw(why)
        for cell in self.cells:
            cell.stop(why)


class Place:
    """An address that is served here. The actor behind it may change while the bus goes on bringing messages."""

    __slots__ = ("ref",)

    def __init__(self, ref: Ref) -> None:
        self.ref = ref

    def deliver(self, payload: bytes, progress: Progress) -> Awaitable[bytes]:
        """Hand a message to whoever is there now."""
        return self.ref.cell.deliver_in_time(payload, progress)


class ActorSystem:
    """Actors on one bus, in one process, on one event loop. Nothing that it started outlives `async with`.

    Actors of the kinds in `local` that live here may be asked directly, see `door`.
    """

    def __init__(self, bus: Bus, *, namespace: str = "default", local: frozenset[str] = frozenset()) -> None:
        self.bus = bus
        self.namespace = namespace
        self.local = local
        self.trail = EMPTY_TRAIL
        self.clock: Clock
        self.alarms: Alarms
        self.scope: type[anyio.CancelScope]
        self.tasks: TaskGroup
        self.open = False
        self.thread = 0
        """The thread of its event loop while it is open: whoever is in another one may not use it."""
        self._places: dict[str, Place] = {}
        self._ended_by: BaseException | None = None
        self._breathe_at = 0.0

    def __repr__(self) -> str:
        return f"<ActorSystem {self.bus.url} [actors: {len(self._places)}]>"

    def must_be_closed(self) -> None:
        """Raises Misuse where it is open: what is entered twice ends twice, under whoever still uses it."""
        if self.open:
            raise Misuse(failed("conflict", "the runtime is open already: use it, or make another Runtime"))

    def must_be_here(self) -> None:
        """Raises Misuse where it is not open, and in another thread: what is awaited there may never end."""
        if self.thread != get_ident():
            raise Misuse(failed("invalid_call", ELSEWHERE) if self.open else failed("unreachable", NOT_OPEN))

    async def __aenter__(self) -> Self:
        self.clock = loop_clock()
        await self.bus.__aenter__()
        self.tasks = anyio.create_task_group()
        await self.tasks.__aenter__()
        self.alarms = Alarms(self.clock)
        self.scope = type(anyio.CancelScope())
        self.tasks.start_soon(self.alarms.run)
        self.open = True
        self.thread = get_ident()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.open = False
        self.thread = 0
        refs = [place.ref for place in self._places.values()]
        with anyio.CancelScope(shield=True):
            for ref in reversed(refs):
                await ref.withdraw()
        self.tasks.cancel_scope.cancel()
        # What the program itself raised is its own, and goes on as it is; a group would wrap it.
        ours = error is None or is_cancellation(error)
        try:
            swallowed = await self.tasks.__aexit__(*((kind, error, trace) if ours else (None, None, None)))
        finally:
            try:
                await self.bus.__aexit__(kind, error, trace)  # what runs may end, and ask others here for it
            finally:
                for ref in refs:
                    for cell in ref.cells:
                        cell.stop()
        if self._ended_by is not None:
            raise self._ended_by
        return swallowed if ours else None

    def breathless(self) -> bool:
        """Whether it is time to give the loop a turn: `if system.breathless(): await checkpoint()`.

        Whoever may go on for long without ever suspending (a scripted turn, a batch of quick calls) asks here: else
        no deadline would fire, no cancellation arrive, and nobody else would be served.
        """
        now = self.clock()
        if now < self._breathe_at:
            return False
        self._breathe_at = now + BREATH
        return True

    def end(self, error: BaseException) -> None:
        """End the whole system, and raise `error` where it was entered."""
        self._ended_by = error
        self.tasks.cancel_scope.cancel()

    def address(self, kind: Kind, name: str, instance: str = "") -> str:
        """Where actors of that kind and name are heard; with `instance`, only the one at that end of the bus."""
        return subject(self.namespace, kind, name, instance)

    def largest(self, kind: Kind) -> int:
        """The most bytes that an answer of an actor of that kind may have: no bound where it is asked directly."""
        return sys.maxsize if kind in self.local else self.bus.largest

    def door(self, kind: Kind, name: str, instance: str = "") -> str | Cell:
        """Where to ask: the actor itself if it lives here and may be asked directly (a microsecond less than by the
        bus, and the same bytes), else its address.
        """
        address = self.address(kind, name, instance)
        place = self._places.get(address)
        return place.ref.cell if place is not None and kind in self.local else address

    def context(self, seconds: float | None = None) -> Context:
        """The context of somebody who is no actor."""
        return outside(self).within(seconds)

    def private(self, actor: Actor, key: str) -> Cell:
        """An actor that nobody has to find: whoever holds the cell asks it, and when nobody does it is gone."""
        if not self.open:
            raise Misuse(failed("unreachable", NOT_OPEN))
        return Cell(self, actor, key)

    async def publish(self, address: str, message: Message) -> None:
        """Tell everybody who listens to `address`."""
        await self.bus.publish(address, told(message))

    async def spawn(
        self,
        actor: Actor | Callable[[], Actor],
        *addresses: str,
        shared: frozenset[str] = frozenset(),
        policy: RestartPolicy = RestartPolicy(),  # noqa: B008 - an immutable value
        key: str = "",
    ) -> Ref:
        """Start an actor, heard at `addresses`; those in `shared` may be served by other ends too.

        Given a factory, a crashed actor is built anew by it; given an instance, its state stays as it is. `key` is
        what it is called in failures, its first address unless said otherwise. Raises Misuse if one of the addresses
        is taken in this process.
        """
        if not self.open:
            raise Misuse(failed("unreachable", NOT_OPEN))
        factory = None if isinstance(actor, Actor) else actor
        instance = actor if isinstance(actor, Actor) else actor()
        cell = Cell(self, instance, key or addresses[0])
        ref = Ref(cell)
        for address in addresses:
            if address in self._places:
                raise Misuse(failed("conflict", f"{address} is served here already"))
        self._places.update({address: Place(ref) for address in addresses})  # nobody else may take them meanwhile
        has_run = type(instance).run is not Actor.run
        if factory is not None or has_run:
            Keeper(self, cell, factory, Supervisor(policy)).keep(has_run=has_run)
        try:
            for address in addresses:
                stop = await self.bus.serve(address, self._places[address].deliver, shared=address in shared)
                ref.stops[address] = self._forgetting(address, stop)
        except BaseException:
            for address in addresses:
                self._places.pop(address, None)
            with anyio.CancelScope(shield=True):
                await ref.stop()
            raise
        return ref

    def serves(self, address: str) -> bool:
        """Whether an actor of this process is heard there."""
        return address in self._places

    def hand_over(self, addresses: Iterable[str], ref: Ref) -> None:
        """From now on `ref` is heard at `addresses`, each of which is served here; no message is missed between.

        What the actors that stood there were sent before ends there. Raises KeyError for what is not served here.
        """
        for address in addresses:
            place = self._places[address]
            old, place.ref = place.ref, ref
            ref.stops[address] = old.stops.pop(address)
            ref.replaced = False
            if not old.stops:
                old.replaced = True
                old.cell.retire()
                ref.before += [cell for cell in (*old.before, old.cell) if cell is not ref.cell and cell.awaited]
                old.before = []

    def _forgetting(self, address: str, stop: Stop) -> Stop:
        def forget() -> Awaitable[None]:
            self._places.pop(address, None)
            return stop()

        return forget


class Keeper:
    """Keeps one cell alive: builds a new actor from the factory when the old one has crashed or its `run` ended."""

    def __init__(
        self, system: ActorSystem, cell: Cell, factory: Callable[[], Actor] | None, supervisor: Supervisor
    ) -> None:
        self.system = system
        self.cell = cell
        self.factory = factory
        self.supervisor = supervisor
        self._life: anyio.CancelScope | None = None

    def keep(self, *, has_run: bool) -> None:
        """Start what the actor does by itself, and be told of crashes."""
        if self.factory is not None:
            self.cell.crashed = self._crashed
        if has_run:
            scope = anyio.CancelScope()
            self.cell.stops.append(scope.cancel)
            self.system.tasks.start_soon(self._run, scope)

    def _crashed(self) -> None:
        pause = self.supervisor.after_end(self.system.clock(), crashed=True)
        if pause == 0.0 and self._replace():
            return
        self.cell.hold()
        if pause is None or not self.system.open:
            self.cell.close(f"{self.cell.key} crashed too often")
        else:
            self.system.tasks.start_soon(self._replace_after, pause)

    async def _replace_after(self, pause: float) -> None:
        await anyio.sleep(pause)
        if self._replace():
            self.cell.open()
        else:
            self._crashed()

    def _replace(self) -> bool:
        """Put a new actor in the place of the old one, whose `run` then ends. False if the factory raised."""
        if self.factory is None:
            return True
        try:
            self.cell.replace(self.factory())
        except Exception as error:  # noqa: BLE001 - whatever it raised, it counts as a crash
            log.error("%s: its factory raised %s", self.cell.key, traced(error))
            return False
        if self._life is not None:
            self._life.cancel()
        return True

    async def _run(self, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                crashed = await self._lived()
                if crashed is not None and not await self._again(crashed=crashed):
                    return

    async def _lived(self) -> bool | None:
        """Let the actor do what it does by itself: True if it crashed, None if another has taken its place."""
        actor = self.cell.actor
        try:
            with anyio.CancelScope() as self._life:
                await actor.run()
                return False
        except BaseException as error:
            if is_ours(error):
                raise
            if ends_program(error):
                self.system.end(error)
            log.error("%s: its run() raised %s", self.cell.key, traced(error))
            return True
        finally:
            self._life = None
        return None

    async def _again(self, *, crashed: bool) -> bool:
        """What the supervisor says of the actor's end. False if there is no next start."""
        while True:
            pause = self.supervisor.after_end(self.system.clock(), crashed=crashed)
            if pause is None:
                self.cell.close(f"{self.cell.key} {'crashed too often' if crashed else 'has ended'}")
                return False
            self.cell.hold()
            await anyio.sleep(pause)
            if self._replace():
                self.cell.open()
                return True
            crashed = True
