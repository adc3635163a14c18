"""What a Python function takes and gives, as JSON Schema 2020-12 and as types that msgspec decodes into.

The schema is what others see and check by; the types are what the owner of the function decodes by. They agree:
what one accepts, the other accepts, but for what `tests/protocol/test_schema.py` lists with its reasons.
"""

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct
from msgspec import inspect as kinds
from msgspec.json import schema_components
from msgspec.structs import asdict

from .agreement import REF, Agreement, Schema, whole
from .failures import Misuse, failed

UNSCHEMED = (TypeError, ValueError, NameError, AttributeError, NotImplementedError)
"""What msgspec and typing raise for an annotation that they can't read."""


UNNAMED = {
    inspect.Parameter.VAR_POSITIONAL: "a tool names each of its parameters; take a list instead",
    inspect.Parameter.VAR_KEYWORD: "a tool names each of its parameters; take a dict instead",
    inspect.Parameter.POSITIONAL_ONLY: "a tool is called by the names of its parameters; take away the /",
}
"""Kinds of parameters that a tool can't have, and what to do."""


class Signature(Struct, frozen=True):
    """A function as a tool: what it is called, what it takes and what it gives.

    `parameters` describes an object and has `properties`, `required` and `additionalProperties: false`; `returns` is
    None where nothing is promised. `arguments` has one field a parameter, UNSET where it was left out, so that the
    function's own default holds. `filled` are the parameters that the runtime fills in, by type; no schema shows
    them.
    """

    name: str
    description: str
    parameters: Schema
    returns: Schema | None
    arguments: type[Struct]
    result: Any
    filled: dict[str, type]
    optional: tuple[str, ...]
    decoder: msgspec.json.Decoder[Any]

    def decode(self, text: str | bytes) -> Struct:
        """`text` as a value of `arguments`.

        Raises what msgspec raises for a wrong one, and RecursionError for one nested too deeply.
        """
        try:
            return typing.cast("Struct", self.decoder.decode(text))
        except msgspec.ValidationError:
            return self._decode_whole(text)
        except TypeError as error:
            raise msgspec.ValidationError(f"a set can't hold arrays or objects ({error})") from error

    def _decode_whole(self, text: str | bytes) -> Struct:
        """To JSON Schema 1.0 is an integer, to msgspec it is none. This second way is only for what was refused."""
        plain = whole(msgspec.json.decode(text), self.parameters, self.parameters.get("$defs", {}))
        try:
            return msgspec.convert(plain, self.arguments, str_keys=True)
        except TypeError as error:
            raise msgspec.ValidationError(f"a set can't hold arrays or objects ({error})") from error

    def keywords(self, arguments: Struct) -> dict[str, Any]:
        """What to call the function with, without what `filled` names."""
        values = asdict(arguments)
        for name in self.optional:
            if values[name] is UNSET:
                del values[name]
        return values


def describe(
    function: Callable[..., Any], *, fills: tuple[type, ...] = (), names: Mapping[str, Any] | None = None
) -> Signature:
    """What `function` takes and gives.

    Parameters whose annotation is in `fills` (or a subclass of one) are left to the runtime. `names` resolves
    annotations that are strings, besides the function's own globals: the locals of where it was defined. Raises
    Misuse (`invalid_call`) for a parameter that can't be named by a call, or a type that has no schema.
    """
    written = Written(function, names or {})
    annotations = {name: written.annotation(p) for name, p in written.parameters.items()}
    filled = {name: kind for name, a in annotations.items() if (kind := _filler(a, fills)) is not None}
    taken = {name: _tolerant(annotations[name], p) for name, p in written.parameters.items() if name not in filled}
    description, told = explained(written.documentation)
    arguments = written.struct(taken)
    result, returns = written.result()
    return Signature(
        name=written.name,
        description=description,
        parameters=written.schema(taken, told),
        returns=returns,
        arguments=arguments,
        result=result,
        filled=filled,
        optional=tuple(name for name in taken if written.parameters[name].default is not inspect.Parameter.empty),
        decoder=msgspec.json.Decoder(arguments),
    )


