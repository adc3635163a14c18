"""Where the records of calls go that have to be kept: a contract, and two that fill it."""

from .contract import Sink
from .json_lines import JsonLines
from .sqlite import Sqlite

__all__ = ["JsonLines", "Sink", "Sqlite"]
