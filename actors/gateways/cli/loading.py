"""What `module:attribute` on a command line stands for."""

import os
import sys
import traceback
from functools import reduce
from importlib import import_module
from types import ModuleType
from typing import Any

from ....protocol.failures import Misuse, failed

DATA = (str, bytes, int, float, list, tuple, dict, set, frozenset, ModuleType, type(None))
"""Kinds of objects whose methods nobody means to serve."""


def loaded(reference: str) -> list[Any]:
    """The thing that `module:attribute` names, or each thing of the list that it names.

    The current directory stands first on `sys.path`, as for uvicorn. Raises Misuse with a sentence for a person.
    """
    module, colon, attribute = reference.partition(":")
    if not (module and colon and attribute):
        raise Misuse(failed("load_failed", f"{reference!r} is not module:attribute, such as examples.slow:TOOLS"))
    if "/" in module or module.endswith(".py"):
        name = module.removeprefix("./").removesuffix(".py").replace("/", ".")
        said = f"{module!r} is a file, where a module is meant: {name}:{attribute}"
        raise Misuse(failed("load_failed", said))
    made = imported(module)
    try:
        thing = reduce(getattr, attribute.split("."), made)
    except AttributeError:
        there = ", ".join(name for name in vars(made) if not name.startswith("_")) or "nothing"
        raise Misuse(failed("load_failed", f"the module {module} has no {attribute!r}; it has {there:.300}")) from None
    except Exception as error:
        raise Misuse(failed("load_failed", f"{reference} could not be loaded: {where(error)}")) from error
    things = list(thing) if isinstance(thing, (list, tuple)) else [thing]
    if not things:
        raise Misuse(failed("load_failed", f"{reference} is empty"))
    for each in things:
        if isinstance(each, DATA):
            said = f"{reference} holds {each!r:.60}, which is no tool, function, object, class or agent"
            raise Misuse(failed("load_failed", said))
    return things


def imported(module: str) -> Any:
    """The module of that name. Raises Misuse if there is none, or if it raises."""
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            said = f"there is no module {error.name!r} in {here} or among what is installed"
        else:
            said = f"the module {module} needs {error.name!r}, which is not installed"
        raise Misuse(failed("load_failed", said)) from None
    except Exception as error:
        raise Misuse(failed("load_failed", f"the module {module} could not be loaded: {where(error)}")) from error


def where(error: Exception) -> str:
    """What was raised, and in which line of which file."""
    said = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"{said} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said


def attribute(reference: str, kind: type) -> Any:
    """The one thing of that kind that `module:attribute` names. Raises Misuse."""
    things = loaded(reference)
    if len(things) != 1 or not isinstance(things[0], kind):
        raise Misuse(failed("load_failed", f"{reference} is no {kind.__name__}"))
    return things[0]
