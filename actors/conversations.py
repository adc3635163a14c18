"""The conversations of one process, and the models that they talk to."""

import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from logging import INFO, WARNING, getLogger
from typing import Any
from weakref import WeakValueDictionary, finalize, ref

import anyio
from msgspec import Raw

from ..protocol.envelope import NO_BYTES
from ..protocol.failures import Misuse, ToolwireError, failed
from ..protocol.history import History, HistoryMessage
from ..protocol.limits import DEFAULT_LIMITS, Limits
from ..protocol.mending import check_sendable
from ..protocol.messages import Remember
from ..protocol.output import RETRIES, Outputs, output_of
from ..protocol.prices import Prices
from ..protocol.telling import length_kept
from ..protocol.tools import encode_json
from ..runtime.context import Context, Door
from ..runtime.system import ActorSystem
from .agent import Agent
from .agent_tool import agent_tool
from .asks import Asks, Selecting, kept
from .chat import Chat
from .claiming import Claiming
from .conversation import Conversation
from .house import House
from .memory.contract import MemoryStrategy
from .model import ModelActor
from .models import model_from
from .models.contract import Model
from .recollection import Recollection
from .selector import Selector
from .selectors import SelectionStrategy
from .services import Services
from .tool import Tool
from .validator import be_ready

log = getLogger("toolwire")
GLOB = re.compile(r"[*?\[]")
MISSED = 1_000
"""Names that nobody serves of which the log is told."""
LATELY = 64
"""Models and selectors given as objects that are kept although nobody converses with them at the moment."""


