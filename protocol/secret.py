"""A value that must not be seen: `Secret`, a type for parameters such as passwords and keys."""

import typing
from hmac import compare_digest
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

T = TypeVar("T")

HIDDEN = "***"
"""What stands for a secret wherever one would be shown."""


class Secret(Generic[T]):
    """A value of type T (str, if it is not said) that shows as `***` wherever it is printed, logged or encoded.

    Only `reveal()` gives it. In a schema it is `writeOnly`, and a text has the format `password`; by that, what a
    caller sent for it stays out of failures, events and logs too. It can't be pickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, form: str) -> str:
        return format(HIDDEN, form)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        one, two = self._value, other._value
        if isinstance(one, str) and isinstance(two, str):
            return compare_digest(one.encode("utf-8", "surrogatepass"), two.encode("utf-8", "surrogatepass"))
        return bool(one == two)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> "Secret[T]":
        return self

    def __deepcopy__(self, _seen: object) -> "Secret[T]":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: reveal it, and send it where it is safe")


def is_secret(kind: Any) -> bool:
    """Whether a type is `Secret` or `Secret[T]`."""
    return kind is Secret or typing.get_origin(kind) is Secret


def held(kind: Any) -> Any:
    """The type of what a `Secret[T]` holds: T; str for a bare `Secret`."""
    return typing.get_args(kind)[0] if typing.get_args(kind) else str


def secret_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a secret, by that of what it holds."""
    password = {"format": "password"} if schema.get("type") == "string" and "format" not in schema else {}
    return {**schema, **password, "writeOnly": True}


def decode_secret(kind: Any, value: Any) -> Secret[Any]:
    """`value`, as JSON gave it, as a `kind` of secret. Raises msgspec.ValidationError, which does not show it."""
    try:
        return Secret(msgspec.convert(value, held(kind)))
    except msgspec.ValidationError as error:
        # msgspec says what type came, and for an enum the very value.
        raise msgspec.ValidationError("a secret of another type is wanted") from error


def encode_secret(value: object) -> str:
    """What a Secret is in JSON. Raises TypeError for all else: the `enc_hook` of an encoder."""
    if isinstance(value, Secret):
        return HIDDEN
    raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")
