"""A coroutine in a task of its own, where Python's stack begins anew.

Handlers run in their caller's task, so a chain of calls that make each other grows one stack: with middlewares and
policies some 60 frames a call. Where the stack ends, cancel scopes are left half open, and the loop is not to be
trusted any more; so a chain goes on in another task long before.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .border import is_ours

T = TypeVar("T")

STRETCH = 8
"""Requests, one inside the other, that share a stack. A power of two."""


async def afresh(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, or raises. Deadlines, cancellation and context variables are those of here."""
    ended: list[tuple[T] | BaseException] = []

    async def run() -> None:
        try:
            ended.append((await work(),))
        except BaseException as error:
            if is_ours(error):
                raise
            ended.append(error)  # in a group it would be another

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    outcome = ended[0]
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome[0]
