"""Selection strategies: which of many tools a model is offered. `contract.py` says what one is."""

from .contract import Among, SelectionStrategy
from .keyword import Keyword

__all__ = ["Among", "Keyword", "SelectionStrategy"]
