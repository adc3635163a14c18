"""Who serves what, on a bus that others share: announcements out, announcements in."""

from collections.abc import Iterable
from contextlib import suppress

import anyio

from ..protocol.envelope import NO_MESSAGE, broadcasts, encode
from ..protocol.messages import Announce, Who
from ..protocol.tools import ToolSpec
from ..runtime.border import log
from ..runtime.bus import BusError
from ..runtime.system import ActorSystem
from .catalogue import Catalogue

SETTLE = 0.25
"""Seconds that a newcomer waits for announcements before it says that there is no such tool."""

AGAIN = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Pauses in seconds after which everybody is asked again, once somebody was not reached: who stood still for a while,
or whose connection did, does not know that it was missed."""

CHUNK = 256 * 1024
"""Bytes of specs in one announcement."""


class Directory:
    """Keeps the catalogue true: tells others what is served here, and hears what is served there."""

    def __init__(self, system: ActorSystem, catalogue: Catalogue) -> None:
        self.system = system
        self.catalogue = catalogue
        self.instance = system.bus.instance
        self.address = system.address("directory", "tools")
        self._decode = broadcasts(Announce | Who).decode
        self._here: dict[str, ToolSpec] = {}
        self._since = 0.0
        self._looked = 0
        self._looking = False

    async def start(self) -> None:
        """Listen, and ask everybody what they serve."""
        self._since = self.system.clock()
        await self.system.bus.listen(self.address, self._hear)
        await self.system.publish(self.address, Who(self.instance))

    async def settle(self) -> None:
        """Wait until whoever is there has had time to announce itself."""
        left = self._since + SETTLE - self.system.clock()
        if left > 0:
            await anyio.sleep(left)

    def look_again(self) -> None:
        """Somebody seems gone: ask, for a minute, whether it has come back."""
        self._looked = 0
        if not self._looking and self.system.open:
            self._looking = True
            self.system.tasks.start_soon(self._look)

    async def _look(self) -> None:
        while self._looked < len(AGAIN):
            pause = AGAIN[self._looked]
            self._looked += 1
            await anyio.sleep(pause)
            with suppress(BusError):
                await self.system.publish(self.address, Who(self.instance))
        self._looking = False

    async def announce(self, specs: Iterable[ToolSpec]) -> None:
        """`specs` are served here from now on."""
        new = list(specs)
        self._here.update({spec.name: spec for spec in new})
        await self._tell(new, gone=False)

    async def withdraw(self, specs: Iterable[ToolSpec]) -> None:
        """`specs` are no longer served here."""
        old = list(specs)
        for spec in old:
            self._here.pop(spec.name, None)
        await self._tell([ToolSpec(spec.name) for spec in old], gone=True)

    async def leave(self) -> None:
        """Nothing is served here from now on."""
        await self.withdraw(list(self._here.values()))

    async def _tell(self, specs: list[ToolSpec], *, gone: bool) -> None:
        part: list[ToolSpec] = []
        size = 0
        for spec in specs:
            length = len(encode(spec))
            if part and size + length > CHUNK:
                await self.system.publish(self.address, Announce(self.instance, tuple(part), gone))
                part, size = [], 0
            part.append(spec)
            size += length
        if part:
            await self.system.publish(self.address, Announce(self.instance, tuple(part), gone))

    def _hear(self, payload: bytes) -> None:
        try:
            message = self._decode(payload).body
        except NO_MESSAGE as error:
            log.warning("an announcement that is no message: %s", error)
            return
        if message.instance == self.instance:
            return
        if isinstance(message, Who):
            if self._here:
                self.system.tasks.start_soon(self._answer)
            return
        for spec in message.specs:
            if message.gone:
                self.catalogue.remove(spec.name, message.instance)
            else:
                self.catalogue.add(spec, message.instance)

    async def _answer(self) -> None:
        await self._tell(list(self._here.values()), gone=False)
