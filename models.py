"""Models by name and as objects, and what stands around them. `docs/robust_models.md` tells of the latter."""

from .actors.models.around import fallback, retrying
from .actors.models.contract import Model, ModelEvent, ModelReply, ModelRequest, StreamingModel

__all__ = [
    "Model",
    "ModelEvent",
    "ModelReply",
    "ModelRequest",
    "StreamingModel",
    "fallback",
    "retrying",
]
