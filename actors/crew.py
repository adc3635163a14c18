"""The actors that every runtime has of its own: those that stand between whoever asks and the tools."""

from typing import NamedTuple

from ..protocol.policy import Policy
from ..runtime.system import ActorSystem
from ..runtime.tracing import Tracing
from .artifacts import ArtifactActor, Artifacts
from .desk import Desk
from .dispatch import Dispatcher
from .executor import Executor
from .held import Held
from .house import House
from .means import Means
from .selector import Selector
from .selectors import SelectionStrategy
from .validator import Validator
from .warden import Warden


class Crew(NamedTuple):
    """What a runtime asks: who brings single calls to their tools, who knows of a person's word, and the rest."""

    dispatcher: Dispatcher
    desk: Desk
    house: House


async def crew(
    system: ActorSystem,
    means: Means,
    policy: Policy | None,
    tracing: Tracing,
    artifacts: Artifacts,
    selector: SelectionStrategy,
) -> Crew:
    """Spawn them. Calls go by `means`, which learns here who runs and who lets in; `policy` says what they may do."""
    tools, here = means.catalogue, means.here
    means.held = held = Held(system.clock)
    means.warden = None if policy is None else Warden(policy, system.clock)
    await system.spawn(Validator(tools, means.customs), system.address("validator", here))
    dispatcher = Dispatcher(means, system.door("validator", here))
    await system.spawn(ArtifactActor(artifacts), system.address("artifact", here))
    await system.spawn(Executor(dispatcher, tracing, artifacts), system.address("executor", here))
    await system.spawn(Selector(tools, selector, here), system.address("selector", here))
    means.executor = system.door("executor", here)
    own = Dispatcher(means)  # its calls come from this very process: it looks at their arguments itself
    house = House(system.door("selector", here), means.executor, tools, tracing)
    return Crew(own, Desk(held, own, tracing), house)