class Conversations:
    """Opens conversations. Named ones stay until they are closed; others last as long as their Chat."""

    def __init__(
        self,
        system: ActorSystem,
        house: House,
        services: Services,
        outside: Callable[[], Context],
        prices: Prices | None = None,
    ) -> None:
        self.system = system
        self.house = house
        self.services = services
        self.prices = prices
        self._outside = outside
        self._chats: dict[str, Chat] = {}
        self._conversations: dict[str, Conversation] = {}  # of the chats
        self._closed: WeakValueDictionary[str, Conversation] = WeakValueDictionary()
        """Of each name the last that was closed, whose turn may still run."""
        self._models: dict[Any, Callable[[], Asks | None]] = {}
        self._named: list[Model] = []
        self._lately: deque[Asks | Selecting] = deque(maxlen=LATELY)
        self._selectors: WeakValueDictionary[int, Selecting] = WeakValueDictionary()
        self._found_by_all: list[Selecting] = []
        self._agents: dict[int, tuple[Agent, Tool[Any]]] = {}
        self._numbers = count(1)
        self._branching = self.branched  # one for all chats
        self._missed: set[str] = set()
        self._preparing = anyio.Lock(fast_acquire=True)
        self.kept: list[Conversation] | None = None
        """Every conversation that was opened, where somebody wants to look at them later."""

    def __len__(self) -> int:
        return len(self._chats)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the conversations that have one and are open."""
        return tuple(self._chats)

    async def open(
        self, agent: Agent, identity: str | None, caller: Any, history: Sequence[HistoryMessage] = ()
    ) -> Chat:
        """The conversation of that name, or a new one, which goes on from `history`. Raises Misuse."""
        look_at(agent, identity)
        known = self._models.get(agent.model if isinstance(agent.model, str) else id(agent.model))
        asks = None if known is None else known()
        plain = agent.tools is None and agent.selector is None and agent.memory is None
        if identity is None and asks is not None and plain:
            return self._private(agent, asks, (), caller, history)
        if identity is None or identity in self._chats or self.services.directory is None:
            return await self._opened(agent, identity, caller, history)
        async with Claiming(self.system, identity, self._outside) as claim:
            return await self._opened(agent, identity, caller, history, claim, taken=await claim.taken())

    async def _opened(
        self,
        agent: Agent,
        identity: str | None,
        caller: Any,
        history: Sequence[HistoryMessage],
        claim: Claiming | None = None,
        *,
        taken: bool = False,
    ) -> Chat:
        async with self._preparing:  # two at once would each spawn the model, serve the tools, take the name
            if identity is not None and identity in self._chats:
                if history:
                    said = f"the conversation {identity[:100]!r} is open and has a history: a new one needs another id"
                    raise Misuse(failed("conflict", said))
                chat = self._resumed(identity, told(caller))
                opened = self._conversations[identity]
                if opened.speaks_for(agent):
                    return chat
                caller = Raw(opened.caller.encode()) if opened.caller else None  # whoever opened it
            asks = await self._asks(agent.model)
            if agent.selector is not None:
                asks = Asks(asks, await self._selector(agent.selector))
            patterns = () if agent.tools is None else await self._patterns(agent.tools)
            memory = None if agent.memory is None else await self._recollection(agent.memory)
            if identity is None:
                return self._private(agent, asks, patterns, caller, history, memory)
            room = self.system.largest("conversation") // 2
            conversation = self._new(identity, agent, asks, patterns, caller, room, history, memory)
            if identity in self._chats:
                self._conversations[identity].follow(conversation)
                return self._chats[identity]
            if taken:
                raise elsewhere(identity)
            return await self._found(identity, conversation, claim)

    def _new(
        self,
        name: str,
        agent: Agent,
        asks: Asks,
        patterns: tuple[str, ...],
        caller: Any,
        room: int | None = None,
        history: Sequence[HistoryMessage] = (),
        memory: Recollection | None = None,
    ) -> Conversation:
        if history:
            check_sendable(history)
        if agent.settings and asks.check_settings is not None:
            asks.check_settings(agent.settings)
        made = Conversation(
            name,
            asks,
            self.house,
            agent=agent,
            caller=told(caller),
            patterns=patterns,
            limits=self._limits(agent, caller) if agent.limits else DEFAULT_LIMITS,
            room=room,
            history=history,
            outputs=None if agent.output is None and agent.output_retries == RETRIES else outputs_of(agent),
            memory=memory,
        )
        if memory is not None:
            memory.go_on(history, made.history)
        if self.kept is not None:
            self.kept.append(made)
        return made

    def _limits(self, agent: Agent, caller: Any) -> Limits:
        """How far a turn may go, on behalf of that caller. Raises Misuse for a limit that nobody could keep."""
        limits = agent.limits_for(caller) if callable(agent.limits) else agent.limits
        if "cost" in limits and self.prices is None and limits["cost"] != math.inf:
            said = 'a limit of cost needs prices: Runtime(prices={"gpt-5*": Price(input=1.25, output=10)})'
            raise Misuse(failed("invalid_call", said))
        return {**DEFAULT_LIMITS, **limits}

    async def branched(self, conversation: Conversation, at: int | None, identity: str | None) -> Chat:
        """One that has heard the first `at` messages of another. Raises Misuse where these can't stand alone."""
        self.system.must_be_here()
        history = conversation.history
        kept = history[: length_kept(history, len(history) if at is None else at)]
        if identity is not None and identity in self._chats:
            raise Misuse(
                failed("conflict", f"the conversation {identity[:100]!r} is open: a branch needs an id of its own")
            )
        caller = Raw(conversation.caller.encode()) if conversation.caller else None
        memory = conversation.memory  # as it is now: while the branch is opened the other may go on
        recall = None if memory is None else memory.recall(kept)
        return await self.open(conversation.agent, identity, caller, History(kept, recall=recall))

    def _private(
        self,
        agent: Agent,
        asks: Asks,
        patterns: tuple[str, ...],
        caller: Any,
        history: Sequence[HistoryMessage],
        memory: Recollection | None = None,
    ) -> Chat:
        """A conversation that nobody else can find."""
        name = f"{self.services.instance}-{next(self._numbers)}"
        conversation = self._new(name, agent, asks, patterns, caller, None, history, memory)
        door = self.system.private(conversation, name)
        return Chat(name, door, self._outside, conversation, self._branching, forget=asks.forget)

    def _resumed(self, name: str, caller: str) -> Chat:
        if caller and caller != self._conversations[name].caller:  # tools would run on behalf of whoever opened it
            raise Misuse(failed("conflict", f"the conversation {name[:100]!r} is open for another caller"))
        return self._chats[name]

    async def _found(self, name: str, conversation: Conversation, claim: Claiming | None) -> Chat:
        """Put a named conversation where others find it. Raises Misuse if another process was first."""
        if (before := self._closed.get(name)) is not None:
            conversation.turns = before.turns  # its last may still run, and has its number
        own = "" if claim is None or "conversation" in self.system.local else self.services.instance
        addresses = {self.system.address("conversation", name, instance) for instance in ("", own)}
        ref = await self.system.spawn(conversation, *sorted(addresses))
        if claim is not None:
            held = False
            try:
                held = await claim.holds()
            finally:
                if not held:
                    with anyio.CancelScope(shield=True):
                        await ref.stop()
            if not held:
                raise elsewhere(name)

        async def close() -> None:
            if self.system.open:
                self.system.must_be_here()
            model: str | Door | None = None
            if self._chats.get(name) is chat:
                del self._chats[name], self._conversations[name]
                self._closed[name] = conversation
                model = conversation.leave(f"{self.services.instance}-{next(self._numbers)}")
            await ref.stop(f"the conversation {name[:100]!r} was closed: converse(id=…) opens it anew")
            if model is not None:
                with suppress(ToolwireError):  # whoever can't be told now forgets it in time
                    await self._outside().ask(model, Remember(name, 0, ()))

        # Others who claim the name are heard at it too, until they have learnt that it is not theirs.
        door = self.system.door("conversation", name, own)
        chat = self._chats[name] = Chat(name, door, self._outside, conversation, self._branching, close)
        self._conversations[name] = conversation
        return chat

    async def _recollection(self, strategy: MemoryStrategy) -> Recollection:
        """A strategy at work, which asks a model of its own if it has one."""
        model = getattr(strategy, "model", None)
        return Recollection(strategy, None if model is None else await self._asks(model))

    async def _asks(self, model: str | Model) -> Asks:
        """Whom a conversation with this model asks: the actor of the model is spawned when it is first needed.

        That of a named model stays; that of an object lasts as long as somebody converses with it, and as it is one
        of the last `LATELY`: who opens one short conversation after the other should not pay for it each time.
        """
        key = model if isinstance(model, str) else id(model)
        known = self._models.get(key)
        asks = None if known is None else known()
        if asks is not None:
            return asks
        made = model_from(model)
        name = f"{self.services.instance}-{next(self._numbers)}"
        if "model" in self.system.local:
            actor = ModelActor(made, self.prices)
            asks = Asks(self.house.asks(self.system.private(actor, name)))
            asks.forget = actor.memory.forget
        else:
            await self.system.spawn(ModelActor(made, self.prices), self.system.address("model", name))
            asks = Asks(self.house.asks(self.system.door("model", name)))
        asks.check_settings = getattr(made, "check_settings", None)
        if isinstance(model, str):
            self._named.append(made)
        if isinstance(model, str) or "model" not in self.system.local:
            self._models[key] = partial(kept, asks, model)
        else:
            self._models[key] = ref(asks, lambda gone: self._forget(key, gone))
            self._lately.append(asks)
        return asks

    async def _selector(self, strategy: SelectionStrategy) -> Selecting:
        """Who selects by that strategy, for as long as a conversation asks it."""
        known = self._selectors.get(id(strategy))
        if known is not None:
            return known
        catalogue = self.house.catalogue
        selector = Selector(catalogue, strategy, self.services.instance)
        name = f"{self.services.instance}-{next(self._numbers)}"
        if "selector" in self.system.local:
            made = Selecting(strategy, self.system.private(selector, name))
            finalize(made, catalogue.leave, selector.index).atexit = False
            self._lately.append(made)
        else:
            address = self.system.address("selector", name)
            await self.system.spawn(selector, address)
            made = Selecting(strategy, address)
            self._found_by_all.append(made)
        self._selectors[id(strategy)] = made
        return made

    def _forget(self, key: object, gone: "ref[Asks]") -> None:
        if self._models.get(key) is gone:
            del self._models[key]

    async def _patterns(self, tools: Sequence[Any]) -> tuple[str, ...]:
        """Names and globs for the selector; what is no name yet is served here first."""
        patterns: list[str] = []
        for thing in tools:
            if isinstance(thing, str):
                patterns.append(thing)
                self._look_for(thing)
            else:
                patterns += await self.services.names_of(self.as_tool(thing))
        return tuple(patterns) or ("",)

    def _look_for(self, name: str) -> None:
        """Tell the log, once, of a name that nobody serves so far: it may come later, or be misspelt."""
        catalogue = self.services.catalogue
        if name in catalogue or name in self._missed or GLOB.search(name) or len(self._missed) == MISSED:
            return
        self._missed.add(name)
        level = WARNING if self.services.directory is None else INFO  # others on a bus may come up a moment later
        log.log(level, "an agent may call what nobody serves so far: %s", catalogue.unknown(name).message)

    def as_tool(self, thing: Any) -> Any:
        """An agent as the tool that it can be, always the same one; anything else as it is."""
        if not isinstance(thing, Agent):
            return thing
        known = self._agents.get(id(thing))
        if known is None:
            known = self._agents[id(thing)] = (thing, agent_tool(thing, self.open, priced=self.prices is not None))
        return known[1]

    async def close(self) -> None:
        """Close the connections of models that were made from their names."""
        for made in self._named:
            close = getattr(made, "aclose", None)
            if close is not None:
                with suppress(Exception):  # a connection that can't be closed is as good as closed
                    await close()


