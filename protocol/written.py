"""A function as its author wrote it: its names, its annotations with every text in them resolved, its docstring."""

import functools
import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from types import FrameType, SimpleNamespace
from typing import Any, NoReturn, get_args, get_origin

from .annotations import readable, spelled
from .components import components
from .docstring import explained
from .failures import Misuse, failed

UNSCHEMED = (TypeError, ValueError, NameError, AttributeError, NotImplementedError, RecursionError)
"""What msgspec and typing raise for an annotation that they can't read."""

UNNAMED = {
    inspect.Parameter.VAR_POSITIONAL: "a tool names each of its parameters; take a list instead",
    inspect.Parameter.VAR_KEYWORD: "a tool names each of its parameters; take a dict instead",
    inspect.Parameter.POSITIONAL_ONLY: "a tool is called by the names of its parameters; take away the /",
}
"""Kinds of parameters that a tool can't have, and what to do."""

NOT_ASYNC = "is a generator that is not async, which can't tell how far it is: write `async def`, or return a list"
STREAMS = (AsyncGenerator, AsyncIterator, AsyncIterable)
"""What a function is annotated with whose results come one after the other."""


class Written:
    """A function as its author wrote it. Raises Misuse if it can't be a tool."""

    def __init__(self, function: Callable[..., Any], names: Mapping[str, Any] | None) -> None:
        if inspect.isclass(function):
            said = f"{function.__name__} is a class, which makes no tool: serve({function.__name__}) serves its methods"
            raise misuse(said)
        if isinstance(function, classmethod | staticmethod):
            function = function.__func__
        home: Any = function
        bound: set[str] = set()
        while isinstance(home, functools.partial):
            bound |= home.keywords.keys()
            home = home.func
        self.name: str = getattr(home, "__name__", type(home).__name__)
        documents = [inspect.getdoc(home) or ""]
        if not inspect.isroutine(home) and not inspect.isclass(home):
            home = type(home).__call__
            documents.append(inspect.getdoc(home) or "")
        self.description, self.told = _told(documents)
        plain = inspect.unwrap(getattr(home, "__func__", home))
        free = getattr(getattr(plain, "__code__", None), "co_freevars", ())
        self._globals: dict[str, Any] = getattr(plain, "__globals__", {})
        around = surroundings(plain, inspect.currentframe()) if names is None else dict(names)
        self._locals = {**around, **_filled_cells(free, getattr(plain, "__closure__", None) or ())}
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError, NameError) as error:
            raise misuse(f"{self.name}() can't be a tool: its signature can't be read ({error})") from error
        # Python takes what a partial binds by name for a default; its author did not mean it to be a model's choice.
        self.parameters = {name: p for name, p in signature.parameters.items() if name not in bound}
        if not inspect.ismethod(function) and _in_class_body(home):
            self._drop_owner()
        self._returns = signature.return_annotation
        if inspect.isgeneratorfunction(plain):
            self.refuse(NOT_ASYNC)
        self.streams = inspect.isasyncgenfunction(plain)

    def refuse_unnamed(self) -> None:
        """Raise Misuse if a parameter can't be given by its name."""
        for name, parameter in self.parameters.items():
            if parameter.kind in UNNAMED:
                self.refuse(f"takes {parameter.kind.description} parameters ({name}): {UNNAMED[parameter.kind]}")
            if name.startswith("__"):
                self.refuse(f"has a parameter {name!r}: no parameter of a tool may begin with two underscores")

    def _drop_owner(self) -> None:
        """Leave out `self`, so that a method decorated in its class is described as it is once it is bound."""
        first = next(iter(self.parameters.values()), None)
        if first is not None and first.name in {"self", "cls"} and first.annotation is inspect.Parameter.empty:
            del self.parameters[first.name]

    def refuse(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        raise misuse(f"{self.name}() {reason}") from cause

    def annotation(self, parameter: inspect.Parameter) -> Any:
        """The type that a parameter is written with; Any where there is none."""
        return self._resolved(parameter.annotation, f"the parameter {parameter.name!r}")

    def result(self) -> Any:
        """The type of what it returns; of what it yields, if that comes one after the other."""
        kind = self._resolved(self._returns, "the result")
        self.streams = self.streams or (get_origin(kind) or kind) in STREAMS
        return (*get_args(kind), Any)[0] if self.streams else kind

    def readable(self, annotation: Any, where: str) -> Any:
        """`annotation` as msgspec reads it."""
        try:
            return readable(annotation)
        except UNSCHEMED as error:
            self.unschemed(annotation, where, error)

    def unschemed(self, annotation: Any, where: str, error: BaseException) -> NoReturn:
        """Refuse a type that has no schema."""
        # msgspec advises about hooks, which are not ours to offer; its last line names the type.
        reason = str(error).strip().rsplit("\n", 1)[-1] or type(error).__name__
        self.refuse(f"writes {where} as {spelled(annotation)}, which has no JSON Schema: {reason}", error)

    def schemas(self, types: dict[str, Any], *, output: bool = False) -> tuple[list[Any], dict[str, Any]]:
        """The schemas of `types`, by where they are written, and the definitions that they share."""
        try:
            return components(types.values(), output=output)
        except UNSCHEMED:
            for where, kind in types.items():
                try:
                    components([kind], output=output)
                except UNSCHEMED as error:
                    self.unschemed(kind, where, error)
            raise

    def _resolved(self, annotation: Any, where: str) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        holder = SimpleNamespace(__annotations__={"it": annotation})
        try:
            return typing.get_type_hints(holder, self._globals, self._locals, include_extras=True)["it"]
        except (*UNSCHEMED, SyntaxError) as error:
            self.refuse(f"writes {where} as {spelled(annotation)}, which can't be resolved: {error}", error)


def surroundings(function: Any, frame: FrameType | None) -> dict[str, Any]:
    """The locals of the functions and classes in which `function` was written, as far as they still run.

    An annotation that is a text may name them, and nothing else remembers them.
    """
    name: str = getattr(function, "__qualname__", "")
    code = getattr(function, "__code__", None)
    if "." not in name or code is None:
        return {}
    found: list[dict[str, Any]] = []
    while frame is not None:
        around = frame.f_code
        if around.co_filename == code.co_filename and name.startswith(f"{around.co_qualname}."):
            found.append(frame.f_locals)
        frame = frame.f_back
    return {key: value for names in reversed(found) for key, value in names.items()}


def _told(documents: list[str]) -> tuple[str, dict[str, str]]:
    """The first description there is, and what any of the docstrings says of parameters."""
    parsed = [explained(document) for document in documents]
    description = next((found for found, _ in parsed if found), "")
    return description, {name: told for _, names in reversed(parsed) for name, told in names.items()}


def _in_class_body(function: Any) -> bool:
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>") and inspect.isfunction(function)


def _filled_cells(names: Sequence[str], cells: Sequence[Any]) -> dict[str, Any]:
    """The values of a closure; a cell that is not filled yet is left out."""
    values = {}
    for name, cell in zip(names, cells, strict=False):
        try:
            values[name] = cell.cell_contents
        except ValueError:
            continue
    return values


def misuse(message: str) -> Misuse:
    """The exception for a function or schema that can't be a tool's."""
    return Misuse(failed("invalid_call", message))
