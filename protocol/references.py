"""One call's input taken from another's result: `{"$result": 2, "path": "/items/0/id"}` in its arguments.

A reference is an object whose keys are exactly `$result`, or `$result` and `path`. `$result` is the 1-based position
of an earlier call of the batch, or, where ids are allowed, the id of any; `path` is a JSON Pointer (RFC 6901) into
what that call returned, "" or absent for all of it. Any other object with a `$result` key is broken. An object with
the one key `$literal` stands for its content, which is taken as it is and never searched. Nor are results: data
that a tool brings is never read as a reference.

Nothing here recurses: arguments may nest as deep as a decoder lets them.
"""

import re
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, Final, NamedTuple

from msgspec import Struct

from .failures import ToolwireError, failed
from .shapes import index

RESULT: Final = "$result"
LITERAL: Final = "$literal"

Trail = tuple["Trail", str | int] | None
"""Where something stands, from the inside out: what holds it, and its key or place in that. None at the top."""

_HOLDERS: Final = (dict, list)
_BAD_ESCAPE = re.compile(r"~(?![01])")


class BrokenReference(ToolwireError):
    """A reference that can't be one, or that leads nowhere. Its failure is `invalid_reference`."""


class Reference(Struct, frozen=True, gc=False):
    """`result` is a 1-based position, or an id; `path` a well-formed JSON Pointer; `trail` where it stands itself."""

    result: int | str
    path: str = ""
    trail: Trail = None

    @property
    def at(self) -> str:
        """Where the reference stands in the arguments, as a JSON Pointer."""
        return pointer(self.trail)

    @property
    def steps(self) -> list[str]:
        """The same, parsed."""
        return _steps(self.trail)


class Found(NamedTuple):
    """What arguments hold: their references, in the order written, and whether there is a `$literal` to unwrap."""

    references: list[Reference]
    literals: bool


def mentions(text: str) -> bool:
    r"""Whether JSON text may hold a `$result` or `$literal` key. A no is certain; a yes may be a mere string.

    Without a `\u` escape in the text a key is written out letter by letter, for no other escape gives a letter or `$`;
    with one, the key still has a `$`, as itself or as `\u0024`.
    """
    if "\\u" in text:
        return "$" in text or "\\u0024" in text
    return '"$result"' in text or '"$literal"' in text


def find(arguments: object, *, ids: bool = False) -> list[Reference]:
    """The references in decoded arguments, in the order written. Raises BrokenReference for one that is none."""
    return scan(arguments, ids=ids).references


def scan(arguments: object, *, ids: bool = False) -> Found:
    """The references in decoded arguments, and whether they hold a literal. Raises BrokenReference."""
    references: list[Reference] = []
    literals = False
    todo: list[tuple[Any, Trail]] = [(arguments, None)]
    while todo:
        value, trail = todo.pop()
        if isinstance(value, dict):
            if RESULT in value:
                references.append(_reference(value, trail, ids=ids))
            elif len(value) == 1 and LITERAL in value:
                literals = True
            else:
                todo += [(part, (trail, key)) for key, part in value.items() if isinstance(part, _HOLDERS)]
        elif isinstance(value, list):
            todo += [(part, (trail, place)) for place, part in enumerate(value) if isinstance(part, _HOLDERS)]
    references.reverse()  # the last one written came first from the stack
    return Found(references, literals)


def substitute(arguments: object, results: Callable[[Reference], object], *, ids: bool = False) -> object:
    """`arguments` with `results(reference)` in the place of each reference, and each `$literal` unwrapped.

    `arguments` stay as they are; results and literals are put in as they are, not copied. What `results` raises
    goes through; raises BrokenReference.
    """
    top: list[Any] = [None]
    todo: list[tuple[Any, Any, Any, Trail]] = [(top, 0, arguments, None)]
    while todo:
        holder, key, value, trail = todo.pop()
        if isinstance(value, dict):
            if RESULT in value:
                holder[key] = results(_reference(value, trail, ids=ids))
            elif len(value) == 1 and LITERAL in value:
                holder[key] = value[LITERAL]
            else:
                # A copy first, with the keys in their order: the stack fills it from its end.
                holder[key] = copy = value.copy()
                todo.extend((copy, k, v, (trail, k)) for k, v in value.items() if isinstance(v, _HOLDERS))
        elif isinstance(value, list):
            holder[key] = entries = value.copy()
            todo.extend((entries, k, v, (trail, k)) for k, v in enumerate(value) if isinstance(v, _HOLDERS))
        else:
            holder[key] = value
    return top[0]