class Written:
    """A function as its author wrote it. Raises Misuse if it can't be a tool."""

    def __init__(self, function: Callable[..., Any], names: Mapping[str, Any]) -> None:
        home: Any = function
        while isinstance(home, functools.partial):
            home = home.func
        self.name: str = getattr(home, "__name__", type(home).__name__)
        self.documentation: str = inspect.getdoc(home) or ""
        if not inspect.isroutine(home) and not inspect.isclass(home):
            home = type(home).__call__
        plain = inspect.unwrap(getattr(home, "__func__", home))
        free = getattr(getattr(plain, "__code__", None), "co_freevars", ())
        self._globals: dict[str, Any] = getattr(plain, "__globals__", {})
        self._locals = {**names, **_filled_cells(free, getattr(plain, "__closure__", None) or ())}
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError, NameError) as error:
            raise misuse(f"{self.name}() can't be a tool: its signature can't be read ({error})") from error
        self.parameters = dict(signature.parameters)
        if not inspect.ismethod(function) and _in_class_body(home):
            self._drop_owner()
        self._returns = signature.return_annotation
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

    def result(self) -> tuple[Any, Schema | None]:
        """The type of what it returns, and its schema; None where it is not said or is Any."""
        kind = self._resolved(self._returns, "the result")
        if kind is Any:
            return Any, None
        (schema,), definitions = self._components({"the result": kind})
        return kind, schema | ({"$defs": definitions} if definitions else {})

    def struct(self, taken: dict[str, Any]) -> type[Struct]:
        """A Struct with one field a parameter. A default is never decoded: the function has it already."""
        fields: list[Any] = [
            (name, kind) if self.parameters[name].default is inspect.Parameter.empty else (name, kind, UNSET)
            for name, kind in taken.items()
        ]
        return msgspec.defstruct(
            f"{self.name}_arguments", fields, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
        )

    def schema(self, taken: dict[str, Any], told: dict[str, str]) -> Schema:
        """The JSON Schema of all parameters; `told` are their descriptions, which `Annotated` overrules."""
        nodes, definitions = self._components({f"the parameter {name!r}": kind for name, kind in taken.items()})
        properties = dict(zip(taken, nodes, strict=True))
        required = []
        for name, node in properties.items():
            if told.get(name):
                node.setdefault("description", told[name])
            default = self.parameters[name].default
            if default is inspect.Parameter.empty:
                required.append(name)
            elif (plain := _plain(default, taken[name])) is not UNSET:
                node["default"] = plain
        schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return schema | ({"$defs": definitions} if definitions else {})

    def _resolved(self, annotation: Any, where: str) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        holder = SimpleNamespace(__annotations__={"it": annotation})
        try:
            return typing.get_type_hints(holder, self._globals, self._locals, include_extras=True)["it"]
        except (*UNSCHEMED, SyntaxError) as error:
            self.refuse(f"writes {where} as {_spelled(annotation)}, which can't be resolved: {error}", error)

    def _components(self, types: dict[str, Any]) -> tuple[list[Schema], dict[str, Schema]]:
        """The schemas of `types`, and the definitions that they share."""
        try:
            nodes, definitions = schema_components(types.values(), ref_template=REF + "{name}")
            agreement = Agreement(definitions)
            for node, kind in zip(nodes, kinds.multi_type_info(types.values()), strict=True):
                agreement.make(node, kind)
        except UNSCHEMED:
            for where, kind in types.items():
                if reason := _unschemed(kind):
                    self.refuse(f"writes {where} as {_spelled(kind)}, which has no JSON Schema: {reason}")
            raise
        # Defaults within definitions come as msgspec keeps them, tuples among them: make them plain JSON.
        plain: tuple[list[Schema], dict[str, Schema]] = msgspec.json.decode(msgspec.json.encode((nodes, definitions)))
        return plain


def explained(documentation: str) -> tuple[str, dict[str, str]]:
    """The description in a docstring (Google, NumPy, Sphinx or Epydoc style), and those of its parameters."""
    if not documentation:
        return "", {}
    import docstring_parser  # noqa: PLC0415 - 16 ms, which a program that only speaks to others' tools never needs

    try:
        parsed = docstring_parser.parse(documentation)
    except docstring_parser.ParseError:
        return documentation, {}
    description = "\n\n".join(filter(None, (parsed.short_description, parsed.long_description)))
    return description, {p.arg_name: p.description for p in parsed.params if p.description}


def misuse(message: str) -> Misuse:
    """The exception for a function or schema that can't be a tool's."""
    return Misuse(failed("invalid_call", message))


def _unschemed(kind: Any) -> str:
    """Why `kind` has no schema that its decoder agrees with; empty if it has one."""
    try:
        (node,), definitions = schema_components([kind], ref_template=REF + "{name}")
        Agreement(definitions).make(node, kinds.type_info(kind))
    except UNSCHEMED as error:
        # msgspec advises about hooks, which are not ours to offer; its last line names the type.
        return str(error).strip().rsplit("\n", 1)[-1] or type(error).__name__
    return ""


def _filler(annotation: Any, fills: tuple[type, ...]) -> type | None:
    """The type that the runtime has to fill in for `annotation`, also for `T | None`; None for a plain parameter."""
    if get_origin(annotation) in {Union, UnionType}:
        inner = [part for part in get_args(annotation) if part is not type(None)]
        annotation = inner[0] if len(inner) == 1 else annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, fills) else None


def _tolerant(kind: Any, parameter: inspect.Parameter) -> Any:
    """`kind`, or None too where that is the default: who writes `x: int = None` means it."""
    if parameter.default is not None or kind is Any or _takes_none(kind):
        return kind
    return kind | None if isinstance(kind, type | UnionType) else Union[kind, None]  # noqa: UP007 - not for Annotated


def _takes_none(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _takes_none(get_args(kind)[0])
    return kind in {None, type(None), Any} or (
        get_origin(kind) in {Union, UnionType, typing.Literal} and any(map(_takes_none, get_args(kind)))
    )


def _plain(default: Any, kind: Any) -> Any:
    """`default` as JSON, if a model that sends it gives the function an equal value; else UNSET."""
    try:
        plain = msgspec.json.decode(msgspec.json.encode(default, order="deterministic"))
        same = msgspec.convert(plain, kind, str_keys=True) == default
    except (TypeError, ValueError, OverflowError, RecursionError):
        return UNSET
    return plain if same is True and not (isinstance(default, float) and not math.isfinite(default)) else UNSET


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


def _spelled(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
