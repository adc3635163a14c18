r"""What is done to arguments that fit, before the function gets them: by safe rules first, then by one's own.

The safe rules are about data, not about meaning:

- U+0000 is refused: C libraries, paths and databases end a text there.
- So is every other control character (C0, DEL, C1) that Unicode does not count as white space: a terminal obeys them,
  and a model that writes one has most often broken an escape (`caf\u0000e9`), which nobody but the model can mend.
- Text is brought into Unicode's Normalization Form C, so that what looks the same is the same. It is reported.
- A text of more than 256 KiB, a list or an object of more than 10,000 items, and more than 64 levels are refused.

Tabs, line breaks, zero-width and bidirectional characters stay: they have meaning in code and in most scripts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from unicodedata import is_normalized, normalize

from .failures import ToolwireError, failed
from .leniency import Path, note
from .redaction import Redaction, hushed
from .secret import HIDDEN
from .tools import Mended
from .wording import SHOWN, pointer, shortened

Sanitizer = Callable[[Any], Any]
"""Takes a parameter's value, gives the one to use. It refuses by raising ValueError, or ToolError, with a sentence."""

STRING = 256 * 1024
"""Bytes of UTF-8 that one text may have."""
DEPTH = 64
"""Levels of lists and objects, the arguments themselves being the first."""
ITEMS = 10_000
"""Items that one list or object may have."""

CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
ESCAPED = re.compile(r"\\[ubf]")
"""What JSON text holds where a text in it holds a control character, or may."""
RAW = re.compile("[\x7f-\x9f]")


class Refused(ToolwireError):
    """The arguments fit, and can't be taken all the same."""


def unremarkable(text: str) -> bool:
    """Whether it is plain from JSON text that the safe rules have nothing to say about it. Takes 0.2 µs."""
    if len(text) > STRING // 4 or (len(text) > 2 * DEPTH and text.count("[") + text.count("{") > DEPTH):
        return False
    if len(text) > ITEMS and text.count(",") >= ITEMS:
        return False
    if "\\" in text and ESCAPED.search(text):
        return False
    if text.isascii():
        return "\x7f" not in text
    return not RAW.search(text) and is_normalized("NFC", text)


def cleaned(
    arguments: dict[str, Any], raw: frozenset[str] = frozenset(), redaction: Redaction | None = None
) -> tuple[dict[str, Any], tuple[Mended, ...]]:
    """`arguments` (plain JSON values) by the safe rules, except the parameters `raw`, and what was changed.

    Raises Refused. What `redaction` hides is not shown.
    """
    mended: list[Mended] = []
    result = {key: value if key in raw else _cleaned(value, (key,), mended) for key, value in arguments.items()}
    if not mended:
        return arguments, ()
    if redaction is not None:
        shown = redaction.shown(result)
        return result, tuple(hushed(each, result, shown) for each in mended)
    return result, tuple(mended)


def _cleaned(value: Any, path: Path, mended: list[Mended]) -> Any:
    match value:
        case str():
            return _text(value, path, mended)
        case list():
            _bounded(value, path)
            return [_cleaned(inner, (*path, n), mended) for n, inner in enumerate(value)]
        case dict():
            _bounded(value, path)
            for key in value:
                _text(key, path, [])  # a key is judged, but never changed: two could become one
            return {key: _cleaned(inner, (*path, key), mended) for key, inner in value.items()}
    return value


def _text(text: str, path: Path, mended: list[Mended]) -> str:
    if len(text) * 4 > STRING and (size := len(text.encode())) > STRING:
        raise _too_large(path, f"a text of {size} bytes; at most {STRING} are taken", STRING)
    if found := CONTROL.search(text):
        raise _unwanted(path, f"text may not hold the control character U+{ord(found[0]):04X}")
    normal = text if is_normalized("NFC", text) else normalize("NFC", text)
    if normal != text:
        mended.append(note(path, "text in Unicode's form NFC", text, normal))
    return normal


def _bounded(value: list[Any] | dict[str, Any], path: Path) -> None:
    if len(value) > ITEMS:
        raise _too_large(path, f"{len(value)} items; at most {ITEMS} are taken", ITEMS)
    if len(path) >= DEPTH:
        raise _too_large(path, f"more than {DEPTH} levels", DEPTH)


def _too_large(path: Path, said: str, limit: int) -> Refused:
    where = pointer(path)
    return Refused(failed("too_large", f"{where}: {said}", pointer=where, limit=limit))


def _unwanted(path: Path, reason: str, got: str = "") -> Refused:
    where = pointer(path)
    said = f"the arguments can't be taken: {where}: {reason}" + (f", got {got}" if got else "")
    return Refused(failed("invalid_arguments", said, errors=[{"pointer": where, "expected": reason, "got": got}]))


class Sanitizers:
    """The rules of one runtime: by the name of a parameter, or by its type."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Sanitizer]] = {}
        self._by_type: dict[Any, list[Sanitizer]] = {}

    def add(self, key: str | type, sanitizer: Sanitizer) -> None:
        """Do `sanitizer` to every parameter of that name, or of that type, of tools whose first call is still to come.

        A type stands for its subclasses too, for `T | None`, and for `Annotated[T, …]`.
        """
        if isinstance(key, str):
            self._by_name.setdefault(key, []).append(sanitizer)
        else:
            self._by_type.setdefault(key, []).append(sanitizer)

    def of(self, types: Mapping[str, Any], own: Mapping[str, Sanitizer | None]) -> dict[str, tuple[Sanitizer, ...]]:
        """What is done to each parameter, by the types of all: by type, then by name, then what is the tool's `own`."""
        steps: dict[str, tuple[Sanitizer, ...]] = {}
        for name, kind in types.items():
            found = [each for key, some in self._by_type.items() if is_a(kind, key) for each in some]
            found += self._by_name.get(name, ())
            if (mine := own.get(name)) is not None:
                found.append(mine)
            if found:
                steps[name] = tuple(found)
        return steps


def sanitized(
    values: dict[str, Any], steps: Mapping[str, Iterable[Sanitizer]], hidden: Iterable[str] = ()
) -> tuple[Mended, ...]:
    """Do `steps` to `values`, in place; what was changed. Raises Refused, and what else a sanitizer raises.

    The values of the parameters `hidden` are not shown.
    """
    mended: list[Mended] = []
    for name, sanitizers in steps.items():
        if name not in values:
            continue  # it was left out: the function's own default is not for us to judge
        before = value = values[name]
        shown = _hidden if name in hidden else shortened
        for sanitizer in sanitizers:
            try:
                value = sanitizer(value)
            except ValueError as error:
                reason = "it is not allowed" if name in hidden else str(error)[: 2 * SHOWN]
                raise _unwanted((name,), reason, shown(before)) from error
        if value is not before and not _equal(value, before):
            values[name] = value
            mended.append(Mended(pointer((name,)), "sanitized", shown(before), shown(value)))
    return tuple(mended)


def _hidden(_value: Any) -> str:
    return shortened(HIDDEN)


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - somebody's own type may raise anything; then it counts as changed
        return False


def is_a(kind: Any, wanted: type) -> bool:
    """Whether values of a type may be of the type `wanted`: it is that, or a subclass, or a union with one."""
    origin = get_origin(kind) or kind
    if origin is Annotated:
        return is_a(get_args(kind)[0], wanted)
    if origin in {Union, UnionType}:
        return any(is_a(part, wanted) for part in get_args(kind))
    if wanted is int and origin is bool:
        return False  # to Python a bool is an int, to who writes a rule for numbers it is not
    return kind == wanted or (isinstance(origin, type) and issubclass(origin, wanted))
