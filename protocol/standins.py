"""Types that msgspec can't read by itself, and the classes that stand in for them in what it is given.

A stand-in is a class of its own for each annotation. msgspec takes it for somebody's custom type, and asks the three
hooks at the end of this file: for its schema, for a value of it, and how to write such a value as JSON.
"""

import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar, cast, get_origin

import msgspec

from .agreement import REF, Schema
from .pydantic_types import Adapter, adapter, dumped, is_pydantic
from .secret import Secret, decode_secret, encode_secret, held, is_secret, secret_schema

Describe = Callable[[Any], Schema]
"""Gives the schema of a type, and keeps what that refers to."""


S = TypeVar("S", bound="StandIn")


class _Anything(type):
    """msgspec asks whether what the hook gave is an instance of the stand-in; it is of the type that it stands for."""

    def __instancecheck__(cls, instance: object) -> bool:
        return True


class StandIn(metaclass=_Anything):
    """The stand-in for one annotation. It is never instantiated."""

    spelled: ClassVar[str] = ""

    @classmethod
    def describe(cls, schema_of: Describe, /) -> Schema:
        """The schema of what it stands for, with definitions of its own under `$defs`."""
        raise NotImplementedError

    @classmethod
    def read(cls, value: Any) -> Any:
        """`value` (plain JSON values) as what it stands for. Raises ValueError for what it can't be."""
        raise NotImplementedError


class Alternatives(StandIn):
    """A union that msgspec can't tell apart: a value is of the first of `kinds` that takes it."""

    kinds: ClassVar[tuple[Any, ...]]

    @classmethod
    def describe(cls, schema_of: Describe, /) -> Schema:
        return {"anyOf": [schema_of(kind) for kind in cls.kinds]}

    @classmethod
    def read(cls, value: Any) -> Any:
        reasons = []
        for kind in cls.kinds:
            try:
                return converted(value, kind)
            except msgspec.ValidationError as error:
                reasons.append(str(error))
        raise ValueError(f"it is none of {cls.spelled}: " + "; ".join(dict.fromkeys(reasons)))


class Choice(StandIn):
    """One of some values that are not all texts or all numbers: an Enum of floats, a Literal of members of one.

    `options` are pairs of a value as JSON and the value itself.
    """

    options: ClassVar[list[tuple[Any, Any]]]

    @classmethod
    def describe(cls, _schema_of: Describe, /) -> Schema:
        return {"enum": [plain for plain, _ in cls.options]}

    @classmethod
    def read(cls, value: Any) -> Any:
        for plain, option in cls.options:
            if plain == value and isinstance(plain, bool) == isinstance(value, bool):
                return option
        raise ValueError(f"Expected one of {cls.spelled}")


class Made(StandIn):
    """A collection that is made from one that msgspec reads: a deque from a list, a Counter from a dict."""

    kind: ClassVar[Any]
    make: ClassVar[Callable[[Any], Any]]

    @classmethod
    def describe(cls, schema_of: Describe, /) -> Schema:
        return schema_of(cls.kind)

    @classmethod
    def read(cls, value: Any) -> Any:
        return cls.make(converted(value, cls.kind))


class Alias(StandIn):
    """A type alias that refers to itself: `type Json = dict[str, Json] | int`."""

    name: ClassVar[str]
    kind: ClassVar[Any]
    _open: ClassVar[bool] = False

    @classmethod
    def describe(cls, schema_of: Describe, /) -> Schema:
        reference: Schema = {"$ref": REF + cls.name}
        if cls._open:
            return reference
        cls._open = True
        try:
            found = schema_of(cls.kind)
        finally:
            cls._open = False
        return reference | {"$defs": {cls.name: found}}

    @classmethod
    def read(cls, value: Any) -> Any:
        return converted(value, cls.kind)


class Adapted(StandIn):
    """What only pydantic can read: a discriminated union of models, an `Annotated` with its `Field`, a dataclass."""

    adapter: ClassVar[Adapter]

    @classmethod
    def describe(cls, _schema_of: Describe, /) -> Schema:
        return cls.adapter.schema(output=False)

    @classmethod
    def read(cls, value: Any) -> Any:
        return cls.adapter.read(value)


def stand_in(base: type[S], spelled: str, **known: Any) -> type[S]:
    """A stand-in of its own, which schemas and errors call what the annotation was called."""
    name = re.sub(r"(?:\w+\.)+(?=\w)", "", spelled)
    return cast("type[S]", type(name, (base,), {"spelled": spelled, "__module__": "builtins", **known}))


