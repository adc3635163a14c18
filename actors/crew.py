"""The actors that every runtime has of its own: those that stand between whoever asks and the tools."""

from collections.abc import Callable
from typing import NamedTuple

from ..protocol.policy import Policy
from ..protocol.prices import Prices
from ..runtime.context import Context
from ..runtime.system import ActorSystem
from ..runtime.tracing import Tracing
from .artifacts import ArtifactActor, Artifacts
from .confirmations import Confirmations
from .conversations import Conversations
from .desk import Desk
from .directory import Directory
from .dispatch import Dispatcher
from .executor import Executor
from .held import Held
from .house import House
from .means import Means
from .selector import Selector
from .selectors import SelectionStrategy
from .services import Services
from .tool_actor import Workshop
from .validator import Validator
from .warden import Warden


class Terms(NamedTuple):
    """What a runtime was told that matters once it opens: see the options of the same names. `key` is the secret's."""

    policy: Policy | None
    selector: SelectionStrategy
    prices: Prices | None
    key: bytes


class Crew(NamedTuple):
    """Whom a runtime asks: who brings single calls to their tools, who knows of a person's word, and so on."""

    dispatcher: Dispatcher
    desk: Desk
    services: Services
    conversations: Conversations


async def crew(
    system: ActorSystem,
    means: Means,
    terms: Terms,
    tracing: Tracing,
    artifacts: Artifacts,
    workshop: Workshop,
    directory: Directory | None,
    outside: Callable[[], Context],
) -> Crew:
    """Spawn them. Calls go by `means`, which learns here who runs and who lets in, as the `workshop` of tools does."""
    house, dispatcher = await spawned(system, means, terms, tracing, artifacts)
    workshop.executor = means.executor
    workshop.confirmations = Confirmations(means.here, system.clock, terms.key)
    services = Services(system, means.catalogue, workshop, directory)
    assert means.held is not None  # noqa: S101 - it was made with the house
    desk = Desk(means.held, dispatcher, tracing)
    return Crew(dispatcher, desk, services, Conversations(system, house, services, outside, terms.prices))


async def spawned(
    system: ActorSystem, means: Means, terms: Terms, tracing: Tracing, artifacts: Artifacts
) -> tuple[House, Dispatcher]:
    """Whom conversations ask, and who brings the calls that the runtime itself makes."""
    tools, here = means.catalogue, means.here
    means.held = Held(system.clock)
    means.warden = None if terms.policy is None else Warden(terms.policy, system.clock)
    await system.spawn(Validator(tools, means.customs), system.address("validator", here))
    dispatcher = Dispatcher(means, system.door("validator", here))
    await system.spawn(ArtifactActor(artifacts), system.address("artifact", here))
    await system.spawn(Executor(dispatcher, tracing, artifacts), system.address("executor", here))
    await system.spawn(Selector(tools, terms.selector, here), system.address("selector", here))
    means.executor = system.door("executor", here)
    own = Dispatcher(means)  # its calls come from this very process: it looks at their arguments itself
    return House(system.door("selector", here), means.executor, tools, tracing), own
