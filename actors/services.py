"""What this process serves: tools behind doors, where everybody on the bus finds them."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from msgspec.structs import replace as changed

from ..protocol.failures import Misuse, failed
from ..protocol.naming import PLAIN, Naming, unfit
from ..protocol.tools import ToolSpec
from ..runtime.bus import BusError
from ..runtime.system import ActorSystem, Ref
from .catalogue import Catalogue
from .directory import Directory
from .lazy import Lazy, LazyActor, Loaded, Loading, given
from .serving import Offering, Served, in_place_of, offering, tool_of
from .tool import Tool
from .tool_actor import Workshop

UNDOING = 1.0
"""Seconds to tell others that what was announced is not so."""


class LazyOffering:
    """A tool that is announced before it is there."""

    def __init__(self, announced: Lazy) -> None:
        self.announced = announced
        self.specs = {announced.name: announced.spec}
        self.tools: dict[str, Tool[Any]] = {}
        self.loading: Loading

    def described(self, name: str) -> str:
        """Where the tool of that name comes from."""
        return f"lazy({name!r})"

    def staff(self, workshop: Workshop) -> LazyActor:
        """Who answers its calls until it is there."""
        return LazyActor(self.announced.name, self.loading, workshop.worker)


class Standing:
    """One offering as it is served: the actor behind it, what a lazy tool has become, and what a fake stands for."""

    __slots__ = ("became", "offered", "real", "ref")

    def __init__(self, offered: Offering | LazyOffering, ref: Ref) -> None:
        self.offered = offered
        self.ref = ref
        self.became: Standing | None = None
        self.real = self


class Services:
    """Puts tools where they are found, and takes them away again. `directory` is None where nobody else listens."""

    def __init__(
        self, system: ActorSystem, catalogue: Catalogue, workshop: Workshop, directory: Directory | None
    ) -> None:
        self.system = system
        self.catalogue = catalogue
        self.workshop = workshop
        self.directory = directory
        self.instance = system.bus.instance
        self._at: dict[str, Standing] = {}
        self._served: dict[int, tuple[object, Standing]] = {}
        self._one_by_one = anyio.Lock()

    async def serve(self, things: Sequence[Any], naming: Naming = PLAIN, *, replace: bool = False) -> Served:
        """Serve `things`; ready when it returns. Raises Misuse for what can't be a tool, and for a name taken here.

        With `replace` they take the names that are taken here, all at once: each call goes either to the old tool,
        where it ends, or to the new one. If it raises, all is as it was.
        """
        offerings = [self._offering(thing, naming) for thing in things]
        async with self._one_by_one:
            self._refuse_collisions(offerings, self._at if replace else {})
            standings = await self._establish(offerings)
        for thing, standing in zip(things, standings, strict=True):
            self._served[id(thing)] = (thing, standing)
        return Served([name for offered in offerings for name in offered.specs], partial(self._stop, standings))

    async def names_of(self, thing: Any) -> tuple[str, ...]:
        """What a tool, function or object is called here; served first, if it is not yet."""
        known = self._served.get(id(thing))
        if known is not None:
            names = tuple((known[1].became or known[1]).offered.specs)
            if all(name in self._at for name in names):
                return names
        if isinstance(thing, Lazy):
            await self.serve([thing])
            return (thing.name, f"{thing.name}.*")  # it may turn out to be several
        made = thing if isinstance(thing, Tool) else tool_of(thing)
        if made is not None and made.name in self._at:
            here = self._at[made.name].real.offered.tools.get(made.name)
            if here is not None and here.function == made.function:
                return (made.name,)
        return (await self.serve([thing])).tools

    def tool(self, name: str) -> Tool[Any] | None:
        """The tool that is served here under that name, if there is one, and it is there already."""
        standing = self._at.get(name)
        return None if standing is None else standing.offered.tools.get(name)

    async def stand_in(self, fake: Tool[Any]) -> Callable[[], Awaitable[None]]:
        """Let `fake` take the name of a tool that is served here, until what this gives back is called."""
        name = fake.name
        async with self._one_by_one:
            before = self._at[name]
            [standing] = await self._establish([Offering(lambda: {name: fake}, fake.concurrency, rebuild=False)])
            standing.real = before.real

        async def give_back() -> None:
            async with self._one_by_one:
                if self._at.get(name) is standing and self.system.open:
                    await self._undo([standing], {name: before})

        return give_back

    def _offering(self, thing: Any, naming: Naming) -> Offering | LazyOffering:
        if not isinstance(thing, Lazy):
            return offering(thing, naming, self.instance)
        name = naming.of(thing.name)
        if reason := unfit(name):
            raise Misuse(failed("invalid_call", reason))
        offered = LazyOffering(Lazy(changed(thing.spec, name=name), thing.loader))
        offered.loading = Loading(name, partial(self._load, offered), self.system)
        return offered

    async def _load(self, lazily: LazyOffering) -> Loaded:
        """Load a lazy tool, and put it where it was announced, if that is still wanted."""
        announced = lazily.announced
        thing = await given(announced.loader, self.workshop.threads)
        offered = in_place_of(announced.name, thing, self.instance)
        async with self._one_by_one:
            standing = self._at.get(announced.name)
            if standing is None or standing.offered is not lazily:  # only those who wait for it still want it
                await self.workshop.furnish(offered.tools.values())
                ref = await self.system.spawn(offered.staff(self.workshop), key=self._addresses(offered)[0])
            else:
                self._refuse_collisions([offered], {announced.name: standing})
                [standing.became] = await self._establish([offered])
                await self._end(standing)
                ref = standing.became.ref
        return Loaded(ref.cell, offered.specs)

    async def _establish(self, offerings: Sequence[Offering | LazyOffering]) -> list[Standing]:
        """Serve all of `offerings`, or, if that fails, leave everything as it was."""
        standings: list[Standing] = []
        before: dict[str, Standing] = {}
        for offered in offerings:
            await self.workshop.furnish(offered.tools.values())
        try:
            for offered in offerings:
                standings.append(Standing(offered, await self._spawn(offered)))  # noqa: PERF401 - what is there is undone if one fails
            before = self._put(standings)
            if self.directory is not None:
                await self.directory.announce(spec for offered in offerings for spec in offered.specs.values())
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._undo(standings, before)
            raise
        return standings

    async def _spawn(self, offered: Offering | LazyOffering) -> Ref:
        """The actor of `offered`, heard already where nobody of this process stands yet."""
        system = self.system
        doors = frozenset(system.address("tool", name) for name in offered.specs)
        addresses = self._addresses(offered)
        free = [address for address in addresses if not system.serves(address)]
        return await system.spawn(offered.staff(self.workshop), *free, shared=doors, key=addresses[0])

    def _addresses(self, offered: Offering | LazyOffering) -> list[str]:
        system, instance = self.system, self.instance
        own = [system.address("tool", name, instance) for name in offered.specs]
        return own + [system.address("tool", name) for name in offered.specs]

    def _put(self, standings: Sequence[Standing]) -> dict[str, Standing]:
        """Let all of them have their names, in one step. What stood there before, by name."""
        before: dict[str, Standing] = {}
        for standing in standings:
            heard = standing.ref.stops
            taken = [address for address in self._addresses(standing.offered) if address not in heard]
            self.system.hand_over(taken, standing.ref)
            for name, spec in standing.offered.specs.items():
                if name in self._at:
                    before[name] = self._at[name]
                self._at[name] = standing
                self._add(standing, spec)
        return before

    def _add(self, standing: Standing, spec: ToolSpec) -> None:
        """Let callers of this process find a tool, with its functions."""
        made = standing.offered.tools.get(spec.name)
        self.catalogue.add(spec, self.instance, None if made is None else made.touching)

    async def _undo(self, standings: Sequence[Standing], before: dict[str, Standing]) -> None:
        """Give the names back to those who stood there before, and take the others away."""
        for name, old in before.items():
            new = self._at[name]
            addresses = (self.system.address("tool", name, self.instance), self.system.address("tool", name))
            self.system.hand_over([address for address in addresses if address in new.ref.stops], old.ref)
            self._at[name] = old
            self._add(old, old.offered.specs[name])
        with anyio.move_on_after(UNDOING), suppress(BusError):
            if self.directory is not None and before:
                await self.directory.announce(old.offered.specs[name] for name, old in before.items())
        for standing in standings:
            await self._end(standing)

    async def _stop(self, standings: Sequence[Standing]) -> None:
        async with self._one_by_one:
            for standing in standings:
                if standing.became is not None:
                    await self._end(standing.became)
                await self._end(standing)
            ended = set(map(id, standings))
            self._served = {key: known for key, known in self._served.items() if id(known[1]) not in ended}

    async def _end(self, standing: Standing) -> None:
        """Take away what of it still stands, and let its actor take no more calls."""
        specs = [spec for name, spec in standing.offered.specs.items() if self._at.get(name) is standing]
        for spec in specs:
            del self._at[spec.name]
            self.catalogue.remove(spec.name, self.instance)
        if specs and self.directory is not None and self.system.open:
            with anyio.move_on_after(UNDOING), suppress(BusError):
                await self.directory.withdraw(specs)
        await standing.ref.stop()

    def _refuse_collisions(self, offerings: Sequence[Offering | LazyOffering], yielding: dict[str, Standing]) -> None:
        """Raise Misuse for a name that is taken here, but by what is `yielding`, or that two of `offerings` have."""
        owners: dict[str, str] = {}
        for offered in offerings:
            for name in offered.specs:
                here = None if name in yielding else self._at.get(name)
                other = owners.get(name) or (None if here is None else here.offered.described(name))
                if other is not None:
                    both = f"by {other} and by {offered.described(name)}"
                    said = f"{name!r} is served twice: {both}; give one a prefix, or say replace=True"
                    raise Misuse(failed("conflict", said))
                owners[name] = offered.described(name)
