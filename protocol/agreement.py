"""Where a schema of msgspec's and its decoder accept different values, and what makes them agree."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from msgspec import inspect as kinds

Schema = dict[str, Any]

REF = "#/$defs/"
SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
INTEGER_KEY: Schema = {"pattern": "^-?(0|[1-9][0-9]*)$"}
NUMBER_KEY: Schema = {"pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"}

KEYS: dict[type[kinds.Type], Schema] = {
    kinds.IntType: INTEGER_KEY,
    kinds.FloatType: NUMBER_KEY,
    kinds.DateTimeType: {"format": "date-time"},
    kinds.DateType: {"format": "date"},
    kinds.TimeType: {"format": "time"},
    kinds.TimeDeltaType: {"format": "duration"},
    kinds.UUIDType: {"format": "uuid"},
}
"""What keys look like that stand for something else than a text."""

NO_KEYS = (
    *(kinds.BoolType, kinds.NoneType, kinds.CollectionType, kinds.TupleType, kinds.DictType, kinds.CustomType),
    *(kinds.StructType, kinds.DataclassType, kinds.TypedDictType, kinds.NamedTupleType),
)

SAID: dict[type[kinds.Type], str] = {
    **dict.fromkeys((kinds.DateTimeType, kinds.TimeType), "string"),
    **dict.fromkeys((kinds.DictType, kinds.StructType, kinds.DataclassType, kinds.TypedDictType), "object"),
    **dict.fromkeys((kinds.CollectionType, kinds.ListType, kinds.SetType, kinds.FrozenSetType), "array"),
    **dict.fromkeys((kinds.VarTupleType, kinds.TupleType, kinds.NamedTupleType), "array"),
}
"""What the schemas of types say that may stand beside others in a union."""


class Agreement:
    """Changes a schema of msgspec's where its decoder takes more or less than the schema says.

    Sets: the decoder swallows repeats, so repeats are no error. Items of a set must be hashable. A Decimal is taken
    from a number too. Keys of objects are texts, of which the decoder takes only those that stand for the type of the
    key. Raises TypeError for a type that no schema can say.
    """

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions
        self._seen: set[str] = set()

    def make(self, node: Schema, kind: kinds.Type) -> None:
        """Make `node`, the schema of `kind`, agree with the decoder; also all that it refers to."""
        kind = _bare(kind)
        if isinstance(kind, kinds.CustomType):
            return  # its schema is not of msgspec's making
        if (reference := node.get("$ref")) is not None:
            name = reference.removeprefix(REF)
            if name not in self._seen:
                self._seen.add(name)
                self._make(self._definitions[name], kind)
        else:
            self._make(node, kind)

    def _make(self, node: Schema, kind: kinds.Type) -> None:
        match kind:
            case kinds.SetType() | kinds.FrozenSetType():
                self._set(node, kind)
            case kinds.CollectionType():
                self._items(node, kind.item_type)
            case kinds.TupleType():
                for item, item_kind in zip(node.get("prefixItems", ()), kind.item_types, strict=True):
                    self.make(item, item_kind)
            case kinds.DictType():
                self._object(node, kind)
            case kinds.UnionType():
                self._union(node, kind)
            case kinds.DecimalType():
                node["type"] = ["string", "number"]
            case kinds.DateTimeType() | kinds.TimeType():
                # Not said by msgspec where it takes one without a time zone too. It tells a model what to write.
                node["format"] = "date-time" if isinstance(kind, kinds.DateTimeType) else "time"
            case kinds.StructType() | kinds.DataclassType() | kinds.TypedDictType() | kinds.NamedTupleType():
                self._fields(node, kind.fields)

    def _union(self, node: Schema, kind: kinds.UnionType) -> None:
        if any(isinstance(_bare(part), kinds.AnyType) for part in kind.types):
            return  # it takes anything: the decoder looks at no other alternative
        if any(isinstance(_bare(part), kinds.CustomType) for part in kind.types):
            # Beside it stands only None, and its own alternatives stand for themselves.
            inner = [branch["anyOf"] if [*branch] == ["anyOf"] else [branch] for branch in node["anyOf"]]
            node["anyOf"] = [branch for branches in inner for branch in branches]
            return
        for branch in node["anyOf"]:
            if "anyOf" in branch:
                self._union(branch, kind)
                continue
            for part in kind.types:
                if _says(_looked_up(branch, self._definitions), part):
                    self.make(branch, part)

    def _fields(self, node: Schema, fields: Iterable[kinds.Field]) -> None:
        for position, field in enumerate(fields):
            by_position = "prefixItems" in node
            self.make(
                node["prefixItems"][position] if by_position else node["properties"][field.encode_name], field.type
            )

    def _object(self, node: Schema, kind: kinds.DictType) -> None:
        if (keys := _keys(kind.key_type)) is not None:
            node["propertyNames"] = keys
        if "additionalProperties" in node:
            self.make(node["additionalProperties"], kind.value_type)

    def _items(self, node: Schema, kind: kinds.Type) -> None:
        if "items" in node:
            self.make(node["items"], kind)

    def _set(self, node: Schema, kind: kinds.SetType | kinds.FrozenSetType) -> None:
        # With a bound, repeats stay an error: the decoder counts what is left of them.
        if kind.min_length is None and kind.max_length is None:
            del node["uniqueItems"]
        if isinstance(kind.item_type, kinds.AnyType):
            node["items"] = dict(SCALAR)
        elif not _hashable(kind.item_type):
            raise TypeError("the items of a set have to be hashable")
        self._items(node, kind.item_type)


def whole(value: Any, schema: Schema, definitions: dict[str, Schema]) -> Any:
    """`value` with 1 for each 1.0 that stands where `schema` wants an integer.

    `schema` is one that `describe` made.
    """
    schema = _looked_up(schema, definitions)
    match value:
        case float():
            return int(value) if value.is_integer() and _wants_integer(value, schema, definitions) else value
        case list() | dict() if branches := _branches(schema):
            for branch in branches:
                if _may_be(value, _looked_up(branch, definitions)):
                    value = whole(value, branch, definitions)
        case list():
            first, rest = schema.get("prefixItems", ()), schema.get("items") or {}
            return [whole(v, first[i] if i < len(first) else rest, definitions) for i, v in enumerate(value)]
        case dict():
            named, rest = schema.get("properties", {}), schema.get("additionalProperties") or {}
            return {key: whole(v, named.get(key, rest), definitions) for key, v in value.items()}
    return value


def _bare(kind: kinds.Type) -> kinds.Type:
    while isinstance(kind, kinds.Metadata):
        kind = kind.type
    return kind


def _looked_up(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    return definitions[schema["$ref"].removeprefix(REF)] if "$ref" in schema else schema


def _wants_integer(value: float, schema: Schema, definitions: dict[str, Schema]) -> bool:
    if branches := [_looked_up(branch, definitions) for branch in _branches(schema)]:
        numbers = any("number" in _types(branch) for branch in branches)
        return not numbers and any(_wants_integer(value, branch, definitions) for branch in branches)
    return schema.get("type") == "integer" or any(type(o) is int and o == value for o in schema.get("enum", ()))


def _branches(schema: Schema) -> list[Schema]:
    branches: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return branches


def _types(schema: Schema) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _may_be(value: list[Any] | dict[str, Any], schema: Schema) -> bool:
    """Whether `value` is of the kind of this branch of a union, and has its tag."""
    if _branches(schema):
        return True
    if isinstance(value, list):
        return schema.get("type") == "array"
    named = schema.get("properties", {}).items()
    tags = {name: p.get("enum", [p.get("const")]) for name, p in named if "enum" in p or "const" in p}
    return schema.get("type") == "object" and all(value[n] in tags[n] for n in tags if n in value)


def _says(schema: Schema, kind: kinds.Type) -> bool:
    """Whether this branch of a union is the one of `kind`. A union has one array, one object, one text, or tags."""
    kind = _bare(kind)
    if isinstance(kind, kinds.StructType) and kind.tag_field is not None:
        first = schema.get("prefixItems", ({},))[0] if kind.array_like else {}
        return kind.tag in schema.get("properties", {}).get(kind.tag_field, first).get("enum", ())
    if isinstance(kind, kinds.DecimalType):
        return schema.get("format") == "decimal"
    said = "array" if getattr(kind, "array_like", False) else SAID.get(type(kind))
    return said is not None and schema.get("type") == said


def _keys(kind: kinds.Type) -> Schema | None:
    """What the keys of an object have to look like to be decoded as `kind`; None if the schema says it already."""
    kind = _bare(kind)
    match kind:
        case kinds.EnumType():
            return {"enum": sorted(str(member.value) for member in kind.cls)}
        case kinds.LiteralType():
            return {"enum": sorted(str(value) for value in kind.values)}
        case kinds.CustomType() if issubclass(kind.cls, PurePath):
            return {"format": "path"}
        case kinds.UnionType() if not any(isinstance(part, kinds.StrType) for part in kind.types):
            raise TypeError("the keys of an object are text: write them as str")
    if isinstance(kind, NO_KEYS):
        raise TypeError("the keys of an object are text: write them as str, int, float, Literal or an Enum")
    return dict(KEYS[type(kind)]) if type(kind) in KEYS else None


def _hashable(kind: kinds.Type) -> bool:
    parts: Iterable[kinds.Type] = ()
    match kind:
        case kinds.ListType() | kinds.SetType() | kinds.DictType() | kinds.TypedDictType() | kinds.AnyType():
            return False
        case kinds.CustomType():
            return getattr(kind.cls, "__hash__", None) is not None
        case kinds.Metadata():
            parts = (kind.type,)
        case kinds.CollectionType():
            parts = (kind.item_type,)
        case kinds.TupleType():
            parts = kind.item_types
        case kinds.UnionType():
            parts = kind.types
        case kinds.StructType() | kinds.DataclassType() | kinds.NamedTupleType():
            frozen = not isinstance(kind, kinds.StructType) or kind.cls.__struct_config__.frozen
            if not frozen or getattr(kind.cls, "__hash__", None) is None:
                return False
            parts = [field.type for field in kind.fields]
    return all(map(_hashable, parts))