def alternatives(kinds: tuple[Any, ...], spelled: str) -> type[StandIn]:
    """The stand-in for a union."""
    return stand_in(Alternatives, spelled, kinds=kinds)


def choice(options: Iterable[Any], spelled: str) -> type[StandIn]:
    """The stand-in for a Literal or an Enum. Raises TypeError for a value that is no JSON."""
    pairs = [(msgspec.json.decode(written(option)), option) for option in options]
    return stand_in(Choice, spelled, options=pairs)


def adapted(adapter: Adapter, spelled: str) -> type[StandIn]:
    """The stand-in for what only pydantic can read."""
    return stand_in(Adapted, spelled, adapter=adapter)


def made(origin: Any, arguments: tuple[Any, ...], spelled: str) -> Any:
    """The stand-in for a collection that is made from a list or a dict; an Iterable is that list itself."""
    base: Any = list if origin in {deque, Iterable} else dict
    if origin is Counter:
        arguments = (*(arguments or (Any,)), int)
    kind = base[arguments] if arguments else base
    if origin is Iterable:
        return kind
    make: Any = _DefaultDict(arguments[-1] if arguments else None) if origin is defaultdict else origin
    return stand_in(Made, spelled, kind=kind, make=staticmethod(make))


MADE = frozenset({deque, Iterable, Counter, OrderedDict, defaultdict})
"""Collections that msgspec does not make."""

EMPTY: frozenset[Any] = frozenset({int, float, str, bool, bytes, list, dict, set, tuple})
"""Types whose call without arguments gives what a defaultdict starts from."""


class _DefaultDict:
    """Makes a defaultdict that is told what stands for a missing key."""

    def __init__(self, kind: Any) -> None:
        kind = get_origin(kind) or kind
        self.missing = kind if kind in EMPTY else None

    def __call__(self, values: dict[Any, Any]) -> defaultdict[Any, Any]:
        return defaultdict(self.missing, values)


def schemed(kind: Any, schema_of: Describe, *, output: bool) -> Schema:
    """The schema of a type that msgspec does not know. Raises TypeError if it has none."""
    schema: Schema
    if is_secret(kind):
        schema = secret_schema(schema_of(held(kind)))
    elif issubclass(kind, Adapted):
        schema = kind.adapter.schema(output=output)
    elif issubclass(kind, StandIn):
        schema = kind.describe(schema_of)
    elif issubclass(kind, PurePath):
        schema = {"type": "string", "format": "path"}
    elif is_pydantic(kind):
        schema = adapter(kind).schema(output=output)
    else:
        raise TypeError(f"type `{getattr(kind, '__qualname__', kind)}` has no JSON form that is known")
    return schema


def read(kind: Any, value: Any) -> Any:
    """`value` (plain JSON values) as one of `kind`, which msgspec does not know. Raises ValueError."""
    if is_secret(kind):
        return decode_secret(kind, value)
    if issubclass(kind, StandIn):
        return kind.read(value)
    if issubclass(kind, PurePath):
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # noqa: TRY004 - one kind of refusal
        return kind(value)
    if is_pydantic(kind):
        return adapter(kind).read(value)
    raise NotImplementedError(f"nobody can read a {kind!r}")


def plain(value: Any) -> Any:
    """`value`, of a type that msgspec can't write, as one that it can. Raises TypeError for one that nobody can."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, deque):
        return list(value)
    if is_pydantic(type(value)):
        return msgspec.Raw(dumped(value))
    return encode_secret(value)


def sent(value: Any) -> Any:
    """As `plain`, for what is sent to do its work. Raises TypeError for a Secret: a tool can't use what is hidden."""
    if isinstance(value, Secret):
        raise TypeError("a Secret is not sent: reveal it where it is used")
    return plain(value)


def converted(value: Any, kind: Any) -> Any:
    """`value` (plain JSON values) as one of `kind`. Raises msgspec.ValidationError."""
    try:
        return msgspec.convert(value, kind, str_keys=True, dec_hook=read)
    except TypeError as error:
        raise msgspec.ValidationError(f"a set can't hold arrays or objects ({error})") from error


written = msgspec.json.Encoder(enc_hook=plain).encode
"""Any value as JSON text. Raises what msgspec raises for one that JSON can't carry."""
