"""The conversations of one process, and the models that they talk to."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from ..protocol.tools import encode_json
from ..protocol.turn import DEFAULT_LIMITS
from ..runtime.context import Context, Door
from ..runtime.system import ActorSystem
from .agent import Agent
from .agent_tool import agent_tool
from .chat import Chat
from .conversation import Conversation, House
from .model import ModelActor
from .models import model_from
from .models.contract import Model
from .services import Services
from .tool import Tool


class Conversations:
    """Opens conversations. Named ones stay until they are closed; others last as long as their Chat."""

    def __init__(self, system: ActorSystem, house: House, services: Services, outside: Callable[[], Context]) -> None:
        self.system = system
        self.house = house
        self.services = services
        self._outside = outside
        self._chats: dict[str, Chat] = {}
        self._models: dict[Any, tuple[dict[type, str | Door], object, Model]] = {}
        self._agents: dict[int, tuple[Agent, Tool[str]]] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._chats)

    async def open(self, agent: Agent, identity: str | None, caller: Any) -> Chat:
        """The conversation of that name, or a new one."""
        if identity is not None and identity in self._chats:
            return self._chats[identity]
        known = self._models.get(agent.model if isinstance(agent.model, str) else id(agent.model))
        name = identity or f"{self.services.instance}-{next(self._numbers)}"
        conversation = Conversation(
            name,
            await self._spawn_model(agent.model) if known is None else known[0],
            self.house,
            system=agent.system,
            name=agent.name,
            caller="" if caller is None else encode_json(caller).decode(),
            patterns=() if agent.tools is None else await self._patterns(agent.tools),
            limits={**DEFAULT_LIMITS, **agent.limits} if agent.limits else DEFAULT_LIMITS,
            settings=agent.settings,
            references=agent.references,
            room=None if identity is None else self.system.largest("conversation") // 2,
        )
        if identity is None:
            return Chat(name, self.system.private(conversation, name), self._outside, conversation)
        return await self._found(name, conversation)

    async def _found(self, name: str, conversation: Conversation) -> Chat:
        """Put a named conversation where others find it. Somebody may have done so while this one was prepared."""
        if name in self._chats:
            return self._chats[name]
        ref = await self.system.spawn(conversation, self.system.address("conversation", name))

        async def close() -> None:
            self._chats.pop(name, None)
            await ref.stop()

        chat = self._chats[name] = Chat(
            name, self.system.door("conversation", name), self._outside, conversation, close
        )
        return chat

    async def _spawn_model(self, model: str | Model) -> dict[type, str | Door]:
        """Whom a conversation with this model asks: the actor of the model is spawned when it is first needed."""
        made = model_from(model)
        name = f"{self.services.instance}-{next(self._numbers)}"
        await self.system.spawn(ModelActor(made), self.system.address("model", name))
        asks = self.house.asks(self.system.door("model", name))
        self._models[model if isinstance(model, str) else id(model)] = (asks, model, made)
        return asks

    async def _patterns(self, tools: Sequence[Any]) -> tuple[str, ...]:
        """Names and globs for the selector; what is no name yet is served here first."""
        patterns: list[str] = []
        for thing in tools:
            if isinstance(thing, str):
                patterns.append(thing)
            else:
                patterns += await self.services.names_of(self.as_tool(thing))
        return tuple(patterns) or ("",)

    def as_tool(self, thing: Any) -> Any:
        """An agent as the tool that it can be, always the same one; anything else as it is."""
        if not isinstance(thing, Agent):
            return thing
        known = self._agents.get(id(thing))
        if known is None:
            known = self._agents[id(thing)] = (thing, agent_tool(thing, self.open))
        return known[1]

    async def close(self) -> None:
        """Close the connections of models that were made from their names."""
        for key, (_, _, made) in self._models.items():
            close = getattr(made, "aclose", None) if isinstance(key, str) else None
            if close is not None:
                with suppress(Exception):  # a connection that can't be closed is as good as closed
                    await close()