def parse(path: str) -> list[str]:
    """The steps of a JSON Pointer, unescaped (RFC 6901, section 3). Raises BrokenReference."""
    if not path:
        return []
    if path[0] != "/" or _BAD_ESCAPE.search(path):
        raise _broken(f"{shown(path)} is no JSON Pointer: it starts with / and has ~ only in ~0 (for ~) and ~1 (for /)")
    steps = path[1:].split("/")
    return [step.replace("~1", "/").replace("~0", "~") for step in steps] if "~" in path else steps


def resolve(value: object, path: str) -> object:
    """What stands at the JSON Pointer `path` of a decoded `value`. Raises BrokenReference, which says what is there."""
    steps = parse(path)
    for n, step in enumerate(steps):
        if isinstance(value, dict):
            if step not in value:
                raise _broken(f"{_object(steps[:n])} has no {shown(step)}; it has {_keys(value)}")
            value = value[step]
        elif isinstance(value, list):
            place = index(step)
            if place is None or place >= len(value):
                raise _broken(f"{_list(steps[:n])} has {len(value)} entries, counted from 0, and no {shown(step)}")
            value = value[place]
        else:
            raise _broken(f"{shown(_joined(steps[:n]))} is neither an object nor a list and has no {shown(step)}")
    return value


def pointer(trail: Trail) -> str:
    """The JSON Pointer of a place."""
    return _joined(_steps(trail))


def shown(text: str, longest: int = 80) -> str:
    """Text of others in a sentence: in quotes, on one line, shortened."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return '"' + short.encode("unicode_escape").decode() + '"' if not short.isprintable() else f'"{short}"'


def few(things: Collection[object], most: int = 8) -> str:
    """The first of some things in a sentence, texts in quotes, and how many more there are."""
    words = [shown(thing, 40) if isinstance(thing, str) else str(thing) for thing in islice(things, most)]
    return ", ".join(words) + (f" and {len(things) - most} more" if len(things) > most else "")


def _reference(value: dict[Any, Any], trail: Trail, *, ids: bool) -> Reference:
    if len(value) > 1 and value.keys() != _KEYS:  # a comparison costs more than the rest
        strange = few([key for key in value if key not in _KEYS])
        raise _broken(f'{_place(trail)} has keys beside "$result" and "path": {strange}. {_ESCAPE}')
    result = value[RESULT]
    path = value.get("path", "")
    if type(result) is not int and not (ids and type(result) is str):
        asked = "the position or the id of a call" if ids else "the position of an earlier call, counted from 1"
        raise _broken(f"{_place(trail)}: $result must be {asked}, not {_kind(result)}. {_ESCAPE}")
    if type(path) is not str:
        raise _broken(f"{_place(trail)}: path must be a JSON Pointer as text, not {_kind(path)}")
    if path and (path[0] != "/" or "~" in path):
        parse(path)
    return Reference(result, path, trail)


_KINDS: Final = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number with a fraction"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)
_KEYS: Final = {RESULT, "path"}
_ESCAPE: Final = 'Data that only looks like a reference goes into {"$literal": ...}'


def _broken(message: str) -> BrokenReference:
    return BrokenReference(failed("invalid_reference", message))


def _kind(value: object) -> str:
    # By kind alone: it may be of any size and depth.
    return next((words for kind, words in _KINDS if isinstance(value, kind)), "null")


def _place(trail: Trail) -> str:
    return f"the reference at {shown(pointer(trail))}"


def _steps(trail: Trail) -> list[str]:
    steps: list[str] = []
    while trail is not None:
        trail, key = trail
        steps.append(str(key))
    steps.reverse()
    return steps


def _joined(steps: list[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _object(steps: list[str]) -> str:
    return f"the object at {shown(_joined(steps))}" if steps else "the object"


def _list(steps: list[str]) -> str:
    return f"the list at {shown(_joined(steps))}" if steps else "the list"


def _keys(value: dict[str, Any]) -> str:
    return few(value) or "no keys"
