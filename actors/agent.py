"""An agent: a name for a model, what it is told, what it may call, and how far it may go."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ..protocol.failures import Misuse, failed
from ..protocol.offer import LIMITS, Eager, Limits
from ..protocol.options import check
from .models.contract import Model
from .options import AGENT
from .tool import Tool


class Agent(Struct, frozen=True):
    """What conversations of one kind have in common.

    `model` is a string (`"openai:gpt-5.1"`) or an object with `complete`. `tools` are tools, functions, names or
    globs; without it, what the runtime serves, and `("*",)` for everything on the bus. `settings` are the
    provider's own (temperature, max_tokens, …). `references` lets one call of a response use another's result. `eager`
    says which calls may start while the model still speaks, in turns that are followed: those of `read_only` tools,
    all, or none ("off"); see docs/streaming.md.
    """

    name: str
    model: str | Model
    system: str = ""
    tools: Sequence[Tool[Any] | Any] | None = None
    limits: Limits = {}
    settings: dict[str, Any] = {}
    references: bool = False
    eager: Eager = "read_only"

    def __post_init__(self) -> None:
        """Raises Misuse for what can't be meant."""
        # What stands at its default is not looked at: with each `converse(model=…)` an agent is made.
        if self.limits:
            if type(self.limits) is not dict and not isinstance(
                self.limits, Mapping
            ):  # the first is six times as quick
                raise Misuse(failed("invalid_call", f"{self._about}: limits are an object, not {self.limits!r:.100}"))
            check(f"{self._about}, limits", self.limits, LIMITS)
        if self.tools is not None or self.references is not False or self.eager != "read_only":
            check(self._about, {"tools": self.tools, "references": self.references, "eager": self.eager}, AGENT)

    @property
    def _about(self) -> str:
        return f"the agent {self.name!r}" if self.name else "a conversation"
