"""Models by name and as objects: `docs/models.md` tells of them, `docs/robust_models.md` of what stands around them."""

from .actors.models.anthropic import anthropic
from .actors.models.around import fallback, limited, parsed, record, replayed, retrying
from .actors.models.contract import Model, ModelEvent, ModelReply, ModelRequest, StreamingModel
from .actors.models.limiter import Limiter
from .actors.models.openai import openai
from .actors.models.openai_responses import openai_responses
from .actors.models.settings import Settings

__all__ = [
    "Limiter",
    "Model",
    "ModelEvent",
    "ModelReply",
    "ModelRequest",
    "Settings",
    "StreamingModel",
    "anthropic",
    "fallback",
    "limited",
    "openai",
    "openai_responses",
    "parsed",
    "record",
    "replayed",
    "retrying",
]
