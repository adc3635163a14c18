"""What may be done about a call on its way to its tool, step by step: each tool says what it asks for."""

from .chain import Steps
from .contract import Following, Passage, Step

__all__ = ["Following", "Passage", "Step", "Steps"]
