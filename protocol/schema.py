"""What a Python function takes and gives, as JSON Schema 2020-12 and as types that msgspec decodes into.

The schema is what others see and check by; the types are what the owner of the function decodes by. They agree:
what one accepts, the other accepts, but for what `tests/protocol/test_schema.py` lists with its reasons.
"""

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import asdict

from .agreement import Schema, whole
from .arguments import Checker, parse
from .failures import Failure
from .standins import converted, plain, read
from .written import Written, misuse

MUTABLE = (list, dict, set, bytearray)
"""Defaults of which each call gets its own copy: what one call does to it no other call may see."""


class Inject:
    """Marks a parameter that the process which serves the tool fills in: `db: Annotated[Db, Inject]`.

    What it is filled with is told by `runtime.provide(Db, factory)`. No model sees it.
    """


class Signature(Struct, frozen=True):
    """A function as a tool: what it is called, what it takes and what it gives.

    `parameters` describes an object and has `properties`, `required` and `additionalProperties: false`; `returns` is
    None where nothing is promised. `arguments` has one field a parameter, UNSET where it was left out, so that the
    function's own default holds; `mutable` are the defaults that are copied for each call. `filled` are the
    parameters that the runtime fills in, by type, and `injected` those marked with `Inject`, of which `needed` have no
    default; no schema shows them. A function that `streams` yields its results, the last of which counts. `defaults`
    are what holds where an optional argument was left out.
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
    injected: dict[str, Any] = {}
    needed: tuple[str, ...] = ()
    mutable: dict[str, Any] = {}
    streams: bool = False
    defaults: dict[str, Any] = {}

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
        value = whole(msgspec.json.decode(text), self.parameters, self.parameters.get("$defs", {}))
        return typing.cast("Struct", converted(value, self.arguments))

    def keywords(self, arguments: Struct) -> dict[str, Any]:
        """What to call the function with, without what `filled` and `injected` name."""
        values = asdict(arguments)
        for name in self.optional:
            if values[name] is UNSET:
                if name in self.mutable:
                    values[name] = deepcopy(self.mutable[name])
                else:
                    del values[name]
        return values

    def read(self, text: str | bytes) -> dict[str, Any]:
        """What to call the function with, for arguments that are the JSON text `text`. Raises as `decode` does."""
        return self.keywords(self.decode(text))


class Untyped(Signature, frozen=True):
    """A function of one dict, whose schema was given, not made: the dict is what that schema accepts."""

    takes: str = ""
    checker: Checker | None = None

    def read(self, text: str | bytes) -> dict[str, Any]:
        """What to call the function with. Raises msgspec.ValidationError for what the schema refuses."""
        value = parse(text)
        if isinstance(value, Failure):
            raise msgspec.ValidationError(value.message)
        if self.checker is not None and (problems := self.checker.check(value)):
            raise msgspec.ValidationError(f"{problems[0].pointer}: expected {problems[0].expected}")
        return {self.takes: value}


def describe(
    function: Callable[..., Any], *, fills: tuple[type, ...] = (), names: Mapping[str, Any] | None = None
) -> Signature:
    """What `function` takes and gives.

    Parameters whose annotation is in `fills` (or a subclass of one) are left to the runtime, and so are those that
    are marked with `Inject`. `names` resolves annotations that are texts, besides the function's own globals; without
    it these are the locals of where it was written, if that still runs. Raises Misuse (`invalid_call`) for a
    parameter that can't be named by a call, or a type that has no schema.
    """
    author = Written(function, names)
    author.refuse_unnamed()
    filled, injected, types = _sorted(author, fills)
    taken = {
        name: _tolerant(author.readable(kind, _where(name)), author.parameters[name]) for name, kind in types.items()
    }
    arguments = _struct(author, taken)
    result, returns = _result(author)
    defaults = {name: p.default for name, p in author.parameters.items() if p.default is not inspect.Parameter.empty}
    return Signature(
        name=author.name,
        description=author.description,
        parameters=_schema(author, taken),
        returns=returns,
        arguments=arguments,
        result=result,
        filled=filled,
        optional=tuple(name for name in taken if name in defaults),
        decoder=msgspec.json.Decoder(arguments, dec_hook=read),
        injected=injected,
        needed=_needed(author, injected),
        mutable={n: d for n, d in defaults.items() if n in taken and isinstance(d, MUTABLE)},
        streams=author.streams,
        defaults={name: default for name, default in defaults.items() if name in taken},
    )


def untyped(
    name: str,
    description: str,
    schema: Schema,
    function: Callable[..., Any],
    *,
    fills: tuple[type, ...] = (),
    names: Mapping[str, Any] | None = None,
) -> Untyped:
    """A function of one dict as a tool whose arguments `schema` describes.

    Further parameters may be such as the runtime fills in. Raises Misuse (`invalid_call`) for what is no schema of an
    object, and for a function that can't be called so.
    """
    checker = Checker(schema)
    if schema.get("type", "object") != "object":
        raise misuse(f"{name}: the arguments of a tool are an object, not {schema['type']!r}")
    author = Written(function, names)
    author.refuse_unnamed()
    filled, injected, others = _sorted(author, fills)
    takes, *rest = [*others, ""]
    if not takes or _needed(author, rest[:-1]):
        author.refuse("has to take one dict of arguments, besides what the runtime fills in")
    result, returns = _result(author)
    arguments = msgspec.defstruct("arguments", [])
    return Untyped(
        name=name,
        description=description,
        parameters=schema,
        returns=returns,
        arguments=arguments,
        result=result,
        filled=filled,
        optional=(),
        decoder=msgspec.json.Decoder(arguments),
        injected=injected,
        needed=_needed(author, injected),
        streams=author.streams,
        takes=takes,
        checker=checker,
    )


def _sorted(author: Written, fills: tuple[type, ...]) -> tuple[dict[str, type], dict[str, Any], dict[str, Any]]:
    """The types of parameters: of those that the runtime fills in, of those that are injected, of the others."""
    filled: dict[str, type] = {}
    injected: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, parameter in author.parameters.items():
        annotation = author.annotation(parameter)
        if (kind := _filler(annotation, fills)) is not None:
            filled[name] = kind
        elif (kind := _injected(annotation)) is not None:
            injected[name] = kind
        else:
            others[name] = annotation
    return filled, injected, others


def _needed(author: Written, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if author.parameters[name].default is inspect.Parameter.empty)


def _result(author: Written) -> tuple[Any, Schema | None]:
    """The type of what a function gives, and its schema; None where it is not said or is Any."""
    kind = author.readable(author.result(), "the result")
    if kind is Any:
        return Any, None
    (schema,), definitions = author.schemas({"the result": kind}, output=True)
    return kind, schema | ({"$defs": definitions} if definitions else {})


def _struct(author: Written, taken: dict[str, Any]) -> type[Struct]:
    """A Struct with one field a parameter. A default is never decoded: the function has it already."""
    fields: list[Any] = [
        (name, kind) if author.parameters[name].default is inspect.Parameter.empty else (name, kind, UNSET)
        for name, kind in taken.items()
    ]
    return msgspec.defstruct(
        f"{author.name}_arguments", fields, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
    )


def _schema(author: Written, taken: dict[str, Any]) -> Schema:
    """The JSON Schema of all parameters. What `Annotated` says of one overrules the docstring."""
    nodes, definitions = author.schemas({_where(name): kind for name, kind in taken.items()})
    properties = dict(zip(taken, nodes, strict=True))
    required = []
    for name, node in properties.items():
        if author.told.get(name):
            node.setdefault("description", author.told[name])
        default = author.parameters[name].default
        if default is inspect.Parameter.empty:
            required.append(name)
        elif (told := _told(default, taken[name])) is not UNSET:
            node["default"] = told
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return schema | ({"$defs": definitions} if definitions else {})


def _where(name: str) -> str:
    return f"the parameter {name!r}"


def _filler(annotation: Any, fills: tuple[type, ...]) -> type | None:
    """The type that the runtime has to fill in for `annotation`, also for `T | None`; None for a plain parameter."""
    if get_origin(annotation) in {Union, UnionType}:
        inner = [part for part in get_args(annotation) if part is not type(None)]
        annotation = inner[0] if len(inner) == 1 else annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, fills) else None


def _injected(annotation: Any) -> Any:
    """What `Annotated[…, Inject]` asks for; None for anything else."""
    if get_origin(annotation) is not Annotated:
        return None
    marked = any(each is Inject or isinstance(each, Inject) for each in annotation.__metadata__)
    return get_args(annotation)[0] if marked else None


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


def _told(default: Any, kind: Any) -> Any:
    """`default` as JSON, if a model that sends it gives the function an equal value; else UNSET."""
    try:
        told = msgspec.json.decode(msgspec.json.encode(default, enc_hook=plain, order="deterministic"))
        same = converted(told, kind) == default
    except (TypeError, ValueError, OverflowError, RecursionError):
        return UNSET
    return told if same is True and not (isinstance(default, float) and not math.isfinite(default)) else UNSET
