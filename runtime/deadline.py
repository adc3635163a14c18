"""Time as a budget that only shrinks.

Inside a process a deadline is an instant on the event loop's own clock, in seconds; between processes it travels as
the milliseconds that are left, for no two machines agree on what time it is.
"""

import asyncio
import math
import sys
import time
from collections.abc import Callable

from anyio.lowlevel import current_token

NEVER = math.inf

Clock = Callable[[], float]


def loop_clock() -> Clock:
    """The clock of the running event loop: the one that cancel scopes go by.

    asyncio's loop reads `time.monotonic`, which is nine times cheaper than to ask the loop, unless it has a time of its
    own (`virtual_time`); trio's clock has an offset of its own, and a test may have put a mock in its place. Whoever
    runs on trio has imported it, so that it need not be imported here (84 ms). What is given can be read from any
    thread (`trio.current_time` can't).
    """
    trio = sys.modules.get("trio")
    if trio is not None and current_token().backend_class.__module__.endswith("_trio"):
        clock: Clock = trio.lowlevel.current_clock().current_time
        return clock
    loop = asyncio.get_running_loop()
    own = isinstance(loop, asyncio.BaseEventLoop) and type(loop).time is not asyncio.BaseEventLoop.time
    return loop.time if own else time.monotonic


def left(deadline: float, clock: Clock) -> float | None:
    """Milliseconds until `deadline`, not below 0; None where there is none."""
    return None if deadline == NEVER else max(0.0, (deadline - clock()) * 1000)


def until(budget: float | None, clock: Clock) -> float:
    """The deadline of a budget in milliseconds."""
    return NEVER if budget is None else clock() + budget / 1000


def sooner(deadline: float, seconds: float | None, clock: Clock) -> float:
    """The earlier of `deadline` and `seconds` from now: a budget never grows."""
    return deadline if seconds is None else min(deadline, clock() + seconds)
