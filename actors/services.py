"""What this process serves: tools behind doors, where everybody on the bus finds them."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from ..protocol.failures import Misuse, failed
from ..runtime.bus import BusError
from ..runtime.system import ActorSystem, Ref
from .catalogue import Catalogue
from .directory import Directory
from .serving import Offering, Served, described, offering, tool_of
from .tool import Tool
from .tool_actor import Workshop


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
        self._owners: dict[str, Tool[Any]] = {}
        self._served: dict[int, tuple[object, tuple[str, ...]]] = {}

    async def serve(self, things: Sequence[Any], prefix: str = "") -> Served:
        """Serve `things`; ready when it returns. Raises Misuse for what can't be a tool, and for a name taken here."""
        offerings = [offering(thing, prefix, self.instance) for thing in things]
        self._refuse_collisions(offerings)
        refs: list[tuple[Ref, Offering]] = []
        try:
            for offered in offerings:
                refs.append((await self._spawn(offered), offered))  # noqa: PERF401 - what is there is stopped if one fails
            if self.directory is not None:
                await self.directory.announce(spec for _, offered in refs for spec in offered.specs)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stop(refs)
            raise
        for thing, offered in zip(things, offerings, strict=True):
            self._served[id(thing)] = (thing, tuple(offered.tools))
        return Served([name for offered in offerings for name in offered.tools], partial(self._stop, refs))

    async def names_of(self, thing: Any) -> tuple[str, ...]:
        """What a tool, function or object is called here; served first, if it is not yet."""
        known = self._served.get(id(thing))
        if known is not None and all(map(self._here, known[1])):
            return known[1]
        made = thing if isinstance(thing, Tool) else tool_of(thing)
        here = None if made is None else self._here(made.name)
        if made is not None and here is not None and here.function == made.function:
            return (made.name,)
        return (await self.serve([thing])).tools

    async def _spawn(self, offered: Offering) -> Ref:
        system, instance = self.system, self.instance
        doors = [system.address("tool", name) for name in offered.tools]
        own = [system.address("tool", name, instance) for name in offered.tools]
        factory = offered.factory(self.workshop)
        actor = offered.actor(self.workshop) if factory is None else factory
        ref = await system.spawn(actor, *own, *doors, shared=frozenset(doors))
        for spec in offered.specs:
            self.catalogue.add(spec, instance)
        return ref

    async def _stop(self, refs: Sequence[tuple[Ref, Offering]]) -> None:
        for ref, offered in refs:
            for name, made in offered.tools.items():
                self.catalogue.remove(name, self.instance)
                if self._owners.get(name) is made:
                    del self._owners[name]
            if self.directory is not None and self.system.open:
                with suppress(BusError):  # whoever is not told finds out when it calls
                    await self.directory.withdraw(offered.specs)
            await ref.stop()
        names = {tuple(offered.tools) for _, offered in refs}
        self._served = {key: known for key, known in self._served.items() if known[1] not in names}

    def _refuse_collisions(self, offerings: list[Offering]) -> None:
        owners: dict[str, Tool[Any]] = {}
        for offered in offerings:
            for name, made in offered.tools.items():
                other = owners.get(name) or self._here(name)
                if other is not None:
                    both = f"by {described(other)} and by {described(made)}"
                    raise Misuse(failed("conflict", f"{name!r} is served twice: {both}; give one a prefix"))
                owners[name] = made
        self._owners.update(owners)

    def _here(self, name: str) -> Tool[Any] | None:
        """The tool of that name that is served in this process."""
        entry = self.catalogue.entries.get(name)
        return self._owners.get(name) if entry is not None and self.instance in entry.instances else None
