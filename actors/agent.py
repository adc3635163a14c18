"""An agent: a name for a model, what it is told, what it may call, and how far it may go."""

from collections.abc import Callable, Mapping, Sequence
from inspect import iscoroutine
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..protocol.failures import Misuse, failed
from ..protocol.limits import LIMITS, Limits
from ..protocol.offer import Eager
from ..protocol.options import check
from ..protocol.output import RETRIES, output_of
from .memory.contract import MemoryStrategy
from .models.contract import Model
from .options import AGENT
from .queueing import WhenBusy
from .selectors.contract import SelectionStrategy
from .tool import Tool


class Agent(Struct, frozen=True):
    """What conversations of one kind have in common.

    `model` is a string (`"openai:gpt-5.1"`) or an object with `complete`. `tools` are tools, functions, names or globs;
    without it, what the runtime serves, and `("*",)` for everything on the bus. `limits`, or a function of the caller
    that gives them, say how far a turn may go (docs/turns.md). `settings` say how to answer (temperature, max_tokens,
    …; docs/models.md). `references` lets one call of a response use another's result. `eager` says which calls may
    start while the model still speaks, in turns that are followed: those of `read_only` tools, all, or none ("off");
    see docs/streaming.md. `output` is a type that the answer has to be of, or its JSON Schema; the model is asked again
    `output_retries` times for one that fits (docs/answers.md). With `last_answer` the last response that `rounds` or
    `calls` allow has to be an answer. `memory` shortens what the model is told of a long conversation. `selector`
    chooses among many tools. `when_busy` says what becomes of what is said while a turn runs: it waits ("queue"), is
    refused, or interrupts the turn.
    """

    name: str
    model: str | Model
    system: str = ""
    tools: Sequence[Tool[Any] | Any] | None = None
    limits: Limits | Callable[[Any], Limits] = {}
    settings: Mapping[str, Any] = {}
    references: bool = False
    eager: Eager = "read_only"
    output: Any = None
    last_answer: bool = False
    memory: MemoryStrategy | None = None
    selector: SelectionStrategy | None = None
    when_busy: WhenBusy = "queue"
    output_retries: int = RETRIES

    def __post_init__(self) -> None:
        """Raises Misuse for what can't be meant."""
        # What stands at its default is not looked at: with each `converse(model=…)` an agent is made.
        if self.limits and not callable(self.limits):
            self._check(self.limits)
        if (
            type(self.name) is not str
            or type(self.system) is not str
            or type(self.settings) is not dict
            or self.tools is not None
            or self.references is not False
            or self.eager != "read_only"
            or self.last_answer is not False
            or self.memory is not None
            or self.selector is not None
            or self.when_busy != "queue"
            or self.output_retries != RETRIES
        ):
            check(self._about, {name: getattr(self, name) for name in AGENT}, AGENT)
        if self.output is not None:
            output_of(self.output)  # refused here, where it is written

    def limits_for(self, caller: Any) -> Limits:
        """The limits of turns on behalf of `caller`. Raises Misuse where a function gives what can't be meant."""
        if not callable(self.limits):
            return self.limits
        if isinstance(caller, Raw):
            caller = msgspec.json.decode(caller)
        limits = self.limits(caller)
        if iscoroutine(limits):
            limits.close()
            raise Misuse(failed("invalid_call", f"{self._about}: a function that gives limits is a `def`, not `async`"))
        self._check(limits)
        return limits

    def _check(self, limits: Limits) -> None:
        if type(limits) is not dict and not isinstance(limits, Mapping):  # the first is six times as quick
            said = f"{self._about}: limits are a dict, such as {{'rounds': 5}}, not {limits!r:.100}"
            raise Misuse(failed("invalid_call", said))
        for name, value in limits.items():
            if type(value) is not int or value < 0 or name not in LIMITS:  # else it is a limit, of whatever kind
                check(f"{self._about}, limits", limits, LIMITS)
                break

    @property
    def _about(self) -> str:
        return f"the agent {self.name!r}" if self.name else "a conversation"