def outputs_of(agent: Agent) -> Outputs:
    """What the answers of an agent have to be."""
    if agent.output is None:
        return Outputs(None, agent.output_retries)
    be_ready()
    return Outputs(output_of(agent.output), agent.output_retries)


def elsewhere(name: str) -> Misuse:
    """Why a conversation can't be opened here."""
    said = f"the conversation {name[:100]!r} is open in another process: there it goes on, or is closed"
    return Misuse(failed("conflict", said))


def look_at(agent: object, identity: object) -> None:
    """Raises Misuse for what no conversation can be opened by."""
    if not isinstance(agent, Agent):
        said = f"converse(agent) takes an Agent, converse(model=…) a model or its name: {agent!r:.100} is no agent"
        raise Misuse(failed("invalid_call", said))
    if identity is not None and not (isinstance(identity, str) and identity):
        raise Misuse(failed("invalid_call", f"the id of a conversation is a text of its own, not {identity!r:.100}"))


def told(caller: Any) -> str:
    """The application's own data about who speaks, as it travels: JSON text, "" for none. Raises Misuse for no data."""
    if caller is None:
        return ""
    try:
        return encode_json(caller).decode()
    except NO_BYTES as error:
        said = f"caller is data that JSON can carry, such as a dict, and tools see it as that: {error}"
        raise Misuse(failed("invalid_call", said)) from error
