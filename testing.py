"""For the tests of programs that use Toolwire: one page says how, docs/testing.md. It needs no pytest.

`runtime` is a runtime that is looked at when it ends, `replaced` puts a fake in the place of a tool, `calls_of` and
`assert_valid` look at what was said, `virtual_time` gives event loops on which waiting takes no time, `interruptions`
cancels a piece of work wherever it can be. The model for tests is `scripted`.
"""

from .actors.fakes import replaced
from .actors.models.scripted import Scripted, scripted, spoken
from .actors.tidy import assert_valid, calls_of
from .actors.tidy import tidy as runtime
from .runtime.testing import Way, interruptions
from .runtime.virtual_time import VirtualTimeLoop, virtual_time

__all__ = [
    "Scripted",
    "VirtualTimeLoop",
    "Way",
    "assert_valid",
    "calls_of",
    "interruptions",
    "replaced",
    "runtime",
    "scripted",
    "spoken",
    "virtual_time",
]
